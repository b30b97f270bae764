//! Reports into collectors that are away, hang, refuse and are killed, from a daemon that is killed, too; and the
//! options of a sink. What a collector has in the end is compared with the totals, to the last count.

use std::net::UdpSocket;
use std::path::Path;
use std::process::Stdio;

use rustix::process::Signal;

use crate::fakes::{Carbon, Does, Lines, Statsd, whisper};
use crate::harness::{Daemon, Home, Ran, logged, parse_counts, until};

fn graphite(carbon: &Carbon, options: &str) -> String {
    format!("--sink=graphite://127.0.0.1:{}{options}", carbon.port)
}

#[test]
fn graphite_gets_a_path_a_value_and_a_second_for_each_counter() {
    let (home, carbon) = (Home::new(), Carbon::start());
    let daemon = home.serve(&[&graphite(&carbon, "?prefix=h")]);
    home.ok(&["incr", "a=5", "b,k=v=2", "a/x"]);
    home.ok(&["flush"]);
    let lines = carbon.lines.lock().unwrap().clone();
    let words: Vec<Vec<&str>> = lines.iter().map(|line| line.split(' ').collect()).collect();
    assert_eq!(words.iter().map(|line| line[0]).collect::<Vec<_>>(), ["h.a", "h.a%2Fx", "h.b;k=v"]);
    assert_eq!(words.iter().map(|line| line[1]).collect::<Vec<_>>(), ["5", "1", "2"]);
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Realtime).tv_sec;
    let second: i64 = words[0][2].parse().unwrap();
    assert!((now - 60..=now).contains(&second), "{second} at {now}");
    assert_eq!(daemon.stop().code, 0);
}

#[test]
fn flushes_of_one_second_do_not_take_each_others_place() {
    let (home, carbon) = (Home::new(), Carbon::start());
    let _daemon = home.serve(&[&graphite(&carbon, "")]);
    for _ in 0..3 {
        home.ok(&["incr", "a"]);
        home.ok(&["flush"]);
    }
    assert_eq!(carbon.sums()["a"], 3);
}

#[test]
fn a_carbon_that_is_away_at_the_start_gets_everything_when_it_comes() {
    let (home, carbon) = (Home::new(), Carbon::start());
    let sink = graphite(&carbon, "");
    let (port, lines) = carbon.stop();
    let mut daemon = home.serve(&[&sink, "--interval", "50ms"]);
    home.ok(&["incr", "a", "b=2"]);
    daemon.wait_until_it_says("cannot connect: Connection refused");
    for _ in 1..20 {
        home.ok(&["incr", "a", "b=2"]);
    }
    let status = home.run(&["status"]);
    assert_eq!(status.code, 1);
    assert!(status.stdout.contains("failed last time: cannot connect"), "{status:?}");
    let carbon = Carbon::start_at(port, lines);
    daemon.wait_until_it_says("takes reports again");
    home.ok(&["flush"]);
    let status = home.ok(&["status", "--format", "json"]);
    let status: serde_json::Value = serde_json::from_str(&status).unwrap();
    assert!(status["sink_0_last_error"].as_str().unwrap().contains("cannot connect"), "{status}");
    let moment = |key: &str| status[key].as_str().unwrap().to_owned();
    assert!(moment("sink_0_last_failure") < moment("sink_0_last_success"), "{status}");
    let sums = carbon.sums();
    assert_eq!((sums["a"], sums["b"]), (20, 40));
    assert_eq!(home.run(&["status"]).code, 0);
}

#[test]
fn a_carbon_that_dies_in_the_middle_of_a_report_gets_it_again() {
    let (home, carbon) = (Home::new(), Carbon::start());
    let mut daemon = home.serve(&[&graphite(&carbon, "")]);
    let names: Vec<String> = (0..5_000).map(|n| format!("some.name.{n}")).collect();
    let lines: String = names.iter().map(|name| format!("{name}\n")).collect();
    for bytes in [0, 1, 40_000] {
        carbon.now(Does::Die(bytes));
        assert_eq!(home.pipe(&["incr", "--stdin"], lines.as_bytes()).code, 0);
        home.run(&["flush", "--timeout", "200ms"]).refused(1, &["graphite://127.0.0.1:"]);
        daemon.wait_until_it_says("reports wait");
        carbon.now(Does::Read);
        home.ok(&["flush"]);
    }
    let sums = carbon.sums();
    assert!(names.iter().all(|name| sums[name] == 3));
}

