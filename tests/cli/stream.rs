//! `countd incr --stdin`.

use std::io::Write;
use std::process::{Child, ChildStdin, Stdio};

use crate::harness::{Home, Ran, until};

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
    daemon.signal(rustix::process::Signal::STOP);
    input.write_all(b"a\n").unwrap();
    drop(input);
    let mut said = String::new();
    let mut stderr = std::io::BufReader::new(child.stderr.take().unwrap());
    std::io::BufRead::read_line(&mut stderr, &mut said).unwrap();
    assert!(said.contains("does not answer"), "{said}");
    daemon.signal(rustix::process::Signal::CONT);
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
