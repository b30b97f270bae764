//! The table of outcomes in countd-verify(1): each of its rows with the tests that it stands for. Whatever
//! happens to a file, a start has all that was synced, says that it cut off what was not, or refuses; and
//! `verify` says beforehand which.

use super::damage::{counted, refusal};
use super::*;
use crate::record::block::SEGMENT_HEADER_BYTES;

/// A start, with the total it finds and whether it cut something off, or its refusal.
pub(super) enum Outcome {
    Started { total: u64, cut: bool },
    Refused(OpenError),
}

/// What comes of this folder, with all that has to hold for any: a verdict changes nothing and says what a
/// start does, a refusal changes nothing, a repair has what the verdict found, and a start follows it.
pub(super) fn outcome(disk: &FakeDisk) -> Outcome {
    let looked_at = disk.killed();
    looked_at.plan(Plan::StopAt(0));
    let verdict = Verdict::of(&looked_at).unwrap();
    assert_eq!(looked_at.operations(), 0, "a verdict changes nothing");
    let started = disk.killed();
    match Daemon::start(&started) {
        Ok(daemon) => {
            assert!(verdict.is_sound(), "{:?}, and it starts", verdict.problems);
            assert_eq!(verdict.cut_off_bytes > 0, !daemon.notes.is_empty());
            assert_eq!(total_of(&verdict.state), daemon.total());
            assert!(Repair::of(disk).unwrap().is_none(), "nothing to repair");
            Outcome::Started { total: daemon.total(), cut: !daemon.notes.is_empty() }
        }
        Err(error) => {
            assert_eq!(verdict.problems[0].to_string(), error.to_string());
            repair::check_repair(disk, &verdict);
            Outcome::Refused(refusal(disk))
        }
    }
}

fn total_of(state: &State) -> u64 {
    let slot = state.table.find("a");
    slot.and_then(|slot| state.table.get(slot)).map_or(0, |(_, values)| values.total)
}

/// One segment, all of it synced but the last block, with the offset up to which that is on record.
fn young() -> (FakeDisk, usize) {
    let disk = FakeDisk::default();
    let (mut daemon, ends) = counted(&disk, 3);
    daemon.journal.sync().unwrap();
    daemon.add().unwrap();
    (disk, ends[3].0)
}

/// `checkpoint.2`, `journal.2` and `journal.3`, as a failed checkpoint leaves them, the same way.
pub(super) fn grown() -> (FakeDisk, usize) {
    let disk = FakeDisk::default();
    let mut daemon = Daemon::start(&disk).unwrap();
    daemon.add().unwrap();
    daemon.fold();
    daemon.add().unwrap();
    daemon.add().unwrap();
    daemon.rotate().unwrap();
    daemon.journal.checkpoint_failed();
    daemon.add().unwrap();
    daemon.add_synced();
    let synced = disk.edit("journal.3", |bytes| bytes.len());
    daemon.add().unwrap();
    (disk, synced)
}

/// Every file of both folders, and the offset before which its damage has to be found out.
fn files() -> Vec<(FakeDisk, &'static str, usize, u64)> {
    let ((young, synced_young), (grown, synced_grown)) = (young(), grown());
    vec![
        (young, "journal.1", synced_young, 3),
        (grown.killed(), "checkpoint.2", usize::MAX, 5),
        (grown.killed(), "journal.2", usize::MAX, 5),
        (grown, "journal.3", synced_grown, 5),
    ]
}

fn assert_names(error: &OpenError, name: &str) {
    let message = error.to_string();
    assert!(message.contains(name) && message.contains(": "), "{message}");
}

/// Damages a file at a place, and checks that damage to what is on record as synced is refused.
fn damage(disk: &FakeDisk, name: &str, at: usize, proof: usize, edit: impl FnOnce(&mut Vec<u8>)) {
    let (_, _, _, least) = files().into_iter().find(|file| file.1 == name).unwrap();
    let damaged = disk.killed();
    damaged.edit(name, edit);
    match outcome(&damaged) {
        Outcome::Refused(error) => {
            assert!(at < proof, "{name} at {at}: {error}");
            assert_names(&error, name);
        }
        Outcome::Started { total, cut } => {
            assert!(at >= proof, "{name} at {at}: started");
            assert!(total >= least && cut, "{name} at {at}: {total}");
        }
    }
}

