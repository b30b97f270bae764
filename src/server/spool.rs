//! The spool beside the loop: a worker takes files out of it, the core counts them, and once the journal is
//! synced up to that the worker removes them. One batch is in hand at a time, and after each comes another
//! scan, which releases the ids of what is gone. What a file is and what counts is not decided here.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::worker::{Errands, News};
use super::{Server, ServerError};
use crate::journal::Fsync;
use crate::note::Level;
use crate::protocol::Value;
use crate::spool::{Cleared, Fate, File, Intake, Refusal, Scan, ScanError};
use crate::turn::{Outcome, Spooled};
use crate::window::Moment;

/// Time from the begin of a scan to the next that nothing but a hint asks for, in nanoseconds.
const SCAN_NS: u64 = 100_000_000;
/// How many times as long as a scan took the spool is left alone after it, unless there is more to take: what
/// it costs to pass over files that nobody wants is then a small part of a processor.
const REST_TIMES: u64 = 10;
/// At most so long, in nanoseconds.
const REST_MAX_NS: u64 = 60_000_000_000;
/// How long a spool in which something failed is left alone, in nanoseconds.
const RETRY_NS: u64 = 1_000_000_000;
/// Refusals that are told in a minute.
const TOLD_MAX: u32 = 10;
/// That minute, in nanoseconds.
const TOLD_NS: u64 = 60_000_000_000;

/// A spool that requests are to be taken out of.
#[derive(Debug)]
pub struct SpoolSetup {
    /// Where it is, for messages.
    pub path: PathBuf,
    /// What takes them.
    pub intake: Intake,
    /// How often it is to be looked at though nothing says that a file came: where nothing can hear of it.
    pub look_every: Option<Duration>,
}

/// A spool with its worker.
#[derive(Debug)]
pub(super) struct Spool {
    path: PathBuf,
    /// Held by whatever job the worker does, and nobody else.
    intake: Arc<Mutex<Intake>>,
    worker: Errands,
    phase: Phase,
    /// What comes now is for the next start.
    closed: bool,
    /// There may be something to take.
    wanted: bool,
    /// No scan is begun before this moment.
    scan_after_ns: u64,
    /// Nor before this one, whatever is wanted.
    rest_until_ns: u64,
    /// When the last scan was begun.
    scanned_ns: u64,
    look_every_ns: Option<u64>,
    counted: u64,
    refused: u64,
    /// How many refused files are kept, as the last scan found.
    kept: usize,
    last_refused: Option<String>,
    /// What keeps others from names of requests, as the last scan found.
    stuck: Option<(String, usize)>,
    failed: Option<String>,
    /// In this minute: since when, and how many refusals were told.
    told: (u64, u32),
}

#[derive(Debug)]
enum Phase {
    /// Nothing is in hand.
    Idle,
    /// The worker has a job.
    Working,
    /// A scan is to be counted.
    Found(Scan),
    /// What was counted waits for the journal to be synced up to this position.
    Counted { position: u64, files: Vec<(File, Fate)> },
    /// Nobody knows what is in the folder.
    GivenUp,
}

impl Spool {
    pub(super) fn new(setup: SpoolSetup, worker: Errands) -> Spool {
        Spool {
            path: setup.path,
            intake: Arc::new(Mutex::new(setup.intake)),
            worker,
            phase: Phase::Idle,
            closed: false,
            wanted: true,
            scan_after_ns: 0,
            rest_until_ns: 0,
            scanned_ns: 0,
            look_every_ns: setup
                .look_every
                .map(|every| u64::try_from(every.as_nanos()).unwrap_or(u64::MAX)),
            counted: 0,
            refused: 0,
            kept: 0,
            last_refused: None,
            stuck: None,
            failed: None,
            told: (0, 0),
        }
    }

    /// When the loop has to come back for it though nothing happens.
    pub(super) fn deadline_ns(&self) -> Option<u64> {
        match self.phase {
            Phase::Idle if self.closed => None,
            Phase::Idle => {
                let looked = self.look_every_ns.map(|every| self.scanned_ns.saturating_add(every));
                let due = if self.wanted { Some(self.scan_after_ns) } else { looked };
                due.map(|due| due.max(self.rest_until_ns))
            }
            Phase::Found(_) => Some(0),
            Phase::Working | Phase::Counted { .. } | Phase::GivenUp => None,
        }
    }

    /// Takes nothing out any more: a stop flushes the last window, and what is counted after that is in none.
    pub(super) fn close(&mut self) {
        self.closed = true;
    }

