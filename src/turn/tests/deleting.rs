//! Deleting: what is selected, and what is still reported.

use super::*;

fn some() -> World {
    let mut world = World::with(rules(), &["stdout"]);
    world.count(&[("a", 1), ("a,k=v", 2), ("a,k=w", 3), ("b", 4)]);
    world
}

fn listed(names: &[(&str, u64)]) -> Vec<(String, u64)> {
    names.iter().map(|&(name, total)| (name.into(), total)).collect()
}

#[test]
fn a_literal_is_exactly_that_counter() {
    let mut world = some();
    assert_eq!(names(world.delete(&["a"], &[], false)), listed(&[("a", 1)]));
    assert_eq!(names(world.delete(&["a,k=w"], &[], false)), listed(&[("a,k=w", 3)]));
    assert_eq!(world.totals().into_iter().collect::<Vec<_>>(), listed(&[("a,k=v", 2), ("b", 4)]));
}

#[test]
fn a_glob_matches_whatever_the_tags_are() {
    let mut world = some();
    let gone = names(world.delete(&["a*"], &[], false));
    assert_eq!(gone, listed(&[("a", 1), ("a,k=v", 2), ("a,k=w", 3)]));
    assert_eq!(world.totals().len(), 1);
}

#[test]
fn a_literal_beside_a_glob_is_still_exact_and_nothing_is_named_twice() {
    let mut world = some();
    let gone = names(world.delete(&["a", "b*", "b"], &[], false));
    assert_eq!(gone, listed(&[("a", 1), ("b", 4)]));
}

#[test]
fn tags_filter_what_patterns_select() {
    let mut world = some();
    assert_eq!(names(world.delete(&["*"], &["k=[v]"], false)), listed(&[("a,k=v", 2)]));
    assert_eq!(names(world.delete(&["a"], &["k=*"], false)), []);
    assert_eq!(world.totals().len(), 3);
}

#[test]
fn a_dry_run_says_the_same_and_deletes_nothing() {
    let mut world = some();
    let before = (world.image(), world.blocks.len());
    assert_eq!(names(world.delete(&["*"], &[], true)).len(), 4);
    assert_eq!((world.image(), world.blocks.len()), before);
}

#[test]
fn delete_without_a_pattern_and_with_a_bad_one_is_refused() {
    let mut world = some();
    assert_eq!(refused(world.delete(&[], &["k=v"], false)).0, ErrorCode::BadRequest);
    assert_eq!(refused(world.delete(&["[a"], &[], false)).0, ErrorCode::BadRequest);
    assert_eq!(refused(world.delete(&["*"], &["k"], false)).0, ErrorCode::BadRequest);
    assert_eq!(world.totals().len(), 4);
}

#[test]
fn what_a_deleted_counter_gained_is_still_reported() {
    let mut world = some();
    world.delete(&["a*"], &[], false);
    let reported = world.flush_to(0);
    assert_eq!(reported, listed(&[("a", 1), ("a,k=v", 2), ("a,k=w", 3), ("b", 4)]));
    world.count(&[("b", 1)]);
    assert_eq!(world.flush_to(0), listed(&[("b", 1)]));
}

#[test]
fn a_counter_deleted_and_made_again_is_one_line_and_starts_from_0() {
    let mut world = some();
    world.delete(&["b"], &[], false);
    assert_eq!(world.count(&[("b", 10)]).totals, [10]);
    world.delete(&["b"], &[], false);
    world.restart(&[place("stdout")]);
    assert_eq!(world.count(&[("b", 20)]).totals, [20]);
    world.core.flush_soon();
    let reports = prepared(&world.quiet(), 0).unwrap();
    let b: Vec<_> = reports[0].counts().iter().filter(|count| count.name == "b").collect();
    assert_eq!((b.len(), b[0].count, b[0].total), (1, 34, 20));
}

#[test]
fn a_counter_deleted_and_only_declared_again_still_reports_its_gain() {
    let mut world = some();
    world.delete(&["b"], &[], false);
    world.count(&[("b", 0)]);
    assert_eq!(world.flush_to(0).last(), Some(&("b".into(), 4)));
}

