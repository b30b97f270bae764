//! The journal under the loop: appends that fail, syncs that are waited for, and deadlines that are met
//! without spinning.

use super::*;
use crate::disk::Disk;
use crate::disk::fake::Plan;
use crate::journal::OpenError;

fn on(disk: &FakeDisk, fsync: Fsync) -> Daemon {
    Daemon::with(Kind { sinks: 1, fsync, disk: Some(disk.clone()), ..Kind::default() })
}

/// Whether everything that was appended is synced, as far as the loop knows.
fn synced(daemon: &Daemon) -> bool {
    daemon.server.journal.unsynced() == 0
}

#[test]
fn when_the_disk_is_full_increments_are_refused_and_count_again_later() {
    let disk = FakeDisk::default();
    let mut daemon = on(&disk, Fsync::Everysec);
    let connection = daemon.connect();
    daemon.settle();
    disk.space(Some(0));
    let request = daemon.incr("a");
    daemon.net.send(connection, &request);
    daemon.settle();
    let answers = daemon.net.answers(connection);
    assert!(answers[0].starts_with("Error { code: 7, message: \"not counted: "), "{answers:?}");
    daemon.ask(connection, &Request::Get { name: "a" });
    daemon.settle();
    assert!(daemon.net.answers(connection)[0].starts_with("Error { code: 5, "));
    disk.space(None);
    daemon.net.send(connection, &request);
    daemon.settle();
    assert_eq!(daemon.net.answers(connection), [total(1)]);
}

#[test]
fn a_start_on_a_full_disk_answers_reads_and_counts_as_soon_as_there_is_room() {
    let disk = FakeDisk::default();
    let mut daemon = on(&disk, Fsync::Always);
    daemon.count("a");
    drop(daemon);
    disk.space(Some(10));
    let mut daemon = on(&disk, Fsync::Always);
    daemon.sessions = 100;
    let notices = daemon.notices.lock().unwrap().join("\n");
    let said = ["the daemon's journal cannot be written", "cannot write a checkpoint"];
    assert!(said.iter().all(|words| notices.contains(words)), "{notices}");
    let connection = daemon.connect();
    daemon.ask(connection, &Request::Get { name: "a" });
    let request = daemon.incr("a");
    daemon.net.send(connection, &request);
    daemon.ask(connection, &Request::Status);
    daemon.settle();
    let answers = daemon.net.answers(connection);
    assert!(answers[0].contains("total: 1"), "{answers:?}");
    assert!(answers[1].contains("not counted: the daemon's journal cannot"), "{answers:?}");
    assert!(answers[2].contains("at the start there was no room"), "{answers:?}");
    disk.space(None);
    daemon.net.send(connection, &request);
    daemon.settle();
    assert_eq!(daemon.net.answers(connection), [total(2)]);
    drop(daemon);
    // Also what the start had to say is there: without it the next would not know the sink.
    let mut daemon = on(&disk, Fsync::Always);
    daemon.pass(5_000);
    daemon.until(|daemon| daemon.written(0) == "a 2\n");
}

#[test]
fn after_a_kill_nothing_is_counted_before_all_is_written_anew_on_a_disk_that_fails() {
    let disk = FakeDisk::default();
    let mut daemon = on(&disk, Fsync::Always);
    daemon.count("a");
    let killed = disk.killed();
    let kind = |disk: &FakeDisk| Kind { disk: Some(disk.clone()), ..Kind::default() };
    // Syncs of what is there: the segment and the folder. Then it begins the next segment.
    let before = disk.killed();
    drop(Daemon::start(kind(&before)).unwrap());
    let (mut refused, mut began) = (0, 0);
    for at in 0..before.operations() {
        let disk = killed.killed();
        disk.plan(Plan::FailAt(at));
        match Daemon::start(kind(&disk)) {
            Some(_) => began += 1,
            None => refused += 1,
        }
    }
    // It begins all the same when only what is of no use any more could not be removed.
    assert!(refused > began && began > 0, "{refused} {began}");
}

