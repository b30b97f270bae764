//! Golden bytes of records, and replay against the live state.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::image::Image;
use super::replay::Replay;
use super::state::{SinkState, State};
use super::*;
use crate::ids::Answered;

const fn moment(n: u64) -> Moment {
    Moment { wall_ms: n, boot_ns: n }
}

fn bytes(record: &Record<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    record.encode(&mut out).unwrap();
    assert_eq!(records(&out).collect::<Vec<_>>(), [Ok(record.clone())]);
    out
}

#[test]
fn records_have_these_bytes() {
    let name = "ab";
    let start = moment(4);
    let id = RequestId { session: 9, seq: 8, born_ns: 7 };
    let window = Window { first: 1, number: 2, start, start_boot: 5, end: moment(6), end_boot: 7 };
    let file = Some(FilePlace { device: 1, inode: 2, offset: 3, length: 4, crc: 5 });
    let offer = Offer { first: 1, last: 2, layout: "json".into(), file };
    let golden: [(Record<'_>, &[u8]); 23] = [
        (Record::Defined { id: 1, kind: 0, creator: 2, name }, &[0, 1, 0, 2, 2, 97, 98]),
        (Record::Total { id: 1, total: 300 }, &[1, 1, 251, 44, 1]),
        (Record::Deleted { id: 1 }, &[2, 1]),
        (Record::Answered { id, digest: 6, answer: None }, &[3, 9, 8, 7, 6, 0]),
        (Record::Opened { start }, &[4, 4, 4]),
        (Record::Closed { window, with_idle: true }, &[5, 1, 2, 4, 4, 5, 6, 6, 7, 1]),
        (Record::Merged { first: 1, last: 2 }, &[6, 1, 2]),
        (Record::SinkAdded { place: "p", acknowledged: 3 }, &[7, 1, 112, 3]),
        (Record::SinkRemoved { place: "p" }, &[8, 1, 112]),
        (
            Record::Offered { place: "p", offer: offer.clone() },
            &[9, 1, 112, 1, 2, 4, 106, 115, 111, 110, 1, 1, 2, 3, 4, 5],
        ),
        (Record::Acknowledged { place: "p", last: 2 }, &[10, 1, 112, 2]),
        (Record::Started { boot: 3, at: start }, &[11, 3, 4, 4]),
        (
            Record::Base {
                next_counter: 1,
                window: 2,
                start,
                start_boot: 3,
                horizon_ns: 5,
                ids_boot: 6,
            },
            &[12, 1, 2, 4, 4, 3, 5, 6],
        ),
        (
            Record::Counter {
                id: 1,
                kind: 0,
                creator: 2,
                created_ms: 3,
                last_seen_ms: 4,
                total: 5,
                gained: Some(6),
                name,
            },
            &[13, 1, 0, 2, 3, 4, 5, 1, 6, 2, 97, 98],
        ),
        (Record::Retired { name, count: 1, total: 2 }, &[14, 2, 97, 98, 1, 2]),
        (Record::Owed { window }, &[15, 1, 2, 4, 4, 5, 6, 6, 7]),
        (Record::OwedCount { name, count: 1, total: 2 }, &[16, 2, 97, 98, 1, 2]),
        (Record::End { records: 9 }, &[17, 9]),
        (Record::Held { session: 300 }, &[18, 251, 44, 1]),
        (Record::Released { session: 9 }, &[19, 9]),
        (Record::SinkReached { place: "p", second: 3 }, &[20, 1, 112, 3]),
        (Record::Delivered { place: "p", last: 3, stored: 2 }, &[21, 1, 112, 3, 2]),
        (
            Record::Kept { place: "p", offer, windows: 2 },
            &[22, 1, 112, 1, 2, 4, 106, 115, 111, 110, 1, 1, 2, 3, 4, 5, 2],
        ),
    ];
    for (record, expected) in golden {
        assert_eq!(bytes(&record), expected, "{record:?}");
    }
}

/// Everything a state holds, in an order that does not depend on slots.
fn described(state: &State) -> Vec<String> {
    let mut lines: Vec<String> = state
        .table
        .columns()
        .iter()
        .map(|(_, definition, values)| {
            let gained = values.count(state.open.number);
            format!("{definition:?} {} {gained} {}", values.total, values.last_seen_ms)
        })
        .collect();
    lines.sort();
    let mut retired: Vec<_> = state
        .retired
        .columns()
        .iter()
        .map(|(_, definition, values)| format!("{} {:?}", definition.name, retired::of(values)))
        .collect();
    retired.sort();
    lines.push(format!("{:?} {retired:?} {}", state.open, state.next_counter));
    for SinkState { place, acknowledged, offered, reached, kept } in &state.sinks {
        let kept: Vec<_> = kept.iter().map(|kept| (&kept.offer, kept.reports.len())).collect();
        lines.push(format!("{place} {acknowledged} {offered:?} {reached:?} {kept:?}"));
    }
    lines.push(format!("{:?}", state.held));
    let kept = state.sinks.iter().flat_map(|sink| &sink.kept).flat_map(|kept| &kept.reports);
    for report in state.closed().chain(kept) {
        lines.push(format!("{:?} {:?}", report.window, report.counts()));
    }
    lines.extend(state.ids.iter().map(|answered| format!("{answered:?}")));
    lines
}

fn through_checkpoint(state: &State) -> State {
    let mut replay = Replay::new(state.id);
    Image::of(state).blocks(|payload| replay.block(payload, 0).map_err(Failed::Replay)).unwrap();
    assert!(replay.checkpoint_ended());
    replay.finish()
}

#[derive(Debug)]
enum Failed {
    Replay(#[expect(dead_code, reason = "for the message of a failed test")] replay::ReplayError),
    Malformed(#[expect(dead_code, reason = "for the message of a failed test")] Malformed),
}

impl From<Malformed> for Failed {
    fn from(error: Malformed) -> Failed {
        Failed::Malformed(error)
    }
}

/// A state that is changed live, with the records that a journal would get.
struct Live {
    state: State,
    journal: Vec<(Vec<u8>, u64)>,
    clock: u64,
}

impl Live {
    fn new() -> Live {
        let state = State::new(7, 0, Moment::default());
        Live { state, journal: Vec::new(), clock: 0 }
    }

    fn write(&mut self, record: &Record<'_>) {
        let mut payload = Vec::new();
        record.encode(&mut payload).unwrap();
        self.journal.push((payload, self.clock));
    }

    fn incr(&mut self, name: &str, amount: u64) {
        let slot = self.state.table.find(name).unwrap_or_else(|| {
            let (slot, _) = self.state.define(name, 3, self.clock).unwrap();
            let id = self.state.table.get(slot).unwrap().0.id;
            self.write(&Record::Defined { id, kind: KIND_COUNTER, creator: 3, name });
            slot
        });
        let (definition, values) = self.state.table.get(slot).unwrap();
        let (id, total) = (definition.id, values.total + amount);
        self.write(&Record::Total { id, total });
        self.state.set_total(slot, total, self.clock).unwrap();
    }

    fn delete(&mut self, name: &str) {
        let Some(slot) = self.state.table.find(name) else { return };
        let id = self.state.table.get(slot).unwrap().0.id;
        self.write(&Record::Deleted { id });
        self.state.delete(slot).unwrap();
    }

    fn answer(&mut self) {
        let id = RequestId { session: u128::from(self.clock), seq: 0, born_ns: self.clock };
        self.write(&Record::Answered { id, digest: 1, answer: None });
        self.state.remember(Answered { id, digest: 1, answer: None }, 0);
    }

    /// Holds the session of a spooled request, or releases it.
    fn spool(&mut self, session: u128) {
        if self.state.held.contains(&session) {
            self.write(&Record::Released { session });
            self.state.release(session);
        } else {
            self.write(&Record::Held { session });
            self.state.hold(session);
        }
    }

    fn close(&mut self) {
        let open = self.state.open;
        let window = Window {
            first: open.number,
            number: open.number,
            start: open.start,
            start_boot: open.start_boot,
            end: moment(self.clock),
            end_boot: 0,
        };
        self.write(&Record::Closed { window, with_idle: false });
        self.state.close(window, false);
    }

    fn sink(&mut self, what: u8) {
        let last = self.state.open.number - 1;
        let place = ["stdout", "other"][usize::from(what >> 7)];
        match (what % 6, self.state.sink(place).is_some()) {
            (0, _) => {
                self.write(&Record::SinkAdded { place, acknowledged: last });
                self.state.add_sink(place, last);
            }
            (1, true) => {
                self.write(&Record::Acknowledged { place, last });
                self.state.acknowledge(place, last);
            }
            (2, true) => {
                let offer = Offer { first: 1, last, layout: "plain".into(), file: None };
                self.write(&Record::Offered { place, offer: offer.clone() });
                self.state.offer(place, offer);
            }
            (4, true) => {
                let second = self.clock;
                self.write(&Record::SinkReached { place, second });
                self.state.reach(place, second);
            }
            (5, true) => {
                let stored = last.saturating_sub(u64::from(what) / 6 % 5);
                self.write(&Record::Delivered { place, last, stored });
                self.state.deliver(place, last, stored);
            }
            (3, true) if last > 2 => {
                self.write(&Record::Merged { first: last - 1, last });
                self.state.merge(last - 1, last);
            }
            _ => {}
        }
    }

    fn step(&mut self, what: u8, key: u8, amount: u32) {
        self.clock += 1;
        let name = format!("n{}", key % 8);
        match what % 9 {
            8 => self.spool(u128::from(key % 4)),
            0..=2 => self.incr(&name, u64::from(amount)),
            3 => self.delete(&name),
            4 => self.close(),
            5 => self.answer(),
            _ => self.sink(key),
        }
    }
}

proptest! {
    #[test]
    fn replay_restores_what_was_counted_whatever_was_checkpointed(
        steps in prop::collection::vec((any::<u8>(), any::<u8>(), any::<u32>()), 0..120),
        checkpoint_at in 0..120_usize,
    ) {
        let mut live = Live::new();
        let mut restored = None;
        for (at, (what, key, amount)) in steps.into_iter().enumerate() {
            if at == checkpoint_at {
                live.journal.clear();
                restored = Some(Image::of(&live.state));
            }
            live.step(what, key, amount);
        }
        let mut replay = Replay::new(7);
        if let Some(image) = restored {
            image.blocks(|payload| replay.block(payload, 0).map_err(Failed::Replay)).unwrap();
        }
        for (payload, wall_ms) in &live.journal {
            replay.block(payload, *wall_ms).unwrap();
        }
        let replayed = replay.finish();
        prop_assert_eq!(described(&replayed), described(&live.state));
        prop_assert_eq!(described(&through_checkpoint(&live.state)), described(&live.state));
    }

    #[test]
    fn the_state_counts_as_a_plain_map_does_and_undo_leaves_no_trace(
        steps in prop::collection::vec((0..8_u8, 0..8_u8, any::<u32>()), 0..200),
    ) {
        let mut live = Live::new();
        live.state.add_sink("stdout", 0);
        let mut totals: BTreeMap<String, u64> = BTreeMap::new();
        let mut gained: BTreeMap<String, u64> = BTreeMap::new();
        for (what, key, amount) in steps {
            let name = format!("n{key}");
            let before = described(&live.state);
            undone(&mut live.state, &name, u64::from(amount));
            prop_assert_eq!(described(&live.state), before);
            match what {
                0..=4 => {
                    live.incr(&name, u64::from(amount));
                    *totals.entry(name.clone()).or_default() += u64::from(amount);
                    *gained.entry(name).or_default() += u64::from(amount);
                }
                5 => {
                    live.delete(&name);
                    totals.remove(&name);
                }
                _ => {
                    live.close();
                    let report = live.state.closed().next_back().unwrap();
                    let counts: BTreeMap<String, u64> =
                        report.counts().iter().map(|c| (c.name.to_string(), c.count)).collect();
                    prop_assert_eq!(counts.len(), report.counts().len(), "one line a name");
                    gained.retain(|_, count| *count > 0);
                    prop_assert_eq!(counts, std::mem::take(&mut gained));
                }
            }
            let found: BTreeMap<String, u64> = live.state.table.columns().iter()
                .map(|(_, d, v)| (d.name.to_string(), v.total)).collect();
            prop_assert_eq!(&found, &totals);
        }
    }
}

/// Changes everything a request can change, and takes it back.
fn undone(state: &mut State, name: &str, amount: u64) {
    let mut log = Vec::new();
    let slot = state.table.find(name).unwrap_or_else(|| {
        let (slot, undo) = state.define(name, 1, 1).unwrap();
        log.push(undo);
        slot
    });
    let total = state.table.get(slot).unwrap().1.total;
    log.push(state.set_total(slot, total + amount, 99).unwrap());
    log.push(state.delete(slot).unwrap());
    let (slot, undo) = state.define(name, 2, 2).unwrap();
    log.push(undo);
    log.push(state.set_total(slot, amount, 99).unwrap());
    let id = RequestId { session: 1, seq: 1, born_ns: 1 };
    log.push(state.remember(Answered { id, digest: 0, answer: None }, 0));
    log.push(state.hold(1));
    while let Some(undo) = log.pop() {
        state.undo(undo);
    }
}

#[test]
fn a_record_of_another_kind_is_from_a_newer_version() {
    let mut payload = Vec::new();
    Record::Defined { id: 1, kind: 1, creator: 0, name: "gauge" }.encode(&mut payload).unwrap();
    let error = Replay::new(1).block(&payload, 0).unwrap_err();
    assert_eq!(error, replay::ReplayError::NewerKind(1));
}

#[test]
fn replaying_a_block_twice_changes_nothing() {
    let mut live = Live::new();
    live.incr("a", 5);
    let mut replay = Replay::new(7);
    replay.block(&live.journal[0].0, 0).unwrap();
    for _ in 0..2 {
        replay.block(&live.journal[1].0, 0).unwrap();
    }
    assert_eq!(described(&replay.finish()), described(&live.state));
}

fn replayed(records: &[Record<'_>]) -> Result<Replay, replay::ReplayError> {
    let mut payload = Vec::new();
    records.iter().for_each(|record| record.encode(&mut payload).unwrap());
    let mut replay = Replay::new(7);
    replay.block(&payload, 0).map(|()| replay)
}

const BASE: Record<'_> = Record::Base {
    next_counter: 5,
    window: 1,
    start: moment(1),
    start_boot: 1,
    horizon_ns: 0,
    ids_boot: 1,
};

#[test]
fn parts_of_a_checkpoint_stand_only_between_its_first_record_and_its_end() {
    let retired = || Record::Retired { name: "a", count: 1, total: 1 };
    assert!(replayed(&[BASE, retired(), Record::End { records: 2 }]).is_ok());
    let started = Record::Started { boot: 1, at: moment(1) };
    for wrong in [
        &[retired()][..],
        &[started, BASE],
        &[BASE, BASE],
        &[BASE, Record::End { records: 1 }, retired()],
        &[BASE, Record::End { records: 1 }, Record::End { records: 2 }],
    ] {
        assert!(replayed(wrong).is_err(), "{wrong:?}");
    }
}

#[test]
fn a_number_is_never_given_to_a_second_counter() {
    let defined = |id, name| Record::Defined { id, kind: KIND_COUNTER, creator: 0, name };
    assert!(replayed(&[defined(1, "a"), defined(2, "b")]).is_ok());
    assert!(replayed(&[defined(1, "a"), defined(1, "b")]).is_err());
    assert!(replayed(&[defined(1, "a"), Record::Deleted { id: 1 }, defined(1, "b")]).is_err());
    assert!(replayed(&[BASE, defined(4, "a")]).is_err());
    let counter = |id, name| Record::Counter {
        id,
        kind: KIND_COUNTER,
        creator: 0,
        created_ms: 0,
        last_seen_ms: 0,
        total: 1,
        gained: None,
        name,
    };
    assert!(replayed(&[BASE, counter(3, "a"), counter(2, "b")]).is_ok());
    assert!(replayed(&[BASE, counter(3, "a"), counter(3, "b")]).is_err());
    let mut last = replayed(&[defined(u64::MAX - 1, "a")]).unwrap().finish();
    assert!(last.define("b", 0, 0).is_none());
}

#[test]
fn only_the_open_window_is_closed() {
    let closed = |first, number| {
        let (start, end) = (moment(1), moment(2));
        let window = Window { first, number, start, start_boot: 1, end, end_boot: 1 };
        Record::Closed { window, with_idle: false }
    };
    assert!(replayed(&[closed(1, 1), closed(2, 2)]).is_ok());
    for wrong in [closed(1, 0), closed(0, 0), closed(2, 2), closed(0, 1), closed(2, 1)] {
        assert!(replayed(&[wrong]).is_err());
    }
    assert!(replayed(&[closed(1, 1), closed(1, 1)]).is_err());
}

proptest! {
    #[test]
    fn a_total_is_written_as_the_record_of_it(id: u64, total: u64) {
        let (mut record, mut alone) = (Vec::new(), Vec::new());
        Record::Total { id, total }.encode(&mut record).unwrap();
        encode_total(id, total, &mut alone);
        prop_assert_eq!(record, alone);
    }
}
