//! The real disk in a temporary folder: the seam's promises that a file system can show without a crash.

use std::os::unix::fs::PermissionsExt;

use super::*;

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn a_missing_state_folder_is_made_for_its_owner_alone() {
    let temporary = tempfile::tempdir().unwrap();
    let path = temporary.path().join("deep/state");
    let folder = StateFolder::open(&path).unwrap();
    assert_eq!(mode(&path), 0o700);
    assert_eq!(mode(&temporary.path().join("deep")), 0o700);
    assert_eq!(mode(&path.join("lock")), 0o600);
    assert_eq!(folder.path(), path);
}

#[test]
fn a_second_owner_is_refused_until_the_first_is_gone() {
    let temporary = tempfile::tempdir().unwrap();
    let first = StateFolder::open(temporary.path()).unwrap();
    let error = StateFolder::open(temporary.path()).unwrap_err();
    assert!(matches!(error, StateFolderError::Owned { .. }), "{error}");
    let message = error.to_string();
    assert!(message.contains(temporary.path().to_str().unwrap()), "{message}");
    assert!(message.starts_with("another countd has"), "{message}");
    drop(first);
    StateFolder::open(temporary.path()).unwrap();
}

#[test]
fn a_state_folder_that_is_a_file_is_refused_by_name() {
    let temporary = tempfile::tempdir().unwrap();
    let path = temporary.path().join("state");
    std::fs::write(&path, "").unwrap();
    let message = StateFolder::open(&path).unwrap_err().to_string();
    assert!(message.contains(path.to_str().unwrap()), "{message}");
}

#[test]
fn files_are_created_once_appended_to_cut_and_read_back() {
    let temporary = tempfile::tempdir().unwrap();
    let disk = FolderDisk::open(temporary.path()).unwrap();
    let file = disk.create("a").unwrap();
    assert_eq!(disk.create("a").unwrap_err().kind(), io::ErrorKind::AlreadyExists);
    assert_eq!(mode(&temporary.path().join("a")) & !0o640, 0);
    file.append(b"hello ").unwrap();
    file.append(b"world").unwrap();
    file.truncate(8).unwrap();
    file.append(b"!").unwrap();
    file.sync().unwrap();
    file.sync().unwrap();
    disk.rename("a", "b").unwrap();
    disk.sync_folder().unwrap();
    assert_eq!(disk.list().unwrap(), ["b"]);
    let again = disk.open("b").unwrap();
    assert_eq!(again.length().unwrap(), 9);
    let mut bytes = [0; 20];
    assert_eq!(again.read_at(1, &mut bytes).unwrap(), 8);
    assert_eq!(&bytes[..8], b"ello wo!");
    assert_eq!(again.read_at(9, &mut bytes).unwrap(), 0);
    disk.remove("b").unwrap();
    assert_eq!(disk.remove("b").unwrap_err().kind(), io::ErrorKind::NotFound);
    assert_eq!(disk.open("b").unwrap_err().kind(), io::ErrorKind::NotFound);
}

#[test]
fn what_is_not_a_regular_file_is_refused_without_waiting() {
    let temporary = tempfile::tempdir().unwrap();
    let disk = FolderDisk::open(temporary.path()).unwrap();
    let outside = temporary.path().join("target");
    std::fs::write(&outside, "").unwrap();
    std::os::unix::fs::symlink(&outside, temporary.path().join("link")).unwrap();
    std::fs::create_dir(temporary.path().join("folder")).unwrap();
    let pipe = temporary.path().join("pipe");
    let mode = Mode::from_raw_mode(0o600);
    rustix::fs::mknodat(CWD, &pipe, FileType::Fifo, mode, 0).unwrap();
    for name in ["link", "folder", "pipe"] {
        assert!(disk.open(name).is_err() && disk.identity(name).is_err(), "{name}");
    }
    assert_eq!(disk.identity("target").unwrap(), disk.open("target").unwrap().identity().unwrap());
    let by_path = PathFolder::new(temporary.path());
    for name in ["folder", "pipe"] {
        assert!(by_path.identity(name).is_err(), "{name}");
    }
    assert_eq!(by_path.identity("link").unwrap(), disk.identity("target").unwrap());
}
