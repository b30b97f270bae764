//! Requests out of the spool. Their ids are kept apart from those of the socket: no age, no limit of time, but
//! held from the append that counts them until their files are gone for good. Which files there are,
//! and what becomes of them, is for the loop and its worker.

use std::collections::BTreeSet;

use super::refusal::{Reason, Refused};
use super::{Core, Peer};
use crate::protocol::Addition;
use crate::record::Record;
use crate::window::Moment;

/// Sessions held at most. There are more than a scan has files, for files that cannot be removed.
pub const HELD_MAX: usize = 4_096;

/// A request out of a file.
#[derive(Debug, Clone, Copy)]
pub struct Spooled<'a> {
    /// The session of its id.
    pub session: u128,
    /// The uid whose file it is.
    pub uid: u32,
    /// The request.
    pub payload: &'a [u8],
}

/// What became of a request, and so what is to become of its file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It is counted, now or before: once the journal is synced its file can go.
    Counted,
    /// It can never be counted, for this reason.
    Refused(String),
    /// It was not counted, and may be the next time.
    Later,
}

/// What a turn counted of the spool, until its append is done.
#[derive(Debug, Default)]
pub(super) struct Counting {
    outcomes: Vec<Outcome>,
    increments: u64,
    released: Vec<u128>,
}

impl Core {
    /// Counts what was spooled and is not known yet. `all` says that these are all the requests whose files
    /// are there, also after a power cut: every other session is released. Returns the records to append;
    /// [`Core::spooled_counted`] is called with how that went, also if there are none.
    pub fn count_spooled<'a>(
        &mut self,
        now: Moment,
        files: impl Iterator<Item = Spooled<'a>>,
        all: bool,
    ) -> &[u8] {
        self.now = now;
        self.begin_changes();
        self.close_empty();
        let (mut counting, mut there) = (Counting::default(), BTreeSet::new());
        for spooled in files {
            there.insert(spooled.session);
            let outcome = match self.count_one(spooled) {
                Ok(Some(increments)) => {
                    counting.increments = counting.increments.saturating_add(increments);
                    Outcome::Counted
                }
                Ok(None) => Outcome::Later,
                Err(refused) => {
                    self.refusals.count(refused.reason);
                    Outcome::Refused(refused.message)
                }
            };
            counting.outcomes.push(outcome);
        }
        self.write_totals();
        if all {
            counting.released = self.state.held.difference(&there).copied().collect();
            for &session in &counting.released {
                self.write(&Record::Released { session });
            }
        }
        self.counting = counting;
        &self.records
    }

    /// Concludes that with how appending the records went. Says of each file, in their order, what is to become
    /// of it.
    pub fn spooled_counted(&mut self, result: Result<(), &str>) -> Vec<Outcome> {
        let Counting { mut outcomes, increments, released } = std::mem::take(&mut self.counting);
        match result {
            Ok(()) => {
                self.undo.clear();
                self.increments = self.increments.saturating_add(increments);
                released.into_iter().for_each(|session| self.state.release(session));
            }
            Err(_) => {
                while let Some(undo) = self.undo.pop() {
                    self.state.undo(undo);
                }
                // What can never be counted stays so.
                let counted = outcomes.iter_mut().filter(|outcome| **outcome == Outcome::Counted);
                counted.for_each(|outcome| *outcome = Outcome::Later);
            }
        }
        if !self.records.is_empty() {
            self.last_append_error = result.err().map(str::to_owned);
        }
        outcomes
    }

    /// Returns how many increments were applied; `None` if it has to wait.
    fn count_one(&mut self, spooled: Spooled<'_>) -> Result<Option<u64>, Refused> {
        let Spooled { session, uid, payload } = spooled;
        if self.state.held.contains(&session) {
            return Ok(Some(0));
        }
        if self.state.held.len() >= HELD_MAX {
            return Ok(None);
        }
        let addition = Addition::from_payload(payload).filter(|addition| addition.atomic);
        let Some(mut addition) = addition else {
            let what = "it is no increment that is done as a whole or not at all";
            return Err(Refused::new(Reason::BadRequest, what));
        };
        // Nobody is there to be told.
        addition.totals = false;
        let (_, increments) = self.apply(Peer { connection: 0, uid }, &addition)?;
        self.write(&Record::Held { session });
        let undo = self.state.hold(session);
        self.undo.push(undo);
        Ok(Some(increments))
    }
}
