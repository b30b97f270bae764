//! Limits and rights, and what the status says.

use super::*;

#[test]
fn over_the_limit_of_counters_nothing_of_an_atomic_request_is_made() {
    let mut world = World::with(Rules { counters_max: 3, ..rules() }, &[]);
    world.count(&[("a", 1), ("b", 1)]);
    let before = world.image();
    let (code, why) = refused(world.incr(&[("a", 1), ("c", 1), ("d", 1)]));
    assert_eq!(code, ErrorCode::Refused);
    assert!(why.contains("limit of 3 counters") && why.contains("--max-counters"), "{why}");
    assert_eq!(world.image(), before);
    world.count(&[("c", 1)]);
    assert_eq!(
        world.problems(),
        [
            "there are as many counters as --max-counters allows: 3",
            "1 refused since the last flush: over --max-counters"
        ]
    );
    assert_eq!(world.count(&[("a", 1)]).totals, [2], "counters there are still count");
    world.delete(&["b"], &[], false);
    world.count(&[("d", 1)]);
}

#[test]
fn a_user_has_a_limit_of_counters_and_root_and_the_owner_have_none() {
    let mut world = World::with(Rules { counters_per_user_max: 2, ..rules() }, &[]);
    let mut make = |uid, name| {
        let id = world.new_id();
        world.ask_as(uid, &incr(id, &[(name, 1)]))
    };
    counted(make(7, "a"));
    counted(make(7, "b"));
    let (code, why) = refused(make(7, "c"));
    assert_eq!(code, ErrorCode::Refused);
    assert!(why.contains("uid 7 has created 2 counters"), "{why}");
    counted(make(7, "b"));
    counted(make(8, "c"));
    for (uid, name) in [(0, "d"), (0, "e"), (0, "f"), (OWNER, "g"), (OWNER, "h"), (OWNER, "i")] {
        counted(make(uid, name));
    }
    world.delete(&["a"], &[], false);
    world.restart(&[]);
    let id = world.new_id();
    counted(world.ask_as(7, &incr(id, &[("j", 1)])));
    let id = world.new_id();
    refused(world.ask_as(7, &incr(id, &[("k", 1)])));
}

#[test]
fn a_counter_that_was_taken_back_is_not_charged_to_its_user() {
    let mut world = World::with(Rules { counters_per_user_max: 1, ..rules() }, &[]);
    let id = world.new_id();
    refused(world.ask_as(7, &incr(id, &[("a", 1), ("-", 1)])));
    world.first_fails = Some("no");
    refused(world.ask_as(7, &incr(id, &[("a", 1)])));
    world.first_fails = None;
    counted(world.ask_as(7, &incr(id, &[("b", 1)])));
}

#[test]
fn only_root_and_the_owner_may_delete_and_flush() {
    let mut world = World::new();
    world.count(&[("a", 1)]);
    let delete = |dry_run| {
        let wanted = Wanted { patterns: vec!["*"], tags: vec![] };
        Request::Delete { wanted, dry_run }
    };
    for request in [delete(false), delete(true), Request::Flush { timeout_ms: 9 }] {
        let (code, why) = refused(world.ask_as(7, &request));
        assert_eq!(code, ErrorCode::Forbidden);
        assert!(why.contains("uid 1000"), "{why}");
    }
    assert_eq!(world.totals().len(), 1);
    assert_eq!(names(world.ask_as(0, &delete(false))).len(), 1);
}

#[test]
fn more_snapshots_at_a_time_than_the_limit_are_refused_as_busy() {
    let mut world = World::new();
    world.count(&[("a", 1)]);
    let dump = (peer(OWNER), payload(&Request::Dump { wanted: Wanted::default() }));
    let mut replies = world.turn(&vec![dump; SNAPSHOTS_MAX + 1], Vec::new()).replies;
    let (_, last) = replies.pop().unwrap();
    assert_eq!(refused(last).0, ErrorCode::Busy);
    for (_, reply) in replies {
        assert_eq!(names(reply).len(), 1);
    }
    assert_eq!(world.problems(), ["1 refused since the last flush as too busy"]);
}

