//! A flush in one line, and the daemon in one line: for the log of the system and for whoever looks after the
//! service. What each counter gained is in neither.

use super::Utc;
use crate::report::Report;

/// What a flush reported: its window, how long that was, how many counters gained in it and how much together.
pub fn flushed(report: &Report) -> String {
    let window = report.window;
    let seconds = window.length().as_secs_f64();
    let windows = match (window.first, window.number) {
        (first, last) if first == last => format!("window {last}"),
        (first, last) => format!("windows {first} to {last}"),
    };
    let counts = report.counts();
    let (counters, sum) = (counts.gained(), counts.sum());
    format!("flushed {windows} of {seconds:.3} s: {} gained {sum}", some_counters(counters))
}

/// The same with the time.
pub fn flushed_at(report: &Report) -> String {
    format!("{} at {}", flushed(report), Utc(report.window.end.wall_ms))
}

/// What the daemon is about, with its last flush as [`flushed_at`] has it.
pub fn service(counters: usize, last: Option<&str>) -> String {
    let all = some_counters(u64::try_from(counters).unwrap_or(u64::MAX));
    format!("{all}, {}", last.unwrap_or("nothing flushed yet"))
}

fn some_counters(number: u64) -> String {
    match number {
        1 => "1 counter".to_owned(),
        number => format!("{number} counters"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Count;
    use crate::window::{Moment, Window};

    fn report(counts: &[u64]) -> Report {
        let start = Moment { wall_ms: 1_700_000_000_000, boot_ns: 0 };
        let end = Moment { wall_ms: 1_700_000_005_001, boot_ns: 5_001_000_000 };
        let window = Window { first: 7, number: 7, start, start_boot: 1, end, end_boot: 1 };
        let names = ["a", "b", "c"].into_iter();
        let counts = names.zip(counts).map(|(name, &count)| Count { name, count, total: count });
        Report::new(window, counts.collect())
    }

    #[test]
    fn a_flush_is_one_line_with_the_sum_of_what_was_gained() {
        assert_eq!(
            flushed(&report(&[3, u64::MAX, 0])),
            "flushed window 7 of 5.001 s: 2 counters gained 18446744073709551618"
        );
        let merged = Window { first: 3, ..report(&[]).window };
        let merged = Report::new(merged, report(&[1]).counts().clone());
        assert_eq!(flushed(&merged), "flushed windows 3 to 7 of 5.001 s: 1 counter gained 1");
    }

    #[test]
    fn the_service_says_how_many_counters_there_are_and_when_it_flushed() {
        assert_eq!(service(0, None), "0 counters, nothing flushed yet");
        assert_eq!(
            service(12, Some(&flushed_at(&report(&[3])))),
            "12 counters, flushed window 7 of 5.001 s: 1 counter gained 3 at 2023-11-14T22:13:25.001Z"
        );
    }
}
