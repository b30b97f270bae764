//! The journal on a fake disk: what is restored, what is cut off, what is refused. A small daemon counts one
//! counter by ones, so that its total says how many appends were found again.

mod crash;
mod damage;
mod outcomes;
mod repair;

use super::*;
use crate::disk::fake::{FakeDisk, Plan};
use crate::record::Record;
use crate::record::state::State;
use crate::window::Moment;

pub(super) const NOW: Moment = Moment { wall_ms: 1_000, boot_ns: 5 };

pub(super) fn open(disk: &FakeDisk) -> Result<Opened, OpenError> {
    Journal::open(Arc::new(disk.clone()), Fresh { state_id: 7, boot: 1, now: NOW })
}

/// What drives a journal.
#[derive(Debug)]
pub(super) struct Daemon {
    pub(super) journal: Journal,
    pub(super) state: State,
    pub(super) notes: Vec<String>,
}

impl Daemon {
    pub(super) fn start(disk: &FakeDisk) -> Result<Daemon, OpenError> {
        let Opened { journal, state, notes, .. } = open(disk)?;
        Ok(Daemon { journal, state, notes })
    }

    pub(super) fn total(&self) -> u64 {
        let slot = self.state.table.find("a");
        slot.and_then(|slot| self.state.table.get(slot)).map_or(0, |(_, values)| values.total)
    }

    pub(super) fn add(&mut self) -> Result<(), AppendError> {
        let (mut payload, total) = (Vec::new(), self.total() + 1);
        if total == 1 {
            Record::Defined { id: 1, kind: 0, creator: 0, name: "a" }.encode(&mut payload).unwrap();
        }
        Record::Total { id: 1, total }.encode(&mut payload).unwrap();
        self.journal.append(&payload, 2_000)?;
        let slot = match self.state.table.find("a") {
            Some(slot) => slot,
            None => self.state.define("a", 0, 2_000).unwrap().0,
        };
        self.state.set_total(slot, total, 2_000).unwrap();
        Ok(())
    }

    pub(super) fn add_synced(&mut self) {
        self.add().unwrap();
        self.journal.sync().unwrap();
    }

    pub(super) fn rotate(&mut self) -> Result<CheckpointJob, AppendError> {
        self.journal.rotate(Image::of(&self.state), 3_000)
    }

    pub(super) fn fold(&mut self) {
        let done = self.rotate().unwrap().run().unwrap();
        assert!(done.not_removed.is_empty());
        self.journal.checkpointed(&done);
    }
}

pub(super) fn names(disk: &FakeDisk) -> Vec<String> {
    disk.list().unwrap()
}

#[test]
fn a_fresh_folder_gets_a_first_segment_and_keeps_its_first_window() {
    let disk = FakeDisk::default();
    let opened = open(&disk).unwrap();
    assert!(!opened.unclean);
    assert_eq!(names(&disk), ["journal.1"]);
    let later = Fresh { state_id: 8, boot: 2, now: Moment { wall_ms: 9_000, boot_ns: 9 } };
    let again = Journal::open(Arc::new(disk.power_cut(0)), later).unwrap();
    assert_eq!((again.state.id, again.state.open.start, again.state.open.start_boot), (7, NOW, 1));
    assert_eq!(again.state.open, opened.state.open);
}

#[test]
fn what_was_appended_is_restored() {
    let disk = FakeDisk::default();
    let mut daemon = Daemon::start(&disk).unwrap();
    for _ in 0..5 {
        daemon.add().unwrap();
    }
    let opened = open(&disk.killed()).unwrap();
    assert!(opened.unclean);
    let again = Daemon::start(&disk.killed()).unwrap();
    assert_eq!((again.total(), again.notes.len()), (5, 0));
    assert_eq!(again.journal.bytes(), daemon.journal.bytes());
}

#[test]
fn a_fold_leaves_one_checkpoint_and_one_segment_and_a_clean_state() {
    let disk = FakeDisk::default();
    let mut daemon = Daemon::start(&disk).unwrap();
    daemon.add().unwrap();
    daemon.fold();
    assert_eq!(names(&disk), ["checkpoint.2", "journal.2"]);
    assert!(!open(&disk).unwrap().unclean);
    assert_eq!(daemon.journal.bytes(), HEADER_BYTES);
    assert_eq!(daemon.journal.checkpoint_bytes(), disk.edit("checkpoint.2", |b| b.len() as u64));
    daemon.add().unwrap();
    daemon.fold();
    daemon.add_synced();
    let again = Daemon::start(&disk.power_cut(0)).unwrap();
    assert_eq!(names(&disk), ["checkpoint.3", "journal.3"]);
    assert_eq!(again.total(), 3);
    assert_eq!(again.journal.checkpoint_bytes(), daemon.journal.checkpoint_bytes());
}

