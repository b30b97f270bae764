//! A daemon in its world, from one start to the next: it is started as the real one is, turned, ended in every
//! way there is, and its state and outputs are shown to the ledger.

use std::path::Path;

use super::carbon::{STORES_NS, SimCarbon};
use super::ledger::{Output, Totals};
use super::seams::SimStdout;
use super::world::{Doom, Mode, Shared, World};
use crate::format::ReportFormat;
use crate::record::image::Image;
use crate::record::{Record, records};
use crate::server::tests::*;
use crate::sink::log_file::LogFile;

/// How often a spool is looked at that is not watched.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// How a daemon is set up in every run of a seed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Settings {
    pub(super) fsync: Fsync,
    pub(super) log: bool,
    pub(super) stdout: bool,
    pub(super) carbon: bool,
    pub(super) interval: Duration,
    pub(super) aligned: Option<Duration>,
    pub(super) with_idle: bool,
    pub(super) fold_bytes: u64,
    /// Log and state are in one folder.
    pub(super) one_folder: bool,
    /// The socket is handed over from one daemon to the next.
    pub(super) handed_over: bool,
    pub(super) connections_max: usize,
    pub(super) spool: bool,
    /// The daemon hears of what is spooled.
    pub(super) watched: bool,
}

/// What a simulation has been through.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Numbers {
    pub(super) turns: u64,
    pub(super) kills: u64,
    pub(super) power_cuts: u64,
    pub(super) errors: u64,
    pub(super) stops: u64,
}

pub(super) struct Simulation {
    pub(super) shared: Shared,
    pub(super) settings: Settings,
    pub(super) server: Option<Server>,
    pub(super) numbers: Numbers,
    /// A power cut whose consequences were not looked at yet.
    pub(super) cut: bool,
    /// The last run ended in good order, with these totals.
    pub(super) stopped_at: Option<Totals>,
}

/// The totals in a state.
pub(super) fn totals(image: &Image) -> Totals {
    let mut totals = Totals::new();
    image
        .blocks::<std::io::Error>(|payload| {
            for record in records(payload) {
                if let Record::Counter { name, total, .. } = record.unwrap() {
                    totals.insert(name.to_owned(), total);
                }
            }
            Ok(())
        })
        .unwrap();
    totals
}

impl Settings {
    pub(super) fn any(world: &mut World) -> Settings {
        let dice = &mut world.dice;
        let fsync = [Fsync::Everysec, Fsync::Everysec, Fsync::Always, Fsync::No];
        let (log, stdout) = dice.pick(&[(true, true), (true, false), (false, true)]);
        let carbon = dice.happens(500);
        if carbon {
            // A clock that is set back by hours begins with timestamps that were there.
            world.swarm.clock_steps = 0;
        }
        Settings {
            fsync: dice.pick(&fsync),
            log,
            stdout,
            carbon,
            interval: Duration::from_millis(dice.pick(&[100, 1_000, 5_000, 3_600_000])),
            aligned: dice.happens(300).then_some(Duration::ZERO),
            with_idle: dice.happens(200),
            fold_bytes: 200 + dice.any_size(20_000),
            one_folder: dice.happens(200),
            handed_over: dice.happens(400),
            connections_max: 2 + dice.index(20),
            spool: world.swarm.spools > 0,
            watched: dice.happens(600),
        }
    }
}

impl Simulation {
    pub(super) fn new(seed: u64, traced: bool) -> Simulation {
        let mut world = World::new(seed, traced);
        let settings = Settings::any(&mut world);
        Simulation::with(world, settings)
    }

    pub(super) fn with(mut world: World, settings: Settings) -> Simulation {
        world.note(|| format!("{settings:?}"));
        (world.one_folder, world.watched) = (settings.one_folder, settings.watched);
        world.handed_over = settings.handed_over;
        let disk = world.disk.clone();
        world.begin_process(disk);
        Simulation {
            shared: Shared::new(world),
            settings,
            server: None,
            numbers: Numbers::default(),
            cut: false,
            stopped_at: None,
        }
    }

    /// Starts the daemon, as often as it takes.
    pub(super) fn start(&mut self) {
        for attempt in 0.. {
            assert!(attempt < 50, "it never starts");
            let mut world = self.shared.lock();
            world.note(|| format!("start {attempt}"));
            if world.mode == Mode::Wild && attempt < 5 {
                let (kills, cuts) = (world.swarm.kills, world.swarm.power_cuts);
                let operations = world.dice.any_size(20);
                if world.dice.happens(kills * 10) {
                    world.doom(Doom::Kill, operations, 50);
                } else if world.dice.happens(cuts * 10) {
                    world.doom(Doom::PowerCut, operations, 50);
                }
            }
            if attempt > 5 {
                world.full_disk(None);
            }
            drop(world);
            match self.try_start() {
                Some(server) if !self.shared.lock().is_dead() => {
                    self.server = Some(server);
                    self.shared.lock().look_what_is_synced();
                    return;
                }
                Some(_) | None => self.ended(),
            }
        }
    }

