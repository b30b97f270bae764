//! countd's own numbers beside the counters: what `countd status` tells, as series that begin with `countd_`. No
//! counter's name can, so the two never meet. Text in the status has no series, but for the version.

use super::{Dialect, Seconds, escaped, put, series::OWN};
use crate::protocol::{StatusReport, Value};

/// A family, and the facts of a status that its series come from.
struct Family {
    /// The key of the fact. A `*` in it is any text: the value of the label.
    fact: &'static str,
    /// Without `countd_` before it, and `_total` after it.
    name: &'static str,
    label: &'static str,
    kind: Kind,
    help: &'static str,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Counter,
    Gauge,
}

const fn gauge(fact: &'static str, name: &'static str, help: &'static str) -> Family {
    Family { fact, name, label: "", kind: Kind::Gauge, help }
}

const fn counter(fact: &'static str, name: &'static str, help: &'static str) -> Family {
    Family { fact, name, label: "", kind: Kind::Counter, help }
}

const fn by(label: &'static str, family: Family) -> Family {
    Family { label, ..family }
}

/// A fact belongs to the first that has it.
const FAMILIES: [Family; 31] = [
    gauge("problems", "problems", "Problems that countd status lists."),
    gauge(
        "name_collisions",
        "name_collisions",
        "Counters without a series, as another has the same.",
    ),
    gauge("uptime", "uptime_seconds", "Time since the daemon started."),
    gauge("counters", "counters", "Counters there are."),
    counter("increments", "increments", "Increments counted since the daemon started."),
    counter(
        "refused",
        "requests_refused",
        "Requests and entries refused since the daemon started.",
    ),
    by("reason", counter("refused_*", "refused", "What was refused, by the reason.")),
    gauge("ids_remembered", "ids_remembered", "Ids of requests that are known if they come again."),
    gauge("flush_interval", "flush_interval_seconds", "Configured time from flush to flush."),
    gauge("window", "window", "Number of the open window."),
    gauge("window_open", "window_open_seconds", "How long the window is open."),
    counter("flushes", "flushes", "Windows closed since the daemon started."),
    gauge("last_flush_took", "last_flush_seconds", "Until every sink had the last window."),
    by("sink", gauge("sink_*_windows_owed", "sink_windows_owed", "Windows a sink has not taken.")),
    by("sink", gauge("sink_*_counts_owed", "sink_counts_owed", "Counts in those windows.")),
    by(
        "sink",
        gauge("sink_*_windows_kept", "sink_windows_kept", "Windows a sink took and may lose."),
    ),
    by(
        "sink",
        gauge(
            "sink_*_last_success",
            "sink_last_success_timestamp_seconds",
            "When a sink last took something.",
        ),
    ),
    by(
        "sink",
        gauge(
            "sink_*_last_failure",
            "sink_last_failure_timestamp_seconds",
            "When a sink last failed, if it did since the start.",
        ),
    ),
    by(
        "sink",
        gauge(
            "sink_*_last_scrape",
            "sink_last_scrape_timestamp_seconds",
            "When a sink was last scraped.",
        ),
    ),
    by("sink", counter("sink_*_scrapes", "sink_scrapes", "Scrapes answered.")),
    gauge("connections", "connections", "Clients that are connected."),
    gauge("connections_max", "connections_max", "Clients that may be connected."),
    counter("connections_ever", "connections_accepted", "Connections since the daemon started."),
    by(
        "reason",
        counter(
            "connections_*",
            "connections_dropped",
            "Connections refused or hung up on, by the reason.",
        ),
    ),
    gauge("journal", "journal_bytes", "Size of the journal."),
    gauge("checkpoint", "checkpoint_bytes", "Size of the checkpoint."),
    gauge("journal_unsynced", "journal_unsynced_bytes", "What of the journal is not synced yet."),
    gauge("last_fsync", "last_fsync_timestamp_seconds", "When the journal was last synced."),
    counter("spool_taken", "spool_taken", "Spooled requests counted since the daemon started."),
    counter("spool_refused", "spool_refused", "Spooled requests refused since the daemon started."),
    by("version", gauge("", "build_info", "Which version this is; the number is 1.")),
];

/// Facts that are numbers and have no series: they are not about how the daemon does.
const LEFT_OUT: [&str; 2] = ["pid", "owner_uid"];

/// Appends all of it. Counters that are left out for want of a series are told of here, too.
pub fn render(status: &StatusReport, collisions: usize, dialect: Dialect, out: &mut Vec<u8>) {
    let number = |number: usize| Value::Number(u64::try_from(number).unwrap_or(u64::MAX));
    let more = [
        ("problems".to_owned(), number(status.problems.len())),
        ("name_collisions".to_owned(), number(collisions)),
    ];
    let facts: Vec<&(String, Value)> = more.iter().chain(&status.facts).collect();
    for family in &FAMILIES {
        let series = family.series(&facts);
        if series.is_empty() {
            continue;
        }
        let Family { name, kind, help, .. } = family;
        let (word, suffix) = match kind {
            Kind::Counter => ("counter", "_total"),
            Kind::Gauge => ("gauge", ""),
        };
        let head = if dialect == Dialect::Text { suffix } else { "" };
        put(
            out,
            format_args!("# HELP {OWN}{name}{head} {help}\n# TYPE {OWN}{name}{head} {word}\n"),
        );
        for (label, value) in series {
            put(out, format_args!("{OWN}{name}{suffix}{label} {value}\n"));
        }
    }
}

