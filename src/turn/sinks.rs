//! Sinks as the core sees them: what each is doing, what it is owed, and what it says. A sink gets windows in
//! two steps: it prepares them, which touches no output, and writes them once the journal knows what it was
//! offered, so that after a crash a start can tell what may be there already. Nothing is written here.

use super::Core;
use super::keeping::Seen;
use super::phase::Phase;
use super::planned::Planned;
use super::reports::RETRY_NS;
use crate::format::ReportFormat;
use crate::format::layout::Layout;
use crate::note::{Level, Note};
use crate::protocol::Value;
use crate::record::state::SinkState;
use crate::record::{FilePlace, Offer, Record};

/// Reports handed to a sink at a time.
pub const REPORTS_OFFERED_MAX: usize = 64;

/// A sink that this daemon has: where reports go, and as what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SinkPlace {
    /// What names it in the state, whatever its options: `stdout`, or `file:` and the path.
    pub place: String,
    /// How reports read for it.
    pub layout: Layout,
    /// What it gets, in a word.
    pub speaks: &'static str,
    /// Reports handed to it at a time.
    pub at_a_time: usize,
    /// How long it is left alone at most after it failed; each time longer than before.
    pub pause_ns_max: u64,
    /// How long what it took is kept, as it may lose it; 0 if it does not.
    pub keeps_ns: u64,
}

impl SinkPlace {
    /// A sink on this machine, which is tried again every second, in this format.
    pub fn new(place: &str, format: ReportFormat) -> SinkPlace {
        SinkPlace {
            place: place.to_owned(),
            layout: Layout::of(format),
            speaks: format.name(),
            at_a_time: REPORTS_OFFERED_MAX,
            pause_ns_max: RETRY_NS,
            keeps_ns: 0,
        }
    }
}

/// What a sink says.
#[derive(Debug)]
pub struct SinkEvent {
    /// Which, in the order they were given at the start.
    pub sink: usize,
    /// What.
    pub news: SinkNews,
}

/// Windows that a sink has rendered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Prepared {
    /// They can be written, to something that has no places.
    Anywhere,
    /// They can be written, to something that is the same whether they are written once or more often.
    AnyTimes,
    /// They can be written, to a file, there; nothing of them was written before.
    At(FilePlace),
    /// They can be written, to a file, there; what became of an earlier offer cannot be told.
    InDoubt(FilePlace),
    /// They were written, whole, when they were offered before, or there is nothing to write.
    Already,
}

/// How an order to a sink ended.
#[derive(Debug)]
pub enum SinkNews {
    /// The windows are rendered.
    Prepared(Prepared),
    /// They are written.
    Written,
    /// They are not, and this is why; none of it is in the output.
    Failed(String),
    /// The sink will never take anything again.
    Gone(String),
    /// What it took before this order may be lost, whatever became of the order.
    Lost,
    /// It was looked whether it is still there.
    Looked,
    /// A line for the operator, whatever it does.
    Said(String),
}

/// How a sink is doing.
#[derive(Debug)]
pub(super) struct SinkRun {
    pub(super) place: SinkPlace,
    pub(super) phase: Phase,
    /// The layout of what is being prepared: the sink's own, or that of an offer of an earlier run.
    pub(super) layout: Layout,
    /// What it is owed is held back until then, as more may belong to it; while this window is open.
    pub(super) held_until_ns: Option<u64>,
    pub(super) held_in: u64,
    /// How often it failed since it last took something.
    failures: u32,
    /// What it is offered first was on its way when the last run ended.
    pub(super) repeats: bool,
    pub(super) seen: Seen,
    /// It was said that not all is kept that it may lose.
    pub(super) gave_way: bool,
    last_success_ms: Option<u64>,
    last_error: Option<String>,
}

impl Core {
    /// Compares the sinks of the state with those there are now: a new one starts now, one that is missing
    /// is forgotten, and its debt named.
    pub(super) fn take_up_sinks(&mut self, sinks: &[SinkPlace]) -> Vec<Note> {
        let mut notes = Vec::new();
        let known: Vec<SinkState> = self.state.sinks.clone();
        for old in known.iter().filter(|old| sinks.iter().all(|new| new.place != old.place)) {
            let place = old.place.as_str();
            match self.owed(old).count() {
                0 => {}
                windows => notes.push(Note::new(
                    Level::Warning,
                    format!(
                        "sink {place} is not configured any more: {windows} windows it was owed are dropped"
                    ),
                )),
            }
            self.write(&Record::SinkRemoved { place });
            self.state.remove_sink(place);
        }
        for new in sinks {
            let mut repeats = false;
            match known.iter().find(|old| old.place == new.place) {
                Some(old) => {
                    repeats = old.offered.is_some();
                    self.take_up_kept(new);
                    notes
                        .extend(self.state.sink(&new.place).and_then(|sink| unreadable(new, sink)));
                }
                None => {
                    let acknowledged = self.state.open.number.saturating_sub(1);
                    self.write(&Record::SinkAdded { place: &new.place, acknowledged });
                    self.state.add_sink(&new.place, acknowledged);
                }
            }
            self.runs.push(SinkRun {
                place: new.clone(),
                phase: Phase::Idle,
                layout: new.layout.clone(),
                held_until_ns: None,
                held_in: 0,
                failures: 0,
                repeats,
                seen: Seen::default(),
                gave_way: false,
                last_success_ms: None,
                last_error: None,
            });
        }
        notes
    }

