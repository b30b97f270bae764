//! Increments: what counts, what is refused and leaves nothing, and what a failed append leaves.

use super::*;
use crate::ids::RefusedEntry;

#[test]
fn an_increment_counts_and_is_answered_with_its_totals() {
    let mut world = World::new();
    assert_eq!(world.count(&[("a", 1)]).totals, [1]);
    assert_eq!(world.count(&[("a", 2), ("b", 5)]).totals, [3, 5]);
    assert_eq!(world.totals(), BTreeMap::from([("a".into(), 3), ("b".into(), 5)]));
    assert_eq!(world.fact("increments"), Some(Value::Number(3)));
}

#[test]
fn what_is_answered_was_in_the_records_before() {
    let mut world = World::new();
    let id = world.new_id();
    let request = payload(&incr(id, &[("a", 4)]));
    let asked = std::iter::once((peer(OWNER), request.as_slice()));
    let records = world.core.step(world.now, SNAPSHOTS_MAX, asked).to_vec();
    let mut replay = Replay::new(7);
    replay.block(&records, 1).unwrap();
    let state = replay.finish();
    let slot = state.table.find("a").unwrap();
    assert_eq!(state.table.get(slot).unwrap().1.total, 4);
    assert_eq!(state.ids.len(), 1);
    assert_eq!(world.core.committed(Ok(())).len(), 1);
}

#[test]
fn a_name_given_twice_is_added_twice() {
    let mut world = World::new();
    assert_eq!(world.count(&[("a", 1), ("a", 1)]).totals, [1, 2]);
}

#[test]
fn an_amount_of_0_declares_a_counter_and_opens_no_window() {
    let mut world = World::with(rules(), &["stdout"]);
    assert_eq!(world.count(&[("a", 0)]).totals, [0]);
    assert_eq!(world.totals(), BTreeMap::from([("a".into(), 0)]));
    assert_eq!(world.core.deadline_ns(), None);
    world.restart(&[place("stdout")]);
    assert_eq!(world.totals(), BTreeMap::from([("a".into(), 0)]));
}

#[test]
fn a_failed_append_takes_everything_back_and_the_same_request_counts_later() {
    let mut world = World::with(rules(), &["stdout"]);
    world.count(&[("old", 7), ("gone", 2)]);
    let before = world.image();
    let (a, b) = (world.new_id(), world.new_id());
    let all = Wanted { patterns: vec!["gone", "new"], tags: vec![] };
    let requests = [
        (peer(OWNER), payload(&incr(a, &[("old", 1), ("new", 1)]))),
        (peer(OWNER), payload(&Request::Delete { wanted: all, dry_run: false })),
        (peer(OWNER), payload(&stream(b, &[("new", 1), ("gone", 3), ("-", 1)]))),
        (peer(OWNER), payload(&Request::Get { name: "old" })),
    ];
    world.first_fails = Some("no space left");
    let replies: Vec<Reply> =
        world.turn(&requests, Vec::new()).replies.into_iter().map(|(_, reply)| reply).collect();
    let [first, second, third, fourth] = replies.try_into().unwrap();
    let why = "not counted: no space left";
    assert_eq!(refused(first), (ErrorCode::Failed, why.into()));
    assert_eq!(refused(second).1, "nothing was deleted: no space left");
    assert_eq!(refused(third), (ErrorCode::Failed, why.into()));
    let fourth = message(fourth);
    assert!(matches!(&fourth, Response::Counter(row) if row.total == 7), "{fourth:?}");
    assert_eq!(world.image(), before);
    assert_eq!(world.problems()[0], "no space left");

    world.first_fails = None;
    let replies = world.turn(&requests, Vec::new()).replies;
    let (_, first) = replies.into_iter().next().unwrap();
    assert_eq!(counted(first).totals, [8, 1]);
    let expected = [("gone", 3), ("new", 1), ("old", 8)].map(|(name, total)| (name.into(), total));
    assert_eq!(world.totals(), BTreeMap::from(expected));
    assert_eq!(world.problems(), ["3 not counted since the last flush: the journal failed"]);
}

#[test]
fn a_failed_append_leaves_an_empty_window_empty() {
    let mut world = World::with(rules(), &["stdout"]);
    world.first_fails = Some("no");
    refused(world.incr(&[("a", 1)]));
    assert_eq!(world.core.deadline_ns(), None);
    assert_eq!(world.core.counters(), 0);
    world.first_fails = None;
    world.count(&[("b", 1)]);
    assert_eq!(world.flush_to(0), [("b".into(), 1)]);
}

