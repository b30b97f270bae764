//! The sink into Graphite: lines over TCP to carbon, which never answers. Writing them twice changes nothing there,
//! as each has its timestamp; so in doubt they are written again. Two ways tell that they have arrived: usually
//! each report has a connection that is ended behind it, and carbon's ending it, too, says that it has read all;
//! or one connection is kept, and what is known is that carbon's kernel has the bytes.
//!
//! Between two reports there always is a connection, be it the next one, that is looked at: found dead, carbon was
//! started anew, and may have lost what it had read and not stored. So what was written a while before comes again.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use super::spec::Address;
use super::{Sink, SinkError};
use crate::format::layout::Layout;
use crate::record::FilePlace;
use crate::report::Report;
use crate::system::clock::boot_ns;
use crate::system::tcp::Tcp;
use crate::turn::Prepared;

/// How old what is written again may be, compared with the newest of it.
const KEPT_NS: u64 = 300_000_000_000;
/// How much of it there may be, in bytes.
const KEPT_BYTES_MAX: usize = 16 << 20;

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
    /// To write to next, and to tell by whether it is the carbon that the last report was written to.
    connection: Option<Tcp>,
    /// What was written lately, and when.
    recent: VecDeque<(u64, Vec<u8>)>,
    recent_bytes: usize,
    /// Carbon may have lost that.
    in_doubt: bool,
    said: Vec<String>,
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
            recent: VecDeque::new(),
            recent_bytes: 0,
            in_doubt: false,
            said: Vec::new(),
        }
    }

    fn connect(&self) -> io::Result<Tcp> {
        let Address { host, port } = &self.to;
        Tcp::connect(host, *port, self.patience)
    }

    /// A connection to write to, on which is what carbon may have lost.
    fn connection(&mut self) -> Result<Tcp, SinkError> {
        if let Some(mut connection) = self.connection.take() {
            if connection.is_alive() && !self.in_doubt {
                return Ok(connection);
            }
            self.in_doubt = true;
        }
        let connected = self.connect();
        let mut connection =
            connected.map_err(|error| SinkError::Failed(format!("cannot connect: {error}")))?;
        if self.in_doubt {
            for (_, report) in &self.recent {
                connection.send(report).map_err(failed)?;
            }
        }
        Ok(connection)
    }

    fn deliver(&mut self) -> Result<(), SinkError> {
        let mut connection = self.connection()?;
        connection.send(&self.rendered).map_err(failed)?;
        match self.delivered {
            Delivered::Sent => {
                connection.deliver().map_err(failed)?;
                self.connection = Some(connection);
            }
            Delivered::Read => {
                connection.finish().map_err(not_ended)?;
                // One that cannot be had now is had with the next report, and until then nobody looks.
                self.connection = self.connect().ok();
            }
        }
        Ok(())
    }

    /// Keeps what was written, in case it has to be again.
    fn keep(&mut self) {
        let now_ns = boot_ns();
        let report = std::mem::take(&mut self.rendered);
        self.recent_bytes = self.recent_bytes.saturating_add(report.len());
        self.recent.push_back((now_ns, report));
        while let Some((at_ns, report)) = self.recent.front() {
            let is_old = at_ns.saturating_add(KEPT_NS) < now_ns;
            if !is_old && self.recent_bytes <= KEPT_BYTES_MAX {
                break;
            }
            self.recent_bytes = self.recent_bytes.saturating_sub(report.len());
            self.recent.pop_front();
        }
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

    fn write(&mut self) -> Result<(), SinkError> {
        let delivered = self.deliver();
        match &delivered {
            Ok(()) => {
                if self.in_doubt && !self.recent.is_empty() {
                    let reports = self.recent.len();
                    self.said.push(format!(
                        "it went away in between; the last reports are written again, {reports} of them"
                    ));
                }
                // Where nobody looks, it may have gone.
                self.in_doubt = self.connection.is_none();
                self.keep();
            }
            Err(_) => {
                self.in_doubt = true;
                self.rendered = Vec::new();
            }
        }
        delivered
    }

    fn said(&mut self) -> Vec<String> {
        std::mem::take(&mut self.said)
    }
}
