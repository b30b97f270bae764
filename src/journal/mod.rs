//! The journal: what was counted, on disk, before anyone is told so. Segments that are only appended to, and
//! checkpoints into which they are folded. It keeps what it is given and says what is synced; when to append,
//! to sync, and to fold, and what the records mean, is for those above.

#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::as_conversions)]

mod checkpoint;
mod error;
mod folder;
mod fsync;
mod open;
mod reader;
mod reading;
mod repair;
mod verify;

use std::io;
use std::sync::Arc;

pub use checkpoint::{CheckpointDone, CheckpointJob};
pub use error::{AppendError, OpenError};
pub use folder::is_state_file;
pub use fsync::{Fsync, UnknownFsync};
pub use open::{Fresh, Opened};
pub use reading::FileRead;
pub use repair::{Loss, Repair};
pub use verify::Verdict;

use self::checkpoint::{Target, create_whole, remove_if_there};
use self::folder::{journal_name, temporary};
use self::reader::bytes_of;
use crate::disk::{Disk, File};
use crate::record::block::{
    BLOCK_PAYLOAD_MAX, FileKind, SEGMENT_HEADER_BYTES, SegmentHeader, write_block,
};
use crate::record::image::Image;

/// The shortest segment that is worth folding, in bytes.
const FOLD_BYTES_MIN: u64 = 16 << 20;
/// Memory kept from one append to the next, in bytes.
const BUFFER_KEPT_BYTES: usize = 1 << 20;
/// Where a file's first block begins.
#[expect(clippy::as_conversions, reason = "a constant that fits")]
const HEADER_BYTES: u64 = SEGMENT_HEADER_BYTES as u64;

/// An open journal.
#[derive(Debug)]
pub struct Journal {
    /// The segment being written; `None` in a journal that keeps nothing.
    segment: Option<Segment>,
    /// A block while it is being written.
    buffer: Vec<u8>,
    /// Bytes of blocks written in this run, over all segments.
    position: u64,
    /// How much of them is known to be synced.
    synced: u64,
    /// Bytes of the mark at the end: the last block, if all it says is what is synced.
    mark_bytes: u64,
    checkpoint_under_way: bool,
    broken: bool,
    fold_bytes_min: u64,
}

/// The last segment, and where it stands in the folder.
#[derive(Debug)]
struct Segment {
    disk: Arc<dyn Disk>,
    file: Arc<dyn File>,
    state: u128,
    number: u64,
    /// Where the next block goes.
    offset: u64,
    /// The number of the next block.
    sequence: u64,
    /// The length of the earlier segments that are still needed.
    earlier_bytes: u64,
    checkpoint_bytes: u64,
    /// Somebody has deleted the file.
    deleted: bool,
}

impl Journal {
    /// A journal that keeps nothing: all it is given counts as written and synced.
    pub fn ephemeral() -> Journal {
        Journal::with(None)
    }

    fn with(segment: Option<Segment>) -> Journal {
        Journal {
            segment,
            buffer: Vec::new(),
            position: 0,
            synced: 0,
            mark_bytes: 0,
            checkpoint_under_way: false,
            broken: false,
            fold_bytes_min: FOLD_BYTES_MIN,
        }
    }

    /// Lets a shorter segment be worth folding, so that a test need not write so much.
    #[cfg(test)]
    pub fn fold_from(&mut self, bytes: u64) {
        self.fold_bytes_min = bytes;
    }

    /// Writes one block of records made at `wall_ms`. It then survives the end of this process, and a power
    /// cut once it is synced.
    ///
    /// # Errors
    /// [`AppendError::Refused`] leaves the journal as it was; also for a payload over
    /// [`BLOCK_PAYLOAD_MAX`].
    pub fn append(&mut self, payload: &[u8], wall_ms: u64) -> Result<(), AppendError> {
        self.check_sound()?;
        if payload.is_empty() {
            return Ok(());
        }
        if payload.len() > BLOCK_PAYLOAD_MAX {
            let message = format!("{} bytes at once, over {BLOCK_PAYLOAD_MAX}", payload.len());
            return Err(refused(io::ErrorKind::InvalidInput, message));
        }
        self.write(payload, wall_ms)
    }

    /// Whether what was written last is synced, and nothing in the file says so: damage to it would be taken
    /// for the tail of a write that was under way.
    pub fn wants_mark(&self) -> bool {
        let written = self.segment.as_ref().is_some_and(|segment| segment.offset > HEADER_BYTES);
        written && self.position > 0 && self.mark_bytes == 0 && self.synced >= self.position
    }

