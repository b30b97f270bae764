//! A report as text, for its sinks: plain, logfmt and JSON, a line a counter in byte order of the
//! names. What a repeated window must repeat unchanged follows from the report alone, so no time of
//! writing and no state enters.

use serde::Serialize;

use super::layout::Layout;
use super::{Tags, Utc, float, printable, put, put_json};
use crate::counter::name::base;
use crate::report::Report;

/// `NAME COUNT` a line.
pub(super) fn plain(layout: &Layout, report: &Report, out: &mut Vec<u8>) {
    for line in layout.lines(report) {
        put(out, format_args!("{} {}\n", printable(&line.name), line.count));
    }
}

/// `time=... window=... counter=... count=... total=... seconds=...` a line: the time is the
/// window's end, the seconds are its measured length to the nearest millisecond.
pub(super) fn logfmt(layout: &Layout, report: &Report, out: &mut Vec<u8>) {
    let window = &report.window;
    let begin = format!("time={} window={} counter=", Utc(window.end.wall_ms), window.number);
    let ms = window.length().as_nanos().saturating_add(500_000) / 1_000_000;
    let end = format!("seconds={}.{:03}", ms / 1000, ms % 1000);
    for line in layout.lines(report) {
        out.extend_from_slice(begin.as_bytes());
        put_logfmt_value(out, &line.name);
        put(out, format_args!(" count={} total={} {end}\n", line.count, line.total));
    }
}

/// One object a line. The rate is per second of measured length, and null for a window of no
/// length.
pub(super) fn json(layout: &Layout, report: &Report, out: &mut Vec<u8>) {
    let window = &report.window;
    let seconds = window.length().as_secs_f64();
    let first_window = (window.first != window.number).then_some(window.first);
    for line in layout.lines(report) {
        let object = Object {
            counter: &line.name,
            name: base(&line.name),
            tags: Tags(&line.name),
            count: line.count,
            total: line.total,
            rate: (seconds > 0.0).then(|| float(line.count) / seconds),
            window: window.number,
            start: Utc(window.start.wall_ms),
            end: Utc(window.end.wall_ms),
            first_window,
        };
        put_json(out, &object);
        out.push(b'\n');
    }
}

#[derive(Serialize)]
struct Object<'a> {
    counter: &'a str,
    name: &'a str,
    tags: Tags<'a>,
    count: u64,
    total: u64,
    rate: Option<f64>,
    window: u64,
    start: Utc,
    end: Utc,
    #[serde(skip_serializing_if = "Option::is_none")]
    first_window: Option<u64>,
}

