//! `countd incr`: what is counted, what is answered.

use std::process::Stdio;

use crate::harness::{Home, Ran};

#[test]
fn an_increment_counts_one() {
    let home = Home::new();
    let _daemon = home.serve(&[]);
    assert_eq!(home.ok(&["incr", "my.useful.count"]), "");
    assert_eq!(home.ok(&["dump"]), "my.useful.count 1\n");
}

#[test]
fn amounts_are_per_name_or_for_all() {
    let home = Home::new();
    let _daemon = home.serve(&[]);
    home.ok(&["incr", "a", "b=3", "--by", "2"]);
    home.ok(&["incr", "a", "a"]);
    assert_eq!(home.ok(&["dump"]), "a 4\nb 3\n");
}

#[test]
fn tags_make_another_counter_and_their_order_does_not_matter() {
    let home = Home::new();
    let _daemon = home.serve(&[]);
    home.ok(&["incr", "jobs,result=ok,host=a=2"]);
    home.ok(&["incr", "jobs", "-t", "host=a", "--tag", "result=ok"]);
    home.ok(&["incr", "jobs"]);
    assert_eq!(home.ok(&["dump"]), "jobs 1\njobs,host=a,result=ok 3\n");
    assert_eq!(home.ok(&["get", "jobs", "-t", "result=ok", "-t", "host=a"]), "3\n");
}

#[test]
fn print_gives_the_new_totals_in_the_order_of_the_arguments() {
    let home = Home::new();
    let _daemon = home.serve(&[]);
    assert_eq!(home.ok(&["incr", "--print", "build"]), "1\n");
    assert_eq!(home.ok(&["incr", "--print", "build", "other=7", "build"]), "2\n7\n3\n");
}

#[test]
fn an_amount_of_zero_declares_a_counter() {
    let home = Home::new();
    let _daemon = home.serve(&[]);
    home.ok(&["incr", "errors=0"]);
    assert_eq!(home.ok(&["get", "errors"]), "0\n");
}

#[test]
fn one_shots_in_a_loop_and_in_parallel_all_count() {
    let home = Home::new();
    let _daemon = home.serve(&[]);
    for _ in 0..100 {
        home.ok(&["incr", "loop"]);
    }
    let children: Vec<_> =
        (0..200).map(|_| home.client(["incr", "parallel"]).spawn().unwrap()).collect();
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
    assert_eq!(home.ok(&["dump"]), "loop 100\nparallel 200\n");
}

#[test]
fn parallel_prints_are_all_different() {
    let home = Home::new();
    let _daemon = home.serve(&[]);
    let spawn = || home.client(["incr", "--print", "build"]).stdout(Stdio::piped()).spawn();
    let children: Vec<_> = (0..50).map(|_| spawn().unwrap()).collect();
    let mut numbers: Vec<u64> = children
        .into_iter()
        .map(|child| Ran::of(child.wait_with_output().unwrap()).stdout.trim().parse().unwrap())
        .collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (1..=50).collect::<Vec<_>>());
}

#[test]
fn a_request_with_one_entry_over_the_top_counts_nothing() {
    let home = Home::new();
    let _daemon = home.serve(&[]);
    home.ok(&["incr", "full=18446744073709551615"]);
    let ran = home.run(&["incr", "other", "full"]);
    ran.refused(1, &["full", "18446744073709551615", "overflow"]);
    assert_eq!(home.ok(&["dump"]), "full 18446744073709551615\n");
}

#[test]
fn standard_input_is_not_touched_without_stdin() {
    let home = Home::new();
    let _daemon = home.serve(&[]);
    let script = format!(
        "printf 'a\\nb\\n' | while read -r line; do {} incr seen; done",
        env!("CARGO_BIN_EXE_countd")
    );
    let status = std::process::Command::new("sh")
        .args(["-c", &script])
        .env("COUNTD_SOCKET", home.socket())
        .status();
    assert!(status.unwrap().success());
    assert_eq!(home.total("seen"), 2);
}

#[test]
fn best_effort_turns_failures_into_a_message() {
    let home = Home::new();
    let ran = home.run(&["incr", "--best-effort", "a"]);
    ran.refused(0, &["sock"]);
    let ran = home.run(&["incr", "--best-effort", "http."]);
    ran.refused(0, &["http."]);
    let ran = home.run(&["incr", "--best-effort", "a", "--by", "x"]);
    ran.refused(0, &["x"]);
    home.run(&["incr", "--best-effort", "--no-such-option", "a"]).refused(2, &["--no-such-option"]);
    home.run(&["incr", "--best-effort", "--print", "a"]).refused(2, &["--print"]);
    let ran = Ran::of(home.client(["incr", "a"]).env("COUNTD_BEST_EFFORT", "1").output().unwrap());
    ran.refused(0, &["sock"]);
    home.pipe(&["incr", "--stdin", "--best-effort"], b"a\n").refused(0, &["sock"]);
    let _daemon = home.serve(&[]);
    let ran = home.pipe(&["incr", "--stdin", "--best-effort"], b"a\na b c\n");
    ran.refused(0, &["line 2", "1 refused"]);
    assert_eq!(home.total("a"), 1);
}

#[test]
fn a_missing_daemon_is_exit_3_and_says_where_it_looked() {
    let home = Home::new();
    let socket = home.socket();
    let ran = home.run(&["incr", "a"]);
    ran.refused(3, &[socket.to_str().unwrap(), "COUNTD_SOCKET"]);
}

#[test]
fn a_daemon_that_does_not_answer_is_exit_4() {
    let home = Home::new();
    let daemon = home.serve(&[]);
    daemon.signal(rustix::process::Signal::STOP);
    let ran = home.run(&["incr", "a", "--timeout", "200ms"]);
    ran.refused(4, &["no answer in time"]);
    daemon.signal(rustix::process::Signal::CONT);
    // The request was written, so it may count; it counts once.
    crate::harness::until("the stopped daemon goes on", || home.run(&["get", "a"]).code == 0);
    assert_eq!(home.total("a"), 1);
}
