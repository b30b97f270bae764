//! What survives the end of a daemon.

use std::io::Write;
use std::process::Stdio;

use crate::harness::{Home, logged, parse_counts};

#[test]
fn after_kill_9_nothing_acknowledged_is_missing() {
    let home = Home::new();
    let mut expected = 0;
    for round in 1..=5 {
        let daemon = home.serve(&[]);
        for _ in 0..20 {
            home.ok(&["incr", "a", "b=2", "-t", "host=x"]);
            expected += 1;
        }
        daemon.kill();
        let daemon = home.serve(&[]);
        assert_eq!(home.total("a,host=x"), expected, "round {round}");
        assert_eq!(home.total("b,host=x"), 2 * expected);
        daemon.kill();
    }
}

#[test]
fn the_open_window_goes_on_after_kill_9() {
    let home = Home::new();
    let daemon = home.serve(&[]);
    home.ok(&["incr", "a=5"]);
    daemon.kill();
    let mut daemon = home.serve(&[]);
    home.ok(&["incr", "a=2"]);
    home.ok(&["flush"]);
    assert_eq!(daemon.line(), "a 7");
}

#[test]
fn the_last_window_is_flushed_at_a_stop_and_the_next_start_has_nothing_to_say() {
    let home = Home::new();
    let daemon = home.serve(&[]);
    home.ok(&["incr", "a=5"]);
    let ran = daemon.stop();
    assert_eq!((ran.code, ran.stdout.as_str()), (0, "a 5\n"), "{ran:?}");
    assert!(!home.socket().exists());
    let daemon = home.serve(&[]);
    assert_eq!(home.total("a"), 5);
    assert_eq!(daemon.stop().stdout, "");
}

#[test]
fn deletions_and_last_seen_times_survive() {
    let home = Home::new();
    let daemon = home.serve(&[]);
    home.ok(&["incr", "gone", "stays"]);
    home.ok(&["delete", "gone"]);
    let before = home.ok(&["dump", "--format", "json"]);
    daemon.kill();
    let daemon = home.serve(&[]);
    assert_eq!(home.ok(&["dump", "--format", "json"]), before);
    daemon.stop();
    let _daemon = home.serve(&[]);
    let seen = |text: &str| text.split("\"last_seen\":").nth(1).unwrap().to_owned();
    assert_eq!(seen(&home.ok(&["dump", "--format", "json"])), seen(&before));
}

#[test]
fn an_ephemeral_daemon_keeps_nothing_and_writes_no_state() {
    let home = Home::new();
    let daemon = home.serve(&["--ephemeral"]);
    home.ok(&["incr", "a"]);
    daemon.stop();
    assert!(!home.state().exists());
    let _daemon = home.serve(&["--ephemeral"]);
    assert_eq!(home.ok(&["dump"]), "");
}

#[test]
fn windows_owed_to_a_blocked_sink_survive_kill_9() {
    let home = Home::new();
    let log = home.path("log");
    let options = ["--log-file", log.to_str().unwrap(), "--log-file", "-"];
    let (reader, writer) = std::io::pipe().unwrap();
    let daemon = home.serve_with(&options, Stdio::from(writer));
    // More than a pipe holds, and nobody reads; then another window behind it.
    let lines: String = (0..20_000).map(|n| format!("n{n}\n")).collect();
    for _ in 0..2 {
        assert_eq!(home.pipe(&["incr", "--stdin"], lines.as_bytes()).code, 0);
        home.run(&["flush", "--timeout", "100ms"]).refused(1, &["stdout"]);
    }
    daemon.kill();
    drop(reader);
    let daemon = home.serve(&options);
    home.ok(&["incr", "n0"]);
    home.ok(&["flush"]);
    let ran = daemon.stop();
    assert_eq!(parse_counts(&ran.stdout).values().sum::<u64>(), 40_001);
    assert_eq!(logged(&log).values().sum::<u64>(), 40_001);
}

