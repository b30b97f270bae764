//! `serve --check`: what the settings would make, without touching any of it.

use std::time::Duration;

use super::words::{Journals, hints};
use crate::format::duration::short;
use crate::format::size::size;
use crate::server::assemble::Config;
use crate::system::paths::ServeSocket;

/// A line a setting that says what would be there.
pub(super) fn describe(config: &Config, socket: &ServeSocket, journals: Journals) -> String {
    let mut lines = Vec::new();
    let mut line = |key: &str, value: String| lines.push(format!("{key:<22}{value}\n"));
    let path = super::absolute(socket.socket.path());
    line("socket", format!("{} (mode {:04o})", path.display(), config.listen.mode));
    match &config.state_folder {
        Some(folder) => line("state folder", format!("{}", folder.display())),
        None => line("state folder", "none: totals start at 0 each time".into()),
    }
    if let Some(spool) = &config.spool {
        line("spool folder", format!("{}", spool.folder.display()));
    }
    line("fsync", config.fsync.to_string());
    let aligned = match config.aligned {
        None => String::new(),
        Some(Duration::ZERO) => ", by the wall clock".into(),
        Some(offset) => format!(", by the wall clock and {} later", short(offset)),
    };
    line("flush interval", format!("{}{aligned}", short(config.interval)));
    for sink in &config.sinks {
        line("sink", sink.to_string());
    }
    if config.sinks.is_empty() {
        let why = if journals.stdout { ": standard output is the journal" } else { "" };
        line("sink", format!("none{why}"));
    }
    let owed = u64::try_from(config.owed_bytes_max).unwrap_or(u64::MAX);
    line("windows owed", format!("up to {}", size(owed)));
    let per_user = config.counters_per_user_max.unwrap_or((config.counters_max / 4).max(1));
    line("counters", format!("up to {}, {per_user} of one user", config.counters_max));
    line("connections", format!("up to {}", config.connections_max));
    for hint in hints(config) {
        line("note", hint);
    }
    lines.concat()
}
