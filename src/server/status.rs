//! The daemon's health as an answer: what the core knows, and what only the server does.

use super::Server;
use super::scrape::Scrape;
use super::sinks::{SinkWorker, add_failures};
use super::spool::Spool;
use crate::protocol::{StatusReport, Value};
use crate::window::Moment;

impl Server {
    /// Problems first, then facts: who and where, counting, connections, sinks, disk.
    pub(super) fn status(&self, now: Moment) -> StatusReport {
        let (mut problems, mut counting) = self.core.health(now);
        problems.extend(self.appending.problem().map(str::to_owned));
        if let Some(error) = &self.fold_error {
            problems.push(format!("the journal cannot be folded into a checkpoint: {error}"));
        }
        problems.extend(self.spool.iter().flat_map(Spool::problems));
        problems.extend(self.scrapes.iter().filter_map(Scrape::problem));
        problems.extend(self.sinks.iter().filter_map(SinkWorker::problem));
        problems.extend(self.sights.problems());
        let mut facts = self.about.clone();
        let numbers = &self.connections.numbers;
        problems.extend(numbers.problems());
        let mut fact = |key: &str, value| facts.push((key.to_owned(), value));
        let uptime_ns = now.boot_ns.saturating_sub(self.started.boot_ns);
        fact("uptime", Value::DurationMs(uptime_ns / 1_000_000));
        fact("version", Value::Text(env!("CARGO_PKG_VERSION").into()));
        add_failures(&self.sinks, &mut counting);
        facts.extend(counting);
        for (number, scrape) in self.scrapes.iter().enumerate() {
            facts.extend(scrape.facts(self.sinks.len() + number));
        }
        let mut fact = |key: &str, value| facts.push((key.to_owned(), value));
        let as_number = |number| Value::Number(u64::try_from(number).unwrap_or(u64::MAX));
        fact("connections", as_number(self.connections.len()));
        fact("connections_max", as_number(self.connections.max()));
        fact("connections_ever", Value::Number(numbers.ever));
        facts.extend(numbers.facts());
        if self.state_folder.is_some() {
            facts.extend(self.on_disk());
        }
        facts.extend(self.spool.iter().flat_map(Spool::facts));
        StatusReport { problems, facts }
    }

    fn on_disk(&self) -> Vec<(String, Value)> {
        let mut facts = Vec::new();
        let mut fact = |key: &str, value| facts.push((key.to_owned(), value));
        fact("fsync", Value::Text(self.fsync.to_string()));
        fact("journal", Value::Bytes(self.journal.bytes()));
        fact("checkpoint", Value::Bytes(self.journal.checkpoint_bytes()));
        fact("journal_unsynced", Value::Bytes(self.journal.unsynced()));
        if let Some(at) = self.last_sync_ms {
            fact("last_fsync", Value::TimeMs(at));
        }
        facts
    }
}
