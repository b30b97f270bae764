//! An increment request: known ids are answered again, new ones are applied entry by entry. An atomic
//! request that fails at one entry leaves nothing behind; of any other the rest counts.

use std::borrow::Cow;

use super::refusal::{Reason, Refused};
use super::{Core, Peer, Pending, Reply};
use crate::counter::name;
use crate::counter::table::{SOME, Slot};
use crate::ids::{Answer, Answered, Known, RefusedEntry};
use crate::protocol::{Addition, Response};
use crate::record::state::Added;
use crate::record::{KIND_COUNTER, Record};

/// Bytes of a refused entry's reason.
const REASON_BYTES_MAX: usize = 200;
/// Refused entries of a request that get a reason: three bytes of a request must not make hundreds in the
/// journal and in the answer. The others are named all the same, with an empty one.
const REASONS_MAX: usize = 16;

/// What an increment is told whose append failed, before the reason.
const NOT_COUNTED: &str = "not counted";

impl Core {
    pub(super) fn increment(
        &mut self,
        peer: Peer,
        addition: &Addition<'_>,
        digest: u32,
    ) -> Result<Pending, Refused> {
        let id = addition.id;
        match self.state.ids.look_up(&id, digest, self.now.boot_ns) {
            Known::New => {}
            Known::Again { answer, position } => {
                let answer = answer.cloned().unwrap_or_default();
                let reply = Reply::Message(Response::Counted(Cow::Owned(answer)));
                // If the first request is of this same turn, its append decides for both.
                return Ok(if position < self.ids_before {
                    Pending::Said(reply)
                } else {
                    Pending::Change { reply, increments: 0, failed: NOT_COUNTED }
                });
            }
            Known::OtherContent => {
                let what = "this id was used for another request before";
                return Err(Refused::new(Reason::OtherContent, what));
            }
            Known::OutOfOrder { next } => {
                let what = format!("request {} of its session came, {next} is next", id.seq);
                return Err(Refused::new(Reason::OutOfOrder, what));
            }
            Known::TooOld => {
                self.refusals.count(Reason::TooOld);
                let too_old = Response::TooOld { now_ns: self.now.boot_ns };
                return Ok(Pending::Said(Reply::Message(too_old)));
            }
        }
        let (answer, increments) = self.apply(peer, addition)?;
        let kept = (answer != Answer::default()).then(|| Box::new(answer.clone()));
        self.write(&Record::Answered { id, digest, answer: kept.clone() });
        let answered = Answered { id, digest, answer: kept };
        let undo = self.state.remember(answered, self.now.boot_ns);
        self.undo.push(undo);
        let reply = Reply::Message(Response::Counted(Cow::Owned(answer)));
        Ok(Pending::Change { reply, increments, failed: NOT_COUNTED })
    }

    /// Applies the entries; returns the answer and how many were applied.
    pub(super) fn apply(
        &mut self,
        peer: Peer,
        addition: &Addition<'_>,
    ) -> Result<(Answer, u64), Refused> {
        let (undo_mark, record_mark) = (self.undo.len(), self.records.len());
        let mut answer = Answer::default();
        let mut applied = 0_u64;
        // What one entry did may have to be taken back for the sake of the next.
        let alone = addition.atomic && addition.len() > 1;
        if addition.totals {
            answer.totals.reserve_exact(addition.len());
        }
        let mut entries = addition.entries();
        let (mut some, mut found, mut at) =
            (Vec::with_capacity(SOME.min(addition.len())), [None; SOME], 0_u32);
        loop {
            some.clear();
            some.extend(entries.by_ref().take(SOME));
            if some.is_empty() {
                return Ok((answer, applied));
            }
            self.state.table.find_some(some.iter().map(|(name, _)| *name), &mut found);
            for (&(name, amount), slot) in some.iter().zip(found) {
                match self.add(peer, slot, name, amount, alone) {
                    Ok(total) => {
                        applied = applied.saturating_add(1);
                        if addition.totals {
                            answer.totals.push(total);
                        }
                    }
                    Err(refused) if addition.atomic => {
                        self.take_back(undo_mark);
                        self.records.truncate(record_mark);
                        return Err(refused);
                    }
                    Err(refused) => self.refuse_entry(at, refused, &mut answer),
                }
                at = at.saturating_add(1);
            }
        }
    }

