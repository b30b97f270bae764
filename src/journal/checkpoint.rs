//! Writes files that are there whole or not at all, above all checkpoints, whose writing may take a while and
//! can go on beside the journal. It does not decide when.

use std::io;
use std::sync::Arc;

use super::folder::{Folder, checkpoint_name, temporary};
use super::reader::bytes_of;
use crate::codec::Malformed;
use crate::disk::{Disk, File};
use crate::record::block::{SegmentHeader, write_block};
use crate::record::image::Image;

impl From<Malformed> for io::Error {
    fn from(error: Malformed) -> io::Error {
        io::Error::new(io::ErrorKind::InvalidData, error)
    }
}

/// Makes a file of this name: under another first, and renamed once it is full and synced. After an error the
/// file may be there whole, or not.
pub(super) fn create_whole<T>(
    disk: &dyn Disk,
    name: &str,
    fill: impl FnOnce(&dyn File) -> io::Result<T>,
) -> io::Result<(Arc<dyn File>, T)> {
    let temporary = temporary(name);
    remove_if_there(disk, &temporary)?;
    let file = disk.create(&temporary)?;
    let filled = fill(&*file).and_then(|made| file.sync().map(|()| made));
    match filled.and_then(|made| disk.rename(&temporary, name).map(|()| made)) {
        Ok(made) => {
            disk.sync_folder()?;
            Ok((file, made))
        }
        Err(error) => {
            // It takes up space to no purpose, but the next start removes it, too.
            let _ = disk.remove(&temporary);
            Err(error)
        }
    }
}

/// Removes a file that need not be there.
pub(super) fn remove_if_there(disk: &dyn Disk, name: &str) -> io::Result<()> {
    match disk.remove(name) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// What became of a checkpoint.
#[derive(Debug)]
pub struct CheckpointDone {
    /// Its length in bytes.
    pub(super) bytes: u64,
    /// What is no longer needed and could not be removed, and why. The next checkpoint tries again.
    pub not_removed: Vec<(String, io::Error)>,
}

/// A checkpoint to be written, on whatever thread. If it is dropped or fails, the journal must be told with
/// [`Journal::checkpoint_failed`](super::Journal::checkpoint_failed).
#[derive(Debug)]
pub struct CheckpointJob {
    pub(super) image: Image,
    /// `None` for a journal that keeps nothing.
    pub(super) target: Option<Target>,
}

/// Where a checkpoint goes.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) header: SegmentHeader,
    /// The number of the first block, the same as of the first in the journal that goes on from here.
    pub(super) sequence: u64,
    pub(super) wall_ms: u64,
}

impl CheckpointJob {
    /// Writes it, and removes what it makes superfluous. It may be run again after an error.
    ///
    /// # Errors
    /// What the disk says. The journal is not affected.
    pub fn run(&self) -> io::Result<CheckpointDone> {
        let Some(target) = &self.target else {
            return Ok(CheckpointDone { bytes: 0, not_removed: Vec::new() });
        };
        let disk = &*target.disk;
        let number = target.header.number;
        let (_, bytes) =
            create_whole(disk, &checkpoint_name(number), |file| target.write(&self.image, file))?;
        let not_removed = match Folder::list(disk) {
            Ok(folder) => folder.remove_before(disk, number),
            Err(error) => vec![("files of earlier checkpoints".into(), error)],
        };
        Ok(CheckpointDone { bytes, not_removed })
    }
}

impl Target {
    fn write(&self, image: &Image, file: &dyn File) -> io::Result<u64> {
        let header = self.header.to_bytes();
        file.append(&header)?;
        let mut written = bytes_of(header.len());
        let mut sequence = self.sequence;
        let mut block = Vec::new();
        image.blocks::<io::Error>(|payload| {
            block.clear();
            write_block(&mut block, sequence, 0, self.wall_ms, payload);
            file.append(&block)?;
            sequence = sequence.saturating_add(1);
            written = written.saturating_add(bytes_of(block.len()));
            Ok(())
        })?;
        Ok(written)
    }
}
