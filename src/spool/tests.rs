//! Scans of a spool in memory. What hostile users put there is tried on the real one, in `system`; crashes are
//! tried with a whole daemon, in `server`.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

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
            "refused/r00001.1.bad of uid 1000: it is no spooled request of countd",
            "refused/r00002.2.bad of uid 1000: it is no spooled request of countd",
            "refused/r00003.3.bad of uid 1000: it is over 65536 bytes",
        ]
    );
    assert_eq!((scan.files.len(), scan.kept), (1, 3));
    let cleared = world
        .intake
        .clear(vec![(scan.files.into_iter().next().unwrap(), Fate::Refused("no room".into()))]);
    assert_eq!(cleared.refused[0].to_string(), "refused/r00000.1 of uid 1000: no room");
    let scan = world.scan();
    assert!(scan.refused.is_empty() && scan.files.is_empty());
    assert_eq!(scan.kept, 4);
}

#[test]
fn past_a_thousand_garbage_is_removed_and_a_request_is_kept_all_the_same() {
    let mut world = World::new();
    for number in 0..1_000 {
        world.put(Room::Refused, &format!("r00000.{number}.bad"), b"");
    }
    world.put(Room::Spool, "r00001", b"garbage");
    world.put(Room::Spool, "r00002", &request(2, 1));
    let scan = world.scan();
    assert_eq!(scan.refused[0].place, "r00001 (removed)");
    assert_eq!((scan.kept, world.spool.names(Room::Refused).len()), (1_000, 1_000));
    let refused = scan.files.into_iter().map(|file| (file, Fate::Refused("no room".into())));
    let cleared = world.intake.clear(refused.collect());
    assert_eq!(cleared.refused[0].place, "refused/r00002.1");
    assert_eq!(world.spool.room(Room::Refused).content("r00002.1"), request(2, 1));
    assert_eq!((world.scan().kept, world.spool.names(Room::Taken).len()), (1_001, 0));
}

#[test]
fn past_as_many_as_can_wait_a_request_that_is_refused_stays_among_the_taken() {
    let mut world = World::new();
    world.fill(1, 1);
    let file = world.scan().files.remove(0);
    world.intake.kept.requests = REQUESTS_MAX;
    let cleared = world.intake.clear(vec![(file, Fate::Refused("no room".into()))]);
    let (name, error) = cleared.left.unwrap();
    let why = "it was not accepted, and there is no room for it in refused";
    assert_eq!((name.as_str(), error.to_string().as_str()), ("r00000", why));
    assert_eq!(world.spool.names(Room::Taken), ["r00000"]);
}

/// A spool in which some names of the taken cannot be read, with this error, or are folders that nobody can
/// move; and how often the spool folder was listed.
#[derive(Debug)]
struct Odd {
    spool: FakeSpool,
    unread: Mutex<Option<Errno>>,
    folders: Mutex<BTreeSet<String>>,
    renames: bool,
    lists: AtomicUsize,
}

impl Odd {
    fn new(spool: &FakeSpool) -> Odd {
        let (unread, folders) = (Mutex::default(), Mutex::default());
        Odd { spool: spool.clone(), unread, folders, renames: false, lists: AtomicUsize::new(0) }
    }

    fn is_folder(&self, name: &str) -> bool {
        self.folders.lock().unwrap().contains(name)
    }
}

impl SpoolDisk for Odd {
    fn list(
        &self,
        room: Room,
        wanted: &dyn Fn(&str) -> bool,
        max: usize,
    ) -> io::Result<Vec<String>> {
        self.lists.fetch_add(usize::from(room == Room::Spool), Ordering::Relaxed);
        self.spool.list(room, wanted, max)
    }

    fn look(&self, room: Room, name: &str) -> io::Result<Looked> {
        let looked = self.spool.look(room, name)?;
        let kind = if self.is_folder(name) { Kind::Folder } else { Kind::File };
        Ok(Looked { kind, ..looked })
    }

    fn read(&self, room: Room, name: &str, max: usize) -> io::Result<(Looked, Vec<u8>)> {
        match *self.unread.lock().unwrap() {
            Some(errno) => Err(errno.into()),
            None => self.spool.read(room, name, max),
        }
    }

