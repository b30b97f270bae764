//! Any order of sending, hearing, losses, turns, failing appends, kills, pauses of either side and other
//! clients: nothing is counted twice or acknowledged without being counted, and a stream that ends well has
//! counted all.

use proptest::prelude::*;

use super::*;
use crate::frame;
use crate::protocol::{Entry, Request};
use crate::record::replay::Replay;
use crate::record::state::State;
use crate::turn::{Core, OWED_BYTES_MAX, Peer, Reply, Rules, SNAPSHOTS_MAX};
use crate::window::{BootId, Moment};

const BOOT: BootId = 5;
const MS: u64 = 1_000_000;

#[derive(Debug, Clone)]
enum Event {
    /// The client has another request, if there is room.
    Push,
    /// It sends so many, connecting first if need be.
    Send(usize),
    /// It receives so many answers, and the end if that comes next.
    Hear(usize),
    /// It loses the connection, and what it did not receive.
    Lose,
    /// The daemon reads so many requests of each connection and answers; the append may fail. It may look
    /// at the youngest connection first.
    Turn { requests: usize, fails: bool, youngest_first: bool },
    /// It hangs up on the last connection, without a word or with one.
    HangUp(Option<ErrorCode>),
    /// It is killed and started again, before or after it answered this many requests of each connection.
    Kill { requests: usize, answered: bool },
    /// So many milliseconds, in which it may be that all are stopped.
    Pass(u64),
    /// Another client counts, and its id is newer than some.
    Other,
}

fn event() -> impl Strategy<Value = Event> {
    let few = || prop_oneof![4 => 1..4_usize, 1 => 1..20_usize];
    let said = prop::option::of(Just(ErrorCode::Busy));
    prop_oneof![
        8 => Just(Event::Push),
        6 => few().prop_map(Event::Send),
        6 => few().prop_map(Event::Hear),
        1 => Just(Event::Lose),
        6 => (few(), prop::bool::weighted(0.15), any::<bool>()).prop_map(
            |(requests, fails, youngest_first)| Event::Turn { requests, fails, youngest_first }
        ),
        1 => said.prop_map(Event::HangUp),
        1 => (0..4_usize, any::<bool>())
            .prop_map(|(requests, answered)| Event::Kill { requests, answered }),
        1 => prop_oneof![1..100_u64, 1..70_000_u64, Just(600_000)].prop_map(Event::Pass),
        1 => Just(Event::Other),
    ]
}

/// A connection as its two ends see it.
#[derive(Default)]
struct Pipe {
    requests: std::collections::VecDeque<Vec<u8>>,
    answers: std::collections::VecDeque<Response<'static>>,
    /// The daemon has hung up.
    closed: bool,
}

struct Model {
    core: Core,
    blocks: Vec<(Vec<u8>, u64)>,
    now: Moment,
    /// How far the client's clock is ahead.
    ahead_ns: u64,
    pipes: Vec<Pipe>,
    /// Whether the last of the pipes is the client's connection.
    connected: bool,
    in_flight: InFlight<u64>,
    pushed: u64,
    acknowledged: std::collections::BTreeSet<u64>,
    others: u128,
    forgotten: bool,
}

fn rules() -> Rules {
    Rules {
        counters_max: 10_000,
        counters_per_user_max: 10_000,
        owner: 1_000,
        interval: std::time::Duration::from_secs(3600),
        aligned: None,
        with_idle: false,
        owed_bytes_max: OWED_BYTES_MAX,
    }
}

fn bytes(id: RequestId, name: &str) -> Vec<u8> {
    let entries = vec![Entry { name, amount: 1 }];
    let mut bytes = Vec::new();
    Request::Incr { id, atomic: false, totals: false, entries }.write(&mut bytes).unwrap();
    bytes.split_off(frame::HEADER_BYTES)
}

