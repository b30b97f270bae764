//! Layouts: what they leave out and put together, and that their text fixes every byte.

use proptest::prelude::*;

use super::*;
use crate::report::Count;
use crate::window::{Moment, Window};

/// A window of two seconds that ends at this millisecond, with a count of its number.
fn report(number: u64, end_ms: u64) -> Arc<Report> {
    let at = |ms: u64| Moment { wall_ms: ms, boot_ns: ms.saturating_mul(1_000_000) };
    let window = Window {
        first: number,
        number,
        start: at(end_ms.saturating_sub(2_000)),
        start_boot: 1,
        end: at(end_ms),
        end_boot: 1,
    };
    let counts = [("a.x", number), ("b.x,k=v", 0)];
    let counts = counts.map(|(name, count)| Count { name, count, total: number });
    Arc::new(Report::new(window, counts.into_iter().collect()))
}

fn layout(text: &str) -> Layout {
    text.parse().unwrap()
}

fn rendered(text: &str, reports: &[Arc<Report>]) -> String {
    let mut out = Vec::new();
    layout(text).render(reports, &mut out);
    String::from_utf8(out).unwrap()
}

#[test]
fn a_format_alone_has_every_counter_under_its_own_name() {
    assert_eq!(rendered("plain", &[report(3, 9_000)]), "a.x 3\nb.x,k=v 0\n");
}

#[test]
fn names_are_chosen_idle_counters_left_out_and_a_prefix_put_before() {
    let one = [report(3, 9_000)];
    assert_eq!(rendered("plain?only=b.*", &one), "b.x,k=v 0\n");
    assert_eq!(rendered("plain?idle=omit&prefix=h.1", &one), "h.1.a.x 3\n");
    let json = rendered("json?prefix=h&only=b*", &one);
    assert!(
        json.starts_with(r#"{"counter":"h.b.x,k=v","name":"h.b.x","tags":{"k":"v"}"#),
        "{json}"
    );
}

#[test]
fn windows_of_one_span_are_one_report() {
    let some = [report(1, 2_000), report(2, 4_000), report(3, 12_100)];
    let all = rendered("logfmt?span_ms=10000&idle=omit", &some);
    let lines: Vec<&str> = all.lines().collect();
    let [first, second] = lines[..] else { panic!("{all}") };
    assert!(first.ends_with("window=2 counter=a.x count=3 total=2 seconds=4.000"), "{all}");
    assert!(second.contains("window=3 counter=a.x count=3 total=3 "), "{all}");
}

#[test]
fn timestamps_are_seconds_that_rise_and_keep_within_what_was_asked_for() {
    let seconds = |text: &str| {
        let some = [report(1, 12_600), report(2, 12_900), report(3, 13_600)];
        let portions = layout(text).portions(&some).into_iter();
        portions.map(|portion| portion.second).collect::<Vec<_>>()
    };
    assert_eq!(seconds("graphite"), [12, 13]);
    assert_eq!(seconds("graphite?after=12"), [13]);
    assert_eq!(seconds("graphite?after=20&until=13"), [21]);
    assert_eq!(seconds("graphite?until=12"), [12]);
    assert_eq!(seconds("graphite?span_ms=10000&after=10"), [20]);
    assert_eq!(
        rendered("graphite?idle=omit", &[report(1, 12_600), report(2, 12_900)]),
        "a.x 3 12\n"
    );
}

#[test]
fn what_is_wrong_in_an_option_is_said() {
    let mut plain = Layout::of(ReportFormat::Plain);
    for (key, value, says) in [
        ("prefix", "", "empty"),
        ("prefix", "a,b=c", "comma"),
        ("prefix", "a b", "blank"),
        ("only", "[", "closes"),
        ("idle", "no", "\"no\" is not one of omit, zero"),
        ("value", "x\u{7}", "\\u{7}"),
    ] {
        let error = plain.set(key, value).unwrap_err();
        assert!(error.contains(says), "{error}");
    }
    assert_eq!(plain.set("colour", "red"), Ok(false));
    assert_eq!(plain, Layout::of(ReportFormat::Plain));
    for text in ["xml", "plain?x=1", "plain?after=y", "plain?a"] {
        assert!(text.parse::<Layout>().is_err(), "{text}");
    }
}

proptest! {
    #[test]
    fn the_text_of_a_layout_reads_as_the_same_layout(
        format in prop::sample::select(ReportFormat::ALL.to_vec()),
        prefix in prop::option::of("[a-z]{1,5}(\\.[a-z]{1,4})?"),
        only in prop::option::of("[a-z*?&=%.#é]{1,9}"),
        (omits_idle, dogstatsd) in any::<(bool, bool)>(),
        number in prop::sample::select(vec![Number::Count, Number::Total, Number::Rate]),
        span in prop::option::of(1..100_000_u64),
        (after, until) in any::<(Option<u64>, Option<u64>)>(),
    ) {
        let usual = Layout::of(format);
        let layout = Layout {
            prefix: prefix.map(|prefix| format!("{prefix}.")).unwrap_or_default(),
            only: only.map(|only| Pattern::parse(&only).unwrap()),
            omits_idle,
            tags: if dogstatsd { TagForm::Dogstatsd } else { TagForm::Graphite },
            number,
            spans: span.map(|ms| Spans::new(Duration::from_millis(ms))).or(usual.spans),
            after,
            until,
            ..usual
        };
        prop_assert_eq!(layout.to_string().parse(), Ok(layout));
    }
}