/// The kernel of one that is stopped takes what it is sent, and that is no delivery.
#[test]
fn a_carbon_that_hangs_holds_up_nothing_and_what_it_has_not_read_comes_again() {
    let (home, carbon, log) = (Home::new(), Carbon::start(), home_log());
    let log_option = format!("--log-file={}", log.path().join("log").display());
    let mut daemon = home.serve(&[&graphite(&carbon, "?timeout=200ms"), &log_option]);
    carbon.now(Does::Hang);
    for count in 1..=3 {
        home.ok(&["incr", "a"]);
        home.run(&["flush", "--timeout", "100ms"]).refused(1, &["graphite"]);
        until("the log has it", || logged(&log.path().join("log")).get("a") == Some(&count));
    }
    let said = daemon.wait_until_it_says("reports wait");
    assert!(said.contains("it did not end the connection in time"), "{said}");
    let (port, lines) = carbon.stop();
    assert_eq!(whisper(&lines).get("a"), None);
    let carbon = Carbon::start_at(port, lines);
    home.ok(&["flush"]);
    assert_eq!(carbon.sums()["a"], 3);
    assert_eq!(daemon.stop().code, 0);
}

fn home_log() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

#[test]
fn a_connection_that_is_kept_is_opened_anew_when_it_was_closed() {
    let (home, carbon) = (Home::new(), Carbon::start());
    let daemon = home.serve(&[&graphite(&carbon, "?ack=sent")]);
    for _ in 0..2 {
        // The line may be with a carbon that is closing: then it comes again with the next.
        carbon.now(Does::Die(2));
        home.ok(&["incr", "a"]);
        home.run(&["flush", "--timeout", "5s"]);
        carbon.now(Does::Read);
    }
    home.ok(&["incr", "a"]);
    home.ok(&["flush"]);
    // It is read to its end when the daemon goes.
    assert_eq!(daemon.stop().code, 0);
    until("the last is read", || carbon.sums().get("a") == Some(&3));
}

/// What it had read and not stored is lost with it.
#[test]
fn a_carbon_that_was_started_anew_gets_the_last_reports_again() {
    for options in ["", "?ack=sent"] {
        let (home, carbon) = (Home::new(), Carbon::start());
        let mut daemon = home.serve(&[&graphite(&carbon, options)]);
        for _ in 0..2 {
            home.ok(&["incr", "a"]);
            home.ok(&["flush"]);
        }
        let (port, _) = carbon.stop();
        let carbon = Carbon::start_at(port, Lines::default());
        home.ok(&["incr", "a"]);
        home.ok(&["flush"]);
        daemon.wait_until_it_says("the last reports are written again, 2 of them");
        home.ok(&["incr", "a"]);
        home.ok(&["flush"]);
        assert_eq!(daemon.stop().code, 0);
        until("all is read", || carbon.sums().get("a") == Some(&4));
        let lines = carbon.lines.lock().unwrap();
        assert_eq!(lines.len(), 4, "{lines:?}");
    }
}

