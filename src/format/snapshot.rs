//! A snapshot as lines for programs: plain, JSON and CSV. Each function appends one row, so that a
//! client can write a large snapshot in pieces as it renders. The order is the caller's, for which
//! [`sort`] is here.

use std::cmp::{Ordering, Reverse};
use std::fmt;
use std::str::FromStr;

use serde::Serialize;

use super::{Tags, UnknownWord, Utc, by_name, printable, put, put_json};
use crate::counter::name::base;
use crate::protocol::Row;

/// What a snapshot is sorted by. By name it is ascending, in byte order; by anything else
/// descending, and by name where that is equal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SortKey {
    /// The canonical name.
    Name,
    /// The total.
    Total,
    /// What it gained since the last flush.
    SinceFlush,
    /// When it was last counted: the latest first.
    LastSeen,
}

impl SortKey {
    /// All of them.
    pub const ALL: [SortKey; 4] =
        [SortKey::Name, SortKey::Total, SortKey::SinceFlush, SortKey::LastSeen];

    /// Its name on a command line.
    pub fn name(self) -> &'static str {
        match self {
            SortKey::Name => "name",
            SortKey::Total => "total",
            SortKey::SinceFlush => "since-flush",
            SortKey::LastSeen => "last-seen",
        }
    }
}

impl fmt::Display for SortKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for SortKey {
    type Err = UnknownWord;

    fn from_str(word: &str) -> Result<SortKey, UnknownWord> {
        by_name(&SortKey::ALL, SortKey::name, word)
    }
}

/// Sorts rows by the key.
pub fn sort(rows: &mut [Row<'_>], key: SortKey) {
    let compare = |a: &Row<'_>, b: &Row<'_>| match key {
        SortKey::Name => Ordering::Equal,
        SortKey::Total => Reverse(a.total).cmp(&Reverse(b.total)),
        SortKey::SinceFlush => Reverse(a.since_flush).cmp(&Reverse(b.since_flush)),
        SortKey::LastSeen => Reverse(a.last_seen_ms).cmp(&Reverse(b.last_seen_ms)),
    };
    rows.sort_unstable_by(|a, b| compare(a, b).then_with(|| a.name.cmp(&b.name)));
}

/// Appends `NAME TOTAL`, or what it gained since the last flush in place of the total.
pub fn plain_row(row: &Row<'_>, since_flush: bool, out: &mut Vec<u8>) {
    let number = if since_flush { row.since_flush } else { row.total };
    put(out, format_args!("{} {number}\n", printable(&row.name)));
}

/// Appends one object and a newline.
pub fn json_row(row: &Row<'_>, out: &mut Vec<u8>) {
    let line = Line {
        counter: &row.name,
        name: base(&row.name),
        tags: Tags(&row.name),
        total: row.total,
        since_flush: row.since_flush,
        created: Utc(row.created_ms),
        last_seen: Utc(row.last_seen_ms),
    };
    put_json(out, &line);
    out.push(b'\n');
}

#[derive(Serialize)]
struct Line<'a> {
    counter: &'a str,
    name: &'a str,
    tags: Tags<'a>,
    total: u64,
    since_flush: u64,
    created: Utc,
    last_seen: Utc,
}

/// Appends the line above the first [`csv_row`].
pub fn csv_header(out: &mut Vec<u8>) {
    out.extend_from_slice(b"counter,total,since_flush,created,last_seen\n");
}

/// Appends a line of comma-separated values, quoted as in RFC 4180. Lines end in a newline alone,
/// for `cut` and its like would take the carriage return of the RFC for a part of the last field.
pub fn csv_row(row: &Row<'_>, out: &mut Vec<u8>) {
    put_csv_field(out, &row.name);
    let (created, last_seen) = (Utc(row.created_ms), Utc(row.last_seen_ms));
    put(out, format_args!(",{},{},{created},{last_seen}\n", row.total, row.since_flush));
}