    /// One start, in the order of the real one.
    pub(super) fn try_start(&mut self) -> Option<Server> {
        let Settings { fsync, .. } = self.settings;
        let (disk, boot, now) = {
            let world = self.shared.lock();
            (world.disk.clone(), world.boot, world.now)
        };
        let mut sinks = Vec::new();
        if self.settings.log {
            let folder: Arc<dyn crate::disk::Disk> = Arc::new(self.shared.lock().logs());
            let log = LogFile::open(folder, "log", Path::new("/sim/log"), fsync != Fsync::No);
            let sink: Box<dyn Sink> = Box::new(self.explained("the log", log)?);
            let place = SinkPlace::new("file:/sim/log", ReportFormat::Logfmt);
            sinks.push(SinkSetup { place, sink });
        }
        if self.settings.stdout {
            let world = self.shared.clone();
            let sink = Box::new(SimStdout { world, rendered: Vec::new(), written: 0 });
            let place = SinkPlace::new("stdout", ReportFormat::Logfmt);
            sinks.push(SinkSetup { place, sink });
        }
        if self.settings.carbon {
            let sink = Box::new(SimCarbon::new(self.shared.clone()));
            let place = SinkPlace::new("graphite://sim:1", ReportFormat::Graphite);
            let place = SinkPlace { keeps_ns: STORES_NS, ..place };
            sinks.push(SinkSetup { place, sink });
        }
        let spool = self.settings.spool.then(|| SpoolSetup {
            path: "/sim/spool".into(),
            intake: Intake::new(Arc::new(FakeSpool::of(&disk))),
            look_every: (!self.settings.watched).then_some(LOOK_EVERY),
        });
        let opened = Journal::open(Arc::new(disk), Fresh { state_id: 7, boot, now });
        if let Err(error) = &opened {
            let damage = !matches!(error, crate::journal::OpenError::Io { .. });
            assert!(!damage, "the journal cannot be opened: {error}");
        }
        let Opened { mut journal, state, unclean, notes } = self.explained("open", opened)?;
        for note in notes {
            self.shared.lock().note(|| note);
        }
        self.check_found(&totals(&Image::of(&state)), unclean);
        journal.fold_from(self.settings.fold_bytes);
        let (told, waking) = (self.shared.clone(), self.shared.clone());
        let setup = Setup {
            network: Box::new(self.shared.clone()),
            wake: Arc::new(move || waking.wake()),
            workers: Box::new(self.shared.clone()),
            clock: Box::new(self.shared.clone()),
            boot,
            journal,
            fsync,
            fold_first: unclean,
            state,
            sinks,
            rules: Rules {
                counters_max: 1_000_000,
                counters_per_user_max: 1_000_000,
                owner: OWNER,
                interval: self.settings.interval,
                aligned: self.settings.aligned,
                with_idle: self.settings.with_idle,
                owed_bytes_max: OWED_BYTES_MAX,
            },
            limits: ConnectionLimits {
                connections_max: self.settings.connections_max,
                per_user_max: (self.settings.connections_max / 4).max(1),
                owner: OWNER,
            },
            about: Vec::new(),
            scrapes: Vec::new(),
            spool,
            folder: None,
            hangup_stops: false,
            supervisor: None,
            tell_flushes: true,
            notice: Box::new(move |_, notice| {
                let mut world = told.lock();
                world.note(|| format!("notice: {notice}"));
                if notice.contains("written again") {
                    world.stdout.last_mut().unwrap().1 |= notice.starts_with("stdout");
                }
            }),
        };
        let started = Server::start(setup, Stopper::new());
        self.explained("start", started)
    }

    /// What went wrong has its reason in the world.
    pub(super) fn explained<T, E: std::fmt::Display>(
        &self,
        what: &str,
        result: Result<T, E>,
    ) -> Option<T> {
        match result {
            Ok(done) => Some(done),
            Err(error) => {
                let mut world = self.shared.lock();
                world.note(|| format!("{what}: {error}"));
                let explained = world.trouble || world.is_dead();
                assert!(explained, "{what} failed without a reason: {error}");
                None
            }
        }
    }

