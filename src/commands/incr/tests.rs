//! `incr` as its arguments say, and streams, against a scripted daemon.

mod blocks;

use std::io::Write;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use crate::client::SocketPath;
use crate::client::fake::{Fake, Script};
use crate::client::stream::Stream;
use crate::commands::incr::stdin;
use crate::commands::tests::{Did, did, run, script};
use crate::ids::{Answer, RefusedEntry};
use crate::protocol::{ErrorCode, Response};

fn nowhere(line: &[&str]) -> Did {
    run(Path::new("/nonexistent/s"), &[], line)
}

/// What `line` asks of the daemon, as `NAME AMOUNT` in their order.
fn asked(line: &[&str]) -> Vec<String> {
    let (tell, told) = std::sync::mpsc::channel();
    let fake = Fake::serve(vec![script(move |peer| {
        let incr = peer.incr();
        let lines = incr.entries.iter().map(|(name, amount)| format!("{name} {amount}"));
        tell.send(lines.collect()).unwrap();
        peer.counted(&[]);
    })]);
    assert_eq!(run(&fake.path(), &[], line), did(0, "", ""));
    fake.done();
    told.recv().unwrap()
}

#[test]
fn each_name_has_its_own_amount_or_that_of_by() {
    assert_eq!(asked(&["incr", "a"]), ["a 1"]);
    assert_eq!(asked(&["incr", "a", "b=3", "--by", "2"]), ["a 2", "b 3"]);
    assert_eq!(asked(&["incr", "a", "a"]), ["a 1", "a 1"]);
    assert_eq!(asked(&["incr", "a", "--by=0"]), ["a 0"]);
    assert_eq!(asked(&["incr", "a,z=1=7", "b", "-t", "h=x"]), ["a,h=x,z=1 7", "b,h=x 1"]);
    assert_eq!(asked(&["incr", "a=18446744073709551615"]), ["a 18446744073709551615"]);
}

#[test]
fn totals_are_printed_bare_and_in_order() {
    let fake = Fake::serve(vec![script(|peer| {
        assert!(peer.incr().totals);
        peer.counted(&[8, 3]);
    })]);
    assert_eq!(run(&fake.path(), &[], &["incr", "a", "b", "--print"]), did(0, "8\n3\n", ""));
    fake.done();
}

#[test]
fn a_negative_amount_gets_our_own_message() {
    let err = "countd: --by: amount \"-5\" is negative: counters only go up\n";
    assert_eq!(nowhere(&["incr", "x", "--by", "-5"]), did(2, "", err));
    let err = "countd: amount \"-5\" is negative: counters only go up\n";
    assert_eq!(nowhere(&["incr", "x=-5"]), did(2, "", err));
    assert_eq!(nowhere(&["incr", "x", "-5"]), did(2, "", err));
}

#[test]
fn a_name_of_digits_is_taken_for_an_amount() {
    let did = nowhere(&["incr", "hits", "5"]);
    assert_eq!(did.status, 2);
    assert!(did.err.contains("did you mean hits=5 or --by 5?"), "{}", did.err);
}

#[test]
fn a_stream_excludes_what_comes_from_the_standard_input() {
    for (line, what) in [
        (&["incr", "--stdin", "a"][..], "NAME"),
        (&["incr", "-", "a"], "NAME"),
        (&["incr", "-", "-"], "NAME"),
        (&["incr", "-", "--by", "2"], "--by"),
        (&["incr", "--stdin", "--print"], "--print"),
    ] {
        let did = nowhere(line);
        let start = format!("countd: --stdin excludes {what}");
        assert!(did.status == 2 && did.err.starts_with(&start), "{did:?}");
    }
    assert_eq!(nowhere(&["incr", "--stdin"]).status, 3);
    assert_eq!(nowhere(&["incr"]).status, 2);
}

