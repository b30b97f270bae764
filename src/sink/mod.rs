//! Sinks: where reports go. A sink may block for as long as it likes: whoever drives it does so beside the
//! loop. Which windows a sink gets, and when, is decided in the turn; this only carries it out.

pub mod exec;
pub mod graphite;
mod half_out;
pub mod log_file;
pub mod otlp;
pub mod spec;
pub mod statsd;
pub mod stdout;
pub mod textfile;

use std::fmt;
use std::sync::Arc;

use crate::format::layout::Layout;
use crate::format::prometheus::view::Sight;
use crate::record::FilePlace;
use crate::report::Report;
use crate::turn::Prepared;

/// Why a sink did not take a report.
#[derive(Debug)]
pub enum SinkError {
    /// Not now; nothing of it is in the output, or it goes on from there.
    Failed(String),
    /// Never again.
    Gone(String),
}

/// A place that takes reports.
pub trait Sink: Send {
    /// Renders these windows and finds where they go; adds nothing to the output. If the windows were offered
    /// before, `offered` is where: then they may be there already, or the beginning of them, which is removed.
    ///
    /// # Errors
    /// [`SinkError`] when they could not be written now.
    fn prepare(
        &mut self,
        layout: &Layout,
        reports: &[Arc<Report>],
        offered: Option<FilePlace>,
    ) -> Result<Prepared, SinkError>;

    /// Writes what was prepared last.
    ///
    /// # Errors
    /// [`SinkError`] when not all of it is written.
    fn write(&mut self) -> Result<(), SinkError>;

    /// Renders what it wrote before and may have lost: what was offered together with its layout, oldest first. It is
    /// the same whether it is written once or more often. One that loses nothing has it.
    ///
    /// # Errors
    /// [`SinkError`] when it could not be written now.
    fn prepare_again(
        &mut self,
        _offers: &[(Layout, Vec<Arc<Report>>)],
    ) -> Result<Prepared, SinkError> {
        Ok(Prepared::Already)
    }

    /// Looks whether what it wrote is still where it went.
    fn check(&mut self) {}

    /// Whether what it wrote before its last order may be lost; it is told once.
    fn has_lost(&mut self) -> bool {
        false
    }

    /// Whether it is to be shown all counters each time before it prepares a report.
    fn wants_sights(&self) -> bool {
        false
    }

    /// Whether a sight is to be shown also when no report comes.
    fn shows_sights(&self) -> bool {
        self.wants_sights()
    }

    /// Takes a sight of the counters, which is not older than any it had. Before it prepares a report, it is of the
    /// same moment or later; when it is to write without having prepared, the sight is what to write.
    fn look(&mut self, _sight: Sight) {}

    /// What is wrong with it though it takes reports.
    fn problem(&self) -> Option<String> {
        None
    }

    /// The daemon stops in good order, and this comes last.
    fn finish(&mut self) {}

    /// What it has to tell the operator since it was last asked, a line each.
    fn said(&mut self) -> Vec<String> {
        Vec::new()
    }

    /// Opens its output anew at the next report, if it has a name to open.
    fn reopen(&mut self) {}
}

impl fmt::Debug for dyn Sink + '_ {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sink")
    }
}
