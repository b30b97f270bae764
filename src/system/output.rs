//! The standard output and error as they are: errors are errors. The standard library's take a descriptor
//! that cannot be written to for one where nothing is to be written.

use std::ffi::OsStr;
use std::io::{self, Write};
use std::os::fd::BorrowedFd;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;

/// A descriptor that is written to without a buffer.
#[derive(Debug, Clone, Copy)]
pub struct Output(BorrowedFd<'static>);

impl Output {
    /// The standard output.
    pub fn stdout() -> Output {
        Output(rustix::stdio::stdout())
    }

    /// The standard error.
    pub fn stderr() -> Output {
        Output(rustix::stdio::stderr())
    }

    /// Whether it leads to the journal of systemd: whoever set `JOURNAL_STREAM` gave the device and inode of
    /// the stream in it, and this may have been redirected since.
    pub fn is_journal(&self, journal_stream: Option<&OsStr>) -> bool {
        let wanted = journal_stream.and_then(OsStr::to_str).and_then(|text| text.split_once(':'));
        let Some((device, inode)) = wanted else { return false };
        let found = rustix::fs::fstat(self.0);
        found.is_ok_and(|found| {
            device.parse() == Ok(found.st_dev) && inode.parse() == Ok(found.st_ino)
        })
    }

    /// Whether it is a terminal.
    pub fn is_terminal(&self) -> bool {
        rustix::termios::isatty(self.0)
    }
}

/// An output that is waited for where whoever shares it has set it not to block.
#[derive(Debug, Clone, Copy)]
pub struct Patient(pub Output);

impl Write for Patient {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            match rustix::io::write(self.0.0, bytes) {
                Err(Errno::AGAIN) => {
                    let fd = self.0.0;
                    // What comes of it the next write finds out.
                    let _ = poll(&mut [PollFd::new(&fd, PollFlags::OUT)], None)?;
                }
                result => return Ok(result?),
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(rustix::io::write(self.0, bytes)?)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
