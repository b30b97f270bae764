//! Commands as their arguments say, against a scripted daemon.

use std::path::{Path, PathBuf};

use clap::Parser;

use super::*;
use crate::cli::Cli;
use crate::client::fake::{Fake, Peer, Script};
use crate::protocol::{ErrorCode, Request, Response, Row, SnapshotInfo, StatusReport};
use crate::system::paths::Place;

/// What a command line did.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Did {
    pub(super) status: u8,
    pub(super) out: String,
    pub(super) err: String,
}

/// Runs a command line as `countd --socket PATH LINE...`.
pub(super) fn run(socket: &Path, variables: &[(&str, &str)], line: &[&str]) -> Did {
    let path = socket.to_str().unwrap();
    let start = ["countd", "--socket", path];
    let cli = match Cli::try_parse_from(start.iter().chain(line)) {
        Ok(cli) => cli,
        Err(error) => return Did { status: 2, out: String::new(), err: error.to_string() },
    };
    let variable = |name: &str| {
        variables.iter().find(|(known, _)| *known == name).map(|(_, value)| value.into())
    };
    let look = |_: &Path| Place::Missing;
    let environment = Environment { variable: &variable, euid: 1, look: &look };
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let mut invocation = Invocation {
        socket: cli.socket,
        environment: &environment,
        out: &mut out,
        err: &mut err,
        out_is_terminal: || false,
        err_is_terminal: || false,
    };
    let status = match cli.command.run(&mut invocation, <Cli as clap::CommandFactory>::command) {
        Ok(status) => status,
        Err(failure) => {
            failure.report(&mut err);
            failure.status()
        }
    };
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Did { status, out: text(out), err: text(err) }
}

pub(super) fn did(status: u8, out: &str, err: &str) -> Did {
    Did { status, out: out.to_owned(), err: err.to_owned() }
}

pub(super) fn script(script: impl FnOnce(&mut Peer) + Send + 'static) -> Script {
    Box::new(script)
}

fn nowhere() -> PathBuf {
    PathBuf::from("/nonexistent/countd.sock")
}

fn row(name: &str, total: u64, since_flush: u64) -> Row<'_> {
    Row { name: name.into(), total, since_flush, created_ms: 0, last_seen_ms: 0 }
}

fn snapshot(rows: Vec<Row<'static>>) -> Script {
    script(move |peer| {
        peer.payload();
        peer.answer(&Response::Snapshot(SnapshotInfo::default()));
        let count = rows.len() as u64;
        peer.answer(&Response::Rows(rows));
        peer.answer(&Response::End { rows: count });
    })
}

fn not_found() -> Script {
    script(|peer| {
        peer.payload();
        peer.answer(&Response::error(ErrorCode::NotFound, "no"));
    })
}

#[test]
fn a_missing_daemon_is_exit_3_for_every_client() {
    for line in [&["incr", "a"][..], &["dump"], &["get", "a"], &["delete", "a"], &["flush"]] {
        let did = run(&nowhere(), &[], line);
        assert_eq!(did.status, 3);
        let message = "countd: no daemon: looked at /nonexistent/countd.sock: ";
        assert!(did.err.starts_with(message), "{}", did.err);
    }
    assert_eq!(run(&nowhere(), &[], &["get", "a", "--default", "0"]).status, 3);
    assert_eq!(run(&nowhere(), &[], &["status", "--wait", "60ms"]).status, 3);
}

#[test]
fn an_empty_path_of_a_socket_is_wrong_use() {
    let did = run(Path::new(""), &[], &["dump"]);
    assert_eq!(did, super::tests::did(2, "", "countd: --socket: the path is empty\n"));
}

#[test]
fn dump_sorts_and_names_the_counter_that_is_not_there() {
    let rows = || vec![row("b", 2, 9), row("a,h=x", 3, 0), row("a", 5, 1)];
    let fake = Fake::serve(vec![
        snapshot(rows()),
        snapshot(rows()),
        snapshot(rows()),
        snapshot(Vec::new()),
    ]);
    let dump = |line: &[&str]| run(&fake.path(), &[], line);
    assert_eq!(dump(&["dump"]), did(0, "a 5\na,h=x 3\nb 2\n", ""));
    let line = ["dump", "--since-flush", "--sort", "since-flush"];
    assert_eq!(dump(&line), did(0, "b 9\na 1\na,h=x 0\n", ""));
    let out = "a 5\na,h=x 3\nb 2\n";
    assert_eq!(dump(&["dump", "a", "c", "x*"]), did(1, out, "countd: no counter c\n"));
    assert_eq!(dump(&["dump", "x*"]), did(0, "", ""));
    fake.done();
}

#[test]
fn dump_names_the_option_that_is_wrong() {
    for (line, start) in [
        (&["dump", "--format", "xml"][..], "countd: --format: "),
        (&["dump", "--sort", "size"], "countd: --sort: "),
        (&["dump", "--timeout", "soon"], "countd: --timeout: "),
        (&["dump", "a[b"], "countd: pattern "),
        (&["dump", "-t", "host"], "countd: "),
        (&["dump", "--since-flush", "--format", "prometheus"], "countd: --since-flush: "),
    ] {
        let did = run(&nowhere(), &[], line);
        assert!(did.status == 2 && did.err.starts_with(start), "{did:?}");
    }
}

