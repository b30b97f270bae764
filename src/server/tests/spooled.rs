//! The spool beside the loop, and every crash of it: the daemon is killed, or the power cut, at each operation
//! on the disk, with the jobs of its workers done in this order and that. Each request counts exactly once.

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

fn operations(disk: &FakeDisk, fsync: Fsync, seed: u64) -> u64 {
    let disk = disk.killed();
    disk.plan(Plan::Well);
    live(&disk, fsync, seed);
    disk.operations()
}

/// What a crash may leave. With `--fsync no` a power cut may take what was counted.
fn ends(disk: &FakeDisk, fsync: Fsync) -> Vec<(String, FakeDisk)> {
    let mut ends = vec![("killed".to_owned(), disk.killed())];
    let seeds = if fsync == Fsync::No { 0..0 } else { 0..4 };
    ends.extend(seeds.map(|seed| (format!("power cut, seed {seed}"), disk.power_cut(seed))));
    ends
}

fn spooled(sessions: u128) -> FakeDisk {
    let disk = FakeDisk::default();
    put(&disk, 0..sessions);
    disk
}

#[test]
fn what_was_spooled_counts_exactly_once_after_a_crash_at_any_operation_in_any_order() {
    let begin = spooled(3);
    for fsync in [Fsync::Always, Fsync::Everysec, Fsync::No] {
        for seed in 0..4 {
            let count = operations(&begin, fsync, seed);
            assert!(count > 10, "{count}");
            for at in 0..=count {
                let disk = begin.killed();
                disk.plan(Plan::StopAt(at));
                live(&disk, fsync, seed);
                for (end, left) in ends(&disk, fsync) {
                    let found = counted_in_the_end(&left, fsync);
                    assert_eq!(found, 3, "{fsync}, seed {seed}, stopped at {at}, {end}");
                }
            }
        }
    }
}

#[test]
fn what_was_spooled_counts_exactly_once_after_a_crash_in_the_life_after_a_crash() {
    let (begin, fsync) = (spooled(1), Fsync::Everysec);
    for seed in 0..1 {
        for first in 0..=operations(&begin, fsync, seed) {
            let disk = begin.killed();
            disk.plan(Plan::StopAt(first));
            live(&disk, fsync, seed);
            for (end, left) in ends(&disk, fsync) {
                for second in 0..=operations(&left, fsync, seed + 1) {
                    let disk = left.killed();
                    disk.plan(Plan::StopAt(second));
                    live(&disk, fsync, seed + 1);
                    for (again, left) in ends(&disk, fsync) {
                        let found = counted_in_the_end(&left, fsync);
                        assert_eq!(found, 1, "seed {seed}, {first}, {end}, {second}, {again}");
                    }
                }
            }
        }
    }
}

#[test]
fn an_operation_that_fails_delays_what_was_spooled_and_no_more() {
    let begin = spooled(3);
    for fsync in [Fsync::Always, Fsync::Everysec] {
        for at in 0..=operations(&begin, fsync, 1) {
            let disk = begin.killed();
            disk.plan(Plan::FailAt(at));
            live(&disk, fsync, 1);
            // What failed at a sync is not known; a restart knows.
            for (end, left) in ends(&disk, fsync) {
                assert_eq!(counted_in_the_end(&left, fsync), 3, "{fsync}, failed at {at}, {end}");
            }
        }
    }
}

fn on(disk: &FakeDisk, fsync: Fsync) -> Daemon {
    let (state, spool) = (Some(disk.folder("state")), Some(FakeSpool::of(disk)));
    Daemon::with(Kind { fsync, disk: state, spool, sinks: 1, ..Kind::default() })
}

fn is_idle(daemon: &Daemon) -> bool {
    daemon.server.spool.as_ref().unwrap().is_idle()
}

fn status(daemon: &mut Daemon) -> String {
    let connection = daemon.connect_for(&Request::Status);
    daemon.settle();
    daemon.net.answers(connection).join(" ")
}

#[test]
fn what_is_there_at_the_start_is_taken_and_what_comes_when_it_is_told_or_at_a_flush() {
    let disk = spooled(2_500);
    let mut daemon = on(&disk, Fsync::No);
    daemon.until(is_idle);
    assert_eq!(daemon.count("a"), total(2_501));
    put(&disk, 10_000..10_001);
    daemon.pass(100);
    daemon.net.script().tell(Ready::Spool);
    daemon.until(is_idle);
    assert_eq!(daemon.count("a"), total(2_503));
    put(&disk, 10_001..10_002);
    daemon.pass(5_000);
    daemon.until(is_idle);
    assert_eq!(daemon.count("a"), total(2_505));
    let status = status(&mut daemon);
    assert!(status.contains("(\"spool_dir\", Text(\"/spool\"))"), "{status}");
    assert!(status.contains("(\"spool_taken\", Number(2502))"), "{status}");
}

