//! The daemon's health as an answer: what the core knows, and what only the server does.

use super::Server;
use super::spool::Spool;
use crate::protocol::{Response, StatusReport, Value};
use crate::window::Moment;

impl Server {
    /// Problems first, then facts: who and where, counting, connections, sinks, disk.
    pub(super) fn status(&self, now: Moment) -> Response<'static> {
        let (mut problems, counting) = self.core.health(now);
        if let Some(error) = &self.fold_error {
            problems.push(format!("the journal cannot be folded into a checkpoint: {error}"));
        }
        problems.extend(self.spool.iter().flat_map(Spool::problems));
        let mut facts = self.about.clone();
        let refused = self.connections.numbers.refused_since_flush;
        if refused > 0 {
            problems.push(format!("{refused} connections refused since the last flush: too many"));
        }
        let mut fact = |key: &str, value| facts.push((key.to_owned(), value));
        let uptime_ns = now.boot_ns.saturating_sub(self.started.boot_ns);
        fact("uptime", Value::DurationMs(uptime_ns / 1_000_000));
        fact("version", Value::Text(env!("CARGO_PKG_VERSION").into()));
        facts.extend(counting);
        let mut fact = |key: &str, value| facts.push((key.to_owned(), value));
        let numbers = self.connections.numbers;
        let now_open = u64::try_from(self.connections.len()).unwrap_or(u64::MAX);
        fact("connections", Value::Number(now_open));
        fact("connections_ever", Value::Number(numbers.ever));
        fact("connections_refused", Value::Number(numbers.refused));
        fact("connections_gave_way", Value::Number(numbers.gave_way));
        fact("connections_timed_out", Value::Number(numbers.timed_out));
        if self.state_folder.is_some() {
            facts.extend(self.on_disk());
        }
        facts.extend(self.spool.iter().flat_map(Spool::facts));
        Response::Status(StatusReport { problems, facts })
    }

    fn on_disk(&self) -> Vec<(String, Value)> {
        let mut facts = Vec::new();
        let mut fact = |key: &str, value| facts.push((key.to_owned(), value));
        fact("fsync", Value::Text(self.fsync.to_string()));
        fact("journal", Value::Bytes(self.journal.bytes()));
        fact("checkpoint", Value::Bytes(self.journal.checkpoint_bytes()));
        let unsynced = self.journal.position().saturating_sub(self.journal.synced());
        fact("journal_unsynced", Value::Bytes(unsynced));
        if let Some(at) = self.last_sync_ms {
            fact("last_fsync", Value::TimeMs(at));
        }
        facts
    }
}
