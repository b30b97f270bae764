//! Signals.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use countd::ids::RequestId;
use countd::protocol::{Entry, Hello, Request, VERSION, Wanted};
use countd::system::clock;
use rustix::process::Signal;

use crate::harness::{Daemon, Home, logged};

#[test]
fn sigint_and_sigterm_stop_in_good_order() {
    for signal in [Signal::INT, Signal::TERM] {
        let home = Home::new();
        let daemon = home.serve(&[]);
        home.ok(&["incr", "a"]);
        daemon.signal(signal);
        let ran = daemon.end();
        assert_eq!((ran.code, ran.stdout.as_str()), (0, "a 1\n"), "{ran:?}");
        assert!(!home.socket().exists());
    }
}

#[test]
fn a_stop_does_not_wait_for_ever_for_a_blocked_sink_and_nothing_is_lost() {
    let home = Home::new();
    let (reader, writer) = std::io::pipe().unwrap();
    let daemon = home.serve_with(&[], Stdio::from(writer));
    let lines: String = (0..20_000).map(|n| format!("n{n}\n")).collect();
    assert_eq!(home.pipe(&["incr", "--stdin"], lines.as_bytes()).code, 0);
    let ran = daemon.stop();
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(ran.stderr.contains("stdout"), "{ran:?}");
    drop(reader);
    let daemon = home.serve(&[]);
    let ran = daemon.stop();
    assert_eq!(ran.stdout.lines().count(), 20_000, "what was owed comes after the next start");
    assert!(
        ran.stderr.contains("again"),
        "and serve says that it may be there twice: {:?}",
        ran.stderr
    );
}

#[test]
fn what_was_ignored_stays_ignored() {
    let home = Home::new();
    let mut command = Command::new("sh");
    let serve = home.serve_command(&[]);
    // As nohup and a shell's background jobs do.
    let script = "trap '' HUP INT; exec \"$0\" \"$@\"";
    command.args(["-c", script]).arg(serve.get_program()).args(serve.get_args());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).process_group(0);
    let daemon = Daemon::spawn(command);
    daemon.signal(Signal::HUP);
    daemon.signal(Signal::INT);
    assert_eq!(home.ok(&["incr", "--print", "a"]), "1\n");
    assert_eq!(daemon.stop().code, 0);
}

/// What a client that asks once sends for `incr --print NAME`.
fn increment(session: u128, name: &str) -> Vec<u8> {
    let mut bytes = Hello { version: VERSION, one_request: true }.to_bytes().to_vec();
    let id = RequestId { session, seq: 0, born_ns: clock::boot_ns() };
    let entries = vec![Entry { name, amount: 1 }];
    Request::Incr { id, atomic: true, totals: true, entries }.write(&mut bytes).unwrap();
    bytes
}

#[test]
fn what_was_sent_before_the_stop_is_answered_and_in_the_last_report() {
    let home = Home::new();
    let daemon = home.serve(&[]);
    daemon.signal(Signal::STOP);
    // More than are accepted at a time; none of them asks again.
    let mut waiting: Vec<UnixStream> = (0..600)
        .map(|n| {
            let mut stream = UnixStream::connect(home.socket()).unwrap();
            stream.write_all(&increment(n, "a")).unwrap();
            stream
        })
        .collect();
    daemon.signal(Signal::TERM);
    daemon.signal(Signal::CONT);
    for stream in &mut waiting {
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        assert_eq!(answer.get(4), Some(&1), "counted: {answer:?}");
    }
    let ran = daemon.end();
    assert_eq!((ran.code, ran.stdout.as_str()), (0, "a 600\n"), "{ran:?}");
}

#[test]
fn a_client_that_does_not_read_does_not_keep_the_last_report_from_the_sinks() {
    let home = Home::new();
    let log = home.path("log");
    let daemon = home.serve(&["--log-file", log.to_str().unwrap()]);
    let lines: String = (0..20_000).map(|n| format!("n{n}\n")).collect();
    assert_eq!(home.pipe(&["incr", "--stdin"], lines.as_bytes()).code, 0);
    let mut lazy = UnixStream::connect(home.socket()).unwrap();
    let mut dump = Hello { version: VERSION, one_request: true }.to_bytes().to_vec();
    Request::Dump { wanted: Wanted::default() }.write(&mut dump).unwrap();
    lazy.write_all(&dump).unwrap();
    lazy.read_exact(&mut [0]).unwrap();
    home.ok(&["incr", "last.one"]);
    assert_eq!(daemon.stop().code, 0);
    assert_eq!(logged(&log)["last.one"], 1);
}
