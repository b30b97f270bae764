//! Says what is in a state folder, whether a start would take it, and what a repair would give up. It changes
//! nothing; the caller sees to it that no daemon writes there meanwhile.

use super::error::{OpenError, io_error};
use super::folder::{Folder, SET_ASIDE, is_of_journal, is_ours};
use super::reading::{FileRead, Reading};
use super::repair::{Loss, Repair};
use crate::disk::Disk;
use crate::record::state::State;

const LEFT_OVER: &str = "left over, the next start removes it";
const STRANGE: &str = "not countd's, left alone";

/// What a folder is found to be.
#[derive(Debug)]
pub struct Verdict {
    /// Why no start takes it; none for a sound one.
    pub problems: Vec<OpenError>,
    /// What a repair would give up of an unsound one; `None` where no repair helps.
    pub loss: Option<Loss>,
    /// Whether nothing was ever kept there: a start begins from zero.
    pub is_empty: bool,
    /// The state; in an unsound folder as it was up to the damage.
    pub state: State,
    /// Bytes that the next start cuts off: they were being written when all stopped.
    pub cut_off_bytes: u64,
    /// The newest checkpoint and the segments after it, as far as they were read.
    pub read: Vec<FileRead>,
    /// The other names in the folder, and what they are.
    pub others: Vec<(String, &'static str)>,
}

impl Verdict {
    /// Reads a folder and judges it as a start does.
    ///
    /// # Errors
    /// [`OpenError::Io`] when the folder cannot be listed. A file that cannot be read is a problem.
    pub fn of(disk: &dyn Disk) -> Result<Verdict, OpenError> {
        let folder = Folder::list(disk).map_err(io_error("cannot list the state folder"))?;
        let mut reading = Reading::new(disk);
        let (is_empty, mut problems) = match reading.read(&folder) {
            Ok(last) => (last.is_none(), Vec::new()),
            Err(error) => (false, vec![error]),
        };
        let mut loss = None;
        if problems.iter().any(OpenError::is_damage) {
            match Repair::of(disk) {
                Ok(plan) => loss = plan.map(|plan| plan.loss().clone()),
                Err(error) => {
                    // What stands in the way of a repair, unless it is what is wrong to begin with.
                    if problems.iter().all(|problem| problem.what() != error.what()) {
                        problems.push(error);
                    }
                }
            }
        }
        let names = disk.list().map_err(io_error("cannot list the state folder"))?;
        let is_read = |name: &String| reading.files.iter().any(|read| read.name == *name);
        let mut others: Vec<_> = names.into_iter().filter(|name| !is_read(name)).collect();
        others.sort_unstable();
        let leftovers = folder.leftovers();
        let others =
            others.into_iter().map(|name| (what_is(disk, &folder, &leftovers, &name), name));
        let others = others.map(|(what, name)| (name, what)).collect();
        let read = reading.finish();
        Ok(Verdict {
            problems,
            loss,
            is_empty,
            state: read.state,
            cut_off_bytes: read.torn.map_or(0, |torn| torn.bytes),
            read: read.files,
            others,
        })
    }

    /// Whether a start takes it.
    pub fn is_sound(&self) -> bool {
        self.problems.is_empty()
    }
}

/// What a file is that was not read.
fn what_is(disk: &dyn Disk, folder: &Folder, leftovers: &[String], name: &str) -> &'static str {
    if leftovers.iter().any(|leftover| leftover == name) {
        return match is_ours(disk, name) {
            Ok(()) => LEFT_OVER,
            Err(_) => STRANGE,
        };
    }
    let was = name.split_once(SET_ASIDE).map(|(was, _)| was);
    match name {
        _ if folder.is_temporary(name) => LEFT_OVER,
        _ if is_of_journal(name) => "not read",
        _ if was.is_some_and(is_of_journal) => "set aside by a repair, never read",
        "lock" => "the lock",
        _ => STRANGE,
    }
}
