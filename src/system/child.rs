//! A command as a child that stands in for this process: it has the streams, the signal mask and the ignored
//! signals this process was started with, gets the signals this process gets, stops when it is stopped, and
//! its end is told. Without a thread or a handler: every signal is blocked, and read from a descriptor.
//! To be used by a process of one thread.

use std::ffi::{CString, OsStr, OsString};
use std::fmt;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::libc;
use nix::spawn::{PosixSpawnAttr, PosixSpawnFileActions, PosixSpawnFlags, posix_spawn};
use nix::sys::signal::{SigHandler, SigSet, SigmaskHow, Signal as Handled};
use nix::sys::signalfd::{SfdFlags, SignalFd, siginfo};
use rustix::process::{
    Pid, Signal, WaitOptions, WaitStatus, getpid, getsid, kill_process, waitpid,
};

use crate::system::process::pipe_was_ignored;
use crate::system::signals::replace;

/// What runs a script that does not say what runs it, as `execvp` has it.
const SHELL: &str = "/bin/sh";
/// Where commands are looked for where nobody says it, as `execvp` has it.
const PATH_DEFAULT: &str = "/bin:/usr/bin";
/// The largest exit status.
const STATUS_MAX: i32 = 255;

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// By itself.
    Exited(u8),
    /// By a signal.
    Signalled {
        /// Which.
        signal: u8,
        /// It was the Ctrl-C of a terminal, which this process has got, too.
        by_terminal: bool,
    },
}

/// Why a command was not started.
#[derive(Debug)]
pub enum StartError {
    /// There is none, or nothing that runs it.
    NotFound,
    /// It is there, or may be.
    NotExecuted(io::Error),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StartError::NotFound => f.write_str("command not found"),
            StartError::NotExecuted(error) => write!(f, "cannot be executed: {error}"),
        }
    }
}

impl std::error::Error for StartError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            StartError::NotFound => None,
            StartError::NotExecuted(error) => Some(error),
        }
    }
}

/// Runs a command to its end; `path` is where it is looked for. From here on signals do not end this process.
///
/// # Errors
/// [`StartError`] when it is not there or cannot be run.
pub fn run(command: &[OsString], path: Option<&OsStr>) -> Result<Ended, StartError> {
    let watch = Watch::begin().map_err(StartError::NotExecuted)?;
    let child = watch.spawn(command, path)?;
    watch.wait(child).map_err(StartError::NotExecuted)
}

/// Ends this process by the signal of Ctrl-C, unless that is ignored. A shell that has been interrupted, too,
/// goes on with its script if what it waited for ends in any other way.
pub fn end_by_interrupt() {
    // None of these fails with these arguments, and then there is still an exit status.
    let _ = kill_process(getpid(), Signal::INT);
    let mut interrupt = SigSet::empty();
    interrupt.add(Handled::SIGINT);
    let _ = interrupt.thread_unblock();
}

/// The signals of this process, held up.
struct Watch {
    arriving: SignalFd,
    /// The mask it was started with.
    mask: SigSet,
    /// Signals that countd ignores and whoever started this process did not.
    to_default: SigSet,
}

impl Watch {
    fn begin() -> io::Result<Watch> {
        // A parent that ignores this would keep the end of our child from us.
        replace(Handled::SIGCHLD, SigHandler::SigDfl)?;
        let all = SigSet::all();
        let mask = all.thread_swap_mask(SigmaskHow::SIG_SETMASK)?;
        let arriving = SignalFd::with_flags(&all, SfdFlags::SFD_CLOEXEC)?;
        let mut to_default = SigSet::empty();
        if !pipe_was_ignored() {
            to_default.add(Handled::SIGPIPE);
        }
        Ok(Watch { arriving, mask, to_default })
    }

    /// Starts the first file of that name that can be run.
    fn spawn(&self, command: &[OsString], path: Option<&OsStr>) -> Result<Pid, StartError> {
        let words: Vec<CString> = command.iter().map(|word| c_string(word.as_os_str())).collect();
        let name = command.first().map(OsString::as_os_str).unwrap_or_default();
        let mut why = None;
        for file in candidates(name, path) {
            match self.spawn_file(&file, &words) {
                Ok(pid) => return Ok(pid),
                // As execvp: what may not be run does not hide what may.
                Err(Errno::ENOENT | Errno::ENOTDIR) => {}
                Err(Errno::EACCES) => why = Some(Errno::EACCES),
                Err(error) => return Err(StartError::NotExecuted(error.into())),
            }
        }
        Err(why.map_or(StartError::NotFound, |why| StartError::NotExecuted(why.into())))
    }

    fn spawn_file(&self, file: &Path, words: &[CString]) -> Result<Pid, Errno> {
        match self.spawn_words(file, words) {
            Err(Errno::ENOEXEC) => {
                let script = [c_string(OsStr::new(SHELL)), c_string(file.as_os_str())];
                let arguments = words.iter().skip(1).cloned();
                let words: Vec<CString> = script.into_iter().chain(arguments).collect();
                self.spawn_words(Path::new(SHELL), &words)
            }
            spawned => spawned,
        }
    }

    fn spawn_words(&self, file: &Path, words: &[CString]) -> Result<Pid, Errno> {
        let mut attributes = PosixSpawnAttr::init()?;
        let flags =
            PosixSpawnFlags::POSIX_SPAWN_SETSIGMASK | PosixSpawnFlags::POSIX_SPAWN_SETSIGDEF;
        attributes.set_flags(flags)?;
        attributes.set_sigmask(&self.mask)?;
        attributes.set_sigdefault(&self.to_default)?;
        let actions = PosixSpawnFileActions::init()?;
        let pid = posix_spawn(file, &actions, &attributes, words, &environment())?;
        Pid::from_raw(pid.as_raw()).ok_or(Errno::ESRCH)
    }

