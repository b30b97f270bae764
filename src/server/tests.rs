//! The loop with a network, a clock and sinks that are made up, and a journal in memory. What comes in, and
//! in which pieces, is scripted; time passes when a test says so, or when the loop sleeps. Only the threads
//! of the server are real, and are waited for by their wake-ups.

mod bytes;
mod crowds;
mod fake;
mod readers;
mod simulation;
mod sockets;
mod spooled;
mod stopping;
mod supervised;
mod upkeep;

use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use self::fake::{FakeClock, FakeNetwork, FakeSink, Gate, Net, Sleep};
use super::spool::SpoolSetup;
use super::worker::{Threads, Workers};
use super::*;
use crate::disk::fake::FakeDisk;
use crate::disk::fake::spool::FakeSpool;
use crate::format::ReportFormat;
use crate::frame;
use crate::ids::RequestId;
use crate::journal::{Fresh, Opened};
use crate::protocol::{Entry, Hello, Request, Response, VERSION, Wanted};
use crate::record::state::State;
use crate::sink::Sink;
use crate::spool::Intake;
use crate::system::supervisor::Supervisor;
use crate::turn::{OWED_BYTES_MAX, Rules, SinkPlace};
use crate::window::BootId;

const BOOT: BootId = 3;
const OWNER: u32 = 1_000;
/// Turns after which a loop that has nothing to do spins.
const TURNS_MAX: usize = 20_000;

struct Daemon {
    server: Server,
    net: Net,
    clock: FakeClock,
    stopper: Stopper,
    /// What each sink has written.
    logs: Vec<Arc<Mutex<String>>>,
    gates: Vec<Gate>,
    notices: Arc<Mutex<Vec<String>>>,
    sessions: u128,
}

/// What a test's daemon is like.
struct Kind {
    sinks: usize,
    limits: ConnectionLimits,
    fsync: Fsync,
    disk: Option<FakeDisk>,
    spool: Option<FakeSpool>,
    look_every: Option<Duration>,
    workers: Box<dyn Workers>,
    supervisor: Option<Box<dyn Supervisor>>,
}

impl Default for Kind {
    fn default() -> Kind {
        let limits = ConnectionLimits { connections_max: 100, per_user_max: 10, owner: OWNER };
        Kind {
            sinks: 0,
            limits,
            fsync: Fsync::Everysec,
            disk: None,
            spool: None,
            look_every: None,
            workers: Box::new(Threads),
            supervisor: None,
        }
    }
}

impl Daemon {
    fn new() -> Daemon {
        Daemon::with(Kind::default())
    }

    fn with(kind: Kind) -> Daemon {
        Daemon::start(kind).expect("a disk that works")
    }

    /// `None` when the disk fails before it is ready.
    fn start(kind: Kind) -> Option<Daemon> {
        let clock = FakeClock::default();
        let (network, net, waker) = FakeNetwork::new(clock.clone());
        let notices = Arc::new(Mutex::new(Vec::new()));
        let stopper = Stopper::new();
        let now = clock.now();
        let (journal, state, fold_first) = match kind.disk {
            None => (Journal::ephemeral(), State::new(7, BOOT, now), false),
            Some(disk) => {
                let fresh = Fresh { state_id: 7, boot: BOOT, now };
                let opened = Journal::open(Arc::new(disk), fresh);
                let Opened { journal, state, unclean, .. } = opened.ok()?;
                (journal, state, unclean)
            }
        };
        let (mut sinks, mut logs, mut gates) = (Vec::new(), Vec::new(), Vec::new());
        for number in 0..kind.sinks {
            let (sink, log, gate) = FakeSink::new();
            let sink: Box<dyn Sink> = Box::new(sink);
            let place = format!("file:/{number}");
            sinks.push(SinkSetup { place: SinkPlace::new(&place, ReportFormat::Plain), sink });
            logs.push(log);
            gates.push(gate);
        }
        let told = Arc::clone(&notices);
        let setup = Setup {
            network: Box::new(network),
            wake: Arc::new(move || waker.wake().unwrap()),
            workers: kind.workers,
            clock: Box::new(clock.clone()),
            boot: BOOT,
            journal,
            fsync: kind.fsync,
            fold_first,
            state,
            sinks,
            rules: Rules {
                counters_max: 1_000_000,
                counters_per_user_max: 1_000_000,
                owner: OWNER,
                interval: Duration::from_secs(5),
                aligned: None,
                with_idle: false,
                owed_bytes_max: OWED_BYTES_MAX,
            },
            scrapes: Vec::new(),
            spool: kind.spool.map(|disk| SpoolSetup {
                path: "/spool".into(),
                intake: Intake::new(Arc::new(disk)),
                look_every: kind.look_every,
            }),
            limits: kind.limits,
            about: Vec::new(),
            folder: None,
            hangup_stops: false,
            supervisor: kind.supervisor,
            tell_flushes: false,
            notice: Box::new(move |_, notice| told.lock().unwrap().push(notice.to_owned())),
        };
        let server = Server::start(setup, stopper.clone()).ok()?;
        Some(Daemon { server, net, clock, stopper, logs, gates, notices, sessions: 0 })
    }

