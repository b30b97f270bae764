//! What a sink took and may lose again: how long it is kept, and when it comes again.

use super::*;
use crate::format::layout::Layout;
use crate::record::Offer;
use crate::report::Report;
use crate::turn::offering::COUNTS_OFFERED_MAX;
use crate::turn::reports::COUNT_BYTES;
use crate::window::spans::Spans;

const PLACE: &str = "graphite://h:1";
const KEEPS_NS: u64 = 300 * S;

fn carbon() -> SinkPlace {
    SinkPlace { keeps_ns: KEEPS_NS, ..SinkPlace::new(PLACE, ReportFormat::Graphite) }
}

fn world() -> World {
    let mut world = World::new();
    world.restart(&[carbon()]);
    world
}

/// Counts one, closes the window after two seconds, and lets carbon take it.
fn deliver(world: &mut World) -> Vec<Action> {
    world.count(&[("a", 1)]);
    world.pass(2_000);
    world.core.flush_soon();
    let actions = world.quiet();
    assert!(prepared(&actions, 0).is_some(), "{actions:?}");
    written(world)
}

/// Carbon takes what it was handed.
fn written(world: &mut World) -> Vec<Action> {
    assert!(writes(&world.hear(0, SinkNews::Prepared(Prepared::AnyTimes)), 0));
    world.hear(0, SinkNews::Written)
}

type Offers = Vec<(Layout, Vec<std::sync::Arc<Report>>)>;

fn again(actions: &[Action]) -> Option<Offers> {
    actions.iter().find_map(|action| {
        let Action::Again { offers, .. } = action else { return None };
        Some(offers.clone())
    })
}

/// The bytes of it, and the numbers of the windows.
fn text(offers: &Offers) -> (String, Vec<u64>) {
    let mut bytes = Vec::new();
    offers.iter().for_each(|(layout, reports)| layout.render(reports, &mut bytes));
    let numbers = offers.iter().flat_map(|(_, reports)| reports).map(|it| it.window.number);
    (String::from_utf8(bytes).unwrap(), numbers.collect())
}

fn looks(actions: &[Action]) -> bool {
    actions.iter().any(|action| matches!(action, Action::Look { .. }))
}

fn kept(world: &World) -> usize {
    world.core.state.sink(PLACE).unwrap().kept.len()
}

#[test]
fn what_was_taken_is_no_debt_though_it_is_kept() {
    let mut world = world();
    world.count(&[("a", 1)]);
    world.pass(2_000);
    let asked = payload(&Request::Flush { timeout_ms: 1_000 });
    world.turn(&[(peer(0), asked)], Vec::new());
    let actions = written(&mut world);
    let [reply] = <[Reply; 1]>::try_from(replies(actions)).unwrap();
    assert_eq!(message(reply), Response::Flushed { window: 1 });
    deliver(&mut world);
    assert!(world.core.sinks_are_even() && world.core.unpaid().is_empty());
    assert!(world.problems().is_empty());
    assert_eq!(world.fact("sink_0_windows_owed"), Some(Value::Number(0)));
    assert_eq!(world.fact("sink_0_windows_kept"), Some(Value::Number(2)));
    // Nobody else is owed it.
    assert_eq!(world.core.state.closed().len(), 0);
}

#[test]
fn after_a_start_what_is_kept_comes_again_as_it_was_whatever_the_options_are() {
    let mut world = world();
    deliver(&mut world);
    deliver(&mut world);
    let spans = Some(Spans::new(Duration::from_secs(60)));
    let other = Layout { prefix: "new.".into(), spans, ..Layout::of(ReportFormat::Graphite) };
    for _ in 0..2 {
        world.restart(&[SinkPlace { layout: other.clone(), ..carbon() }]);
        assert!(world.notes.is_empty());
        let actions = world.quiet();
        let at = |end_s: u64| BEGIN.wall_ms / 1_000 + end_s - 1;
        let expected = format!("a 1 {}\na 1 {}\n", at(2), at(4));
        assert_eq!(text(&again(&actions).unwrap()), (expected, vec![1, 2]));
        // It may be lost until it is there again.
        assert!(!world.core.sinks_are_even());
        let blocks = world.blocks.len();
        assert!(again(&written(&mut world)).is_none());
        assert!(world.core.sinks_are_even());
        assert_eq!((kept(&world), world.blocks.len()), (2, blocks), "the journal knows it");
    }
}

