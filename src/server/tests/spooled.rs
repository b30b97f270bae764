//! The spool of a daemon whose workers do their jobs when a test says so: what the tests of it share. What is taken and
//! when is in `beside`, what a crash leaves in `crashes`.

mod beside;
mod crashes;

use std::collections::VecDeque;

use super::super::worker::{Job, Worker};
use super::*;
use crate::disk::Disk;
use crate::disk::fake::Plan;
use crate::disk::spool::Room;
use crate::protocol::spooled::{slot_name, to_bytes};

/// Workers whose jobs are done when a test says so.
#[derive(Clone, Default)]
struct Later(Arc<Mutex<Vec<Lane>>>);

/// The jobs of one worker, which come one after the other.
#[derive(Default)]
struct Lane(VecDeque<Job>);

#[derive(Debug)]
struct LaneWorker(Later, usize);

impl fmt::Debug for Later {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Later")
    }
}

impl Workers for Later {
    fn spawn(&mut self, _name: &str) -> io::Result<Box<dyn Worker>> {
        let mut lanes = self.0.lock().unwrap();
        lanes.push(Lane::default());
        Ok(Box::new(LaneWorker(self.clone(), lanes.len() - 1)))
    }
}

impl Worker for LaneWorker {
    fn submit(&mut self, job: Job) -> bool {
        self.0.0.lock().unwrap()[self.1].0.push_back(job);
        true
    }
}

impl Later {
    /// The same, and lets the loop hear of it.
    fn work_for(&self, daemon: &mut Daemon) -> bool {
        let worked = self.work(&mut 1);
        daemon.server.turn(Some(Duration::ZERO)).unwrap();
        daemon.settle();
        worked
    }

    /// Does the next job of one of the workers that have some. Returns whether there was one.
    fn work(&self, dice: &mut u64) -> bool {
        let job = {
            let mut lanes = self.0.lock().unwrap();
            let mut busy: Vec<&mut Lane> =
                lanes.iter_mut().filter(|lane| !lane.0.is_empty()).collect();
            if busy.is_empty() {
                return false;
            }
            let which = roll(dice) as usize % busy.len();
            busy[which].0.pop_front()
        };
        job.unwrap()();
        true
    }
}

/// xorshift64.
fn roll(dice: &mut u64) -> u64 {
    *dice ^= *dice << 13;
    *dice ^= *dice >> 7;
    *dice ^= *dice << 17;
    *dice
}

/// A request for one more `a`.
fn request(session: u128) -> Vec<u8> {
    let id = RequestId { session, seq: 0, born_ns: 1 };
    let entries = vec![Entry { name: "a", amount: 1 }];
    to_bytes(&Request::Incr { id, atomic: true, totals: false, entries }).unwrap()
}

fn put(disk: &FakeDisk, sessions: std::ops::Range<u128>) {
    for session in sessions {
        let name = slot_name(session as u32);
        FakeSpool::of(disk).room(Room::Spool).put(&name, &request(session));
    }
}

/// One life of a daemon, until there is nothing to do or its disk is dead. The seed says in which order its
/// loop and its workers come.
fn live(disk: &FakeDisk, fsync: Fsync, seed: u64) {
    let (later, mut dice) = (Later::default(), seed.wrapping_mul(2).wrapping_add(0x9e37_79b9));
    let kind = Kind {
        fsync,
        disk: Some(disk.folder("state")),
        spool: Some(FakeSpool::of(disk)),
        workers: Box::new(later.clone()),
        ..Kind::default()
    };
    let Some(mut daemon) = Daemon::start(kind) else { return };
    for _ in 0..1_000 {
        if !roll(&mut dice).is_multiple_of(3) && later.work(&mut dice) {
            continue;
        }
        let spool = daemon.server.spool.as_ref().unwrap();
        let (idle, synced) = (spool.is_idle(), daemon.server.journal.sync_job().is_none());
        if idle
            && (synced || fsync == Fsync::No)
            && !later.work(&mut dice)
            && !daemon.net.has_news()
        {
            return;
        }
        if daemon.server.turn(Some(Duration::ZERO)).is_err() {
            return;
        }
        daemon.clock.pass(Duration::from_millis(roll(&mut dice) % 400));
    }
    // A disk on which nothing can be removed any more keeps it busy for ever.
}

/// The total of `a`, after a life without a crash that leaves nothing to do.
fn counted_in_the_end(disk: &FakeDisk, fsync: Fsync) -> u64 {
    disk.plan(Plan::Well);
    live(disk, fsync, 5);
    let spool = FakeSpool::of(disk);
    for room in [Room::Spool, Room::Taken, Room::Refused] {
        let names = spool.names(room);
        assert!(names.is_empty(), "{room:?}: {names:?}");
    }
    let fresh = Fresh { state_id: 7, boot: BOOT, now: Moment::default() };
    let state = Journal::open(Arc::new(disk.folder("state")), fresh).unwrap().state;
    assert!(state.held.is_empty(), "{:?}", state.held);
    let found = state.table.find("a").and_then(|slot| state.table.get(slot));
    found.map_or(0, |(_, values)| values.total)
}

fn spooled(sessions: u128) -> FakeDisk {
    let disk = FakeDisk::default();
    put(&disk, 0..sessions);
    disk
}
