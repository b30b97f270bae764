//! What a turn of the server's loop does, as a function of values: requests, the moment, what sinks say. No
//! socket, file, thread or clock is touched here; the loop does that with what it is told.
//!
//! A turn has two appends, and nothing is said to anyone before the append that makes it true:
//!
//! ```text
//! step(now, requests)  -> records   append   committed(result) -> replies, and answers to reads
//! advance(now, events) -> records   append   advanced(result)  -> what sinks are to do, replies to flush
//! ```

#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::as_conversions)]

mod deleting;
mod increment;
mod keeping;
mod offering;
mod phase;
mod planned;
mod refusal;
mod reports;
mod rules;
mod select;
mod sinks;
pub mod snapshot;
mod spool;
#[cfg(test)]
#[expect(
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::indexing_slicing,
    reason = "tests reckon with small numbers, and may panic"
)]
mod tests;

use std::borrow::Cow;
use std::collections::VecDeque;
use std::time::Duration;

use crate::codec::Malformed;
use crate::counter::pattern::Selection;
use crate::counter::table::Columns;
use crate::note::Note;
use crate::protocol::{Addition, ErrorCode, Request, Response, Row, SnapshotInfo, Value, Wanted};
use crate::record::image::Image;
use crate::record::state::{State, Undo};
use crate::record::{Record, encode_total};
use crate::window::{BootId, Moment, Schedule};

use deleting::Deletion;
use planned::Planned;
use refusal::{Reason, Refusals, Refused};
pub use reports::Action;
pub use reports::RETRY_NS;
use reports::Waiter;
pub use rules::{OWED_BYTES_MAX, Rules};
use sinks::SinkRun;
pub use sinks::{Prepared, REPORTS_OFFERED_MAX, SinkEvent, SinkNews, SinkPlace};
use snapshot::Snapshot;
use spool::Counting;
pub use spool::{HELD_MAX, Outcome, Spooled};

/// Snapshots that are being sent at a time.
pub const SNAPSHOTS_MAX: usize = 4;

/// Which connection a request came over, and from whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    /// The connection, by a number that is not used again.
    pub connection: u64,
    /// The uid at the other end.
    pub uid: u32,
}

