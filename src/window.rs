//! Windows and when they end, as arithmetic on values: the time from one flush to the next, measured by
//! the clock that never steps, and the schedule that flushes follow without drifting. No clock is read here.

#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::as_conversions)]

pub mod spans;

use std::time::Duration;

use serde::{Deserialize, Serialize};

const NS_PER_MS: u64 = 1_000_000;

/// A moment by both clocks, read together once a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Moment {
    /// Milliseconds since 1970-01-01 UTC by the wall clock, which may step.
    pub wall_ms: u64,
    /// Nanoseconds by `CLOCK_BOOTTIME`, which never steps and is comparable within one boot only.
    pub boot_ns: u64,
}

impl Moment {
    /// The moment `other_boot_ns` of the same boot, its wall time reckoned from this one.
    fn at_boot(self, other_boot_ns: u64) -> Moment {
        let wall_ms = if other_boot_ns >= self.boot_ns {
            self.wall_ms.saturating_add(other_boot_ns.saturating_sub(self.boot_ns) / NS_PER_MS)
        } else {
            self.wall_ms.saturating_sub(self.boot_ns.saturating_sub(other_boot_ns) / NS_PER_MS)
        };
        Moment { wall_ms, boot_ns: other_boot_ns }
    }
}

/// Which boot of the machine a `boot_ns` belongs to: the kernel's random boot id.
pub type BootId = u128;

/// A closed window: its number and its measured ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    /// The number of the first window it covers: below `number` only when windows were merged.
    pub first: u64,
    /// Its number: rises by one a window that had something to say.
    pub number: u64,
    /// When it opened.
    pub start: Moment,
    /// The boot in which it opened.
    pub start_boot: BootId,
    /// When it closed.
    pub end: Moment,
    /// The boot in which it closed.
    pub end_boot: BootId,
}

impl Window {
    /// Its measured length. By `CLOCK_BOOTTIME` where both ends are of one boot, else by the wall clock;
    /// never negative.
    pub fn length(&self) -> Duration {
        if self.start_boot == self.end_boot {
            Duration::from_nanos(self.end.boot_ns.saturating_sub(self.start.boot_ns))
        } else {
            Duration::from_millis(self.end.wall_ms.saturating_sub(self.start.wall_ms))
        }
    }

    /// The window that covers this one and the next.
    pub fn merged_with(&self, next: &Window) -> Window {
        Window { first: self.first, start: self.start, start_boot: self.start_boot, ..*next }
    }
}

/// When flushes are due: every `interval`, counted from where it began, so that a late flush does not
/// delay the next, and however many were missed make one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Schedule {
    interval_ns: u64,
    /// Aligned flushes come so long after multiples of the interval.
    offset_ns: Option<u64>,
    due_boot_ns: u64,
}

/// The shortest flush interval.
pub const INTERVAL_MIN: Duration = Duration::from_millis(10);
/// The longest flush interval.
pub const INTERVAL_MAX: Duration = Duration::from_secs(366 * 24 * 3600);

impl Schedule {
    /// A schedule whose first flush is due an interval after `start`, or, when `aligned`, so long after the
    /// next multiple of the interval by the wall clock. The interval is kept within [`INTERVAL_MIN`] and
    /// [`INTERVAL_MAX`].
    pub fn new(interval: Duration, aligned: Option<Duration>, start: Moment) -> Schedule {
        let interval = interval.clamp(INTERVAL_MIN, INTERVAL_MAX);
        let interval_ns = u64::try_from(interval.as_nanos()).unwrap_or(u64::MAX);
        let offset = |offset: Duration| u64::try_from(offset.as_nanos()).unwrap_or(u64::MAX);
        let offset_ns = aligned.map(offset);
        let mut schedule = Schedule { interval_ns, offset_ns, due_boot_ns: start.boot_ns };
        schedule.due_boot_ns = schedule.boundary_after(start);
        schedule
    }

    /// When the next flush is due, by `CLOCK_BOOTTIME`.
    pub fn due_boot_ns(&self) -> u64 {
        self.due_boot_ns
    }

    /// The flush interval.
    pub fn interval(&self) -> Duration {
        Duration::from_nanos(self.interval_ns)
    }

    /// Whether a flush is due.
    pub fn is_due(&self, now: Moment) -> bool {
        now.boot_ns >= self.due_boot_ns
    }

