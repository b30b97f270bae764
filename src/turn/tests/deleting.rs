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
