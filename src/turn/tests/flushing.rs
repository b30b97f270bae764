//! Flushes: when a window closes, what it measures, and what a failed second append leaves.

use super::*;

fn with_stdout() -> World {
    World::with(rules(), &["stdout"])
}

fn flush(timeout_ms: u64) -> (Peer, Vec<u8>) {
    (Peer { connection: 9, uid: OWNER }, payload(&Request::Flush { timeout_ms }))
}

fn flushed(actions: &[Action]) -> Vec<u64> {
    let window = |action: &Action| {
        if let Action::Flushed(report) = action { Some(report.window.number) } else { None }
    };
    actions.iter().filter_map(window).collect()
}

#[test]
fn a_window_closes_when_its_flush_is_due() {
    let mut world = with_stdout();
    world.count(&[("a", 1)]);
    assert_eq!(world.core.deadline_ns(), Some(105 * S));
    world.pass(4_999);
    assert_eq!(flushed(&world.quiet()), [0; 0]);
    world.pass(1);
    let actions = world.quiet();
    assert_eq!(flushed(&actions), [1]);
    let reports = prepared(&actions, 0).unwrap();
    assert_eq!(reports[0].window.length(), Duration::from_secs(5));
    assert_eq!(lines(&reports[0]), [("a".into(), 1)]);
    assert_eq!(world.core.deadline_ns(), None);
}

#[test]
fn windows_are_measured_and_the_next_begins_where_one_ends() {
    let mut world = with_stdout();
    world.count(&[("a", 1)]);
    world.pass(5_700);
    let actions = world.quiet();
    let first = prepared(&actions, 0).unwrap()[0].window;
    assert_eq!(first.length(), Duration::from_millis(5_700));
    world.hear(0, SinkNews::Prepared(Prepared::Anywhere));
    world.hear(0, SinkNews::Written);
    world.count(&[("a", 1)]);
    assert_eq!(world.core.deadline_ns(), Some(110 * S), "a late flush does not delay the next");
    world.pass(4_300);
    let second = prepared(&world.quiet(), 0).unwrap()[0].window;
    assert_eq!((second.number, second.start), (2, first.end));
    assert_eq!(second.length(), Duration::from_millis(4_300));
}

#[test]
fn missed_intervals_make_one_window() {
    let mut world = with_stdout();
    world.count(&[("a", 1)]);
    world.pass(61_000);
    let actions = world.quiet();
    assert_eq!(flushed(&actions), [1]);
    assert_eq!(prepared(&actions, 0).unwrap()[0].window.length(), Duration::from_secs(61));
    world.count(&[("a", 1)]);
    assert_eq!(world.core.deadline_ns(), Some(165 * S));
}

#[test]
fn an_empty_window_closes_without_a_number_and_without_a_wake_up() {
    let mut world = with_stdout();
    assert_eq!(world.core.deadline_ns(), None);
    world.pass(63_000);
    world.count(&[("a", 1)]);
    assert_eq!(world.core.deadline_ns(), Some(165 * S));
    world.pass(2_000);
    let window = prepared(&world.quiet(), 0).unwrap()[0].window;
    assert_eq!((window.number, window.length()), (1, Duration::from_secs(5)));
}

#[test]
fn a_turn_that_counts_nothing_does_not_make_the_next_window_longer() {
    let mut world = with_stdout();
    world.pass(63_000);
    world.quiet();
    world.pass(1_000);
    world.count(&[("a", 1)]);
    world.pass(1_000);
    let window = prepared(&world.quiet(), 0).unwrap()[0].window;
    assert_eq!(window.length(), Duration::from_secs(5));
    world.restart(&[place("stdout")]);
    let again = prepared(&world.quiet(), 0).unwrap()[0].window;
    assert_eq!(again, window, "the start of a window is in the journal");
}

#[test]
fn an_empty_window_does_not_begin_before_the_daemon_does() {
    let mut world = with_stdout();
    world.count(&[("a", 1)]);
    world.flush_to(0);
    world.pass(63_000);
    world.restart(&[place("stdout")]);
    world.pass(1_000);
    world.count(&[("a", 1)]);
    assert_eq!(world.core.deadline_ns(), Some(168 * S));
    world.core.flush_soon();
    let window = prepared(&world.quiet(), 0).unwrap()[0].window;
    assert_eq!(window.length(), Duration::from_secs(1));
}

