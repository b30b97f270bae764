//! Appending as the loop does it: before everything else what a start has to say, synced at once if each answer
//! waits for that, and with a word to the operator when it begins to fail and when it works again.

use super::ServerError;
use crate::journal::{AppendError, Fsync, Journal};
use crate::note::Level;
use crate::window::Moment;

/// For so long it has to work before the operator is told that it does, in nanoseconds: on a disk that is all
/// but full small records fit and large ones do not.
const WORKS_AGAIN_NS: u64 = 10_000_000_000;

/// How appends go.
#[derive(Debug)]
pub(super) struct Appending {
    fsync: Fsync,
    /// Records that come before all others and did not fit yet.
    first: Vec<u8>,
    /// When it failed last, until the operator was told that it works again.
    failed_ns: Option<u64>,
}

impl Appending {
    pub(super) fn new(fsync: Fsync) -> Appending {
        Appending { fsync, first: Vec::new(), failed_ns: None }
    }

    /// Appends the records of a start. If there is no room for them they come before whatever is appended
    /// next.
    ///
    /// # Errors
    /// [`ServerError::Journal`] when the journal cannot go on.
    pub(super) fn append_first(
        &mut self,
        journal: &mut Journal,
        records: &[u8],
        now: Moment,
        notice: &mut dyn FnMut(Level, &str),
    ) -> Result<(), ServerError> {
        let appended = self.append(journal, records, now, notice)?;
        if appended.is_err() {
            self.first = records.to_vec();
        }
        Ok(())
    }

    /// Appends records if there are any, and syncs them if that is asked for before every answer. The inner
    /// error leaves the journal as it was.
    ///
    /// # Errors
    /// [`ServerError::Journal`] when the journal cannot go on.
    pub(super) fn append(
        &mut self,
        journal: &mut Journal,
        records: &[u8],
        now: Moment,
        notice: &mut dyn FnMut(Level, &str),
    ) -> Result<Result<(), String>, ServerError> {
        if records.is_empty() {
            return Ok(Ok(()));
        }
        let mut appended = journal.append(&self.first, now.wall_ms);
        if appended.is_ok() {
            self.first = Vec::new();
            appended = journal.append(records, now.wall_ms);
        }
        match appended {
            Ok(()) => {
                if self.fsync == Fsync::Always {
                    journal.sync().map_err(ServerError::Journal)?;
                }
                self.works(now, notice);
                Ok(Ok(()))
            }
            Err(AppendError::Refused(error)) => {
                let why = format!("the daemon's journal cannot be written: {error}");
                if self.failed_ns.replace(now.boot_ns).is_none() {
                    let told = format!("{why}; increments are refused until it can be");
                    notice(Level::Error, &told);
                }
                Ok(Err(why))
            }
            Err(error @ AppendError::Broken { .. }) => Err(ServerError::Journal(error)),
        }
    }

    /// What is wrong since the start, if anything is.
    pub(super) fn problem(&self) -> Option<&'static str> {
        let words = "at the start there was no room in the journal; the next increment tries again";
        (!self.first.is_empty()).then_some(words)
    }

    fn works(&mut self, now: Moment, notice: &mut dyn FnMut(Level, &str)) {
        let since = |failed_ns: u64| now.boot_ns.saturating_sub(failed_ns);
        if self.failed_ns.is_some_and(|failed_ns| since(failed_ns) >= WORKS_AGAIN_NS) {
            self.failed_ns = None;
            notice(Level::Notice, "the journal can be written again");
        }
    }
}
