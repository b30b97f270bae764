//! What a sink is, and where. A new kind has its words in [`KINDS`], is read in [`Kind::parse`], takes its own options
//! in [`Kind::set`], is named in its place, and is opened where the server is put together.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use super::Fault;
use super::otlp::{OTLP_PATH, attribute, parse_attributes, parse_url};
use crate::format::ReportFormat;
use crate::format::duration::{parse_duration, short};
use crate::format::layout::word;
use crate::format::options;
use crate::sink::graphite::Delivered;

/// How long a collector may keep a sink waiting, unless told otherwise.
const TIMEOUT: Duration = Duration::from_secs(10);
/// The longest that can be told.
const TIMEOUT_MAX: Duration = Duration::from_secs(600);
/// How long Graphite may take to store what it has read, unless told otherwise, and the longest that can be told.
const AGAIN: Duration = Duration::from_secs(300);
const AGAIN_MAX: Duration = Duration::from_secs(3_600);
/// A packet that passes an Ethernet in one piece.
const PACKET_BYTES: usize = 1432;
/// Bytes a packet can have: room for a line of the longest name, and what UDP can carry.
const PACKET_BYTES_ALLOWED: std::ops::RangeInclusive<usize> = 512..=65_507;
/// Words of a command.
const WORDS_MAX: usize = 256;

/// What a sink is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// Standard output.
    Stdout,
    /// A log file.
    File(PathBuf),
    /// Carbon, over TCP.
    Graphite {
        /// Where it listens.
        to: Address,
        /// When a report counts as delivered.
        delivered: Delivered,
        /// How long nothing may move.
        timeout: Duration,
        /// How long it may take to store what it has read.
        again: Duration,
    },
    /// A statsd, over UDP.
    Statsd {
        /// Where it listens.
        to: Address,
        /// Bytes of a packet at most.
        packet: usize,
    },
    /// A statsd on a Unix datagram socket.
    StatsdUnix {
        /// Its socket.
        path: PathBuf,
        /// Bytes of a packet at most.
        packet: usize,
        /// How long it may take nothing.
        timeout: Duration,
    },
    /// A port that Prometheus scrapes.
    Prometheus {
        /// Where it listens.
        at: Address,
        /// Whether OpenMetrics tells when a counter was created.
        created: bool,
    },
    /// A Unix socket that is scraped.
    PrometheusUnix {
        /// The socket.
        path: PathBuf,
        /// Whether OpenMetrics tells when a counter was created.
        created: bool,
    },
    /// A file with totals for node_exporter.
    Textfile {
        /// Its path.
        path: PathBuf,
        /// It goes when the daemon stops.
        removed: bool,
    },
    /// An OpenTelemetry receiver, over HTTP.
    Otlp {
        /// Where it listens.
        to: Address,
        /// The path of its metrics.
        path: String,
        /// What the service is called.
        service: String,
        /// What the host is called, if not what it calls itself.
        host: Option<String>,
        /// More attributes of what sends.
        attributes: Vec<(String, String)>,
        /// How long it may take over a request.
        timeout: Duration,
    },
    /// A command that reads each report.
    Exec {
        /// The command as it was given, which is its place.
        text: String,
        /// Its words, or the one text for a shell.
        words: Vec<String>,
        /// A shell runs it.
        shell: bool,
        /// How long it may run.
        timeout: Duration,
    },
}

/// Every kind, as it is written.
pub const KINDS: [&str; 10] = [
    "stdout",
    "file:PATH",
    "graphite://HOST:PORT",
    "statsd://HOST:PORT",
    "statsd+unix:PATH",
    "prometheus://ADDR:PORT",
    "prometheus+unix:PATH",
    "textfile:PATH",
    "otlp+http://HOST:PORT[/PATH]",
    "exec:COMMAND",
];

/// A port of a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// A name, or an address without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
}

