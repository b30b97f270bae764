//! A report: what a flush produces, a closed window with the count of each counter that gained in it. It is
//! made once and shared by all sinks. How it reads as text is not its business, nor is the order of its
//! counts: what renders it sorts them.

#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::as_conversions)]

use std::collections::HashMap;
use std::sync::Arc;

use crate::window::Window;

/// What a counter gained in a window.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Count {
    /// Its canonical name with tags.
    pub name: Arc<str>,
    /// What it gained.
    pub count: u64,
    /// Its total at the window's end; of a deleted counter, at its removal.
    pub total: u64,
}

/// A closed window and its counts, one for each name, in no order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The window.
    pub window: Window,
    /// The counts.
    pub counts: Vec<Count>,
}

impl Report {
    /// The counts in byte order of their names.
    pub fn sorted(&self) -> Vec<&Count> {
        let mut counts: Vec<&Count> = self.counts.iter().collect();
        counts.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        counts
    }

    /// One report for this window and the next: counts are added, totals are the later ones.
    pub fn merged_with(&self, next: &Report) -> Report {
        let mut counts = self.counts.clone();
        let places: HashMap<Arc<str>, usize, foldhash::quality::RandomState> =
            counts.iter().enumerate().map(|(at, count)| (Arc::clone(&count.name), at)).collect();
        for later in &next.counts {
            match places.get(&later.name).and_then(|&at| counts.get_mut(at)) {
                Some(count) => {
                    count.count = count.count.saturating_add(later.count);
                    count.total = later.total;
                }
                None => counts.push(later.clone()),
            }
        }
        Report { window: self.window.merged_with(&next.window), counts }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::window::Moment;

    fn report(number: u64, counts: &[(&str, u64, u64)]) -> Report {
        let moment = Moment { wall_ms: number, boot_ns: number };
        let window = Window {
            first: number,
            number,
            start: moment,
            start_boot: 1,
            end: moment,
            end_boot: 1,
        };
        let counts =
            counts.iter().map(|&(name, count, total)| Count { name: name.into(), count, total });
        Report { window, counts: counts.collect() }
    }

    #[test]
    fn merging_adds_counts_and_keeps_the_later_totals() {
        let merged = report(1, &[("b", 1, 1), ("a", 2, 2)])
            .merged_with(&report(2, &[("c", 5, 5), ("b", 3, 4)]));
        assert_eq!((merged.window.first, merged.window.number), (1, 2));
        let sorted: Vec<_> = merged.sorted().iter().map(|c| (&*c.name, c.count, c.total)).collect();
        assert_eq!(sorted, [("a", 2, 2), ("b", 4, 4), ("c", 5, 5)]);
    }
}
