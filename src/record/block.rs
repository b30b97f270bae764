//! How records lie in a file: a segment header, then blocks. A block is what one append writes: a header
//! with a checksum of its own, so that its length can be believed, and a payload with another. All numbers
//! are little-endian and of fixed width; checksums are CRC-32 (IEEE 802.3).

use std::fmt;

/// The first bytes of a block.
const BLOCK_MAGIC: [u8; 4] = *b"cblk";
/// Bytes of a block before its payload.
pub const BLOCK_HEADER_BYTES: usize = 44;
/// The longest payload of a block, in bytes: what the largest turn can make.
pub const BLOCK_PAYLOAD_MAX: usize = 256 << 20;
/// The first bytes of a segment.
const SEGMENT_MAGIC: [u8; 6] = *b"countd";
/// The version of the format of files.
pub const FORMAT_VERSION: u16 = 1;
/// Bytes of a segment before its first block.
pub const SEGMENT_HEADER_BYTES: usize = 48;

/// What a block's header says of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlockHeader {
    /// Bytes of payload.
    pub length: u32,
    /// One higher for each block of a state, over all segments.
    pub sequence: u64,
    /// The offset up to which the segment was known to be synced when the block was written.
    pub synced: u64,
    /// When it was written, in milliseconds since 1970-01-01 UTC: the time of all its records.
    pub wall_ms: u64,
    /// The CRC-32 of the payload.
    pub payload_crc: u32,
}

impl BlockHeader {
    /// Its bytes: magic, length, sequence, synced, time, payload's checksum, reserved, own checksum.
    pub fn to_bytes(self) -> [u8; BLOCK_HEADER_BYTES] {
        let mut bytes = [0; BLOCK_HEADER_BYTES];
        let mut out = Fields { rest: &mut bytes };
        out.put(&BLOCK_MAGIC);
        out.put(&self.length.to_le_bytes());
        out.put(&self.sequence.to_le_bytes());
        out.put(&self.synced.to_le_bytes());
        out.put(&self.wall_ms.to_le_bytes());
        out.put(&self.payload_crc.to_le_bytes());
        out.put(&[0; 4]);
        seal(&mut bytes);
        bytes
    }

    /// Whether a header may begin with these bytes.
    pub fn may_begin(bytes: &[u8]) -> bool {
        bytes.starts_with(&BLOCK_MAGIC)
    }

    /// Reads a header; `None` if these bytes are none.
    pub fn from_bytes(bytes: &[u8; BLOCK_HEADER_BYTES]) -> Option<BlockHeader> {
        let mut fields = bytes.as_slice();
        if take::<4>(&mut fields)? != BLOCK_MAGIC || !is_sealed(bytes) {
            return None;
        }
        Some(BlockHeader {
            length: u32::from_le_bytes(take(&mut fields)?),
            sequence: u64::from_le_bytes(take(&mut fields)?),
            synced: u64::from_le_bytes(take(&mut fields)?),
            wall_ms: u64::from_le_bytes(take(&mut fields)?),
            payload_crc: u32::from_le_bytes(take(&mut fields)?),
        })
    }
}

/// Appends a block to `out`.
pub fn write_block(out: &mut Vec<u8>, sequence: u64, synced: u64, wall_ms: u64, payload: &[u8]) {
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX);
    let payload_crc = crc32fast::hash(payload);
    let header = BlockHeader { length, sequence, synced, wall_ms, payload_crc };
    out.extend_from_slice(&header.to_bytes());
    out.extend_from_slice(payload);
}

/// What kind of file a segment header opens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileKind {
    /// A segment of the journal.
    Journal,
    /// A checkpoint.
    Checkpoint,
}

/// The start of a journal segment or a checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SegmentHeader {
    /// Which of the two.
    pub kind: FileKind,
    /// The state's own random number: files of two states are never mixed.
    pub state: u128,
    /// The segment's number. Checkpoint N is the state at the start of journal N.
    pub number: u64,
    /// The final length of journal N-1 in bytes; 0 if there is none.
    pub previous_length: u64,
}

/// Why a file does not begin as it should.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeaderError {
    /// It is too short or fails its checksum.
    Damaged,
    /// It is not a file of countd's.
    Foreign,
    /// It is of a newer version.
    Newer(u16),
    /// It is the other kind of file.
    OtherKind,
}

impl fmt::Display for HeaderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HeaderError::Damaged => f.write_str("its header is damaged"),
            HeaderError::Foreign => f.write_str("it is not a file of countd's"),
            HeaderError::Newer(version) => {
                write!(f, "its format version is {version}, this countd knows {FORMAT_VERSION}")
            }
            HeaderError::OtherKind => f.write_str("it is another kind of file than its name says"),
        }
    }
}

impl std::error::Error for HeaderError {}

impl SegmentHeader {
    /// Its bytes: magic, version, kind, state, number, previous length, checksum.
    pub fn to_bytes(self) -> [u8; SEGMENT_HEADER_BYTES] {
        let mut bytes = [0; SEGMENT_HEADER_BYTES];
        let mut out = Fields { rest: &mut bytes };
        out.put(&SEGMENT_MAGIC);
        out.put(&FORMAT_VERSION.to_le_bytes());
        let kind: u32 = match self.kind {
            FileKind::Journal => 1,
            FileKind::Checkpoint => 2,
        };
        out.put(&kind.to_le_bytes());
        out.put(&self.state.to_le_bytes());
        out.put(&self.number.to_le_bytes());
        out.put(&self.previous_length.to_le_bytes());
        seal(&mut bytes);
        bytes
    }

