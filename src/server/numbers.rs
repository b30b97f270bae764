//! Numbers of connections for the status: each way to refuse one, or to hang up on one, has its own. How
//! requests are refused is the core's business.

use crate::protocol::{ErrorCode, Value};
use crate::window::Moment;

/// Why a connection was refused, or hung up on, though its client had not ended it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Why {
    /// Its user has as many as one may.
    UserLimit,
    /// Too much is half sent, by all.
    InputLimit,
    /// What it sent first is no hello.
    NotCountd,
    /// Its hello names a version that is not spoken here.
    OtherVersion,
    /// It announced a frame that is too long.
    Oversized,
    /// A request did not come whole in time.
    TimedOut,
    /// It took nothing of its answers for too long.
    Stalled,
    /// It was idle, and another got its place.
    GaveWay,
    /// It was not idle, and another got its place all the same.
    PushedOut,
    /// The system had no descriptor or no memory for it.
    NotAccepted,
}

const KEYS: [(Why, &str); 10] = [
    (Why::UserLimit, "connections_over_user_limit"),
    (Why::InputLimit, "connections_over_input_limit"),
    (Why::NotCountd, "connections_not_countd"),
    (Why::OtherVersion, "connections_other_version"),
    (Why::Oversized, "connections_oversized"),
    (Why::TimedOut, "connections_timed_out"),
    (Why::Stalled, "connections_stalled"),
    (Why::GaveWay, "connections_gave_way"),
    (Why::PushedOut, "connections_pushed_out"),
    (Why::NotAccepted, "connections_not_accepted"),
];

impl Why {
    /// What the client is told to make of it, where it is told.
    pub(super) fn code(self) -> ErrorCode {
        match self {
            Why::NotCountd | Why::Oversized => ErrorCode::BadRequest,
            Why::OtherVersion => ErrorCode::Version,
            // Who was stopped in the middle of a request, and goes on, may ask again.
            Why::TimedOut
            | Why::UserLimit
            | Why::InputLimit
            | Why::Stalled
            | Why::GaveWay
            | Why::PushedOut
            | Why::NotAccepted => ErrorCode::Busy,
        }
    }

    /// The problem it is for the operator, in words that follow a number.
    fn problem(self) -> Option<&'static str> {
        match self {
            Why::UserLimit => Some(
                "connections refused since the last flush: a user had a quarter of --max-connections",
            ),
            Why::InputLimit => {
                Some("connections refused since the last flush: too much was half sent")
            }
            Why::PushedOut => Some(
                "connections that were not idle closed since the last flush: --max-connections \
                 were open",
            ),
            Why::NotAccepted => Some(
                "times since the last flush no connection could be accepted: the system had no file \
                 descriptor or no memory",
            ),
            Why::NotCountd
            | Why::OtherVersion
            | Why::Oversized
            | Why::TimedOut
            | Why::Stalled
            | Why::GaveWay => None,
        }
    }
}

/// How many connections there were, and what became of them: in all, and since the last flush.
#[derive(Debug, Default)]
pub(super) struct Numbers {
    pub(super) ever: u64,
    counts: [u64; KEYS.len()],
    since_flush: [u64; KEYS.len()],
    /// When the window was opened that `since_flush` is about.
    window_start: Moment,
}

impl Numbers {
    pub(super) fn count(&mut self, why: Why) {
        let at = KEYS.iter().position(|(listed, _)| *listed == why);
        for numbers in [&mut self.counts, &mut self.since_flush] {
            if let Some(number) = at.and_then(|at| numbers.get_mut(at)) {
                *number = number.saturating_add(1);
            }
        }
    }

    /// Notes when the open window was opened: at another moment than before, and there was a flush.
    pub(super) fn in_window(&mut self, start: Moment) {
        if self.window_start != start {
            (self.window_start, self.since_flush) = (start, Default::default());
        }
    }

    /// Each reason with its number, also those there were none of.
    pub(super) fn facts(&self) -> impl Iterator<Item = (String, Value)> {
        let with_numbers = KEYS.iter().zip(self.counts);
        with_numbers.map(|((_, key), number)| ((*key).to_owned(), Value::Number(number)))
    }

    /// What the operator should know of since the last flush, in words.
    pub(super) fn problems(&self) -> impl Iterator<Item = String> {
        let some = KEYS.iter().zip(self.since_flush).filter(|(_, number)| *number > 0);
        some.filter_map(|((why, _), number)| why.problem().map(|what| format!("{number} {what}")))
    }

    #[cfg(test)]
    pub(super) fn of(&self, why: Why) -> u64 {
        KEYS.iter().zip(self.counts).find(|((listed, _), _)| *listed == why).unwrap().1
    }
}
