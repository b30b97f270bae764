//! The seam to a disk: what the journal and a log file ask of one folder and of the files in it, and no more,
//! so that a fake can fail any of it. The real one is in `system`; names are plain file names.

#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::as_conversions)]

pub mod spool;

use std::fmt;
use std::io;
use std::sync::Arc;

/// One folder.
pub trait Disk: Send + Sync {
    /// The names of all that is in it, in no order.
    ///
    /// # Errors
    /// What the system says.
    fn list(&self) -> io::Result<Vec<String>>;

    /// Which file has this name, without opening it: opening some things does something to them.
    ///
    /// # Errors
    /// What the system says; anything but a regular file is refused.
    fn identity(&self, name: &str) -> io::Result<Identity>;

    /// Opens a file that is there, to be read and appended to.
    ///
    /// # Errors
    /// What the system says; anything but a regular file is refused.
    fn open(&self, name: &str) -> io::Result<Arc<dyn File>>;

    /// Makes an empty file.
    ///
    /// # Errors
    /// What the system says; `AlreadyExists` when something has this name.
    fn create(&self, name: &str) -> io::Result<Arc<dyn File>>;

    /// Gives a file another name, at once, in place of what had that name.
    ///
    /// # Errors
    /// What the system says.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file.
    ///
    /// # Errors
    /// What the system says; `NotFound` when it is not there.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Returns when names made, changed and removed so far would survive a power cut.
    ///
    /// # Errors
    /// What the system says; what survives is then unknown.
    fn sync_folder(&self) -> io::Result<()>;
}

impl fmt::Debug for dyn Disk + '_ {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Disk")
    }
}

/// Which file it is, whatever its names are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    /// The device it is on.
    pub device: u64,
    /// Its inode there.
    pub inode: u64,
}

/// One open file.
pub trait File: Send + Sync {
    /// Which file it is.
    ///
    /// # Errors
    /// What the system says.
    fn identity(&self) -> io::Result<Identity>;

    /// Whether it still has a name, in this folder or another: a file without one ends with its last user.
    ///
    /// # Errors
    /// What the system says.
    fn has_name(&self) -> io::Result<bool>;

    /// Its length in bytes.
    ///
    /// # Errors
    /// What the system says.
    fn length(&self) -> io::Result<u64>;

    /// Reads into `bytes` from this offset on and returns how many bytes: 0 at the file's end, and as few as
    /// it likes elsewhere.
    ///
    /// # Errors
    /// What the system says.
    fn read_at(&self, offset: u64, bytes: &mut [u8]) -> io::Result<usize>;

    /// Writes all of `bytes` at the file's end, in one call.
    ///
    /// # Errors
    /// What the system says, or `WriteZero` for a short write; some of the bytes may then be in the file.
    fn append(&self, bytes: &[u8]) -> io::Result<()>;

    /// Cuts the file to this length.
    ///
    /// # Errors
    /// What the system says.
    fn truncate(&self, length: u64) -> io::Result<()>;

    /// Returns when all that was written so far would survive a power cut, once the file's name does.
    ///
    /// # Errors
    /// What the system says; what survives is then unknown, and asking again does not make it known.
    fn sync(&self) -> io::Result<()>;
}

impl fmt::Debug for dyn File + '_ {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("File")
    }
}

#[cfg(test)]
#[expect(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    reason = "a fake for tests may panic"
)]
pub mod fake;