#[test]
fn with_idle_every_counter_is_reported_at_every_interval() {
    let mut world = World::with(Rules { with_idle: true, ..rules() }, &["stdout"]);
    world.count(&[("a", 1), ("b", 0)]);
    world.pass(5_000);
    let reports = prepared(&world.quiet(), 0).unwrap();
    assert_eq!(lines(&reports[0]), [("a".into(), 1), ("b".into(), 0)]);
    world.hear(0, SinkNews::Prepared(Prepared::Anywhere));
    world.hear(0, SinkNews::Written);
    assert_eq!(world.core.deadline_ns(), Some(110 * S));
    world.pass(5_000);
    let reports = prepared(&world.quiet(), 0).unwrap();
    assert_eq!(lines(&reports[0]), [("a".into(), 0), ("b".into(), 0)]);
    assert_eq!(windows(&reports), [(2, 2)]);
}

#[test]
fn a_wall_clock_that_steps_back_makes_no_negative_and_no_repeated_window() {
    let mut world = with_stdout();
    world.count(&[("a", 1)]);
    world.pass(5_000);
    world.now.wall_ms -= 3_600_000;
    let first = prepared(&world.quiet(), 0).unwrap()[0].window;
    assert_eq!(first.length(), Duration::from_secs(5));
    world.hear(0, SinkNews::Prepared(Prepared::Anywhere));
    world.hear(0, SinkNews::Written);
    world.count(&[("a", 1)]);
    world.pass(5_000);
    let second = prepared(&world.quiet(), 0).unwrap()[0].window;
    assert_eq!((second.number, second.length()), (2, Duration::from_secs(5)));
}

#[test]
fn a_window_that_spans_a_reboot_is_flushed_an_interval_after_it() {
    let mut world = with_stdout();
    world.count(&[("a", 1)]);
    world.pass(100_000);
    world.now.boot_ns = S;
    world.restart_in(BOOT + 1, &[place("stdout")]);
    assert_eq!(world.core.deadline_ns(), Some(6 * S));
    world.pass(5_000);
    let window = prepared(&world.quiet(), 0).unwrap()[0].window;
    assert_eq!(window.length(), Duration::from_secs(105));
}

#[test]
fn a_flush_without_sinks_is_answered_in_its_turn() {
    let mut world = World::new();
    world.count(&[("a", 1)]);
    let turned = world.turn(&[flush(9)], Vec::new());
    let [reply] = replies(turned.actions).try_into().unwrap();
    assert_eq!(message(reply), Response::Flushed { window: 1 });
    let turned = world.turn(&[flush(9)], Vec::new());
    let [reply] = replies(turned.actions).try_into().unwrap();
    assert_eq!(message(reply), Response::Flushed { window: 1 }, "an empty window has no number");
}

#[test]
fn a_flush_waits_for_every_sink() {
    let mut world = World::with(rules(), &["stdout", "file:/x"]);
    world.count(&[("a", 1)]);
    let turned = world.turn(&[flush(10_000)], Vec::new());
    assert!(turned.replies.is_empty() && replies(turned.actions).is_empty());
    for sink in [0, 1] {
        assert!(replies(world.hear(sink, SinkNews::Prepared(Prepared::Anywhere))).is_empty());
    }
    assert!(replies(world.hear(0, SinkNews::Written)).is_empty());
    world.pass(30);
    let [reply] = replies(world.hear(1, SinkNews::Written)).try_into().unwrap();
    assert_eq!(message(reply), Response::Flushed { window: 1 });
    assert_eq!(world.fact("last_flush_took"), Some(Value::DurationMs(30)));
}

#[test]
fn a_flush_that_is_not_taken_in_time_names_the_debtors() {
    let mut world = World::with(rules(), &["stdout", "file:/x"]);
    world.count(&[("a", 1)]);
    world.turn(&[flush(800)], Vec::new());
    world.hear(0, SinkNews::Prepared(Prepared::Anywhere));
    world.hear(0, SinkNews::Written);
    world.hear(1, SinkNews::Failed("disk full".into()));
    assert_eq!(world.core.deadline_ns(), Some(world.now.boot_ns + 800 * MS));
    world.pass(800);
    let [reply] = replies(world.quiet()).try_into().unwrap();
    let why = "flushed, but not yet taken by file:/x (1 window: disk full)";
    assert_eq!(refused(reply), (ErrorCode::Failed, why.into()));
    assert_eq!(world.core.deadline_ns(), Some(world.now.boot_ns + 200 * MS));
}

