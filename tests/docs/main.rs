//! The manual and the completions: rendered from the command line's own types and `man/sections`, compared
//! with what is committed, and held against the real program, the real `man` and the real shells.
//! `UPDATE_DOCS=1 cargo test --test docs` rewrites the committed files.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "the functions that tests share are tests too, which clippy cannot see"
)]

mod benchmarks;
mod completion;
mod contents;
mod examples;
#[path = "../cli/harness.rs"]
#[allow(
    dead_code,
    unreachable_pub,
    clippy::disallowed_methods,
    reason = "it belongs to the tests of the command line, which use all of it and judge it"
)]
mod harness;
mod page;
mod programs;
mod roff;
mod settings;
mod tab;
#[path = "../cli/terminal.rs"]
#[allow(
    dead_code,
    unreachable_pub,
    reason = "it belongs to the tests of the command line, which use all of it"
)]
mod terminal;

use std::path::{Path, PathBuf};

/// The command that makes the committed files current.
const UPDATE: &str = "UPDATE_DOCS=1 cargo test --test docs";

fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// Compares a file with what it has to be, or makes it so.
#[track_caller]
fn is_current(path: &str, expected: &str) {
    let file = repository(path);
    if std::env::var_os("UPDATE_DOCS").is_some_and(|value| !value.is_empty()) {
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(&file, expected).unwrap();
        return;
    }
    let committed = std::fs::read_to_string(&file).unwrap_or_default();
    if committed == expected {
        return;
    }
    let lines = committed.lines().zip(expected.lines());
    let same = lines.take_while(|(committed, expected)| committed == expected).count();
    panic!(
        "{path} is not current, from line {} on: it is {:?} and has to be {:?}; run `{UPDATE}`",
        same + 1,
        committed.lines().nth(same).unwrap_or_default(),
        expected.lines().nth(same).unwrap_or_default(),
    );
}

#[test]
fn the_committed_pages_are_current() {
    for page in page::all() {
        is_current(&format!("man/{}", page.file()), &page.render());
    }
}

#[test]
fn the_committed_completions_are_current() {
    for shell in completion::Shell::ALL {
        is_current(&format!("completions/{}", shell.file()), &shell.script());
    }
}

#[test]
fn no_page_is_left_over() {
    let pages: Vec<String> = page::all().iter().map(|page| page.file()).collect();
    for entry in std::fs::read_dir(repository("man")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(name == "sections" || pages.contains(&name), "man/{name} belongs to no command");
    }
}
