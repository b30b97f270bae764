//! Reads a state folder and judges it: the newest checkpoint and the segments from there on. It believes
//! nothing that is not proved, and changes nothing; a start and a repair both go by what it finds.
//!
//! What may be wrong after a crash is only the end of the last segment: files appear under their names whole
//! and synced, and a segment is synced before the next appears. So anything else that is wrong is damage. What
//! cannot be told from a crash: the loss of the last blocks of the last segment when no block after them says
//! that they were synced, and of a whole last segment whose checkpoint was not yet written.

use std::fmt;
use std::sync::Arc;

use super::HEADER_BYTES;
use super::error::{OpenError, io_error};
use super::folder::{Chain, Folder, checkpoint_name, journal_name, stranger};
use super::reader::{Found, Reader};
use crate::disk::{Disk, File};
use crate::record::block::{FileKind, HeaderError, SegmentHeader};
use crate::record::replay::Replay;
use crate::record::state::State;

/// Where the state's random number stands in a segment's header.
const STATE_AT: u64 = 12;

/// The last segment, in which a start goes on.
#[derive(Debug)]
pub(super) struct Last {
    pub(super) file: Arc<dyn File>,
    pub(super) number: u64,
    /// Where its last whole block ends.
    pub(super) offset: u64,
}

/// The end of the last segment, which was being written when all stopped.
#[derive(Debug, Clone)]
pub(super) struct Torn {
    file: String,
    offset: u64,
    pub(super) bytes: u64,
    what: &'static str,
}

impl fmt::Display for Torn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Torn { file, offset, bytes, what } = self;
        write!(
            f,
            "{file}: cut off {bytes} bytes at offset {offset} ({what}): they were being written when countd \
             or the machine stopped, and had not been synced"
        )
    }
}

/// A checkpoint or a segment, as far as it was read.
#[derive(Debug, Clone)]
pub struct FileRead {
    /// Its name.
    pub name: String,
    /// Its length in bytes.
    pub bytes: u64,
    /// How many whole blocks.
    pub blocks: u64,
    /// How many records in them.
    pub records: u64,
    /// When the last of them was written, in milliseconds since 1970-01-01 UTC; 0 if there is none.
    pub last_ms: u64,
    pub(super) number: u64,
    pub(super) kind: FileKind,
    /// Where the last of them ends.
    pub(super) end: u64,
    /// What has to stand in place of its header, which is damaged.
    pub(super) mended: Option<SegmentHeader>,
}

/// What was read.
#[derive(Debug)]
pub(super) struct Read {
    pub(super) state: State,
    pub(super) files: Vec<FileRead>,
    pub(super) torn: Option<Torn>,
    /// The number of the next block.
    pub(super) sequence: u64,
    /// Blocks read from segments.
    pub(super) blocks: u64,
    /// The length of all segments but the last.
    pub(super) earlier_bytes: u64,
    pub(super) checkpoint_bytes: u64,
}

/// How far a folder has been read.
#[derive(Debug)]
pub(super) struct Reading<'a> {
    disk: &'a dyn Disk,
    /// Whether a segment's header that is damaged is taken for what has to stand there.
    mends: bool,
    replay: Replay,
    state: u128,
    /// The number of the next block.
    pub(super) sequence: u64,
    /// How long the next segment must say the one before it was.
    pub(super) previous_length: u64,
    /// The file that says so.
    previous: String,
    pub(super) files: Vec<FileRead>,
    pub(super) torn: Option<Torn>,
}

