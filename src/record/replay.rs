//! Replay: records back into state, in the order they were written. It believes what passed its checksum,
//! and checks of a name only that it is text of a sane length, so that the rules for names may be widened.

use std::fmt;
use std::sync::Arc;

use super::numbers::Numbers;
use super::state::{OpenWindow, Retired, State};
use super::{KIND_COUNTER, Record, RecordError, records};
use crate::codec::Malformed;
use crate::counter::name::NAME_BYTES_MAX;
use crate::counter::table::{Definition, Slot, Values};
use crate::ids::Answered;
use crate::report::{Count, Counts, Report};
use crate::window::{Moment, Window};

/// Why a block cannot be replayed although its checksum is right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReplayError {
    /// A record that cannot be read.
    Malformed(Malformed),
    /// A record of a kind this version does not know.
    NewerRecord(u32),
    /// A counter of a kind this version does not know.
    NewerKind(u8),
    /// A record speaks of what is not there.
    Inconsistent(String),
}

impl fmt::Display for ReplayError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ReplayError::Malformed(error) => {
                write!(f, "a record cannot be read ({error}); it may be from a newer countd")
            }
            ReplayError::NewerRecord(kind) => {
                write!(f, "a record is of kind {kind}, which only a newer countd knows")
            }
            ReplayError::NewerKind(kind) => {
                write!(f, "a counter is of kind {kind}, which only a newer countd knows")
            }
            ReplayError::Inconsistent(what) => write!(f, "records do not fit together: {what}"),
        }
    }
}

impl std::error::Error for ReplayError {}

impl From<RecordError> for ReplayError {
    fn from(error: RecordError) -> ReplayError {
        match error {
            RecordError::Newer(kind) => ReplayError::NewerRecord(kind),
            RecordError::Malformed(error) => ReplayError::Malformed(error),
        }
    }
}

fn inconsistent(what: impl fmt::Display) -> ReplayError {
    ReplayError::Inconsistent(what.to_string())
}

/// A state being restored.
#[derive(Debug)]
pub struct Replay {
    state: State,
    by_id: Numbers,
    /// Counters of a checkpoint are being read, which are not yet found by their names.
    loading: bool,
    /// The owed window whose counts are being read.
    owed: Option<(Window, Counts)>,
    records: u64,
    /// A checkpoint's first record, and its last, were read.
    begun: bool,
    ended: bool,
}

impl Replay {
    /// Starts with an empty state of this id.
    pub fn new(state: u128) -> Replay {
        let state = State::new(state, 0, Moment::default());
        let (by_id, owed) = (Numbers::default(), None);
        Replay { state, by_id, loading: false, owed, records: 0, begun: false, ended: false }
    }

    /// Applies the records of a block that was written at `wall_ms`.
    ///
    /// # Errors
    /// [`ReplayError`] for a block no countd of this version can have written.
    pub fn block(&mut self, payload: &[u8], wall_ms: u64) -> Result<(), ReplayError> {
        for record in records(payload) {
            self.apply(record?, wall_ms)?;
        }
        Ok(())
    }

    /// Whether a checkpoint's end was reached, with all its records before it.
    pub fn checkpoint_ended(&self) -> bool {
        self.ended
    }

    /// How many records were applied.
    pub fn records(&self) -> u64 {
        self.records
    }

    /// The state that was restored.
    pub fn finish(mut self) -> State {
        self.end_owed();
        self.state
    }

