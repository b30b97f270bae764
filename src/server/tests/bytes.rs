//! Bytes that come in: in any pieces, garbled, too long, too slow, too many.

use proptest::prelude::*;

use super::*;

#[test]
fn a_request_is_answered_and_one_request_connections_are_hung_up() {
    let mut daemon = Daemon::new();
    assert_eq!(daemon.count("a"), total(1));
    assert_eq!(daemon.count("a"), total(2));
    assert_eq!(daemon.open(), 0);
    assert_eq!(daemon.sleeps(), Some(Duration::from_secs(5)));
}

#[test]
fn a_connection_that_said_hello_may_ask_again_and_again() {
    let mut daemon = Daemon::new();
    let connection = daemon.connect();
    for n in 1..=3 {
        let request = daemon.incr("a");
        daemon.net.send(connection, &request);
        daemon.settle();
        assert_eq!(daemon.net.answers(connection), [total(n)]);
    }
    daemon.net.end(connection);
    daemon.settle();
    assert!(daemon.net.is_closed(connection));
}

#[test]
fn all_requests_of_a_turn_are_one_append() {
    let disk = FakeDisk::default();
    let mut daemon = Daemon::with(Kind { disk: Some(disk.clone()), ..Kind::default() });
    let connections: Vec<u64> = (0..5).map(|_| daemon.connect()).collect();
    daemon.pass(0);
    daemon.until(|daemon| daemon.server.journal.unsynced() == 0);
    for connection in &connections {
        let request = [daemon.incr("a"), daemon.incr("b")].concat();
        daemon.net.send(*connection, &request);
    }
    let before = disk.operations();
    daemon.server.turn(Some(Duration::ZERO)).unwrap();
    assert_eq!(disk.operations() - before, 1);
    for connection in connections {
        assert_eq!(daemon.net.answers(connection).len(), 2);
    }
}

#[test]
fn a_wrong_version_gets_the_frozen_error_and_is_hung_up() {
    let mut daemon = Daemon::new();
    let connection = daemon.net.connect(OWNER);
    daemon.net.send(connection, b"countd\x63\x00and whatever a later version sends");
    daemon.settle();
    let answers = daemon.net.answers(connection);
    assert!(answers[0].starts_with("Error { code: 2, "), "{answers:?}");
    assert!(answers[0].contains("version 99"), "{answers:?}");
    assert_eq!(answers.len(), 1);
    assert!(daemon.net.is_closed(connection));
}

#[test]
fn garbage_and_an_oversized_frame_get_an_error_and_are_hung_up() {
    let mut daemon = Daemon::new();
    for (bytes, why) in [
        (&b"GET / HTTP/1.1\r\n\r\n"[..], "this is a countd socket"),
        (b"countd\x01\x00\x01\x00\x10\x00", "over the limit of 1048576"),
    ] {
        let connection = daemon.net.connect(OWNER);
        daemon.net.send(connection, bytes);
        daemon.settle();
        let answers = daemon.net.answers(connection);
        assert!(answers.len() == 1 && answers[0].contains(why), "{answers:?}");
        assert!(answers[0].starts_with("Error { code: 1, "), "{answers:?}");
        assert!(daemon.net.is_closed(connection));
    }
    assert_eq!(daemon.count("a"), total(1));
}

#[test]
fn a_frame_that_is_no_request_is_answered_and_the_connection_goes_on() {
    let mut daemon = Daemon::new();
    let connection = daemon.connect();
    let request = [vec![2, 0, 0, 0, 77, 0], daemon.incr("a")].concat();
    daemon.net.send(connection, &request);
    daemon.settle();
    let answers = daemon.net.answers(connection);
    assert!(answers[0].contains("malformed"), "{answers:?}");
    assert_eq!(answers[1], total(1));
}

