//! Turns of several requests each, with appends that fail, files of the spool, checkpoints and flushes whose
//! reports are put together much later: what is answered is what a plain map would answer, and a replay of what
//! was appended is the state that is there.

use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::record::image::Image;
use crate::record::records;

const NAMES: [&str; 6] = ["a", "b", "a,k=v", "c", "d", "-bad"];
/// One less than there are good names.
const COUNTERS_MAX: usize = 4;

type Entries = Vec<(usize, u64)>;
type Totals = BTreeMap<&'static str, u64>;

#[derive(Debug, Clone)]
enum Asked {
    Incr(Sent),
    /// The nth last increment again.
    Again(usize),
    /// Counters by their names.
    Delete(Vec<usize>),
    /// All counters, which takes several turns.
    DeleteAll,
}

#[derive(Debug, Clone)]
struct Sent {
    entries: Entries,
    atomic: bool,
    totals: bool,
    payload: Vec<u8>,
}

#[derive(Debug, Clone)]
struct Turn {
    asked: Vec<Asked>,
    spooled: Option<Entries>,
    fails: bool,
    flushes: bool,
    folds: bool,
    restarts: bool,
    /// Whether it is looked at the state, which puts together all reports.
    checks: bool,
}

fn entries() -> impl Strategy<Value = Entries> {
    let amount = prop_oneof![6 => 0..4_u64, 1 => Just(u64::MAX - 3), 1 => Just(u64::MAX)];
    let entry = (0..NAMES.len(), amount);
    // More than are looked for at once.
    prop_oneof![
        9 => prop::collection::vec(entry.clone(), 1..5),
        1 => prop::collection::vec(entry, 14..20),
    ]
}

fn asked(deletes_all: bool) -> impl Strategy<Value = Asked> {
    let incr = (entries(), any::<bool>(), any::<bool>()).prop_map(|(entries, atomic, totals)| {
        Asked::Incr(Sent { entries, atomic, totals, payload: Vec::new() })
    });
    prop_oneof![
        8 => incr,
        1 => (0..4_usize).prop_map(Asked::Again),
        2 => prop::collection::vec(0..NAMES.len() - 1, 1..3).prop_map(Asked::Delete),
        u32::from(deletes_all) => Just(Asked::DeleteAll),
    ]
}

fn turns(deletes_all: bool) -> impl Strategy<Value = Vec<Turn>> {
    let happens = prop::bool::weighted;
    let turn = (
        prop::collection::vec(asked(deletes_all), 0..6),
        prop::option::weighted(0.3, entries()),
        [happens(0.3), happens(0.3), happens(0.1), happens(0.1), happens(0.6)],
    );
    let turn = turn.prop_map(|(asked, spooled, [fails, flushes, folds, restarts, checks])| Turn {
        asked,
        spooled,
        fails,
        flushes,
        folds,
        restarts,
        checks,
    });
    prop::collection::vec(turn, 1..16)
}

/// What there would be in a plain map.
#[derive(Debug, Clone, Default)]
struct Plain {
    totals: Totals,
    /// What was gained in the open window, also by counters that are deleted.
    gained: Totals,
    /// Increments that are counted, by their place among those sent.
    counted: Vec<usize>,
}

impl Plain {
    fn add(&mut self, name: &'static str, amount: u64) -> Option<u64> {
        let there = self.totals.get(name).copied();
        if name == "-bad" || there.is_none() && self.totals.len() >= COUNTERS_MAX {
            return None;
        }
        let total = there.unwrap_or(0).checked_add(amount)?;
        self.totals.insert(name, total);
        let gained = self.gained.entry(name).or_default();
        *gained = gained.saturating_add(amount);
        Some(total)
    }

    /// The totals and which entries are refused; `None` if all are.
    fn incr(&mut self, entries: &[(usize, u64)], atomic: bool) -> Option<(Vec<u64>, Vec<u32>)> {
        let before = self.clone();
        let (mut totals, mut refused) = (Vec::new(), Vec::new());
        for (at, &(name, amount)) in (0..).zip(entries) {
            match self.add(NAMES[name], amount) {
                Some(total) => totals.push(total),
                None => refused.push(at),
            }
        }
        if atomic && !refused.is_empty() {
            *self = before;
            return None;
        }
        Some((totals, refused))
    }
}

fn named(entries: &[(usize, u64)]) -> Vec<(&'static str, u64)> {
    entries.iter().map(|&(name, amount)| (NAMES[name], amount)).collect()
}