#[test]
fn best_effort_forgives_what_may_go_wrong_in_a_script_that_is_right() {
    for line in [
        &["incr", "--best-effort", "a"][..],
        &["incr", "--best-effort", ""],
        &["incr", "--best-effort", "a b"],
        &["incr", "--best-effort", "a", "--by", "many"],
        &["incr", "--best-effort", "a", "--by", "-1"],
        &["incr", "--best-effort", "a", "-t", "host="],
        &["incr", "--best-effort", "--stdin"],
    ] {
        let did = nowhere(line);
        assert!(did.status == 0 && did.err.starts_with("countd: "), "{line:?} {did:?}");
    }
}

#[test]
fn best_effort_does_not_forgive_wrong_use() {
    for line in [
        &["incr", "--best-effort", "a", "--bye"][..],
        &["incr", "--best-effort"],
        &["incr", "--best-effort", "a", "--print"],
        &["incr", "--best-effort", "a", "--timeout", "61s"],
        &["incr", "--best-effort", "--stdin", "--by", "2"],
    ] {
        assert_eq!(nowhere(line).status, 2, "{line:?}");
    }
}

#[test]
fn variables_stand_in_for_options_and_print_wins_over_best_effort() {
    let with = |variables, line: &[&str]| run(Path::new("/nonexistent/s"), variables, line);
    assert_eq!(with(&[("COUNTD_BEST_EFFORT", "1")], &["incr", "a"]).status, 0);
    assert_eq!(with(&[("COUNTD_BEST_EFFORT", "1")], &["incr", "a", "--print"]).status, 3);
    let err = "countd: COUNTD_TIMEOUT: 2m: at most 1 min is allowed\n";
    assert_eq!(with(&[("COUNTD_TIMEOUT", "2m")], &["incr", "a"]), did(2, "", err));
    assert_eq!(with(&[("COUNTD_TIMEOUT", "2m")], &["incr", "a", "--timeout", "1s"]).status, 3);
    assert_eq!(with(&[("COUNTD_BY", "2")], &["incr", "a"]).status, 3);
}

#[test]
fn a_refusal_is_exit_1_and_no_answer_exit_4() {
    let fake = Fake::serve(vec![
        script(|peer| {
            peer.payload();
            peer.answer(&Response::error(ErrorCode::Refused, "a: would overflow"));
        }),
        script(|peer| {
            peer.payload();
            peer.payload();
        }),
    ]);
    let err = "countd: refused: a: would overflow\n";
    assert_eq!(run(&fake.path(), &[], &["incr", "a"]), did(1, "", err));
    let did = run(&fake.path(), &[], &["incr", "a", "--timeout", "50ms"]);
    assert_eq!(did.status, 4);
    fake.done();
}

/// Counts `input` by a daemon that does as the scripts say.
fn count(scripts: Vec<Script>, tags: &[(&str, &str)], input: &[u8], is_terminal: bool) -> Did {
    let fake = Fake::serve(scripts);
    let socket = SocketPath::new(fake.path()).unwrap();
    let stream = Stream::connect(socket, Duration::from_secs(20), None).unwrap();
    let (mut end, stdin) = UnixStream::pair().unwrap();
    let input = input.to_vec();
    let writing = std::thread::spawn(move || end.write_all(&input).unwrap());
    let mut err = Vec::new();
    let done = stdin::count(stdin.as_fd(), stream, tags, &mut err, is_terminal);
    writing.join().unwrap();
    fake.done();
    let status = done.unwrap_or_else(|failure| failure.status());
    Did { status, out: String::new(), err: String::from_utf8(err).unwrap() }
}

/// Adds up what comes, and tells it at the end.
fn adds_up(tell: std::sync::mpsc::Sender<Vec<(String, u64)>>) -> Script {
    script(move |peer| {
        let mut sums = std::collections::BTreeMap::new();
        // The end of the connection is an empty payload, which is no increment.
        while let payload = peer.payload()
            && !payload.is_empty()
        {
            let request = crate::protocol::Request::from_payload(&payload).unwrap();
            if let crate::protocol::Request::Incr { entries, .. } = request {
                for entry in entries {
                    *sums.entry(entry.name.to_owned()).or_insert(0) += entry.amount;
                }
            }
            peer.counted(&[]);
        }
        tell.send(sums.into_iter().collect()).unwrap();
    })
}

