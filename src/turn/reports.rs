//! Flushes: when the window closes, who waits for that, and which closed windows become one when too many are owed.
//! What a sink is handed is in `offering`, what it says in `sinks`, what the turn's second append has in `planned`.

use std::sync::Arc;
use std::time::Duration;

use super::phase::Phase;
use super::planned::Planned;
use super::refusal::{Reason, Refused};
use super::sinks::{SinkEvent, describe_debt};
use super::{Core, Peer, Reply, ms};
use crate::format::layout::Layout;
use crate::note::Note;
use crate::protocol::Response;
use crate::record::FilePlace;
use crate::report::Report;
use crate::window::{Moment, Window};

/// Requests to flush that wait for a sink at a time.
pub(super) const WAITERS_MAX: usize = 1_024;
/// Closed windows kept for sinks; past it, those never offered are merged.
pub(super) const WINDOWS_OWED_MAX: usize = 1_000;
/// Bytes that a count in a closed window takes, about, of
/// [`Rules::owed_bytes_max`](super::Rules::owed_bytes_max).
pub(super) const COUNT_BYTES: usize = 32;
/// How long a sink that failed, or a journal that did, is left alone.
pub const RETRY_NS: u64 = 1_000_000_000;

/// What the loop is to do after an advance.
#[derive(Debug)]
pub enum Action {
    /// Let a sink prepare these windows.
    Prepare {
        /// Which sink.
        sink: usize,
        /// How they read.
        layout: Layout,
        /// The windows, oldest first.
        reports: Vec<Arc<Report>>,
        /// Where in a file they were offered before.
        offered: Option<FilePlace>,
    },
    /// Let a sink prepare again what it took and may have lost, oldest first.
    Again {
        /// Which sink.
        sink: usize,
        /// How the windows read that were handed to it together, and the windows.
        offers: Vec<(Layout, Vec<Arc<Report>>)>,
    },
    /// Let a sink look whether it still has what it took.
    Look {
        /// Which sink.
        sink: usize,
    },
    /// Let a sink write what it has prepared, once the journal is synced.
    Write {
        /// Which sink.
        sink: usize,
    },
    /// Answer a request.
    Reply(Peer, Reply),
    /// Tell the operator.
    Note(Note),
    /// A window was closed. Its counts may still have to be put together.
    Flushed(Arc<Report>),
}

/// A client that waits until every sink has a window.
#[derive(Debug)]
pub(super) struct Waiter {
    pub(super) peer: Peer,
    /// `None` until the flush it asked for has closed one.
    window: Option<u64>,
    until_ns: u64,
    /// Answers to what was asked after it on the same connection: they go out after its own.
    pub(super) behind: Vec<Response<'static>>,
}

impl Waiter {
    fn answer(self, reply: Response<'static>, actions: &mut Vec<Action>) {
        let answers = std::iter::once(reply).chain(self.behind).map(Reply::Message);
        actions.extend(answers.map(|answer| Action::Reply(self.peer, answer)));
    }
}

impl Core {
    pub(super) fn wait_for_flush(&mut self, peer: Peer, timeout_ms: u64) -> Result<(), Refused> {
        if self.waiters.len() >= WAITERS_MAX {
            let message = format!("{WAITERS_MAX} others wait for a flush already; try again");
            return Err(Refused::new(Reason::Busy, message));
        }
        let timeout_ns = timeout_ms.saturating_mul(1_000_000);
        let until_ns = self.now.boot_ns.saturating_add(timeout_ns);
        self.waiters.push(Waiter { peer, window: None, until_ns, behind: Vec::new() });
        self.flush_wanted = true;
        self.hasten_sinks();
        self.look_now();
        Ok(())
    }

    /// Whether somebody waits for sinks to take a window that was closed.
    pub(super) fn somebody_waits_for_sinks(&self) -> bool {
        self.waiters.iter().any(|waiter| waiter.window.is_some())
    }

    /// Lets nobody wait for a flush longer than until then.
    pub fn hurry_waiters(&mut self, until_ns: u64) {
        for waiter in &mut self.waiters {
            waiter.until_ns = waiter.until_ns.min(until_ns);
        }
    }

    /// Whether the open window has something that is not flushed.
    pub fn has_unflushed(&self) -> bool {
        !self.state.window_is_empty()
    }

