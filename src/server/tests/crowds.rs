//! Many at once: limits on connections, who gives way, and what the system is short of.

use rustix::io::Errno;

use super::*;
use crate::server::numbers::Why;

fn at_most(connections_max: usize) -> Daemon {
    let limits = ConnectionLimits { connections_max, per_user_max: 10, owner: OWNER };
    Daemon::with(Kind { limits, ..Kind::default() })
}

/// A connection that has sent half a request.
fn busy(daemon: &mut Daemon) -> u64 {
    let connection = daemon.connect();
    daemon.net.send(connection, &[5, 0]);
    daemon.settle();
    connection
}

/// A connection that takes nothing of its answer.
fn unread(daemon: &mut Daemon) -> u64 {
    let connection = daemon.connect();
    daemon.net.room(connection, 0);
    daemon.ask(connection, &Request::Status);
    daemon.settle();
    connection
}

#[test]
fn at_the_limit_who_has_been_idle_for_longest_gives_way() {
    let mut daemon = at_most(3);
    let connections: Vec<u64> = (0..3)
        .map(|_| {
            daemon.pass(10);
            let connection = daemon.connect();
            daemon.settle();
            connection
        })
        .collect();
    daemon.ask(connections[0], &Request::Get { name: "a" });
    daemon.pass(10);
    assert_eq!(daemon.count("a"), total(1));
    let closed: Vec<bool> = connections.iter().map(|c| daemon.net.is_closed(*c)).collect();
    assert_eq!(closed, [false, true, false]);
    assert_eq!(daemon.server.connections.numbers.of(Why::GaveWay), 1);
}

#[test]
fn at_the_limit_half_a_request_gives_way_after_a_tenth_of_a_second_the_oldest_first() {
    let mut daemon = at_most(2);
    let first = busy(&mut daemon);
    daemon.pass(40);
    let second = busy(&mut daemon);
    let third = daemon.connect_for(&Request::Get { name: "a" });
    assert_eq!(daemon.sleeps(), Some(Duration::from_millis(60)));
    // One byte after the other makes nobody younger.
    daemon.pass(59);
    daemon.net.send(first, &[0]);
    daemon.settle();
    assert!(!daemon.net.is_accepted(third));
    daemon.pass(1);
    assert!(daemon.net.is_closed(first) && !daemon.net.is_closed(second));
    assert_eq!(daemon.net.answers(third).len(), 1);
    assert_eq!(daemon.sleeps(), Some(Duration::from_millis(9_940)), "nobody waits any more");
    let numbers = &daemon.server.connections.numbers;
    assert_eq!((numbers.of(Why::PushedOut), numbers.of(Why::GaveWay)), (1, 0));
}

#[test]
fn at_the_limit_who_is_idle_gives_way_before_who_is_stuck_and_that_before_who_is_restless() {
    let mut daemon = at_most(4);
    let restless = daemon.connect();
    let (first, rest) = (daemon.incr("a"), daemon.incr("a"));
    daemon.net.send(restless, &[&first[..], &rest[..5]].concat());
    daemon.settle();
    daemon.pass(100);
    let stuck = [busy(&mut daemon), unread(&mut daemon)];
    let idle = daemon.connect();
    daemon.settle();
    daemon.pass(300);
    // It has got on, but there was no turn that left it idle.
    daemon.net.send(restless, &[&rest[5..], &[9, 0]].concat());
    daemon.settle();
    for expected in [idle, stuck[0], stuck[1], restless] {
        assert!(!daemon.net.is_closed(expected));
        let new = busy(&mut daemon);
        assert!(daemon.net.is_closed(expected) && daemon.net.is_accepted(new));
    }
    assert_eq!(daemon.net.answers(restless), [total(1), total(2)]);
}

#[test]
fn who_is_answered_later_and_who_takes_a_dump_keep_their_places() {
    let mut daemon = Daemon::with(Kind {
        sinks: 1,
        limits: ConnectionLimits { connections_max: 2, per_user_max: 10, owner: OWNER },
        ..Kind::default()
    });
    daemon.fill(30_000);
    daemon.gates[0].shut(true);
    let flush = daemon.connect_for(&Request::Flush { timeout_ms: 60_000 });
    let reader = daemon.connect();
    daemon.settle();
    daemon.net.room(reader, 0);
    daemon.ask(reader, &dump());
    let third = daemon.connect_for(&Request::Get { name: "n000000" });
    for _ in 0..20 {
        daemon.net.room(reader, 10_000);
        daemon.pass(99);
    }
    daemon.pass(99);
    assert!(!daemon.net.is_accepted(third) && !daemon.net.is_closed(reader));
    daemon.pass(1);
    assert!(daemon.net.is_closed(reader) && !daemon.net.is_closed(flush));
    assert_eq!(daemon.net.answers(third).len(), 1);
    daemon.gates[0].shut(false);
    daemon.until(|daemon| daemon.net.is_closed(flush));
    assert_eq!(daemon.net.answers(flush), ["Flushed { window: 1 }"]);
}