    /// Whether a batch is in hand.
    #[cfg(test)]
    pub(super) fn is_idle(&self) -> bool {
        matches!(self.phase, Phase::Idle) && !self.wanted
    }

    /// Whether it is left alone until the next start.
    #[cfg(test)]
    pub(super) fn is_given_up(&self) -> bool {
        matches!(self.phase, Phase::GivenUp)
    }

    fn submit(&mut self, job: impl FnOnce(&mut Intake) -> News + Send + 'static) {
        let intake = Arc::clone(&self.intake);
        self.phase = Phase::Working;
        self.worker.submit(move || job(&mut intake.lock().unwrap_or_else(PoisonError::into_inner)));
    }

    fn scan_if_due(&mut self, now: Moment) {
        let due = self.deadline_ns().is_some_and(|due| now.boot_ns >= due);
        if due && matches!(self.phase, Phase::Idle) {
            self.wanted = false;
            self.scanned_ns = now.boot_ns;
            self.scan_after_ns = now.boot_ns.saturating_add(SCAN_NS);
            self.submit(move |intake| News::Spooled(intake.scan(now.wall_ms)));
        }
    }

    /// Takes in what the worker found. Returns what the operator is to be told.
    pub(super) fn found(&mut self, scan: Result<Scan, ScanError>, now: Moment) -> Vec<String> {
        self.worker.heard();
        let mut scan = match scan {
            Ok(scan) => scan,
            Err(error) => return self.fail(error, now),
        };
        let took = now.boot_ns.saturating_sub(self.scanned_ns);
        let rest = if scan.more { 0 } else { took.saturating_mul(REST_TIMES).min(REST_MAX_NS) };
        self.rest_until_ns = now.boot_ns.saturating_add(rest);
        self.kept = scan.kept;
        self.stuck = scan.stuck.take();
        let mut notes = self.note_refused(std::mem::take(&mut scan.refused), now);
        match scan.failed.take() {
            Some((file, error)) => notes.extend(self.note_failed(format!("{file}: {error}"), now)),
            None if scan.files.is_empty() => self.failed = None,
            // It has failed at clearing these, perhaps.
            None => {}
        }
        // What is left where it is, is found there by the next start.
        self.phase = if self.closed { Phase::Idle } else { Phase::Found(scan) };
        notes
    }

    /// Takes in what became of files that were counted.
    pub(super) fn cleared(&mut self, cleared: Cleared, now: Moment) -> Vec<String> {
        self.worker.heard();
        self.phase = Phase::Idle;
        // What was removed is released by a scan, which also finds what came meanwhile.
        (self.wanted, self.scan_after_ns) = (true, 0);
        let mut notes = self.note_refused(cleared.refused, now);
        if let Some((file, error)) = cleared.left {
            notes.extend(self.note_failed(format!("taken/{file}: {error}"), now));
        }
        notes
    }

    fn fail(&mut self, error: ScanError, now: Moment) -> Vec<String> {
        let what = error.to_string();
        self.phase = match error {
            ScanError::List(_) => Phase::Idle,
            ScanError::Sync(_) => Phase::GivenUp,
        };
        self.note_failed(what, now).into_iter().collect()
    }

    /// Tells when something begins to fail, and lets it rest.
    fn note_failed(&mut self, what: String, now: Moment) -> Option<String> {
        (self.wanted, self.scan_after_ns) = (true, now.boot_ns.saturating_add(RETRY_NS));
        let path = self.path.display();
        let then = match self.phase {
            Phase::GivenUp => "it is left alone until the next start",
            Phase::Idle | Phase::Working | Phase::Found(_) | Phase::Counted { .. } => {
                "what is in it waits"
            }
        };
        let problem = format!("the spool {path} fails: {what}; {then}");
        let begins = self.failed.is_none();
        self.failed = Some(problem.clone());
        begins.then_some(problem)
    }

    fn note_refused(&mut self, refused: Vec<Refusal>, now: Moment) -> Vec<String> {
        let (since, _) = self.told;
        if now.boot_ns.saturating_sub(since) >= TOLD_NS {
            self.told = (now.boot_ns, 0);
        }
        let (path, mut notes) = (self.path.display(), Vec::new());
        for refusal in refused {
            self.refused = self.refused.saturating_add(1);
            let (_, told) = &mut self.told;
            *told = told.saturating_add(1);
            if *told <= TOLD_MAX {
                notes.push(format!("spool {path}: not counted: {refusal}"));
            } else if *told == TOLD_MAX.saturating_add(1) {
                let what = "more was refused; status counts it";
                notes.push(format!("spool {path}: {what}"));
            }
            self.last_refused = Some(refusal.to_string());
        }
        notes
    }

