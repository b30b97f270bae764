//! Where reports go: stdout, log files, blocked pipes, full disks, rotation.

use std::process::Stdio;

use rustix::process::Signal;

use crate::harness::{Home, logged, parse_counts, until};

#[test]
fn stdout_has_name_and_count() {
    let home = Home::new();
    let mut daemon = home.serve(&[]);
    home.ok(&["incr", "b=2", "a"]);
    home.ok(&["flush"]);
    assert_eq!((daemon.line().as_str(), daemon.line().as_str()), ("a 1", "b 2"));
    home.ok(&["incr", "a"]);
    home.ok(&["flush"]);
    assert_eq!(daemon.line(), "a 1");
}

#[test]
fn flushes_come_by_themselves_and_add_up_to_the_total() {
    let home = Home::new();
    let daemon = home.serve(&["--interval", "20ms"]);
    let mut sent = 0;
    until("there were three flushes", || {
        home.ok(&["incr", "a", "b=3"]);
        sent += 1;
        let status = home.run(&["status", "--format", "json"]).stdout;
        serde_json::from_str::<serde_json::Value>(&status).unwrap()["flushes"].as_u64() >= Some(3)
    });
    let ran = daemon.stop();
    let counts = parse_counts(&ran.stdout);
    assert_eq!((counts["a"], counts["b"]), (sent, 3 * sent));
    assert!(ran.stdout.lines().count() >= 6, "{ran:?}");
}

#[test]
fn a_log_file_gets_logfmt_and_stdout_nothing() {
    let home = Home::new();
    let log = home.path("log");
    let daemon = home.serve(&["--log-file", log.to_str().unwrap()]);
    home.ok(&["incr", "a=5", "jobs,host=x=2"]);
    home.ok(&["flush"]);
    let text = std::fs::read_to_string(&log).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[0].starts_with("time=20"), "{text}");
    assert!(lines[0].contains(" window=1 counter=a count=5 total=5 seconds="), "{text}");
    assert!(lines[1].contains(" counter=\"jobs,host=x\" count=2 "), "{text}");
    assert_eq!(daemon.stop().stdout, "");
}

#[test]
fn every_sink_gets_every_report_in_its_format() {
    let home = Home::new();
    let log = home.path("log");
    let mut daemon = home.serve(&["--log-file", log.to_str().unwrap(), "--log-file", "-"]);
    home.ok(&["incr", "a=5"]);
    home.ok(&["flush"]);
    assert_eq!(daemon.line(), "a 5");
    assert_eq!(logged(&log)["a"], 5);
    drop(daemon);
    let mut daemon = home.serve(&["--format", "json"]);
    home.ok(&["incr", "a=5"]);
    home.ok(&["flush"]);
    let line = daemon.line();
    let json: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!(
        (&json["counter"], &json["count"], &json["total"]),
        (&"a".into(), &5.into(), &10.into())
    );
}

#[test]
fn idle_counters_are_left_out_or_zero() {
    let home = Home::new();
    let mut daemon = home.serve(&["--idle", "zero"]);
    home.ok(&["incr", "a", "b=0"]);
    home.ok(&["flush"]);
    assert_eq!((daemon.line().as_str(), daemon.line().as_str()), ("a 1", "b 0"));
    home.ok(&["flush"]);
    assert_eq!((daemon.line().as_str(), daemon.line().as_str()), ("a 0", "b 0"));
}

#[test]
fn a_blocked_pipe_stops_neither_counting_nor_the_other_sink() {
    let home = Home::new();
    let log = home.path("log");
    let (reader, writer) = std::io::pipe().unwrap();
    let options = ["--log-file", log.to_str().unwrap(), "--log-file", "-"];
    let daemon = home.serve_with(&options, Stdio::from(writer));
    // More than a pipe holds, and nobody reads.
    let lines: String = (0..20_000).map(|n| format!("n{n}\n")).collect();
    for _ in 0..3 {
        assert_eq!(home.pipe(&["incr", "--stdin"], lines.as_bytes()).code, 0);
        let ran = home.run(&["flush", "--timeout", "100ms"]);
        ran.refused(1, &["stdout"]);
    }
    until("the log file has it all", || logged(&log).values().sum::<u64>() == 60_000);
    let status = home.run(&["status"]);
    assert_eq!(status.code, 1, "{status:?}");
    assert!(status.stdout.contains("stdout"), "{status:?}");
    assert_eq!(home.ok(&["incr", "--print", "n0"]), "4\n");
    // Once somebody reads, what was owed comes.
    let reading = std::thread::spawn(move || {
        let mut text = String::new();
        std::io::Read::read_to_string(&mut { reader }, &mut text).unwrap();
        text
    });
    home.ok(&["flush"]);
    assert_eq!(daemon.stop().code, 0);
    assert_eq!(parse_counts(&reading.join().unwrap()).values().sum::<u64>(), 60_001);
}