fn pair(name: &str, amount: u64) -> (String, u64) {
    (name.to_owned(), amount)
}

#[test]
fn lines_are_added_up_and_said_to_a_terminal() {
    let (tell, told) = std::sync::mpsc::channel();
    let input = b"a\n\nb 2\r\na=5\n\tc,h=x\t3 \na";
    let did_it = count(vec![adds_up(tell)], &[], input, true);
    assert_eq!(did_it, did(0, "", "countd: 5 lines counted, 0 refused\n"));
    assert_eq!(told.recv().unwrap(), [pair("a", 7), pair("b", 2), pair("c,h=x", 3)]);
}

#[test]
fn tags_go_to_each_line() {
    let (tell, told) = std::sync::mpsc::channel();
    let did_it = count(vec![adds_up(tell)], &[("h", "x")], b"a\nb,z=1 2\nc,h=y\n", false);
    assert_eq!(did_it.status, 1);
    assert!(did_it.err.starts_with("countd: line 3: "), "{}", did_it.err);
    assert_eq!(told.recv().unwrap(), [pair("a,h=x", 1), pair("b,h=x,z=1", 2)]);
}

#[test]
fn bad_lines_are_named_and_then_counted_and_the_rest_counts() {
    let (tell, told) = std::sync::mpsc::channel();
    let mut input = b"a\n\xff\n".to_vec();
    input.extend(std::iter::repeat_n(b'x', 10_000));
    input.extend(b"\n12 a\n");
    input.extend(b"a b c\n".repeat(20));
    input.extend(b"a 2");
    let did_it = count(vec![adds_up(tell)], &[], &input, false);
    assert_eq!(did_it.status, 1);
    let lines: Vec<&str> = did_it.err.lines().collect();
    assert_eq!(lines.len(), 11, "{lines:?}");
    assert_eq!(lines[0], "countd: line 2: is not UTF-8");
    assert_eq!(lines[1], "countd: line 3: is longer than 4096 bytes");
    assert!(lines[2].starts_with("countd: line 4: "));
    assert_eq!(lines[10], "countd: 2 lines counted, 23 refused");
    assert_eq!(told.recv().unwrap(), [pair("a", 3)]);
}

#[test]
fn an_amount_that_overflows_in_the_client_is_sent_in_two() {
    let (tell, told) = std::sync::mpsc::channel();
    let fake = script(move |peer| {
        for _ in 0..2 {
            tell.send(peer.incr().entries).unwrap();
            peer.counted(&[]);
        }
    });
    let input = b"a 18446744073709551615\na 1\n";
    assert_eq!(count(vec![fake], &[], input, false), did(0, "", ""));
    assert_eq!(told.recv().unwrap(), [pair("a", u64::MAX)]);
    assert_eq!(told.recv().unwrap(), [pair("a", 1)]);
}

#[test]
fn lines_the_daemon_refuses_are_named_by_the_first() {
    let fake = script(|peer| {
        peer.incr();
        let refused = vec![RefusedEntry { entry: 1, reason: "too many counters".into() }];
        let answer = Answer { totals: Vec::new(), refused };
        peer.answer(&Response::Counted(std::borrow::Cow::Owned(answer)));
    });
    let err = "countd: line 2 and 1 more: b: too many counters\n\
               countd: 1 line counted, 2 refused\n";
    assert_eq!(count(vec![fake], &[], b"a\nb\nb\n", false), did(1, "", err));
}

#[test]
fn a_refused_stream_says_what_was_not_acknowledged() {
    let fake = script(|peer| {
        peer.incr();
        peer.answer(&Response::error(ErrorCode::Forbidden, "not you"));
    });
    let err = "countd: 0 lines counted, 0 refused, 2 read and not acknowledged\n";
    assert_eq!(count(vec![fake], &[], b"a\nb\n", false), did(1, "", err));
}

