//! A snapshot as Prometheus scrapes it: the text exposition format 0.0.4, as in
//! <https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format>. Counters whose
//! names differ only in what Prometheus has no characters for cannot both be shown: that is told to
//! the caller, never hidden by adding them up.

use std::fmt;

use super::put;
use crate::counter::name::{base, tags};
use crate::protocol::Row;

/// Two counters that are one series for Prometheus.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Collision {
    /// The series, as in the text.
    pub series: String,
    /// The canonical name of the counter that is shown.
    pub shown: String,
    /// The canonical name of the counter that is left out.
    pub left_out: String,
}

impl fmt::Display for Collision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Collision { series, shown, left_out } = self;
        write!(f, "{left_out} is left out: {shown} has the same series {series} in Prometheus")
    }
}

/// A counter as a series. Its family is its name as Prometheus can write it, with `_total`.
struct Series<'a> {
    family: String,
    /// `{key="value",...}`, or nothing.
    labels: String,
    counter: &'a str,
    total: u64,
}

/// Appends all rows, sorted by family and within it by labels, whatever their order. Of counters
/// that are one series, the first in byte order of the names is shown; the others are returned.
#[must_use = "counters that are left out are to be named to the user"]
pub fn render(rows: &[Row<'_>], out: &mut Vec<u8>) -> Vec<Collision> {
    let mut series: Vec<Series<'_>> = rows.iter().map(Series::of).collect();
    series.sort_unstable_by(|a, b| a.order().cmp(&b.order()));
    let mut collisions = Vec::new();
    let mut last: Option<&Series<'_>> = None;
    for one in &series {
        let Series { family, labels, counter, total } = one;
        match last {
            Some(last) if last.family == *family && last.labels == *labels => {
                collisions.push(Collision {
                    series: format!("{family}{labels}"),
                    shown: last.counter.to_owned(),
                    left_out: (*counter).to_owned(),
                });
                continue;
            }
            Some(last) if last.family == *family => {}
            Some(_) | None => {
                let help = escaped(base(counter), false);
                put(out, format_args!("# HELP {family} {help}\n# TYPE {family} counter\n"));
            }
        }
        put(out, format_args!("{family}{labels} {total}\n"));
        last = Some(one);
    }
    collisions
}

impl<'a> Series<'a> {
    fn of(row: &'a Row<'_>) -> Series<'a> {
        let (name, tags) = (base(&row.name), tags(&row.name));
        let mut family = mapped(name, true);
        if !family.ends_with("_total") {
            family.push_str("_total");
        }
        // A label with an empty value is none. Two tags can only be one label, or have no value, in
        // a name that today's rules refuse: then the first stands.
        let mut pairs: Vec<(String, &str)> = tags
            .filter(|(_, value)| !value.is_empty())
            .map(|(key, value)| (mapped(key, false), value))
            .collect();
        pairs.sort_unstable();
        pairs.dedup_by(|later, first| later.0 == first.0);
        let pairs: Vec<String> = pairs
            .iter()
            .map(|(key, value)| format!("{key}=\"{}\"", escaped(value, true)))
            .collect();
        let labels =
            if pairs.is_empty() { String::new() } else { format!("{{{}}}", pairs.join(",")) };
        Series { family, labels, counter: &row.name, total: row.total }
    }

    fn order(&self) -> (&str, &str, &str) {
        (&self.family, &self.labels, self.counter)
    }
}

/// The text in `[a-zA-Z_][a-zA-Z0-9_]*`, and with colons where those are allowed; every other
/// character is an underscore, and one is put before a digit at the beginning.
fn mapped(text: &str, colons: bool) -> String {
    let mut name = String::with_capacity(text.len());
    if text.is_empty() || text.starts_with(|c: char| c.is_ascii_digit()) {
        name.push('_');
    }
    let allowed = |c: char| c.is_ascii_alphanumeric() || c == '_' || (colons && c == ':');
    name.extend(text.chars().map(|c| if allowed(c) { c } else { '_' }));
    name
}

/// The text with its special characters escaped: backslash and newline, and in a label's value the
/// quote.
fn escaped(text: &str, quote: bool) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\\' => escaped.push_str("\\\\"),
            '\n' => escaped.push_str("\\n"),
            '"' if quote => escaped.push_str("\\\""),
            _ => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests;
