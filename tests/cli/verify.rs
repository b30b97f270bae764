//! `countd verify`: what it says of real folders, and that a daemon starts from what it repaired.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::harness::{Home, Ran};

/// A folder with a checkpoint and a journal after it, left by a daemon that was killed: `a` is 12.
fn left() -> Home {
    let home = Home::new();
    let daemon = home.serve(&["--fsync", "always"]);
    home.ok(&["incr", "a=2", "b"]);
    daemon.stop();
    let daemon = home.serve(&["--fsync", "always"]);
    for _ in 0..10 {
        home.ok(&["incr", "a"]);
    }
    daemon.kill();
    home
}

fn verify(home: &Home, options: &[&str]) -> Ran {
    let state = home.state();
    home.run(&[&["verify"], options, &[state.to_str().unwrap()]].concat())
}

fn file(home: &Home, prefix: &str) -> PathBuf {
    let entries = std::fs::read_dir(home.state()).unwrap().map(|entry| entry.unwrap().path());
    let is_it = |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().starts_with(prefix);
    entries.filter(is_it).last().unwrap()
}

fn flip(path: &Path, at: usize) {
    let mut bytes = std::fs::read(path).unwrap();
    bytes[at] ^= 1;
    std::fs::write(path, bytes).unwrap();
}

fn value<'a>(ran: &'a Ran, key: &str) -> &'a str {
    let line = ran.stdout.lines().find_map(|line| line.strip_prefix(key));
    line.unwrap_or_else(|| panic!("{key}: {ran:?}")).trim()
}

/// All files in a folder, with their contents; the spool is in a folder of its own.
fn contents(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let paths = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let files = paths.filter(|path| path.is_file());
    let mut all: Vec<_> = files.map(|path| (path.clone(), std::fs::read(&path).unwrap())).collect();
    all.sort();
    all
}

#[test]
fn a_sound_folder_is_told_and_left_as_it_is() {
    let home = left();
    let before = contents(&home.state());
    let ran = verify(&home, &[]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(ran.stdout.starts_with("sound "), "{ran:?}");
    assert_eq!((value(&ran, "sound"), value(&ran, "counters")), ("yes", "2"));
    assert_eq!((value(&ran, "sum of totals"), value(&ran, "sum of counts")), ("13", "10"));
    assert_eq!(value(&ran, "cut off"), "0 B");
    assert_eq!(verify(&home, &["--repair"]).code, 0);
    assert_eq!(contents(&home.state()), before);
    let json = verify(&home, &["--format", "json"]).stdout;
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["sum_of_totals"], 13);
    let _daemon = home.serve(&[]);
    assert_eq!(home.total("a"), 12);
}

#[test]
fn the_folder_is_the_one_that_serve_would_use() {
    let home = left();
    let state = home.state();
    let mut command = home.client(["verify"]);
    let ran = Ran::of(command.env("COUNTD_STATE_DIR", &state).output().unwrap());
    assert_eq!((ran.code, value(&ran, "state dir")), (0, state.to_str().unwrap()));
    home.run(&["verify", ""]).refused(2, &["DIR is empty"]);
    home.run(&["verify", "--format", "xml"]).refused(2, &["--format", "xml"]);
}

#[test]
fn a_copy_that_nobody_may_write_to_is_verified_without_a_lock() {
    let home = left();
    let state = home.state();
    std::fs::remove_file(state.join("lock")).unwrap();
    for (path, _) in contents(&state) {
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o440)).unwrap();
    }
    std::fs::set_permissions(&state, PermissionsExt::from_mode(0o550)).unwrap();
    let ran = verify(&home, &[]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(!state.join("lock").exists());
    std::fs::set_permissions(&state, PermissionsExt::from_mode(0o750)).unwrap();
}

#[test]
fn a_folder_that_a_daemon_has_is_not_read() {
    let home = left();
    let daemon = home.serve(&[]);
    for options in [&[][..], &["--repair"]] {
        let ran = verify(&home, options);
        ran.refused(1, &["a countd is at work", "stop it first"]);
        assert_eq!(ran.stdout, "");
    }
    home.ok(&["incr", "a"]);
    daemon.stop();
    assert_eq!(verify(&home, &[]).code, 0);
}

#[test]
fn an_empty_folder_is_told_from_a_sound_one_and_a_missing_one_is_not_made() {
    let home = Home::new();
    for options in [&[][..], &["--repair"]] {
        verify(&home, options).refused(1, &["state", "No such file"]);
        assert!(!home.state().exists());
    }
    std::fs::create_dir(home.state()).unwrap();
    let ran = verify(&home, &[]);
    assert_eq!((ran.code, value(&ran, "sound")), (1, "empty"), "{ran:?}");
}

