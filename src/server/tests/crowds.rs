//! Many at once: limits on connections, who gives way, and what the system is short of.

use rustix::io::Errno;

use super::*;

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
    assert_eq!(daemon.server.connections.numbers.gave_way, 1);
}

#[test]
fn at_the_limit_with_nobody_idle_the_listener_is_left_alone() {
    let mut daemon = at_most(2);
    let (first, second) = (busy(&mut daemon), busy(&mut daemon));
    let third = daemon.connect_for(&Request::Get { name: "a" });
    daemon.settle();
    assert!(!daemon.net.is_accepted(third));
    assert_eq!(daemon.sleeps(), Some(Duration::from_secs(10)), "only what is incomplete is due");
    daemon.pass(9_999);
    assert!(!daemon.net.is_accepted(third));
    daemon.pass(1);
    assert!(daemon.net.is_closed(first) && daemon.net.is_closed(second));
    assert_eq!(daemon.net.answers(third).len(), 1);
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
