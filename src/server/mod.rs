//! The daemon around the core: one thread that reads, lets the core decide, appends to the journal, and only
//! then answers. Sockets, clock, disk and sinks are handed in; work that can block is done on other threads.

mod appending;
pub mod assemble;
mod connection;
mod connections;
mod crowd;
mod error;
pub mod network;
mod numbers;
pub mod scrape;
mod setup;
mod sights;
mod sinks;
pub mod spool;
mod status;
mod stop;
mod stopper;
mod supervision;
#[cfg(test)]
mod tests;
mod upkeep;
pub mod worker;

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::Duration;

use crate::journal::{Fsync, Journal};
use crate::note::Level;
use crate::protocol::Response;
use crate::report::Report;
use crate::system::clock::Clock;
use crate::system::disk::StateFolder;
use crate::turn::{Action, Core, Peer, Reply, SNAPSHOTS_MAX, SinkEvent, SinkNews, SinkPlace};
use crate::window::Moment;

use appending::Appending;
pub use connections::ConnectionLimits;
use connections::Connections;
pub use error::ServerError;
use network::{Network, Ready};
use scrape::Scrape;
pub use setup::{Notice, Setup, SinkSetup};
use sights::Sights;
use sinks::SinkWorker;
use spool::Spool;
use stop::Stopping;
pub use stopper::Stopper;
use supervision::Supervision;
use upkeep::is_full;
use worker::{Errands, Mailbox, News};

/// A daemon that is set up and runs.
pub struct Server {
    network: Box<dyn Network>,
    clock: Box<dyn Clock>,
    core: Core,
    journal: Journal,
    appending: Appending,
    fsync: Fsync,
    sinks: Vec<SinkWorker>,
    scrapes: Vec<Scrape>,
    connections: Connections,
    inbox: Receiver<News>,
    events: Vec<SinkEvent>,
    /// Sinks that may write when the journal is synced up to a position.
    unsynced_writes: Vec<(usize, u64)>,
    sights: Sights,
    syncer: Errands,
    folder: Errands,
    /// Puts large reports together.
    settler: Errands,
    /// Flushes that nobody was told of yet, because their counts are not put together.
    untold: VecDeque<Arc<Report>>,
    spool: Option<Spool>,
    last_sync_ns: u64,
    last_sync_ms: Option<u64>,
    /// After a failed fold, none is begun again before this moment.
    fold_after_ns: u64,
    fold_error: Option<String>,
    /// Syncs that the next fold has had so far.
    fold_syncs: u32,
    started: Moment,
    about: Vec<(String, crate::protocol::Value)>,
    stopper: Stopper,
    stopping: Option<Stopping>,
    /// Its lock is held as long as the server lives.
    state_folder: Option<StateFolder>,
    hangup_stops: bool,
    supervision: Supervision,
    tell_flushes: bool,
    notice: Notice,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("core", &self.core).finish_non_exhaustive()
    }
}

