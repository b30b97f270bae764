//! The programs that read what is committed: `man`, `mandoc` and the shells. One that is not installed is
//! skipped with a word; where `CI` is set, that is a failure.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::completion::Shell;
use crate::harness::Home;
use crate::page::{self, Page};
use crate::roff::readable;

/// A program, if it is installed.
pub(crate) fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|folder| folder.join(name)).find(|p| p.is_file());
    if found.is_none() {
        assert!(std::env::var_os("CI").is_none(), "{name} is not installed, and CI has to have it");
        eprintln!("skipped: {name} is not installed");
    }
    found
}

/// What a program prints, on stdout and stderr; it has to succeed.
#[track_caller]
pub(crate) fn run(name: &str, arguments: &[String]) -> String {
    let mut command = Command::new(name);
    command.args(arguments).stdin(Stdio::null());
    command.env("LC_ALL", "C.UTF-8").env("MANWIDTH", "80");
    let output = command.output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{name} {arguments:?}: {}\n{out}{err}", output.status);
    format!("{out}{err}")
}

/// The pages as they have to be, in a folder of their own.
fn pages() -> (Home, Vec<PathBuf>) {
    let home = Home::new();
    let write = |page: &Page| {
        let path = home.path(&page.file());
        std::fs::write(&path, page.render()).unwrap();
        path
    };
    let pages = page::all().iter().map(write).collect();
    (home, pages)
}

fn with(options: &[&str], path: &Path) -> Vec<String> {
    let options = options.iter().map(|&option| option.to_owned());
    options.chain([path.to_str().unwrap().to_owned()]).collect()
}

#[test]
fn man_formats_every_page_without_a_warning() {
    let Some(man) = program("man") else { return };
    let (_home, pages) = pages();
    for page in pages {
        let output = Command::new(&man)
            .args(with(&["--warnings", "-l"], &page))
            .env("LC_ALL", "C.UTF-8")
            .env("MANWIDTH", "80")
            .output()
            .unwrap();
        let warnings = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && warnings.is_empty(), "{}: {warnings}", page.display());
        let text = String::from_utf8_lossy(&output.stdout);
        // Examples are shown as they are.
        let source = std::fs::read_to_string(&page).unwrap();
        let source = readable(&source);
        let is_example = |line: &str| source.lines().any(|shown| shown == line.trim_start());
        let mut long = text.lines().filter(|line| line.chars().count() > 80);
        let long = long.find(|line| !is_example(line));
        assert_eq!(long, None, "{} fits on a terminal of 80 columns", page.display());
    }
}

#[test]
fn mandoc_has_no_complaint_about_any_page() {
    if program("mandoc").is_none() {
        return;
    }
    let (_home, pages) = pages();
    for page in pages {
        assert_eq!(run("mandoc", &with(&["-T", "lint", "-W", "warning"], &page)), "");
    }
}

#[test]
fn the_shells_can_read_their_completions() {
    for shell in Shell::ALL {
        if program(shell.name()).is_some() {
            let home = Home::new();
            let script = shell.written_to(&home);
            assert_eq!(run(shell.name(), &with(&["-n"], &script)), "", "{shell:?}");
        }
    }
}
