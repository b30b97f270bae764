//! Damaged folders, each with its outcome: cut off, or refused with the file's name.

use super::*;
use crate::record::block::BLOCK_HEADER_BYTES;

/// A segment of whole blocks, with the offset at which each ends and the total it leads to.
pub(super) fn counted(disk: &FakeDisk, adds: u64) -> (Daemon, Vec<(usize, u64)>) {
    let mut daemon = Daemon::start(disk).unwrap();
    let mut ends = vec![(daemon.journal.bytes() as usize, 0)];
    for total in 1..=adds {
        daemon.add().unwrap();
        ends.push((daemon.journal.bytes() as usize, total));
    }
    (daemon, ends)
}

pub(super) fn refusal(disk: &FakeDisk) -> OpenError {
    let before: Vec<_> =
        names(disk).into_iter().map(|name| (disk.edit(&name, |b| b.clone()), name)).collect();
    let error = open(disk).unwrap_err();
    for (bytes, name) in before {
        assert_eq!(disk.edit(&name, |b| b.clone()), bytes, "{name} was left as it was");
    }
    error
}

fn assert_damaged(disk: &FakeDisk, expected: &str) -> u64 {
    let error = refusal(disk);
    let OpenError::Damaged { file, offset, .. } = error else { panic!("{error}") };
    assert_eq!(file, expected);
    offset
}

/// `checkpoint.2`, `journal.2`, and as a failed checkpoint leaves it `journal.3`.
fn two_segments() -> FakeDisk {
    let disk = FakeDisk::default();
    let mut daemon = Daemon::start(&disk).unwrap();
    daemon.add().unwrap();
    daemon.fold();
    daemon.add().unwrap();
    daemon.rotate().unwrap();
    daemon.journal.checkpoint_failed();
    daemon.add().unwrap();
    assert_eq!(names(&disk), ["checkpoint.2", "journal.2", "journal.3"]);
    disk
}

#[test]
fn every_truncation_of_the_last_segment_opens_with_the_whole_blocks_before() {
    let disk = FakeDisk::default();
    let (_, ends) = counted(&disk, 5);
    for length in ends[0].0..=ends[5].0 {
        let cut = disk.killed();
        cut.edit("journal.1", |bytes| bytes.truncate(length));
        let &(end, total) = ends.iter().rfind(|(end, _)| *end <= length).unwrap();
        let mut daemon = Daemon::start(&cut).unwrap();
        assert_eq!(daemon.total(), total, "{length}");
        assert_eq!(daemon.notes.len(), usize::from(end != length));
        daemon.add_synced();
        assert_eq!(Daemon::start(&cut.power_cut(0)).unwrap().total(), total + 1);
    }
}

#[test]
fn a_note_names_the_file_the_offset_and_the_bytes_that_were_cut_off() {
    let disk = FakeDisk::default();
    let (_, ends) = counted(&disk, 2);
    disk.edit("journal.1", |bytes| bytes.truncate(ends[2].0 - 1));
    let note = Daemon::start(&disk).unwrap().notes.remove(0);
    let lost = ends[2].0 - 1 - ends[1].0;
    let expected = format!("journal.1: cut off {lost} bytes at offset {}", ends[1].0);
    assert!(note.starts_with(&expected), "{note}");
}

#[test]
fn a_tail_of_zeros_is_cut_off() {
    let disk = FakeDisk::default();
    counted(&disk, 2);
    disk.edit("journal.1", |bytes| bytes.extend([0; 5_000]));
    let daemon = Daemon::start(&disk).unwrap();
    assert_eq!((daemon.total(), daemon.notes.len()), (2, 1));
}

#[test]
fn a_first_segment_without_its_first_block_is_refused_at_every_length() {
    let disk = FakeDisk::default();
    let (_, ends) = counted(&disk, 1);
    for length in 0..ends[0].0 {
        let cut = disk.killed();
        cut.edit("journal.1", |bytes| bytes.truncate(length));
        assert_damaged(&cut, "journal.1");
    }
}

