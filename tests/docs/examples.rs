//! The examples of the pages, run as they stand: each page has a daemon of its own, and a command has to
//! print what the page says it prints. The mark before an `.EX` says how: nothing more for exactly that,
//! `numbers` where digits differ from run to run, `exit N` for a last command that fails so, `not run:` and
//! why for the few that cannot run here. A block without prompts is one script. `.\" @setup` is a command
//! that runs before, unseen.

use std::path::Path;
use std::process::{Command, Stdio};

use clap::Parser;
use countd::cli::Cli;

use crate::harness::{Home, Ran};
use crate::page::{self, Page};

/// What a page shows between `.EX` and `.EE`.
struct Example {
    mark: String,
    lines: Vec<String>,
}

/// A command after a prompt, and what it prints.
struct Step {
    command: String,
    output: String,
}

enum Part {
    Setup(String),
    Example(Example),
}

fn parts(page: &Page) -> Vec<Part> {
    let (mut parts, mut mark, mut shown) = (Vec::new(), None, None::<Vec<String>>);
    for line in page.sections() {
        if let Some(command) = line.strip_prefix(".\\\" @setup ") {
            parts.push(Part::Setup(command.to_owned()));
        } else if let Some(text) = line.strip_prefix(".\\\" @example") {
            mark = Some(text.trim().to_owned());
        } else if line == ".EX" {
            shown = Some(Vec::new());
        } else if line == ".EE" {
            let lines = shown.take().unwrap();
            let what = format!("{}: {lines:?} has no mark", page.name());
            parts.push(Part::Example(Example { mark: mark.take().expect(&what), lines }));
        } else if let Some(shown) = &mut shown {
            shown.push(line);
        }
    }
    parts
}

impl Example {
    /// The commands after their prompts; none in a script.
    fn steps(&self) -> Vec<Step> {
        let mut steps: Vec<Step> = Vec::new();
        for line in &self.lines {
            if let Some(command) = line.strip_prefix("$ ") {
                steps.push(Step { command: command.to_owned(), output: String::new() });
            } else if let (Some(more), Some(step)) = (line.strip_prefix("> "), steps.last_mut()) {
                step.command.push('\n');
                step.command.push_str(more);
            } else if let Some(step) = steps.last_mut() {
                step.output.push_str(line);
                step.output.push('\n');
            }
        }
        steps
    }

    fn why_not_run(&self) -> Option<&str> {
        self.mark.strip_prefix("not run: ")
    }
}

fn sh(home: &Home, script: &str) -> Ran {
    let binary = Path::new(env!("CARGO_BIN_EXE_countd")).parent().unwrap();
    let path = format!("{}:{}", binary.display(), std::env::var("PATH").unwrap());
    let mut command = Command::new("sh");
    let ours = std::env::vars_os().map(|(name, _)| name);
    for name in ours.filter(|name| name.as_encoded_bytes().starts_with(b"COUNTD_")) {
        command.env_remove(name);
    }
    command.args(["-c", &format!("exec 2>&1\n{script}")]).current_dir(home.path(""));
    command.env("PATH", path).env("HOME", home.path("")).env("COUNTD_SOCKET", home.socket());
    command.env("HOSTNAME", "web1").stdin(Stdio::null());
    Ran::of(command.output().unwrap())
}

/// With every run of digits as one sign, and every short time as the same.
fn without_numbers(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        match c {
            '0'..='9' if out.ends_with('#') => {}
            '0'..='9' => out.push('#'),
            c => out.push(c),
        }
    }
    out.replace("#.# s", "# s").replace("# ms", "# s").replace("# s ago", "now")
}

fn try_example(page: &Page, home: &Home, example: &Example) {
    let steps = example.steps();
    if steps.is_empty() {
        let script = format!("set -eu\n{}\n", example.lines.join("\n"));
        let ran = sh(home, &script);
        assert_eq!(ran.code, 0, "{}: {script}: {ran:?}", page.name());
    }
    let last = steps.len().saturating_sub(1);
    for (at, step) in steps.iter().enumerate() {
        let ran = sh(home, &step.command);
        let code = example.mark.strip_prefix("exit ").filter(|_| at == last);
        let code = code.map_or(0, |code| code.parse().unwrap());
        let what = format!("{}: {}", page.name(), step.command);
        assert_eq!(ran.code, code, "{what}: {ran:?}");
        if example.mark == "numbers" {
            // Digits and lengths of time may differ, and nothing else.
            assert_eq!(without_numbers(&ran.stdout), without_numbers(&step.output), "{what}");
        } else {
            assert_eq!(ran.stdout, step.output, "{what}");
        }
    }
}

#[test]
fn the_examples_print_what_the_pages_say() {
    for page in page::all() {
        let home = Home::new();
        let log = home.path("countd.log");
        let _daemon = home.serve(&["--log-file", log.to_str().unwrap()]);
        for part in parts(&page) {
            match part {
                Part::Setup(command) => {
                    let ran = sh(&home, &command);
                    assert_eq!(ran.code, 0, "{}: {command}: {ran:?}", page.name());
                }
                Part::Example(example) if example.why_not_run().is_some() => {}
                Part::Example(example) => try_example(&page, &home, &example),
            }
        }
    }
}

#[test]
fn examples_that_are_not_run_are_few_and_at_least_well_formed() {
    let mut not_run = 0;
    for page in page::all() {
        let examples = parts(&page).into_iter().filter_map(|part| match part {
            Part::Example(example) => Some(example),
            Part::Setup(_) => None,
        });
        for example in examples.filter(|example| example.why_not_run().is_some()) {
            not_run += 1;
            for line in &example.lines {
                let line = line.strip_prefix("$ ").unwrap_or(line);
                if line.starts_with("countd ") && !line.contains(['$', '>', '|', '&', '\'', '"']) {
                    let words: Vec<&str> = line.split_whitespace().collect();
                    assert!(Cli::try_parse_from(words).is_ok(), "{}: {line}", page.name());
                }
            }
        }
    }
    assert!(not_run <= 8, "{not_run} examples are not run");
}
