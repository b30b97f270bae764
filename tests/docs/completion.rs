//! The completion scripts: what `countd completions SHELL` prints, whether the words they offer are words
//! the program takes, and what the real shells offer when TAB is pressed.

use std::path::PathBuf;
use std::str::FromStr;

use countd::format::snapshot::SortKey;
use countd::format::{ReportFormat, SnapshotFormat};
use countd::journal::Fsync;

use crate::harness::Home;
use crate::page;
use crate::programs::{program, run};
use crate::repository;

/// A shell that can be taught.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Shell {
    Bash,
    Zsh,
    Fish,
}

impl Shell {
    pub(crate) const ALL: [Shell; 3] = [Shell::Bash, Shell::Zsh, Shell::Fish];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Shell::Bash => "bash",
            Shell::Zsh => "zsh",
            Shell::Fish => "fish",
        }
    }

    /// The name of its file, by which the shell finds it.
    pub(crate) fn file(self) -> &'static str {
        match self {
            Shell::Bash => "countd.bash",
            Shell::Zsh => "_countd",
            Shell::Fish => "countd.fish",
        }
    }

    pub(crate) fn script(self) -> String {
        Home::new().ok(&["completions", self.name()])
    }

    /// The script as it has to be, under its own name in a folder.
    pub(crate) fn written_to(self, home: &Home) -> PathBuf {
        let path = home.path(self.file());
        std::fs::write(&path, self.script()).unwrap();
        path
    }

    /// What this shell offers at the end of a command line, as words; `None` where it is not installed.
    fn offers(self, line: &[&str]) -> Option<Vec<String>> {
        program(self.name())?;
        let home = Home::new();
        let script = self.written_to(&home);
        let script = script.to_str().unwrap();
        let arguments = match self {
            Shell::Bash => {
                let words: Vec<String> = line.iter().map(|word| format!("'{word}'")).collect();
                let asked = format!(
                    "source '{script}'; complete -p countd >/dev/null; COMP_WORDS=(countd {}); \
                     COMP_LINE='countd {}'; COMP_CWORD={}; folders=; compopt() {{ case $2 in plusdirs) folders=1; esac; }}; \
                     _countd countd '{}' '{}'; \
                     [ -n \"${{COMPREPLY[*]}}\" ] || [[ $(complete -p countd) != *'-o default'* ]] || \
                     COMPREPLY=($(compgen -f -- \"${{COMP_WORDS[COMP_CWORD]}}\")); \
                     [ -z \"$folders\" ] || COMPREPLY+=($(compgen -d -- \"${{COMP_WORDS[COMP_CWORD]}}\")); \
                     printf '%s\\n' \"${{COMPREPLY[@]}}\"",
                    words.join(" "),
                    line.join(" "),
                    line.len(),
                    line.last().unwrap(),
                    line.iter().rev().nth(1).unwrap_or(&"countd"),
                );
                vec!["--norc".to_owned(), "-c".to_owned(), asked]
            }
            Shell::Fish => {
                let asked = format!("source '{script}'; complete -C 'countd {}'", line.join(" "));
                vec!["--no-config".to_owned(), "-c".to_owned(), asked]
            }
            Shell::Zsh => {
                let driver = repository("tests/docs/tab.zsh");
                let folder = home.path("");
                let line = format!("countd {}", line.join(" "));
                let words = [driver.to_str().unwrap(), folder.to_str().unwrap(), &line];
                let mut arguments = vec!["-f".to_owned()];
                arguments.extend(words.map(str::to_owned));
                arguments
            }
        };
        let text = run(self.name(), &arguments);
        let word = |line: &str| line.split(['\t', ' ']).next().unwrap_or_default().to_owned();
        Some(text.lines().map(word).filter(|word| !word.is_empty()).collect())
    }
}

/// Presses TAB in every shell; all of these words have to be offered, and none of those.
#[track_caller]
fn tab(line: &[&str], offered: &[&str], not_offered: &[&str]) {
    for shell in Shell::ALL {
        let Some(offers) = shell.offers(line) else { continue };
        for word in offered {
            assert!(offers.iter().any(|offer| offer == word), "{shell:?} {line:?}: {offers:?}");
        }
        for word in not_offered {
            assert!(!offers.iter().any(|offer| offer == word), "{shell:?} {line:?}: {offers:?}");
        }
    }
}

