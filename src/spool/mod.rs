//! Taking requests out of a spool folder, as far as it is about files. Each is moved into a folder of the
//! daemon's own before it is looked at, so that whose it was can do nothing to its name any more; what cannot
//! be accepted is moved aside. Nothing is handed over before the move would survive a power cut, so that a
//! file that was counted is found in one place or is gone. What is counted, and when a file may go, is
//! decided above; nothing here knows a journal.
//!
//! ```text
//! SPOOL/rNNNNN --scan--> SPOOL/taken/rNNNNN --clear--> gone, or SPOOL/refused/rNNNNN.K
//! ```

#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::as_conversions)]

use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::sync::Arc;

use rustix::io::Errno;

use crate::disk::spool::{Kind, Looked, Room, SpoolDisk};
use crate::protocol::spooled::{self, FILE_BYTES_MAX, SLOTS, SpooledError};

/// Files that are taken at a time.
pub const FILES_MAX: usize = 1_000;
/// Bytes of requests after which a scan takes no more.
pub const SCAN_BYTES_MAX: usize = 1 << 20;
/// Files kept that could not be accepted; past it they are removed.
pub const REFUSED_MAX: usize = 1_000;
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

/// Something that was not accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Where it is now, from the spool folder.
    pub place: String,
    /// Whose it is, if that is known.
    pub uid: Option<u32>,
    /// Why.
    pub why: String,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.place)?;
        if let Some(uid) = self.uid {
            write!(f, " of uid {uid}")?;
        }
        write!(f, ": {}", self.why)
    }
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
    /// Folders in the place of files that can be neither moved aside nor removed; told before.
    stuck: BTreeSet<String>,
    /// How many files are kept that were not accepted.
    kept: usize,
}

impl Intake {
    /// Takes out of this spool folder.
    pub fn new(disk: Arc<dyn SpoolDisk>) -> Intake {
        let dirty = vec![Room::Spool, Room::Taken, Room::Refused];
        Intake { disk, dirty, stuck: BTreeSet::new(), kept: 0 }
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
        let kept = listed(Room::Refused, &|_| true, REFUSED_MAX.saturating_add(1))?.len();
        let taken = listed(Room::Taken, &|_| true, FILES_MAX.saturating_add(1))?;
        let slots = listed(Room::Spool, &spooled::is_slot, slots_max())?;
        let temporaries = listed(Room::Spool, &spooled::is_temporary, TEMPORARIES_MAX)?;
        self.kept = kept;
        let mut names = taken.into_iter();
        for name in names.by_ref().take(FILES_MAX) {
            if in_hand.is_full() {
                (scan.all, scan.more) = (false, true);
                break;
            }
            self.examine(&name, &mut in_hand, &mut scan);
        }
        if names.next().is_some() {
            (scan.all, scan.more) = (false, true);
        }
        let before = std::mem::take(&mut self.stuck);
        for name in slots {
            if scan.more || in_hand.is_full() {
                scan.more = true;
                break;
            }
            match self.take(&name, &before, &mut scan) {
                Ok(true) => self.examine(&name, &mut in_hand, &mut scan),
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
        scan.kept = self.kept;
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
                    let refused = self.refuse(Room::Taken, &file.name, Some(file.uid), why);
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
            self.put_folder_aside(name, looked, before, scan);
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

    /// A folder has to be writable for who moves it, and empty to be removed: it may have to stay.
    fn put_folder_aside(
        &mut self,
        name: &str,
        looked: Looked,
        before: &BTreeSet<String>,
        scan: &mut Scan,
    ) {
        let (uid, why) = (Some(looked.uid), "it is a folder".to_owned());
        if let Ok(refusal) = self.refuse(Room::Spool, name, uid, why.clone()) {
            scan.refused.push(refusal);
            return;
        }
        if !before.contains(name) {
            let why = format!("{why}, and cannot be moved");
            scan.refused.push(Refusal { place: name.to_owned(), uid, why });
        }
        self.stuck.insert(name.to_owned());
    }

    /// Reads what was taken, or moves it aside.
    fn examine(&mut self, name: &str, in_hand: &mut InHand, scan: &mut Scan) {
        match self.read(name) {
            Ok(file) => {
                in_hand.fill(file.payload.len());
                scan.files.push(file);
            }
            Err(Unread::Bad(uid, why)) => match self.refuse(Room::Taken, name, Some(uid), why) {
                Ok(refusal) => scan.refused.push(refusal),
                Err(error) => scan.leave(name, error),
            },
            Err(Unread::NotNow(error)) => scan.leave(name, error),
        }
    }

    fn read(&self, name: &str) -> Result<File, Unread> {
        let looked = self.disk.look(Room::Taken, name).map_err(Unread::NotNow)?;
        let bad = |why: String| Unread::Bad(looked.uid, why);
        check(&looked).map_err(bad)?;
        let max = FILE_BYTES_MAX.saturating_add(1);
        let (opened, bytes) = self.disk.read(Room::Taken, name, max).map_err(|error| {
            if is_shortage(&error) {
                return Unread::NotNow(error);
            }
            bad(format!("it cannot be read: {error}"))
        })?;
        check(&opened).map_err(bad)?;
        let (session, payload) = spooled::from_bytes(&bytes).map_err(|e| bad(e.to_string()))?;
        let payload = payload.to_vec();
        Ok(File { name: name.to_owned(), uid: opened.uid, session, payload })
    }

    /// Moves aside what cannot be accepted, or removes it where there is too much of that already.
    fn refuse(
        &mut self,
        room: Room,
        name: &str,
        uid: Option<u32>,
        why: String,
    ) -> io::Result<Refusal> {
        if self.kept < REFUSED_MAX {
            for number in (1..=REFUSED_MAX).map(|number| number.saturating_add(self.kept)) {
                let new = format!("{name}.{number}");
                match self.disk.shift(room, name, Room::Refused, &new) {
                    Ok(()) => {
                        self.changed(room);
                        self.changed(Room::Refused);
                        self.kept = self.kept.saturating_add(1);
                        return Ok(Refusal { place: format!("refused/{new}"), uid, why });
                    }
                    Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                    // It may be possible to remove it where it cannot be moved.
                    Err(_) => break,
                }
            }
        }
        self.remove(room, name)?;
        Ok(Refusal { place: format!("{name} (removed)"), uid, why })
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
    /// It can never be, being whose and what it is.
    Bad(u32, String),
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

/// Whether something can be a request at all.
fn check(looked: &Looked) -> Result<(), String> {
    let length = usize::try_from(looked.bytes).unwrap_or(usize::MAX);
    match looked.kind {
        Kind::Folder => Err("it is a folder".into()),
        Kind::Other => Err("it is not a regular file".into()),
        Kind::File if !looked.one_name => Err("it has other names, too".into()),
        Kind::File if length > FILE_BYTES_MAX => Err(SpooledError::TooLong.to_string()),
        Kind::File => Ok(()),
    }
}

#[cfg(test)]
#[expect(clippy::indexing_slicing, reason = "tests may panic")]
mod tests;
