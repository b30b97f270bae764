//! Turns of the daemon's core: the input is a script of requests (also such as no client sends), news of
//! sinks, passing time, failing appends and restarts. What was appended must restore what the core has, every
//! request must be answered once, every answer must fit into frames, and a turn must leave nothing undone that
//! was due. What is counted is not checked here but by the model beside the core.

use std::time::Duration;

use countd::format::ReportFormat;
use countd::frame::{self, HEADER_BYTES};
use countd::ids::RequestId;
use countd::protocol::{Entry, Request, Response, Wanted};
use countd::record::replay::Replay;
use countd::record::state::State;
use countd::record::{FilePlace, records};
use countd::turn::{
    Action, Core, OWED_BYTES_MAX, Peer, Prepared, Reply, Rules, SNAPSHOTS_MAX, SinkEvent, SinkNews,
    SinkPlace,
};
use countd::window::{BootId, Moment};

use super::facts::Facts;
use super::input::Input;

const STATE: u128 = 7;
const OWNER: u32 = 1_000;
const BEGIN: Moment = Moment { wall_ms: 1_700_000_000_000, boot_ns: 100_000_000_000 };
const SINKS: [&str; 3] = ["stdout", "file:/a", "file:/b"];
const NAMES: [&str; 8] = ["a", "b", "b,k=1", "b,k=2,z=3", "jobs.done", "x/y", "-bad", "5"];
const PATTERNS: [&str; 8] = ["*", "a", "b", "b*", "?", "[!b]", "*,k=*", "["];
/// Events of one script: longer ones say nothing new.
const EVENTS_MAX: usize = 200;
/// Nanoseconds that pass at a time, at most: ages, yet not to the end of the clock.
const PASS_NS_MAX: u64 = 1 << 50;

pub(crate) fn check(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let mut world = World::new(&mut input);
    for _ in 0..EVENTS_MAX {
        if input.is_empty() {
            break;
        }
        world.happen(&mut input);
    }
    world.must_be_restored();
    world.answer_all();
}

/// A core and what was appended.
struct World {
    core: Core,
    rules: Rules,
    now: Moment,
    boot: BootId,
    blocks: Vec<(Vec<u8>, u64)>,
    /// Requests that were not answered yet.
    unanswered: usize,
    first_fails: bool,
    second_fails: bool,
}

impl World {
    fn new(input: &mut Input<'_>) -> World {
        let kind = input.byte();
        let rules = Rules {
            counters_max: 6,
            counters_per_user_max: 3,
            owner: OWNER,
            interval: Duration::from_secs(5),
            aligned: (kind & 1 != 0).then_some(Duration::ZERO),
            with_idle: kind & 2 != 0,
            owed_bytes_max: OWED_BYTES_MAX,
        };
        let state = State::new(STATE, 1, BEGIN);
        let places = places(kind >> 2);
        let (core, records, _) = Core::start(state, rules.clone(), &places, 1, BEGIN);
        let mut world = World {
            core,
            rules,
            now: BEGIN,
            boot: 1,
            blocks: Vec::new(),
            unanswered: 0,
            first_fails: false,
            second_fails: false,
        };
        world.keep(records);
        world
    }

    fn happen(&mut self, input: &mut Input<'_>) {
        match input.below(12) {
            0..4 => {
                let requests = (0..=input.below(4)).map(|_| self.request(input)).collect();
                self.turn(requests, Vec::new());
            }
            4 => self.turn(vec![(peer(input), input.piece().to_vec())], Vec::new()),
            5 => {
                self.now.boot_ns += a_while(input);
                self.now.wall_ms = match input.byte() {
                    0 => input.number(),
                    wall => self.now.wall_ms.saturating_add(u64::from(wall)),
                };
                self.turn(Vec::new(), Vec::new());
            }
            6 | 7 => {
                let events = (0..=input.below(3)).map(|_| news(input)).collect();
                self.turn(Vec::new(), events);
            }
            8 => (self.first_fails, self.second_fails) = (input.flag(), input.flag()),
            9 => self.restart(input.byte()),
            10 => {
                self.core.flush_soon();
                self.turn(Vec::new(), Vec::new());
            }
            _ => self.core.hurry_waiters(self.now.boot_ns + a_while(input)),
        }
    }

