//! Sinks: orders and news in order and out of order, restarts, debts, and the merging of old windows.

use super::reports::{COUNT_BYTES, WINDOWS_OWED_MAX};
use super::*;
use crate::record::FilePlace;

fn with_two() -> World {
    World::with(rules(), &["stdout", "file:/x"])
}

/// Counts `amount` and closes the window.
fn close(world: &mut World, amount: u64) -> Vec<Action> {
    world.count(&[("a", amount)]);
    world.core.flush_soon();
    world.quiet()
}

fn take(world: &mut World, sink: usize) -> Vec<Action> {
    assert!(writes(&world.hear(sink, SinkNews::Prepared(Prepared::Anywhere)), sink));
    world.hear(sink, SinkNews::Written)
}

#[test]
fn a_sink_prepares_is_offered_in_the_journal_and_only_then_writes() {
    let mut world = World::with(rules(), &["file:/x"]);
    let actions = close(&mut world, 3);
    assert_eq!(windows(&prepared(&actions, 0).unwrap()), [(1, 1)]);
    assert!(!writes(&actions, 0));
    let file = FilePlace { device: 1, inode: 2, offset: 3, length: 4, crc: 5 };
    let appended = world.blocks.len();
    assert!(writes(&world.hear(0, SinkNews::Prepared(Prepared::At(file))), 0));
    assert_eq!(world.blocks.len(), appended + 1);
    let offer = world.core.state.sink("file:/x").unwrap().offered.clone().unwrap();
    assert_eq!((offer.first, offer.last, &*offer.layout, offer.file), (1, 1, "plain", Some(file)));
    assert!(!world.core.sinks_are_even());
    assert!(world.hear(0, SinkNews::Written).is_empty());
    assert!(world.core.sinks_are_even());
    assert_eq!(world.core.state.closed().len(), 0);
    assert_eq!(world.fact("sink_0_windows_owed"), Some(Value::Number(0)));
    assert_eq!(world.fact("sink_0_last_success"), Some(Value::TimeMs(world.now.wall_ms)));
}

/// A world whose last run ended while the log file was being written.
fn killed_while_writing() -> (World, FilePlace) {
    let mut world = World::with(rules(), &["file:/x"]);
    close(&mut world, 3);
    let file = FilePlace { device: 1, inode: 2, offset: 3, length: 4, crc: 5 };
    assert!(writes(&world.hear(0, SinkNews::Prepared(Prepared::At(file))), 0));
    world.restart(&[place("file:/x")]);
    (world, file)
}

#[test]
fn after_a_restart_a_sink_is_told_where_its_windows_were_offered_and_again_at_each_attempt() {
    let (mut world, file) = killed_while_writing();
    for _ in 0..2 {
        let actions = world.quiet();
        let offered = |action: &Action| matches!(action, Action::Prepare { offered: Some(place), .. } if *place == file);
        assert!(actions.iter().any(offered), "{actions:?}");
        world.hear(0, SinkNews::Failed("not now".into()));
        world.pass(1_000);
    }
}

#[test]
fn a_sink_that_has_its_windows_already_is_not_told_to_write_them() {
    let (mut world, _) = killed_while_writing();
    world.quiet();
    let actions = world.hear(0, SinkNews::Prepared(Prepared::Already));
    assert!(actions.is_empty(), "{actions:?}");
    assert!(world.core.sinks_are_even());
    world.restart(&[place("file:/x")]);
    assert!(world.quiet().is_empty());
}

#[test]
fn windows_that_may_be_there_are_said_to_be_written_again_and_others_are_not() {
    let (mut world, file) = killed_while_writing();
    world.quiet();
    let actions = world.hear(0, SinkNews::Prepared(Prepared::At(file)));
    assert!(writes(&actions, 0) && notes(&actions).is_empty(), "{actions:?}");
    let (mut world, file) = killed_while_writing();
    world.quiet();
    let actions = world.hear(0, SinkNews::Prepared(Prepared::InDoubt(file)));
    assert!(writes(&actions, 0), "{actions:?}");
    let expected = "file:/x: window 1 was on the way already and may be there: written again";
    assert_eq!(notes(&actions), [expected]);
}

