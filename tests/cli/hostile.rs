//! Clients that mean harm, or do not care: the daemon neither waits for them, nor grows, nor ends.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use rustix::process::{Resource, Rlimit, getrlimit, prlimit};

use crate::harness::{Daemon, Home, until};

const HELLO: &[u8] = b"countd\x01\x00";
const STATUS: &[u8] = &[1, 0, 0, 0, 5];
const DUMP: &[u8] = &[3, 0, 0, 0, 2, 0, 0];

/// A connection that has sent this, or as much of it as was taken before it was hung up.
fn sends(home: &Home, bytes: &[u8]) -> UnixStream {
    let mut stream = UnixStream::connect(home.socket()).unwrap();
    let _ = stream.write_all(bytes);
    stream
}

/// A line of /proc/PID/status, in KiB.
fn memory_kib(daemon: &Daemon, key: &str) -> u64 {
    let pid = daemon.pid().as_raw_nonzero();
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(key)).unwrap();
    line.trim_matches([':', '\t', ' ', 'k', 'B']).parse().unwrap()
}

fn descriptors(daemon: &Daemon) -> usize {
    let pid = daemon.pid().as_raw_nonzero();
    std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count()
}

/// A number of the status.
fn number(home: &Home, key: &str) -> u64 {
    let ran = home.run(&["status", "--format", "json"]);
    let status: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    status[key].as_u64().unwrap_or_else(|| panic!("{key} is not in {status}"))
}

#[test]
fn half_requests_and_answers_nobody_reads_in_all_places_hold_up_no_increment() {
    // Without giving way it would take 10 s, until half a request is given up.
    let home = Home::new();
    let _daemon = home.serve(&["--max-connections", "40"]);
    let unread = [HELLO, &STATUS.repeat(2_000)].concat();
    let half = [HELLO, &[9, 0]].concat();
    let hostile: Vec<UnixStream> =
        (0..80).map(|n| sends(&home, if n % 2 == 0 { &half } else { &unread })).collect();
    for n in 1..=60 {
        let total = home.ok(&["incr", "--print", "a", "--timeout", "9s"]);
        assert_eq!(total, format!("{n}\n"));
    }
    assert!(number(&home, "connections_pushed_out") > 0);
    drop(hostile);
}

#[test]
fn a_limit_on_open_files_leaves_room_for_the_daemons_own_and_is_told() {
    let home = Home::new();
    let log = home.path("log");
    let serve = home.serve_command(&["--log-file", log.to_str().unwrap()]);
    let mut command = std::process::Command::new("sh");
    command.args(["-c", "ulimit -n 100; exec \"$0\" \"$@\""]);
    command.arg(serve.get_program()).args(serve.get_args());
    let daemon = Daemon::spawn(command);
    let warning = "only 34 connections at a time, not 1024: no more than 100 files may be open";
    assert!(daemon.said.iter().any(|line| line.contains(warning)), "{:?}", daemon.said);
    let idle: Vec<UnixStream> = (0..200).map(|_| sends(&home, HELLO)).collect();
    assert_eq!(home.ok(&["incr", "--print", "a"]), "1\n");
    std::fs::rename(&log, home.path("log.1")).unwrap();
    std::fs::write(&log, "").unwrap();
    home.ok(&["flush"]);
    assert_eq!(crate::harness::logged(&log)["a"], 1);
    assert_eq!(number(&home, "connections_not_accepted"), 0);
    assert_eq!(daemon.stop().code, 0);
    drop(idle);
}

#[test]
fn a_daemon_without_descriptors_goes_on_and_takes_whom_it_can() {
    let home = Home::new();
    let daemon = home.serve(&[]);
    home.ok(&["incr", "a"]);
    let limit = |descriptors: usize| {
        let current = Some(u64::try_from(descriptors).unwrap());
        let limit = Rlimit { current, ..getrlimit(Resource::Nofile) };
        prlimit(Some(daemon.pid()), Resource::Nofile, limit).unwrap();
    };
    // No connection at all: it waits, and is accepted when there is a descriptor for it.
    limit(descriptors(&daemon));
    let first = sends(&home, &[HELLO, STATUS].concat());
    home.run(&["incr", "a", "--timeout", "300ms"]);
    limit(descriptors(&daemon) + 3);
    let _ = (&first).read_exact(&mut [0]);
    let half: Vec<UnixStream> = (0..20).map(|_| sends(&home, &[HELLO, &[9, 0]].concat())).collect();
    let before = home.total("a");
    assert_eq!(home.ok(&["incr", "--print", "a"]), format!("{}\n", before + 1));
    assert!(number(&home, "connections_not_accepted") > 0);
    assert!(number(&home, "connections_pushed_out") > 0);
    drop(half);
}