impl Server {
    /// Puts a server together and makes it ready: sinks are taken up, and a journal that was not folded at
    /// the last stop is folded now.
    ///
    /// # Errors
    /// [`ServerError`] when the journal fails or threads cannot be had.
    pub fn start(mut setup: Setup, stopper: Stopper) -> Result<Server, ServerError> {
        let now = setup.clock.now();
        let (mailbox, inbox) = Mailbox::new(setup.wake);
        let places: Vec<SinkPlace> = setup.sinks.iter().map(|sink| sink.place.clone()).collect();
        let (core, records, notes) =
            Core::start(setup.state, setup.rules, &places, setup.boot, now);
        let (mut sinks, workers) = (Vec::new(), &mut setup.workers);
        for (number, setup) in setup.sinks.into_iter().enumerate() {
            let worker = workers.spawn(&format!("sink-{number}")).map_err(ServerError::Thread)?;
            let place = setup.place.place;
            sinks.push(SinkWorker::new(number, place, setup.sink, worker, mailbox.clone()));
        }
        let mut scrapes = Vec::new();
        for (number, setup) in setup.scrapes.into_iter().enumerate() {
            let scrape = Scrape::start(number, setup, mailbox.clone());
            scrapes.push(scrape.map_err(ServerError::Thread)?);
        }
        let mut errands = |name| match workers.spawn(name) {
            Ok(worker) => Ok(Errands::new(worker, mailbox.clone())),
            Err(error) => Err(ServerError::Thread(error)),
        };
        let spool = match setup.spool {
            Some(setup) => Some(Spool::new(setup, errands("spool")?)),
            None => None,
        };
        let mut server = Server {
            network: setup.network,
            clock: setup.clock,
            core,
            journal: setup.journal,
            appending: Appending::new(setup.fsync),
            fsync: setup.fsync,
            sinks,
            scrapes,
            connections: Connections::new(setup.limits),
            inbox,
            events: Vec::new(),
            unsynced_writes: Vec::new(),
            sights: Sights::default(),
            syncer: errands("sync")?,
            folder: errands("checkpoint")?,
            settler: errands("reports")?,
            untold: VecDeque::new(),
            spool,
            last_sync_ns: now.boot_ns,
            last_sync_ms: None,
            fold_after_ns: 0,
            fold_error: None,
            fold_syncs: 0,
            started: now,
            about: setup.about,
            stopper,
            stopping: None,
            state_folder: setup.folder,
            hangup_stops: setup.hangup_stops,
            supervision: Supervision::new(setup.supervisor),
            tell_flushes: setup.tell_flushes,
            notice: setup.notice,
        };
        server.connections.numbers.in_window(server.core.window_start());
        for note in &notes {
            (server.notice)(note.level, &note.text);
        }
        match server.make_ready(&records, setup.fold_first, now) {
            Ok(()) => Ok(server),
            Err(error) => {
                server.network.stop_listening();
                Err(error)
            }
        }
    }

    /// Writes down that it starts, and syncs or folds all that is there.
    fn make_ready(&mut self, records: &[u8], fold: bool, now: Moment) -> Result<(), ServerError> {
        self.appending.append_first(&mut self.journal, records, now, &mut *self.notice)?;
        if fold {
            match self.fold_now(now)? {
                Ok(()) => {}
                // What is there was synced, and there will be room again.
                Err(error) if is_full(&error) => {}
                // Nobody knows what of the journal is on such a disk: an earlier sync may have failed.
                Err(error) => return Err(ServerError::Checkpoint(error)),
            }
        } else {
            self.journal.sync().map_err(ServerError::Journal)?;
        }
        self.last_sync_ms = Some(now.wall_ms);
        self.show_first(now);
        self.show_synced();
        Ok(())
    }

    /// How many counters there are.
    pub fn counters(&self) -> usize {
        self.core.counters()
    }

    /// Serves until it is stopped; then answers what was received, flushes, and folds the journal.
    ///
    /// # Errors
    /// [`ServerError`] when it cannot keep its promises any more. It then ends at once, so that no client
    /// is told what may not be true.
    pub fn run(mut self) -> Result<(), ServerError> {
        let now = self.clock.now();
        self.supervision.ready(self.core.counters(), now.boot_ns);
        self.say_if_supervisor_fails();
        while self.stopper.times_asked() == 0 {
            let timeout = self.timeout();
            self.turn(timeout)?;
        }
        self.stop()
    }

    /// How long the loop may sleep.
    fn timeout(&mut self) -> Option<Duration> {
        if self.connections.has_work() {
            return Some(Duration::ZERO);
        }
        let deadlines = [
            self.core.deadline_ns(),
            self.connections.timeout_deadline_ns(),
            self.connections.accept_deadline_ns(),
            self.sync_deadline_ns(),
            self.mark_deadline_ns(),
            self.fold_deadline_ns(),
            self.spool.as_ref().and_then(Spool::deadline_ns),
            self.sights_deadline_ns(),
            self.supervision.deadline_ns(),
        ];
        let next = deadlines.into_iter().flatten().min()?;
        let now = self.clock.now().boot_ns;
        // A poll waits whole milliseconds; rounded up, it does not come back too early.
        let wait_ms = next.saturating_sub(now).div_ceil(1_000_000);
        Some(Duration::from_millis(wait_ms))
    }

