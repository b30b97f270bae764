//! The course of a seed: a wild time, then a calm in which the daemon comes to rest and all adds up. When it may
//! sleep and when it must have come to rest is decided here; what adds up is the ledger's to say.

use super::clients::Client;
use super::daemon::Simulation;
use super::spooling::Spooling;
use super::world::Mode;
use crate::server::tests::*;

/// Turns of one seed.
const TURNS: u64 = 1_200;
/// A calm world comes to rest within this time of its own: a spool is left alone for up to a minute.
const REST_NS: u64 = 120_000_000_000;
/// And within so many turns,
const REST_TURNS_MAX: u64 = 3_000;
/// and so many more for each flush interval in that time, with what a flush leads to.
const FLUSH_TURNS_MAX: u64 = 20;
/// Turns after which nothing is left to do in a calm world, not even to mark the journal.
const QUIET_TURNS: usize = 10;

impl Simulation {
    /// A wild time, then a rest in which everything must add up, and a stop that forgets nothing.
    pub(super) fn run(&mut self) {
        self.start();
        for turn in 0..TURNS {
            self.turn();
            if turn % 97 == 96 {
                self.look();
            }
            if turn % 401 == 400 {
                self.check_that_it_sleeps();
            }
        }
        self.rest();
        if self.settings.spool {
            self.spool_in_the_quiet();
        }
        self.stop();
        self.start_at_rest();
    }

    /// Starts after a stop that left nothing to do, except what carbon may have lost meanwhile.
    pub(super) fn start_at_rest(&mut self) {
        self.start();
        if self.settings.carbon {
            self.rest();
        }
        self.check_rested();
    }

    /// What is spooled when nothing else happens for long is taken all the same.
    fn spool_in_the_quiet(&mut self) {
        for what in [Spooling::Refused, Spooling::Good] {
            (0..QUIET_TURNS).for_each(|_| self.turn());
            self.shared.lock().spool(what);
            self.rest();
        }
    }

    /// Whether nothing is left in the spool. One that was given up is for the next start.
    fn has_no_spooled(&mut self) -> bool {
        let spool = self.server.as_ref().and_then(|server| server.spool.as_ref());
        let Some(spool) = spool else { return true };
        if spool.is_given_up() {
            self.stop();
            self.start();
            return false;
        }
        spool.is_idle() && self.shared.lock().spool_is_empty()
    }

    /// With a world that stands still, the daemon has nothing to do after a while.
    pub(super) fn check_that_it_sleeps(&mut self) {
        let Some(server) = &mut self.server else { return };
        let before = std::mem::replace(&mut self.shared.lock().mode, Mode::Frozen);
        for turn in 0.. {
            assert!(turn < 1_000, "the loop spins: {:?}", self.settings);
            let timeout = server.timeout();
            if timeout != Some(Duration::ZERO) && !self.shared.lock().has_news() {
                break;
            }
            if server.turn(Some(Duration::ZERO)).is_err() {
                break;
            }
        }
        self.shared.lock().mode = before;
    }

    /// Lets all that was begun end well; then all must add up.
    pub(super) fn rest(&mut self) {
        let calm_ns = {
            let mut world = self.shared.lock();
            world.calm_down();
            world.now.boot_ns
        };
        let mut flushed = false;
        for turn in 0.. {
            let no_spooled = self.has_no_spooled();
            let Some(server) = &self.server else { return };
            let took_ns = self.shared.lock().now.boot_ns - calm_ns;
            let flushes = took_ns / self.settings.interval.as_nanos() as u64;
            if took_ns > REST_NS || turn > REST_TURNS_MAX + flushes * FLUSH_TURNS_MAX {
                let (core, world) = (&server.core, self.shared.lock());
                panic!(
                    "no rest after {turn} turns, {} ms: {}; {:?}, {:?}, {:?}",
                    took_ns / 1_000_000,
                    world.unrest(),
                    server.spool.as_ref().map(|spool| (spool.is_idle(), spool.problems())),
                    core.unpaid(),
                    server.connections
                );
            }
            let even = server.core.sinks_are_even() && server.connections.len() == 0;
            let mut world = self.shared.lock();
            if world.is_at_rest() && even && no_spooled {
                if flushed && !server.core.has_unflushed() {
                    break;
                }
                flushed = true;
                let flushing = Client::flushing(&mut world);
                world.clients.push(flushing);
            }
            drop(world);
            self.turn();
        }
        if self.settings.spool {
            let mut world = self.shared.lock();
            world.ledger.spooled_is_counted();
            world.check_refused();
        }
        self.check_rested();
        let found = self.found();
        self.shared.lock().ledger.nobody_is_left(&found);
    }

    pub(super) fn check_rested(&self) {
        let Some(server) = &self.server else { return };
        let found = self.found();
        self.shared.lock().ledger.check_exact(&found);
        assert!(server.core.sinks_are_even(), "{:?}", server.core.unpaid());
        self.check_outputs(&found, true);
    }
}
