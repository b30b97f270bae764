//! What users get wrong, and what hostile clients send.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use crate::harness::{Home, Ran};

#[test]
fn wrong_use_is_exit_2_and_says_what_and_where() {
    let home = Home::new();
    let _daemon = home.serve(&[]);
    for (args, says) in [
        (&["incr"][..], &["NAME"][..]),
        (&["incr", "hits", "5"], &["hits=5", "--by 5"]),
        (&["incr", "5"], &["5", "digits"]),
        (&["incr", "http."], &["http.", "dot"]),
        (&["incr", ""], &["empty"]),
        (&["incr", "a b"], &["blank"]),
        (&["incr", "a..b"], &["a..b"]),
        (&["incr", "a=-5"], &["-5", "only go up"]),
        (&["incr", "a", "--by", "-5"], &["-5", "only go up"]),
        (&["incr", "a", "--by", "1.5"], &["1.5"]),
        (&["incr", "a=99999999999999999999"], &["99999999999999999999"]),
        (&["incr", "a", "-t", "host="], &["host"]),
        (&["incr", "a", "-t", "1x=y"], &["1x"]),
        (&["incr", "a,host=x", "-t", "host=y"], &["host"]),
        (&["incr", "a", "--timeout", "2m"], &["--timeout", "2m", "1 min"]),
        (&["incr", "a", "--timeout", "soon"], &["soon", "timeout"]),
        (&["incr", "a", "--stdin"], &["--stdin"]),
        (&["incr", "--stdin", "--print"], &["--print"]),
        (&["dump", "--format", "xml"], &["xml"]),
        (&["dump", "["], &["["]),
        (&["get"], &["NAME"]),
        (&["get", "a*"], &["a*"]),
        (&["delete"], &["PATTERN"]),
        (&["no-such-command"], &["no-such-command"]),
        (&["serve", "--fsync", "sometimes"], &["sometimes", "everysec"]),
        (&["serve", "--interval", "0"], &["interval"]),
        (&["serve", "--interval", "-1s"], &["-1s"]),
        (&["serve", "--interval", "1ms"], &["--interval", "10 ms"]),
        (&["serve", "--state-dir", "x", "--ephemeral"], &["--ephemeral"]),
        (&["serve", "--socket-mode", "rw"], &["rw", "socket-mode"]),
        (&["serve", "--max-counters", "many"], &["many"]),
    ] {
        let ran = home.run(args);
        assert_eq!(ran.stdout, "", "{args:?}");
        ran.refused(2, says);
    }
    let many: Vec<&str> = std::iter::once("dump").chain(std::iter::repeat_n("a", 257)).collect();
    home.run(&many).refused(2, &["257 patterns", "256"]);
    assert_eq!(home.ok(&["dump"]), "", "nothing of all that was counted");
}

#[test]
fn a_bad_variable_is_named_and_the_command_line_goes_before_it() {
    let home = Home::new();
    let _daemon = home.serve(&[]);
    let with =
        |args: &[&str]| Ran::of(home.client(args).env("COUNTD_TIMEOUT", "soon").output().unwrap());
    with(&["incr", "a"]).refused(2, &["COUNTD_TIMEOUT", "soon"]);
    assert_eq!(with(&["incr", "a", "--timeout", "2s"]).code, 0);
    let mut empty = home.client(["incr", "a"]);
    assert!(empty.env("COUNTD_TIMEOUT", "").status().unwrap().success());
}

#[test]
fn serve_names_variables_it_does_not_know() {
    let home = Home::new();
    let mut command = home.serve_command(&[]);
    command.env("COUNTD_INTERVALL", "1s");
    let daemon = crate::harness::Daemon::spawn(command);
    assert!(daemon.said.iter().any(|line| line.contains("COUNTD_INTERVALL")), "{:?}", daemon.said);
}

/// What the daemon answers to these bytes, until it hangs up.
fn answer(home: &Home, bytes: &[u8]) -> String {
    let mut stream = UnixStream::connect(home.socket()).unwrap();
    // It may hang up before it has read all of it.
    let _ = stream.write_all(bytes);
    let _ = stream.shutdown(std::net::Shutdown::Write);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

#[test]
fn hostile_bytes_get_an_error_and_the_daemon_goes_on() {
    let home = Home::new();
    let _daemon = home.serve(&[]);
    assert!(answer(&home, b"GET / HTTP/1.1\r\n\r\n").contains("countd socket"));
    assert!(answer(&home, b"countd\x63\x00").contains("version 99"));
    assert!(answer(&home, b"countd\x01\x00\xff\xff\xff\xff").contains("limit of 1048576"));
    assert!(answer(&home, b"countd\x01\x00\x03\x00\x00\x00\x63abc").contains("malformed"));
    assert!(answer(&home, b"countd\x01\x00\x02\x00\x00\x00\x05\x00").contains("left over"));
    assert_eq!(answer(&home, b"countd\x01"), "");
    assert_eq!(answer(&home, b""), "");
    assert_eq!(home.ok(&["incr", "--print", "a"]), "1\n");
    assert!(home.ok(&["status"]).contains("refused"));
}

#[test]
fn a_client_that_never_reads_its_dump_holds_up_nobody() {
    let home = Home::new();
    let _daemon = home.serve(&[]);
    let lines: String = (0..100_000).map(|n| format!("n{n}\n")).collect();
    assert_eq!(home.pipe(&["incr", "--stdin"], lines.as_bytes()).code, 0);
    let lazy: Vec<UnixStream> = (0..4)
        .map(|_| {
            let mut stream = UnixStream::connect(home.socket()).unwrap();
            // Hello, and a Dump of everything.
            stream.write_all(b"countd\x01\x00\x03\x00\x00\x00\x02\x00\x00").unwrap();
            let mut first = [0];
            stream.read_exact(&mut first).unwrap();
            stream
        })
        .collect();
    assert_eq!(home.ok(&["incr", "--print", "n0"]), "2\n");
    let ran = home.run(&["dump", "n1", "--timeout", "300ms"]);
    ran.refused(1, &["4 dumps"]);
    drop(lazy);
    assert_eq!(home.ok(&["dump", "n1"]), "n1 1\n");
}
