//! Increments added up by name, until they are sent. The names stay when their sums go: one that comes again is
//! neither checked nor given its place again, for what is known here is canonical. When there is no room for
//! more names, all of them go. How sums are sent is not known here.

use std::collections::VecDeque;
use std::fmt;

use crate::client::batch::Batch;
use crate::client::plain::{GROUP_MAX, NameHasher, Plain, words};

/// How many names are known at once: the more, the fewer are sent twice, and the fewer stay in the processor's caches.
const NAMES_MAX: usize = 1 << 17;
/// Words of all these names and their sums.
const WORDS_MAX: usize = 1 << 20;
/// How many slots there are at first; there are always twice as many as names, or more.
const SLOTS_MIN: usize = 1 << 10;

/// There is no room for an increment: send first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Full;

impl fmt::Display for Full {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("what was added has to be sent first")
    }
}

impl std::error::Error for Full {}

/// Increments added up by name.
#[derive(Default)]
pub(crate) struct Sums {
    hasher: NameHasher,
    slots: Slots,
    /// Of each counter its sum and then its name, so that both are near. Its place is where it begins.
    words: Vec<u64>,
    /// The places of the sums that are not empty, in the order in which they were added to first.
    added: VecDeque<u32>,
    /// How many increments are in them.
    lines: u64,
    /// There was no room for a name.
    is_full: bool,
}

/// How many words stand before a name: the amount, the number of lines, that of the first of them, and the
/// name's length in bytes.
const SUM_WORDS: usize = 4;

impl Sums {
    /// What names are to be hashed by.
    pub(crate) fn hasher(&self) -> NameHasher {
        self.hasher
    }

