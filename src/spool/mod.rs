//! Taking requests out of a spool folder, as far as it is about files. Each is moved into a folder of the
//! daemon's own before it is looked at, so that whose it was can do nothing to its name any more; what cannot
//! be accepted is moved aside. Nothing is handed over before the move would survive a power cut, so that a
//! file that was counted is found in one place or is gone. What is counted, and when a file may go, is
//! decided above; nothing here knows a journal.
//!
//! ```text
//! SPOOL/rNNNNN --scan--> SPOOL/taken/rNNNNN --clear--> gone, or SPOOL/refused/rNNNNN.K
//!                                                      (rNNNNN.K.unread, rNNNNN.K.bad)
//! ```

#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::as_conversions)]

mod aside;

use std::cell::Cell;
use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::sync::Arc;

use rustix::io::Errno;

use self::aside::{Aside, Kept};
pub use self::aside::{GARBAGE_MAX, REQUESTS_MAX, Refusal};
use crate::disk::spool::{Kind, Looked, Room, SpoolDisk};
use crate::protocol::spooled::{self, FILE_BYTES_MAX, SLOTS, SpooledError};

/// Files that are taken at a time.
pub const FILES_MAX: usize = 1_000;
/// Bytes of requests after which a scan takes no more.
pub const SCAN_BYTES_MAX: usize = 1 << 20;
/// Leftovers of clients that a scan looks at.
const TEMPORARIES_MAX: usize = 1_000;
/// After so long whoever writes a file is not writing any more, in milliseconds.
const TEMPORARY_MS: u64 = 3_600_000;

/// A request that was taken out of the spool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Its name.
    pub name: String,
    /// The uid it belongs to.
    pub uid: u32,
    /// The session of its id.
    pub session: u128,
    /// The request.
    pub payload: Vec<u8>,
}

/// What a scan found.
#[derive(Debug, Default)]
pub struct Scan {
    /// Requests to be counted. Their files stay until they are cleared.
    pub files: Vec<File>,
    /// Whether these are all that are taken and not cleared.
    pub all: bool,
    /// Whether there is more to take than a scan does.
    pub more: bool,
    /// What was not accepted, each told once.
    pub refused: Vec<Refusal>,
    /// How many files are kept that were not accepted.
    pub kept: usize,
    /// What could not be taken just now, and why; the next scan tries again.
    pub failed: Option<(String, io::Error)>,
    /// What has the names of requests and can be neither moved nor removed: where the first is, from the spool
    /// folder, and how many there are.
    pub stuck: Option<(String, usize)>,
}

/// What is to become of a file that was handed over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// It is counted, and that is in the journal for good.
    Done,
    /// It can never be counted, for this reason.
    Refused(String),
}

/// What became of files that were to be cleared.
#[derive(Debug, Default)]
pub struct Cleared {
    /// What was not accepted.
    pub refused: Vec<Refusal>,
    /// The first that could not be removed, and why. It is found again by the next scan.
    pub left: Option<(String, io::Error)>,
}

/// Takes requests out of one spool folder.
#[derive(Debug)]
pub struct Intake {
    disk: Arc<dyn SpoolDisk>,
    /// Rooms that are to be synced before anything is handed over: after a start, all.
    dirty: Vec<Room>,
    /// What is no file, has the name of one, and can be neither moved nor removed; told before.
    stuck: BTreeSet<String>,
    kept: Kept,
}

impl Intake {
    /// Takes out of this spool folder.
    pub fn new(disk: Arc<dyn SpoolDisk>) -> Intake {
        let dirty = vec![Room::Spool, Room::Taken, Room::Refused];
        Intake { disk, dirty, stuck: BTreeSet::new(), kept: Kept::default() }
    }

