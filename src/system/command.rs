//! A command that is run beside the daemon, is given something to read, and has to end in time. It is in a process
//! group of its own, which is ended as a whole, and what it says on standard error is kept, up to a bound.
//!
//! The standard library's children inherit the signal mask of the thread that starts them, in which SIGHUP is blocked
//! here; so they are started by hand.

use std::collections::BTreeSet;
use std::ffi::CString;
use std::fs::File;
use std::io::{self, PipeReader, Read, Seek, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use nix::spawn::{PosixSpawnAttr, PosixSpawnFileActions, PosixSpawnFlags, posix_spawnp};
use nix::sys::signal::{SigHandler, SigSet, Signal as Handled};
use nix::sys::wait::{Id, WaitPidFlag};
use nix::unistd::Pid as NixPid;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{MemfdFlags, memfd_create};
use rustix::io::Errno;
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitOptions, getpid, kill_process_group, pidfd_open, waitpid,
};

use super::child::environment;
use super::clock::timespec;
use super::connect::Deadline;
use super::signals::replace;

/// How long a command gets to end by itself when it is told to.
const GRACE: Duration = Duration::from_secs(2);
/// Lines of standard error that are kept of a run.
const LINES_MAX: usize = 10;
/// Bytes of standard error that are kept of a run.
const SAID_BYTES_MAX: usize = 4096;

/// Variables by which a service manager and this process talk: for a command they mean nothing, or something wrong.
const OF_THIS_PROCESS: [&[u8]; 7] = [
    b"NOTIFY_SOCKET",
    b"WATCHDOG_USEC",
    b"WATCHDOG_PID",
    b"LISTEN_FDS",
    b"LISTEN_PID",
    b"LISTEN_FDNAMES",
    b"JOURNAL_STREAM",
];

/// The groups of commands that run now.
static RUNNING: Mutex<BTreeSet<i32>> = Mutex::new(BTreeSet::new());

/// A command.
#[derive(Debug, Clone)]
pub struct Command {
    words: Vec<CString>,
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ran {
    /// How.
    pub ended: Ended,
    /// Lines of standard error, the first ones.
    pub said: Vec<String>,
}

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// By itself, with this status.
    Exited(i32),
    /// By this signal.
    Signalled(i32),
    /// It was ended when its time was over.
    TooLate,
}

impl Command {
    /// A command of these words. From here on this process is told of the ends of its children.
    ///
    /// # Errors
    /// When that cannot be had, or a word has a zero in it.
    pub fn new(words: impl Iterator<Item = impl AsRef<str>>) -> io::Result<Command> {
        // Whoever started this process may have ignored it, and so does the first process of a container.
        replace(Handled::SIGCHLD, SigHandler::SigDfl)?;
        let words = words.map(|word| CString::new(word.as_ref()));
        Ok(Command { words: words.collect::<Result<_, _>>()? })
    }

    /// Runs it with these variables besides those of this process, until it ends.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn run(
        &self,
        variables: &[(&str, u64)],
        input: &[u8],
        timeout: Duration,
    ) -> io::Result<Ran> {
        let ran = Run::start(self, variables, input)?.finish(timeout);
        bury_strangers();
        Ok(ran)
    }
}

/// Tells all commands that run now to end.
pub fn end_all() {
    for group in running().iter() {
        if let Some(group) = Pid::from_raw(*group) {
            // One that has ended just now needs no signal.
            let _ = kill_process_group(group, Signal::TERM);
        }
    }
}

fn running() -> std::sync::MutexGuard<'static, BTreeSet<i32>> {
    RUNNING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The first process of a container is given the orphans of all others, and has to take note of their ends.
fn bury_strangers() {
    if getpid() != Pid::INIT {
        return;
    }
    let ours = running();
    let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
    // One of ours is first in the line: who waits for it comes here, too.
    while let Some(pid) = nix::sys::wait::waitid(Id::All, flags).ok().and_then(|it| it.pid()) {
        if ours.contains(&pid.as_raw()) {
            return;
        }
        let _ = waitpid(Pid::from_raw(pid.as_raw()), WaitOptions::NOHANG);
    }
}

/// A command that runs.
struct Run {
    pid: Pid,
    /// Becomes readable when it ends.
    end: OwnedFd,
    /// What it says, until it closes that.
    errors: Option<PipeReader>,
    said: Vec<u8>,
}

