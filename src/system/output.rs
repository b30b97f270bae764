//! The standard output and error as they are: errors are errors. The standard library's take a descriptor
//! that cannot be written to for one where nothing is to be written.

use std::io::{self, Write};
use std::os::fd::BorrowedFd;

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

    /// Whether it is a terminal.
    pub fn is_terminal(&self) -> bool {
        rustix::termios::isatty(self.0)
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
