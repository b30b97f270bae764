//! What a stream has sent, or is about to send, and has no answer to: a session's requests in their order,
//! and what each answer and each lost connection means for them. A pure value; it sends nothing and waits
//! for nothing.
//!
//! A daemon takes a session's requests only in their order, from the first on. So when one was not done, none
//! after it was or will be, before it is: all of them are sent again, from the oldest on, over another
//! connection. Under the same ids they are counted once, whatever became of them. Other ids are taken only
//! when it is sure that the oldest was never done.

use std::collections::VecDeque;

use crate::client::error::ClientError;
use crate::ids::{ANSWERS_PER_SESSION, Answer, RequestId};
use crate::protocol::{ErrorCode, Response};

/// The requests of a stream that are not answered.
#[derive(Debug)]
pub(crate) struct InFlight<T> {
    session: u128,
    /// The seq of the oldest.
    seq: u64,
    requests: VecDeque<Request<T>>,
    /// How many, from the oldest on, are out whole over the present connection.
    sent: usize,
    /// How far our clock is ahead of the daemon's.
    ahead_ns: u64,
    /// All of them were given other ids, and none was counted since.
    renewed: bool,
}

#[derive(Debug)]
struct Request<T> {
    content: T,
    born_ns: u64,
    /// It was out whole over a connection that is lost, without an answer: it may have been done.
    uncertain: bool,
}

/// What an answer means. When nothing is said of what is in flight, it is as it was.
#[derive(Debug)]
pub(crate) enum Heard<T> {
    /// The oldest is counted, but for what the answer refuses, and is no longer in flight.
    Counted(T, Answer),
    /// All that is in flight is to be sent again, over another connection.
    SendAgain,
    /// The same, after a wait: the daemon could not do it just now, for this reason.
    SendLater(ClientError),
    /// The daemon cannot tell whether the oldest was done.
    Forgotten,
    /// The daemon will not do it, for this reason.
    Refused(ClientError),
    /// Nothing was asked that this could answer.
    Unasked,
}

impl<T> InFlight<T> {
    /// Nothing in flight, in a session of random bits.
    pub(crate) fn new(session: u128) -> InFlight<T> {
        InFlight {
            session,
            seq: 0,
            requests: VecDeque::new(),
            sent: 0,
            ahead_ns: 0,
            renewed: false,
        }
    }

    /// Whether all is answered.
    pub(crate) fn is_empty(&self) -> bool {
        self.requests.is_empty()
    }

    /// Whether there may be another.
    pub(crate) fn has_room(&self) -> bool {
        self.requests.len() < ANSWERS_PER_SESSION
    }

    /// What is in flight, oldest first.
    pub(crate) fn contents(&self) -> impl Iterator<Item = &T> {
        self.requests.iter().map(|request| &request.content)
    }

    /// Adds a request, the last to be sent; its time by our `CLOCK_BOOTTIME` is `now_ns`. The caller has
    /// seen that there is room.
    pub(crate) fn push(&mut self, content: T, now_ns: u64) {
        debug_assert!(self.has_room());
        if self.requests.is_empty() {
            // The daemon forgets a session that pauses.
            self.begin_session();
        }
        let born_ns = now_ns.saturating_sub(self.ahead_ns);
        self.requests.push_back(Request { content, born_ns, uncertain: false });
    }

    /// What is to be sent next over the present connection.
    pub(crate) fn next_to_send(&self) -> Option<(RequestId, &T)> {
        let request = self.requests.get(self.sent)?;
        let seq = self.seq.saturating_add(u64::try_from(self.sent).unwrap_or(u64::MAX));
        let id = RequestId { session: self.session, seq, born_ns: request.born_ns };
        Some((id, &request.content))
    }

    /// That is out, whole.
    pub(crate) fn sent(&mut self) {
        self.sent = self.sent.saturating_add(1).min(self.requests.len());
    }

    /// Whether an answer is waited for.
    pub(crate) fn is_awaited(&self) -> bool {
        self.sent > 0
    }

