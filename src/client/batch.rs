//! What a stream has to send: increments added up by name, and batches of them, as many as one request takes.
//! They know which of the caller's lines each of them is, and nothing of how they are sent.

use std::fmt;
use std::hash::{BuildHasher, Hasher};
use std::ops::Range;
use std::sync::Arc;

use hashbrown::HashTable;

use crate::counter::name::same;
use crate::frame::PAYLOAD_BYTES_MAX;
use crate::ids::Answer;
use crate::protocol::{ENTRIES_MAX, Entry};

/// Bytes of a request beside its entries, at most.
const REQUEST_BYTES: usize = 128;
/// Bytes of an entry beside its name, at most: the name's length and the amount.
const ENTRY_BYTES: usize = 9 + 9;
/// Names that are added up before they are sent: the more, the fewer entries go to the daemon, and the fewer
/// stay in the processor's caches.
const NAMES_MAX: usize = 1 << 16;
/// Bytes of all these names.
const NAMES_BYTES_MAX: usize = 4 << 20;

/// There is no room for an increment: send first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Full;

impl fmt::Display for Full {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("what was added has to be sent first")
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
pub(crate) struct Sums {
    items: Vec<Item>,
    /// The names of all items, one behind the other.
    names: String,
    /// Places in `items`, by name.
    places: HashTable<u32>,
    hasher: foldhash::fast::RandomState,
    lines: u64,
}

struct Item {
    /// Where its name is in `names`.
    name: Range<u32>,
    amount: u64,
    lines: u64,
    first_line: u64,
}

impl Sums {
    /// Adds an increment if its counter is among those that were added to before. The name has to be as it was
    /// then.
    pub(crate) fn add_known(&mut self, name: &[u8], amount: u64) -> bool {
        let hash = self.hash(name);
        let Some(item) = self.find(hash, name) else { return false };
        let Some(sum) = item.amount.checked_add(amount) else { return false };
        item.amount = sum;
        item.lines = item.lines.saturating_add(1);
        self.lines = self.lines.saturating_add(1);
        true
    }

    /// Adds an increment, unless there is no room for it.
    pub(crate) fn add(&mut self, name: &str, amount: u64, line: u64) -> Result<(), Full> {
        if self.add_known(name.as_bytes(), amount) {
            return Ok(());
        }
        let hash = self.hash(name.as_bytes());
        let is_known = self.find(hash, name.as_bytes()).is_some();
        let end = self.names.len().saturating_add(name.len());
        // One is sent in any case: if it does not fit into a request, that is said then.
        let is_full = self.items.len() >= NAMES_MAX || end > NAMES_BYTES_MAX;
        if is_known || (is_full && !self.is_empty()) {
            return Err(Full);
        }
        let place = u32::try_from(self.items.len()).map_err(|_| Full)?;
        let begin = u32::try_from(self.names.len()).map_err(|_| Full)?;
        let name_at = begin..u32::try_from(end).map_err(|_| Full)?;
        self.names.push_str(name);
        self.items.push(Item { name: name_at, amount, lines: 1, first_line: line });
        self.lines = self.lines.saturating_add(1);
        let Sums { items, names, places, hasher, .. } = self;
        places.insert_unique(hash, place, |&place| {
            let item = usize::try_from(place).ok().and_then(|place| items.get(place));
            item.map_or(0, |item| hash_of(hasher, item.name_in(names).as_bytes()))
        });
        Ok(())
    }

    /// Whether there is nothing in it.
    pub(crate) fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// How many increments were added.
    pub(crate) fn lines(&self) -> u64 {
        self.lines
    }

    /// All of it, as much in each batch as a request takes.
    pub(crate) fn into_batches(self) -> impl Iterator<Item = Batch> {
        let sums = Arc::new(self);
        let mut begin = 0;
        std::iter::from_fn(move || {
            let rest = sums.items.get(begin..).filter(|rest| !rest.is_empty())?;
            let mut bytes = 0_usize;
            let fitting = rest.iter().take(ENTRIES_MAX).take_while(|item| {
                bytes = bytes.saturating_add(item.name.len()).saturating_add(ENTRY_BYTES);
                bytes <= PAYLOAD_BYTES_MAX - REQUEST_BYTES
            });
            let end = begin.saturating_add(fitting.count().max(1));
            let batch = Batch { sums: Arc::clone(&sums), range: begin..end };
            begin = end;
            Some(batch)
        })
    }

    fn hash(&self, name: &[u8]) -> u64 {
        hash_of(&self.hasher, name)
    }

    fn find(&mut self, hash: u64, name: &[u8]) -> Option<&mut Item> {
        let Sums { items, names, places, .. } = self;
        let at = |place: u32| usize::try_from(place).unwrap_or(usize::MAX);
        let is_it = |&place: &u32| {
            let known = items.get(at(place)).and_then(|item| names.as_bytes().get(item.range()));
            known.is_some_and(|known| same(known, name))
        };
        let place = at(*places.find(hash, is_it)?);
        items.get_mut(place)
    }

    /// Empties it, and keeps its memory.
    fn clear(&mut self) {
        self.items.clear();
        self.names.clear();
        self.places.clear();
        self.lines = 0;
    }
}

impl Item {
    fn name_in<'a>(&self, names: &'a str) -> &'a str {
        names.get(self.range()).unwrap_or_default()
    }

    fn range(&self) -> Range<usize> {
        let at = |offset: u32| usize::try_from(offset).unwrap_or(usize::MAX);
        at(self.name.start)..at(self.name.end)
    }
}

fn hash_of(hasher: &foldhash::fast::RandomState, name: &[u8]) -> u64 {
    let mut hasher = hasher.build_hasher();
    hasher.write(name);
    hasher.finish()
}

