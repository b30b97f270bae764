//! Work that may block (syncing the journal, writing a checkpoint, writing to a sink, looking into the spool)
//! or takes long (putting a large report together) is done by workers: the loop only submits it, and later
//! hears how it went. A worker is a thread; a test can hand in others, and do
//! their jobs when it likes.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};

use super::scrape::Scraped;
use crate::journal::{CheckpointDone, SyncDone};
use crate::spool::{Cleared, Scan, ScanError};
use crate::turn::SinkEvent;

/// Jobs that may wait for a worker. A sink is told to prepare or to write, to open its output anew, and to show what is
/// there now.
pub const JOBS_MAX: usize = 3;

/// Something to be done once, somewhere else.
pub type Job = Box<dyn FnOnce() + Send>;

/// Does jobs, one after the other.
pub trait Worker: Send {
    /// Gives it a job. Returns whether it took it: it takes none over [`JOBS_MAX`].
    fn submit(&mut self, job: Job) -> bool;
}

impl fmt::Debug for dyn Worker + '_ {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Worker")
    }
}

/// Where workers come from.
pub trait Workers {
    /// Starts a worker. When it is dropped it ends as soon as it can; nobody waits for it.
    ///
    /// # Errors
    /// When none can be had.
    fn spawn(&mut self, name: &str) -> io::Result<Box<dyn Worker>>;
}

/// Workers that are threads.
#[derive(Debug)]
pub struct Threads;

impl Workers for Threads {
    fn spawn(&mut self, name: &str) -> io::Result<Box<dyn Worker>> {
        let (jobs, inbox) = sync_channel::<Job>(JOBS_MAX);
        let work = move || inbox.iter().for_each(|job| job());
        std::thread::Builder::new().name(name.into()).spawn(work)?;
        Ok(Box::new(Thread(jobs)))
    }
}

#[derive(Debug)]
struct Thread(SyncSender<Job>);

impl Worker for Thread {
    fn submit(&mut self, job: Job) -> bool {
        self.0.try_send(job).is_ok()
    }
}

/// Wakes the loop from another thread.
pub type Wake = Arc<dyn Fn() + Send + Sync>;

/// What workers tell the loop.
#[derive(Debug)]
pub(super) enum News {
    /// A sink has ended an order.
    Sink(SinkEvent),
    /// A sink has shown what there is without a report, or why it has not.
    Refreshed(usize, Result<(), String>),
    /// The journal is synced up to a position, or that failed.
    Synced(io::Result<SyncDone>),
    /// A checkpoint is in place, or could not be written.
    Checkpointed(io::Result<CheckpointDone>),
    /// The counts of a report are put together.
    Settled,
    /// The spool was looked through.
    Spooled(Result<Scan, ScanError>),
    /// Files that were counted are removed.
    SpoolCleared(Cleared),
    /// The server of scrapes with this number is to be shown the counters.
    Look(usize),
    /// A scrape was answered.
    Scraped(Scraped),
}

/// Where workers leave their news.
#[derive(Clone)]
pub(super) struct Mailbox {
    news: Sender<News>,
    wake: Wake,
}

impl fmt::Debug for Mailbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Mailbox")
    }
}

impl Mailbox {
    pub(super) fn new(wake: Wake) -> (Mailbox, Receiver<News>) {
        let (news, inbox) = channel();
        (Mailbox { news, wake }, inbox)
    }

    /// Leaves news and wakes the loop. If the loop is gone, so is whom it would concern.
    pub(super) fn leave(&self, news: News) {
        if self.news.send(news).is_ok() {
            (self.wake)();
        }
    }
}

/// A worker with one job at a time, which ends in news.
#[derive(Debug)]
pub(super) struct Errands {
    worker: Box<dyn Worker>,
    mailbox: Mailbox,
    busy: bool,
}

impl Errands {
    pub(super) fn new(worker: Box<dyn Worker>, mailbox: Mailbox) -> Errands {
        Errands { worker, mailbox, busy: false }
    }

    /// Whether it has a job that it has not reported on.
    pub(super) fn is_busy(&self) -> bool {
        self.busy
    }

    /// Gives it a job. It must not be busy.
    pub(super) fn submit(&mut self, job: impl FnOnce() -> News + Send + 'static) {
        let mailbox = self.mailbox.clone();
        self.busy = self.worker.submit(Box::new(move || mailbox.leave(job())));
    }

    /// Notes that its job's news have been heard.
    pub(super) fn heard(&mut self) {
        self.busy = false;
    }
}
