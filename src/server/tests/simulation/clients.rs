//! Clients as they should be: one-shot ones and streams, which keep the ids of what they ask, repeat it until
//! it is answered, and hold what they are told against the ledger. Some are slow, and some hang up. What a
//! stream has in flight, and what it makes of an answer, is what the real one has and makes.

use std::collections::VecDeque;

use super::ledger::{DELETED, Entries, PAIR, Totals};
use super::world::{Mode, World};
use crate::client::in_flight::{Heard, InFlight};
use crate::frame;
use crate::ids::{Answer, REMEMBERED_NS, RequestId};
use crate::protocol::{Entry, ErrorCode, Hello, Request, Response, VERSION, Wanted};
use crate::server::tests::OWNER;

/// A uid that is not the daemon's.
const STRANGER: u32 = 2_000;
/// Requests that may be repeated later.
const DONE_MAX: usize = 60;

#[derive(Debug, Clone)]
enum Ask {
    Incr { id: RequestId, atomic: bool, totals: bool, entries: Entries },
    Get(String),
    Dump,
    Delete,
    Flush,
    Status,
}

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

    /// Hears what came: whether the connection goes on, or `None` if nothing is wanted any more.
    fn listen(&mut self, world: &mut World) -> Option<bool> {
        while let Some(range) = frame::first(&self.got).unwrap() {
            let payload: Vec<u8> = self.got.drain(..range.end).skip(range.start).collect();
            let response = Response::from_payload(&payload).unwrap();
            if let Response::Rows(rows) = response {
                self.rows.extend(rows.iter().map(|row| (row.name.to_string(), row.total)));
                continue;
            }
            if let Response::Snapshot(_) = response {
                continue;
            }
            world.note(|| format!("client {} gets {response:?}", self.session));
            if self.stream.is_some() {
                match self.stream_hears(world, response) {
                    Some(true) => continue,
                    end => return end,
                }
            }
            let Some(pending) = self.pending.pop_front() else {
                let text = format!("{response:?}");
                let busy = self.uid == STRANGER && text.contains("its limit");
                assert!(busy || text.contains("no complete request"), "unasked: {text}");
                return Some(false);
            };
            self.on_the_way -= self.on_the_way.min(1);
            match self.answered(world, pending, &response) {
                Some(true) => {}
                end => return end,
            }
        }
        Some(true)
    }

    /// Lets a stream make of an answer what the real one does.
    fn stream_hears(&mut self, world: &mut World, response: Response<'_>) -> Option<bool> {
        let text = format!("{response:?}");
        // The answer may have been under way for long.
        let too_old = if let Response::TooOld { now_ns } = response { Some(now_ns) } else { None };
        let stream = self.stream.as_mut()?;
        let oldest_ns = stream.contents().next().map_or(0, |batch| batch.made_ns);
        let age_ns = world.now.boot_ns - oldest_ns;
        match stream.hear(response, world.now.boot_ns) {
            Heard::Counted(batch, answer) => {
                let Batch { entries, before, .. } = batch;
                world.ledger.counted(&entries, &answer, &before, world.now.boot_ns);
                Some(true)
            }
            // Its session was forgotten, or what came before it was not done.
            Heard::SendAgain => {
                self.renewed_ns = too_old.unwrap_or(self.renewed_ns);
                Some(false)
            }
            Heard::SendLater(why) => {
                let waited_ns = world.now.boot_ns - self.connected_ns;
                let late = text.contains("no complete request") && waited_ns >= 10_000_000_000;
                let busy = self.uid == STRANGER && text.contains("its limit");
                let renewed_ago_ns = world.now.boot_ns - self.renewed_ns;
                match too_old {
                    Some(now_ns) => {
                        assert!(renewed_ago_ns >= REMEMBERED_NS, "{why}");
                        self.renewed_ns = now_ns;
                    }
                    None => assert!(late || busy || world.trouble, "{why}"),
                }
                Some(false)
            }
            Heard::Forgotten => {
                assert!(age_ns >= REMEMBERED_NS, "forgotten at {} ms", age_ns / 1_000_000);
                self.left = 0;
                None
            }
            Heard::Refused(why) => panic!("a stream was refused: {why}"),
            Heard::Unasked => panic!("a stream did not ask: {text}"),
        }
    }

    fn answered(&mut self, world: &mut World, asked: Pending, got: &Response<'_>) -> Option<bool> {
        match (&asked.ask, got) {
            (_, Response::Error { code, message }) => {
                // A deletion that broke off had some of them.
                world.ledger.deleted(&std::mem::take(&mut self.rows));
                return self.refused(world, asked, ErrorCode::from(*code), message);
            }
            (Ask::Incr { entries, .. }, Response::Counted(answer)) => match &asked.known {
                Some(known) => assert_eq!(answer.as_ref(), known, "{asked:?} asked again"),
                None => {
                    let now_ns = world.now.boot_ns;
                    world.ledger.counted(entries, answer, &asked.before, now_ns);
                    let answer = answer.as_ref().clone();
                    world.done.push(Done { uid: self.uid, ask: asked.ask, answer });
                    if world.done.len() > DONE_MAX {
                        world.done.remove(0);
                    }
                }
            },
            (Ask::Incr { id, entries, .. }, Response::TooOld { .. }) => {
                let age_ns = world.now.boot_ns - id.born_ns;
                let age_ms = age_ns / 1_000_000;
                assert!(age_ns >= REMEMBERED_NS, "too old at {age_ms} ms: {asked:?}");
                if asked.known.is_none() && asked.times_sent == 1 {
                    world.ledger.taken_back(entries);
                }
                return None;
            }
            (Ask::Get(name), Response::Counter(row)) => {
                assert_eq!(row.name, *name);
                let least = asked.before.get(name).unwrap_or(&0);
                assert!(name.starts_with(DELETED) || row.total >= *least, "{row:?}, {least}");
            }
            (Ask::Dump, Response::End { rows }) => {
                assert_eq!(*rows, self.rows.len() as u64);
                world.ledger.check(&self.rows, &asked.before, "in a dump");
                self.rows.clear();
            }
            (Ask::Delete, Response::End { .. }) => {
                world.ledger.deleted(&self.rows);
                self.rows.clear();
            }
            (Ask::Flush, Response::Flushed { .. }) | (Ask::Status, Response::Status(_)) => {}
            (ask, got) => panic!("{ask:?} was answered {got:?}"),
        }
        Some(true)
    }

    /// Every refusal has its reason in the world.
    fn refused(
        &mut self,
        world: &mut World,
        asked: Pending,
        code: ErrorCode,
        message: &str,
    ) -> Option<bool> {
        let waited_ns = world.now.boot_ns - self.connected_ns;
        let expected = match (code, &asked.ask) {
            (ErrorCode::Forbidden, Ask::Delete | Ask::Flush) => self.uid == STRANGER,
            (ErrorCode::NotFound, Ask::Get(name)) => {
                name.starts_with(DELETED) || asked.before.get(name).is_none_or(|total| *total == 0)
            }
            (ErrorCode::Failed, Ask::Flush) => true,
            (ErrorCode::Failed, _) => world.trouble,
            (ErrorCode::Busy, Ask::Dump | Ask::Delete | Ask::Flush) => true,
            (ErrorCode::Busy, _) => {
                let late = message.contains("no complete request") && waited_ns >= 10_000_000_000;
                late || self.uid == STRANGER
            }
            _ => false,
        };
        assert!(expected, "{asked:?} was refused, {code:?}: {message}");
        let Ask::Incr { .. } = &asked.ask else { return None };
        // It asks again.
        self.pending.push_front(asked);
        Some(false)
    }
}