    /// Passes signals on until the child has ended.
    fn wait(&self, child: Pid) -> io::Result<Ended> {
        let mut interrupted = false;
        loop {
            let Some(arrived) = self.arriving.read_signal()? else { continue };
            if is(&arrived, Signal::CHILD) {
                if let Some(ended) = self.look(child, interrupted)? {
                    return Ok(ended);
                }
                continue;
            }
            if is_for_the_group(&arrived) {
                interrupted |= is(&arrived, Signal::INT);
            } else if let Some(signal) = passed_on(&arrived) {
                // One that has ended just now gets no more.
                let _ = kill_process(child, signal);
            }
        }
    }

    /// What has become of the child.
    fn look(&self, child: Pid, interrupted: bool) -> io::Result<Option<Ended>> {
        let options = WaitOptions::NOHANG | WaitOptions::UNTRACED;
        while let Some((_, status)) = waitpid(Some(child), options)? {
            if status.stopped() {
                if status.stopping_signal().is_some_and(|signal| signal != Signal::STOP.as_raw()) {
                    // Job control: the shell that waits for us is to see it. It continues us, and we it.
                    let _ = kill_process(getpid(), Signal::STOP);
                }
                continue;
            }
            return Ok(Some(ended(status, interrupted)));
        }
        Ok(None)
    }
}

fn ended(status: WaitStatus, interrupted: bool) -> Ended {
    let byte = |number: i32| u8::try_from(number & STATUS_MAX).unwrap_or(u8::MAX);
    match status.terminating_signal() {
        Some(signal) => {
            let by_terminal = interrupted && signal == Signal::INT.as_raw();
            Ended::Signalled { signal: byte(signal), by_terminal }
        }
        None => Ended::Exited(byte(status.exit_status().unwrap_or(STATUS_MAX))),
    }
}

/// Whether a terminal sent it to the whole group of processes, as at Ctrl-C: the child has it then. A hang-up
/// is for the leader of the session alone; other signals the kernel sends, such as of an alarm, are for this
/// process, in whose place the child is.
fn is_for_the_group(arrived: &siginfo) -> bool {
    if arrived.ssi_code != libc::SI_KERNEL {
        return false;
    }
    let is = |signals: &[Signal]| signals.iter().any(|signal| is(arrived, *signal));
    let leads = || getsid(None).is_ok_and(|leader| leader == getpid());
    is(&[Signal::INT, Signal::QUIT, Signal::TSTP, Signal::TTIN, Signal::TTOU, Signal::WINCH])
        || is(&[Signal::HUP, Signal::CONT]) && !leads()
}

fn is(arrived: &siginfo, signal: Signal) -> bool {
    u32::try_from(signal.as_raw()) == Ok(arrived.ssi_signo)
}

#[expect(
    unsafe_code,
    reason = "signals without a name, the real-time ones, have no safe constructor"
)]
fn passed_on(arrived: &siginfo) -> Option<Signal> {
    let number = i32::try_from(arrived.ssi_signo).ok().filter(|number| *number > 0)?;
    // SAFETY: it is a signal, for it has arrived; and none that the C library keeps for itself, for it lets
    // nobody block those.
    Signal::from_named_raw(number).or_else(|| Some(unsafe { Signal::from_raw_unchecked(number) }))
}

/// Where a command may be, in order.
fn candidates(name: &OsStr, path: Option<&OsStr>) -> Vec<PathBuf> {
    if name.is_empty() {
        return Vec::new();
    }
    if name.as_bytes().contains(&b'/') {
        return vec![PathBuf::from(name)];
    }
    let folders = std::env::split_paths(path.unwrap_or(OsStr::new(PATH_DEFAULT)));
    // No file is begun to be run where there is none: that costs a process each time. An empty folder is this one.
    let files = folders.map(|folder| match folder.as_os_str().is_empty() {
        true => Path::new(".").join(name),
        false => folder.join(name),
    });
    files.filter(|file| file.symlink_metadata().is_ok()).collect()
}

/// Arguments and variables of a process have no zeros in them; what is made up stops at one.
fn c_string(text: &OsStr) -> CString {
    let bytes = text.as_bytes();
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    CString::new(bytes.get(..end).unwrap_or_default()).unwrap_or_default()
}

/// The variables of this process.
pub(super) fn environment() -> Vec<CString> {
    let variables = std::env::vars_os().map(|(mut name, value)| {
        name.push("=");
        name.push(value);
        c_string(&name)
    });
    variables.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_a_slash_is_looked_for_nowhere_else() {
        assert_eq!(candidates("./x".as_ref(), Some("/bin".as_ref())), [Path::new("./x")]);
        assert!(candidates("".as_ref(), Some("/bin".as_ref())).is_empty());
    }

    #[test]
    fn a_command_is_looked_for_in_each_folder_of_the_path_in_order() {
        let homes = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let files = homes.iter().map(|home| home.path().join("job")).collect::<Vec<_>>();
        files.iter().for_each(|file| std::fs::write(file, "").unwrap());
        let path = std::env::join_paths([homes[1].path(), Path::new("/none"), homes[0].path()]);
        let found = candidates("job".as_ref(), Some(&path.unwrap()));
        assert_eq!(found, [files[1].clone(), files[0].clone()]);
        assert_eq!(candidates("sh".as_ref(), None).first().unwrap(), Path::new("/bin/sh"));
    }
}
