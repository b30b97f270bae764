//! In which order the daemon writes, syncs, renames and answers, read from a trace of its system calls: what
//! has to be on the disk before something else may happen. Skipped with a word where `strace` is not
//! installed; where `CI` is set, that is a failure.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::harness::{Daemon, Home, until};

/// One call that was made, or ended.
#[derive(Debug)]
struct Call {
    /// Which thread made it.
    thread: String,
    name: String,
    /// Its arguments; files with their paths, as in `9</state/journal.1>`.
    arguments: String,
    stage: Stage,
}

/// How much of a call is told: another thread may make one meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Whole,
    Begun,
    Ended,
}

impl Call {
    /// The path of the file that is the first argument.
    fn file(&self) -> &str {
        let path = self.arguments.split_once('<').and_then(|(_, rest)| rest.split_once('>'));
        path.map_or("", |(path, _)| path)
    }

    /// The names of files that are given in quotes.
    fn names(&self) -> Vec<&str> {
        self.arguments.split('"').skip(1).step_by(2).collect()
    }
}

/// The calls of a trace, in order. One during which another thread made a call stands there twice.
fn calls(trace: &str) -> Vec<Call> {
    let mut calls: Vec<Call> = Vec::new();
    for line in trace.lines() {
        let Some((thread, line)) = line.split_once(char::is_whitespace) else { continue };
        let (thread, line) = (thread.to_owned(), line.trim_start());
        if let Some(rest) = line.strip_prefix("<... ") {
            let name = rest.split(' ').next().unwrap().to_owned();
            let begun = calls.iter().rfind(|call| call.thread == thread && call.name == name);
            let arguments = begun.map(|call| call.arguments.clone()).unwrap_or_default();
            calls.push(Call { thread, name, arguments, stage: Stage::Ended });
        } else if let Some((name, arguments)) = line.split_once('(') {
            let (name, arguments) = (name.to_owned(), arguments.to_owned());
            let begun = arguments.ends_with("<unfinished ...>");
            let stage = if begun { Stage::Begun } else { Stage::Whole };
            calls.push(Call { thread, name, arguments, stage });
        }
    }
    calls
}

/// What a power cut would take, as the trace goes on.
#[derive(Debug, Default)]
struct Disk {
    /// Files with bytes that are not synced.
    dirty: BTreeSet<String>,
    /// Files whose bytes a sync that has begun covers.
    syncing: BTreeSet<String>,
    /// A name in the state folder was changed and the folder not synced.
    folder_is_dirty: bool,
    answers: usize,
    reports: usize,
    renames: usize,
    removals: usize,
}

/// When things have to be on the disk.
#[derive(Clone, Copy)]
struct Rules {
    before_answers: bool,
    before_reports: bool,
}

impl Disk {
    fn journal_is_dirty(&self) -> bool {
        self.dirty.iter().any(|file| file.contains("/journal."))
    }

    fn check(&mut self, call: &Call, rules: Rules) {
        let file = call.file();
        match call.name.as_str() {
            "write"
                if call.stage != Stage::Ended
                    && (file.ends_with("/log") || file.contains("/state/")) =>
            {
                if file.ends_with("/log") {
                    let covered = !rules.before_reports || !self.journal_is_dirty();
                    assert!(covered, "a report before the journal is synced: {call:?} {self:?}");
                    self.reports += 1;
                } else if rules.before_reports && file.contains("/journal.") {
                    let written = !self.dirty.iter().any(|file| file.ends_with("/log"));
                    assert!(written, "the journal knows of a report that is not synced: {call:?}");
                }
                self.dirty.insert(file.to_owned());
                self.syncing.remove(file);
            }
            "sendto" if call.stage != Stage::Ended => {
                let covered = !rules.before_answers || !self.journal_is_dirty();
                assert!(covered, "an answer before the journal is synced: {call:?} {self:?}");
                assert!(!self.folder_is_dirty, "an answer before the folder is synced: {call:?}");
                self.answers += 1;
            }
            "fdatasync" | "fsync" if file.ends_with("/state") => {
                self.folder_is_dirty &= call.stage == Stage::Begun;
            }
            "fdatasync" | "fsync" => match call.stage {
                Stage::Begun => drop(self.syncing.insert(file.to_owned())),
                // It covers what was written before it began.
                Stage::Ended if !self.syncing.remove(file) => {}
                Stage::Ended | Stage::Whole => drop(self.dirty.remove(file)),
            },
            "renameat" | "renameat2" if file.ends_with("/state") && call.stage != Stage::Begun => {
                let [from, to] = call.names()[..] else { panic!("{call:?}") };
                let unsynced = self.dirty.iter().any(|dirty| dirty.ends_with(from));
                assert!(!unsynced, "{from} becomes {to} before it is synced: {self:?}");
                self.folder_is_dirty = true;
                self.renames += 1;
            }
            "unlinkat" if file.ends_with("/state") && call.stage != Stage::Ended => {
                assert!(!self.folder_is_dirty, "removed before what replaces it is safe: {call:?}");
                self.removals += 1;
            }
            _ => {}
        }
    }
}