impl Kind {
    /// Reads a description up to its options.
    pub(super) fn parse(text: &str) -> Result<Kind, Fault> {
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
            "graphite" => Ok(Kind::Graphite {
                to: parse_address(at, rest)?,
                delivered: Delivered::Read,
                timeout: TIMEOUT,
                again: AGAIN,
            }),
            "statsd" => Ok(Kind::Statsd { to: parse_address(at, rest)?, packet: PACKET_BYTES }),
            "statsd+unix" => Ok(Kind::StatsdUnix {
                path: parse_path(at, rest)?,
                packet: PACKET_BYTES,
                timeout: TIMEOUT,
            }),
            "prometheus" => Ok(Kind::Prometheus { at: parse_address(at, rest)?, created: true }),
            "prometheus+unix" => {
                Ok(Kind::PrometheusUnix { path: parse_path(at, rest)?, created: true })
            }
            "textfile" => Ok(Kind::Textfile { path: parse_path(at, rest)?, removed: false }),
            "otlp+http" => {
                let (to, path) = parse_url(at, rest)?;
                Ok(Kind::Otlp {
                    to,
                    path,
                    service: "countd".into(),
                    host: None,
                    attributes: Vec::new(),
                    timeout: TIMEOUT,
                })
            }
            "exec" => Ok(Kind::Exec {
                text: rest.trim().to_owned(),
                words: split_words(at, rest)?,
                shell: false,
                timeout: TIMEOUT,
            }),
            _ => Err((0, format!("there is no such kind of sink: {}", known()))),
        }
    }

    /// What is wrong with the kind as a whole, now that it has its options.
    pub(super) fn finish(&mut self, at: usize) -> Result<(), Fault> {
        let Kind::Exec { text, words, shell, .. } = self else { return Ok(()) };
        if *shell {
            let whole = options::decode(text);
            *words = vec![whole.map_err(|error| (at, error.what.to_owned()))?];
        } else if let Some(quote) = text.chars().find(|c| matches!(c, '"' | '\'')) {
            let what = format!(
                "a {quote} means nothing without a shell: a blank in a word is written %20, or add \
                 the option shell=yes"
            );
            return Err((at, what));
        }
        Ok(())
    }

    /// The path it writes to, as far as it has one.
    pub(super) fn path_mut(&mut self) -> Option<&mut PathBuf> {
        match self {
            Kind::File(path)
            | Kind::StatsdUnix { path, .. }
            | Kind::PrometheusUnix { path, .. }
            | Kind::Textfile { path, .. } => Some(path),
            Kind::Stdout
            | Kind::Graphite { .. }
            | Kind::Statsd { .. }
            | Kind::Prometheus { .. }
            | Kind::Otlp { .. }
            | Kind::Exec { .. } => None,
        }
    }

    /// The format it has, or, if it takes any, gets unless told otherwise.
    pub(super) fn format(&self, wanted: Option<ReportFormat>) -> ReportFormat {
        match self {
            Kind::Stdout => wanted.unwrap_or(ReportFormat::Plain),
            Kind::File(_) => wanted.unwrap_or(ReportFormat::Logfmt),
            Kind::Exec { .. } => wanted.unwrap_or(ReportFormat::Json),
            // Reports are not what it shows.
            Kind::Prometheus { .. }
            | Kind::PrometheusUnix { .. }
            | Kind::Textfile { .. }
            | Kind::Otlp { .. } => ReportFormat::Plain,
            Kind::Graphite { .. } => ReportFormat::Graphite,
            Kind::Statsd { .. } | Kind::StatsdUnix { .. } => ReportFormat::Statsd,
        }
    }

    /// Whether it is come to, and handed nothing.
    pub fn is_scraped(&self) -> bool {
        matches!(self, Kind::Prometheus { .. } | Kind::PrometheusUnix { .. })
    }

    /// Whether it shows the counters as they are, in the format of Prometheus, and no reports.
    pub(super) fn shows_totals(&self) -> bool {
        self.is_scraped() || matches!(self, Kind::Textfile { .. })
    }

    /// What it gets instead of reports in a text format, if anything.
    pub(super) fn speaks(&self) -> Option<&'static str> {
        match self {
            Kind::Prometheus { .. } | Kind::PrometheusUnix { .. } | Kind::Textfile { .. } => {
                Some("prometheus")
            }
            Kind::Otlp { .. } => Some("otlp"),
            Kind::Stdout
            | Kind::File(_)
            | Kind::Graphite { .. }
            | Kind::Statsd { .. }
            | Kind::StatsdUnix { .. }
            | Kind::Exec { .. } => None,
        }
    }

    /// Whether it takes reports in any format.
    pub(super) fn takes_any_format(&self) -> bool {
        matches!(self, Kind::Stdout | Kind::File(_) | Kind::Exec { .. })
    }

    /// Whether it is on this machine and no program that may be away.
    pub(super) fn is_output(&self) -> bool {
        matches!(self, Kind::Stdout | Kind::File(_) | Kind::Textfile { .. })
    }

    /// Whether it counts a report again that it gets again.
    pub(super) fn counts_again(&self) -> bool {
        matches!(self, Kind::Statsd { .. } | Kind::StatsdUnix { .. } | Kind::Exec { .. })
    }

    /// Takes up an option of its own; `false` if it has none of this key.
    pub(super) fn set(&mut self, key: &str, value: &str) -> Result<bool, String> {
        match (key, self) {
            ("ack", Kind::Graphite { delivered, .. }) => {
                *delivered = word(value, &[("read", Delivered::Read), ("sent", Delivered::Sent)])?;
            }
            ("again", Kind::Graphite { again, .. }) => {
                let asked = parse_duration(value).map_err(|error| error.to_string())?;
                let allowed = Some(asked).filter(|again| *again <= AGAIN_MAX);
                *again = allowed
                    .ok_or_else(|| format!("from 0s to {} are allowed", short(AGAIN_MAX)))?;
            }
            (
                "timeout",
                Kind::Graphite { timeout, .. }
                | Kind::StatsdUnix { timeout, .. }
                | Kind::Otlp { timeout, .. }
                | Kind::Exec { timeout, .. },
            ) => *timeout = parse_timeout(value)?,
            ("packet", Kind::Statsd { packet, .. } | Kind::StatsdUnix { packet, .. }) => {
                let bytes = value.parse().ok().filter(|it| PACKET_BYTES_ALLOWED.contains(it));
                let (least, most) = PACKET_BYTES_ALLOWED.into_inner();
                *packet =
                    bytes.ok_or_else(|| format!("from {least} to {most} bytes are allowed"))?;
            }
            (
                "created",
                Kind::Prometheus { created, .. } | Kind::PrometheusUnix { created, .. },
            ) => {
                *created = word(value, &[("yes", true), ("no", false)])?;
            }
            ("remove", Kind::Textfile { removed, .. }) => {
                *removed = word(value, &[("no", false), ("yes", true)])?;
            }
            ("service", Kind::Otlp { service, .. }) => *service = attribute(value)?,
            ("host", Kind::Otlp { host, .. }) => *host = Some(attribute(value)?),
            ("attributes", Kind::Otlp { attributes, .. }) => *attributes = parse_attributes(value)?,
            ("shell", Kind::Exec { shell, .. }) => {
                *shell = word(value, &[("no", false), ("yes", true)])?;
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// The keys of its own options.
    pub(super) fn keys(&self) -> &'static [&'static str] {
        match self {
            Kind::Stdout | Kind::File(_) => &[],
            Kind::Graphite { .. } => &["ack", "again", "timeout"],
            Kind::Statsd { .. } => &["packet"],
            Kind::StatsdUnix { .. } => &["packet", "timeout"],
            Kind::Prometheus { .. } | Kind::PrometheusUnix { .. } => &["created"],
            Kind::Textfile { .. } => &["remove"],
            Kind::Otlp { .. } => &["temporality", "service", "host", "attributes", "timeout"],
            Kind::Exec { .. } => &["shell", "timeout"],
        }
    }
}

impl fmt::Display for Kind {
    /// Its place: what names it in the state.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Kind::Stdout => f.write_str("stdout"),
            Kind::File(path) => write!(f, "file:{}", path.display()),
            Kind::Graphite { to, .. } => write!(f, "graphite://{to}"),
            Kind::Statsd { to, .. } => write!(f, "statsd://{to}"),
            Kind::StatsdUnix { path, .. } => write!(f, "statsd+unix:{}", path.display()),
            Kind::Prometheus { at, .. } => write!(f, "prometheus://{at}"),
            Kind::PrometheusUnix { path, .. } => write!(f, "prometheus+unix:{}", path.display()),
            Kind::Textfile { path, .. } => write!(f, "textfile:{}", path.display()),
            Kind::Otlp { to, path, .. } if path == OTLP_PATH => write!(f, "otlp+http://{to}"),
            Kind::Otlp { to, path, .. } => write!(f, "otlp+http://{to}{path}"),
            Kind::Exec { text, .. } => write!(f, "exec:{text}"),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

fn parse_timeout(value: &str) -> Result<Duration, String> {
    let timeout = parse_duration(value).map_err(|error| error.to_string())?;
    match (Duration::from_millis(1)..=TIMEOUT_MAX).contains(&timeout) {
        true => Ok(timeout),
        false => Err(format!("from 1ms to {} are allowed", short(TIMEOUT_MAX))),
    }
}

/// `//HOST:PORT`, which begins at this byte of the whole.
pub(super) fn parse_address(at: usize, text: &str) -> Result<Address, Fault> {
    let Some(rest) = text.strip_prefix("//") else {
        return Err((at, "//HOST:PORT follows".into()));
    };
    let at = at.saturating_add(2);
    let is_bracketed = rest.starts_with('[');
    let (host, port) = match rest.strip_prefix('[').map(|inside| inside.split_once(']')) {
        Some(Some((host, after))) => (host, after.strip_prefix(':')),
        Some(None) => return Err((at, "no ] closes the [".into())),
        None => match rest.rsplit_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (rest, None),
        },
    };
    if host.is_empty() {
        return Err((at, "there is no host: write //HOST:PORT".into()));
    }
    if host.contains(':') && !is_bracketed {
        return Err((at, "an address that has colons itself stands in brackets, as [::1]".into()));
    }
    let belongs = |c: char| {
        c.is_alphanumeric()
            || matches!(c, '-' | '.' | '_')
            || is_bracketed && matches!(c, ':' | '%')
    };
    if let Some((inside, c)) = host.char_indices().find(|(_, c)| !belongs(*c)) {
        let inside = inside.saturating_add(usize::from(is_bracketed));
        return Err((at.saturating_add(inside), format!("{c:?} is no part of a host's name")));
    }
    let Some(port) = port else {
        let end = at.saturating_add(rest.len());
        return Err((end, "the port is missing: write //HOST:PORT".into()));
    };
    let port_at = at.saturating_add(rest.len().saturating_sub(port.len()));
    let is_number = port.bytes().all(|byte| byte.is_ascii_digit());
    match port.parse::<u16>().ok().filter(|port| *port > 0 && is_number) {
        Some(port) => Ok(Address { host: host.to_owned(), port }),
        None => Err((port_at, format!("\"{port}\" is no port from 1 to 65535"))),
    }
}

fn parse_path(at: usize, text: &str) -> Result<PathBuf, Fault> {
    if text.starts_with("//") {
        return Err((at, "a path follows, without // before it".into()));
    }
    let path = options::decode(text);
    let path = path.map_err(|error| (at.saturating_add(error.at), error.what.to_owned()))?;
    if path.is_empty() { Err((at, "the path is empty".into())) } else { Ok(path.into()) }
}

/// The words of a command, at its blanks.
fn split_words(at: usize, text: &str) -> Result<Vec<String>, Fault> {
    let word = |word: &str| {
        // Where in the text it is, as it is a part of it.
        let inside = text.find(word).unwrap_or(0);
        options::decode(word).map_err(|error| {
            (at.saturating_add(inside).saturating_add(error.at), error.what.to_owned())
        })
    };
    let words = text.split_whitespace().map(word).collect::<Result<Vec<String>, Fault>>()?;
    if words.is_empty() || words.len() > WORDS_MAX {
        return Err((at, format!("a command of 1 to {WORDS_MAX} words follows")));
    }
    Ok(words)
}