    /// Takes what is there: first what was taken before and not cleared.
    ///
    /// # Errors
    /// What the system says. All that was taken is found again by the next scan; but when syncing failed
    /// nobody knows what a power cut leaves.
    pub fn scan(&mut self, now_ms: u64) -> Result<Scan, ScanError> {
        let mut scan = Scan { all: true, ..Scan::default() };
        let mut in_hand = InHand::default();
        let listed = |room, wanted: &dyn Fn(&str) -> bool, max| {
            self.disk.list(room, wanted, max).map_err(ScanError::List)
        };
        let refused = listed(Room::Refused, &|_| true, GARBAGE_MAX.saturating_add(REQUESTS_MAX))?;
        // All of them: there are no more of these names.
        let taken = listed(Room::Taken, &spooled::is_slot, slots_max())?;
        let found = listed(Room::Spool, &slots_and_temporaries(), usize::MAX)?;
        self.kept = Kept::of(&refused);
        let before = std::mem::take(&mut self.stuck);
        for name in taken {
            if in_hand.is_full() {
                (scan.all, scan.more) = (false, true);
                break;
            }
            self.examine(&name, false, &before, &mut in_hand, &mut scan);
        }
        let (slots, temporaries): (Vec<_>, Vec<_>) =
            found.into_iter().partition(|name| spooled::is_slot(name));
        if !slots.is_empty() {
            // What left a name among the taken has to be safe elsewhere before another comes under it.
            self.sync().map_err(ScanError::Sync)?;
        }
        for name in slots {
            if scan.more || in_hand.is_full() {
                scan.more = true;
                break;
            }
            match self.take(&name, &before, &mut scan) {
                Ok(true) => self.examine(&name, true, &before, &mut in_hand, &mut scan),
                Ok(false) => {}
                Err(error) => {
                    scan.failed.get_or_insert((name, error));
                }
            }
        }
        for name in temporaries {
            self.remove_old(&name, now_ms);
        }
        self.sync().map_err(ScanError::Sync)?;
        scan.kept = self.kept.all();
        scan.stuck = self.stuck.first().map(|first| (first.clone(), self.stuck.len()));
        Ok(scan)
    }

    /// Removes files that are counted and moves aside what never will be. What was removed is gone for good
    /// only after the next scan.
    pub fn clear(&mut self, files: Vec<(File, Fate)>) -> Cleared {
        let mut cleared = Cleared::default();
        for (file, fate) in files {
            let done = match fate {
                Fate::Done => self.remove(Room::Taken, &file.name),
                Fate::Refused(why) => {
                    let (name, uid) = (&file.name, Some(file.uid));
                    let refused = self.refuse(Room::Taken, name, uid, why, Aside::Request);
                    refused.map(|refusal| cleared.refused.push(refusal))
                }
            };
            if let Err(error) = done {
                cleared.left.get_or_insert((file.name, error));
            }
        }
        cleared
    }