#[test]
fn an_atomic_request_with_a_bad_entry_changes_nothing_and_names_it() {
    let mut world = World::new();
    world.count(&[("full", u64::MAX)]);
    let before = world.image();
    let (code, why) = refused(world.incr(&[("a", 1), ("full", 1)]));
    assert_eq!(code, ErrorCode::Refused);
    assert_eq!(why, format!("counter \"full\" is at {}: adding 1 would overflow", u64::MAX));
    let (code, why) = refused(world.incr(&[("a", 1), ("b", 1), ("x..y", 1)]));
    assert_eq!(code, ErrorCode::Refused);
    assert!(why.contains("x..y"), "{why}");
    assert_eq!(world.image(), before);
    assert_eq!(world.blocks.len(), 2, "a refused request appends nothing");
    assert_eq!(world.fact("refused_overflow"), Some(Value::Number(1)));
    assert_eq!(world.fact("refused_bad_name"), Some(Value::Number(1)));
}

#[test]
fn entries_that_overflow_together_change_nothing() {
    let mut world = World::new();
    world.count(&[("a", u64::MAX - 2)]);
    refused(world.incr(&[("a", 1), ("a", 1), ("a", 1)]));
    assert_eq!(world.totals(), BTreeMap::from([("a".into(), u64::MAX - 2)]));
    assert_eq!(world.count(&[("a", 1), ("a", 1)]).totals, [u64::MAX - 1, u64::MAX]);
}

#[test]
fn of_a_stream_the_good_entries_count_and_the_others_are_named() {
    let mut world = World::new();
    world.count(&[("full", u64::MAX)]);
    let id = world.new_id();
    let request = stream(id, &[("a", 1), ("-b", 1), ("full", 1), ("a", 2)]);
    let answer = counted(world.ask(&request));
    let places: Vec<u32> = answer.refused.iter().map(|refused| refused.entry).collect();
    assert_eq!((places, answer.totals.len()), (vec![1, 2], 0));
    assert!(answer.refused[1].reason.contains("overflow"), "{answer:?}");
    assert_eq!(world.totals()["a"], 3);
    assert_eq!(counted(world.ask(&request)), answer, "a retry hears the same");
    assert_eq!(world.totals()["a"], 3);
}

#[test]
fn every_refused_entry_is_named_but_only_the_first_sixteen_get_a_reason() {
    let mut world = World::new();
    let id = world.new_id();
    let answer = counted(world.ask(&stream(id, &[("-", 1); 4_096])));
    assert_eq!(answer.refused.len(), 4_096);
    let explained = |refused: &&RefusedEntry| !refused.reason.is_empty();
    assert_eq!(answer.refused.iter().take_while(explained).count(), 16);
    assert_eq!(answer.refused.iter().filter(explained).count(), 16);
    assert_eq!(answer.refused.last().unwrap().entry, 4_095);
}

#[test]
fn a_request_that_cannot_be_read_is_refused_and_the_others_count() {
    let mut world = World::new();
    let id = world.new_id();
    let good = payload(&incr(id, &[("a", 1)]));
    let requests = [(peer(1), vec![99, 1, 2]), (peer(1), good)];
    let mut replies = world.turn(&requests, Vec::new()).replies.into_iter();
    assert_eq!(refused(replies.next().unwrap().1).0, ErrorCode::BadRequest);
    assert_eq!(counted(replies.next().unwrap().1).totals, [1]);
}

#[test]
fn get_answers_one_counter_or_that_there_is_none() {
    let mut world = World::new();
    world.count(&[("a,k=v", 3)]);
    let row = message(world.ask(&Request::Get { name: "a,k=v" }));
    assert!(matches!(&row, Response::Counter(row) if (row.total, row.since_flush) == (3, 3)));
    assert_eq!(refused(world.ask(&Request::Get { name: "a" })).0, ErrorCode::NotFound);
}

#[test]
fn what_is_refused_opens_no_window() {
    let mut world = World::new();
    let request = stream(world.new_id(), &[("bad name", 1), ("worse name", 1)]);
    let records = world.core.step(world.now, 4, [(peer(OWNER), &*payload(&request))].into_iter());
    let opened = crate::record::records(records).any(|r| matches!(r, Ok(Record::Opened { .. })));
    assert!(!opened && !records.is_empty());
}
