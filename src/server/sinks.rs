//! Sinks beside the loop. A sink can block (a pipe nobody reads, a full disk), so each has a worker of its own
//! behind a bounded hand-over, and holds up neither counting nor another sink. Which windows a sink gets, and
//! when, is decided in the turn; this only carries the orders over.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::worker::{Mailbox, News, Worker};
use crate::format::layout::Layout;
use crate::record::FilePlace;
use crate::report::Report;
use crate::sink::{Sink, SinkError};
use crate::turn::{SinkEvent, SinkNews};

/// A sink with its worker.
#[derive(Debug)]
pub(super) struct SinkWorker {
    number: usize,
    /// Held by whatever job the worker does, and nobody else.
    sink: Arc<Mutex<Box<dyn Sink>>>,
    worker: Box<dyn Worker>,
    mailbox: Mailbox,
    /// An order to reopen waits: another would take the place of one that must not be lost.
    reopening: Arc<AtomicBool>,
}

impl SinkWorker {
    /// A sink that has this number among all sinks.
    pub(super) fn new(
        number: usize,
        sink: Box<dyn Sink>,
        worker: Box<dyn Worker>,
        mailbox: Mailbox,
    ) -> SinkWorker {
        let sink = Arc::new(Mutex::new(sink));
        SinkWorker { number, sink, worker, mailbox, reopening: Arc::default() }
    }

    /// Lets it prepare these windows, which were offered before at this place.
    pub(super) fn prepare(
        &mut self,
        layout: Layout,
        reports: Vec<Arc<Report>>,
        offered: Option<FilePlace>,
    ) {
        self.order(move |sink| sink.prepare(&layout, &reports, offered).map(SinkNews::Prepared));
    }

    /// Lets it write what it prepared.
    pub(super) fn write(&mut self) {
        self.order(|sink| sink.write().map(|()| SinkNews::Written));
    }

    /// Lets it open its output anew.
    pub(super) fn reopen(&mut self) {
        if self.reopening.swap(true, Ordering::SeqCst) {
            return;
        }
        let (sink, reopening) = (Arc::clone(&self.sink), Arc::clone(&self.reopening));
        self.worker.submit(Box::new(move || {
            reopening.store(false, Ordering::SeqCst);
            sink.lock().unwrap_or_else(PoisonError::into_inner).reopen();
        }));
    }

    /// The worker has a place for each order there can be; one that is gone has told so.
    fn order(
        &mut self,
        order: impl FnOnce(&mut dyn Sink) -> Result<SinkNews, SinkError> + Send + 'static,
    ) {
        let (number, sink, mailbox) = (self.number, Arc::clone(&self.sink), self.mailbox.clone());
        self.worker.submit(Box::new(move || {
            let mut sink = sink.lock().unwrap_or_else(PoisonError::into_inner);
            let done = order(&mut **sink);
            for line in sink.said() {
                let news = SinkNews::Said(line);
                mailbox.leave(News::Sink(SinkEvent { sink: number, news }));
            }
            drop(sink);
            let news = done.unwrap_or_else(|error| match error {
                SinkError::Failed(why) => SinkNews::Failed(why),
                SinkError::Gone(why) => SinkNews::Gone(why),
            });
            mailbox.leave(News::Sink(SinkEvent { sink: number, news }));
        }));
    }
}
