//! Keeping a supervisor informed, where there is one: when the server is ready, what it flushed, and that its
//! loop goes on. It is the loop itself that says so, at the end of its turns, so that one that hangs is
//! noticed. Without a supervisor all of this does nothing, and the loop wakes up for nothing.

use std::io;

use crate::format::summary;
use crate::report::Report;
use crate::system::supervisor::{Supervisor, Told};

/// The status is told again this long after the last time at the earliest, in nanoseconds.
const STATUS_NS: u64 = 5_000_000_000;

/// What a supervisor knows, and when it hears more.
#[derive(Debug)]
pub(super) struct Supervision {
    supervisor: Option<Box<dyn Supervisor>>,
    /// Time between two signs of life, in nanoseconds: half of what it waits for one.
    alive_ns: Option<u64>,
    next_alive_ns: u64,
    flushed: Option<String>,
    /// There is a flush that it was not told of.
    has_news: bool,
    status_after_ns: u64,
    /// It knows that the server stops, and is only told that it still goes on.
    stopping: bool,
    /// It did not take something that it should know.
    failed: Option<io::Error>,
}

impl Supervision {
    pub(super) fn new(supervisor: Option<Box<dyn Supervisor>>) -> Supervision {
        let watchdog = supervisor.as_ref().and_then(|supervisor| supervisor.watchdog());
        let half =
            |within: std::time::Duration| u64::try_from(within.as_nanos() / 2).unwrap_or(u64::MAX);
        Supervision {
            supervisor,
            alive_ns: watchdog.map(half),
            next_alive_ns: u64::MAX,
            flushed: None,
            has_news: false,
            status_after_ns: 0,
            stopping: false,
            failed: None,
        }
    }

    /// When the loop has to come back for it though nothing happens.
    pub(super) fn deadline_ns(&self) -> Option<u64> {
        let alive = self.alive_ns.map(|_| self.next_alive_ns);
        let status = (self.has_news && !self.stopping).then_some(self.status_after_ns);
        alive.into_iter().chain(status).min()
    }

    /// The server can be reached.
    pub(super) fn ready(&mut self, counters: usize, now_ns: u64) {
        self.tell_ready(counters);
        self.status_after_ns = now_ns.saturating_add(STATUS_NS);
        self.next_alive_ns = now_ns.saturating_add(self.alive_ns.unwrap_or(u64::MAX));
    }

    /// Log files are opened again from now on.
    pub(super) fn reloaded(&mut self, counters: usize) {
        if !self.stopping {
            self.tell(Told::Reloading);
            self.tell_ready(counters);
        }
    }

    /// Whether anybody wants to hear of flushes.
    pub(super) fn is_there(&self) -> bool {
        self.supervisor.is_some()
    }

    /// A window was closed.
    pub(super) fn flushed(&mut self, report: &Report) {
        if self.supervisor.is_some() {
            self.flushed = Some(summary::flushed_at(report));
            self.has_news = true;
        }
    }

    /// A stop has begun.
    pub(super) fn stopping(&mut self) {
        self.stopping = true;
        self.tell(Told::Stopping);
    }

    /// The loop has come round.
    pub(super) fn go_on(&mut self, counters: usize, now_ns: u64) {
        if let Some(every_ns) = self.alive_ns.filter(|_| now_ns >= self.next_alive_ns) {
            self.next_alive_ns = now_ns.saturating_add(every_ns);
            self.tell(Told::Alive);
        }
        if self.has_news && !self.stopping && now_ns >= self.status_after_ns {
            self.has_news = false;
            self.status_after_ns = now_ns.saturating_add(STATUS_NS);
            let status = summary::service(counters, self.flushed.as_deref());
            self.tell(Told::Status(&status));
        }
    }

    /// Why it could not be told something, once.
    pub(super) fn problem(&mut self) -> Option<io::Error> {
        self.failed.take()
    }

    fn tell_ready(&mut self, counters: usize) {
        if self.supervisor.is_some() {
            let status = summary::service(counters, self.flushed.as_deref());
            self.tell(Told::Ready(&status));
        }
    }

    fn tell(&mut self, what: Told<'_>) {
        let told = self.supervisor.as_mut().map(|supervisor| supervisor.tell(what));
        // What comes again can be missed.
        let matters = !matches!(what, Told::Alive | Told::Status(_));
        if let Some(Err(error)) = told.filter(|_| matters) {
            self.failed = Some(error);
        }
    }
}
