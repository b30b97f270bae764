//! What a sink with spans is handed, and when: windows that belong together together, timestamps that rise and are
//! never in the future, and nothing that waits when somebody asks.

use super::*;
use crate::format::ReportFormat;
use crate::format::layout::Layout;
use crate::window::spans::Spans;

const PLACE: &str = "graphite://h:1";

fn sink(format: ReportFormat, span_s: u64) -> SinkPlace {
    let spans = Some(Spans::new(Duration::from_secs(span_s)));
    SinkPlace { layout: Layout { spans, ..Layout::of(format) }, ..SinkPlace::new(PLACE, format) }
}

fn world(format: ReportFormat, span_s: u64) -> World {
    let mut world = World::new();
    // A world begins 20 s after a full minute.
    world.restart(&[sink(format, span_s)]);
    world
}

/// Counts one, lets `ms` pass and flushes.
fn close(world: &mut World, ms: u64) -> Vec<Action> {
    world.count(&[("a", 1)]);
    world.pass(ms);
    world.core.flush_soon();
    world.quiet()
}

fn order(actions: &[Action]) -> Option<(Layout, Vec<std::sync::Arc<Report>>)> {
    actions.iter().find_map(|action| {
        let Action::Prepare { layout, reports, .. } = action else { return None };
        Some((layout.clone(), reports.clone()))
    })
}

fn handed(actions: &[Action]) -> Option<(Layout, Vec<(u64, u64)>)> {
    order(actions).map(|(layout, reports)| (layout, windows(&reports)))
}

/// Takes what was handed over; the second it was written with.
fn take(world: &mut World, actions: &[Action]) -> (u64, Vec<Action>) {
    let (layout, reports) = order(actions).unwrap();
    let second = layout.portions(&reports).last().unwrap().second;
    assert!(writes(&world.hear(0, SinkNews::Prepared(Prepared::AnyTimes)), 0));
    (second, world.hear(0, SinkNews::Written))
}

#[test]
fn windows_of_a_span_wait_for_each_other_and_the_loop_wakes_up_for_them() {
    let mut world = world(ReportFormat::Plain, 10);
    assert_eq!(handed(&close(&mut world, 5_000)), None);
    assert!(world.problems().is_empty());
    // Nothing is counted any more, and the span ends.
    let due_ns = world.core.deadline_ns().unwrap();
    assert_eq!(due_ns, BEGIN.boot_ns + 10 * S + 5 * S);
    world.pass((due_ns - world.now.boot_ns) / MS - 1);
    assert_eq!(handed(&world.quiet()), None);
    world.pass(1);
    assert_eq!(handed(&world.quiet()).unwrap().1, [(1, 1)]);
}

#[test]
fn a_span_is_handed_over_when_its_last_window_is_closed() {
    let mut world = world(ReportFormat::Plain, 10);
    assert_eq!(handed(&close(&mut world, 5_000)), None);
    let actions = close(&mut world, 5_000);
    let (layout, windows) = handed(&actions).unwrap();
    assert_eq!(windows, [(1, 1), (2, 2)]);
    assert_eq!((layout.after, layout.until), (None, None));
    take(&mut world, &actions);
    assert!(world.core.sinks_are_even());
}

#[test]
fn who_waits_for_a_flush_gets_what_there_is_and_the_end_does_not_wait_either() {
    let mut world = world(ReportFormat::Plain, 3_600);
    assert_eq!(handed(&close(&mut world, 5_000)), None);
    world.count(&[("a", 1)]);
    let asked = payload(&Request::Flush { timeout_ms: 1_000 });
    let actions = world.turn(&[(peer(0), asked)], Vec::new()).actions;
    assert_eq!(handed(&actions).unwrap().1, [(1, 1), (2, 2)]);
    take(&mut world, &actions);
    assert_eq!(handed(&close(&mut world, 5_000)), None);
    world.core.let_go();
    assert_eq!(handed(&world.quiet()).unwrap().1, [(3, 3)]);
}

#[test]
fn timestamps_rise_from_one_report_to_the_next_also_over_a_restart() {
    let mut world = world(ReportFormat::Graphite, 1);
    let actions = close(&mut world, 5_000);
    let (first, _) = take(&mut world, &actions);
    assert_eq!(first, BEGIN.wall_ms / 1_000 + 4);
    // One of the second that has begun may go if somebody waits; the next has to wait for another second.
    world.core.let_go();
    let actions = close(&mut world, 1);
    let (second, _) = take(&mut world, &actions);
    assert_eq!(second, first + 1);
    for restarts in [false, true] {
        if restarts {
            let blocks = world.blocks.len();
            world.restart(&[sink(ReportFormat::Graphite, 1)]);
            world.core.let_go();
            assert!(world.blocks.len() > blocks);
        }
        assert_eq!(handed(&close(&mut world, 1)), None);
        let wait_ms = 1_000 - world.now.wall_ms % 1_000;
        assert_eq!(world.core.deadline_ns(), Some(world.now.boot_ns + wait_ms * MS));
    }
    world.pass(1_000 - world.now.wall_ms % 1_000);
    let actions = world.quiet();
    assert_eq!(handed(&actions).unwrap().1, [(3, 3), (4, 4)]);
    assert_eq!(take(&mut world, &actions).0, first + 2);
}