    /// One pass: wait, read all, decide, write down, answer.
    fn turn(&mut self, timeout: Option<Duration>) -> Result<(), ServerError> {
        self.wait(timeout)?;
        let arrived_ns = self.clock.now().boot_ns;
        self.connections.accept(&mut *self.network, arrived_ns);
        self.connections.read(&mut *self.network);
        let now = self.clock.now();
        let written = self.journal.position();
        self.answer_requests(now)?;
        self.connections.forget_taken(now.boot_ns);
        self.connections.time_out(&mut *self.network, now.boot_ns);
        self.advance(now)?;
        self.settle_reports();
        self.look_after_spool(now)?;
        self.refresh_if_due(now);
        if self.fsync == Fsync::Always && self.journal.position() > written {
            self.last_sync_ms = Some(now.wall_ms);
        }
        self.sync_if_due(now)?;
        self.mark_if_due(now)?;
        self.fold_if_due(now)?;
        self.connections.write(&mut *self.network, now.boot_ns);
        self.supervision.go_on(self.core.counters(), now.boot_ns);
        Ok(())
    }

    fn wait(&mut self, timeout: Option<Duration>) -> Result<(), ServerError> {
        let mut ready = Vec::new();
        self.network.wait(timeout, &mut ready).map_err(ServerError::Wait)?;
        for what in ready {
            match what {
                Ready::Listener => self.connections.somebody_knocks(),
                Ready::Readable(number) => self.connections.now_readable(number, false),
                Ready::Ending(number) => self.connections.now_readable(number, true),
                Ready::Writable(number) => self.connections.now_writable(number),
                Ready::Woken => self.hear()?,
                Ready::Spool => self.look_into_spool(),
                Ready::Hangup if self.hangup_stops => self.stopper.stop(),
                Ready::Hangup => self.reopen(),
            }
        }
        Ok(())
    }

    /// Lets sinks open their outputs anew at their next reports.
    fn reopen(&mut self) {
        self.sinks.iter_mut().for_each(SinkWorker::reopen);
        (self.notice)(Level::Info, "SIGHUP: log files are opened again with the next report");
        self.supervision.reloaded(self.core.counters());
        self.say_if_supervisor_fails();
    }

    fn say_if_supervisor_fails(&mut self) {
        if let Some(error) = self.supervision.problem() {
            let told = format!("nobody hears at NOTIFY_SOCKET: {error}");
            (self.notice)(Level::Warning, &told);
        }
    }

    fn note_failure(&mut self, sink: usize, why: &str) {
        let now_ms = self.clock.now().wall_ms;
        if let Some(sink) = self.sinks.get_mut(sink) {
            sink.failed(why, now_ms);
        }
    }

    /// Takes in what other threads tell.
    fn hear(&mut self) -> Result<(), ServerError> {
        while let Ok(news) = self.inbox.try_recv() {
            match news {
                News::Sink(event) => {
                    self.sights.heard(&event);
                    if let SinkNews::Failed(why) | SinkNews::Gone(why) = &event.news {
                        self.note_failure(event.sink, why);
                    }
                    self.events.push(event);
                }
                News::Synced(Ok(done)) => {
                    self.syncer.heard();
                    self.journal.synced_to(&done);
                    self.last_sync_ms = Some(self.clock.now().wall_ms);
                }
                News::Synced(Err(error)) => return Err(ServerError::Sync(error)),
                News::Checkpointed(Ok(done)) => {
                    self.folder.heard();
                    self.folded(&done);
                }
                News::Checkpointed(Err(error)) => {
                    self.folder.heard();
                    self.journal.checkpoint_failed();
                    self.fold_failed(&error.to_string());
                }
                News::Settled => self.settler.heard(),
                News::Spooled(scan) => self.hear_of_spool(|spool, now| spool.found(scan, now)),
                News::SpoolCleared(cleared) => {
                    self.hear_of_spool(|spool, now| spool.cleared(cleared, now));
                }
                News::Refreshed(sink, done) => self.hear_of_refresh(sink, done),
                News::Look(scrape) => self.look(scrape),
                News::Scraped(scraped) => self.hear_of_scrape(scraped),
            }
        }
        Ok(())
    }