#[test]
fn a_daemon_with_an_empty_spool_sleeps_without_an_end() {
    let mut daemon = on(&FakeDisk::default(), Fsync::Everysec);
    daemon.until(is_idle);
    // What the start wrote is marked as synced.
    daemon.pass(1_000);
    assert_eq!(daemon.sleeps(), None);
    daemon.net.script().tell(Ready::Spool);
    daemon.pass(100);
    daemon.until(is_idle);
    assert_eq!(daemon.sleeps(), None);
}

#[test]
fn a_spool_that_nothing_can_watch_is_looked_at_every_interval_though_nothing_is_flushed() {
    let disk = FakeDisk::default();
    let spool = Some(FakeSpool::of(&disk));
    let look_every = Some(Duration::from_secs(7));
    let mut daemon = Daemon::with(Kind { spool, look_every, ..Kind::default() });
    daemon.until(is_idle);
    assert_eq!(daemon.sleeps(), Some(Duration::from_secs(7)));
    put(&disk, 1..2);
    daemon.pass(6_999);
    assert_eq!((is_idle(&daemon), daemon.sleeps()), (true, Some(Duration::from_millis(1))));
    daemon.pass(1);
    daemon.until(|daemon| daemon.server.core.counters() == 1);
    assert_eq!(daemon.count("a"), total(2));
}

#[test]
fn after_a_scan_that_took_long_the_next_waits_ten_times_as_long_whatever_comes() {
    let disk = FakeDisk::default();
    let later = Later::default();
    let kind = Kind {
        spool: Some(FakeSpool::of(&disk)),
        workers: Box::new(later.clone()),
        ..Kind::default()
    };
    let mut daemon = Daemon::with(kind);
    daemon.settle();
    for (took, waits) in [(300, 3_000), (5, 95), (3_600_000, 60_000)] {
        daemon.pass(took);
        assert!(later.work_for(&mut daemon));
        daemon.net.script().tell(Ready::Spool);
        daemon.settle();
        assert_eq!(daemon.sleeps(), Some(Duration::from_millis(waits)));
        daemon.pass(waits);
    }
}

#[test]
fn hints_that_come_without_end_make_ten_scans_a_second() {
    let mut daemon = on(&FakeDisk::default(), Fsync::Everysec);
    daemon.until(is_idle);
    let mut waits = 0;
    for _ in 0..10 {
        daemon.net.script().tell(Ready::Spool);
        daemon.settle();
        waits += u32::from(daemon.server.timeout() == Some(Duration::from_millis(100)));
    }
    assert_eq!(waits, 10);
    daemon.pass(100);
    daemon.until(is_idle);
}

#[test]
fn a_file_goes_only_when_the_journal_is_synced_up_to_its_count() {
    let disk = spooled(1);
    let mut daemon = on(&disk, Fsync::Everysec);
    let spool = FakeSpool::of(&disk);
    daemon.until(|daemon| daemon.server.core.counters() == 1);
    daemon.settle();
    assert_eq!(spool.names(Room::Taken), ["r00000"]);
    daemon.pass(1_000);
    daemon.until(is_idle);
    assert_eq!(spool.names(Room::Taken), [""; 0]);
}

#[test]
fn when_the_disk_is_full_what_was_spooled_waits() {
    let disk = spooled(2);
    let mut daemon = on(&disk, Fsync::Everysec);
    disk.space(Some(0));
    daemon.until(|daemon| !daemon.notices.lock().unwrap().is_empty());
    assert_eq!(daemon.server.core.counters(), 0);
    assert_eq!(daemon.sleeps(), Some(Duration::from_secs(1)), "tried again, and not at once");
    disk.space(None);
    daemon.pass(1_000);
    daemon.until(|daemon| daemon.server.core.counters() == 1);
    assert_eq!(daemon.count("a"), total(3));
}

#[test]
fn refusals_are_told_a_few_times_a_minute_and_stay_a_problem_while_the_files_are_kept() {
    let disk = FakeDisk::default();
    let spool = FakeSpool::of(&disk);
    for slot in 0..20 {
        spool.room(Room::Spool).put(&slot_name(slot), b"garbage");
    }
    let mut daemon = on(&disk, Fsync::Everysec);
    daemon.until(is_idle);
    let notices = daemon.notices.lock().unwrap().clone();
    assert_eq!(notices.len(), 11, "{notices:#?}");
    let first = "spool /spool: not counted: refused/r00000.1.bad of uid 1000: it is no spooled request \
                 of countd";
    assert_eq!(
        (notices[0].as_str(), notices[10].as_str()),
        (first, "spool /spool: more was refused; status counts it")
    );
    let shown = status(&mut daemon);
    assert!(shown.contains("(\"spool_refused\", Number(20))"), "{shown}");
    let problem =
        "20 spooled files are not counted, see /spool/refused; the last: refused/r00019.20.bad";
    assert!(shown.contains(problem), "{shown}");
    for name in spool.names(Room::Refused) {
        spool.room(Room::Refused).remove(&name).unwrap();
    }
    daemon.pass(100);
    daemon.net.script().tell(Ready::Spool);
    daemon.until(is_idle);
    assert!(status(&mut daemon).contains("problems: []"));
}

