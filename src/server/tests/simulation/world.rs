//! The world around the daemon: clients, time, jobs, failures. While the daemon waits it moves on, by chance or
//! in calm. How sockets and the like behave is in `seams`, and nothing here knows what is right.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};

use super::carbon::Carbon;
use super::clients::{Client, Done};
use super::dice::{Dice, Swarm};
use super::ledger::Ledger;
use super::seams::Conn;
use crate::disk::fake::{FakeDisk, Plan};
use crate::record::block::BlockHeader;
use crate::server::network::Ready;
use crate::server::worker::Job;
use crate::window::Moment;

/// What may end a run at any moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Doom {
    Kill,
    PowerCut,
}

/// How the world moves while the daemon waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    Wild,
    /// All goes well, and all is done as soon as it can be.
    Calm,
    /// Nothing moves.
    Frozen,
}

/// A worker's jobs.
#[derive(Default)]
pub(super) struct Queue {
    pub(super) worker: String,
    pub(super) jobs: VecDeque<Job>,
    pub(super) blocked: bool,
}

pub(super) struct World {
    pub(super) dice: Dice,
    pub(super) swarm: Swarm,
    pub(super) mode: Mode,
    pub(super) now: Moment,
    pub(super) boot: u128,
    /// The state folder.
    pub(super) disk: FakeDisk,
    /// The log is in the state folder, too.
    pub(super) one_folder: bool,
    /// The daemon hears of what is spooled.
    pub(super) watched: bool,
    /// Requests that were spooled and that no daemon counts.
    pub(super) unacceptable: usize,
    pub(super) doom: Option<Doom>,
    doom_in: u64,
    /// What a power cut leaves of what was not synced, if it is not left to chance.
    pub(super) cut_leaves: Option<u64>,
    dead: bool,
    /// Something failed in this run that a daemon may stumble over.
    pub(super) trouble: bool,
    /// The disk may be full.
    limited: bool,
    pub(super) stop_wanted: bool,
    pub(super) conns: BTreeMap<u64, Conn>,
    pub(super) backlog: VecDeque<u64>,
    pub(super) next_number: u64,
    pub(super) ready: Vec<Ready>,
    pub(super) woken: bool,
    pub(super) listening: bool,
    /// The listener is not the daemon's, and outlives it with all that wait there.
    pub(super) handed_over: bool,
    /// The daemon has stopped accepting.
    pub(super) left: bool,
    pub(super) queues: Vec<Queue>,
    pub(super) clients: Vec<Client>,
    pub(super) done: Vec<Done>,
    pub(super) ledger: Ledger,
    /// What each run wrote to standard output, and whether it said that it repeats something.
    pub(super) stdout: Vec<(Vec<u8>, bool)>,
    pub(super) carbon: Carbon,
    /// Time that has passed since the beginning, whatever clocks say.
    pub(super) elapsed_ns: u64,
    pub(super) sessions: u128,
    rotations: u64,
    pub(super) waits: u64,
    pub(super) trace: Option<Vec<String>>,
}

/// A handle to the world for each who has a part in it.
#[derive(Clone)]
pub(super) struct Shared(Arc<Mutex<World>>);

/// The folder of the log file on the disk, if it has one of its own.
const LOGS: &str = "logs";

impl World {
    pub(super) fn new(seed: u64, traced: bool) -> World {
        let mut dice = Dice::new(seed);
        let swarm = Swarm::new(&mut dice);
        World {
            dice,
            swarm,
            mode: Mode::Wild,
            now: Moment { wall_ms: 1_700_000_000_000, boot_ns: 1_000_000_000 },
            boot: 1,
            disk: FakeDisk::default(),
            one_folder: false,
            watched: false,
            unacceptable: 0,
            doom: None,
            doom_in: 0,
            cut_leaves: None,
            dead: false,
            trouble: false,
            limited: false,
            stop_wanted: false,
            conns: BTreeMap::new(),
            backlog: VecDeque::new(),
            next_number: 3,
            ready: Vec::new(),
            woken: false,
            listening: false,
            handed_over: false,
            left: false,
            queues: Vec::new(),
            clients: Vec::new(),
            done: Vec::new(),
            ledger: Ledger::default(),
            stdout: Vec::new(),
            carbon: Carbon::default(),
            elapsed_ns: 0,
            sessions: 0,
            rotations: 0,
            waits: 0,
            trace: traced.then(Vec::new),
        }
    }

    /// Adds a line to the trace, if there is one.
    pub(super) fn note(&mut self, line: impl FnOnce() -> String) {
        if let Some(trace) = &mut self.trace {
            trace.push(format!("{} {}", self.now.boot_ns, line()));
        }
    }

    pub(super) fn is_dead(&self) -> bool {
        self.dead || self.disk.is_dead()
    }