/// Whatever ended the daemon, carbon may have been killed with it.
#[test]
fn what_carbon_read_comes_again_after_a_start_and_not_for_ever() {
    let (home, mut carbon) = (Home::new(), Carbon::start());
    let sink = graphite(&carbon, "?again=1s&prefix=old");
    let mut daemon = home.serve(&[&sink]);
    home.ok(&["incr", "a=5", "b"]);
    home.ok(&["flush"]);
    for kills in [true, false] {
        if kills {
            daemon.kill();
        } else {
            assert_eq!(daemon.stop().code, 0);
        }
        let (port, had) = carbon.stop();
        carbon = Carbon::start_at(port, Lines::default());
        daemon = home.serve(&[&graphite(&carbon, "?again=1s&prefix=new")]);
        until("it comes again", || carbon.lines.lock().unwrap().len() == 2);
        assert_eq!(*carbon.lines.lock().unwrap(), *had.lock().unwrap());
    }
    // It is looked for itself whether carbon is still there, and then nothing is kept.
    let status = || home.ok(&["status", "--format", "json"]);
    let nothing = ["\"sink_0_windows_owed\":0", "\"sink_0_windows_kept\":0"];
    until("nothing is kept", || {
        let status = status();
        nothing.iter().all(|fact| status.contains(fact))
    });
    assert_eq!(daemon.stop().code, 0);
    let lines = carbon.lines.lock().unwrap().len();
    let daemon = home.serve(&[&sink]);
    home.ok(&["flush"]);
    assert_eq!(daemon.stop().code, 0);
    assert_eq!(carbon.lines.lock().unwrap().len(), lines);
}

#[test]
fn what_was_on_its_way_is_repeated_as_it_was_by_a_daemon_with_other_options() {
    let (home, carbon) = (Home::new(), Carbon::start());
    carbon.now(Does::Hang);
    let mut daemon = home.serve(&[&graphite(&carbon, "?prefix=old&timeout=100ms")]);
    home.ok(&["incr", "a=5"]);
    home.run(&["flush", "--timeout", "100ms"]).refused(1, &["graphite"]);
    daemon.wait_until_it_says("reports wait");
    home.ok(&["incr", "a=2"]);
    daemon.kill();
    carbon.now(Does::Read);
    let daemon = home.serve(&[&graphite(&carbon, "?prefix=new&value=total")]);
    home.ok(&["flush"]);
    daemon.kill();
    let sums = carbon.sums();
    assert_eq!((sums["old.a"], sums["new.a"]), (5, 7));
    assert_eq!(sums.len(), 2);
}

#[test]
fn a_daemon_that_is_killed_over_and_over_and_a_carbon_that_comes_and_goes_agree_in_the_end() {
    let home = Home::new();
    let mut carbon = Carbon::start();
    let sink = graphite(&carbon, "?timeout=100ms");
    let mut sent = 0;
    for round in 0..6 {
        let daemon = home.serve(&[&sink, "--interval", "20ms"]);
        for _ in 0..10 {
            home.ok(&["incr", "a", "b,x=y=3"]);
            sent += 1;
        }
        match round % 3 {
            0 => carbon.now(Does::Hang),
            1 => {
                let (port, lines) = carbon.stop();
                carbon = Carbon::start_at(port, lines);
            }
            _ => carbon.now(Does::Die(7)),
        }
        for _ in 0..10 {
            home.ok(&["incr", "a", "b,x=y=3"]);
            sent += 1;
        }
        daemon.kill();
    }
    carbon.now(Does::Read);
    let daemon = home.serve(&[&sink]);
    home.ok(&["flush"]);
    assert_eq!(daemon.stop().code, 0);
    let sums = carbon.sums();
    assert_eq!((sums["a"], sums["b;x=y"]), (sent, 3 * sent));
}

#[test]
fn on_stop_the_last_window_goes_to_every_sink_and_what_is_left_comes_after_the_next_start() {
    let (home, carbon) = (Home::new(), Carbon::start());
    let daemon = home.serve(&[&graphite(&carbon, "?interval=24h"), "--sink=stdout"]);
    home.ok(&["incr", "a"]);
    let ran = daemon.stop();
    assert_eq!((ran.stdout.as_str(), carbon.sums()["a"]), ("a 1\n", 1));
    let sink = graphite(&carbon, "?timeout=100ms");
    let (port, lines) = carbon.stop();
    let daemon = home.serve(&[&sink]);
    home.ok(&["incr", "a=2"]);
    let ran = daemon.stop();
    assert!(ran.stderr.contains("not yet taken by graphite://"), "{ran:?}");
    let carbon = Carbon::start_at(port, lines);
    let _daemon = home.serve(&[&sink]);
    until("it came", || carbon.sums()["a"] == 3);
}