    /// Reads the header of a file that should be of this kind.
    ///
    /// # Errors
    /// [`HeaderError`] says what the file is instead.
    pub fn from_bytes(bytes: &[u8], kind: FileKind) -> Result<SegmentHeader, HeaderError> {
        let magic = bytes.get(..SEGMENT_MAGIC.len());
        if magic.is_some_and(|magic| magic != SEGMENT_MAGIC) {
            return Err(HeaderError::Foreign);
        }
        let header = bytes.first_chunk::<SEGMENT_HEADER_BYTES>().ok_or(HeaderError::Damaged)?;
        Self::fields(header, kind).unwrap_or(Err(HeaderError::Damaged))
    }

    fn fields(
        bytes: &[u8; SEGMENT_HEADER_BYTES],
        expected: FileKind,
    ) -> Option<Result<SegmentHeader, HeaderError>> {
        let mut fields = bytes.get(SEGMENT_MAGIC.len()..)?;
        let version = u16::from_le_bytes(take(&mut fields)?);
        if !is_sealed(bytes) {
            return None;
        }
        if version != FORMAT_VERSION {
            return Some(Err(HeaderError::Newer(version)));
        }
        let kind = match u32::from_le_bytes(take(&mut fields)?) {
            1 => FileKind::Journal,
            2 => FileKind::Checkpoint,
            _ => return Some(Err(HeaderError::OtherKind)),
        };
        if kind != expected {
            return Some(Err(HeaderError::OtherKind));
        }
        Some(Ok(SegmentHeader {
            kind,
            state: u128::from_le_bytes(take(&mut fields)?),
            number: u64::from_le_bytes(take(&mut fields)?),
            previous_length: u64::from_le_bytes(take(&mut fields)?),
        }))
    }
}

/// The last four bytes of a header are the checksum of those before.
fn seal<const N: usize>(bytes: &mut [u8; N]) {
    if let Some((covered, checksum)) = bytes.split_last_chunk_mut::<4>() {
        *checksum = crc32fast::hash(covered).to_le_bytes();
    }
}

fn is_sealed<const N: usize>(bytes: &[u8; N]) -> bool {
    bytes
        .split_last_chunk::<4>()
        .is_some_and(|(covered, checksum)| crc32fast::hash(covered).to_le_bytes() == *checksum)
}

/// Fills a header field by field.
struct Fields<'a> {
    rest: &'a mut [u8],
}

impl Fields<'_> {
    fn put(&mut self, field: &[u8]) {
        if let Some((place, rest)) =
            std::mem::take(&mut self.rest).split_at_mut_checked(field.len())
        {
            place.copy_from_slice(field);
            self.rest = rest;
        }
    }
}

fn take<const N: usize>(fields: &mut &[u8]) -> Option<[u8; N]> {
    let (field, rest) = fields.split_first_chunk::<N>()?;
    *fields = rest;
    Some(*field)
}

#[cfg(test)]
#[expect(clippy::indexing_slicing, reason = "tests may panic")]
mod tests {
    use super::*;

    const HEADER: BlockHeader = BlockHeader {
        length: 3,
        sequence: 9,
        synced: 48,
        wall_ms: 1_700_000_000_000,
        payload_crc: 1,
    };

    #[test]
    fn a_block_header_reads_back_and_no_flipped_bit_passes() {
        let bytes = HEADER.to_bytes();
        assert_eq!(BlockHeader::from_bytes(&bytes), Some(HEADER));
        for bit in 0..BLOCK_HEADER_BYTES * 8 {
            let mut flipped = bytes;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(BlockHeader::from_bytes(&flipped), None);
        }
    }

    #[test]
    fn the_bytes_of_a_block_are_pinned() {
        let mut out = Vec::new();
        write_block(&mut out, 2, 48, 5, b"abc");
        assert_eq!(
            out,
            [
                99, 98, 108, 107, 3, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 48, 0, 0, 0, 0, 0, 0, 0, 5,
                0, 0, 0, 0, 0, 0, 0, 194, 65, 36, 53, 0, 0, 0, 0, 211, 97, 84, 222, 97, 98, 99
            ]
        );
    }

    #[test]
    fn a_segment_header_tells_foreign_newer_and_damaged_files_apart() {
        let header =
            SegmentHeader { kind: FileKind::Journal, state: 7, number: 3, previous_length: 99 };
        let bytes = header.to_bytes();
        let read = |bytes: &[u8]| SegmentHeader::from_bytes(bytes, FileKind::Journal);
        assert_eq!(read(&bytes), Ok(header));
        assert_eq!(read(b"#!/bin/sh\n"), Err(HeaderError::Foreign));
        assert_eq!(read(&bytes[..20]), Err(HeaderError::Damaged));
        assert_eq!(read(b""), Err(HeaderError::Damaged));
        let wrong = SegmentHeader::from_bytes(&bytes, FileKind::Checkpoint);
        assert_eq!(wrong, Err(HeaderError::OtherKind));
        let mut newer = bytes;
        newer[6] = 2;
        assert_eq!(read(&newer), Err(HeaderError::Damaged));
        seal(&mut newer);
        assert_eq!(read(&newer), Err(HeaderError::Newer(2)));
    }
}
