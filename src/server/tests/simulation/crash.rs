//! Every crash of the whole daemon: in a scripted life with flushes, rotations, deletions, checkpoints and a
//! stop, the process is killed, the power cut, or an operation fails, at each operation of the disk in turn.
//! Life goes on after it, and in the end all adds up as in a simulation.

use super::clients::Client;
use super::daemon::Settings;
use super::ledger::PAIR;
use super::world::{Doom, World};
use super::*;
use crate::disk::fake::Plan;

/// Parts of what is not synced that a power cut may leave.
const CUTS: std::ops::Range<u64> = 0..3;
/// Turns that a step of the script takes at most.
const STEP_TURNS_MAX: u64 = 2_000;

/// `i`: increments; `d`: a deletion; `f`: a flush; `r`: a rotation of the log; `h`: a SIGHUP; `w`: two seconds
/// pass. A segment is folded as soon as it is twice as long as its checkpoint.
const SCRIPT: &str = "iwfirfdiifwrhifiiwrf";

/// What happens, and at which operation.
#[derive(Debug, Clone, Copy)]
enum Blow {
    None,
    Kill(u64),
    /// With what is left of what was not synced.
    PowerCut(u64, u64),
    Failure(u64),
    /// And the process is killed at the end of this step, before anything can make it good.
    FailureThenKill(u64),
}

struct Life(Simulation, Blow);

impl Life {
    fn new(fsync: Fsync, blow: Blow, traced: bool) -> Life {
        let settings = Settings {
            fsync,
            log: true,
            stdout: true,
            carbon: true,
            interval: Duration::from_secs(3_600),
            aligned: None,
            with_idle: false,
            fold_bytes: 400,
            one_folder: false,
            handed_over: false,
            connections_max: 10,
            spool: false,
            watched: false,
        };
        let simulation = Simulation::with(World::new(1, traced), settings);
        let mut world = simulation.shared.lock();
        world.calm_down();
        match blow {
            Blow::None => {}
            Blow::Kill(at) => world.doom(Doom::Kill, at, u64::MAX),
            Blow::PowerCut(at, left) => {
                world.cut_leaves = Some(left);
                world.doom(Doom::PowerCut, at, u64::MAX);
            }
            Blow::Failure(at) | Blow::FailureThenKill(at) => {
                world.disk.plan(Plan::FailAt(at));
                world.trouble = true;
            }
        }
        drop(world);
        Life(simulation, blow)
    }

    fn step(&mut self, step: char) {
        let mut guard = self.0.shared.lock();
        let world = &mut *guard;
        match step {
            'i' => {
                let pair = PAIR.map(|name| (name.to_owned(), 3)).into();
                let others = [("a", 1), ("gone.0", 2), ("b", 7)];
                let others = others.map(|(name, amount)| (name.to_owned(), amount)).into();
                for entries in [pair, others] {
                    let counting = Client::counting(world, entries);
                    world.clients.push(counting);
                }
            }
            'd' => {
                let deleting = Client::deleting(world);
                world.clients.push(deleting);
            }
            'f' => {
                let flushing = Client::flushing(world);
                world.clients.push(flushing);
            }
            'r' => world.rotate(),
            'h' => world.hang_up_terminal(),
            'w' => world.pass(2_000_000_000),
            other => panic!("{other}"),
        }
        drop(guard);
        self.settle();
        if let Blow::FailureThenKill(at) = self.1
            && self.0.shared.lock().disk.operations() > at
        {
            self.1 = Blow::None;
            self.0.shared.lock().die_soon();
            self.settle();
        }
    }

    /// Turns until everybody has an answer and every job is done.
    fn settle(&mut self) {
        for turn in 0.. {
            assert!(turn < STEP_TURNS_MAX, "a step does not end");
            let even = self.0.server.as_ref().is_some_and(|server| server.core.sinks_are_even());
            // The first turn may find that time has passed.
            if turn > 1 && even && self.0.shared.lock().is_at_rest() {
                break;
            }
            self.0.turn();
        }
    }

    /// Lives to the end, and a little longer. Returns how many operations there were up to the stop.
    fn live(&mut self) -> u64 {
        self.0.start();
        SCRIPT.chars().for_each(|step| self.step(step));
        self.0.stop();
        let operations = self.0.shared.lock().disk.operations();
        self.0.start();
        self.0.rest();
        let before = self.0.found();
        let again = Client::repeating(&mut self.0.shared.lock());
        self.0.shared.lock().clients.extend(again);
        self.settle();
        assert_eq!(self.0.found(), before, "what was asked again was counted again");
        self.0.rest();
        self.0.stop();
        self.0.start_at_rest();
        operations
    }
}

/// Lives through a blow; returns how many operations there were.
fn survive(fsync: Fsync, blow: Blow) -> u64 {
    let lived = catch_unwind(|| Life::new(fsync, blow, false).live());
    lived.unwrap_or_else(|_| {
        let mut life = Life::new(fsync, blow, true);
        let _ = catch_unwind(AssertUnwindSafe(|| life.live()));
        let trace = life.0.shared.lock().trace.take().unwrap_or_default();
        panic!("{}\n\nfsync {fsync}, {blow:?}: why is said above", trace.join("\n"))
    })
}

fn each_operation(blows: impl Fn(u64) -> Vec<Blow>) {
    for fsync in [Fsync::Everysec, Fsync::Always] {
        let count = survive(fsync, Blow::None);
        assert!(count > 100, "{count}");
        for at in 0..count {
            for blow in blows(at) {
                survive(fsync, blow);
            }
        }
    }
}

#[test]
fn a_daemon_killed_at_any_operation_keeps_every_promise() {
    each_operation(|at| vec![Blow::Kill(at)]);
}

#[test]
fn a_power_cut_at_any_operation_breaks_no_promise() {
    each_operation(|at| CUTS.map(|left| Blow::PowerCut(at, left)).collect());
}

#[test]
fn an_operation_that_fails_breaks_no_promise() {
    each_operation(|at| vec![Blow::Failure(at), Blow::FailureThenKill(at)]);
}
