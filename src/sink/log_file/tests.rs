//! The log file on a disk that is made up: rotation, failures, and what a start finds of an earlier offer.

use super::*;
use crate::disk::fake::{FakeDisk, Plan};
use crate::format::ReportFormat;
use crate::report::Count;
use crate::window::{Moment, Window};

fn report(number: u64) -> Arc<Report> {
    let moment = Moment::default();
    let window =
        Window { first: number, number, start: moment, start_boot: 1, end: moment, end_boot: 1 };
    let name = format!("n{number}");
    let count = Count { name: &name, count: number, total: number };
    Arc::new(Report::new(window, std::iter::once(count).collect()))
}

fn plain() -> Layout {
    Layout::of(ReportFormat::Plain)
}

fn open(disk: &FakeDisk) -> LogFile {
    LogFile::open(Arc::new(disk.clone()), "log", Path::new("/log"), true).unwrap()
}

fn prepare(sink: &mut LogFile, number: u64, offered: Option<FilePlace>) -> Prepared {
    sink.prepare(&plain(), &[report(number)], offered).unwrap()
}

fn place(prepared: Prepared) -> FilePlace {
    let Prepared::At(place) = prepared else { panic!("{prepared:?}") };
    place
}

fn put(sink: &mut LogFile, number: u64) -> FilePlace {
    let place = place(prepare(sink, number, None));
    sink.write().unwrap();
    place
}

fn read(disk: &FakeDisk, name: &str) -> String {
    disk.edit(name, |bytes| String::from_utf8(bytes.clone()).unwrap())
}

fn disk_with_log(text: &str) -> FakeDisk {
    let disk = FakeDisk::default();
    disk.put("log", text.as_bytes());
    disk
}

#[test]
fn reports_are_appended_and_the_offer_names_their_place() {
    let disk = disk_with_log("old\n");
    let mut sink = open(&disk);
    let place = put(&mut sink, 1);
    assert_eq!((place.offset, place.length, place.crc), (4, 5, crc32fast::hash(b"n1 1\n")));
    put(&mut sink, 2);
    assert_eq!(read(&disk, "log"), "old\nn1 1\nn2 2\n");
}

#[test]
fn a_file_that_is_created_has_a_safe_name_before_anything_is_offered() {
    let disk = FakeDisk::default();
    let mut sink = open(&disk);
    put(&mut sink, 1);
    assert_eq!(read(&disk.power_cut(0), "log"), "n1 1\n");
}

#[test]
fn a_renamed_file_is_followed_by_its_name() {
    let disk = FakeDisk::default();
    let mut sink = open(&disk);
    put(&mut sink, 1);
    disk.rename("log", "log.1").unwrap();
    disk.put("log", b"");
    put(&mut sink, 2);
    assert_eq!((read(&disk, "log.1").as_str(), read(&disk, "log").as_str()), ("n1 1\n", "n2 2\n"));
}

#[test]
fn while_the_name_is_gone_the_old_file_takes_one_report_more() {
    let disk = FakeDisk::default();
    let mut sink = open(&disk);
    disk.rename("log", "log.1").unwrap();
    put(&mut sink, 1);
    assert_eq!(disk.list().unwrap(), ["log.1"]);
    put(&mut sink, 2);
    assert_eq!((read(&disk, "log.1").as_str(), read(&disk, "log").as_str()), ("n1 1\n", "n2 2\n"));
}

#[test]
fn a_file_that_was_deleted_takes_nothing_more() {
    let disk = FakeDisk::default();
    let mut sink = open(&disk);
    disk.remove("log").unwrap();
    put(&mut sink, 1);
    assert_eq!(read(&disk, "log"), "n1 1\n");
}