    pub(super) fn pass(&mut self, ns: u64) {
        let before_ms = self.now.boot_ns / 1_000_000;
        self.now.boot_ns += ns;
        self.elapsed_ns += ns;
        self.now.wall_ms += self.now.boot_ns / 1_000_000 - before_ms;
    }

    /// Lets the process die within the next operations of the disk.
    pub(super) fn doom(&mut self, doom: Doom, operations: u64, acts: u64) {
        self.note(|| format!("doom: {doom:?} in {operations} operations or {acts} acts"));
        let torn = self.dice.next();
        self.disk.tear(torn);
        self.disk.plan(Plan::StopAt(operations));
        (self.doom, self.doom_in) = (Some(doom), acts);
    }

    /// Kills the process when it waits next.
    pub(super) fn die_soon(&mut self) {
        self.doom = Some(Doom::Kill);
        self.die();
    }

    pub(super) fn die(&mut self) {
        self.dead = true;
        self.disk.plan(Plan::StopAt(0));
    }

    /// A process begins: of the one before nothing is left but the disk.
    pub(super) fn begin_process(&mut self, disk: FakeDisk) {
        if !self.handed_over {
            self.backlog.clear();
        }
        for (number, conn) in &mut self.conns {
            conn.closed |= !self.backlog.contains(number);
        }
        for mut client in std::mem::take(&mut self.clients) {
            let waits = client.conn.is_some_and(|conn| self.backlog.contains(&conn));
            if waits || client.daemon_is_gone(self) {
                self.clients.push(client);
            }
        }
        self.disk = disk;
        (self.doom, self.dead, self.trouble) = (None, false, self.limited);
        (self.stop_wanted, self.woken, self.listening) = (false, false, true);
        self.left = false;
        self.ready.clear();
        self.queues.clear();
        self.stdout.push((Vec::new(), false));
        if self.dice.happens(300) {
            self.kill_carbon();
        }
    }

    pub(super) fn fail_once(&mut self) {
        let at = self.dice.below(12);
        self.note(|| format!("operation {at} will fail"));
        let torn = self.dice.next();
        self.disk.tear(torn);
        self.disk.plan(Plan::FailAt(at));
        self.trouble = true;
    }

    pub(super) fn full_disk(&mut self, space: Option<usize>) {
        self.note(|| format!("space: {space:?}"));
        self.disk.space(space);
        self.limited = space.is_some();
        self.trouble = true;
    }

    pub(super) fn rotate(&mut self) {
        self.rotations += 1;
        let to = format!("log.{}", self.rotations);
        self.note(|| format!("rotation to {to}"));
        self.logs().rotate("log", &to);
    }

    /// Sends a SIGHUP.
    pub(super) fn hang_up_terminal(&mut self) {
        self.note(|| "SIGHUP".into());
        self.ready.push(Ready::Hangup);
    }

    /// The folder of the log file.
    pub(super) fn logs(&self) -> FakeDisk {
        if self.one_folder { self.disk.clone() } else { self.disk.folder(LOGS) }
    }

    /// Tells the ledger when nothing of the journal could be lost in a power cut.
    pub(super) fn look_what_is_synced(&mut self) {
        let of_journal = |name: &str| name.starts_with("journal.") && !name.ends_with(".tmp");
        if !self.is_dead() && self.disk.is_synced(of_journal, is_mark) {
            self.ledger.synced();
        }
    }

    /// All goes well from now on.
    pub(super) fn calm_down(&mut self) {
        self.note(|| "calm".into());
        self.mode = Mode::Calm;
        self.doom = None;
        self.disk.plan(Plan::Well);
        self.full_disk(None);
        self.carbon_comes_back();
        for queue in &mut self.queues {
            queue.blocked = false;
        }
        for conn in self.conns.values_mut() {
            conn.capacity = 1 << 20;
        }
        self.swarm = Swarm::calm();
    }

    /// Whether no job waits, no connection is open and nobody wants anything.
    pub(super) fn is_at_rest(&self) -> bool {
        self.clients.is_empty()
            && !self.has_news()
            && self.backlog.is_empty()
            && self.conns.values().all(|conn| conn.closed)
            && self.queues.iter().all(|queue| queue.jobs.is_empty())
    }

    /// What keeps it from that.
    pub(super) fn unrest(&self) -> String {
        let open = self.conns.iter().filter(|(_, conn)| !conn.closed);
        let open: Vec<_> = open.collect();
        let jobs: Vec<usize> = self.queues.iter().map(|queue| queue.jobs.len()).collect();
        format!("{:?}, jobs {jobs:?}, {open:?}", self.clients)
    }

    pub(super) fn has_news(&self) -> bool {
        self.woken || !self.ready.is_empty()
    }

