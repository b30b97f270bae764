//! Real spool folders with what users may put there. As root other users are tried as well.

use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;
use std::sync::Arc;

use super::*;
use crate::ids::RequestId;
use crate::protocol::spooled::{slot_name, temporary_name, to_bytes};
use crate::protocol::{Entry, Request};
use crate::spool::{Fate, Intake, Scan};

fn request(session: u128) -> Vec<u8> {
    let id = RequestId { session, seq: 0, born_ns: 1 };
    let entries = vec![Entry { name: "a", amount: 1 }];
    to_bytes(&Request::Incr { id, atomic: true, totals: false, entries }).unwrap()
}

struct World {
    temporary: tempfile::TempDir,
    intake: Intake,
}

impl World {
    fn new() -> World {
        let temporary = tempfile::tempdir().unwrap();
        let folder = SpoolFolder::open(&temporary.path().join("s"), SHARED_MODE).unwrap();
        World { temporary, intake: Intake::new(Arc::new(folder)) }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.temporary.path().join("s").join(name)
    }

    fn put(&self, session: u128, slot: u32) {
        let names = std::iter::once(slot_name(slot));
        put(&self.path(""), &temporary_name(session), names, &request(session)).unwrap();
    }

    fn scan(&mut self) -> Scan {
        self.intake.scan(0).unwrap()
    }

    /// Why each slot was refused, in their order.
    fn refused(&mut self) -> Vec<(String, String)> {
        let mut refused: Vec<_> =
            self.scan().refused.into_iter().map(|refusal| (refusal.place, refusal.why)).collect();
        refused.sort();
        refused
    }
}

fn mode(path: &Path) -> u32 {
    std::fs::symlink_metadata(path).unwrap().mode() & 0o7777
}

#[test]
fn a_spool_folder_is_made_with_its_mode_and_two_for_the_daemon_alone() {
    let world = World::new();
    assert_eq!(mode(&world.path("")), 0o3733);
    assert_eq!(
        (
            // The set-group-ID bit is inherited, and means nothing there.
            mode(&world.path("taken")) & 0o777,
            mode(&world.path("refused")) & 0o777
        ),
        (0o700, 0o700)
    );
    let deep = world.temporary.path().join("deep/er/spool");
    let _folder = SpoolFolder::open(&deep, PRIVATE_MODE).unwrap();
    assert_eq!((mode(&deep), mode(deep.parent().unwrap())), (0o700, 0o700));
}

#[test]
fn a_file_is_put_under_a_free_name_only_and_leaves_nothing_else() {
    let mut world = World::new();
    world.put(1, 1);
    assert_eq!(mode(&world.path("r00001")), 0o640);
    let names = || [1, 1].into_iter().map(slot_name);
    let error = put(&world.path(""), &temporary_name(2), names(), b"x").unwrap_err();
    assert!(matches!(error, PutError::Full), "{error}");
    let mut left: Vec<_> = std::fs::read_dir(world.path("")).unwrap().flatten().collect();
    left.sort_by_key(std::fs::DirEntry::file_name);
    assert_eq!(
        left.iter().map(|entry| entry.file_name()).collect::<Vec<_>>(),
        ["r00001", "refused", "taken"]
    );
    let names = [1, 2].into_iter().map(slot_name);
    put(&world.path(""), &temporary_name(2), names, &request(2)).unwrap();
    let sessions: Vec<u128> = world.scan().files.iter().map(|file| file.session).collect();
    assert_eq!(sessions.iter().sum::<u128>(), 3);
    let error = put(&world.path("none"), "t", names_of(&["r00001"]), b"x").unwrap_err();
    assert!(error.to_string().starts_with("cannot open it: "), "{error}");
}