fn strace() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|f| f.join("strace")).find(|p| p.is_file());
    let works = found.filter(|strace| {
        let ran = Command::new(strace).args(["-o", "/dev/null", "true"]).output();
        ran.is_ok_and(|output| output.status.success())
    });
    if works.is_none() {
        assert!(std::env::var_os("CI").is_none(), "strace does not work, and CI has to have it");
        eprintln!("skipped: strace is not installed, or may not trace");
    }
    works
}

/// Lets a daemon count, flush and fold with this policy, and checks the order of what it did.
fn traced(policy: &str, rules: Rules) {
    let Some(strace) = strace() else { return };
    let home = Home::new();
    let (log, trace) = (home.path("log"), home.path("trace"));
    let options = ["--fsync", policy, "--log-file", log.to_str().unwrap()];
    let serve = home.serve_command(&options);
    let mut command = Command::new("env");
    command.args(["--default-signal=INT,TERM,HUP"]).arg(strace);
    // With -D the daemon is our child, and the tracer is not.
    command.args(["-D", "-f", "-y", "-qq", "-o"]).arg(&trace).args(["-e", "signal=none"]);
    command.args(["-e", "trace=write,sendto,fsync,fdatasync,renameat,renameat2,unlinkat"]);
    command.arg(serve.get_program()).args(serve.get_args()).stdin(Stdio::null());
    let daemon = Daemon::spawn(command);
    for _ in 0..3 {
        home.ok(&["incr", "a", "b=2"]);
        home.ok(&["flush"]);
    }
    assert_eq!(home.pipe(&["incr", "--stdin"], b"a\nc\n").code, 0);
    home.ok(&["delete", "c"]);
    assert_eq!(daemon.stop().code, 0);
    let read = || String::from_utf8_lossy(&std::fs::read(&trace).unwrap()).into_owned();
    until("the trace has the last call", || read().contains("unlinkat"));
    let (text, mut disk) = (read(), Disk::default());
    calls(&text).iter().for_each(|call| disk.check(call, rules));
    // Each of the three flushes and the last one; the segment and checkpoint at the stop, the first segment.
    assert!(disk.answers >= 8 && disk.reports >= 4, "{disk:?}\n{text}");
    assert!(disk.renames >= 3 && disk.removals >= 1, "{disk:?}\n{text}");
}

#[test]
fn with_always_everything_is_synced_before_an_answer_and_before_a_report() {
    traced("always", Rules { before_answers: true, before_reports: true });
}

#[test]
fn with_everysec_the_journal_is_synced_before_a_report() {
    traced("everysec", Rules { before_answers: false, before_reports: true });
}

#[test]
fn with_no_files_still_become_whole_before_they_get_their_names() {
    traced("no", Rules { before_answers: false, before_reports: false });
}

/// The system calls of one increment, from where the program itself begins.
const ONE_SHOT: &[&str] = &[
    // A broken pipe is an error; standard descriptors are open.
    "rt_sigaction",
    "ppoll",
    // Who we are, to look for the socket; until when it may take; when it was born, with which id.
    "geteuid",
    "clock_gettime",
    "clock_gettime",
    "getrandom",
    "socket",
    // Each wait is for what is left of the time.
    "clock_gettime",
    "setsockopt",
    "connect",
    "sendto",
    "clock_gettime",
    "setsockopt",
    "recvfrom",
    "close",
    "exit_group",
];

#[test]
fn an_increment_makes_these_system_calls_and_no_others() {
    let Some(strace) = strace() else { return };
    let home = Home::new();
    let _daemon = home.serve(&[]);
    let trace = home.path("trace");
    for words in [&["incr", "a"][..], &["incr", "jobs.done=3", "mails", "-t", "host=b"]] {
        let incr = home.client(words);
        let mut command = Command::new(&strace);
        command.args(["-qq", "-o"]).arg(&trace).args(["-e", "signal=none"]);
        command.arg(incr.get_program()).args(incr.get_args());
        let variables = incr.get_envs().filter_map(|(name, value)| Some((name, value?)));
        assert!(command.env_clear().envs(variables).status().unwrap().success());
        let text = std::fs::read_to_string(&trace).unwrap();
        // A debug build looks at a descriptor before it closes it.
        let called = text.lines().filter(|line| !line.starts_with("fcntl("));
        let called = called.filter_map(|line| Some(line.split_once('(')?.0));
        // Before it the C library makes its own, each another.
        let called: Vec<&str> = called.skip_while(|name| *name != "rt_sigaction").collect();
        assert_eq!(called, ONE_SHOT, "{words:?}\n{text}");
    }
}
