//! Retries: a known id is answered again and never counted again.

use super::*;
use crate::ids::Answered;

#[test]
fn a_known_id_gets_its_first_answer_again() {
    let mut world = World::new();
    let id = world.new_id();
    let request = incr(id, &[("a", 2)]);
    assert_eq!(counted(world.ask(&request)).totals, [2]);
    world.count(&[("a", 5)]);
    let appended = world.blocks.len();
    assert_eq!(counted(world.ask(&request)).totals, [2]);
    assert_eq!(world.totals()["a"], 7);
    assert_eq!(world.blocks.len(), appended, "a retry appends nothing");
}

#[test]
fn a_retry_in_the_same_turn_counts_once() {
    let mut world = World::new();
    let id = world.new_id();
    let request = (peer(OWNER), payload(&incr(id, &[("a", 2)])));
    for (_, reply) in world.turn(&[request.clone(), request], Vec::new()).replies {
        assert_eq!(counted(reply).totals, [2]);
    }
    assert_eq!(world.totals()["a"], 2);
}

#[test]
fn a_retry_in_the_same_turn_shares_the_fate_of_its_append() {
    let mut world = World::new();
    let id = world.new_id();
    let request = (peer(OWNER), payload(&incr(id, &[("a", 2)])));
    world.first_fails = Some("full");
    for (_, reply) in world.turn(&[request.clone(), request.clone()], Vec::new()).replies {
        assert_eq!(refused(reply).1, "not counted: full");
    }
    world.first_fails = None;
    let (_, reply) = world.turn(&[request], Vec::new()).replies.pop().unwrap();
    assert_eq!(counted(reply).totals, [2]);
}

#[test]
fn a_retry_of_what_is_in_the_journal_is_not_told_that_it_did_not_count() {
    let mut world = World::new();
    let (old, new) = (world.new_id(), world.new_id());
    let retry = (peer(OWNER), payload(&incr(old, &[("a", 2)])));
    let other = (peer(OWNER), payload(&incr(new, &[("b", 1)])));
    world.turn(std::slice::from_ref(&retry), Vec::new());
    world.first_fails = Some("full");
    let mut replies = world.turn(&[other, retry], Vec::new()).replies.into_iter();
    assert_eq!(refused(replies.next().unwrap().1).0, ErrorCode::Failed);
    assert_eq!(counted(replies.next().unwrap().1).totals, [2]);
}

#[test]
fn a_known_id_is_not_counted_again_after_a_restart_with_a_clock_that_is_behind() {
    let world = World::new();
    let id = RequestId { session: 9, seq: 0, born_ns: world.now.boot_ns / 2 };
    let request = payload(&incr(id, &[("a", 2)]));
    let mut state = State::new(7, BOOT, world.now);
    let digest = crc32fast::hash(&request);
    state.remember(Answered { id, digest, answer: None }, world.now.boot_ns);
    state.ids.restore_horizon(world.now.boot_ns * 2);
    let (mut core, ..) = Core::start(state, rules(), &[], BOOT, world.now);
    let asked = std::iter::once((peer(OWNER), request.as_slice()));
    assert!(core.step(world.now, SNAPSHOTS_MAX, asked).is_empty(), "nothing is counted");
    let (_, reply) = core.committed(Ok(())).pop().unwrap();
    assert_eq!(counted(reply), Answer::default());
}

#[test]
fn after_a_restart_a_known_id_still_gets_its_answer() {
    let mut world = World::new();
    let id = world.new_id();
    let with_refusals = stream(world.new_id(), &[("b", 1), ("-", 1)]);
    counted(world.ask(&incr(id, &[("a", 2), ("a", 3)])));
    let first = counted(world.ask(&with_refusals));
    world.restart(&[]);
    assert_eq!(counted(world.ask(&incr(id, &[("a", 2), ("a", 3)]))).totals, [2, 5]);
    assert_eq!(counted(world.ask(&with_refusals)), first);
    assert_eq!(world.totals(), BTreeMap::from([("a".into(), 5), ("b".into(), 1)]));
}

