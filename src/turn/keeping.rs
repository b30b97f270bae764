//! What a sink took and may lose again, as carbon, which has points in memory before it stores them. It is kept, in the
//! journal as well, until the same collector has been there long enough after; one that was started anew gets it
//! again, unchanged, and so does any after a start of this daemon, which cannot know what happened meanwhile.

use std::sync::Arc;

use super::Core;
use super::phase::Phase;
use super::planned::Planned;
use super::reports::COUNT_BYTES;
use super::sinks::{SinkPlace, SinkRun};
use crate::note::{Level, Note};
use crate::record::Record;
use crate::record::state::{Kept, SinkState};
use crate::report::Report;

/// What was closed longer ago is not offered again on a mere suspicion: the finest storage may not reach back so
/// far, and the next coarser one would take it for all there is of its step. Six hours are the least in wide use.
const AGAIN_MS_MAX: u64 = 5 * 3_600_000;

/// While no report comes, so long after the last it is looked first whether a collector is still there, and then
/// after twice the time, again and again.
const LOOK_NS: u64 = 10_000_000_000;

/// When a sink that keeps something was seen to be there.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// When it took something new, or what it took in an earlier run.
    taken_ns: Option<u64>,
    /// When it was seen last.
    at_ns: u64,
    /// It is to be looked now: what it has been at since before tells nothing. To write shows it as well.
    pub(super) wanted: bool,
    /// Nothing of what is kept may be lost: with much of it, asking each time would take long.
    pub(super) sure: bool,
}

impl Core {
    /// At a start all that is kept may be lost; what cannot be offered again is not kept any longer.
    pub(super) fn take_up_kept(&mut self, place: &SinkPlace) {
        let keeps = place.keeps_ns > 0;
        let stored = self.kept(&place.place).take_while(|kept| !keeps || self.is_too_old(kept));
        if let Some(stored) = stored.map(|kept| kept.offer.last).last() {
            self.write(&Record::Delivered { place: &place.place, last: 0, stored });
            self.state.deliver(&place.place, 0, stored);
        }
    }

    /// A sink is not the one any more that took what is kept for it.
    pub(super) fn lost(&mut self, sink: usize) {
        let Some(run) = self.runs.get(sink) else { return };
        let place = run.place.place.clone();
        let old = |kept: &&Kept| kept.taken_ns.is_some() && self.is_too_old(kept);
        let too_old = self.kept(&place).take_while(old).map(|kept| kept.offer.last).last();
        if let Some(stored) = too_old {
            self.planned.push(Planned::Store { sink, stored });
        }
        let kept = self.state.kept_mut(&place).filter(|it| Some(it.offer.last) > too_old);
        let reports = kept.filter_map(|kept| kept.taken_ns.take()).count();
        if let Some(run) = self.runs.get_mut(sink) {
            run.seen.sure = false;
        }
        if reports > 0 {
            let text = format!(
                "{place}: it went away in between; the last reports are written again, {reports} of them"
            );
            self.notes.push(Note::new(Level::Info, text));
        }
    }

    /// A sink took again what it may have lost of these windows.
    pub(super) fn taken_again(&mut self, sink: usize, first: u64, last: u64) {
        let now_ns = self.now.boot_ns;
        self.succeed(sink, Phase::Idle);
        let Some(run) = self.runs.get_mut(sink) else { return };
        run.seen.taken_ns.get_or_insert(now_ns);
        run.seen.at_ns = now_ns;
        for kept in self.state.kept_mut(&run.place.place) {
            if first <= kept.offer.first && kept.offer.last <= last {
                kept.taken_ns = Some(now_ns);
            }
        }
    }

    /// A sink took what it was offered first, and it is kept as long as it may lose it and there is room.
    pub(super) fn taken(&mut self, sink: usize, last: u64) {
        self.succeed(sink, Phase::Acknowledging);
        let Some(run) = self.runs.get(sink) else { return };
        let Some(state) = self.state.sink(&run.place.place) else { return };
        let most = self.rules.owed_bytes_max / COUNT_BYTES / 2;
        let new = Kept::counts_of(self.owed(state).filter(|it| it.window.number <= last));
        let mut counts = self.kept_counts().saturating_add(new);
        let (mut stored, mut gives_way) = (self.stored(run), false);
        for kept in &state.kept {
            let is_stored = Some(kept.offer.last) <= stored;
            if !is_stored && counts <= most {
                break;
            }
            counts = counts.saturating_sub(kept.counts);
            stored = stored.max(Some(kept.offer.last));
            gives_way |= !is_stored;
        }
        if counts > most {
            (stored, gives_way) = (Some(last), true);
        }
        self.planned.push(Planned::Deliver { sink, last, stored: stored.unwrap_or(0) });
        if let Some(run) = self.runs.get_mut(sink) {
            let at_ns = self.now.boot_ns;
            (run.seen.taken_ns, run.seen.at_ns) = (Some(at_ns), at_ns);
        }
        if gives_way {
            self.say_what_gives_way(sink);
        }
    }

