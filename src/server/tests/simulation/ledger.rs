//! What must be true, known from outside the daemon: what clients sent and were told, what reached the sinks.
//! It asks the daemon nothing; it is shown totals and outputs, and panics when they cannot be.

use std::collections::{BTreeMap, BTreeSet};

use super::carbon::Carbon;
use crate::disk::Disk;
use crate::disk::fake::FakeDisk;
use crate::ids::Answer;

/// Counters that are deleted now and then begin so.
pub(super) const DELETED: &str = "gone.";
/// Counters that are counted only by what is spooled begin so.
pub(super) const SPOOLED: &str = "spool.";
/// These two are only ever counted together.
pub(super) const PAIR: [&str; 2] = ["pair.a", "pair.b"];

/// What is to be added: names and amounts.
pub(super) type Entries = Vec<(String, u64)>;
pub(super) type Totals = BTreeMap<String, u64>;

/// What is known of one counter.
#[derive(Debug, Clone, Default)]
struct Account {
    /// All that may be counted.
    sent: u64,
    /// What clients were told is counted.
    acknowledged: u64,
    /// What of that must survive a power cut.
    safe: u64,
    /// What deletions took away.
    removed: u64,
    /// It cannot be told any more what deletions took away.
    vague: bool,
    /// Totals that were told.
    told: BTreeSet<u64>,
}

/// What is known of all counters.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    accounts: BTreeMap<String, Account>,
    /// When the oldest increment was acknowledged that a power cut may take, by the boot's clock.
    pub(super) unsafe_since_ns: Option<u64>,
    /// After a power cut without syncs, outputs may know more than the state.
    pub(super) outputs_vague: bool,
}

fn is_valid(name: &str) -> bool {
    !name.starts_with('.')
}

impl Ledger {
    fn account(&mut self, name: &str) -> &mut Account {
        self.accounts.entry(name.to_owned()).or_default()
    }

    pub(super) fn acknowledged(&self) -> Totals {
        self.accounts.iter().map(|(name, a)| (name.clone(), a.acknowledged)).collect()
    }

    /// A request is sent for the first time.
    pub(super) fn sent(&mut self, entries: &Entries) {
        for (name, amount) in entries.iter().filter(|(name, _)| is_valid(name)) {
            self.account(name).sent += amount;
        }
    }

    /// A request that was sent will never be counted.
    pub(super) fn taken_back(&mut self, entries: &Entries) {
        for (name, amount) in entries.iter().filter(|(name, _)| is_valid(name)) {
            self.account(name).sent -= amount;
        }
    }

    /// A request is acknowledged for the first time. When it was sent first, this much was acknowledged.
    pub(super) fn counted(
        &mut self,
        entries: &Entries,
        answer: &Answer,
        before: &Totals,
        now_ns: u64,
    ) {
        let wrong: Vec<u32> = answer.refused.iter().map(|refused| refused.entry).collect();
        let invalid = (0..).zip(entries).filter(|(_, (name, _))| !is_valid(name));
        let expected: Vec<u32> = invalid.map(|(at, _)| at).collect();
        assert_eq!(wrong, expected, "refused entries of {entries:?}: {answer:?}");
        let valid: Vec<_> = entries.iter().filter(|(name, _)| is_valid(name)).collect();
        for (name, amount) in &valid {
            self.account(name).acknowledged += amount;
        }
        self.unsafe_since_ns.get_or_insert(now_ns);
        if answer.totals.is_empty() {
            return;
        }
        assert_eq!(answer.totals.len(), valid.len());
        for ((name, amount), &total) in valid.into_iter().zip(&answer.totals) {
            let account = self.account(name);
            assert!(total <= account.sent, "{name}: told {total}, sent {}", account.sent);
            if !name.starts_with(DELETED) {
                let least = before.get(name).unwrap_or(&0) + amount;
                assert!(total >= least, "{name}: told {total}, not even {least}");
                let new = *amount == 0 || account.told.insert(total);
                assert!(new, "{name}: {total} was told twice");
            }
        }
    }

