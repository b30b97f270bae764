//! A sight of the counters and the daemon's health, put in order once and rendered piece by piece, in either format.

use super::{Collisions, Dialect, Index, Progress, Shown, own};
use crate::counter::table::Columns;
use crate::protocol::StatusReport;

/// The counters and the daemon's health at one moment.
#[derive(Debug, Clone, Default)]
pub struct Sight {
    /// The counters.
    pub columns: Columns,
    /// The health.
    pub status: StatusReport,
}

/// A sight in the order in which it is shown.
#[derive(Debug)]
pub struct View {
    sight: Sight,
    index: Index,
    collisions: Collisions,
}

impl View {
    /// Puts the counters in order.
    pub fn of(sight: Sight, shown: &Shown) -> View {
        let (index, collisions) = Index::of(&sight.columns, shown);
        View { sight, index, collisions }
    }

    /// Which counters it does not have.
    pub fn collisions(&self) -> &Collisions {
        &self.collisions
    }

    /// Whether it can be shown as OpenMetrics.
    pub fn fits_open_metrics(&self) -> bool {
        self.index.fits_open_metrics()
    }

    /// Appends what comes next, as far as it has about `bytes`: countd's own numbers first, the end that OpenMetrics
    /// wants last. Returns whether that was all.
    pub fn render(
        &self,
        dialect: Dialect,
        progress: &mut Progress,
        bytes: usize,
        out: &mut Vec<u8>,
    ) -> bool {
        let Sight { columns, status } = &self.sight;
        if !std::mem::replace(&mut progress.begun, true) {
            own::render(status, self.collisions.number, dialect, out);
        }
        let done = self.index.render(columns, dialect, progress, bytes, out);
        if done && dialect != Dialect::Text {
            out.extend_from_slice(b"# EOF\n");
        }
        done
    }
}
