//! What the journal restores: counters, the open window, closed windows that sinks are owed, sinks, and ids.
//! The running daemon and a replay change it through the same methods, so what is restored is what was. It
//! decides nothing: whether a change is allowed, and what of it is written down, is for those above.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use super::closed::Closed;
use super::closing::Closing;
use super::retired::AllRetired;
pub use super::retired::Retired;
pub use super::sinks::{Kept, SinkState};
use crate::counter::table::{Definition, Slot, Table, Values};
use crate::ids::{Answered, Ids};
use crate::report::Report;
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

/// How to take one change back. Changes are taken back in reverse order.
#[derive(Debug)]
pub enum Undo {
    /// A counter was created.
    Defined(Slot),
    /// A counter's values changed; whether that made it one of the window's changed.
    Values(Slot, Values, bool),
    /// A counter was deleted.
    Deleted(Box<Deleted>),
    /// An id was remembered.
    Remembered,
    /// A session of the spool is held.
    Held(u128),
}

/// A counter that was deleted, for the undo.
#[derive(Debug)]
pub struct Deleted {
    slot: Slot,
    id: u64,
    name: Box<str>,
    creator: u32,
    created_ms: u64,
    values: Values,
    /// What had been retired under its name before.
    before: Option<Retired>,
}

/// What an addition did.
#[derive(Debug)]
pub enum Added {
    /// The counter has this total now. How to take it back, unless the counter changed in this turn before.
    Total(u64, Option<Undo>),
    /// Nothing: its total, this one, would overflow.
    Overflow(u64),
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
    /// Sessions of requests out of the spool that were applied, and whose files may still be there.
    pub held: BTreeSet<u128>,
    /// The sinks.
    pub sinks: Vec<SinkState>,
    /// The number the next counter gets.
    pub(super) next_counter: u64,
    /// Slots whose counters gained in the open window, or were made again after they had been retired.
    pub(super) changed: Vec<Slot>,
    /// In which turn the counter in a slot changed last.
    marks: Vec<u32>,
    mark: u32,
    /// Slots emptied in the open window; free for others when it closes, so that none is in `changed` twice.
    emptied: Vec<Slot>,
    pub(super) retired: AllRetired,
    /// Windows some sink has not acknowledged, oldest first.
    pub(super) closed: Closed,
    counters_of: HashMap<u32, u32, foldhash::fast::RandomState>,
}

impl State {
    /// A state with nothing in it, its first window opening now.
    pub fn new(id: u128, boot: BootId, now: Moment) -> State {
        State {
            id,
            table: Table::default(),
            ids: Ids::new(boot),
            open: OpenWindow { number: 1, start: now, start_boot: boot },
            held: BTreeSet::new(),
            sinks: Vec::new(),
            next_counter: 1,
            changed: Vec::new(),
            marks: Vec::new(),
            mark: 1,
            emptied: Vec::new(),
            retired: AllRetired::default(),
            closed: Closed::default(),
            counters_of: HashMap::default(),
        }
    }

    /// How many counters this uid has created.
    pub fn counters_of(&self, uid: u32) -> u32 {
        self.counters_of.get(&uid).copied().unwrap_or(0)
    }

    /// The number the next counter gets.
    pub fn next_counter(&self) -> u64 {
        self.next_counter
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
        let definition = Definition { id: self.next_counter, name, creator, created_ms };
        let values = Values { last_seen_ms: created_ms, ..Values::default() };
        let slot = self.insert(definition, values)?;
        Some((slot, Undo::Defined(slot)))
    }

    /// Puts in a counter as it is.
    pub(super) fn insert(&mut self, definition: Definition<'_>, values: Values) -> Option<Slot> {
        let mut values = values;
        if self.retired.get(definition.name).is_some() {
            // What was retired is reported with the total of what was made again.
            (values.base, values.window) = (values.total, self.open.number);
        }
        let (id, creator) = (definition.id, definition.creator);
        let slot = self.table.insert(definition, values)?;
        self.own(slot, id, creator, values);
        Some(slot)
    }

