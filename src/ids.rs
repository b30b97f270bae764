//! Ids of increment requests: which were answered, with what, and which are too old to tell. A known id gets
//! its first answer again, so a request that is sent twice counts once. Ids are kept for a while and up to a
//! number; what is forgotten raises the horizon, and a request born no later than that is refused, because
//! it might be one of them. Nothing here applies a request or reads a clock.

#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::as_conversions)]

use std::collections::{HashMap, VecDeque};

use serde::{Deserialize, Serialize};

use crate::window::BootId;

/// How many answers are remembered at most.
pub const IDS_MAX: usize = 1 << 18;
/// How many bytes the remembered answers take at most, beside the ids themselves.
pub const ANSWER_BYTES_MAX: usize = 32 << 20;
/// How many of a session's last answers are repeated, and so how many of its requests may be in flight.
pub const ANSWERS_PER_SESSION: usize = 16;
/// How long an answer is remembered, in nanoseconds of the daemon's own running time.
pub const REMEMBERED_NS: u64 = 60_000_000_000;

/// What names a request for good: chosen by the client, the same at every retry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct RequestId {
    /// 128 random bits, one draw a client process; its further sessions count on from there.
    pub session: u128,
    /// The request's number in its session: from 0, one higher each time.
    pub seq: u64,
    /// When it was sent first: nanoseconds by `CLOCK_BOOTTIME`.
    pub born_ns: u64,
}

/// Why an entry of a request was refused while others counted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusedEntry {
    /// Its place in the request, from 0.
    pub entry: u32,
    /// Why, for a person.
    pub reason: String,
}

/// The answer to an increment request that was acknowledged.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Answer {
    /// The new totals in the order of the entries, if they were asked for.
    pub totals: Vec<u64>,
    /// The entries of a stream's request that were refused.
    pub refused: Vec<RefusedEntry>,
}

impl Answer {
    fn bytes(&self) -> usize {
        let reasons = self.refused.iter().map(|r| r.reason.len().saturating_add(32));
        self.totals.len().saturating_mul(8).saturating_add(reasons.sum::<usize>())
    }
}

/// An id with what it was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answered {
    /// The id.
    pub id: RequestId,
    /// A digest of the request, to tell a retry from another request under the same id.
    pub digest: u32,
    /// What it was answered; most answers are empty and take no memory.
    pub answer: Option<Box<Answer>>,
}

/// What is known of an id.
#[derive(Debug, PartialEq, Eq)]
pub enum Known<'a> {
    /// It was never applied: apply it.
    New,
    /// It was applied.
    Again {
        /// What it was answered, unless that was only yes.
        answer: Option<&'a Answer>,
        /// Its position, as of [`Ids::end`].
        position: u64,
    },
    /// It was applied with other content: the client is at fault.
    OtherContent,
    /// It was never applied, and another request of its session is the next; of a session that is not known
    /// the first.
    OutOfOrder {
        /// The seq that would be next.
        next: u64,
    },
    /// It may have been applied and forgotten, or its clock is not ours.
    TooOld,
}

#[derive(Debug, Clone)]
struct Stored {
    answered: Answered,
    at_boot_ns: u64,
    /// The position of the session's answer before this one.
    previous: Option<u64>,
}

/// The answers that are remembered, oldest first.
#[derive(Debug, Clone, Default)]
pub struct Ids {
    stored: VecDeque<Stored>,
    /// The position of the first of `stored`: positions count up for ever.
    first: u64,
    /// The position of each session's last answer.
    sessions: HashMap<u128, u64, foldhash::quality::RandomState>,
    answer_bytes: usize,
    horizon_ns: u64,
    boot: BootId,
}

impl Ids {
    /// Nothing remembered yet, in this boot.
    pub fn new(boot: BootId) -> Ids {
        Ids { boot, ..Ids::default() }
    }

    /// The largest `born_ns` that was forgotten.
    pub fn horizon_ns(&self) -> u64 {
        self.horizon_ns
    }

