//! Stopping: what was received is answered, the last window reaches its sinks, and nobody waits for ever.

use super::*;
use crate::server::network::Backlog;

#[test]
fn what_was_received_is_answered_and_the_last_window_flushed() {
    let mut daemon = Daemon::with(Kind { sinks: 1, ..Kind::default() });
    let (known, idle) = (daemon.connect(), daemon.connect());
    daemon.settle();
    let request = daemon.incr("a");
    daemon.net.send(known, &request);
    let request = [hello(true), daemon.incr("a")].concat();
    let waiting = daemon.net.connect(OWNER);
    daemon.net.send(waiting, &request);
    daemon.stopper.stop();
    daemon.net.sleep(Sleep::UntilWoken);
    daemon.server.stop().unwrap();
    assert_eq!(daemon.net.answers(known).len(), 1);
    assert_eq!(daemon.net.answers(waiting).len(), 1);
    assert!([known, idle, waiting].iter().all(|c| daemon.net.is_closed(*c)));
    assert!(!daemon.net.script().listening);
    assert_eq!(daemon.written(0), "a 2\n");
    assert!(daemon.notices.lock().unwrap().is_empty());
}

#[test]
fn who_waits_at_a_socket_that_was_handed_over_is_left_to_the_next_server() {
    let mut daemon = Daemon::new();
    daemon.net.script().stopping = Backlog::Left;
    let known = daemon.connect();
    daemon.settle();
    let request = daemon.incr("a");
    daemon.net.send(known, &request);
    daemon.server.begin_stop();
    let request = [hello(true), daemon.incr("a")].concat();
    let waiting = daemon.net.connect(OWNER);
    daemon.net.send(waiting, &request);
    daemon.server.stop().unwrap();
    assert_eq!(daemon.net.answers(known).len(), 1);
    assert!(daemon.net.is_closed(known) && !daemon.net.is_accepted(waiting));
    // Nor does it keep the server, which would come back for it again and again.
    assert_eq!(daemon.server.timeout(), None);
}

#[test]
fn a_server_that_was_stopped_before_it_ran_ends_in_good_order() {
    let daemon = Daemon::new();
    let connection = daemon.net.connect(OWNER);
    daemon.net.send(connection, &[hello(true), framed(&Request::Status)].concat());
    daemon.stopper.stop();
    daemon.server.run().unwrap();
    assert_eq!(daemon.net.answers(connection).len(), 1);
}

#[test]
fn more_than_are_accepted_in_a_turn_are_still_answered() {
    let limits = ConnectionLimits { connections_max: 2_000, per_user_max: 10, owner: OWNER };
    let mut daemon = Daemon::with(Kind { limits, ..Kind::default() });
    let mut connections = Vec::new();
    for n in 0..600 {
        let connection = daemon.net.connect(OWNER);
        // Some never say what they want: they must not be waited for.
        if n % 2 == 0 {
            let request = [hello(true), daemon.incr("a")].concat();
            daemon.net.send(connection, &request);
        }
        connections.push(connection);
    }
    let begun = daemon.clock.now();
    daemon.server.stop().unwrap();
    assert_eq!(daemon.clock.now(), begun);
    for (n, connection) in connections.into_iter().enumerate() {
        assert_eq!(daemon.net.answers(connection).len(), usize::from(n % 2 == 0));
        assert!(daemon.net.is_closed(connection));
    }
}

#[test]
fn a_sink_that_takes_nothing_is_given_four_seconds_and_named() {
    let mut daemon = Daemon::with(Kind { sinks: 2, ..Kind::default() });
    daemon.count("a");
    daemon.gates[1].shut(true);
    daemon.server.core.flush_soon();
    daemon.until(|daemon| daemon.written(0) == "a 1\n");
    let begun = daemon.clock.now().boot_ns;
    daemon.server.stop().unwrap();
    let took = daemon.clock.now().boot_ns - begun;
    assert!((4_000_000_000..5_000_000_000).contains(&took), "{took} ns");
    let turns = daemon.net.script().waits.len();
    assert!(turns < 200, "{turns} turns");
    let said = "not yet taken by file:/1 (1 window); it is lost, as nothing is kept";
    assert_eq!(*daemon.notices.lock().unwrap(), [said]);
    daemon.gates[1].shut(false);
}

#[test]
fn a_reader_that_takes_nothing_is_given_four_seconds() {
    let mut daemon = Daemon::new();
    daemon.fill(10_000);
    let reader = daemon.connect();
    daemon.settle();
    daemon.net.room(reader, 10);
    daemon.ask(reader, &dump());
    daemon.settle();
    let begun = daemon.clock.now().boot_ns;
    daemon.server.stop().unwrap();
    let took = daemon.clock.now().boot_ns - begun;
    assert!((4_000_000_000..5_000_000_000).contains(&took), "{took} ns");
}

#[test]
fn asked_to_stop_once_more_after_a_second_it_waits_for_nobody() {
    let mut daemon = Daemon::new();
    let begun_ns = daemon.clock.now().boot_ns;
    daemon.server.begin_stop();
    // What sends a signal to a process and to its group sends two.
    daemon.stopper.stop();
    daemon.stopper.stop();
    assert!(daemon.server.is_patient(u64::MAX));
    daemon.clock.pass(Duration::from_millis(1_500));
    assert!(daemon.server.is_patient(u64::MAX));
    assert!(!daemon.server.is_patient(begun_ns + 1_000_000_000));
    daemon.stopper.stop();
    assert!(!daemon.server.is_patient(u64::MAX));
}

#[test]
fn who_waits_for_a_flush_is_answered_before_the_end() {
    let mut daemon = Daemon::with(Kind { sinks: 1, ..Kind::default() });
    daemon.count("a");
    let connection = daemon.connect_for(&Request::Flush { timeout_ms: 60_000 });
    daemon.stopper.stop();
    daemon.net.sleep(Sleep::UntilWoken);
    daemon.server.stop().unwrap();
    assert_eq!(daemon.net.answers(connection), ["Flushed { window: 1 }"]);
}
