//! What client and server say to each other on the socket, and its bytes. A connection opens with a
//! [`Hello`]; then each side sends frames, each with one [`Request`] or [`Response`]. Variants and fields are
//! only ever added at the end of what they belong to, with a new [`VERSION`]; the bytes of
//! [`Response::Error`] never change, so that any two versions can tell each other that they do not fit.
//!
//! ```text
//! client: hello (8 bytes)  frame(Request) frame(Request) ...
//! server:                  frame(Response) ...
//! ```
//!
//! Every request has one response, in order; a snapshot has `Snapshot`, any number of `Rows`, and `End`.

#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::as_conversions)]

mod addition;
pub mod spooled;

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{Error as _, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

pub use addition::Addition;

use crate::codec::{self, Malformed};
use crate::frame::{self, Oversized};
use crate::ids::{Answer, RequestId};

/// The version of the protocol this countd speaks.
pub const VERSION: u8 = 1;
/// The oldest version a server still speaks.
pub const VERSION_OLDEST: u8 = 1;
/// Increments in one request.
pub const ENTRIES_MAX: usize = 4096;
/// Patterns in one request.
pub const PATTERNS_MAX: usize = 256;
/// Tag filters in one request.
pub const TAG_FILTERS_MAX: usize = 64;
/// Steps of all patterns and tag filters of one request, for each character of a name: a wildcard, a
/// character beside one, and each range of a set are a step; a pattern without wildcards is one.
pub const SELECTION_STEPS_MAX: usize = 4096;
/// Rows in one frame of a snapshot.
pub const ROWS_MAX: usize = 1024;

/// The first bytes a client sends: `countd`, the version, flags.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hello {
    /// The version the client speaks.
    pub version: u8,
    /// The client sends one request: the server hangs up when it has answered.
    pub one_request: bool,
}

/// Bytes of a [`Hello`].
pub const HELLO_BYTES: usize = 8;
const HELLO_MAGIC: [u8; 6] = *b"countd";
const FLAG_ONE_REQUEST: u8 = 1;

impl Hello {
    /// Its bytes.
    pub fn to_bytes(self) -> [u8; HELLO_BYTES] {
        let [c, o, u, n, t, d] = HELLO_MAGIC;
        [c, o, u, n, t, d, self.version, if self.one_request { FLAG_ONE_REQUEST } else { 0 }]
    }

    /// Reads a hello; `None` if the other side does not speak this protocol.
    pub fn from_bytes(bytes: &[u8; HELLO_BYTES]) -> Option<Hello> {
        let [magic @ .., version, flags] = bytes;
        let one_request = flags & FLAG_ONE_REQUEST != 0;
        (*magic == HELLO_MAGIC).then_some(Hello { version: *version, one_request })
    }
}

/// One addition: a counter's canonical name and how much.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry<'a> {
    /// The canonical name with tags.
    pub name: &'a str,
    /// How much; 0 declares the counter.
    pub amount: u64,
}

/// Which counters are meant. No pattern means all of them.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Wanted<'a> {
    /// Patterns; a counter has to match one.
    #[serde(borrow, deserialize_with = "at_most::<PATTERNS_MAX, _, _>")]
    pub patterns: Vec<&'a str>,
    /// Tag filters `KEY=GLOB`; a counter has to match all.
    #[serde(borrow, deserialize_with = "at_most::<TAG_FILTERS_MAX, _, _>")]
    pub tags: Vec<&'a str>,
}

