//! A batch of a stream: increments added up by name, up to what one request takes. It knows which of the
//! caller's lines each of them is, and nothing of how it is sent.

use std::fmt;
use std::hash::BuildHasher;

use hashbrown::HashTable;

use crate::frame::PAYLOAD_BYTES_MAX;
use crate::ids::Answer;
use crate::protocol::{ENTRIES_MAX, Entry};

/// Bytes of a request beside its entries, at most.
const REQUEST_BYTES: usize = 128;
/// Bytes of an entry beside its name, at most: the name's length and the amount.
const ENTRY_BYTES: usize = 9 + 9;

/// A batch that has no room for an increment: send it first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Full;

impl fmt::Display for Full {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the batch is full")
    }
}

impl std::error::Error for Full {}

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

/// Increments added up by name.
#[derive(Default)]
pub(crate) struct Batch {
    items: Vec<Item>,
    /// Places in `items`, by name.
    places: HashTable<usize>,
    hasher: foldhash::fast::RandomState,
    bytes: usize,
}

struct Item {
    name: String,
    amount: u64,
    lines: u64,
    first_line: u64,
}

impl Batch {
    /// Adds an increment, unless there is no room for it.
    pub(crate) fn add(&mut self, name: &str, amount: u64, line: u64) -> Result<(), Full> {
        let Batch { items, places, hasher, bytes } = self;
        let hash = hasher.hash_one(name);
        let same = |place: &usize| items.get(*place).is_some_and(|item| item.name == name);
        if let Some(item) = places.find(hash, same).and_then(|&place| items.get_mut(place)) {
            item.amount = item.amount.checked_add(amount).ok_or(Full)?;
            item.lines = item.lines.saturating_add(1);
            return Ok(());
        }
        let larger = bytes.saturating_add(name.len()).saturating_add(ENTRY_BYTES);
        let fits = larger <= PAYLOAD_BYTES_MAX - REQUEST_BYTES;
        // A batch of one is sent in any case: if it does not fit, that is said then.
        if !items.is_empty() && (items.len() >= ENTRIES_MAX || !fits) {
            return Err(Full);
        }
        *bytes = larger;
        let place = items.len();
        items.push(Item { name: name.to_owned(), amount, lines: 1, first_line: line });
        places.insert_unique(hash, place, |&place| {
            items.get(place).map_or(0, |item| hasher.hash_one(item.name.as_str()))
        });
        Ok(())
    }

    /// What it asks for.
    pub(crate) fn entries(&self) -> Vec<Entry<'_>> {
        self.items.iter().map(|i| Entry { name: &i.name, amount: i.amount }).collect()
    }

    /// Empties it, and keeps its memory for the next.
    pub(crate) fn clear(&mut self) {
        self.items.clear();
        self.places.clear();
        self.bytes = 0;
    }

    /// Whether there is nothing in it.
    pub(crate) fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// How many increments were added.
    pub(crate) fn lines(&self) -> u64 {
        self.items.iter().fold(0, |lines, item| lines.saturating_add(item.lines))
    }

    /// What the answer to it refuses.
    pub(crate) fn refused(&self, answer: Answer) -> Vec<RefusedLines> {
        let refused = answer.refused.into_iter().filter_map(|refused| {
            let item = self.items.get(usize::try_from(refused.entry).ok()?)?;
            Some(RefusedLines {
                name: item.name.clone(),
                lines: item.lines,
                first_line: item.first_line,
                reason: refused.reason,
            })
        });
        refused.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{RefusedEntry, RequestId};
    use crate::protocol::Request;

    #[test]
    fn increments_of_a_name_are_added_up() {
        let mut batch = Batch::default();
        for (line, name) in (1..).zip(["a", "b", "a", "a"]) {
            batch.add(name, line, line).unwrap();
        }
        let entries = [Entry { name: "a", amount: 8 }, Entry { name: "b", amount: 2 }];
        assert_eq!(batch.entries(), entries);
    }

    #[test]
    fn an_overflow_and_one_entry_too_many_wait_for_the_next_batch() {
        let mut batch = Batch::default();
        batch.add("a", u64::MAX, 1).unwrap();
        assert_eq!(batch.add("a", 1, 2), Err(Full));
        assert_eq!(batch.items[0].lines, 1);
        for n in 1..ENTRIES_MAX {
            batch.add(&format!("n{n}"), 1, 2).unwrap();
        }
        assert_eq!(batch.add("b", 1, 3), Err(Full));
        batch.add("n1", 1, 3).unwrap();
    }

    #[test]
    fn a_full_batch_of_the_longest_names_fits_into_a_frame() {
        let mut batch = Batch::default();
        let mut lines = 0;
        while batch.add(&format!("{lines:0>255}x"), u64::MAX, lines).is_ok() {
            lines += 1;
        }
        let id = RequestId { session: u128::MAX, seq: u64::MAX, born_ns: u64::MAX };
        let entries = batch.entries();
        let request = Request::Incr { id, atomic: false, totals: false, entries };
        request.write(&mut Vec::new()).unwrap();
        assert!(lines > 3_000);
    }

    #[test]
    fn a_refusal_names_the_lines_that_were_added_up() {
        let mut batch = Batch::default();
        for (line, name) in (1..).zip(["a", "b", "a", "b", "b"]) {
            batch.add(name, 1, line).unwrap();
        }
        let refused = vec![RefusedEntry { entry: 1, reason: "too many counters".into() }];
        let refused = batch.refused(Answer { totals: Vec::new(), refused });
        let wanted = RefusedLines {
            name: "b".into(),
            lines: 3,
            first_line: 2,
            reason: "too many counters".into(),
        };
        assert_eq!(refused, [wanted]);
        batch.clear();
        assert!(batch.is_empty());
        batch.add("b", 1, 6).unwrap();
        assert_eq!(batch.entries(), [Entry { name: "b", amount: 1 }]);
    }
}
