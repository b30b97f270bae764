//! What a window was when it was closed, frozen: from that its counts are put together, at once or later and
//! somewhere else, while the counters count on.

use crate::counter::table::{Columns, Slot};
use crate::report::{Count, Counts, in_order};

/// Bytes of a count beside its name, about.
const NUMBERS_BYTES: usize = 5;

/// A window at its end.
#[derive(Debug)]
pub(super) struct Closing {
    pub(super) number: u64,
    pub(super) counters: Columns,
    /// Slots of counters that gained, or were made again after they had been retired.
    pub(super) changed: Vec<Slot>,
    pub(super) retired: Columns,
    /// Whether counters that gained nothing have a count, too.
    pub(super) with_idle: bool,
}

impl Closing {
    /// How many counts there are at most.
    pub(super) fn counts_at_most(&self) -> usize {
        let slots = |columns: &Columns| usize::try_from(columns.slots()).unwrap_or(usize::MAX);
        let live = if self.with_idle { slots(&self.counters) } else { self.changed.len() };
        live.saturating_add(slots(&self.retired))
    }

    /// What each name gained. What was retired comes before what was made again: the later total holds.
    pub(super) fn counts(self) -> Counts {
        let live = if self.with_idle {
            sorted(&self.counters, 0..self.counters.slots())
        } else {
            sorted(&self.counters, self.changed.iter().copied())
        };
        let retired = sorted(&self.retired, 0..self.retired.slots());
        let all = live.iter().chain(&retired);
        let bytes = all.map(|(name, _)| name.len().saturating_add(NUMBERS_BYTES)).sum();
        let live = live.iter().filter_map(|&(name, slot)| {
            let (_, values) = self.counters.get(slot)?;
            Some(Count { name, count: values.count(self.number), total: values.total })
        });
        let retired = retired.iter().filter_map(|&(name, slot)| {
            let retired = super::retired::of(self.retired.get(slot)?.1);
            Some(Count { name, count: retired.count, total: retired.total })
        });
        Counts::of_sorted(in_order(retired, live), bytes)
    }
}

/// These counters by their names.
fn sorted(columns: &Columns, slots: impl Iterator<Item = Slot>) -> Vec<(&str, Slot)> {
    let mut found: Vec<(&str, Slot)> =
        slots.filter_map(|slot| Some((columns.name(slot)?, slot))).collect();
    found.sort_unstable();
    found
}
