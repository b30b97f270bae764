//! Requests out of the spool: once each, whatever is appended, replayed, folded or lost between.

use super::*;

/// A session, a uid, and what is added.
type File<'a> = (u128, u32, &'a [(&'a str, u64)]);

impl World {
    /// Counts these out of the spool.
    fn count_spooled(&mut self, files: &[File<'_>], all: bool) -> Vec<Outcome> {
        let payloads: Vec<Vec<u8>> = files
            .iter()
            .map(|(session, _, entries)| {
                payload(&incr(RequestId { session: *session, seq: 0, born_ns: 1 }, entries))
            })
            .collect();
        let spooled = files.iter().zip(&payloads).map(|((session, uid, _), payload)| Spooled {
            session: *session,
            uid: *uid,
            payload,
        });
        let records = self.core.count_spooled(self.now, spooled, all).to_vec();
        let failed = self.first_fails.filter(|_| !records.is_empty());
        let outcomes = self.core.spooled_counted(failed.map_or(Ok(()), Err));
        self.keep(records, failed);
        outcomes
    }

    fn held(&self) -> usize {
        self.core.state.held.len()
    }
}

const A: &[(&str, u64)] = &[("a", 2)];

#[test]
fn a_spooled_request_counts_once_until_its_file_is_gone() {
    let mut world = World::new();
    assert_eq!(
        world.count_spooled(&[(1, OWNER, A), (1, OWNER, A)], true),
        [Outcome::Counted, Outcome::Counted]
    );
    assert_eq!(world.totals()["a"], 2);
    world.restart(&[]);
    assert_eq!(world.count_spooled(&[(1, OWNER, A)], true), [Outcome::Counted]);
    assert_eq!((world.totals()["a"], world.held()), (2, 1));
    assert!(world.count_spooled(&[], false).is_empty());
    assert_eq!(world.held(), 1, "there may be more files than were seen");
    assert!(world.count_spooled(&[], true).is_empty());
    assert_eq!(world.held(), 0);
    world.restart(&[]);
    assert_eq!(world.held(), 0);
}

#[test]
fn a_spooled_request_may_be_as_old_as_it_likes_and_of_another_boot() {
    let mut world = World::new();
    world.count(&[("a", 1)]);
    world.pass(70_000);
    world.count(&[("a", 1)]);
    assert_eq!(world.count_spooled(&[(900, OWNER, A)], true), [Outcome::Counted]);
    world.restart_in(BOOT + 1, &[]);
    assert_eq!(world.count_spooled(&[(900, OWNER, A)], true), [Outcome::Counted]);
    assert_eq!(world.totals()["a"], 4);
}

#[test]
fn what_could_not_be_appended_is_counted_later() {
    let mut world = World::new();
    world.first_fails = Some("no space");
    let before = world.image();
    assert_eq!(world.count_spooled(&[(1, OWNER, A)], true), [Outcome::Later]);
    assert_eq!(world.image(), before, "no trace, not of the id either");
    assert_eq!(world.problems(), ["no space"]);
    world.first_fails = None;
    assert_eq!(world.count_spooled(&[(1, OWNER, A)], true), [Outcome::Counted]);
    assert_eq!(world.totals()["a"], 2);
    // A release that could not be appended is made up for.
    world.first_fails = Some("no space");
    world.count_spooled(&[], true);
    assert_eq!(world.held(), 1);
    world.first_fails = None;
    world.count_spooled(&[], true);
    assert_eq!(world.held(), 0);
}

#[test]
fn a_spooled_request_is_refused_for_what_the_socket_refuses_too() {
    let mut world = World::new();
    let rest = u64::MAX - 1;
    let outcomes = world.count_spooled(
        &[
            (1, OWNER, &[("a", rest)]),
            (2, OWNER, &[("b", 1), ("a", 2)]),
            (3, OWNER, &[("no name", 1)]),
        ],
        true,
    );
    let [Outcome::Counted, Outcome::Refused(overflow), Outcome::Refused(name)] = &outcomes[..]
    else {
        panic!("{outcomes:?}")
    };
    assert!(overflow.contains("would overflow") && name.contains("no name"), "{outcomes:?}");
    assert_eq!(world.totals(), BTreeMap::from([("a".into(), rest)]), "all or nothing");
    assert_eq!(world.held(), 1);
    assert_eq!(world.fact("refused_overflow"), Some(Value::Number(1)));
    assert_eq!(world.fact("increments"), Some(Value::Number(1)));
}

#[test]
fn the_limit_of_counters_is_that_of_the_files_owner() {
    let mut world = World::with(Rules { counters_per_user_max: 1, ..rules() }, &[]);
    let outcomes =
        world.count_spooled(&[(1, 5, &[("a", 1)]), (2, 5, &[("b", 1)]), (3, 6, &[("c", 1)])], true);
    assert!(
        matches!(&outcomes[..], [Outcome::Counted, Outcome::Refused(_), Outcome::Counted]),
        "{outcomes:?}"
    );
}

#[test]
fn what_cannot_be_an_increment_is_refused() {
    let mut world = World::new();
    let id = RequestId { session: 1, seq: 0, born_ns: 0 };
    for request in [payload(&Request::Status), payload(&stream(id, A)), vec![99]] {
        let spooled = Spooled { session: 1, uid: OWNER, payload: &request };
        assert!(world.core.count_spooled(world.now, std::iter::once(spooled), true).is_empty());
        let outcomes = world.core.spooled_counted(Ok(()));
        assert!(matches!(outcomes[..], [Outcome::Refused(_)]), "{outcomes:?}");
    }
}

#[test]
fn no_more_is_counted_than_can_be_held() {
    let mut world = World::new();
    let max = HELD_MAX as u128;
    for session in 0..max {
        assert_eq!(world.count_spooled(&[(session, OWNER, A)], false), [Outcome::Counted]);
    }
    assert_eq!(
        world.count_spooled(&[(max, OWNER, A), (0, OWNER, A)], false),
        [Outcome::Later, Outcome::Counted]
    );
    assert_eq!(world.totals()["a"], 2 * HELD_MAX as u64);
}

#[test]
fn what_is_taken_out_of_the_spool_opens_a_window_and_is_flushed() {
    let mut world = World::with(rules(), &["stdout"]);
    world.count_spooled(&[(1, OWNER, A)], true);
    assert_eq!(world.flush_to(0), [("a".to_owned(), 2)]);
}
