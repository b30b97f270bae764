//! What the journal and the checkpoint say: records, the blocks that carry them, the state they describe,
//! and replay, which turns records back into state. Bytes and values only; files are the journal's business.
//!
//! Records hold absolute totals, so that replaying one twice changes nothing.

#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::as_conversions)]

pub mod block;
mod closed;
mod closing;
pub mod image;
mod numbers;
pub mod replay;
mod retired;
mod sinks;
pub mod state;

use serde::{Deserialize, Serialize};

use crate::codec::{self, Malformed};
use crate::ids::{Answer, RequestId};
use crate::window::{BootId, Moment, Window};

/// The kind of a counter, the only kind there is. A record with another is from a newer version.
pub const KIND_COUNTER: u8 = 0;

/// Where in a log file a report was to be written, so that a start can tell whether it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct FilePlace {
    /// The file's device.
    pub device: u64,
    /// The file's inode.
    pub inode: u64,
    /// Where its first byte goes.
    pub offset: u64,
    /// How many bytes.
    pub length: u64,
    /// Their CRC-32.
    pub crc: u32,
}

/// Windows handed to a sink and not yet acknowledged by it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offer {
    /// The number of the first window.
    pub first: u64,
    /// The number of the last window.
    pub last: u64,
    /// The layout, as text: the exposition format by its name, and options.
    pub layout: String,
    /// For a log file, where the bytes go.
    pub file: Option<FilePlace>,
}

/// A change of the state, or in a checkpoint a part of it. Variants are only ever added at the end.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Record<'a> {
    /// A counter was created, with a total of 0.
    Defined {
        /// Its number.
        id: u64,
        /// [`KIND_COUNTER`].
        kind: u8,
        /// The uid that created it.
        creator: u32,
        /// Its canonical name.
        #[serde(borrow)]
        name: &'a str,
    },
    /// A counter has this total now.
    Total {
        /// Its number.
        id: u64,
        /// The new total.
        total: u64,
    },
    /// A counter was deleted.
    Deleted {
        /// Its number.
        id: u64,
    },
    /// An increment request was applied.
    Answered {
        /// Its id.
        id: RequestId,
        /// The digest of its content.
        digest: u32,
        /// What it was answered, unless that was only yes.
        answer: Option<Box<Answer>>,
    },
    /// The window that was empty until now starts here.
    Opened {
        /// Its start.
        start: Moment,
    },
    /// The open window was closed.
    Closed {
        /// The window.
        window: Window,
        /// Whether idle counters are reported with 0.
        with_idle: bool,
    },
    /// The closed windows from `first` to `last` were made one.
    Merged {
        /// The number of the first.
        first: u64,
        /// The number of the last.
        last: u64,
    },
    /// A sink takes reports from now on.
    SinkAdded {
        /// Its place.
        place: &'a str,
        /// The last window it does not get.
        acknowledged: u64,
    },
    /// A sink is no longer owed anything.
    SinkRemoved {
        /// Its place.
        place: &'a str,
    },
    /// Windows are about to be written to a sink.
    Offered {
        /// Its place.
        place: &'a str,
        /// Which.
        offer: Offer,
    },
    /// A sink has what it was offered.
    Acknowledged {
        /// Its place.
        place: &'a str,
        /// The last window it has.
        last: u64,
    },
    /// The daemon began to run in this boot.
    Started {
        /// The kernel's boot id.
        boot: BootId,
        /// When.
        at: Moment,
    },
    /// Checkpoint: the parts of the state that are one value each. It comes first.
    Base {
        /// The number the next counter gets.
        next_counter: u64,
        /// The number of the open window.
        window: u64,
        /// When it opened.
        start: Moment,
        /// In which boot.
        start_boot: BootId,
        /// The largest `born_ns` of a forgotten id.
        horizon_ns: u64,
        /// The boot of the ids.
        ids_boot: BootId,
    },
    /// Checkpoint: a counter.
    Counter {
        /// Its number.
        id: u64,
        /// [`KIND_COUNTER`].
        kind: u8,
        /// The uid that created it.
        creator: u32,
        /// When, in milliseconds since 1970-01-01 UTC.
        created_ms: u64,
        /// When it was last counted, likewise.
        last_seen_ms: u64,
        /// Its total.
        total: u64,
        /// What it gained in the open window; `None` if it did not change in it.
        gained: Option<u64>,
        /// Its canonical name.
        name: &'a str,
    },
    /// Checkpoint: what a counter that was deleted in the open window had gained in it.
    Retired {
        /// Its name.
        name: &'a str,
        /// Its count.
        count: u64,
        /// Its total at removal.
        total: u64,
    },
    /// Checkpoint: a closed window that a sink is owed; its counts follow.
    Owed {
        /// The window.
        window: Window,
    },
    /// Checkpoint: a count of the owed window before it.
    OwedCount {
        /// The counter's name.
        name: &'a str,
        /// Its count.
        count: u64,
        /// Its total at the window's end.
        total: u64,
    },
    /// Checkpoint: its end. One without it was cut short.
    End {
        /// How many records came before.
        records: u64,
    },
    /// A request out of the spool was applied, and its session is held as long as its file may be there; also in a
    /// checkpoint.
    Held {
        /// The session of its id.
        session: u128,
    },
    /// The file of such a request is gone for good.
    Released {
        /// The session of its id.
        session: u128,
    },
    /// A sink was offered what has this timestamp, and gets later ones only.
    SinkReached {
        /// Its place.
        place: &'a str,
        /// The timestamp, in seconds since 1970-01-01 UTC.
        second: u64,
    },
    /// A sink took what it was offered, if anything was, and may lose it again: it is kept.
    Delivered {
        /// Its place.
        place: &'a str,
        /// The last window it took.
        last: u64,
        /// Up to this window it is safe where it went, and kept no longer.
        stored: u64,
    },
    /// Checkpoint: an offer that a sink took and that is kept, oldest first. Its windows are the last before it.
    Kept {
        /// Its place.
        place: &'a str,
        /// What it was offered.
        offer: Offer,
        /// How many windows that are.
        windows: u64,
    },
}

