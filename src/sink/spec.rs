//! The description of a sink, `KIND` or `KIND:WHERE`, with options after `?`: `file:/var/log/x.log?format=json&only=a.*`.
//! Text into values and back; nothing is opened here, and a path stays as it was given.
//!
//! What names a sink in the state is its place: the kind and where, without options. Options belong to what it is
//! offered, and may change from one start to the next.

#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::as_conversions)]

mod error;

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use error::SpecError;

use crate::format::ReportFormat;
use crate::format::duration::{parse_duration, short};
use crate::format::layout::Layout;
use crate::format::options::{self, Given};
use crate::turn::SinkPlace;
use crate::window::INTERVAL_MAX;
use crate::window::spans::Spans;

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

/// What a sink is. A new kind has its word in [`KINDS`], is read in [`Kind::parse`], takes its own options in
/// [`Kind::set`], is named in [`SinkSpec::place`], and is opened where the server is put together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// Standard output.
    Stdout,
    /// A log file.
    File(PathBuf),
}

/// Every kind, as it is written.
pub const KINDS: [&str; 2] = ["stdout", "file:PATH"];

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
        let layout =
            Layout { omits_idle: defaults.omits_idle, ..Layout::of(kind.format(defaults)) };
        SinkSpec { kind, layout, interval: None }
    }

    /// The path it writes to, as far as it has one.
    pub fn path_mut(&mut self) -> Option<&mut PathBuf> {
        match &mut self.kind {
            Kind::File(path) => Some(path),
            Kind::Stdout => None,
        }
    }

    /// Its name in the state.
    pub fn place(&self) -> String {
        match &self.kind {
            Kind::Stdout => "stdout".to_owned(),
            Kind::File(path) => format!("file:{}", path.display()),
        }
    }

    /// What the core is to know of it.
    pub fn sink_place(&self) -> SinkPlace {
        SinkPlace {
            layout: self.layout.clone(),
            ..SinkPlace::new(&self.place(), self.layout.format)
        }
    }
}

impl Kind {
    fn parse(text: &str) -> Result<Kind, Fault> {
        let known = || format!("write one of {}", KINDS.join(", "));
        let Some((word, rest)) = text.split_once(':') else {
            return match text {
                "stdout" => Ok(Kind::Stdout),
                "" => Err((0, format!("it is empty: {}", known()))),
                path if path.contains('/') => {
                    Err((0, format!("a log file is written file:{}", path.escape_debug())))
                }
                _ => Err((0, format!("there is no such kind of sink: {}", known()))),
            };
        };
        let at = word.len().saturating_add(1);
        match word {
            "file" => Ok(Kind::File(parse_path(at, rest)?)),
            _ => Err((0, format!("there is no such kind of sink: {}", known()))),
        }
    }

    /// The format it has, or, if it takes any, gets.
    fn format(&self, defaults: &Defaults) -> ReportFormat {
        match self {
            Kind::Stdout => defaults.format.unwrap_or(ReportFormat::Plain),
            Kind::File(_) => defaults.format.unwrap_or(ReportFormat::Logfmt),
        }
    }

    /// Whether it takes reports in any format.
    fn takes_any_format(&self) -> bool {
        match self {
            Kind::Stdout | Kind::File(_) => true,
        }
    }

    /// Takes up an option of its own; `false` if it has none of this key.
    fn set(&mut self, _key: &str, _value: &str) -> Result<bool, String> {
        match self {
            Kind::Stdout | Kind::File(_) => Ok(false),
        }
    }

    /// The keys of its own options.
    fn keys(&self) -> &'static [&'static str] {
        match self {
            Kind::Stdout | Kind::File(_) => &[],
        }
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
    Ok(spec)
}

impl SinkSpec {
    fn set_format(&mut self, value: &str, defaults: &Defaults) -> Result<(), String> {
        if !self.kind.takes_any_format() {
            return Err(format!("format: there is only one here, {}", self.layout.format));
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

    /// The keys of the options it takes.
    fn keys(&self) -> Vec<&'static str> {
        let mut keys = vec!["prefix", "interval", "only", "idle"];
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
        let Layout { format, prefix, only, .. } = &self.layout;
        match &self.kind {
            Kind::File(path) => write!(f, "{}", path.display())?,
            Kind::Stdout => f.write_str(&self.place())?,
        }
        write!(f, " ({format}")?;
        if !prefix.is_empty() {
            write!(f, ", prefix {prefix}")?;
        }
        if let Some(only) = only {
            write!(f, ", only {}", only.as_str())?;
        }
        if let Some(interval) = self.interval {
            write!(f, ", every {}", short(interval))?;
        }
        f.write_str(")")
    }
}

fn parse_path(at: usize, text: &str) -> Result<PathBuf, Fault> {
    if text.starts_with("//") && !text.starts_with("///") {
        return Err((at, "a path follows, without // before it".into()));
    }
    let path = options::decode(text);
    let path = path.map_err(|error| (at.saturating_add(error.at), error.what.to_owned()))?;
    match path.as_str() {
        "" => Err((at, "the path is empty".into())),
        path => Ok(Path::new(path).to_owned()),
    }
}

#[cfg(test)]
mod tests;