#[test]
fn an_incomplete_frame_times_out_ten_seconds_after_its_first_byte() {
    let mut daemon = Daemon::new();
    let (slow, idle) = (daemon.connect(), daemon.connect());
    daemon.settle();
    assert_eq!(daemon.sleeps(), None, "a hello alone is not incomplete");
    let request = daemon.incr("a");
    daemon.net.send(slow, &request[..3]);
    assert_eq!(daemon.sleeps(), Some(Duration::from_secs(10)));
    daemon.pass(6_000);
    daemon.net.send(slow, &request[3..5]);
    assert_eq!(daemon.sleeps(), Some(Duration::from_secs(4)));
    daemon.pass(3_999);
    assert!(!daemon.net.is_closed(slow));
    daemon.pass(1);
    assert!(daemon.net.is_closed(slow) && !daemon.net.is_closed(idle));
    // Busy, so that it asks again if it was only stopped for a while.
    let said = "Error { code: 4, message: \"no complete request came in 10 s\" }";
    assert_eq!(daemon.net.answers(slow), [said]);
    assert_eq!(daemon.sleeps(), None);
}

#[test]
fn a_connection_that_never_says_a_whole_hello_times_out_too() {
    let mut daemon = Daemon::new();
    let connection = daemon.net.connect(OWNER);
    daemon.net.send(connection, b"coun");
    daemon.settle();
    daemon.pass(10_000);
    assert!(daemon.net.is_closed(connection));
}

#[test]
fn what_was_sent_before_the_end_is_answered() {
    let mut daemon = Daemon::new();
    let connection = daemon.connect();
    let request = [daemon.incr("a"), daemon.incr("a"), vec![9, 0]].concat();
    daemon.net.send(connection, &request);
    daemon.net.end(connection);
    daemon.settle();
    assert_eq!(daemon.net.answers(connection), [total(1), total(2)]);
    assert!(daemon.net.is_closed(connection));
}

#[test]
fn an_end_that_is_told_with_the_last_bytes_is_read() {
    let mut daemon = Daemon::new();
    let connection = daemon.connect();
    daemon.settle();
    let request = daemon.incr("a");
    daemon.net.send(connection, &request);
    daemon.net.end(connection);
    daemon.settle();
    assert!(daemon.net.is_closed(connection));
    assert_eq!(daemon.count("a"), total(2));
}

#[test]
fn bytes_of_what_was_refused_are_held_no_more() {
    let mut daemon = Daemon::new();
    let garbage = vec![b'x'; 200 << 10];
    for _ in 0..200 {
        let connection = daemon.net.connect(OWNER);
        daemon.net.send(connection, &garbage);
        daemon.settle();
        let oversized = [hello(false), vec![255; 200 << 10]].concat();
        let connection = daemon.net.connect(OWNER);
        daemon.net.send(connection, &oversized);
        daemon.settle();
    }
    assert_eq!(daemon.open(), 0);
    assert_eq!(daemon.count("a"), total(1));
}

#[test]
fn bytes_of_what_was_answered_are_held_no_more() {
    let mut daemon = Daemon::new();
    let whole = [hello(false), vec![0, 0, 8, 0], vec![255; 1 << 19]].concat();
    let connections: Vec<u64> = (0..80)
        .map(|_| {
            let connection = daemon.net.connect(OWNER);
            daemon.net.send(connection, &whole);
            daemon.settle();
            connection
        })
        .collect();
    for connection in connections {
        assert!(daemon.net.answers(connection)[0].contains("malformed"));
        assert!(!daemon.net.is_closed(connection));
    }
}

#[test]
fn past_what_all_may_hold_who_sends_more_is_refused_as_busy_and_then_there_is_room() {
    let mut daemon = Daemon::new();
    let half = [hello(false), vec![0, 0, 16, 0], vec![0; 1 << 20]].concat();
    let half = &half[..half.len() - 1];
    let connections: Vec<u64> = (0..40)
        .map(|_| {
            let connection = daemon.net.connect(OWNER);
            daemon.net.send(connection, half);
            daemon.settle();
            connection
        })
        .collect();
    let closed: Vec<bool> = connections.iter().map(|c| daemon.net.is_closed(*c)).collect();
    assert_eq!(closed.iter().filter(|closed| **closed).count(), 40 - 31);
    let answers = daemon.net.answers(*connections.last().unwrap());
    assert!(answers[0].starts_with("Error { code: 4, "), "{answers:?}");
    for connection in connections {
        daemon.net.end(connection);
    }
    daemon.settle();
    assert_eq!((daemon.open(), daemon.count("a")), (0, total(1)));
}

