//! `countd incr --stdin`.

use std::io::Write;
use std::process::{Child, ChildStdin, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::harness::{Home, Ran, parse_counts, until};

/// A stream that goes on, and where its lines go.
fn stream(home: &Home) -> (Child, ChildStdin) {
    let mut command = home.client(["incr", "--stdin"]);
    let mut child = command.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let input = child.stdin.take().unwrap();
    (child, input)
}

#[test]
fn a_million_lines_are_counted_to_the_last() {
    let home = Home::new();
    let _daemon = home.serve(&[]);
    let lines = "my.useful.count\n".repeat(1_000_000);
    let ran = home.pipe(&["incr", "--stdin"], lines.as_bytes());
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{ran:?}");
    assert_eq!(home.total("my.useful.count"), 1_000_000);
}

#[test]
fn lines_are_names_with_or_without_amounts() {
    let home = Home::new();
    let _daemon = home.serve(&[]);
    let input = b"a\nb 3\nc=4\n\n  \na\t5\r\nd,k=v=2\ne";
    let ran = home.pipe(&["incr", "-", "-t", "host=x"], input);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(
        home.ok(&["dump"]),
        "a,host=x 6\nb,host=x 3\nc,host=x 4\nd,host=x,k=v 2\ne,host=x 1\n"
    );
}

#[test]
fn bad_lines_are_named_and_the_rest_counts() {
    let home = Home::new();
    let _daemon = home.serve(&[]);
    let mut input = b"good\nbad name here\n17 GET\nhits 5 \nx -3\n\xff\xfe\nhits".to_vec();
    for _ in 0..20 {
        input.extend_from_slice(b"\n..");
    }
    let ran = home.pipe(&["incr", "--stdin"], &input);
    ran.refused(1, &["line 2", "line 3", "line 5", "line 6", "3 lines counted, 24 refused"]);
    assert!(!ran.stderr.contains("line 20"), "{ran:?}");
    assert_eq!(home.ok(&["dump"]), "good 1\nhits 6\n");
}

#[test]
fn what_a_stream_has_is_sent_while_it_goes_on() {
    let home = Home::new();
    let _daemon = home.serve(&[]);
    let (mut child, mut input) = stream(&home);
    input.write_all(b"tail\n").unwrap();
    until("the line is counted", || home.run(&["get", "tail"]).stdout == "1\n");
    input.write_all(b"tail\ntail 3\n").unwrap();
    drop(input);
    assert!(child.wait().unwrap().success());
    assert_eq!(home.total("tail"), 5);
}

#[test]
fn a_stream_goes_on_when_the_daemon_was_killed_and_started_again() {
    let home = Home::new();
    let daemon = home.serve(&[]);
    let (child, mut input) = stream(&home);
    input.write_all(b"a\n").unwrap();
    until("the first line is counted", || home.run(&["get", "a"]).stdout == "1\n");
    daemon.kill();
    input.write_all(b"a\na\n").unwrap();
    let _daemon = home.serve(&[]);
    input.write_all(b"a 10\n").unwrap();
    drop(input);
    let ran = Ran::of(child.wait_with_output().unwrap());
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(home.total("a"), 13);
}

#[test]
fn a_stream_says_that_it_waits_for_a_daemon_that_does_not_answer() {
    let home = Home::new();
    let daemon = home.serve(&[]);
    let (mut child, mut input) = stream(&home);
    input.write_all(b"a\n").unwrap();
    until("the first line is counted", || home.run(&["get", "a"]).stdout == "1\n");
    daemon.signal(Signal::STOP);
    input.write_all(b"a\n").unwrap();
    drop(input);
    let mut said = String::new();
    let mut stderr = std::io::BufReader::new(child.stderr.take().unwrap());
    std::io::BufRead::read_line(&mut stderr, &mut said).unwrap();
    assert!(said.contains("does not answer"), "{said}");
    daemon.signal(Signal::CONT);
    assert!(child.wait().unwrap().success());
    assert_eq!(home.total("a"), 2);
}

#[test]
fn a_line_without_end_takes_no_memory() {
    let home = Home::new();
    let _daemon = home.serve(&[]);
    let mut input = vec![b'x'; 10 << 20];
    input.extend_from_slice(b"\nfine\n");
    home.pipe(&["incr", "--stdin"], &input).refused(1, &["line 1", "1 line counted, 1 refused"]);
    assert_eq!(home.ok(&["dump"]), "fine 1\n");
}

#[test]
fn counters_over_the_limit_are_refused_and_the_others_count() {
    let home = Home::new();
    let _daemon = home.serve(&["--max-counters", "2"]);
    let ran = home.pipe(&["incr", "--stdin"], b"a\nb\nc\na\n");
    ran.refused(1, &["--max-counters"]);
    assert_eq!(home.ok(&["dump"]), "a 2\nb 1\n");
}

#[test]
fn a_stream_over_many_kills_of_the_daemon_is_exact() {
    const NAMES: u64 = 5_000;
    const ROUNDS: u64 = 12;
    let home = Home::new();
    let mut daemon = home.serve(&[]);
    let (child, mut input) = stream(&home);
    // More names than fit into one request: several are in flight at each kill.
    let each: String = (0..NAMES).map(|n| format!("n{n}\n")).collect();
    for _ in 0..ROUNDS {
        let block = each.repeat(20);
        let writing = std::thread::spawn(move || {
            input.write_all(block.as_bytes()).unwrap();
            input
        });
        daemon.kill();
        daemon = home.serve(&[]);
        input = writing.join().unwrap();
    }
    drop(input);
    let ran = Ran::of(child.wait_with_output().unwrap());
    assert_eq!(ran.code, 0, "{ran:?}");
    let counts = parse_counts(&home.ok(&["dump"]));
    assert_eq!(counts.len() as u64, NAMES);
    assert!(counts.values().all(|count| *count == 20 * ROUNDS), "{counts:?}");
}

#[test]
fn refused_lines_of_several_batches_are_counted_as_refused() {
    const NAMES: u64 = 20_000;
    let home = Home::new();
    let _daemon = home.serve(&["--max-counters", "6000"]);
    let lines: String = (0..NAMES).map(|n| format!("n{n}\n")).collect();
    let ran = home.pipe(&["incr", "--stdin"], lines.as_bytes());
    ran.refused(1, &["line 6001: n6000: ", "6000 lines counted, 14000 refused"]);
    let counts = parse_counts(&home.ok(&["dump"]));
    assert_eq!(counts.len(), 6_000);
    assert!(counts.values().all(|count| *count == 1));
}

#[test]
fn a_stream_that_was_stopped_while_the_daemon_was_killed_is_exact() {
    const NAMES: u64 = 30_000;
    let home = Home::new();
    let mut daemon = home.serve(&[]);
    let (child, mut input) = stream(&home);
    let pid = Pid::from_child(&child);
    let lines: String = (0..NAMES).map(|n| format!("n{n}\n")).collect();
    let writing = std::thread::spawn(move || {
        input.write_all(b"first\n").unwrap();
        for _ in 0..20 {
            input.write_all(lines.as_bytes()).unwrap();
        }
    });
    for _ in 0..5 {
        until("something is counted", || home.run(&["get", "first"]).code == 0);
        kill_process(pid, Signal::STOP).unwrap();
        daemon.kill();
        daemon = home.serve(&[]);
        kill_process(pid, Signal::CONT).unwrap();
    }
    writing.join().unwrap();
    let ran = Ran::of(child.wait_with_output().unwrap());
    assert_eq!(ran.code, 0, "{ran:?}");
    let counts = parse_counts(&home.ok(&["dump"]));
    assert_eq!(counts.len() as u64, NAMES + 1);
    assert!(counts.iter().all(|(name, count)| *count == if name == "first" { 1 } else { 20 }));
}

#[test]
fn a_stream_that_gives_up_says_how_many_lines_are_not_acknowledged() {
    let home = Home::new();
    let daemon = home.serve(&[]);
    let mut command = home.client(["incr", "--stdin", "--timeout", "300ms"]);
    let mut child = command.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    input.write_all(b"a\n").unwrap();
    until("the first line is counted", || home.run(&["get", "a"]).stdout == "1\n");
    daemon.signal(Signal::STOP);
    // Three batches, and lines that are in none.
    let lines: String = (0..10_000).map(|n| format!("n{n}\n")).collect();
    let _ = input.write_all(lines.as_bytes());
    drop(input);
    let ran = Ran::of(child.wait_with_output().unwrap());
    ran.refused(4, &["no answer in time", "1 line counted, 0 refused, 10000 read and not"]);
    daemon.signal(Signal::CONT);
}
