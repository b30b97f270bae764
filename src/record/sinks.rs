//! What a state knows of its sinks: how far each is, what it was offered, and what it took and may lose again. It
//! decides nothing, as all of the state.

use std::collections::VecDeque;
use std::sync::Arc;

use super::Offer;
use super::state::State;
use crate::report::Report;

/// What a kept window takes beside its counts, in counts.
const WINDOW_COUNTS: usize = 8;

/// How far a sink is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SinkState {
    /// Where its reports go: `stdout`, `file:PATH`.
    pub place: String,
    /// The last window it has acknowledged.
    pub acknowledged: u64,
    /// What was handed to it and is not acknowledged.
    pub offered: Option<Offer>,
    /// The last timestamp it was offered, in seconds, if that matters to it.
    pub reached: Option<u64>,
    /// What it acknowledged and may lose, oldest first.
    pub kept: VecDeque<Kept>,
}

/// What a sink took and may lose: then it is offered again, unchanged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// What it was offered.
    pub offer: Offer,
    /// The windows of that, as they were: elsewhere they may be merged meanwhile.
    pub reports: Vec<Arc<Report>>,
    /// What it takes the memory of, in counts.
    pub counts: usize,
    /// When this daemon saw it taken, by `CLOCK_BOOTTIME`; without, it may be lost.
    pub taken_ns: Option<u64>,
}

impl Kept {
    fn new(offer: Offer, reports: Vec<Arc<Report>>) -> Option<Kept> {
        let counts = Kept::counts_of(reports.iter());
        (!reports.is_empty()).then_some(Kept { offer, reports, counts, taken_ns: None })
    }

    /// What these take the memory of when they are kept, in counts.
    pub fn counts_of<'a>(reports: impl Iterator<Item = &'a Arc<Report>>) -> usize {
        let counts = reports.map(|it| it.counts_at_most().saturating_add(WINDOW_COUNTS));
        counts.fold(0, usize::saturating_add)
    }
}

impl State {
    /// Adds a sink that has all windows up to `acknowledged`.
    pub fn add_sink(&mut self, place: &str, acknowledged: u64) {
        self.sinks.retain(|sink| sink.place != place);
        self.sinks.push(SinkState {
            place: place.into(),
            acknowledged,
            offered: None,
            reached: None,
            kept: VecDeque::new(),
        });
    }

    /// Forgets a sink and what it was owed.
    pub fn remove_sink(&mut self, place: &str) {
        self.sinks.retain(|sink| sink.place != place);
        self.forget_acknowledged();
    }

    /// The sink of this place.
    pub fn sink(&self, place: &str) -> Option<&SinkState> {
        self.sinks.iter().find(|sink| sink.place == place)
    }

    fn sink_mut(&mut self, place: &str) -> Option<&mut SinkState> {
        self.sinks.iter_mut().find(|sink| sink.place == place)
    }

    /// Notes what was offered to a sink.
    pub fn offer(&mut self, place: &str, offer: Offer) {
        if let Some(sink) = self.sink_mut(place) {
            sink.offered = Some(offer);
        }
    }

    /// Notes up to which timestamp a sink was offered windows.
    pub fn reach(&mut self, place: &str, second: u64) {
        if let Some(sink) = self.sink_mut(place) {
            sink.reached = Some(second);
        }
    }

    /// Notes that a sink has all windows up to `last`.
    pub fn acknowledge(&mut self, place: &str, last: u64) {
        if let Some(sink) = self.sink_mut(place) {
            sink.acknowledged = sink.acknowledged.max(last);
            sink.offered = None;
        }
        self.forget_acknowledged();
    }

    /// Notes that a sink took what it was offered and may lose it, but nothing up to `stored`.
    pub fn deliver(&mut self, place: &str, last: u64, stored: u64) {
        let Some(sink) = self.sinks.iter_mut().find(|sink| sink.place == place) else { return };
        if let Some(offer) = sink.offered.take_if(|offer| offer.last <= last) {
            let numbers = sink.acknowledged.saturating_add(1)..=offer.last;
            let taken = self.closed.iter().filter(|it| numbers.contains(&it.window.number));
            let reports = taken.cloned().collect();
            sink.kept.extend(Kept::new(offer, reports));
        }
        // As with those that are owed: what is frozen grows.
        if let Some(earlier) = sink.kept.iter().nth_back(2) {
            earlier.reports.iter().for_each(|report| _ = report.counts());
        }
        sink.acknowledged = sink.acknowledged.max(last);
        while sink.kept.front().is_some_and(|kept| kept.offer.last <= stored) {
            sink.kept.pop_front();
        }
        self.forget_acknowledged();
    }

    /// Takes the last so many closed windows as those of an offer that is kept; `false` if there are not as many.
    pub(super) fn keep(&mut self, place: &str, offer: Offer, windows: u64) -> bool {
        let closed = self.closed.len();
        let from = usize::try_from(windows).ok().and_then(|windows| closed.checked_sub(windows));
        let Some(from) = from else { return false };
        let kept = Kept::new(offer, self.closed.drain(from..).collect());
        if let Some(sink) = self.sink_mut(place) {
            sink.kept.extend(kept);
        }
        true
    }

    /// What a sink took and may lose.
    pub fn kept_mut(&mut self, place: &str) -> impl Iterator<Item = &mut Kept> {
        self.sink_mut(place).into_iter().flat_map(|sink| &mut sink.kept)
    }

    fn forget_acknowledged(&mut self) {
        let all_have = self.sinks.iter().map(|sink| sink.acknowledged).min().unwrap_or(u64::MAX);
        while self.closed.front().is_some_and(|report| report.window.number <= all_have) {
            self.closed.pop_front();
        }
    }
}