#[test]
fn many_small_requests_are_answered_a_share_a_turn_and_others_in_between() {
    let mut daemon = Daemon::new();
    let connection = daemon.connect();
    daemon.settle();
    daemon.net.send(connection, &framed(&Request::Status).repeat(1_000));
    daemon.server.turn(Some(Duration::ZERO)).unwrap();
    let first = daemon.net.answers(connection).len();
    assert!((1..100).contains(&first), "{first}");
    assert_eq!(daemon.server.timeout(), Some(Duration::ZERO));
    let other = daemon.connect_for(&Request::Get { name: "a" });
    daemon.server.turn(Some(Duration::ZERO)).unwrap();
    assert_eq!(daemon.net.answers(other).len(), 1);
    let second = daemon.net.answers(connection).len();
    daemon.settle();
    assert_eq!(first + second + daemon.net.answers(connection).len(), 1_000);
    assert_eq!(daemon.sleeps(), None);
}

#[test]
fn who_does_not_take_answers_is_not_answered_further_and_hung_up_on_after_10_s() {
    let mut daemon = Daemon::new();
    let connection = daemon.connect();
    daemon.settle();
    daemon.net.room(connection, 0);
    daemon.net.send(connection, &framed(&Request::Status).repeat(40_000));
    daemon.settle();
    let queued = daemon.server.connections.get(connection).unwrap().queued();
    assert!(queued < 3 << 20, "{queued} bytes");
    daemon.pass(9_900);
    assert!(!daemon.net.is_closed(connection));
    assert_eq!(daemon.count("a"), total(1));
    daemon.net.room(connection, 10);
    daemon.settle();
    daemon.pass(9_900);
    assert!(!daemon.net.is_closed(connection), "it has taken something meanwhile");
    daemon.pass(200);
    assert!(daemon.net.is_closed(connection));
    assert_eq!(daemon.sleeps(), None);
}

#[test]
fn who_takes_answers_late_gets_them_all() {
    let mut daemon = Daemon::new();
    let connection = daemon.connect();
    daemon.settle();
    daemon.net.room(connection, 0);
    daemon.net.send(connection, &framed(&Request::Status).repeat(40_000));
    daemon.settle();
    daemon.pass(5_000);
    daemon.net.room(connection, usize::MAX);
    daemon.settle();
    assert_eq!(daemon.net.answers(connection).len(), 40_000);
    assert_eq!(daemon.sleeps(), None);
}

#[test]
fn a_request_before_a_bad_frame_is_answered_and_then_the_bad_frame() {
    let mut daemon = Daemon::new();
    let connection = daemon.connect();
    daemon.settle();
    let mut bytes = daemon.incr("piped");
    bytes.extend_from_slice(&[0xff, 0xff, 0xff, 0x7f]);
    daemon.net.send(connection, &bytes);
    daemon.settle();
    let answers = daemon.net.answers(connection);
    assert_eq!(answers.len(), 2, "{answers:?}");
    assert_eq!(answers[0], total(1));
    assert!(answers[1].contains("over the limit"), "{answers:?}");
    assert!(daemon.net.is_closed(connection));
}

#[test]
fn requests_behind_a_flush_wait_for_its_answer() {
    let mut daemon = Daemon::with(Kind { sinks: 1, ..Kind::default() });
    daemon.gates[0].shut(true);
    daemon.count("a");
    let connection = daemon.connect();
    daemon.settle();
    let flush = framed(&Request::Flush { timeout_ms: 1_000 });
    daemon.net.send(connection, &[flush, framed(&Request::Get { name: "a" })].concat());
    daemon.settle();
    daemon.net.send(connection, &framed(&Request::Get { name: "a" }));
    daemon.settle();
    assert!(daemon.net.answers(connection).is_empty());
    daemon.pass(1_000);
    daemon.settle();
    let answers = daemon.net.answers(connection);
    assert!(answers[0].contains("not yet taken"), "{answers:?}");
    assert_eq!(answers.len(), 3, "{answers:?}");
    assert_eq!(daemon.sleeps(), None);
    daemon.gates[0].shut(false);
}

