//! A socket that outlives the daemon: a test plays systemd, binds it, and hands it to one daemon after the
//! other. Who connects meanwhile waits there. `COUNTD_RESTARTS` says how often the daemon is restarted under
//! load; a long run is `COUNTD_RESTARTS=300 cargo test --release --test cli restarts`.

use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel};

use crate::harness::{Daemon, Home, PATIENCE, Ran, countd, parse_counts};

const RESTARTS: u64 = 30;
const ONE_SHOT_LOOPS: usize = 3;
const STREAMS: usize = 2;
/// Increments that are acknowledged between two restarts.
const BETWEEN: usize = 5;

/// What systemd does for a unit: the shell's pid stays when it becomes the daemon.
const HAND_OVER: &str = "exec 3<&0 0</dev/null; export LISTEN_PID=$$; exec \"$0\" \"$@\"";

/// A daemon that is handed this as its descriptor 3, with these options.
fn handed(home: &Home, fd: impl AsFd, options: &[&str]) -> Command {
    let fd: OwnedFd = fd.as_fd().try_clone_to_owned().unwrap();
    let clean = countd();
    let mut command = Command::new("sh");
    for name in clean.get_envs().filter(|(_, value)| value.is_none()).map(|(name, _)| name) {
        command.env_remove(name);
    }
    command.args(["-c", HAND_OVER, "env", "--default-signal=INT,TERM,HUP"]);
    command.arg(clean.get_program()).args(["serve", "--interval", "1h"]);
    command.arg("--state-dir").arg(home.state()).args(options);
    command.env("LISTEN_FDS", "1").env("HOME", home.path(""));
    command.stdin(fd).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn start(home: &Home, socket: &UnixListener) -> Daemon {
    Daemon::spawn(handed(home, socket, &[]))
}

#[test]
fn a_socket_that_is_handed_over_is_served_and_left_as_it_was() {
    let home = Home::new();
    let socket = UnixListener::bind(home.socket()).unwrap();
    std::fs::set_permissions(home.socket(), PermissionsExt::from_mode(0o640)).unwrap();
    let look = || {
        let metadata = std::fs::symlink_metadata(home.socket()).unwrap();
        (metadata.ino(), metadata.mode(), metadata.ctime(), metadata.ctime_nsec())
    };
    let before = look();
    let daemon = start(&home, &socket);
    let ready = daemon.said.last().unwrap();
    assert!(ready.contains(&format!("{} (handed over)", home.socket().display())), "{ready}");
    home.ok(&["incr", "a"]);
    assert_eq!(daemon.stop().code, 0);
    assert_eq!(look(), before);
    assert!(!home.path("sock.lock").exists());
}

#[test]
fn who_comes_while_no_daemon_is_there_waits_for_the_next() {
    let home = Home::new();
    let socket = UnixListener::bind(home.socket()).unwrap();
    let first = start(&home, &socket);
    home.ok(&["incr", "a"]);
    assert_eq!(first.stop().code, 0);
    let mut early = home.client(["incr", "--print", "--timeout", "60s", "a"]);
    let early = early.stdout(Stdio::piped()).spawn().unwrap();
    // It is in the backlog: nothing else is there that could make the listener ready.
    let mut ready = [rustix::event::PollFd::new(&socket, rustix::event::PollFlags::IN)];
    let patience = rustix::event::Timespec::try_from(PATIENCE).unwrap();
    assert_eq!(rustix::event::poll(&mut ready, Some(&patience)), Ok(1));
    let _second = start(&home, &socket);
    let ran = Ran::of(early.wait_with_output().unwrap());
    assert_eq!((ran.code, ran.stdout.as_str()), (0, "2\n"), "{ran:?}");
}

#[test]
fn what_cannot_be_served_is_refused_with_what_to_do() {
    let home = Home::new();
    let file = File::create(home.path("file")).unwrap();
    let run = |fd: &dyn AsFd| Ran::of(handed(&home, fd.as_fd(), &[]).output().unwrap());
    run(&file).refused(1, &["descriptor 3", "handed over", "no socket"]);
    let (accepted, _other) = UnixStream::pair().unwrap();
    run(&accepted).refused(1, &["does not listen", "Accept=no"]);
    let datagrams = std::os::unix::net::UnixDatagram::unbound().unwrap();
    run(&datagrams).refused(1, &["ListenStream="]);
    let mut two = handed(&home, file.as_fd(), &[]);
    two.env("LISTEN_FDS", "2").env("LISTEN_FDNAMES", "a:b");
    let script = format!("exec 4<&0; {HAND_OVER}");
    let arguments: Vec<_> = two.get_args().skip(2).map(ToOwned::to_owned).collect();
    let mut command = Command::new("sh");
    command.arg("-c").arg(script).args(arguments).stdin(File::open(home.path("file")).unwrap());
    for (name, value) in two.get_envs() {
        value.map(|value| command.env(name, value));
    }
    Ran::of(command.output().unwrap()).refused(1, &["a, b", "FileDescriptorName=countd"]);
    let mut mad = handed(&home, file.as_fd(), &[]);
    Ran::of(mad.env("LISTEN_FDS", "many").output().unwrap()).refused(1, &["LISTEN_FDS", "unset"]);
}

#[test]
fn what_was_handed_to_another_process_is_not_taken() {
    let home = Home::new();
    let mut command = home.serve_command(&[]);
    command.env("LISTEN_FDS", "1").env("LISTEN_PID", "1").stdout(Stdio::piped());
    let daemon = Daemon::spawn(command);
    assert!(daemon.said.iter().any(|line| line.contains("is for process 1,")), "{:?}", daemon.said);
    home.ok(&["incr", "a"]);
}

#[test]
fn options_that_say_otherwise_are_overruled_aloud() {
    let home = Home::new();
    let socket = UnixListener::bind(home.socket()).unwrap();
    let other = home.path("other");
    let options = ["--socket", other.to_str().unwrap(), "--socket-mode", "0666"];
    let daemon = Daemon::spawn(handed(&home, &socket, &options));
    home.ok(&["incr", "a"]);
    assert!(!other.exists());
    let says = |words: &str| daemon.said.iter().any(|line| line.contains(words));
    assert!(says("ListenStream=") && says("SocketMode="), "{:?}", daemon.said);
    drop(daemon);
    // Another name of the same file is no other socket.
    let same = home.path("same");
    std::os::unix::fs::symlink(home.path(""), &same).unwrap();
    let same = same.join("sock");
    let daemon = Daemon::spawn(handed(&home, &socket, &["--socket", same.to_str().unwrap()]));
    assert!(!daemon.said.iter().any(|line| line.contains("ignored")), "{:?}", daemon.said);
}

/// Counts one by one until it is told to stop, and tells of each; returns the totals that were printed.
fn one_shots(home: &Home, over: &AtomicBool, counted: &Sender<()>) -> Vec<u64> {
    let mut printed = Vec::new();
    while !over.load(Ordering::Relaxed) {
        // Anything but 0 would be lost, refused or unsure.
        printed.push(home.ok(&["incr", "--print", "--timeout", "60s", "shared"]));
        // Whoever waited for it may have what it needs.
        let _ = counted.send(());
    }
    printed.iter().map(|total| total.trim().parse().unwrap()).collect()
}

/// Feeds a stream until it is told to stop; returns how often `streamed` was in it.
fn feed(mut stream: Child, over: &AtomicBool) -> u64 {
    let mut input = stream.stdin.take().unwrap();
    let mut lines = 0;
    while !over.load(Ordering::Relaxed) {
        input.write_all(b"streamed\nother 3\n".repeat(50).as_slice()).unwrap();
        lines += 50;
    }
    drop(input);
    let ran = Ran::of(stream.wait_with_output().unwrap());
    assert_eq!(ran.code, 0, "{ran:?}");
    lines
}

#[test]
fn restarts_under_load_lose_and_refuse_nothing_and_leave_nobody_unsure() {
    let home = Home::new();
    let socket = UnixListener::bind(home.socket()).unwrap();
    let restarts = std::env::var("COUNTD_RESTARTS").map_or(RESTARTS, |n| n.parse().unwrap());
    let over = AtomicBool::new(false);
    let (counted, acknowledged) = channel();
    let mut daemon = start(&home, &socket);
    let (printed, streamed, mut said, daemon) = std::thread::scope(|scope| {
        let (home, over) = (&home, &over);
        let shots = (0..ONE_SHOT_LOOPS).map(|_| {
            let counted = counted.clone();
            scope.spawn(move || one_shots(home, over, &counted))
        });
        let shots: Vec<_> = shots.collect();
        let streams = (0..STREAMS).map(|_| {
            let mut client = home.client(["incr", "--stdin", "--timeout", "60s"]);
            client.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
            let stream = client.spawn().unwrap();
            scope.spawn(move || feed(stream, over))
        });
        let streams: Vec<_> = streams.collect();
        let mut said = String::new();
        for _ in 0..restarts {
            for _ in 0..BETWEEN {
                acknowledged.recv_timeout(PATIENCE).unwrap();
            }
            let ran = daemon.stop();
            assert_eq!(ran.code, 0, "{ran:?}");
            said.push_str(&ran.stdout);
            daemon = start(home, &socket);
        }
        over.store(true, Ordering::Relaxed);
        let printed: Vec<u64> = shots.into_iter().flat_map(|shot| shot.join().unwrap()).collect();
        let streamed: u64 = streams.into_iter().map(|stream| stream.join().unwrap()).sum();
        (printed, streamed, said, daemon)
    });
    let totals = parse_counts(&home.ok(&["dump"]));
    let shots = printed.len() as u64;
    eprintln!("{restarts} restarts, {shots} one-shots, {} streamed", 2 * streamed);
    let mut sorted = printed;
    sorted.sort_unstable();
    assert!(sorted.into_iter().eq(1..=shots), "each total was printed once");
    assert_eq!(totals["shared"], shots);
    assert_eq!((totals["streamed"], totals["other"]), (streamed, 3 * streamed));
    said.push_str(&daemon.stop().stdout);
    assert_eq!(parse_counts(&said), totals, "and each was reported once");
}