#[test]
fn past_the_bound_the_oldest_windows_are_made_one_and_no_count_is_lost() {
    let (home, carbon) = (Home::new(), Carbon::start());
    let sink = graphite(&carbon, "");
    let (port, lines) = carbon.stop();
    let daemon = home.serve(&[&sink, "--owed-max", "64KiB", "--interval", "10ms"]);
    let all: String = (0..500).map(|n| format!("n.{n}\n")).collect();
    let mut sent = 0;
    let mut windows = 0;
    until("more was owed than there is room for", || {
        assert_eq!(home.pipe(&["incr", "--stdin"], all.as_bytes()).code, 0);
        sent += 1;
        let status = home.run(&["status", "--format", "json"]).stdout;
        let json: serde_json::Value = serde_json::from_str(&status).unwrap();
        windows = json["window"].as_u64().unwrap();
        let owed = json["sink_0_counts_owed"].as_u64().unwrap();
        // It is made good within a turn or two.
        assert!(owed < 10_000, "{status}");
        windows > 30 && json["sink_0_windows_owed"].as_u64() < Some(windows / 2)
    });
    daemon.kill();
    let carbon = Carbon::start_at(port, lines);
    let _daemon = home.serve(&[&sink]);
    home.ok(&["flush"]);
    let sums = carbon.sums();
    assert!((0..500).all(|n| sums[&format!("n.{n}")] == sent), "{sent}: {sums:?}");
}

#[test]
fn a_sink_with_an_interval_gets_its_windows_as_one() {
    let home = Home::new();
    let options = ["--interval", "10ms", "--sink=stdout?interval=1s&format=json"];
    let mut daemon = home.serve(&options);
    let mut sent = 0;
    until("there were five flushes", || {
        home.ok(&["incr", "a"]);
        sent += 1;
        let status = home.run(&["status", "--format", "json"]);
        let json: serde_json::Value = serde_json::from_str(&status.stdout).unwrap();
        json["flushes"].as_u64() >= Some(5)
    });
    let first: serde_json::Value = serde_json::from_str(&daemon.line()).unwrap();
    assert!(first["first_window"].as_u64() < first["window"].as_u64(), "{first}");
    let rest = daemon.stop().stdout;
    let rest = rest.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let sum = rest.map(|line| line["count"].as_u64().unwrap()).sum::<u64>();
    assert_eq!(first["count"].as_u64().unwrap() + sum, sent);
}

#[test]
fn each_sink_has_its_own_choice_of_counters_and_of_idle_ones() {
    let home = Home::new();
    let file = home.path("log");
    let log = format!("--sink=file:{}?only=web.*&format=plain&idle=zero&prefix=p", file.display());
    let mut daemon = home.serve(&[&log, "--sink=stdout"]);
    home.ok(&["incr", "web.a", "db.a"]);
    home.ok(&["flush"]);
    assert_eq!((daemon.line(), daemon.line()), ("db.a 1".into(), "web.a 1".into()));
    home.ok(&["incr", "db.a"]);
    home.ok(&["flush"]);
    assert_eq!(daemon.line(), "db.a 1");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "p.web.a 1\np.web.a 0\n");
}

fn udp() -> (UdpSocket, u16) {
    let socket = UdpSocket::bind(("127.0.0.1", 0)).unwrap();
    let port = socket.local_addr().unwrap().port();
    (socket, port)
}

#[test]
fn a_statsd_gets_counts_in_packets_over_udp_and_again_where_it_was_not_there() {
    let home = Home::new();
    let (socket, port) = udp();
    let statsd = Statsd::of(socket, Lines::default());
    let sink = format!("--sink=statsd://127.0.0.1:{port}?tags=dogstatsd&prefix=h");
    let mut daemon = home.serve(&[&sink]);
    let lines: String = (0..500).map(|n| format!("n,number={n}\n")).collect();
    assert_eq!(home.pipe(&["incr", "--stdin"], lines.as_bytes()).code, 0);
    home.ok(&["incr", "a=5"]);
    home.ok(&["flush"]);
    until("it has it all", || (statsd.sum("h.a"), statsd.sum("h.n")) == (5, 500));
    assert!(statsd.lines.lock().unwrap().contains(&"h.n:1|c|#number:499".to_owned()));
    let kept = statsd.stop();
    for _ in 0..3 {
        home.ok(&["incr", "a"]);
        home.run(&["flush", "--timeout", "100ms"]).refused(1, &["statsd://127.0.0.1"]);
    }
    daemon.wait_until_it_says("not sent: Connection refused");
    let statsd = Statsd::of(UdpSocket::bind(("127.0.0.1", port)).unwrap(), kept);
    home.ok(&["flush"]);
    until("it has what it missed", || statsd.sum("h.a") == 8);
}