fn delete(patterns: Vec<&str>) -> Vec<u8> {
    payload(&Request::Delete { wanted: Wanted { patterns, tags: vec![] }, dry_run: false })
}

fn blocks(image: &Image) -> Vec<Vec<u8>> {
    let mut blocks = Vec::new();
    let append = |payload: &[u8]| {
        blocks.push(payload.to_vec());
        Ok::<(), Malformed>(())
    };
    image.blocks(append).unwrap();
    blocks
}

/// What an image says, in no order, as slots are handed out in another order by a replay. Where an empty window
/// begins is not in the journal.
fn said(image: &Image) -> Vec<String> {
    let blocks = blocks(image).concat();
    let said = records(&blocks).map(|record| {
        let record = record.unwrap();
        if let Record::Base { next_counter, window, ids_boot, .. } = record {
            return format!("{next_counter} is next, {window} is open in {ids_boot}");
        }
        format!("{record:?}")
    });
    let mut said: Vec<String> = said.collect();
    said.sort();
    said
}

struct Run {
    world: World,
    plain: Plain,
    /// Whether it is known what there would be in a plain map.
    is_plain: bool,
    sent: Vec<Sent>,
    spooled: u128,
    reports: Vec<(Arc<Report>, Totals)>,
}

impl Run {
    fn new() -> Run {
        let rules = Rules { counters_max: COUNTERS_MAX as u32, ..rules() };
        Run {
            world: World::with(rules, &["stdout"]),
            plain: Plain::default(),
            is_plain: true,
            sent: Vec::new(),
            spooled: 0,
            reports: Vec::new(),
        }
    }

    fn turn(&mut self, turn: Turn) {
        self.world.pass(3);
        self.world.first_fails = turn.fails.then_some("full");
        self.ask(turn.asked);
        if let Some(entries) = turn.spooled {
            self.spool(&entries);
        }
        if turn.flushes {
            self.flush();
        }
        if turn.folds {
            let image = self.world.core.image();
            let blocks = blocks(&image).into_iter().map(|block| (block, self.world.now.wall_ms));
            self.world.blocks = blocks.collect();
        }
        if turn.restarts {
            self.world.restart(&[place("stdout")]);
        }
        if turn.checks {
            self.check();
        }
    }

    /// All of it in one turn, each over a connection of its own.
    fn ask(&mut self, asked: Vec<Asked>) {
        let (mut requests, mut done) = (Vec::new(), Vec::new());
        for asked in asked {
            let (asked, payload) = match asked {
                Asked::Incr(sent) => {
                    let id = self.world.new_id();
                    let named = named(&sent.entries);
                    let entries = named.iter().map(|&(name, amount)| Entry { name, amount });
                    let (atomic, totals, entries) = (sent.atomic, sent.totals, entries.collect());
                    let payload = payload(&Request::Incr { id, atomic, totals, entries });
                    self.sent.push(Sent { payload: payload.clone(), ..sent });
                    (Asked::Again(self.sent.len() - 1), payload)
                }
                Asked::Again(back) => {
                    let Some(at) = self.sent.len().checked_sub(back + 1) else { continue };
                    (Asked::Again(at), self.sent[at].payload.clone())
                }
                Asked::Delete(names) => {
                    let patterns = names.iter().map(|&name| NAMES[name]).collect();
                    (Asked::Delete(names), delete(patterns))
                }
                Asked::DeleteAll => {
                    self.is_plain = false;
                    (Asked::DeleteAll, delete(vec!["*"]))
                }
            };
            let connection = requests.len() as u64 + 2;
            requests.push((Peer { connection, uid: OWNER }, payload));
            done.push(asked);
        }
        let appended = self.world.blocks.len();
        let replies = self.world.first_half(&requests);
        if !self.is_plain {
            return;
        }
        let failed = self.world.first_fails.is_some() && self.world.blocks.len() == appended;
        let before = self.plain.clone();
        for (asked, (_, reply)) in done.into_iter().zip(replies) {
            self.hear(asked, reply, failed);
        }
        if failed {
            self.plain = before;
        }
    }