impl Family {
    /// Its series: labels in braces, and values.
    fn series(&self, facts: &[&(String, Value)]) -> Vec<(String, String)> {
        let label = |value: &str| match self.label {
            "" => String::new(),
            key => format!("{{{key}=\"{}\"}}", escaped(value, true)),
        };
        let text = |wanted: &str| {
            facts.iter().find_map(|(key, value)| match value {
                Value::Text(text) if key == wanted => Some(text.as_str()),
                Value::Text(_)
                | Value::Number(_)
                | Value::Bytes(_)
                | Value::DurationMs(_)
                | Value::TimeMs(_) => None,
            })
        };
        if self.fact.is_empty() {
            let version = text("version").map(|version| (label(version), "1".to_owned()));
            return version.into_iter().collect();
        }
        let ours = facts.iter().filter(|(key, _)| {
            FAMILIES
                .iter()
                .find(|family| family.part(key).is_some())
                .is_some_and(|family| family.fact == self.fact)
        });
        let series = ours.filter_map(|(key, value)| {
            let part = self.part(key)?;
            let place = format!("sink_{part}_place");
            // A sink's number means nothing to anybody.
            let part = if self.label == "sink" { text(&place).unwrap_or(part) } else { part };
            Some((label(part), shown(value)?))
        });
        series.collect()
    }

    /// What stands in a key for the `*`, or nothing if this family is not about it.
    fn part<'a>(&self, key: &'a str) -> Option<&'a str> {
        match self.fact.split_once('*') {
            None => (self.fact == key).then_some(""),
            Some((begin, end)) => key.strip_prefix(begin)?.strip_suffix(end),
        }
    }
}

/// The number, in the units that Prometheus has: bytes and seconds.
fn shown(value: &Value) -> Option<String> {
    match value {
        Value::Text(_) => None,
        Value::Number(number) | Value::Bytes(number) => Some(number.to_string()),
        Value::DurationMs(ms) | Value::TimeMs(ms) => Some(Seconds(*ms).to_string()),
    }
}

/// Facts of this status that have a number and no series, though they should.
pub fn missing(status: &StatusReport) -> Vec<&str> {
    let known = |key: &str| {
        LEFT_OUT.contains(&key) || FAMILIES.iter().any(|family| family.part(key).is_some())
    };
    let numbers = status.facts.iter().filter(|(key, value)| shown(value).is_some() && !known(key));
    numbers.map(|(key, _)| key.as_str()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(dialect: Dialect) -> String {
        let facts = [
            ("pid", Value::Number(7)),
            ("version", Value::Text("0.1.0".into())),
            ("uptime", Value::DurationMs(1_500)),
            ("increments", Value::Number(3)),
            ("refused", Value::Number(2)),
            ("refused_bad_name", Value::Number(2)),
            ("sink_0_place", Value::Text("file:/a\"b".into())),
            ("sink_0_windows_owed", Value::Number(4)),
            ("connections_ever", Value::Number(9)),
            ("connections_stalled", Value::Number(1)),
            ("journal", Value::Bytes(10)),
        ];
        let facts = facts.map(|(key, value)| (key.to_owned(), value)).to_vec();
        let status = StatusReport { problems: vec!["x".into()], facts };
        assert!(missing(&status).is_empty());
        let mut out = Vec::new();
        render(&status, 5, dialect, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn facts_are_series_with_units_and_labels() {
        let text = text(Dialect::Text);
        let samples: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
        let expected = [
            "countd_problems 1",
            "countd_name_collisions 5",
            "countd_uptime_seconds 1.500",
            "countd_increments_total 3",
            "countd_requests_refused_total 2",
            "countd_refused_total{reason=\"bad_name\"} 2",
            "countd_sink_windows_owed{sink=\"file:/a\\\"b\"} 4",
            "countd_connections_accepted_total 9",
            "countd_connections_dropped_total{reason=\"stalled\"} 1",
            "countd_journal_bytes 10",
            "countd_build_info{version=\"0.1.0\"} 1",
        ];
        assert_eq!(samples, expected);
        assert!(text.contains("# TYPE countd_increments_total counter\n"), "{text}");
    }

    #[test]
    fn open_metrics_names_a_counters_family_without_total() {
        let text = text(Dialect::OpenMetrics { created: true });
        assert!(text.contains("# TYPE countd_increments counter\ncountd_increments_total 3\n"));
    }

    #[test]
    fn no_two_families_have_one_name() {
        let full = |family: &Family| match family.kind {
            Kind::Counter => format!("{}_total", family.name),
            Kind::Gauge => family.name.to_owned(),
        };
        let names: std::collections::BTreeSet<String> = FAMILIES.iter().map(full).collect();
        assert_eq!(names.len(), FAMILIES.len());
        // In OpenMetrics a counter's family is without its suffix.
        let bare: std::collections::BTreeSet<&str> = FAMILIES.iter().map(|it| it.name).collect();
        assert_eq!(bare.len(), FAMILIES.len());
    }
}