#[test]
fn a_statsd_on_a_unix_socket_loses_nothing_though_it_is_slow_or_away() {
    let home = Home::new();
    let path = home.path("statsd");
    let sink = format!("--sink=statsd+unix:{}", path.display());
    let mut daemon = home.serve(&[&sink]);
    let lines: String = (0..20_000).map(|n| format!("n.{n}\n")).collect();
    assert_eq!(home.pipe(&["incr", "--stdin"], lines.as_bytes()).code, 0);
    home.run(&["flush", "--timeout", "100ms"]).refused(1, &["statsd+unix:"]);
    daemon.wait_until_it_says("not sent: No such file");
    // Bound, and not read: the queue of the kernel is full after a few packets.
    let socket = std::os::unix::net::UnixDatagram::bind(&path).unwrap();
    home.run(&["flush", "--timeout", "200ms"]).refused(1, &["statsd+unix:"]);
    let statsd = Statsd::of(socket, Lines::default());
    home.ok(&["flush"]);
    until("it has it all", || statsd.lines.lock().unwrap().len() == 20_000);
    assert!((0..20_000).step_by(997).all(|n| statsd.sum(&format!("n.{n}")) == 1));
}

fn script(home: &Home, text: &str) -> String {
    let path = home.path("take");
    std::fs::write(&path, format!("#!/bin/sh\n{text}")).unwrap();
    Ran::of(std::process::Command::new("chmod").arg("+x").arg(&path).output().unwrap());
    path.display().to_string()
}

#[test]
fn a_command_gets_each_report_until_it_has_taken_it() {
    let home = Home::new();
    let text = "echo run $COUNTD_WINDOW $COUNTD_WINDOW_FIRST $1 >>\"$0.log\"; cat >>\"$0.log\"\n\
                test -e \"$0.ok\" || { echo no more >&2; exit 3; }\n";
    let take = script(&home, text);
    let mut daemon = home.serve(&[&format!("--sink=exec:{take} an%20argument?format=plain")]);
    home.ok(&["incr", "a=5"]);
    home.run(&["flush", "--timeout", "100ms"]).refused(1, &["exec:", "it exited with 3"]);
    daemon.wait_until_it_says("no more");
    home.ok(&["incr", "a=2"]);
    std::fs::write(format!("{take}.ok"), "").unwrap();
    home.ok(&["flush"]);
    let log = std::fs::read_to_string(format!("{take}.log")).unwrap();
    let runs: Vec<&str> = log.split("run ").filter(|run| !run.is_empty()).collect();
    let (last, others) = runs.split_last().unwrap();
    assert!(
        others.len() >= 2 && others.iter().all(|run| *run == "1 1 an argument\na 5\n"),
        "{log}"
    );
    assert_eq!(*last, "2 2 an argument\na 2\n");
    assert_eq!(daemon.stop().code, 0);
}

#[test]
fn a_command_that_was_killed_with_its_daemon_gets_the_same_report_again() {
    let home = Home::new();
    let text = "cat >>\"$0.log\"; echo window $COUNTD_WINDOW >>\"$0.log\"; test -e \"$0.ok\" || kill -9 $PPID\n";
    let take = script(&home, text);
    let sink = format!("--sink=exec:{take}?format=plain");
    let daemon = home.serve(&[&sink]);
    home.ok(&["incr", "a=5"]);
    home.run(&["flush"]);
    assert_eq!(daemon.end().code, 1_009);
    std::fs::write(format!("{take}.ok"), "").unwrap();
    let mut daemon = home.serve(&[&sink]);
    daemon.wait_until_it_says("window 1 was on the way already and may be there: written again");
    home.ok(&["flush"]);
    let log = std::fs::read_to_string(format!("{take}.log")).unwrap();
    assert_eq!(log, "a 5\nwindow 1\na 5\nwindow 1\n");
}