    fn shift(&self, from: Room, name: &str, to: Room, new: &str) -> io::Result<()> {
        if self.is_folder(name) && (from != to || !self.renames) {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        self.spool.shift(from, name, to, new)
    }

    fn remove(&self, room: Room, name: &str) -> io::Result<()> {
        if self.is_folder(name) {
            return Err(io::ErrorKind::DirectoryNotEmpty.into());
        }
        self.spool.remove(room, name)
    }

    fn sync(&self, room: Room) -> io::Result<()> {
        self.spool.sync(room)
    }
}

#[test]
fn folders_among_the_taken_hold_nothing_up() {
    let world = World::new();
    let odd = Odd::new(&world.spool);
    for number in 0..1_500 {
        world.put(Room::Taken, &slot_name(number), b"");
        odd.folders.lock().unwrap().insert(slot_name(number));
    }
    world.put(Room::Taken, "r02000", &request(2_000, 1));
    world.put(Room::Spool, "r02001", &request(2_001, 1));
    let mut intake = Intake::new(Arc::new(odd));
    for told in [1_500, 0] {
        let scan = intake.scan(0).unwrap();
        assert!(scan.all && !scan.more && scan.failed.is_none(), "{scan:?}");
        let sessions: Vec<_> = scan.files.iter().map(|file| file.session).collect();
        assert_eq!(sessions, [2_000, 2_001]);
        assert_eq!(scan.refused.len(), told, "each is told once");
        assert_eq!(scan.stuck, Some(("taken/r00000".into(), 1_500)));
    }
}

#[test]
fn a_folder_that_can_only_be_renamed_makes_place_for_a_request() {
    let world = World::new();
    let odd = Odd { renames: true, ..Odd::new(&world.spool) };
    world.put(Room::Spool, "r00001", b"");
    world.put(Room::Spool, "r00001.1.stuck", b"");
    odd.folders.lock().unwrap().insert("r00001".into());
    let odd = Arc::new(odd);
    let mut intake = Intake::new(odd.clone());
    let scan = intake.scan(0).unwrap();
    let told = "r00001.2.stuck of uid 1000: it is a folder, and cannot be moved to refused";
    assert_eq!((scan.refused[0].to_string().as_str(), scan.stuck), (told, None));
    odd.folders.lock().unwrap().clear();
    world.put(Room::Spool, "r00001", &request(1, 1));
    let scan = intake.scan(0).unwrap();
    assert_eq!((scan.files.len(), scan.refused.len()), (1, 0));
}

#[test]
fn what_was_taken_before_and_cannot_be_read_just_now_is_tried_again() {
    let world = World::new();
    let odd = Arc::new(Odd::new(&world.spool));
    let mut intake = Intake::new(odd.clone());
    world.put(Room::Taken, "r00001", &request(1, 1));
    for errno in [Errno::IO, Errno::STALE, Errno::MFILE] {
        *odd.unread.lock().unwrap() = Some(errno);
        let scan = intake.scan(0).unwrap();
        assert_eq!(scan.failed.unwrap().0, "r00001", "{errno}");
        assert!(!scan.all && scan.refused.is_empty(), "it may be counted");
    }
    *odd.unread.lock().unwrap() = None;
    assert_eq!(intake.scan(0).unwrap().files.len(), 1);
}

#[test]
fn what_was_taken_before_and_may_not_be_read_is_moved_aside_with_a_warning() {
    let world = World::new();
    let odd = Arc::new(Odd::new(&world.spool));
    let mut intake = Intake::new(odd.clone());
    *odd.unread.lock().unwrap() = Some(Errno::ACCESS);
    world.put(Room::Taken, "r00001", &request(1, 1));
    world.put(Room::Spool, "r00002", &request(2, 1));
    let scan = intake.scan(0).unwrap();
    let told: Vec<String> = scan.refused.iter().map(Refusal::to_string).collect();
    let why = "it cannot be read: Permission denied (os error 13)";
    let doubt = "; it may have been counted: move it back only if it is known not to be";
    assert_eq!(
        told,
        [
            format!("refused/r00001.1.unread of uid 1000: {why}{doubt}"),
            format!("refused/r00002.2 of uid 1000: {why}"),
        ]
    );
    assert!(scan.all && scan.failed.is_none());
}

#[test]
fn a_scan_lists_the_spool_folder_once_and_as_many_slots_as_there_are() {
    let world = World::new();
    let odd = Arc::new(Odd::new(&world.spool));
    let mut intake = Intake::new(odd.clone());
    for number in 0..1_100 {
        world.put(Room::Spool, &spooled::temporary_name(number), b"");
    }
    world.put(Room::Spool, "r00001", &request(1, 1));
    assert_eq!(intake.scan(3_600_001).unwrap().files.len(), 1);
    assert_eq!(odd.lists.load(Ordering::Relaxed), 1);
    assert_eq!(world.spool.names(Room::Spool).len(), 100);
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
fn what_comes_under_the_name_of_a_request_that_was_refused_takes_nothing_from_it() {
    let requests = [request(1, 1), request(2, 1)];
    for at in 0..12 {
        let mut world = World::new();
        world.put(Room::Spool, "r00000", &requests[0]);
        let refused = world.scan().files.into_iter().map(|file| (file, Fate::Refused("no".into())));
        let refused = refused.collect();
        world.spool.room(Room::Spool).put_by_others("r00000", &requests[1]);
        world.disk.plan(Plan::StopAt(at));
        world.intake.clear(refused);
        let _ = world.intake.scan(0);
        for seed in 0..64 {
            let disk = world.disk.power_cut(seed);
            let left = FakeSpool::of(&disk);
            let contents = [Room::Spool, Room::Taken, Room::Refused].map(|room| {
                let names = left.names(room).into_iter();
                names.map(|name| left.room(room).content(&name)).collect::<Vec<_>>()
            });
            let contents = contents.concat();
            assert!(contents.contains(&requests[0]), "stopped at {at}, seed {seed}");
        }
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
