//! Clients as they should be: one-shot ones and streams, which keep the ids of what they ask and repeat it until
//! it is answered. Some are slow, and some hang up. What a stream has in flight, and what it makes of an answer,
//! is what the real one has and makes. What answers must be is in `answers`.

mod answers;
mod asks;

use std::collections::VecDeque;

use self::asks::{Ask, entries, name};
use super::ledger::{Entries, Totals};
use super::world::{Mode, World};
use crate::client::in_flight::InFlight;
use crate::ids::{Answer, RequestId};
use crate::protocol::{Hello, VERSION};
use crate::server::tests::OWNER;

/// A uid that is not the daemon's.
const STRANGER: u32 = 2_000;

/// A request that is not answered yet.
#[derive(Debug, Clone)]
struct Pending {
    ask: Ask,
    times_sent: u32,
    /// What was acknowledged when it was sent first.
    before: Totals,
    /// It was answered before, with this.
    known: Option<Answer>,
}

/// A batch of a stream.
#[derive(Debug)]
struct Batch {
    entries: Entries,
    totals: bool,
    made_ns: u64,
    /// What was acknowledged when it was made.
    before: Totals,
}

/// A request of a client that sends one, with its answer.
#[derive(Debug, Clone)]
pub(super) struct Done {
    uid: u32,
    ask: Ask,
    answer: Answer,
}

#[derive(Debug)]
pub(super) struct Client {
    uid: u32,
    session: u128,
    slow: bool,
    pending: VecDeque<Pending>,
    /// What a stream has in flight.
    stream: Option<InFlight<Batch>>,
    /// How many batches it has yet to make.
    left: u64,
    /// The next of them is on its way out.
    sending: bool,
    pub(super) conn: Option<u64>,
    connected_ns: u64,
    /// The time with which the requests of its stream were born again, by the daemon's clock.
    renewed_ns: u64,
    /// How many of those pending are on their way on this connection.
    on_the_way: usize,
    out: VecDeque<u8>,
    got: Vec<u8>,
    rows: Totals,
}

impl Client {
    /// Some client.
    pub(super) fn any(world: &mut World) -> Client {
        if !world.done.is_empty() && world.dice.happens(world.swarm.repeats) {
            let at = world.dice.index(world.done.len());
            let Done { uid, ask, answer } = world.done[at].clone();
            let mut client = Client::new(world, uid);
            client.push(world, ask, Some(answer));
            return client;
        }
        let uid = if world.dice.happens(world.swarm.strangers) { STRANGER } else { OWNER };
        let mut client = Client::new(world, uid);
        if world.dice.happens(world.swarm.streams) {
            client.stream = Some(InFlight::new(client.session));
            client.left = 1 + world.dice.any_size(60);
            // Its sessions count on from there.
            world.sessions += 1_000_000;
        } else if world.dice.happens(world.swarm.other_requests) {
            let ask = match world.dice.below(4) {
                0 => Ask::Get(name(world)),
                1 => Ask::Dump,
                2 => Ask::Flush,
                _ => Ask::Status,
            };
            client.push(world, ask, None);
        } else if world.dice.happens(world.swarm.deletes) {
            client.push(world, Ask::Delete, None);
        } else {
            let entries = entries(world, false);
            client.incr(world, entries);
        }
        client
    }

    fn new(world: &mut World, uid: u32) -> Client {
        world.sessions += 1;
        Client {
            uid,
            session: world.sessions,
            slow: world.dice.happens(world.swarm.slow_readers),
            pending: VecDeque::new(),
            stream: None,
            left: 0,
            sending: false,
            conn: None,
            connected_ns: 0,
            renewed_ns: 0,
            on_the_way: 0,
            out: VecDeque::new(),
            got: Vec::new(),
            rows: Totals::new(),
        }
    }

    /// A client of the owner's that counts these, once.
    pub(super) fn counting(world: &mut World, entries: Entries) -> Client {
        let mut client = Client::new(world, OWNER);
        client.incr(world, entries);
        client
    }

    /// A client of the owner's that flushes, and waits long enough.
    pub(super) fn flushing(world: &mut World) -> Client {
        let mut client = Client::new(world, OWNER);
        client.push(world, Ask::Flush, None);
        client
    }

    pub(super) fn deleting(world: &mut World) -> Client {
        let mut client = Client::new(world, OWNER);
        client.push(world, Ask::Delete, None);
        client
    }

    /// A client for each request that was answered, to ask it again.
    pub(super) fn repeating(world: &mut World) -> Vec<Client> {
        let done = world.done.clone();
        let again = done.into_iter().map(|Done { uid, ask, answer }| {
            let mut client = Client::new(world, uid);
            client.push(world, ask, Some(answer));
            client
        });
        again.collect()
    }

    fn incr(&mut self, world: &mut World, entries: Entries) {
        let id = RequestId { session: self.session, seq: 0, born_ns: world.now.boot_ns };
        let totals = world.dice.happens(500);
        self.push(world, Ask::Incr { id, atomic: true, totals, entries }, None);
    }

    /// Whether there is anything it still wants.
    fn has_more(&self) -> bool {
        let in_flight = self.stream.as_ref().is_some_and(|stream| !stream.is_empty());
        !self.pending.is_empty() || in_flight || self.left > 0
    }

