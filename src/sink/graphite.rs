//! The sink into Graphite: lines over TCP to carbon, which never answers. Writing them twice changes nothing there,
//! as each has its timestamp; so in doubt they are written again. Two ways tell that they have arrived: usually
//! each report has a connection that is ended behind it, and carbon's ending it, too, says that it has read all;
//! or one connection is kept, and what is known is that carbon's kernel has the bytes.
//!
//! Carbon has points in memory before it stores them. So between two reports there always is a connection, be it the
//! next one, that is looked at: found dead, carbon was started anew, and may have lost what it had read. What that is,
//! and that it comes again, is not known here.

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
    /// To write to next, and to tell by whether it is the carbon that has what was written.
    connection: Option<Tcp>,
    /// It is not, or nobody knows.
    lost: bool,
}

impl Graphite {
    /// Carbon at this address, that is given up when nothing moves for so long.
    pub fn new(to: Address, delivered: Delivered, patience: Duration) -> Graphite {
        let (rendered, connection) = (Vec::new(), None);
        Graphite { to, delivered, patience, rendered, connection, lost: false }
    }

    fn connect(&self) -> Result<Tcp, SinkError> {
        let Address { host, port } = &self.to;
        let connected = Tcp::connect(host, *port, self.patience);
        connected.map_err(|error| SinkError::Failed(format!("cannot connect: {error}")))
    }

    /// The connection there is, if it is alive.
    fn living(&mut self) -> Option<Tcp> {
        let mut connection = self.connection.take();
        connection.take_if(|connection| !connection.is_alive());
        self.lost |= connection.is_none();
        connection
    }

    fn deliver(&mut self) -> Result<(), SinkError> {
        let mut connection = match self.living() {
            Some(connection) => connection,
            None => self.connect()?,
        };
        match self.delivered {
            Delivered::Sent => {
                connection.send(&self.rendered).map_err(failed)?;
                connection.deliver().map_err(failed)?;
                self.connection = Some(connection);
            }
            Delivered::Read => {
                // To the same carbon for sure: it is there before this one reads to the end of the report.
                let next = self.connect()?;
                connection.send(&self.rendered).map_err(failed)?;
                connection.finish().map_err(not_ended)?;
                self.connection = Some(next);
            }
        }
        Ok(())
    }
}

fn failed(error: io::Error) -> SinkError {
    SinkError::Failed(format!("not delivered: {error}"))
}

fn not_ended(error: io::Error) -> SinkError {
    if error.kind() != io::ErrorKind::TimedOut {
        return failed(error);
    }
    let hint = "a collector that never does needs ack=sent";
    SinkError::Failed(format!("it took the report, but {error}; {hint}"))
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

    fn prepare_again(
        &mut self,
        offers: &[(Layout, Vec<Arc<Report>>)],
    ) -> Result<Prepared, SinkError> {
        self.rendered.clear();
        for (layout, reports) in offers {
            layout.render(reports, &mut self.rendered);
        }
        Ok(if self.rendered.is_empty() { Prepared::Already } else { Prepared::AnyTimes })
    }

    fn write(&mut self) -> Result<(), SinkError> {
        let delivered = self.deliver();
        self.rendered = Vec::new();
        delivered
    }

    fn check(&mut self) {
        self.connection = self.living();
    }

    fn has_lost(&mut self) -> bool {
        std::mem::take(&mut self.lost)
    }
}
