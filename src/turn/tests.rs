//! Turns as values: requests and news of sinks go in, replies and orders come out, and what was appended is a
//! list of blocks that a restart replays. No test has a clock, a file or a thread.

mod counting;
mod deleting;
mod flushing;
mod keeping;
mod limits;
mod model;
mod offering;
mod retries;
mod sinks;
mod spooled;
mod turns;

use std::collections::BTreeMap;

use super::*;
use crate::format::ReportFormat;
use crate::frame;
use crate::ids::{Answer, RequestId};
use crate::protocol::Entry;
use crate::record::replay::Replay;
use crate::report::Report;

const S: u64 = 1_000_000_000;
const MS: u64 = 1_000_000;
const OWNER: u32 = 1_000;
const BOOT: BootId = 5;
/// The first increment of a test comes here.
const BEGIN: Moment = Moment { wall_ms: 1_700_000_000_000, boot_ns: 100 * S };

/// A core, the blocks that were appended, and the moment it is.
struct World {
    core: Core,
    now: Moment,
    blocks: Vec<(Vec<u8>, u64)>,
    notes: Vec<Note>,
    rules: Rules,
    places: Vec<SinkPlace>,
    sessions: u128,
    /// Why the next first append, and the next second one, will fail.
    first_fails: Option<&'static str>,
    second_fails: Option<&'static str>,
}

/// What came of a turn.
struct Turned {
    replies: Vec<(Peer, Reply)>,
    actions: Vec<Action>,
}

fn rules() -> Rules {
    Rules {
        counters_max: 1_000,
        counters_per_user_max: 100,
        owner: OWNER,
        interval: Duration::from_secs(5),
        aligned: None,
        with_idle: false,
        owed_bytes_max: OWED_BYTES_MAX,
    }
}

fn place(place: &str) -> SinkPlace {
    SinkPlace::new(place, ReportFormat::Plain)
}

fn peer(uid: u32) -> Peer {
    Peer { connection: 1, uid }
}

impl World {
    fn new() -> World {
        World::with(rules(), &[])
    }

    fn with(rules: Rules, sinks: &[&str]) -> World {
        let places: Vec<SinkPlace> = sinks.iter().map(|name| place(name)).collect();
        let state = State::new(7, BOOT, BEGIN);
        let (core, records, notes) = Core::start(state, rules.clone(), &places, BOOT, BEGIN);
        World {
            core,
            now: BEGIN,
            blocks: vec![(records, BEGIN.wall_ms)],
            notes,
            rules,
            places,
            sessions: 0,
            first_fails: None,
            second_fails: None,
        }
    }

    /// Ends without a word and starts again from the blocks that were appended.
    fn restart(&mut self, sinks: &[SinkPlace]) {
        self.restart_in(BOOT, sinks);
    }

    fn restart_in(&mut self, boot: BootId, sinks: &[SinkPlace]) {
        let mut replay = Replay::new(7);
        for (payload, wall_ms) in &self.blocks {
            replay.block(payload, *wall_ms).unwrap();
        }
        self.places = sinks.to_vec();
        let (rules, places) = (self.rules.clone(), &self.places);
        let (core, records, notes) = Core::start(replay.finish(), rules, places, boot, self.now);
        (self.core, self.notes) = (core, notes);
        self.blocks.push((records, self.now.wall_ms));
    }

    fn pass(&mut self, ms: u64) {
        self.now.wall_ms += ms;
        self.now.boot_ns += ms * MS;
    }

    fn turn(&mut self, requests: &[(Peer, Vec<u8>)], news: Vec<(usize, SinkNews)>) -> Turned {
        let replies = if requests.is_empty() { Vec::new() } else { self.first_half(requests) };
        let events = news.into_iter().map(|(sink, news)| SinkEvent { sink, news });
        let records = self.core.advance(self.now, events).to_vec();
        let failed = self.second_fails.filter(|_| !records.is_empty());
        let actions = self.core.advanced(failed.map_or(Ok(()), Err));
        self.keep(records, failed);
        // As a worker of the server does.
        while let Some(report) = self.core.unsettled() {
            report.counts();
        }
        Turned { replies, actions }
    }

