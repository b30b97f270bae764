//! Streams against a scripted daemon.

use std::sync::mpsc::channel;

use super::*;
use crate::client::stream::{Answered, RefusedLines, Stream};
use crate::ids::{ANSWERS_PER_SESSION, RefusedEntry};

fn stream(fake: &Fake, patience: Option<Duration>) -> Stream {
    Stream::connect(SocketPath::new(fake.path()).unwrap(), LONG, patience).unwrap()
}

/// A stream with so many batches in flight, each of one increment.
fn with_batches(fake: &Fake, batches: u64) -> Stream {
    let mut stream = stream(fake, None);
    for line in 1..=batches {
        stream.add("a", line, line).unwrap();
        stream.send(&mut |_| {}).unwrap();
    }
    stream
}

fn refusing(entry: u32, reason: &str) -> Response<'static> {
    let refused = vec![RefusedEntry { entry, reason: reason.into() }];
    Response::Counted(Cow::Owned(Answer { totals: Vec::new(), refused }))
}

fn plain(lines: u64) -> Answered {
    Answered { lines, refused: Vec::new() }
}

#[test]
fn a_stream_numbers_its_batches_and_hands_back_what_was_refused() {
    let fake = Fake::serve(vec![script(|peer| {
        let first = peer.incr();
        assert!(!first.atomic && !first.totals);
        assert_eq!(first.entries, [("a".to_owned(), 3), ("b".to_owned(), 1)]);
        // It does not wait for the answer.
        let second = peer.incr();
        assert_eq!((second.id.session, second.id.seq), (first.id.session, first.id.seq + 1));
        peer.answer(&refusing(1, "full"));
        peer.counted(&[]);
    })]);
    let mut stream = stream(&fake, None);
    for (name, amount, line) in [("a", 1, 1), ("b", 1, 2), ("a", 2, 3)] {
        stream.add(name, amount, line).unwrap();
    }
    stream.send(&mut |_| panic!("it had to wait")).unwrap();
    stream.add("c", 1, 4).unwrap();
    assert_eq!(stream.lines(), 4);
    stream.finish(&mut |_| panic!("it had to wait")).unwrap();
    let (name, reason) = ("b".to_owned(), "full".to_owned());
    let refused = vec![RefusedLines { name, lines: 1, first_line: 2, reason }];
    assert_eq!((stream.answered(), stream.lines()), (Answered { lines: 4, refused }, 0));
    assert_eq!(stream.answered(), plain(0));
    fake.done();
}

#[test]
fn no_more_is_in_flight_than_answers_are_repeated() {
    let most = u64::try_from(ANSWERS_PER_SESSION).unwrap();
    let (go, wait) = channel::<()>();
    let (tell, told) = channel();
    let fake = Fake::serve(vec![script(move |peer| {
        let first = peer.incr();
        for seq in 1..most {
            let id = peer.incr().id;
            assert_eq!((id.session, id.seq), (first.id.session, seq));
        }
        wait.recv().unwrap();
        // Nothing has come beyond them.
        peer.stream.set_nonblocking(true).unwrap();
        let more = std::io::Read::read(&mut peer.stream, &mut [0]).unwrap_err();
        tell.send(more.kind()).unwrap();
        peer.stream.set_nonblocking(false).unwrap();
        peer.counted(&[]);
        assert_eq!(peer.incr().id.seq, most);
        (0..most).for_each(|_| peer.counted(&[]));
    })]);
    let mut stream = with_batches(&fake, most);
    stream.add("a", 1, 17).unwrap();
    let sending = std::thread::spawn(move || {
        stream.finish(&mut |_| {}).unwrap();
        stream.answered()
    });
    go.send(()).unwrap();
    assert_eq!(told.recv().unwrap(), std::io::ErrorKind::WouldBlock);
    assert_eq!(sending.join().unwrap(), plain(most + 1));
    fake.done();
}

#[test]
fn a_stream_outlasts_its_daemon_and_keeps_the_ids() {
    let (first, second) = channel();
    let fake = Fake::serve(vec![script(move |peer| {
        first.send([peer.incr(), peer.incr(), peer.incr()]).unwrap();
        peer.counted(&[]);
    })]);
    let path = fake.path();
    let mut stream = with_batches(&fake, 3);
    let (waits, waited) = channel();
    let sending = std::thread::spawn(move || {
        stream.finish(&mut |error| drop(waits.send(error.to_string()))).unwrap();
        stream.answered()
    });
    // The daemon is gone: its listener is closed with its thread.
    let sent = second.recv().unwrap();
    waited.recv().unwrap();
    std::fs::remove_file(&path).unwrap();
    let listener = UnixListener::bind(&path).unwrap();
    let mut peer = Peer { stream: listener.accept().unwrap().0, hello: None };
    // The first was answered; the others come again, in order.
    for again in &sent[1..] {
        assert_eq!(peer.incr(), *again);
        peer.counted(&[]);
    }
    assert_eq!(sending.join().unwrap(), plain(3));
    fake.done();
}

#[test]
fn a_stream_whose_patience_is_over_does_not_know() {
    let fake = Fake::serve(vec![script(|peer| drop(peer.incr()))]);
    let mut stream = stream(&fake, Some(SHORT));
    stream.add("a", 1, 1).unwrap();
    let mut waits = 0;
    let error = stream.finish(&mut |_| waits += 1).unwrap_err();
    assert!(matches!(error, ClientError::Unknown { why: Unknown::HungUp, .. }), "{error}");
    assert!(waits > 0 && stream.lines() == 1);
    fake.done();
}

