//! Clients that find no daemon and spool what they ask for: good requests, ones that no daemon counts, and what
//! is no request at all. What is spooled is promised; the ledger knows it as sent, and at rest as counted.

use super::daemon::{Settings, Simulation};
use super::ledger::{Entries, SPOOLED};
use super::world::World;
use crate::disk::fake::spool::FakeSpool;
use crate::disk::spool::Room;
use crate::ids::RequestId;
use crate::protocol::spooled::{is_slot, slot_name, to_bytes};
use crate::protocol::{Entry, Request};
use crate::server::network::Ready;
use crate::server::tests::Duration;

/// So few names that they are soon taken.
const SLOTS: u64 = 8;

/// What somebody spools.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Spooling {
    Good,
    Refused,
    Garbage,
}

impl World {
    /// Somebody spools something, if there is a place for it.
    pub(super) fn spool_anything(&mut self) {
        let what = match self.dice.below(10) {
            0..7 => Spooling::Good,
            7 | 8 => Spooling::Refused,
            _ => Spooling::Garbage,
        };
        self.spool(what);
    }

    pub(super) fn spool(&mut self, what: Spooling) {
        let room = FakeSpool::of(&self.disk).room(Room::Spool).clone();
        let name = slot_name(self.dice.below(SLOTS) as u32);
        if FakeSpool::of(&self.disk).names(Room::Spool).contains(&name) {
            return;
        }
        let mut entries = Entries::new();
        for _ in 0..1 + self.dice.below(3) {
            let name = format!("{SPOOLED}{}", self.dice.below(3));
            entries.push((name, self.dice.any_size(100)));
        }
        match what {
            Spooling::Good => self.ledger.sent(&entries),
            Spooling::Refused => entries.push((".bad".into(), 1)),
            Spooling::Garbage => {}
        }
        self.sessions += 1;
        let id = RequestId { session: self.sessions, seq: 0, born_ns: self.now.boot_ns };
        let asked = entries.iter().map(|(name, amount)| Entry { name, amount: *amount }).collect();
        let request = Request::Incr { id, atomic: true, totals: false, entries: asked };
        let mut bytes = to_bytes(&request).unwrap();
        if what == Spooling::Garbage {
            let length = self.dice.index(bytes.len());
            bytes.truncate(length);
        }
        self.note(|| format!("{name} is spooled, {what:?}: {} {entries:?}", id.session));
        room.put_by_others(&name, &bytes);
        self.unacceptable += usize::from(what == Spooling::Refused);
        if self.watched {
            self.ready.push(Ready::Spool);
        }
    }

    /// Whether all that was spooled is taken and done with.
    pub(super) fn spool_is_empty(&self) -> bool {
        let spool = FakeSpool::of(&self.disk);
        let is_empty = |room| !spool.names(room).iter().any(|name| is_slot(name));
        is_empty(Room::Spool) && is_empty(Room::Taken)
    }

    /// What no daemon counts is kept, each once.
    pub(super) fn check_refused(&self) {
        let names = FakeSpool::of(&self.disk).names(Room::Refused);
        let requests = names.iter().filter(|name| !name.ends_with(".bad")).count();
        assert_eq!(requests, self.unacceptable, "requests that were refused: {names:?}");
    }
}

/// It is looked into at every flush as well, and those go on.
#[test]
fn a_spool_that_is_left_alone_for_long_comes_to_rest_among_flushes() {
    let mut world = World::new(1, false);
    let interval = Duration::from_millis(100);
    let settings = Settings { interval, with_idle: true, spool: true, ..Settings::any(&mut world) };
    let mut simulation = Simulation::with(world, settings);
    simulation.shared.lock().calm_down();
    simulation.start();
    simulation.turn();
    // So long it takes to look through it.
    simulation.shared.lock().pass(20_000_000_000);
    simulation.rest();
    assert!(simulation.shared.lock().now.boot_ns > 60_000_000_000, "it was not left alone");
}
