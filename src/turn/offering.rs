//! What a sink is handed next: what it was offered before, unchanged, else the oldest windows it never was. One
//! that wants a report a span gets the windows of a span together, when no other can belong to it, or earlier
//! if somebody waits for them. A timestamp that matters is never in the future, where carbon drops it, and never one
//! that was used, where it would take the place of what is there.

use std::sync::Arc;

use super::Core;
use super::phase::Phase;
use super::reports::Action;
use super::sinks::SinkRun;
use crate::format::layout::Layout;
use crate::note::{Level, Note};
use crate::record::FilePlace;
use crate::record::state::{Kept, SinkState};
use crate::report::Report;

/// Counts handed to a sink at a time, unless one report has more: they are in memory as text.
pub(super) const COUNTS_OFFERED_MAX: usize = 1 << 20;
/// Timestamps that are further ahead of the clock are from a time when it was wrong, and are not waited for.
const AHEAD_MS_MAX: u64 = 60_000;

/// What there is to do about a sink.
enum Next {
    /// What it does now, or waits for.
    GoOn,
    /// Nothing: it has all.
    Rest,
    /// Nothing until then, by `CLOCK_BOOTTIME`: more may belong to what it gets.
    Hold(u64),
    Hand {
        layout: Box<Layout>,
        reports: Vec<Arc<Report>>,
        offered: Option<FilePlace>,
    },
    /// What it may have lost, with the range of its windows.
    Again {
        offers: Vec<(Layout, Vec<Arc<Report>>)>,
        first: u64,
        last: u64,
    },
    /// A look whether it is still there.
    Look,
}

impl Core {
    /// Hands each sink that has nothing to do what it is owed.
    pub(super) fn prepare_owed(&mut self, actions: &mut Vec<Action>) {
        for sink in 0..self.runs.len() {
            let next = self.next_for(sink);
            let Some(run) = self.runs.get_mut(sink) else { continue };
            let (phase, held) = match next {
                Next::GoOn => continue,
                Next::Rest => (Phase::Idle, None),
                Next::Hold(until_ns) => (Phase::Idle, Some(until_ns)),
                // What is held meanwhile stays so.
                Next::Again { offers, first, last } => {
                    actions.push(Action::Again { sink, offers });
                    run.phase = Phase::Preparing { first, last, again: true };
                    continue;
                }
                Next::Look => {
                    actions.push(Action::Look { sink });
                    run.phase = Phase::Looking;
                    run.seen.wanted = false;
                    continue;
                }
                Next::Hand { layout, reports, offered } => {
                    let (Some(first), Some(last)) = (reports.first(), reports.last()) else {
                        continue;
                    };
                    let (first, last) = (first.window.first, last.window.number);
                    let layout = *layout;
                    run.layout.clone_from(&layout);
                    actions.push(Action::Prepare { sink, layout, reports, offered });
                    (Phase::Preparing { first, last, again: false }, None)
                }
            };
            (run.phase, run.held_until_ns, run.held_in) = (phase, held, self.state.open.number);
        }
        actions.extend(self.notes.drain(..).map(Action::Note));
    }

    fn next_for(&mut self, sink: usize) -> Next {
        let hurried = self.letting_go || self.somebody_waits_for_sinks();
        let Some(run) = self.runs.get(sink) else { return Next::GoOn };
        let still_held = run.phase == Phase::Idle
            && run.held_until_ns.is_some_and(|until_ns| self.now.boot_ns < until_ns)
            && run.held_in == self.state.open.number;
        if !run.phase.is_free(self.now.boot_ns) {
            return Next::GoOn;
        }
        if !run.seen.sure
            && let Some(again) = self.next_again(run)
        {
            return again;
        }
        let Some(run) = self.runs.get_mut(sink) else { return Next::GoOn };
        run.seen.sure = true;
        let Some(run) = self.runs.get(sink) else { return Next::GoOn };
        let looks = self.look_due_ns(run).is_some_and(|due_ns| due_ns <= self.now.boot_ns);
        let next = match still_held && !hurried {
            true => Next::GoOn,
            false => self.next_new(sink, hurried),
        };
        // Who is handed something shows by that whether it is there.
        if looks && !matches!(next, Next::Hand { .. }) { Next::Look } else { next }
    }

