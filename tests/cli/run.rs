//! `countd run`: a command with countd around it is the command, and is counted.

use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ChildStdout, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::harness::{Home, Ran, until};
use crate::terminal::Terminal;

/// The counts there are, but for run times.
fn counts(home: &Home) -> Vec<String> {
    let dump = home.ok(&["dump"]);
    dump.lines().filter(|line| !line.contains(".milliseconds")).map(str::to_owned).collect()
}

/// A `countd run` of a shell script, and the lines that it prints.
struct Running {
    child: Child,
    lines: BufReader<ChildStdout>,
}

impl Running {
    fn new(home: &Home, script: &str) -> Running {
        let run = home.client(["run", "job", "--", "sh", "-c", script]);
        let mut command = Command::new("env");
        command.arg("--default-signal").arg(run.get_program()).args(run.get_args());
        command.env("COUNTD_SOCKET", home.socket()).stdin(Stdio::null());
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        Running { child, lines }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.lines.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    fn code(mut self) -> Option<i32> {
        self.child.wait().unwrap().code()
    }
}

#[test]
fn the_exit_status_is_that_of_the_command_and_counted() {
    let home = Home::new();
    let _daemon = home.serve(&[]);
    let run = |script| home.run(&["run", "job", "-t", "host=a", "--", "sh", "-c", script]);
    for (script, code) in [("true", 0), ("exit 7", 7), ("exit 255", 255), ("kill -9 $$", 137)] {
        let ran = run(script);
        assert_eq!((ran.code, ran.stderr.as_str()), (code, ""), "{script}");
    }
    assert_eq!(counts(&home), ["job,host=a,result=fail 3", "job,host=a,result=ok 1"]);
    assert_eq!(home.ok(&["dump", "*.milliseconds"]).lines().count(), 1);
    home.ok(&["run", "slow", "sleep", "0.05"]);
    let took = home.total("slow.milliseconds");
    assert!((50..30_000).contains(&took), "{took}");
}

#[test]
fn what_cannot_be_run_is_126_or_127_and_a_failure() {
    let home = Home::new();
    let _daemon = home.serve(&[]);
    let not_executable = home.path("script");
    std::fs::write(&not_executable, "true").unwrap();
    let not_executable = not_executable.to_str().unwrap();
    home.run(&["run", "job", "no-such-command"]).refused(127, &["no-such-command", "not found"]);
    home.run(&["run", "job", ""]).refused(127, &["not found"]);
    home.run(&["run", "job", not_executable]).refused(126, &["Permission denied"]);
    home.run(&["run", "job", "/"]).refused(126, &["Permission denied"]);
    assert_eq!(counts(&home), ["job,result=fail 4"]);
}

#[test]
fn a_script_that_does_not_say_what_runs_it_is_run_by_the_shell() {
    let home = Home::new();
    let script = home.path("script");
    std::fs::write(&script, "echo \"$1\"; exit 3").unwrap();
    std::fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let ran = home.run(&["run", "job", script.to_str().unwrap(), "an argument"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (3, "an argument\n"));
}

#[test]
fn nothing_that_counting_meets_changes_the_exit_status() {
    let home = Home::new();
    for (code, script) in [(0, "exit 0"), (5, "exit 5")] {
        home.run(&["run", "job", "sh", "-c", script]).refused(code, &["no daemon"]);
    }
    let _daemon = home.serve(&["--max-counters", "1"]);
    home.ok(&["incr", "only"]);
    home.run(&["run", "job", "true"]).refused(0, &["refused", "--max-counters"]);
    assert_eq!(counts(&home), ["only 1"]);
    // One that takes no request.
    let deaf = home.path("deaf");
    let _listener = std::os::unix::net::UnixListener::bind(&deaf).unwrap();
    let deaf = ["--socket", deaf.to_str().unwrap(), "--timeout", "50ms"];
    let line = [&["run"], &deaf[..], &["job", "sh", "-c", "exit 6"]].concat();
    assert_eq!(home.run(&line).code, 6);
}

#[test]
fn a_daemon_that_comes_while_the_command_runs_is_found() {
    let home = Home::new();
    let mut running =
        Running::new(&home, "echo ready; trap 'exit 0' USR1; while :; do sleep 0.01; done");
    assert_eq!(running.line(), "ready");
    let _daemon = home.serve(&[]);
    running.signal(Signal::USR1);
    assert_eq!(running.code(), Some(0));
    assert_eq!(counts(&home), ["job,result=ok 1"]);
}

#[test]
fn counts_that_find_no_daemon_can_be_spooled() {
    let home = Home::new();
    let spool = home.path("spool");
    std::fs::create_dir(&spool).unwrap();
    let line =
        ["run", "--spool", "--spool-dir", spool.to_str().unwrap(), "job", "sh", "-c", "exit 9"];
    home.run(&line).refused(9, &["spooled in"]);
    let _daemon = home.serve(&["--spool-dir", spool.to_str().unwrap()]);
    until("the spool is taken", || home.ok(&["dump"]).lines().count() == 2);
    assert_eq!(counts(&home), ["job,result=fail 1"]);
}

#[test]
fn wrong_use_is_told_before_the_command_is_started() {
    let home = Home::new();
    let _daemon = home.serve(&[]);
    let started = home.path("started");
    let touch = ["touch", started.to_str().unwrap()];
    for line in [
        &["a b"][..],
        &["job=3"],
        &["job", "-t", "host="],
        &["job", "-t", "result=ok"],
        &["job,result=ok"],
        &["job", "--timeout", "soon"],
        &["job", "--spool-dir", "/x"],
        &["job", "--bogus"],
        &["--socket", "", "job"],
    ] {
        home.run(&[&["run"], line, &touch].concat()).refused(2, &[]);
    }
    assert_eq!(home.run(&["run", "job"]).code, 2);
    assert!(!started.exists());
    assert_eq!(counts(&home), [""; 0]);
    // A script that is never to fail for counting gets its command.
    for line in [&["a b"][..], &["job", "-t", "host="]] {
        let line = [&["run", "--best-effort"], line, &touch].concat();
        home.run(&line).refused(0, &[]);
        std::fs::remove_file(&started).unwrap();
    }
}

#[test]
fn streams_and_arguments_are_the_commands_own() {
    let home = Home::new();
    let _daemon = home.serve(&[]);
    assert_eq!(home.pipe(&["run", "job", "cat"], b"through\n").stdout, "through\n");
    let ran = home.run(&["run", "job", "sh", "-c", "echo out; echo err >&2"]);
    assert_eq!((ran.stdout.as_str(), ran.stderr.as_str()), ("out\n", "err\n"));
    for line in [&["run", "job", "--"][..], &["run", "job"], &["run", "--", "job"]] {
        let line = [line, &["printf", "%s ", "--socket", "-t", "--", "x", "--help"]].concat();
        assert_eq!(home.ok(&line), "--socket -t -- x --help ");
    }
}

#[test]
fn the_command_has_the_signals_countd_was_started_with() {
    let home = Home::new();
    let look = ["grep", "-E", "Sig(Blk|Ign)|ShdPnd", "/proc/self/status"];
    for given in
        [&["--default-signal"][..], &["--ignore-signal=HUP,PIPE,USR1", "--block-signal=TERM"]]
    {
        let by_env = |program: &[&str]| {
            let mut command = Command::new("env");
            command.arg("--default-signal").arg("env").args(given).args(program);
            let ran = Ran::of(command.env("COUNTD_SOCKET", home.socket()).output().unwrap());
            // glibc has two signals that it keeps for itself ignored in what it spawns.
            ran.stdout.replace("SigIgn:\t00000001800", "SigIgn:\t00000000000")
        };
        let run = [env!("CARGO_BIN_EXE_countd"), "run", "job"];
        let through = by_env(&[&run[..], &look].concat());
        assert_eq!(through, by_env(&look), "{given:?}");
    }
}

#[test]
fn signals_are_passed_on_and_the_end_is_counted() {
    let home = Home::new();
    let _daemon = home.serve(&[]);
    for (name, signal) in [
        ("TERM", Signal::TERM),
        ("INT", Signal::INT),
        ("HUP", Signal::HUP),
        ("QUIT", Signal::QUIT),
        ("USR1", Signal::USR1),
        ("ALRM", Signal::ALARM),
    ] {
        let script = format!(
            "trap 'echo got {name}; exit 4' {name}; echo ready; while :; do sleep 0.01; done"
        );
        let mut running = Running::new(&home, &script);
        assert_eq!(running.line(), "ready");
        running.signal(signal);
        assert_eq!(running.line(), format!("got {name}"));
        assert_eq!(running.code(), Some(4));
    }
    let mut running = Running::new(&home, "echo ready; exec sleep 600");
    assert_eq!(running.line(), "ready");
    running.signal(Signal::TERM);
    assert_eq!(running.code(), Some(128 + 15));
    assert_eq!(counts(&home), ["job,result=fail 7"]);
}

/// A shell on a terminal that runs this script, with `countd` in its path.
fn on_terminal(home: &Home, script: &str) -> Terminal {
    let binary = std::path::Path::new(env!("CARGO_BIN_EXE_countd")).parent().unwrap();
    let path = format!("{}:{}", binary.display(), std::env::var("PATH").unwrap());
    let mut command = Command::new("sh");
    command.args(["-c", script]).env("PATH", path).env("COUNTD_SOCKET", home.socket());
    Terminal::spawn(&command)
}

#[test]
fn ctrl_c_reaches_the_command_once_and_is_counted() {
    let home = Home::new();
    let _daemon = home.serve(&[]);
    let job =
        "n=0; trap \"n=\\$((n+1))\" INT; echo ready; read line; echo \"interrupts: $n\"; read line";
    let script = format!("trap : INT; countd run job sh -c '{job}'; echo \"status $?\"");
    let mut terminal = on_terminal(&home, &script);
    terminal.wait_for("ready");
    terminal.press("\x03");
    // dash's read goes on after a trap; others end.
    terminal.press("\n\n");
    terminal.wait_for("interrupts: 1");
    terminal.press("\n");
    terminal.wait_for("status ");
}

#[test]
fn ctrl_c_ends_the_command_and_then_countd_and_is_counted() {
    let home = Home::new();
    let _daemon = home.serve(&[]);
    let run = home.client(["run", "job", "sh", "-c", "echo ready; exec sleep 600"]);
    let mut terminal = Terminal::spawn(&run);
    terminal.wait_for("ready");
    terminal.press("\x03");
    // By the signal, which a shell has as 130: one that waits for it ends its script then.
    assert_eq!(terminal.end().signal(), Some(2));
    assert_eq!(counts(&home), ["job,result=fail 1"]);
}

#[test]
fn ctrl_z_stops_the_command_and_countd_and_fg_continues_both() {
    let home = Home::new();
    let _daemon = home.serve(&[]);
    let job = "echo ready; read line; echo \"got $line\"; exit 3";
    let script =
        format!("set -m; countd run job sh -c '{job}'; echo stopped $?; fg; echo status $?");
    let mut terminal = on_terminal(&home, &script);
    terminal.wait_for("ready");
    terminal.press("\x1a");
    terminal.wait_for("stopped 1");
    terminal.press("it\n");
    terminal.wait_for("got it");
    terminal.wait_for("status 3");
    assert_eq!(counts(&home), ["job,result=fail 1"]);
}
