//! The README, run: every `console` block in one shell, and every `shellsession` block in one bash, with one daemon,
//! line by line, its output compared. A block that starts a daemon of its own starts without one.

#![expect(clippy::unwrap_used, reason = "tests fail by panics")]

use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process_group};

/// What a shell prints after each command, so that its output can be told from the next one's.
const MARK: &str = "--end of output--";

/// The blocks of this language.
fn blocks<'a>(text: &'a str, language: &str) -> Vec<Vec<&'a str>> {
    let mut blocks = Vec::new();
    let mut open: Option<Vec<&str>> = None;
    for line in text.lines() {
        match (&mut open, line.strip_prefix("```")) {
            (None, Some(named)) => open = Some(if named == language { vec![""] } else { vec![] }),
            (Some(block), None) if !block.is_empty() => block.push(line),
            (Some(_), None) | (None, None) => {}
            (Some(block), Some(_)) => {
                if !block.is_empty() {
                    blocks.push(block.split_off(1));
                }
                open = None;
            }
        }
    }
    blocks
}

/// A shell that runs one command after the other.
struct Shell {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Shell {
    fn new(shell: &str, folder: &Path) -> Shell {
        let binary = Path::new(env!("CARGO_BIN_EXE_countd")).parent().unwrap();
        let path = std::env::var("PATH").unwrap();
        let mut command = Command::new(shell);
        command
            .current_dir(folder)
            .env("PATH", format!("{}:{path}", binary.display()))
            .env("COUNTD_SOCKET", folder.join("sock"))
            .env("COUNTD_STATE_DIR", folder.join("state"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .process_group(0);
        let mut child = command.spawn().unwrap();
        let input = child.stdin.take().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        Shell { child, input, output }
    }

    fn run(&mut self, command: &str) -> String {
        writeln!(self.input, "{command}\necho '{MARK}'").unwrap();
        let mut printed = String::new();
        loop {
            let before = printed.len();
            assert_ne!(
                self.output.read_line(&mut printed).unwrap(),
                0,
                "the shell ended: {command}"
            );
            if printed[before..].trim_end() == MARK {
                printed.truncate(before);
                return printed;
            }
        }
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        // The shell and the daemons it started are a group of their own.
        let _ = kill_process_group(Pid::from_child(&self.child), Signal::KILL);
        let _ = self.child.wait();
    }
}

#[test]
fn every_session_in_the_readme_is_what_happens() {
    let readme = include_str!("../../README.md");
    let of =
        |language, shell| blocks(readme, language).into_iter().map(move |block| (shell, block));
    let sessions: Vec<_> = of("console", "sh").chain(of("shellsession", "bash")).collect();
    assert!(sessions.len() >= 5, "the sessions are found");
    let mut commands = 0;
    for (shell, session) in sessions {
        let folder = tempfile::tempdir().unwrap();
        let mut shell = Shell::new(shell, folder.path());
        if !session.iter().any(|line| line.starts_with("$ countd serve")) {
            shell.run("countd serve >/dev/null 2>&1 &");
            shell.run("countd status --wait 10s >/dev/null");
        }
        let mut lines = session.into_iter().filter(|line| !line.is_empty()).peekable();
        while let Some(line) = lines.next() {
            let command = line.strip_prefix("$ ").unwrap_or_else(|| panic!("no command: {line}"));
            let mut expected = String::new();
            while let Some(line) = lines.next_if(|line| !line.starts_with("$ ")) {
                expected.push_str(line);
                expected.push('\n');
            }
            assert_eq!(shell.run(command), expected, "{command}");
            commands += 1;
        }
    }
    assert!(commands > 30, "the commands are found");
}

#[test]
fn every_script_in_the_readme_parses() {
    let readme = include_str!("../../README.md");
    let scripts = blocks(readme, "sh");
    assert!(scripts.len() >= 5, "the scripts are found");
    for script in scripts {
        let status = Command::new("sh").args(["-n", "-c", &script.join("\n")]).status();
        assert!(status.unwrap().success(), "{script:?}");
    }
}
