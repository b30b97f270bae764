//! Batches of increments that were added up by name, each what one request takes. A batch knows which of the caller's
//! lines are in it, and nothing of how it is sent.

use crate::frame::PAYLOAD_BYTES_MAX;
use crate::ids::Answer;
use crate::protocol::{ENTRIES_MAX, Entry};

/// Bytes of a request beside its entries, at most.
const REQUEST_BYTES: usize = 128;
/// Bytes of an entry beside its name, at most: the name's length and the amount.
const ENTRY_BYTES: usize = 9 + 9;

/// Increments of a batch that the daemon refused, all of one counter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusedLines {
    /// The counter.
    pub name: String,
    /// How many increments they were.
    pub lines: u64,
    /// The number that the first of them was added with.
    pub first_line: u64,
    /// Why, for a person.
    pub reason: String,
}

/// What one request asks for.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    sums: Vec<Sum>,
    /// The names of all sums, one behind the other.
    names: Vec<u8>,
}

#[derive(Debug, Clone, Copy)]
struct Sum {
    /// Where its name ends, which begins at the end of the one before.
    name_end: usize,
    amount: u64,
    lines: u64,
    first_line: u64,
}

impl Batch {
    /// Takes a sum in; its name begins `name`. Returns whether there was room: there is for one in any case.
    pub(crate) fn push(
        &mut self,
        name: &[u64],
        name_bytes: u64,
        amount: u64,
        lines: u64,
        first_line: u64,
    ) -> bool {
        let begin = self.names.len();
        let name_end = begin.saturating_add(usize::try_from(name_bytes).unwrap_or(usize::MAX));
        let sums = self.sums.len().saturating_add(1);
        let bytes = name_end.saturating_add(sums.saturating_mul(ENTRY_BYTES));
        let fits = sums <= ENTRIES_MAX && bytes <= PAYLOAD_BYTES_MAX - REQUEST_BYTES;
        if !fits && !self.is_empty() {
            return false;
        }
        for word in name {
            self.names.extend_from_slice(&word.to_le_bytes());
            if self.names.len() >= name_end {
                break;
            }
        }
        self.names.truncate(name_end);
        self.sums.push(Sum { name_end, amount, lines, first_line });
        true
    }

    /// Whether there is nothing in it.
    pub(crate) fn is_empty(&self) -> bool {
        self.sums.is_empty()
    }

    /// What it asks for.
    pub(crate) fn entries(&self) -> Vec<Entry<'_>> {
        let mut begin = 0;
        let entry = |sum: &Sum| {
            let name = self.name(begin, sum);
            begin = sum.name_end;
            Entry { name, amount: sum.amount }
        };
        self.sums.iter().map(entry).collect()
    }

    /// How many increments were added up in it.
    pub(crate) fn lines(&self) -> u64 {
        self.sums.iter().fold(0, |lines, sum| lines.saturating_add(sum.lines))
    }

    /// What the answer to it refuses.
    pub(crate) fn refused(&self, answer: Answer) -> Vec<RefusedLines> {
        let refused = answer.refused.into_iter().filter_map(|refused| {
            let entry = usize::try_from(refused.entry).ok()?;
            let sum = self.sums.get(entry)?;
            let before = entry.checked_sub(1).and_then(|before| self.sums.get(before));
            Some(RefusedLines {
                name: self.name(before.map_or(0, |sum| sum.name_end), sum).to_owned(),
                lines: sum.lines,
                first_line: sum.first_line,
                reason: refused.reason,
            })
        });
        refused.collect()
    }

    /// Empties it, and keeps its memory.
    pub(crate) fn clear(&mut self) {
        self.sums.clear();
        self.names.clear();
    }

    fn name(&self, begin: usize, sum: &Sum) -> &str {
        let name = self.names.get(begin..sum.name_end).unwrap_or_default();
        std::str::from_utf8(name).unwrap_or_default()
    }
}