    fn apply(&mut self, record: Record<'_>, wall_ms: u64) -> Result<(), ReplayError> {
        if self.loading && !matches!(record, Record::Counter { .. }) {
            self.end_loading()?;
        }
        if self.owed.is_some() && !matches!(record, Record::OwedCount { .. }) {
            self.end_owed();
        }
        let state = &mut self.state;
        match record {
            Record::Defined { id, kind, creator, name } => {
                let definition = definition(id, kind, creator, wall_ms, name)?;
                if id < state.next_counter {
                    return Err(inconsistent(format_args!("number {id} was used before")));
                }
                self.insert(definition, Values { last_seen_ms: wall_ms, ..Values::default() })?;
            }
            Record::Total { id, total } => {
                let slot = self.slot(id)?;
                self.state.set_total(slot, total, wall_ms);
            }
            Record::Deleted { id } => {
                let slot = self.slot(id)?;
                self.by_id.remove(id);
                self.state.delete(slot);
            }
            Record::Answered { id, digest, answer } => {
                state.remember(Answered { id, digest, answer }, 0);
            }
            Record::Opened { start } => {
                let boot = state.ids.boot();
                state.move_start(start, boot);
            }
            Record::Closed { window, with_idle } => {
                let (open, Window { first, number, .. }) = (state.open.number, window);
                if first != open || number != open {
                    let what = format_args!("window {number} is closed, {open} is open");
                    return Err(inconsistent(what));
                }
                state.close(window, with_idle);
            }
            Record::Merged { first, last } => state.merge(first, last),
            Record::SinkAdded { place, acknowledged } => state.add_sink(place, acknowledged),
            Record::SinkRemoved { place } => state.remove_sink(place),
            Record::Offered { place, offer } => state.offer(place, offer),
            Record::Acknowledged { place, last } => state.acknowledge(place, last),
            Record::Held { session } => {
                state.hold(session);
            }
            Record::Released { session } => state.release(session),
            Record::SinkReached { place, second } => state.reach(place, second),
            Record::Delivered { place, last, stored } => state.deliver(place, last, stored),
            Record::Started { boot, at } => state.ids.start(boot, at.boot_ns),
            checkpoint @ (Record::Base { .. }
            | Record::Counter { .. }
            | Record::Retired { .. }
            | Record::Owed { .. }
            | Record::OwedCount { .. }
            | Record::Kept { .. }
            | Record::End { .. }) => self.apply_checkpoint(checkpoint)?,
        }
        self.records = self.records.saturating_add(1);
        Ok(())
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "the other records are handled above")]
    fn apply_checkpoint(&mut self, record: Record<'_>) -> Result<(), ReplayError> {
        let in_place = match record {
            Record::Base { .. } => self.records == 0,
            _ => self.begun && !self.ended,
        };
        if !in_place {
            return Err(inconsistent("a part of a checkpoint is outside of one"));
        }
        let state = &mut self.state;
        match record {
            Record::Base { next_counter, window, start, start_boot, horizon_ns, ids_boot } => {
                self.begun = true;
                self.base(next_counter, OpenWindow { number: window, start, start_boot });
                self.state.ids.start(ids_boot, 0);
                self.state.ids.restore_horizon(horizon_ns);
            }
            Record::Counter {
                id,
                kind,
                creator,
                created_ms,
                last_seen_ms,
                total,
                gained,
                name,
            } => {
                let definition = definition(id, kind, creator, created_ms, name)?;
                let (window, base) = match gained {
                    Some(gained) => (state.open.number, total.saturating_sub(gained)),
                    None => (0, total),
                };
                self.load(definition, Values { total, base, window, last_seen_ms })?;
            }
            Record::Retired { name, count, total } => {
                state.retired.insert(checked(name)?, Retired { count, total });
            }
            Record::Owed { window } => {
                self.owed = Some((window, Counts::default()));
            }
            Record::OwedCount { name, count, total } => {
                let Some((_, counts)) = &mut self.owed else {
                    return Err(inconsistent("a count without its window"));
                };
                counts.push(Count { name: checked(name)?, count, total });
            }
            Record::Kept { place, offer, windows } => {
                if !state.keep(place, offer, windows) {
                    return Err(inconsistent("an offer is kept without its windows"));
                }
            }
            Record::End { records } if records == self.records => self.ended = true,
            Record::End { records } => {
                let found = self.records;
                return Err(inconsistent(format_args!(
                    "{found} records where {records} were written"
                )));
            }
            _ => return Err(inconsistent("a record that is no part of a checkpoint")),
        }
        Ok(())
    }

    fn base(&mut self, next_counter: u64, open: OpenWindow) {
        self.state.next_counter = next_counter;
        self.state.open = open;
    }

    fn end_owed(&mut self) {
        if let Some((window, counts)) = self.owed.take() {
            self.state.closed.push_back(Arc::new(Report::new(window, counts.put_in_order())));
        }
    }

    fn insert(&mut self, definition: Definition<'_>, values: Values) -> Result<(), ReplayError> {
        let Definition { id, name, .. } = definition;
        let slot = self.state.insert(definition, values);
        let slot = slot.ok_or_else(|| inconsistent(format_args!("counter {name:?} twice")))?;
        self.number(id, slot)
    }

    /// Puts in a counter of a checkpoint. There are many, so their names are looked at when all are there.
    fn load(&mut self, definition: Definition<'_>, values: Values) -> Result<(), ReplayError> {
        let id = definition.id;
        let slot = self.state.load(definition, values);
        self.loading = true;
        self.number(id, slot.ok_or_else(|| inconsistent("too many counters"))?)
    }

    fn end_loading(&mut self) -> Result<(), ReplayError> {
        self.loading = false;
        self.state
            .end_loading()
            .map_err(|name| inconsistent(format_args!("counter {name:?} twice")))
    }

    fn number(&mut self, id: u64, slot: Slot) -> Result<(), ReplayError> {
        match self.by_id.insert(id, slot) {
            true => Ok(()),
            false => Err(inconsistent(format_args!("number {id} twice"))),
        }
    }

    fn slot(&self, id: u64) -> Result<Slot, ReplayError> {
        self.by_id
            .get(id)
            .ok_or_else(|| inconsistent(format_args!("no counter has the number {id}")))
    }
}

fn definition(
    id: u64,
    kind: u8,
    creator: u32,
    created_ms: u64,
    name: &str,
) -> Result<Definition<'_>, ReplayError> {
    if kind != KIND_COUNTER {
        return Err(ReplayError::NewerKind(kind));
    }
    Ok(Definition { id, name: checked(name)?, creator, created_ms })
}

fn checked(name: &str) -> Result<&str, ReplayError> {
    if name.is_empty() || name.len() > NAME_BYTES_MAX {
        return Err(inconsistent(format_args!("a name of {} bytes", name.len())));
    }
    Ok(name)
}