#[test]
fn what_was_offered_is_repeated_with_the_timestamps_it_had() {
    let mut world = world(ReportFormat::Graphite, 1);
    let actions = close(&mut world, 5_000);
    let (second, _) = take(&mut world, &actions);
    let actions = close(&mut world, 3_000);
    let (offered, range) = handed(&actions).unwrap();
    assert_eq!((offered.after, offered.until), (Some(second), Some(world.now.wall_ms / 1_000)));
    world.hear(0, SinkNews::Prepared(Prepared::AnyTimes));
    close(&mut world, 2_000);
    world.pass(100_000);
    let ten = sink(ReportFormat::Graphite, 10);
    world.restart(&[ten]);
    let actions = world.quiet();
    assert_eq!(handed(&actions), Some((offered, range)));
    let (second, actions) = take(&mut world, &actions);
    assert_eq!(world.core.state.sink(PLACE).unwrap().reached, Some(second));
    // From then on with its own, and later.
    let (layout, range) = handed(&actions).unwrap();
    assert_eq!((layout.spans.unwrap().length_ms(), layout.after), (10_000, Some(second)));
    assert_eq!(range, [(3, 3)]);
}

#[test]
fn a_clock_that_was_set_back_a_little_is_waited_for_and_one_that_was_wrong_is_not() {
    for (back_ms, waits) in [(30_000, true), (3_600_000, false)] {
        let mut world = world(ReportFormat::Graphite, 1);
        let actions = close(&mut world, 5_000);
        let (first, _) = take(&mut world, &actions);
        world.now.wall_ms -= back_ms;
        let actions = close(&mut world, 5_000);
        if !waits {
            assert_eq!(notes(&actions).len(), 1, "{actions:?}");
            let actions = if handed(&actions).is_some() {
                actions
            } else {
                world.pass(5_000);
                world.quiet()
            };
            let (second, _) = take(&mut world, &actions);
            assert!(second <= world.now.wall_ms / 1_000 && second < first);
            continue;
        }
        assert_eq!(handed(&actions), None);
        let due_ns = world.core.deadline_ns().unwrap();
        world.pass((due_ns - world.now.boot_ns) / MS);
        let actions = world.quiet();
        let (second, _) = take(&mut world, &actions);
        assert!(first < second && second <= world.now.wall_ms / 1_000);
    }
}

#[test]
fn a_sink_that_goes_on_failing_is_left_alone_for_longer_each_time_and_hurried_by_a_flush() {
    let mut world = World::new();
    let away = SinkPlace { pause_ns_max: 30 * S, ..SinkPlace::new(PLACE, ReportFormat::Plain) };
    world.restart(&[away]);
    close(&mut world, 1);
    let mut pauses = Vec::new();
    for _ in 0..10 {
        world.hear(0, SinkNews::Failed("refused".into()));
        let until_ns = world.core.deadline_ns().unwrap();
        pauses.push(until_ns - world.now.boot_ns);
        world.pass((until_ns - world.now.boot_ns).div_ceil(MS));
        assert!(handed(&world.quiet()).is_some());
    }
    assert_eq!(pauses[0], S);
    assert!(pauses[1] >= S && pauses[1] <= 2 * S, "{pauses:?}");
    assert!(pauses[6..].iter().all(|pause| (15 * S..=30 * S).contains(pause)), "{pauses:?}");
    assert_ne!(pauses[8], pauses[9]);
    world.hear(0, SinkNews::Failed("refused".into()));
    let asked = payload(&Request::Flush { timeout_ms: 1_000 });
    let actions = world.turn(&[(peer(0), asked)], Vec::new()).actions;
    assert!(handed(&actions).is_some());
}

#[test]
fn a_sink_that_counts_again_what_it_gets_again_gets_one_report_at_a_time() {
    let mut world = World::new();
    world.restart(&[SinkPlace { at_a_time: 1, ..sink(ReportFormat::Plain, 10) }]);
    for _ in 0..5 {
        close(&mut world, 5_000);
    }
    world.hear(0, SinkNews::Failed("no".into()));
    world.pass(1_000);
    let mut actions = world.quiet();
    let mut ranges = Vec::new();
    while let Some((_, range)) = handed(&actions) {
        ranges.push(range);
        actions = take(&mut world, &actions).1;
    }
    assert_eq!(ranges, [vec![(1, 1), (2, 2)], vec![(3, 3), (4, 4)]]);
}

#[test]
fn what_a_sink_says_is_told_whatever_it_does() {
    let mut world = World::with(rules(), &["stdout"]);
    assert_eq!(notes(&world.hear(0, SinkNews::Said("hello".into()))), ["stdout: hello"]);
}
