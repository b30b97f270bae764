//! A layout: all that fixes the bytes of a report besides the report itself. A sink has one, and with each
//! offer it is written down as text, so that what was offered is repeated with the same bytes by a daemon
//! that was started with other options.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use super::ReportFormat;
use super::options::{self, Given};
use crate::counter::name;
use crate::counter::pattern::Pattern;
use crate::report::Report;
use crate::window::spans::{Group, Spans};

/// The shortest distance of two timestamps that are whole seconds.
const SECOND: Duration = Duration::from_secs(1);

/// How reports read for one sink.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// The exposition format.
    pub format: ReportFormat,
    /// What stands before each name: nothing, or text that ends in a dot.
    pub prefix: String,
    /// The counters that are in it; all without.
    pub only: Option<Pattern>,
    /// Counters that gained nothing are left out, also where the report has them.
    pub omits_idle: bool,
    /// How tags are written where the format leaves a choice.
    pub tags: TagForm,
    /// The number of a line in Graphite's format.
    pub number: Number,
    /// Windows that belong to one of these are made one report; without, each window is one.
    pub spans: Option<Spans>,
    /// The timestamps are later than this second since 1970.
    pub after: Option<u64>,
    /// No timestamp is later than this second, unless `after` asks for it.
    pub until: Option<u64>,
}

/// How tags are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TagForm {
    /// `name;key=value`.
    Graphite,
    /// `|#key:value` behind the rest.
    Dogstatsd,
}

/// Which number of a counter is reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Number {
    /// What it gained in the window.
    Count,
    /// What it gained since it was created.
    Total,
    /// The count divided by the window's seconds.
    Rate,
}

/// Windows that are one report.
#[derive(Debug, Clone)]
pub struct Portion {
    /// The windows as one.
    pub report: Arc<Report>,
    /// The timestamp in seconds, of a format that has one.
    pub second: u64,
}

/// A counter as a line has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line<'a> {
    /// Its name with the prefix.
    pub(super) name: Cow<'a, str>,
    pub(super) count: u64,
    pub(super) total: u64,
}

impl Layout {
    /// This format without any option.
    pub fn of(format: ReportFormat) -> Layout {
        Layout {
            format,
            prefix: String::new(),
            only: None,
            omits_idle: false,
            tags: TagForm::Graphite,
            number: Number::Count,
            spans: (format == ReportFormat::Graphite).then(|| Spans::new(SECOND)),
            after: None,
            until: None,
        }
    }

    /// Whether timestamps must rise from one report to the next, so that none takes the place of another.
    pub fn has_seconds(&self) -> bool {
        self.format == ReportFormat::Graphite
    }