#[test]
fn a_slow_sink_holds_up_neither_counting_nor_another() {
    let mut world = with_two();
    close(&mut world, 1);
    take(&mut world, 0);
    for amount in [2, 3] {
        let actions = close(&mut world, amount);
        assert_eq!(lines(&prepared(&actions, 0).unwrap()[0]), [("a".into(), amount)]);
        assert!(prepared(&actions, 1).is_none());
        take(&mut world, 0);
    }
    assert_eq!(world.problems(), ["sink file:/x is owed 3 windows"]);
    assert_eq!(world.core.unpaid(), ["not yet taken by file:/x (3 windows)"]);
    assert_eq!(world.core.deadline_ns(), None);
    let actions = take(&mut world, 1);
    assert_eq!(windows(&prepared(&actions, 1).unwrap()), [(2, 2), (3, 3)]);
    take(&mut world, 1);
    assert!(world.core.sinks_are_even() && world.problems().is_empty());
}

#[test]
fn a_failed_sink_is_tried_again_with_the_same_windows() {
    let mut world = World::with(rules(), &["file:/x"]);
    close(&mut world, 1);
    assert!(writes(&world.hear(0, SinkNews::Prepared(Prepared::Anywhere)), 0));
    world.hear(0, SinkNews::Failed("disk full".into()));
    assert_eq!(world.problems(), ["sink file:/x failed last time: disk full"]);
    assert_eq!(world.core.deadline_ns(), Some(world.now.boot_ns + S));
    assert!(prepared(&close(&mut world, 2), 0).is_none());
    world.pass(1_000);
    assert_eq!(windows(&prepared(&world.quiet(), 0).unwrap()), [(1, 1)]);
    let actions = take(&mut world, 0);
    assert_eq!(windows(&prepared(&actions, 0).unwrap()), [(2, 2)]);
    assert!(world.problems().is_empty());
}

#[test]
fn a_sink_that_is_gone_is_owed_nothing_and_said_to_be_closed() {
    let mut world = with_two();
    close(&mut world, 1);
    take(&mut world, 1);
    world.hear(0, SinkNews::Prepared(Prepared::Anywhere));
    let actions = world.hear(0, SinkNews::Gone("nobody reads it".into()));
    assert_eq!(notes(&actions), ["stdout: nobody reads it"]);
    assert!(world.core.sinks_are_even());
    assert_eq!(world.problems(), ["sink stdout is closed"]);
    let actions = close(&mut world, 2);
    assert!(prepared(&actions, 0).is_none() && prepared(&actions, 1).is_some());
    for late in [SinkNews::Written, SinkNews::Failed("x".into()), SinkNews::Gone("y".into())] {
        assert!(world.hear(0, late).is_empty());
    }
    take(&mut world, 1);
    world.pass(60_000);
    assert_eq!(world.core.deadline_ns(), None);
}

#[test]
fn news_of_an_order_that_was_not_given_is_not_heard() {
    let mut world = World::with(rules(), &["stdout"]);
    world.count(&[("a", 1)]);
    let odd =
        || vec![(0, SinkNews::Written), (0, SinkNews::Failed("x".into())), (7, SinkNews::Written)];
    world.turn(&[], odd());
    assert!(world.problems().is_empty());
    world.core.flush_soon();
    world.quiet();
    assert!(world.hear(0, SinkNews::Written).is_empty());
    assert!(!world.core.sinks_are_even());
    let twice = vec![
        (0, SinkNews::Prepared(Prepared::Anywhere)),
        (0, SinkNews::Prepared(Prepared::Anywhere)),
    ];
    let actions = world.turn(&[], twice).actions;
    assert_eq!(actions.iter().filter(|a| matches!(a, Action::Write { .. })).count(), 1);
    let both = vec![(0, SinkNews::Written), (0, SinkNews::Failed("late".into()))];
    world.turn(&[], both);
    assert!(world.core.sinks_are_even() && world.problems().is_empty());
    assert_eq!(world.core.deadline_ns(), None);
}