impl Reading<'_> {
    pub(super) fn new(disk: &dyn Disk) -> Reading<'_> {
        Reading {
            disk,
            mends: false,
            replay: Replay::new(0),
            state: 0,
            sequence: 1,
            previous_length: 0,
            previous: String::new(),
            files: Vec::new(),
            torn: None,
        }
    }

    /// Goes on where a segment's header is damaged: it says nothing that the files before it do not tell.
    pub(super) fn mending(disk: &dyn Disk) -> Reading<'_> {
        Reading { mends: true, ..Reading::new(disk) }
    }

    /// Reads all, and returns where a start would go on; `None` where nothing was ever kept.
    ///
    /// # Errors
    /// [`OpenError`] for the first that no crash explains. What was read up to there is kept.
    pub(super) fn read(&mut self, folder: &Folder) -> Result<Option<Last>, OpenError> {
        let Some(chain) = folder.chain() else { return Ok(None) };
        self.begin(&chain)?;
        let (mut last, end) = (None, chain.journals.end);
        for number in chain.journals {
            let is_last = chain.broken_by.is_none() && number.saturating_add(1) == end;
            last = Some(self.segment(number, is_last)?);
        }
        let Some(broken_by) = chain.broken_by else { return Ok(last) };
        if !folder.is_temporary(&broken_by) {
            check_ours(self.disk, &broken_by)?;
        }
        Err(OpenError::missing(&journal_name(end), &broken_by))
    }

    pub(super) fn finish(self) -> Read {
        let of = |kind| self.files.iter().filter(move |file| file.kind == kind);
        let segments = of(FileKind::Journal);
        let blocks = segments.clone().map(|file| file.blocks).fold(0, u64::saturating_add);
        let earlier = segments.rev().skip(1).map(|file| file.end);
        Read {
            sequence: self.sequence,
            blocks,
            earlier_bytes: earlier.fold(0, u64::saturating_add),
            checkpoint_bytes: of(FileKind::Checkpoint).map(|file| file.end).next().unwrap_or(0),
            state: self.replay.finish(),
            files: self.files,
            torn: self.torn,
        }
    }

    /// When the last block was written.
    pub(super) fn last_ms(&self) -> u64 {
        let last = self.files.iter().rfind(|read| read.blocks > 0);
        last.map_or(0, |read| read.last_ms)
    }

    /// The header that the segment of this number must have after what was read so far.
    pub(super) fn expected(&self, number: u64) -> SegmentHeader {
        let (state, previous_length) = (self.state, self.previous_length);
        SegmentHeader { kind: FileKind::Journal, state, number, previous_length }
    }

    /// Reads the checkpoint, or finds out the first segment's state.
    fn begin(&mut self, chain: &Chain) -> Result<(), OpenError> {
        let (kind, number, name) = match chain.checkpoint {
            Some(number) => (FileKind::Checkpoint, number, checkpoint_name(number)),
            None if chain.journals.is_empty() => return Ok(()),
            None => (FileKind::Journal, 1, journal_name(1)),
        };
        let mut reader = self.open(&name)?;
        let header = match header(&mut reader, &name, kind, number) {
            Err(OpenError::Damaged { .. }) if self.mends && kind == FileKind::Journal => {
                self.lost_first_header(&reader, chain)?
            }
            header => header?,
        };
        self.state = header.state;
        self.replay = Replay::new(header.state);
        (self.previous, self.previous_length) = (name, header.previous_length);
        if kind == FileKind::Checkpoint {
            return self.checkpoint(number, &mut reader);
        }
        if header.previous_length != 0 {
            let what = "it says that another segment came before it".into();
            return Err(OpenError::Mixed { file: self.previous.clone(), what });
        }
        Ok(())
    }

    /// The first segment's header when it is damaged: only the state's number is not known beforehand. Where no
    /// other file has it, any will do.
    fn lost_first_header(
        &self,
        reader: &Reader,
        chain: &Chain,
    ) -> Result<SegmentHeader, OpenError> {
        let (name, mut state) = (journal_name(2), [0; 16]);
        let second = match chain.journals.contains(&2) {
            true => header(&mut self.open(&name)?, &name, FileKind::Journal, 2).ok(),
            false => None,
        };
        let read = reader.file().read_at(STATE_AT, &mut state);
        read.map_err(io_error(&journal_name(1)))?;
        let state = second.map_or(u128::from_le_bytes(state), |header| header.state);
        Ok(SegmentHeader { kind: FileKind::Journal, state, number: 1, previous_length: 0 })
    }

    /// Replays a checkpoint. It got its name only when it was complete, so nothing in it may be wrong.
    fn checkpoint(&mut self, number: u64, reader: &mut Reader) -> Result<(), OpenError> {
        let mut read = FileRead::new(checkpoint_name(number), FileKind::Checkpoint, number, reader);
        let wrong = self.blocks(reader, &mut read, None);
        let (name, end) = (read.name.clone(), read.end);
        self.sequence = self.sequence.saturating_sub(read.blocks);
        self.files.push(read);
        match wrong? {
            Some(what) => Err(OpenError::damaged(&name, end, what)),
            None if self.replay.checkpoint_ended() => Ok(()),
            None => Err(OpenError::damaged(&name, end, "its end is missing")),
        }
    }

    /// Replays a segment, and judges where its whole blocks end.
    fn segment(&mut self, number: u64, is_last: bool) -> Result<Last, OpenError> {
        let name = journal_name(number);
        let mut reader = self.open(&name)?;
        let mut read = FileRead::new(name.clone(), FileKind::Journal, number, &reader);
        match header(&mut reader, &name, FileKind::Journal, number) {
            Err(OpenError::Damaged { .. }) if self.mends => {
                read.mended = Some(self.expected(number));
            }
            header => self.check_belongs(&name, &header?)?,
        }
        let wrong = self.blocks(&mut reader, &mut read, Some(self.sequence));
        let offset = read.end;
        self.files.push(read);
        let wrong = wrong?;
        if self.sequence == 1 {
            let what = wrong.unwrap_or("its first block is missing");
            return Err(OpenError::damaged(&name, offset, what));
        }
        if let Some(what) = wrong {
            let synced = reader.synced_beyond(offset, self.sequence).map_err(io_error(&name))?;
            if synced > offset {
                let what = format!("{what}, and up to offset {synced} all had been safely written");
                return Err(OpenError::damaged(&name, offset, what));
            }
            if !is_last {
                return Err(OpenError::damaged(&name, offset, what));
            }
            let bytes = reader.length().saturating_sub(offset);
            self.torn = Some(Torn { file: name.clone(), offset, bytes, what });
        }
        (self.previous, self.previous_length) = (name, offset);
        Ok(Last { file: Arc::clone(reader.file()), number, offset })
    }

    /// Replays the whole blocks of a file, from this number on if one is given, and returns what is wrong where
    /// they end.
    fn blocks(
        &mut self,
        reader: &mut Reader,
        read: &mut FileRead,
        mut next: Option<u64>,
    ) -> Result<Option<&'static str>, OpenError> {
        loop {
            let found = reader.block(read.end, next).map_err(io_error(&read.name))?;
            let (header, payload, end) = match found {
                Found::Block(..)
                    if read.kind == FileKind::Checkpoint && self.replay.checkpoint_ended() =>
                {
                    return Ok(Some("it goes on after its end"));
                }
                Found::Block(header, payload, end) => (header, payload, end),
                Found::End => return Ok(None),
                Found::Bad(what) => return Ok(Some(what)),
            };
            let before = self.replay.records();
            self.replay.block(payload, header.wall_ms).map_err(|source| OpenError::Unreadable {
                file: read.name.clone(),
                offset: read.end,
                source,
            })?;
            let records = self.replay.records().saturating_sub(before);
            read.records = read.records.saturating_add(records);
            read.blocks = read.blocks.saturating_add(1);
            (read.end, read.last_ms) = (end, header.wall_ms);
            self.sequence = header.sequence.saturating_add(1);
            next = Some(self.sequence);
        }
    }

    fn check_belongs(&self, name: &str, header: &SegmentHeader) -> Result<(), OpenError> {
        if header.state != self.state {
            let what = format!("it belongs to another state than {}", self.previous);
            return Err(OpenError::Mixed { file: name.into(), what });
        }
        let (says, was) = (header.previous_length, self.previous_length);
        if says == was {
            return Ok(());
        }
        let previous_was_read =
            self.files.last().is_some_and(|read| read.kind == FileKind::Journal);
        if says > was && previous_was_read {
            let what = format!("its end is missing, {name} goes on from offset {says}");
            return Err(OpenError::damaged(&self.previous, was, what));
        }
        let what =
            format!("it follows on {says} bytes of journal, by {} there were {was}", self.previous);
        Err(OpenError::Mixed { file: name.into(), what })
    }

    fn open(&self, name: &str) -> Result<Reader, OpenError> {
        self.disk.open(name).and_then(Reader::new).map_err(io_error(name))
    }
}

impl FileRead {
    /// What kind of file it is, in a word.
    pub fn what(&self) -> &'static str {
        match self.kind {
            FileKind::Journal => "segment",
            FileKind::Checkpoint => "checkpoint",
        }
    }

    fn new(name: String, kind: FileKind, number: u64, reader: &Reader) -> FileRead {
        FileRead {
            name,
            bytes: reader.length(),
            blocks: 0,
            records: 0,
            last_ms: 0,
            number,
            kind,
            end: HEADER_BYTES,
            mended: None,
        }
    }
}

/// Refuses a file that is foreign, or of a newer version.
pub(super) fn check_ours(disk: &dyn Disk, name: &str) -> Result<(), OpenError> {
    match disk.open(name).and_then(stranger).map_err(io_error(name))? {
        Some(source) => Err(OpenError::NotOurs { file: name.into(), source }),
        None => Ok(()),
    }
}

fn header(
    reader: &mut Reader,
    name: &str,
    kind: FileKind,
    number: u64,
) -> Result<SegmentHeader, OpenError> {
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
    Ok(header)
}