    /// What a sink was not handed yet, or did not take.
    fn next_new(&mut self, sink: usize, hurried: bool) -> Next {
        let Some(run) = self.runs.get(sink) else { return Next::GoOn };
        let Some(state) = self.state.sink(&run.place.place) else { return Next::GoOn };
        let newest = self.state.closed().next_back().map_or(0, |report| report.window.number);
        if newest <= state.acknowledged {
            return Next::Rest;
        }
        let mut reports: Vec<Arc<Report>> = self.owed(state).cloned().collect();
        if let Some(offer) = &state.offered {
            let layout = offer.layout.parse().unwrap_or_else(|_| run.place.layout.clone());
            reports.retain(|report| report.window.number <= offer.last);
            return Next::hand(layout, reports, offer.file);
        }
        let (at_a_time, mut layout) = (run.place.at_a_time, run.place.layout.clone());
        if layout.spans.is_none() {
            reports.truncate(fitting(&reports).min(at_a_time));
            return Next::hand(layout, reports, None);
        }
        if layout.has_seconds() {
            let reached = state.reached;
            layout.after = reached.filter(|&second| !self.is_far_ahead(second, &layout));
            layout.until = Some(self.now.wall_ms / 1_000);
            if layout.after != reached {
                let place = &run.place.place;
                let text = format!(
                    "{place}: the clock was set back by more than a minute; timestamps begin anew"
                );
                self.notes.push(Note::new(Level::Warning, text));
            }
        }
        self.next_span(layout, reports, at_a_time, hurried)
    }

    /// What a sink may have lost, as much as is handed over at a time.
    fn next_again(&self, run: &SinkRun) -> Option<Next> {
        let offers = self.may_be_lost(run, COUNTS_OFFERED_MAX);
        let first = offers.iter().map(|kept| kept.offer.first).min()?;
        let last = offers.iter().map(|kept| kept.offer.last).max()?;
        let offers = offers.into_iter().map(|Kept { offer, reports, .. }| {
            let layout = offer.layout.parse().unwrap_or_else(|_| run.place.layout.clone());
            (layout, reports.clone())
        });
        Some(Next::Again { offers: offers.collect(), first, last })
    }

    /// The windows of the spans that can be handed over now.
    fn next_span(
        &self,
        layout: Layout,
        mut reports: Vec<Arc<Report>>,
        at_a_time: usize,
        hurried: bool,
    ) -> Next {
        let Some(spans) = layout.spans else { return Next::hand(layout, reports, None) };
        let groups = layout.groups(&reports);
        let (mut ready, mut windows) = (0_usize, 0_usize);
        for (at, group) in groups.iter().enumerate().take(at_a_time) {
            let is_last = at.saturating_add(1) == groups.len();
            let over_ms = match is_last && !hurried {
                true => spans.over_ms(group.span, self.state.open.start.wall_ms),
                false => 0,
            };
            let begun_ms = if layout.has_seconds() { spans.start_ms(group.span) } else { 0 };
            let wait_ms = over_ms.max(begun_ms).saturating_sub(self.now.wall_ms);
            if wait_ms > 0 {
                if ready == 0 {
                    let wait_ns = wait_ms.saturating_mul(1_000_000);
                    return Next::Hold(self.now.boot_ns.saturating_add(wait_ns));
                }
                break;
            }
            let with_this = windows.saturating_add(group.windows);
            if ready > 0 && with_this > fitting(&reports) {
                break;
            }
            ready = ready.saturating_add(1);
            windows = with_this;
        }
        reports.truncate(windows);
        Next::hand(layout, reports, None)
    }

    fn is_far_ahead(&self, second: u64, layout: &Layout) -> bool {
        let span_ms = layout.spans.map_or(0, |spans| spans.length_ms());
        let ahead_ms = second.saturating_mul(1_000).saturating_sub(self.now.wall_ms);
        ahead_ms > AHEAD_MS_MAX.max(span_ms.saturating_mul(2))
    }

    /// The last timestamp of these windows, if it matters.
    pub(super) fn last_second(&self, layout: &Layout, first: u64, last: u64) -> Option<u64> {
        let spans = layout.spans.filter(|_| layout.has_seconds())?;
        let range =
            |report: &&Arc<Report>| report.window.first >= first && report.window.number <= last;
        let reports: Vec<Arc<Report>> = self.state.closed().filter(range).cloned().collect();
        let group = layout.groups(&reports).pop()?;
        Some(spans.start_ms(group.span) / 1_000)
    }

    /// The windows that a sink has not acknowledged, oldest first.
    pub(super) fn owed<'a>(
        &'a self,
        sink: &SinkState,
    ) -> impl Iterator<Item = &'a Arc<Report>> + use<'a> {
        self.state.closed_after(sink.acknowledged)
    }
}

/// How many of these reports, from the first, can be handed over at a time; one always.
fn fitting(reports: &[Arc<Report>]) -> usize {
    let mut counts = 0_usize;
    let fits = |report: &&Arc<Report>| {
        counts = counts.saturating_add(report.counts_at_most());
        counts <= COUNTS_OFFERED_MAX
    };
    reports.iter().take_while(fits).count().max(1)
}

impl Next {
    fn hand(layout: Layout, reports: Vec<Arc<Report>>, offered: Option<FilePlace>) -> Next {
        if reports.is_empty() {
            Next::Rest
        } else {
            Next::Hand { layout: Box::new(layout), reports, offered }
        }
    }
}