#[test]
fn news_that_come_while_the_journal_is_left_alone_are_kept() {
    let mut world = World::with(rules(), &["stdout"]);
    close(&mut world, 1);
    world.second_fails = Some("no");
    assert!(!writes(&world.hear(0, SinkNews::Prepared(Prepared::Anywhere)), 0));
    assert!(!world.quiet().iter().any(|action| matches!(action, Action::Prepare { .. })));
    world.second_fails = None;
    world.pass(1_000);
    assert!(writes(&world.quiet(), 0));
    world.second_fails = Some("no");
    world.hear(0, SinkNews::Written);
    assert!(!world.core.sinks_are_even());
    world.second_fails = None;
    world.pass(1_000);
    world.quiet();
    assert!(world.core.sinks_are_even());
}

#[test]
fn a_restart_prepares_exactly_the_range_that_was_offered_and_says_so() {
    let mut world = World::with(rules(), &["stdout"]);
    close(&mut world, 1);
    world.hear(0, SinkNews::Prepared(Prepared::Anywhere));
    close(&mut world, 2);
    let other = SinkPlace::new("stdout", ReportFormat::Json);
    world.restart(&[other]);
    let actions = world.quiet();
    let Some(Action::Prepare { layout, reports, .. }) = actions.first() else {
        panic!("{actions:?}")
    };
    assert_eq!((layout.format.name(), windows(reports)), ("plain", vec![(1, 1)]));
    let actions = world.hear(0, SinkNews::Prepared(Prepared::Anywhere));
    assert_eq!(notes(&actions).len(), 1);
    assert!(notes(&actions)[0].starts_with("stdout: window 1 was on the way"));
    let actions = world.hear(0, SinkNews::Written);
    let Some(Action::Prepare { layout, reports, .. }) = actions.first() else {
        panic!("{actions:?}")
    };
    assert_eq!((layout.format.name(), windows(reports)), ("json", vec![(2, 2)]));
    assert!(notes(&take(&mut world, 0)).is_empty());
}

#[test]
fn what_was_only_prepared_is_prepared_anew_without_a_word() {
    let mut world = World::with(rules(), &["stdout"]);
    close(&mut world, 1);
    world.restart(&[place("stdout")]);
    assert_eq!(windows(&prepared(&world.quiet(), 0).unwrap()), [(1, 1)]);
    assert!(notes(&world.hear(0, SinkNews::Prepared(Prepared::Anywhere))).is_empty());
}

#[test]
fn a_sink_that_is_missing_is_forgotten_and_its_debt_named() {
    let mut world = with_two();
    close(&mut world, 1);
    take(&mut world, 0);
    close(&mut world, 2);
    take(&mut world, 0);
    world.restart(&[place("stdout")]);
    let note = "sink file:/x is not configured any more: 2 windows it was owed are dropped";
    assert_eq!(world.notes[0].text, note);
    assert_eq!(world.notes.len(), 1);
    assert_eq!(world.core.state.closed().len(), 0);
    world.restart(&[place("stdout"), place("file:/x")]);
    assert!(world.notes.is_empty() && prepared(&world.quiet(), 1).is_none());
}

#[test]
fn a_new_sink_starts_with_the_window_that_is_open() {
    let mut world = World::with(rules(), &["stdout"]);
    close(&mut world, 1);
    world.count(&[("a", 2)]);
    world.restart(&[place("file:/new"), place("stdout")]);
    let actions = world.quiet();
    assert_eq!(windows(&prepared(&actions, 1).unwrap()), [(1, 1)]);
    assert!(prepared(&actions, 0).is_none());
    let new = prepared(&close(&mut world, 4), 0).unwrap();
    assert_eq!((windows(&new), lines(&new[0])), (vec![(2, 2)], vec![("a".into(), 6)]));
}