#[test]
fn a_reader_that_goes_away_closes_stdout_and_counting_goes_on() {
    let home = Home::new();
    let (reader, writer) = std::io::pipe().unwrap();
    let mut daemon = home.serve_with(&[], Stdio::from(writer));
    drop(reader);
    home.ok(&["incr", "a"]);
    home.run(&["flush", "--timeout", "5s"]);
    daemon.wait_until_it_says("stdout");
    assert_eq!(home.ok(&["incr", "--print", "a"]), "2\n");
    assert_eq!(daemon.stop().code, 0);
}

#[test]
fn a_rotated_log_file_is_noticed_without_a_signal() {
    let home = Home::new();
    let (log, old) = (home.path("log"), home.path("log.1"));
    let _daemon = home.serve(&["--log-file", log.to_str().unwrap()]);
    home.ok(&["incr", "a"]);
    home.ok(&["flush"]);
    std::fs::rename(&log, &old).unwrap();
    std::fs::write(&log, "").unwrap();
    home.ok(&["incr", "a=2"]);
    home.ok(&["flush"]);
    assert_eq!((logged(&old)["a"], logged(&log)["a"]), (1, 2));
}

#[test]
fn sighup_reopens_the_log_file() {
    let home = Home::new();
    let (log, old) = (home.path("log"), home.path("log.1"));
    let daemon = home.serve(&["--log-file", log.to_str().unwrap()]);
    std::fs::rename(&log, &old).unwrap();
    daemon.signal(Signal::HUP);
    // Without the signal the first report would still go into the renamed file.
    home.ok(&["incr", "a"]);
    home.ok(&["flush"]);
    assert_eq!(std::fs::read_to_string(&old).unwrap(), "");
    assert_eq!(logged(&log)["a"], 1);
    assert_eq!(daemon.stop().code, 0);
}

#[test]
fn a_log_file_that_was_removed_is_made_anew_for_the_next_report() {
    let home = Home::new();
    let log = home.path("log");
    let daemon = home.serve(&["--log-file", log.to_str().unwrap()]);
    std::fs::remove_file(&log).unwrap();
    home.ok(&["incr", "a=5"]);
    home.ok(&["flush"]);
    assert_eq!(logged(&log)["a"], 5);
    std::fs::remove_file(&log).unwrap();
    home.ok(&["incr", "a=2"]);
    assert_eq!(daemon.stop().code, 0);
    assert_eq!(logged(&log)["a"], 2);
}

/// A limit on the size of files, which stops a write in the middle as a full disk does and needs no root.
#[test]
fn a_log_file_that_cannot_grow_waits_and_comes_whole() {
    let home = Home::new();
    let log = home.path("log");
    // A limit on the size of files stops the log in the middle of a line, as a full disk would; the
    // state is on the same limit, but small.
    let script = "trap '' XFSZ; ulimit -f 64; exec \"$0\" \"$@\"";
    let mut command = std::process::Command::new("sh");
    let serve = home.serve_command(&["--log-file", log.to_str().unwrap()]);
    command.args(["-c", script]).arg(serve.get_program()).args(serve.get_args());
    command.stdin(Stdio::null()).stdout(Stdio::null()).env("HOME", home.path(""));
    let mut daemon = crate::harness::Daemon::spawn(command);
    let mut sent = 0;
    let refused = loop {
        let names: Vec<String> =
            (0..20).map(|n| format!("a.long.name.for.a.counter.{n}")).collect();
        let mut args = vec!["incr"];
        args.extend(names.iter().map(String::as_str));
        home.ok(&args);
        sent += 20;
        let ran = home.run(&["flush", "--timeout", "300ms"]);
        if ran.code != 0 {
            break ran;
        }
    };
    refused.refused(1, &[log.to_str().unwrap()]);
    daemon.wait_until_it_says("reports wait");
    let whole = std::fs::read_to_string(&log).unwrap();
    assert!(whole.ends_with('\n'), "no part of a report is left behind");
    assert_eq!(logged(&log).values().sum::<u64>(), sent - 20);
    // Rotated away, there is room again.
    std::fs::rename(&log, home.path("log.1")).unwrap();
    std::fs::write(&log, "").unwrap();
    home.ok(&["flush"]);
    daemon.wait_until_it_says("takes reports again");
    let all = logged(&home.path("log.1")).values().chain(logged(&log).values()).sum::<u64>();
    assert_eq!(all, sent);
    assert_eq!(daemon.stop().code, 0);
}