fn names_of<'a>(names: &'a [&'a str]) -> impl Iterator<Item = String> + 'a {
    names.iter().map(|name| (*name).to_owned())
}

#[test]
fn a_put_file_is_read_counted_and_removed() {
    let mut world = World::new();
    world.put(7, 9);
    let mut scan = world.scan();
    let file = scan.files.pop().unwrap();
    assert_eq!((file.session, file.name.as_str()), (7, "r00009"));
    assert_eq!(file.uid, rustix::process::geteuid().as_raw());
    assert!(world.path("taken/r00009").exists());
    assert!(world.intake.clear(vec![(file, Fate::Done)]).left.is_none());
    assert!(!world.path("taken/r00009").exists());
}

#[test]
fn what_is_no_plain_file_of_one_name_harms_nothing() {
    let mut world = World::new();
    let outside = world.temporary.path().join("outside");
    std::fs::write(&outside, request(1)).unwrap();
    symlink(&outside, world.path("r00001")).unwrap();
    std::fs::hard_link(&outside, world.path("r00002")).unwrap();
    let fifo = world.path("r00003");
    rustix::fs::mknodat(CWD, &fifo, FileType::Fifo, Mode::from_raw_mode(0o666), 0).unwrap();
    std::fs::create_dir(world.path("r00004")).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(world.path("r00005")).unwrap();
    let sparse = std::fs::File::create(world.path("r00006")).unwrap();
    sparse.set_len(10 << 30).unwrap();
    std::fs::write(world.path("r00007"), "").unwrap();
    symlink(world.path("r00008"), world.path("r00008")).unwrap();
    world.put(42, 9);
    let scan = world.scan();
    assert_eq!(scan.files.iter().map(|file| file.session).collect::<Vec<_>>(), [42]);
    let mut why: Vec<_> = scan.refused.iter().map(|refusal| refusal.to_string()).collect();
    why.sort_by_key(|why| why.split_once('.').unwrap().0.to_owned());
    let why: Vec<&str> = why.iter().map(|why| why.split_once(": ").unwrap().1).collect();
    assert_eq!(
        why,
        [
            "it is not a regular file",
            "it has other names, too",
            "it is not a regular file",
            "it is a folder",
            "it is not a regular file",
            "it is over 65536 bytes",
            "it is no spooled request of countd",
            "it is not a regular file",
        ]
    );
    assert_eq!(std::fs::read(&outside).unwrap(), request(1));
    assert_eq!(std::fs::read_dir(world.path("refused")).unwrap().count(), 8);
    assert!(world.refused().is_empty(), "each is told once");
}

#[test]
fn reading_follows_no_link_and_waits_for_nobody() {
    let temporary = tempfile::tempdir().unwrap();
    let path = temporary.path().join("s");
    let folder = SpoolFolder::open(&path, PRIVATE_MODE).unwrap();
    std::fs::write(path.join("file"), "some text").unwrap();
    symlink(path.join("file"), path.join("link")).unwrap();
    rustix::fs::mknodat(CWD, path.join("fifo"), FileType::Fifo, Mode::from_raw_mode(0o666), 0)
        .unwrap();
    let (looked, bytes) = folder.read(Room::Spool, "file", 4).unwrap();
    assert_eq!((looked.bytes, bytes.as_slice()), (9, &b"some"[..]));
    for name in ["link", "fifo", "taken"] {
        assert!(folder.read(Room::Spool, name, 100).is_err(), "{name}");
    }
}

#[test]
fn what_is_removed_for_want_of_room_is_not_what_a_link_leads_to() {
    let mut world = World::new();
    for number in 0..1_000 {
        std::fs::write(world.path(&format!("refused/{number}.bad")), "").unwrap();
    }
    let outside = world.temporary.path().join("outside");
    std::fs::write(&outside, "precious").unwrap();
    symlink(&outside, world.path("r00001")).unwrap();
    std::fs::hard_link(&outside, world.path("r00002")).unwrap();
    std::fs::create_dir(world.path("r00003")).unwrap();
    std::fs::create_dir_all(world.path("r00004/full")).unwrap();
    let places: Vec<String> = world.refused().into_iter().map(|(place, _)| place).collect();
    let removed = ["r00001 (removed)", "r00003 (removed)"];
    assert_eq!(places[..2], removed);
    assert_eq!(places[2..], ["r00004.1.stuck", "refused/r00002.1"], "their slots are free");
    assert!(world.path("r00004.1.stuck/full").exists());
    assert!(world.refused().is_empty());
    assert_eq!(std::fs::read_to_string(&outside).unwrap(), "precious");
}

#[test]
fn a_spool_folder_has_one_daemon_at_a_time() {
    let world = World::new();
    let error = SpoolFolder::open(&world.path(""), SHARED_MODE).unwrap_err();
    assert!(error.to_string().ends_with("another countd takes requests out of it"), "{error}");
    let path = world.path("");
    let World { temporary, intake } = world;
    drop(intake);
    SpoolFolder::open(&path, SHARED_MODE).unwrap();
    drop(temporary);
}

#[test]
fn a_folder_that_others_can_change_at_will_is_refused() {
    let temporary = tempfile::tempdir().unwrap();
    let path = temporary.path().join("s");
    let refused = || SpoolFolder::open(&path, PRIVATE_MODE).unwrap_err().to_string();
    std::fs::create_dir(&path).unwrap();
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o733)).unwrap();
    assert!(refused().contains("no sticky bit"), "{}", refused());
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o3733)).unwrap();
    let elsewhere = temporary.path().join("elsewhere");
    std::fs::create_dir(&elsewhere).unwrap();
    symlink(&elsewhere, path.join("taken")).unwrap();
    assert!(refused().contains("cannot open taken"), "{}", refused());
    std::fs::remove_file(path.join("taken")).unwrap();
    std::fs::create_dir(path.join("taken")).unwrap();
    std::fs::set_permissions(path.join("taken"), PermissionsExt::from_mode(0o755)).unwrap();
    assert!(refused().contains("not the daemon's alone"), "{}", refused());
    if rustix::process::geteuid().is_root() {
        std::os::unix::fs::chown(&path, Some(1), None).unwrap();
        assert!(refused().contains("belongs to uid 1"), "{}", refused());
    }
}

#[test]
fn a_folder_in_which_the_files_of_others_could_not_be_read_is_refused() {
    let why = "others may write to it, and it has no set-group-ID bit, without which their files \
               cannot be read: chmod 3733 or 0700 it";
    for (mode, euid, expected) in [
        (0o1733, 1_000, Err(why.to_owned())),
        (0o1730, 1_000, Err(why.to_owned())),
        (0o3733, 1_000, Ok(())),
        (0o700, 1_000, Ok(())),
        (0o755, 1_000, Ok(())),
        (0o1733, 0, Ok(())),
    ] {
        assert_eq!(check(euid, mode, euid), expected, "{mode:o} for uid {euid}");
    }
}

#[test]
fn a_watch_hears_of_files_that_get_a_name_and_of_nothing_else() {
    let temporary = tempfile::tempdir().unwrap();
    let path = temporary.path().join("s");
    let folder = SpoolFolder::open(&path, PRIVATE_MODE).unwrap();
    let watch = Watch::new(&folder).unwrap();
    let mut intake = Intake::new(Arc::new(folder));
    assert!(!watch.heard());
    std::fs::write(path.join("x"), "garbage").unwrap();
    assert!(!watch.heard(), "it may be half written");
    std::fs::rename(path.join("x"), path.join("r00001")).unwrap();
    assert!(watch.heard() && !watch.heard());
    assert_eq!(intake.scan(0).unwrap().refused.len(), 1);
    assert!(!watch.heard(), "a scan does not wake itself");
    std::fs::remove_file(path.join("refused/r00001.1.bad")).unwrap();
    assert!(watch.heard());
}
