//! The daemon as process 1, as in a container: signals that have no handler never reach it, orphans become its
//! children, and nobody looks after it. Skipped with a word where namespaces cannot be had; where `CI` is set
//! and root runs the tests, that is a failure.

use std::process::{Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::harness::{Daemon, Home, Ran, until};

/// `unshare`, with what it takes to become process 1 of a new namespace.
fn unshare() -> Option<Command> {
    let is_root = rustix::process::geteuid().is_root();
    let mut command = Command::new("unshare");
    if !is_root {
        command.args(["--user", "--map-root-user"]);
    }
    command.args(["--pid", "--fork", "--mount-proc", "--kill-child"]);
    let mut tried = Command::new("unshare");
    tried.args(command.get_args()).arg("true").stderr(Stdio::null());
    if tried.status().is_ok_and(|status| status.success()) {
        return Some(command);
    }
    let must = is_root && std::env::var_os("CI").is_some();
    assert!(!must, "unshare does not work, and CI has to have it");
    eprintln!("skipped: no namespaces to be had");
    None
}

/// The processes that this one is the parent of.
fn children(pid: Pid) -> Vec<Pid> {
    let pid = pid.as_raw_nonzero();
    let text = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
    text.split_whitespace().map(|pid| Pid::from_raw(pid.parse().unwrap()).unwrap()).collect()
}

/// The daemon as process 1, and its pid out here.
fn contained(home: &Home, unshare: Command) -> (Daemon, Pid) {
    contained_with(home, unshare, &[])
}

fn contained_with(home: &Home, mut unshare: Command, options: &[&str]) -> (Daemon, Pid) {
    let serve = home.serve_command(options);
    unshare.args(["env", "--default-signal=INT,TERM,HUP"]);
    unshare.arg(serve.get_program()).args(serve.get_args());
    unshare.env("HOME", home.path("")).stdin(Stdio::null()).stdout(Stdio::piped());
    let daemon = Daemon::spawn(unshare);
    let inside = children(daemon.pid())[0];
    (daemon, inside)
}

#[test]
fn as_process_1_it_obeys_its_signals() {
    for signal in [Signal::TERM, Signal::INT] {
        let Some(unshare) = unshare() else { return };
        let home = Home::new();
        let (mut daemon, inside) = contained(&home, unshare);
        home.ok(&["incr", "a"]);
        kill_process(inside, Signal::HUP).unwrap();
        daemon.wait_until_it_says("SIGHUP");
        kill_process(inside, signal).unwrap();
        let ran = daemon.end();
        assert_eq!((ran.code, ran.stdout.as_str()), (0, "a 1\n"), "{ran:?}");
        assert!(!home.socket().exists());
    }
}

#[test]
fn as_process_1_it_leaves_no_zombies_of_orphans() {
    let Some(unshare) = unshare() else { return };
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: only root can enter the namespace");
        return;
    }
    let home = Home::new();
    let (_daemon, inside) = contained(&home, unshare);
    let mut enter = Command::new("nsenter");
    enter.args(["--target", &inside.as_raw_nonzero().to_string(), "--pid"]);
    // As what `docker exec` leaves behind. It has ended when nobody can write to its output any more.
    let ran = Ran::of(enter.args(["sh", "-c", "sh -c 'echo orphan' &"]).output().unwrap());
    assert_eq!((ran.code, ran.stdout.as_str()), (0, "orphan\n"), "{ran:?}");
    until("the orphan is gone", || children(inside).is_empty());
}

/// Process 1 may ignore the ends of its children, and then knows nothing of them.
#[test]
fn as_process_1_it_hears_of_the_ends_of_its_commands_and_buries_those_of_others() {
    let Some(unshare) = unshare() else { return };
    let home = Home::new();
    let out = home.path("out");
    // It leaves an orphan behind, which has ended when its output has no writers any more.
    let script = format!("cat >>'{0}'; sh -c 'sh -c true &'; test -s '{0}'", out.display());
    let sink = format!("--sink=exec:{script}?shell=yes&format=plain");
    let (daemon, inside) = contained_with(&home, unshare, &[&sink]);
    for count in 1..=3 {
        home.ok(&["incr", "a"]);
        home.ok(&["flush"]);
        assert_eq!(std::fs::read_to_string(&out).unwrap(), "a 1\n".repeat(count));
    }
    until("the orphans are gone", || {
        home.ok(&["incr", "a"]);
        home.ok(&["flush"]);
        children(inside).len() <= 1
    });
    kill_process(inside, Signal::TERM).unwrap();
    assert_eq!(daemon.end().code, 0);
}
