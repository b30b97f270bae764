//! Sinks: where reports go. A sink can block (a pipe nobody reads, a full disk), so each has a thread of
//! its own behind a bounded hand-over, and holds up neither counting nor another sink. Which windows a sink
//! gets, and when, is decided in the turn; this only carries it out.

pub mod log_file;
pub mod stdout;

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use crate::format::ReportFormat;
use crate::record::FilePlace;
use crate::report::Report;
use crate::turn::{SinkEvent, SinkNews};

/// Orders that may wait for a sink: one to prepare or to write, and one to reopen.
const ORDERS_MAX: usize = 2;

/// Why a sink did not take a report.
#[derive(Debug)]
pub enum SinkError {
    /// Not now; nothing of it is in the output, or it goes on from there.
    Failed(String),
    /// Never again.
    Gone(String),
}

/// A place that takes reports.
pub trait Sink: Send + fmt::Debug {
    /// Renders these windows and finds where they go; writes nothing.
    ///
    /// # Errors
    /// [`SinkError`] when they could not be written now.
    fn prepare(
        &mut self,
        format: ReportFormat,
        reports: &[Arc<Report>],
    ) -> Result<Option<FilePlace>, SinkError>;

    /// Writes what was prepared last.
    ///
    /// # Errors
    /// [`SinkError`] when not all of it is written.
    fn write(&mut self) -> Result<(), SinkError>;

    /// Opens its output anew at the next report, if it has a name to open.
    fn reopen(&mut self) {}
}

/// What a sink's thread is told to do.
#[derive(Debug)]
enum Order {
    Prepare(ReportFormat, Vec<Arc<Report>>),
    Write,
    Reopen,
}

/// The thread of a sink. When it is dropped the thread ends as soon as it can; nobody waits for it.
#[derive(Debug)]
pub struct SinkThread {
    orders: SyncSender<Order>,
    /// An order to reopen waits: another would take the place of one that must not be lost.
    reopening: Arc<AtomicBool>,
}

impl SinkThread {
    /// Starts the thread of the sink with this number. `tell` is called on it with how each order ended.
    ///
    /// # Errors
    /// When no thread can be had.
    pub fn spawn(
        number: usize,
        sink: Box<dyn Sink>,
        tell: impl Fn(SinkEvent) + Send + 'static,
    ) -> io::Result<SinkThread> {
        let (orders, inbox) = sync_channel(ORDERS_MAX);
        let reopening = Arc::new(AtomicBool::new(false));
        let begun = Arc::clone(&reopening);
        let builder = std::thread::Builder::new().name(format!("sink-{number}"));
        let tell = move |news| tell(SinkEvent { sink: number, news });
        builder.spawn(move || work(sink, &inbox, &begun, tell))?;
        Ok(SinkThread { orders, reopening })
    }

    /// Lets it prepare these windows.
    pub fn prepare(&self, format: ReportFormat, reports: Vec<Arc<Report>>) {
        self.order(Order::Prepare(format, reports));
    }

    /// Lets it write what it prepared.
    pub fn write(&self) {
        self.order(Order::Write);
    }

    /// Lets it open its output anew.
    pub fn reopen(&self) {
        if !self.reopening.swap(true, Ordering::SeqCst) {
            self.order(Order::Reopen);
        }
    }

    /// The inbox has a place for each order there can be; a thread that is gone has told so.
    fn order(&self, order: Order) {
        let _ = self.orders.try_send(order);
    }
}

fn work(
    mut sink: Box<dyn Sink>,
    inbox: &Receiver<Order>,
    reopening: &AtomicBool,
    tell: impl Fn(SinkNews),
) {
    for order in inbox {
        let news = match order {
            Order::Prepare(format, reports) => {
                sink.prepare(format, &reports).map(SinkNews::Prepared)
            }
            Order::Write => sink.write().map(|()| SinkNews::Written),
            Order::Reopen => {
                reopening.store(false, Ordering::SeqCst);
                sink.reopen();
                continue;
            }
        };
        tell(news.unwrap_or_else(|error| match error {
            SinkError::Failed(why) => SinkNews::Failed(why),
            SinkError::Gone(why) => SinkNews::Gone(why),
        }));
    }
}

fn render(format: ReportFormat, reports: &[Arc<Report>], out: &mut Vec<u8>) {
    for report in reports {
        format.render(report, out);
    }
}