    /// Adds those lines of a group whose names are known; the first of them has this number. Returns which are
    /// left, as bits. What is looked at for one line hangs on what was looked at before, and much of it is far
    /// away: so each step is taken for all of them before the next, and the waits overlap.
    pub(crate) fn add_known(&mut self, group: &[Plain<'_>], first_line: u64) -> u32 {
        let mut places = [EMPTY; GROUP_MAX];
        for (place, line) in places.iter_mut().zip(group) {
            // As a rule the first whose hash is alike is the one.
            *place = self.slots.find(line.hash, |_| true).unwrap_or(EMPTY);
        }
        for (place, line) in places.iter_mut().zip(group) {
            if !self.is_named(*place, line.words()) {
                *place = self.find(line.hash, || line.words()).unwrap_or(EMPTY);
            }
        }
        let mut left = 0;
        for ((place, line), number) in places.iter().zip(group).zip(0_u32..) {
            let line_number = first_line.saturating_add(u64::from(number));
            if self.add_to(*place, line.amount, line_number).is_err() {
                left |= 1 << number;
            }
        }
        left
    }

    /// Adds an increment, unless there is no room for it.
    pub(crate) fn add(&mut self, name: &str, amount: u64, line: u64) -> Result<(), Full> {
        let hash = self.hasher.hash(name.as_bytes());
        if let Some(place) = self.find(hash, || words(name.as_bytes())) {
            return self.add_to(place, amount, line);
        }
        let end = self.words.len() + SUM_WORDS + name.len() / 8 + 1;
        if self.slots.used >= NAMES_MAX || end > WORDS_MAX {
            self.is_full = true;
            if !self.is_empty() {
                return Err(Full);
            }
            // One is sent in any case: if it does not fit into a request, that is said then.
            self.forget();
        }
        let place = u32::try_from(self.words.len()).map_err(|_| Full)?;
        self.slots.insert(Slot { hash, place });
        self.words.extend([0, 0, 0, name.len() as u64]);
        self.words.extend(words(name.as_bytes()));
        self.add_to(place, amount, line)
    }

    /// Whether nothing was added.
    pub(crate) fn is_empty(&self) -> bool {
        self.added.is_empty()
    }

    /// How many increments were added.
    pub(crate) fn lines(&self) -> u64 {
        self.lines
    }

    /// Takes as much of what was added first as a request takes, into an empty batch.
    pub(crate) fn take(&mut self, batch: &mut Batch) {
        while let Some(place) = self.added.front().copied() {
            let record =
                self.words.get_mut(at(place)..).and_then(|words| words.split_first_chunk_mut());
            let Some(([amount, lines, first_line, name_bytes], name)) = record else { break };
            if !batch.push(name, *name_bytes, *amount, *lines, *first_line) {
                return;
            }
            self.lines = self.lines.saturating_sub(*lines);
            (*amount, *lines) = (0, 0);
            self.added.pop_front();
        }
        self.forget();
    }

    /// Forgets the names if there was no room for another.
    fn forget(&mut self) {
        if std::mem::take(&mut self.is_full) {
            self.slots.clear();
            self.words.clear();
        }
    }

    fn add_to(&mut self, place: u32, amount: u64, line: u64) -> Result<(), Full> {
        let record = self.words.get_mut(at(place)..).and_then(|words| words.first_chunk_mut());
        let [sum, lines, first_line] = record.ok_or(Full)?;
        *sum = sum.checked_add(amount).ok_or(Full)?;
        if *lines == 0 {
            self.added.push_back(place);
            *first_line = line;
        } else if *first_line > line {
            // Known lines of a group are added before the others.
            *first_line = line;
        }
        *lines = lines.saturating_add(1);
        self.lines = self.lines.saturating_add(1);
        Ok(())
    }

    fn find<I: Iterator<Item = u64>>(&self, hash: u32, name: impl Fn() -> I) -> Option<u32> {
        self.slots.find(hash, |place| self.is_named(place, name()))
    }

    fn is_named(&self, place: u32, mut name: impl Iterator<Item = u64>) -> bool {
        let known = self.words.get(at(place).saturating_add(SUM_WORDS)..).unwrap_or_default();
        let mut known = known.iter();
        name.all(|word| known.next() == Some(&word))
    }
}

/// Places by hashes: each in the first slot that was empty from its own on.
#[derive(Default)]
struct Slots {
    /// None, or a power of two.
    slots: Vec<Slot>,
    used: usize,
}

#[derive(Clone, Copy)]
struct Slot {
    hash: u32,
    /// [`EMPTY`] if there is none.
    place: u32,
}

const EMPTY: u32 = u32::MAX;

impl Slots {
    /// The first place with this hash that is it.
    fn find(&self, hash: u32, is_it: impl Fn(u32) -> bool) -> Option<u32> {
        let mut slot = at(hash);
        loop {
            let found = self.slots.get(slot & self.slots.len().wrapping_sub(1))?;
            if found.place == EMPTY {
                return None;
            }
            if found.hash == hash && is_it(found.place) {
                return Some(found.place);
            }
            slot = slot.wrapping_add(1);
        }
    }

    fn insert(&mut self, slot: Slot) {
        if self.used.saturating_mul(2) >= self.slots.len() {
            self.grow();
        }
        self.used = self.used.saturating_add(1);
        self.put(slot);
    }

    fn grow(&mut self) {
        let slots = self.slots.len().saturating_mul(2).max(SLOTS_MIN);
        let empty = Slot { hash: 0, place: EMPTY };
        let old = std::mem::replace(&mut self.slots, vec![empty; slots]);
        old.into_iter().filter(|slot| slot.place != EMPTY).for_each(|slot| self.put(slot));
    }

    fn put(&mut self, new: Slot) {
        let mask = self.slots.len().wrapping_sub(1);
        let mut at = at(new.hash) & mask;
        while self.slots.get(at).is_some_and(|slot| slot.place != EMPTY) {
            at = at.wrapping_add(1) & mask;
        }
        if let Some(slot) = self.slots.get_mut(at) {
            *slot = new;
        }
    }

    fn clear(&mut self) {
        self.slots.fill(Slot { hash: 0, place: EMPTY });
        self.used = 0;
    }
}

fn at(place: u32) -> usize {
    usize::try_from(place).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::plain::Group;
    use crate::ids::{Answer, RefusedEntry, RequestId};
    use crate::protocol::{ENTRIES_MAX, Entry, Request};

    fn batches(sums: &mut Sums) -> Vec<Batch> {
        let next = || {
            let mut batch = Batch::default();
            sums.take(&mut batch);
            (!batch.is_empty()).then_some(batch)
        };
        std::iter::from_fn(next).collect()
    }

    fn only(sums: &mut Sums) -> Batch {
        let mut batches = batches(sums);
        assert_eq!(batches.len(), 1);
        batches.remove(0)
    }

    fn entry(name: &str, amount: u64) -> Entry<'_> {
        Entry { name, amount }
    }