    /// When the open window was opened: at the last flush, also if that had nothing to report.
    pub fn window_start(&self) -> Moment {
        self.state.open.start
    }

    /// The end is near: sinks get all there is, at once, and those that failed are tried again.
    pub fn let_go(&mut self) {
        self.letting_go = true;
        self.hasten_sinks();
    }

    /// When the window is to be closed, if there is something in it then.
    pub fn flush_due_ns(&self) -> u64 {
        self.schedule.due_boot_ns()
    }

    /// A closed window whose counts are still to be put together, on any thread but the loop's.
    pub fn unsettled(&self) -> Option<Arc<Report>> {
        self.state.unsettled().cloned()
    }

    /// Asks for a flush at the next advance, due or not.
    pub fn flush_soon(&mut self) {
        self.flush_wanted = true;
    }

    /// When the loop has to come back though nothing happens, by `CLOCK_BOOTTIME`. What waits for the
    /// journal is not due before the journal is tried again.
    pub fn deadline_ns(&self) -> Option<u64> {
        let flush = (!self.state.window_is_empty() || self.rules.with_idle)
            .then(|| self.schedule.due_boot_ns());
        let asked = (self.flush_wanted || !self.planned.is_empty()).then_some(0);
        let retries = self.runs.iter().filter_map(|run| run.phase.retried_at_ns());
        let idle = self.runs.iter().filter(|run| run.phase == Phase::Idle);
        let spans = idle.filter_map(|run| run.held_until_ns);
        let looks = self.runs.iter().filter_map(|run| self.look_due_ns(run));
        let held = retries
            .chain(spans)
            .chain(looks)
            .chain(flush)
            .chain(asked)
            .min()
            .map(|at| at.max(self.hold_until_ns));
        let waiters = self.waiters.iter().map(|waiter| waiter.until_ns);
        let deleting = self.is_deleting().then_some(0);
        waiters.chain(held).chain(deleting).min()
    }

    /// Takes in what sinks say and closes the window if that is due or asked for. Returns the records to
    /// append; [`Core::advanced`] is called with how that went, also if there are none.
    pub fn advance(&mut self, now: Moment, events: impl Iterator<Item = SinkEvent>) -> &[u8] {
        self.now = now;
        self.records.clear();
        for event in events {
            self.hear(event);
        }
        if now.boot_ns < self.hold_until_ns {
            return &[];
        }
        self.close_empty();
        let has_something = !self.state.window_is_empty() || self.rules.with_idle;
        if has_something && (self.flush_wanted || self.schedule.is_due(now)) {
            self.plan_close();
        }
        self.plan_merge();
        let planned = std::mem::take(&mut self.planned);
        for plan in &planned {
            self.write_planned(plan);
        }
        self.planned = planned;
        &self.records
    }

    /// Concludes an advance whose records were appended, or were not for this reason. Then it is tried
    /// again a little later.
    pub fn advanced(&mut self, result: Result<(), &str>) -> Vec<Action> {
        let mut actions: Vec<Action> = self.notes.drain(..).map(Action::Note).collect();
        if self.now.boot_ns < self.hold_until_ns {
            self.answer_waiters(&mut actions);
            return actions;
        }
        if let Err(why) = result {
            self.hold_until_ns = self.now.boot_ns.saturating_add(RETRY_NS);
            self.last_append_error = Some(why.to_owned());
            self.planned
                .retain(|plan| !matches!(plan, Planned::Close { .. } | Planned::Merge { .. }));
            self.flush_wanted = false;
            self.refuse_flushes(why, &mut actions);
            return actions;
        }
        if !self.records.is_empty() {
            self.last_append_error = None;
        }
        for plan in std::mem::take(&mut self.planned) {
            self.do_planned(plan, &mut actions);
        }
        if self.flush_wanted || self.schedule.is_due(self.now) {
            self.flush_wanted = false;
            self.schedule.flushed(self.now);
            let last_closed = self.state.open.number.saturating_sub(1);
            for waiter in self.waiters.iter_mut().filter(|waiter| waiter.window.is_none()) {
                waiter.window = Some(last_closed);
            }
        }
        self.prepare_owed(&mut actions);
        self.answer_waiters(&mut actions);
        if let Some(since) = self.flushing_since_ns
            && !self.anything_is_due()
        {
            self.flushing_since_ns = None;
            self.last_flush_ms = Some(self.now.boot_ns.saturating_sub(since) / 1_000_000);
        }
        actions
    }

