//! Names: which of a folder's files are the journal's, and which of these make one unbroken line from the
//! newest checkpoint to the last segment. Contents are not looked at here.

use std::collections::BTreeSet;
use std::io;
use std::ops::RangeInclusive;

use super::checkpoint::remove_if_there;
use super::error::OpenError;
use crate::disk::Disk;

const JOURNAL: &str = "journal.";
const CHECKPOINT: &str = "checkpoint.";
const TEMPORARY: &str = ".tmp";

/// The name of a segment of the journal.
pub(super) fn journal_name(number: u64) -> String {
    format!("{JOURNAL}{number}")
}

/// The name of a checkpoint: the state at the start of the segment of this number.
pub(super) fn checkpoint_name(number: u64) -> String {
    format!("{CHECKPOINT}{number}")
}

/// The name of a file while it is not yet whole.
pub(super) fn temporary(name: &str) -> String {
    format!("{name}{TEMPORARY}")
}

/// The journal's files in a folder.
#[derive(Debug, Default)]
pub(super) struct Folder {
    journals: BTreeSet<u64>,
    checkpoints: BTreeSet<u64>,
    temporaries: Vec<String>,
}

/// What is to be read, in order.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Chain {
    pub(super) checkpoint: Option<u64>,
    pub(super) journals: RangeInclusive<u64>,
}

impl Folder {
    pub(super) fn list(disk: &dyn Disk) -> io::Result<Folder> {
        let mut folder = Folder::default();
        for name in disk.list()? {
            let (whole, is_temporary) = match name.strip_suffix(TEMPORARY) {
                Some(whole) => (whole, true),
                None => (name.as_str(), false),
            };
            let journal = number(whole, JOURNAL);
            let checkpoint = number(whole, CHECKPOINT);
            if is_temporary && (journal.is_some() || checkpoint.is_some()) {
                folder.temporaries.push(name);
            } else if !is_temporary {
                folder.journals.extend(journal);
                folder.checkpoints.extend(checkpoint);
            }
        }
        Ok(folder)
    }

    /// What is to be read; `None` in a folder where nothing was ever kept.
    pub(super) fn chain(&self) -> Result<Option<Chain>, OpenError> {
        let checkpoint = self.checkpoints.last().copied();
        let first = checkpoint.unwrap_or(1);
        if checkpoint.is_none() && self.journals.is_empty() {
            // A temporary file of the first segment is all that a crash in the first start can leave.
            return match self.temporaries.iter().find(|&name| *name != temporary(&journal_name(1)))
            {
                Some(name) => Err(OpenError::missing(&journal_name(1), name)),
                None => Ok(None),
            };
        }
        let last = self.journals.last().copied().unwrap_or(0).max(first);
        if !self.journals.contains(&first) {
            let needed_by = checkpoint.map_or_else(|| journal_name(last), checkpoint_name);
            return Err(OpenError::missing(&journal_name(first), &needed_by));
        }
        for (expected, &present) in (first..=last).zip(self.journals.range(first..)) {
            if expected != present {
                return Err(OpenError::missing(&journal_name(expected), &journal_name(present)));
            }
        }
        Ok(Some(Chain { checkpoint, journals: first..=last }))
    }

    /// Removes files that never became whole.
    pub(super) fn remove_temporaries(&self, disk: &dyn Disk) -> Vec<(String, io::Error)> {
        remove(disk, self.temporaries.iter().cloned())
    }

    /// Removes what a checkpoint of this number makes superfluous.
    pub(super) fn remove_before(&self, disk: &dyn Disk, number: u64) -> Vec<(String, io::Error)> {
        let journals = self.journals.range(..number).map(|&n| journal_name(n));
        let checkpoints = self.checkpoints.range(..number).map(|&n| checkpoint_name(n));
        remove(disk, journals.chain(checkpoints))
    }
}

/// Removes these files and returns those that would not go.
fn remove(disk: &dyn Disk, names: impl Iterator<Item = String>) -> Vec<(String, io::Error)> {
    let tried = names.map(|name| (remove_if_there(disk, &name), name));
    tried.filter_map(|(result, name)| Some((name, result.err()?))).collect()
}

/// The number in a name, if it is written as we write it.
fn number(name: &str, prefix: &str) -> Option<u64> {
    let digits = name.strip_prefix(prefix)?;
    let number: u64 = digits.parse().ok()?;
    (number > 0 && digits == number.to_string()).then_some(number)
}