#[test]
fn appends_go_on_while_a_checkpoint_is_written() {
    let disk = FakeDisk::default();
    let mut daemon = Daemon::start(&disk).unwrap();
    daemon.add().unwrap();
    let job = daemon.rotate().unwrap();
    daemon.add_synced();
    assert!(matches!(daemon.rotate(), Err(AppendError::Refused(_))));
    assert_eq!(Daemon::start(&disk.power_cut(0)).unwrap().total(), 2);
    let done = std::thread::spawn(move || job.run()).join().unwrap().unwrap();
    daemon.journal.checkpointed(&done);
    assert_eq!(Daemon::start(&disk.power_cut(0)).unwrap().total(), 2);
}

#[test]
fn a_checkpoint_that_failed_is_followed_by_another() {
    let disk = FakeDisk::default();
    let mut daemon = Daemon::start(&disk).unwrap();
    for round in 2..5 {
        daemon.add_synced();
        let job = daemon.rotate().unwrap();
        disk.space(Some(60));
        assert_eq!(job.run().unwrap_err().kind(), io::ErrorKind::StorageFull);
        disk.space(None);
        daemon.journal.checkpoint_failed();
        assert!(disk.open(&format!("journal.{round}")).is_ok());
        let again = Daemon::start(&disk.power_cut(0)).unwrap();
        assert_eq!(again.total(), daemon.total());
        assert_eq!(again.journal.bytes(), daemon.journal.bytes());
    }
    daemon.add_synced();
    daemon.fold();
    assert_eq!(names(&disk), ["checkpoint.5", "journal.5"]);
    assert_eq!(Daemon::start(&disk).unwrap().total(), 4);
}

#[test]
fn a_checkpoint_may_be_tried_again() {
    let disk = FakeDisk::default();
    let mut daemon = Daemon::start(&disk).unwrap();
    daemon.add().unwrap();
    let job = daemon.rotate().unwrap();
    for at in 0..6 {
        disk.plan(Plan::FailAt(at));
        let _ = job.run();
    }
    disk.plan(Plan::Well);
    daemon.journal.checkpointed(&job.run().unwrap());
    assert_eq!(names(&disk), ["checkpoint.2", "journal.2"]);
    assert_eq!(Daemon::start(&disk).unwrap().total(), 1);
}

#[test]
fn a_full_disk_refuses_and_takes_the_next_when_there_is_room() {
    let disk = FakeDisk::default();
    let mut daemon = Daemon::start(&disk).unwrap();
    daemon.add().unwrap();
    let (bytes, position) = (daemon.journal.bytes(), daemon.journal.position());
    for space in 0..40 {
        disk.space(Some(space));
        let error = daemon.add().unwrap_err();
        let AppendError::Refused(source) = error else { panic!("{error}") };
        assert_eq!(source.kind(), io::ErrorKind::StorageFull);
        assert_eq!((daemon.journal.bytes(), daemon.journal.position()), (bytes, position));
        assert_eq!(Daemon::start(&disk.killed()).unwrap().total(), 1);
    }
    disk.space(None);
    daemon.add_synced();
    let again = Daemon::start(&disk.power_cut(0)).unwrap();
    assert_eq!((again.total(), again.notes.len()), (2, 0));
}

#[test]
fn a_failed_append_that_cannot_be_cut_off_breaks_the_journal() {
    let disk = FakeDisk::default();
    let mut daemon = Daemon::start(&disk).unwrap();
    daemon.add().unwrap();
    disk.plan(Plan::StopAt(0));
    assert!(matches!(daemon.add(), Err(AppendError::Broken { .. })));
    disk.plan(Plan::Well);
    assert!(matches!(daemon.add(), Err(AppendError::Broken { .. })));
    assert!(matches!(daemon.rotate(), Err(AppendError::Broken { .. })));
    let again = Daemon::start(&disk.killed()).unwrap();
    assert_eq!((again.total(), again.notes.len()), (1, 1));
}

#[test]
fn a_rotation_that_fails_goes_on_in_the_same_segment() {
    // Before these, the segment is synced, which must not fail.
    for at in 1..6 {
        let disk = FakeDisk::default();
        let mut daemon = Daemon::start(&disk).unwrap();
        daemon.add_synced();
        disk.plan(Plan::FailAt(at));
        let error = daemon.rotate().unwrap_err();
        assert!(matches!(error, AppendError::Refused(_)), "{at}: {error}");
        assert_eq!(names(&disk), ["journal.1"], "{at}");
        daemon.add_synced();
        assert_eq!(Daemon::start(&disk.power_cut(0)).unwrap().total(), 2);
        daemon.fold();
        assert_eq!(names(&disk), ["checkpoint.2", "journal.2"]);
    }
}