    /// Adds plain lines; returns which are left, as bits.
    fn add_known(sums: &mut Sums, lines: &str) -> u32 {
        let mut group = Group::default();
        let padded = format!("{lines}\n0123456");
        group.read(padded.as_bytes(), sums.hasher());
        assert_eq!(group.lines().len(), padded.lines().count() - 1);
        sums.add_known(group.lines(), 100)
    }

    #[test]
    fn increments_of_a_name_are_added_up() {
        let mut sums = Sums::default();
        for (line, name) in (1..).zip(["a", "b", "a", "a"]) {
            sums.add(name, line, line).unwrap();
        }
        assert_eq!(add_known(&mut sums, "b 5\nc\nb 2"), 0b010);
        assert_eq!(sums.lines(), 6);
        assert_eq!(only(&mut sums).entries(), [entry("a", 8), entry("b", 9)]);
        assert_eq!((sums.lines(), sums.is_empty()), (0, true));
    }

    #[test]
    fn names_are_known_after_their_sums_are_taken() {
        let mut sums = Sums::default();
        sums.add("a.name.of.sixteen", 1, 1).unwrap();
        sums.add("b", 2, 2).unwrap();
        only(&mut sums);
        assert_eq!(add_known(&mut sums, "b\na.name.of.sixteen 3\nb 4"), 0);
        sums.add("a.name.of.sixteen", 1, 103).unwrap();
        let batch = only(&mut sums);
        assert_eq!(batch.entries(), [entry("b", 5), entry("a.name.of.sixteen", 4)]);
        let refused = vec![RefusedEntry { entry: 1, reason: "no".into() }];
        let refused = batch.refused(Answer { totals: Vec::new(), refused });
        assert_eq!((refused[0].first_line, refused[0].lines), (101, 2));
    }

    #[test]
    fn a_name_that_only_begins_like_a_known_one_is_another() {
        let names = ["a", "ab", "abcdefg", "abcdefgh", "abcdefghi", "abcdefghabcdefgh"];
        for known in names {
            let mut sums = Sums::default();
            sums.add(known, 1, 1).unwrap();
            for name in names {
                let left = add_known(&mut sums, name);
                assert_eq!(left, u32::from(name != known), "{name} {known}");
            }
        }
    }

    #[test]
    fn names_of_one_hash_are_told_apart() {
        // The hash has 32 bits: the slots hold many names of the same one here.
        let mut sums = Sums::default();
        let mut slots = Slots::default();
        for place in 0..100 {
            slots.insert(Slot { hash: 7, place });
        }
        assert_eq!(slots.find(7, |place| place == 99), Some(99));
        assert_eq!(slots.find(7, |_| true), Some(0));
        assert_eq!(slots.find(8, |_| true), None);
        // A line whose name is not the first of its hash is found all the same.
        sums.add("a", 1, 1).unwrap();
        sums.add("b", 1, 2).unwrap();
        let [a, b] = ["a", "b"].map(|name| sums.hasher.hash(name.as_bytes()));
        let place = |hash| sums.slots.find(hash, |_| true).unwrap();
        let (a_place, b_place) = (place(a), place(b));
        sums.slots.clear();
        sums.slots.put(Slot { hash: b, place: a_place });
        sums.slots.put(Slot { hash: b, place: b_place });
        assert_eq!(add_known(&mut sums, "b 7"), 0);
        assert_eq!(only(&mut sums).entries(), [entry("a", 1), entry("b", 8)]);
    }

