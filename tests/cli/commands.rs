//! `dump`, `get`, `delete`, `flush`, `status`, `completions`.

use std::process::{Command, Stdio};

use crate::harness::Home;

fn filled() -> (Home, crate::harness::Daemon) {
    let home = Home::new();
    let daemon = home.serve(&[]);
    home.ok(&[
        "incr",
        "jobs.done,host=a,result=ok=10",
        "jobs.done,host=b,result=fail=2",
        "zeta=7",
        "alpha",
    ]);
    (home, daemon)
}

#[test]
fn dump_is_sorted_by_bytes_and_patterns_select() {
    let (home, _daemon) = filled();
    let all = "alpha 1\njobs.done,host=a,result=ok 10\njobs.done,host=b,result=fail 2\nzeta 7\n";
    assert_eq!(home.ok(&["dump"]), all);
    assert_eq!(home.ok(&["dump", "jobs.*", "-t", "host=b"]), "jobs.done,host=b,result=fail 2\n");
    assert_eq!(home.ok(&["dump", "jobs.done"]).lines().count(), 2);
    assert_eq!(home.ok(&["dump", "z*", "?lpha"]), "alpha 1\nzeta 7\n");
    assert_eq!(home.ok(&["dump", "no.such.*"]), "");
    home.run(&["dump", "no.such"]).refused(1, &["no.such"]);
}

#[test]
fn dump_sorts_numbers_downwards() {
    let (home, _daemon) = filled();
    let by_total = home.ok(&["dump", "--sort", "total"]);
    let totals: Vec<&str> = by_total.lines().map(|line| line.rsplit(' ').next().unwrap()).collect();
    assert_eq!(totals, ["10", "7", "2", "1"]);
}

#[test]
fn dump_since_flush_is_what_the_open_window_has() {
    let (home, _daemon) = filled();
    home.ok(&["flush"]);
    home.ok(&["incr", "zeta=5"]);
    assert_eq!(home.ok(&["dump", "zeta", "--since-flush"]), "zeta 5\n");
    assert_eq!(home.ok(&["get", "zeta", "--since-flush"]), "5\n");
    assert_eq!(home.ok(&["get", "zeta"]), "12\n");
}

#[test]
fn dump_has_json_csv_and_prometheus() {
    let (home, _daemon) = filled();
    let json = home.ok(&["dump", "jobs.done", "--format", "json"]);
    let first: serde_json::Value = serde_json::from_str(json.lines().next().unwrap()).unwrap();
    assert_eq!(first["name"], "jobs.done");
    assert_eq!(first["tags"]["host"], "a");
    assert_eq!(first["total"], 10);
    let csv = home.ok(&["dump", "zeta", "--format", "csv"]);
    assert!(csv.starts_with("counter,total,since_flush,created,last_seen\nzeta,7,7,"), "{csv}");
    let text = home.ok(&["dump", "--format", "prometheus"]);
    assert!(text.contains("# TYPE jobs_done_total counter\n"), "{text}");
    assert!(text.contains("jobs_done_total{host=\"a\",result=\"ok\"} 10\n"), "{text}");
}

#[test]
fn prometheus_names_that_fall_together_are_reported_and_not_merged() {
    let home = Home::new();
    let _daemon = home.serve(&[]);
    home.ok(&["incr", "a.b=3", "a-b=5"]);
    let ran = home.run(&["dump", "--format", "prometheus"]);
    assert!(ran.stderr.contains("a.b") && ran.stderr.contains("a-b"), "{ran:?}");
    assert_eq!(ran.code, 1, "{ran:?}");
    assert_eq!(ran.stdout.lines().filter(|line| line.starts_with("a_b_total ")).count(), 1);
}

