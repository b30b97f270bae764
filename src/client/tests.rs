//! The client against a scripted daemon, and against sockets that are none.

use std::io::Write as _;
use std::os::unix::net::UnixListener;
use std::sync::mpsc::channel;

use rustix::net::{self, AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

use super::fake::{Fake, Peer, Script, socket_in};
use super::*;

mod streams;

const LONG: Duration = Duration::from_secs(20);
const SHORT: Duration = Duration::from_millis(60);

fn client(path: impl Into<std::path::PathBuf>, timeout: Duration) -> Client {
    Client::new(SocketPath::new(path).unwrap(), timeout)
}

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn a1() -> [(Name, u64); 1] {
    [(name("a"), 1)]
}

fn script(script: impl FnOnce(&mut Peer) + Send + 'static) -> Script {
    Box::new(script)
}

fn row(name: &str, total: u64) -> Row<'_> {
    Row { name: name.into(), total, since_flush: 0, created_ms: 0, last_seen_ms: 0 }
}

#[test]
fn an_increment_is_one_message_and_its_answer() {
    let fake = Fake::serve(vec![script(|peer| {
        let incr = peer.incr();
        assert!(peer.hello.unwrap().one_request);
        assert_eq!(incr.entries, [("a".to_owned(), 1), ("b,h=x".to_owned(), 0)]);
        assert!(incr.atomic && incr.totals && incr.id.born_ns > 0);
        peer.counted(&[7, u64::MAX]);
    })]);
    let mut client = client(fake.path(), LONG).one_request();
    let entries = [(name("a"), 1), (name("b,h=x"), 0)];
    assert_eq!(client.incr_totals(&entries).unwrap(), [7, u64::MAX]);
    fake.done();
}

#[test]
fn a_connection_is_kept_and_renewed_when_the_daemon_was_started_again() {
    let fake = Fake::serve(vec![
        script(|peer| {
            for _ in 0..2 {
                assert_eq!(peer.incr().id.seq, 0);
                peer.counted(&[]);
            }
        }),
        script(|peer| {
            peer.payload();
            peer.answer(&Response::Counter(row("a", 3)));
        }),
    ]);
    let mut client = client(fake.path(), LONG);
    client.incr(&a1()).unwrap();
    client.incr(&a1()).unwrap();
    // The first connection is closed by now, or a moment later.
    while client.link.connection.as_ref().is_some_and(|held| held.is_idle()) {
        std::thread::yield_now();
    }
    assert_eq!(client.get(&name("a")).unwrap().total, 3);
    fake.done();
}

#[test]
fn a_daemon_that_goes_before_it_answers_is_asked_again_under_the_same_id() {
    let (first, second) = channel();
    let fake = Fake::serve(vec![
        script(move |peer| first.send(peer.incr()).unwrap()),
        script(move |peer| {
            let again = peer.incr();
            assert_eq!(again, second.recv().unwrap());
            peer.counted(&[5]);
        }),
    ]);
    assert_eq!(client(fake.path(), LONG).incr_totals(&a1()).unwrap(), [5]);
    fake.done();
}

#[test]
fn a_daemon_that_is_away_for_a_moment_is_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    // A socket nobody listens on: connecting is refused.
    let path = socket_in(folder.path());
    drop(UnixListener::bind(&path).unwrap());
    let mut client = client(&path, LONG);
    let counting = std::thread::spawn(move || client.incr(&a1()));
    let made = folder.path().join("made");
    let listener = UnixListener::bind(&made).unwrap();
    std::fs::rename(made, path).unwrap();
    let mut peer = Peer { stream: listener.accept().unwrap().0, hello: None };
    peer.incr();
    peer.counted(&[]);
    counting.join().unwrap().unwrap();
}

#[test]
fn a_call_whose_time_runs_out_in_a_wait_says_what_it_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    drop(UnixListener::bind(socket_in(folder.path())).unwrap());
    let error = client(socket_in(folder.path()), SHORT).incr(&a1()).unwrap_err();
    assert!(error.to_string().ends_with("/s: it listens no more"), "{error}");
}

#[test]
fn busy_is_asked_again_for_every_request() {
    let busy = || Response::error(ErrorCode::Busy, "too many connections");
    let fake = Fake::serve(vec![
        script(move |peer| {
            peer.payload();
            peer.answer(&busy());
        }),
        // It may say so without reading anything.
        script(move |peer| peer.answer(&busy())),
        script(|peer| {
            peer.payload();
            peer.answer(&Response::Status(StatusReport::default()));
        }),
    ]);
    assert_eq!(client(fake.path(), LONG).status().unwrap(), StatusReport::default());
    fake.done();
}

#[test]
fn busy_all_the_time_is_a_refusal() {
    let scripts = (0..1000).map(|_| {
        script(|peer| {
            if !peer.payload().is_empty() {
                peer.answer(&Response::error(ErrorCode::Busy, "too many connections"));
            }
        })
    });
    let fake = Fake::serve(scripts.collect());
    let error = client(fake.path(), SHORT).incr(&a1()).unwrap_err();
    assert!(matches!(error, ClientError::Refused { code: ErrorCode::Busy, .. }), "{error}");
}