/// A value, quoted as a JSON string where readers of logfmt would not take it bare.
fn put_logfmt_value(out: &mut Vec<u8>, value: &str) {
    let needs_quotes =
        |c: char| matches!(c, '=' | '"' | '\\') || c.is_control() || c.is_whitespace();
    if value.is_empty() || value.contains(needs_quotes) {
        put_json(out, &value);
    } else {
        out.extend_from_slice(value.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;
    use crate::format::ReportFormat;
    use crate::report::Count;
    use crate::window::{Moment, Window};

    const END_MS: u64 = 1_795_352_405_123;

    fn report(length: Duration, counts: &[(&str, u64, u64)]) -> Report {
        let length_ms = u64::try_from(length.as_millis()).unwrap();
        let length_ns = u64::try_from(length.as_nanos()).unwrap();
        let window = Window {
            first: 17,
            number: 17,
            start: Moment { wall_ms: END_MS.checked_sub(length_ms).unwrap(), boot_ns: 0 },
            start_boot: 1,
            end: Moment { wall_ms: END_MS, boot_ns: length_ns },
            end_boot: 1,
        };
        let counts = counts.iter().map(|&(name, count, total)| Count { name, count, total });
        Report::new(window, counts.collect())
    }

    fn two() -> Report {
        report(
            Duration::from_millis(5001),
            &[("my.useful.count", 12, 40), ("jobs.done,host=a", 3, u64::MAX)],
        )
    }

    fn text(format: ReportFormat, report: &Report) -> String {
        let mut out = Vec::new();
        let report = Report::new(report.window, report.counts().clone());
        Layout::of(format).render(&[Arc::new(report)], &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn plain_is_name_and_count_in_byte_order() {
        let expected = "jobs.done,host=a 3\nmy.useful.count 12\n";
        assert_eq!(text(ReportFormat::Plain, &two()), expected);
    }

    #[test]
    fn logfmt_has_the_windows_end_and_length_and_quotes_tagged_counters() {
        let expected = "\
time=2026-11-22T13:00:05.123Z window=17 counter=\"jobs.done,host=a\" count=3 \
total=18446744073709551615 seconds=5.001
time=2026-11-22T13:00:05.123Z window=17 counter=my.useful.count count=12 total=40 seconds=5.001
";
        assert_eq!(text(ReportFormat::Logfmt, &two()), expected);
    }

    #[test]
    fn json_is_an_object_a_line_with_its_fields_in_order() {
        let expected = r#"{"counter":"jobs.done,host=a","name":"jobs.done","tags":{"host":"a"},"count":3,"total":18446744073709551615,"rate":1.5,"window":17,"start":"2026-11-22T13:00:03.123Z","end":"2026-11-22T13:00:05.123Z"}
{"counter":"z","name":"z","tags":{},"count":0,"total":9,"rate":0.0,"window":17,"start":"2026-11-22T13:00:03.123Z","end":"2026-11-22T13:00:05.123Z"}
"#;
        let counts = [("z", 0, 9), ("jobs.done,host=a", 3, u64::MAX)];
        let report = report(Duration::from_secs(2), &counts);
        assert_eq!(text(ReportFormat::Json, &report), expected);
    }

    #[test]
    fn a_merged_window_names_its_first_in_json_only() {
        let mut report = report(Duration::from_secs(2), &[("a", 1, 1)]);
        report.window.first = 15;
        let json: Value = serde_json::from_str(&text(ReportFormat::Json, &report)).unwrap();
        assert_eq!(json.get("window"), Some(&Value::from(17)));
        assert_eq!(json.get("first_window"), Some(&Value::from(15)));
        assert!(text(ReportFormat::Logfmt, &report).contains(" window=17 "));
    }

    #[test]
    fn a_window_of_no_length_has_no_rate() {
        let report = report(Duration::ZERO, &[("a", 1, 1)]);
        assert!(text(ReportFormat::Json, &report).contains(r#""rate":null"#));
        assert!(text(ReportFormat::Logfmt, &report).ends_with(" seconds=0.000\n"));
    }

    #[test]
    fn seconds_are_rounded_to_the_millisecond() {
        let report = report(Duration::from_nanos(1_999_500_000), &[("a", 1, 1)]);
        assert!(text(ReportFormat::Logfmt, &report).ends_with(" seconds=2.000\n"));
    }

    #[test]
    fn a_report_without_counts_is_no_bytes() {
        for format in ReportFormat::ALL {
            assert_eq!(text(format, &report(Duration::from_secs(5), &[])), "");
        }
    }

    #[test]
    fn names_that_only_an_old_journal_can_hold_stay_on_their_line() {
        let report = report(Duration::from_secs(5), &[("a\"b\\\n\tc", 1, 1)]);
        assert_eq!(text(ReportFormat::Plain, &report), "a\"b\\\\n\\tc 1\n");
        let logfmt = text(ReportFormat::Logfmt, &report);
        assert!(logfmt.contains(r#" counter="a\"b\\\n\tc" "#), "{logfmt}");
        let json: Value = serde_json::from_str(&text(ReportFormat::Json, &report)).unwrap();
        assert_eq!(json.get("counter"), Some(&Value::from("a\"b\\\n\tc")));
    }

    proptest! {
        #[test]
        fn any_report_renders_a_line_a_counter(
            names in proptest::collection::btree_set(any::<String>(), 0..8),
            numbers in any::<[u64; 8]>(),
        ) {
            let [first, number, start_ms, end_ms, start_ns, end_ns, count, total] = numbers;
            let counts = names.iter().map(|name| Count { name, count, total }).collect();
            let window = Window {
                first,
                number,
                start: Moment { wall_ms: start_ms, boot_ns: start_ns },
                start_boot: u128::from(count % 2),
                end: Moment { wall_ms: end_ms, boot_ns: end_ns },
                end_boot: 1,
            };
            let report = Report::new(window, counts);
            for format in ReportFormat::ALL {
                prop_assert_eq!(text(format, &report).matches('\n').count(), names.len());
            }
            for (line, name) in text(ReportFormat::Json, &report).split('\n').zip(&names) {
                let json: Value = serde_json::from_str(line).unwrap();
                prop_assert_eq!(json.get("counter"), Some(&Value::from(name.as_str())));
                prop_assert_eq!(json.get("count"), Some(&Value::from(count)));
                prop_assert_eq!(json.get("total"), Some(&Value::from(total)));
            }
        }
    }
}