    /// The boot whose clock the ids were born by.
    pub fn boot(&self) -> BootId {
        self.boot
    }

    /// The position the next answer gets. Positions only count up.
    pub fn end(&self) -> u64 {
        self.first.saturating_add(u64::try_from(self.stored.len()).unwrap_or(u64::MAX))
    }

    /// Whether nothing is remembered.
    pub fn is_empty(&self) -> bool {
        self.stored.is_empty()
    }

    /// How many answers are remembered.
    pub fn len(&self) -> usize {
        self.stored.len()
    }

    /// Every answer, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &Answered> {
        self.stored.iter().map(|stored| &stored.answered)
    }

    /// Says what is known of `id` at `now_ns`, the daemon's own `CLOCK_BOOTTIME`.
    pub fn look_up(&self, id: &RequestId, digest: u32, now_ns: u64) -> Known<'_> {
        // Also the next of a session: once forgotten, it would lift the horizon past everybody's clock.
        let from_the_future = id.born_ns > now_ns;
        let latest = self.sessions.get(&id.session).and_then(|&at| Some((at, self.at(at)?)));
        let Some((mut position, mut stored)) = latest else {
            let too_old = from_the_future || id.born_ns <= self.horizon_ns;
            return match id.seq {
                _ if too_old => Known::TooOld,
                0 => Known::New,
                // What is in flight overtakes nothing that was sent before it, whatever became of that.
                _ => Known::OutOfOrder { next: 0 },
            };
        };
        let last = stored.answered.id.seq;
        if id.seq > last {
            let next = last.saturating_add(1);
            return match (id.seq == next, from_the_future) {
                (true, false) => Known::New,
                (true, true) => Known::TooOld,
                (false, _) => Known::OutOfOrder { next },
            };
        }
        for _ in 0..ANSWERS_PER_SESSION {
            if stored.answered.id == *id {
                let answer = stored.answered.answer.as_deref();
                let same = stored.answered.digest == digest;
                return if same { Known::Again { answer, position } } else { Known::OtherContent };
            }
            let Some(previous) = stored.previous.and_then(|at| Some((at, self.at(at)?))) else {
                break;
            };
            (position, stored) = previous;
        }
        Known::TooOld
    }

    /// Remembers an answer. What is over the limits is forgotten, oldest first.
    pub fn remember(&mut self, answered: Answered, at_boot_ns: u64) {
        let position = self.end();
        let previous = self.sessions.insert(answered.id.session, position);
        let bytes = answered.answer.as_ref().map_or(0, |answer| answer.bytes());
        self.answer_bytes = self.answer_bytes.saturating_add(bytes);
        self.stored.push_back(Stored { answered, at_boot_ns, previous });
        while self.stored.len() > IDS_MAX || self.answer_bytes > ANSWER_BYTES_MAX {
            if !self.forget_oldest() {
                break;
            }
        }
    }

    /// Takes back the answer that was remembered last.
    pub fn take_back(&mut self) {
        let Some(stored) = self.stored.pop_back() else { return };
        self.uncount(&stored);
        let session = stored.answered.id.session;
        match stored.previous.filter(|&at| at >= self.first) {
            Some(previous) => self.sessions.insert(session, previous),
            None => self.sessions.remove(&session),
        };
    }

    /// Forgets what has been remembered long enough.
    pub fn expire(&mut self, now_boot_ns: u64) {
        while let Some(oldest) = self.stored.front() {
            if now_boot_ns.saturating_sub(oldest.at_boot_ns) < REMEMBERED_NS {
                break;
            }
            self.forget_oldest();
        }
    }

    /// Takes over the horizon that an earlier run had reached.
    pub fn restore_horizon(&mut self, horizon_ns: u64) {
        self.horizon_ns = self.horizon_ns.max(horizon_ns);
    }

    /// Begins to run: what is remembered is remembered afresh from now on. In a new boot all of it goes,
    /// with the horizon: the clock it was born by is gone, and so are the clients.
    pub fn start(&mut self, boot: BootId, now_boot_ns: u64) {
        if boot != self.boot {
            *self = Ids::new(boot);
        }
        for stored in &mut self.stored {
            stored.at_boot_ns = now_boot_ns;
        }
    }

    fn at(&self, position: u64) -> Option<&Stored> {
        let index = position.checked_sub(self.first)?;
        self.stored.get(usize::try_from(index).ok()?)
    }

    fn uncount(&mut self, stored: &Stored) {
        let bytes = stored.answered.answer.as_ref().map_or(0, |answer| answer.bytes());
        self.answer_bytes = self.answer_bytes.saturating_sub(bytes);
    }

    fn forget_oldest(&mut self) -> bool {
        let Some(stored) = self.stored.pop_front() else { return false };
        self.uncount(&stored);
        let RequestId { session, born_ns, .. } = stored.answered.id;
        self.horizon_ns = self.horizon_ns.max(born_ns);
        if self.sessions.get(&session) == Some(&self.first) {
            self.sessions.remove(&session);
        }
        self.first = self.first.saturating_add(1);
        true
    }
}