#[test]
fn a_log_file_has_each_count_once_after_any_number_of_kills_and_rotations() {
    let home = Home::new();
    let log = home.path("log");
    let options = ["--interval", "10ms", "--log-file", log.to_str().unwrap()];
    let mut rotated = Vec::new();
    let mut daemon = home.serve(&options);
    let mut client = home.client(["incr", "--stdin"]);
    let mut stream = client.stdin(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    for round in 0_u64..24 {
        for n in 0..5 + round * 7 % 11 {
            let lines = stream.stdin.as_mut().unwrap();
            writeln!(lines, "streamed\nstreamed {n}\nn{round} 2").unwrap();
            home.ok(&["incr", "a", "b=3"]);
        }
        if round % 4 == 3 {
            let old = home.path(&format!("log.{round}"));
            std::fs::rename(&log, &old).unwrap();
            rotated.push(old);
        }
        daemon.kill();
        daemon = home.serve(&options);
    }
    drop(stream.stdin.take());
    assert!(stream.wait().unwrap().success());
    home.ok(&["flush"]);
    let totals = parse_counts(&home.ok(&["dump"]));
    assert_eq!(totals["b"], 3 * totals["a"]);
    assert_eq!(totals.len(), 3 + 24);
    rotated.push(log);
    let mut written = std::collections::BTreeMap::new();
    for (name, count) in rotated.iter().flat_map(|log| logged(log)) {
        *written.entry(name).or_default() += count;
    }
    assert_eq!(written, totals);
    daemon.stop();
}

#[test]
fn each_fsync_policy_keeps_what_was_acknowledged() {
    for policy in ["always", "everysec", "no"] {
        let home = Home::new();
        let daemon = home.serve(&["--fsync", policy]);
        home.ok(&["incr", "a=5"]);
        home.ok(&["flush"]);
        daemon.kill();
        let _daemon = home.serve(&["--fsync", policy]);
        assert_eq!(home.total("a"), 5, "{policy}");
    }
}

#[test]
fn an_increment_waits_while_the_daemon_is_started_again() {
    let home = Home::new();
    let daemon = home.serve(&[]);
    home.ok(&["incr", "a"]);
    daemon.kill();
    // The socket is there, nobody serves it: one-shots keep asking until the next daemon is there.
    let waiting: Vec<_> = (0..5)
        .map(|_| {
            home.client(["incr", "a", "--timeout", "30s"]).stderr(Stdio::piped()).spawn().unwrap()
        })
        .collect();
    let _daemon = home.serve(&[]);
    for child in waiting {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{output:?}");
    }
    assert_eq!(home.total("a"), 6);
}

#[test]
fn a_torn_tail_is_cut_off_and_said() {
    let home = Home::new();
    let daemon = home.serve(&[]);
    home.ok(&["incr", "a=5"]);
    daemon.kill();
    let journal = newest_journal(&home);
    let mut file = std::fs::OpenOptions::new().append(true).open(&journal).unwrap();
    file.write_all(b"half a record").unwrap();
    let daemon = home.serve(&[]);
    assert!(daemon.said.iter().any(|line| line.contains("journal.")), "{:?}", daemon.said);
    assert_eq!(home.total("a"), 5);
}

#[test]
fn a_foreign_file_in_the_place_of_the_journal_is_refused_and_left_alone() {
    let home = Home::new();
    home.serve(&[]).kill();
    let journal = newest_journal(&home);
    std::fs::write(&journal, "my diary, volume one, which is longer than a header of any kind\n")
        .unwrap();
    let ran = crate::harness::Ran::of(home.serve_command(&[]).output().unwrap());
    ran.refused(1, &["journal."]);
    assert!(std::fs::read_to_string(&journal).unwrap().starts_with("my diary"));
}

#[test]
fn an_increment_that_does_not_fit_on_the_disk_is_refused_and_those_before_it_are_kept() {
    let home = Home::new();
    // A limit on the size of files stops the journal as a full disk would.
    let mut command = std::process::Command::new("sh");
    let serve = home.serve_command(&[]);
    command.args(["-c", "trap '' XFSZ; ulimit -f 16; exec \"$0\" \"$@\""]);
    command.arg(serve.get_program()).args(serve.get_args());
    let daemon = crate::harness::Daemon::spawn(command);
    let mut counted = 0;
    let ran = loop {
        let ran = home.run(&["incr", "a", "a.second.name=2"]);
        if ran.code != 0 {
            break ran;
        }
        counted += 1;
    };
    ran.refused(1, &["not counted", "too large"]);
    assert_eq!(home.total("a"), counted, "nothing of the refused request is there");
    let status = home.run(&["status"]);
    assert_eq!(status.code, 1, "{status:?}");
    assert!(
        status.stdout.contains("problem: the daemon's journal cannot be written"),
        "{status:?}"
    );
    daemon.kill();
    let _daemon = home.serve(&[]);
    assert_eq!((home.total("a"), home.total("a.second.name")), (counted, 2 * counted));
    home.ok(&["incr", "a"]);
}

#[test]
fn many_counters_survive_a_stop_and_a_kill() {
    let home = Home::new();
    let daemon = home.serve(&[]);
    let lines: String = (0..50_000).map(|n| format!("n{n} {n}\n")).collect();
    assert_eq!(home.pipe(&["incr", "--stdin"], lines.as_bytes()).code, 0);
    daemon.stop();
    let daemon = home.serve(&[]);
    let before = home.ok(&["dump"]);
    assert_eq!(parse_counts(&before).len(), 50_000);
    home.ok(&["incr", "one.more"]);
    daemon.kill();
    let _daemon = home.serve(&[]);
    assert_eq!(home.ok(&["dump", "n*"]), before);
    assert_eq!(home.total("one.more"), 1);
}

fn newest_journal(home: &Home) -> std::path::PathBuf {
    let entries = std::fs::read_dir(home.state()).unwrap().map(|entry| entry.unwrap().path());
    let number = |path: &std::path::Path| {
        let name = path.file_name()?.to_str()?;
        name.strip_prefix("journal.")?.parse::<u64>().ok()
    };
    entries.filter(|path| number(path).is_some()).max_by_key(|path| number(path)).unwrap()
}
