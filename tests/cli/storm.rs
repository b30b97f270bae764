//! A storm: one-shots that print, others that spool, and streams, against a daemon that is killed at random moments and started
//! again while its log is rotated; then all numbers are compared, to the last count. `COUNTD_KILLS` says how
//! often it is killed; a long storm is `COUNTD_KILLS=500 cargo test --release --test cli storm`.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{BuildHasher, RandomState};
use std::io::Write;
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use crate::harness::{Home, logged, parse_counts, until};

const KILLS: u64 = 25;
const ONE_SHOT_LOOPS: u64 = 3;
const STREAMS: u64 = 2;
/// Between a start and the kill.
const LIFE_MS_MAX: u64 = 120;

fn dice(sides: u64) -> u64 {
    RandomState::new().hash_one(0) % sides
}

/// Comes back after this long, or when the storm is over.
fn pause(over: &Receiver<()>, time: Duration) {
    let _ = over.recv_timeout(time);
}

/// Counts one by one until it is told to stop; returns the totals that were printed.
fn one_shots(home: &Home, calm: &AtomicBool, number: u64) -> Vec<u64> {
    let (own, mut printed) = (format!("own{number}=2"), Vec::new());
    while !calm.load(Ordering::Relaxed) {
        let ran = home.run(&["incr", "--print", "--timeout", "30s", "shared", &own]);
        assert_eq!(ran.code, 0, "{ran:?}");
        printed.push(ran.stdout.lines().next().unwrap().parse().unwrap());
    }
    printed
}

/// What became of increments by 1.
#[derive(Default)]
struct Spooled {
    acknowledged: u64,
    /// They were sent, and no answer came in time.
    unknown: u64,
}

/// Counts one by one, and spools what finds no daemon, until it is told to stop.
fn spool(home: &Home, calm: &AtomicBool) -> Spooled {
    let (folder, mut spooled) = (home.state().join("spool"), Spooled::default());
    while !calm.load(Ordering::Relaxed) {
        let folder = folder.to_str().unwrap();
        let ran =
            home.run(&["incr", "spooled", "--spool", "--spool-dir", folder, "--timeout", "5ms"]);
        match ran.code {
            0 => spooled.acknowledged += 1,
            4 => spooled.unknown += 1,
            _ => panic!("{ran:?}"),
        }
    }
    spooled
}

/// Waits until the daemon has taken all that was spooled.
fn until_all_is_taken(home: &Home) {
    let spool = home.state().join("spool");
    until("the spool is empty", || {
        home.run(&["flush"]);
        let waiting = |entry: &std::fs::DirEntry| entry.path().is_file();
        [&spool, &spool.join("taken")]
            .iter()
            .all(|folder| !std::fs::read_dir(folder).unwrap().any(|entry| waiting(&entry.unwrap())))
    });
}

/// Feeds a stream until the storm is over; returns how often `streamed` was in it.
fn feed(mut stream: Child, calm: &AtomicBool) -> u64 {
    let mut input = stream.stdin.take().unwrap();
    let mut lines = 0;
    while !calm.load(Ordering::Relaxed) {
        let several: String = (0..50).map(|n| format!("streamed\ns{n} 3\n")).collect();
        input.write_all(several.as_bytes()).unwrap();
        lines += 50;
    }
    drop(input);
    assert!(stream.wait().unwrap().success());
    lines
}

/// Kills the daemon and starts it again, again and again; returns the names of the logs.
fn kill_again_and_again(home: &Home, options: &[&str], kills: u64) -> Vec<String> {
    let (_sender, never): (Sender<()>, _) = channel();
    let mut logs = vec!["log".to_owned()];
    for kill in 0..kills {
        let daemon = home.serve(options);
        pause(&never, Duration::from_micros(dice(LIFE_MS_MAX * 1000)));
        if dice(4) == 0 {
            let old = format!("log.{kill}");
            std::fs::rename(home.path("log"), home.path(&old)).unwrap();
            logs.push(old);
        }
        daemon.kill();
    }
    logs
}

#[test]
fn after_a_storm_of_kills_every_number_is_exact() {
    let home = Home::new();
    let kills = std::env::var("COUNTD_KILLS").map_or(KILLS, |kills| kills.parse().unwrap());
    let log = home.path("log");
    let fsync = ["everysec", "always", "no"][dice(3) as usize];
    let log = log.to_str().unwrap();
    let options = ["--interval", "20ms", "--log-file", log, "--fsync", fsync];
    let first = home.serve(&options);
    let calm = AtomicBool::new(false);
    let (logs, printed, streamed, spooled) = std::thread::scope(|scope| {
        let (home, calm) = (&home, &calm);
        let shots = (0..ONE_SHOT_LOOPS).map(|n| scope.spawn(move || one_shots(home, calm, n)));
        let shots: Vec<_> = shots.collect();
        let streams = (0..STREAMS).map(|_| {
            let mut client = home.client(["incr", "--stdin", "--timeout", "30s"]);
            let stream = client.stdin(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
            scope.spawn(move || feed(stream, calm))
        });
        let streams: Vec<_> = streams.collect();
        let spooling = scope.spawn(move || spool(home, calm));
        first.kill();
        let logs = kill_again_and_again(home, &options, kills);
        calm.store(true, Ordering::Relaxed);
        let daemon = home.serve(&options);
        let printed: Vec<u64> = shots.into_iter().flat_map(|shot| shot.join().unwrap()).collect();
        let streamed: u64 = streams.into_iter().map(|stream| stream.join().unwrap()).sum();
        let spooled = spooling.join().unwrap();
        until_all_is_taken(home);
        assert_eq!(daemon.stop().code, 0);
        (logs, printed, streamed, spooled)
    });
    let _daemon = home.serve(&options);
    let totals = parse_counts(&home.ok(&["dump"]));
    let shots = printed.len() as u64;
    assert_eq!(printed.iter().collect::<BTreeSet<_>>().len() as u64, shots, "{fsync}");
    assert_eq!(printed.iter().max(), Some(&shots), "{fsync}");
    assert_eq!(totals["shared"], shots, "{fsync}");
    let own = (0..ONE_SHOT_LOOPS).map(|n| totals[&format!("own{n}")]).sum::<u64>();
    assert_eq!((own, totals["streamed"]), (2 * shots, streamed), "{fsync}");
    assert!((0..50).all(|n| totals[&format!("s{n}")] == 3 * streamed / 50), "{fsync} {totals:?}");
    let Spooled { acknowledged, unknown } = spooled;
    let bounds = acknowledged..=acknowledged + unknown;
    assert!(bounds.contains(&totals["spooled"]), "{fsync} {bounds:?} {totals:?}");
    let mut written = BTreeMap::new();
    for (name, count) in logs.iter().flat_map(|log| logged(&home.path(log))) {
        *written.entry(name).or_default() += count;
    }
    assert_eq!(written, totals, "{fsync}");
}