    fn first_half(&mut self, requests: &[(Peer, Vec<u8>)]) -> Vec<(Peer, Reply)> {
        let asked = requests.iter().map(|(peer, payload)| (*peer, payload.as_slice()));
        let records = self.core.step(self.now, SNAPSHOTS_MAX, asked).to_vec();
        let failed = self.first_fails.filter(|_| !records.is_empty());
        let replies = self.core.committed(failed.map_or(Ok(()), Err));
        self.keep(records, failed);
        replies
    }

    fn keep(&mut self, records: Vec<u8>, failed: Option<&str>) {
        if failed.is_none() && !records.is_empty() {
            self.blocks.push((records, self.now.wall_ms));
        }
    }

    /// A turn in which nothing is asked and nothing heard.
    fn quiet(&mut self) -> Vec<Action> {
        self.turn(&[], Vec::new()).actions
    }

    /// A turn in which a sink says something.
    fn hear(&mut self, sink: usize, news: SinkNews) -> Vec<Action> {
        self.turn(&[], vec![(sink, news)]).actions
    }

    fn ask(&mut self, request: &Request<'_>) -> Reply {
        self.ask_as(OWNER, request)
    }

    fn ask_as(&mut self, uid: u32, request: &Request<'_>) -> Reply {
        let mut turned = self.turn(&[(peer(uid), payload(request))], Vec::new());
        while turned.replies.is_empty() && self.core.is_deleting() {
            turned.replies = self.first_half(&[]);
        }
        let (_, reply) = turned.replies.pop().expect("an answer in the same turn");
        reply
    }

    /// The id of a request that was never sent.
    fn new_id(&mut self) -> RequestId {
        self.sessions += 1;
        RequestId { session: self.sessions, seq: 0, born_ns: self.now.boot_ns }
    }

    /// An increment under a new id.
    fn incr(&mut self, entries: &[(&str, u64)]) -> Reply {
        let id = self.new_id();
        self.ask(&incr(id, entries))
    }

    fn count(&mut self, entries: &[(&str, u64)]) -> Answer {
        counted(self.incr(entries))
    }

    fn delete(&mut self, patterns: &[&str], tags: &[&str], dry_run: bool) -> Reply {
        let wanted = Wanted { patterns: patterns.to_vec(), tags: tags.to_vec() };
        self.ask(&Request::Delete { wanted, dry_run })
    }

    /// All totals, as a dump shows them.
    fn totals(&mut self) -> BTreeMap<String, u64> {
        let reply = self.ask(&Request::Dump { wanted: Wanted::default() });
        rows(reply).into_iter().map(|row| (row.name.into_owned(), row.total)).collect()
    }

    /// Everything that survives, as bytes.
    fn image(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let append = |payload: &[u8]| {
            bytes.extend_from_slice(payload);
            Ok::<(), crate::codec::Malformed>(())
        };
        self.core.image().blocks(append).unwrap();
        bytes
    }

    fn problems(&self) -> Vec<String> {
        self.core.health(self.now).0
    }

    fn fact(&self, key: &str) -> Option<Value> {
        self.core.health(self.now).1.into_iter().find(|(k, _)| k == key).map(|(_, value)| value)
    }

    /// Closes the window by asking for it, and takes the sink's windows to their end.
    fn flush_to(&mut self, sink: usize) -> Vec<(String, u64)> {
        self.core.flush_soon();
        let actions = self.quiet();
        let reports = prepared(&actions, sink).expect("something to prepare");
        let actions = self.hear(sink, SinkNews::Prepared(Prepared::Anywhere));
        assert!(writes(&actions, sink));
        self.hear(sink, SinkNews::Written);
        reports.iter().flat_map(|report| lines(report)).collect()
    }
}

