//! Deleting whatever matches: a piece of the counters a turn, so that a million of them hold up nobody. It is
//! about the counters there were when it was asked for. Once begun it goes on to its end, whether the client is
//! still there or not; the client hears of it when all of it is in the journal.

use super::refusal::{Reason, Refused};
use super::snapshot::{self, Snapshot};
use super::{Core, Peer, Reply};
use crate::counter::pattern::Selection;
use crate::counter::table::Slot;
use crate::protocol::{Response, SnapshotInfo};
use crate::record::Record;

/// Counters looked at in a turn, at most.
const PIECE_SLOTS: usize = if cfg!(test) { 2 } else { 4_096 };
/// Counters deleted in a turn, at most.
const PIECE_DELETED: usize = 2_048;

/// What a client is told whose deletion did not happen, before the reason.
pub(super) const NOTHING_DELETED: &str = "nothing was deleted";

/// A deletion under way.
#[derive(Debug)]
pub(super) struct Deletion {
    pub(super) peer: Peer,
    info: SnapshotInfo,
    selection: Selection,
    /// With its steps for each character of a name.
    steps: usize,
    next: Slot,
    end: Slot,
    /// Counters of this number or a higher one came later.
    before_id: u64,
    /// What was deleted, as frames, a piece each.
    frames: Vec<Vec<u8>>,
    deleted: u64,
    /// Counters of the last piece, if the append that makes it true is not done yet.
    unsure: Option<u64>,
    /// Answers to what was asked after it on the same connection: they go out after its own.
    pub(super) behind: Vec<Response<'static>>,
}

impl Deletion {
    pub(super) fn new(
        peer: Peer,
        info: SnapshotInfo,
        selection: Selection,
        core: &Core,
    ) -> Deletion {
        let (end, before_id) = (core.state.table.columns().slots(), core.state.next_counter());
        Deletion {
            peer,
            info,
            steps: selection.steps(),
            selection,
            next: 0,
            end,
            before_id,
            frames: Vec::new(),
            deleted: 0,
            unsure: None,
            behind: Vec::new(),
        }
    }

    pub(super) fn is_done(&self) -> bool {
        self.next >= self.end
    }

    /// The counters that were deleted.
    pub(super) fn reply(&mut self) -> Reply {
        let (frames, rows) = (std::mem::take(&mut self.frames), self.deleted);
        Reply::Snapshot(Box::new(Snapshot::written(self.info, frames, Response::End { rows })))
    }

    /// Those, and why the others were not.
    fn broken_off(&mut self, error: Response<'static>) -> Reply {
        if self.deleted == 0 {
            return Reply::Message(error);
        }
        let frames = std::mem::take(&mut self.frames);
        Reply::Snapshot(Box::new(Snapshot::written(self.info, frames, error)))
    }

    /// The slots of its next piece.
    fn piece(&mut self, core: &Core) -> Vec<Slot> {
        let (columns, mut left) = (core.state.table.columns(), snapshot::PIECE_STEPS);
        let mut found = Vec::new();
        for _ in 0..PIECE_SLOTS {
            if self.is_done() || left == 0 || found.len() >= PIECE_DELETED {
                break;
            }
            if let Some((definition, _)) = columns.get(self.next) {
                left = left.saturating_sub(definition.name.len().saturating_mul(self.steps));
                if definition.id < self.before_id && self.selection.matches_exactly(definition.name)
                {
                    found.push(self.next);
                }
            }
            self.next = self.next.saturating_add(1);
        }
        found
    }
}

impl Core {
    /// Whether a deletion is under way: the loop is to come round for its next piece.
    pub fn is_deleting(&self) -> bool {
        !self.deletions.is_empty()
    }

    /// Goes on with the deletion that was asked for first.
    pub(super) fn go_on_deleting(&mut self) {
        if let Some(mut deletion) = self.deletions.pop_front() {
            self.delete_piece(&mut deletion);
            self.deletions.push_front(deletion);
        }
    }

    pub(super) fn delete_piece(&mut self, deletion: &mut Deletion) {
        let slots = deletion.piece(self);
        let mut frames = Vec::new();
        let (columns, window) = (self.state.table.columns(), self.state.open.number);
        let rows = slots.iter().filter_map(|&slot| columns.get(slot)).collect::<Vec<_>>();
        if snapshot::write_rows(&rows, window, &mut frames).is_err() {
            debug_assert!(false, "our rows fit into frames");
        }
        let rows = u64::try_from(slots.len()).unwrap_or(u64::MAX);
        self.delete_slots(&slots);
        deletion.frames.push(frames);
        deletion.deleted = deletion.deleted.saturating_add(rows);
        deletion.unsure = Some(rows);
    }

    pub(super) fn delete_slots(&mut self, slots: &[Slot]) {
        // What a counter gained before it is deleted is reported: a replay has to know of it first.
        self.write_totals();
        for &slot in slots {
            let Some((definition, _)) = self.state.table.get(slot) else { continue };
            let id = definition.id;
            self.write(&Record::Deleted { id });
            self.undo.extend(self.state.delete(slot));
        }
    }

    /// Concludes the pieces of this turn: one that was not appended ends its deletion.
    pub(super) fn conclude_deletions(
        &mut self,
        result: Result<(), &str>,
        replies: &mut Vec<(Peer, Reply)>,
    ) {
        for mut deletion in std::mem::take(&mut self.deletions) {
            let reply = match (deletion.unsure.take(), result) {
                (Some(rows), Err(why)) => {
                    deletion.frames.pop();
                    deletion.deleted = deletion.deleted.saturating_sub(rows);
                    let message = match deletion.deleted {
                        0 => format!("{NOTHING_DELETED}: {why}"),
                        _ => format!("only these were deleted, others are still there: {why}"),
                    };
                    let error = self.refuse(Refused::new(Reason::Disk, message));
                    deletion.broken_off(error)
                }
                _ if deletion.is_done() => deletion.reply(),
                _ => {
                    self.deletions.push_back(deletion);
                    continue;
                }
            };
            replies.push((deletion.peer, reply));
            let behind = deletion.behind.into_iter().map(Reply::Message);
            replies.extend(behind.map(|reply| (deletion.peer, reply)));
        }
    }
}