    /// Does the same to the plain map. If the append failed, all that changes something is refused.
    fn hear(&mut self, asked: Asked, reply: Reply, failed: bool) {
        match asked {
            // More than a few deletions at once are refused.
            Asked::Delete(names) if matches!(reply, Reply::Snapshot(_)) => {
                for name in names {
                    self.plain.totals.remove(NAMES[name]);
                }
            }
            Asked::Again(at) => {
                let Sent { entries, atomic, totals, .. } = &self.sent[at];
                let again = self.plain.counted.contains(&at);
                let done = if again { None } else { self.plain.incr(entries, *atomic) };
                let response = message(reply);
                let answer =
                    if let Response::Counted(answer) = response { Some(answer) } else { None };
                match (done, answer) {
                    (Some((wanted, refused)), Some(answer)) => {
                        assert!(!failed);
                        let found: Vec<u32> = answer.refused.iter().map(|r| r.entry).collect();
                        assert_eq!(found, refused);
                        assert_eq!(answer.totals, if *totals { wanted } else { Vec::new() });
                        self.plain.counted.push(at);
                    }
                    (Some(_), None) => {
                        assert!(failed);
                        self.plain.counted.push(at);
                    }
                    (None, answer) => assert!(answer.is_some() == again || failed),
                }
            }
            Asked::Delete(_) => {}
            Asked::Incr(_) | Asked::DeleteAll => unreachable!(),
        }
    }

    /// The same file twice, as a scan could find it.
    fn spool(&mut self, entries: &[(usize, u64)]) {
        self.spooled += 1;
        let session = u128::MAX - self.spooled;
        let payload = payload(&incr(RequestId { session, seq: 0, born_ns: 0 }, &named(entries)));
        let file = Spooled { session, uid: OWNER, payload: &payload };
        let files = [file, file].into_iter();
        let records = self.world.core.count_spooled(self.world.now, files, true).to_vec();
        let failed = self.world.first_fails.filter(|_| !records.is_empty());
        let outcomes = self.world.core.spooled_counted(failed.map_or(Ok(()), Err));
        self.world.keep(records, failed);
        assert_eq!(outcomes[0], outcomes[1]);
        let done = match outcomes[0] {
            Outcome::Counted => true,
            Outcome::Refused(_) => false,
            Outcome::Later => return assert!(failed.is_some()),
        };
        assert!(!done || failed.is_none());
        let expected = self.plain.incr(entries, true).is_some();
        assert!(!self.is_plain || done == expected);
    }

    /// Closes the window, and leaves its report as it is.
    fn flush(&mut self) {
        self.world.core.flush_soon();
        let records = self.world.core.advance(self.world.now, std::iter::empty()).to_vec();
        let actions = self.world.core.advanced(Ok(()));
        self.world.keep(records, None);
        let mut gained = std::mem::take(&mut self.plain.gained);
        gained.retain(|_, count| *count > 0);
        let flushed =
            |action| if let Action::Flushed(report) = action { Some(report) } else { None };
        let report = actions.into_iter().find_map(flushed);
        if self.is_plain {
            assert_eq!(report.is_some(), !gained.is_empty());
            self.reports.extend(report.map(|report| (report, gained)));
        }
    }

    fn check(&self) {
        let state = &self.world.core.state;
        let all = state.table.columns().iter();
        let totals: BTreeMap<&str, u64> = all.map(|(_, d, v)| (d.name, v.total)).collect();
        assert!(totals.keys().all(|name| state.table.find(name).is_some()));
        assert_eq!(state.table.len(), totals.len());
        assert_eq!(state.counters_of(OWNER) as usize, totals.len());
        assert!(!self.is_plain || totals == self.plain.totals);
        let mut replay = Replay::new(7);
        for (payload, wall_ms) in &self.world.blocks {
            replay.block(payload, *wall_ms).unwrap();
        }
        assert_eq!(said(&self.world.core.image()), said(&Image::of(&replay.finish())));
    }

    fn end(&self) {
        self.check();
        for (report, gained) in &self.reports {
            let counts: Totals = report
                .counts()
                .iter()
                .map(|c| (*NAMES.iter().find(|name| **name == c.name).unwrap(), c.count))
                .collect();
            assert_eq!(&counts, gained);
        }
    }
}

fn run(turns: Vec<Turn>) {
    let mut run = Run::new();
    turns.into_iter().for_each(|turn| run.turn(turn));
    run.end();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn turns_of_several_requests_do_what_a_plain_map_does(turns in turns(false)) {
        run(turns);
    }

    #[test]
    fn a_replay_is_the_state_that_is_there_also_while_all_is_deleted(turns in turns(true)) {
        run(turns);
    }
}
