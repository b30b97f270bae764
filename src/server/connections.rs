//! All connections: accepting them, and the limits on their number and on what they hold. Who gives way when
//! there are too many is decided in `crowd`.

use std::collections::{HashMap, VecDeque};
use std::io;

use rustix::io::Errno;

use super::connection::{Connection, Outcome, REQUESTS_MAX};
use super::crowd::{self, Candidate, Standing};
use super::network::Network;
use super::numbers::{Numbers, Why};

/// Connections accepted in a turn.
const ACCEPTED_MAX: usize = 256;
/// Bytes read in a turn, from all.
const READ_PER_TURN_MAX: usize = 4 << 20;
/// Requests answered in a turn, of all; but one of each connection always.
const REQUESTS_PER_TURN_MAX: usize = 2_048;
/// Bytes of incomplete requests held, of all.
const HELD_MAX: usize = 32 << 20;
/// Bytes of incomplete requests one may hold whatever the others hold, so that small requests get through.
const HELD_BY_ONE_MIN: usize = 4 << 10;
/// Bytes of answers that wait for all; above it, who has some to take gets no more.
const QUEUED_ALL_MAX: usize = 32 << 20;
/// How long a request may take to come in whole, in nanoseconds.
pub(super) const INCOMPLETE_NS: u64 = 10_000_000_000;
/// How long answers may wait for a client that takes nothing of them, in nanoseconds.
pub(super) const STALLED_NS: u64 = 10_000_000_000;
/// How long the listener is left alone after descriptors ran out, in nanoseconds.
const ACCEPT_RETRY_NS: u64 = 100_000_000;
/// Bytes read at a time.
const BUFFER_BYTES: usize = 64 << 10;

/// What connections are limited to.
#[derive(Debug, Clone, Copy)]
pub struct ConnectionLimits {
    /// Connections in all.
    pub connections_max: usize,
    /// Connections of one uid; root and the owner are exempt.
    pub per_user_max: usize,
    /// The uid the daemon runs as.
    pub owner: u32,
}

/// The connections there are.
#[derive(Debug)]
pub(super) struct Connections {
    limits: ConnectionLimits,
    open: HashMap<u64, Connection, foldhash::fast::RandomState>,
    per_user: HashMap<u32, usize, foldhash::fast::RandomState>,
    /// The listener may have more to accept.
    pub(super) waiting: bool,
    /// Nobody is accepted any more: who waits is left to the next server.
    closed: bool,
    accept_after_ns: u64,
    /// Connections to look at in this turn, each once.
    active: Vec<u64>,
    /// Connections that held something incomplete when they were put here, oldest first.
    incomplete: VecDeque<(u64, u64)>,
    /// Connections that took nothing of what waits for them when they were put here, oldest first.
    stalled: VecDeque<(u64, u64)>,
    /// Bytes that came in and are not yet requests, of all.
    held: usize,
    /// Bytes of answers that wait, for all.
    queued: usize,
    buffer: Vec<u8>,
    pub(super) numbers: Numbers,
}

impl Connections {
    pub(super) fn new(limits: ConnectionLimits) -> Connections {
        Connections {
            limits,
            open: HashMap::default(),
            per_user: HashMap::default(),
            waiting: true,
            closed: false,
            accept_after_ns: 0,
            active: Vec::new(),
            incomplete: VecDeque::new(),
            stalled: VecDeque::new(),
            held: 0,
            queued: 0,
            buffer: vec![0; BUFFER_BYTES],
            numbers: Numbers::default(),
        }
    }

    /// How many there may be.
    pub(super) fn max(&self) -> usize {
        self.limits.connections_max
    }

    pub(super) fn len(&self) -> usize {
        self.open.len()
    }

    pub(super) fn get(&self, number: u64) -> Option<&Connection> {
        self.open.get(&number)
    }

    pub(super) fn get_mut(&mut self, number: u64) -> Option<&mut Connection> {
        self.open.get_mut(&number)
    }