    /// Counters were deleted, at these totals; or it is not known whether.
    pub(super) fn deleted(&mut self, rows: &Totals) {
        for (name, total) in rows {
            self.account(name).removed += total;
        }
    }

    pub(super) fn maybe_deleted(&mut self) {
        for (name, account) in &mut self.accounts {
            account.vague |= name.starts_with(DELETED);
        }
    }

    /// All that is acknowledged survives a power cut from now on.
    pub(super) fn synced(&mut self) {
        for account in self.accounts.values_mut() {
            account.safe = account.acknowledged;
        }
        self.unsafe_since_ns = None;
    }

    /// Totals at a moment between the two at which `before` was acknowledged, and now.
    pub(super) fn check(&self, found: &Totals, before: &Totals, what: &str) {
        self.check_bounds(found, what, |name, _| before.get(name).copied().unwrap_or(0));
    }

    /// The totals of now.
    pub(super) fn check_now(&self, found: &Totals, what: &str) {
        self.check_bounds(found, what, |_, account| account.acknowledged);
    }

    fn check_bounds(&self, found: &Totals, what: &str, least: impl Fn(&str, &Account) -> u64) {
        for name in found.keys() {
            assert!(self.accounts.contains_key(name), "{what}: {name} was never sent");
        }
        for (name, account) in &self.accounts {
            let total = found.get(name).copied().unwrap_or(0);
            let most = account.sent;
            // A deletion may be under way.
            let least = if name.starts_with(DELETED) { 0 } else { least(name, account) };
            assert!(
                least <= total && total <= most,
                "{what}: {name} is at {total}, not in {least}..={most}: {account:?}"
            );
        }
        let [a, b] = PAIR.map(|name| found.get(name));
        assert_eq!(a, b, "{what}: the pair was counted apart");
    }

    /// The machine came back with these totals, and all clients are gone.
    pub(super) fn after_power_cut(&mut self, found: &Totals, all_safe: Option<bool>) {
        let before: Totals = self
            .accounts
            .iter()
            .map(|(name, a)| match all_safe {
                Some(true) => (name.clone(), a.acknowledged),
                Some(false) => (name.clone(), a.safe),
                None => (name.clone(), 0),
            })
            .collect();
        self.maybe_deleted();
        self.check(found, &before, "after a power cut");
        self.nobody_is_left(found);
        // What comes back after a power cut was on the disk.
        self.synced();
    }

    /// All that was spooled is taken, and counted: without syncs a power cut may have taken some.
    pub(super) fn spooled_is_counted(&mut self) {
        let sure = !self.outputs_vague;
        for (_, account) in self.accounts.iter_mut().filter(|(n, _)| n.starts_with(SPOOLED) && sure)
        {
            account.acknowledged = account.sent;
        }
    }

    /// Nobody will ask again, and only what is spooled may still be counted: what is found is what counts.
    pub(super) fn nobody_is_left(&mut self, found: &Totals) {
        for (name, account) in &mut self.accounts {
            let total = found.get(name).copied().unwrap_or(0);
            account.told.retain(|told| *told <= total);
            if !name.starts_with(DELETED) && !name.starts_with(SPOOLED) {
                (account.sent, account.acknowledged) = (total, total);
            }
            account.safe = account.safe.min(account.acknowledged);
        }
    }

    /// Everybody got an answer, and these are the totals.
    pub(super) fn check_exact(&self, found: &Totals) {
        self.check_now(found, "at rest");
        for (name, account) in self.accounts.iter().filter(|(_, account)| !account.vague) {
            let total = found.get(name).copied().unwrap_or(0) + account.removed;
            if account.sent == account.acknowledged {
                assert_eq!(total, account.acknowledged, "{name} at rest: {account:?}");
            }
        }
    }

