//! What the journal restores: counters, the open window, closed windows that sinks are owed, sinks, and ids.
//! The running daemon and a replay change it through the same methods, so what is restored is what was. It
//! decides nothing: whether a change is allowed, and what of it is written down, is for those above.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use super::Offer;
use crate::counter::table::{Definition, Slot, Table, Values};
use crate::ids::{Answered, Ids};
use crate::report::{Count, Report};
use crate::window::{BootId, Moment, Window};

/// The window that is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpenWindow {
    /// The number it will have.
    pub number: u64,
    /// When it opened.
    pub start: Moment,
    /// In which boot.
    pub start_boot: BootId,
}

/// What a deleted counter had gained in the open window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retired {
    /// Its count.
    pub count: u64,
    /// Its total at removal.
    pub total: u64,
}

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
}

/// How to take one change back. Changes are taken back in reverse order.
#[derive(Debug)]
pub enum Undo {
    /// A counter was created.
    Defined(Slot),
    /// A counter's values changed; whether that made it one of the window's changed.
    Values(Slot, Values, bool),
    /// A counter was deleted; what had been retired under its name before.
    Deleted(Slot, Definition, Values, Option<Retired>),
    /// An id was remembered.
    Remembered,
    /// A request of this session was taken out of the spool.
    Taken(u128),
}

/// Everything that survives a restart.
#[derive(Debug)]
pub struct State {
    /// A random number that the files of this state share.
    pub id: u128,
    /// The counters.
    pub table: Table,
    /// The ids of increment requests.
    pub ids: Ids,
    /// The open window.
    pub open: OpenWindow,
    /// Sessions of requests that were taken out of the spool, and whose files may still be there.
    pub taken: BTreeSet<u128>,
    /// The sinks.
    pub sinks: Vec<SinkState>,
    /// The number the next counter gets.
    pub(super) next_counter: u64,
    /// Slots whose counters gained in the open window.
    pub(super) changed: Vec<Slot>,
    /// Slots emptied in the open window; free for others when it closes, so that none is in `changed` twice.
    emptied: Vec<Slot>,
    pub(super) retired: BTreeMap<Arc<str>, Retired>,
    /// Windows some sink has not acknowledged, oldest first.
    pub(super) closed: VecDeque<Arc<Report>>,
    counters_of: HashMap<u32, u32>,
}

impl State {
    /// A state with nothing in it, its first window opening now.
    pub fn new(id: u128, boot: BootId, now: Moment) -> State {
        State {
            id,
            table: Table::default(),
            ids: Ids::new(boot),
            open: OpenWindow { number: 1, start: now, start_boot: boot },
            taken: BTreeSet::new(),
            sinks: Vec::new(),
            next_counter: 1,
            changed: Vec::new(),
            emptied: Vec::new(),
            retired: BTreeMap::new(),
            closed: VecDeque::new(),
            counters_of: HashMap::new(),
        }
    }

    /// How many counters this uid has created.
    pub fn counters_of(&self, uid: u32) -> u32 {
        self.counters_of.get(&uid).copied().unwrap_or(0)
    }

    /// Whether the open window has nothing to report.
    pub fn window_is_empty(&self) -> bool {
        self.changed.is_empty() && self.retired.is_empty()
    }

    /// Windows that some sink has not acknowledged, oldest first.
    pub fn closed(&self) -> impl DoubleEndedIterator<Item = &Arc<Report>> + ExactSizeIterator {
        self.closed.iter()
    }

    /// Creates a counter with a total of 0; `None` if there is one of this name, no room, or no number left.
    pub fn define(&mut self, name: &str, creator: u32, created_ms: u64) -> Option<(Slot, Undo)> {
        self.next_counter.checked_add(1)?;
        let definition =
            Definition { id: self.next_counter, name: name.into(), creator, created_ms };
        let values = Values { last_seen_ms: created_ms, ..Values::default() };
        let slot = self.insert(definition, values)?;
        Some((slot, Undo::Defined(slot)))
    }