#[test]
fn a_command_that_takes_too_long_is_ended_and_a_stop_ends_it() {
    let home = Home::new();
    let take = script(&home, "echo $$ >>\"$0.log\"; exec sleep 1000\n");
    let mut daemon = home.serve(&[&format!("--sink=exec:{take}?timeout=50ms")]);
    home.ok(&["incr", "a"]);
    home.run(&["flush", "--timeout", "3s"]).refused(1, &["it was ended, as it ran for 0.05 s"]);
    daemon.wait_until_it_says("reports wait");
    daemon.signal(Signal::TERM);
    assert_eq!(daemon.end().code, 0);
    let log = std::fs::read_to_string(format!("{take}.log")).unwrap();
    let gone = |pid: &str| !Path::new(&format!("/proc/{pid}")).exists();
    until("no command runs any more", || log.lines().all(gone));
}

#[test]
fn a_shell_runs_a_command_if_it_is_asked_to() {
    let home = Home::new();
    let out = home.path("out");
    let sink =
        format!("--sink=exec:sort -r | tr a-z A-Z >'{}'?shell=yes&format=plain", out.display());
    let _daemon = home.serve(&[&sink]);
    home.ok(&["incr", "a", "b=2"]);
    home.ok(&["flush"]);
    assert_eq!(std::fs::read_to_string(&out).unwrap(), "B 2\nA 1\n");
}

#[test]
fn a_command_is_told_of_its_window_and_nothing_that_is_for_the_daemon() {
    let home = Home::new();
    let out = home.path("out");
    let sink = format!("--sink=exec:cp /proc/self/environ {}", out.display());
    let mut command = home.serve_command(&[&sink]);
    command.env("COUNTD_WINDOW", "77").env("WATCHDOG_USEC", "1").env("KEPT", "1");
    let _daemon = Daemon::spawn(command);
    home.ok(&["incr", "a"]);
    home.ok(&["flush"]);
    let variables = std::fs::read_to_string(&out).unwrap();
    let ours = ["COUNTD_WINDOW=", "WATCHDOG_USEC=", "KEPT="];
    let found = variables.split('\0').filter(|it| ours.iter().any(|name| it.starts_with(name)));
    assert_eq!(found.collect::<Vec<_>>(), ["KEPT=1", "COUNTD_WINDOW=1"]);
}

#[test]
fn a_wrong_sink_is_refused_at_the_start() {
    let home = Home::new();
    let long = format!("prometheus+unix:/{}", "x".repeat(107));
    for (options, says) in [
        (
            &["--sink", "graphite://x"][..],
            "--sink: \"graphite://x\", at character 13: the port is missing",
        ),
        (&["--sink", "stdout?interval=7s"], "no multiple of the flush interval, 5 s"),
        (&["--sink", "stdout", "--log-file", "-"], "--sink: stdout is a sink already"),
        (
            &["--log-file", "/none/x", "--sink", "textfile:/none/x"],
            "--sink: textfile:/none/x is at the place of file:/none/x",
        ),
        (
            &["--socket", "/none/x", "--sink", "file:/none/x"],
            "file:/none/x is the daemon's own socket",
        ),
        (
            &["--socket", "/none/x", "--log-file", "/none/x"],
            "--log-file /none/x is the daemon's own socket",
        ),
        (&["--sink", &long], "the path of a socket has at most 107"),
        (&["--offset", "auto"], "--offset: only aligned flushes have an offset: add --aligned"),
        (&["--aligned", "--offset", "5s"], "--offset: 5s is not less than the interval, 5 s"),
        (&["--owed-max", "lots"], "--owed-max: \"lots\" is no size"),
        (&["--owed-max", "1"], "from 64KiB to 64GiB"),
    ] {
        for check in [&[][..], &["--check"]] {
            let mut command = home.client(["serve", "--ephemeral"]);
            command.args(options).args(check);
            let ran = Ran::of(command.output().unwrap());
            ran.refused(2, &[says]);
        }
    }
    let mut command = home.client(["serve", "--ephemeral"]);
    let ran = Ran::of(command.env("COUNTD_SINK", "syslog").output().unwrap());
    ran.refused(2, &["COUNTD_SINK: \"syslog\": there is no such kind of sink"]);
}