    /// An empty window closes arithmetically: without a number, and without anybody being told.
    pub(super) fn close_empty(&mut self) {
        if self.state.window_is_empty()
            && !self.rules.with_idle
            && let Some(start) = self.schedule.skip_empty(self.now)
        {
            self.state.move_start(start, self.boot);
            self.refusals.flushed();
        }
    }

    fn plan_close(&mut self) {
        let open = self.state.open;
        let window = Window {
            first: open.number,
            number: open.number,
            start: open.start,
            start_boot: open.start_boot,
            end: self.now,
            end_boot: self.boot,
        };
        self.planned.push(Planned::Close { window, with_idle: self.rules.with_idle });
    }

    /// Past the bound, the two oldest neighbours become one that no sink has been handed either of, and
    /// that every sink has or has not both of.
    fn plan_merge(&mut self) {
        if self.state.closed().len() < 2 {
            return;
        }
        let counts = self.state.closed_counts();
        let most = self.rules.owed_bytes_max / COUNT_BYTES;
        // What is kept has half the room, and is not gone through for less.
        let over = self.state.closed().len() > WINDOWS_OWED_MAX
            || counts > most / 2 && counts.saturating_add(self.kept_counts()) > most;
        // How many counts there are is not known before; the loop comes back once they are settled.
        if !over || self.state.unsettled().is_some() {
            return;
        }
        let mut handed = Vec::new();
        for run in &self.runs {
            let Some(sink) = self.state.sink(&run.place.place) else { continue };
            handed.push((sink.acknowledged, sink.acknowledged));
            let offered = sink.offered.as_ref().map(|offer| (offer.first, offer.last));
            for (first, last) in offered.into_iter().chain(run.phase.in_hand()) {
                handed.push((first.saturating_sub(1), last));
            }
        }
        let apart =
            |window: &Window| handed.iter().any(|&(from, to)| (from..=to).contains(&window.number));
        let windows: Vec<Window> = self.state.closed().map(|report| report.window).collect();
        let pair = windows.array_windows().find(|[earlier, _]| !apart(earlier));
        if let Some([earlier, later]) = pair {
            self.planned.push(Planned::Merge { first: earlier.first, last: later.number });
        }
    }

    /// Tells those whose flush has not closed a window that it will not; others only wait for sinks.
    fn refuse_flushes(&mut self, why: &str, actions: &mut Vec<Action>) {
        for waiter in std::mem::take(&mut self.waiters) {
            if waiter.window.is_some() {
                self.waiters.push(waiter);
                continue;
            }
            let refused = Refused::new(Reason::Disk, format!("not flushed: {why}"));
            let reply = self.refuse(refused);
            waiter.answer(reply, actions);
        }
    }

    fn answer_waiters(&mut self, actions: &mut Vec<Action>) {
        for waiter in std::mem::take(&mut self.waiters) {
            let late = self.now.boot_ns >= waiter.until_ns;
            let is_even = |&window: &u64| {
                self.debtors(window).next().is_none() && (late || !self.anyone_looks())
            };
            let even = waiter.window.filter(is_even);
            let reply = match (even, waiter.window) {
                (Some(window), _) => Response::Flushed { window },
                (None, Some(window)) if late => {
                    let debtors: Vec<String> = self.debtors(window).map(describe_debt).collect();
                    let message = format!("flushed, but not yet taken by {}", debtors.join(", "));
                    self.refuse(Refused::new(Reason::Sink, message))
                }
                (None, None) if late => {
                    let why =
                        self.last_append_error.as_deref().unwrap_or("the journal is waited for");
                    let message = format!("not flushed: {why}");
                    self.refuse(Refused::new(Reason::Disk, message))
                }
                (None, _) => {
                    self.waiters.push(waiter);
                    continue;
                }
            };
            waiter.answer(reply, actions);
        }
    }

    /// The flush interval, for messages.
    pub fn interval(&self) -> Duration {
        Duration::from_millis(ms(self.schedule.interval()))
    }
}