#[cfg(test)]
#[expect(
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::indexing_slicing,
    reason = "tests reckon with small numbers, and may panic"
)]
mod tests {
    use super::*;

    const S: u64 = 1_000_000_000;

    fn id(session: u128, seq: u64, born_s: u64) -> RequestId {
        RequestId { session, seq, born_ns: born_s * S }
    }

    fn answered(id: RequestId, total: u64) -> Answered {
        let answer = Answer { totals: vec![total], refused: Vec::new() };
        Answered { id, digest: 7, answer: Some(Box::new(answer)) }
    }

    fn total_again(known: Known<'_>) -> u64 {
        let Known::Again { answer: Some(answer), .. } = known else {
            panic!("not known: {known:?}")
        };
        answer.totals[0]
    }

    #[test]
    fn a_known_id_gets_its_first_answer_again() {
        let mut ids = Ids::new(1);
        assert_eq!(ids.look_up(&id(5, 0, 10), 7, 10 * S), Known::New);
        ids.remember(answered(id(5, 0, 10), 42), 10 * S);
        assert_eq!(total_again(ids.look_up(&id(5, 0, 10), 7, 11 * S)), 42);
        assert_eq!(ids.look_up(&id(5, 0, 10), 8, 11 * S), Known::OtherContent);
    }

    #[test]
    fn only_the_next_of_a_session_is_new() {
        let mut ids = Ids::new(1);
        ids.remember(answered(id(5, 3, 10), 1), 10 * S);
        assert_eq!(ids.look_up(&id(5, 4, 10), 7, 11 * S), Known::New);
        assert_eq!(ids.look_up(&id(5, 5, 10), 7, 11 * S), Known::OutOfOrder { next: 4 });
        assert_eq!(ids.look_up(&id(5, 2, 10), 7, 11 * S), Known::TooOld);
    }

    #[test]
    fn an_unknown_session_begins_with_its_first() {
        let mut ids = Ids::new(1);
        assert_eq!(ids.look_up(&id(5, 1, 10), 7, 11 * S), Known::OutOfOrder { next: 0 });
        ids.remember(answered(id(5, 0, 10), 1), 10 * S);
        assert_eq!(ids.look_up(&id(5, 1, 10), 7, 11 * S), Known::New);
        ids.expire(70 * S);
        assert_eq!(ids.look_up(&id(5, 1, 10), 7, 71 * S), Known::TooOld);
        assert_eq!(ids.look_up(&id(5, 1, 11), 7, 71 * S), Known::OutOfOrder { next: 0 });
    }

