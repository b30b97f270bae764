//! A report: what a flush produces, a closed window with the count of each counter that gained in it. It is
//! made once and shared by all sinks. The counts of a large one are put together when they are first wanted, on
//! whatever thread that is: they are the same whenever that is. How it reads as text is not its business.

#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::as_conversions)]

use std::fmt;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use crate::window::Window;

/// Counts that are put together at once, in less time than a thread takes to wake up for it.
const AT_ONCE: usize = if cfg!(test) { 3 } else { 2_048 };

/// What a counter gained in a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Count<'a> {
    /// Its canonical name with tags.
    pub name: &'a str,
    /// What it gained.
    pub count: u64,
    /// Its total at the window's end; of a deleted counter, at its removal.
    pub total: u64,
}

/// Counts in byte order of their names, one for each. They are kept as bytes: a million reports of a counter
/// that was counted once take 2 bytes each beside its name.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Counts {
    /// Of each: the length of its name in a byte, the name, the count and the total by seven bits a byte.
    bytes: Vec<u8>,
    len: usize,
    gained: u64,
    sum: u128,
}

/// A closed window and its counts.
pub struct Report {
    /// The window.
    pub window: Window,
    /// What the counts are made of, until they are.
    source: Mutex<Option<Source>>,
    at_most: usize,
    counts: OnceLock<Counts>,
}

/// Puts counts together.
type Source = Box<dyn FnOnce() -> Counts + Send>;

impl Counts {
    /// From counts in byte order of their names. Those of one name are added up, and the last of them has the
    /// total.
    pub fn of_sorted<'a>(counts: impl Iterator<Item = Count<'a>>, bytes_about: usize) -> Counts {
        let mut all = Counts { bytes: Vec::with_capacity(bytes_about), ..Counts::default() };
        let mut last: Option<Count<'_>> = None;
        for next in counts {
            last = Some(match last {
                Some(before) if before.name == next.name => {
                    Count { count: before.count.saturating_add(next.count), ..next }
                }
                before => {
                    before.into_iter().for_each(|count| all.push(count));
                    next
                }
            });
        }
        last.into_iter().for_each(|count| all.push(count));
        all.bytes.shrink_to_fit();
        all
    }

    /// Adds one whose name comes after all others; of a longer name than there can be, it has the beginning.
    pub fn push(&mut self, count: Count<'_>) {
        let name = count.name.get(..count.name.floor_char_boundary(255)).unwrap_or_default();
        self.bytes.push(u8::try_from(name.len()).unwrap_or(u8::MAX));
        self.bytes.extend_from_slice(name.as_bytes());
        put_number(count.count, &mut self.bytes);
        put_number(count.total, &mut self.bytes);
        self.len = self.len.saturating_add(1);
        self.gained = self.gained.saturating_add(u64::from(count.count > 0));
        self.sum = self.sum.saturating_add(count.count.into());
    }

    /// The same, if they were pushed in another order than that of names.
    pub fn put_in_order(self) -> Counts {
        if self.iter().is_sorted_by(|a, b| a.name < b.name) {
            return self;
        }
        let mut all: Vec<Count<'_>> = self.iter().collect();
        all.sort_unstable_by_key(|count| count.name);
        Counts::of_sorted(all.into_iter(), self.bytes.len())
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// How many counters gained something.
    pub fn gained(&self) -> u64 {
        self.gained
    }

    /// What they gained together.
    pub fn sum(&self) -> u128 {
        self.sum
    }

    /// All of them, in byte order of their names.
    pub fn iter(&self) -> impl Iterator<Item = Count<'_>> {
        let mut rest = self.bytes.as_slice();
        std::iter::from_fn(move || {
            let (&length, after) = rest.split_first()?;
            let (name, after) = after.split_at_checked(length.into())?;
            rest = after;
            let name = str::from_utf8(name).ok()?;
            Some(Count { name, count: take_number(&mut rest)?, total: take_number(&mut rest)? })
        })
    }

    /// These and those of the next window: counts are added, totals are the later ones.
    fn merged_with(&self, next: &Counts) -> Counts {
        let bytes = self.bytes.len().saturating_add(next.bytes.len());
        Counts::of_sorted(in_order(self.iter(), next.iter()), bytes)
    }
}