    /// Snapshots that are waiting or under way.
    pub(super) fn snapshots(&self) -> usize {
        self.open.values().map(Connection::snapshots).sum()
    }

    /// Looks at this connection in this turn.
    pub(super) fn activate(&mut self, number: u64) {
        if let Some(connection) = self.open.get_mut(&number).filter(|c| !c.active) {
            connection.active = true;
            self.active.push(number);
        }
    }

    /// How many requests of each connection are answered in this turn: the fewer, the more have some, so that
    /// who waits to be accepted waits for short turns only.
    pub(super) fn share_of_requests(&self) -> usize {
        (REQUESTS_PER_TURN_MAX / self.active.len().max(1)).clamp(1, REQUESTS_MAX)
    }

    /// Calls `each` with the connections to look at in this turn.
    pub(super) fn each_active(&mut self, mut each: impl FnMut(&mut Connection)) {
        for number in &self.active {
            if let Some(connection) = self.open.get_mut(number) {
                each(connection);
            }
        }
    }

    pub(super) fn now_readable(&mut self, number: u64, ending: bool) {
        if let Some(connection) = self.open.get_mut(&number) {
            connection.now_readable(ending);
            self.activate(number);
        }
    }

    pub(super) fn now_writable(&mut self, number: u64) {
        if let Some(connection) = self.open.get_mut(&number) {
            connection.now_writable();
            if connection.wants_to_write() {
                self.activate(number);
            }
        }
    }

    /// Notes that somebody may wait to be accepted.
    pub(super) fn somebody_knocks(&mut self) {
        self.waiting = !self.closed;
    }

    /// Accepts nobody from now on.
    pub(super) fn accept_nobody(&mut self) {
        (self.waiting, self.closed) = (false, true);
    }

    /// Accepts who waits, as far as there is room.
    pub(super) fn accept(&mut self, network: &mut dyn Network, now_ns: u64) {
        if !self.waiting || now_ns < self.accept_after_ns {
            return;
        }
        // Found at the first need: in one turn no other can come to them.
        let mut candidates = None;
        let mut make_room = |connections: &mut Connections, network: &mut dyn Network| {
            let found = || crowd::candidates(connections.open.values(), now_ns).into_iter();
            let candidates = candidates.get_or_insert_with(found);
            connections.make_room_for_another(network, candidates)
        };
        let mut made_room = false;
        for _ in 0..ACCEPTED_MAX {
            let full = self.open.len() >= self.limits.connections_max;
            if full && !make_room(self, network) {
                return;
            }
            match network.accept() {
                Ok((number, uid)) => {
                    made_room = false;
                    self.admit(Connection::new(number, uid, now_ns));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.waiting = false;
                    return;
                }
                Err(error) if is_the_peers(&error) => {}
                // A connection may give back what is short; once, for it may be short elsewhere.
                Err(error) if is_shortage(&error) && !made_room => {
                    made_room = make_room(self, network);
                    if !made_room {
                        self.numbers.count(Why::NotAccepted);
                        self.accept_after_ns = now_ns.saturating_add(ACCEPT_RETRY_NS);
                        return;
                    }
                }
                // Whatever it is, it will not be better at once.
                Err(_) => {
                    self.numbers.count(Why::NotAccepted);
                    self.accept_after_ns = now_ns.saturating_add(ACCEPT_RETRY_NS);
                    return;
                }
            }
        }
    }

    /// When the listener is to be looked at again though nobody knocks: when there is room, or somebody who
    /// can give way.
    pub(super) fn accept_deadline_ns(&self) -> Option<u64> {
        let has_room = self.open.len() < self.limits.connections_max;
        let room_ns = if !self.waiting {
            None
        } else if has_room {
            Some(0)
        } else {
            crowd::first_ns(self.open.values())
        };
        room_ns.map(|at| at.max(self.accept_after_ns))
    }