/// An answer that can be given now.
#[derive(Debug)]
pub enum Reply {
    /// This message.
    Message(Response<'static>),
    /// A snapshot, which is sent piece by piece.
    Snapshot(Box<Snapshot>),
    /// The daemon's health, which the server knows the rest of.
    Status,
}

/// An answer that waits for the turn's append.
#[derive(Debug)]
enum Pending {
    /// It changed something, by this many increments, and is true only if the append is; what to say else.
    Change {
        reply: Reply,
        increments: u64,
        failed: &'static str,
    },
    /// It holds whatever becomes of the append.
    Said(Reply),
    Get(String),
    Dump(Selection),
    Status,
}

/// Everything the daemon decides with.
#[derive(Debug)]
pub struct Core {
    state: State,
    rules: Rules,
    schedule: Schedule,
    boot: BootId,
    now: Moment,
    records: Vec<u8>,
    undo: Vec<Undo>,
    /// How many changes of this turn, from the first, have their totals in the records.
    totals_written: usize,
    pending: Vec<(Peer, Pending)>,
    /// Where the ids of this turn begin: what was answered before holds whatever becomes of the turn.
    ids_before: u64,
    /// Snapshots that may still be begun, as the loop said last.
    snapshots_free: usize,
    counting: Counting,
    /// Deletions under way, in the order they were asked for.
    deletions: VecDeque<Deletion>,
    flush_wanted: bool,
    planned: Vec<Planned>,
    waiters: Vec<Waiter>,
    runs: Vec<SinkRun>,
    /// Sinks get at once what would wait for more windows otherwise.
    letting_go: bool,
    /// After a failed append, nothing is planned again before this moment.
    hold_until_ns: u64,
    increments: u64,
    refusals: Refusals,
    flushes: u64,
    /// When the window was closed that some sink does not have yet.
    flushing_since_ns: Option<u64>,
    last_flush_ms: Option<u64>,
    last_append_error: Option<String>,
    /// What the operator is told at the next occasion.
    notes: Vec<Note>,
}

impl Core {
    /// Takes over a state, with the sinks there are now. Returns the records to append before anything
    /// else, and what the operator should know.
    pub fn start(
        mut state: State,
        rules: Rules,
        sinks: &[SinkPlace],
        boot: BootId,
        now: Moment,
    ) -> (Core, Vec<u8>, Vec<Note>) {
        // Another boot, or a clock of the same boot that was another then, as in a time namespace. Ids are kept
        // even so: what is refused as too old for a while is not counted twice.
        let comparable = state.open.start_boot == boot && state.open.start.boot_ns <= now.boot_ns;
        state.ids.start(boot, now.boot_ns);
        if state.window_is_empty() {
            state.move_start(now, boot);
        }
        let start = if comparable { state.open.start } else { now };
        let schedule = Schedule::new(rules.interval, rules.aligned, start);
        let mut core = Core {
            state,
            rules,
            schedule,
            boot,
            now,
            records: Vec::new(),
            undo: Vec::new(),
            totals_written: 0,
            pending: Vec::new(),
            ids_before: 0,
            snapshots_free: SNAPSHOTS_MAX,
            counting: Counting::default(),
            deletions: VecDeque::new(),
            flush_wanted: false,
            planned: Vec::new(),
            waiters: Vec::new(),
            runs: Vec::new(),
            letting_go: false,
            hold_until_ns: 0,
            increments: 0,
            refusals: Refusals::default(),
            flushes: 0,
            flushing_since_ns: None,
            last_flush_ms: None,
            last_append_error: None,
            notes: Vec::new(),
        };
        core.write(&Record::Started { boot, at: now });
        let notes = core.take_up_sinks(sinks);
        let records = std::mem::take(&mut core.records);
        (core, records, notes)
    }

    /// Does what was asked, in order, at this moment. Returns the records that make it so; if there are
    /// none, there is nothing to append, and [`Core::committed`] is called all the same.
    pub fn step<'a>(
        &mut self,
        now: Moment,
        snapshots_free: usize,
        requests: impl Iterator<Item = (Peer, &'a [u8])>,
    ) -> &[u8] {
        self.now = now;
        self.snapshots_free = snapshots_free.saturating_sub(self.deletions.len());
        self.begin_changes();
        self.state.ids.expire(now.boot_ns);
        self.ids_before = self.state.ids.end();
        self.close_empty();
        self.go_on_deleting();
        for (peer, payload) in requests {
            match self.request(peer, payload) {
                Ok(Some(pending)) => self.pending.push((peer, pending)),
                Ok(None) => {}
                Err(refused) => {
                    let response = self.refuse(refused);
                    match self.behind(peer) {
                        Some((_, behind)) => behind.push(response),
                        None => self.pending.push((peer, Pending::Said(Reply::Message(response)))),
                    }
                }
            }
        }
        self.write_totals();
        &self.records
    }

    /// Concludes a step whose records were appended, or were not for this reason. Then its changes are
    /// undone and refused, all of them.
    pub fn committed(&mut self, result: Result<(), &str>) -> Vec<(Peer, Reply)> {
        match result {
            Ok(()) => self.undo.clear(),
            Err(_) => {
                while let Some(undo) = self.undo.pop() {
                    self.state.undo(undo);
                }
            }
        }
        if !self.records.is_empty() {
            self.last_append_error = result.err().map(str::to_owned);
        }
        let mut replies = Vec::with_capacity(self.pending.len());
        for (peer, pending) in std::mem::take(&mut self.pending) {
            let reply = match (pending, result) {
                (Pending::Change { reply, increments, .. }, Ok(())) => {
                    self.increments = self.increments.saturating_add(increments);
                    reply
                }
                (Pending::Change { failed, .. }, Err(why)) => {
                    let refused = Refused::new(Reason::Disk, format!("{failed}: {why}"));
                    Reply::Message(self.refuse(refused))
                }
                (Pending::Said(reply), _) => reply,
                (Pending::Get(name), _) => Reply::Message(self.get(&name)),
                (Pending::Dump(selection), _) => self.dump(peer, selection),
                (Pending::Status, _) => Reply::Status,
            };
            replies.push((peer, reply));
        }
        self.conclude_deletions(result, &mut replies);
        replies
    }

