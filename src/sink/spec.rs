//! The description of a sink, `KIND` or `KIND:WHERE`, with options after `?`: `file:/var/log/x.log?format=json&only=a.*`.
//! Text into values and back; nothing is opened here, and a path stays as it was given.
//!
//! What names a sink in the state is its place: the kind and where, without options. Options belong to what it is
//! offered, and may change from one start to the next.

#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::as_conversions)]

mod error;
mod kind;
mod otlp;

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

pub use error::SpecError;
pub use kind::{Address, KINDS, Kind};

use crate::format::ReportFormat;
use crate::format::duration::{parse_duration, short};
use crate::format::layout::{Layout, Number, word};
use crate::format::options::{self, Given};
use crate::turn::SinkPlace;
use crate::window::INTERVAL_MAX;
use crate::window::spans::Spans;

/// A collector that is away is tried again at least every so many nanoseconds.
const PAUSE_NS_MAX: u64 = 30_000_000_000;
/// The longest description, in bytes.
const SPEC_BYTES_MAX: usize = 4096;

/// A sink as it is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SinkSpec {
    /// What it is, and where.
    pub kind: Kind,
    /// How reports read.
    pub layout: Layout,
    /// The time from one report to the next, if that is not the flush interval.
    pub interval: Option<Duration>,
}

/// What a description leaves open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Defaults {
    /// The format of a sink that takes any; without, what is usual for it.
    pub format: Option<ReportFormat>,
    /// Counters that gained nothing are left out.
    pub omits_idle: bool,
    /// The flush interval.
    pub interval: Duration,
}

/// Where in the text, and what.
type Fault = (usize, String);

impl SinkSpec {
    /// Reads a description.
    ///
    /// # Errors
    /// [`SpecError`]: what is wrong, where, and what would be right.
    pub fn parse(text: &str, defaults: &Defaults) -> Result<SinkSpec, SpecError> {
        let spec = if text.len() > SPEC_BYTES_MAX {
            Err((0, format!("it has {} bytes: at most {SPEC_BYTES_MAX} are allowed", text.len())))
        } else if let Some((at, _)) = text.char_indices().find(|(_, c)| c.is_control()) {
            Err((at, "a control character is written %XX".to_owned()))
        } else {
            parse(text, defaults)
        };
        spec.map_err(|(at, what)| SpecError::new(text, at, what))
    }

    /// A sink of this kind without options.
    pub fn plain(kind: Kind, defaults: &Defaults) -> SinkSpec {
        // For what only shows the counters as they are no window is closed that would not be otherwise.
        let omits_idle = defaults.omits_idle || kind.shows_totals();
        let mut layout = Layout { omits_idle, ..Layout::of(kind.format(defaults.format)) };
        if let Kind::Otlp { .. } = kind {
            layout.number = Number::Total;
        }
        SinkSpec { kind, layout, interval: None }
    }

    /// The path it writes to, as far as it has one.
    pub fn path_mut(&mut self) -> Option<&mut PathBuf> {
        self.kind.path_mut()
    }

    /// Its name in the state.
    pub fn place(&self) -> String {
        self.kind.to_string()
    }

    /// What the core is to know of it.
    pub fn sink_place(&self) -> SinkPlace {
        let mut place = SinkPlace::new(&self.place(), self.layout.format);
        place.layout = self.layout.clone();
        place.speaks = self.speaks();
        if !self.kind.is_output() {
            place.pause_ns_max = PAUSE_NS_MAX;
        }
        if let Kind::Graphite { again, .. } = self.kind {
            place.keeps_ns = u64::try_from(again.as_nanos()).unwrap_or(u64::MAX);
        }
        // What would be counted again is little then.
        if self.kind.counts_again() || self.is_delta() {
            place.at_a_time = 1;
        }
        place
    }
}

fn parse(text: &str, defaults: &Defaults) -> Result<SinkSpec, Fault> {
    let (place, rest) = text.split_once('?').unwrap_or((text, ""));
    let kind = Kind::parse(place)?;
    let begin = place.len().saturating_add(1);
    let behind = |at: usize| begin.saturating_add(at);
    let given = options::split(rest).map_err(|error| (behind(error.at), error.what.to_owned()))?;
    let mut spec = SinkSpec::plain(kind, defaults);
    // What other options there are depends on it.
    for option in given.iter().filter(|option| option.key == "format") {
        spec.set_format(&option.value, defaults).map_err(|what| (behind(option.at), what))?;
    }
    for (number, option) in given.iter().enumerate() {
        let Given { at, key, value } = option;
        let fault = |what| Err((behind(*at), what));
        if given.iter().take(number).any(|earlier| earlier.key == *key) {
            return fault(format!("{key} is given twice"));
        }
        match spec.set(key, value, defaults) {
            Ok(true) => {}
            Ok(false) => {
                let keys = spec.keys().join(", ");
                let key = key.escape_debug();
                return fault(format!(
                    "there is no option \"{key}\" here, but {keys}; a ? before the options is written %3F"
                ));
            }
            Err(what) => return fault(format!("{key}: {what}")),
        }
    }
    spec.kind.finish(text.find(':').map_or(0, |colon| colon.saturating_add(1)))?;
    Ok(spec)
}