    /// Whether any may have been done.
    pub(crate) fn is_uncertain(&self) -> bool {
        self.sent > 0 || self.requests.iter().any(|request| request.uncertain)
    }

    /// The connection is lost: all is to be sent again over another.
    pub(crate) fn connection_lost(&mut self) {
        for request in self.requests.iter_mut().take(self.sent) {
            request.uncertain = true;
        }
        self.sent = 0;
    }

    /// Takes in what the daemon said, at `now_ns` by our `CLOCK_BOOTTIME`. Unless the oldest was counted, the
    /// connection is of no more use.
    pub(crate) fn hear(&mut self, response: Response<'_>, now_ns: u64) -> Heard<T> {
        match response {
            Response::Counted(answer) if self.is_awaited() => match self.requests.pop_front() {
                Some(request) => {
                    self.sent = self.sent.saturating_sub(1);
                    self.seq = self.seq.saturating_add(1);
                    self.renewed = false;
                    Heard::Counted(request.content, answer.into_owned())
                }
                None => Heard::Unasked,
            },
            Response::TooOld { now_ns: theirs_ns } if self.is_awaited() => {
                if self.oldest_is_uncertain() {
                    return Heard::Forgotten;
                }
                self.take_clock(theirs_ns, now_ns);
                self.begin_session();
                if std::mem::replace(&mut self.renewed, true) {
                    return Heard::SendLater(ClientError::clock_behind());
                }
                Heard::SendAgain
            }
            Response::Error { code, message } => {
                let code = ErrorCode::from(code);
                let message = message.into_owned();
                self.hear_refusal(code, ClientError::Refused { code, message })
            }
            Response::Counted(_)
            | Response::TooOld { .. }
            | Response::Counter(_)
            | Response::Snapshot(_)
            | Response::Rows(_)
            | Response::End { .. }
            | Response::Flushed { .. }
            | Response::Status(_) => Heard::Unasked,
        }
    }

    fn hear_refusal(&mut self, code: ErrorCode, refusal: ClientError) -> Heard<T> {
        let later = match code {
            ErrorCode::Busy | ErrorCode::Failed => true,
            // It is out of order: not done, whenever it was sent.
            ErrorCode::Refused if self.is_awaited() && self.seq > 0 => {
                self.begin_session();
                return Heard::SendAgain;
            }
            // It did not look whether it knows the id.
            ErrorCode::Version if self.requests.iter().any(|request| request.uncertain) => {
                return Heard::Forgotten;
            }
            ErrorCode::BadRequest
            | ErrorCode::Refused
            | ErrorCode::Version
            | ErrorCode::NotFound
            | ErrorCode::Forbidden
            | ErrorCode::Other(_) => false,
        };
        if !later {
            return Heard::Refused(refusal);
        }
        // The oldest was not done this time; of the others that are out it is not known.
        let before = self.oldest_is_uncertain();
        self.connection_lost();
        if let Some(oldest) = self.requests.front_mut() {
            oldest.uncertain = before;
        }
        Heard::SendLater(refusal)
    }

    fn oldest_is_uncertain(&self) -> bool {
        self.requests.front().is_some_and(|oldest| oldest.uncertain)
    }

    /// Nothing in flight was or will be done under the ids it has: it gets others.
    fn begin_session(&mut self) {
        self.session = self.session.wrapping_add(1);
        self.seq = 0;
        self.sent = 0;
        for request in &mut self.requests {
            request.uncertain = false;
        }
    }

    /// What was refused for its time is born again by the daemon's clock. Only what was born in the daemon's
    /// future shows that the clocks differ; after that a stream keeps to the daemon's.
    fn take_clock(&mut self, theirs_ns: u64, ours_ns: u64) {
        if self.requests.front().is_some_and(|oldest| oldest.born_ns > theirs_ns) {
            self.ahead_ns = ours_ns.saturating_sub(theirs_ns);
        }
        for request in &mut self.requests {
            request.born_ns = theirs_ns;
        }
    }
}

#[cfg(test)]
mod tests;