#[test]
fn no_sink_is_where_the_daemon_has_its_own_files_and_then_nothing_is_made() {
    let home = Home::new();
    let (state, spool) = (home.path("state"), home.path("requests"));
    let (socket, state_text) = (home.path("sock"), state.display().to_string());
    let beside = "is the daemon's own, beside its socket";
    let in_state = "is the daemon's own, in its state folder";
    let in_spool = "is in the daemon's own spool folder";
    let refused = [
        (socket.display().to_string(), "is the daemon's own socket"),
        (format!("{}.lock", socket.display()), beside),
        (format!("{}~", socket.display()), beside),
        (format!("{state_text}/lock"), in_state),
        (format!("{state_text}/journal.7"), in_state),
        (format!("{state_text}/checkpoint.2.tmp"), in_state),
        (format!("{state_text}/journal.1.damaged"), in_state),
        (format!("{}/taken/x", spool.display()), in_spool),
    ];
    for (path, says) in &refused {
        for sink in [
            ["--log-file", path.as_str()],
            ["--sink", &format!("file:{path}")],
            ["--sink", &format!("textfile:{path}")],
            ["--sink", &format!("prometheus+unix:{path}")],
        ] {
            for check in [&["--check"][..], &[]] {
                let mut command = home.client(["serve"]);
                command.arg("--socket").arg(&socket).arg("--state-dir").arg(&state);
                command.arg("--spool-dir").arg(&spool).args(sink).args(check);
                let ran = Ran::of(command.output().unwrap());
                ran.refused(2, &[&format!("{path} {says}")]);
            }
        }
    }
    assert_eq!(std::fs::read_dir(home.path("")).unwrap().count(), 0);
    // Any other name in the state folder is free.
    for name in ["logs/x", "counts.log", "journal.log"] {
        let mut command = home.client(["serve", "--check", "--state-dir"]);
        command.arg(&state).arg("--log-file").arg(state.join(name));
        assert_eq!(Ran::of(command.output().unwrap()).code, 0, "{name}");
    }
}

#[test]
fn check_says_what_would_be_served_and_touches_nothing() {
    let home = Home::new();
    let state = home.path("none/state");
    let mut command =
        home.client(["serve", "--check", "--sink", "graphite://[::1]:2003?interval=1m"]);
    command
        .arg("--state-dir")
        .arg(&state)
        .args(["--aligned", "--offset=2s", "--log-file"])
        .arg(home.path("log"));
    let ran = Ran::of(command.stdout(Stdio::piped()).output().unwrap());
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{ran:?}");
    for line in [
        format!("state folder          {}\n", state.display()),
        "flush interval        5 s, by the wall clock and 2 s later\n".into(),
        format!("sink                  {} (logfmt)\n", home.path("log").display()),
        "sink                  graphite://[::1]:2003 (graphite, every 1 min)\n".into(),
        "windows owed          up to 64 MiB\n".into(),
    ] {
        assert!(ran.stdout.contains(&line), "{line} in {}", ran.stdout);
    }
    let left: Vec<_> = std::fs::read_dir(home.path("")).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn text_formats_of_collectors_are_to_be_had_anywhere() {
    let home = Home::new();
    let mut daemon = home.serve(&["--format", "statsd"]);
    home.ok(&["incr", "a,k=v=3"]);
    home.ok(&["flush"]);
    assert_eq!(daemon.line(), "a;k=v:3|c");
    assert_eq!(parse_counts(&daemon.stop().stdout).len(), 0);
}
