//! Work that may take long (syncing the journal, writing a checkpoint) on threads of its own, so that the
//! loop only submits it and later hears how it went.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};

use mio::Waker;

use crate::journal::CheckpointDone;
use crate::turn::SinkEvent;

/// What other threads tell the loop.
#[derive(Debug)]
pub(super) enum News {
    /// A sink has ended an order.
    Sink(SinkEvent),
    /// The journal is synced up to this position, or that failed.
    Synced(io::Result<u64>),
    /// A checkpoint is in place, or could not be written.
    Checkpointed(io::Result<CheckpointDone>),
}

/// Where other threads leave their news.
#[derive(Debug, Clone)]
pub(super) struct Mailbox {
    news: Sender<News>,
    waker: Arc<Waker>,
}

impl Mailbox {
    pub(super) fn new(waker: Arc<Waker>) -> (Mailbox, Receiver<News>) {
        let (news, inbox) = channel();
        (Mailbox { news, waker }, inbox)
    }

    /// Leaves news and wakes the loop. If the loop is gone, so is whom it would concern.
    pub(super) fn leave(&self, news: News) {
        if self.news.send(news).is_ok() {
            let _ = self.waker.wake();
        }
    }
}

type Job = Box<dyn FnOnce() -> News + Send>;

/// A thread that does one job at a time.
#[derive(Debug)]
pub(super) struct Worker {
    jobs: SyncSender<Job>,
    busy: bool,
}

impl Worker {
    pub(super) fn spawn(name: &str, mailbox: Mailbox) -> io::Result<Worker> {
        let (jobs, inbox) = sync_channel::<Job>(1);
        std::thread::Builder::new().name(name.into()).spawn(move || {
            for job in inbox {
                mailbox.leave(job());
            }
        })?;
        Ok(Worker { jobs, busy: false })
    }

    /// Whether it has a job that it has not reported on.
    pub(super) fn is_busy(&self) -> bool {
        self.busy
    }

    /// Gives it a job. It must not be busy.
    pub(super) fn submit(&mut self, job: impl FnOnce() -> News + Send + 'static) {
        self.busy = self.jobs.try_send(Box::new(job)).is_ok();
    }

    /// Notes that its job's news have been heard.
    pub(super) fn heard(&mut self) {
        self.busy = false;
    }
}
