//! Inputs that fuzzing found worth keeping, run through the checks that the fuzz targets run. Each folder here
//! is named after its check; `CONTRIBUTING.md` says how to find more.

#![expect(clippy::unwrap_used, reason = "a test that cannot read its inputs has failed")]

mod checks;

use std::collections::{BTreeSet, HashSet};
use std::mem::discriminant;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use checks::disk::MemoryDisk;
use checks::input::Input;
use checks::{CHECKS, Check, folder};
use countd::journal::{Fresh, Journal};
use countd::protocol::{Request, Response};
use countd::window::Moment;

/// Bytes of one input, and of all: a repository is no place for a corpus.
const INPUT_BYTES_MAX: usize = 4 << 10;
const ALL_BYTES_MAX: usize = 100 << 10;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// What is in a folder of the repository, by its path there.
fn entries(folder: &str) -> Vec<PathBuf> {
    let read = std::fs::read_dir(root().join(folder)).unwrap();
    let mut found: Vec<PathBuf> = read.map(|entry| entry.unwrap().path()).collect();
    found.sort();
    found
}

/// The inputs of a check, each with its path.
fn inputs(name: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let paths = entries(&format!("tests/corpus/{name}")).into_iter();
    paths.map(|path| (path.clone(), std::fs::read(path).unwrap())).collect()
}

fn run(name: &str, check: Check) {
    for (path, bytes) in inputs(name) {
        let checked = std::panic::catch_unwind(|| check(&bytes));
        assert!(checked.is_ok(), "{}: see above", path.display());
    }
}

#[test]
fn every_kept_input_passes_its_check() {
    for (name, check) in CHECKS {
        run(name, *check);
        // What every check must take, and no fuzzer keeps.
        check(&[]);
    }
}

#[test]
fn every_check_has_a_fuzz_target_and_inputs_and_nothing_else_has() {
    let checks: BTreeSet<String> = CHECKS.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(checks.len(), CHECKS.len());
    let stem = |path: &PathBuf| path.file_stem().unwrap().to_str().unwrap().to_owned();
    let targets = entries("fuzz/fuzz_targets");
    assert_eq!(targets.iter().map(stem).collect::<BTreeSet<_>>(), checks);
    let manifest = std::fs::read_to_string(root().join("fuzz/Cargo.toml")).unwrap();
    for target in targets {
        let (name, text) = (stem(&target), std::fs::read_to_string(&target).unwrap());
        assert!(text.contains(&format!("check(\"{name}\", bytes)")), "{name} runs another check");
        assert!(manifest.contains(&format!("name = \"{name}\"\n")), "{name} is no target");
    }
    let mut folders = entries("tests/corpus");
    folders.retain(|path| path.is_dir() && stem(path) != "checks");
    assert_eq!(folders.iter().map(stem).collect::<BTreeSet<_>>(), checks);
}

/// A format that has changed would refuse every input, and the checks would be about nothing.
#[test]
fn kept_inputs_get_behind_the_decoders() {
    let requests = inputs("requests");
    let requests = requests.iter().filter_map(|(_, bytes)| Request::from_payload(bytes).ok());
    assert_eq!(requests.map(|request| discriminant(&request)).collect::<HashSet<_>>().len(), 6);
    let responses = inputs("responses");
    let responses = responses.iter().filter_map(|(_, bytes)| Response::from_payload(bytes).ok());
    assert_eq!(responses.map(|response| discriminant(&response)).collect::<HashSet<_>>().len(), 9);
    let opens = |bytes: &[u8]| {
        let disk = MemoryDisk::of(folder::files(&mut Input::new(bytes)));
        let was_empty = disk.files().is_empty();
        let fresh = Fresh { state_id: 7, boot: 1, now: Moment::default() };
        !was_empty && Journal::open(Arc::new(disk), fresh).is_ok()
    };
    let opened = inputs("journal").iter().filter(|(_, bytes)| opens(bytes)).count();
    assert!(opened > 10, "only {opened} folders are opened");
}

#[test]
fn kept_inputs_are_small() {
    let mut all = 0;
    for (name, _) in CHECKS {
        for (path, bytes) in inputs(name) {
            assert!(bytes.len() <= INPUT_BYTES_MAX, "{} is too long", path.display());
            all += bytes.len();
        }
    }
    assert!(all <= ALL_BYTES_MAX, "{all} bytes in all");
}