#[test]
fn while_full_with_nobody_to_give_way_the_loop_sleeps() {
    let mut daemon = Daemon::with(Kind {
        sinks: 1,
        limits: ConnectionLimits { connections_max: 2, per_user_max: 10, owner: OWNER },
        ..Kind::default()
    });
    daemon.count("a");
    daemon.gates[0].shut(true);
    let wait = Request::Flush { timeout_ms: 60_000 };
    let waiters = [daemon.connect_for(&wait), daemon.connect_for(&wait)];
    daemon.until(|daemon| !daemon.server.core.has_unflushed());
    let third = daemon.connect_for(&Request::Get { name: "a" });
    daemon.settle();
    let before = daemon.net.script().waits.len();
    for _ in 0..59 {
        daemon.pass(1_000);
    }
    let turns = daemon.net.script().waits.len() - before;
    assert!(turns < 10, "{turns} turns in 59 s");
    assert!(!daemon.net.is_accepted(third));
    daemon.gates[0].shut(false);
    daemon.until(|daemon| waiters.iter().all(|waiter| daemon.net.is_closed(*waiter)));
    assert_eq!(daemon.net.answers(third).len(), 1);
}

#[test]
fn a_thousand_half_requests_hold_up_a_thousand_others_for_no_second() {
    let mut daemon = at_most(1_000);
    for _ in 0..1_000 {
        daemon.net.send(daemon.net.connect(OWNER), b"countd\x01\0\x05");
    }
    daemon.settle();
    let others: Vec<u64> =
        (0..1_000).map(|_| daemon.connect_for(&Request::Get { name: "a" })).collect();
    daemon.settle();
    let before = daemon.net.script().waits.len();
    for _ in 0..10 {
        daemon.pass(10);
    }
    let turns = daemon.net.script().waits.len() - before;
    assert!(turns < 30, "{turns} turns");
    for other in others {
        assert_eq!(daemon.net.answers(other).len(), 1);
    }
    // Those that were answered made room for the next; so few had to go.
    assert_eq!(daemon.server.connections.numbers.of(Why::PushedOut), 256);
}

#[test]
fn who_waits_at_the_limit_is_let_in_when_somebody_becomes_idle() {
    let mut daemon = at_most(1);
    let first = daemon.connect();
    let request = daemon.incr("a");
    daemon.net.send(first, &request[..5]);
    daemon.settle();
    let second = daemon.connect_for(&Request::Get { name: "a" });
    daemon.settle();
    assert!(!daemon.net.is_accepted(second));
    daemon.net.send(first, &request[5..]);
    daemon.settle();
    assert_eq!(daemon.net.answers(first), [total(1)]);
    assert_eq!(daemon.net.answers(second).len(), 1);
}

#[test]
fn a_request_that_has_come_is_read_before_its_connection_gives_way() {
    let mut daemon = at_most(1);
    let first = daemon.connect();
    daemon.settle();
    let request = daemon.incr("a");
    daemon.net.send(first, &request);
    let second = daemon.connect_for(&Request::Get { name: "a" });
    daemon.settle();
    assert_eq!(daemon.net.answers(first), [total(1)]);
    assert_eq!(daemon.net.answers(second).len(), 1);
}

#[test]
fn over_the_limit_of_a_user_a_connection_is_refused_as_busy() {
    let mut daemon = Daemon::new();
    let of = |daemon: &Daemon, uid| {
        let connection = daemon.net.connect(uid);
        daemon.net.send(connection, &[hello(false), framed(&Request::Get { name: "a" })].concat());
        connection
    };
    let own: Vec<u64> = (0..10).map(|_| of(&daemon, 7)).collect();
    daemon.settle();
    let eleventh = of(&daemon, 7);
    let others: Vec<u64> = (0..12).flat_map(|_| [of(&daemon, OWNER), of(&daemon, 0)]).collect();
    daemon.settle();
    let answers = daemon.net.answers(eleventh);
    assert!(answers.len() == 1 && answers[0].starts_with("Error { code: 4, "), "{answers:?}");
    assert!(answers[0].contains("uid 7 has 10 connections"), "{answers:?}");
    assert!(daemon.net.is_closed(eleventh));
    for connection in own.iter().chain(&others) {
        assert_eq!(daemon.net.answers(*connection).len(), 1);
    }
    daemon.net.end(own[0]);
    daemon.settle();
    let again = of(&daemon, 7);
    daemon.settle();
    assert!(!daemon.net.is_closed(again));
}

