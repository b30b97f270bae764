//! A carbon of the test: it has what it read in memory for a while, and loses that when it is killed. Who tells it so,
//! and what it must have in the end, is the model's business.

use std::sync::Arc;

use super::*;

/// What the last sink leads to.
#[derive(Debug, Default)]
pub(super) struct Carbon {
    /// By the timestamp: when it got the counts, and the counts.
    points: BTreeMap<u64, (u64, Totals)>,
    /// It is not the one that was written to last.
    pub(super) is_another: bool,
}

impl Carbon {
    pub(super) fn take(&mut self, offers: &[(Layout, Vec<Arc<Report>>)], now_ns: u64) {
        for portion in offers.iter().flat_map(|(layout, reports)| layout.portions(reports)) {
            let mut counts = Totals::new();
            for count in portion.report.counts().iter() {
                add(&mut counts, count.name, count.count);
            }
            self.points.insert(portion.second, (now_ns, counts));
        }
    }

    pub(super) fn die(&mut self, now_ns: u64) {
        // What comes again has been there since it came last, as far as anyone knows.
        self.points.retain(|_, (at_ns, _)| *at_ns + KEEPS_NS <= now_ns);
        self.is_another = true;
    }

    pub(super) fn sums(&self) -> Totals {
        let mut sums = Totals::new();
        for (name, count) in self.points.values().flat_map(|(_, counts)| counts) {
            add(&mut sums, name, *count);
        }
        sums.retain(|_, count| *count > 0);
        sums
    }
}