    /// Both halves of a turn, and what must hold after it.
    fn turn(&mut self, requests: Vec<(Peer, Vec<u8>)>, events: Vec<SinkEvent>) {
        self.unanswered += requests.len();
        let asked = requests.iter().map(|(peer, payload)| (*peer, payload.as_slice()));
        let records = self.core.step(self.now, SNAPSHOTS_MAX, asked).to_vec();
        let fails = self.first_fails && !records.is_empty();
        let replies = self.core.committed(if fails { Err("full") } else { Ok(()) });
        if !fails {
            self.keep(records);
        }
        replies.into_iter().for_each(|(_, reply)| self.answered(reply));

        let records = self.core.advance(self.now, events.into_iter()).to_vec();
        let fails = self.second_fails && !records.is_empty();
        let actions = self.core.advanced(if fails { Err("full") } else { Ok(()) });
        if !fails {
            self.keep(records);
        }
        for action in actions {
            match action {
                Action::Reply(_, reply) => self.answered(reply),
                Action::Prepare { reports, .. } => assert!(!reports.is_empty()),
                Action::Again { offers, .. } => assert!(!offers.is_empty()),
                Action::Look { .. }
                | Action::Write { .. }
                | Action::Note(_)
                | Action::Flushed(_) => {}
            }
        }
        let _ = self.core.health(self.now);
    }

    /// Keeps a block that was appended, as the journal would.
    fn keep(&mut self, block: Vec<u8>) {
        for record in records(&block) {
            assert!(record.is_ok(), "{record:?}");
        }
        self.blocks.push((block, self.now.wall_ms));
    }

    fn answered(&mut self, reply: Reply) {
        assert!(self.unanswered > 0, "an answer that nobody waits for: {reply:?}");
        self.unanswered -= 1;
        let mut bytes = Vec::new();
        match reply {
            Reply::Message(response) => response.write(&mut bytes).expect("an answer fits"),
            Reply::Snapshot(mut snapshot) => {
                while !snapshot.write_piece(&mut bytes).expect("a snapshot fits") {}
            }
            Reply::Status => return,
        }
        let mut rest = bytes.as_slice();
        while let Some(range) = frame::first(rest).expect("frames within the limit") {
            let (payload, after) = rest.split_at(range.end);
            let response = Response::from_payload(&payload[HEADER_BYTES..]);
            assert!(response.is_ok(), "{response:?}");
            rest = after;
        }
        assert!(rest.is_empty());
    }

    fn restored(&self) -> State {
        let mut replay = Replay::new(STATE);
        for (block, wall_ms) in &self.blocks {
            replay.block(block, *wall_ms).expect("what was appended can be replayed");
        }
        replay.finish()
    }

    /// What was appended restores what there is.
    fn must_be_restored(&self) {
        let image = countd::record::image::Image::of(&self.restored());
        Facts::of(&image).must_be(&Facts::of(&self.core.image()));
    }

    /// Ends without a word, and starts again: perhaps in another boot, with other sinks.
    fn restart(&mut self, kind: u8) {
        self.must_be_restored();
        if kind & 1 != 0 {
            self.boot += 1;
            self.now.boot_ns = 1_000_000_000;
        }
        let places = places(kind >> 1);
        let state = self.restored();
        let (core, records, _) =
            Core::start(state, self.rules.clone(), &places, self.boot, self.now);
        self.core = core;
        self.keep(records);
        self.unanswered = 0;
    }

    /// Whoever waits gets an answer when his time is over, and then nothing is due at once.
    fn answer_all(&mut self) {
        (self.first_fails, self.second_fails) = (false, false);
        self.core.hurry_waiters(self.now.boot_ns);
        self.turn(Vec::new(), Vec::new());
        assert_eq!(self.unanswered, 0);
        self.turn(Vec::new(), Vec::new());
        let due = self.core.deadline_ns();
        assert!(due.is_none_or(|due| due > self.now.boot_ns), "due at {due:?}, {:?}", self.now);
    }

