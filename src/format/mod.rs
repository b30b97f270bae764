//! The exposition formats: a report, a snapshot or a status as text. Everything here appends bytes
//! to a buffer that the caller hands in and then writes where it likes; nothing here does I/O or
//! reads a clock, and no rendering can fail. What is printed about a moment is in UTC.

#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::as_conversions)]

use std::borrow::Cow;
use std::fmt;
use std::io::Write as _;
use std::str::FromStr;
use std::time::{Duration, SystemTime};

use serde::ser::{Serialize, Serializer};

use crate::counter::name::tags;

pub mod duration;
pub mod layout;
mod lines;
pub mod options;
pub mod otlp;
pub mod prometheus;
mod report;
pub mod size;
pub mod snapshot;
pub mod status;
pub mod summary;
pub mod table;

/// How a report reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReportFormat {
    /// `NAME COUNT`, a line a counter.
    Plain,
    /// `key=value` pairs, a line a counter.
    Logfmt,
    /// An object a line, one for each counter.
    Json,
    /// `PATH VALUE TIMESTAMP`, a line a counter, as carbon reads it.
    Graphite,
    /// `NAME:COUNT|c`, a line a counter.
    Statsd,
}

/// How a snapshot reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SnapshotFormat {
    /// `NAME TOTAL`, a line a counter.
    Plain,
    /// Columns for a terminal.
    Table,
    /// An object a line, one for each counter.
    Json,
    /// Comma-separated values under a header.
    Csv,
    /// The text that Prometheus scrapes.
    Prometheus,
}

/// A word that names nothing of its kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownWord {
    /// The word.
    pub given: String,
    /// The words there are.
    pub known: Vec<&'static str>,
}

impl ReportFormat {
    /// All of them.
    pub const ALL: [ReportFormat; 5] = [
        ReportFormat::Plain,
        ReportFormat::Logfmt,
        ReportFormat::Json,
        ReportFormat::Graphite,
        ReportFormat::Statsd,
    ];

    /// Its name on a command line.
    pub fn name(self) -> &'static str {
        match self {
            ReportFormat::Plain => "plain",
            ReportFormat::Logfmt => "logfmt",
            ReportFormat::Json => "json",
            ReportFormat::Graphite => "graphite",
            ReportFormat::Statsd => "statsd",
        }
    }
}

impl SnapshotFormat {
    /// All of them.
    pub const ALL: [SnapshotFormat; 5] = [
        SnapshotFormat::Plain,
        SnapshotFormat::Table,
        SnapshotFormat::Json,
        SnapshotFormat::Csv,
        SnapshotFormat::Prometheus,
    ];

    /// Its name on a command line.
    pub fn name(self) -> &'static str {
        match self {
            SnapshotFormat::Plain => "plain",
            SnapshotFormat::Table => "table",
            SnapshotFormat::Json => "json",
            SnapshotFormat::Csv => "csv",
            SnapshotFormat::Prometheus => "prometheus",
        }
    }
}

impl fmt::Display for ReportFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl fmt::Display for SnapshotFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for ReportFormat {
    type Err = UnknownWord;

    fn from_str(word: &str) -> Result<ReportFormat, UnknownWord> {
        by_name(&ReportFormat::ALL, ReportFormat::name, word)
    }
}

impl FromStr for SnapshotFormat {
    type Err = UnknownWord;

    fn from_str(word: &str) -> Result<SnapshotFormat, UnknownWord> {
        by_name(&SnapshotFormat::ALL, SnapshotFormat::name, word)
    }
}

impl fmt::Display for UnknownWord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} is not one of {}", self.given, self.known.join(", "))
    }
}

impl std::error::Error for UnknownWord {}

fn by_name<T: Copy>(all: &[T], name: fn(T) -> &'static str, word: &str) -> Result<T, UnknownWord> {
    all.iter().copied().find(|&one| name(one) == word).ok_or_else(|| UnknownWord {
        given: word.to_owned(),
        known: all.iter().copied().map(name).collect(),
    })
}

/// A moment, in milliseconds since 1970-01-01 UTC, that reads as RFC 3339 with milliseconds.
#[derive(Debug, Clone, Copy)]
struct Utc(u64);

/// The last millisecond of the year 9999: RFC 3339 has four digits for a year, so anything later
/// reads as this.
const UTC_MS_MAX: u64 = 253_402_300_799_999;

impl fmt::Display for Utc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let since = Duration::from_millis(self.0.min(UTC_MS_MAX));
        let moment = SystemTime::UNIX_EPOCH.checked_add(since).unwrap_or(SystemTime::UNIX_EPOCH);
        humantime::format_rfc3339_millis(moment).fmt(f)
    }
}

impl Serialize for Utc {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// The tags of a canonical name, as an object in JSON.
struct Tags<'a>(&'a str);

impl Serialize for Tags<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(tags(self.0))
    }
}

/// The text with control characters as escapes, so that a line stays one line and a terminal obeys
/// nothing that came over a socket. Valid names have none.
fn printable(text: &str) -> Cow<'_, str> {
    if !text.contains(char::is_control) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::new();
    for c in text.chars() {
        if c.is_control() {
            escaped.extend(c.escape_default());
        } else {
            escaped.push(c);
        }
    }
    Cow::Owned(escaped)
}

fn put(out: &mut Vec<u8>, text: fmt::Arguments<'_>) {
    // Writing to a Vec cannot fail, nor does any Display of ours.
    let _always_ok = out.write_fmt(text);
}

fn put_json(out: &mut Vec<u8>, value: &impl Serialize) {
    // What fails in serde_json is the writer or a key that is no string; here it is neither.
    let _always_ok = serde_json::to_writer(out, value);
}

/// The nearest float, for what is a quotient anyway.
#[expect(clippy::as_conversions, reason = "no From leads from u64 to f64; rounding is wanted")]
fn float(number: u64) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_format_is_found_by_its_name() {
        for format in ReportFormat::ALL {
            assert_eq!(format.to_string().parse(), Ok(format));
        }
        for format in SnapshotFormat::ALL {
            assert_eq!(format.to_string().parse(), Ok(format));
        }
    }

    #[test]
    fn an_unknown_format_is_refused_with_those_there_are() {
        let error = "xml".parse::<ReportFormat>().unwrap_err();
        assert_eq!(
            error.to_string(),
            r#""xml" is not one of plain, logfmt, json, graphite, statsd"#
        );
        assert!("Json".parse::<SnapshotFormat>().is_err());
    }

    #[test]
    fn moments_read_as_rfc_3339_and_the_far_future_is_the_end_of_9999() {
        assert_eq!(Utc(0).to_string(), "1970-01-01T00:00:00.000Z");
        assert_eq!(Utc(1_795_352_405_123).to_string(), "2026-11-22T13:00:05.123Z");
        assert_eq!(Utc(UTC_MS_MAX).to_string(), "9999-12-31T23:59:59.999Z");
        assert_eq!(Utc(u64::MAX).to_string(), "9999-12-31T23:59:59.999Z");
    }

    #[test]
    fn control_characters_are_shown_as_escapes() {
        assert_eq!(printable("größe.日本"), "größe.日本");
        assert_eq!(printable("a\nb\u{1b}[31m\u{9b}"), "a\\nb\\u{1b}[31m\\u{9b}");
    }
}
