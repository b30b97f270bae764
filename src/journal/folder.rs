//! Names: which of a folder's files are the journal's, and which of these make one unbroken line from the
//! newest checkpoint to the last segment. Of their contents it knows only whether they are countd's, so that
//! it removes nothing else.

use std::collections::BTreeSet;
use std::io;
use std::ops::Range;
use std::sync::Arc;

use super::checkpoint::remove_if_there;
use super::reader::Reader;
use crate::disk::{Disk, File};
use crate::record::block::{FileKind, HeaderError};

const JOURNAL: &str = "journal.";
const CHECKPOINT: &str = "checkpoint.";
const TEMPORARY: &str = ".tmp";
/// What follows on the name of a file that a repair set aside: no start reads it.
pub(super) const SET_ASIDE: &str = ".damaged";

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
#[derive(Debug)]
pub(super) struct Chain {
    pub(super) checkpoint: Option<u64>,
    /// The segments from there, or from the first, on, up to where one is missing.
    pub(super) journals: Range<u64>,
    /// The file that shows that the segment after these was there.
    pub(super) broken_by: Option<String>,
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
    pub(super) fn chain(&self) -> Option<Chain> {
        let checkpoint = self.checkpoints.last().copied();
        let first = checkpoint.unwrap_or(1);
        let mut next = first;
        while self.journals.contains(&next) {
            next = next.saturating_add(1);
        }
        let after = self.journals.range(next..).next().copied();
        let broken_by = match (after, checkpoint) {
            (_, Some(number)) if next == first => Some(checkpoint_name(number)),
            (Some(number), _) => Some(journal_name(number)),
            (None, Some(_)) => None,
            (None, None) if next > first => None,
            // A temporary file of the first segment is all that a crash in the first start can leave.
            (None, None) => {
                let first = temporary(&journal_name(1));
                Some(self.temporaries.iter().find(|name| **name != first)?.clone())
            }
        };
        Some(Chain { checkpoint, journals: first..next, broken_by })
    }

    /// Whether without its newest checkpoint there is something left to begin from.
    pub(super) fn has_base_without(&self, checkpoint: u64) -> bool {
        self.journals.contains(&1) || self.checkpoints.range(..checkpoint).next().is_some()
    }

    pub(super) fn newest_checkpoint(&self) -> Option<u64> {
        self.checkpoints.last().copied()
    }

    /// Whether this is the name of a file that never became whole.
    pub(super) fn is_temporary(&self, name: &str) -> bool {
        self.temporaries.iter().any(|temporary| temporary == name)
    }

    /// Leaves a checkpoint out of account.
    pub(super) fn forget_checkpoint(&mut self, number: u64) {
        self.checkpoints.remove(&number);
    }

    /// The names of the segments from this number on.
    pub(super) fn segments_from(&self, number: u64) -> impl DoubleEndedIterator<Item = String> {
        self.journals.range(number..).map(|&number| journal_name(number))
    }

    /// The names of files that the newest checkpoint makes superfluous.
    pub(super) fn leftovers(&self) -> Vec<String> {
        self.superfluous(self.newest_checkpoint().unwrap_or(0)).collect()
    }

    /// Removes these and what never became whole, and returns what would not go, and why.
    pub(super) fn remove_leftovers(&self, disk: &dyn Disk) -> Vec<(String, io::Error)> {
        let before = self.newest_checkpoint().unwrap_or(0);
        let mut left = remove(disk, self.temporaries.iter().cloned());
        left.extend(self.remove_before(disk, before));
        left
    }

    /// Removes what a checkpoint of this number makes superfluous, if it is countd's.
    pub(super) fn remove_before(&self, disk: &dyn Disk, number: u64) -> Vec<(String, io::Error)> {
        let (ours, others): (Vec<_>, Vec<_>) = self
            .superfluous(number)
            .map(|name| (is_ours(disk, &name), name))
            .partition(|(ours, _)| ours.is_ok());
        let mut left = remove(disk, ours.into_iter().map(|(_, name)| name));
        left.extend(others.into_iter().filter_map(|(ours, name)| Some((name, ours.err()?))));
        left
    }

    fn superfluous(&self, number: u64) -> impl Iterator<Item = String> {
        let journals = self.journals.range(..number).map(|&n| journal_name(n));
        let checkpoints = self.checkpoints.range(..number).map(|&n| checkpoint_name(n));
        journals.chain(checkpoints)
    }
}

/// What a file with a name of the journal's is instead, if it is not this countd's. One that is damaged is.
pub(super) fn stranger(file: Arc<dyn File>) -> io::Result<Option<HeaderError>> {
    match Reader::new(file)?.header(FileKind::Journal)? {
        Err(error @ (HeaderError::Foreign | HeaderError::Newer(_))) => Ok(Some(error)),
        Ok(_) | Err(HeaderError::Damaged | HeaderError::OtherKind) => Ok(None),
    }
}

/// Refuses a file that is foreign or newer. One that is gone is no trouble.
pub(super) fn is_ours(disk: &dyn Disk, name: &str) -> io::Result<()> {
    let file = match disk.open(name) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        opened => opened?,
    };
    match stranger(file)? {
        Some(what) => Err(io::Error::other(format!("{what}: move it away"))),
        None => Ok(()),
    }
}

/// Removes these files and returns those that would not go.
fn remove(disk: &dyn Disk, names: impl Iterator<Item = String>) -> Vec<(String, io::Error)> {
    let tried = names.map(|name| (remove_if_there(disk, &name), name));
    tried.filter_map(|(result, name)| Some((name, result.err()?))).collect()
}

/// Whether this is the name of a segment or a checkpoint.
pub(super) fn is_of_journal(name: &str) -> bool {
    number(name, JOURNAL).or(number(name, CHECKPOINT)).is_some()
}

/// Whether a file of this name in a state folder is the daemon's, or would be taken for one of its own.
pub fn is_state_file(name: &str) -> bool {
    let whole = name.strip_suffix(TEMPORARY).unwrap_or(name);
    let whole = whole.split_once(SET_ASIDE).map_or(whole, |(was, _)| was);
    whole == "lock" || is_of_journal(whole)
}

/// The number in a name, if it is written as we write it and another can follow.
fn number(name: &str, prefix: &str) -> Option<u64> {
    let digits = name.strip_prefix(prefix)?;
    let number: u64 = digits.parse().ok()?;
    ((1..u64::MAX).contains(&number) && digits == number.to_string()).then_some(number)
}
