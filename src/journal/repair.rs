//! Repairs a damaged folder: what is whole up to the damage stays, what comes after it is set aside. It is
//! planned first, without changing anything; then carried out so that a crash leaves a folder that a start
//! refuses as before, or the repaired one, and every byte of the original under some name. Files that are
//! foreign, newer or of another state are never touched, and nothing that could not be read for an error of
//! the disk is taken for damaged.

use std::collections::BTreeSet;
use std::io;

use super::HEADER_BYTES;
use super::checkpoint::create_whole;
use super::error::{OpenError, io_error};
use super::folder::{Folder, SET_ASIDE, checkpoint_name, journal_name};
use super::reader::Reader;
use super::reading::{FileRead, Reading, check_ours};
use crate::disk::{Disk, File};
use crate::record::block::{FileKind, SegmentHeader};

/// Bytes copied at a time.
const COPY_BYTES: usize = 256 << 10;

/// What a repair is going to do.
#[derive(Debug, Default)]
pub struct Repair {
    /// Checkpoints and segments that are set aside, in this order.
    aside: Vec<String>,
    /// Segments that are written anew, in the order in which they are read.
    rewrites: Vec<Rewrite>,
    loss: Loss,
}

/// What a repair gives up, as far as that can be told.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Loss {
    /// Where the journal is cut, a file and an offset in it; `None` if nothing is given up.
    pub cut: Option<(String, u64)>,
    /// Bytes that no start will read any more.
    pub bytes: u64,
    /// Blocks among them that are whole.
    pub blocks: u64,
    /// When the last block that stays was written, in milliseconds since 1970-01-01 UTC.
    pub kept_until_ms: u64,
    /// When the last whole block that is given up was written, likewise; 0 if there is none.
    pub lost_until_ms: u64,
}

/// A segment that is written anew.
#[derive(Debug)]
struct Rewrite {
    name: String,
    /// The header it gets, if not its own.
    header: Option<SegmentHeader>,
    /// How much of the original stays, header included.
    end: u64,
    is_there: bool,
}

impl Repair {
    /// How this folder can be repaired; `None` if it is sound.
    ///
    /// # Errors
    /// [`OpenError`]: what no repair helps with.
    pub fn of(disk: &dyn Disk) -> Result<Option<Repair>, OpenError> {
        let mut folder = Folder::list(disk).map_err(io_error("cannot list the state folder"))?;
        let mut plan = Repair::default();
        loop {
            let mut reading = Reading::mending(disk);
            let outcome = reading.read(&folder);
            let mended = reading.files.iter().filter(|read| read.mended.is_some());
            plan.rewrites = mended.map(Rewrite::of).collect();
            let error = match outcome {
                Ok(_) if plan.aside.is_empty() && plan.rewrites.is_empty() => return Ok(None),
                Ok(_) => return Ok(Some(plan)),
                Err(error) => error,
            };
            match (&error, folder.newest_checkpoint()) {
                // All that a checkpoint made superfluous may still be there.
                (OpenError::Damaged { file, .. }, Some(number))
                    if *file == checkpoint_name(number) && folder.has_base_without(number) =>
                {
                    plan.aside.push(file.clone());
                    folder.forget_checkpoint(number);
                }
                _ => {
                    plan.cut(disk, &folder, &reading, error)?;
                    return Ok(Some(plan));
                }
            }
        }
    }

    /// What it gives up.
    pub fn loss(&self) -> &Loss {
        &self.loss
    }

    /// Cuts where the reading ended with this error, if a cut helps.
    fn cut(
        &mut self,
        disk: &dyn Disk,
        folder: &Folder,
        reading: &Reading<'_>,
        error: OpenError,
    ) -> Result<(), OpenError> {
        let Some(last) = reading.files.last() else { return Err(error) };
        let (next, last_is_checkpoint) = match (&error, last.kind) {
            (OpenError::Missing { .. }, FileKind::Checkpoint) => (last.number, true),
            (OpenError::Missing { .. }, FileKind::Journal) => {
                (last.number.saturating_add(1), false)
            }
            (OpenError::Damaged { .. }, FileKind::Journal) if reading.sequence > 1 => {
                (last.number.saturating_add(1), false)
            }
            _ => return Err(error),
        };
        self.loss.cut = Some((last.name.clone(), last.end));
        self.loss.kept_until_ms = reading.last_ms();
        if last_is_checkpoint {
            let header = Some(reading.expected(next));
            let name = journal_name(next);
            self.rewrites.push(Rewrite { name, header, end: HEADER_BYTES, is_there: false });
        } else {
            if last.end < last.bytes && last.mended.is_none() {
                self.rewrites.push(Rewrite::of(last));
            }
            self.loss.give_up(disk, &last.name, last.end, reading.sequence)?;
        }
        let later: Vec<String> = folder.segments_from(next).collect();
        for name in &later {
            check_ours(disk, name)?;
            self.loss.give_up(disk, name, 0, reading.sequence)?;
        }
        self.aside.extend(later);
        Ok(())
    }