    fn push(&mut self, world: &mut World, ask: Ask, known: Option<Answer>) {
        let before = Totals::new();
        world.note(|| {
            format!("client {} will ask {ask:?}, again: {}", self.session, known.is_some())
        });
        self.pending.push_back(Pending { ask, times_sent: 0, before, known });
    }

    /// Does one thing; returns whether it has more to do.
    pub(super) fn go_on(&mut self, world: &mut World) -> bool {
        let calm = world.mode == Mode::Calm;
        if calm {
            self.left = 0;
        }
        let Some(conn) = self.conn else {
            if !self.has_more() {
                return false;
            }
            if world.listening {
                self.connect(world);
            }
            return true;
        };
        if !calm && world.dice.happens(world.swarm.hang_ups) {
            return self.lose(world, "hangs up");
        }
        self.want_more(world);
        if !self.out.is_empty() && (calm || world.dice.happens(600)) {
            let all = self.out.len();
            let torn = !calm && world.dice.happens(world.swarm.torn_sends);
            let count = if torn { 1 + world.dice.index(all.min(300)) } else { all };
            let some: Vec<u8> = self.out.drain(..count.min(all)).collect();
            if !world.send(conn, some.into_iter()) {
                self.out.clear();
            } else if self.sending && self.out.is_empty() {
                self.sending = false;
                self.stream.iter_mut().for_each(InFlight::sent);
            }
        }
        let most = if calm || !self.slow { usize::MAX } else { world.dice.any_size(600) as usize };
        let open = world.take(conn, most, &mut self.got);
        match self.listen(world) {
            Some(true) if open => {}
            Some(true) => return self.lose(world, "was hung up on"),
            Some(false) => return self.lose(world, "was refused"),
            None => {
                world.hang_up(conn);
                self.conn = None;
                return false;
            }
        }
        if !self.has_more() {
            world.hang_up(conn);
            self.conn = None;
            return false;
        }
        true
    }

    fn connect(&mut self, world: &mut World) {
        let slow = self.slow && world.mode != Mode::Calm;
        let conn = world.connect(self.uid, slow);
        world.note(|| format!("client {} connects as {conn}", self.session));
        (self.conn, self.connected_ns) = (Some(conn), world.now.boot_ns);
        self.on_the_way = 0;
        self.got.clear();
        self.rows.clear();
        let hello = Hello { version: VERSION, one_request: self.stream.is_none() };
        self.out = hello.to_bytes().into();
        self.sending = false;
    }

    /// The connection is gone. Increments are asked for again, all else is given up.
    fn lose(&mut self, world: &mut World, how: &str) -> bool {
        world.note(|| format!("client {} {how}", self.session));
        if let Some(conn) = self.conn.take() {
            world.hang_up(conn);
        }
        let deletes = |p: &Pending| matches!(p.ask, Ask::Delete) && p.times_sent > 0;
        if self.pending.iter().any(deletes) {
            world.ledger.maybe_deleted();
        }
        self.pending.retain(|pending| matches!(pending.ask, Ask::Incr { .. }));
        if let Some(stream) = &mut self.stream {
            stream.connection_lost();
        }
        self.has_more()
    }

    /// The daemon is gone, and so is the connection.
    pub(super) fn daemon_is_gone(&mut self, world: &mut World) -> bool {
        let Some(conn) = self.conn else { return true };
        // What the daemon wrote before may be read after its end.
        if world.dice.happens(500) {
            world.take(conn, usize::MAX, &mut self.got);
            if self.listen(world).is_none() {
                world.hang_up(conn);
                return false;
            }
        }
        self.lose(world, "finds the daemon gone")
    }

    /// Makes requests and puts them on the way, as many as may be in flight.
    fn want_more(&mut self, world: &mut World) {
        self.stream_more(world);
        while self.on_the_way < self.pending.len() {
            let pending = &mut self.pending[self.on_the_way];
            self.on_the_way += 1;
            pending.times_sent += 1;
            if pending.times_sent == 1 && pending.known.is_none() {
                pending.before = world.ledger.acknowledged();
                if let Ask::Incr { entries, .. } = &pending.ask {
                    world.ledger.sent(entries);
                }
            }
            let mut bytes = Vec::new();
            pending.ask.request().write(&mut bytes).unwrap();
            self.out.extend(bytes);
        }
    }

    fn stream_more(&mut self, world: &mut World) {
        let Some(stream) = &mut self.stream else { return };
        if self.left > 0 && stream.has_room() && world.dice.happens(700) {
            self.left -= 1;
            let (entries, totals) = (entries(world, true), world.dice.happens(500));
            world.ledger.sent(&entries);
            world.note(|| format!("stream {} will add {entries:?}", self.session));
            let (before, made_ns) = (world.ledger.acknowledged(), world.now.boot_ns);
            stream.push(Batch { entries, totals, made_ns, before }, made_ns);
        }
        let next = stream.next_to_send().filter(|_| self.out.is_empty());
        if let Some((id, batch)) = next {
            let (totals, entries) = (batch.totals, batch.entries.clone());
            let mut bytes = Vec::new();
            Ask::Incr { id, atomic: false, totals, entries }.request().write(&mut bytes).unwrap();
            self.out.extend(bytes);
            self.sending = true;
        }
    }
}
