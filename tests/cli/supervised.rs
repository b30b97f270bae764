//! What the daemon tells a supervisor: a test plays systemd's end of `NOTIFY_SOCKET`.

use std::io::ErrorKind;
use std::os::unix::net::UnixDatagram;
use std::process::{Command, Stdio};

use rustix::process::Signal;

use crate::harness::{Daemon, Home, PATIENCE, Ran};

/// A daemon whose supervisor is this test, and the test's end.
fn supervised(home: &Home, watchdog_usec: &str, watchdog_pid: &str) -> (Daemon, UnixDatagram) {
    let socket = UnixDatagram::bind(home.path("notify")).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    // No flush but those asked for, however slow the machine is.
    let serve = home.serve_command(&["--interval", "1h"]);
    let mut command = Command::new("sh");
    let script = format!("export WATCHDOG_PID={watchdog_pid}; exec \"$0\" \"$@\"");
    command.args(["-c", &script, "env", "--default-signal=INT,TERM,HUP"]);
    command.arg(serve.get_program()).args(serve.get_args());
    command.env("NOTIFY_SOCKET", home.path("notify")).env("WATCHDOG_USEC", watchdog_usec);
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    (Daemon::spawn(command), socket)
}

fn heard(socket: &UnixDatagram) -> String {
    let mut buffer = [0; 1_000];
    loop {
        match socket.recv(&mut buffer) {
            Ok(bytes) => return String::from_utf8(buffer[..bytes].to_vec()).unwrap(),
            // A wait with a limit is not gone on with by itself when a signal comes in between.
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => panic!("{error}"),
        }
    }
}

/// The next news but signs of life.
fn next(socket: &UnixDatagram) -> String {
    loop {
        let news = heard(socket);
        if news != "WATCHDOG=1" {
            return news;
        }
    }
}

#[test]
fn a_supervisor_hears_of_readiness_life_reload_flush_and_stop_in_order() {
    let home = Home::new();
    let (daemon, socket) = supervised(&home, "200000", "$$");
    let ready = heard(&socket);
    assert!(ready.starts_with("READY=1\nSTATUS=0 counters"), "{ready}");
    home.ok(&["incr", "a=3"]);
    assert_eq!(heard(&socket), "WATCHDOG=1");
    assert_eq!(heard(&socket), "WATCHDOG=1");
    daemon.signal(Signal::HUP);
    assert!(next(&socket).starts_with("RELOADING=1\nMONOTONIC_USEC="));
    assert!(next(&socket).starts_with("READY=1\nSTATUS=1 counter, nothing flushed yet"));
    home.ok(&["flush"]);
    let status = next(&socket);
    assert!(status.starts_with("STATUS=1 counter, flushed window 1 of "), "{status}");
    assert!(status.contains(" s: 1 counter gained 3 at 2"), "{status}");
    daemon.signal(Signal::TERM);
    assert_eq!(next(&socket), "STOPPING=1\nSTATUS=stopping");
    assert_eq!(daemon.end().code, 0);
}

#[test]
fn a_watchdog_for_another_process_hears_nothing_of_this_one() {
    let home = Home::new();
    let (daemon, socket) = supervised(&home, "1000", "1");
    assert!(heard(&socket).starts_with("READY=1\n"));
    daemon.signal(Signal::TERM);
    assert!(heard(&socket).starts_with("STOPPING=1\n"), "and no sign of life before it");
    assert_eq!(daemon.end().code, 0);
}

#[test]
fn a_start_that_fails_is_never_called_ready() {
    let home = Home::new();
    let socket = UnixDatagram::bind(home.path("notify")).unwrap();
    std::fs::write(home.socket(), "no socket").unwrap();
    let mut command = home.serve_command(&[]);
    command.env("NOTIFY_SOCKET", home.path("notify"));
    Ran::of(command.output().unwrap()).refused(1, &["is no socket"]);
    socket.set_nonblocking(true).unwrap();
    assert!(socket.recv(&mut [0; 100]).is_err());
}

#[test]
fn a_supervisor_that_is_gone_is_told_of_and_counting_goes_on() {
    let home = Home::new();
    let mut command = home.serve_command(&[]);
    command.env("NOTIFY_SOCKET", home.path("nobody")).stdout(Stdio::piped());
    let mut daemon = Daemon::spawn(command);
    daemon.wait_until_it_says("NOTIFY_SOCKET");
    home.ok(&["incr", "a"]);
    assert_eq!(daemon.stop().code, 0);
}