    /// Puts in a counter as it is; it is found by its name once loading has ended.
    pub(super) fn load(&mut self, definition: Definition<'_>, values: Values) -> Option<Slot> {
        let (id, creator) = (definition.id, definition.creator);
        let slot = self.table.load(definition, values)?;
        self.own(slot, id, creator, values);
        Some(slot)
    }

    /// Lets what was loaded be found; an error is a name that is there twice.
    pub(super) fn end_loading(&mut self) -> Result<(), String> {
        self.table.end_loading()
    }

    fn own(&mut self, slot: Slot, id: u64, creator: u32, values: Values) {
        self.next_counter = self.next_counter.max(id.saturating_add(1));
        let owned = self.counters_of.entry(creator).or_default();
        *owned = owned.saturating_add(1);
        if values.window == self.open.number {
            self.changed.push(slot);
        }
    }

    /// Lets the first addition to each counter say how to take it back, and with it those that follow.
    pub fn begin_turn(&mut self) {
        self.mark = self.mark.wrapping_add(1);
        if self.mark == 0 {
            self.marks.fill(0);
            self.mark = 1;
        }
    }

    /// Adds to a counter, seen at this moment; `None` if there is none in this slot. With `alone` it can be
    /// taken back by itself, and what was added before in this turn stays.
    pub fn add(&mut self, slot: Slot, amount: u64, wall_ms: u64, alone: bool) -> Option<Added> {
        let number = self.open.number;
        let values = self.table.values_mut(slot)?;
        let was = *values;
        let Some(total) = was.total.checked_add(amount) else {
            return Some(Added::Overflow(was.total));
        };
        (values.total, values.last_seen_ms) = (total, wall_ms);
        let first = was.window != number && amount > 0;
        if first {
            (values.base, values.window) = (was.total, number);
            self.changed.push(slot);
        }
        let known = !self.mark(slot) && !first && !alone;
        Some(Added::Total(total, (!known).then_some(Undo::Values(slot, was, first))))
    }

    /// Notes that the counter in this slot changes in this turn; whether it is the first time.
    fn mark(&mut self, slot: Slot) -> bool {
        let Ok(index) = usize::try_from(slot) else { return true };
        if index >= self.marks.len() {
            let slots = usize::try_from(self.table.columns().slots()).unwrap_or(index);
            self.marks.resize(slots.max(index.saturating_add(1)), 0);
        }
        let Some(mark) = self.marks.get_mut(index) else { return true };
        std::mem::replace(mark, self.mark) != self.mark
    }

    /// Sets a counter's total, seen at this moment.
    pub fn set_total(&mut self, slot: Slot, total: u64, wall_ms: u64) -> Option<Undo> {
        let was = self.table.columns().values(slot)?;
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
        let (definition, values) = self.table.get(slot)?;
        let Definition { id, name, creator, created_ms } = definition;
        let before = self.retired.get(name);
        let earlier = before.map_or(0, |retired| retired.count);
        // Only a name deleted and made again near the end of u64 could get past it.
        let count = values.count(self.open.number).saturating_add(earlier);
        if count > 0 {
            self.retired.insert(name, Retired { count, total: values.total });
        }
        let name = name.into();
        let deleted = Deleted { slot, id, name, creator, created_ms, values, before };
        self.table.remove(slot)?;
        self.emptied.push(slot);
        self.disown(creator);
        Some(Undo::Deleted(Box::new(deleted)))
    }

    /// Remembers an answered id.
    pub fn remember(&mut self, answered: Answered, at_boot_ns: u64) -> Undo {
        self.ids.remember(answered, at_boot_ns);
        Undo::Remembered
    }

    /// Holds the session of a request out of the spool that is applied: as long as its file may be there.
    pub fn hold(&mut self, session: u128) -> Undo {
        self.held.insert(session);
        Undo::Held(session)
    }

