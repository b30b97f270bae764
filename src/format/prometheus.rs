//! Totals as Prometheus scrapes them: the text exposition format 0.0.4, as in
//! <https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format>, and OpenMetrics 1.0, as in
//! <https://github.com/prometheus/OpenMetrics/blob/main/specification/OpenMetrics.md>. All series of a family
//! stand together, so counters are put in order first; then the text is made piece by piece. Counters whose
//! names differ only in what Prometheus has no characters for cannot all be shown: that is told to the caller,
//! never hidden by adding them up.

pub mod own;
mod series;
#[cfg(test)]
mod tests;
pub mod view;

use std::borrow::Cow;
use std::fmt;

use super::put;
use crate::counter::name::base;
use crate::counter::pattern::Pattern;
use crate::counter::table::Columns;
use crate::protocol::Row;

/// Counters that have no series of their own and are named; the others are only counted.
const NAMED_MAX: usize = 10;

/// Which of the two formats.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// The text format 0.0.4.
    Text,
    /// OpenMetrics 1.0; with when each counter was created, or without.
    OpenMetrics {
        /// Whether each counter has a second line, `_created`.
        created: bool,
    },
}

/// A counter as it is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counter<'a> {
    /// Its canonical name with tags.
    pub name: &'a str,
    /// Its total.
    pub total: u64,
    /// When it was created, in milliseconds since 1970-01-01 UTC.
    pub created_ms: u64,
}

/// Counters of one moment, by number.
pub trait Counters {
    /// Every number is below.
    fn end(&self) -> u32;

    /// The counter of this number, if there is one.
    fn get(&self, number: u32) -> Option<Counter<'_>>;
}

/// Which counters are shown, and what stands before their names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Shown {
    /// Nothing, or text that ends in a dot.
    pub prefix: String,
    /// These counters; all without.
    pub only: Option<Pattern>,
}

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

/// Counters that are left out, as others have the same series.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Collisions {
    /// How many.
    pub number: usize,
    /// The first of them.
    pub named: Vec<Collision>,
}

/// Counters in the order in which they are shown. Of counters that are one series, the first in byte order of the
/// names is in it.
#[derive(Debug, Default)]
pub struct Index {
    /// The series of all counters, one behind the other.
    text: String,
    entries: Vec<Entry>,
    /// A line of one family would be of another in OpenMetrics.
    clashes: bool,
}

/// A counter in the order: which, and where its series is in the text.
#[derive(Debug, Clone, Copy)]
struct Entry {
    number: u32,
    family: u32,
    length: u32,
    start: usize,
}

/// How far a text has come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Progress {
    /// What comes before the counters is there.
    begun: bool,
    at: usize,
}

impl Index {
    /// Puts counters in order, whatever theirs is. Costs about a microsecond for each of them.
    #[must_use = "counters that are left out are to be named to the user"]
    pub fn of(counters: &dyn Counters, shown: &Shown) -> (Index, Collisions) {
        let mut index = Index::default();
        for number in 0..counters.end() {
            let Some(counter) = counters.get(number) else { continue };
            if shown.only.as_ref().is_some_and(|only| !only.matches(counter.name)) {
                continue;
            }
            let start = index.text.len();
            series::put_family(&shown.prefix, counter.name, &mut index.text);
            let family = index.text.len().saturating_sub(start);
            series::put_labels(counter.name, &mut index.text);
            let length = index.text.len().saturating_sub(start);
            // A name has 255 bytes at most.
            let (Ok(family), Ok(length)) = (u32::try_from(family), u32::try_from(length)) else {
                continue;
            };
            index.entries.push(Entry { number, family, length, start });
        }
        let Index { text, entries, clashes } = &mut index;
        let name = |entry: &Entry| counters.get(entry.number).map_or("", |counter| counter.name);
        entries.sort_unstable_by(|a, b| {
            a.series(text).cmp(&b.series(text)).then_with(|| name(a).cmp(name(b)))
        });
        let mut collisions = Collisions::default();
        entries.dedup_by(|later, first| {
            let is_same = later.series(text) == first.series(text);
            if is_same {
                collisions.add(text, first, name(first), name(later));
            }
            is_same
        });
        let is_there = |name: &str| {
            let family = format!("{name}_total");
            entries.binary_search_by(|entry| entry.series(text).0.cmp(&family)).is_ok()
        };
        *clashes = entries.iter().any(|entry| {
            let (family, _) = entry.series(text);
            let name = family.strip_suffix("_total").unwrap_or(family);
            let other = name.strip_suffix("_created").or_else(|| name.strip_suffix("_total"));
            other.is_some_and(is_there)
        });
        (index, collisions)
    }

    /// Whether OpenMetrics has room for all of them. It has not for `a` beside `a.created`, as the family `a` can have a line
    /// `a_created`; a reader that keeps to the letter of it takes nothing then.
    pub fn fits_open_metrics(&self) -> bool {
        !self.clashes
    }

