//! Standard error that leads to the journal of systemd: a test plays journald's end of the stream. What a
//! journal that hangs or is gone does to counting, which is nothing.

use std::fs::File;
use std::io::{BufRead, BufReader, PipeReader, PipeWriter, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::harness::{Home, countd};

/// A daemon with a stream for its output; killed when dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Running {
    fn stop(mut self) -> Option<i32> {
        kill_process(Pid::from_child(&self.0), Signal::TERM).unwrap();
        self.0.wait().unwrap().code()
    }
}

/// What systemd puts into `JOURNAL_STREAM` for this stream.
fn name_of(stream: &PipeWriter) -> String {
    let metadata = File::from(OwnedFd::from(stream.try_clone().unwrap())).metadata().unwrap();
    format!("{}:{}", metadata.dev(), metadata.ino())
}

/// `countd serve` with all it writes going to this stream, and these options.
fn serve(home: &Home, stream: &PipeWriter, options: &[&str]) -> Command {
    let serve = home.serve_command(options);
    let mut command = Command::new("env");
    command.arg("--default-signal=INT,TERM,HUP").arg(serve.get_program()).args(serve.get_args());
    for name in countd().get_envs().map(|(name, _)| name) {
        command.env_remove(name);
    }
    command.env("HOME", home.path("")).env("JOURNAL_STREAM", name_of(stream));
    command.stdin(Stdio::null()).stdout(stream.try_clone().unwrap());
    command.stderr(stream.try_clone().unwrap());
    command
}

fn start(mut command: Command, home: &Home) -> Running {
    let running = Running(command.spawn().unwrap());
    drop(command);
    home.ok(&["status", "--wait", "60s"]);
    running
}

fn lines(reader: PipeReader) -> Vec<String> {
    BufReader::new(reader).lines().map(Result::unwrap).collect()
}

#[test]
fn the_journal_gets_priorities_and_one_line_a_flush_and_no_counts() {
    let home = Home::new();
    let (reader, writer) = std::io::pipe().unwrap();
    let mut command = serve(&home, &writer, &[]);
    drop(writer);
    command.env("COUNTD_INTERVALL", "1s");
    let running = start(command, &home);
    home.ok(&["incr", "my.counter=5", "other"]);
    home.ok(&["flush"]);
    home.ok(&["incr", "my.counter"]);
    assert_eq!(running.stop(), Some(0));
    let lines = lines(reader);
    let prefixed = |line: &String| ["<4>", "<5>", "<6>"].iter().any(|p| line.starts_with(p));
    assert!(lines.iter().all(prefixed), "{lines:#?}");
    assert!(!lines.iter().any(|line| line.contains("countd: ")), "{lines:#?}");
    assert!(!lines.iter().any(|line| line.contains("my.counter")), "{lines:#?}");
    assert!(lines.iter().any(|line| line.starts_with("<4>COUNTD_INTERVALL ")), "{lines:#?}");
    assert!(lines.iter().any(|line| line.starts_with("<5>ready, ")), "{lines:#?}");
    let flushes: Vec<_> = lines.iter().filter(|line| line.contains("flushed")).collect();
    assert_eq!(flushes.len(), 2, "{lines:#?}");
    assert!(flushes[0].starts_with("<6>flushed window 1 of "), "{flushes:?}");
    assert!(flushes[0].ends_with(": 2 counters gained 6"), "{flushes:?}");
}

#[test]
fn who_asks_for_counts_in_the_journal_gets_them() {
    let home = Home::new();
    let (reader, writer) = std::io::pipe().unwrap();
    let command = serve(&home, &writer, &["--log-file", "-"]);
    drop(writer);
    let running = start(command, &home);
    home.ok(&["incr", "my.counter=5"]);
    assert_eq!(running.stop(), Some(0));
    assert!(lines(reader).contains(&"my.counter 5".to_owned()));
}

#[test]
fn a_journal_stream_that_is_another_changes_nothing() {
    let home = Home::new();
    let (reader, writer) = std::io::pipe().unwrap();
    let (_other, another) = std::io::pipe().unwrap();
    let mut command = serve(&home, &writer, &[]);
    drop(writer);
    command.env("JOURNAL_STREAM", name_of(&another));
    let running = start(command, &home);
    home.ok(&["incr", "a=5"]);
    assert_eq!(running.stop(), Some(0));
    let lines = lines(reader);
    assert!(lines.contains(&"a 5".to_owned()), "{lines:#?}");
    assert!(lines.iter().all(|line| line == "a 5" || line.starts_with("countd: ")), "{lines:#?}");
    assert!(!lines.iter().any(|line| line.contains("flushed")), "{lines:#?}");
}

#[test]
fn a_start_that_fails_is_an_error_in_the_journal() {
    let home = Home::new();
    std::fs::write(home.socket(), "no socket").unwrap();
    let (mut reader, writer) = std::io::pipe().unwrap();
    let status = serve(&home, &writer, &[]).status().unwrap();
    drop(writer);
    let mut said = String::new();
    reader.read_to_string(&mut said).unwrap();
    assert_eq!(status.code(), Some(1));
    assert!(
        said.lines().last().unwrap().starts_with("<3>") && said.contains("no socket"),
        "{said}"
    );
}

#[test]
fn a_journal_that_is_stopped_holds_up_neither_counting_nor_the_stop() {
    let home = Home::new();
    let (reader, mut writer) = std::io::pipe().unwrap();
    let mut command = serve(&home, &writer, &[]);
    rustix::io::ioctl_fionbio(&writer, true).unwrap();
    while writer.write(&[b'x'; 4_096]).is_ok() {}
    rustix::io::ioctl_fionbio(&writer, false).unwrap();
    let running = Running(command.spawn().unwrap());
    home.ok(&["status", "--wait", "60s"]);
    for _ in 0..20 {
        home.ok(&["incr", "a"]);
        home.ok(&["flush"]);
    }
    assert_eq!(running.stop(), Some(0));
    drop(reader);
    let again = home.serve(&[]);
    assert_eq!(home.total("a"), 20);
    drop(again);
}

#[test]
fn a_journal_that_is_gone_ends_nothing() {
    let home = Home::new();
    let (reader, writer) = std::io::pipe().unwrap();
    let command = serve(&home, &writer, &[]);
    drop(writer);
    let running = start(command, &home);
    drop(reader);
    for _ in 0..5 {
        home.ok(&["incr", "a"]);
        home.ok(&["flush"]);
    }
    assert_eq!(home.total("a"), 5);
    assert_eq!(running.stop(), Some(0));
}
