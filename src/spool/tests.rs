//! Scans of a spool in memory. What hostile users put there is tried on the real one, in `system`; crashes are
//! tried with a whole daemon, in `server`.

use super::*;
use crate::disk::Disk;
use crate::disk::fake::spool::FakeSpool;
use crate::disk::fake::{FakeDisk, Plan};
use crate::ids::RequestId;
use crate::protocol::spooled::slot_name;
use crate::protocol::{Entry, Request};

fn request(session: u128, names: usize) -> Vec<u8> {
    let id = RequestId { session, seq: 0, born_ns: 1 };
    let name = "n".repeat(100);
    let entries = (0..names).map(|_| Entry { name: &name, amount: 1 }).collect();
    spooled::to_bytes(&Request::Incr { id, atomic: true, totals: false, entries }).unwrap()
}

struct World {
    disk: FakeDisk,
    spool: FakeSpool,
    intake: Intake,
}

impl World {
    fn new() -> World {
        let disk = FakeDisk::default();
        let spool = FakeSpool::of(&disk);
        let intake = Intake::new(Arc::new(spool.clone()));
        World { disk, spool, intake }
    }

    fn put(&self, room: Room, name: &str, bytes: &[u8]) {
        self.spool.room(room).put(name, bytes);
    }

    fn fill(&self, requests: u32, names: usize) {
        for number in 0..requests {
            self.put(Room::Spool, &slot_name(number), &request(number.into(), names));
        }
    }

    fn scan(&mut self) -> Scan {
        self.intake.scan(0).unwrap()
    }

    fn done(&mut self, files: Vec<File>) -> Cleared {
        self.intake.clear(files.into_iter().map(|file| (file, Fate::Done)).collect())
    }
}

#[test]
fn a_request_is_taken_handed_over_until_it_is_cleared_and_then_gone() {
    let mut world = World::new();
    world.fill(1, 2);
    for _ in 0..2 {
        let scan = world.scan();
        assert!(scan.all && !scan.more && scan.refused.is_empty());
        let [file] = &scan.files[..] else { panic!("{scan:?}") };
        assert_eq!((file.name.as_str(), file.uid, file.session), ("r00000", 1_000, 0));
        assert_eq!(spooled::from_bytes(&request(0, 2)).unwrap().1, file.payload);
        assert_eq!(world.spool.names(Room::Spool), [""; 0]);
    }
    let files = world.scan().files;
    assert!(world.done(files).left.is_none());
    let scan = world.scan();
    assert!(scan.all && scan.files.is_empty());
    assert_eq!(world.spool.names(Room::Taken), [""; 0]);
}

#[test]
fn a_scan_takes_a_thousand_and_says_that_there_is_more() {
    let mut world = World::new();
    world.fill(2_500, 1);
    for expected in [1_000, 1_000, 500] {
        let scan = world.scan();
        assert_eq!((scan.files.len(), scan.all, scan.more), (expected, true, expected == 1_000));
        assert_eq!(world.spool.names(Room::Taken).len(), expected);
        world.done(scan.files);
    }
}

#[test]
fn a_scan_takes_no_more_bytes_than_it_may_by_more_than_one_file() {
    let mut world = World::new();
    world.fill(60, 600);
    let scan = world.scan();
    let bytes: usize = scan.files.iter().map(|file| file.payload.len()).sum();
    assert!((SCAN_BYTES_MAX..SCAN_BYTES_MAX + FILE_BYTES_MAX).contains(&bytes), "{bytes}");
    assert!(scan.more && scan.all && scan.files.len() < 60);
}

#[test]
fn what_was_taken_before_comes_first_and_those_that_are_left_over_are_not_all() {
    let mut world = World::new();
    for number in 0..1_001 {
        world.put(Room::Taken, &slot_name(number), &request(number.into(), 1));
    }
    world.put(Room::Spool, &slot_name(5), &request(9_999, 1));
    let scan = world.scan();
    assert_eq!((scan.files.len(), scan.all, scan.more), (1_000, false, true));
    assert!(scan.files.iter().all(|file| file.session != 9_999));
    world.done(scan.files);
    let scan = world.scan();
    assert!(scan.all && !scan.more);
    assert_eq!(scan.files.iter().map(|file| file.session).collect::<Vec<_>>(), [1_000, 9_999]);
}

#[test]
fn a_new_request_never_replaces_one_of_its_name_that_was_taken() {
    let mut world = World::new();
    world.fill(1, 1);
    let first = world.scan().files;
    world.put(Room::Spool, "r00000", &request(77, 1));
    let scan = world.scan();
    assert_eq!(scan.files, first);
    world.done(first);
    assert_eq!(world.scan().files[0].session, 77);
}

