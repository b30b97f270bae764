//! The daemon's health as text: for a person with what is wrong first, or as JSON for a program.
//! What is healthy is not decided here.

use std::time::Duration;

use serde::ser::{Serialize, SerializeMap as _, Serializer};

use super::duration::{ago, short};
use super::size::size;
use super::table::{put_padded, width};
use super::{Utc, float, printable, put, put_json};
use crate::protocol::{StatusReport, Value};

/// Columns for keys; a longer key shifts its own value only.
const KEY_COLUMNS_MAX: usize = 40;

/// Appends the status for a person: problems, then a line a fact. `now_ms`, since 1970-01-01 UTC,
/// is the time from which moments are told.
pub fn status_table(status: &StatusReport, now_ms: u64, out: &mut Vec<u8>) {
    for problem in &status.problems {
        put(out, format_args!("problem: {}\n", printable(problem)));
    }
    let shown = |key: &str| printable(key).replace('_', " ");
    let keys = status.facts.iter().map(|(key, _)| width(&shown(key)));
    let columns = keys.max().unwrap_or(0).min(KEY_COLUMNS_MAX);
    for (key, value) in &status.facts {
        put_padded(out, &shown(key), columns);
        let value = for_a_person(value, now_ms);
        put(out, format_args!("  {}\n", printable(&value)));
    }
}

fn for_a_person(value: &Value, now_ms: u64) -> String {
    match value {
        Value::Text(text) if text.is_empty() => "-".to_owned(),
        Value::Text(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        Value::Bytes(number) => size(*number),
        Value::DurationMs(ms) => short(Duration::from_millis(*ms)),
        Value::TimeMs(moment_ms) => ago(*moment_ms, now_ms),
    }
}

/// Appends the status as one object and a newline: `problems`, then each fact in its order,
/// durations in seconds, moments in RFC 3339 (null for one that never was), sizes in bytes.
pub fn status_json(status: &StatusReport, out: &mut Vec<u8>) {
    put_json(out, &Object(status));
    out.push(b'\n');
}

struct Object<'a>(&'a StatusReport);

impl Serialize for Object<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_map(None)?;
        object.serialize_entry("problems", &self.0.problems)?;
        for (key, value) in &self.0.facts {
            match value {
                Value::Text(text) => object.serialize_entry(key, text)?,
                Value::Number(number) | Value::Bytes(number) => {
                    object.serialize_entry(key, number)?;
                }
                Value::DurationMs(ms) => object.serialize_entry(key, &(float(*ms) / 1000.0))?,
                Value::TimeMs(0) => object.serialize_entry(key, &None::<Utc>)?,
                Value::TimeMs(ms) => object.serialize_entry(key, &Utc(*ms))?,
            }
        }
        object.end()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW_MS: u64 = 1_795_352_405_123;

    fn status() -> StatusReport {
        let facts = [
            ("version", Value::Text("0.1.0".into())),
            ("counters", Value::Number(u64::MAX)),
            ("journal_bytes", Value::Bytes(1_258_291)),
            ("up", Value::DurationMs(273_600_000)),
            ("sync_longest", Value::DurationMs(12_300)),
            ("last_flush", Value::TimeMs(1_795_352_402_123)),
            ("last_failure", Value::TimeMs(0)),
            ("last_error", Value::Text(String::new())),
        ];
        StatusReport {
            problems: vec!["sink /var/log/x.log owes 3 windows: no space left".into(), "b".into()],
            facts: facts.map(|(key, value)| (key.to_owned(), value)).to_vec(),
        }
    }

    fn table(status: &StatusReport) -> String {
        let mut out = Vec::new();
        status_table(status, NOW_MS, &mut out);
        String::from_utf8(out).unwrap()
    }

    fn json(status: &StatusReport) -> String {
        let mut out = Vec::new();
        status_json(status, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn the_table_has_problems_first_and_facts_for_a_person() {
        let expected = "\
problem: sink /var/log/x.log owes 3 windows: no space left
problem: b
version        0.1.0
counters       18446744073709551615
journal bytes  1.1 MiB
up             3 d 4 h
sync longest   12.3 s
last flush     3 s ago
last failure   never
last error     -
";
        assert_eq!(table(&status()), expected);
    }

    #[test]
    fn json_has_problems_first_and_raw_numbers_in_order() {
        let expected = concat!(
            r#"{"problems":["sink /var/log/x.log owes 3 windows: no space left","b"],"#,
            r#""version":"0.1.0","counters":18446744073709551615,"journal_bytes":1258291,"#,
            r#""up":273600.0,"sync_longest":12.3,"last_flush":"2026-11-22T13:00:02.123Z","#,
            r#""last_failure":null,"last_error":""}"#,
            "\n",
        );
        assert_eq!(json(&status()), expected);
    }

    #[test]
    fn an_empty_status_is_no_line_and_no_problems() {
        assert_eq!(table(&StatusReport::default()), "");
        assert_eq!(json(&StatusReport::default()), "{\"problems\":[]}\n");
    }

    #[test]
    fn an_overlong_key_shifts_only_its_own_value() {
        let facts = vec![("k".repeat(100_000), Value::Number(1)), ("a".into(), Value::Number(2))];
        let shown = table(&StatusReport { problems: vec![], facts });
        assert_eq!(shown.lines().last().unwrap(), format!("{:42}2", "a"));
    }

    fn any_value() -> impl Strategy<Value = Value> {
        prop_oneof![
            any::<String>().prop_map(Value::Text),
            any::<u64>().prop_map(Value::Number),
            any::<u64>().prop_map(Value::Bytes),
            any::<u64>().prop_map(Value::DurationMs),
            any::<u64>().prop_map(Value::TimeMs),
        ]
    }

    proptest! {
        #[test]
        fn any_status_renders_and_its_json_parses(
            problems in proptest::collection::vec(any::<String>(), 0..3),
            facts in proptest::collection::vec((any::<String>(), any_value()), 0..5),
        ) {
            let status = StatusReport { problems, facts };
            let lines = status.problems.len().saturating_add(status.facts.len());
            prop_assert_eq!(table(&status).matches('\n').count(), lines);
            let text = json(&status);
            prop_assert_eq!(text.matches('\n').count(), 1);
            let parsed: serde_json::Value = serde_json::from_str(&text).unwrap();
            prop_assert!(parsed.is_object());
        }
    }
}