    /// Moves on after a flush at `now`: the next is due at the first boundary after it. A flush that was
    /// asked for before its time moves nothing.
    pub fn flushed(&mut self, now: Moment) {
        if self.is_due(now) {
            self.due_boot_ns = self.boundary_after(now);
        }
    }

    /// Closes empty windows without a flush: moves on past every boundary that is behind `now` and
    /// returns the last of them, where the open window then starts; `None` when none has passed.
    pub fn skip_empty(&mut self, now: Moment) -> Option<Moment> {
        if !self.is_due(now) {
            return None;
        }
        let next = self.boundary_after(now);
        let last = next.saturating_sub(self.interval_ns).clamp(self.due_boot_ns, now.boot_ns);
        self.due_boot_ns = next;
        Some(now.at_boot(last))
    }

    /// The first boundary after `now`. Aligned, it is one by the wall clock that is at
    /// least half an interval away, so that a clock being slewed makes no sliver of a window.
    fn boundary_after(&self, now: Moment) -> u64 {
        if let Some(offset_ns) = self.offset_ns {
            let wall_ns = u128::from(now.wall_ms).saturating_mul(u128::from(NS_PER_MS));
            let interval = u128::from(self.interval_ns);
            let rem = |ns: u128| ns.checked_rem(interval).unwrap_or(0);
            let into =
                rem(rem(wall_ns).saturating_add(interval.saturating_sub(rem(offset_ns.into()))));
            let mut wait = interval.saturating_sub(into);
            if wait.saturating_mul(2) < interval {
                wait = wait.saturating_add(interval);
            }
            now.boot_ns.saturating_add(u64::try_from(wait).unwrap_or(u64::MAX))
        } else {
            let late = now.boot_ns.saturating_sub(self.due_boot_ns);
            let missed = late.checked_div(self.interval_ns).unwrap_or(0);
            let steps = missed.saturating_add(1);
            self.due_boot_ns.saturating_add(steps.saturating_mul(self.interval_ns))
        }
    }
}

/// The offset of the host that has this number: as much of the interval as the number is of all there are, in
/// whole milliseconds.
pub fn offset_of(interval: Duration, host: u32) -> Duration {
    let offset_ms = interval.as_millis().saturating_mul(host.into()) >> u32::BITS;
    Duration::from_millis(u64::try_from(offset_ms).unwrap_or(0))
}

#[cfg(test)]
#[expect(clippy::arithmetic_side_effects, reason = "tests reckon with small numbers")]
mod tests {
    use super::*;

    const S: u64 = 1_000_000_000;

    fn at(seconds: u64) -> Moment {
        Moment { wall_ms: 1_700_000_000_000 + seconds * 1_000, boot_ns: seconds * S }
    }

    fn five(start: Moment) -> Schedule {
        Schedule::new(Duration::from_secs(5), None, start)
    }

    #[test]
    fn flushes_do_not_drift_when_each_is_late() {
        let mut schedule = five(at(100));
        for k in 1..=100 {
            let due = schedule.due_boot_ns();
            assert_eq!(due, (100 + 5 * k) * S);
            schedule.flushed(Moment { boot_ns: due + S / 3, ..at(0) });
        }
    }

    #[test]
    fn missed_intervals_make_one_flush() {
        let mut schedule = five(at(0));
        assert!(schedule.is_due(at(1_003)));
        schedule.flushed(at(1_003));
        assert!(!schedule.is_due(at(1_004)));
        assert_eq!(schedule.due_boot_ns(), 1_005 * S);
    }

    #[test]
    fn a_flush_before_its_time_moves_nothing() {
        let mut schedule = five(at(0));
        schedule.flushed(at(3));
        assert_eq!(schedule.due_boot_ns(), 5 * S);
    }

    #[test]
    fn empty_windows_close_at_the_last_boundary_before_now() {
        let mut schedule = five(at(0));
        assert_eq!(schedule.skip_empty(at(4)), None);
        assert_eq!(schedule.skip_empty(at(63)), Some(at(60)));
        assert_eq!(schedule.due_boot_ns(), 65 * S);
        assert_eq!(schedule.skip_empty(at(65)), Some(at(65)));
    }