#[test]
fn what_cannot_be_accepted_is_moved_aside_and_told_once() {
    let mut world = World::new();
    world.put(Room::Spool, "r00001", b"garbage");
    world.put(Room::Spool, "r00002", b"");
    world.put(Room::Spool, "r00003", &vec![0; FILE_BYTES_MAX + 1]);
    world.fill(1, 1);
    let scan = world.scan();
    let told: Vec<String> = scan.refused.iter().map(Refusal::to_string).collect();
    assert_eq!(
        told,
        [
            "refused/r00001.1 of uid 1000: it is no spooled request of countd",
            "refused/r00002.2 of uid 1000: it is no spooled request of countd",
            "refused/r00003.3 of uid 1000: it is over 65536 bytes",
        ]
    );
    assert_eq!((scan.files.len(), scan.kept), (1, 3));
    let cleared = world
        .intake
        .clear(vec![(scan.files.into_iter().next().unwrap(), Fate::Refused("no room".into()))]);
    assert_eq!(cleared.refused[0].to_string(), "refused/r00000.4 of uid 1000: no room");
    let scan = world.scan();
    assert!(scan.refused.is_empty() && scan.files.is_empty());
    assert_eq!(scan.kept, 4);
}

#[test]
fn past_a_thousand_what_cannot_be_accepted_is_removed() {
    let mut world = World::new();
    for number in 0..1_000 {
        world.put(Room::Refused, &format!("r{number}"), b"");
    }
    world.put(Room::Spool, "r00001", b"garbage");
    let scan = world.scan();
    assert_eq!(scan.refused[0].place, "r00001 (removed)");
    assert_eq!((scan.kept, world.spool.names(Room::Refused).len()), (1_000, 1_000));
    assert_eq!(world.spool.names(Room::Taken), [""; 0]);
}

#[test]
fn files_of_other_names_are_left_alone_and_those_of_killed_clients_for_an_hour() {
    let mut world = World::new();
    let begun = spooled::temporary_name(1);
    for name in ["README", begun.as_str(), "r99999"] {
        world.put(Room::Spool, name, b"x");
    }
    world.intake.scan(3_600_000).unwrap();
    assert_eq!(world.spool.names(Room::Spool).len(), 3);
    world.intake.scan(3_600_001).unwrap();
    assert_eq!(world.spool.names(Room::Spool), ["README", "r99999"]);
}

#[test]
fn nothing_is_handed_over_before_it_was_synced_where_it_is() {
    let mut world = World::new();
    world.fill(3, 1);
    world.disk.plan(Plan::Well);
    world.scan();
    let operations = world.disk.operations();
    for at in 0..operations {
        let mut world = World::new();
        world.fill(3, 1);
        world.disk.plan(Plan::FailAt(at));
        match world.intake.scan(0) {
            Ok(scan) => assert!(scan.failed.is_some() && scan.files.len() < 3, "{at}"),
            Err(error) => assert!(matches!(error, ScanError::Sync(_)), "{at}: {error}"),
        }
    }
    let scan = world.scan();
    for seed in 0..16 {
        let left = FakeSpool::of(&world.disk.power_cut(seed));
        assert_eq!(left.names(Room::Taken).len(), scan.files.len(), "seed {seed}");
    }
}

#[test]
fn a_scan_that_finds_nothing_writes_nothing() {
    let mut world = World::new();
    world.scan();
    world.disk.plan(Plan::Well);
    world.scan();
    assert_eq!(world.disk.operations(), 0);
}

#[test]
fn what_cannot_be_removed_is_told_and_found_again() {
    let mut world = World::new();
    world.fill(2, 1);
    let scan = world.scan();
    world.disk.plan(Plan::FailAt(0));
    let cleared = world.done(scan.files);
    assert_eq!(cleared.left.unwrap().0, "r00000");
    let scan = world.scan();
    assert!(scan.all);
    assert_eq!(scan.files.iter().map(|file| file.session).collect::<Vec<_>>(), [0]);
}

#[test]
fn the_rooms_of_the_disk_in_memory_move_at_a_power_cut_as_its_words_say() {
    let world = World::new();
    world.put(Room::Spool, "a", b"x");
    world.spool.shift(Room::Spool, "a", Room::Taken, "b").unwrap();
    world.spool.sync(Room::Taken).unwrap();
    world.spool.room(Room::Taken).remove("b").unwrap();
    world.spool.sync(Room::Taken).unwrap();
    let left = FakeSpool::of(&world.disk.power_cut(0));
    assert_eq!(left.names(Room::Spool), ["a"], "its old folder was not synced");
    world.spool.sync(Room::Spool).unwrap();
    world.spool.sync(Room::Taken).unwrap();
    let left = FakeSpool::of(&world.disk.power_cut(0));
    assert_eq!((left.names(Room::Spool).len(), left.names(Room::Taken).len()), (0, 0));
}
