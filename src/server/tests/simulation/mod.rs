//! The whole daemon in a world made up from a seed: clients, sockets, clock, disk, sinks, kills, power cuts.
//! It runs in one thread, so a seed repeats everything: `COUNTD_SEED=n` replays one with a trace, and
//! `COUNTD_SIMULATE=30m` goes on to new ones for that long. What is right is the ledger's to say.

mod carbon;
mod clients;
mod course;
mod crash;
mod daemon;
mod dice;
mod ledger;
mod seams;
mod spooling;
mod world;

use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};

use self::daemon::{Numbers, Simulation};
use super::*;
use crate::system::clock::boot_ns;

/// Seeds that every test run goes through.
const SEEDS: std::ops::Range<u64> = 0..60;
/// Lines of a trace that are shown.
const TRACE_LINES: usize = 400;

/// Runs a seed; a failure comes with what is needed to see it again.
fn simulate(seed: u64, traced: bool) -> (Result<Numbers, String>, Vec<String>) {
    let mut simulation = Simulation::new(seed, traced);
    let run = catch_unwind(AssertUnwindSafe(|| simulation.run()));
    let trace = simulation.shared.lock().trace.take().unwrap_or_default();
    let result = run.map(|()| simulation.numbers).map_err(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()))
            .unwrap_or_default()
    });
    (result, trace)
}

/// Runs a seed, and panics with its trace if it fails.
fn check_seed(seed: u64) -> Numbers {
    let (result, _) = simulate(seed, false);
    result.unwrap_or_else(|why| {
        let (_, trace) = simulate(seed, true);
        let from = trace.len().saturating_sub(TRACE_LINES);
        let shown = trace[from..].join("\n");
        panic!("{shown}\n\nCOUNTD_SEED={seed} cargo test --lib simulation: {why}")
    })
}

#[test]
fn seeded_worlds_keep_every_promise() {
    if let Ok(seed) = std::env::var("COUNTD_SEED") {
        check_seed(seed.parse().expect("COUNTD_SEED is a number"));
        return;
    }
    let Ok(time) = std::env::var("COUNTD_SIMULATE") else {
        for seed in SEEDS {
            check_seed(seed);
        }
        return;
    };
    let time: Duration =
        crate::format::duration::parse_duration(&time).expect("COUNTD_SIMULATE is a time");
    let first = boot_ns();
    let until = first.saturating_add(u64::try_from(time.as_nanos()).unwrap());
    let mut out = std::io::stdout();
    writeln!(out, "seeds from {first} on, for {time:?}").unwrap();
    let (mut sum, mut seeds) = (Numbers::default(), 0);
    while boot_ns() < until {
        let Numbers { turns, kills, power_cuts, errors, stops } = check_seed(first + seeds);
        seeds += 1;
        sum.turns += turns;
        sum.kills += kills;
        sum.power_cuts += power_cuts;
        sum.errors += errors;
        sum.stops += stops;
    }
    writeln!(out, "{seeds} seeds: {sum:?}").unwrap();
}

#[test]
fn a_seed_repeats_everything() {
    for seed in 0..5 {
        let (first, again) = (simulate(seed, true).1, simulate(seed, true).1);
        let apart = first.iter().zip(&again).find(|(a, b)| a != b);
        assert_eq!(apart, None, "seed {seed}");
        assert!(first.len() == again.len() && first.len() > 100, "seed {seed}: {}", first.len());
    }
}
