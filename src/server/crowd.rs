//! Who gives way when all places are taken and somebody waits for one, so that nobody can hold up the others by
//! sitting: who asks for nothing first, then who does not get on, then who never pauses. Who waits for an
//! answer of ours, or takes a dump, keeps its place. It decides, and hangs up on nobody.

use super::connection::Connection;

/// How long a connection that is not idle keeps its place at least, in nanoseconds. With 1,024 places and a
/// backlog of 4,096, who is last in that waits for less than half a second.
pub(super) const KEEPS_PLACE_NS: u64 = 100_000_000;

/// Why a connection can give way; who is first in this order is first to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Standing {
    /// It holds nothing that anybody waits for, as far as is known.
    Idle,
    /// Half a request of which nothing more is there, or answers of which it takes nothing.
    Stuck,
    /// It has not been idle at the end of a turn for long: it sends more before it is answered, or takes its
    /// answers slower than it asks.
    Restless,
}

/// A connection that can give way; of two, the lesser is the one to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Candidate {
    pub(super) standing: Standing,
    /// Since when it has been so, by `CLOCK_BOOTTIME`.
    since_ns: u64,
    pub(super) number: u64,
}

impl Candidate {
    /// From when on it can give way.
    fn can_from_ns(&self) -> u64 {
        match self.standing {
            Standing::Idle => 0,
            Standing::Stuck | Standing::Restless => self.since_ns.saturating_add(KEEPS_PLACE_NS),
        }
    }
}

/// Those that can give way now, whoever is to do so first in front.
pub(super) fn candidates<'a>(
    connections: impl Iterator<Item = &'a Connection>,
    now_ns: u64,
) -> Vec<Candidate> {
    let can = |c| as_candidates(c).find(|candidate| candidate.can_from_ns() <= now_ns);
    let mut found: Vec<Candidate> = connections.filter_map(can).collect();
    found.sort_unstable();
    found
}

/// When the first of them can, if nothing but time passes.
pub(super) fn first_ns<'a>(connections: impl Iterator<Item = &'a Connection>) -> Option<u64> {
    connections.flat_map(as_candidates).map(|candidate| candidate.can_from_ns()).min()
}

/// All that a connection can give way as, now or later, in order.
fn as_candidates(connection: &Connection) -> impl Iterator<Item = Candidate> {
    let idle = connection.is_idle().then_some(connection.last_active_ns);
    let busy = idle.is_none() && !connection.is_answered_later();
    let stuck = connection.stuck_since_ns().filter(|_| busy);
    let restless = connection.restless_since_ns.filter(|_| busy && connection.snapshots() == 0);
    let standings =
        [(Standing::Idle, idle), (Standing::Stuck, stuck), (Standing::Restless, restless)];
    let number = connection.number;
    standings.into_iter().filter_map(move |(standing, since)| {
        since.map(|since_ns| Candidate { standing, since_ns, number })
    })
}