    /// It was looked whether a sink is still there; if not, it has said so.
    pub(super) fn looked(&mut self, sink: usize) {
        let Some(run) = self.runs.get(sink) else { return };
        let stored = self.stored(run);
        if let Some(stored) = stored {
            self.planned.push(Planned::Store { sink, stored });
        }
        let Some(run) = self.runs.get_mut(sink) else { return };
        run.seen.at_ns = self.now.boot_ns;
        run.phase = if stored.is_some() { Phase::Acknowledging } else { Phase::Idle };
    }

    /// When it is to be looked whether a sink is still there, as nothing else tells.
    pub(super) fn look_due_ns(&self, run: &SinkRun) -> Option<u64> {
        if run.place.keeps_ns == 0 || run.phase != Phase::Idle || !run.seen.sure {
            return None;
        }
        self.kept(&run.place.place).next()?;
        let Seen { taken_ns, at_ns, wanted, .. } = run.seen;
        let since_ns = at_ns.saturating_sub(taken_ns.unwrap_or(at_ns));
        let wait_ns = since_ns.max(LOOK_NS.min(run.place.keeps_ns));
        Some(if wanted { 0 } else { at_ns.saturating_add(wait_ns) })
    }

    /// Lets it be looked now whether sinks still have what they took.
    pub(super) fn look_now(&mut self) {
        for run in &mut self.runs {
            run.seen.wanted = true;
        }
    }

    /// Whether that is not known of a sink yet.
    pub(super) fn anyone_looks(&self) -> bool {
        let wanted = |run: &SinkRun| run.seen.wanted && self.look_due_ns(run).is_some();
        self.runs.iter().any(|run| run.phase == Phase::Looking || wanted(run))
    }

    /// What a sink may have lost, the oldest, as much as is handed over at a time.
    pub(super) fn may_be_lost(&self, run: &SinkRun, counts_max: usize) -> Vec<&Kept> {
        let mut counts = 0_usize;
        let fits = |kept: &&Kept| {
            let is_first = counts == 0;
            counts = counts.saturating_add(kept.counts);
            kept.taken_ns.is_none() && (is_first || counts <= counts_max)
        };
        let kept = self.kept(&run.place.place).skip_while(|kept| kept.taken_ns.is_some());
        kept.take_while(fits).collect()
    }

    /// The windows that a sink may have lost.
    pub(super) fn in_doubt<'a>(
        &self,
        sink: &'a SinkState,
    ) -> impl Iterator<Item = &'a Arc<Report>> + use<'a> {
        let kept = sink.kept.iter().filter(|kept| kept.taken_ns.is_none());
        kept.flat_map(|kept| &kept.reports)
    }

    /// How many windows are kept that a sink is thought to have.
    pub(super) fn kept_windows(&self, sink: &SinkState) -> u64 {
        let kept = sink.kept.iter().filter(|kept| kept.taken_ns.is_some());
        u64::try_from(kept.map(|kept| kept.reports.len()).sum::<usize>()).unwrap_or(u64::MAX)
    }

    /// What all that is kept takes, in counts.
    pub(super) fn kept_counts(&self) -> usize {
        let kept = self.state.sinks.iter().flat_map(|sink| &sink.kept);
        kept.fold(0, |counts, kept| counts.saturating_add(kept.counts))
    }

    fn kept(&self, place: &str) -> impl Iterator<Item = &Kept> {
        self.state.sink(place).into_iter().flat_map(|sink| &sink.kept)
    }

    /// Up to which window a sink that is still there has stored all.
    fn stored(&self, run: &SinkRun) -> Option<u64> {
        let is_stored = |kept: &&Kept| {
            let at_ns = kept.taken_ns.map(|taken_ns| taken_ns.saturating_add(run.place.keeps_ns));
            at_ns.is_some_and(|at_ns| at_ns <= self.now.boot_ns)
        };
        let stored = self.kept(&run.place.place).take_while(is_stored);
        stored.map(|kept| kept.offer.last).last()
    }

    fn is_too_old(&self, kept: &Kept) -> bool {
        let ended_ms = kept.reports.last().map_or(0, |report| report.window.end.wall_ms);
        ended_ms.saturating_add(AGAIN_MS_MAX) < self.now.wall_ms
    }

    fn say_what_gives_way(&mut self, sink: usize) {
        let Some(run) = self.runs.get_mut(sink) else { return };
        if !std::mem::replace(&mut run.gave_way, true) {
            let text = format!(
                "{}: what it may lose before it has stored it takes more than half of --owed-max; the \
                 oldest of it cannot be sent again",
                run.place.place
            );
            self.notes.push(Note::new(Level::Warning, text));
        }
    }
}
