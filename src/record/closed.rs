//! Closed windows that some sink has not acknowledged, oldest first, with what each turn asks of all of them: that is
//! found out once for as long as they stay the same. When one goes is not decided here.

use std::collections::VecDeque;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use crate::report::Report;

/// The closed windows.
#[derive(Debug, Default)]
pub(super) struct Closed {
    reports: VecDeque<Arc<Report>>,
    /// How many counts they have, once all of them are put together.
    counts: Option<usize>,
}

impl Closed {
    /// How many counts they have, at most.
    pub(super) fn counts_at_most(&mut self) -> usize {
        if let Some(counts) = self.counts {
            return counts;
        }
        let settled = self.unsettled().is_none();
        let counts = self.reports.iter().map(|report| report.counts_at_most());
        let counts = counts.fold(0, usize::saturating_add);
        self.counts = settled.then_some(counts);
        counts
    }

    /// One whose counts are still to be put together.
    pub(super) fn unsettled(&self) -> Option<&Arc<Report>> {
        match self.counts {
            Some(_) => None,
            None => self.reports.iter().find(|report| !report.is_settled()),
        }
    }

    /// Those after the one with this number.
    pub(super) fn after(&self, number: u64) -> impl Iterator<Item = &Arc<Report>> + use<'_> {
        self.reports.range(self.reports.partition_point(|it| it.window.number <= number)..)
    }
}

impl Deref for Closed {
    type Target = VecDeque<Arc<Report>>;

    fn deref(&self) -> &VecDeque<Arc<Report>> {
        &self.reports
    }
}

impl DerefMut for Closed {
    /// Whoever has this may change them.
    fn deref_mut(&mut self) -> &mut VecDeque<Arc<Report>> {
        self.counts = None;
        &mut self.reports
    }
}
