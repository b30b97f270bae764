//! The sink on standard output. A reader that went away closes it for good; whatever else goes wrong is
//! tried again from the byte it had come to.

use std::sync::Arc;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;

use super::half_out::HalfOut;
use super::{Sink, SinkError};
use crate::format::layout::Layout;
use crate::record::FilePlace;
use crate::report::Report;
use crate::turn::Prepared;

/// Standard output as a sink.
#[derive(Debug, Default)]
pub struct Stdout(HalfOut);

impl Sink for Stdout {
    fn prepare(
        &mut self,
        layout: &Layout,
        reports: &[Arc<Report>],
        _offered: Option<FilePlace>,
    ) -> Result<Prepared, SinkError> {
        Ok(self.0.prepare(layout, reports))
    }

    fn write(&mut self) -> Result<(), SinkError> {
        while !self.0.rest().is_empty() {
            match rustix::io::write(rustix::stdio::stdout(), self.0.rest()) {
                Ok(written) => self.0.advance(written),
                Err(Errno::INTR) => {}
                // Whoever shares the terminal or the pipe has set it so.
                Err(Errno::AGAIN) => wait_until_writable()?,
                Err(Errno::PIPE) => {
                    let why = "nobody reads it any more; closed, counting goes on";
                    return Err(SinkError::Gone(why.into()));
                }
                Err(error) => return Err(SinkError::Failed(error.to_string())),
            }
        }
        self.0.done();
        Ok(())
    }
}

fn wait_until_writable() -> Result<(), SinkError> {
    let stdout = rustix::stdio::stdout();
    match poll(&mut [PollFd::new(&stdout, PollFlags::OUT)], None) {
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(error) => Err(SinkError::Failed(error.to_string())),
    }
}