#[test]
fn an_answer_that_goes_out_in_small_pieces_is_whole() {
    let mut daemon = Daemon::new();
    let connection = daemon.connect();
    daemon.settle();
    daemon.net.room(connection, 0);
    let request = [daemon.incr("a"), daemon.incr("a")].concat();
    daemon.net.send(connection, &request);
    while daemon.net.got(connection) < 16 {
        daemon.net.room(connection, 1);
        daemon.settle();
    }
    assert_eq!(daemon.net.answers(connection), [total(1), total(2)]);
    assert_eq!(daemon.server.connections.get(connection).unwrap().queued(), 0);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_split_of_the_bytes_gives_the_same_answers(
        requests in prop::collection::vec(0..4_u8, 1..12),
        cuts in prop::collection::vec(1..40_usize, 1..80),
        read_max in 1..30_usize,
    ) {
        let ask = |pieces: Option<&[usize]>| {
            let mut daemon = Daemon::new();
            let mut bytes = hello(false);
            for (place, kind) in requests.iter().enumerate() {
                bytes.extend(match kind {
                    0 => daemon.incr("a"),
                    1 => framed(&Request::Get { name: "none" }),
                    2 => vec![3, 0, 0, 0, 66, 66, 66],
                    // More than four at a time would be refused.
                    _ if place < 4 => framed(&dump()),
                    _ => framed(&Request::Get { name: "none" }),
                });
            }
            let connection = daemon.net.connect(OWNER);
            let mut rest = bytes.as_slice();
            for cut in pieces.unwrap_or(&[usize::MAX]).iter().cycle() {
                let (now, later) = rest.split_at((*cut).min(rest.len()));
                daemon.net.send(connection, now);
                // Whole reads are what tells the loop that there is no more.
                if pieces.is_some() && cut % 2 == 0 {
                    daemon.settle();
                }
                rest = later;
                if rest.is_empty() {
                    break;
                }
            }
            if pieces.is_some() {
                daemon.net.script().read_max = read_max;
                daemon.net.end(connection);
            }
            daemon.settle();
            daemon.net.end(connection);
            daemon.settle();
            daemon.net.answers(connection)
        };
        let mut whole = ask(None);
        let mut split = ask(Some(&cuts));
        // A dump shows what the turn has counted: its place is the same, its moment is not.
        for answers in [&mut whole, &mut split] {
            for answer in answers.iter_mut() {
                if answer.starts_with("Snapshot") || answer.starts_with("End") {
                    answer.truncate(5);
                }
            }
            answers.retain(|answer| !answer.ends_with(" rows"));
        }
        prop_assert_eq!(whole, split);
    }
}

#[test]
fn what_waits_for_all_is_bounded_and_everybody_gets_it_in_the_end() {
    let mut daemon = Daemon::new();
    let filler = crate::protocol::Value::Text("long".repeat(2_000));
    daemon.server.about.push(("filler".into(), filler));
    let readers: Vec<u64> = (0..60).map(|_| daemon.connect()).collect();
    daemon.settle();
    for reader in &readers {
        daemon.net.room(*reader, 0);
        daemon.net.send(*reader, &framed(&Request::Status).repeat(200));
    }
    daemon.settle();
    let queued = |reader: &u64| daemon.server.connections.get(*reader).unwrap().queued();
    let all: usize = readers.iter().map(queued).sum();
    // What one turn answers comes on top.
    assert!((32 << 20..52 << 20).contains(&all), "{all} bytes");
    assert_eq!(daemon.count("a"), total(1));
    for reader in &readers {
        daemon.net.room(*reader, usize::MAX);
    }
    daemon.settle();
    for reader in readers {
        assert_eq!(daemon.net.answers(reader).len(), 200);
    }
}

#[test]
fn a_small_request_gets_through_however_much_the_others_hold() {
    let mut daemon = Daemon::new();
    let mut left = 32_usize << 20;
    while left > 0 {
        let held = left.min(1 << 20);
        let half = [hello(false), vec![0, 0, 16, 0], vec![0; held - 4]].concat();
        let connection = daemon.net.connect(OWNER);
        daemon.net.send(connection, &half);
        daemon.settle();
        assert!(!daemon.net.is_closed(connection));
        left -= held;
    }
    assert_eq!(daemon.count("a"), total(1));
    let large = [hello(false), vec![0, 0, 16, 0], vec![0; 8 << 10]].concat();
    let connection = daemon.net.connect(OWNER);
    daemon.net.send(connection, &large);
    daemon.settle();
    assert!(daemon.net.answers(connection)[0].starts_with("Error { code: 4, "));
}