impl<'a> FromIterator<Count<'a>> for Counts {
    /// From counts in any order.
    fn from_iter<I: IntoIterator<Item = Count<'a>>>(counts: I) -> Counts {
        let mut all = Counts::default();
        counts.into_iter().for_each(|count| all.push(count));
        all.put_in_order()
    }
}

impl Report {
    /// A report whose counts are known.
    pub fn new(window: Window, counts: Counts) -> Report {
        let at_most = counts.len();
        Report { window, source: Mutex::new(None), at_most, counts: OnceLock::from(counts) }
    }

    /// A report of so many counts at most, which are put together later if they are many.
    pub fn later(
        window: Window,
        at_most: usize,
        source: impl FnOnce() -> Counts + Send + 'static,
    ) -> Report {
        if at_most <= AT_ONCE {
            return Report::new(window, source());
        }
        let source: Source = Box::new(source);
        Report { window, source: Mutex::new(Some(source)), at_most, counts: OnceLock::new() }
    }

    /// The counts. The first who asks puts them together, and others wait for that.
    pub fn counts(&self) -> &Counts {
        self.counts.get_or_init(|| {
            let source = self.source.lock().unwrap_or_else(PoisonError::into_inner).take();
            source.map(|source| source()).unwrap_or_default()
        })
    }

    /// Whether the counts are put together.
    pub fn is_settled(&self) -> bool {
        self.counts.get().is_some()
    }

    /// How many counts there are, or at most, if they are not put together.
    pub fn counts_at_most(&self) -> usize {
        self.counts.get().map_or(self.at_most, Counts::len)
    }

    /// One report for these windows, the earliest first: counts are added, totals are the later ones.
    pub fn merged(reports: Vec<Arc<Report>>) -> Option<Report> {
        let (first, rest) = reports.split_first()?;
        let window = rest.iter().fold(first.window, |all, next| all.merged_with(&next.window));
        let at_most = reports.iter().map(|report| report.counts_at_most());
        let at_most = at_most.fold(0, usize::saturating_add);
        Some(Report::later(window, at_most, move || {
            let all = reports.iter().map(|report| report.counts()).fold(None, |all, next| {
                Some(match all {
                    Some(all) => Counts::merged_with(&all, next),
                    None => next.clone(),
                })
            });
            all.unwrap_or_default()
        }))
    }
}

impl fmt::Debug for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl fmt::Debug for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Report { window, at_most, counts, .. } = self;
        let mut report = f.debug_struct("Report");
        report.field("window", window).field("at_most", at_most);
        report.field("counts", &counts.get()).finish()
    }
}

impl Eq for Report {}

impl PartialEq for Report {
    fn eq(&self, other: &Report) -> bool {
        self.window == other.window && self.counts() == other.counts()
    }
}

/// Both together, in byte order of their names, which each is in; of one name the earlier comes first.
pub(crate) fn in_order<'a>(
    earlier: impl Iterator<Item = Count<'a>>,
    later: impl Iterator<Item = Count<'a>>,
) -> impl Iterator<Item = Count<'a>> {
    let (mut earlier, mut later) = (earlier.peekable(), later.peekable());
    std::iter::from_fn(move || match (earlier.peek(), later.peek()) {
        (Some(a), Some(b)) if a.name > b.name => later.next(),
        (Some(_), _) => earlier.next(),
        (None, _) => later.next(),
    })
}

fn put_number(number: u64, out: &mut Vec<u8>) {
    let mut rest = number;
    loop {
        let [low, ..] = rest.to_le_bytes();
        rest >>= 7;
        if rest == 0 {
            out.push(low);
            return;
        }
        out.push(low | 0x80);
    }
}