#[test]
fn a_spool_that_cannot_be_synced_is_left_alone_and_said() {
    let disk = spooled(1);
    disk.plan(Plan::Well);
    let later = Later::default();
    let kind = Kind {
        spool: Some(FakeSpool::of(&disk)),
        workers: Box::new(later.clone()),
        ..Kind::default()
    };
    let mut daemon = Daemon::with(kind);
    daemon.settle();
    // The first operation moves the file, the second syncs the folder.
    disk.plan(Plan::FailAt(1));
    assert!(later.work_for(&mut daemon));
    let shown = status(&mut daemon);
    assert!(shown.contains("the spool /spool fails: it cannot be synced: "), "{shown}");
    daemon.net.script().tell(Ready::Spool);
    daemon.settle();
    assert!(!later.work_for(&mut daemon));
    assert_eq!((daemon.server.core.counters(), daemon.sleeps()), (0, None));
}

#[test]
fn what_cannot_be_removed_is_tried_again_once_a_second_and_counts_once() {
    let disk = spooled(1);
    let later = Later::default();
    let kind = Kind {
        spool: Some(FakeSpool::of(&disk)),
        workers: Box::new(later.clone()),
        ..Kind::default()
    };
    let mut daemon = Daemon::with(kind);
    daemon.settle();
    assert!(later.work_for(&mut daemon));
    disk.plan(Plan::FailAt(0));
    assert!(later.work_for(&mut daemon));
    assert!(
        status(&mut daemon).contains("the spool /spool fails: taken/r00000: failed as planned")
    );
    assert_eq!(daemon.sleeps(), Some(Duration::from_secs(1)));
    daemon.pass(1_000);
    while later.work_for(&mut daemon) {}
    assert!(status(&mut daemon).contains("problems: []"));
    assert_eq!(daemon.count("a"), total(2));
}

/// A request that no daemon counts.
fn refused_request(session: u128) -> Vec<u8> {
    let id = RequestId { session, seq: 0, born_ns: 1 };
    let entries = vec![Entry { name: "-bad", amount: 1 }];
    to_bytes(&Request::Incr { id, atomic: true, totals: false, entries }).unwrap()
}

#[test]
fn a_refused_request_is_cleared_though_the_journal_has_nothing_to_sync() {
    let disk = FakeDisk::default();
    let (spool, mut daemon) = (FakeSpool::of(&disk), on(&disk, Fsync::Everysec));
    daemon.until(is_idle);
    // What the start wrote is marked as synced; the mark itself is not synced.
    daemon.pass(1_500);
    spool.room(Room::Spool).put(&slot_name(77), &refused_request(77));
    daemon.net.script().tell(Ready::Spool);
    daemon.until(|_| !spool.names(Room::Refused).is_empty());
    daemon.until(is_idle);
    daemon.pass(1_000);
    put(&disk, 1..2);
    daemon.net.script().tell(Ready::Spool);
    daemon.until(|daemon| daemon.server.core.counters() == 1);
    assert_eq!(daemon.count("a"), total(2));
}

#[test]
fn what_is_spooled_while_it_stops_is_left_to_the_next_start() {
    let disk = FakeDisk::default();
    let mut daemon = on(&disk, Fsync::No);
    daemon.until(is_idle);
    daemon.count("a");
    daemon.gates[0].shut(true);
    daemon.server.begin_stop();
    put(&disk, 0..1);
    daemon.net.script().tell(Ready::Spool);
    let begun = daemon.clock.now().boot_ns;
    daemon.server.stop().unwrap();
    let took = daemon.clock.now().boot_ns - begun;
    assert!((4_000_000_000..5_000_000_000).contains(&took), "{took} ns");
    assert!(daemon.net.script().waits.len() < 200, "it goes round and round");
    assert_eq!(FakeSpool::of(&disk).names(Room::Spool).len(), 1);
    daemon.gates[0].shut(false);
}

#[test]
fn what_was_being_looked_for_when_a_stop_began_is_left_to_the_next_start() {
    let disk = spooled(1);
    let later = Later::default();
    let kind = Kind {
        spool: Some(FakeSpool::of(&disk)),
        workers: Box::new(later.clone()),
        ..Kind::default()
    };
    let mut daemon = Daemon::with(kind);
    daemon.settle();
    daemon.server.begin_stop();
    assert!(later.work_for(&mut daemon));
    assert_eq!((daemon.server.core.counters(), daemon.sleeps()), (0, None));
    assert!(!later.work_for(&mut daemon));
    assert_eq!(counted_in_the_end(&disk, Fsync::No), 1);
}
