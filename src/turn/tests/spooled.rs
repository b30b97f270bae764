//! Requests out of the spool: once each, whatever is appended, replayed, folded or lost between.

use super::*;

/// A session, a uid, and what is added.
type File<'a> = (u128, u32, &'a [(&'a str, u64)]);

impl World {
    /// Takes these in out of the spool.
    fn take(&mut self, files: &[File<'_>], all: bool) -> Vec<Taken> {
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
        let records = self.core.take(self.now, spooled, all).to_vec();
        let failed = self.first_fails.filter(|_| !records.is_empty());
        let taken = self.core.taken(failed.map_or(Ok(()), Err));
        self.keep(records, failed);
        taken
    }

    fn remembered(&self) -> usize {
        self.core.state.taken.len()
    }
}

const A: &[(&str, u64)] = &[("a", 2)];

#[test]
fn a_spooled_request_counts_once_until_its_file_is_gone() {
    let mut world = World::new();
    assert_eq!(world.take(&[(1, OWNER, A), (1, OWNER, A)], true), [Taken::Counted, Taken::Counted]);
    assert_eq!(world.totals()["a"], 2);
    world.restart(&[]);
    assert_eq!(world.take(&[(1, OWNER, A)], true), [Taken::Counted]);
    assert_eq!((world.totals()["a"], world.remembered()), (2, 1));
    assert!(world.take(&[], false).is_empty());
    assert_eq!(world.remembered(), 1, "there may be more files than were seen");
    assert!(world.take(&[], true).is_empty());
    assert_eq!(world.remembered(), 0);
    world.restart(&[]);
    assert_eq!(world.remembered(), 0);
}

#[test]
fn a_spooled_request_may_be_as_old_as_it_likes_and_of_another_boot() {
    let mut world = World::new();
    world.count(&[("a", 1)]);
    world.pass(70_000);
    world.count(&[("a", 1)]);
    assert_eq!(world.take(&[(900, OWNER, A)], true), [Taken::Counted]);
    world.restart_in(BOOT + 1, &[]);
    assert_eq!(world.take(&[(900, OWNER, A)], true), [Taken::Counted]);
    assert_eq!(world.totals()["a"], 4);
}

#[test]
fn what_could_not_be_appended_is_taken_again() {
    let mut world = World::new();
    world.first_fails = Some("no space");
    let before = world.image();
    assert_eq!(world.take(&[(1, OWNER, A)], true), [Taken::Later]);
    assert_eq!(world.image(), before, "no trace, not of the id either");
    assert_eq!(world.problems(), ["no space"]);
    world.first_fails = None;
    assert_eq!(world.take(&[(1, OWNER, A)], true), [Taken::Counted]);
    assert_eq!(world.totals()["a"], 2);
    // A release that could not be appended is made up for.
    world.first_fails = Some("no space");
    world.take(&[], true);
    assert_eq!(world.remembered(), 1);
    world.first_fails = None;
    world.take(&[], true);
    assert_eq!(world.remembered(), 0);
}

#[test]
fn a_spooled_request_is_refused_for_what_the_socket_refuses_too() {
    let mut world = World::new();
    let rest = u64::MAX - 1;
    let taken = world.take(
        &[
            (1, OWNER, &[("a", rest)]),
            (2, OWNER, &[("b", 1), ("a", 2)]),
            (3, OWNER, &[("no name", 1)]),
        ],
        true,
    );
    let [Taken::Counted, Taken::Refused(overflow), Taken::Refused(name)] = &taken[..] else {
        panic!("{taken:?}")
    };
    assert!(overflow.contains("would overflow") && name.contains("no name"), "{taken:?}");
    assert_eq!(world.totals(), BTreeMap::from([("a".into(), rest)]), "all or nothing");
    assert_eq!(world.remembered(), 1);
    assert_eq!(world.fact("refused_overflow"), Some(Value::Number(1)));
    assert_eq!(world.fact("increments"), Some(Value::Number(1)));
}

#[test]
fn the_limit_of_counters_is_that_of_the_files_owner() {
    let mut world = World::with(Rules { counters_per_user_max: 1, ..rules() }, &[]);
    let taken = world.take(&[(1, 5, &[("a", 1)]), (2, 5, &[("b", 1)]), (3, 6, &[("c", 1)])], true);
    assert!(matches!(&taken[..], [Taken::Counted, Taken::Refused(_), Taken::Counted]), "{taken:?}");
}

#[test]
fn what_cannot_be_an_increment_is_refused() {
    let mut world = World::new();
    let id = RequestId { session: 1, seq: 0, born_ns: 0 };
    for request in [payload(&Request::Status), payload(&stream(id, A)), vec![99]] {
        let spooled = Spooled { session: 1, uid: OWNER, payload: &request };
        assert!(world.core.take(world.now, std::iter::once(spooled), true).is_empty());
        let taken = world.core.taken(Ok(()));
        assert!(matches!(taken[..], [Taken::Refused(_)]), "{taken:?}");
    }
}

#[test]
fn no_more_is_taken_than_can_be_remembered() {
    let mut world = World::new();
    let max = TAKEN_MAX as u128;
    for session in 0..max {
        assert_eq!(world.take(&[(session, OWNER, A)], false), [Taken::Counted]);
    }
    assert_eq!(
        world.take(&[(max, OWNER, A), (0, OWNER, A)], false),
        [Taken::Later, Taken::Counted]
    );
    assert_eq!(world.totals()["a"], 2 * TAKEN_MAX as u64);
}

#[test]
fn what_is_taken_out_of_the_spool_opens_a_window_and_is_flushed() {
    let mut world = World::with(rules(), &["stdout"]);
    world.take(&[(1, OWNER, A)], true);
    assert_eq!(world.flush_to(0), [("a".to_owned(), 2)]);
}