    /// Takes an option up; `false` if there is none of this key.
    ///
    /// # Errors
    /// What is wrong with the value, and what would be right.
    pub fn set(&mut self, key: &str, value: &str) -> Result<bool, String> {
        match key {
            "prefix" => self.prefix = parse_prefix(value)?,
            "only" => self.only = Some(Pattern::parse(value).map_err(|error| error.to_string())?),
            "idle" => self.omits_idle = word(value, &[("omit", true), ("zero", false)])?,
            "tags" => {
                let forms = [("graphite", TagForm::Graphite), ("dogstatsd", TagForm::Dogstatsd)];
                self.tags = word(value, &forms)?;
            }
            "value" => {
                let numbers =
                    [("count", Number::Count), ("total", Number::Total), ("rate", Number::Rate)];
                self.number = word(value, &numbers)?;
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Puts reports, oldest first, together as their windows belong together.
    pub fn portions(&self, reports: &[Arc<Report>]) -> Vec<Portion> {
        let Some(spans) = self.spans else {
            let alone = |report: &Arc<Report>| Portion {
                report: Arc::clone(report),
                second: report.window.end.wall_ms / 1_000,
            };
            return reports.iter().map(alone).collect();
        };
        let mut rest = reports.iter();
        let groups = self.groups(reports).into_iter();
        let portions = groups.filter_map(|Group { span, windows }| {
            let some: Vec<Arc<Report>> = rest.by_ref().take(windows).cloned().collect();
            let report = match some.as_slice() {
                [alone] => Arc::clone(alone),
                _ => Arc::new(Report::merged(some)?),
            };
            Some(Portion { report, second: spans.start_ms(span) / 1_000 })
        });
        portions.collect()
    }

    /// Which of these reports, oldest first, belong together; nothing without spans.
    pub fn groups(&self, reports: &[Arc<Report>]) -> Vec<Group> {
        let Some(spans) = self.spans else { return Vec::new() };
        let least = self.after.map_or(0, |after| spans.after_second(after));
        let until = |until: u64| spans.at_ms(until.saturating_mul(1_000).saturating_add(999));
        let most = self.until.map_or(u64::MAX, until);
        spans.groups(reports.iter().map(|report| &report.window), least, most)
    }

    /// Appends these reports, oldest first.
    pub fn render(&self, reports: &[Arc<Report>], out: &mut Vec<u8>) {
        for portion in self.portions(reports) {
            self.render_portion(&portion, out);
        }
    }

    /// Appends one report.
    pub fn render_portion(&self, portion: &Portion, out: &mut Vec<u8>) {
        match self.format {
            ReportFormat::Plain => super::report::plain(self, &portion.report, out),
            ReportFormat::Logfmt => super::report::logfmt(self, &portion.report, out),
            ReportFormat::Json => super::report::json(self, &portion.report, out),
            ReportFormat::Graphite => super::lines::graphite(self, portion, out),
            ReportFormat::Statsd => super::lines::statsd(self, &portion.report, out),
        }
    }

    /// The counters of a report that have a line, in byte order of their names.
    pub(super) fn lines<'a>(&'a self, report: &'a Report) -> impl Iterator<Item = Line<'a>> {
        let wanted = report.counts().iter().filter(|count| {
            (count.count > 0 || !self.omits_idle)
                && self.only.as_ref().is_none_or(|only| only.matches(count.name))
        });
        wanted.map(|count| Line {
            name: match self.prefix.as_str() {
                "" => Cow::Borrowed(count.name),
                prefix => Cow::Owned(format!("{prefix}{}", count.name)),
            },
            count: count.count,
            total: count.total,
        })
    }
}

/// A prefix is the beginning of a name; the dot after it need not be given.
fn parse_prefix(text: &str) -> Result<String, String> {
    let begin = text.strip_suffix('.').unwrap_or(text);
    if begin.is_empty() {
        return Err("it is empty".into());
    }
    if begin.contains(',') {
        return Err("it has a comma, and tags are no part of it".into());
    }
    let prefix = format!("{begin}.");
    name::check(&format!("{prefix}x")).map_err(|error| error.to_string())?;
    Ok(prefix)
}

/// What a word means, of those that are known.
///
/// # Errors
/// Which are known.
pub fn word<T: Copy>(value: &str, known: &[(&str, T)]) -> Result<T, String> {
    let found = known.iter().find(|(name, _)| *name == value);
    found.map(|(_, meaning)| *meaning).ok_or_else(|| {
        let names: Vec<&str> = known.iter().map(|(name, _)| *name).collect();
        format!("\"{}\" is not one of {}", value.escape_debug(), names.join(", "))
    })
}

impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let usual = Layout::of(self.format);
        let mut options = Vec::new();
        let mut put = |key: &str, value: &dyn fmt::Display| {
            options.push(format!("{key}={}", options::encode(&value.to_string())));
        };
        if !self.prefix.is_empty() {
            put("prefix", &self.prefix);
        }
        if let Some(only) = &self.only {
            put("only", &only.as_str());
        }
        if self.omits_idle {
            put("idle", &"omit");
        }
        if self.tags == TagForm::Dogstatsd {
            put("tags", &"dogstatsd");
        }
        match self.number {
            Number::Count => {}
            Number::Total => put("value", &"total"),
            Number::Rate => put("value", &"rate"),
        }
        if let Some(spans) = self.spans
            && self.spans != usual.spans
        {
            put("span_ms", &spans.length_ms());
        }
        if let Some(after) = self.after {
            put("after", &after);
        }
        if let Some(until) = self.until {
            put("until", &until);
        }
        match options.as_slice() {
            [] => f.write_str(self.format.name()),
            options => write!(f, "{}?{}", self.format, options.join("&")),
        }
    }
}

impl FromStr for Layout {
    type Err = String;

    /// Reads what [`Layout`] is written as. What it does not know is of a newer version.
    fn from_str(text: &str) -> Result<Layout, String> {
        let (format, rest) = text.split_once('?').unwrap_or((text, ""));
        let format: ReportFormat = format.parse().map_err(|error| format!("{error}"))?;
        let mut layout = Layout::of(format);
        for Given { key, value, .. } in options::split(rest).map_err(|error| error.to_string())? {
            let number = || value.parse::<u64>().map_err(|error| format!("{key}: {error}"));
            match key {
                "span_ms" => layout.spans = Some(Spans::new(Duration::from_millis(number()?))),
                "after" => layout.after = Some(number()?),
                "until" => layout.until = Some(number()?),
                _ => {
                    if !layout.set(key, &value)? {
                        return Err(format!("there is no option {key}"));
                    }
                }
            }
        }
        Ok(layout)
    }
}

#[cfg(test)]
mod tests;
