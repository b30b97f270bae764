//! Stopping in good order: nobody new, what was received is answered, the last window is flushed, sinks get
//! a while to take it, and the journal is folded. What a sink did not take is in the state and comes after
//! the next start. Who waits at a socket that was handed over is not accepted: they are for the next server.

use std::time::Duration;

use super::network::Backlog;
use super::sinks::SinkWorker;
use super::{Server, ServerError};
use crate::note::Level;

/// How long clients get to take their answers, in nanoseconds.
const CLIENTS_NS: u64 = 4_000_000_000;
/// How long sinks get after that, in nanoseconds; folding the journal comes on top.
const SINKS_NS: u64 = 4_000_000_000;
/// How long a flush that was asked for waits for its sinks at most.
const WAITERS_NS: u64 = 1_000_000_000;
/// Asked again within this, it is the same stop: what sends a signal to a process and to its group sends two.
const SAME_STOP_NS: u64 = 1_000_000_000;
/// How long a pass takes at most while it waits for them.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// A stop that has begun.
#[derive(Debug)]
pub(super) struct Stopping {
    since_ns: u64,
    /// How often it was asked for by then; once more, and it waits for nobody.
    asked: u32,
}

impl Server {
    /// Ends the server. Asked to stop a second time meanwhile, it waits for nobody.
    pub(super) fn stop(&mut self) -> Result<(), ServerError> {
        self.begin_stop();
        match self.network.stop_listening() {
            Backlog::Ours => self.connections.somebody_knocks(),
            Backlog::Left => self.connections.accept_nobody(),
        }
        self.answer_received()?;
        self.core.flush_soon();
        self.core.let_go();
        self.hurry_sights();
        self.turn(Some(Duration::ZERO))?;
        let until_ns = self.clock.now().boot_ns.saturating_add(SINKS_NS);
        while !(self.core.sinks_are_even() && self.sights_are_shown()) && self.is_patient(until_ns)
        {
            self.turn_soon()?;
        }
        self.journal.sync().map_err(ServerError::Journal)?;
        while self.folder.is_busy() && self.is_patient(until_ns) {
            self.turn(Some(LOOK_AGAIN))?;
        }
        if !self.folder.is_busy() {
            let now = self.clock.now();
            // A long journal takes a while, and the loop does not come round meanwhile.
            self.supervision.go_on(self.core.counters(), now.boot_ns);
            // If the disk did not let it, that was said, and all is in the journal.
            let _ = self.fold_now(now)?;
        }
        self.sinks.iter_mut().for_each(SinkWorker::finish);
        self.tell_of_all_flushes();
        self.say_what_is_left();
        Ok(())
    }

    /// Answers all who have connected, also those who still wait to be accepted unless they are left to the
    /// next server, as far as they take it.
    fn answer_received(&mut self) -> Result<(), ServerError> {
        let now_ns = self.clock.now().boot_ns;
        let until_ns = now_ns.saturating_add(CLIENTS_NS);
        // What they had sent is read before they are told to send no more.
        self.turn(Some(Duration::ZERO))?;
        while (self.connections.len() > 0 || self.connections.waiting) && self.is_patient(until_ns)
        {
            self.connections.shut_reading(&mut *self.network);
            self.core.hurry_waiters(now_ns.saturating_add(WAITERS_NS));
            self.turn_soon()?;
        }
        Ok(())
    }

    pub(super) fn begin_stop(&mut self) {
        self.stopping = Some(Stopping { since_ns: self.clock.now().boot_ns, asked: 0 });
        self.supervision.stopping();
        if let Some(spool) = &mut self.spool {
            spool.close();
        }
    }

    pub(super) fn is_patient(&mut self, until_ns: u64) -> bool {
        let (now_ns, asked) = (self.clock.now().boot_ns, self.stopper.times_asked());
        let asked_again = self.stopping.as_mut().is_some_and(|stopping| {
            if now_ns < stopping.since_ns.saturating_add(SAME_STOP_NS) {
                stopping.asked = asked;
            }
            asked > stopping.asked
        });
        !asked_again && now_ns < until_ns
    }

    fn say_what_is_left(&mut self) {
        let later = match self.state_folder {
            Some(_) => "it comes after the next start",
            None => "it is lost, as nothing is kept",
        };
        let unflushed =
            self.core.has_unflushed().then(|| "the last window is not flushed".to_owned());
        for problem in self.core.unpaid().into_iter().chain(unflushed) {
            (self.notice)(Level::Warning, &format!("{problem}; {later}"));
        }
    }

    /// One pass that comes back in time for another look at the clock and at who asked to stop.
    fn turn_soon(&mut self) -> Result<(), ServerError> {
        let timeout = self.timeout().unwrap_or(LOOK_AGAIN);
        self.turn(Some(timeout.min(LOOK_AGAIN)))
    }
}