#[test]
fn a_torn_tail_is_sound_and_said_to_be_cut_off_by_the_next_start() {
    let home = left();
    let journal = file(&home, "journal.");
    let mut bytes = std::fs::read(&journal).unwrap();
    bytes.extend([1; 17]);
    std::fs::write(&journal, bytes).unwrap();
    let ran = verify(&home, &[]);
    assert_eq!((ran.code, value(&ran, "cut off")), (0, "17 B"), "{ran:?}");
    let daemon = home.serve(&[]);
    assert!(daemon.said.iter().any(|line| line.contains("cut off 17 bytes")), "{:?}", daemon.said);
}

#[test]
fn a_daemon_starts_from_what_was_repaired_and_refuses_what_was_not() {
    let home = left();
    let journal = file(&home, "journal.");
    let bytes = std::fs::read(&journal).unwrap();
    // The last thing but two, so that a later one says it had been synced.
    flip(&journal, bytes.len() * 2 / 3);
    let damaged = std::fs::read(&journal).unwrap();
    let refused = Ran::of(home.serve_command(&[]).output().unwrap());
    refused.refused(1, &["damaged at offset", "countd verify"]);

    let ran = verify(&home, &[]);
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.stdout.starts_with("problem: journal."), "{ran:?}");
    assert!(ran.stdout.contains("countd verify --repair"), "{ran:?}");
    assert_eq!((value(&ran, "sound"), value(&ran, "repair")), ("no", "possible"));
    let blocks: u64 = value(&ran, "given up blocks").parse().unwrap();
    assert!(blocks > 0, "{ran:?}");
    assert_eq!(std::fs::read(&journal).unwrap(), damaged);

    let ran = verify(&home, &["--repair"]);
    assert_eq!(
        (ran.code, value(&ran, "sound"), value(&ran, "repair")),
        (0, "yes", "done"),
        "{ran:?}"
    );
    let sum: u64 = value(&ran, "sum of totals").parse().unwrap();
    let name = journal.file_name().unwrap().to_str().unwrap();
    assert_eq!(value(&ran, "kept 0"), format!("{name} as {name}.damaged"));
    assert_eq!(std::fs::read(home.state().join(format!("{name}.damaged"))).unwrap(), damaged);
    assert_eq!(verify(&home, &[]).code, 0);
    let daemon = home.serve(&[]);
    let total = home.total("a");
    assert!(2 < total && total < 12, "{total}");
    assert_eq!(sum, total + 1);
    home.ok(&["incr", "a"]);
    daemon.stop();
    assert_eq!(verify(&home, &[]).code, 0);
}

#[test]
fn a_repair_is_refused_where_it_cannot_help_and_changes_nothing() {
    let home = left();
    let checkpoint = file(&home, "checkpoint.");
    let good = std::fs::read(&checkpoint).unwrap();
    flip(&checkpoint, 100);
    let before = contents(&home.state());
    verify(&home, &["--repair"]).refused(1, &["cannot be repaired", "checkpoint.", "one copy"]);
    let ran = verify(&home, &[]);
    assert_eq!((ran.code, value(&ran, "repair")), (1, "impossible"), "{ran:?}");
    assert_eq!(contents(&home.state()), before);
    std::fs::write(&checkpoint, good).unwrap();
    let stranger = home.state().join("journal.77");
    std::fs::write(&stranger, "a diary").unwrap();
    verify(&home, &["--repair"])
        .refused(1, &["journal.77", "not a file of countd's", "move it away"]);
    let refused = Ran::of(home.serve_command(&[]).output().unwrap());
    refused.refused(1, &["journal.77", "move it away"]);
    std::fs::remove_file(&stranger).unwrap();
    assert_eq!(verify(&home, &[]).code, 0);
}

#[test]
fn what_is_no_file_is_an_error_of_the_disk() {
    let home = left();
    let journal = file(&home, "journal.");
    std::fs::remove_file(&journal).unwrap();
    std::fs::create_dir(&journal).unwrap();
    for options in [&[][..], &["--repair"]] {
        let ran = verify(&home, options);
        assert_eq!(ran.code, 1, "{ran:?}");
        let said = format!("{}{}", ran.stdout, ran.stderr);
        assert!(said.contains("journal.") && said.contains("permissions"), "{said}");
        assert!(!said.contains("damaged at"), "{said}");
    }
    assert!(journal.is_dir());
}

#[test]
fn the_lock_may_hold_anything_but_must_be_a_file() {
    let home = left();
    let lock = home.state().join("lock");
    std::fs::write(&lock, "whatever").unwrap();
    assert_eq!(verify(&home, &[]).code, 0);
    home.serve(&[]).kill();
    std::fs::remove_file(&lock).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", &lock).unwrap();
    verify(&home, &[]).refused(1, &["lock"]);
    Ran::of(home.serve_command(&[]).output().unwrap()).refused(1, &["lock"]);
}