#[test]
fn get_prints_one_number() {
    let fake = Fake::serve(vec![
        script(|peer| {
            let payload = peer.payload();
            let request = Request::from_payload(&payload).unwrap();
            assert_eq!(request, Request::Get { name: "a,h=x,z=y" });
            peer.answer(&Response::Counter(row("a,h=x,z=y", 7, 2)));
        }),
        not_found(),
    ]);
    let line = ["get", "a,z=y", "-t", "h=x", "--since-flush"];
    assert_eq!(run(&fake.path(), &[], &line), did(0, "2\n", ""));
    let line = ["get", "a", "--default", "0"];
    assert_eq!(run(&fake.path(), &[], &line), did(0, "0\n", ""));
    fake.done();
    assert_eq!(run(&nowhere(), &[], &["get", "a", "b"]).status, 2);
}

#[test]
fn get_of_an_unknown_counter_names_its_tagged_ones() {
    let names = ["a,n=6", "a,n=5", "a,n=4", "a,n=3", "a,n=2", "a,n=1", "a,n=0"];
    let tagged = names.map(|name| row(name, 1, 0)).to_vec();
    let fake = Fake::serve(vec![not_found(), snapshot(tagged), not_found(), snapshot(Vec::new())]);
    let err = "countd: no counter a, but a,n=0 a,n=1 a,n=2 a,n=3 a,n=4 and 2 more: \
               `countd get --sum a` adds them up\n";
    assert_eq!(run(&fake.path(), &[], &["get", "a"]), did(1, "", err));
    assert_eq!(run(&fake.path(), &[], &["get", "a"]), did(1, "", "countd: no counter a\n"));
    fake.done();
}

#[test]
fn a_sum_is_whole_or_an_error() {
    let fake = Fake::serve(vec![
        snapshot(vec![row("a", u64::MAX - 2, 0), row("b", 2, 0)]),
        snapshot(vec![row("a", u64::MAX, 0), row("b", 2, 0)]),
        snapshot(vec![row("a", 1, 0)]),
        snapshot(Vec::new()),
    ]);
    let sum = |line: &[&str]| run(&fake.path(), &[], line);
    assert_eq!(sum(&["get", "--sum", "*"]), did(0, "18446744073709551615\n", ""));
    let over = sum(&["get", "--sum", "*"]);
    assert!(over.status == 1 && over.err.contains("the sum 18446744073709551617 is over"));
    assert_eq!(sum(&["get", "--sum", "a", "b"]), did(1, "", "countd: no counter b\n"));
    assert_eq!(sum(&["get", "--sum", "x*"]), did(0, "0\n", ""));
    fake.done();
}

#[test]
fn delete_prints_what_went_and_says_what_was_not_there() {
    let rows = || vec![row("b,h=x", 2, 0), row("a", 1, 0)];
    let fake = Fake::serve(vec![snapshot(rows()), snapshot(rows())]);
    let line = ["delete", "a", "b"];
    let out = "a 1\nb,h=x 2\n";
    // A name means exactly that counter, so b with a tag is another.
    assert_eq!(run(&fake.path(), &[], &line), did(1, out, "countd: no counter b\n"));
    let line = ["delete", "-n", "a", "b", "--ignore-missing"];
    assert_eq!(run(&fake.path(), &[], &line), did(0, out, ""));
    fake.done();
}

#[test]
fn a_status_with_a_problem_is_exit_1() {
    let status = |problems: &[&str]| {
        let problems = problems.iter().map(|problem| (*problem).to_owned()).collect();
        let report = StatusReport { problems, facts: Vec::new() };
        script(move |peer| {
            peer.payload();
            peer.answer(&Response::Status(report));
        })
    };
    let fake = Fake::serve(vec![status(&[]), status(&["disk full"])]);
    let line = ["status", "--wait", "20s", "--format", "json"];
    assert_eq!(run(&fake.path(), &[], &line), did(0, "{\"problems\":[]}\n", ""));
    assert_eq!(run(&fake.path(), &[], &["status"]), did(1, "problem: disk full\n", ""));
    fake.done();
}

#[test]
fn a_refused_flush_is_exit_1() {
    let fake = Fake::serve(vec![script(|peer| {
        let payload = peer.payload();
        let request = Request::from_payload(&payload).unwrap();
        assert_eq!(request, Request::Flush { timeout_ms: 3_000 });
        peer.answer(&Response::error(ErrorCode::Failed, "x.log does not have it"));
    })]);
    let err = "countd: x.log does not have it\n";
    assert_eq!(run(&fake.path(), &[], &["flush", "--timeout", "3"]), did(1, "", err));
    fake.done();
}

#[test]
fn completions_name_every_command() {
    for shell in ["bash", "zsh", "fish"] {
        let did = run(&nowhere(), &[], &["completions", shell]);
        assert_eq!((did.status, &*did.err), (0, ""));
        for word in ["serve", "incr", "best-effort", "since-flush", "ignore-missing"] {
            assert!(did.out.contains(word), "{shell}: {word}");
        }
    }
    assert_eq!(run(&nowhere(), &[], &["completions", "tcsh"]).status, 2);
}