#[test]
fn on_a_disk_that_is_all_but_full_the_operator_hears_it_once() {
    let disk = FakeDisk::default();
    let mut daemon = on(&disk, Fsync::No);
    let heard = daemon.notices.lock().unwrap().len();
    for _ in 0..5 {
        disk.space(Some(0));
        let (connection, request) = (daemon.connect(), daemon.incr("a"));
        daemon.net.send(connection, &request);
        daemon.settle();
        disk.space(None);
        daemon.count("a");
        daemon.pass(1_000);
    }
    assert_eq!(daemon.notices.lock().unwrap().len() - heard, 1);
    daemon.pass(10_000);
    daemon.count("a");
    let notices = daemon.notices.lock().unwrap();
    assert_eq!(notices.last().unwrap(), "the journal can be written again");
    assert_eq!(notices.len() - heard, 2);
}

#[test]
fn a_flush_that_cannot_be_appended_is_tried_once_a_second() {
    let disk = FakeDisk::default();
    let mut daemon = on(&disk, Fsync::No);
    daemon.count("a");
    disk.space(Some(0));
    daemon.pass(5_000);
    let before = daemon.net.script().waits.len();
    for _ in 0..100 {
        assert!(daemon.sleeps().is_some_and(|sleep| sleep <= Duration::from_secs(1)));
        daemon.pass(100);
    }
    let turns = daemon.net.script().waits.len() - before;
    assert!(turns <= 20, "{turns} turns in 10 s");
    disk.space(None);
    daemon.pass(1_000);
    daemon.until(|daemon| daemon.written(0) == "a 1\n");
}

#[test]
fn a_report_leaves_only_when_the_journal_is_synced_up_to_it() {
    let disk = FakeDisk::default();
    let mut daemon = on(&disk, Fsync::Everysec);
    daemon.count("a");
    daemon.pass(1_000);
    daemon.until(synced);
    daemon.server.core.flush_soon();
    daemon.until(|daemon| !daemon.server.unsynced_writes.is_empty());
    // The offer is appended, its sync is under way, and the loop has not heard of its end.
    assert!(!synced(&daemon) && daemon.server.syncer.is_busy());
    assert_eq!(daemon.server.timeout(), None, "it is woken, it does not look again and again");
    assert_eq!(daemon.written(0), "");
    daemon.until(|daemon| daemon.written(0) == "a 1\n");
    assert!(daemon.server.unsynced_writes.is_empty());
}

#[test]
fn without_fsync_a_report_waits_for_nothing() {
    let disk = FakeDisk::default();
    let mut daemon = on(&disk, Fsync::No);
    daemon.count("a");
    daemon.server.core.flush_soon();
    daemon.until(|daemon| daemon.written(0) == "a 1\n");
    assert!(!synced(&daemon));
}

#[test]
fn with_fsync_always_an_answer_is_synced_before_it_is_given() {
    let disk = FakeDisk::default();
    let mut daemon = on(&disk, Fsync::Always);
    assert_eq!(daemon.count("a"), total(1));
    assert!(synced(&daemon));
}

#[test]
fn with_everysec_what_was_counted_is_synced_about_a_second_later() {
    let disk = FakeDisk::default();
    let mut daemon = on(&disk, Fsync::Everysec);
    daemon.count("a");
    daemon.pass(1_000);
    daemon.until(synced);
    daemon.count("a");
    assert_eq!(daemon.sleeps(), Some(Duration::from_secs(1)));
    daemon.pass(999);
    assert!(!daemon.server.syncer.is_busy());
    daemon.pass(1);
    daemon.until(synced);
    daemon.pass(0);
    assert_eq!(daemon.sleeps(), Some(Duration::from_secs(3)));
}

