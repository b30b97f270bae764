//! Repairs: what stays, what is kept of the original, and every crash on the way.

use std::collections::BTreeMap;

use super::outcomes::{Outcome, grown, outcome};
use super::*;

fn contents(disk: &FakeDisk) -> BTreeMap<String, Vec<u8>> {
    names(disk).into_iter().map(|name| (name.clone(), disk.edit(&name, |b| b.clone()))).collect()
}

fn total(disk: &FakeDisk) -> u64 {
    Daemon::start(&disk.killed()).unwrap().total()
}

/// Repairs a damaged folder, or sees that this is refused, as the verdict says.
pub(super) fn check_repair(disk: &FakeDisk, verdict: &Verdict) {
    let before = contents(disk);
    let disk = disk.killed();
    let plan = Repair::of(&disk);
    assert_eq!(contents(&disk), before, "a plan changes nothing");
    let Ok(Some(plan)) = plan else {
        assert!(verdict.loss.is_none(), "{plan:?}");
        return;
    };
    assert_eq!(verdict.loss.as_ref(), Some(plan.loss()));
    let kept = plan.carry_out(&disk).unwrap();
    let after = contents(&disk);
    for (name, bytes) in &before {
        let kept = kept.iter().find(|(original, _)| original == name);
        let now = kept.map_or(name, |(_, under)| under);
        assert_eq!(after.get(now), Some(bytes), "{name} is kept as it was, as {now}");
    }
    for (_, under) in &kept {
        assert!(!before.contains_key(under), "{under} is overwritten");
    }
    let disk = disk.power_cut(0);
    assert_eq!(contents(&disk), after, "all is synced");
    let Ok(mut daemon) = Daemon::start(&disk) else { panic!("{:?}: {plan:?}", verdict.problems) };
    let found = daemon.total();
    daemon.add_synced();
    daemon.fold();
    daemon.add_synced();
    assert_eq!(total(&disk), found + 2);
}

fn repair(disk: &FakeDisk) -> (Loss, Vec<(String, String)>) {
    let plan = Repair::of(disk).unwrap().unwrap();
    (plan.loss().clone(), plan.carry_out(disk).unwrap())
}

#[test]
fn damage_in_the_middle_costs_what_follows_and_the_loss_says_how_much() {
    let (disk, _) = grown();
    let (second, third) =
        (disk.edit("journal.2", |b| b.len()), disk.edit("journal.3", |b| b.len()));
    // In the first of two blocks of journal.2; three are in journal.3.
    disk.edit("journal.2", |bytes| bytes[60] ^= 1);
    let (loss, kept) = repair(&disk);
    let expected = Loss {
        cut: Some(("journal.2".into(), 48)),
        bytes: (second - 48 + third) as u64,
        blocks: 4,
        kept_until_ms: 3_000,
        lost_until_ms: 2_000,
    };
    assert_eq!(loss, expected);
    let pairs = [("journal.2", "journal.2.damaged"), ("journal.3", "journal.3.damaged")];
    assert_eq!(kept, pairs.map(|(name, under)| (name.to_owned(), under.to_owned())));
    assert_eq!(total(&disk), 1);
    let left = ["checkpoint.2", "journal.2", "journal.2.damaged", "journal.3.damaged"];
    assert_eq!(names(&disk), left);
}

#[test]
fn an_earlier_original_is_not_overwritten() {
    let (disk, _) = grown();
    for (name, content) in [("journal.3.damaged", "first"), ("journal.3.damaged.2", "second")] {
        disk.put(name, content.as_bytes());
    }
    disk.edit("journal.3", |bytes| bytes[60] ^= 1);
    let (_, kept) = repair(&disk);
    assert_eq!(kept, [("journal.3".to_owned(), "journal.3.damaged.3".to_owned())]);
    assert_eq!(disk.edit("journal.3.damaged", |b| b.clone()), b"first");
    assert_eq!(total(&disk), 3);
}

#[test]
fn a_damaged_header_is_mended_and_costs_nothing() {
    let (young, _) = {
        let disk = FakeDisk::default();
        let mut daemon = Daemon::start(&disk).unwrap();
        daemon.add_synced();
        daemon.rotate().unwrap();
        daemon.add_synced();
        (disk, daemon)
    };
    let (grown, _) = grown();
    let cases = [(&young, "journal.1", 2), (&young, "journal.2", 2), (&grown, "journal.2", 6)];
    for (disk, name, expected) in cases.into_iter().chain([(&grown, "journal.3", 6)]) {
        for at in 6..48 {
            let disk = disk.killed();
            let original = disk.edit(name, |bytes| bytes.clone());
            disk.edit(name, |bytes| bytes[at] ^= 4);
            let (loss, kept) = repair(&disk);
            assert_eq!((loss, kept.len()), (Loss::default(), 1), "{name} {at}");
            assert_eq!(disk.edit(name, |bytes| bytes.clone()), original, "{name} {at}");
            assert_eq!(total(&disk), expected);
        }
    }
    // Alone, the first segment may get another state's number: no other file has it.
    let alone = FakeDisk::default();
    Daemon::start(&alone).unwrap().add_synced();
    alone.edit("journal.1", |bytes| bytes[15] ^= 4);
    repair(&alone);
    assert_eq!(total(&alone), 1);
}