    /// Freezes the state for a checkpoint.
    pub fn image(&self) -> Image {
        Image::of(&self.state)
    }

    /// The counters as they are, for whoever wants to look at them for longer.
    pub fn columns(&self) -> Columns {
        self.state.table.columns().clone()
    }

    /// How many counters there are.
    pub fn counters(&self) -> usize {
        self.state.table.len()
    }

    /// What is wrong, and the facts that are known here, for a status.
    pub fn health(&self, now: Moment) -> (Vec<String>, Vec<(String, Value)>) {
        let mut problems = Vec::new();
        let mut facts = Vec::new();
        let mut fact = |key: &str, value| facts.push((key.to_owned(), value));
        if let Some(error) = &self.last_append_error {
            problems.push(error.clone());
        }
        let counters = u64::try_from(self.state.table.len()).unwrap_or(u64::MAX);
        if counters >= u64::from(self.rules.counters_max) {
            problems
                .push(format!("there are as many counters as --max-counters allows: {counters}"));
        }
        problems.extend(self.refusals.problems());
        problems.extend(self.sink_problems());
        fact("counters", Value::Number(counters));
        fact("increments", Value::Number(self.increments));
        fact("refused", Value::Number(self.refusals.total()));
        for (reason, number) in self.refusals.by_reason() {
            fact(&format!("refused_{reason}"), Value::Number(number));
        }
        fact("ids_remembered", Value::Number(u64::try_from(self.state.ids.len()).unwrap_or(0)));
        fact("flush_interval", Value::DurationMs(ms(self.schedule.interval())));
        fact("window", Value::Number(self.state.open.number));
        fact("window_open", Value::DurationMs(self.window_open_ms(now)));
        fact("flushes", Value::Number(self.flushes));
        if let Some(took) = self.last_flush_ms {
            fact("last_flush_took", Value::DurationMs(took));
        }
        facts.extend(self.sink_facts());
        (problems, facts)
    }

    fn request(&mut self, peer: Peer, payload: &[u8]) -> Result<Option<Pending>, Refused> {
        if let Some((what, _)) = self.behind(peer) {
            let what = format!("{what} has not been answered yet on this connection");
            return Err(Refused::new(Reason::BadRequest, what));
        }
        if let Some(addition) = Addition::from_payload(payload) {
            return self.increment(peer, &addition, crc32fast::hash(payload)).map(Some);
        }
        let malformed = |error: Malformed| Refused::new(Reason::BadRequest, error.to_string());
        Ok(Some(match Request::from_payload(payload).map_err(malformed)? {
            Request::Incr { .. } => {
                debug_assert!(false, "each increment request is an addition");
                return Err(Refused::new(Reason::BadRequest, "it cannot be read"));
            }
            Request::Get { name } => Pending::Get(name.to_owned()),
            Request::Dump { wanted } => Pending::Dump(selection(&wanted)?),
            Request::Delete { wanted, dry_run } => {
                self.owner_only(peer, "delete counters")?;
                return self.delete(peer, selection(&wanted)?, dry_run);
            }
            Request::Flush { timeout_ms } => {
                self.owner_only(peer, "flush")?;
                self.wait_for_flush(peer, timeout_ms)?;
                return Ok(None);
            }
            Request::Status => Pending::Status,
        }))
    }