impl Record<'_> {
    /// Appends the record's bytes.
    ///
    /// # Errors
    /// [`Malformed`] when the codec refuses it, which it does for none of ours.
    pub fn encode(&self, out: &mut Vec<u8>) -> Result<(), Malformed> {
        codec::encode(self, out)
    }
}

/// The number of [`Record::Total`] among the kinds.
const TOTAL: u64 = 1;

/// Appends the bytes of [`Record::Total`]: most of what a journal has, so without a look at the other kinds.
pub fn encode_total(id: u64, total: u64, out: &mut Vec<u8>) {
    codec::put_number(TOTAL, out);
    codec::put_number(id, out);
    codec::put_number(total, out);
}

/// Why the next record of a payload cannot be had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RecordError {
    /// It is of a kind that this version does not know.
    Newer(u32),
    /// Its bytes are none of its kind.
    Malformed(Malformed),
}

/// Reads the records of a block's payload, one by one.
pub fn records(payload: &[u8]) -> impl Iterator<Item = Result<Record<'_>, RecordError>> {
    let mut rest = payload;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        match codec::decode_first(rest) {
            Ok((record, after)) => {
                rest = after;
                Some(Ok(record))
            }
            Err(error) => Some(Err(match unknown_kind(std::mem::take(&mut rest)) {
                Some(kind) => RecordError::Newer(kind),
                None => RecordError::Malformed(error),
            })),
        }
    })
}

/// The kind of the record that these bytes begin with, if this version knows none of that number. A kind that
/// it does know wants more bytes than its own number.
fn unknown_kind(bytes: &[u8]) -> Option<u32> {
    let (kind, after) = codec::decode_first::<u32>(bytes).ok()?;
    let alone = bytes.get(..bytes.len().checked_sub(after.len())?)?;
    let error = codec::decode_first::<Record<'_>>(alone).err()?;
    (!error.is_cut_short()).then_some(kind)
}

#[cfg(test)]
#[expect(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    reason = "tests reckon with small numbers, and may panic"
)]
mod tests;