#[test]
fn a_second_request_behind_a_flush_is_refused_after_its_answer() {
    let mut world = with_stdout();
    world.count(&[("a", 1)]);
    let (peer, _) = flush(1);
    let requests = [flush(10_000), (peer, payload(&Request::Status))];
    assert!(world.turn(&requests, Vec::new()).replies.is_empty());
    world.hear(0, SinkNews::Prepared(Prepared::Anywhere));
    let [first, second] = replies(world.hear(0, SinkNews::Written)).try_into().unwrap();
    assert!(matches!(message(first), Response::Flushed { window: 1 }));
    assert_eq!(refused(second).0, ErrorCode::BadRequest);
}

#[test]
fn a_failed_second_append_is_tried_again_after_the_hold_and_nothing_is_lost() {
    let mut world = with_stdout();
    world.count(&[("a", 1)]);
    world.pass(5_000);
    world.second_fails = Some("no space left");
    assert!(world.quiet().is_empty());
    assert_eq!(world.core.deadline_ns(), Some(world.now.boot_ns + S), "no spinning meanwhile");
    assert_eq!(world.problems(), ["no space left"]);
    world.pass(400);
    counted(world.incr(&[("a", 2)]));
    assert_eq!(world.core.deadline_ns(), Some(world.now.boot_ns + 600 * MS));
    world.second_fails = None;
    world.pass(600);
    let actions = world.quiet();
    assert_eq!(lines(&prepared(&actions, 0).unwrap()[0]), [("a".into(), 3)]);
    assert_eq!(flushed(&actions), [1]);
    assert!(world.problems().is_empty());
}

#[test]
fn who_asked_for_a_flush_is_told_that_its_append_failed() {
    let mut world = with_stdout();
    world.count(&[("a", 1)]);
    world.second_fails = Some("no space left");
    let turned = world.turn(&[flush(10_000)], Vec::new());
    let [reply] = replies(turned.actions).try_into().unwrap();
    assert_eq!(refused(reply), (ErrorCode::Failed, "not flushed: no space left".into()));
    let turned = world.turn(&[flush(300)], Vec::new());
    assert!(replies(turned.actions).is_empty(), "the journal is left alone for a while");
    world.pass(300);
    let [reply] = replies(world.quiet()).try_into().unwrap();
    assert_eq!(refused(reply).1, "not flushed: no space left");
}

#[test]
fn who_only_waits_for_a_sink_goes_on_waiting_when_an_append_fails() {
    let mut world = with_stdout();
    world.count(&[("a", 1)]);
    world.turn(&[flush(10_000)], Vec::new());
    world.hear(0, SinkNews::Prepared(Prepared::Anywhere));
    world.second_fails = Some("no space left");
    assert!(replies(world.hear(0, SinkNews::Written)).is_empty());
    world.second_fails = None;
    world.pass(1_000);
    let [reply] = replies(world.quiet()).try_into().unwrap();
    assert_eq!(message(reply), Response::Flushed { window: 1 });
}

#[test]
fn while_the_journal_is_left_alone_nothing_asks_for_an_immediate_turn() {
    let mut world = World::with(rules(), &["stdout", "file:/x"]);
    world.count(&[("a", 1)]);
    world.core.flush_soon();
    world.quiet();
    world.hear(1, SinkNews::Failed("gone away".into()));
    world.pass(900);
    world.count(&[("a", 1)]);
    world.second_fails = Some("no");
    world.hear(0, SinkNews::Prepared(Prepared::Anywhere));
    let hold = world.now.boot_ns + S;
    for _ in 0..10 {
        assert_eq!(world.core.deadline_ns(), Some(hold));
        world.pass(99);
        world.core.flush_soon();
        world.quiet();
    }
}

#[test]
fn limits_reached_are_a_problem_until_the_next_flush_also_of_an_empty_window() {
    let mut world = World::with(Rules { counters_per_user_max: 0, ..rules() }, &[]);
    let id = world.new_id();
    refused(world.ask_as(7, &incr(id, &[("a", 1)])));
    assert_eq!(world.problems().len(), 1);
    world.pass(5_000);
    world.quiet();
    assert!(world.problems().is_empty());
}
