//! What a page has to say: every option, variable, status and exit status there is, and nothing that there
//! is not.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::process::Stdio;

use countd::commands::settings::VARIABLES;

use crate::harness::Home;
use crate::page::{self, Page};
use crate::roff::{readable, section};

/// The commands that ask a daemon.
const CLIENTS: [&str; 6] = ["incr", "dump", "get", "delete", "flush", "status"];

fn page(command: &str) -> Page {
    page::all().into_iter().find(|page| page.subcommand.as_deref() == Some(command)).unwrap()
}

fn is_client(page: &Page) -> bool {
    page.subcommand.as_deref().is_some_and(|command| CLIENTS.contains(&command))
}

/// Whether a section explains a word in a paragraph of its own.
fn explains(section: &str, word: &str) -> bool {
    section.contains(&format!("\n.TP\n.B {word}\n"))
}

/// The options in a text, as `--option`.
fn options_in(text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let lines = text.lines().filter(|line| !line.starts_with(".\\\""));
    let text = lines.collect::<Vec<_>>().join("\n");
    for (at, _) in text.match_indices("--") {
        let before = text[..at].chars().next_back().unwrap_or(' ');
        let is_name = |c: char| c.is_ascii_lowercase() || c == '-';
        let name: String = text[at + 2..].chars().take_while(|c| is_name(*c)).collect();
        if !name.is_empty() && !before.is_alphanumeric() && before != '-' {
            found.insert(format!("--{}", name.trim_end_matches('-')));
        }
    }
    found
}

#[test]
fn every_option_is_named_in_its_page_and_no_other_in_any() {
    let mut all = BTreeSet::from(["--help".to_owned(), "--version".to_owned()]);
    for page in page::all() {
        let named = options_in(&readable(&page.render()));
        for option in page.arguments().filter_map(|arg| arg.get_long()) {
            let option = format!("--{option}");
            assert!(named.contains(&option), "{}: {option}", page.name());
            all.insert(option);
        }
    }
    for page in page::all() {
        for option in options_in(&readable(&page.render())) {
            assert!(all.contains(&option), "{} names {option}, which no command has", page.name());
        }
    }
}

#[test]
fn a_synopsis_has_every_option_of_its_command() {
    for page in page::all().iter().filter(|page| page.subcommand.is_some()) {
        let text = page.render();
        let synopsis = readable(section(&text, "SYNOPSIS").unwrap());
        for arg in page.arguments().filter(|arg| !arg.is_global_set()) {
            let Some(long) = arg.get_long().filter(|long| *long != "help") else { continue };
            let short =
                arg.get_short().is_some_and(|short| synopsis.contains(&format!("-{short}")));
            let there = short || options_in(&synopsis).contains(&format!("--{long}"));
            assert!(there, "{}: --{long} is not in its synopsis", page.name());
        }
    }
}

