//! Opens a journal: reads the newest checkpoint and the segments from there on, believes nothing that is not
//! proved, and leaves the folder as it is unless everything fits. It never starts empty where something was.
//!
//! What may be wrong after a crash is only the end of the last segment: files appear under their names whole
//! and synced, and a segment is synced before the next appears. So anything else that is wrong is damage.

use std::io;
use std::sync::Arc;

use super::checkpoint::create_whole;
use super::error::OpenError;
use super::folder::{Chain, Folder, checkpoint_name, journal_name};
use super::reader::{Found, Reader, bytes_of};
use super::{HEADER_BYTES, Journal, Segment};
use crate::disk::{Disk, File};
use crate::record::Record;
use crate::record::block::{FileKind, HeaderError, SegmentHeader, write_block};
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
        let Some(chain) = folder.chain()? else { return begin(disk, fresh) };
        let (mut restoring, mut last) = (Restoring::new(&*disk, &chain)?, None);
        for number in chain.journals.clone() {
            last = Some(restoring.segment(number, number == *chain.journals.end())?);
        }
        let Some((file, offset)) = last else {
            return Err(OpenError::missing(&journal_name(*chain.journals.start()), "the journal"));
        };
        let number = *chain.journals.end();
        // A daemon that was killed may have left its last bytes and names to the kernel, and what follows,
        // removing files and letting reports out, must not come before them.
        file.sync().map_err(io_error(&format!("cannot sync {}", journal_name(number))))?;
        disk.sync_folder().map_err(io_error("cannot sync the state folder"))?;
        let mut notes = restoring.notes;
        let superfluous = chain.checkpoint.map(|number| folder.remove_before(&*disk, number));
        let left =
            folder.remove_temporaries(&*disk).into_iter().chain(superfluous.unwrap_or_default());
        notes.extend(left.map(|(name, error)| format!("cannot remove {name}: {error}")));
        let state = restoring.replay.finish();
        let segment = Segment {
            disk: Arc::clone(&disk),
            file,
            state: state.id,
            number,
            offset,
            sequence: restoring.sequence,
            earlier_bytes: restoring.earlier_bytes,
            checkpoint_bytes: restoring.checkpoint_bytes,
        };
        let journal = Journal::with(Some(segment));
        Ok(Opened { journal, state, notes, unclean: restoring.blocks > 0 })
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

/// How far the files have been read.
struct Restoring<'a> {
    disk: &'a dyn Disk,
    replay: Replay,
    state: u128,
    /// The number of the next block.
    sequence: u64,
    /// How long the next segment must say the one before it was.
    previous_length: u64,
    /// The file that says so.
    previous: String,
    /// Blocks read from segments.
    blocks: u64,
    /// The length of all segments but the last.
    earlier_bytes: u64,
    checkpoint_bytes: u64,
    notes: Vec<String>,
}