#[test]
fn too_old_after_a_single_send_takes_another_id() {
    let fake = Fake::serve(vec![script(|peer| {
        let first = peer.incr();
        peer.answer(&Response::TooOld { now_ns: 77 });
        let second = peer.incr();
        assert_ne!(second.id.session, first.id.session);
        assert_eq!((second.id.born_ns, second.entries), (77, first.entries));
        peer.counted(&[]);
    })]);
    client(fake.path(), LONG).incr(&a1()).unwrap();
    fake.done();
}

#[test]
fn a_daemon_that_finds_all_too_old_is_asked_ever_less_often_and_it_is_said_why() {
    let fake = Fake::serve(vec![script(|peer| {
        let mut asked = 0;
        while !peer.payload().is_empty() {
            asked += 1;
            peer.answer(&Response::TooOld { now_ns: 77 });
        }
        assert!((2..30).contains(&asked), "{asked} times");
    })]);
    let error = client(fake.path(), SHORT).incr(&a1()).unwrap_err();
    let said = error.to_string();
    assert!(said.starts_with("not counted: the daemon's clock is behind"), "{said}");
    fake.done();
}

#[test]
fn too_old_after_a_second_send_is_an_unknown_outcome() {
    let fake = Fake::serve(vec![
        script(|peer| drop(peer.incr())),
        script(|peer| {
            peer.incr();
            peer.answer(&Response::TooOld { now_ns: 77 });
        }),
    ]);
    let error = client(fake.path(), LONG).incr(&a1()).unwrap_err();
    assert!(matches!(error, ClientError::Unknown { why: Unknown::Forgotten, .. }), "{error}");
    fake.done();
}

#[test]
fn a_refusal_is_final_and_carries_its_reason() {
    let fake = Fake::serve(vec![script(|peer| {
        peer.payload();
        peer.answer(&Response::error(ErrorCode::Refused, "entry 1 would overflow"));
    })]);
    let error = client(fake.path(), LONG).incr(&a1()).unwrap_err();
    assert_eq!(error.to_string(), "refused: entry 1 would overflow");
    fake.done();
}

#[test]
fn a_refusal_is_found_though_the_daemon_has_hung_up() {
    let fake = Fake::serve(vec![script(|peer| {
        peer.answer(&Response::error(ErrorCode::Version, "this daemon speaks 2"));
    })]);
    let entries: Vec<_> =
        (0..4000).map(|n| (name(&format!("n{n}{}", "x".repeat(200))), 1)).collect();
    let error = client(fake.path(), LONG).incr(&entries).unwrap_err();
    assert_eq!(error.to_string(), "the daemon is of another version: this daemon speaks 2");
    fake.done();
}

#[test]
fn after_garbage_for_an_answer_it_is_not_known_what_was_counted() {
    for garbage in [&[5, 0, 0, 0, 250, 1, 2, 3, 4][..], &[0, 0, 0, 0], b"HTTP/1.1 400 Bad"] {
        let garbage = garbage.to_vec();
        let fake = Fake::serve(vec![script(move |peer| {
            peer.payload();
            peer.stream.write_all(&garbage).unwrap();
        })]);
        let error = client(fake.path(), LONG).incr(&a1()).unwrap_err();
        assert!(
            matches!(error, ClientError::Unknown { why: Unknown::Unreadable(_), .. }),
            "{error}"
        );
        fake.done();
    }
}

#[test]
fn an_oversized_frame_is_refused_by_its_claim() {
    let fake = Fake::serve(vec![script(|peer| {
        peer.payload();
        peer.stream.write_all(&u32::MAX.to_le_bytes()).unwrap();
        // It stays, so that the claim is judged and not the end.
        peer.payload();
    })]);
    let error = client(fake.path(), LONG).status().unwrap_err();
    assert!(error.to_string().contains("4294967295 bytes is over the limit"), "{error}");
    fake.done();
}

#[test]
fn an_answer_to_another_question_is_refused() {
    let fake = Fake::serve(vec![script(|peer| {
        peer.payload();
        peer.answer(&Response::Flushed { window: 3 });
    })]);
    let error = client(fake.path(), LONG).status().unwrap_err();
    assert!(matches!(error, ClientError::Protocol { .. }), "{error}");
    fake.done();
}

#[test]
fn no_answer_in_time_is_an_unknown_outcome() {
    let fake = Fake::serve(vec![script(|peer| {
        peer.incr();
        peer.payload();
    })]);
    let error = client(fake.path(), SHORT).incr(&a1()).unwrap_err();
    assert!(matches!(error, ClientError::Unknown { why: Unknown::TimedOut, .. }), "{error}");
    fake.done();
}