    /// A request as clients send it, perhaps damaged on its way.
    fn request(&self, input: &mut Input<'_>) -> (Peer, Vec<u8>) {
        let peer = peer(input);
        let (mut names, mut texts) = (Vec::new(), Vec::new());
        let kind = input.byte();
        for _ in 0..=input.below(5) {
            names.push((known(&NAMES, input), input.number()));
            texts.push(known(&PATTERNS, input));
        }
        let wanted = || {
            let tags = if kind & 64 != 0 { vec!["k=[12]"] } else { Vec::new() };
            Wanted { patterns: texts.iter().map(String::as_str).collect(), tags }
        };
        let request = match kind % 8 {
            0..4 => Request::Incr {
                id: RequestId {
                    session: u128::from(input.byte() % 4),
                    seq: input.number(),
                    born_ns: self.now.boot_ns.wrapping_add(input.number()).wrapping_sub(10),
                },
                atomic: kind & 16 != 0,
                totals: kind & 32 != 0,
                entries: names
                    .iter()
                    .map(|(name, amount)| Entry { name, amount: *amount })
                    .collect(),
            },
            4 => Request::Get { name: &names[0].0 },
            5 => Request::Dump { wanted: wanted() },
            6 => Request::Delete { wanted: wanted(), dry_run: kind & 16 != 0 },
            _ if kind & 16 != 0 => Request::Status,
            _ => Request::Flush { timeout_ms: input.number() },
        };
        let mut frame = Vec::new();
        request.write(&mut frame).expect("a short request fits");
        let mut payload = frame.split_off(HEADER_BYTES);
        if kind & 128 != 0 {
            let at = input.below(payload.len());
            payload[at] ^= input.byte();
        }
        (peer, payload)
    }
}

/// Some time in nanoseconds: milliseconds, or ages.
fn a_while(input: &mut Input<'_>) -> u64 {
    input.number().wrapping_mul(1_000_000) % PASS_NS_MAX
}

/// One of those that are known, or any text.
fn known(known: &[&str], input: &mut Input<'_>) -> String {
    match known.get(input.below(known.len() + 1)) {
        Some(text) => (*text).to_owned(),
        None => input.text(),
    }
}

fn peer(input: &mut Input<'_>) -> Peer {
    let byte = input.byte();
    Peer { connection: u64::from(byte % 3), uid: [OWNER, 0, 7, 8][usize::from(byte / 3 % 4)] }
}

fn places(which: u8) -> Vec<SinkPlace> {
    let chosen = SINKS.iter().enumerate().filter(|(at, _)| which >> at & 1 != 0);
    let place = |place: &str| {
        // One of them may lose what it took.
        let keeps_ns = if place == SINKS[2] { 1_000_000_000 } else { 0 };
        SinkPlace { keeps_ns, ..SinkPlace::new(place, ReportFormat::Plain) }
    };
    chosen.map(|(_, name)| place(name)).collect()
}

fn news(input: &mut Input<'_>) -> SinkEvent {
    let sink = input.below(SINKS.len() + 1);
    let news = match input.below(10) {
        0..2 => SinkNews::Prepared(Prepared::Anywhere),
        2 => SinkNews::Prepared(Prepared::Already),
        3 => {
            let [device, inode, offset, length] = [(); 4].map(|()| input.number());
            let place = FilePlace { device, inode, offset, length, crc: 1 };
            let in_doubt = length % 2 == 1;
            SinkNews::Prepared(if in_doubt {
                Prepared::InDoubt(place)
            } else {
                Prepared::At(place)
            })
        }
        4..6 => SinkNews::Written,
        6 => SinkNews::Failed(input.text()),
        8 => SinkNews::Lost,
        9 => SinkNews::Looked,
        _ => SinkNews::Gone(input.text()),
    };
    SinkEvent { sink, news }
}