    /// Puts in a counter as it is.
    pub(super) fn insert(&mut self, definition: Definition, values: Values) -> Option<Slot> {
        let (id, creator) = (definition.id, definition.creator);
        let slot = self.table.insert(definition, values)?;
        self.next_counter = self.next_counter.max(id.saturating_add(1));
        let owned = self.counters_of.entry(creator).or_default();
        *owned = owned.saturating_add(1);
        if values.window == self.open.number {
            self.changed.push(slot);
        }
        Some(slot)
    }

    /// Sets a counter's total, seen at this moment.
    pub fn set_total(&mut self, slot: Slot, total: u64, wall_ms: u64) -> Option<Undo> {
        let (_, &was) = self.table.get(slot)?;
        let mut values = Values { total, last_seen_ms: wall_ms, ..was };
        let first = was.window != self.open.number && total != was.total;
        if first {
            values.base = was.total;
            values.window = self.open.number;
            self.changed.push(slot);
        }
        self.table.set(slot, values);
        Some(Undo::Values(slot, was, first))
    }

    /// Forgets a counter; what it gained in the open window is still reported.
    pub fn delete(&mut self, slot: Slot) -> Option<Undo> {
        let (definition, values) = self.table.remove(slot)?;
        self.emptied.push(slot);
        self.disown(definition.creator);
        let name = Arc::clone(&definition.name);
        let before = self.retired.get(&name).copied();
        let earlier = before.map_or(0, |retired| retired.count);
        // Only a name deleted and made again near the end of u64 could get past it.
        let count = values.count(self.open.number).saturating_add(earlier);
        if count > 0 {
            self.retired.insert(name, Retired { count, total: values.total });
        }
        Some(Undo::Deleted(slot, definition, values, before))
    }

    /// Remembers an answered id.
    pub fn remember(&mut self, answered: Answered, at_boot_ns: u64) -> Undo {
        self.ids.remember(answered, at_boot_ns);
        Undo::Remembered
    }

    /// Notes that a request of this session was taken out of the spool.
    pub fn take(&mut self, session: u128) -> Undo {
        self.taken.insert(session);
        Undo::Taken(session)
    }

    /// Forgets a session whose file is gone for good.
    pub fn release(&mut self, session: u128) {
        self.taken.remove(&session);
    }

    /// Lets the open window, which is empty, start here instead.
    pub fn move_start(&mut self, start: Moment, boot: BootId) {
        self.open = OpenWindow { start, start_boot: boot, ..self.open };
    }

    /// Takes back a change: the last that was not taken back yet.
    pub fn undo(&mut self, undo: Undo) {
        match undo {
            Undo::Defined(slot) => {
                if let Some((definition, _)) = self.table.remove(slot) {
                    self.next_counter = definition.id;
                    self.disown(definition.creator);
                    self.table.release(slot);
                }
            }
            Undo::Values(slot, values, first) => {
                self.table.set(slot, values);
                if first {
                    self.changed.pop();
                }
            }
            Undo::Deleted(slot, definition, values, before) => {
                match before {
                    Some(before) => self.retired.insert(Arc::clone(&definition.name), before),
                    None => self.retired.remove(&definition.name),
                };
                let owned = self.counters_of.entry(definition.creator).or_default();
                *owned = owned.saturating_add(1);
                self.table.restore(slot, definition, values);
                self.emptied.pop();
            }
            Undo::Remembered => self.ids.take_back(),
            Undo::Taken(session) => self.release(session),
        }
    }

    /// Closes the open window and opens the next where it ends. The report is kept while a sink is owed it.
    pub fn close(&mut self, window: Window, with_idle: bool) -> Arc<Report> {
        let report = Arc::new(Report { window, counts: self.counts(with_idle) });
        self.changed.clear();
        self.retired.clear();
        for slot in self.emptied.drain(..) {
            self.table.release(slot);
        }
        self.open = OpenWindow {
            number: window.number.saturating_add(1),
            start: window.end,
            start_boot: window.end_boot,
        };
        if !self.sinks.is_empty() {
            self.closed.push_back(Arc::clone(&report));
        }
        report
    }