impl Restoring<'_> {
    fn new<'a>(disk: &'a dyn Disk, chain: &Chain) -> Result<Restoring<'a>, OpenError> {
        let (kind, number, name) = match chain.checkpoint {
            Some(number) => (FileKind::Checkpoint, number, checkpoint_name(number)),
            None => (FileKind::Journal, 1, journal_name(1)),
        };
        let (mut reader, header) = open_file(disk, &name, kind, number)?;
        let mut restoring = Restoring {
            disk,
            replay: Replay::new(header.state),
            state: header.state,
            sequence: 1,
            previous_length: header.previous_length,
            previous: name,
            blocks: 0,
            earlier_bytes: 0,
            checkpoint_bytes: 0,
            notes: Vec::new(),
        };
        match chain.checkpoint {
            Some(_) => restoring.checkpoint(&mut reader)?,
            None if header.previous_length != 0 => {
                let what = "it says that another segment came before it".into();
                return Err(OpenError::Mixed { file: restoring.previous, what });
            }
            None => {}
        }
        Ok(restoring)
    }

    /// Replays a checkpoint. It got its name only when it was complete, so nothing in it may be wrong.
    fn checkpoint(&mut self, reader: &mut Reader) -> Result<(), OpenError> {
        let name = self.previous.as_str();
        let (mut offset, mut expected) = (HEADER_BYTES, None);
        loop {
            let found = reader.block(offset, expected).map_err(io_error(name))?;
            let (header, payload, next) = match found {
                Found::Block(..) if self.replay.checkpoint_ended() => {
                    return Err(OpenError::damaged(name, offset, "it goes on after its end"));
                }
                Found::Block(header, payload, next) => (header, payload, next),
                Found::End if self.replay.checkpoint_ended() => break,
                Found::End => return Err(OpenError::damaged(name, offset, "its end is missing")),
                Found::Bad(what) => return Err(OpenError::damaged(name, offset, what)),
            };
            self.replay.block(payload, header.wall_ms).map_err(|source| OpenError::Unreadable {
                file: name.into(),
                offset,
                source,
            })?;
            if expected.is_none() {
                self.sequence = header.sequence;
            }
            expected = Some(header.sequence.saturating_add(1));
            offset = next;
        }
        self.checkpoint_bytes = offset;
        Ok(())
    }

    /// Replays a segment, cuts off its torn tail if it is the last, and returns it with its length.
    fn segment(&mut self, number: u64, is_last: bool) -> Result<(Arc<dyn File>, u64), OpenError> {
        let name = journal_name(number);
        let (mut reader, header) = open_file(self.disk, &name, FileKind::Journal, number)?;
        self.check_belongs(&name, &header)?;
        let mut offset = HEADER_BYTES;
        let wrong = loop {
            match reader.block(offset, Some(self.sequence)).map_err(io_error(&name))? {
                Found::Block(header, payload, next) => {
                    self.replay.block(payload, header.wall_ms).map_err(|source| {
                        OpenError::Unreadable { file: name.clone(), offset, source }
                    })?;
                    self.sequence = self.sequence.saturating_add(1);
                    self.blocks = self.blocks.saturating_add(1);
                    offset = next;
                }
                Found::End => break None,
                Found::Bad(what) => break Some(what),
            }
        };
        if self.sequence == 1 {
            let what = wrong.unwrap_or("its first block is missing");
            return Err(OpenError::damaged(&name, offset, what));
        }
        if let Some(what) = wrong {
            if !is_last {
                return Err(OpenError::damaged(&name, offset, what));
            }
            self.cut(&name, &mut reader, offset, what)?;
        }
        if !is_last {
            self.earlier_bytes = self.earlier_bytes.saturating_add(offset);
        }
        (self.previous, self.previous_length) = (name, offset);
        Ok((Arc::clone(reader.file()), offset))
    }

    fn check_belongs(&self, name: &str, header: &SegmentHeader) -> Result<(), OpenError> {
        let what = if header.state != self.state {
            format!("it belongs to another state than {}", self.previous)
        } else if header.previous_length != self.previous_length {
            format!(
                "it follows on {} bytes of journal, by {} there were {}",
                header.previous_length, self.previous, self.previous_length
            )
        } else {
            return Ok(());
        };
        Err(OpenError::Mixed { file: name.into(), what })
    }

    /// Cuts off what is wrong from `offset` on, unless some of it had been synced.
    fn cut(
        &mut self,
        name: &str,
        reader: &mut Reader,
        offset: u64,
        what: &str,
    ) -> Result<(), OpenError> {
        let synced = reader.synced_beyond(offset, self.sequence).map_err(io_error(name))?;
        if synced > offset {
            let what = format!("{what}, and up to offset {synced} all had been safely written");
            return Err(OpenError::damaged(name, offset, what));
        }
        reader.file().truncate(offset).map_err(io_error(name))?;
        let bytes = reader.length().saturating_sub(offset);
        self.notes.push(format!(
            "{name}: cut off {bytes} bytes at offset {offset} ({what}): they were being written when \
             countd or the machine stopped, and had not been synced"
        ));
        Ok(())
    }
}

fn open_file(
    disk: &dyn Disk,
    name: &str,
    kind: FileKind,
    number: u64,
) -> Result<(Reader, SegmentHeader), OpenError> {
    let file = disk.open(name).map_err(io_error(name))?;
    let mut reader = Reader::new(file).map_err(io_error(name))?;
    let header = match reader.header(kind).map_err(io_error(name))? {
        Ok(header) => header,
        Err(HeaderError::Damaged) => {
            return Err(OpenError::damaged(name, 0, HeaderError::Damaged.to_string()));
        }
        Err(source) => return Err(OpenError::NotOurs { file: name.into(), source }),
    };
    if header.number != number {
        let what = format!("it was written as number {}", header.number);
        return Err(OpenError::Mixed { file: name.into(), what });
    }
    Ok((reader, header))
}

fn io_error(what: &str) -> impl FnOnce(io::Error) -> OpenError {
    move |source| OpenError::Io { what: what.into(), source }
}