    /// Does it, and returns the names under which the originals are kept. Where it fails half-way it can be
    /// planned and carried out again.
    ///
    /// # Errors
    /// [`OpenError::Io`].
    pub fn carry_out(&self, disk: &dyn Disk) -> Result<Vec<(String, String)>, OpenError> {
        let listed = disk.list().map_err(io_error("cannot list the state folder"))?;
        let (mut names, mut kept) = (BTreeSet::from_iter(listed), Vec::new());
        for Rewrite { name, .. } in self.rewrites.iter().filter(|rewrite| rewrite.is_there) {
            let free = free_name(name, &mut names);
            let file = disk.open(name).map_err(io_error(name))?;
            let length = file.length().map_err(io_error(name))?;
            create_whole(disk, &free, |to| copy(&*file, 0, length, to)).map_err(io_error(&free))?;
            kept.push((name.clone(), free));
        }
        // As long as one is there that does not follow, no start takes the rest for all.
        for name in &self.aside {
            let free = free_name(name, &mut names);
            let renamed = disk.rename(name, &free).and_then(|()| disk.sync_folder());
            renamed.map_err(io_error(&format!("cannot set {name} aside")))?;
            kept.push((name.clone(), free));
        }
        for rewrite in self.rewrites.iter().rev() {
            rewrite.write(disk).map_err(io_error(&rewrite.name))?;
        }
        Ok(kept)
    }
}

impl Loss {
    /// Adds what a file has from this offset on.
    fn give_up(
        &mut self,
        disk: &dyn Disk,
        name: &str,
        from: u64,
        sequence: u64,
    ) -> Result<(), OpenError> {
        let mut reader = disk.open(name).and_then(Reader::new).map_err(io_error(name))?;
        let (blocks, last_ms) = reader.whole_beyond(from, sequence).map_err(io_error(name))?;
        self.bytes = self.bytes.saturating_add(reader.length().saturating_sub(from));
        self.blocks = self.blocks.saturating_add(blocks);
        self.lost_until_ms = self.lost_until_ms.max(last_ms);
        Ok(())
    }
}

impl Rewrite {
    fn of(read: &FileRead) -> Rewrite {
        let (name, header) = (read.name.clone(), read.mended);
        Rewrite { name, header, end: read.end, is_there: true }
    }

    fn write(&self, disk: &dyn Disk) -> io::Result<()> {
        let original = if self.is_there { Some(disk.open(&self.name)?) } else { None };
        create_whole(disk, &self.name, |to| {
            let from = match self.header {
                Some(header) => {
                    to.append(&header.to_bytes())?;
                    HEADER_BYTES
                }
                None => 0,
            };
            match original {
                Some(original) => copy(&*original, from, self.end, to),
                None => Ok(()),
            }
        })?;
        Ok(())
    }
}

/// Appends the bytes of a file from `offset` to `end` to another.
fn copy(file: &dyn File, mut offset: u64, end: u64, to: &dyn File) -> io::Result<()> {
    let mut buffer = vec![0; COPY_BYTES];
    while offset < end {
        let left = usize::try_from(end.saturating_sub(offset)).unwrap_or(usize::MAX);
        let wanted = buffer.get_mut(..left.min(COPY_BYTES)).unwrap_or_default();
        let count = file.read_at(offset, wanted)?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        to.append(wanted.get(..count).unwrap_or_default())?;
        offset = offset.saturating_add(super::reader::bytes_of(count));
    }
    Ok(())
}

/// A name that says what the file was and that nothing has yet.
fn free_name(name: &str, taken: &mut BTreeSet<String>) -> String {
    let mut free = format!("{name}{SET_ASIDE}");
    let mut number = 2_u64;
    while !taken.insert(free.clone()) {
        free = format!("{name}{SET_ASIDE}.{number}");
        number = number.saturating_add(1);
    }
    free
}