    /// Forgets a session whose file is gone for good.
    pub fn release(&mut self, session: u128) {
        self.held.remove(&session);
    }

    /// Lets the open window, which is empty, start here instead.
    pub fn move_start(&mut self, start: Moment, boot: BootId) {
        self.open = OpenWindow { start, start_boot: boot, ..self.open };
    }

    /// Takes back a change: the last that was not taken back yet.
    pub fn undo(&mut self, undo: Undo) {
        match undo {
            Undo::Defined(slot) => {
                if let Some((Definition { id, creator, .. }, values)) = self.table.get(slot) {
                    self.table.remove(slot);
                    self.next_counter = id;
                    self.disown(creator);
                    self.table.release(slot);
                    if values.window == self.open.number {
                        self.changed.pop();
                    }
                }
            }
            Undo::Values(slot, values, first) => {
                self.table.set(slot, values);
                // What comes after it is to be taken back by itself.
                if let Some(mark) = usize::try_from(slot).ok().and_then(|at| self.marks.get_mut(at))
                {
                    *mark = 0;
                }
                if first {
                    self.changed.pop();
                }
            }
            Undo::Deleted(deleted) => {
                let Deleted { slot, id, ref name, creator, created_ms, values, before } = *deleted;
                match before {
                    Some(before) => self.retired.insert(name, before),
                    None => self.retired.remove(name),
                }
                let owned = self.counters_of.entry(creator).or_default();
                *owned = owned.saturating_add(1);
                self.table.restore(slot, Definition { id, name, creator, created_ms }, values);
                self.emptied.pop();
            }
            Undo::Remembered => self.ids.take_back(),
            Undo::Held(session) => self.release(session),
        }
    }

    /// Closes the open window and opens the next where it ends. The report is kept while a sink is owed it. Of
    /// a large window only this moment is frozen; the counts are put together when the report is asked for them.
    pub fn close(&mut self, window: Window, with_idle: bool) -> Arc<Report> {
        let closing = Closing {
            number: self.open.number,
            counters: self.table.columns().clone(),
            changed: std::mem::take(&mut self.changed),
            retired: std::mem::take(&mut self.retired).columns(),
            with_idle,
        };
        let at_most = closing.counts_at_most();
        let report = Arc::new(Report::later(window, at_most, move || closing.counts()));
        self.table.release_all(&mut self.emptied);
        self.open = OpenWindow {
            number: window.number.saturating_add(1),
            start: window.end,
            start_boot: window.end_boot,
        };
        if !self.sinks.is_empty() {
            self.closed.push_back(Arc::clone(&report));
        }
        // What is frozen grows as the counters count on: no more than two such windows are kept.
        if let Some(earlier) = self.closed.iter().nth_back(2) {
            earlier.counts();
        }
        report
    }

    /// How many counts the closed windows have, at most.
    pub fn closed_counts(&mut self) -> usize {
        self.closed.counts_at_most()
    }

    /// The closed windows after the one with this number, oldest first.
    pub fn closed_after(&self, number: u64) -> impl Iterator<Item = &Arc<Report>> + use<'_> {
        self.closed.after(number)
    }

    /// A closed window whose counts are still to be put together.
    pub fn unsettled(&self) -> Option<&Arc<Report>> {
        self.closed.unsettled()
    }

    /// Makes the closed windows from `first` to `last` one, whose counts are put together when it is asked for
    /// them.
    pub fn merge(&mut self, first: u64, last: u64) {
        let inside =
            |report: &Arc<Report>| report.window.first >= first && report.window.number <= last;
        let Some(at) = self.closed.iter().position(inside) else { return };
        let (merged, mut rest): (VecDeque<_>, VecDeque<_>) =
            self.closed.drain(..).partition(inside);
        // Else what is to be done would pile up in a replay.
        for report in &merged {
            report.counts();
        }
        if let Some(merged) = Report::merged(merged.into()) {
            rest.insert(at, Arc::new(merged));
        }
        *self.closed = rest;
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
