//! Refusals: why a request is not done, with the words for who asked and a number for the status.

use crate::protocol::ErrorCode;

/// What kind of reason; each has its number in the status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reason {
    BadRequest,
    BadName,
    Overflow,
    CounterLimit,
    UserLimit,
    OtherContent,
    OutOfOrder,
    TooOld,
    Forbidden,
    Busy,
    Disk,
    Sink,
}

const REASONS: [(Reason, &str); 12] = [
    (Reason::BadRequest, "bad_request"),
    (Reason::BadName, "bad_name"),
    (Reason::Overflow, "overflow"),
    (Reason::CounterLimit, "counter_limit"),
    (Reason::UserLimit, "user_limit"),
    (Reason::OtherContent, "other_content"),
    (Reason::OutOfOrder, "out_of_order"),
    (Reason::TooOld, "too_old"),
    (Reason::Forbidden, "forbidden"),
    (Reason::Busy, "busy"),
    (Reason::Disk, "disk"),
    (Reason::Sink, "sink"),
];

impl Reason {
    /// Whether it may hold no longer when what others did is undone.
    pub(super) fn depends_on_others(self) -> bool {
        matches!(self, Reason::Overflow | Reason::CounterLimit | Reason::UserLimit)
    }

    /// What the client is told to make of it.
    pub(super) fn code(self) -> ErrorCode {
        match self {
            Reason::BadRequest => ErrorCode::BadRequest,
            Reason::BadName
            | Reason::Overflow
            | Reason::CounterLimit
            | Reason::UserLimit
            | Reason::OtherContent
            | Reason::OutOfOrder
            | Reason::TooOld => ErrorCode::Refused,
            Reason::Forbidden => ErrorCode::Forbidden,
            Reason::Busy => ErrorCode::Busy,
            Reason::Disk | Reason::Sink => ErrorCode::Failed,
        }
    }
}

/// A request that is not done.
#[derive(Debug)]
pub(super) struct Refused {
    pub(super) reason: Reason,
    pub(super) message: String,
}

impl Refused {
    pub(super) fn new(reason: Reason, message: impl Into<String>) -> Refused {
        Refused { reason, message: message.into() }
    }
}

/// How many requests and entries were refused, by reason: in all, and since the last flush.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    ever: [u64; REASONS.len()],
    since_flush: [u64; REASONS.len()],
}

impl Refusals {
    pub(super) fn count(&mut self, reason: Reason) {
        let at = REASONS.iter().position(|(listed, _)| *listed == reason);
        for numbers in [&mut self.ever, &mut self.since_flush] {
            if let Some(number) = at.and_then(|at| numbers.get_mut(at)) {
                *number = number.saturating_add(1);
            }
        }
    }

    pub(super) fn flushed(&mut self) {
        self.since_flush = Default::default();
    }

    pub(super) fn total(&self) -> u64 {
        self.ever.iter().fold(0, |sum, number| sum.saturating_add(*number))
    }

    /// The reasons there were, with their numbers.
    pub(super) fn by_reason(&self) -> impl Iterator<Item = (&'static str, u64)> {
        REASONS.iter().zip(self.ever).filter(|(_, n)| *n > 0).map(|((_, name), n)| (*name, n))
    }

    /// The limits that were reached since the last flush, in words.
    pub(super) fn problems(&self) -> impl Iterator<Item = String> {
        let limits = |reason| match reason {
            Reason::CounterLimit => Some("refused since the last flush: over --max-counters"),
            Reason::UserLimit => Some("refused since the last flush: over --max-counters-per-user"),
            Reason::Busy => Some("refused since the last flush as too busy"),
            Reason::Disk => Some("not counted since the last flush: the journal failed"),
            Reason::BadRequest
            | Reason::BadName
            | Reason::Overflow
            | Reason::OtherContent
            | Reason::OutOfOrder
            | Reason::TooOld
            | Reason::Forbidden
            | Reason::Sink => None,
        };
        let reached = REASONS.iter().zip(self.since_flush).filter(|(_, n)| *n > 0);
        reached
            .filter_map(move |((reason, _), n)| limits(*reason).map(|what| format!("{n} {what}")))
    }
}