#[test]
fn a_daemon_with_nothing_to_do_sleeps_without_an_end() {
    let disk = FakeDisk::default();
    let mut daemon = on(&disk, Fsync::Everysec);
    let connection = daemon.connect();
    // What the start wrote is marked as synced.
    daemon.pass(1_000);
    assert_eq!(daemon.sleeps(), None);
    let request = daemon.incr("a");
    daemon.net.send(connection, &request);
    daemon.settle();
    daemon.pass(5_000);
    daemon.until(|daemon| daemon.written(0) == "a 1\n" && daemon.server.core.sinks_are_even());
    daemon.pass(1_000);
    daemon.until(synced);
    daemon.pass(1_000);
    assert_eq!(daemon.sleeps(), None);
}

#[test]
fn once_all_is_synced_and_quiet_the_journal_says_so_and_damage_to_any_of_it_is_noticed() {
    let disk = FakeDisk::default();
    let mut daemon = on(&disk, Fsync::Everysec);
    daemon.count("a");
    let counted = disk.killed();
    daemon.pass(1_000);
    daemon.until(synced);
    daemon.pass(1_000);
    let length = |disk: &FakeDisk| disk.edit("journal.1", |bytes| bytes.len());
    let end = length(&counted);
    assert!(end < length(&disk), "a mark was written");
    for (disk, noticed) in [(counted, false), (disk.killed(), true)] {
        disk.edit("journal.1", |bytes| bytes[end - 1] ^= 1);
        let fresh = Fresh { state_id: 1, boot: BOOT, now: Moment::default() };
        let opened = Journal::open(Arc::new(disk), fresh);
        assert_eq!(matches!(opened, Err(OpenError::Damaged { .. })), noticed, "{opened:?}");
    }
}

#[test]
fn a_mark_for_which_there_is_no_room_is_tried_again_without_spinning() {
    let disk = FakeDisk::default();
    let mut daemon = on(&disk, Fsync::Everysec);
    daemon.count("a");
    let length = || disk.edit("journal.1", |bytes| bytes.len());
    let counted = length();
    disk.space(Some(0));
    daemon.pass(1_000);
    daemon.until(synced);
    for _ in 0..3 {
        assert_eq!((length(), daemon.sleeps()), (counted, Some(Duration::from_secs(1))));
        daemon.pass(1_000);
    }
    disk.space(None);
    daemon.pass(1_000);
    assert!(length() > counted);
    assert_eq!(daemon.count("a"), total(2));
}

#[test]
fn a_journal_that_somebody_deletes_is_written_anew() {
    for fsync in [Fsync::Everysec, Fsync::Always] {
        let disk = FakeDisk::default();
        let mut daemon = on(&disk, fsync);
        daemon.count("a");
        disk.remove("journal.1").unwrap();
        daemon.count("a");
        daemon.pass(1_000);
        daemon.until(|daemon| synced(daemon) && !daemon.server.folder.is_busy());
        let notices = daemon.notices.lock().unwrap().join("\n");
        assert!(notices.contains("somebody deleted a file of the journal"), "{notices}");
        daemon.count("a");
        let mut again = on(&disk.killed(), fsync);
        again.sessions = 100;
        assert_eq!(again.count("a"), total(4), "{fsync}");
    }
}

#[test]
fn what_was_counted_is_there_after_the_end_whether_it_was_stopped_or_killed() {
    let disk = FakeDisk::default();
    let mut daemon = on(&disk, Fsync::Everysec);
    daemon.count("a");
    let killed = disk.killed();
    daemon.net.sleep(Sleep::UntilWoken);
    daemon.server.stop().unwrap();
    let mut again = on(&killed, Fsync::No);
    assert_eq!(again.count("a"), total(1), "the same id");
    assert_eq!(again.count("a"), total(2));
    let mut again = on(&disk.killed(), Fsync::No);
    assert_eq!(again.count("a"), total(1));
    assert_eq!(again.count("a"), total(2));
    assert!(again.server.core.sinks_are_even());
}