#[test]
fn an_empty_file_is_refused_wherever_it_is() {
    for (disk, name, ..) in files() {
        disk.edit(name, Vec::clear);
        let Outcome::Refused(error) = outcome(&disk) else { panic!("{name}") };
        let expected = format!("{name}: damaged at offset 0: its header is damaged");
        assert!(error.to_string().starts_with(&expected), "{error}");
    }
}

/// What is cut off with the last block that says it was synced cannot be missed: that is the limit. So here
/// each length starts with no less than the blocks before it, and any other file has to be whole.
#[test]
fn a_file_cut_short_is_refused_or_has_what_is_left() {
    for (disk, name, proof, _) in files() {
        let whole = disk.edit(name, |bytes| bytes.len());
        for length in 0..whole {
            let cut = disk.killed();
            cut.edit(name, |bytes| bytes.truncate(length));
            let last = proof != usize::MAX;
            match outcome(&cut) {
                Outcome::Refused(error) => {
                    assert!(!last || length < 2 * SEGMENT_HEADER_BYTES + 80, "{length}: {error}");
                    assert_names(&error, name);
                }
                Outcome::Started { .. } => assert!(last, "{name} of {length} bytes was taken"),
            }
        }
    }
}

#[test]
fn a_flipped_bit_at_any_byte_is_refused_where_it_was_synced() {
    for (disk, name, proof, _) in files() {
        for at in 0..disk.edit(name, |bytes| bytes.len()) {
            damage(&disk, name, at, proof, |bytes| bytes[at] ^= 1 << (at % 8));
        }
    }
}

#[test]
fn a_file_that_is_too_long_is_refused_unless_it_is_the_last() {
    for (disk, name, proof, _) in files() {
        let length = disk.edit(name, |bytes| bytes.len());
        damage(&disk, name, length.min(proof), proof, |bytes| bytes.extend([0; 100]));
    }
}

#[test]
fn a_foreign_file_is_refused_by_name_and_left_alone() {
    let (disk, _) = grown();
    let foreign = ["checkpoint.2", "journal.2", "journal.3"];
    // And those that nobody of ours put there.
    for name in foreign.iter().chain(&["journal.4", "journal.77", "checkpoint.3", "checkpoint.99"])
    {
        let disk = disk.killed();
        if disk.open(name).is_err() {
            disk.put(name, b"");
        }
        disk.edit(name, |bytes| *bytes = b"#!/bin/sh\n".to_vec());
        let Outcome::Refused(error) = outcome(&disk) else { panic!("{name}") };
        let message = error.to_string();
        assert!(message.starts_with(&format!("{name}: it is not a file of countd's")), "{message}");
        assert!(message.contains("move it away"), "{message}");
    }
    let alone = FakeDisk::default();
    alone.put("journal.77", b"a diary, which is of no interest here");
    let Outcome::Refused(error) = outcome(&alone) else { panic!() };
    assert!(error.to_string().starts_with("journal.77: it is not"), "{error}");
}

#[test]
fn a_newer_version_is_refused_with_its_number() {
    for (disk, name, ..) in files() {
        disk.edit(name, |bytes| {
            bytes[6] = 9;
            let sum = crc32fast::hash(&bytes[..44]).to_le_bytes();
            bytes[44..48].copy_from_slice(&sum);
        });
        let Outcome::Refused(error) = outcome(&disk) else { panic!("{name}") };
        let message = error.to_string();
        assert!(
            message.starts_with(&format!("{name}: its format version is 9, this ")),
            "{message}"
        );
        assert!(message.ends_with("start the newer countd that wrote it"), "{message}");
    }
    let disk = FakeDisk::default();
    let (mut daemon, _) = counted(&disk, 1);
    let mut newer = Vec::new();
    Record::Defined { id: 9, kind: 3, creator: 0, name: "b" }.encode(&mut newer).unwrap();
    for (payload, says) in [(vec![250], "a record is of kind 250"), (newer, "is of kind 3, which")]
    {
        let disk = disk.killed();
        let mut daemon = Daemon::start(&disk).unwrap();
        daemon.journal.append(&payload, 0).unwrap();
        let Outcome::Refused(error) = outcome(&disk) else { panic!("{says}") };
        assert!(error.to_string().contains(says), "{error}");
        assert!(error.to_string().ends_with("start the newer countd that wrote it"), "{error}");
    }
    daemon.add().unwrap();
}

#[test]
fn a_checkpoint_without_its_journal_is_refused() {
    let (disk, _) = grown();
    disk.remove("journal.3").unwrap();
    disk.remove("journal.2").unwrap();
    let Outcome::Refused(error) = outcome(&disk) else { panic!() };
    assert!(
        error.to_string().starts_with("journal.2 is missing, checkpoint.2 needs it"),
        "{error}"
    );
}