/// What one request asks for.
pub(crate) struct Batch {
    sums: Arc<Sums>,
    /// Which items.
    range: Range<usize>,
}

impl Batch {
    /// What it asks for.
    pub(crate) fn entries(&self) -> Vec<Entry<'_>> {
        let names = &self.sums.names;
        let items = self.items().iter();
        items.map(|item| Entry { name: item.name_in(names), amount: item.amount }).collect()
    }

    /// How many increments were added up in it.
    pub(crate) fn lines(&self) -> u64 {
        self.items().iter().fold(0, |lines, item| lines.saturating_add(item.lines))
    }

    /// What the answer to it refuses.
    pub(crate) fn refused(&self, answer: Answer) -> Vec<RefusedLines> {
        let refused = answer.refused.into_iter().filter_map(|refused| {
            let item = self.items().get(usize::try_from(refused.entry).ok()?)?;
            Some(RefusedLines {
                name: item.name_in(&self.sums.names).to_owned(),
                lines: item.lines,
                first_line: item.first_line,
                reason: refused.reason,
            })
        });
        refused.collect()
    }

    /// Empty sums with the memory of these, if this was the last batch of them.
    pub(crate) fn into_spare(self) -> Option<Sums> {
        let mut sums = Arc::into_inner(self.sums)?;
        sums.clear();
        Some(sums)
    }

    fn items(&self) -> &[Item] {
        self.sums.items.get(self.range.clone()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{RefusedEntry, RequestId};
    use crate::protocol::Request;

    fn only(sums: Sums) -> Batch {
        let mut batches: Vec<Batch> = sums.into_batches().collect();
        assert_eq!(batches.len(), 1);
        batches.remove(0)
    }

    #[test]
    fn increments_of_a_name_are_added_up() {
        let mut sums = Sums::default();
        for (line, name) in (1..).zip(["a", "b", "a", "a"]) {
            sums.add(name, line, line).unwrap();
        }
        assert!(sums.add_known(b"b", 5) && !sums.add_known(b"c", 1));
        assert_eq!(sums.lines(), 5);
        let entries = [Entry { name: "a", amount: 8 }, Entry { name: "b", amount: 7 }];
        assert_eq!(only(sums).entries(), entries);
    }

    #[test]
    fn an_overflow_and_one_name_too_many_have_to_wait() {
        let mut sums = Sums::default();
        sums.add("a", u64::MAX, 1).unwrap();
        assert!(!sums.add_known(b"a", 1));
        assert_eq!(sums.add("a", 1, 2), Err(Full));
        assert_eq!((sums.items[0].lines, sums.lines()), (1, 1));
        for n in 1..NAMES_MAX {
            sums.add(&format!("n{n}"), 1, 2).unwrap();
        }
        assert_eq!(sums.add("b", 1, 3), Err(Full));
        sums.add("n1", 1, 3).unwrap();
        let batches: Vec<Batch> = sums.into_batches().collect();
        assert_eq!(batches.len(), NAMES_MAX / ENTRIES_MAX);
        assert!(batches.iter().all(|batch| batch.entries().len() == ENTRIES_MAX));
        assert_eq!(batches.iter().map(Batch::lines).sum::<u64>(), NAMES_MAX as u64 + 1);
    }

    #[test]
    fn batches_of_the_longest_names_fit_into_a_frame() {
        let mut sums = Sums::default();
        let mut lines = 0;
        while sums.add(&format!("{lines:0>255}x"), u64::MAX, lines).is_ok() {
            lines += 1;
        }
        assert!(lines > 16_000);
        let (mut found, mut batches) = (0, 0);
        for batch in sums.into_batches() {
            let id = RequestId { session: u128::MAX, seq: u64::MAX, born_ns: u64::MAX };
            let entries = batch.entries();
            found += entries.len() as u64;
            batches += 1;
            let request = Request::Incr { id, atomic: false, totals: false, entries };
            request.write(&mut Vec::new()).unwrap();
        }
        assert_eq!(found, lines);
        assert!(batches <= 5, "{batches}");
    }

    #[test]
    fn a_name_that_fits_into_no_request_is_a_batch_all_the_same() {
        let mut sums = Sums::default();
        let name = "x".repeat(NAMES_BYTES_MAX + 1);
        sums.add(&name, 1, 1).unwrap();
        assert_eq!(sums.add("a", 1, 2), Err(Full));
        assert_eq!(only(sums).entries().len(), 1);
    }

    #[test]
    fn a_refusal_names_the_lines_that_were_added_up() {
        let mut sums = Sums::default();
        for (line, name) in (1..).zip(["a", "b", "a", "b", "b"]) {
            sums.add(name, 1, line).unwrap();
        }
        let batch = only(sums);
        let refused = vec![RefusedEntry { entry: 1, reason: "too many counters".into() }];
        let refused = batch.refused(Answer { totals: Vec::new(), refused });
        let wanted = RefusedLines {
            name: "b".into(),
            lines: 3,
            first_line: 2,
            reason: "too many counters".into(),
        };
        assert_eq!(refused, [wanted]);
        let mut spare = batch.into_spare().unwrap();
        assert!(spare.is_empty() && spare.lines() == 0);
        spare.add("b", 1, 6).unwrap();
        assert_eq!(only(spare).entries(), [Entry { name: "b", amount: 1 }]);
    }

    #[test]
    fn memory_comes_back_with_the_last_batch() {
        let mut sums = Sums::default();
        for n in 0..=ENTRIES_MAX {
            sums.add(&format!("n{n}"), 1, 1).unwrap();
        }
        let mut batches = sums.into_batches().collect::<Vec<_>>().into_iter();
        assert!(batches.next().unwrap().into_spare().is_none());
        assert!(batches.next().unwrap().into_spare().is_some_and(|spare| spare.is_empty()));
    }
}