#[test]
fn a_reader_that_has_seen_enough_is_no_error() {
    let home = Home::new();
    let _daemon = home.serve(&[]);
    let lines: String = (0..50_000).map(|n| format!("n{n}\n")).collect();
    assert_eq!(home.pipe(&["incr", "--stdin"], lines.as_bytes()).code, 0);
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut command = home.client(["dump"]);
    let output = command.stdout(writer).stderr(Stdio::piped()).spawn().unwrap();
    let ran = crate::harness::Ran::of(output.wait_with_output().unwrap());
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{ran:?}");
}

#[test]
fn an_output_that_cannot_be_written_is_exit_1() {
    let (home, _daemon) = filled();
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let mut command = home.client(["dump"]);
    let child = command.stdout(full).stderr(Stdio::piped()).spawn().unwrap();
    crate::harness::Ran::of(child.wait_with_output().unwrap()).refused(1, &["No space left"]);
}

#[test]
fn get_is_one_number() {
    let (home, _daemon) = filled();
    assert_eq!(home.ok(&["get", "zeta"]), "7\n");
    assert_eq!(home.ok(&["get", "jobs.done,result=ok,host=a"]), "10\n");
    home.run(&["get", "jobs.done"]).refused(1, &["jobs.done,host=a,result=ok"]);
    home.run(&["get", "nothing"]).refused(1, &["nothing"]);
    assert_eq!(home.ok(&["get", "nothing", "--default", "0"]), "0\n");
    assert_eq!(home.ok(&["get", "zeta", "--default", "0"]), "7\n");
    assert_eq!(home.ok(&["get", "--sum", "jobs.*"]), "12\n");
    assert_eq!(home.ok(&["get", "--sum", "jobs.*", "-t", "host=a"]), "10\n");
    let other = Home::new();
    other.run(&["get", "a", "--default", "0"]).refused(3, &[]);
}

#[test]
fn delete_prints_what_was_and_forgets_it() {
    let (home, mut daemon) = filled();
    assert_eq!(home.ok(&["delete", "-n", "jobs.*"]).lines().count(), 2);
    assert_eq!(home.ok(&["dump"]).lines().count(), 4);
    home.run(&["delete", "jobs.done"]).refused(1, &["jobs.done"]);
    assert_eq!(home.ok(&["delete", "jobs.done", "--ignore-missing"]), "");
    assert_eq!(home.ok(&["delete", "jobs.*", "-t", "host=a"]), "jobs.done,host=a,result=ok 10\n");
    assert_eq!(home.ok(&["dump", "jobs.*"]), "jobs.done,host=b,result=fail 2\n");
    home.ok(&["flush"]);
    let lines: Vec<String> = (0..4).map(|_| daemon.line()).collect();
    assert!(
        lines.contains(&"jobs.done,host=a,result=ok 10".to_owned()),
        "still reported: {lines:?}"
    );
    assert_eq!(home.ok(&["incr", "--print", "jobs.done,host=a,result=ok"]), "1\n");
}

#[test]
fn flush_returns_when_the_report_is_out() {
    let home = Home::new();
    let log = home.path("log");
    let _daemon = home.serve(&["--log-file", log.to_str().unwrap()]);
    home.ok(&["flush"]);
    assert_eq!(std::fs::read_to_string(&log).unwrap(), "");
    for n in 1..=10 {
        home.ok(&["incr", "a"]);
        home.ok(&["flush"]);
        assert_eq!(crate::harness::logged(&log)["a"], n);
    }
}

#[test]
fn status_has_the_numbers_and_no_problem() {
    let (home, _daemon) = filled();
    home.ok(&["flush"]);
    let text = home.ok(&["status"]);
    for fact in [
        "socket",
        "pid",
        "uptime",
        "version",
        "counters",
        "increments",
        "connections",
        "flushes",
        "journal",
        "checkpoint",
        "stdout",
    ] {
        assert!(text.contains(fact), "{fact} is not in {text}");
    }
    let json: serde_json::Value =
        serde_json::from_str(&home.ok(&["status", "--format", "json"])).unwrap();
    assert_eq!(json["problems"], serde_json::json!([]));
    assert_eq!((&json["counters"], &json["increments"]), (&4.into(), &4.into()));
    assert_eq!(json["flushes"], 1);
    assert!(json["pid"].is_u64() && json["uptime"].is_number(), "{json}");
}

