//! Who reads slowly, and who waits: dumps in pieces, status, and flush.

use super::*;

#[test]
fn a_dump_comes_in_pieces_and_others_are_answered_between_them() {
    let mut daemon = Daemon::new();
    daemon.fill(20_000);
    let reader = daemon.connect_for(&dump());
    let mut pieces = 0;
    while !daemon.net.is_closed(reader) {
        let connection = daemon.net.connect(OWNER);
        let request = [hello(true), daemon.incr("other")].concat();
        daemon.net.send(connection, &request);
        daemon.server.turn(Some(Duration::ZERO)).unwrap();
        assert_eq!(daemon.net.answers(connection).len(), 1);
        pieces += 1;
    }
    assert!((4..8).contains(&pieces), "{pieces} turns");
    let answers = daemon.net.answers(reader);
    assert_eq!(answers.last().unwrap(), "End { rows: 20001 }");
}

#[test]
fn a_reader_that_takes_nothing_holds_bounded_memory_and_holds_up_nobody() {
    let mut daemon = Daemon::new();
    daemon.fill(30_000);
    let reader = daemon.connect();
    daemon.settle();
    daemon.net.room(reader, 1_000);
    daemon.ask(reader, &dump());
    daemon.settle();
    // One piece of at most 4,096 rows beside what stands for the rest of the snapshot.
    let queued = daemon.server.connections.get(reader).unwrap().queued();
    assert!(queued < (1 << 20) + 300_000, "{queued} bytes");
    for n in 1..=20 {
        assert_eq!(daemon.count("other"), total(n));
    }
    assert_eq!(daemon.sleeps(), Some(Duration::from_secs(5)), "nothing but the flush is due");
    let request = daemon.incr("late");
    daemon.net.send(reader, &request);
    daemon.settle();
    while daemon.server.connections.get(reader).unwrap().queued() > 0 {
        daemon.net.room(reader, 10_000);
        daemon.settle();
        let queued = daemon.server.connections.get(reader).unwrap().queued();
        assert!(queued < (1 << 20) + 300_000, "{queued} bytes");
    }
    let answers = daemon.net.answers(reader);
    assert_eq!(answers[answers.len() - 2], "End { rows: 30000 }");
    assert_eq!(answers.last(), Some(&total(1)), "what came behind the dump is answered after it");
}

#[test]
fn four_dumps_at_a_time_and_no_more() {
    let mut daemon = Daemon::new();
    daemon.fill(20_000);
    let readers: Vec<u64> = (0..5).map(|_| daemon.connect()).collect();
    daemon.settle();
    for reader in &readers {
        daemon.net.room(*reader, 10);
        daemon.ask(*reader, &dump());
        daemon.settle();
    }
    daemon.net.room(readers[4], usize::MAX);
    daemon.settle();
    let answers = daemon.net.answers(readers[4]);
    assert!(answers[0].starts_with("Error { code: 4, "), "{answers:?}");
    daemon.net.end(readers[0]);
    daemon.net.room(readers[0], usize::MAX);
    daemon.settle();
    assert!(daemon.net.is_closed(readers[0]));
    daemon.ask(readers[4], &dump());
    daemon.settle();
    assert_eq!(daemon.net.answers(readers[4]).last().unwrap(), "End { rows: 20000 }");
}

#[test]
fn a_dump_of_which_nothing_matches_for_long_still_takes_its_turns() {
    let mut daemon = Daemon::new();
    daemon.fill(20_000);
    let wanted = Wanted { patterns: vec!["n019999"], tags: vec![] };
    let reader = daemon.connect_for(&Request::Dump { wanted });
    daemon.settle();
    let answers = daemon.net.answers(reader);
    assert_eq!(answers[1..], ["1 rows", "End { rows: 1 }"]);
}

#[test]
fn status_is_answered_and_its_connection_hung_up() {
    let mut daemon = Daemon::new();
    daemon.count("a");
    let connection = daemon.connect_for(&Request::Status);
    daemon.settle();
    let answers = daemon.net.answers(connection);
    assert!(answers.len() == 1 && answers[0].starts_with("Status("), "{answers:?}");
    for fact in ["\"counters\", Number(1)", "\"increments\", Number(1)", "\"uptime\""] {
        assert!(answers[0].contains(fact), "{fact}: {answers:?}");
    }
    assert!(daemon.net.is_closed(connection));
}

#[test]
fn a_flush_is_answered_when_every_sink_has_it_and_then_hung_up() {
    let mut daemon = Daemon::with(Kind { sinks: 2, ..Kind::default() });
    daemon.count("a");
    daemon.gates[1].shut(true);
    let connection = daemon.connect_for(&Request::Flush { timeout_ms: 60_000 });
    daemon.until(|daemon| daemon.written(0) == "a 1\n");
    assert!(daemon.net.answers(connection).is_empty() && !daemon.net.is_closed(connection));
    assert_eq!(daemon.count("a"), total(2));
    daemon.gates[1].shut(false);
    daemon.until(|daemon| daemon.net.is_closed(connection));
    assert_eq!(daemon.net.answers(connection), ["Flushed { window: 1 }"]);
    assert_eq!(daemon.written(1), "a 1\n");
}

#[test]
fn a_flush_that_waits_too_long_is_told_whom_for_and_hung_up() {
    let mut daemon = Daemon::with(Kind { sinks: 2, ..Kind::default() });
    daemon.count("a");
    daemon.gates[1].shut(true);
    let connection = daemon.connect_for(&Request::Flush { timeout_ms: 700 });
    daemon.until(|daemon| daemon.written(0) == "a 1\n");
    let late = daemon.net.connect(OWNER);
    daemon.net.send(late, &hello(false));
    assert_eq!(daemon.sleeps(), Some(Duration::from_millis(700)));
    daemon.pass(700);
    let answers = daemon.net.answers(connection);
    assert!(answers[0].contains("not yet taken by file:/1 (1 window)"), "{answers:?}");
    assert!(daemon.net.is_closed(connection));
    assert_eq!(daemon.sleeps(), None, "a sink that is at work is waited for without looking");
    daemon.gates[1].shut(false);
    daemon.until(|daemon| daemon.written(1) == "a 1\n");
}

#[test]
fn bytes_behind_the_one_request_of_a_connection_do_not_disturb_its_answer() {
    let mut daemon = Daemon::with(Kind { sinks: 1, ..Kind::default() });
    daemon.count("a");
    daemon.gates[0].shut(true);
    let connection = daemon.net.connect(OWNER);
    let flush = framed(&Request::Flush { timeout_ms: 60_000 });
    daemon.net.send(connection, &[hello(true), flush, b"more".to_vec()].concat());
    daemon.settle();
    daemon.pass(15_000);
    assert!(!daemon.net.is_closed(connection));
    daemon.gates[0].shut(false);
    daemon.until(|daemon| daemon.net.is_closed(connection));
    assert_eq!(daemon.net.answers(connection), ["Flushed { window: 1 }"]);
}