#[test]
fn when_descriptors_run_out_one_idle_connection_gives_way() {
    let mut daemon = Daemon::new();
    let idle: Vec<u64> = (0..5).map(|_| daemon.connect()).collect();
    daemon.settle();
    daemon.net.fail_accepts([Errno::MFILE.into()]);
    assert_eq!(daemon.count("a"), total(1));
    assert_eq!(idle.iter().filter(|c| daemon.net.is_closed(**c)).count(), 1);
}

#[test]
fn nobody_gives_way_to_nobody() {
    let mut daemon = at_most(2);
    let connections = [daemon.connect(), daemon.connect()];
    daemon.settle();
    let third = daemon.connect_for(&Request::Get { name: "a" });
    daemon.settle();
    assert_eq!(daemon.net.answers(third).len(), 1);
    assert_eq!(connections.iter().filter(|c| daemon.net.is_closed(**c)).count(), 1);
    daemon.net.fail_accepts([Errno::MFILE.into()]);
    daemon.net.knock();
    daemon.pass(60_000);
    assert_eq!((daemon.open(), daemon.sleeps()), (1, None));
}

#[test]
fn accept_errors_neither_spin_nor_end_the_server() {
    for errno in [Errno::MFILE, Errno::NFILE, Errno::NOMEM, Errno::INVAL, Errno::PERM] {
        let mut daemon = Daemon::new();
        let idle: Vec<u64> = (0..5).map(|_| daemon.connect()).collect();
        daemon.settle();
        daemon.net.fail_accepts((0..20).map(|_| errno.into()));
        let waiting = daemon.connect_for(&Request::Get { name: "a" });
        assert_eq!(daemon.sleeps(), Some(Duration::from_millis(100)));
        let closed = || idle.iter().filter(|c| daemon.net.is_closed(**c)).count();
        assert!(closed() <= 1, "{errno:?}");
        let before = daemon.net.script().waits.len();
        for _ in 0..50 {
            daemon.pass(100);
        }
        let turns = daemon.net.script().waits.len() - before;
        assert!(turns < 80, "{turns} turns in 5 s");
        assert_eq!(daemon.net.answers(waiting).len(), 1, "{errno:?}");
        assert_eq!(daemon.sleeps(), None);
    }
}

#[test]
fn who_hung_up_before_being_accepted_costs_nothing() {
    let mut daemon = Daemon::new();
    let aborted = io::Error::from(io::ErrorKind::ConnectionAborted);
    daemon.net.fail_accepts([aborted, io::ErrorKind::Interrupted.into()]);
    assert_eq!(daemon.count("a"), total(1));
}

#[test]
fn many_who_connect_at_once_are_all_answered() {
    let mut daemon = at_most(2_000);
    let connections: Vec<u64> = (0..1_000)
        .map(|_| {
            let request = [hello(true), daemon.incr("a")].concat();
            let connection = daemon.net.connect(OWNER);
            daemon.net.send(connection, &request);
            connection
        })
        .collect();
    daemon.settle();
    let turns = daemon.net.script().waits.len();
    assert!(turns < 10, "{turns} turns");
    for connection in connections {
        assert_eq!(daemon.net.answers(connection).len(), 1);
    }
    assert_eq!(daemon.count("a"), total(1_001));
}

#[test]
fn who_writes_much_does_not_starve_the_others() {
    let mut daemon = at_most(200);
    let writers: Vec<u64> = (0..40).map(|_| daemon.connect()).collect();
    daemon.settle();
    // Frames of their own length that are no requests, a mebibyte of them.
    let much = [vec![0, 0, 4, 0], vec![255; 4 << 16]].concat().repeat(4);
    for writer in &writers {
        daemon.net.send(*writer, &much);
    }
    let late = daemon.connect_for(&Request::Get { name: "a" });
    let mut turns = 0;
    while daemon.net.answers(late).is_empty() {
        daemon.server.turn(Some(Duration::ZERO)).unwrap();
        turns += 1;
    }
    assert!(turns <= 4, "{turns} turns");
}

