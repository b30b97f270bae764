//! Opens a journal: once a folder was read and judged sound it takes possession, cuts off a torn tail, removes
//! what is left over, and goes on. It never starts empty where something was.

use std::io;
use std::sync::Arc;

use super::checkpoint::create_whole;
use super::error::{OpenError, io_error};
use super::folder::{Folder, journal_name};
use super::reader::bytes_of;
use super::reading::{Last, Reading};
use super::{Journal, Segment};
use crate::disk::Disk;
use crate::record::Record;
use crate::record::block::{FileKind, SegmentHeader, write_block};
use crate::record::replay::Replay;
use crate::record::state::State;
use crate::window::{BootId, Moment};

/// What a state begins with where none was kept.
#[derive(Debug, Clone, Copy)]
pub struct Fresh {
    /// A random number.
    pub state_id: u128,
    /// The boot its first window opens in.
    pub boot: BootId,
    /// When its first window opens.
    pub now: Moment,
}

/// A journal, and what it said.
#[derive(Debug)]
pub struct Opened {
    /// To be written from now on.
    pub journal: Journal,
    /// The state that was restored. All of it is synced.
    pub state: State,
    /// What the operator should know: a torn tail that was cut off, a file that could not be removed.
    pub notes: Vec<String>,
    /// Whether there was more than a checkpoint: a fresh one is wanted before anything is promised.
    pub unclean: bool,
}

impl Journal {
    /// Restores the state that this folder keeps and goes on with its journal, or begins one where there is
    /// none. The caller owns the folder.
    ///
    /// # Errors
    /// [`OpenError`] for anything that no crash explains.
    pub fn open(disk: Arc<dyn Disk>, fresh: Fresh) -> Result<Opened, OpenError> {
        let folder = Folder::list(&*disk).map_err(io_error("cannot list the state folder"))?;
        let mut reading = Reading::new(&*disk);
        let Some(Last { file, number, offset }) = reading.read(&folder)? else {
            return begin(disk, fresh);
        };
        let mut notes = Vec::new();
        if let Some(torn) = &reading.torn {
            file.truncate(offset).map_err(io_error(&journal_name(number)))?;
            notes.push(torn.to_string());
        }
        // A daemon that was killed may have left its last bytes and names to the kernel, and what follows,
        // removing files and letting reports out, must not come before them.
        file.sync().map_err(io_error(&format!("cannot sync {}", journal_name(number))))?;
        disk.sync_folder().map_err(io_error("cannot sync the state folder"))?;
        notes.extend(folder.remove_leftovers(&*disk).into_iter().map(|(name, error)| {
            format!("cannot remove {name}, which is not needed any more: {error}")
        }));
        let read = reading.finish();
        let state = read.state;
        let segment = Segment {
            disk: Arc::clone(&disk),
            file,
            state: state.id,
            number,
            offset,
            sequence: read.sequence,
            earlier_bytes: read.earlier_bytes,
            checkpoint_bytes: read.checkpoint_bytes,
            deleted: false,
        };
        let journal = Journal::with(Some(segment));
        Ok(Opened { journal, state, notes, unclean: read.blocks > 0 })
    }
}

/// Begins a journal in a folder where nothing was kept. Its first block says when and in which boot, so that a
/// first segment without a block is one that lost it.
fn begin(disk: Arc<dyn Disk>, fresh: Fresh) -> Result<Opened, OpenError> {
    let name = journal_name(1);
    let state = fresh.state_id;
    let header = SegmentHeader { kind: FileKind::Journal, state, number: 1, previous_length: 0 };
    let mut bytes = header.to_bytes().to_vec();
    let mut replay = Replay::new(state);
    let made = first_records(fresh).and_then(|payload| {
        write_block(&mut bytes, 1, 0, fresh.now.wall_ms, &payload);
        let replayed = replay.block(&payload, fresh.now.wall_ms);
        replayed.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        create_whole(&*disk, &name, |file| file.append(&bytes))
    });
    let (file, ()) = made.map_err(io_error(&format!("cannot create {name}")))?;
    let segment = Segment {
        disk,
        file,
        state,
        number: 1,
        offset: bytes_of(bytes.len()),
        sequence: 2,
        earlier_bytes: 0,
        checkpoint_bytes: 0,
        deleted: false,
    };
    let journal = Journal::with(Some(segment));
    Ok(Opened { journal, state: replay.finish(), notes: Vec::new(), unclean: false })
}

fn first_records(fresh: Fresh) -> io::Result<Vec<u8>> {
    let mut payload = Vec::new();
    Record::Started { boot: fresh.boot, at: fresh.now }.encode(&mut payload)?;
    Record::Opened { start: fresh.now }.encode(&mut payload)?;
    Ok(payload)
}