    pub(super) fn problems(&self) -> Vec<String> {
        let mut problems: Vec<String> = self.failed.clone().into_iter().collect();
        let path = self.path.display();
        if let Some((first, count)) = &self.stuck {
            let what = "names of requests are blocked by what can be neither moved nor removed";
            problems.push(format!("{count} {what}: remove {path}/{first}"));
        }
        let last = self.last_refused.as_ref();
        let last = last.map_or_else(String::new, |last| format!("; the last: {last}"));
        if self.kept > 0 {
            let (kept, files) = (self.kept, if self.kept == 1 { "file is" } else { "files are" });
            problems.push(format!("{kept} spooled {files} not counted, see {path}/refused{last}"));
        }
        problems
    }

    pub(super) fn facts(&self) -> Vec<(String, Value)> {
        vec![
            ("spool_dir".into(), Value::Text(self.path.display().to_string())),
            ("spool_taken".into(), Value::Number(self.counted)),
            ("spool_refused".into(), Value::Number(self.refused)),
        ]
    }
}

impl Server {
    /// Does what there is to do for the spool: scans it, counts what was found, and has removed what is
    /// counted for good.
    pub(super) fn look_after_spool(&mut self, now: Moment) -> Result<(), ServerError> {
        let Some(spool) = &mut self.spool else { return Ok(()) };
        spool.scan_if_due(now);
        if let Phase::Found(_) = spool.phase {
            self.count_spooled(now)?;
        }
        self.clear_if_synced();
        Ok(())
    }

    /// Lets the core count what was found, and appends.
    fn count_spooled(&mut self, now: Moment) -> Result<(), ServerError> {
        let Some(spool) = &mut self.spool else { return Ok(()) };
        let phase = std::mem::replace(&mut spool.phase, Phase::Idle);
        let Phase::Found(scan) = phase else { return Ok(()) };
        let files = scan.files.iter().map(|file| Spooled {
            session: file.session,
            uid: file.uid,
            payload: &file.payload,
        });
        let records = self.core.count_spooled(now, files, scan.all);
        let changes = !records.is_empty();
        let result = self.appending.append(&mut self.journal, records, now, &mut *self.notice)?;
        let position = self.journal.position();
        let outcomes =
            self.core.spooled_counted(result.as_ref().map(|_| ()).map_err(String::as_str));
        if changes {
            self.something_changed();
        }
        let Some(spool) = &mut self.spool else { return Ok(()) };
        if outcomes.contains(&Outcome::Later) || result.is_err() {
            // Its file stays where it is, and is found there again.
            (spool.wanted, spool.scan_after_ns) = (true, now.boot_ns.saturating_add(RETRY_NS));
        }
        let fates =
            scan.files.into_iter().zip(outcomes).filter_map(|(file, outcome)| match outcome {
                Outcome::Counted => Some((file, Fate::Done)),
                Outcome::Refused(why) => Some((file, Fate::Refused(why))),
                Outcome::Later => None,
            });
        let files: Vec<(File, Fate)> = fates.collect();
        if files.is_empty() {
            spool.wanted |= scan.more;
            return Ok(());
        }
        let counted = files.iter().filter(|(_, fate)| *fate == Fate::Done).count();
        spool.counted = spool.counted.saturating_add(u64::try_from(counted).unwrap_or(u64::MAX));
        spool.phase = Phase::Counted { position, files };
        Ok(())
    }

    /// Has files removed whose requests are in the journal for good.
    fn clear_if_synced(&mut self) {
        let (journal, any) = (&self.journal, self.fsync == Fsync::No);
        let Some(spool) = &mut self.spool else { return };
        let covered = |position| any || journal.is_synced_to(position);
        if !matches!(spool.phase, Phase::Counted { position, .. } if covered(position)) {
            return;
        }
        if let Phase::Counted { files, .. } = std::mem::replace(&mut spool.phase, Phase::Idle) {
            spool.submit(move |intake| News::SpoolCleared(intake.clear(files)));
        }
    }

    /// Looks soon whether there is something in the spool.
    pub(super) fn look_into_spool(&mut self) {
        if let Some(spool) = &mut self.spool {
            spool.wanted = true;
        }
    }

    /// Takes in what the spool's worker tells, and tells the operator.
    pub(super) fn hear_of_spool(&mut self, notes: impl FnOnce(&mut Spool, Moment) -> Vec<String>) {
        let now = self.clock.now();
        let notes = self.spool.as_mut().map_or_else(Vec::new, |spool| notes(spool, now));
        for note in notes {
            (self.notice)(Level::Warning, &note);
        }
    }
}