    fn admit(&mut self, mut connection: Connection) {
        let Connection { number, uid, .. } = connection;
        self.numbers.ever = self.numbers.ever.saturating_add(1);
        let own = self.per_user.entry(uid).or_default();
        *own = own.saturating_add(1);
        let exempt = uid == 0 || uid == self.limits.owner;
        if !exempt && *own > self.limits.per_user_max {
            let max = self.limits.per_user_max;
            let message = format!("uid {uid} has {max} connections already, its limit");
            connection.refuse(Why::UserLimit, &message);
        }
        self.open.insert(number, connection);
        self.activate(number);
    }

    /// Lets the next candidate give way, if there is somebody to give way to.
    fn make_room_for_another(
        &mut self,
        network: &mut dyn Network,
        candidates: &mut impl Iterator<Item = Candidate>,
    ) -> bool {
        self.waiting = network.somebody_waits();
        let Some(candidate) = candidates.next().filter(|_| self.waiting) else { return false };
        self.numbers.count(match candidate.standing {
            Standing::Idle => Why::GaveWay,
            Standing::Stuck | Standing::Restless => Why::PushedOut,
        });
        self.close(network, candidate.number);
        true
    }

    /// Reads what the active connections have sent. Who got nothing of this turn's share is first in the
    /// next.
    pub(super) fn read(&mut self, network: &mut dyn Network) {
        let mut share = READ_PER_TURN_MAX;
        let mut gone = Vec::new();
        let mut reached = 0_usize;
        for number in &self.active {
            if share == 0 {
                break;
            }
            reached = reached.saturating_add(1);
            let Some(connection) = self.open.get_mut(number) else { continue };
            if !connection.wants_to_read() {
                continue;
            }
            let before = connection.held();
            let outcome = connection.read(network, &mut self.buffer);
            share = share.saturating_sub(connection.held().saturating_sub(before));
            recount(&mut self.held, connection);
            if outcome == Outcome::Ended {
                gone.push(*number);
            } else if self.held > HELD_MAX && connection.held() > HELD_BY_ONE_MIN {
                connection.refuse(Why::InputLimit, "too much is half sent just now; try again");
                recount(&mut self.held, connection);
            }
        }
        self.active.rotate_left(reached);
        for number in gone {
            self.close(network, number);
        }
    }

    /// Forgets what became requests, and notes what is incomplete.
    pub(super) fn forget_taken(&mut self, now_ns: u64) {
        for number in &self.active {
            let Some(connection) = self.open.get_mut(number) else { continue };
            let before = connection.incomplete_since_ns;
            connection.forget_taken(now_ns);
            recount(&mut self.held, connection);
            if let Some(since) = connection.incomplete_since_ns.filter(|s| before != Some(*s)) {
                self.incomplete.push_back((since, *number));
            }
        }
    }

    /// Refuses those whose request has been incomplete for too long, and hangs up on those who take no
    /// answer.
    pub(super) fn time_out(&mut self, network: &mut dyn Network, now_ns: u64) {
        self.time_out_stalled(network, now_ns);
        while let Some(&(since, number)) = self.incomplete.front() {
            let current = self.open.get(&number).and_then(|c| c.incomplete_since_ns) == Some(since);
            if current && now_ns.saturating_sub(since) < INCOMPLETE_NS {
                break;
            }
            self.incomplete.pop_front();
            if let Some(connection) = self.open.get_mut(&number).filter(|_| current) {
                connection.refuse(Why::TimedOut, "no complete request came in 10 s");
                connection.incomplete_since_ns = None;
                recount(&mut self.held, connection);
                self.activate(number);
            }
        }
    }

    /// Hangs up on those who have taken nothing of their answers for too long.
    fn time_out_stalled(&mut self, network: &mut dyn Network, now_ns: u64) {
        while let Some(&(since, number)) = self.stalled.front() {
            let current = self.open.get(&number).and_then(|c| c.stalled_since_ns) == Some(since);
            if current && now_ns.saturating_sub(since) < STALLED_NS {
                break;
            }
            self.stalled.pop_front();
            if current {
                self.numbers.count(Why::Stalled);
                self.close(network, number);
            }
        }
    }