    /// What each name gained in the open window.
    fn counts(&mut self, with_idle: bool) -> Vec<Count> {
        let mut retired = std::mem::take(&mut self.retired);
        let number = self.open.number;
        let mut count = |definition: &Definition, values: &Values| {
            let name = Arc::clone(&definition.name);
            let before =
                if retired.is_empty() { 0 } else { retired.remove(&name).map_or(0, |r| r.count) };
            let count = values.count(number).saturating_add(before);
            Count { name, count, total: values.total }
        };
        let mut counts: Vec<Count> = if with_idle {
            self.table.columns().iter().map(|(_, d, v)| count(d, v)).collect()
        } else {
            let live = self.changed.iter().filter_map(|&slot| self.table.get(slot));
            live.map(|(d, v)| count(d, v)).collect()
        };
        counts.extend(retired.into_iter().map(|(name, retired)| {
            let made_again = self.table.find(&name).and_then(|slot| self.table.get(slot));
            let total = made_again.map_or(retired.total, |(_, values)| values.total);
            Count { name, count: retired.count, total }
        }));
        counts
    }

    /// Makes the closed windows from `first` to `last` one.
    pub fn merge(&mut self, first: u64, last: u64) {
        let inside =
            |report: &Arc<Report>| report.window.first >= first && report.window.number <= last;
        let Some(at) = self.closed.iter().position(inside) else { return };
        let (mut merged, mut rest) = (None::<Report>, VecDeque::new());
        for report in self.closed.drain(..) {
            if inside(&report) {
                merged = Some(match merged {
                    Some(earlier) => earlier.merged_with(&report),
                    None => Arc::unwrap_or_clone(report),
                });
            } else {
                rest.push_back(report);
            }
        }
        if let Some(merged) = merged {
            rest.insert(at, Arc::new(merged));
        }
        self.closed = rest;
    }

    /// Adds a sink that has all windows up to `acknowledged`.
    pub fn add_sink(&mut self, place: &str, acknowledged: u64) {
        self.sinks.retain(|sink| sink.place != place);
        self.sinks.push(SinkState {
            place: place.into(),
            acknowledged,
            offered: None,
            reached: None,
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

    /// Notes what was offered to a sink.
    pub fn offer(&mut self, place: &str, offer: Offer) {
        if let Some(sink) = self.sinks.iter_mut().find(|sink| sink.place == place) {
            sink.offered = Some(offer);
        }
    }

    /// Notes up to which timestamp a sink was offered windows.
    pub fn reach(&mut self, place: &str, second: u64) {
        if let Some(sink) = self.sinks.iter_mut().find(|sink| sink.place == place) {
            sink.reached = Some(second);
        }
    }

    /// Notes that a sink has all windows up to `last`.
    pub fn acknowledge(&mut self, place: &str, last: u64) {
        if let Some(sink) = self.sinks.iter_mut().find(|sink| sink.place == place) {
            sink.acknowledged = sink.acknowledged.max(last);
            sink.offered = None;
        }
        self.forget_acknowledged();
    }

    fn forget_acknowledged(&mut self) {
        let all_have = self.sinks.iter().map(|sink| sink.acknowledged).min().unwrap_or(u64::MAX);
        while self.closed.front().is_some_and(|report| report.window.number <= all_have) {
            self.closed.pop_front();
        }
    }

    fn disown(&mut self, creator: u32) {
        if let Some(owned) = self.counters_of.get_mut(&creator) {
            *owned = owned.saturating_sub(1);
            if *owned == 0 {
                self.counters_of.remove(&creator);
            }
        }
    }
}