#[test]
fn thousands_of_connections_of_garbage_leave_memory_and_descriptors_where_they_were() {
    let home = Home::new();
    let daemon = home.serve(&["--max-connections", "200"]);
    let kinds: [Vec<u8>; 9] = [
        b"\x17\x03\x01 anything but a hello, and more of it".repeat(50),
        HELLO[..5].to_vec(),
        [HELLO, &[0xff; 4]].concat(),
        [HELLO, &[9, 0, 0, 0, 77, 1, 2, 3, 4, 5, 6, 7, 8]].concat(),
        // An increment that claims 2^64 - 1 entries.
        [HELLO, &[20, 0, 0, 0, 0, 5, 5, 7, 1, 0], &[253], &[0xff; 8], &[0]].concat(),
        [HELLO, &[0, 0, 16, 0], &[1; 3_000]].concat(),
        [HELLO, &STATUS.repeat(300)].concat(),
        [HELLO, DUMP].concat(),
        Vec::new(),
    ];
    let attack = |connections: usize| {
        let mut open = std::collections::VecDeque::new();
        for n in 0..connections {
            open.push_back(sends(&home, &kinds[n % kinds.len()]));
            if open.len() > 250 {
                open.pop_front();
            }
        }
    };
    let settled = || until("only the one that asks", || number(&home, "connections") == 1);
    home.ok(&["incr", "honest"]);
    // What is taken once and kept, as tables that grow with the number of connections.
    attack(1_000);
    settled();
    let (memory, open) = (memory_kib(&daemon, "VmRSS"), descriptors(&daemon));
    attack(connections_of_garbage());
    home.ok(&["incr", "honest"]);
    settled();
    let after = memory_kib(&daemon, "VmRSS");
    // The allocator keeps some of what it had; a buffer of each connection would be more.
    assert!(after < memory + (8 << 10), "{memory} KiB before, {after} KiB after");
    until("no more descriptors than before", || descriptors(&daemon) <= open);
    assert_eq!(home.ok(&["dump"]), "honest 2\n");
    assert_eq!(daemon.stop().code, 0);
}

/// How many; more are worth a wait now and then.
fn connections_of_garbage() -> usize {
    let given = std::env::var("COUNTD_TEST_GARBAGE").ok();
    given.map_or(3_000, |number| number.parse().unwrap())
}

#[test]
fn readers_that_never_read_cost_bounded_memory() {
    let home = Home::new();
    let daemon = home.serve(&[]);
    let lines: String = (0..100_000).map(|n| format!("a.rather.long.name.{n}\n")).collect();
    assert_eq!(home.pipe(&["incr", "--stdin"], lines.as_bytes()).code, 0);
    let before = memory_kib(&daemon, "VmRSS");
    let dumps: Vec<UnixStream> = (0..20).map(|_| sends(&home, &[HELLO, DUMP].concat())).collect();
    let asks: Vec<UnixStream> = (0..60)
        .map(|_| {
            let stream = sends(&home, HELLO);
            stream.set_nonblocking(true).unwrap();
            let _ = (&stream).write(&STATUS.repeat(100_000));
            stream
        })
        .collect();
    assert_eq!(home.ok(&["incr", "--print", "honest"]), "1\n");
    // 32 MiB of answers, what one turn answers on top, 256 KiB of input of each, and buffers twice as large.
    let most = memory_kib(&daemon, "VmHWM");
    assert!(most < before + (120 << 10), "{before} KiB before, {most} KiB at most");
    drop((dumps, asks));
    assert_eq!(home.ok(&["incr", "--print", "honest"]), "2\n");
}