#[test]
fn a_known_id_with_other_content_is_refused() {
    let mut world = World::new();
    let id = world.new_id();
    counted(world.ask(&incr(id, &[("a", 2)])));
    let (code, why) = refused(world.ask(&incr(id, &[("a", 3)])));
    assert_eq!(
        (code, why.as_str()),
        (ErrorCode::Refused, "this id was used for another request before")
    );
    assert_eq!(world.totals()["a"], 2);
}

#[test]
fn of_a_session_only_the_next_request_is_taken() {
    let mut world = World::new();
    let id = world.new_id();
    let later = |seq| RequestId { seq, ..id };
    let (code, why) = refused(world.ask(&stream(later(1), &[("a", 1)])));
    assert_eq!(
        (code, why.as_str()),
        (ErrorCode::Refused, "request 1 of its session came, 0 is next")
    );
    for seq in 0..=16 {
        counted(world.ask(&stream(later(seq), &[("a", 1)])));
    }
    let (code, why) = refused(world.ask(&stream(later(18), &[("a", 1)])));
    assert_eq!(
        (code, why.as_str()),
        (ErrorCode::Refused, "request 18 of its session came, 17 is next")
    );
    let before = message(world.ask(&stream(later(0), &[("a", 1)])));
    assert_eq!(before, Response::TooOld { now_ns: world.now.boot_ns });
    counted(world.ask(&stream(later(17), &[("a", 1)])));
    assert_eq!(world.totals()["a"], 18);
}

#[test]
fn what_follows_a_request_whose_append_failed_waits_for_it() {
    let mut world = World::new();
    let id = world.new_id();
    let request = |seq| stream(RequestId { seq, ..id }, &[("a", 1)]);
    world.first_fails = Some("full");
    refused(world.ask(&request(0)));
    world.first_fails = None;
    // It is of a later turn, which can be appended.
    refused(world.ask(&request(1)));
    for seq in 0..2 {
        counted(world.ask(&request(seq)));
    }
    assert_eq!(world.totals()["a"], 2);
}

#[test]
fn a_refused_atomic_request_does_not_use_up_its_place() {
    let mut world = World::new();
    let id = world.new_id();
    refused(world.ask(&incr(id, &[("-", 1)])));
    counted(world.ask(&incr(id, &[("a", 1)])));
}

#[test]
fn what_is_too_old_to_tell_or_from_the_future_is_sent_back_with_the_time() {
    let mut world = World::new();
    let old = world.new_id();
    counted(world.ask(&incr(old, &[("a", 1)])));
    world.pass(60_000);
    assert_eq!(
        message(world.ask(&incr(old, &[("a", 1)]))),
        Response::TooOld { now_ns: world.now.boot_ns }
    );
    let mut future = world.new_id();
    future.born_ns += 1;
    assert_eq!(
        message(world.ask(&incr(future, &[("a", 1)]))),
        Response::TooOld { now_ns: world.now.boot_ns }
    );
    assert_eq!(world.totals()["a"], 1);
    assert_eq!(world.fact("refused_too_old"), Some(Value::Number(2)));
    counted(world.incr(&[("a", 1)]));
}

#[test]
fn an_id_from_the_future_never_locks_out_the_others() {
    let mut world = World::new();
    let id = world.new_id();
    counted(world.ask(&stream(id, &[("a", 1)])));
    let next = RequestId { seq: 1, born_ns: u64::MAX, ..id };
    let reply = message(world.ask(&stream(next, &[("a", 1)])));
    assert!(matches!(reply, Response::TooOld { .. }), "{reply:?}");
    world.pass(61_000);
    counted(world.incr(&[("a", 1)]));
    world.pass(61_000);
    counted(world.incr(&[("a", 1)]));
}

#[test]
fn a_restart_remembers_ids_afresh_and_another_boot_forgets_them() {
    let mut world = World::new();
    let id = world.new_id();
    counted(world.ask(&incr(id, &[("a", 1)])));
    world.pass(50_000);
    world.restart(&[]);
    world.pass(50_000);
    assert_eq!(counted(world.ask(&incr(id, &[("a", 1)]))).totals, [1]);
    world.now.boot_ns = S;
    world.restart_in(BOOT + 1, &[]);
    assert_eq!(world.fact("ids_remembered"), Some(Value::Number(0)));
    counted(world.incr(&[("a", 1)]));
    assert_eq!(world.totals()["a"], 2);
}