/// What a client asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Request<'a> {
    /// Add to counters. Answered by [`Response::Counted`].
    Incr {
        /// The request's id, the same at each retry.
        id: RequestId,
        /// All entries or none; else those that can be applied, and the answer names the others.
        atomic: bool,
        /// Whether the answer is to have the new totals.
        totals: bool,
        /// What to add.
        #[serde(borrow, deserialize_with = "at_most::<ENTRIES_MAX, _, _>")]
        entries: Vec<Entry<'a>>,
    },
    /// One counter by its canonical name. Answered by [`Response::Counter`].
    Get {
        /// The name.
        name: &'a str,
    },
    /// A snapshot of counters. Answered by [`Response::Snapshot`] and what follows it.
    Dump {
        /// Which.
        #[serde(borrow)]
        wanted: Wanted<'a>,
    },
    /// Forget counters. Answered as [`Request::Dump`], with the counters as they were.
    Delete {
        /// Which; here a pattern without wildcards is exactly that counter.
        #[serde(borrow)]
        wanted: Wanted<'a>,
        /// Only say which they would be.
        dry_run: bool,
    },
    /// Flush now. Answered by [`Response::Flushed`] when every sink has it.
    Flush {
        /// How long to wait for the sinks, in milliseconds.
        timeout_ms: u64,
    },
    /// The daemon's health. Answered by [`Response::Status`].
    Status,
}

/// A counter in a snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row<'a> {
    /// Its canonical name with tags.
    #[serde(borrow)]
    pub name: Cow<'a, str>,
    /// What it gained since it was created.
    pub total: u64,
    /// What it gained since the last flush.
    pub since_flush: u64,
    /// When it was created, in milliseconds since 1970-01-01 UTC.
    pub created_ms: u64,
    /// When it was last counted, likewise.
    pub last_seen_ms: u64,
}

/// What a snapshot says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct SnapshotInfo {
    /// Its moment, in milliseconds since 1970-01-01 UTC.
    pub taken_ms: u64,
    /// How long the window has been open, in milliseconds.
    pub window_open_ms: u64,
    /// The flush interval, in milliseconds.
    pub interval_ms: u64,
}

/// A number or a word in a status.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Value {
    /// Words.
    Text(String),
    /// A plain number.
    Number(u64),
    /// Bytes.
    Bytes(u64),
    /// A length of time, in milliseconds.
    DurationMs(u64),
    /// A moment, in milliseconds since 1970-01-01 UTC.
    TimeMs(u64),
}

/// The daemon's health.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct StatusReport {
    /// What is wrong, for a person; empty when all is well.
    pub problems: Vec<String>,
    /// Facts, each with a key in `snake_case`; new ones may be added anywhere.
    pub facts: Vec<(String, Value)>,
}

/// Why a request was not done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorCode {
    /// The request cannot be understood.
    BadRequest,
    /// The client's version is not spoken here.
    Version,
    /// A rule or a limit forbids it.
    Refused,
    /// The daemon has too much to do just now; the same request may succeed in a moment.
    Busy,
    /// There is no such counter.
    NotFound,
    /// The caller may not do that.
    Forbidden,
    /// The daemon could not do it: the disk, a sink.
    Failed,
    /// A code of a newer version.
    Other(u8),
}

impl From<u8> for ErrorCode {
    fn from(code: u8) -> ErrorCode {
        match code {
            1 => ErrorCode::BadRequest,
            2 => ErrorCode::Version,
            3 => ErrorCode::Refused,
            4 => ErrorCode::Busy,
            5 => ErrorCode::NotFound,
            6 => ErrorCode::Forbidden,
            7 => ErrorCode::Failed,
            other => ErrorCode::Other(other),
        }
    }
}

impl From<ErrorCode> for u8 {
    fn from(code: ErrorCode) -> u8 {
        match code {
            ErrorCode::BadRequest => 1,
            ErrorCode::Version => 2,
            ErrorCode::Refused => 3,
            ErrorCode::Busy => 4,
            ErrorCode::NotFound => 5,
            ErrorCode::Forbidden => 6,
            ErrorCode::Failed => 7,
            ErrorCode::Other(other) => other,
        }
    }
}

