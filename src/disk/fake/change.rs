//! What is done to the files and names of a made-up disk, and what a power cut leaves of it while it is not
//! synced.

use std::collections::{BTreeMap, BTreeSet};

/// One thing done to a file or to names.
#[derive(Debug, Clone)]
pub(super) enum Change {
    Append(u64, Vec<u8>),
    Truncate(u64),
    Link(String, usize),
    Rename(String, String, usize),
    /// The same from one folder to another, with the folders that have to be synced for it.
    Shift(String, String, usize, BTreeSet<String>),
    Remove(String),
}

impl Change {
    /// The names that it changes.
    pub(super) fn names(&self) -> Vec<String> {
        match self {
            Change::Link(name, _) | Change::Remove(name) => vec![name.clone()],
            Change::Rename(from, to, _) | Change::Shift(from, to, ..) => {
                vec![from.clone(), to.clone()]
            }
            Change::Append(..) | Change::Truncate(_) => unreachable!(),
        }
    }
}

/// Chance, as a power cut has it. With seed 0 nothing ever comes out but 0.
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn new(seed: u64) -> Dice {
        Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    /// xorshift64, its better half: 0 stays 0.
    pub(super) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 >> 16
    }

    /// Of a change that was not synced, what a power cut leaves: nothing, all of it, or of an append only
    /// its beginning or its end, with zeros before that.
    pub(super) fn leaves(&mut self, change: Change) -> Option<Change> {
        match (self.next() % 4, change) {
            (0, _) => None,
            (1, change) => Some(change),
            (fate, Change::Append(offset, mut bytes)) => {
                let at = self.next() as usize % bytes.len().max(1);
                if fate == 2 {
                    bytes.truncate(at);
                } else {
                    bytes[..at].fill(0);
                }
                Some(Change::Append(offset, bytes))
            }
            (fate, change) => (fate == 3).then_some(change),
        }
    }
}

/// Does it to a file.
pub(super) fn apply(content: &mut Vec<u8>, change: Change) {
    match change {
        Change::Append(offset, bytes) => {
            let (start, end) = (offset as usize, offset as usize + bytes.len());
            content.resize(content.len().max(end), 0);
            content[start..end].copy_from_slice(&bytes);
        }
        Change::Truncate(length) => content.truncate(length as usize),
        Change::Link(..) | Change::Rename(..) | Change::Shift(..) | Change::Remove(_) => {
            unreachable!()
        }
    }
}

/// Does it to names.
pub(super) fn apply_name(names: &mut BTreeMap<String, usize>, change: Change) {
    match change {
        Change::Link(name, file) => drop(names.insert(name, file)),
        Change::Remove(name) => drop(names.remove(&name)),
        Change::Rename(from, to, file) | Change::Shift(from, to, file, _) => {
            if names.get(&from) == Some(&file) {
                names.remove(&from);
            }
            names.insert(to, file);
        }
        Change::Append(..) | Change::Truncate(_) => unreachable!(),
    }
}