#[test]
fn a_daemon_that_does_not_answer_in_time_is_an_unknown_outcome() {
    let fake = Fake::serve(vec![script(|peer| {
        peer.incr();
        peer.counted(&[]);
        peer.incr();
        peer.payload();
    })]);
    let mut stream = stream(&fake, Some(SHORT));
    for line in 1..=2 {
        stream.add("a", 1, line).unwrap();
        stream.send(&mut |_| {}).unwrap();
    }
    let error = stream.finish(&mut |_| {}).unwrap_err();
    assert!(matches!(error, ClientError::Unknown { why: Unknown::TimedOut, .. }), "{error}");
    assert_eq!((stream.answered(), stream.lines()), (plain(1), 1));
    drop(stream);
    fake.done();
}

#[test]
fn after_a_daemon_that_cannot_write_all_comes_again_in_order() {
    for code in [ErrorCode::Failed, ErrorCode::Busy] {
        let fake = Fake::serve(vec![
            script(move |peer| {
                peer.incr();
                peer.counted(&[]);
                peer.incr();
                peer.answer(&Response::error(code, "no space left on device"));
                // What is behind it is out of order, and is not read any more.
                peer.incr();
            }),
            script(|peer| {
                for seq in 1..3 {
                    assert_eq!(peer.incr().id.seq, seq);
                    peer.counted(&[]);
                }
            }),
        ]);
        let mut stream = with_batches(&fake, 3);
        stream.finish(&mut |_| {}).unwrap();
        assert_eq!(stream.answered(), plain(3));
        fake.done();
    }
}

#[test]
fn a_stream_that_is_too_old_begins_another_session() {
    let (tell, told) = channel();
    let fake = Fake::serve(vec![
        script(move |peer| {
            tell.send([peer.incr().id, peer.incr().id]).unwrap();
            peer.answer(&Response::TooOld { now_ns: 9 });
        }),
        script(move |peer| {
            let [first, second] = told.recv().unwrap();
            let again = [peer.incr().id, peer.incr().id];
            assert_ne!(again[0].session, first.session);
            assert_eq!(again[0].session, again[1].session);
            assert_eq!(again.map(|id| (id.seq, id.born_ns)), [(0, 9), (1, 9)]);
            assert!(first.born_ns > 9 && second.born_ns > 9);
            peer.counted(&[]);
            peer.counted(&[]);
        }),
    ]);
    let mut stream = with_batches(&fake, 2);
    stream.finish(&mut |_| {}).unwrap();
    assert_eq!(stream.answered(), plain(2));
    fake.done();
}

#[test]
fn a_stream_that_is_too_old_when_it_comes_again_does_not_know() {
    let fake = Fake::serve(vec![
        script(|peer| drop([peer.incr(), peer.incr()])),
        script(|peer| {
            peer.incr();
            peer.answer(&Response::TooOld { now_ns: 9 });
        }),
    ]);
    let mut stream = with_batches(&fake, 2);
    let error = stream.finish(&mut |_| {}).unwrap_err();
    assert!(matches!(error, ClientError::Unknown { why: Unknown::Forgotten, .. }), "{error}");
    assert_eq!(stream.lines(), 2);
    fake.done();
}

/// Increments that take many times what a socket holds.
fn add_large(stream: &mut Stream, line: u64) {
    for n in 0..3_000 {
        stream.add(&format!("n{n:0>250}"), 1, line).unwrap();
    }
}

#[test]
fn answers_are_taken_while_requests_are_not() {
    // Each answer is larger than what a socket holds, and must be taken before the next request is read.
    let refused = |entry| RefusedEntry { entry, reason: "x".repeat(200) };
    let answer = Answer { totals: Vec::new(), refused: (0..3_000).map(refused).collect() };
    let fake = Fake::serve(vec![script(move |peer| {
        for _ in 0..4 {
            peer.incr();
            peer.answer(&Response::Counted(Cow::Borrowed(&answer)));
        }
    })]);
    let mut stream = stream(&fake, None);
    for line in 1..=4 {
        add_large(&mut stream, line);
        stream.send(&mut |_| panic!("it had to wait")).unwrap();
    }
    stream.finish(&mut |_| panic!("it had to wait")).unwrap();
    assert_eq!(stream.answered().refused.len(), 12_000);
    fake.done();
}

#[test]
fn what_is_sent_in_part_is_sent_again_whole() {
    let fake = Fake::serve(vec![
        script(|peer| {
            // A part of it, and then the refusal of a connection that stopped in the middle.
            std::io::Read::read_exact(&mut peer.stream, &mut [0; 1_000]).unwrap();
            peer.answer(&Response::error(ErrorCode::Busy, "no complete request came"));
        }),
        script(|peer| {
            assert_eq!(peer.incr().entries.len(), 3_000);
            peer.counted(&[]);
        }),
    ]);
    let mut stream = stream(&fake, None);
    add_large(&mut stream, 1);
    stream.finish(&mut |_| {}).unwrap();
    assert_eq!(stream.answered(), plain(3_000));
    fake.done();
}