impl Run {
    fn start(command: &Command, variables: &[(&str, u64)], input: &[u8]) -> io::Result<Run> {
        let its_input = in_memory(input)?;
        let (errors, its_errors) = std::io::pipe()?;
        rustix::io::ioctl_fionbio(&errors, true)?;
        let nowhere = std::fs::OpenOptions::new().write(true).open("/dev/null")?;
        let mut actions = PosixSpawnFileActions::init()?;
        actions.add_dup2(its_input.as_raw_fd(), 0)?;
        actions.add_dup2(nowhere.as_raw_fd(), 1)?;
        actions.add_dup2(its_errors.as_raw_fd(), 2)?;
        let mut attributes = PosixSpawnAttr::init()?;
        attributes.set_flags(
            PosixSpawnFlags::POSIX_SPAWN_SETSIGMASK
                | PosixSpawnFlags::POSIX_SPAWN_SETSIGDEF
                | PosixSpawnFlags::POSIX_SPAWN_SETPGROUP,
        )?;
        attributes.set_pgroup(NixPid::from_raw(0))?;
        attributes.set_sigmask(&SigSet::empty())?;
        let mut to_default = SigSet::empty();
        to_default.add(Handled::SIGPIPE);
        attributes.set_sigdefault(&to_default)?;
        let mut environment = environment();
        // Of two with one name most programs see the first.
        environment.retain(|variable| {
            let name = variable.to_bytes().split(|byte| *byte == b'=').next().unwrap_or_default();
            let is_ours = |(ours, _): &(&str, u64)| ours.as_bytes() == name;
            !variables.iter().any(is_ours) && !OF_THIS_PROCESS.contains(&name)
        });
        for (name, value) in variables {
            environment.push(CString::new(format!("{name}={value}"))?);
        }
        let name = command.words.first().ok_or(io::ErrorKind::InvalidInput)?;
        // None that waits for strangers may take it for one.
        let mut ours = running();
        let pid = posix_spawnp(name, &actions, &attributes, &command.words, &environment)?;
        let pid = Pid::from_raw(pid.as_raw()).ok_or(io::ErrorKind::Other)?;
        ours.insert(pid.as_raw_pid());
        drop(ours);
        let end = pidfd_open(pid, PidfdFlags::empty()).inspect_err(|_| {
            // It cannot be waited for with a limit, so it must not run.
            let _ = kill_process_group(pid, Signal::KILL);
            let _ = waitpid(Some(pid), WaitOptions::empty());
            running().remove(&pid.as_raw_pid());
        })?;
        Ok(Run { pid, end, errors: Some(errors), said: Vec::new() })
    }

    fn finish(mut self, timeout: Duration) -> Ran {
        let mut deadline = Deadline::after(timeout);
        let mut told = None;
        loop {
            let Some(left) = deadline.left() else {
                let (signal, next) = match told {
                    None => (Signal::TERM, Deadline::after(GRACE)),
                    Some(_) => (Signal::KILL, Deadline::never()),
                };
                let _ = kill_process_group(self.pid, signal);
                (told, deadline) = (Some(signal), next);
                continue;
            };
            if self.wait(left) {
                break;
            }
            self.read_errors();
        }
        self.read_errors();
        let status = waitpid(Some(self.pid), WaitOptions::empty());
        running().remove(&self.pid.as_raw_pid());
        let status = status.ok().flatten().map(|(_, status)| status);
        let ended = match (told, status) {
            (Some(_), _) => Ended::TooLate,
            (None, Some(status)) => match status.terminating_signal() {
                Some(signal) => Ended::Signalled(signal),
                None => Ended::Exited(status.exit_status().unwrap_or(-1)),
            },
            (None, None) => Ended::Exited(-1),
        };
        Ran { ended, said: lines(&self.said) }
    }

    /// Waits until there is something to do; whether it has ended.
    fn wait(&self, left: Duration) -> bool {
        let mut polled = vec![PollFd::from_borrowed_fd(self.end.as_fd(), PollFlags::IN)];
        let errors = self.errors.as_ref().map(|errors| errors.as_fd());
        polled.extend(errors.map(|errors| PollFd::from_borrowed_fd(errors, PollFlags::IN)));
        // What goes wrong here goes wrong until the time is over.
        let _ = poll(&mut polled, Some(&timespec(left)));
        polled.first().is_some_and(|end| !end.revents().is_empty())
    }