    /// Whether every sink has acknowledged every closed window, or will take no more.
    pub fn sinks_are_even(&self) -> bool {
        self.debtors(u64::MAX).next().is_none()
    }

    /// What sinks are owed, in words.
    pub fn unpaid(&self) -> Vec<String> {
        self.debtors(u64::MAX)
            .map(|debt| format!("not yet taken by {}", describe_debt(debt)))
            .collect()
    }

    pub(super) fn hear(&mut self, event: SinkEvent) {
        let SinkEvent { sink, news } = event;
        let Some(run) = self.runs.get_mut(sink) else { return };
        match (news, run.phase) {
            (SinkNews::Prepared(Prepared::Already), Phase::Preparing { first, last, again }) => {
                if again {
                    self.taken_again(sink, first, last);
                } else {
                    self.acknowledge(sink, last);
                }
            }
            (SinkNews::Prepared(_), Phase::Preparing { first, last, again: true }) => {
                run.phase = Phase::Offering { first, last, again: true };
                self.planned.push(Planned::Again { sink, first, last });
            }
            (SinkNews::Prepared(prepared), Phase::Preparing { first, last, again: false }) => {
                self.prepared(sink, prepared, first, last);
            }
            (SinkNews::Said(line), _) => {
                let text = format!("{}: {line}", run.place.place);
                self.notes.push(Note::new(Level::Info, text));
            }
            (SinkNews::Written, Phase::Writing { first, last, again: true }) => {
                self.taken_again(sink, first, last);
            }
            (SinkNews::Written, Phase::Writing { last, again: false, .. }) => {
                match run.place.keeps_ns {
                    0 => self.acknowledge(sink, last),
                    _ => self.taken(sink, last),
                }
            }
            (SinkNews::Lost, _) => self.lost(sink),
            (SinkNews::Looked, Phase::Looking) => self.looked(sink),
            (SinkNews::Failed(why), Phase::Preparing { .. } | Phase::Writing { .. }) => {
                if run.last_error.is_none() {
                    let place = &run.place.place;
                    let text = format!("{place}: {why}; reports wait, and come once it works");
                    self.notes.push(Note::new(Level::Error, text));
                }
                run.last_error = Some(why);
                run.failures = run.failures.saturating_add(1);
                let pause_ns = run.pause_ns(self.state.id, self.now.boot_ns);
                run.phase = Phase::Failed { until_ns: self.now.boot_ns.saturating_add(pause_ns) };
            }
            (SinkNews::Gone(why), Phase::Preparing { .. } | Phase::Writing { .. }) => {
                run.phase = Phase::Leaving;
                self.planned.push(Planned::Remove { sink, why });
            }
            (
                SinkNews::Prepared(_)
                | SinkNews::Written
                | SinkNews::Looked
                | SinkNews::Failed(_)
                | SinkNews::Gone(_),
                _,
            ) => {}
        }
    }

    /// Plans to offer what a sink has prepared for the first time.
    fn prepared(&mut self, sink: usize, prepared: Prepared, first: u64, last: u64) {
        let Some(run) = self.runs.get_mut(sink) else { return };
        let (file, again) = match prepared {
            Prepared::Anywhere => (None, run.repeats),
            Prepared::AnyTimes | Prepared::Already => (None, false),
            Prepared::At(place) => (Some(place), false),
            Prepared::InDoubt(place) => (Some(place), true),
        };
        run.repeats = false;
        run.phase = Phase::Offering { first, last, again: false };
        let layout = run.layout.clone();
        let offer = Offer { first, last, layout: layout.to_string(), file };
        let second = self.last_second(&layout, first, last);
        self.planned.push(Planned::Offer { sink, offer, again, second });
    }

    /// Lets sinks that failed be tried again now.
    pub(super) fn hasten_sinks(&mut self) {
        for run in &mut self.runs {
            if let Phase::Failed { until_ns } = &mut run.phase {
                *until_ns = self.now.boot_ns.min(*until_ns);
            }
        }
    }

    /// Whether a sink has not acknowledged what it could have been handed by now.
    pub(super) fn anything_is_due(&self) -> bool {
        self.runs.iter().filter(|run| run.held_until_ns.is_none()).any(|run| {
            let sink = self.state.sink(&run.place.place);
            sink.is_some_and(|sink| self.in_doubt(sink).chain(self.owed(sink)).next().is_some())
        })
    }

    /// Notes that a sink has all windows up to this one.
    fn acknowledge(&mut self, sink: usize, last: u64) {
        self.succeed(sink, Phase::Acknowledging);
        self.planned.push(Planned::Acknowledge { sink, last });
    }