#[test]
fn a_file_that_is_deleted_between_prepare_and_write_takes_nothing_and_the_next_attempt_is_whole() {
    let disk = FakeDisk::default();
    let mut sink = open(&disk);
    let offered = place(prepare(&mut sink, 1, None));
    disk.remove("log").unwrap();
    assert!(matches!(sink.write(), Err(SinkError::Failed(_))));
    // Nothing of it was written into the deleted file, which is still held.
    place(prepare(&mut sink, 1, Some(offered)));
    sink.write().unwrap();
    assert_eq!(read(&disk, "log"), "n1 1\n");
}

#[test]
fn a_reopen_between_prepare_and_write_waits_for_the_next_report() {
    let disk = FakeDisk::default();
    let mut sink = open(&disk);
    disk.rename("log", "log.1").unwrap();
    prepare(&mut sink, 1, None);
    sink.reopen();
    sink.write().unwrap();
    put(&mut sink, 2);
    assert_eq!((read(&disk, "log.1").as_str(), read(&disk, "log").as_str()), ("n1 1\n", "n2 2\n"));
}

#[test]
fn reopen_opens_the_name_again() {
    let disk = FakeDisk::default();
    let mut sink = open(&disk);
    disk.rename("log", "log.1").unwrap();
    sink.reopen();
    put(&mut sink, 1);
    assert_eq!((read(&disk, "log.1").as_str(), read(&disk, "log").as_str()), ("", "n1 1\n"));
}

#[test]
fn a_report_that_failed_is_cut_off_at_once_and_written_whole_by_the_next_attempt() {
    let disk = FakeDisk::default();
    let mut sink = open(&disk);
    put(&mut sink, 1);
    let offered = place(prepare(&mut sink, 2, None));
    disk.space(Some(3));
    assert!(matches!(sink.write(), Err(SinkError::Failed(_))));
    assert_eq!(read(&disk, "log"), "n1 1\n");
    disk.space(None);
    place(prepare(&mut sink, 2, Some(offered)));
    sink.write().unwrap();
    assert_eq!(read(&disk, "log"), "n1 1\nn2 2\n");
}

#[test]
fn what_could_not_be_cut_off_at_once_is_cut_before_the_next_attempt() {
    let disk = FakeDisk::default();
    let mut sink = open(&disk);
    let offered = place(prepare(&mut sink, 1, None));
    // The append fails half-way, and then all else, until the next attempt.
    disk.plan(Plan::StopAt(0));
    assert!(matches!(sink.write(), Err(SinkError::Failed(_))));
    disk.plan(Plan::Well);
    assert_eq!(read(&disk, "log"), "n1");
    place(prepare(&mut sink, 1, Some(offered)));
    sink.write().unwrap();
    assert_eq!(read(&disk, "log"), "n1 1\n");
}

#[test]
fn what_somebody_else_wrote_meanwhile_is_left_and_the_report_waits() {
    let disk = FakeDisk::default();
    let mut sink = open(&disk);
    let offered = place(prepare(&mut sink, 1, None));
    disk.edit("log", |bytes| bytes.extend(b"other\n"));
    assert!(matches!(sink.write(), Err(SinkError::Failed(_))));
    let again = prepare(&mut sink, 1, Some(offered));
    assert!(matches!(again, Prepared::InDoubt(place) if place.offset == 6), "{again:?}");
    sink.write().unwrap();
    assert_eq!(read(&disk, "log"), "other\nn1 1\n");
}

/// Offers report 1 behind a line, leaves this in the file after that line, and lets another run prepare.
fn found(left: &[u8]) -> (FakeDisk, LogFile, Prepared) {
    let disk = disk_with_log("old\n");
    let offered = place(prepare(&mut open(&disk), 1, None));
    disk.edit("log", |bytes| bytes.extend(left));
    let mut sink = open(&disk);
    let prepared = prepare(&mut sink, 1, Some(offered));
    (disk, sink, prepared)
}

