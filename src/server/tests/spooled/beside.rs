//! The spool beside the loop: what is taken out of it and when, what waits, and what is said of what cannot be counted.

use super::*;

fn on(disk: &FakeDisk, fsync: Fsync) -> Daemon {
    let (state, spool) = (Some(disk.folder("state")), Some(FakeSpool::of(disk)));
    Daemon::with(Kind { fsync, disk: state, spool, sinks: 1, ..Kind::default() })
}

/// One whose workers wait to be told, when it has begun to look.
fn with_later(disk: &FakeDisk) -> (Daemon, Later) {
    let later = Later::default();
    let (spool, workers) = (Some(FakeSpool::of(disk)), Box::new(later.clone()));
    let mut daemon = Daemon::with(Kind { spool, workers, ..Kind::default() });
    daemon.settle();
    (daemon, later)
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
    let (mut daemon, later) = with_later(&disk);
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
    let (mut daemon, later) = with_later(&disk);
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
    let (mut daemon, later) = with_later(&disk);
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
    let (mut daemon, later) = with_later(&disk);
    daemon.server.begin_stop();
    assert!(later.work_for(&mut daemon));
    assert_eq!((daemon.server.core.counters(), daemon.sleeps()), (0, None));
    assert!(!later.work_for(&mut daemon));
    assert_eq!(counted_in_the_end(&disk, Fsync::No), 1);
}