impl SinkSpec {
    fn set_format(&mut self, value: &str, defaults: &Defaults) -> Result<(), String> {
        if !self.kind.takes_any_format() {
            return Err(format!("format: there is only one here, {}", self.speaks()));
        }
        let format: ReportFormat = value.parse().map_err(|error| format!("format: {error}"))?;
        self.layout = Layout { omits_idle: defaults.omits_idle, ..Layout::of(format) };
        Ok(())
    }

    fn set(&mut self, key: &str, value: &str, defaults: &Defaults) -> Result<bool, String> {
        if !self.keys().contains(&key) {
            return Ok(false);
        }
        match key {
            "format" => Ok(true),
            "temporality" => {
                let known = [("cumulative", Number::Total), ("delta", Number::Count)];
                self.layout.number = word(value, &known)?;
                Ok(true)
            }
            "interval" => {
                let interval = self.parse_interval(value, defaults)?;
                // Each window alone is what there is without.
                if interval > defaults.interval || self.layout.has_seconds() {
                    self.layout.spans = Some(Spans::new(interval));
                }
                self.interval = Some(interval);
                Ok(true)
            }
            _ => Ok(self.layout.set(key, value)? || self.kind.set(key, value)?),
        }
    }

    /// What it gets, in a word.
    fn speaks(&self) -> &'static str {
        self.kind.speaks().unwrap_or(self.layout.format.name())
    }

    /// Whether it is a receiver that is told what was gained, and adds up.
    fn is_delta(&self) -> bool {
        matches!(self.kind, Kind::Otlp { .. }) && self.layout.number == Number::Count
    }

    /// The keys of the options it takes.
    fn keys(&self) -> Vec<&'static str> {
        let mut keys = match self.kind.shows_totals() {
            true => vec!["prefix", "only"],
            false => vec!["prefix", "interval", "only", "idle"],
        };
        if self.kind.takes_any_format() {
            keys.insert(0, "format");
        }
        match self.layout.format {
            ReportFormat::Graphite => keys.push("value"),
            ReportFormat::Statsd => keys.push("tags"),
            ReportFormat::Plain | ReportFormat::Logfmt | ReportFormat::Json => {}
        }
        keys.extend(self.kind.keys());
        keys
    }

    fn parse_interval(&self, value: &str, defaults: &Defaults) -> Result<Duration, String> {
        let interval = parse_duration(value).map_err(|error| error.to_string())?;
        let flush = defaults.interval;
        let rest = interval.as_nanos().checked_rem(flush.as_nanos());
        if interval < flush || rest != Some(0) || interval > INTERVAL_MAX {
            let flush = short(flush);
            return Err(format!(
                "\"{}\" is no multiple of the flush interval, {flush}",
                value.escape_debug()
            ));
        }
        if self.layout.has_seconds() && interval < Duration::from_secs(1) {
            return Err("the timestamps are whole seconds: 1s is the least".into());
        }
        Ok(interval)
    }
}

impl fmt::Display for SinkSpec {
    /// As a person reads it: where, and in parentheses as what.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Layout { prefix, only, omits_idle, .. } = &self.layout;
        match &self.kind {
            Kind::File(path) => write!(f, "{}", path.display())?,
            kind @ (Kind::Stdout
            | Kind::Graphite { .. }
            | Kind::Statsd { .. }
            | Kind::StatsdUnix { .. }
            | Kind::Prometheus { .. }
            | Kind::PrometheusUnix { .. }
            | Kind::Textfile { .. }
            | Kind::Otlp { .. }
            | Kind::Exec { .. }) => kind.fmt(f)?,
        }
        write!(f, " ({}", self.speaks())?;
        if self.is_delta() {
            f.write_str(", delta")?;
        }
        if !prefix.is_empty() {
            write!(f, ", prefix {prefix}")?;
        }
        if let Some(only) = only {
            write!(f, ", only {}", only.as_str())?;
        }
        if let Some(interval) = self.interval {
            write!(f, ", every {}", short(interval))?;
        }
        if !omits_idle {
            f.write_str(", idle zero")?;
        }
        f.write_str(")")
    }
}

#[cfg(test)]
mod tests;