fn take_number(rest: &mut &[u8]) -> Option<u64> {
    let (mut number, mut shift) = (0, 0_u32);
    loop {
        let (&byte, after) = rest.split_first()?;
        *rest = after;
        number |= u64::from(byte & 0x7f).checked_shl(shift)?;
        if byte & 0x80 == 0 {
            return Some(number);
        }
        shift = shift.checked_add(7)?;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::window::Moment;

    fn window(number: u64) -> Window {
        let moment = Moment { wall_ms: number, boot_ns: number };
        Window { first: number, number, start: moment, start_boot: 1, end: moment, end_boot: 1 }
    }

    fn counts(counts: &[(&str, u64, u64)]) -> Counts {
        let counts = counts.iter().map(|&(name, count, total)| Count { name, count, total });
        Counts::of_sorted(counts, 0)
    }

    fn merged(reports: &[Counts]) -> Report {
        let reports = (1..).zip(reports).map(|(n, counts)| Report::new(window(n), counts.clone()));
        Report::merged(reports.map(Arc::new).collect()).unwrap()
    }

    fn listed(counts: &Counts) -> Vec<(String, u64, u64)> {
        counts.iter().map(|c| (c.name.to_owned(), c.count, c.total)).collect()
    }

    #[test]
    fn merging_adds_counts_and_keeps_the_later_totals() {
        let merged =
            merged(&[counts(&[("a", 2, 2), ("b", 1, 1)]), counts(&[("b", 3, 4), ("c", 5, 5)])]);
        assert_eq!((merged.window.first, merged.window.number), (1, 2));
        assert_eq!(merged.counts(), &counts(&[("a", 2, 2), ("b", 4, 4), ("c", 5, 5)]));
        assert_eq!((merged.counts().gained(), merged.counts().sum()), (3, 11));
    }

    #[test]
    fn the_ends_of_u64_and_the_longest_name_are_kept() {
        let name = "ä".repeat(127) + "x";
        let counts = counts(&[(&name, u64::MAX, 0), ("z", 127, 128)]);
        let listed: Vec<_> = counts.iter().map(|c| (c.name, c.count, c.total)).collect();
        assert_eq!(listed, [(&*name, u64::MAX, 0), ("z", 127, 128)]);
    }

    #[test]
    fn counts_of_a_large_report_are_put_together_once_and_only_when_wanted() {
        let (told, made) = std::sync::mpsc::channel();
        let report = Report::later(window(1), AT_ONCE + 1, move || {
            told.send(()).unwrap();
            counts(&[("a", 1, 1)])
        });
        assert_eq!((report.is_settled(), report.counts_at_most()), (false, AT_ONCE + 1));
        assert!(made.try_recv().is_err(), "nobody wants them yet");
        assert_eq!((report.counts().len(), report.counts().len()), (1, 1));
        assert_eq!((report.is_settled(), report.counts_at_most()), (true, 1));
        assert_eq!(made.iter().count(), 1);
    }

    type Gains = BTreeMap<String, (u64, u64)>;

    proptest! {
        #[test]
        fn merging_is_the_sum_of_all(
            windows in prop::collection::vec(
                prop::collection::btree_map("[ab]{1,3}", (any::<u64>(), any::<u64>()), 0..12), 1..5)
        ) {
            let reports: Vec<Counts> = windows.iter().map(|window: &Gains| {
                let all = window.iter().map(|(name, &(count, total))| Count { name, count, total });
                Counts::of_sorted(all, 0)
            }).collect();
            let mut sums = Gains::new();
            for (name, &(count, total)) in windows.iter().flatten() {
                let sum = sums.entry(name.clone()).or_default();
                *sum = (sum.0.saturating_add(count), total);
            }
            let expected: Vec<_> = sums.into_iter().map(|(name, (c, t))| (name, c, t)).collect();
            prop_assert_eq!(listed(merged(&reports).counts()), expected);
        }
    }
}