    #[test]
    fn an_overflow_and_one_name_too_many_have_to_wait() {
        let mut sums = Sums::default();
        sums.add("a", u64::MAX, 1).unwrap();
        assert_eq!(add_known(&mut sums, "a"), 1);
        assert_eq!(sums.add("a", 1, 2), Err(Full));
        assert_eq!(sums.lines(), 1);
        for n in 1..NAMES_MAX {
            sums.add(&format!("n{n}"), 1, 2).unwrap();
        }
        assert_eq!(sums.add("b", 1, 3), Err(Full));
        sums.add("n1", 1, 3).unwrap();
        let batches = batches(&mut sums);
        assert_eq!(batches.len(), NAMES_MAX / ENTRIES_MAX);
        assert!(batches.iter().all(|batch| batch.entries().len() == ENTRIES_MAX));
        assert_eq!(batches.iter().map(Batch::lines).sum::<u64>(), NAMES_MAX as u64 + 1);
        // All names have gone to make room.
        assert_eq!(add_known(&mut sums, "n1"), 1);
        sums.add("b", 1, 4).unwrap();
        assert_eq!(only(&mut sums).entries(), [entry("b", 1)]);
    }

    #[test]
    fn names_that_are_sent_already_make_room_at_once() {
        let mut sums = Sums::default();
        for n in 0..NAMES_MAX {
            sums.add(&format!("n{n}"), 1, 1).unwrap();
        }
        batches(&mut sums);
        sums.add("b", 1, 2).unwrap();
        assert_eq!(only(&mut sums).entries(), [entry("b", 1)]);
    }

    #[test]
    fn batches_of_the_longest_names_fit_into_a_frame() {
        let mut sums = Sums::default();
        let mut lines = 0;
        while sums.add(&format!("{lines:0>254}x"), u64::MAX, lines).is_ok() {
            lines += 1;
        }
        assert!(lines > 16_000);
        let (mut found, mut frames) = (0, 0);
        for batch in batches(&mut sums) {
            let id = RequestId { session: u128::MAX, seq: u64::MAX, born_ns: u64::MAX };
            let entries = batch.entries();
            found += entries.len() as u64;
            frames += 1;
            let request = Request::Incr { id, atomic: false, totals: false, entries };
            request.write(&mut Vec::new()).unwrap();
        }
        assert_eq!(found, lines);
        assert!(frames <= 10, "{frames}");
    }

    #[test]
    fn a_name_that_fits_into_no_request_is_a_batch_all_the_same() {
        let mut sums = Sums::default();
        let name = "x".repeat(8 * WORDS_MAX);
        sums.add(&name, 1, 1).unwrap();
        assert_eq!(sums.add("a", 1, 2), Err(Full));
        assert_eq!(only(&mut sums).entries(), [entry(&name, 1)]);
        sums.add("a", 1, 3).unwrap();
        assert_eq!(only(&mut sums).entries(), [entry("a", 1)]);
    }

    #[test]
    fn a_refusal_names_the_first_line_also_when_others_of_its_group_were_added_before() {
        let mut sums = Sums::default();
        sums.add("a", 1, 90).unwrap();
        only(&mut sums);
        // The first is another spelling of the name, and added when all that are known are.
        assert_eq!(add_known(&mut sums, "another.spelling\na\na"), 0b001);
        sums.add("a", 1, 100).unwrap();
        let refused = vec![RefusedEntry { entry: 0, reason: "no".into() }];
        let refused = only(&mut sums).refused(Answer { totals: Vec::new(), refused });
        assert_eq!((refused[0].first_line, refused[0].lines), (100, 3));
    }

    #[test]
    fn a_refusal_names_the_lines_that_were_added_up() {
        let mut sums = Sums::default();
        for (line, name) in (1..).zip(["a", "b", "a", "b", "b"]) {
            sums.add(name, 1, line).unwrap();
        }
        let mut batch = only(&mut sums);
        let refused = vec![RefusedEntry { entry: 1, reason: "too many counters".into() }];
        let refused = batch.refused(Answer { totals: Vec::new(), refused });
        let wanted = crate::client::batch::RefusedLines {
            name: "b".into(),
            lines: 3,
            first_line: 2,
            reason: "too many counters".into(),
        };
        assert_eq!(refused, [wanted]);
        batch.clear();
        sums.add("b", 1, 6).unwrap();
        sums.take(&mut batch);
        assert_eq!(batch.entries(), [entry("b", 1)]);
    }
}