#[test]
fn the_more_ask_much_the_less_of_each_is_answered_in_a_turn() {
    let mut daemon = at_most(2_000);
    let connections: Vec<u64> = (0..512).map(|_| daemon.connect()).collect();
    daemon.settle();
    for connection in &connections {
        daemon.net.send(*connection, &framed(&Request::Get { name: "a" }).repeat(30));
    }
    let each_got = |daemon: &Daemon, answers: usize| {
        connections.iter().all(|connection| daemon.net.answers(*connection).len() == answers)
    };
    for turn in 1..=7 {
        daemon.server.turn(Some(Duration::ZERO)).unwrap();
        assert!(each_got(&daemon, 4), "turn {turn}");
    }
    daemon.settle();
    assert!(each_got(&daemon, 2));
    assert_eq!(daemon.sleeps(), None);
}

#[test]
fn a_connection_is_active_once_however_often_it_is_ready() {
    let mut daemon = at_most(200);
    let connections: Vec<u64> = (0..100).map(|_| daemon.connect()).collect();
    daemon.settle();
    for _ in 0..10 {
        for connection in &connections {
            daemon.net.send(*connection, b"");
            daemon.net.room(*connection, usize::MAX);
        }
    }
    let network = &mut *daemon.server.network;
    let mut ready = Vec::new();
    network.wait(Some(Duration::ZERO), &mut ready).unwrap();
    for what in ready {
        if let Ready::Readable(number) = what {
            daemon.server.connections.now_readable(number, false);
        }
    }
    assert_eq!(daemon.server.connections.active_len(), 100);
}

#[test]
fn each_way_to_be_refused_or_hung_up_on_has_its_number_in_the_status() {
    let mut daemon = at_most(50);
    let says = |daemon: &mut Daemon, what: &str| {
        let status = daemon.connect_for(&Request::Status);
        daemon.settle();
        let answer = daemon.net.answers(status).concat();
        assert!(answer.contains(what), "{what}: {answer}");
    };
    let sends = |daemon: &mut Daemon, bytes: &[u8]| {
        let connection = daemon.connect();
        daemon.net.send(connection, bytes);
        daemon.settle();
        connection
    };
    let numbered = |key: &str, n: u64| format!("(\"connections_{key}\", Number({n}))");

    let other = daemon.net.connect(OWNER);
    daemon.net.send(other, b"GET / HTTP/1.1");
    let later = daemon.net.connect(OWNER);
    daemon.net.send(later, b"countd\x63\0");
    sends(&mut daemon, &[255; 4]);
    for key in ["not_countd", "other_version", "oversized"] {
        says(&mut daemon, &numbered(key, 1));
    }
    sends(&mut daemon, &[5, 0]);
    unread(&mut daemon);
    daemon.pass(10_000);
    says(&mut daemon, &numbered("timed_out", 1));
    says(&mut daemon, &numbered("stalled", 1));

    (0..11).for_each(|_| _ = daemon.net.connect(7));
    daemon.settle();
    says(&mut daemon, &numbered("over_user_limit", 1));
    says(&mut daemon, "1 connections refused since the last flush: a user had a quarter");

    let half = [vec![0, 0, 16, 0], vec![0; 1 << 20]].concat();
    let large: Vec<u64> = (0..33).map(|_| sends(&mut daemon, &half[..half.len() - 1])).collect();
    says(&mut daemon, &numbered("over_input_limit", 2));
    says(&mut daemon, "2 connections refused since the last flush: too much was half sent");
    large.iter().for_each(|connection| daemon.net.end(*connection));
    daemon.settle();

    daemon.net.fail_accepts([Errno::INVAL.into()]);
    daemon.net.knock();
    daemon.pass(1_000);
    daemon.pass(100);
    says(&mut daemon, &numbered("not_accepted", 1));
    says(&mut daemon, "1 times since the last flush no connection could be accepted");

    let idle = daemon.open();
    (idle..50).for_each(|_| _ = busy(&mut daemon));
    (0..idle).for_each(|_| _ = busy(&mut daemon));
    daemon.pass(1_000);
    says(&mut daemon, &numbered("gave_way", idle as u64));
    says(&mut daemon, &numbered("pushed_out", 1));
    says(&mut daemon, "connections that were not idle closed since the last flush");
    // The next window is empty, and its end a flush all the same.
    daemon.pass(5_000);
    says(&mut daemon, "problems: []");
    assert_eq!(daemon.count("a"), total(1));
}