#[test]
fn a_report_that_is_there_whole_is_not_written_again() {
    for left in [&b"n1 1\n"[..], b"n1 1\nand more of somebody else's\n"] {
        let (disk, _, prepared) = found(left);
        assert_eq!(prepared, Prepared::Already);
        assert!(read(&disk, "log").starts_with("old\nn1 1\n"));
    }
}

#[test]
fn the_beginning_of_a_report_is_cut_off_and_the_report_written_whole() {
    for left in [&b""[..], b"n", b"n1 1", b"n\0 1", b"\0\0\0\0\0"] {
        let (disk, mut sink, prepared) = found(left);
        assert_eq!(place(prepared).offset, 4, "{left:?}");
        assert_eq!(read(&disk, "log"), "old\n");
        sink.write().unwrap();
        assert_eq!(read(&disk, "log"), "old\nn1 1\n");
    }
}

#[test]
fn what_is_not_the_report_is_left_and_the_report_is_in_doubt() {
    for left in [&b"n2"[..], b"n1 2\n", b"n1 1 and more", b"\0\0\0\0\0\0"] {
        let (disk, mut sink, prepared) = found(left);
        assert!(matches!(prepared, Prepared::InDoubt(_)), "{left:?} {prepared:?}");
        sink.write().unwrap();
        let text = [b"old\n", left, b"n1 1\n"].concat();
        assert_eq!(read(&disk, "log").as_bytes(), text);
    }
}

#[test]
fn a_report_is_looked_for_in_a_file_that_was_rotated_meanwhile() {
    for (left, kept) in [("n1 1\n", "old\nn1 1\n"), ("n1", "old\n")] {
        let disk = disk_with_log("old\n");
        let offered = place(prepare(&mut open(&disk), 1, None));
        disk.edit("log", |bytes| bytes.extend(left.as_bytes()));
        disk.rename("log", "log.1").unwrap();
        let mut sink = open(&disk);
        let prepared = prepare(&mut sink, 1, Some(offered));
        assert_eq!(prepared == Prepared::Already, left == "n1 1\n", "{prepared:?}");
        let _ = sink.write();
        assert_eq!(read(&disk, "log.1"), kept);
        assert_eq!(read(&disk, "log").is_empty(), left == "n1 1\n");
    }
}

#[test]
fn no_other_file_in_the_folder_is_opened_to_look_for_a_report() {
    let disk = disk_with_log("");
    for other in 0..20 {
        disk.put(&format!("log.{other}"), b"other\n");
    }
    let offered = put(&mut open(&disk), 1);
    disk.rotate("log", "log.old");
    let mut sink = open(&disk);
    let before = disk.opened();
    prepare(&mut sink, 1, Some(offered));
    assert!(disk.opened() - before <= 3, "{}", disk.opened() - before);
}

#[test]
fn a_report_whose_file_is_gone_or_was_emptied_is_in_doubt() {
    let disk = disk_with_log("old\n");
    let offered = place(prepare(&mut open(&disk), 1, None));
    disk.edit("log", Vec::clear);
    let emptied = prepare(&mut open(&disk), 1, Some(offered));
    assert!(matches!(emptied, Prepared::InDoubt(_)), "{emptied:?}");
    disk.remove("log").unwrap();
    let gone = prepare(&mut open(&disk), 1, Some(offered));
    assert!(matches!(gone, Prepared::InDoubt(_)), "{gone:?}");
}

#[test]
fn a_report_found_whole_is_synced_before_it_counts_as_written() {
    let disk = disk_with_log("old\n");
    let mut sink = open(&disk);
    let offered = place(prepare(&mut sink, 1, None));
    // Killed between write and sync.
    disk.plan(Plan::StopAt(1));
    assert!(sink.write().is_err());
    disk.plan(Plan::Well);
    let again = open(&disk).prepare(&plain(), &[report(1)], Some(offered)).unwrap();
    assert_eq!(again, Prepared::Already);
    assert_eq!(read(&disk.power_cut(0), "log"), "old\nn1 1\n");
}