    /// What a start finds on the disk.
    pub(super) fn check_found(&mut self, found: &Totals, unclean: bool) {
        let mut world = self.shared.lock();
        let ledger = &mut world.ledger;
        if std::mem::take(&mut self.cut) {
            let all_safe = match self.settings.fsync {
                Fsync::Always => Some(true),
                Fsync::Everysec => Some(false),
                Fsync::No => None,
            };
            ledger.after_power_cut(found, all_safe);
        } else {
            ledger.check_now(found, "after a start");
        }
        if let Some(before) = self.stopped_at.take() {
            assert_eq!(*found, before, "totals before a stop and after it");
            assert!(!unclean, "the journal was not folded in a stop");
        }
        drop(world);
        self.check_outputs(found, false);
    }

    pub(super) fn check_outputs(&self, found: &Totals, exact: bool) {
        let world = self.shared.lock();
        if world.ledger.outputs_vague {
            return;
        }
        if self.settings.log {
            let output = Output::of_log(&world.logs(), !exact);
            world.ledger.check_output(&output, found, exact);
        }
        if self.settings.stdout {
            world.ledger.check_output(&Output::of_stdout(&world.stdout), found, exact);
        }
        if self.settings.carbon {
            world.ledger.check_output(&Output::of_carbon(&world.carbon), found, exact);
        }
    }

    /// One turn, and what follows if it was the last.
    pub(super) fn turn(&mut self) {
        self.numbers.turns += 1;
        let Some(server) = &mut self.server else { unreachable!("it is started") };
        let timeout = server.timeout();
        let result = server.turn(timeout);
        let went_on = self.explained("turn", result).is_some();
        let mut world = self.shared.lock();
        if world.is_dead() || !went_on {
            drop(world);
            self.ended();
            return self.start();
        }
        world.look_what_is_synced();
        if self.settings.fsync == Fsync::Everysec {
            let late = |since| world.now.boot_ns > since + 1_100_000_000;
            let unsafe_ = world.ledger.unsafe_since_ns.is_some_and(late);
            let waited = world.now.boot_ns;
            assert!(!unsafe_ || world.sync_waits(), "unsynced for more than a second: {waited}");
        }
        if std::mem::take(&mut world.stop_wanted) {
            drop(world);
            self.stop();
            self.start();
        }
    }

    /// The totals of now.
    pub(super) fn found(&self) -> Totals {
        self.server.as_ref().map(|server| totals(&server.core.image())).unwrap_or_default()
    }

    /// Looks into the daemon.
    pub(super) fn look(&mut self) {
        let Some(server) = &self.server else { return };
        let found = self.found();
        self.shared.lock().ledger.check_now(&found, "in a run");
        assert!(server.connections.len() <= self.settings.connections_max);
    }

    /// The process has ended, of itself or not; the disk is as that left it.
    pub(super) fn ended(&mut self) {
        self.server = None;
        let mut world = self.shared.lock();
        let doom = world.doom.filter(|_| world.is_dead());
        world.note(|| format!("ended: {doom:?}"));
        match doom {
            Some(Doom::PowerCut) => {
                self.numbers.power_cuts += 1;
                self.cut = true;
                let any = if world.dice.happens(250) { 0 } else { world.dice.next() };
                let left = world.disk.power_cut(world.cut_leaves.unwrap_or(any));
                world.clients.clear();
                world.backlog.clear();
                world.done.clear();
                world.boot += 1;
                world.now.boot_ns = 1_000_000_000 + world.dice.any_size(100_000_000_000);
                if self.settings.fsync == Fsync::No {
                    world.ledger.outputs_vague = true;
                    world.carbon.ever.clear();
                }
                world.begin_process(left);
            }
            Some(Doom::Kill) => {
                self.numbers.kills += 1;
                let left = world.disk.killed();
                world.begin_process(left);
            }
            None => {
                self.numbers.errors += 1;
                let left = world.disk.killed();
                world.begin_process(left);
            }
        }
    }

    /// Stops the daemon as a SIGTERM does. It ends whatever happens.
    pub(super) fn stop(&mut self) {
        self.numbers.stops += 1;
        let Some(server) = &mut self.server else { return };
        let waits = {
            let mut world = self.shared.lock();
            world.note(|| "stop".into());
            world.waits
        };
        let result = server.stop();
        let took = self.shared.lock().waits - waits;
        assert!(took < 20_000, "a stop took {took} turns");
        let (found, folding) = (totals(&server.core.image()), server.folder.is_busy());
        let ended = self.explained("stop", result).is_some();
        let world = self.shared.lock();
        if ended && !world.is_dead() && !world.trouble && !folding {
            self.stopped_at = Some(found);
        }
        drop(world);
        self.ended();
    }
}