#[test]
fn positions_say_what_is_synced_over_all_segments() {
    let disk = FakeDisk::default();
    let mut daemon = Daemon::start(&disk).unwrap();
    assert!(daemon.journal.sync_job().is_none());
    daemon.add().unwrap();
    let job = daemon.journal.sync_job().unwrap();
    daemon.add().unwrap();
    let done = job.run().unwrap();
    assert!(done.position < daemon.journal.position());
    daemon.journal.synced_to(&done);
    assert_eq!(daemon.journal.synced, done.position);
    let position = daemon.journal.position();
    daemon.fold();
    assert_eq!((daemon.journal.position(), daemon.journal.synced), (position, position));
    let done = job.run().unwrap();
    daemon.journal.synced_to(&done);
    assert_eq!(daemon.journal.synced, position);
    assert!(!daemon.journal.was_deleted(), "the segment it synced was folded");
    daemon.add().unwrap();
    assert!(daemon.journal.sync_job().is_some());
    daemon.journal.sync().unwrap();
    assert!(daemon.journal.sync_job().is_none());
}

#[test]
fn a_sync_that_fails_breaks_the_journal() {
    let disk = FakeDisk::default();
    let mut daemon = Daemon::start(&disk).unwrap();
    daemon.add().unwrap();
    disk.plan(Plan::FailAt(0));
    assert!(matches!(daemon.journal.sync(), Err(AppendError::Broken { .. })));
    assert!(matches!(daemon.journal.sync(), Err(AppendError::Broken { .. })));
    assert!(matches!(daemon.add(), Err(AppendError::Broken { .. })));
}

#[test]
fn a_long_segment_wants_a_checkpoint_once() {
    let disk = FakeDisk::default();
    let mut daemon = Daemon::start(&disk).unwrap();
    let mut payload = Vec::new();
    while payload.len() < 1 << 20 {
        Record::Opened { start: NOW }.encode(&mut payload).unwrap();
    }
    for _ in 0..16 {
        assert!(!daemon.journal.wants_checkpoint());
        daemon.journal.append(&payload, 0).unwrap();
    }
    assert!(daemon.journal.wants_checkpoint());
    let job = daemon.rotate().unwrap();
    assert!(!daemon.journal.wants_checkpoint());
    daemon.journal.checkpointed(&job.run().unwrap());
    assert!(!daemon.journal.wants_checkpoint());
}

#[test]
fn a_payload_over_the_limit_is_refused_and_an_empty_one_writes_nothing() {
    let mut journal = Journal::ephemeral();
    let error = journal.append(&vec![0; BLOCK_PAYLOAD_MAX + 1], 0).unwrap_err();
    assert!(matches!(error, AppendError::Refused(_)));
    journal.append(&[], 0).unwrap();
    assert_eq!(journal.position(), 0);
}

#[test]
fn an_ephemeral_journal_takes_all_and_wants_nothing() {
    let mut journal = Journal::ephemeral();
    for _ in 0..20 {
        journal.append(&vec![0; 1 << 20], 0).unwrap();
    }
    assert!(journal.sync_job().is_none() && !journal.wants_checkpoint());
    assert_eq!(journal.synced, 20 << 20);
    journal.sync().unwrap();
    let image = Image::of(&State::new(1, 1, NOW));
    let done = journal.rotate(image, 0).unwrap().run().unwrap();
    journal.checkpointed(&done);
    assert_eq!((journal.bytes(), journal.checkpoint_bytes()), (0, 0));
}

#[test]
fn a_hundred_thousand_counters_come_back_from_a_checkpoint() {
    let disk = FakeDisk::default();
    let mut daemon = Daemon::start(&disk).unwrap();
    for n in 0..100_000_u64 {
        let (slot, _) = daemon.state.define(&format!("n{n}"), 0, 1).unwrap();
        daemon.state.set_total(slot, n, 1).unwrap();
    }
    daemon.fold();
    let again = Daemon::start(&disk.power_cut(0)).unwrap();
    assert_eq!(again.state.table.len(), 100_000);
    let slot = again.state.table.find("n77777").unwrap();
    assert_eq!(again.state.table.get(slot).unwrap().1.total, 77_777);
}

#[test]
fn the_real_disk_keeps_a_journal() {
    let temporary = tempfile::tempdir().unwrap();
    for round in 0..4 {
        let folder = crate::system::disk::StateFolder::open(temporary.path()).unwrap();
        let fresh = Fresh { state_id: 7, boot: 1, now: NOW };
        let Opened { journal, state, notes, .. } = Journal::open(folder.disk(), fresh).unwrap();
        let mut daemon = Daemon { journal, state, notes };
        assert_eq!(daemon.total(), 3 * round);
        daemon.add().unwrap();
        daemon.add_synced();
        if round % 2 == 1 {
            daemon.fold();
        }
        daemon.add().unwrap();
    }
}

#[test]
fn the_words_for_fsync_are_read_as_they_are_written() {
    for choice in [Fsync::Always, Fsync::Everysec, Fsync::No] {
        assert_eq!(choice.to_string().parse(), Ok(choice));
    }
    assert_eq!("Always".parse::<Fsync>(), Err(UnknownFsync { given: "Always".into() }));
    assert_eq!(Fsync::default(), Fsync::Everysec);
}
