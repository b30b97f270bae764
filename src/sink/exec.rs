//! The sink that is a command: it gets each report on its standard input, and with exit status 0 it has taken it.
//! Otherwise it gets the same report again. Which window that is stands in its environment, so that it can tell.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use super::{Sink, SinkError};
use crate::format::layout::Layout;
use crate::record::FilePlace;
use crate::report::Report;
use crate::system::command::{Command, Ended};
use crate::turn::Prepared;

/// A command as a sink.
#[derive(Debug)]
pub struct Exec {
    command: Command,
    timeout: Duration,
    rendered: Vec<u8>,
    /// The first and the last window of `rendered`.
    windows: (u64, u64),
    said: Vec<String>,
}

impl Exec {
    /// This command, or this text for a shell, which may run for so long.
    ///
    /// # Errors
    /// When the ends of children cannot be told in this process.
    pub fn new(words: &[String], shell: bool, timeout: Duration) -> io::Result<Exec> {
        let command = match shell {
            true => {
                Command::new(["/bin/sh", "-c"].into_iter().chain(words.iter().map(String::as_str)))
            }
            false => Command::new(words.iter()),
        }?;
        Ok(Exec { command, timeout, rendered: Vec::new(), windows: (0, 0), said: Vec::new() })
    }
}

impl Sink for Exec {
    fn prepare(
        &mut self,
        layout: &Layout,
        reports: &[Arc<Report>],
        _offered: Option<FilePlace>,
    ) -> Result<Prepared, SinkError> {
        self.rendered.clear();
        layout.render(reports, &mut self.rendered);
        let first = reports.first().map_or(0, |report| report.window.first);
        let last = reports.last().map_or(0, |report| report.window.number);
        self.windows = (first, last);
        Ok(if self.rendered.is_empty() { Prepared::Already } else { Prepared::Anywhere })
    }

    fn write(&mut self) -> Result<(), SinkError> {
        let (first, last) = self.windows;
        let variables = [("COUNTD_WINDOW", last), ("COUNTD_WINDOW_FIRST", first)];
        let ran = self.command.run(&variables, &self.rendered, self.timeout);
        let mut ran = ran.map_err(|error| SinkError::Failed(format!("cannot be run: {error}")))?;
        self.said.append(&mut ran.said);
        match ran.ended {
            Ended::Exited(0) => {
                self.rendered = Vec::new();
                Ok(())
            }
            Ended::Exited(status) => Err(SinkError::Failed(format!("it exited with {status}"))),
            Ended::Signalled(signal) => {
                Err(SinkError::Failed(format!("it was ended by signal {signal}")))
            }
            Ended::TooLate => {
                let seconds = self.timeout.as_secs_f64();
                Err(SinkError::Failed(format!("it was ended, as it ran for {seconds} s")))
            }
        }
    }

    fn said(&mut self) -> Vec<String> {
        std::mem::take(&mut self.said)
    }
}