#[test]
fn an_earlier_segment_is_refused_at_every_shorter_and_any_greater_length() {
    let disk = two_segments();
    let length = disk.edit("journal.2", |bytes| bytes.len());
    for shorter in 0..length {
        let cut = disk.killed();
        cut.edit("journal.2", |bytes| bytes.truncate(shorter));
        let error = refusal(&cut);
        assert!(matches!(error, OpenError::Damaged { .. } | OpenError::Mixed { .. }), "{error}");
    }
    disk.edit("journal.2", |bytes| bytes.push(0));
    assert_damaged(&disk, "journal.2");
}

#[test]
fn a_segment_without_its_header_is_refused_wherever_it_is() {
    for name in ["journal.2", "journal.3"] {
        for length in 0..HEADER_BYTES as usize {
            let disk = two_segments();
            disk.edit(name, |bytes| bytes.truncate(length));
            assert_eq!(assert_damaged(&disk, name), 0);
        }
    }
}

#[test]
fn a_flipped_bit_is_refused_where_it_was_synced_and_cut_off_where_it_was_not() {
    let disk = FakeDisk::default();
    let (mut daemon, mut ends) = counted(&disk, 3);
    daemon.journal.sync().unwrap();
    let synced = ends[3].0;
    for total in 4..=5 {
        daemon.add().unwrap();
        ends.push((daemon.journal.bytes() as usize, total));
    }
    for bit in 0..ends[5].0 * 8 {
        let flipped = disk.killed();
        flipped.edit("journal.1", |bytes| bytes[bit / 8] ^= 1 << (bit % 8));
        if bit / 8 < synced {
            refusal(&flipped);
            continue;
        }
        let &(_, total) = ends.iter().rfind(|(end, _)| *end <= bit / 8).unwrap();
        assert_eq!(Daemon::start(&flipped).unwrap().total(), total, "{bit}");
    }
}

#[test]
fn damage_far_before_the_last_synced_block_is_found_out() {
    let disk = FakeDisk::default();
    let mut daemon = Daemon::start(&disk).unwrap();
    daemon.add_synced();
    let offset = daemon.journal.bytes();
    let mut payload = Vec::new();
    while payload.len() < 3 << 20 {
        Record::Opened { start: NOW }.encode(&mut payload).unwrap();
    }
    // Whatever the length, the next header lies across another place of what is read at a time.
    for length in (payload.len() - 200..payload.len()).step_by(3) {
        let disk = disk.killed();
        let mut daemon = Daemon::start(&disk).unwrap();
        daemon.journal.append(&payload[..length], 0).unwrap();
        daemon.journal.sync().unwrap();
        daemon.add().unwrap();
        disk.edit("journal.1", |bytes| bytes[offset as usize + BLOCK_HEADER_BYTES] ^= 1);
        assert_eq!(assert_damaged(&disk, "journal.1"), offset);
    }
}

#[test]
fn a_header_that_cannot_be_where_it_is_proves_nothing() {
    let disk = FakeDisk::default();
    let (daemon, ends) = counted(&disk, 2);
    let end = ends[2].0 as u64;
    drop(daemon);
    for (sequence, synced) in [(2, end + 1), (9, end + 1), (5, end + 99)] {
        let disk = disk.killed();
        disk.edit("journal.1", |bytes| {
            bytes.extend([1; 60]);
            write_block(bytes, sequence, synced, 0, b"x");
        });
        assert_eq!(Daemon::start(&disk).unwrap().total(), 2, "{sequence} {synced}");
    }
    disk.edit("journal.1", |bytes| {
        bytes.extend([1; 60]);
        write_block(bytes, 5, end + 1, 0, b"x");
    });
    assert_eq!(assert_damaged(&disk, "journal.1"), end);
}

#[test]
fn a_checkpoint_with_a_flipped_bit_or_of_another_length_is_refused() {
    let disk = two_segments();
    let length = disk.edit("checkpoint.2", |bytes| bytes.len());
    for bit in 0..length * 8 {
        let flipped = disk.killed();
        flipped.edit("checkpoint.2", |bytes| bytes[bit / 8] ^= 1 << (bit % 8));
        refusal(&flipped);
    }
    for shorter in 0..length {
        let cut = disk.killed();
        cut.edit("checkpoint.2", |bytes| bytes.truncate(shorter));
        assert_damaged(&cut, "checkpoint.2");
    }
    disk.edit("checkpoint.2", |bytes| bytes.push(0));
    assert_damaged(&disk, "checkpoint.2");
}