#[test]
fn one_that_was_started_anew_gets_it_again_behind_what_it_was_handed() {
    let mut world = world();
    deliver(&mut world);
    deliver(&mut world);
    world.count(&[("a", 1)]);
    world.pass(2_000);
    world.core.flush_soon();
    world.quiet();
    world.hear(0, SinkNews::Prepared(Prepared::AnyTimes));
    let news = vec![(0, SinkNews::Lost), (0, SinkNews::Failed("away".into()))];
    let actions = world.turn(&[], news).actions;
    let says =
        "graphite://h:1: it went away in between; the last reports are written again, 2 of them";
    assert!(notes(&actions).contains(&says), "{actions:?}");
    assert_eq!(world.problems(), ["sink graphite://h:1 failed last time: away"]);
    assert_eq!(world.fact("sink_0_windows_owed"), Some(Value::Number(3)));
    for _ in 0..2 {
        world.pass(1_000);
        assert_eq!(text(&again(&world.quiet()).unwrap()).1, [1, 2]);
        let news = vec![(0, SinkNews::Lost), (0, SinkNews::Failed("away".into()))];
        assert!(notes(&world.turn(&[], news).actions).is_empty());
    }
    world.pass(1_000);
    world.quiet();
    let actions = written(&mut world);
    assert_eq!(windows(&prepared(&actions, 0).unwrap()), [(3, 3)]);
    assert!(again(&written(&mut world)).is_none());
    assert!(world.core.sinks_are_even());
    assert_eq!(kept(&world), 3);
}

/// Time passes, and carbon is found to be there.
fn pass_and_look(world: &mut World, ms: u64) {
    world.pass(ms);
    assert!(looks(&world.quiet()));
    world.hear(0, SinkNews::Looked);
}

#[test]
fn it_is_kept_until_the_same_carbon_has_been_there_long_enough_after() {
    let mut world = world();
    deliver(&mut world);
    pass_and_look(&mut world, KEEPS_NS / MS - 3_000);
    deliver(&mut world);
    assert_eq!(kept(&world), 2);
    deliver(&mut world);
    assert_eq!(kept(&world), 2, "the first was let go");
    world.restart(&[carbon()]);
    assert_eq!(text(&again(&world.quiet()).unwrap()).1, [2, 3]);
    written(&mut world);
    // What it took again counts from then.
    pass_and_look(&mut world, KEEPS_NS / MS - 3_000);
    deliver(&mut world);
    assert_eq!(kept(&world), 3);
}

#[test]
fn when_nothing_more_comes_it_is_looked_less_and_less_often_and_at_last_nothing_is_due() {
    let mut world = world();
    deliver(&mut world);
    world.pass(1_000);
    deliver(&mut world);
    let taken_ns = world.now.boot_ns;
    for after_s in [10, 20, 40, 80, 160, 320] {
        assert_eq!(world.core.deadline_ns(), Some(taken_ns + after_s * S));
        world.pass((taken_ns + after_s * S - world.now.boot_ns) / MS - 1);
        assert!(!looks(&world.quiet()));
        world.pass(1);
        assert!(looks(&world.quiet()));
        assert_eq!((kept(&world), world.core.deadline_ns()), (2, None));
        world.hear(0, SinkNews::Looked);
    }
    assert_eq!((kept(&world), world.core.deadline_ns()), (0, None));
    world.restart(&[carbon()]);
    assert!(world.quiet().is_empty());
}

#[test]
fn a_look_that_finds_another_carbon_lets_it_come_again_and_not_more_often_if_that_goes_on() {
    let mut world = world();
    deliver(&mut world);
    let taken_ns = world.now.boot_ns;
    for after_s in [10, 20, 40] {
        assert_eq!(world.core.deadline_ns(), Some(taken_ns + after_s * S));
        world.pass((taken_ns + after_s * S - world.now.boot_ns) / MS);
        assert!(looks(&world.quiet()));
        let actions = world.turn(&[], vec![(0, SinkNews::Lost), (0, SinkNews::Looked)]).actions;
        assert_eq!(text(&again(&actions).unwrap()).1, [1]);
        written(&mut world);
    }
}

