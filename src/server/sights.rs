//! Sights: who is shown the counters, and when. A scrape asks for one; a sink that shows totals gets one with each
//! report, at the start, and when something changed that no report tells of, as a counter that was declared or deleted.
//! Each is shown when the journal is synced up to it.

use std::collections::BTreeMap;

use super::Server;
use super::scrape::Scraped;
use super::sinks::SinkWorker;
use crate::format::prometheus::view::Sight;
use crate::journal::Fsync;
use crate::note::Level;
use crate::turn::{RETRY_NS, SinkEvent, SinkNews};
use crate::window::Moment;

/// Who is shown a sight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Viewer {
    /// The server of scrapes with this number.
    Scrape(usize),
    /// The sink with this number.
    Sink(usize),
}

/// What is to be shown, to whom.
#[derive(Debug, Default)]
pub(super) struct Sights {
    /// Those that wait until the journal is synced up to a position: a total that is smaller after a power cut would
    /// be a new beginning for Prometheus, and all of it counted once more.
    unsynced: Vec<(Viewer, u64, Sight)>,
    /// When sinks are to be shown what changed, unless a flush comes before.
    due_ns: Option<u64>,
    /// Why sinks could not show it, by their numbers.
    errors: BTreeMap<usize, String>,
}

impl Sights {
    /// Whether the journal is to be synced for one.
    pub(super) fn wait(&self) -> bool {
        !self.unsynced.is_empty()
    }

    /// What is wrong, in words.
    pub(super) fn problems(&self) -> impl Iterator<Item = String> {
        self.errors.values().cloned()
    }

    /// A report tells of all that changed.
    pub(super) fn flushed(&mut self) {
        self.due_ns = None;
    }

    /// A sink that writes a report shows the counters with it.
    pub(super) fn heard(&mut self, event: &SinkEvent) {
        if matches!(event.news, SinkNews::Written) {
            self.errors.remove(&event.sink);
        }
    }
}

impl Server {
    /// The counters and the health as they are.
    pub(super) fn sight(&self, now: Moment) -> Sight {
        Sight { columns: self.core.columns(), status: self.status(now) }
    }

    /// Takes a sight for a server of scrapes.
    pub(super) fn look(&mut self, scrape: usize) {
        let sight = self.sight(self.clock.now());
        self.sights.unsynced.push((Viewer::Scrape(scrape), self.journal.position(), sight));
    }

    pub(super) fn hear_of_scrape(&mut self, scraped: Scraped) {
        let now_ms = self.clock.now().wall_ms;
        let Some(scrape) = self.scrapes.get_mut(scraped.scrape) else { return };
        for told in scrape.answered(scraped.collisions, now_ms) {
            (self.notice)(Level::Warning, &told);
        }
    }

    /// Notes that something was written down that counters come from.
    pub(super) fn something_changed(&mut self) {
        if self.sights.due_ns.is_none() && self.sinks.iter().any(SinkWorker::shows_sights) {
            self.sights.due_ns = Some(self.core.flush_due_ns());
        }
    }

    /// Lets sinks show what there is at the start, which is synced.
    pub(super) fn show_first(&mut self, now: Moment) {
        self.sights.due_ns = Some(0);
        self.refresh_if_due(now);
    }

    /// When sinks are to be shown what changed. While one shows something, its news are waited for.
    pub(super) fn sights_deadline_ns(&self) -> Option<u64> {
        self.sights.due_ns.filter(|_| !self.a_sink_shows())
    }

    /// Takes sights for sinks to whom no report tells what changed.
    pub(super) fn refresh_if_due(&mut self, now: Moment) {
        if self.sights_deadline_ns().is_none_or(|due| now.boot_ns < due) {
            return;
        }
        self.sights.due_ns = None;
        let position = self.journal.position();
        for number in 0..self.sinks.len() {
            if self.sinks.get(number).is_some_and(SinkWorker::shows_sights) {
                let sight = self.sight(now);
                self.sights.unsynced.push((Viewer::Sink(number), position, sight));
            }
        }
    }

    /// Shows what the journal is synced up to.
    pub(super) fn show_synced(&mut self) {
        let (journal, any) = (&self.journal, self.fsync == Fsync::No);
        let covered = |sight: &mut (Viewer, u64, Sight)| any || journal.is_synced_to(sight.1);
        for (viewer, _, sight) in self.sights.unsynced.extract_if(.., covered) {
            match viewer {
                Viewer::Scrape(number) => {
                    if let Some(scrape) = self.scrapes.get_mut(number) {
                        scrape.show(sight);
                    }
                }
                Viewer::Sink(number) => {
                    if let Some(sink) = self.sinks.get_mut(number) {
                        sink.refresh(sight);
                    }
                }
            }
        }
    }

    pub(super) fn hear_of_refresh(&mut self, number: usize, done: Result<(), String>) {
        let Some(sink) = self.sinks.get_mut(number) else { return };
        sink.refreshing = false;
        if let Err(why) = &done {
            let now = self.clock.now();
            sink.failed(why, now.wall_ms);
            let again_ns = now.boot_ns.saturating_add(RETRY_NS);
            self.sights.due_ns.get_or_insert(self.core.flush_due_ns().max(again_ns));
            let told = format!("sink {} cannot show the counters: {why}", sink.place);
            if !self.sights.errors.contains_key(&number) {
                (self.notice)(Level::Error, &told);
            }
            self.sights.errors.insert(number, told);
        } else {
            self.sights.errors.remove(&number);
        }
    }

    /// Lets sinks show what changed now, as the end is near.
    pub(super) fn hurry_sights(&mut self) {
        self.sights.due_ns = self.sights.due_ns.map(|_| 0);
    }

    /// Whether a sink has not shown yet what it was told to.
    pub(super) fn sights_are_shown(&self) -> bool {
        self.sights.due_ns.is_none() && !self.a_sink_shows()
    }

    /// Whether a sink was told to show what there is, or will be, and has not said yet how that went.
    fn a_sink_shows(&self) -> bool {
        let waits = |(viewer, ..): &(Viewer, u64, Sight)| matches!(viewer, Viewer::Sink(_));
        self.sinks.iter().any(|sink| sink.refreshing) || self.sights.unsynced.iter().any(waits)
    }
}