#[test]
fn a_journal_without_its_checkpoint_is_refused() {
    let (disk, _) = grown();
    disk.remove("checkpoint.2").unwrap();
    let Outcome::Refused(error) = outcome(&disk) else { panic!() };
    assert!(error.to_string().starts_with("journal.1 is missing, journal.2 needs it"), "{error}");
}

#[test]
fn a_segment_missing_between_others_is_refused() {
    let (disk, _) = young();
    let mut daemon = Daemon::start(&disk).unwrap();
    for _ in 0..2 {
        daemon.rotate().unwrap();
        daemon.journal.checkpoint_failed();
        daemon.add_synced();
    }
    disk.remove("journal.2").unwrap();
    let Outcome::Refused(error) = outcome(&disk) else { panic!() };
    assert!(error.to_string().starts_with("journal.2 is missing, journal.3 needs it"), "{error}");
}

/// The other limit: nothing names the last segment before the checkpoint that goes with it does.
#[test]
fn that_a_whole_last_segment_is_gone_cannot_be_told_before_its_checkpoint_is_there() {
    let (disk, _) = grown();
    disk.remove("journal.3").unwrap();
    let Outcome::Started { total: 3, cut: false } = outcome(&disk) else { panic!() };
}

#[test]
fn a_segment_that_is_deleted_under_a_running_daemon_is_written_anew() {
    let disk = FakeDisk::default();
    let mut daemon = Daemon::start(&disk).unwrap();
    daemon.add_synced();
    assert!(!daemon.journal.wants_checkpoint());
    disk.remove("journal.1").unwrap();
    daemon.add_synced();
    assert!(daemon.journal.was_deleted() && daemon.journal.wants_checkpoint());
    daemon.fold();
    assert!(!daemon.journal.was_deleted() && !daemon.journal.wants_checkpoint());
    let Outcome::Started { total: 2, cut: false } = outcome(&disk.killed()) else { panic!() };
}

#[test]
fn what_never_became_whole_is_removed_whatever_is_in_it() {
    let (disk, _) = grown();
    let checkpoint = disk.edit("checkpoint.2", |bytes| bytes.clone());
    for content in [&b""[..], b"#!/bin/sh\n", &checkpoint[..60], &checkpoint] {
        for name in ["journal.4.tmp", "checkpoint.3.tmp", "journal.2.tmp"] {
            let disk = disk.killed();
            disk.put(name, content);
            let Outcome::Started { total, cut: false } = outcome(&disk) else { panic!("{name}") };
            assert_eq!(total, 6);
            Daemon::start(&disk).unwrap();
            assert!(disk.open(name).is_err());
        }
    }
}

#[test]
fn a_start_in_a_folder_that_holds_only_other_things_begins_anew_and_leaves_them() {
    let disk = FakeDisk::default();
    disk.put("lock", b"whatever");
    disk.put("notes.txt", b"whatever");
    disk.put("journal.1.tmp", b"");
    assert!(Verdict::of(&disk).unwrap().is_empty);
    assert_eq!(Daemon::start(&disk).unwrap().total(), 0);
    assert_eq!(names(&disk), ["journal.1", "lock", "notes.txt"]);
}

/// An error of the disk is neither damage nor a reason to repair, wherever it comes.
#[test]
fn a_read_that_fails_is_an_error_of_the_disk_and_no_damage() {
    let (disk, _) = grown();
    disk.put("journal.1", b"");
    let failing = disk.killed();
    failing.fail_read(None);
    open(&failing).unwrap();
    let reads = failing.reads();
    assert!(reads > 10, "{reads}");
    let damaged = disk.killed();
    damaged.edit("journal.2", |bytes| bytes[60] ^= 1);
    for at in 0..reads {
        let failing = disk.killed();
        failing.fail_read(Some(at));
        match open(&failing) {
            // Only what is looked at to be removed may fail without more than a word.
            Ok(opened) => assert_eq!(opened.notes.len(), 1, "{at}"),
            Err(error) => {
                assert!(matches!(error, OpenError::Io { .. }), "{at}: {error}");
                assert!(error.to_string().contains("os error 5"), "{error}");
            }
        }
        for disk in [&disk, &damaged] {
            let failing = disk.killed();
            failing.fail_read(Some(at));
            let Err(error) = Repair::of(&failing) else { continue };
            assert!(matches!(error, OpenError::Io { .. }), "{at}: {error}");
        }
        let failing = disk.killed();
        failing.fail_read(Some(at));
        if let Ok(verdict) = Verdict::of(&failing) {
            assert!(verdict.problems.iter().all(|problem| !problem.is_damage()), "{at}");
            assert!(verdict.loss.is_none(), "{at}");
        }
    }
}