#[test]
fn who_asks_for_a_flush_is_answered_when_carbon_has_what_it_lost() {
    let mut world = world();
    deliver(&mut world);
    world.pass(1_000);
    let asked = || (peer(0), payload(&Request::Flush { timeout_ms: 1_000 }));
    let actions = world.turn(&[asked()], Vec::new()).actions;
    assert!(looks(&actions) && replies(actions).is_empty());
    let actions = world.turn(&[], vec![(0, SinkNews::Lost), (0, SinkNews::Looked)]).actions;
    assert!(again(&actions).is_some() && replies(actions).is_empty());
    assert_eq!(replies(written(&mut world)).len(), 1);
    let actions = world.turn(&[asked()], Vec::new()).actions;
    assert!(looks(&actions));
    assert_eq!(replies(world.hear(0, SinkNews::Looked)).len(), 1);
}

#[test]
fn a_look_that_began_before_a_flush_was_asked_for_says_nothing_of_what_came_after() {
    let mut world = world();
    deliver(&mut world);
    world.pass(10_000);
    assert!(looks(&world.quiet()));
    let asked = (peer(0), payload(&Request::Flush { timeout_ms: 1_000 }));
    assert!(world.turn(&[asked], Vec::new()).actions.is_empty());
    let actions = world.hear(0, SinkNews::Looked);
    assert!(looks(&actions) && replies(actions).is_empty());
    assert_eq!(replies(world.hear(0, SinkNews::Looked)).len(), 1);
    // Nor does what it was at writing.
    world.count(&[("a", 1)]);
    world.core.flush_soon();
    world.quiet();
    world.hear(0, SinkNews::Prepared(Prepared::AnyTimes));
    let asked = (peer(0), payload(&Request::Flush { timeout_ms: 1_000 }));
    world.turn(&[asked], Vec::new());
    let actions = world.hear(0, SinkNews::Written);
    assert!(looks(&actions) && replies(actions).is_empty());
    assert_eq!(replies(world.hear(0, SinkNews::Looked)).len(), 1);
}

#[test]
fn a_format_of_a_newer_version_is_told_of_where_what_is_kept_comes_again_in_another() {
    let mut world = world();
    for window in [1, 2] {
        world.count(&[("a", 1)]);
        world.core.flush_soon();
        world.quiet();
        let (first, last, layout) = (window, window, "graphite?colour=red".into());
        let offer = Offer { first, last, layout, file: None };
        let mut block = Vec::new();
        Record::Offered { place: PLACE, offer }.encode(&mut block).unwrap();
        Record::Delivered { place: PLACE, last, stored: 0 }.encode(&mut block).unwrap();
        world.blocks.push((block, world.now.wall_ms));
    }
    world.restart(&[carbon()]);
    assert_eq!(world.notes.len(), 1, "{:?}", world.notes);
    let said = "which only a newer countd knows";
    assert!(world.notes[0].text.contains(said), "{:?}", world.notes);
    assert_eq!(text(&again(&world.quiet()).unwrap()).1, [1, 2]);
}

#[test]
fn what_storage_may_not_take_any_more_does_not_come_again_on_a_suspicion() {
    let hours = |hours: u64| hours * 3_600_000;
    for (away_ms, comes) in [(hours(5), true), (hours(5) + 3_000, false)] {
        let mut world = world();
        deliver(&mut world);
        world.pass(away_ms);
        world.restart(&[carbon()]);
        assert_eq!(again(&world.quiet()).is_some(), comes);
        assert_eq!(kept(&world), usize::from(comes));
    }
    // A collector that is known to have gone gets it however long it is away.
    let mut world = world();
    deliver(&mut world);
    world.count(&[("a", 1)]);
    world.core.flush_soon();
    world.pass(2_000);
    world.quiet();
    world.hear(0, SinkNews::Prepared(Prepared::AnyTimes));
    world.turn(&[], vec![(0, SinkNews::Lost), (0, SinkNews::Failed("away".into()))]);
    world.pass(hours(9));
    assert!(again(&world.quiet()).is_some());
}