    /// Appends what comes next, as far as it has about `bytes`, and notes how far that is. Returns whether it was the
    /// last; the end that OpenMetrics wants is not among it.
    pub fn render(
        &self,
        counters: &dyn Counters,
        dialect: Dialect,
        progress: &mut Progress,
        bytes: usize,
        out: &mut Vec<u8>,
    ) -> bool {
        let until = out.len().saturating_add(bytes);
        while let Some(entry) = self.entries.get(progress.at) {
            if out.len() >= until {
                return false;
            }
            let before = progress.at.checked_sub(1).and_then(|before| self.entries.get(before));
            progress.at = progress.at.saturating_add(1);
            let Some(counter) = counters.get(entry.number) else { continue };
            let (family, labels) = entry.series(&self.text);
            let is_first = before.is_none_or(|before| before.series(&self.text).0 != family);
            match dialect {
                Dialect::Text => {
                    if is_first {
                        let help = escaped(base(counter.name), false);
                        let head =
                            format_args!("# HELP {family} {help}\n# TYPE {family} counter\n");
                        put(out, head);
                    }
                    put(out, format_args!("{family}{labels} {}\n", counter.total));
                }
                Dialect::OpenMetrics { created } => {
                    let name = family.strip_suffix("_total").unwrap_or(family);
                    if is_first {
                        let help = escaped(base(counter.name), true);
                        put(out, format_args!("# TYPE {name} counter\n# HELP {name} {help}\n"));
                    }
                    put(out, format_args!("{family}{labels} {}\n", counter.total));
                    if created {
                        let seconds = Seconds(counter.created_ms);
                        put(out, format_args!("{name}_created{labels} {seconds}\n"));
                    }
                }
            }
        }
        true
    }
}

/// Appends all rows in the text format, sorted by family and within it by labels, whatever their order.
#[must_use = "counters that are left out are to be named to the user"]
pub fn render(rows: &[Row<'_>], out: &mut Vec<u8>) -> Collisions {
    let (index, collisions) = Index::of(&rows, &Shown::default());
    index.render(&rows, Dialect::Text, &mut Progress::default(), usize::MAX, out);
    collisions
}

impl Entry {
    /// The family, and the labels with their braces.
    fn series<'a>(&self, text: &'a str) -> (&'a str, &'a str) {
        let at = |offset: u32| self.start.saturating_add(usize::try_from(offset).unwrap_or(0));
        let (family, end) = (at(self.family), at(self.length));
        let part = |range| text.get(range).unwrap_or_default();
        (part(self.start..family), part(family..end))
    }
}

impl Collisions {
    /// What the operator is to be told when these are `now` after they were so.
    pub fn news(&self, now: &Collisions) -> Vec<String> {
        if self == now {
            return Vec::new();
        }
        let mut told: Vec<String> = now.named.iter().map(Collision::to_string).collect();
        match (now.number, now.number.saturating_sub(told.len())) {
            (0, _) => told.push("every counter has a series of its own".to_owned()),
            (_, 0) => {}
            (_, others) => told.push(format!("{others} more are left out")),
        }
        told
    }

    /// What is wrong, in words, if anything is.
    pub fn problem(&self) -> Option<String> {
        let first = self.named.first()?;
        let what = match self.number {
            1 => "a counter has no series of its own".to_owned(),
            number => format!("{number} counters have no series of their own"),
        };
        Some(format!("{what} in Prometheus: {first}"))
    }

    fn add(&mut self, text: &str, first: &Entry, shown: &str, left_out: &str) {
        self.number = self.number.saturating_add(1);
        if self.named.len() < NAMED_MAX {
            let (family, labels) = first.series(text);
            self.named.push(Collision {
                series: format!("{family}{labels}"),
                shown: shown.to_owned(),
                left_out: left_out.to_owned(),
            });
        }
    }
}

impl fmt::Display for Collision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Collision { series, shown, left_out } = self;
        write!(f, "{left_out} is left out: {shown} has the same series {series} in Prometheus")
    }
}

impl Counters for &[Row<'_>] {
    fn end(&self) -> u32 {
        u32::try_from(self.len()).unwrap_or(u32::MAX)
    }

    fn get(&self, number: u32) -> Option<Counter<'_>> {
        let row = <[Row<'_>]>::get(self, usize::try_from(number).ok()?)?;
        Some(Counter { name: &row.name, total: row.total, created_ms: row.created_ms })
    }
}

impl Counters for Columns {
    fn end(&self) -> u32 {
        self.slots()
    }

    fn get(&self, number: u32) -> Option<Counter<'_>> {
        let (definition, values) = Columns::get(self, number)?;
        let (name, created_ms) = (definition.name, definition.created_ms);
        Some(Counter { name, total: values.total, created_ms })
    }
}

/// Milliseconds as seconds with three decimals.
struct Seconds(u64);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:03}", self.0 / 1000, self.0 % 1000)
    }
}

/// The text with its special characters escaped: backslash and newline, and where it matters the quote.
fn escaped(text: &str, quote: bool) -> Cow<'_, str> {
    if !text.contains(['\\', '\n', '"']) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\\' => escaped.push_str("\\\\"),
            '\n' => escaped.push_str("\\n"),
            '"' if quote => escaped.push_str("\\\""),
            _ => escaped.push(c),
        }
    }
    Cow::Owned(escaped)
}
