//! An increment request as the daemon reads it: entry by entry, straight from its bytes. A list of them, with
//! each name checked and hung into it, would take longer than to count them. What it accepts is what
//! [`Request::from_payload`](super::Request::from_payload) does, and no other request.

use super::ENTRIES_MAX;
use crate::codec;
use crate::ids::RequestId;

/// The number of [`Request::Incr`](super::Request::Incr) among the requests.
const INCR: u32 = 0;

/// A [`Request::Incr`](super::Request::Incr) whose entries are still bytes.
#[derive(Debug, Clone, Copy)]
pub struct Addition<'a> {
    /// The request's id.
    pub id: RequestId,
    /// All entries or none.
    pub atomic: bool,
    /// Whether the answer is to have the new totals.
    pub totals: bool,
    entries: usize,
    bytes: &'a [u8],
}

impl<'a> Addition<'a> {
    /// Reads an increment request from a frame's payload. `None` for anything else: a
    /// [`Request`](super::Request) says what it is, or what is wrong with it.
    pub fn from_payload(payload: &'a [u8]) -> Option<Addition<'a>> {
        type Head = (u32, RequestId, bool, bool, u64);
        let (head, bytes) = codec::decode_first::<Head>(payload).ok()?;
        let (INCR, id, atomic, totals, entries) = head else { return None };
        let entries = usize::try_from(entries).ok().filter(|entries| *entries <= ENTRIES_MAX)?;
        // As a rule all of it is ASCII, which is seen at a glance.
        let all_ascii = bytes.is_ascii();
        let mut rest = bytes;
        for _ in 0..entries {
            let (name, _) = take_entry(&mut rest)?;
            if !all_ascii {
                std::str::from_utf8(name).ok()?;
            }
        }
        rest.is_empty().then_some(Addition { id, atomic, totals, entries, bytes })
    }

    /// How many entries it has.
    pub fn len(&self) -> usize {
        self.entries
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.entries == 0
    }

    /// What is to be added: names, which are text, and how much.
    pub fn entries(&self) -> impl Iterator<Item = (&'a [u8], u64)> + use<'a> {
        let mut rest = self.bytes;
        std::iter::from_fn(move || take_entry(&mut rest))
    }
}

fn take_entry<'a>(bytes: &mut &'a [u8]) -> Option<(&'a [u8], u64)> {
    Some((codec::take_bytes(bytes)?, codec::take_number(bytes)?))
}

#[cfg(test)]
#[expect(clippy::indexing_slicing, reason = "tests may panic")]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::protocol::{Entry, Request};

    /// Holds the two ways to read a payload against each other; whether it is an increment request.
    fn both_read_the_same(payload: &[u8]) -> bool {
        let addition = Addition::from_payload(payload);
        match (Request::from_payload(payload), &addition) {
            (Ok(Request::Incr { id, atomic, totals, entries }), Some(read)) => {
                assert_eq!((id, atomic, totals), (read.id, read.atomic, read.totals));
                assert_eq!((entries.len(), entries.is_empty()), (read.len(), read.is_empty()));
                assert!(entries.iter().map(|e| (e.name.as_bytes(), e.amount)).eq(read.entries()));
            }
            (request, read) => {
                let incr = matches!(request, Ok(Request::Incr { .. }));
                assert!(!incr && read.is_none(), "{request:?} {read:?}");
            }
        }
        addition.is_some()
    }

    fn payload(request: &Request<'_>) -> Vec<u8> {
        let mut bytes = Vec::new();
        codec::encode(request, &mut bytes).unwrap();
        bytes
    }

    #[test]
    fn other_requests_are_none() {
        assert!(!both_read_the_same(&payload(&Request::Status)));
        assert!(!both_read_the_same(&payload(&Request::Get { name: "a" })));
        assert!(!both_read_the_same(&[]));
    }

    #[test]
    fn more_entries_than_a_request_may_have_are_refused() {
        let id = RequestId { session: 1, seq: 0, born_ns: 1 };
        let with = |number| {
            let entries = vec![Entry { name: "a", amount: 1 }; number];
            payload(&Request::Incr { id, atomic: false, totals: false, entries })
        };
        assert!(both_read_the_same(&with(ENTRIES_MAX)));
        assert!(!both_read_the_same(&with(ENTRIES_MAX + 1)));
    }

    proptest! {
        #[test]
        fn what_is_read_is_what_a_request_reads(
            session: u128, seq: u64, born_ns: u64, atomic: bool, totals: bool,
            entries in prop::collection::vec(("\\PC{0,6}|[a-z.]{0,300}", any::<u64>()), 0..6),
            hurt in prop::option::of((any::<prop::sample::Index>(), any::<u8>())), cut in 0..3_usize,
        ) {
            let id = RequestId { session, seq, born_ns };
            let entries = entries.iter().map(|(name, amount)| Entry { name, amount: *amount });
            let entries = entries.collect();
            let mut bytes = payload(&Request::Incr { id, atomic, totals, entries });
            prop_assert!(both_read_the_same(&bytes));
            if let Some((at, byte)) = hurt {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            bytes.truncate(bytes.len().saturating_sub(cut));
            both_read_the_same(&bytes);
        }

        #[test]
        fn any_bytes_are_read_as_a_request_reads_them(
            mut bytes in prop::collection::vec(prop_oneof![any::<u8>(), 0..4_u8, 250..=255_u8], 0..60)
        ) {
            both_read_the_same(&bytes);
            bytes.insert(0, 0);
            both_read_the_same(&bytes);
        }
    }
}
