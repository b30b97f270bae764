//! Sinks beside the loop. A sink can block (a pipe nobody reads, a full disk), so each has a worker of its own
//! behind a bounded hand-over, and holds up neither counting nor another sink. Which windows a sink gets, and
//! when, is decided in the turn; this only carries the orders over.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::worker::{Mailbox, News, Worker};
use crate::format::layout::Layout;
use crate::format::prometheus::view::Sight;
use crate::protocol::Value;
use crate::record::FilePlace;
use crate::report::Report;
use crate::sink::{Sink, SinkError};
use crate::turn::{SinkEvent, SinkNews};

/// A sink with its worker.
#[derive(Debug)]
pub(super) struct SinkWorker {
    number: usize,
    /// What it is called.
    pub(super) place: String,
    /// Held by whatever job the worker does, and nobody else.
    sink: Arc<Mutex<Box<dyn Sink>>>,
    worker: Box<dyn Worker>,
    mailbox: Mailbox,
    /// An order to reopen waits: another would take the place of one that must not be lost.
    reopening: Arc<AtomicBool>,
    wants_sights: bool,
    shows_sights: bool,
    /// It was told to show what is there, and has not said yet how that went.
    pub(super) refreshing: bool,
    problem: Arc<Mutex<Option<String>>>,
    failure: Option<Failure>,
}

/// When and why a sink last failed, whatever it did since.
#[derive(Debug)]
struct Failure {
    at_ms: u64,
    why: String,
}

/// Adds to the facts of each sink when and why it last failed; the core tells why only until it works again.
pub(super) fn add_failures(sinks: &[SinkWorker], facts: &mut Vec<(String, Value)>) {
    for sink in sinks {
        let Some(Failure { at_ms, why }) = &sink.failure else { continue };
        let start = format!("sink_{}_", sink.number);
        let at = (format!("{start}last_failure"), Value::TimeMs(*at_ms));
        let why = (format!("{start}last_error"), Value::Text(why.clone()));
        facts.retain(|(key, _)| *key != why.0);
        let last = facts.iter().rposition(|(key, _)| key.starts_with(&start));
        let end = last.map_or(facts.len(), |last| last.saturating_add(1));
        facts.splice(end..end, [at, why]);
    }
}

impl SinkWorker {
    /// A sink that has this number among all sinks.
    pub(super) fn new(
        number: usize,
        place: String,
        sink: Box<dyn Sink>,
        worker: Box<dyn Worker>,
        mailbox: Mailbox,
    ) -> SinkWorker {
        let (wants_sights, shows_sights) = (sink.wants_sights(), sink.shows_sights());
        let sink = Arc::new(Mutex::new(sink));
        SinkWorker {
            number,
            place,
            sink,
            worker,
            mailbox,
            reopening: Arc::default(),
            wants_sights,
            shows_sights,
            refreshing: false,
            problem: Arc::default(),
            failure: None,
        }
    }

    /// Notes that it failed.
    pub(super) fn failed(&mut self, why: &str, now_ms: u64) {
        self.failure = Some(Failure { at_ms: now_ms, why: why.to_owned() });
    }

    /// Whether it is to be shown the counters with each report.
    pub(super) fn wants_sights(&self) -> bool {
        self.wants_sights
    }

    /// Whether it is to show them also when no report comes.
    pub(super) fn shows_sights(&self) -> bool {
        self.shows_sights
    }

    /// What is wrong with it though it takes reports.
    pub(super) fn problem(&self) -> Option<String> {
        lock(&self.problem).as_ref().map(|what| format!("sink {}: {what}", self.place))
    }

    /// Lets it prepare these windows, which were offered before at this place; with a sight if it wants one.
    pub(super) fn prepare(
        &mut self,
        layout: Layout,
        reports: Vec<Arc<Report>>,
        offered: Option<FilePlace>,
        sight: Option<Sight>,
    ) {
        self.order(move |sink| {
            if let Some(sight) = sight {
                sink.look(sight);
            }
            sink.prepare(&layout, &reports, offered).map(SinkNews::Prepared)
        });
    }

    /// Lets it prepare again what it was offered before.
    pub(super) fn prepare_again(&mut self, offers: Vec<(Layout, Vec<Arc<Report>>)>) {
        self.order(move |sink| sink.prepare_again(&offers).map(SinkNews::Prepared));
    }

    /// Lets it look whether it still has what it took.
    pub(super) fn look(&mut self) {
        self.order(|sink| {
            sink.check();
            Ok(SinkNews::Looked)
        });
    }

    /// Lets it show what is there now, without a report.
    pub(super) fn refresh(&mut self, sight: Sight) {
        self.refreshing = true;
        let number = self.number;
        self.job(move |sink| {
            sink.look(sight);
            let done = sink.write().map_err(|error| match error {
                SinkError::Failed(why) | SinkError::Gone(why) => why,
            });
            News::Refreshed(number, done)
        });
    }

    /// Lets it do what comes last, unless it is busy.
    pub(super) fn finish(&mut self) {
        if let Ok(mut sink) = self.sink.try_lock() {
            sink.finish();
        }
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
            lock(&sink).reopen();
        }));
    }

    /// The worker has a place for each order there can be; one that is gone has told so.
    fn order(
        &mut self,
        order: impl FnOnce(&mut dyn Sink) -> Result<SinkNews, SinkError> + Send + 'static,
    ) {
        let number = self.number;
        self.job(move |sink| {
            let news = order(sink).unwrap_or_else(|error| match error {
                SinkError::Failed(why) => SinkNews::Failed(why),
                SinkError::Gone(why) => SinkNews::Gone(why),
            });
            News::Sink(SinkEvent { sink: number, news })
        });
    }

    fn job(&mut self, job: impl FnOnce(&mut dyn Sink) -> News + Send + 'static) {
        let (number, mailbox) = (self.number, self.mailbox.clone());
        let (sink, problem) = (Arc::clone(&self.sink), Arc::clone(&self.problem));
        self.worker.submit(Box::new(move || {
            let mut sink = lock(&sink);
            let done = job(&mut **sink);
            for line in sink.said() {
                let news = SinkNews::Said(line);
                mailbox.leave(News::Sink(SinkEvent { sink: number, news }));
            }
            if sink.has_lost() {
                mailbox.leave(News::Sink(SinkEvent { sink: number, news: SinkNews::Lost }));
            }
            *lock(&problem) = sink.problem();
            drop(sink);
            mailbox.leave(done);
        }));
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
