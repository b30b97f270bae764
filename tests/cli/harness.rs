//! A daemon in a temporary folder, and clients that talk to it.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use countd::system::clock;
use rustix::process::{Pid, Signal, kill_process};

/// Long enough that only a hang is cut off by it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// The binary under test, with none of the variables that change what it does.
pub(crate) fn countd() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_countd"));
    let ours = std::env::vars_os().map(|(name, _)| name);
    for name in ours.filter(|name| name.as_encoded_bytes().starts_with(b"COUNTD_")) {
        command.env_remove(name);
    }
    command
        .env_remove("STATE_DIRECTORY")
        .env_remove("LISTEN_FDS")
        .env_remove("NOTIFY_SOCKET")
        .env_remove("WATCHDOG_USEC")
        .env_remove("JOURNAL_STREAM")
        .env_remove("XDG_RUNTIME_DIR")
        .env_remove("XDG_STATE_HOME");
    command
}

/// A temporary folder with the places a daemon needs.
pub(crate) struct Home {
    folder: tempfile::TempDir,
}

impl Home {
    pub(crate) fn new() -> Home {
        Home { folder: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.path("sock")
    }

    pub(crate) fn state(&self) -> PathBuf {
        self.path("state")
    }

    /// A client of this home's daemon.
    pub(crate) fn client<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Command {
        let mut command = countd();
        command.args(args).env("COUNTD_SOCKET", self.socket());
        command.env("HOME", self.folder.path()).stdin(Stdio::null());
        command
    }

    /// `countd serve` with a long interval, so that only asked-for flushes happen, and more options.
    pub(crate) fn serve(&self, options: &[&str]) -> Daemon {
        self.serve_with(options, Stdio::piped())
    }

    pub(crate) fn serve_with(&self, options: &[&str], stdout: Stdio) -> Daemon {
        // Whoever runs the tests may ignore signals, as a background job does; the daemon would keep to that.
        let serve = self.serve_command(options);
        let mut command = Command::new("env");
        command
            .arg("--default-signal=INT,TERM,HUP")
            .arg(serve.get_program())
            .args(serve.get_args());
        for (name, value) in serve.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        command.stdin(Stdio::null()).stdout(stdout);
        Daemon::spawn(command)
    }

    pub(crate) fn serve_command(&self, options: &[&str]) -> Command {
        let mut command = countd();
        command.arg("serve").arg("--socket").arg(self.socket()).env("HOME", self.folder.path());
        let has = |option: &str| options.iter().any(|given| given.starts_with(option));
        if !has("--state-dir") && !has("--ephemeral") {
            command.arg("--state-dir").arg(self.state());
        }
        if !has("--interval") {
            command.args(["--interval", "1h"]);
        }
        command.args(options).stdin(Stdio::null()).stderr(Stdio::piped());
        command
    }

    /// Runs a client to its end.
    pub(crate) fn run(&self, args: &[&str]) -> Ran {
        Ran::of(self.client(args).output().unwrap())
    }

    /// Runs a client that has to succeed; what it printed.
    pub(crate) fn ok(&self, args: &[&str]) -> String {
        let ran = self.run(args);
        assert_eq!(ran.code, 0, "countd {args:?}: {ran:?}");
        ran.stdout
    }

    /// Runs `incr --stdin` with this input.
    pub(crate) fn pipe(&self, args: &[&str], input: &[u8]) -> Ran {
        let mut command = self.client(args);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        // A child that stopped reading has said why on stderr.
        let _ = child.stdin.take().unwrap().write_all(input);
        Ran::of(child.wait_with_output().unwrap())
    }

    pub(crate) fn total(&self, name: &str) -> u64 {
        self.ok(&["get", name]).trim().parse().unwrap()
    }
}

/// How a program ended.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ran {
    pub(crate) fn of(output: Output) -> Ran {
        let signal = output.status.signal().unwrap_or(0);
        Ran {
            code: output.status.code().unwrap_or(1_000 + signal),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// Checks the exit status, that stderr has one of our messages, and that it says these things.
    #[track_caller]
    pub(crate) fn refused(&self, code: i32, says: &[&str]) {
        assert_eq!(self.code, code, "{self:?}");
        assert!(self.stderr.starts_with("countd: "), "{self:?}");
        for words in says {
            assert!(self.stderr.contains(words), "{words:?} is not in {self:?}");
        }
        assert!(!self.stderr.contains("panicked"), "{self:?}");
    }
}

/// A running daemon. Dropped, it is killed.
pub(crate) struct Daemon {
    child: Child,
    /// What it has said on stderr so far.
    pub(crate) said: Vec<String>,
    lines: Receiver<String>,
    stdout: Option<Receiver<String>>,
}

impl Daemon {
    /// Starts it and waits until it is ready.
    pub(crate) fn spawn(mut command: Command) -> Daemon {
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let lines = lines_of(child.stderr.take().unwrap());
        let stdout = child.stdout.take().map(lines_of);
        let mut daemon = Daemon { child, said: Vec::new(), lines, stdout };
        daemon.wait_until_it_says("ready");
        daemon
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// Waits for a line on stderr with these words in it.
    #[track_caller]
    pub(crate) fn wait_until_it_says(&mut self, words: &str) -> String {
        loop {
            match self.lines.recv_timeout(PATIENCE) {
                Ok(line) => {
                    self.said.push(line.clone());
                    if line.contains(words) {
                        return line;
                    }
                }
                Err(error) => panic!("{words:?} was not said ({error}): {:#?}", self.said),
            }
        }
    }

    /// The next line on stdout.
    #[track_caller]
    pub(crate) fn line(&mut self) -> String {
        let stdout = self.stdout.as_ref().expect("stdout is a pipe");
        stdout.recv_timeout(PATIENCE).expect("a line on stdout")
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).unwrap();
    }

    /// kill -9, and wait for the end.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// SIGTERM; how it ended, with the rest of what it wrote.
    pub(crate) fn stop(self) -> Ran {
        self.signal(Signal::TERM);
        self.end()
    }

    /// Waits for its end.
    pub(crate) fn end(mut self) -> Ran {
        let status = self.child.wait().unwrap();
        self.said.extend(self.lines.iter());
        let stdout = self.stdout.take().map(|lines| lines.iter().collect::<Vec<_>>());
        let text = |lines: Vec<String>| lines.iter().map(|line| format!("{line}\n")).collect();
        Ran {
            code: status.code().unwrap_or(1_000 + status.signal().unwrap_or(0)),
            stdout: text(stdout.unwrap_or_default()),
            stderr: text(std::mem::take(&mut self.said)),
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Reads lines on a thread, so that a test can wait for one with a limit.
fn lines_of(output: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, lines) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(output).lines() {
            let Ok(line) = line else { return };
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    lines
}

/// `NAME NUMBER` lines, added up.
pub(crate) fn parse_counts(text: &str) -> BTreeMap<String, u64> {
    let mut counts = BTreeMap::new();
    for line in text.lines() {
        let (name, count) = line.split_once(' ').unwrap_or_else(|| panic!("no count in {line:?}"));
        *counts.entry(name.to_owned()).or_default() += count.parse::<u64>().unwrap();
    }
    counts
}

/// The counts in a logfmt log file, added up.
pub(crate) fn logged(path: &Path) -> BTreeMap<String, u64> {
    let mut counts = BTreeMap::new();
    for line in std::fs::read_to_string(path).unwrap().lines() {
        let field = |key: &str| {
            let (_, rest) = line.split_once(&format!(" {key}=")).unwrap();
            rest.split_once(' ').map_or(rest, |(value, _)| value).trim_matches('"').to_owned()
        };
        *counts.entry(field("counter")).or_default() += field("count").parse::<u64>().unwrap();
    }
    counts
}

/// Calls `check` until it holds; each call is a question to the daemon, so this does not spin idly.
#[track_caller]
pub(crate) fn until(what: &str, mut check: impl FnMut() -> bool) {
    let started = clock::now().boot_ns;
    while !check() {
        let waited = Duration::from_nanos(clock::now().boot_ns - started);
        assert!(waited < PATIENCE, "still not: {what}");
    }
}