    /// Whether, in a calm world, nothing is left to do but to wait.
    pub(super) fn next_idle(&self) -> bool {
        self.queues.iter().all(|queue| queue.jobs.is_empty())
    }

    /// Whether a sync waits to be done.
    pub(super) fn sync_waits(&self) -> bool {
        let sync = self.queues.iter().find(|queue| queue.worker == "sync");
        sync.is_none_or(|queue| !queue.jobs.is_empty())
    }

    /// What may go wrong goes wrong, each in its share of cases.
    fn mishaps(&mut self) {
        let swarm = self.swarm.clone();
        if self.dice.happens(swarm.long_waits) {
            let ns = self.dice.any_size(120_000_000_000);
            self.note(|| format!("{} ms pass", ns / 1_000_000));
            self.pass(ns);
        }
        if self.dice.happens(swarm.clock_steps) {
            let ms = self.dice.any_size(100_000_000);
            let back = self.dice.happens(500);
            self.note(|| format!("the clock steps {ms} ms, back: {back}"));
            let wall_ms = self.now.wall_ms;
            self.now.wall_ms = if back { wall_ms.saturating_sub(ms) } else { wall_ms + ms };
        }
        if self.doom.is_none() && self.dice.happens(swarm.disk_failures) {
            self.fail_once();
        }
        if self.dice.happens(swarm.full_disks) {
            let space = self.dice.happens(600).then(|| self.dice.any_size(8_000) as usize);
            self.full_disk(space);
        }
        if self.dice.happens(swarm.carbon_kills) {
            self.kill_carbon();
        } else if self.dice.happens(50) {
            self.carbon_comes_back();
        }
        if self.dice.happens(swarm.rotations) {
            if self.dice.happens(700) {
                self.rotate();
            }
            if self.dice.happens(500) {
                self.hang_up_terminal();
            }
        }
        if self.doom.is_none() && self.dice.happens(swarm.kills) {
            let (operations, acts) = (self.dice.any_size(30), self.dice.any_size(60));
            self.doom(Doom::Kill, operations, acts);
        }
        if self.doom.is_none() && self.dice.happens(swarm.power_cuts) {
            let (operations, acts) = (self.dice.any_size(30), self.dice.any_size(60));
            self.doom(Doom::PowerCut, operations, acts);
        }
        if self.dice.happens(swarm.stops) {
            self.stop_wanted = true;
        }
        if self.doom.is_some() {
            match self.doom_in.checked_sub(1) {
                Some(less) => self.doom_in = less,
                None => self.die(),
            }
        }
        for at in 0..self.queues.len() {
            if self.dice.happens(swarm.sink_failures / 10) {
                self.queues[at].blocked ^= true;
            }
        }
    }

    fn clients_move(&mut self) {
        if self.dice.happens(self.swarm.spools) {
            self.spool_anything();
        }
        if self.clients.len() < self.swarm.clients_max && self.dice.happens(self.swarm.newcomers) {
            let newcomer = Client::any(self);
            self.clients.push(newcomer);
        }
        if self.mode == Mode::Calm {
            for mut client in std::mem::take(&mut self.clients) {
                if client.go_on(self) {
                    self.clients.push(client);
                }
            }
            return;
        }
        for _ in 0..3 {
            if self.clients.is_empty() {
                break;
            }
            let at = self.dice.index(self.clients.len());
            let mut client = self.clients.swap_remove(at);
            if client.go_on(self) {
                self.clients.push(client);
            }
        }
    }

    /// A job that is to be done now.
    fn next_job(&mut self) -> Option<Job> {
        let able = |queue: &Queue| !queue.blocked && !queue.jobs.is_empty();
        let able: Vec<usize> = (0..self.queues.len()).filter(|&n| able(&self.queues[n])).collect();
        if able.is_empty() || !self.dice.happens(self.swarm.jobs) {
            return None;
        }
        let at = self.dice.pick(&able);
        self.note(|| format!("worker {at} does a job"));
        self.queues[at].jobs.pop_front()
    }
}

impl Shared {
    pub(super) fn new(world: World) -> Shared {
        Shared(Arc::new(Mutex::new(world)))
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, World> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// There are news for the daemon.
    pub(super) fn wake(&self) {
        self.lock().woken = true;
    }

    /// One step of the world.
    pub(super) fn act(&self) {
        let mut world = self.lock();
        if world.mode == Mode::Wild {
            let ns = world.dice.any_size(20_000_000);
            world.pass(ns);
            world.mishaps();
        }
        world.clients_move();
        let Some(job) = world.next_job() else { return };
        drop(world);
        job();
        self.lock().look_what_is_synced();
    }
}

/// Whether this is a block without records.
fn is_mark(bytes: &[u8]) -> bool {
    let header = bytes.try_into().ok().and_then(BlockHeader::from_bytes);
    header.is_some_and(|header| header.length == 0)
}