#[test]
fn the_last_place_for_a_snapshot_is_kept_for_root_and_the_owner() {
    let mut world = World::new();
    world.count(&[("a", 1)]);
    let dump = payload(&Request::Dump { wanted: Wanted::default() });
    let mut requests = vec![(peer(7), dump.clone()); SNAPSHOTS_MAX];
    requests.push((peer(0), dump));
    let mut replies = world.turn(&requests, Vec::new()).replies;
    assert_eq!(names(replies.pop().unwrap().1).len(), 1);
    assert_eq!(refused(replies.pop().unwrap().1).0, ErrorCode::Busy);
}

#[test]
fn a_delete_takes_a_place_for_a_snapshot_or_deletes_nothing() {
    let mut world = World::new();
    world.count(&[("a", 1)]);
    let wanted = Wanted { patterns: vec!["*"], tags: vec![] };
    let delete = payload(&Request::Delete { wanted, dry_run: false });
    let asked = std::iter::once((peer(OWNER), delete.as_slice()));
    assert!(world.core.step(world.now, 0, asked).is_empty());
    let (_, reply) = world.core.committed(Ok(())).pop().unwrap();
    assert_eq!(refused(reply).0, ErrorCode::Busy);
    assert_eq!(world.totals().len(), 1);
}

#[test]
fn a_snapshot_is_of_one_moment_and_may_be_in_many_pieces() {
    let mut world = World::with(Rules { counters_max: 20_000, ..rules() }, &[]);
    let many: Vec<String> = (0..4_000).map(|n| format!("n{n}")).collect();
    let entries: Vec<_> = many.iter().map(|name| (name.as_str(), 1)).collect();
    world.count(&entries);
    for round in 0..2 {
        let more: Vec<String> = (0..4_000).map(|n| format!("m{round}.{n}")).collect();
        world.count(&more.iter().map(|name| (name.as_str(), 1)).collect::<Vec<_>>());
    }
    let reply = world.ask(&Request::Dump { wanted: Wanted::default() });
    world.count(&entries);
    world.delete(&["m*"], &[], false);
    let found = rows(reply);
    assert_eq!(found.len(), 12_000);
    assert!(found.iter().all(|row| row.total == 1));
}

#[test]
fn a_dump_shows_what_is_selected_with_its_moment() {
    let mut world = World::new();
    world.count(&[("a", 1), ("b,k=v", 2)]);
    world.core.flush_soon();
    world.quiet();
    world.pass(1_500);
    world.count(&[("a", 5)]);
    let wanted = Wanted { patterns: vec!["a", "c"], tags: vec![] };
    let found = rows(world.ask(&Request::Dump { wanted }));
    let [row] = found.try_into().unwrap();
    assert_eq!((&*row.name, row.total, row.since_flush), ("a", 6, 5));
    assert_eq!((row.created_ms, row.last_seen_ms), (BEGIN.wall_ms, BEGIN.wall_ms + 1_500));
    assert_eq!(world.fact("window_open"), Some(Value::DurationMs(1_500)));
    assert_eq!(world.fact("flushes"), Some(Value::Number(1)));
    assert!(matches!(world.ask(&Request::Status), Reply::Status));
}

#[test]
fn at_most_so_many_flushes_wait() {
    let mut world = World::with(rules(), &["stdout"]);
    world.count(&[("a", 1)]);
    let flush = |connection| {
        let peer = Peer { connection, uid: OWNER };
        (peer, payload(&Request::Flush { timeout_ms: 10_000 }))
    };
    let many: Vec<_> = (0..2_000).map(flush).collect();
    let turned = world.turn(&many, Vec::new());
    assert_eq!(turned.replies.len(), 2_000 - 1_024);
    for (_, reply) in turned.replies {
        assert_eq!(refused(reply).0, ErrorCode::Busy);
    }
}
