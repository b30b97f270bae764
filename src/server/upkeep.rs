//! Looking after the journal beside the turns: syncing it in the background, letting reports go that it
//! covers, and folding it when it has grown long. What is written to it is not decided here.

use super::worker::News;
use super::{Server, ServerError};
use crate::journal::{AppendError, CheckpointDone, Fsync};
use crate::note::Level;
use crate::window::Moment;

/// With `everysec`, what was written is synced this long after it at the latest, in nanoseconds.
const SYNC_NS: u64 = 1_000_000_000;

impl Server {
    /// Syncs the journal when its time has come or a report waits for it, and lets reports go that are
    /// covered.
    pub(super) fn sync_if_due(&mut self, now: Moment) -> Result<(), ServerError> {
        let due = self.sync_deadline_ns().is_some_and(|due| now.boot_ns >= due);
        if due && let Some(job) = self.journal.sync_job() {
            self.last_sync_ns = now.boot_ns;
            let position = self.journal.position();
            self.syncer.submit(move || News::Synced(job.run().map(|()| position)));
        }
        let synced = match self.fsync {
            Fsync::No => u64::MAX,
            Fsync::Always | Fsync::Everysec => self.journal.synced(),
        };
        let sinks = &mut self.sinks;
        self.unsynced_writes.retain(|&(sink, position)| {
            let covered = position <= synced;
            if let Some(worker) = sinks.get_mut(sink).filter(|_| covered) {
                worker.write();
            }
            !covered
        });
        Ok(())
    }

    pub(super) fn sync_deadline_ns(&self) -> Option<u64> {
        if self.fsync == Fsync::No
            || self.syncer.is_busy()
            || self.journal.synced() >= self.journal.position()
        {
            return None;
        }
        let waited_for = !self.unsynced_writes.is_empty();
        Some(if waited_for { 0 } else { self.last_sync_ns.saturating_add(SYNC_NS) })
    }

    pub(super) fn fold_deadline_ns(&self) -> Option<u64> {
        let wanted = self.journal.wants_checkpoint() && !self.folder.is_busy();
        wanted.then_some(self.fold_after_ns)
    }

    /// Folds a journal that has grown long, on its thread.
    pub(super) fn fold_if_due(&mut self, now: Moment) -> Result<(), ServerError> {
        if self.fold_deadline_ns().is_none_or(|due| now.boot_ns < due) {
            return Ok(());
        }
        match self.journal.rotate(self.core.image(), now.wall_ms) {
            Ok(job) => self.folder.submit(move || News::Checkpointed(job.run())),
            Err(AppendError::Refused(error)) => self.fold_failed(&error.to_string()),
            Err(error @ AppendError::Broken { .. }) => return Err(ServerError::Journal(error)),
        }
        Ok(())
    }

    /// Folds the journal here and now: at the start and at the stop.
    pub(super) fn fold_now(&mut self, now: Moment) -> Result<(), ServerError> {
        match self.journal.rotate(self.core.image(), now.wall_ms) {
            Ok(job) => match job.run() {
                Ok(done) => self.folded(&done),
                Err(error) => {
                    self.journal.checkpoint_failed();
                    self.fold_failed(&error.to_string());
                }
            },
            Err(AppendError::Refused(error)) => self.fold_failed(&error.to_string()),
            Err(error @ AppendError::Broken { .. }) => return Err(ServerError::Journal(error)),
        }
        Ok(())
    }

    pub(super) fn folded(&mut self, done: &CheckpointDone) {
        self.journal.checkpointed(done);
        self.fold_error = None;
        for (file, error) in &done.not_removed {
            let told = format!("cannot remove {file}, which is not needed any more: {error}");
            (self.notice)(Level::Warning, &told);
        }
    }

    /// All is still in the journal, so nothing is lost; it only grows meanwhile.
    pub(super) fn fold_failed(&mut self, why: &str) {
        self.fold_after_ns = self.clock.now().boot_ns.saturating_add(60 * SYNC_NS);
        self.fold_error = Some(why.to_owned());
        let told = format!("cannot write a checkpoint: {why}; the journal goes on without");
        (self.notice)(Level::Error, &told);
    }
}
