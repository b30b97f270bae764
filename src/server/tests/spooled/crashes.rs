//! Every crash while the spool is taken in: the daemon is killed, or the power cut, at each operation on the disk, with
//! the jobs of its workers done in this order and that. Each request counts exactly once.

use super::*;

fn operations(disk: &FakeDisk, fsync: Fsync, seed: u64) -> u64 {
    let disk = disk.killed();
    disk.plan(Plan::Well);
    live(&disk, fsync, seed);
    disk.operations()
}

/// What a crash may leave. With `--fsync no` a power cut may take what was counted.
fn ends(disk: &FakeDisk, fsync: Fsync) -> Vec<(String, FakeDisk)> {
    let mut ends = vec![("killed".to_owned(), disk.killed())];
    let seeds = if fsync == Fsync::No { 0..0 } else { 0..4 };
    ends.extend(seeds.map(|seed| (format!("power cut, seed {seed}"), disk.power_cut(seed))));
    ends
}

#[test]
fn what_was_spooled_counts_exactly_once_after_a_crash_at_any_operation_in_any_order() {
    let begin = spooled(3);
    for fsync in [Fsync::Always, Fsync::Everysec, Fsync::No] {
        for seed in 0..4 {
            let count = operations(&begin, fsync, seed);
            assert!(count > 10, "{count}");
            for at in 0..=count {
                let disk = begin.killed();
                disk.plan(Plan::StopAt(at));
                live(&disk, fsync, seed);
                for (end, left) in ends(&disk, fsync) {
                    let found = counted_in_the_end(&left, fsync);
                    assert_eq!(found, 3, "{fsync}, seed {seed}, stopped at {at}, {end}");
                }
            }
        }
    }
}

#[test]
fn what_was_spooled_counts_exactly_once_after_a_crash_in_the_life_after_a_crash() {
    let (begin, fsync) = (spooled(1), Fsync::Everysec);
    for seed in 0..1 {
        for first in 0..=operations(&begin, fsync, seed) {
            let disk = begin.killed();
            disk.plan(Plan::StopAt(first));
            live(&disk, fsync, seed);
            for (end, left) in ends(&disk, fsync) {
                for second in 0..=operations(&left, fsync, seed + 1) {
                    let disk = left.killed();
                    disk.plan(Plan::StopAt(second));
                    live(&disk, fsync, seed + 1);
                    for (again, left) in ends(&disk, fsync) {
                        let found = counted_in_the_end(&left, fsync);
                        assert_eq!(found, 1, "seed {seed}, {first}, {end}, {second}, {again}");
                    }
                }
            }
        }
    }
}

#[test]
fn an_operation_that_fails_delays_what_was_spooled_and_no_more() {
    let begin = spooled(3);
    for fsync in [Fsync::Always, Fsync::Everysec] {
        for at in 0..=operations(&begin, fsync, 1) {
            let disk = begin.killed();
            disk.plan(Plan::FailAt(at));
            live(&disk, fsync, 1);
            // What failed at a sync is not known; a restart knows.
            for (end, left) in ends(&disk, fsync) {
                assert_eq!(counted_in_the_end(&left, fsync), 3, "{fsync}, failed at {at}, {end}");
            }
        }
    }
}
