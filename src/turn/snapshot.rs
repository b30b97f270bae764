//! A snapshot on its way to a client: one frozen moment of the counters, turned into frames a piece at a
//! time, so that a million counters neither hold up a turn nor are copied.

use std::borrow::Cow;

use crate::counter::pattern::Selection;
use crate::counter::table::{Columns, Definition, Slot, Values};
use crate::protocol::{MessageError, ROWS_MAX, Response, Row, SnapshotInfo};

/// Counters in one piece at most.
const PIECE_SLOTS: u32 = 4096;
/// Steps of matching in one piece, about: with the one above, what a snapshot costs a turn.
pub(super) const PIECE_STEPS: usize = 1 << 19;

/// A frozen moment of the counters that is being sent.
#[derive(Debug)]
pub struct Snapshot {
    info: SnapshotInfo,
    columns: Columns,
    window: u64,
    which: Which,
    next: Slot,
    sent: u64,
    begun: bool,
}

#[derive(Debug)]
enum Which {
    /// With what it goes by, and its steps for each character of a name.
    Selected(Selection, fn(&Selection, &str) -> bool, usize),
    These(std::vec::IntoIter<Slot>),
    /// Rows that are frames already, and what comes after them.
    Written(std::vec::IntoIter<Vec<u8>>, Response<'static>),
}

/// What one counter adds to a snapshot.
pub(super) type Found<'a> = (Definition<'a>, Values);

impl Snapshot {
    pub(super) fn all(
        info: SnapshotInfo,
        columns: Columns,
        window: u64,
        selection: Selection,
    ) -> Snapshot {
        let steps = selection.steps();
        Snapshot::of(info, columns, window, Which::Selected(selection, Selection::matches, steps))
    }

    pub(super) fn exactly(
        info: SnapshotInfo,
        columns: Columns,
        window: u64,
        selection: Selection,
    ) -> Snapshot {
        let steps = selection.steps();
        let which = Which::Selected(selection, Selection::matches_exactly, steps);
        Snapshot::of(info, columns, window, which)
    }

    pub(super) fn written(
        info: SnapshotInfo,
        frames: Vec<Vec<u8>>,
        last: Response<'static>,
    ) -> Snapshot {
        let which = Which::Written(frames.into_iter(), last);
        Snapshot::of(info, Columns::default(), 0, which)
    }

    pub(super) fn these(
        info: SnapshotInfo,
        columns: Columns,
        window: u64,
        slots: Vec<Slot>,
    ) -> Snapshot {
        Snapshot::of(info, columns, window, Which::These(slots.into_iter()))
    }

    fn of(info: SnapshotInfo, columns: Columns, window: u64, which: Which) -> Snapshot {
        Snapshot { info, columns, window, which, next: 0, sent: 0, begun: false }
    }

    /// Appends the next frames to `out`; returns whether the last of them was among those.
    ///
    /// # Errors
    /// [`MessageError`] if a message does not fit into a frame, which ours do.
    pub fn write_piece(&mut self, out: &mut Vec<u8>) -> Result<bool, MessageError> {
        if !self.begun {
            self.begun = true;
            Response::Snapshot(self.info).write(out)?;
        }
        let mut found: Vec<Found<'_>> = Vec::new();
        let columns = &self.columns;
        let done = match &mut self.which {
            Which::Written(frames, last) => {
                frames.next().into_iter().for_each(|some| out.extend_from_slice(&some));
                let done = frames.as_slice().is_empty();
                if done {
                    last.write(out)?;
                }
                return Ok(done);
            }
            Which::Selected(selection, matches, steps) => {
                let end = self.next.saturating_add(PIECE_SLOTS).min(columns.slots());
                let mut left = PIECE_STEPS;
                while self.next < end && left > 0 {
                    if let Some((definition, values)) = columns.get(self.next) {
                        left = left.saturating_sub(definition.name.len().saturating_mul(*steps));
                        if matches(selection, definition.name) {
                            found.push((definition, values));
                        }
                    }
                    self.next = self.next.saturating_add(1);
                }
                self.next >= columns.slots()
            }
            Which::These(slots) => {
                let piece = usize::try_from(PIECE_SLOTS).unwrap_or(usize::MAX);
                found.extend(slots.by_ref().take(piece).filter_map(|slot| columns.get(slot)));
                slots.as_slice().is_empty()
            }
        };
        write_rows(&found, self.window, out)?;
        let sent = u64::try_from(found.len()).unwrap_or(u64::MAX);
        self.sent = self.sent.saturating_add(sent);
        if done {
            Response::End { rows: self.sent }.write(out)?;
        }
        Ok(done)
    }
}

/// Appends counters as frames; what they gained is of this window.
pub(super) fn write_rows(
    found: &[Found<'_>],
    window: u64,
    out: &mut Vec<u8>,
) -> Result<(), MessageError> {
    for some in found.chunks(ROWS_MAX) {
        let rows = some.iter().map(|(definition, values)| Row {
            name: Cow::Borrowed(definition.name),
            total: values.total,
            since_flush: values.count(window),
            created_ms: definition.created_ms,
            last_seen_ms: values.last_seen_ms,
        });
        Response::Rows(rows.collect()).write(out)?;
    }
    Ok(())
}