    /// Notes that a sink took something.
    pub(super) fn succeed(&mut self, sink: usize, phase: Phase) {
        let Some(run) = self.runs.get_mut(sink) else { return };
        run.repeats = false;
        run.phase = phase;
        run.failures = 0;
        run.last_success_ms = Some(self.now.wall_ms);
        if run.last_error.take().is_some() {
            let text = format!("{} takes reports again", run.place.place);
            self.notes.push(Note::new(Level::Notice, text));
        }
    }

    /// The sinks that have not acknowledged every window up to `window`, or may have lost one, with how many they
    /// are owed.
    pub(super) fn debtors(&self, window: u64) -> impl Iterator<Item = (&SinkRun, usize)> {
        self.runs.iter().filter_map(move |run| {
            let sink = self.state.sink(&run.place.place)?;
            let owed = self.in_doubt(sink).chain(self.owed(sink));
            let owed = owed.filter(|report| report.window.number <= window).count();
            (owed > 0).then_some((run, owed))
        })
    }

    pub(super) fn sink_problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        for run in &self.runs {
            // What it may have lost comes again at once, unless that fails.
            let owed = self.state.sink(&run.place.place).map_or(0, |sink| self.owed(sink).count());
            if owed > 1 && run.last_error.is_none() && run.held_until_ns.is_none() {
                problems.push(format!("sink {} is owed {owed} windows", run.place.place));
            }
        }
        for run in &self.runs {
            let place = &run.place.place;
            if run.phase == Phase::Gone {
                problems.push(format!("sink {place} is closed"));
            } else if let Some(error) = &run.last_error {
                problems.push(format!("sink {place} failed last time: {error}"));
            }
        }
        problems
    }

    pub(super) fn sink_facts(&self) -> Vec<(String, Value)> {
        let mut facts = Vec::new();
        for (number, run) in self.runs.iter().enumerate() {
            let sink = self.state.sink(&run.place.place);
            let (windows, counts) = sink.map_or((0, 0), |sink| {
                let owed = self.in_doubt(sink).chain(self.owed(sink));
                let sizes = owed.map(|report| report.counts_at_most());
                sizes.fold((0_u64, 0_u64), |(windows, counts), size| {
                    let size = u64::try_from(size).unwrap_or(u64::MAX);
                    (windows.saturating_add(1), counts.saturating_add(size))
                })
            });
            let mut fact = |key: &str, value| facts.push((format!("sink_{number}_{key}"), value));
            fact("place", Value::Text(run.place.place.clone()));
            fact("format", Value::Text(run.place.speaks.into()));
            fact("windows_owed", Value::Number(windows));
            fact("counts_owed", Value::Number(counts));
            if run.place.keeps_ns > 0 {
                let kept = sink.map_or(0, |sink| self.kept_windows(sink));
                fact("windows_kept", Value::Number(kept));
            }
            if let Some(at) = run.last_success_ms {
                fact("last_success", Value::TimeMs(at));
            }
            if let Some(error) = &run.last_error {
                fact("last_error", Value::Text(error.clone()));
            }
        }
        facts
    }
}

impl SinkRun {
    /// How long it is left alone after it failed: a second, then twice as long each time up to a bound, and
    /// from then on less by chance, so that many daemons do not come back at one moment.
    fn pause_ns(&self, state: u128, now_ns: u64) -> u64 {
        let doubled = self.failures.saturating_sub(1).min(30);
        let pause = RETRY_NS.saturating_mul(1 << doubled).min(self.place.pause_ns_max);
        if pause <= RETRY_NS {
            return pause;
        }
        let chance = [&state.to_le_bytes()[..], &now_ns.to_le_bytes(), self.place.place.as_bytes()];
        let chance = u64::from(crc32fast::hash(&chance.concat()));
        let half = pause / 2;
        half.saturating_add((half >> 16).saturating_mul(chance >> 16))
    }
}

/// What the operator is told if there are offers that only a newer version can repeat unchanged.
fn unreadable(place: &SinkPlace, sink: &SinkState) -> Option<Note> {
    let offers = sink.kept.iter().map(|kept| &kept.offer).chain(&sink.offered);
    let error = |offer: &Offer| Some((offer.layout.clone(), offer.layout.parse::<Layout>().err()?));
    let (layout, error) = offers.into_iter().find_map(error)?;
    let place = &place.place;
    let text = format!(
        "{place}: what it was offered reads {layout:?}, which only a newer countd knows ({error}); it is \
         written in the format that is set now"
    );
    Some(Note::new(Level::Warning, text))
}

pub(super) fn describe_debt((run, owed): (&SinkRun, usize)) -> String {
    let place = &run.place.place;
    let windows = if owed == 1 { "window" } else { "windows" };
    match &run.last_error {
        Some(error) => format!("{place} ({owed} {windows}: {error})"),
        None => format!("{place} ({owed} {windows})"),
    }
}