    /// Moves what has this name in the spool to the taken. Returns whether it did.
    fn take(&mut self, name: &str, before: &BTreeSet<String>, scan: &mut Scan) -> io::Result<bool> {
        let looked = match self.disk.look(Room::Spool, name) {
            Ok(looked) => looked,
            // Its owner took it back.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(error),
        };
        if looked.kind == Kind::Folder {
            self.put_aside(Room::Spool, name, looked, before, scan);
            return Ok(false);
        }
        match self.disk.shift(Room::Spool, name, Room::Taken, name) {
            Ok(()) => {
                self.changed(Room::Spool);
                self.changed(Room::Taken);
                Ok(true)
            }
            // The one of this name that was taken before is to be cleared first.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Reads what was taken, by this scan or before it, or moves it aside.
    fn examine(
        &mut self,
        name: &str,
        fresh: bool,
        before: &BTreeSet<String>,
        in_hand: &mut InHand,
        scan: &mut Scan,
    ) {
        match self.read(name, fresh) {
            Ok(file) => {
                in_hand.fill(file.payload.len());
                scan.files.push(file);
            }
            // It was never counted, and needs no place in this scan.
            Err(Unread::NoFile(looked)) => {
                self.put_aside(Room::Taken, name, looked, before, scan);
            }
            Err(Unread::Bad(uid, why, aside)) => {
                match self.refuse(Room::Taken, name, Some(uid), why, aside) {
                    Ok(refusal) => scan.refused.push(refusal),
                    Err(error) => scan.leave(name, error),
                }
            }
            Err(Unread::NotNow(error)) => scan.leave(name, error),
        }
    }

    /// What was taken by this scan was never counted; of what was there before nobody knows.
    fn read(&self, name: &str, fresh: bool) -> Result<File, Unread> {
        let looked = self.disk.look(Room::Taken, name).map_err(Unread::NotNow)?;
        let bad = |why: String, aside| match (fresh, aside) {
            (false, Aside::Request | Aside::Doubtful) => {
                let why = format!(
                    "{why}; it may have been counted: move it back only if it is known not to be"
                );
                Unread::Bad(looked.uid, why, Aside::Doubtful)
            }
            (true, _) | (false, Aside::Garbage) => Unread::Bad(looked.uid, why, aside),
        };
        let check = |looked: &Looked| match looked.kind {
            Kind::Folder | Kind::Other => Err(Unread::NoFile(*looked)),
            Kind::File if is_too_long(looked) => {
                Err(bad(SpooledError::TooLong.to_string(), Aside::Garbage))
            }
            Kind::File if !looked.one_name => {
                Err(bad("it has other names, too".into(), Aside::Request))
            }
            Kind::File => Ok(()),
        };
        check(&looked)?;
        let max = FILE_BYTES_MAX.saturating_add(1);
        let (opened, bytes) = self.disk.read(Room::Taken, name, max).map_err(|error| {
            let forbidden = error.kind() == io::ErrorKind::PermissionDenied;
            if is_shortage(&error) || !fresh && !forbidden {
                return Unread::NotNow(error);
            }
            bad(format!("it cannot be read: {error}"), Aside::Request)
        })?;
        check(&opened)?;
        let (session, payload) = spooled::from_bytes(&bytes).map_err(|error| {
            let newer = matches!(error, SpooledError::NewerVersion(_));
            bad(error.to_string(), if newer { Aside::Request } else { Aside::Garbage })
        })?;
        let payload = payload.to_vec();
        Ok(File { name: name.to_owned(), uid: opened.uid, session, payload })
    }

    fn remove(&mut self, room: Room, name: &str) -> io::Result<()> {
        self.changed(room);
        match self.disk.remove(room, name) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed,
        }
    }

    /// Removes what a client that was killed had begun to write.
    fn remove_old(&mut self, name: &str, now_ms: u64) {
        let old = |looked: Looked| {
            looked.kind == Kind::File && now_ms.saturating_sub(looked.changed_ms) > TEMPORARY_MS
        };
        if self.disk.look(Room::Spool, name).is_ok_and(old) {
            // If it cannot be, it is tried again the next time, and is only one of a bounded number.
            let _ = self.disk.remove(Room::Spool, name);
        }
    }

    fn changed(&mut self, room: Room) {
        if !self.dirty.contains(&room) {
            self.dirty.push(room);
        }
    }

    fn sync(&mut self) -> io::Result<()> {
        for &room in &self.dirty {
            self.disk.sync(room)?;
        }
        self.dirty.clear();
        Ok(())
    }
}

impl Scan {
    /// Notes what stays among the taken. It may be a request that is counted: what is known of it must not
    /// be forgotten.
    fn leave(&mut self, name: &str, error: io::Error) {
        self.all = false;
        self.failed.get_or_insert((name.to_owned(), error));
    }
}

/// Why a file that was taken is not handed over.
enum Unread {
    /// It is no file.
    NoFile(Looked),
    /// It can never be, being whose and what it is.
    Bad(u32, String, Aside),
    /// It may be the next time.
    NotNow(io::Error),
}

/// Why a scan ended early.
#[derive(Debug)]
pub enum ScanError {
    /// A folder cannot be listed.
    List(io::Error),
    /// A folder cannot be synced: what a power cut leaves is not known.
    Sync(io::Error),
}

impl fmt::Display for ScanError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ScanError::List(error) => write!(f, "it cannot be listed: {error}"),
            ScanError::Sync(error) => write!(f, "it cannot be synced: {error}"),
        }
    }
}

impl std::error::Error for ScanError {}

/// How much a scan has in hand.
#[derive(Debug, Default)]
struct InHand {
    files: usize,
    bytes: usize,
}

impl InHand {
    fn is_full(&self) -> bool {
        self.files >= FILES_MAX || self.bytes >= SCAN_BYTES_MAX
    }

    fn fill(&mut self, bytes: usize) {
        self.files = self.files.saturating_add(1);
        self.bytes = self.bytes.saturating_add(bytes);
    }
}

/// Whether the system is short of something, which has nothing to do with the file.
fn is_shortage(error: &io::Error) -> bool {
    let errno = Errno::from_io_error(error);
    matches!(errno, Some(Errno::MFILE | Errno::NFILE | Errno::NOMEM | Errno::NOBUFS | Errno::INTR))
}

fn slots_max() -> usize {
    usize::try_from(SLOTS).unwrap_or(usize::MAX)
}

fn is_too_long(looked: &Looked) -> bool {
    usize::try_from(looked.bytes).unwrap_or(usize::MAX) > FILE_BYTES_MAX
}

/// All slots, and no more than so many temporaries, in one pass through a folder of any length.
fn slots_and_temporaries() -> impl Fn(&str) -> bool {
    let temporaries = Cell::new(0_usize);
    move |name| {
        if spooled::is_slot(name) {
            return true;
        }
        let wanted = temporaries.get() < TEMPORARIES_MAX && spooled::is_temporary(name);
        temporaries.set(temporaries.get().saturating_add(usize::from(wanted)));
        wanted
    }
}

#[cfg(test)]
#[expect(clippy::indexing_slicing, reason = "tests may panic")]
mod tests;
