//! Every crash: a life of the daemon is stopped, or one operation of it fails, at each disk operation in turn;
//! then the process was killed, or the power cut. What was acknowledged is found, and nothing is that was
//! never sent.

use super::*;

/// Parts of what is not synced that a power cut may leave.
const SEEDS: std::ops::Range<u64> = 0..4;

/// What one life promised.
#[derive(Debug, Clone, Copy, Default)]
struct Promised {
    /// Survives a kill.
    written: u64,
    /// Survives a power cut.
    synced: u64,
    /// The most there may be.
    sent: u64,
}

/// Appends, syncs and folds, and stops where a daemon must.
fn live(disk: &FakeDisk, promised: &mut Promised, script: &str) -> Result<(), AppendError> {
    let Ok(mut daemon) = Daemon::start(disk) else { return Ok(()) };
    promised.written = daemon.total();
    promised.synced = daemon.total();
    let mut job = None;
    for step in script.chars() {
        match step {
            'a' => {
                promised.sent = promised.sent.max(daemon.total() + 1);
                match daemon.add() {
                    Ok(()) => promised.written = daemon.total(),
                    Err(AppendError::Refused(_)) => promised.sent = daemon.total(),
                    Err(broken) => return Err(broken),
                }
            }
            's' => {
                daemon.journal.sync()?;
                promised.synced = promised.written;
            }
            'r' => match daemon.rotate() {
                Ok(made) => {
                    promised.synced = promised.written;
                    job = Some(made);
                }
                Err(AppendError::Refused(_)) => {}
                Err(broken) => return Err(broken),
            },
            'c' => match job.take().map(|job| job.run()) {
                Some(Ok(done)) => daemon.journal.checkpointed(&done),
                Some(Err(_)) => daemon.journal.checkpoint_failed(),
                None => {}
            },
            // A checkpoint that fails for reasons of its own.
            'f' => {
                job = None;
                daemon.journal.checkpoint_failed();
            }
            other => panic!("{other}"),
        }
    }
    Ok(())
}

fn life(disk: &FakeDisk, before: Promised, script: &str) -> Promised {
    let mut promised = before;
    let _ = live(disk, &mut promised, script);
    promised
}

/// Each disk that may be left, with the least that must be on it.
fn ends(disk: &FakeDisk, promised: Promised) -> Vec<(String, FakeDisk, u64)> {
    let mut ends = vec![("killed".into(), disk.killed(), promised.written)];
    for seed in SEEDS {
        ends.push((format!("power cut, seed {seed}"), disk.power_cut(seed), promised.synced));
    }
    ends
}

/// Opens each disk that may be left, and counts on.
fn check(what: &str, disk: &FakeDisk, promised: Promised) {
    for (end, left, least) in ends(disk, promised) {
        let what = format!("{what}, {end}");
        let mut daemon = Daemon::start(&left).unwrap_or_else(|error| panic!("{what}: {error}"));
        let found = daemon.total();
        assert!(least <= found && found <= promised.sent, "{what}: {found}, {promised:?}");
        daemon.add_synced();
        daemon.fold();
        daemon.add_synced();
        let again = Daemon::start(&left.power_cut(0)).unwrap();
        assert_eq!(again.total(), found + 2, "{what}");
    }
}

const SCRIPT: &str = "aasaaracaasrfaarcaasarca";

fn operations(disk: &FakeDisk, script: &str) -> u64 {
    let disk = disk.killed();
    disk.plan(Plan::Well);
    life(&disk, Promised::default(), script);
    disk.operations()
}

#[test]
fn a_crash_at_any_operation_loses_nothing_that_was_acknowledged() {
    let empty = FakeDisk::default();
    let count = operations(&empty, SCRIPT);
    assert!(count > 50, "{count}");
    for at in 0..=count {
        let disk = empty.killed();
        disk.plan(Plan::StopAt(at));
        let promised = life(&disk, Promised::default(), SCRIPT);
        check(&format!("stopped at {at}"), &disk, promised);
    }
}

#[test]
fn an_operation_that_fails_loses_nothing_that_was_acknowledged() {
    let empty = FakeDisk::default();
    for at in 0..=operations(&empty, SCRIPT) {
        let disk = empty.killed();
        disk.plan(Plan::FailAt(at));
        let promised = life(&disk, Promised::default(), SCRIPT);
        disk.plan(Plan::Well);
        check(&format!("failed at {at}"), &disk, promised);
    }
}

#[test]
fn what_a_failed_append_left_is_cut_off_for_good_before_the_next_segment() {
    for seed in 0..64 {
        let disk = FakeDisk::default();
        let mut daemon = Daemon::start(&disk).unwrap();
        daemon.add_synced();
        disk.space(Some(30));
        daemon.add().unwrap_err();
        disk.space(None);
        daemon.rotate().unwrap();
        let left = disk.power_cut(seed);
        let again = Daemon::start(&left).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        assert_eq!(again.total(), 1);
    }
}

#[test]
fn a_crash_in_the_start_after_a_crash_loses_nothing_that_was_acknowledged() {
    let again = "asarca";
    let empty = FakeDisk::default();
    for first in 0..=operations(&empty, SCRIPT) {
        let disk = empty.killed();
        disk.plan(Plan::StopAt(first));
        let promised = life(&disk, Promised::default(), SCRIPT);
        for (end, left, least) in ends(&disk, promised) {
            for second in 0..=operations(&left, again) {
                let left = left.killed();
                left.plan(Plan::StopAt(second));
                let before = Promised {
                    written: least,
                    // What a kill left to the kernel is promised again only once a start has synced it.
                    synced: promised.synced,
                    ..promised
                };
                let promised = life(&left, before, again);
                check(&format!("{first}, {end}, {second}"), &left, promised);
            }
        }
    }
}