/// What the server answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Response<'a> {
    /// The request was not done. These bytes never change: 0, the code, the message's length, the message.
    Error {
        /// An [`ErrorCode`] as a number.
        code: u8,
        /// Why, for a person.
        #[serde(borrow)]
        message: Cow<'a, str>,
    },
    /// The increments are in the journal.
    Counted(Cow<'a, Answer>),
    /// The id is too old, or from the future, so it cannot be told whether it was counted before. Whoever
    /// has sent it only once may take a new id, born at this time.
    TooOld {
        /// The daemon's `CLOCK_BOOTTIME`, in nanoseconds.
        now_ns: u64,
    },
    /// One counter.
    Counter(#[serde(borrow)] Row<'a>),
    /// A snapshot begins.
    Snapshot(SnapshotInfo),
    /// Some of its counters, in no order.
    Rows(#[serde(borrow, deserialize_with = "at_most::<ROWS_MAX, _, _>")] Vec<Row<'a>>),
    /// A snapshot ends.
    End {
        /// How many counters it had.
        rows: u64,
    },
    /// A window was closed and every sink has it.
    Flushed {
        /// Its number, or that of the last one if there was nothing to flush.
        window: u64,
    },
    /// The daemon's health.
    Status(StatusReport),
}

/// A message that cannot be put into a frame or taken out of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MessageError {
    /// Its bytes are not a message.
    Malformed(Malformed),
    /// It is too long.
    Oversized(Oversized),
}

impl fmt::Display for MessageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            MessageError::Malformed(error) => error.fmt(f),
            MessageError::Oversized(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for MessageError {}

impl From<Malformed> for MessageError {
    fn from(error: Malformed) -> MessageError {
        MessageError::Malformed(error)
    }
}

impl From<Oversized> for MessageError {
    fn from(error: Oversized) -> MessageError {
        MessageError::Oversized(error)
    }
}

impl<'a> Request<'a> {
    /// Appends the request to `out` as a frame.
    ///
    /// # Errors
    /// [`MessageError::Oversized`] when it does not fit into one.
    pub fn write(&self, out: &mut Vec<u8>) -> Result<(), MessageError> {
        frame::write(out, |out| Ok(codec::encode(self, out)?))
    }

    /// Reads a request from a frame's payload.
    ///
    /// # Errors
    /// [`Malformed`] for anything but the bytes of one request.
    pub fn from_payload(payload: &'a [u8]) -> Result<Request<'a>, Malformed> {
        codec::decode(payload)
    }
}

impl<'a> Response<'a> {
    /// An error with its code and message.
    pub fn error(code: ErrorCode, message: impl Into<Cow<'a, str>>) -> Response<'a> {
        Response::Error { code: code.into(), message: message.into() }
    }

    /// Appends the response to `out` as a frame.
    ///
    /// # Errors
    /// [`MessageError::Oversized`] when it does not fit into one.
    pub fn write(&self, out: &mut Vec<u8>) -> Result<(), MessageError> {
        frame::write(out, |out| Ok(codec::encode(self, out)?))
    }

    /// Reads a response from a frame's payload.
    ///
    /// # Errors
    /// [`Malformed`] for anything but the bytes of one response.
    pub fn from_payload(payload: &'a [u8]) -> Result<Response<'a>, Malformed> {
        codec::decode(payload)
    }
}

/// Decodes a list of at most `MAX`: a longer one is refused at its first entry too many, before there is
/// memory for it.
fn at_most<'de, const MAX: usize, T, D>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    T: Deserialize<'de>,
    D: Deserializer<'de>,
{
    struct Bounded<const MAX: usize, T>(PhantomData<T>);

    impl<'de, const MAX: usize, T: Deserialize<'de>> Visitor<'de> for Bounded<MAX, T> {
        type Value = Vec<T>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "at most {MAX} entries")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut entries: A) -> Result<Vec<T>, A::Error> {
            let claimed = entries.size_hint().unwrap_or(0);
            if claimed > MAX {
                return Err(A::Error::custom(format_args!("{claimed} entries, limit {MAX}")));
            }
            let mut list = Vec::with_capacity(claimed);
            while let Some(entry) = entries.next_element()? {
                if list.len() >= MAX {
                    return Err(A::Error::custom(format_args!("over {MAX} entries")));
                }
                list.push(entry);
            }
            Ok(list)
        }
    }

    deserializer.deserialize_seq(Bounded::<MAX, T>(PhantomData))
}

#[cfg(test)]
#[expect(clippy::indexing_slicing, reason = "tests may panic")]
mod tests;