/// Seeded corruptions of several bytes: a start and a verdict agree, and neither fails otherwise.
#[test]
fn a_verdict_and_a_start_agree_on_thousands_of_damaged_folders() {
    let (young, grown) = (young().0, grown().0);
    let mut dice = 0x9e37_79b9_7f4a_7c15_u64;
    let mut roll = |sides: usize| {
        dice ^= dice << 13;
        dice ^= dice >> 7;
        dice ^= dice << 17;
        dice as usize % sides
    };
    let (mut refused, mut started) = (0, 0);
    for _ in 0..3_000 {
        let disk = if roll(3) == 0 { young.killed() } else { grown.killed() };
        for _ in 0..=roll(2) {
            let names = names(&disk);
            let name = &names[roll(names.len())];
            disk.edit(name, |bytes| match roll(6) {
                0 => bytes.truncate(roll(bytes.len() + 1)),
                1 => bytes.extend((0..roll(200)).map(|_| roll(256) as u8).collect::<Vec<_>>()),
                2 => {
                    let (from, until) = (roll(bytes.len() + 1), roll(bytes.len() + 1));
                    bytes.get_mut(from..until).unwrap_or_default().fill(0);
                }
                3 => {
                    let from = roll(bytes.len() + 1);
                    bytes.drain(from..(from + roll(9)).min(bytes.len()));
                }
                _ => (0..=roll(8)).for_each(|_| {
                    let at = roll(bytes.len().max(1));
                    bytes.get_mut(at..at + 1).unwrap_or_default().fill(roll(256) as u8);
                }),
            });
        }
        match outcome(&disk) {
            Outcome::Started { .. } => started += 1,
            Outcome::Refused(_) => refused += 1,
        }
    }
    assert!(refused > 1_000 && started > 100, "{refused} {started}");
}

type Row = (&'static str, &'static [fn()]);

/// The rows of the table in the manual, and what stands behind each.
const ROWS: [Row; 12] = [
    ("an empty file", &[an_empty_file_is_refused_wherever_it_is]),
    (
        "a file cut short, or too long",
        &[
            a_file_cut_short_is_refused_or_has_what_is_left,
            a_file_that_is_too_long_is_refused_unless_it_is_the_last,
        ],
    ),
    ("a changed bit", &[a_flipped_bit_at_any_byte_is_refused_where_it_was_synced]),
    ("a foreign file", &[a_foreign_file_is_refused_by_name_and_left_alone]),
    ("a newer version", &[a_newer_version_is_refused_with_its_number]),
    ("a checkpoint without its journal", &[a_checkpoint_without_its_journal_is_refused]),
    (
        "a journal without its checkpoint",
        &[a_journal_without_its_checkpoint_is_refused, a_segment_missing_between_others_is_refused],
    ),
    ("a temporary file", &[what_never_became_whole_is_removed_whatever_is_in_it]),
    // Of the lock the tests of the real disk tell, and of two daemons those of the real program.
    ("the lock", &[a_start_in_a_folder_that_holds_only_other_things_begins_anew_and_leaves_them]),
    (
        "a file deleted under a running daemon",
        &[a_segment_that_is_deleted_under_a_running_daemon_is_written_anew],
    ),
    ("two daemons", &[]),
    ("an error of the disk", &[a_read_that_fails_is_an_error_of_the_disk_and_no_damage]),
];

#[test]
fn the_manual_has_a_row_for_each_outcome() {
    let page = include_str!("../../../man/sections/countd-verify.man");
    let (_, table) = page.split_once("\n.SH DAMAGE\n").unwrap();
    let (table, _) = table.split_once("\n.SH ").unwrap();
    let rows: Vec<&str> = table.lines().filter_map(|line| line.strip_prefix(".B ")).collect();
    assert_eq!(rows, ROWS.map(|(row, _)| row));
    let untested = ROWS.iter().filter(|(_, tests)| tests.is_empty()).map(|(row, _)| *row);
    assert_eq!(untested.collect::<Vec<_>>(), ["two daemons"]);
}