    /// Lets the loop turn until it would sleep.
    fn settle(&mut self) {
        for _ in 0..TURNS_MAX {
            let timeout = self.server.timeout();
            if timeout != Some(Duration::ZERO) && !self.net.has_news() {
                return;
            }
            self.server.turn(Some(Duration::ZERO)).unwrap();
        }
        panic!("the loop spins");
    }

    /// Lets the loop turn, and sleep until a thread wakes it, until this holds.
    fn until(&mut self, mut holds: impl FnMut(&Daemon) -> bool) {
        self.net.sleep(Sleep::UntilWoken);
        self.settle();
        while !holds(self) {
            let timeout = self.server.timeout();
            self.server.turn(timeout).unwrap();
            self.settle();
        }
        self.net.sleep(Sleep::Passes);
    }

    fn pass(&mut self, ms: u64) {
        self.clock.pass(Duration::from_millis(ms));
        self.settle();
    }

    /// How long the loop would sleep now. It does not come back at once.
    fn sleeps(&mut self) -> Option<Duration> {
        self.settle();
        self.server.timeout()
    }

    /// A connection of the owner that has said hello.
    fn connect(&mut self) -> u64 {
        let connection = self.net.connect(OWNER);
        self.net.send(connection, &hello(false));
        connection
    }

    /// A connection for this one request, which is on its way with the hello.
    fn connect_for(&mut self, request: &Request<'_>) -> u64 {
        let connection = self.net.connect(OWNER);
        self.net.send(connection, &[hello(true), framed(request)].concat());
        connection
    }

    fn ask(&mut self, connection: u64, request: &Request<'_>) {
        self.net.send(connection, &framed(request));
    }

    /// An increment under a new id, as a frame.
    fn incr(&mut self, name: &str) -> Vec<u8> {
        self.sessions += 1;
        let id = RequestId { session: self.sessions, seq: 0, born_ns: 1 };
        let entries = vec![Entry { name, amount: 1 }];
        framed(&Request::Incr { id, atomic: true, totals: true, entries })
    }

    /// Counts on a connection of its own, and says what the answer is.
    fn count(&mut self, name: &str) -> String {
        let connection = self.net.connect(OWNER);
        let request = [hello(true), self.incr(name)].concat();
        self.net.send(connection, &request);
        self.settle();
        let answers = self.net.answers(connection);
        assert!(self.net.is_closed(connection));
        answers.join(" ")
    }

    /// Makes many counters, so that a dump has many pieces.
    fn fill(&mut self, counters: usize) {
        let names: Vec<String> = (0..counters).map(|n| format!("n{n:06}")).collect();
        let connection = self.connect();
        for some in names.chunks(4_000) {
            self.sessions += 1;
            let id = RequestId { session: self.sessions, seq: 0, born_ns: 1 };
            let entries = some.iter().map(|name| Entry { name, amount: 1 }).collect();
            self.ask(connection, &Request::Incr { id, atomic: true, totals: false, entries });
            self.settle();
        }
        self.net.end(connection);
        self.settle();
    }

    fn open(&self) -> usize {
        self.server.connections.len()
    }

    fn written(&self, sink: usize) -> String {
        self.logs[sink].lock().unwrap().clone()
    }
}

fn hello(one_request: bool) -> Vec<u8> {
    Hello { version: VERSION, one_request }.to_bytes().to_vec()
}

fn framed(request: &Request<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    request.write(&mut bytes).unwrap();
    bytes
}

fn dump() -> Request<'static> {
    Request::Dump { wanted: Wanted::default() }
}

/// What the answer to an increment of one counter reads like.
fn total(total: u64) -> String {
    format!("Counted(Answer {{ totals: [{total}], refused: [] }})")
}