    /// What on this connection takes more than a turn to answer, and the answers that wait for that.
    fn behind(&mut self, peer: Peer) -> Option<(&'static str, &mut Vec<Response<'static>>)> {
        let waiting = self.waiters.iter_mut().map(|w| ("flush", w.peer, &mut w.behind));
        let deletions = self.deletions.iter_mut().map(|d| ("delete", d.peer, &mut d.behind));
        let mut all = waiting.chain(deletions);
        all.find(|(_, of, _)| of.connection == peer.connection).map(|(what, _, b)| (what, b))
    }

    fn is_owner(&self, peer: Peer) -> bool {
        peer.uid == 0 || peer.uid == self.rules.owner
    }

    fn owner_only(&self, peer: Peer, what: &str) -> Result<(), Refused> {
        if self.is_owner(peer) {
            return Ok(());
        }
        let owner = self.rules.owner;
        let message = format!("only root and the daemon's own user (uid {owner}) may {what}");
        Err(Refused::new(Reason::Forbidden, message))
    }

    fn get(&mut self, name: &str) -> Response<'static> {
        let found = self.state.table.find(name).and_then(|slot| self.state.table.get(slot));
        match found {
            Some((definition, values)) => Response::Counter(Row {
                name: Cow::Owned(definition.name.to_string()),
                total: values.total,
                since_flush: values.count(self.state.open.number),
                created_ms: definition.created_ms,
                last_seen_ms: values.last_seen_ms,
            }),
            None => Response::error(ErrorCode::NotFound, "no such counter"),
        }
    }

    fn dump(&mut self, peer: Peer, selection: Selection) -> Reply {
        match self.begin_snapshot(peer) {
            Ok(info) => {
                let columns = self.state.table.columns().clone();
                let window = self.state.open.number;
                Reply::Snapshot(Box::new(Snapshot::all(info, columns, window, selection)))
            }
            Err(refused) => Reply::Message(self.refuse(refused)),
        }
    }

    /// Takes one of the few places for snapshots; the last is kept for root and the owner.
    fn begin_snapshot(&mut self, peer: Peer) -> Result<SnapshotInfo, Refused> {
        let kept = if self.is_owner(peer) { 0 } else { 1 };
        let Some(free) = self.snapshots_free.checked_sub(1).filter(|free| *free >= kept) else {
            let message = format!("{SNAPSHOTS_MAX} dumps are being sent already; try again");
            return Err(Refused::new(Reason::Busy, message));
        };
        self.snapshots_free = free;
        Ok(SnapshotInfo {
            taken_ms: self.now.wall_ms,
            window_open_ms: self.window_open_ms(self.now),
            interval_ms: ms(self.schedule.interval()),
        })
    }

    fn window_open_ms(&self, now: Moment) -> u64 {
        let open = self.state.open;
        if open.start_boot == self.boot {
            now.boot_ns.saturating_sub(open.start.boot_ns) / 1_000_000
        } else {
            now.wall_ms.saturating_sub(open.start.wall_ms)
        }
    }

    fn refuse(&mut self, refused: Refused) -> Response<'static> {
        self.refusals.count(refused.reason);
        Response::error(refused.reason.code(), refused.message)
    }

    /// Begins what one append decides on.
    fn begin_changes(&mut self) {
        self.records.clear();
        self.undo.clear();
        self.totals_written = 0;
        self.state.begin_turn();
    }

    /// Adds the totals of what changed: of each counter one, however often it was added to.
    fn write_totals(&mut self) {
        for change in self.undo.iter().skip(self.totals_written) {
            if let &Undo::Values(slot, ..) = change
                && let Some((id, total)) = self.state.table.columns().total(slot)
            {
                encode_total(id, total, &mut self.records);
            }
        }
        self.totals_written = self.undo.len();
        // What is added after this is to be written, too.
        self.state.begin_turn();
    }

    /// Adds a record to what this step or advance will append.
    fn write(&mut self, record: &Record<'_>) {
        let written = record.encode(&mut self.records);
        debug_assert!(written.is_ok(), "our records can all be written");
    }
}

fn selection(wanted: &Wanted<'_>) -> Result<Selection, Refused> {
    select::selection(wanted).map_err(|error| Refused::new(Reason::BadRequest, error))
}

fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