#[test]
fn counters_that_were_deleted_stay_deleted_after_a_restart() {
    let mut world = some();
    world.delete(&["a*"], &[], false);
    world.restart(&[place("stdout")]);
    assert_eq!(world.totals(), BTreeMap::from([("b".into(), 4)]));
    assert_eq!(world.flush_to(0).len(), 4);
}

/// Who deletes them.
const DELETING: Peer = Peer { connection: 99, uid: 0 };

/// A world with ten counters, and the first turn of a deletion of all of them.
fn deleting_ten() -> World {
    let mut world = World::with(rules(), &["stdout"]);
    let names: Vec<String> = (0..10).map(|n| format!("n{n}")).collect();
    world.count(&names.iter().map(|name| (name.as_str(), 1)).collect::<Vec<_>>());
    let wanted = Wanted { patterns: vec!["*"], tags: vec![] };
    let delete = payload(&Request::Delete { wanted, dry_run: false });
    assert!(world.turn(&[(DELETING, delete)], Vec::new()).replies.is_empty());
    world
}

#[test]
fn a_large_deletion_takes_turns_and_leaves_what_was_made_after_it_was_asked_for() {
    let mut world = deleting_ten();
    assert_eq!(world.core.deadline_ns(), Some(0));
    let mut answers = Vec::new();
    // The first was deleted and is made again, another is counted before it goes, and one is new.
    assert_eq!(world.count(&[("n0", 5), ("n8", 7), ("new", 1)]).totals, [5, 8, 1]);
    // One that somebody else deletes leaves its place to a new one when the window ends.
    assert_eq!(names(world.delete(&["n9"], &[], false)).len(), 1);
    world.core.flush_soon();
    world.quiet();
    assert_eq!(world.count(&[("late", 1)]).totals, [1]);
    let slot = world.core.state.table.find("late").unwrap();
    assert!(slot < 10, "{slot}");
    while world.core.is_deleting() {
        answers.extend(world.first_half(&[]));
    }
    let [(of, reply)] = answers.try_into().unwrap();
    let gone = names(reply);
    assert_eq!((of, gone.len()), (DELETING, 9));
    assert_eq!((&gone[0], &gone[8]), (&("n0".into(), 1), &("n8".into(), 8)));
    let left = BTreeMap::from([("n0".into(), 5), ("late".into(), 1), ("new".into(), 1)]);
    assert_eq!(world.totals(), left);
    world.restart(&[place("stdout")]);
    assert_eq!(world.totals(), left);
}

#[test]
fn a_deletion_that_breaks_off_names_what_was_deleted_and_why_not_all() {
    let mut world = deleting_ten();
    world.quiet();
    world.first_half(&[]);
    world.first_fails = Some("no space left");
    let [(_, reply)] = world.first_half(&[]).try_into().unwrap();
    let Reply::Snapshot(mut snapshot) = reply else { panic!("no snapshot: {reply:?}") };
    let mut bytes = Vec::new();
    while !snapshot.write_piece(&mut bytes).unwrap() {}
    let (mut gone, mut rest, mut last) = (0, bytes.as_slice(), None);
    while let Some(range) = frame::first(rest).unwrap() {
        last = Some(Response::from_payload(&rest[range.clone()]).unwrap());
        if let Some(Response::Rows(rows)) = &last {
            gone += rows.len();
        }
        rest = &rest[range.end..];
    }
    let Some(Response::Error { message, .. }) = last else { panic!("no error: {last:?}") };
    assert_eq!(message, "only these were deleted, others are still there: no space left");
    world.first_fails = None;
    assert!(!world.core.is_deleting());
    assert_eq!((gone, world.totals().len()), (4, 6));
}

#[test]
fn what_is_asked_behind_a_large_deletion_is_refused_after_its_answer() {
    let mut world = deleting_ten();
    let asked = payload(&Request::Get { name: "n9" });
    let mut replies = world.turn(&[(DELETING, asked)], Vec::new()).replies;
    while replies.is_empty() {
        replies = world.first_half(&[]);
    }
    let [(_, first), (_, second)] = replies.try_into().unwrap();
    assert_eq!(rows(first).len(), 10);
    assert_eq!(refused(second).1, "delete has not been answered yet on this connection");
}