#[test]
fn tab_offers_the_commands() {
    let all: Vec<String> = page::all().into_iter().filter_map(|page| page.subcommand).collect();
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    tab(&[""], &all, &[]);
    tab(&["st"], &["status"], &["incr"]);
}

#[test]
fn tab_offers_the_options_of_a_command() {
    tab(&["incr", "--"], &["--by", "--stdin", "--tag", "--best-effort", "--socket"], &["--sum"]);
    tab(&["get", "--d"], &["--default"], &["--stdin"]);
}

#[test]
fn tab_offers_the_words_an_option_takes() {
    tab(&["dump", "--format", ""], &SnapshotFormat::ALL.map(SnapshotFormat::name), &["logfmt"]);
    tab(&["dump", "--sort", ""], &SortKey::ALL.map(SortKey::name), &[]);
    tab(&["serve", "--format", ""], &ReportFormat::ALL.map(ReportFormat::name), &["csv"]);
    tab(&["serve", "--fsync", ""], &["always", "everysec", "no"], &[]);
    tab(&["serve", "--idle", ""], &["omit", "zero"], &[]);
    tab(&["status", "--format", ""], &["table", "json"], &["csv"]);
    tab(&["verify", "--format", ""], &["table", "json"], &["csv"]);
    tab(&["completions", ""], &["bash", "zsh", "fish"], &[]);
}

#[test]
fn tab_offers_paths_where_a_path_is_wanted() {
    let path = repository("Cargo.t");
    let path = path.to_str().unwrap();
    let (whole, base) = (format!("{path}oml"), "Cargo.toml");
    for option in ["--socket", "--log-file"] {
        for shell in Shell::ALL {
            let Some(offers) = shell.offers(&["serve", option, path]) else { continue };
            // zsh shows what it would put in without the folder.
            let offered = offers.iter().any(|offer| *offer == whole || offer == base);
            assert!(offered, "{shell:?} {option}: {offers:?}");
        }
    }
    let folder = repository("sr");
    let folder = folder.to_str().unwrap();
    for line in [&["serve", "--state-dir", folder][..], &["verify", folder]] {
        for shell in Shell::ALL {
            let Some(offers) = shell.offers(line) else { continue };
            let offered = offers.iter().any(|offer| offer.trim_end_matches('/').ends_with("src"));
            assert!(offered, "{shell:?} {line:?}: {offers:?}");
        }
    }
}

#[test]
fn the_program_takes_every_word_that_is_offered() {
    fn takes<T: FromStr>(words: impl Iterator<Item = String>) {
        for word in words {
            assert!(word.parse::<T>().is_ok(), "{word}");
        }
    }
    for page in page::all() {
        for arg in page.arguments().filter(|arg| arg.get_action().takes_values()) {
            let Some(words) = arg.get_value_parser().possible_values() else { continue };
            let words = words.map(|word| word.get_name().to_owned());
            match (page.subcommand.as_deref(), arg.get_id().as_str()) {
                (Some("serve"), "format") => takes::<ReportFormat>(words),
                (Some("serve"), "fsync") => takes::<Fsync>(words),
                (Some("dump"), "format") => takes::<SnapshotFormat>(words),
                (Some("dump"), "sort") => takes::<SortKey>(words),
                // Read where nobody else can reach: by the program alone.
                (Some("serve"), "idle") => words.for_each(|word| {
                    let home = Home::new();
                    drop(home.serve(&["--idle", &word]));
                }),
                (Some("status"), "format") => words.for_each(|word| {
                    let home = Home::new();
                    home.run(&["status", "--format", &word]).refused(3, &["no daemon"]);
                }),
                (Some("verify"), "format") => words.for_each(|word| {
                    let home = Home::new();
                    std::fs::create_dir(home.state()).unwrap();
                    let state = home.state();
                    let ran = home.run(&["verify", "--format", &word, state.to_str().unwrap()]);
                    assert!(ran.stdout.contains("empty"), "{ran:?}");
                }),
                (Some("completions"), "shell") => words.for_each(|word| {
                    Home::new().ok(&["completions", &word]);
                }),
                (command, option) => panic!("{command:?} {option} has words nobody has tried"),
            }
        }
    }
}