#[test]
fn every_page_has_its_sections() {
    for page in page::all() {
        let text = page.render();
        let mut wanted = vec!["NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "EXAMPLES"];
        wanted.extend(["EXIT STATUS", "SEE ALSO"]);
        if is_client(&page) || matches!(page.subcommand.as_deref(), None | Some("serve" | "run")) {
            wanted.extend(["ENVIRONMENT", "FILES"]);
        }
        match page.subcommand.as_deref() {
            None => wanted.extend(["COMMANDS", "NAMES", "PATTERNS", "DURATIONS"]),
            Some("serve") => {
                wanted.extend(["SIGNALS", "DURABILITY", "FORMATS", "SOCKET ACTIVATION"]);
                wanted.extend(["SUPERVISION", "MESSAGES", "CONTAINERS"]);
            }
            Some("run") => wanted.push("SIGNALS"),
            Some("dump") => wanted.push("FORMATS"),
            Some("status") => wanted.push("STATUS"),
            Some("verify") => {
                wanted.extend(["REPAIR", "DAMAGE", "CONTENTS", "ENVIRONMENT", "FILES"])
            }
            Some(_) => {}
        }
        for heading in wanted {
            assert!(section(&text, heading).is_some(), "{} has {heading}", page.name());
        }
    }
}

#[test]
fn every_variable_is_in_the_environment_section_of_the_commands_that_read_it() {
    let mut named = BTreeSet::new();
    for page in page::all() {
        let text = page.render();
        let Some(environment) = section(&text, "ENVIRONMENT") else { continue };
        for &variable in VARIABLES {
            let is_there = explains(environment, variable);
            if is_there {
                named.insert(variable);
            }
            let option = variable.trim_start_matches("COUNTD_").to_lowercase().replace('_', "-");
            let has = page.arguments().any(|arg| arg.get_long() == Some(&option));
            let reads = match page.subcommand.as_deref() {
                Some("serve" | "incr" | "run") => has,
                Some("verify") => variable == "COUNTD_STATE_DIR",
                Some(_) | None => variable == "COUNTD_SOCKET",
            };
            assert_eq!(is_there, reads, "{}: {variable}", page.name());
        }
    }
    assert_eq!(named, VARIABLES.iter().copied().collect());
}

#[test]
fn every_variable_of_a_supervisor_is_in_the_environment_section_of_serve() {
    let text = page("serve").render();
    let environment = section(&text, "ENVIRONMENT").unwrap();
    let from_systemd = ["LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES", "NOTIFY_SOCKET"];
    for variable in from_systemd.iter().chain(&["WATCHDOG_USEC", "WATCHDOG_PID", "JOURNAL_STREAM"])
    {
        assert!(explains(environment, variable), "{variable}");
    }
}

#[test]
fn every_exit_status_is_explained_in_every_clients_page() {
    for page in page::all().iter().filter(|page| is_client(page) || page.subcommand.is_none()) {
        let text = page.render();
        let statuses = section(&text, "EXIT STATUS").unwrap();
        for status in 0..=4 {
            assert!(explains(statuses, &status.to_string()), "{}: {status}", page.name());
        }
    }
}

/// The keys of a status, with the number of a sink as `N` and a reason as `REASON`.
fn keys(home: &Home) -> BTreeSet<String> {
    let ran = home.run(&["status", "--format", "json"]);
    let status: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    let key = |key: &String| {
        let sink = key.strip_prefix("sink_").and_then(|rest| rest.split_once('_'));
        sink.map_or_else(|| key.clone(), |(_, what)| format!("sink_N_{what}"))
    };
    status.as_object().unwrap().keys().map(key).collect()
}

#[test]
fn every_key_that_a_daemon_prints_is_explained_and_no_other() {
    let home = Home::new();
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let options = ["--max-counters", "2", "--fsync", "always"];
    let daemon = home.serve_with(&options, Stdio::from(full));
    home.ok(&["incr", "a=18446744073709551615", "b"]);
    // Refused, each for another reason.
    home.run(&["incr", "c"]).refused(1, &["--max-counters"]);
    home.run(&["incr", "a"]).refused(1, &["overflow"]);
    home.run(&["flush", "--timeout", "100ms"]).refused(1, &["stdout"]);
    let mut printed = keys(&home);
    drop(daemon);
    let mut daemon = home.serve(&[]);
    home.ok(&["incr", "b"]);
    home.ok(&["flush"]);
    daemon.line();
    printed.extend(keys(&home));
    drop(daemon);
    let metrics = home.path("metrics");
    let prometheus = format!("prometheus+unix:{}", metrics.display());
    let _daemon = home.serve(&["--sink", &prometheus, "--sink", "graphite://127.0.0.1:1"]);
    let mut scraper = std::os::unix::net::UnixStream::connect(metrics).unwrap();
    scraper.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").unwrap();
    scraper.read_to_end(&mut Vec::new()).unwrap();
    printed.extend(keys(&home));

    let text = page("status").render();
    let text = section(&text, "STATUS").unwrap();
    for key in &printed {
        match key.strip_prefix("refused_") {
            Some(reason) => assert!(
                text.contains(&format!("\n.BR {reason} :\n"))
                    || text.contains(&format!("\n.B {reason}\n")),
                "{key}"
            ),
            None => assert!(explains(text, key), "{key}"),
        }
    }
    for line in text.lines().collect::<Vec<_>>().windows(2).filter(|pair| pair[0] == ".TP") {
        let key = line[1].trim_start_matches(".B ").to_owned();
        let is_printed = printed.contains(&key) || key == "refused_REASON";
        assert!(is_printed, "{key} is explained, and no daemon printed it");
    }
    for wanted in ["last_fsync", "sink_N_last_failure", "sink_N_last_success", "last_flush_took"] {
        assert!(printed.contains(wanted), "{wanted} in {printed:?}");
    }
}

/// The keys of a verdict, with numbers as `N`.
fn verdict_keys(home: &Home, arguments: &[&str]) -> BTreeSet<String> {
    let state = home.state();
    let ran =
        home.run(&[&["verify", "--format", "json", state.to_str().unwrap()], arguments].concat());
    let verdict: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    let numbered = |part: &str| match part.parse::<u64>() {
        Ok(_) => "N".to_owned(),
        Err(_) => part.to_owned(),
    };
    let key = |key: &String| key.split('_').map(numbered).collect::<Vec<_>>().join("_");
    verdict.as_object().unwrap().keys().map(key).collect()
}

#[test]
fn every_key_of_a_verdict_is_explained_and_no_other() {
    let home = Home::new();
    let daemon = home.serve(&["--fsync", "always"]);
    for _ in 0..9 {
        home.ok(&["incr", "a"]);
    }
    daemon.kill();
    let journal = home.state().join("journal.1");
    let mut bytes = std::fs::read(&journal).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&journal, bytes).unwrap();
    let mut printed = verdict_keys(&home, &[]);
    printed.remove("problems");
    let text = page("verify").render();
    let text = section(&text, "CONTENTS").unwrap();
    assert!(!printed.contains("kept_N"), "{printed:?}");
    for key in &printed {
        assert!(explains(text, key), "{key}");
    }
    printed.extend(verdict_keys(&home, &["--repair"]));
    for line in text.lines().collect::<Vec<_>>().windows(2).filter(|pair| pair[0] == ".TP") {
        let key = line[1].trim_start_matches(".B ");
        assert!(printed.contains(key), "{key} is explained, and no verdict has it: {printed:?}");
    }
}

#[test]
fn help_fits_on_80_columns_and_has_examples_and_exit_statuses() {
    let home = Home::new();
    for page in page::all() {
        let mut command = home.client(page.subcommand.iter());
        let output = command.arg("--help").env("COLUMNS", "80").output().unwrap();
        let help = String::from_utf8(output.stdout).unwrap();
        for line in help.lines() {
            assert!(line.chars().count() <= 80, "{}: {line}", page.name());
        }
        let after = page.command.get_after_help().unwrap().to_string();
        for part in ["EXAMPLES:\n", "EXIT STATUS:\n"] {
            assert!(after.contains(part), "{}: {part}", page.name());
        }
        for example in after.lines().filter(|line| line.starts_with("  countd ")) {
            assert!(help.contains(&format!("{example}\n")), "{}: {example} is broken", page.name());
        }
    }
}
