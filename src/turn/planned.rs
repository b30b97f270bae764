//! What is planned for the turn's second append: its records, and what is done once they are in the journal.

use super::Core;
use super::phase::Phase;
use super::reports::Action;
use crate::note::{Level, Note};
use crate::record::{Offer, Record};
use crate::window::Window;

/// What will be done when its record is in the journal.
#[derive(Debug)]
pub(super) enum Planned {
    Close {
        window: Window,
        with_idle: bool,
    },
    /// `again` if it may be in the output already; `second` is its last timestamp, if that matters.
    Offer {
        sink: usize,
        offer: Offer,
        again: bool,
        second: Option<u64>,
    },
    /// What a sink took before is to be written again.
    Again {
        sink: usize,
        first: u64,
        last: u64,
    },
    Acknowledge {
        sink: usize,
        last: u64,
    },
    /// A sink took what it was offered, and is kept what it may lose: what comes after `stored`.
    Deliver {
        sink: usize,
        last: u64,
        stored: u64,
    },
    Store {
        sink: usize,
        stored: u64,
    },
    Remove {
        sink: usize,
        why: String,
    },
    Merge {
        first: u64,
        last: u64,
    },
}

impl Core {
    /// Writes down what is planned.
    pub(super) fn write_planned(&mut self, plan: &Planned) {
        let place = |core: &Core, sink: usize| {
            core.runs.get(sink).map(|run| run.place.place.clone()).unwrap_or_default()
        };
        match plan {
            Planned::Close { window, with_idle } => {
                self.write(&Record::Closed { window: *window, with_idle: *with_idle });
            }
            Planned::Offer { sink, offer, second, .. } => {
                let place = place(self, *sink);
                self.write(&Record::Offered { place: &place, offer: offer.clone() });
                if let &Some(second) = second {
                    self.write(&Record::SinkReached { place: &place, second });
                }
            }
            Planned::Acknowledge { sink, last } => {
                let place = place(self, *sink);
                self.write(&Record::Acknowledged { place: &place, last: *last });
            }
            Planned::Again { .. } => {}
            Planned::Deliver { sink, last, stored } => {
                let place = place(self, *sink);
                self.write(&Record::Delivered { place: &place, last: *last, stored: *stored });
            }
            Planned::Store { sink, stored } => {
                let place = place(self, *sink);
                self.write(&Record::Delivered { place: &place, last: 0, stored: *stored });
            }
            Planned::Remove { sink, .. } => {
                let place = place(self, *sink);
                self.write(&Record::SinkRemoved { place: &place });
            }
            Planned::Merge { first, last } => {
                self.write(&Record::Merged { first: *first, last: *last });
            }
        }
    }

    /// Does what is planned, now that its record is in the journal.
    pub(super) fn do_planned(&mut self, plan: Planned, actions: &mut Vec<Action>) {
        match plan {
            Planned::Close { window, with_idle } => {
                let report = self.state.close(window, with_idle);
                self.flushes = self.flushes.saturating_add(1);
                self.flushing_since_ns.get_or_insert(self.now.boot_ns);
                self.refusals.flushed();
                actions.push(Action::Flushed(report));
            }
            Planned::Offer { sink, offer, again, second } => {
                let Some(run) = self.runs.get_mut(sink) else { return };
                if again {
                    let (place, last) = (&run.place.place, offer.last);
                    let windows = match offer.first {
                        first if first == last => format!("window {last} was"),
                        first => format!("windows {first} to {last} were"),
                    };
                    let text = format!(
                        "{place}: {windows} on the way already and may be there: written again"
                    );
                    actions.push(Action::Note(Note::new(Level::Warning, text)));
                }
                let (first, last) = (offer.first, offer.last);
                run.phase = Phase::Writing { first, last, again: false };
                run.seen.wanted = false;
                self.state.offer(&run.place.place, offer);
                if let Some(second) = second {
                    self.state.reach(&run.place.place, second);
                }
                actions.push(Action::Write { sink });
            }
            Planned::Acknowledge { sink, last } => {
                let Some(run) = self.runs.get_mut(sink) else { return };
                run.phase = Phase::Idle;
                self.state.acknowledge(&run.place.place, last);
            }
            Planned::Again { sink, first, last } => {
                let Some(run) = self.runs.get_mut(sink) else { return };
                run.phase = Phase::Writing { first, last, again: true };
                run.seen.wanted = false;
                actions.push(Action::Write { sink });
            }
            Planned::Deliver { sink, last, stored } => {
                let Some(run) = self.runs.get_mut(sink) else { return };
                run.phase = Phase::Idle;
                self.state.deliver(&run.place.place, last, stored);
                let now_ns = self.now.boot_ns;
                let new =
                    self.state.kept_mut(&run.place.place).filter(|kept| kept.offer.last == last);
                new.for_each(|kept| kept.taken_ns = Some(now_ns));
            }
            Planned::Store { sink, stored } => {
                let Some(run) = self.runs.get_mut(sink) else { return };
                if run.phase == Phase::Acknowledging {
                    run.phase = Phase::Idle;
                }
                self.state.deliver(&run.place.place, 0, stored);
            }
            Planned::Remove { sink, why } => {
                let Some(run) = self.runs.get_mut(sink) else { return };
                run.phase = Phase::Gone;
                let text = format!("{}: {why}", run.place.place);
                actions.push(Action::Note(Note::new(Level::Warning, text)));
                self.state.remove_sink(&run.place.place);
            }
            Planned::Merge { first, last } => self.state.merge(first, last),
        }
    }
}