    #[test]
    fn aligned_flushes_are_multiples_of_the_interval_by_the_wall_clock() {
        let start = Moment { wall_ms: 1_700_000_003_200, boot_ns: 77 * S };
        let mut schedule = Schedule::new(Duration::from_secs(10), Some(Duration::ZERO), start);
        assert_eq!(schedule.due_boot_ns(), 77 * S + 6_800_000_000);
        let flush = start.at_boot(schedule.due_boot_ns() + S / 2);
        schedule.flushed(flush);
        assert_eq!(schedule.due_boot_ns(), 77 * S + 16_800_000_000);
    }

    #[test]
    fn an_aligned_flush_that_comes_a_little_early_is_not_followed_by_a_sliver() {
        let start = Moment { wall_ms: 1_700_000_009_998, boot_ns: 50 * S };
        let schedule = Schedule::new(Duration::from_secs(10), Some(Duration::ZERO), start);
        assert_eq!(schedule.due_boot_ns(), 60 * S + 2_000_000);
    }

    #[test]
    fn an_offset_moves_aligned_flushes_behind_the_multiples() {
        for (start_ms, offset_ms, due_ms) in [
            (0, 4_000, 14_000),
            (3_000, 4_000, 14_000),
            (4_000, 4_000, 14_000),
            (8_900, 4_000, 14_000),
            (9_100, 4_000, 24_000),
            (5_000, 14_000, 14_000),
        ] {
            let start =
                Moment { wall_ms: 1_700_000_000_000 + start_ms, boot_ns: start_ms * 1_000_000 };
            let offset = Duration::from_millis(offset_ms);
            let schedule = Schedule::new(Duration::from_secs(10), Some(offset), start);
            assert_eq!(schedule.due_boot_ns(), due_ms * 1_000_000, "{start_ms} {offset_ms}");
        }
    }

    #[test]
    fn the_offset_of_a_host_is_within_any_interval() {
        let five = Duration::from_secs(5);
        assert_eq!(offset_of(five, 0), Duration::ZERO);
        assert_eq!(offset_of(five, 1 << 31), Duration::from_millis(2_500));
        assert_eq!(offset_of(five, u32::MAX), Duration::from_millis(4_999));
        assert!(offset_of(INTERVAL_MAX, u32::MAX) < INTERVAL_MAX);
        assert!(offset_of(INTERVAL_MIN, u32::MAX) < INTERVAL_MIN);
    }

    #[test]
    fn a_wall_clock_that_steps_back_changes_neither_lengths_nor_the_schedule() {
        let mut schedule = five(at(0));
        let stepped = Moment { wall_ms: 5, boot_ns: 5 * S };
        assert!(schedule.is_due(stepped));
        schedule.flushed(stepped);
        assert_eq!(schedule.due_boot_ns(), 10 * S);
        let window =
            Window { first: 1, number: 1, start: at(0), start_boot: 9, end: stepped, end_boot: 9 };
        assert_eq!(window.length(), Duration::from_secs(5));
    }

    #[test]
    fn a_window_over_a_reboot_is_measured_by_the_wall_and_never_negative() {
        let mut window = Window {
            first: 1,
            number: 1,
            start: at(100),
            start_boot: 1,
            end: at(103),
            end_boot: 2,
        };
        window.end.boot_ns = 1;
        assert_eq!(window.length(), Duration::from_secs(3));
        window.end.wall_ms = 0;
        assert_eq!(window.length(), Duration::ZERO);
    }

    #[test]
    fn hostile_numbers_saturate() {
        let now = Moment { wall_ms: u64::MAX, boot_ns: u64::MAX };
        for aligned in [None, Some(Duration::ZERO), Some(Duration::MAX)] {
            let mut schedule = Schedule::new(Duration::MAX, aligned, now);
            schedule.flushed(now);
            schedule.skip_empty(now);
            assert_eq!(schedule.due_boot_ns(), u64::MAX);
        }
        assert_eq!(Schedule::new(Duration::ZERO, None, at(0)).interval(), INTERVAL_MIN);
    }

    #[test]
    fn merged_windows_cover_both() {
        let a =
            Window { first: 3, number: 4, start: at(0), start_boot: 1, end: at(5), end_boot: 1 };
        let b =
            Window { first: 5, number: 5, start: at(5), start_boot: 1, end: at(9), end_boot: 1 };
        let merged = a.merged_with(&b);
        assert_eq!((merged.first, merged.number, merged.length()), (3, 5, Duration::from_secs(9)));
    }
}
