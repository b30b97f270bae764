//! How the program begins: what Rust's runtime does before `main`, less what a program that lives for a
//! fraction of a millisecond has no use for. The runtime would also prepare a second stack, on which to tell of
//! an overflow of the first: a third of the system calls that an increment made.

use std::ffi::{CStr, OsStr, OsString};
use std::io;
use std::os::fd::IntoRawFd;
use std::os::unix::ffi::OsStrExt;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::libc::{c_char, c_int};
use nix::sys::signal::{SigHandler, Signal};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags};
use rustix::stdio::{stderr, stdin, stdout};

use super::signals::replace;

/// Whether SIGPIPE was ignored when this process was started, as systemd has it.
static PIPE_WAS_IGNORED: AtomicBool = AtomicBool::new(false);

/// Whether whoever started this process lets it ignore SIGPIPE: a child of it is to ignore it then, too.
pub(super) fn pipe_was_ignored() -> bool {
    PIPE_WAS_IGNORED.load(Ordering::Relaxed)
}

/// Makes the process fit to run in. To be called first of all, before there is another thread.
///
/// # Errors
/// When the system refuses what any process may do.
pub fn begin() -> io::Result<()> {
    // A write into a pipe that nobody reads is an error then, and not the end.
    let before = replace(Signal::SIGPIPE, SigHandler::SigIgn)?;
    let was_ignored = matches!(before, SigHandler::SigIgn);
    PIPE_WAS_IGNORED.store(was_ignored, Ordering::Relaxed);
    fill_closed_descriptors()
}

/// The words of the command line, the program's name first.
///
/// # Safety
/// They are those of the C library's `main`: `count` texts that end in a zero.
#[expect(unsafe_code, reason = "the C library hands over pointers")]
pub unsafe fn words(count: c_int, words: *const *const c_char) -> Vec<OsString> {
    let count = usize::try_from(count).unwrap_or(0);
    let word = |at| {
        // SAFETY: the caller promises that there are as many texts, each with its zero.
        let text = unsafe { CStr::from_ptr(*words.add(at)) };
        OsStr::from_bytes(text.to_bytes()).to_owned()
    };
    (0..count).map(word).collect()
}

/// A standard descriptor that is closed would be that of the next file, and messages would go there. It is
/// taken by one that cannot be used the way it is meant to be, so that whoever uses it hears of it.
fn fill_closed_descriptors() -> io::Result<()> {
    let standard = [stdin(), stdout(), stderr()];
    let mut polled = standard.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::empty()));
    poll(&mut polled, Some(&Timespec::default()))?;
    for (at, polled) in polled.iter().enumerate() {
        if polled.revents().contains(PollFlags::NVAL) {
            let access = if at == 0 { OFlags::WRONLY } else { OFlags::RDONLY };
            // It gets the lowest number that is free, this one, and keeps it.
            let _ = rustix::fs::open(c"/dev/null", access, Mode::empty())?.into_raw_fd();
        }
    }
    Ok(())
}