#[test]
fn a_request_that_is_not_taken_was_not_done() {
    let (done, wait) = channel::<()>();
    let fake = Fake::serve(vec![script(move |_| assert!(wait.recv().is_err()))]);
    let entries: Vec<_> =
        (0..4000).map(|n| (name(&format!("n{n}{}", "x".repeat(200))), 1)).collect();
    let error = client(fake.path(), 10 * SHORT).incr(&entries).unwrap_err();
    assert!(matches!(error, ClientError::NoDaemon { why: NoDaemon::NotTaken, .. }), "{error}");
    drop(done);
    fake.done();
}

#[test]
fn a_missing_socket_is_no_daemon_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let error = client(folder.path().join("none"), LONG).incr(&a1()).unwrap_err();
    assert!(error.to_string().starts_with("no daemon: looked at "), "{error}");
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    let error = client(file, LONG).incr(&a1()).unwrap_err();
    assert!(matches!(error, ClientError::NoDaemon { .. }), "{error}");
}

#[test]
fn a_full_backlog_is_waited_for_and_no_longer_than_the_timeout() {
    let folder = tempfile::tempdir().unwrap();
    let address = SocketAddrUnix::new(socket_in(folder.path())).unwrap();
    let open =
        |flags| net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None).unwrap();
    let listener = open(SocketFlags::empty());
    net::bind(&listener, &address).unwrap();
    net::listen(&listener, 0).unwrap();
    let mut held = Vec::new();
    loop {
        let fd = open(SocketFlags::NONBLOCK);
        if net::connect(&fd, &address).is_err() {
            break;
        }
        held.push(fd);
    }
    let started = clock::boot_ns();
    let error = client(socket_in(folder.path()), SHORT).incr(&a1()).unwrap_err();
    assert!(matches!(error, ClientError::NoDaemon { why: NoDaemon::BacklogFull, .. }), "{error}");
    assert!(clock::boot_ns() - started < 10_000_000_000);
}

#[test]
fn only_increments_are_repeated() {
    let fake =
        Fake::serve(vec![script(|peer| drop(peer.payload())), script(|peer| drop(peer.payload()))]);
    let error = client(fake.path(), LONG).flush().unwrap_err();
    assert!(matches!(error, ClientError::Unknown { why: Unknown::HungUp, .. }), "{error}");
    let error = client(fake.path(), LONG).status().unwrap_err();
    assert!(matches!(error, ClientError::NoDaemon { why: NoDaemon::HungUp, .. }), "{error}");
    fake.done();
}

#[test]
fn a_snapshot_comes_whole_or_is_an_error() {
    let scripted = |rows: u64| {
        script(move |peer| {
            peer.payload();
            peer.answer(&Response::Snapshot(SnapshotInfo::default()));
            peer.answer(&Response::Rows(vec![row("b", 2), row("a", 1)]));
            peer.answer(&Response::Rows(vec![row("c", 3)]));
            if rows > 0 {
                peer.answer(&Response::End { rows });
            }
        })
    };
    let fake = Fake::serve(vec![scripted(3), scripted(4), scripted(0)]);
    let mut client = client(fake.path(), LONG).one_request();
    let mut names = String::new();
    client.dump(&Wanted::default(), |row| names.push_str(&row.name)).unwrap();
    assert_eq!(names, "bac");
    let error = client.dump(&Wanted::default(), |_| {}).unwrap_err();
    assert!(error.to_string().ends_with("3 of 4 counters came"), "{error}");
    let error = client.dump(&Wanted::default(), |_| {}).unwrap_err();
    assert!(matches!(error, ClientError::NoDaemon { why: NoDaemon::HungUp, .. }), "{error}");
    fake.done();
}

#[test]
fn the_rest_of_an_answer_that_went_wrong_is_no_answer_to_the_next_question() {
    let fake = Fake::serve(vec![
        script(|peer| {
            peer.payload();
            peer.answer(&Response::Snapshot(SnapshotInfo::default()));
            peer.answer(&Response::Status(StatusReport::default()));
            // What follows comes when nobody waits for it.
            assert!(peer.payload().is_empty());
        }),
        script(|peer| {
            peer.payload();
            peer.answer(&Response::Flushed { window: 4 });
        }),
    ]);
    let mut client = client(fake.path(), LONG);
    let error = client.dump(&Wanted::default(), |_| {}).unwrap_err();
    assert!(matches!(error, ClientError::Protocol { .. }), "{error}");
    assert_eq!(client.flush().unwrap(), 4);
    fake.done();
}

#[test]
fn a_counter_that_is_not_there_is_told_apart() {
    let fake = Fake::serve(vec![script(|peer| {
        peer.payload();
        peer.answer(&Response::error(ErrorCode::NotFound, "no"));
    })]);
    let error = client(fake.path(), LONG).get(&name("gone")).unwrap_err();
    assert!(matches!(&error, ClientError::NotFound { name } if name == "gone"), "{error}");
    fake.done();
}

#[test]
fn too_many_increments_are_not_sent() {
    let entries = vec![(name("a"), 1); ENTRIES_MAX + 1];
    let error = client("/nowhere", LONG).incr(&entries).unwrap_err();
    assert!(matches!(error, ClientError::TooLarge { .. }), "{error}");
}
