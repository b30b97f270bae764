//! Looking after the journal and reports beside the turns: syncing it in the background, letting reports go that
//! it covers, folding it when it has grown long, and having large reports put together. What is written and
//! reported is not decided here.

use std::io;

use super::worker::News;
use super::{Server, ServerError};
use crate::format::summary;
use crate::journal::{AppendError, CheckpointDone, Fsync};
use crate::note::Level;
use crate::report::Report;
use crate::window::Moment;

/// With `everysec`, what was written is synced this long after it at the latest, in nanoseconds.
const SYNC_NS: u64 = 1_000_000_000;
/// A fold syncs so much of the journal at most, in bytes, while the loop waits for it.
const FOLD_UNSYNCED_MAX: u64 = 256 << 10;
/// What is more is synced beside the loop first; so often at most, as the journal grows meanwhile.
const FOLD_SYNCS_MAX: u32 = 4;

impl Server {
    /// Syncs the journal when its time has come or a report waits for it, and lets reports go that are
    /// covered.
    pub(super) fn sync_if_due(&mut self, now: Moment) -> Result<(), ServerError> {
        let due = self.sync_deadline_ns().is_some_and(|due| now.boot_ns >= due);
        if due && let Some(job) = self.journal.sync_job() {
            self.last_sync_ns = now.boot_ns;
            self.syncer.submit(move || News::Synced(job.run()));
        }
        let (sinks, journal, any) = (&mut self.sinks, &self.journal, self.fsync == Fsync::No);
        self.unsynced_writes.retain(|&(sink, position)| {
            let covered = any || journal.is_synced_to(position);
            if let Some(worker) = sinks.get_mut(sink).filter(|_| covered) {
                worker.write();
            }
            !covered
        });
        self.show_synced();
        Ok(())
    }

    pub(super) fn sync_deadline_ns(&self) -> Option<u64> {
        if self.fsync == Fsync::No || self.syncer.is_busy() || self.journal.unsynced() == 0 {
            return None;
        }
        let waited_for = !self.unsynced_writes.is_empty() || self.sights.wait();
        Some(if waited_for { 0 } else { self.last_sync_ns.saturating_add(SYNC_NS) })
    }

    /// When what was synced is to be marked as such: some time after the last append, as each says it of those
    /// before it. With `no`, nobody knows what is synced.
    pub(super) fn mark_deadline_ns(&self) -> Option<u64> {
        let wanted = self.fsync != Fsync::No && self.journal.wants_mark();
        wanted.then_some(self.appending.last_ns().saturating_add(SYNC_NS))
    }

    pub(super) fn mark_if_due(&mut self, now: Moment) -> Result<(), ServerError> {
        if self.mark_deadline_ns().is_none_or(|due| now.boot_ns < due) {
            return Ok(());
        }
        self.appending.mark(&mut self.journal, now)
    }

    pub(super) fn fold_deadline_ns(&self) -> Option<u64> {
        let waits = self.syncer.is_busy() && self.journal.unsynced() > FOLD_UNSYNCED_MAX;
        let wanted = self.journal.wants_checkpoint() && !self.folder.is_busy() && !waits;
        wanted.then_some(self.fold_after_ns)
    }

    /// Folds a journal that has grown long, or was deleted, on its thread.
    pub(super) fn fold_if_due(&mut self, now: Moment) -> Result<(), ServerError> {
        if self.fold_deadline_ns().is_none_or(|due| now.boot_ns < due) {
            return Ok(());
        }
        let long = self.journal.unsynced() > FOLD_UNSYNCED_MAX;
        if long
            && self.fold_syncs < FOLD_SYNCS_MAX
            && let Some(job) = self.journal.sync_job()
        {
            self.fold_syncs = self.fold_syncs.saturating_add(1);
            self.last_sync_ns = now.boot_ns;
            self.syncer.submit(move || News::Synced(job.run()));
            return Ok(());
        }
        self.fold_syncs = 0;
        if self.journal.was_deleted() {
            let what = "somebody deleted a file of the journal: all is written anew";
            (self.notice)(Level::Warning, what);
        }
        match self.journal.rotate(self.core.image(), now.wall_ms) {
            Ok(job) => self.folder.submit(move || News::Checkpointed(job.run())),
            Err(AppendError::Refused(error)) => self.fold_failed(&error.to_string()),
            Err(error @ AppendError::Broken { .. }) => return Err(ServerError::Journal(error)),
        }
        Ok(())
    }

    /// Folds the journal here and now: at the start and at the stop. The inner error is that of a disk that did
    /// not let it; then all is still in the journal.
    pub(super) fn fold_now(&mut self, now: Moment) -> Result<io::Result<()>, ServerError> {
        let written = match self.journal.rotate(self.core.image(), now.wall_ms) {
            Ok(job) => job.run().inspect_err(|_| self.journal.checkpoint_failed()),
            Err(AppendError::Refused(error)) => Err(error),
            Err(error @ AppendError::Broken { .. }) => return Err(ServerError::Journal(error)),
        };
        Ok(match written {
            Ok(done) => {
                self.folded(&done);
                Ok(())
            }
            Err(error) => {
                self.fold_failed(&error.to_string());
                Err(error)
            }
        })
    }

    pub(super) fn folded(&mut self, done: &CheckpointDone) {
        self.journal.checkpointed(done);
        self.fold_error = None;
        for (file, error) in &done.not_removed {
            let told = format!("cannot remove {file}, which is not needed any more: {error}");
            (self.notice)(Level::Warning, &told);
        }
    }

    /// Has the counts of large reports put together, and tells of flushes whose are.
    pub(super) fn settle_reports(&mut self) {
        while let Some(report) = self.untold.pop_front_if(|report| report.is_settled()) {
            self.tell_flushed(&report);
        }
        if self.settler.is_busy() {
            return;
        }
        if let Some(report) = self.untold.front().cloned().or_else(|| self.core.unsettled()) {
            self.settler.submit(move || {
                report.counts();
                News::Settled
            });
        }
    }

    /// Tells of all flushes that nobody was told of, however long that takes.
    pub(super) fn tell_of_all_flushes(&mut self) {
        for report in std::mem::take(&mut self.untold) {
            self.tell_flushed(&report);
        }
    }

    fn tell_flushed(&mut self, report: &Report) {
        self.supervision.flushed(report);
        if self.tell_flushes {
            (self.notice)(Level::Info, &summary::flushed(report));
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

/// Whether a disk has no room, which passes, and nothing else is wrong with it.
pub(super) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}
