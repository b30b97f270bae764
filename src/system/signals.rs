//! Signals of the daemon: SIGINT and SIGTERM stop it, SIGHUP arrives as an event of the loop. What was
//! ignored when the daemon was started stays ignored: `nohup` and a shell's background jobs rely on it.

use std::io;
use std::os::fd::{AsRawFd, RawFd};

use nix::libc;
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
use nix::sys::signalfd::{SfdFlags, SignalFd};

/// The process that everything else in a container hangs on.
const FIRST_PROCESS: u32 = 1;

/// The signals of this process, taken over.
#[derive(Debug)]
pub struct Signals {
    hangups: Option<SignalFd>,
}

impl Signals {
    /// Takes over the signals. To be called first of all, before there is another thread: SIGHUP is blocked
    /// here, and threads inherit that. `stop` is called on a thread of its own at each SIGINT and SIGTERM.
    ///
    /// # Errors
    /// When the system refuses, or it was called before in this process.
    pub fn take_over(stop: impl FnMut() + Send + 'static) -> io::Result<Signals> {
        let mut hangup = SigSet::empty();
        hangup.add(Signal::SIGHUP);
        hangup.thread_block()?;
        let signals = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP];
        let ignored: Vec<Signal> =
            signals.into_iter().filter(|&signal| is_ignored(signal)).collect();
        if std::process::id() == FIRST_PROCESS {
            // Orphans of all kinds become its children, and it waits for none of them.
            replace(Signal::SIGCHLD, SigHandler::SigIgn)?;
        }
        // It would set a handler for all three, whether they were ignored or not.
        ctrlc::set_handler(stop).map_err(io::Error::other)?;
        for signal in &ignored {
            replace(*signal, SigHandler::SigIgn)?;
        }
        if ignored.contains(&Signal::SIGHUP) {
            return Ok(Signals { hangups: None });
        }
        let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
        Ok(Signals { hangups: Some(SignalFd::with_flags(&hangup, flags)?) })
    }

    /// What becomes readable at a SIGHUP; `None` if it is ignored.
    pub fn hangup_fd(&self) -> Option<RawFd> {
        self.hangups.as_ref().map(AsRawFd::as_raw_fd)
    }

    /// Whether there was a SIGHUP since the last call.
    pub fn hung_up(&self) -> bool {
        let mut any = false;
        while let Some(Ok(Some(_))) = self.hangups.as_ref().map(SignalFd::read_signal) {
            any = true;
        }
        any
    }
}

/// Whether whoever started this process lets it ignore a signal. It only looks: one that arrives meanwhile does what
/// it did before.
#[expect(unsafe_code, reason = "dispositions have no safe interface that only looks")]
pub(super) fn is_ignored(signal: Signal) -> bool {
    let mut action = std::mem::MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: it changes nothing and writes one sigaction to where there is room for one, all zeros before,
    // which is a valid one.
    let action = unsafe {
        libc::sigaction(signal as libc::c_int, std::ptr::null(), action.as_mut_ptr());
        action.assume_init()
    };
    action.sa_sigaction == libc::SIG_IGN
}

#[expect(
    unsafe_code,
    reason = "the dispositions of signals are process-wide and have no safe interface"
)]
pub(super) fn replace(signal: Signal, handler: SigHandler) -> io::Result<SigHandler> {
    let action = SigAction::new(handler, SaFlags::SA_RESTART, SigSet::empty());
    // SAFETY: the handler is SIG_IGN, SIG_DFL or one that was installed before, so no new code runs in a signal
    // handler, and no other thread changes dispositions at the same time: this is called at the start.
    let before = unsafe { sigaction(signal, &action) }?;
    Ok(before.handler())
}