    /// Writes a block without records, which says what is synced. It need not be synced itself.
    ///
    /// # Errors
    /// As [`Journal::append`].
    pub fn mark(&mut self, wall_ms: u64) -> Result<(), AppendError> {
        self.check_sound()?;
        let before = self.position;
        self.write(&[], wall_ms)?;
        self.mark_bytes = self.position.saturating_sub(before);
        Ok(())
    }

    fn write(&mut self, payload: &[u8], wall_ms: u64) -> Result<(), AppendError> {
        let unsynced = self.position.saturating_sub(self.synced);
        let Some(segment) = &mut self.segment else {
            self.position = self.position.saturating_add(bytes_of(payload.len()));
            self.synced = self.position;
            return Ok(());
        };
        let synced_offset = segment.offset.saturating_sub(unsynced).max(HEADER_BYTES);
        self.buffer.clear();
        write_block(&mut self.buffer, segment.sequence, synced_offset, wall_ms, payload);
        let appended = segment.file.append(&self.buffer);
        let bytes = bytes_of(self.buffer.len());
        self.buffer.clear();
        self.buffer.shrink_to(BUFFER_KEPT_BYTES);
        let Err(source) = appended else {
            segment.offset = segment.offset.saturating_add(bytes);
            segment.sequence = segment.sequence.saturating_add(1);
            self.position = self.position.saturating_add(bytes);
            self.mark_bytes = 0;
            return Ok(());
        };
        if let Err(source) = segment.file.truncate(segment.offset) {
            return Err(self.break_down("cut off a failed write", source));
        }
        Err(AppendError::Refused(source))
    }

    /// How many bytes were written in this run, over all segments.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Whether all records up to a position would survive a power cut. A mark at the end need not.
    pub fn is_synced_to(&self, position: u64) -> bool {
        position <= self.synced || self.unsynced() == 0
    }

    /// How many bytes of records are not known to be synced.
    pub fn unsynced(&self) -> u64 {
        self.position.saturating_sub(self.synced).saturating_sub(self.mark_bytes)
    }

    /// A sync of all that was written so far, to be run on any thread; `None` if there is nothing to sync.
    /// If it fails, what was written is in doubt, and the daemon must stop.
    pub fn sync_job(&self) -> Option<SyncJob> {
        let segment = self.segment.as_ref()?;
        let (file, number) = (Arc::clone(&segment.file), segment.number);
        (self.unsynced() > 0).then_some(SyncJob { file, number, position: self.position })
    }

    /// Notes that a [`SyncJob`] was done.
    pub fn synced_to(&mut self, done: &SyncDone) {
        self.synced = self.synced.max(done.position.min(self.position));
        if let Some(segment) = self.segment.as_mut().filter(|s| s.number == done.number) {
            segment.deleted |= done.deleted;
        }
    }

    /// Syncs all that was written so far, here and now; also when nothing was since the last time: what a
    /// failed append left may have been cut off, and come back in a power cut.
    ///
    /// # Errors
    /// [`AppendError::Broken`].
    pub fn sync(&mut self) -> Result<(), AppendError> {
        self.check_sound()?;
        if let Some(segment) = &mut self.segment {
            match segment.file.sync().and_then(|()| segment.file.has_name()) {
                Ok(has_name) => segment.deleted |= !has_name,
                Err(source) => return Err(self.break_down("sync it", source)),
            }
        }
        (self.synced, self.mark_bytes) = (self.position, 0);
        Ok(())
    }

    /// Whether a sync has shown that somebody deleted the segment's file. No start would find it, so all that
    /// is known has to be written anew: it wants a checkpoint.
    pub fn was_deleted(&self) -> bool {
        self.segment.as_ref().is_some_and(|segment| segment.deleted)
    }

    /// Whether the segment is long enough to be folded into a checkpoint, or was deleted, and none is under way.
    pub fn wants_checkpoint(&self) -> bool {
        self.segment.as_ref().is_some_and(|segment| {
            let worth = segment.checkpoint_bytes.saturating_mul(2).max(self.fold_bytes_min);
            !self.checkpoint_under_way && (segment.deleted || segment.offset >= worth)
        })
    }

