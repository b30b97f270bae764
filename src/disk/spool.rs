//! The seam to a spool folder: what taking requests out of it asks of the folder, in which anyone may have put
//! anything, and of the two folders in it that are the daemon's alone. The real one is in `system`.

use std::fmt;
use std::io;

/// A folder of the spool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Room {
    /// The spool folder itself, where clients put requests.
    Spool,
    /// What the daemon has taken out of it and not done with.
    Taken,
    /// What it cannot accept.
    Refused,
}

/// What has a name in a room. Links are not followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Looked {
    /// What it is.
    pub kind: Kind,
    /// The uid it belongs to.
    pub uid: u32,
    /// Whether it has one name, and not several.
    pub one_name: bool,
    /// Its length in bytes.
    pub bytes: u64,
    /// When it was last changed in any way, in milliseconds since 1970-01-01 UTC. Its owner cannot choose it.
    pub changed_ms: u64,
}

/// What something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File,
    /// A folder.
    Folder,
    /// A link, a pipe, a socket, a device.
    Other,
}

/// A spool folder with the two in it.
pub trait SpoolDisk: Send + Sync {
    /// The names in a room that are `wanted`, `max` at most, in no order.
    ///
    /// # Errors
    /// What the system says.
    fn list(
        &self,
        room: Room,
        wanted: &dyn Fn(&str) -> bool,
        max: usize,
    ) -> io::Result<Vec<String>>;

    /// What has this name.
    ///
    /// # Errors
    /// What the system says.
    fn look(&self, room: Room, name: &str) -> io::Result<Looked>;

    /// The first `max` bytes of a regular file, and what it was found to be once it was open. It follows no
    /// link and never waits.
    ///
    /// # Errors
    /// What the system says; anything but a regular file is refused.
    fn read(&self, room: Room, name: &str, max: usize) -> io::Result<(Looked, Vec<u8>)>;

    /// Moves what has the name to another room, at once, under a name that nothing has there.
    ///
    /// # Errors
    /// What the system says; `AlreadyExists` when something has the new name.
    fn shift(&self, from: Room, name: &str, to: Room, new: &str) -> io::Result<()>;

    /// Removes what has this name, a folder only if it is empty.
    ///
    /// # Errors
    /// What the system says.
    fn remove(&self, room: Room, name: &str) -> io::Result<()>;

    /// Returns when what came into a room and went out of it so far would survive a power cut. What moved
    /// from one room to another does once both were synced.
    ///
    /// # Errors
    /// What the system says; what survives is then unknown.
    fn sync(&self, room: Room) -> io::Result<()>;
}

impl fmt::Debug for dyn SpoolDisk + '_ {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SpoolDisk")
    }
}
