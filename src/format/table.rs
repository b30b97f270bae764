//! A snapshot as a table for a terminal, and what aligning columns takes: how wide a text is on
//! screen. It is no format for programs and may change. Whether stdout is a terminal is the
//! caller's to know.

use std::time::Duration;

use unicode_properties::{GeneralCategory, UnicodeGeneralCategory as _};

use super::duration::{ago, short};
use super::{printable, put};
use crate::counter::name::NAME_BYTES_MAX;
use crate::protocol::{Row, SnapshotInfo};

const COUNTER: &str = "COUNTER";
const TOTAL: &str = "TOTAL";
const SINCE_FLUSH: &str = "SINCE FLUSH";
const LAST_SEEN: &str = "LAST SEEN";

/// Appends the table, in the order of the rows, under a line that says what the numbers mean. Times
/// are told as seen from the snapshot's own moment.
pub fn render(info: &SnapshotInfo, rows: &[Row<'_>], out: &mut Vec<u8>) {
    let open = short(Duration::from_millis(info.window_open_ms));
    let interval = short(Duration::from_millis(info.interval_ms));
    put(out, format_args!("totals since creation; window open {open} of {interval}\n"));

    let names = rows.iter().map(|row| width(&printable(&row.name)));
    let names = names.max().unwrap_or(0).clamp(COUNTER.len(), NAME_BYTES_MAX);
    let totals = digits(rows.iter().map(|row| row.total)).max(TOTAL.len());
    let gains = digits(rows.iter().map(|row| row.since_flush)).max(SINCE_FLUSH.len());

    put_padded(out, COUNTER, names);
    put(out, format_args!("  {TOTAL:>totals$}  {SINCE_FLUSH:>gains$}  {LAST_SEEN}\n"));
    for row in rows {
        put_padded(out, &printable(&row.name), names);
        let (total, gain) = (row.total, row.since_flush);
        let seen = ago(row.last_seen_ms, info.taken_ms);
        put(out, format_args!("  {total:>totals$}  {gain:>gains$}  {seen}\n"));
    }
}

/// Digits of the largest number.
fn digits(numbers: impl Iterator<Item = u64>) -> usize {
    numbers.max().unwrap_or(0).to_string().len()
}

/// Appends the text and blanks up to `columns`.
pub(super) fn put_padded(out: &mut Vec<u8>, text: &str, columns: usize) {
    out.extend_from_slice(text.as_bytes());
    out.extend(std::iter::repeat_n(b' ', columns.saturating_sub(width(text))));
}

/// How many columns of a terminal a text takes.
pub(super) fn width(text: &str) -> usize {
    if text.is_ascii() { text.len() } else { text.chars().map(char_width).sum() }
}

/// None for what stands on the character before it, two for the East Asian scripts, by the blocks
/// that are wide as a whole (UAX #11).
fn char_width(c: char) -> usize {
    let category = c.general_category();
    if category == GeneralCategory::NonspacingMark || category == GeneralCategory::EnclosingMark {
        return 0;
    }
    match c {
        '\u{1100}'..='\u{115f}'
        | '\u{2e80}'..='\u{303e}'
        | '\u{3041}'..='\u{a4cf}'
        | '\u{a960}'..='\u{a97f}'
        | '\u{ac00}'..='\u{d7a3}'
        | '\u{f900}'..='\u{faff}'
        | '\u{fe30}'..='\u{fe6f}'
        | '\u{ff01}'..='\u{ff60}'
        | '\u{ffe0}'..='\u{ffe6}'
        | '\u{20000}'..='\u{3fffd}' => 2,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TAKEN_MS: u64 = 1_795_352_405_123;

    fn row(name: &str, total: u64, since_flush: u64, last_seen_ms: u64) -> Row<'_> {
        Row { name: name.into(), total, since_flush, created_ms: 0, last_seen_ms }
    }

    fn text(rows: &[Row<'_>]) -> String {
        let info = SnapshotInfo { taken_ms: TAKEN_MS, window_open_ms: 3_200, interval_ms: 5_000 };
        let mut out = Vec::new();
        render(&info, rows, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn numbers_are_aligned_right_under_their_headings() {
        let rows = [
            row("hits", u64::MAX, 12, TAKEN_MS.saturating_sub(3_000)),
            row("jobs.done,host=a", 40, 0, TAKEN_MS.saturating_sub(7_200_000)),
            row("new", 0, 0, 0),
        ];
        let expected = "\
totals since creation; window open 3.2 s of 5 s
COUNTER                          TOTAL  SINCE FLUSH  LAST SEEN
hits              18446744073709551615           12  3 s ago
jobs.done,host=a                    40            0  2 h ago
new                                  0            0  never
";
        assert_eq!(text(&rows), expected);
    }

    #[test]
    fn no_rows_leave_the_headings() {
        let expected = "\
totals since creation; window open 3.2 s of 5 s
COUNTER  TOTAL  SINCE FLUSH  LAST SEEN
";
        assert_eq!(text(&[]), expected);
    }

    #[test]
    fn columns_are_aligned_by_displayed_width() {
        let rows = [
            row("größe", 1, 0, TAKEN_MS),
            row("e\u{301}te\u{301}", 1, 0, TAKEN_MS),
            row("日本語", 1, 0, TAKEN_MS),
            row("\u{1b}[2J", 1, 0, TAKEN_MS),
        ];
        let expected = "\
totals since creation; window open 3.2 s of 5 s
COUNTER    TOTAL  SINCE FLUSH  LAST SEEN
größe          1            0  now
e\u{301}te\u{301}            1            0  now
日本語         1            0  now
\\u{1b}[2J      1            0  now
";
        assert_eq!(text(&rows), expected);
    }

    proptest! {
        #[test]
        fn any_snapshot_is_a_line_a_row_without_trailing_blanks(
            names in proptest::collection::vec(any::<String>(), 0..5),
            [total, since_flush, last_seen_ms] in any::<[u64; 3]>(),
            [taken_ms, window_open_ms, interval_ms] in any::<[u64; 3]>(),
        ) {
            let rows: Vec<_> =
                names.iter().map(|name| row(name, total, since_flush, last_seen_ms)).collect();
            let mut out = Vec::new();
            render(&SnapshotInfo { taken_ms, window_open_ms, interval_ms }, &rows, &mut out);
            let text = String::from_utf8(out).unwrap();
            prop_assert_eq!(text.lines().count(), names.len().saturating_add(2));
            prop_assert!(!text.contains(" \n"));
        }
    }

    #[test]
    fn an_overlong_name_widens_no_other_line_beyond_the_limit_of_names() {
        let long = "x".repeat(100_000);
        let shown = text(&[row(&long, 1, 0, 0), row("a", 1, 0, 0)]);
        assert!(shown.lines().last().unwrap().len() < 300);
    }
}
