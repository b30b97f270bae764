//! Spans: stretches of one length by the wall clock, for a sink that wants fewer reports than there are
//! flushes. Windows that belong to one span make one report. Which span a window belongs to follows from the
//! window alone, so a flush that comes a little early or late changes nothing, and neither does a restart.

use std::time::Duration;

use super::Window;

/// Spans of one length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spans {
    length_ms: u64,
}

/// Windows that follow one another and belong to one span.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Group {
    /// Which span.
    pub span: u64,
    /// How many windows.
    pub windows: usize,
}

impl Spans {
    /// Spans of this length, a millisecond at least.
    pub fn new(length: Duration) -> Spans {
        let length_ms = u64::try_from(length.as_millis()).unwrap_or(u64::MAX);
        Spans { length_ms: length_ms.max(1) }
    }

    /// Their length in milliseconds.
    pub fn length_ms(self) -> u64 {
        self.length_ms
    }

    /// The span a window belongs to: the one in which the middle of it lies, or of its end, if it is longer than
    /// a span.
    pub fn of(self, window: &Window) -> u64 {
        let length_ms = u64::try_from(window.length().as_millis()).unwrap_or(u64::MAX);
        let half = length_ms.min(self.length_ms) / 2;
        self.at_ms(window.end.wall_ms.saturating_sub(half))
    }

    /// The span of a moment.
    pub fn at_ms(self, wall_ms: u64) -> u64 {
        wall_ms.checked_div(self.length_ms).unwrap_or(0)
    }

    /// When a span begins.
    pub fn start_ms(self, span: u64) -> u64 {
        span.saturating_mul(self.length_ms)
    }

    /// The first span that begins in a later second than this one.
    pub fn after_second(self, second: u64) -> u64 {
        second.saturating_add(1).saturating_mul(1_000).div_ceil(self.length_ms)
    }

    /// When no window that opened at `opened_ms` can belong to the span any more, whenever it closes.
    pub fn over_ms(self, span: u64, opened_ms: u64) -> u64 {
        let end = self.start_ms(span.saturating_add(1));
        let before = end.saturating_sub(opened_ms);
        end.saturating_add(before.min(self.length_ms / 2))
    }

    /// Puts windows, oldest first, into groups whose spans rise, none before `least` nor, unless that is later
    /// itself, after `most`. A window that belongs to an earlier span than the group before it, as when the clock
    /// was set back, joins that group.
    pub fn groups<'a>(
        self,
        windows: impl Iterator<Item = &'a Window>,
        least: u64,
        most: u64,
    ) -> Vec<Group> {
        let mut groups: Vec<Group> = Vec::new();
        for window in windows {
            let span = self.of(window).min(most).max(least);
            match groups.last_mut() {
                Some(group) if group.span >= span => {
                    group.windows = group.windows.saturating_add(1)
                }
                Some(_) | None => groups.push(Group { span, windows: 1 }),
            }
        }
        groups
    }
}

#[cfg(test)]
#[expect(clippy::arithmetic_side_effects, reason = "tests reckon with small numbers")]
mod tests {
    use super::*;
    use crate::window::Moment;

    const T: u64 = 1_700_000_000_000;

    /// A window between these milliseconds after a full minute.
    fn window(start: u64, end: u64) -> Window {
        let at = |ms: u64| Moment { wall_ms: T - 20_000 + ms, boot_ns: ms * 1_000_000 };
        Window { first: 1, number: 1, start: at(start), start_boot: 1, end: at(end), end_boot: 1 }
    }

    fn ten() -> Spans {
        Spans::new(Duration::from_secs(10))
    }

    fn groups(windows: &[Window]) -> Vec<(u64, usize)> {
        let first = ten().at_ms(T - 20_000);
        let groups = ten().groups(windows.iter(), 0, u64::MAX);
        groups.iter().map(|group| (group.span - first, group.windows)).collect()
    }

    #[test]
    fn windows_of_a_span_are_together_however_early_or_late_a_flush_is() {
        for (a, b, c, d) in
            [(0, 5_000, 10_000, 15_000), (3, 5_001, 10_020, 15_000), (0, 4_998, 9_998, 15_003)]
        {
            let windows = [window(a, b), window(b, c), window(c, d), window(d, 20_001)];
            assert_eq!(groups(&windows), [(0, 2), (1, 2)]);
        }
        assert_eq!(
            groups(&[window(0, 3_000), window(3_000, 8_000), window(8_000, 13_000)]),
            [(0, 2), (1, 1)]
        );
    }

    #[test]
    fn a_window_longer_than_a_span_belongs_to_its_end() {
        assert_eq!(groups(&[window(0, 61_000)]), [(5, 1)]);
        assert_eq!(groups(&[window(0, 66_000)]), [(6, 1)]);
    }

    #[test]
    fn spans_rise_though_the_clock_was_set_back_and_keep_within_their_bounds() {
        let back = [window(20_000, 25_000), window(0, 5_000), window(5_000, 31_000)];
        assert_eq!(groups(&back), [(2, 3)]);
        let all = ten().groups([window(0, 5_000), window(50_000, 55_000)].iter(), 7, 9);
        assert_eq!(all, [Group { span: 9, windows: 2 }]);
        let late = ten().groups([window(0, 5_000)].iter(), T, 9);
        assert_eq!(late, [Group { span: T, windows: 1 }]);
    }

    #[test]
    fn a_span_is_over_when_the_open_window_can_no_more_belong_to_it() {
        let spans = ten();
        let span = spans.of(&window(0, 10_000));
        for opened in [0, 4_000, 8_700, 9_999, 10_000, 12_000] {
            let over = spans.over_ms(span, T - 20_000 + opened) - (T - 20_000);
            assert!(over >= 10_000);
            for closed in [over, over + 1, over + 100_000] {
                assert!(spans.of(&window(opened, closed.max(opened))) > span, "{opened} {closed}");
            }
        }
        assert_eq!(spans.over_ms(span, T - 20_000 + 9_998), T - 10_000 + 2);
    }

    #[test]
    fn the_span_after_a_second_begins_in_a_later_one() {
        for length in [1_000, 1_500, 10_000] {
            let spans = Spans::new(Duration::from_millis(length));
            for second in [0, 1, 9, 10, 1_700_000_000] {
                let span = spans.after_second(second);
                assert!(spans.start_ms(span) / 1_000 > second);
                assert!(span == 0 || spans.start_ms(span - 1) / 1_000 <= second);
            }
        }
        assert_eq!(ten().after_second(u64::MAX), u64::MAX.div_ceil(10_000));
    }
}
