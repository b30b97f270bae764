//! A state folder made from an input, in one of three ways: files as they come; files as they come whose
//! checksums are put right; or payloads of blocks, around which everything else is made right, so that any
//! records are reached. On top of each come damages: bytes changed, cut off and put in.

use std::collections::BTreeMap;

use countd::record::block::{
    BLOCK_HEADER_BYTES, BlockHeader, FileKind, SEGMENT_HEADER_BYTES, SegmentHeader, write_block,
};

use super::input::Input;

/// The state that files are made to belong to.
const STATE: u128 = 7;
/// When blocks are made to be written.
const WALL_MS: u64 = 1_700_000_000_000;
/// Files in a folder, and blocks in a file that is made.
const FILES_MAX: usize = 6;
const BLOCKS_MAX: usize = 8;
/// Damages on top.
const DAMAGES_MAX: usize = 8;
/// The last bytes of a header are its checksum.
const CRC_BYTES: usize = 4;

/// Names with their contents.
pub(crate) type Files = BTreeMap<String, Vec<u8>>;

/// Which file: its number, and of which kind.
type Place = (u64, bool);

/// Reads a folder from an input.
pub(crate) fn files(input: &mut Input<'_>) -> Files {
    let how = input.byte();
    let mut files = if how & 2 != 0 { made(input) } else { given(input) };
    damage(&mut files, input);
    if how & 1 != 0 {
        files.values_mut().for_each(|content| put_right(content));
    }
    files
}

fn name(byte: u8) -> String {
    let kind = if byte & 128 != 0 { "checkpoint" } else { "journal" };
    let end = if byte & 64 != 0 { ".tmp" } else { "" };
    format!("{kind}.{}{end}", byte & 15)
}

fn given(input: &mut Input<'_>) -> Files {
    let count = input.below(FILES_MAX + 1);
    (0..count).map(|_| (name(input.byte()), input.piece().to_vec())).collect()
}

/// Files that fit together in everything but what their records say.
fn made(input: &mut Input<'_>) -> Files {
    let mut contents: BTreeMap<Place, Vec<&[u8]>> = BTreeMap::new();
    for _ in 0..input.below(FILES_MAX + 1) {
        let byte = input.byte();
        let blocks = (0..input.below(BLOCKS_MAX + 1)).map(|_| input.piece()).collect();
        contents.insert((u64::from(byte & 7), byte & 128 == 0), blocks);
    }
    let (mut files, mut sequence, mut previous_length) = (Files::new(), 1, 0);
    for ((number, is_journal), blocks) in contents {
        let kind = if is_journal { FileKind::Journal } else { FileKind::Checkpoint };
        let header = SegmentHeader { kind, state: STATE, number, previous_length };
        let mut bytes = header.to_bytes().to_vec();
        let mut next = sequence;
        for block in blocks {
            let synced = if is_journal { bytes.len() } else { 0 };
            write_block(&mut bytes, next, length(synced), WALL_MS, block);
            next += 1;
        }
        let name = if is_journal { "journal" } else { "checkpoint" };
        if is_journal {
            (sequence, previous_length) = (next, length(bytes.len()));
        }
        files.insert(format!("{name}.{number}"), bytes);
    }
    files
}

fn length(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

/// Does to the files what the rest of the script says.
fn damage(files: &mut Files, input: &mut Input<'_>) {
    for _ in 0..input.below(DAMAGES_MAX + 1) {
        let which = input.byte();
        let at = usize::try_from(input.number() % (1 << 16)).unwrap_or(0);
        let (how, value) = (input.below(5), input.byte());
        let Some((name, content)) = files.iter_mut().nth(usize::from(which) % FILES_MAX) else {
            continue;
        };
        // From the end, where a crash does its damage, or from the start.
        let at = if which & 128 != 0 { content.len().saturating_sub(at) } else { at };
        let at = at.min(content.len());
        match how {
            0 => content.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= value),
            1 => content.truncate(at),
            2 => content.extend(std::iter::repeat_n(0, usize::from(value))),
            3 => content.insert(at, value),
            _ => {
                let name = name.clone();
                files.remove(&name);
            }
        }
    }
}

/// Puts all checksums of a file right, and the lengths of blocks where they are past its end.
fn put_right(content: &mut [u8]) {
    let Some((header, mut rest)) = content.split_at_mut_checked(SEGMENT_HEADER_BYTES) else {
        return;
    };
    seal(header);
    while let Some((header, payloads)) = rest.split_at_mut_checked(BLOCK_HEADER_BYTES) {
        let sample = BlockHeader { length: 0, sequence: 0, synced: 0, wall_ms: 0, payload_crc: 0 };
        let (magic, fields) = header.split_at_mut(4);
        magic.copy_from_slice(&sample.to_bytes()[..4]);
        let claimed = fields.first_chunk().map_or(0, |length| u32::from_le_bytes(*length));
        let length = usize::try_from(claimed).unwrap_or(usize::MAX).min(payloads.len());
        let (payload, after) = payloads.split_at_mut(length);
        fields[..4].copy_from_slice(&u32::try_from(length).unwrap_or(0).to_le_bytes());
        // Behind the length: sequence, synced and time.
        fields[28..32].copy_from_slice(&crc32fast::hash(payload).to_le_bytes());
        seal(header);
        rest = after;
    }
}

fn seal(header: &mut [u8]) {
    let (covered, crc) = header.split_at_mut(header.len() - CRC_BYTES);
    crc.copy_from_slice(&crc32fast::hash(covered).to_le_bytes());
}