    fn read_errors(&mut self) {
        let mut bytes = [0; 4096];
        while let Some(pipe) = self.errors.as_mut() {
            match pipe.read(&mut bytes) {
                Ok(0) => self.errors = None,
                Ok(read) => {
                    let room = SAID_BYTES_MAX.saturating_sub(self.said.len());
                    self.said.extend(bytes.iter().take(read.min(room)));
                }
                Err(error) if is_for_later(&error) => return,
                Err(_) => self.errors = None,
            }
        }
    }
}

/// A file with these bytes that has no name. A command that read them from a pipe would take a part for the whole
/// when this process is killed while it writes.
fn in_memory(bytes: &[u8]) -> io::Result<File> {
    let create = |flags| memfd_create("report", MemfdFlags::CLOEXEC | flags);
    // A kernel may want to be told that it is no program; older ones do not know the word.
    let file = match create(MemfdFlags::NOEXEC_SEAL) {
        Err(Errno::INVAL) => create(MemfdFlags::empty()),
        created => created,
    };
    let mut file = File::from(file?);
    file.write_all(bytes)?;
    file.rewind()?;
    Ok(file)
}

fn is_for_later(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

/// The first lines, fit to be printed.
fn lines(said: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(said);
    let lines = text.lines().filter(|line| !line.trim().is_empty()).take(LINES_MAX);
    lines.map(|line| line.trim_end().chars().flat_map(escaped).collect()).collect()
}

fn escaped(c: char) -> impl Iterator<Item = char> {
    let (control, other) = if c.is_control() { (Some(c), None) } else { (None, Some(c)) };
    control.into_iter().flat_map(char::escape_debug).chain(other)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(30);

    fn shell(script: &str) -> Command {
        Command::new(["sh", "-c", script].iter()).unwrap()
    }

    fn run(script: &str, input: &[u8], timeout: Duration) -> Ran {
        shell(script).run(&[("COUNTD_WINDOW", 17)], input, timeout).unwrap()
    }

    #[test]
    fn a_command_reads_all_of_its_input_and_its_status_is_told() {
        let input = vec![b'x'; 1 << 20];
        let ran = run("test $(wc -c) = 1048576 && test $COUNTD_WINDOW = 17", &input, PATIENCE);
        assert_eq!(ran, Ran { ended: Ended::Exited(0), said: vec![] });
        assert_eq!(run("exit 7", b"", PATIENCE).ended, Ended::Exited(7));
        assert_eq!(run("kill -9 $$", b"", PATIENCE).ended, Ended::Signalled(9));
    }

    #[test]
    fn input_that_is_not_wanted_is_no_error() {
        let input = vec![b'x'; 1 << 20];
        assert_eq!(run("exec <&-; exit 0", &input, PATIENCE).ended, Ended::Exited(0));
    }

    #[test]
    fn what_it_says_is_kept_up_to_a_bound() {
        let ran = run("printf 'a\\033b\\n\\nc\\n' >&2; echo out", b"", PATIENCE);
        assert_eq!(ran.said, ["a\\u{1b}b", "c"]);
        let ran = run("yes >&2 & yes | head -c 3000000 >&2; kill $!", b"", PATIENCE);
        assert_eq!((ran.ended, ran.said.len()), (Ended::Exited(0), LINES_MAX));
    }

    #[test]
    fn a_command_that_takes_too_long_is_ended_with_its_children() {
        let begun = super::super::clock::boot_ns();
        let ran = run("sleep 1000 & sleep 1000; true", b"x", Duration::from_millis(50));
        assert_eq!(ran.ended, Ended::TooLate);
        let ran =
            run("trap '' TERM; while :; do sleep 1000; done", b"x", Duration::from_millis(50));
        assert_eq!(ran.ended, Ended::TooLate);
        assert!(super::super::clock::boot_ns() - begun < 60_000_000_000);
    }

    #[test]
    fn signals_are_as_usual_in_it() {
        let ran = run("exec grep -q '^SigBlk:.0*$' /proc/self/status", b"", PATIENCE);
        assert_eq!(ran.ended, Ended::Exited(0));
    }

    #[test]
    fn a_command_that_is_not_there_is_an_error() {
        let none = Command::new(["/no/such/command"].iter()).unwrap();
        assert_eq!(none.run(&[], b"", PATIENCE).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
