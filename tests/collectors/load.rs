//! One-shots and a stream that count until they are told to stop, whatever happens to the daemon meanwhile.

use std::collections::BTreeMap;
use std::io::Write;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::Value;

use crate::harness::{Home, Ran, parse_counts};

/// Counters of the stream; a round of it adds 3 to each.
const STREAMED: u64 = 20;
const PATIENT: [&str; 2] = ["--timeout", "50s"];

/// The totals that there have to be.
pub(crate) type Totals = BTreeMap<String, u64>;

/// Counts while `events` happen. Each one-shot and the stream have to succeed. Returns what was counted, which
/// is what `dump` says.
pub(crate) fn count_while(home: &Home, events: impl FnOnce()) -> Totals {
    let over = AtomicBool::new(false);
    let (shots, rounds) = std::thread::scope(|scope| {
        // Events that end in a panic end the rest, too.
        let end = Over(&over);
        let shots = scope.spawn(|| one_shots(home, &over));
        let rounds = scope.spawn(|| stream(home, &over));
        events();
        drop(end);
        (shots.join().unwrap(), rounds.join().unwrap())
    });
    let mut totals = BTreeMap::from([
        ("shot.plain".to_owned(), shots),
        ("shot.tagged,host=a,result=ok".to_owned(), 2 * shots),
    ]);
    totals.extend((0..STREAMED).map(|n| (format!("streamed.{n}"), 3 * rounds)));
    assert_eq!(parse_counts(&home.ok(&["dump"])), totals);
    totals
}

struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn one_shots(home: &Home, over: &AtomicBool) -> u64 {
    let mut shots = 0;
    while !over.load(Ordering::Relaxed) || shots == 0 {
        let [option, value] = PATIENT;
        home.ok(&["incr", option, value, "shot.plain", "shot.tagged,host=a,result=ok=2"]);
        shots += 1;
    }
    shots
}

fn stream(home: &Home, over: &AtomicBool) -> u64 {
    let mut client = home.client(["incr", "--stdin"]);
    client.args(PATIENT).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut client = client.spawn().unwrap();
    let mut input = client.stdin.take().unwrap();
    let round: String = (0..STREAMED).map(|n| format!("streamed.{n} 3\n")).collect();
    let mut rounds = 0;
    while !over.load(Ordering::Relaxed) || rounds == 0 {
        input.write_all(round.as_bytes()).unwrap();
        rounds += 1;
    }
    drop(input);
    let ran = Ran::of(client.wait_with_output().unwrap());
    assert_eq!(ran.code, 0, "{ran:?}");
    rounds
}

fn status(home: &Home) -> Value {
    let ran = home.run(&["status", "--format", "json", "--wait", "20s"]);
    serde_json::from_str(&ran.stdout).unwrap()
}

/// The number of the window that is open.
pub(crate) fn open_window(home: &Home) -> u64 {
    status(home)["window"].as_u64().unwrap()
}

/// How many windows the only sink is owed.
pub(crate) fn owed(home: &Home) -> u64 {
    let status = status(home);
    let facts = status.as_object().unwrap().iter();
    let owed = facts.filter(|(key, _)| key.ends_with("windows_owed"));
    owed.map(|(_, windows)| windows.as_u64().unwrap()).sum()
}