    /// Takes back the changes of this turn from the one at `mark` on.
    fn take_back(&mut self, mark: usize) {
        while self.undo.len() > mark {
            if let Some(undo) = self.undo.pop() {
                self.state.undo(undo);
            }
        }
    }

    fn refuse_entry(&mut self, entry: u32, refused: Refused, answer: &mut Answer) {
        self.refusals.count(refused.reason);
        let explained = answer.refused.len() < REASONS_MAX;
        let reason = if explained { cut(refused.message, REASON_BYTES_MAX) } else { String::new() };
        answer.refused.push(RefusedEntry { entry, reason });
    }

    /// Adds to a counter, in `slot` if it was there before this request; returns the new total. Its record is
    /// written at the end of the turn.
    fn add(
        &mut self,
        peer: Peer,
        slot: Option<Slot>,
        name: &[u8],
        amount: u64,
        alone: bool,
    ) -> Result<u64, Refused> {
        // A declaration reports nothing: the window stays empty.
        if amount > 0 && self.state.window_is_empty() {
            let start = self.state.open.start;
            self.write(&Record::Opened { start });
        }
        let slot = match slot.or_else(|| self.state.table.find(name)) {
            Some(slot) => slot,
            None => self.define(peer, &String::from_utf8_lossy(name))?,
        };
        match self.state.add(slot, amount, self.now.wall_ms, alone) {
            Some(Added::Total(total, undo)) => {
                self.undo.extend(undo);
                Ok(total)
            }
            Some(Added::Overflow(total)) => Err(overflow(name, total, amount)),
            None => Err(Refused::new(Reason::BadRequest, "no such counter")),
        }
    }

    fn define(&mut self, peer: Peer, name: &str) -> Result<Slot, Refused> {
        name::check(name).map_err(|error| Refused::new(Reason::BadName, error.to_string()))?;
        self.room_for_another(peer)?;
        let defined = self.state.define(name, peer.uid, self.now.wall_ms);
        let Some((slot, undo)) = defined else {
            return Err(Refused::new(Reason::CounterLimit, "there is no room for another counter"));
        };
        self.undo.push(undo);
        if let Some((definition, _)) = self.state.table.get(slot) {
            let id = definition.id;
            self.write(&Record::Defined { id, kind: KIND_COUNTER, creator: peer.uid, name });
        }
        Ok(slot)
    }

    fn room_for_another(&self, peer: Peer) -> Result<(), Refused> {
        let max = self.rules.counters_max;
        if self.state.table.len() >= usize::try_from(max).unwrap_or(usize::MAX) {
            let message = format!(
                "the limit of {max} counters is reached: delete some, or raise --max-counters of serve"
            );
            return Err(Refused::new(Reason::CounterLimit, message));
        }
        let max = self.rules.counters_per_user_max;
        if !self.is_owner(peer) && self.state.counters_of(peer.uid) >= max {
            let message = format!(
                "uid {} has created {max} counters, its limit: raise --max-counters-per-user of serve",
                peer.uid
            );
            return Err(Refused::new(Reason::UserLimit, message));
        }
        Ok(())
    }
}

#[cold]
fn overflow(name: &[u8], total: u64, amount: u64) -> Refused {
    let name = String::from_utf8_lossy(name);
    let message = format!("counter \"{name}\" is at {total}: adding {amount} would overflow");
    Refused::new(Reason::Overflow, message)
}

/// The text, cut at a character to at most `bytes`.
fn cut(mut text: String, bytes: usize) -> String {
    text.truncate(text.floor_char_boundary(bytes));
    text
}
