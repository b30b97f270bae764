//! The sink into Graphite: lines over TCP to carbon, which never answers. Writing them twice changes nothing there,
//! as each has its timestamp; so in doubt they are written again. Two ways tell that they have arrived: usually
//! each report has a connection that is ended behind it, and carbon's ending it, too, says that it has read all;
//! or one connection is kept, and what is known is that carbon's kernel has the bytes.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use super::spec::Address;
use super::{Sink, SinkError};
use crate::format::layout::Layout;
use crate::record::FilePlace;
use crate::report::Report;
use crate::system::tcp::Tcp;
use crate::turn::Prepared;

/// What is kept to be written again, at most, in bytes.
const KEPT_MAX: usize = 16 << 20;

/// When a report counts as delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivered {
    /// When the collector has read it, which it shows by ending the connection.
    Read,
    /// When its kernel has it; the connection is kept.
    Sent,
}

/// Carbon as a sink.
#[derive(Debug)]
pub struct Graphite {
    to: Address,
    delivered: Delivered,
    patience: Duration,
    rendered: Vec<u8>,
    connection: Option<Tcp>,
    /// What was written since a connection that is kept was last found alive: if it is found dead, nobody may
    /// have read it, and it is written again.
    last: Vec<u8>,
}

impl Graphite {
    /// Carbon at this address, that is given up when nothing moves for so long.
    pub fn new(to: Address, delivered: Delivered, patience: Duration) -> Graphite {
        Graphite {
            to,
            delivered,
            patience,
            rendered: Vec::new(),
            connection: None,
            last: Vec::new(),
        }
    }

    fn connect(&self) -> Result<Tcp, SinkError> {
        let Address { host, port } = &self.to;
        Tcp::connect(host, *port, self.patience)
            .map_err(|error| SinkError::Failed(format!("cannot connect: {error}")))
    }

    fn write_and_end(&mut self) -> Result<(), SinkError> {
        let mut connection = self.connect()?;
        connection.send(&self.rendered).map_err(failed)?;
        connection.finish().map_err(|error| {
            if error.kind() != io::ErrorKind::TimedOut {
                return failed(error);
            }
            let hint = "a collector that never does needs ack=sent";
            SinkError::Failed(format!("it took the report, but {error}; {hint}"))
        })
    }

    fn write_and_keep(&mut self) -> Result<(), SinkError> {
        // Before the first report there is nothing that a dead connection may have lost.
        let mut connection = match self.connection.take().map(|mut kept| (kept.is_alive(), kept)) {
            Some((true, alive)) => {
                self.last.clear();
                alive
            }
            Some((false, _)) | None => {
                let mut connection = self.connect()?;
                connection.send(&self.last).map_err(failed)?;
                connection
            }
        };
        connection.send(&self.rendered).and_then(|()| connection.deliver()).map_err(failed)?;
        self.connection = Some(connection);
        if self.last.len().saturating_add(self.rendered.len()) > KEPT_MAX {
            self.last = Vec::new();
        }
        if self.rendered.len() <= KEPT_MAX {
            self.last.extend_from_slice(&self.rendered);
        }
        Ok(())
    }
}

fn failed(error: io::Error) -> SinkError {
    SinkError::Failed(format!("not delivered: {error}"))
}

impl Sink for Graphite {
    fn prepare(
        &mut self,
        layout: &Layout,
        reports: &[Arc<Report>],
        _offered: Option<FilePlace>,
    ) -> Result<Prepared, SinkError> {
        self.rendered.clear();
        layout.render(reports, &mut self.rendered);
        Ok(if self.rendered.is_empty() { Prepared::Already } else { Prepared::AnyTimes })
    }

    fn write(&mut self) -> Result<(), SinkError> {
        let written = match self.delivered {
            Delivered::Read => self.write_and_end(),
            Delivered::Sent => self.write_and_keep(),
        };
        self.rendered = Vec::new();
        written
    }
}