impl Model {
    fn new(ahead_ns: u64) -> Model {
        let now = Moment { wall_ms: 1_700_000_000_000, boot_ns: 1_000 * S };
        let (core, records, _) = Core::start(State::new(7, BOOT, now), rules(), &[], BOOT, now);
        Model {
            core,
            blocks: vec![(records, now.wall_ms)],
            now,
            ahead_ns,
            pipes: Vec::new(),
            connected: false,
            in_flight: InFlight::new(40),
            pushed: 0,
            acknowledged: std::collections::BTreeSet::new(),
            others: 1 << 100,
            forgotten: false,
        }
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Push if self.in_flight.has_room() => {
                self.in_flight.push(self.pushed, self.now.boot_ns + self.ahead_ns);
                self.pushed += 1;
            }
            Event::Push => {}
            Event::Send(requests) => (0..requests).for_each(|_| self.send()),
            Event::Hear(answers) => (0..answers).for_each(|_| self.hear()),
            Event::Lose if self.connected => self.lose(),
            Event::Lose => {}
            Event::Turn { requests, fails, youngest_first } => {
                let replies = self.turn(requests, fails, youngest_first);
                self.answer(replies);
            }
            Event::HangUp(said) => {
                if let Some(pipe) = self.pipes.last_mut().filter(|pipe| !pipe.closed) {
                    pipe.answers.extend(said.map(|code| Response::error(code, "no")));
                    pipe.closed = true;
                }
            }
            Event::Kill { requests, answered } => {
                let replies = self.turn(requests, false, false);
                if answered {
                    self.answer(replies);
                }
                self.start_again();
            }
            Event::Pass(ms) => {
                self.now.wall_ms += ms;
                self.now.boot_ns += ms * MS;
            }
            Event::Other => {
                self.others += 1;
                let id = RequestId { session: self.others, seq: 0, born_ns: self.now.boot_ns };
                self.step(vec![(0, bytes(id, "other"))], false);
            }
        }
    }

    fn send(&mut self) {
        if self.in_flight.is_empty() {
            return;
        }
        if !self.connected {
            self.pipes.push(Pipe::default());
            self.connected = true;
        }
        let pipe = self.pipes.last_mut().unwrap();
        if let Some((id, content)) = self.in_flight.next_to_send().filter(|_| !pipe.closed) {
            pipe.requests.push_back(bytes(id, &format!("r{content}")));
            self.in_flight.sent();
        }
    }

    fn hear(&mut self) {
        if !self.connected {
            return;
        }
        let pipe = self.pipes.last_mut().unwrap();
        let Some(answer) = pipe.answers.pop_front() else {
            if pipe.closed {
                self.lose();
            }
            return;
        };
        match self.in_flight.hear(answer, self.now.boot_ns + self.ahead_ns) {
            Heard::Counted(content, answer) => {
                assert_eq!(answer, Answer::default());
                assert!(self.acknowledged.insert(content), "{content} is answered twice");
            }
            // What is in the connection is still read at the other end.
            Heard::SendAgain | Heard::SendLater(_) => self.connected = false,
            Heard::Forgotten => {
                self.connected = false;
                self.forgotten = true;
            }
            heard @ (Heard::Refused(_) | Heard::Unasked) => panic!("{heard:?}"),
        }
    }

    fn lose(&mut self) {
        self.in_flight.connection_lost();
        self.connected = false;
    }

    fn turn(
        &mut self,
        requests: usize,
        fails: bool,
        youngest_first: bool,
    ) -> Vec<(usize, Response<'static>)> {
        let mut found = Vec::new();
        for (at, pipe) in self.pipes.iter_mut().enumerate().filter(|(_, pipe)| !pipe.closed) {
            let requests = requests.min(pipe.requests.len());
            found.push(pipe.requests.drain(..requests).map(|r| (at, r)).collect::<Vec<_>>());
        }
        if youngest_first {
            found.reverse();
        }
        self.step(found.concat(), fails)
    }

    fn step(
        &mut self,
        requests: Vec<(usize, Vec<u8>)>,
        fails: bool,
    ) -> Vec<(usize, Response<'static>)> {
        let asked = requests
            .iter()
            .map(|(at, payload)| (Peer { connection: *at as u64, uid: 1_000 }, payload.as_slice()));
        let records = self.core.step(self.now, SNAPSHOTS_MAX, asked).to_vec();
        let fails = fails && !records.is_empty();
        if !fails && !records.is_empty() {
            self.blocks.push((records, self.now.wall_ms));
        }
        let replies = self.core.committed(if fails { Err("full") } else { Ok(()) });
        let messages = replies.into_iter().map(|(peer, reply)| match reply {
            Reply::Message(response) => (peer.connection as usize, response),
            Reply::Snapshot(_) | Reply::Status => panic!("{reply:?}"),
        });
        messages.collect()
    }

    fn answer(&mut self, replies: Vec<(usize, Response<'static>)>) {
        for (at, response) in replies {
            self.pipes[at].answers.push_back(response);
        }
    }

    /// Ends without a word and starts again from what was appended.
    fn start_again(&mut self) {
        self.pipes.iter_mut().for_each(|pipe| pipe.closed = true);
        let mut replay = Replay::new(7);
        for (payload, wall_ms) in &self.blocks {
            replay.block(payload, *wall_ms).unwrap();
        }
        let (core, records, _) = Core::start(replay.finish(), rules(), &[], BOOT, self.now);
        self.core = core;
        self.blocks.push((records, self.now.wall_ms));
    }

    fn total(&mut self, request: u64) -> u64 {
        let mut get = Vec::new();
        Request::Get { name: &format!("r{request}") }.write(&mut get).unwrap();
        let replies = self.step(vec![(0, get.split_off(frame::HEADER_BYTES))], false);
        if let Response::Counter(row) = &replies[0].1 { row.total } else { 0 }
    }

    fn check(&mut self) {
        for request in 0..self.pushed {
            let total = self.total(request);
            assert!(total <= 1, "{request} is counted {total} times");
            let acknowledged = self.acknowledged.contains(&request);
            assert!(!acknowledged || total == 1, "{request} is acknowledged and not counted");
        }
    }

    /// All goes well from here on.
    fn finish(&mut self) {
        for _ in 0..200 {
            if self.forgotten || self.in_flight.is_empty() {
                return;
            }
            for event in [
                Event::Send(ANSWERS_PER_SESSION),
                Event::Turn { requests: 64, fails: false, youngest_first: false },
                Event::Hear(ANSWERS_PER_SESSION + 1),
            ] {
                self.happen(event);
            }
        }
        panic!("there is no end to it: {:?}", self.in_flight);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn each_is_counted_once_whatever_happens(
        events in prop::collection::vec(event(), 1..150),
        ahead_ns in prop_oneof![3 => Just(0), 1 => Just(5_000 * S)],
    ) {
        let mut model = Model::new(ahead_ns);
        let mut passed_ms = 0;
        for event in events {
            if model.forgotten {
                break;
            }
            if let Event::Pass(ms) = event {
                passed_ms += ms;
            }
            model.happen(event);
        }
        model.check();
        model.finish();
        model.check();
        if model.forgotten {
            // A daemon knows for a minute what it has answered.
            prop_assert!(passed_ms >= 60_000 || ahead_ns > 0, "forgotten after {passed_ms} ms");
        } else {
            prop_assert_eq!(model.acknowledged.len() as u64, model.pushed);
        }
    }
}

/// Four requests, born one after the other, that are out.
fn stopped_in_the_middle() -> Model {
    let mut model = Model::new(0);
    for _ in 0..4 {
        model.happen(Event::Push);
        model.happen(Event::Pass(1));
    }
    model.happen(Event::Send(4));
    model
}

const TEN_MINUTES: Event = Event::Pass(600_000);

#[test]
fn a_client_stopped_for_ten_minutes_finds_its_answers() {
    let mut model = stopped_in_the_middle();
    model.happen(Event::Turn { requests: 4, fails: false, youngest_first: false });
    model.happen(TEN_MINUTES);
    model.happen(Event::Other);
    model.finish();
    assert_eq!(model.acknowledged.len(), 4);
    model.check();
}

#[test]
fn a_client_stopped_while_the_daemon_is_killed_counts_what_it_had_not_read() {
    let mut model = stopped_in_the_middle();
    model.happen(Event::Kill { requests: 2, answered: true });
    model.happen(TEN_MINUTES);
    model.happen(Event::Other);
    model.finish();
    // The session is forgotten; that the third is not its first tells that it was never done.
    assert_eq!(model.acknowledged.len(), 4);
    model.check();
}

#[test]
fn a_client_stopped_for_longer_than_ids_are_kept_does_not_count_again() {
    let mut model = stopped_in_the_middle();
    model.happen(Event::Kill { requests: 2, answered: false });
    model.happen(TEN_MINUTES);
    model.finish();
    assert!(model.forgotten && model.acknowledged.is_empty());
    assert_eq!(model.in_flight.contents().count(), 4);
    model.check();
}

#[test]
fn a_client_stopped_for_less_counts_exactly() {
    let mut model = stopped_in_the_middle();
    model.happen(Event::Kill { requests: 2, answered: false });
    model.happen(Event::Pass(59_000));
    model.finish();
    assert_eq!(model.acknowledged.len(), 4);
    model.check();
}
