//! Names of counters at a press of TAB, in the real shells on a terminal: what comes after `countd` on the line
//! when Enter is pressed.

use std::process::Command;

use crate::completion::Shell;
use crate::harness::{Daemon, Home};
use crate::programs::program;
use crate::terminal::Terminal;

/// A daemon that knows ten thousand names, and some that no shell finds easy.
fn daemon() -> (Home, Daemon) {
    let home = Home::new();
    let daemon = home.serve(&["--ephemeral"]);
    let many = (0..10_000).map(|n| format!("many.group{}.job{n}\n", n % 3)).collect::<String>();
    assert_eq!(home.pipe(&["incr", "--stdin"], many.as_bytes()).code, 0);
    home.ok(&[
        "incr",
        "jobs:done@night,host=web1,result=ok",
        "disk/sda.read",
        "only+one%",
        "ärger.groß",
    ]);
    (home, daemon)
}

/// A shell that has read its script, and for which `countd` prints its arguments.
fn shell(shell: Shell, home: &Home, socket: &std::path::Path) -> Terminal {
    let script = shell.written_to(home);
    let script = script.to_str().unwrap();
    let folder = home.path("");
    let show = "printf '<%s>' \"$@\"; echo '!'";
    let (options, setup) = match shell {
        Shell::Bash => (
            &["--norc", "--noprofile", "-i"][..],
            format!("source {script}; countd() {{ {show}; }}"),
        ),
        Shell::Zsh => (
            &["-f", "-i"][..],
            format!(
                "fpath=({} $fpath); autoload -Uz compinit; compinit -u -D; countd() {{ {show}; }}",
                folder.display()
            ),
        ),
        Shell::Fish => (
            &["--no-config", "-i"][..],
            format!("source {script}; function countd; printf '<%s>' $argv; echo '!'; end"),
        ),
    };
    let binary = std::path::Path::new(env!("CARGO_BIN_EXE_countd")).parent().unwrap();
    let path = format!("{}:{}", binary.display(), std::env::var("PATH").unwrap());
    let mut command = Command::new(shell.name());
    command.args(options).env("PATH", path).env("COUNTD_SOCKET", socket).env("HOME", &folder);
    command.env("LC_ALL", "C.UTF-8").env("TERM", "xterm").env("PS1", "$ ").current_dir(&folder);
    let mut terminal = Terminal::spawn(&command);
    terminal.press(&format!("{setup}\n"));
    terminal.press("countd it is rea\"\"dy\n");
    terminal.wait_for("<it><is><ready>!");
    terminal
}

/// What is typed before TAB, what TAB adds, and the arguments that come of it.
fn press(terminal: &mut Terminal, typed: &str, added: &str, arguments: &str) {
    terminal.press(&format!("countd {typed}"));
    terminal.press("\t");
    // zsh gives up a completion when there is more to read, so nothing more is typed before it is done.
    terminal.wait_for(added);
    terminal.press("\n");
    terminal.wait_for(&format!("{arguments}!"));
}

#[test]
fn tab_completes_names_up_to_their_next_part() {
    let (home, _daemon) = daemon();
    for kind in Shell::ALL.into_iter().filter(|shell| program(shell.name()).is_some()) {
        let mut terminal = shell(kind, &home, &home.socket());
        for (typed, added, arguments) in [
            ("get ma", "ny.", "<get><many.>"),
            ("get many.", "group", "<get><many.group>"),
            ("incr only", "+one", "<incr><only+one%>"),
            ("dump disk/", "sda.", "<dump><disk/sda.>"),
            ("delete -n disk/sda.r", "ead", "<delete><-n><disk/sda.read>"),
            ("run --spool disk/sda.r", "ead", "<run><--spool><disk/sda.read>"),
            ("get jobs:d", "one@night,", "<get><jobs:done@night,>"),
            ("get jobs:done@ni", "ght,", "<get><jobs:done@night,>"),
            ("get jobs:done@night,", "host=web1,", "<get><jobs:done@night,host=web1,>"),
            ("get jobs:done@night,host=", "web1,", "<get><jobs:done@night,host=web1,>"),
            (
                "get jobs:done@night,host=web1,result=",
                "ok",
                "<get><jobs:done@night,host=web1,result=ok>",
            ),
            ("get ärger.", "groß", "<get><ärger.groß>"),
        ] {
            press(&mut terminal, typed, added, arguments);
        }
    }
}

#[test]
fn tab_asks_the_daemon_of_the_line() {
    let (home, _daemon) = daemon();
    for kind in Shell::ALL.into_iter().filter(|shell| program(shell.name()).is_some()) {
        let mut terminal = shell(kind, &home, std::path::Path::new("/nonexistent/s"));
        press(&mut terminal, "--socket ~/sock get only", "+one", "<get><only+one%>");
        press(&mut terminal, "get --socket=~/sock only", "+one", "><only+one%>");
    }
}

/// bash inserts what all offers begin with, and options all begin with the same character.
#[test]
fn where_no_name_is_known_bash_adds_nothing() {
    let home = Home::new();
    let _daemon = home.serve(&["--ephemeral"]);
    home.ok(&["incr", "only"]);
    std::fs::write(home.path("a.file"), "").unwrap();
    if program(Shell::Bash.name()).is_none() {
        return;
    }
    let lines = ["get ", "incr x", "get only=", "get -t host=", "run -t host=", "delete x.y,"];
    for (socket, lines) in [("none", &lines[..]), ("sock", &lines[1..])] {
        let mut terminal = shell(Shell::Bash, &home, &home.path(socket));
        for line in lines {
            let words = line.split_terminator(' ').map(|word| format!("<{word}>"));
            press(&mut terminal, line, "", &words.collect::<String>());
        }
    }
}

#[test]
fn what_a_shell_would_run_is_not_offered() {
    let home = Home::new();
    let marker = home.path("ran");
    // No daemon of ours would keep such names; whoever is at the socket may say what they like.
    let run = format!("touch {}", marker.display());
    let names =
        [format!("a$({run})"), format!("a`{run}`"), format!("a;{run};"), format!("a\n{run}\n")];
    let names = [&names[..], &["a'b".to_owned(), "a.good".to_owned()]].concat();
    let listener = std::os::unix::net::UnixListener::bind(home.socket()).unwrap();
    std::thread::spawn(move || {
        while let Ok((mut peer, _)) = listener.accept() {
            answer(&mut peer, &names);
        }
    });
    assert_eq!(home.ok(&["completions", "--", "countd", "get", "a"]), "a.\n");
    for kind in Shell::ALL.into_iter().filter(|shell| program(shell.name()).is_some()) {
        let mut terminal = shell(kind, &home, &home.socket());
        press(&mut terminal, "get a", ".", "<get><a.>");
    }
    assert!(!marker.exists());
}

/// A snapshot of these names.
fn answer(peer: &mut (impl std::io::Read + std::io::Write), names: &[String]) {
    use countd::protocol::{Response, Row, SnapshotInfo};
    let row = |name| Row { name, total: 1, since_flush: 1, created_ms: 0, last_seen_ms: 0 };
    let rows = names.iter().map(|name| row(name.as_str().into())).collect();
    let mut bytes = Vec::new();
    Response::Snapshot(SnapshotInfo::default()).write(&mut bytes).unwrap();
    Response::Rows(rows).write(&mut bytes).unwrap();
    Response::End { rows: names.len() as u64 }.write(&mut bytes).unwrap();
    let mut request = [0; 1024];
    let _ = peer.read(&mut request);
    peer.write_all(&bytes).unwrap();
}