#[test]
fn a_line_is_sent_while_the_input_stays_open() {
    let (tell, told) = std::sync::mpsc::channel();
    let fake = Fake::serve(vec![script(move |peer| {
        tell.send(peer.incr().entries).unwrap();
        peer.counted(&[]);
        assert_eq!(peer.incr().entries, [pair("half", 1)]);
        peer.counted(&[]);
    })]);
    let socket = SocketPath::new(fake.path()).unwrap();
    let stream = Stream::connect(socket, Duration::from_secs(20), None).unwrap();
    let (mut end, input) = UnixStream::pair().unwrap();
    let counting = std::thread::spawn(move || {
        stdin::count(input.as_fd(), stream, &[], &mut std::io::sink(), false)
    });
    end.write_all(b"a\nhalf").unwrap();
    assert_eq!(told.recv().unwrap(), [pair("a", 1)]);
    drop(end);
    assert_eq!(counting.join().unwrap().unwrap(), 0);
    fake.done();
}

/// A spool folder, and what stands in it.
fn spool() -> (tempfile::TempDir, impl Fn() -> Vec<String>) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_owned();
    let payload = move |entry: std::io::Result<std::fs::DirEntry>| {
        let bytes = std::fs::read(entry.unwrap().path()).unwrap();
        let (session, payload) = crate::protocol::spooled::from_bytes(&bytes).unwrap();
        let request = crate::protocol::Request::from_payload(payload).unwrap();
        assert_ne!(session, 0);
        let crate::protocol::Request::Incr { entries, .. } = request else { panic!("{request:?}") };
        let entries = entries.iter().map(|entry| format!("{} {}", entry.name, entry.amount));
        entries.collect::<Vec<_>>().join(" ")
    };
    (folder, move || std::fs::read_dir(&path).unwrap().map(payload).collect())
}

#[test]
fn what_found_no_daemon_is_spooled_whole() {
    let (folder, spooled) = spool();
    let path = folder.path().to_str().unwrap();
    let line = ["incr", "--spool", "--spool-dir", path, "a", "b=3", "-t", "h=x"];
    let Did { status, out, err } = nowhere(&line);
    assert_eq!((status, out.as_str()), (0, ""));
    assert!(err.starts_with("countd: no daemon: ") && err.contains(": spooled in "), "{err}");
    assert_eq!(spooled(), ["a,h=x 1 b,h=x 3"]);
    let variables = [("COUNTD_SPOOL", "yes"), ("COUNTD_SPOOL_DIR", path)];
    let at = Path::new("/nonexistent/s");
    assert_eq!(run(at, &variables, &["incr", "c"]).status, 0);
    assert_eq!(spooled().len(), 2);
    // What excludes it keeps the variables from asking for it.
    assert_eq!(run(at, &variables, &["incr", "c", "--print"]).status, 3);
    assert_eq!(run(at, &variables, &["incr", "--stdin"]).status, 3);
    assert_eq!(spooled().len(), 2);
}

#[test]
fn what_may_have_been_counted_or_was_refused_is_not_spooled() {
    let (folder, spooled) = spool();
    let path = folder.path().to_str().unwrap();
    let line = ["incr", "--spool", "--spool-dir", path, "--timeout", "100ms", "a"];
    let refuses = Fake::serve(vec![script(|peer| {
        peer.incr();
        peer.answer(&Response::error(ErrorCode::Refused, "no"));
    })]);
    assert_eq!(run(&refuses.path(), &[], &line).status, 1);
    refuses.done();
    // It takes the request, and is gone for good.
    let ends = Fake::serve(vec![script(|peer| drop(peer.incr()))]);
    assert_eq!(run(&ends.path(), &[], &line).status, 4);
    ends.done();
    assert_eq!(spooled(), [""; 0]);
}

#[test]
fn spooling_excludes_what_needs_an_answer() {
    for (line, what) in [
        (&["incr", "--spool", "a", "--print"][..], "--print"),
        (&["incr", "--spool", "--stdin"], "--stdin"),
        (&["incr", "--spool", "-"], "--stdin"),
    ] {
        let did = nowhere(line);
        let start = format!("countd: --spool excludes {what}");
        assert!(did.status == 2 && did.err.starts_with(&start), "{did:?}");
    }
    assert_eq!(nowhere(&["incr", "--spool-dir", "/x", "a"]).status, 2);
}