    /// Begins the next segment. `image` must be of the state that all blocks so far make; the job that is
    /// returned writes it out as the checkpoint from which the new segment goes on.
    ///
    /// # Errors
    /// [`AppendError::Refused`]: the journal goes on in the segment it was in; also while a checkpoint is
    /// under way.
    pub fn rotate(&mut self, image: Image, wall_ms: u64) -> Result<CheckpointJob, AppendError> {
        if self.checkpoint_under_way {
            return Err(refused(io::ErrorKind::ResourceBusy, "a checkpoint is under way"));
        }
        self.sync()?;
        let Some(segment) = &mut self.segment else {
            return Ok(CheckpointJob { image, target: None });
        };
        let Some(number) = segment.number.checked_add(1) else {
            return Err(refused(io::ErrorKind::FileTooLarge, "segments have run out of numbers"));
        };
        let (state, previous_length) = (segment.state, segment.offset);
        let header = SegmentHeader { kind: FileKind::Journal, state, number, previous_length };
        let name = journal_name(number);
        match create_whole(&*segment.disk, &name, |file| file.append(&header.to_bytes())) {
            Ok((file, ())) => segment.go_on_in(file, number),
            Err(source) => {
                // While the next segment may be there, this one must not grow.
                if let Err(source) = take_back(&*segment.disk, &name) {
                    let doing = "take back the segment it could not go on in";
                    return Err(self.break_down(doing, source));
                }
                return Err(AppendError::Refused(source));
            }
        }
        self.checkpoint_under_way = true;
        let disk = Arc::clone(&segment.disk);
        let header = SegmentHeader { kind: FileKind::Checkpoint, ..header };
        let target = Target { disk, header, sequence: segment.sequence, wall_ms };
        Ok(CheckpointJob { image, target: Some(target) })
    }

    /// Notes that the checkpoint under way was written.
    pub fn checkpointed(&mut self, done: &CheckpointDone) {
        self.checkpoint_under_way = false;
        if let Some(segment) = &mut self.segment {
            segment.checkpoint_bytes = done.bytes;
            segment.earlier_bytes = 0;
        }
    }

    /// Notes that the checkpoint under way failed. The segments before it are kept, and the next one that is
    /// long enough is another occasion.
    pub fn checkpoint_failed(&mut self) {
        self.checkpoint_under_way = false;
    }

    /// The length of all segments that a start would have to read.
    pub fn bytes(&self) -> u64 {
        self.segment.as_ref().map_or(0, |s| s.earlier_bytes.saturating_add(s.offset))
    }

    /// The length of the last checkpoint; 0 if there is none.
    pub fn checkpoint_bytes(&self) -> u64 {
        self.segment.as_ref().map_or(0, |segment| segment.checkpoint_bytes)
    }

    fn break_down(&mut self, doing: &'static str, source: io::Error) -> AppendError {
        self.broken = true;
        AppendError::Broken { doing, source }
    }

    fn check_sound(&self) -> Result<(), AppendError> {
        if self.broken {
            let source = io::Error::other("an earlier write to it failed half-way");
            return Err(AppendError::Broken { doing: "go on with it", source });
        }
        Ok(())
    }
}

impl Segment {
    fn go_on_in(&mut self, file: Arc<dyn File>, number: u64) {
        self.earlier_bytes = self.earlier_bytes.saturating_add(self.offset);
        (self.file, self.number, self.offset) = (file, number, HEADER_BYTES);
        self.deleted = false;
    }
}

/// Makes sure that no file of this name will be found, whatever happens now.
fn take_back(disk: &dyn Disk, name: &str) -> io::Result<()> {
    remove_if_there(disk, &temporary(name))?;
    remove_if_there(disk, name)?;
    disk.sync_folder()
}

fn refused(kind: io::ErrorKind, why: impl Into<String>) -> AppendError {
    AppendError::Refused(io::Error::new(kind, why.into()))
}

/// All that was written up to a position, to be synced.
#[derive(Debug)]
pub struct SyncJob {
    file: Arc<dyn File>,
    number: u64,
    position: u64,
}

/// A [`SyncJob`] that was done.
#[derive(Debug)]
pub struct SyncDone {
    number: u64,
    position: u64,
    deleted: bool,
}

impl SyncJob {
    /// Syncs, and blocks while it does.
    ///
    /// # Errors
    /// What the disk says; what survives a power cut is then unknown, and trying again does not help.
    pub fn run(&self) -> io::Result<SyncDone> {
        self.file.sync()?;
        let deleted = !self.file.has_name()?;
        Ok(SyncDone { number: self.number, position: self.position, deleted })
    }
}

#[cfg(test)]
#[expect(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    reason = "tests may panic"
)]
mod tests;