#[test]
fn a_file_that_is_missing_is_named_with_the_one_that_needs_it() {
    for (gone, expected) in [
        ("journal.2", "journal.2 is missing, checkpoint.2 needs it"),
        ("checkpoint.2", "journal.1 is missing, journal.2 needs it"),
    ] {
        let disk = two_segments();
        disk.remove(gone).unwrap();
        let message = refusal(&disk).to_string();
        assert!(message.starts_with(expected), "{message}");
    }
    let disk = two_segments();
    disk.rename("journal.3", "journal.4").unwrap();
    let message = refusal(&disk).to_string();
    assert!(message.starts_with("journal.3 is missing, journal.4 needs it"), "{message}");
    let disk = FakeDisk::default();
    disk.put("checkpoint.2.tmp", b"");
    let message = refusal(&disk).to_string();
    assert!(message.starts_with("journal.1 is missing, checkpoint.2.tmp needs it"), "{message}");
}

#[test]
fn a_file_under_another_number_is_refused() {
    let disk = two_segments();
    disk.remove("journal.2").unwrap();
    disk.rename("journal.3", "journal.2").unwrap();
    assert!(matches!(refusal(&disk), OpenError::Mixed { .. }));
}

#[test]
fn files_of_two_states_are_never_mixed() {
    let other = FakeDisk::default();
    let fresh = Fresh { state_id: 8, boot: 1, now: NOW };
    let Opened { journal, state, notes, .. } =
        Journal::open(Arc::new(other.clone()), fresh).unwrap();
    let mut daemon = Daemon { journal, state, notes };
    daemon.add().unwrap();
    daemon.fold();
    daemon.add().unwrap();
    daemon.rotate().unwrap();
    daemon.add().unwrap();
    for name in ["checkpoint.2", "journal.2", "journal.3"] {
        let disk = two_segments();
        let foreign = other.edit(name, |bytes| bytes.clone());
        disk.edit(name, |bytes| *bytes = foreign);
        let error = refusal(&disk);
        assert!(matches!(error, OpenError::Mixed { .. }), "{error}");
        assert!(error.to_string().contains("another state"), "{error}");
    }
}

#[test]
fn foreign_and_newer_files_are_refused_as_what_they_are() {
    for name in ["checkpoint.2", "journal.2", "journal.3"] {
        let disk = two_segments();
        disk.edit(name, |bytes| *bytes = b"#!/bin/sh\n".to_vec());
        assert!(matches!(refusal(&disk), OpenError::NotOurs { file, .. } if file == name));

        let disk = two_segments();
        disk.edit(name, |bytes| {
            bytes[6] = 2;
            let sum = crc32fast::hash(&bytes[..44]).to_le_bytes();
            bytes[44..48].copy_from_slice(&sum);
        });
        let message = refusal(&disk).to_string();
        assert!(message.contains("start the newer countd"), "{message}");
    }
}

#[test]
fn leftovers_are_removed_and_what_is_not_ours_stays() {
    let disk = two_segments();
    let others = ["checkpoint.02", "journal.1.bak", "journal.x", "lock", "notes.tmp"];
    for name in others.iter().chain(&["checkpoint.3.tmp", "journal.4.tmp", "checkpoint.1"]) {
        disk.put(name, b"anything");
    }
    disk.put("journal.1", b"");
    let daemon = Daemon::start(&disk).unwrap();
    assert_eq!((daemon.total(), daemon.notes.len()), (3, 1));
    assert!(daemon.notes[0].contains("checkpoint.1, which is not needed"), "{:?}", daemon.notes);
    let ours = ["checkpoint.1", "checkpoint.2", "journal.2", "journal.3"];
    let mut expected = [&others[..], &ours].concat();
    expected.sort_unstable();
    assert_eq!(names(&disk), expected);
}

#[test]
fn a_record_only_a_newer_version_knows_is_refused_and_not_cut_off() {
    let disk = FakeDisk::default();
    let (mut daemon, ends) = counted(&disk, 1);
    daemon.journal.append(&[200], 0).unwrap();
    let error = refusal(&disk);
    assert!(
        error.to_string().contains("kind 200, which only a newer countd knows: start the newer")
    );
    let OpenError::Unreadable { offset, .. } = error else { panic!("{error}") };
    assert_eq!(offset, ends[1].0 as u64);
}