#[test]
fn a_sink_that_is_not_to_get_anything_again_is_kept_nothing() {
    let mut world = world();
    deliver(&mut world);
    world.restart(&[SinkPlace { keeps_ns: 0, ..carbon() }]);
    assert!(world.quiet().is_empty());
    assert_eq!(kept(&world), 0);
    deliver(&mut world);
    assert_eq!(kept(&world), 0);
    // It is gone from the journal, too.
    world.restart(&[carbon()]);
    assert!(world.quiet().is_empty());
}

#[test]
fn what_is_kept_has_half_the_room_and_the_oldest_gives_way() {
    // A window with a count takes nine of these.
    let rules = Rules { owed_bytes_max: 2 * 9 * 3 * COUNT_BYTES, ..rules() };
    let mut world = World::with(rules, &[]);
    world.restart(&[carbon()]);
    for _ in 0..3 {
        assert!(notes(&deliver(&mut world)).is_empty());
    }
    let actions = deliver(&mut world);
    assert!(notes(&actions)[0].contains("more than half of --owed-max"), "{actions:?}");
    assert!(notes(&deliver(&mut world)).is_empty(), "it is said once");
    world.restart(&[carbon()]);
    assert_eq!(text(&again(&world.quiet()).unwrap()).1, [3, 4, 5]);
}

#[test]
fn a_look_and_what_comes_again_make_no_debt_of_windows_that_wait_for_more_of_their_span() {
    let spans = Some(Spans::new(Duration::from_secs(60)));
    let layout = Layout { spans, ..Layout::of(ReportFormat::Graphite) };
    let mut world = World::new();
    world.restart(&[SinkPlace { layout, ..carbon() }]);
    let close = |world: &mut World, ms: u64| {
        world.count(&[("a", 1)]);
        world.pass(ms);
        world.core.flush_soon();
        world.quiet()
    };
    // A world begins 20 s after a full minute.
    close(&mut world, 30_000);
    world.pass(21_000);
    world.quiet();
    written(&mut world);
    close(&mut world, 2_000);
    close(&mut world, 2_000);
    let held_ns = world.core.deadline_ns();
    assert!(held_ns.is_some() && world.problems().is_empty());
    world.pass(6_000);
    assert!(looks(&world.quiet()));
    assert!(world.problems().is_empty(), "{:?}", world.problems());
    let actions = world.turn(&[], vec![(0, SinkNews::Lost), (0, SinkNews::Looked)]).actions;
    assert!(again(&actions).is_some());
    assert!(world.problems().is_empty(), "{:?}", world.problems());
    // While it is at that, nothing else is to be done.
    assert_eq!(world.core.deadline_ns(), None);
    assert!(prepared(&written(&mut world), 0).is_none());
    world.pass(70_000);
    assert_eq!(windows(&prepared(&world.quiet(), 0).unwrap()), [(2, 2), (3, 3)]);
}

#[test]
fn what_is_much_comes_again_in_portions_and_all_of_it_if_carbon_goes_meanwhile() {
    let mut world = world();
    (0..3).for_each(|_| _ = deliver(&mut world));
    world.restart(&[carbon()]);
    world.core.state.kept_mut(PLACE).for_each(|kept| kept.counts = COUNTS_OFFERED_MAX / 2);
    assert_eq!(text(&again(&world.quiet()).unwrap()).1, [1, 2]);
    let actions = written(&mut world);
    assert_eq!(text(&again(&actions).unwrap()).1, [3]);
    assert!(!world.core.sinks_are_even());
    world.hear(0, SinkNews::Prepared(Prepared::AnyTimes));
    let actions = world.turn(&[], vec![(0, SinkNews::Lost), (0, SinkNews::Written)]).actions;
    assert_eq!(text(&again(&actions).unwrap()).1, [1, 2]);
    assert!(again(&written(&mut world)).is_none());
    assert!(world.core.sinks_are_even());
}

#[test]
fn what_came_again_late_is_kept_on_though_newer_is_stored() {
    let mut world = world();
    deliver(&mut world);
    world.count(&[("a", 1)]);
    world.pass(2_000);
    world.core.flush_soon();
    world.quiet();
    // The one that takes the second is not the one that took the first.
    world.hear(0, SinkNews::Prepared(Prepared::AnyTimes));
    let actions = world.turn(&[], vec![(0, SinkNews::Lost), (0, SinkNews::Written)]).actions;
    assert_eq!(text(&again(&actions).unwrap()).1, [1]);
    world.pass(100_000);
    written(&mut world);
    pass_and_look(&mut world, KEEPS_NS / MS - 50_000);
    assert_eq!(kept(&world), 2);
    deliver(&mut world);
    assert_eq!(kept(&world), 3);
}