    /// Steps the core through all requests that came in, appends once, and queues the answers.
    fn answer_requests(&mut self, now: Moment) -> Result<(), ServerError> {
        let mut found = Vec::new();
        let share = self.connections.share_of_requests();
        self.connections.each_active(|connection| {
            if connection.is_waiting() {
                return;
            }
            let peer = Peer { connection: connection.number, uid: connection.uid };
            while let Some(range) = connection.next_request(share) {
                found.push((peer, range));
            }
        });
        if found.is_empty() && !self.core.is_deleting() {
            return Ok(());
        }
        let snapshots_free = SNAPSHOTS_MAX.saturating_sub(self.connections.snapshots());
        let connections = &self.connections;
        let requests = found.into_iter().filter_map(|(peer, range)| {
            connections.get(peer.connection).map(|connection| (peer, connection.payload(range)))
        });
        let records = self.core.step(now, snapshots_free, requests);
        let changes = !records.is_empty();
        let result = self.appending.append(&mut self.journal, records, now, &mut *self.notice)?;
        let result = result.as_ref().map(|_| ()).map_err(String::as_str);
        let replies = self.core.committed(result);
        if changes {
            self.something_changed();
        }
        // An empty window ends without anything else to be seen of it.
        self.connections.numbers.in_window(self.core.window_start());
        for (peer, reply) in replies {
            self.reply(peer, reply, now);
        }
        Ok(())
    }

    /// Lets the core close windows and hear its sinks, appends, and does what comes of it.
    fn advance(&mut self, now: Moment) -> Result<(), ServerError> {
        let records = self.core.advance(now, self.events.drain(..));
        let result = self.appending.append(&mut self.journal, records, now, &mut *self.notice)?;
        let result = result.as_ref().map(|_| ()).map_err(String::as_str);
        for action in self.core.advanced(result) {
            match action {
                Action::Prepare { sink, layout, reports, offered } => {
                    let wants = self.sinks.get(sink).is_some_and(SinkWorker::wants_sights);
                    let sight = wants.then(|| self.sight(now));
                    if let Some(worker) = self.sinks.get_mut(sink) {
                        worker.prepare(layout, reports, offered, sight);
                    }
                }
                Action::Again { sink, offers } => {
                    if let Some(worker) = self.sinks.get_mut(sink) {
                        worker.prepare_again(offers);
                    }
                }
                Action::Look { sink } => {
                    if let Some(worker) = self.sinks.get_mut(sink) {
                        worker.look();
                    }
                }
                Action::Write { sink } => {
                    self.unsynced_writes.push((sink, self.journal.position()));
                }
                Action::Reply(peer, reply) => self.reply(peer, reply, now),
                Action::Note(note) => (self.notice)(note.level, &note.text),
                Action::Flushed(report) => {
                    self.sights.flushed();
                    if self.tell_flushes || self.supervision.is_there() {
                        self.untold.push_back(report);
                    }
                    self.connections.numbers.in_window(self.core.window_start());
                    self.look_into_spool();
                }
            }
        }
        Ok(())
    }

    fn reply(&mut self, peer: Peer, reply: Reply, now: Moment) {
        let status = match reply {
            Reply::Status => Some(self.status(now)),
            Reply::Message(_) | Reply::Snapshot(_) => None,
        };
        let Some(connection) = self.connections.get_mut(peer.connection) else { return };
        match (reply, status) {
            (Reply::Message(response), _) => connection.answer(&response),
            (Reply::Snapshot(snapshot), _) => connection.answer_with_snapshot(snapshot),
            (Reply::Status, Some(status)) => connection.answer(&Response::Status(status)),
            (Reply::Status, None) => {}
        }
        self.connections.activate(peer.connection);
    }
}