#[test]
fn a_damaged_checkpoint_gives_way_to_what_it_was_made_from_if_that_is_still_there() {
    let disk = FakeDisk::default();
    let mut daemon = Daemon::start(&disk).unwrap();
    daemon.add().unwrap();
    daemon.fold();
    daemon.add().unwrap();
    let before = disk.killed();
    daemon.fold();
    daemon.add_synced();
    disk.edit("checkpoint.3", |bytes| bytes[70] ^= 1);
    assert!(Repair::of(&disk).is_err(), "there is nothing it could begin from");
    for name in ["checkpoint.2", "journal.2"] {
        disk.put(name, &before.edit(name, |bytes| bytes.clone()));
    }
    let Outcome::Refused(error) = outcome(&disk) else { panic!() };
    assert!(error.to_string().starts_with("checkpoint.3: damaged"), "{error}");
    let (loss, kept) = repair(&disk);
    assert_eq!(loss, Loss::default());
    assert_eq!(kept, [("checkpoint.3".to_owned(), "checkpoint.3.damaged".to_owned())]);
    assert_eq!(total(&disk), 3);
}

#[test]
fn a_checkpoint_without_its_journal_gets_an_empty_one() {
    let (disk, _) = grown();
    disk.remove("journal.2").unwrap();
    let (loss, kept) = repair(&disk);
    assert_eq!((loss.blocks, kept.len(), total(&disk)), (3, 1, 1));
    assert_eq!(names(&disk), ["checkpoint.2", "journal.2", "journal.3.damaged"]);
}

#[test]
fn foreign_and_newer_files_and_those_of_another_state_are_not_touched() {
    let change: [fn(&mut Vec<u8>); 3] = [
        |bytes| *bytes = b"a diary".to_vec(),
        |bytes| {
            bytes[6] = 2;
            let sum = crc32fast::hash(&bytes[..44]).to_le_bytes();
            bytes[44..48].copy_from_slice(&sum);
        },
        |bytes| {
            bytes[12] ^= 1;
            let sum = crc32fast::hash(&bytes[..44]).to_le_bytes();
            bytes[44..48].copy_from_slice(&sum);
        },
    ];
    for (at, change) in change.into_iter().enumerate() {
        for name in ["checkpoint.2", "journal.2", "journal.3"] {
            let (disk, _) = grown();
            disk.edit(name, change);
            assert!(Repair::of(&disk).is_err(), "{name} {at}");
        }
        // Nor when it only follows on damage.
        let (disk, _) = grown();
        disk.edit("journal.2", |bytes| bytes[60] ^= 1);
        disk.edit("journal.3", change);
        assert_eq!(Repair::of(&disk).is_err(), at < 2);
    }
}

/// What happens to a folder, and the total that a repair leaves of it.
type Way = (fn(&FakeDisk), u64);

/// Folders that are repaired in each way there is.
fn damaged() -> Vec<(FakeDisk, u64)> {
    let ways: [Way; 6] = [
        (|disk| disk.edit("journal.2", |bytes| bytes[60] ^= 1), 1),
        (|disk| disk.edit("journal.2", |bytes| bytes[10] ^= 1), 6),
        (
            |disk| {
                disk.edit("journal.2", |bytes| bytes[10] ^= 1);
                disk.edit("journal.3", |bytes| bytes[60] ^= 1);
            },
            3,
        ),
        (|disk| disk.remove("journal.2").unwrap(), 1),
        (|disk| disk.edit("journal.3", |bytes| bytes[60] ^= 1), 3),
        (|disk| disk.edit("journal.2", |bytes| bytes.truncate(48)), 1),
    ];
    let ways = ways.into_iter().map(|(way, total)| {
        let (disk, _) = grown();
        let mut daemon = Daemon::start(&disk).unwrap();
        daemon.rotate().unwrap();
        daemon.journal.checkpoint_failed();
        daemon.journal.sync().unwrap();
        disk.sync_folder().unwrap();
        way(&disk);
        disk.sync_folder().unwrap();
        (disk.power_cut(0), total)
    });
    ways.collect()
}

#[test]
fn a_crash_anywhere_in_a_repair_leaves_the_original_or_the_repaired_folder() {
    for (way, (disk, repaired)) in damaged().into_iter().enumerate() {
        let originals = contents(&disk);
        let counting = disk.killed();
        counting.plan(Plan::Well);
        repair(&counting);
        let count = counting.operations();
        assert!(count >= 4, "{count}");
        let plans = (0..=count).flat_map(|at| [Plan::StopAt(at), Plan::FailAt(at)]);
        for plan in plans {
            let crashed = disk.killed();
            crashed.plan(plan);
            let _ = Repair::of(&crashed).unwrap().unwrap().carry_out(&crashed);
            let mut ends = vec![crashed.killed()];
            ends.extend((0..4).map(|seed| crashed.power_cut(seed)));
            for (end, left) in ends.into_iter().enumerate() {
                let what = format!("way {way}, {plan:?}, end {end}");
                let there: Vec<_> = contents(&left).into_values().collect();
                for (name, bytes) in &originals {
                    assert!(there.contains(bytes), "{what}: {name} is gone");
                }
                if let Ok(daemon) = Daemon::start(&left.killed()) {
                    assert_eq!(daemon.total(), repaired, "{what}");
                    continue;
                }
                repair(&left);
                assert_eq!(total(&left.power_cut(0)), repaired, "{what}, again");
                let there: Vec<_> = contents(&left).into_values().collect();
                assert!(originals.values().all(|bytes| there.contains(bytes)), "{what}, again");
            }
        }
    }
}