    /// When the oldest incomplete request, or the oldest answer that nobody takes, is given up.
    pub(super) fn timeout_deadline_ns(&self) -> Option<u64> {
        let incomplete =
            self.incomplete.front().map(|(since, _)| since.saturating_add(INCOMPLETE_NS));
        let stalled = self.stalled.front().map(|(since, _)| since.saturating_add(STALLED_NS));
        incomplete.into_iter().chain(stalled).min()
    }

    /// Writes what the active connections take, hangs up on those that are done, and watches the others.
    /// What could go on at once is active in the next turn too.
    pub(super) fn write(&mut self, network: &mut dyn Network, now_ns: u64) {
        for number in std::mem::take(&mut self.active) {
            let Some(connection) = self.open.get_mut(&number) else { continue };
            connection.active = false;
            let before = connection.stalled_since_ns;
            let ended = connection.write(network, now_ns) == Outcome::Ended;
            if let Some(since) = connection.stalled_since_ns.filter(|s| before != Some(*s)) {
                self.stalled.push_back((since, number));
            }
            if let Some(why) = connection.refused.take() {
                self.numbers.count(why);
            }
            if ended || connection.is_done() {
                self.close(network, number);
                continue;
            }
            if !connection.watched && network.watch(number).is_err() {
                self.numbers.count(Why::NotAccepted);
                self.close(network, number);
                continue;
            }
            let queued = connection.queued();
            self.queued =
                self.queued.saturating_sub(connection.counted_queued).saturating_add(queued);
            connection.counted_queued = queued;
            connection.short = self.queued > QUEUED_ALL_MAX;
            connection.watched = true;
            if connection.wants_to_read()
                || connection.wants_to_write()
                || connection.wants_to_go_on()
            {
                self.activate(number);
            }
        }
    }

    #[cfg(test)]
    pub(super) fn active_len(&self) -> usize {
        self.active.len()
    }

    /// Whether there is work that need not wait for readiness.
    pub(super) fn has_work(&self) -> bool {
        !self.active.is_empty()
    }

    pub(super) fn close(&mut self, network: &mut dyn Network, number: u64) {
        let Some(connection) = self.open.remove(&number) else { return };
        network.close(number);
        self.held = self.held.saturating_sub(connection.counted);
        self.queued = self.queued.saturating_sub(connection.counted_queued);
        if let Some(own) = self.per_user.get_mut(&connection.uid) {
            *own = own.saturating_sub(1);
            if *own == 0 {
                self.per_user.remove(&connection.uid);
            }
        }
    }

    /// Lets nobody send more; what was sent is read to its end in the next turns.
    pub(super) fn shut_reading(&mut self, network: &mut dyn Network) {
        let known = self.active.len();
        for (&number, connection) in self.open.iter_mut().filter(|(_, c)| !c.shut) {
            connection.shut = true;
            network.shut_reading(number);
            connection.now_readable(true);
            if !connection.active {
                connection.active = true;
                self.active.push(number);
            }
        }
        // In the order they came, not that of the map.
        if let Some(shut) = self.active.get_mut(known..) {
            shut.sort_unstable();
        }
    }
}

/// Brings the bytes held by all up to date with what this connection holds.
fn recount(held: &mut usize, connection: &mut Connection) {
    *held = held.saturating_sub(connection.counted).saturating_add(connection.held());
    connection.counted = connection.held();
}

/// Whether an accept failed because of who wanted to connect, so that the next may succeed.
fn is_the_peers(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::Interrupted)
}

/// Whether an accept failed for want of descriptors or memory.
fn is_shortage(error: &io::Error) -> bool {
    let errno = Errno::from_io_error(error);
    errno.is_some_and(|e| [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM].contains(&e))
}