#[test]
fn two_that_are_kept_something_share_the_room_and_what_is_too_much_is_not_kept() {
    let other = || SinkPlace { place: "graphite://h:2".into(), ..carbon() };
    // A window with a count takes nine of these.
    let rules = Rules { owed_bytes_max: 2 * 9 * 3 * COUNT_BYTES, ..rules() };
    let mut world = World::with(rules, &[]);
    world.restart(&[carbon(), other()]);
    let deliver_to_both = |world: &mut World, counts: &[(&str, u64)]| {
        world.count(counts);
        world.pass(2_000);
        world.core.flush_soon();
        world.quiet();
        for sink in 0..2 {
            world.hear(sink, SinkNews::Prepared(Prepared::AnyTimes));
            world.hear(sink, SinkNews::Written);
        }
        let state = &world.core.state;
        ["graphite://h:1", "graphite://h:2"].map(|place| {
            let kept = &state.sink(place).unwrap().kept;
            kept.iter().map(|kept| kept.offer.last).collect::<Vec<_>>()
        })
    };
    assert_eq!(deliver_to_both(&mut world, &[("a", 1)]), [[1], [1]]);
    assert_eq!(deliver_to_both(&mut world, &[("a", 1)]), [vec![1, 2], vec![2]]);
    let names: Vec<String> = (0..30).map(|number| format!("n{number}")).collect();
    let many: Vec<(&str, u64)> = names.iter().map(|name| (name.as_str(), 1)).collect();
    assert_eq!(deliver_to_both(&mut world, &many), [vec![], vec![]] as [Vec<u64>; 2]);
    // Nobody is owed what is not kept.
    assert!(world.core.sinks_are_even());
    assert_eq!(world.core.state.closed().len(), 0);
}

#[test]
fn what_needs_no_writing_again_is_there_and_the_journal_is_told_nothing() {
    let mut world = world();
    deliver(&mut world);
    world.restart(&[carbon()]);
    assert!(again(&world.quiet()).is_some());
    let blocks = world.blocks.len();
    world.hear(0, SinkNews::Prepared(Prepared::Already));
    assert!(world.core.sinks_are_even());
    assert_eq!((kept(&world), world.blocks.len()), (1, blocks));
}

#[test]
fn what_is_kept_for_less_than_the_first_look_is_let_go_when_its_time_is_over() {
    let mut world = World::new();
    world.restart(&[SinkPlace { keeps_ns: 4 * S, ..carbon() }]);
    deliver(&mut world);
    assert_eq!(world.core.deadline_ns(), Some(world.now.boot_ns + 4 * S));
    pass_and_look(&mut world, 4_000);
    assert_eq!((kept(&world), world.core.deadline_ns()), (0, None));
}

#[test]
fn what_storage_may_not_take_any_more_is_let_go_when_carbon_goes() {
    let mut world = World::new();
    world.restart(&[SinkPlace { keeps_ns: 36_000 * S, ..carbon() }]);
    deliver(&mut world);
    world.pass(6 * 3_600_000);
    assert!(looks(&world.quiet()));
    let actions = world.turn(&[], vec![(0, SinkNews::Lost), (0, SinkNews::Looked)]).actions;
    assert!(again(&actions).is_none());
    assert_eq!(kept(&world), 0);
    world.restart(&[carbon()]);
    assert!(world.quiet().is_empty());
}

#[test]
fn what_others_are_owed_has_the_room_that_what_is_kept_leaves() {
    let rules = Rules { owed_bytes_max: 40 * COUNT_BYTES, ..rules() };
    let mut world = World::with(rules, &[]);
    // The second never gets on with what it is handed.
    world.restart(&[carbon(), place("file:/x")]);
    for _ in 0..40 {
        deliver(&mut world);
    }
    // Two windows with a count take eighteen.
    assert_eq!(kept(&world), 2);
    assert_eq!(world.core.state.closed().len(), 40 - 18);
}
