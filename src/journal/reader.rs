//! Reads the blocks of one file, in bounded memory, and says exactly where they stop being right. A length
//! is believed only after its header's checksum, and only if the file is long enough. What damage means is
//! decided by who opens the journal.

use std::io;
use std::sync::Arc;

use crate::disk::File;
use crate::record::block::{
    BLOCK_HEADER_BYTES, BLOCK_PAYLOAD_MAX, BlockHeader, FileKind, HeaderError,
    SEGMENT_HEADER_BYTES, SegmentHeader,
};

/// Bytes read at a time, unless a block is longer.
const READ_BYTES: usize = 256 << 10;
/// Bytes searched for a header at a time: less than is read at a time, so that the next search is in memory.
const HEADER_SEARCH_BYTES: usize = 32 << 10;
/// What [`BlockHeader`] begins with.
const MAGIC_BYTES: usize = 4;

/// What was found at an offset.
#[derive(Debug)]
pub(super) enum Found<'a> {
    /// A whole block, all of it right: its header, its payload, and where the next begins.
    Block(BlockHeader, &'a [u8], u64),
    /// The file's end.
    End,
    /// No block, or none that can be here.
    Bad(&'static str),
}

/// One file being read.
#[derive(Debug)]
pub(super) struct Reader {
    file: Arc<dyn File>,
    length: u64,
    /// Bytes of the file from `start` on.
    buffer: Vec<u8>,
    start: u64,
}

impl Reader {
    pub(super) fn new(file: Arc<dyn File>) -> io::Result<Reader> {
        let length = file.length()?;
        Ok(Reader { file, length, buffer: Vec::new(), start: 0 })
    }

    pub(super) fn file(&self) -> &Arc<dyn File> {
        &self.file
    }

    /// The file's length in bytes when it was opened.
    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// The file's own header.
    pub(super) fn header(
        &mut self,
        kind: FileKind,
    ) -> io::Result<Result<SegmentHeader, HeaderError>> {
        let bytes = self.up_to(0, SEGMENT_HEADER_BYTES)?;
        Ok(SegmentHeader::from_bytes(bytes, kind))
    }

    /// The block at `offset`, which must have this number if one is given.
    pub(super) fn block(&mut self, offset: u64, sequence: Option<u64>) -> io::Result<Found<'_>> {
        if offset >= self.length {
            return Ok(Found::End);
        }
        let Some(header) = self.up_to(offset, BLOCK_HEADER_BYTES)?.first_chunk() else {
            return Ok(Found::Bad("a block's header is cut short"));
        };
        let Some(header) = BlockHeader::from_bytes(header) else {
            return Ok(Found::Bad("no block begins here"));
        };
        if sequence.is_some_and(|expected| expected != header.sequence) {
            return Ok(Found::Bad("a block does not follow on the one before"));
        }
        if header.synced > offset {
            return Ok(Found::Bad("a block says more was synced than there was"));
        }
        let length = usize::try_from(header.length).unwrap_or(usize::MAX);
        if length > BLOCK_PAYLOAD_MAX {
            return Ok(Found::Bad("a block is longer than blocks can be"));
        }
        let whole = BLOCK_HEADER_BYTES.saturating_add(length);
        let next = offset.saturating_add(bytes_of(whole));
        if next > self.length {
            return Ok(Found::Bad("a block is cut short"));
        }
        let payload = self.up_to(offset, whole)?.get(BLOCK_HEADER_BYTES..).unwrap_or_default();
        if crc32fast::hash(payload) != header.payload_crc {
            return Ok(Found::Bad("a block fails its checksum"));
        }
        Ok(Found::Block(header, payload, next))
    }

    /// How much of the file was known to be synced, by the headers of blocks found anywhere from `damage` on,
    /// where block number `sequence` should have begun. A header counts only if that many blocks fit between.
    pub(super) fn synced_beyond(&mut self, damage: u64, sequence: u64) -> io::Result<u64> {
        let (mut highest, mut from) = (0, damage);
        while let Some((at, header)) = self.next_header(from)? {
            if header.synced <= at && fits_between(damage, sequence, at, header.sequence) {
                highest = highest.max(header.synced);
            }
            from = at.saturating_add(1);
        }
        Ok(highest)
    }

    /// What is still whole from `damage` on, of blocks with this number and higher ones: how many blocks, and
    /// when the last of them was written.
    pub(super) fn whole_beyond(&mut self, damage: u64, sequence: u64) -> io::Result<(u64, u64)> {
        let (mut blocks, mut last_ms, mut from) = (0_u64, 0, damage);
        let mut sequence = sequence;
        while let Some((at, header)) = self.next_header(from)? {
            from = at.saturating_add(1);
            if header.sequence >= sequence
                && let Found::Block(header, _, next) = self.block(at, None)?
            {
                blocks = blocks.saturating_add(1);
                last_ms = header.wall_ms;
                (sequence, from) = (header.sequence.saturating_add(1), next);
            }
        }
        Ok((blocks, last_ms))
    }

    /// The first header of a block that passes its checksum at `from` or later, and where it is.
    fn next_header(&mut self, from: u64) -> io::Result<Option<(u64, BlockHeader)>> {
        let mut offset = from;
        while offset < self.length {
            let chunk = self.up_to(offset, HEADER_SEARCH_BYTES)?;
            let (known, mut skip) = (chunk.len(), 0);
            while let Some(candidate) = next_magic(chunk, skip) {
                let Some(bytes) = chunk.get(candidate..).and_then(|rest| rest.first_chunk()) else {
                    break;
                };
                if let Some(header) = BlockHeader::from_bytes(bytes) {
                    return Ok(Some((offset.saturating_add(bytes_of(candidate)), header)));
                }
                skip = candidate.saturating_add(1);
            }
            // What might be a header across the end of this chunk is looked at again with the next.
            let step = known.saturating_sub(BLOCK_HEADER_BYTES.saturating_sub(1)).max(1);
            offset = offset.saturating_add(bytes_of(step));
        }
        Ok(None)
    }

    /// `count` bytes from `offset`, or as many as the file has.
    fn up_to(&mut self, offset: u64, count: usize) -> io::Result<&[u8]> {
        let left = usize::try_from(self.length.saturating_sub(offset)).unwrap_or(usize::MAX);
        let count = count.min(left);
        let held = offset.checked_sub(self.start).and_then(|skip| usize::try_from(skip).ok());
        let held = held
            .filter(|&skip| self.buffer.len().checked_sub(skip).is_some_and(|rest| rest >= count));
        let skip = match held {
            Some(skip) => skip,
            None => {
                self.fill(offset, count.max(READ_BYTES).min(left))?;
                0
            }
        };
        Ok(self.buffer.get(skip..skip.saturating_add(count)).unwrap_or_default())
    }

    fn fill(&mut self, offset: u64, count: usize) -> io::Result<()> {
        self.start = offset;
        self.buffer.clear();
        self.buffer.resize(count, 0);
        let (mut offset, mut rest) = (offset, self.buffer.as_mut_slice());
        while !rest.is_empty() {
            let read = self.file.read_at(offset, rest)?;
            if read == 0 {
                self.buffer.clear();
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            offset = offset.saturating_add(bytes_of(read));
            rest = rest.get_mut(read..).unwrap_or_default();
        }
        Ok(())
    }
}

/// Where in `bytes` the next block may begin.
fn next_magic(bytes: &[u8], from: usize) -> Option<usize> {
    let at = bytes.get(from..)?.windows(MAGIC_BYTES).position(BlockHeader::may_begin)?;
    Some(from.saturating_add(at))
}

/// Whether blocks from number `first` at `start` leave room for one of number `sequence` at `at`.
fn fits_between(start: u64, first: u64, at: u64, sequence: u64) -> bool {
    let Some(blocks) = sequence.checked_sub(first) else { return false };
    blocks.saturating_mul(bytes_of(BLOCK_HEADER_BYTES)) <= at.saturating_sub(start)
}

/// A count of bytes in memory as one of bytes in a file.
pub(super) fn bytes_of(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}