impl Ask {
    fn request(&self) -> Request<'_> {
        match self {
            Ask::Incr { id, atomic, totals, entries } => {
                let entries = entries.iter().map(|(name, amount)| Entry { name, amount: *amount });
                let entries = entries.collect();
                Request::Incr { id: *id, atomic: *atomic, totals: *totals, entries }
            }
            Ask::Get(name) => Request::Get { name },
            Ask::Dump => Request::Dump { wanted: Wanted::default() },
            Ask::Delete => {
                let wanted = Wanted { patterns: vec!["gone.*"], tags: Vec::new() };
                Request::Delete { wanted, dry_run: false }
            }
            Ask::Flush => Request::Flush { timeout_ms: 20_000 },
            Ask::Status => Request::Status,
        }
    }
}

fn name(world: &mut World) -> String {
    match world.dice.below(4) {
        0 => format!("n{}", world.dice.any_size(40)),
        1 => format!("{DELETED}{}", world.dice.below(3)),
        _ => format!("c{}", world.dice.below(4)),
    }
}

/// What some request adds. One with a bad name is refused whole unless it is a stream's.
fn entries(world: &mut World, bad_names: bool) -> Entries {
    if world.dice.happens(250) {
        let amount = 1 + world.dice.any_size(9);
        return PAIR.map(|name| (name.to_owned(), amount)).into();
    }
    let count = 1 + world.dice.any_size(4);
    let mut entries = Entries::new();
    for _ in 0..count {
        let bad = bad_names && world.dice.happens(50);
        let name = if bad { ".bad".to_owned() } else { name(world) };
        entries.push((name, world.dice.any_size(100)));
    }
    entries
}