#[test]
fn status_lists_problems_first_and_exits_1() {
    let home = Home::new();
    let _daemon = home.serve(&["--max-counters", "1"]);
    home.ok(&["incr", "a"]);
    home.run(&["incr", "b"]).refused(1, &["--max-counters"]);
    let ran = home.run(&["status"]);
    assert_eq!(ran.code, 1);
    assert!(ran.stdout.starts_with("problem: "), "{ran:?}");
}

#[test]
fn status_wait_returns_once_the_daemon_is_ready() {
    let home = Home::new();
    home.run(&["status", "--wait", "50ms"]).refused(3, &[]);
    let child = home.client(["status", "--wait", "30s"]).stdout(Stdio::piped()).spawn().unwrap();
    let _daemon = home.serve(&[]);
    assert!(child.wait_with_output().unwrap().status.success());
}

#[test]
fn completions_are_those_that_are_committed() {
    let home = Home::new();
    for (shell, file) in [("bash", "countd.bash"), ("zsh", "_countd"), ("fish", "countd.fish")] {
        let path = format!("{}/completions/{file}", env!("CARGO_MANIFEST_DIR"));
        assert_eq!(home.ok(&["completions", shell]), std::fs::read_to_string(path).unwrap());
    }
}

#[test]
fn help_and_version_go_to_stdout() {
    let home = Home::new();
    for args in [&["--help"][..], &["-h"], &["incr", "--help"], &["help", "serve"], &["--version"]]
    {
        assert!(!home.ok(args).is_empty(), "{args:?}");
    }
    for command in
        ["serve", "incr", "run", "dump", "get", "delete", "flush", "status", "completions"]
    {
        assert!(home.ok(&["--help"]).contains(command));
        assert!(home.ok(&[command, "--help"]).contains("EXAMPLES"), "{command} has examples");
    }
}

#[test]
fn completing_names_is_silent_where_nobody_answers() {
    let home = Home::new();
    let names = || {
        let ran = home.run(&["completions", "--", "countd", "get", "a"]);
        assert_eq!((ran.code, ran.stdout.as_str(), ran.stderr.as_str()), (0, "", ""));
    };
    names();
    // One that answers never is given up.
    let _listener = std::os::unix::net::UnixListener::bind(home.socket()).unwrap();
    names();
}

#[test]
fn a_closed_output_is_an_error_and_takes_no_message() {
    let home = Home::new();
    let _daemon = home.serve(&[]);
    home.ok(&["incr", "a"]);
    let with = |redirection: &str, words: &[&str]| {
        let countd = home.client(words);
        let mut command = Command::new("sh");
        command.args(["-c", &format!("exec \"$@\" {redirection}"), "sh"]);
        command.arg(countd.get_program()).args(countd.get_args());
        let variables = countd.get_envs().filter_map(|(name, value)| Some((name, value?)));
        command.env_clear().envs(variables).output().unwrap()
    };
    let done = with(">&-", &["get", "a"]);
    let message = String::from_utf8_lossy(&done.stderr).into_owned();
    assert_eq!(done.status.code(), Some(1), "{message}");
    assert!(message.contains("standard output: Bad file descriptor"), "{message}");
    assert_eq!(with("<&-", &["incr", "--stdin"]).status.code(), Some(1));
    // No message ends up in the socket, which would have the number of what is closed.
    assert_eq!(with("2>&- >&- <&-", &["incr", "a=4"]).status.code(), Some(0));
    assert_eq!(with("2>&-", &["incr", "a b"]).status.code(), Some(2));
    assert_eq!(home.ok(&["get", "a"]), "5\n");
}