#[test]
fn a_sink_gets_at_most_64_windows_at_a_time() {
    let mut world = World::with(rules(), &["stdout"]);
    close(&mut world, 1);
    for _ in 0..100 {
        close(&mut world, 1);
    }
    let actions = take(&mut world, 0);
    assert_eq!(prepared(&actions, 0).unwrap().len(), 64);
    let actions = take(&mut world, 0);
    assert_eq!(windows(&prepared(&actions, 0).unwrap()).last(), Some(&(101, 101)));
}

/// The counts of all closed windows, added up.
fn owed(world: &World) -> u64 {
    let counts = world.core.state.closed().flat_map(|report| report.counts().iter());
    counts.map(|count| count.count).sum()
}

#[test]
fn past_the_bound_windows_are_merged_and_never_those_in_a_sinks_hands() {
    let mut world = with_two();
    // One is writing the first, the other prepares it and is offered it only later.
    close(&mut world, 1);
    world.hear(0, SinkNews::Prepared(Prepared::Anywhere));
    world.hear(1, SinkNews::Failed("not now".into()));
    for _ in 0..3 {
        close(&mut world, 1);
    }
    world.pass(1_000);
    assert_eq!(prepared(&world.quiet(), 1).unwrap().len(), 4);
    for _ in 0..WINDOWS_OWED_MAX + 50 {
        close(&mut world, 1);
    }
    let total = world.totals()["a"];
    assert_eq!(owed(&world), total);
    assert!(world.core.state.closed().len() <= WINDOWS_OWED_MAX + 1);
    let kept: Vec<_> = world.core.state.closed().cloned().collect();
    assert_eq!(windows(&kept)[..4], [(1, 1), (2, 2), (3, 3), (4, 4)]);
    assert_eq!(kept[4].window.first, 5);
    assert!(kept[4].window.number > 50, "{:?}", kept[4].window);
    let first = kept[4].counts().iter().next().unwrap();
    assert_eq!((first.count, first.total), (kept[4].window.number - 4, kept[4].window.number));
    world.restart(&[place("stdout"), place("file:/x")]);
    let replayed: Vec<_> = world.core.state.closed().cloned().collect();
    assert_eq!(windows(&replayed), windows(&kept));
    assert_eq!(owed(&world), total);
}

#[test]
fn a_merged_range_that_is_offered_stays_as_it_is() {
    let mut world = World::with(rules(), &["stdout"]);
    close(&mut world, 1);
    world.hear(0, SinkNews::Failed("not now".into()));
    for _ in 0..WINDOWS_OWED_MAX + 20 {
        close(&mut world, 1);
    }
    world.pass(1_000);
    let reports = prepared(&world.quiet(), 0).unwrap();
    assert!(reports[0].window.number > reports[0].window.first);
    world.hear(0, SinkNews::Prepared(Prepared::Anywhere));
    for _ in 0..20 {
        close(&mut world, 1);
    }
    world.restart(&[place("stdout")]);
    let again = prepared(&world.quiet(), 0).unwrap();
    assert_eq!(windows(&again), windows(&reports));
    assert_eq!(again, reports);
}

#[test]
fn past_the_bound_of_counts_windows_are_merged_too() {
    let many = 40_000;
    let limits = Rules { counters_max: many, with_idle: true, ..rules() };
    let mut world = World::with(limits, &["stdout"]);
    let names: Vec<String> = (0..many).map(|n| format!("n{n}")).collect();
    for some in names.chunks(4_000) {
        let entries: Vec<_> = some.iter().map(|name| (name.as_str(), 1)).collect();
        let id = world.new_id();
        counted(world.ask_as(0, &stream(id, &entries)));
    }
    for _ in 0..(OWED_BYTES_MAX / COUNT_BYTES) / names.len() + 3 {
        world.core.flush_soon();
        world.quiet();
    }
    world.quiet();
    let counts = world.core.state.closed().map(|report| report.counts().len()).sum::<usize>();
    assert!(counts <= (OWED_BYTES_MAX / COUNT_BYTES), "{counts}");
    assert_eq!(world.core.state.open.number, 56);
    assert_eq!(owed(&world), u64::from(many));
}