    #[test]
    fn the_last_sixteen_answers_of_a_session_are_kept() {
        let mut ids = Ids::new(1);
        for seq in 0..40 {
            ids.remember(answered(id(5, seq, 10), seq), 10 * S);
        }
        for seq in 24..40 {
            assert_eq!(total_again(ids.look_up(&id(5, seq, 10), 7, 11 * S)), seq);
        }
        assert_eq!(ids.look_up(&id(5, 23, 10), 7, 11 * S), Known::TooOld);
    }

    #[test]
    fn what_is_forgotten_raises_the_horizon() {
        let mut ids = Ids::new(1);
        ids.remember(answered(id(5, 0, 10), 1), 10 * S);
        ids.expire(69 * S);
        assert_eq!(ids.len(), 1);
        ids.expire(70 * S);
        assert_eq!((ids.len(), ids.horizon_ns()), (0, 10 * S));
        assert_eq!(ids.look_up(&id(5, 0, 10), 7, 71 * S), Known::TooOld);
        assert_eq!(ids.look_up(&id(6, 0, 11), 7, 71 * S), Known::New);
    }

    #[test]
    fn an_id_from_the_future_is_refused() {
        assert_eq!(Ids::new(1).look_up(&id(5, 0, 12), 7, 11 * S), Known::TooOld);
    }

    #[test]
    fn the_next_of_a_session_is_refused_from_the_future_too() {
        let mut ids = Ids::new(1);
        ids.remember(answered(id(5, 0, 10), 1), 10 * S);
        let future = RequestId { session: 5, seq: 1, born_ns: u64::MAX };
        assert_eq!(ids.look_up(&future, 7, 11 * S), Known::TooOld);
    }

    #[test]
    fn the_last_seq_there_is_counts_once() {
        let mut ids = Ids::new(1);
        let last = RequestId { session: 5, seq: u64::MAX, born_ns: 10 };
        ids.remember(answered(last, 42), 10);
        assert_eq!(total_again(ids.look_up(&last, 7, 11)), 42);
    }

    #[test]
    fn over_the_limit_the_oldest_are_forgotten() {
        let mut ids = Ids::new(1);
        for n in 0..IDS_MAX + 10 {
            let id = RequestId { session: n as u128, seq: 0, born_ns: n as u64 };
            ids.remember(Answered { id, digest: 0, answer: None }, 0);
        }
        assert_eq!((ids.len(), ids.horizon_ns()), (IDS_MAX, 9));
    }

    #[test]
    fn large_answers_are_forgotten_by_their_size() {
        let mut ids = Ids::new(1);
        for n in 0..ANSWER_BYTES_MAX / 32_768 + 5 {
            let answer = Answer { totals: vec![0; 4_096], refused: Vec::new() };
            let id = RequestId { session: n as u128, seq: 0, born_ns: n as u64 };
            ids.remember(Answered { id, digest: 0, answer: Some(Box::new(answer)) }, 0);
        }
        assert_eq!(ids.len(), ANSWER_BYTES_MAX / 32_768);
    }

    #[test]
    fn what_is_taken_back_was_never_there() {
        let mut ids = Ids::new(1);
        ids.remember(answered(id(5, 0, 10), 1), 10 * S);
        ids.remember(answered(id(5, 1, 10), 2), 10 * S);
        ids.take_back();
        assert_eq!(ids.look_up(&id(5, 1, 10), 7, 11 * S), Known::New);
        ids.take_back();
        assert_eq!(ids.look_up(&id(5, 0, 10), 7, 11 * S), Known::New);
        assert_eq!((ids.len(), ids.horizon_ns(), ids.answer_bytes), (0, 0, 0));
    }

    #[test]
    fn a_new_boot_forgets_everything_and_the_horizon() {
        let mut ids = Ids::new(1);
        ids.remember(answered(id(5, 0, 10), 1), 10 * S);
        ids.restore_horizon(9 * S);
        ids.start(1, 50 * S);
        ids.expire(80 * S);
        assert_eq!(ids.len(), 1);
        ids.start(2, 1);
        assert_eq!((ids.len(), ids.horizon_ns(), ids.boot()), (0, 0, 2));
    }
}