    /// The counts in an output are no more than the state knows, or exactly that.
    pub(super) fn check_output(&self, output: &Output, found: &Totals, exact: bool) {
        let mut sums = output.sums();
        for (name, account) in &self.accounts {
            let total = found.get(name).copied().unwrap_or(0) + account.removed;
            let sum = sums.remove(name).unwrap_or(0);
            if account.vague || (!exact && name.starts_with(DELETED)) {
                assert!(sum <= account.sent, "{}: {name} adds up to {sum}", output.name);
                continue;
            }
            let fits = if exact { sum == total } else { sum <= total };
            assert!(fits, "{}: {name} adds up to {sum} of {total}: {account:?}", output.name);
        }
        assert!(sums.is_empty(), "{}: nobody sent {sums:?}", output.name);
    }
}

/// The lines of an output: by window and counter.
#[derive(Debug)]
pub(super) struct Output {
    name: &'static str,
    lines: BTreeMap<(u64, String), String>,
}

impl Output {
    fn sums(&self) -> Totals {
        let mut sums = Totals::new();
        for ((_, counter), line) in &self.lines {
            *sums.entry(counter.clone()).or_default() += field(line, "count").unwrap();
        }
        sums
    }

    /// The log over all its rotations. A window is in it once. If it may be torn, lines that are not whole
    /// are left out.
    pub(super) fn of_log(folder: &FakeDisk, may_be_torn: bool) -> Output {
        let mut output = Output { name: "the log", lines: BTreeMap::new() };
        let mut homes = BTreeMap::new();
        for name in folder.list().unwrap().into_iter().filter(|name| name.starts_with("log")) {
            let bytes = folder.content(&name);
            let text = String::from_utf8_lossy(&bytes);
            let mut last = 0;
            for line in text.split_inclusive('\n') {
                let Some((window, counter)) = key(line) else {
                    assert!(may_be_torn, "{name}: a line is torn: {line:?}");
                    continue;
                };
                assert!(window >= last, "{name}: window {window} comes after {last}");
                last = window;
                let home = homes.entry(window).or_insert_with(|| name.clone());
                assert_eq!(*home, name, "window {window} is in two files");
                let before = output.lines.insert((window, counter), line.to_owned());
                assert_eq!(before, None, "{name}: twice in the log");
            }
        }
        output
    }

    /// What carbon has.
    pub(super) fn of_carbon(carbon: &Carbon) -> Output {
        let points = carbon.points.iter();
        let lines = points.map(|(point, (count, _))| (point.clone(), format!("count={count}")));
        Output { name: "carbon", lines: lines.collect() }
    }

    /// Standard output over all runs. A window may be repeated by a later run that said so, unchanged.
    pub(super) fn of_stdout(runs: &[(Vec<u8>, bool)]) -> Output {
        let mut output = Output { name: "stdout", lines: BTreeMap::new() };
        for (bytes, said) in runs {
            let (text, mut own) = (String::from_utf8_lossy(bytes), BTreeSet::new());
            let mut last = 0;
            for line in text.split_inclusive('\n') {
                // The last line of a run may be cut short by its end.
                let Some((window, counter)) = key(line) else { continue };
                assert!(window >= last, "stdout: window {window} comes after {last}");
                last = window;
                assert!(own.insert((window, counter.clone())), "stdout: twice in a run: {line}");
                if let Some(before) = output.lines.insert((window, counter), line.to_owned()) {
                    assert!(*said, "stdout: repeated without a word: {line}");
                    assert_eq!(before, line, "stdout: repeated with a change");
                }
            }
        }
        output
    }
}

/// The window and the counter of a whole line.
fn key(line: &str) -> Option<(u64, String)> {
    let whole = line.strip_suffix('\n')?;
    if !whole.starts_with("time=") || whole.contains('\0') || !whole.contains(" seconds=") {
        return None;
    }
    field(line, "count")?;
    let counter = whole.split(' ').find_map(|part| part.strip_prefix("counter="))?;
    Some((field(line, "window")?, counter.to_owned()))
}

fn field(line: &str, key: &str) -> Option<u64> {
    let mut parts = line.trim_end().split(' ').filter_map(|part| part.split_once('='));
    parts.find(|(found, _)| *found == key)?.1.parse().ok()
}