fn put_csv_field(out: &mut Vec<u8>, field: &str) {
    if field.contains([',', '"', '\n', '\r']) {
        put(out, format_args!("\"{}\"", field.replace('"', "\"\"")));
    } else {
        out.extend_from_slice(field.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    fn row(name: &str, total: u64, since_flush: u64, last_seen_ms: u64) -> Row<'_> {
        Row { name: name.into(), total, since_flush, created_ms: 0, last_seen_ms }
    }

    fn text(render: impl Fn(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        render(&mut out);
        String::from_utf8(out).unwrap()
    }

    fn tagged() -> Row<'static> {
        row("jobs.done,host=a,result=ok", u64::MAX, 7, 1_795_352_405_123)
    }

    #[test]
    fn plain_has_the_total_or_what_was_gained_since_the_flush() {
        assert_eq!(
            text(|out| plain_row(&tagged(), false, out)),
            "jobs.done,host=a,result=ok 18446744073709551615\n"
        );
        assert_eq!(text(|out| plain_row(&tagged(), true, out)), "jobs.done,host=a,result=ok 7\n");
    }

    #[test]
    fn json_has_its_fields_in_order_and_numbers_exact() {
        let expected = r#"{"counter":"jobs.done,host=a,result=ok","name":"jobs.done","tags":{"host":"a","result":"ok"},"total":18446744073709551615,"since_flush":7,"created":"1970-01-01T00:00:00.000Z","last_seen":"2026-11-22T13:00:05.123Z"}"#;
        assert_eq!(text(|out| json_row(&tagged(), out)), format!("{expected}\n"));
    }

    #[test]
    fn csv_quotes_names_with_tags() {
        let expected = "\
counter,total,since_flush,created,last_seen
\"jobs.done,host=a,result=ok\",18446744073709551615,7,1970-01-01T00:00:00.000Z,\
2026-11-22T13:00:05.123Z
hits,1,0,1970-01-01T00:00:00.000Z,1970-01-01T00:00:00.000Z
";
        let rendered = text(|out| {
            csv_header(out);
            csv_row(&tagged(), out);
            csv_row(&row("hits", 1, 0, 0), out);
        });
        assert_eq!(rendered, expected);
    }

    #[test]
    fn csv_doubles_quotes_and_quotes_line_ends() {
        let rendered = text(|out| csv_row(&row("a\"b\nc\r", 1, 0, 0), out));
        assert!(rendered.starts_with("\"a\"\"b\nc\r\",1,0,"), "{rendered:?}");
        for name in ["a,b", "a\"", "a\n", "a\r"] {
            let rendered = text(|out| csv_row(&row(name, 1, 0, 0), out));
            assert!(rendered.starts_with('"'), "{rendered:?}");
        }
    }

    #[test]
    fn numeric_sorts_descend_and_ties_go_by_name() {
        let rows = [row("b", 1, 9, 5), row("c", 1, 2, 7), row("a", 3, 2, 5)];
        let names = |key| {
            let mut sorted = rows.to_vec();
            sort(&mut sorted, key);
            sorted.iter().map(|row| &*row.name).collect::<String>()
        };
        assert_eq!(names(SortKey::Name), "abc");
        assert_eq!(names(SortKey::Total), "abc");
        assert_eq!(names(SortKey::SinceFlush), "bac");
        assert_eq!(names(SortKey::LastSeen), "cab");
    }

    #[test]
    fn every_sort_key_is_found_by_its_name() {
        for key in SortKey::ALL {
            assert_eq!(key.to_string().parse(), Ok(key));
        }
        let error = "size".parse::<SortKey>().unwrap_err().to_string();
        assert_eq!(error, r#""size" is not one of name, total, since-flush, last-seen"#);
    }

    /// Reads records as RFC 4180 has them, but for the line end.
    fn read_csv(text: &str) -> Vec<Vec<String>> {
        let (mut records, mut record, mut field) = (vec![], vec![], String::new());
        let mut chars = text.chars().peekable();
        let mut quoted = false;
        while let Some(c) = chars.next() {
            match c {
                '"' if quoted && chars.next_if_eq(&'"').is_some() => field.push('"'),
                '"' if quoted => quoted = false,
                '"' if field.is_empty() => quoted = true,
                '"' => panic!("a quote inside a bare field"),
                ',' if !quoted => record.push(std::mem::take(&mut field)),
                '\n' if !quoted => {
                    record.push(std::mem::take(&mut field));
                    records.push(std::mem::take(&mut record));
                }
                _ => field.push(c),
            }
        }
        assert!(!quoted && field.is_empty() && record.is_empty());
        records
    }

    proptest! {
        #[test]
        fn csv_reads_back(
            names in proptest::collection::vec("[a,\"\n\r é]{0,9}|.*", 0..5),
            [total, since_flush, created_ms, last_seen_ms] in any::<[u64; 4]>(),
        ) {
            let rendered = text(|out| for name in &names {
                let row =
                    Row { name: name.into(), total, since_flush, created_ms, last_seen_ms };
                csv_row(&row, out);
            });
            let expected: Vec<Vec<String>> = names.iter().map(|name| vec![
                name.clone(),
                total.to_string(),
                since_flush.to_string(),
                Utc(created_ms).to_string(),
                Utc(last_seen_ms).to_string(),
            ]).collect();
            prop_assert_eq!(read_csv(&rendered), expected);
        }

        #[test]
        fn any_row_is_one_line_of_plain_and_json(
            name in any::<String>(),
            [total, since_flush, created_ms, last_seen_ms] in any::<[u64; 4]>(),
        ) {
            let row = Row { name: name.as_str().into(), total, since_flush, created_ms, last_seen_ms };
            prop_assert_eq!(text(|out| plain_row(&row, true, out)).lines().count(), 1);
            let json = text(|out| json_row(&row, out));
            prop_assert_eq!(json.matches('\n').count(), 1);
            let json: Value = serde_json::from_str(&json).unwrap();
            prop_assert_eq!(json.get("counter"), Some(&Value::from(name)));
            prop_assert_eq!(json.get("total"), Some(&Value::from(total)));
        }
    }
}