fn payload(request: &Request<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    request.write(&mut bytes).unwrap();
    bytes.split_off(frame::HEADER_BYTES)
}

/// An atomic increment that asks for totals.
fn incr<'a>(id: RequestId, entries: &[(&'a str, u64)]) -> Request<'a> {
    let entries = entries.iter().map(|&(name, amount)| Entry { name, amount }).collect();
    Request::Incr { id, atomic: true, totals: true, entries }
}

/// A request of a stream.
fn stream<'a>(id: RequestId, entries: &[(&'a str, u64)]) -> Request<'a> {
    let entries = entries.iter().map(|&(name, amount)| Entry { name, amount }).collect();
    Request::Incr { id, atomic: false, totals: false, entries }
}

fn message(reply: Reply) -> Response<'static> {
    let Reply::Message(response) = reply else { panic!("no message: {reply:?}") };
    response
}

fn counted(reply: Reply) -> Answer {
    let response = message(reply);
    let Response::Counted(answer) = response else { panic!("not counted: {response:?}") };
    answer.into_owned()
}

fn refused(reply: Reply) -> (ErrorCode, String) {
    let response = message(reply);
    let Response::Error { code, message } = response else { panic!("not refused: {response:?}") };
    (code.into(), message.into_owned())
}

/// The rows of a snapshot, sent to its end.
fn rows(reply: Reply) -> Vec<Row<'static>> {
    let Reply::Snapshot(mut snapshot) = reply else { panic!("no snapshot: {reply:?}") };
    let mut bytes = Vec::new();
    while !snapshot.write_piece(&mut bytes).unwrap() {}
    let (mut found, mut rest) = (Vec::new(), bytes.as_slice());
    while let Some(range) = frame::first(rest).unwrap() {
        let response = Response::from_payload(&rest[range.clone()]).unwrap();
        if let Response::Rows(rows) = response {
            let owned = |row: Row<'_>| Row { name: Cow::Owned(row.name.into_owned()), ..row };
            found.extend(rows.into_iter().map(owned));
        } else if let Response::End { rows } = response {
            assert_eq!(rows, found.len() as u64);
        }
        rest = &rest[range.end..];
    }
    found
}

/// Names and totals of a snapshot, sorted.
fn names(reply: Reply) -> Vec<(String, u64)> {
    let mut names: Vec<_> =
        rows(reply).into_iter().map(|row| (row.name.into_owned(), row.total)).collect();
    names.sort();
    names
}

/// A report's names and counts.
fn lines(report: &Report) -> Vec<(String, u64)> {
    report.counts().iter().map(|count| (count.name.to_string(), count.count)).collect()
}

/// What a sink was told to prepare.
fn prepared(actions: &[Action], of: usize) -> Option<Vec<std::sync::Arc<Report>>> {
    actions.iter().find_map(|action| match action {
        Action::Prepare { sink, reports, .. } if *sink == of => Some(reports.clone()),
        Action::Prepare { .. }
        | Action::Again { .. }
        | Action::Look { .. }
        | Action::Write { .. }
        | Action::Reply(..)
        | Action::Note(_)
        | Action::Flushed(_) => None,
    })
}

fn writes(actions: &[Action], of: usize) -> bool {
    actions.iter().any(|action| matches!(action, Action::Write { sink } if *sink == of))
}

/// The windows a report covers.
fn windows(reports: &[std::sync::Arc<Report>]) -> Vec<(u64, u64)> {
    reports.iter().map(|report| (report.window.first, report.window.number)).collect()
}

/// The replies among the actions.
fn replies(actions: Vec<Action>) -> Vec<Reply> {
    let reply = |action| if let Action::Reply(_, reply) = action { Some(reply) } else { None };
    actions.into_iter().filter_map(reply).collect()
}

fn notes(actions: &[Action]) -> Vec<&str> {
    let mut notes = Vec::new();
    for action in actions {
        if let Action::Note(note) = action {
            notes.push(note.text.as_str());
        }
    }
    notes
}
