//! What the daemon says to the operator, and how: lines for people, or for the journal of systemd if standard
//! error leads there. Counts are not said here: reports go to sinks.

use std::path::Path;

use super::absolute;
use crate::format::duration::short;
use crate::note::Level;
use crate::server::assemble::Config;
use crate::sink::spec::{Kind, SinkSpec};
use crate::system::messages::{Style, Teller};
use crate::system::output::Output;
use crate::system::paths::{Environment, ServeSocket};

/// Which standard streams lead to the journal of systemd.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Journals {
    pub(super) stdout: bool,
    pub(super) stderr: bool,
}

impl Journals {
    pub(super) fn of_process(environment: &Environment<'_>) -> Journals {
        let stream = environment.set("JOURNAL_STREAM");
        let is_journal = |output: Output| output.is_journal(stream.as_deref());
        Journals { stdout: is_journal(Output::stdout()), stderr: is_journal(Output::stderr()) }
    }

    pub(super) fn style(self) -> Style {
        if self.stderr { Style::Journal } else { Style::Plain }
    }
}

/// Says once, when clients can come, where what is.
pub(super) fn say_where(
    teller: &Teller,
    config: &Config,
    socket: &ServeSocket,
    handed: bool,
    counters: usize,
) {
    let path = absolute(socket.socket.path());
    let path = path.display();
    if let Some(other) = &socket.clients_look_at {
        let other = other.display();
        let told = format!("clients look at {other} unless you export COUNTD_SOCKET={path}");
        teller.tell(Level::Warning, &told);
    }
    let state = config.state_folder.as_deref().map(Path::display);
    let restored = match state {
        Some(folder) => format!("counters restored from {folder}: {counters}"),
        None => "nothing is kept: totals start at 0 (--ephemeral)".to_owned(),
    };
    teller.tell(Level::Info, &restored);
    teller.tell(Level::Info, &reports(config));
    for spec in config.sinks.iter().filter(|spec| spec.kind.is_scraped()) {
        teller.tell(Level::Info, &format!("to be scraped: {spec}"));
    }
    hints(config).iter().for_each(|hint| teller.tell(Level::Info, hint));
    let how = match handed {
        true => "handed over".to_owned(),
        false => format!("mode {:04o}", config.listen.mode),
    };
    teller.tell(Level::Notice, &format!("ready, listening on {path} ({how})"));
}

/// What the settings do not show and people come upon late.
pub(super) fn hints(config: &Config) -> Vec<String> {
    let interval = short(config.interval);
    let hint = |sink: &SinkSpec| {
        let place = sink.place();
        if let Kind::Graphite { .. } = sink.kind
            && sink.interval.is_none()
        {
            return Some(format!(
                "{place}: a value every {interval}; Graphite keeps the last of each step of its storage, so if a step \
                 is longer, say so with the option interval="
            ));
        }
        if let Kind::Textfile { path, .. } = &sink.kind
            && path.extension().is_none_or(|end| end != "prom")
        {
            let what = "node_exporter reads no file whose name does not end in .prom";
            return Some(format!("{place}: {what}"));
        }
        None
    };
    config.sinks.iter().filter_map(hint).collect()
}

fn reports(config: &Config) -> String {
    let interval = short(config.interval);
    let aligned = if config.aligned.is_some() { " (aligned)" } else { "" };
    let reported = config.sinks.iter().filter(|spec| !spec.kind.is_scraped());
    let places: Vec<String> = reported.map(SinkSpec::to_string).collect();
    if places.is_empty() && config.sinks.is_empty() {
        return format!(
            "flushes every {interval}{aligned}; the journal gets no counts: say where to with --log-file or --sink"
        );
    }
    if places.is_empty() {
        return format!("flushes every {interval}{aligned}, reports to nobody");
    }
    format!("reports every {interval}{aligned} to {}", places.join(" and "))
}
