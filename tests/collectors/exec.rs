//! A command that keeps a file for each window, and fails now and then: before it has the report, in the middle of it, and
//! when it is there. A report that comes twice has the same number, and takes the place of the first.

use std::fs;
use std::process::Command;

use crate::harness::{Home, parse_counts, until};
use crate::load::{Totals, count_while};

/// Fails every third time, and each time differently.
const TAKE: &str = r#"
runs=$(cat "$0.runs" 2>/dev/null || echo 0)
runs=$((runs + 1))
echo $runs >"$0.runs"
case $((runs % 9)) in
3) exit 1 ;;
6) head -c 30 >"$1/$COUNTD_WINDOW"; kill -9 $$ ;;
esac
cat >"$1/$COUNTD_WINDOW"
[ $((runs % 9)) -ne 0 ]
"#;

#[test]
fn a_command_gets_the_whole_report_though_the_daemon_is_killed_before_it_reads() {
    let home = Home::new();
    let (fifo, got, all) = (home.path("go"), home.path("got"), home.path("all"));
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let (go, at, end) = (fifo.display(), got.display(), all.display());
    let script = format!("cat {go}; cat >{at}; mv {at} {end}");
    fs::write(home.path("take"), script).unwrap();
    let sink = format!("--sink=exec:/bin/sh {}?format=plain", home.path("take").display());
    let daemon = home.serve(&[&sink]);
    // More than a pipe has room for.
    let names: Vec<String> = (0..8_000).map(|number| format!("counter.{number}")).collect();
    for some in names.chunks(1_000) {
        home.ok(&[&["incr"], &*some.iter().map(String::as_str).collect::<Vec<_>>()].concat());
    }
    home.run(&["flush", "--timeout", "10ms"]).refused(1, &["exec:"]);
    // This waits until the command is there.
    let go = fs::OpenOptions::new().write(true).open(&fifo).unwrap();
    daemon.kill();
    drop(go);
    until("it has read", || all.exists());
    assert_eq!(parse_counts(&fs::read_to_string(&all).unwrap()).len(), names.len());
}

#[test]
fn a_command_that_fails_now_and_then_and_goes_by_the_number_of_the_window_has_every_count() {
    let home = Home::new();
    let (script, taken) = (home.path("take"), home.path("taken"));
    fs::write(&script, TAKE).unwrap();
    fs::create_dir(&taken).unwrap();
    let (script, folder) = (script.display(), taken.display());
    let sink = format!("--sink=exec:/bin/sh {script} {folder}?format=plain");
    let serve = || home.serve(&["--interval", "200ms", &sink]);
    let mut daemon = Some(serve());
    let windows = || fs::read_dir(&taken).unwrap();
    let totals = count_while(&home, || {
        for several in [5, 10, 15] {
            until("windows are taken", || windows().count() >= several);
            daemon.take().unwrap().kill();
            daemon = Some(serve());
        }
    });
    home.ok(&["flush", "--timeout", "50s"]);
    let mut sums = Totals::new();
    for window in windows() {
        let report = fs::read_to_string(window.unwrap().path()).unwrap();
        for (name, count) in parse_counts(&report) {
            *sums.entry(name).or_default() += count;
        }
    }
    assert_eq!(sums, totals);
}
