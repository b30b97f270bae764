//! Which slot a counter of a number is in, for a replay. Numbers of counters that were made together follow on
//! one another, so they are kept in groups: a million of them are found and put in much faster than one by one.

use std::collections::HashMap;

use crate::counter::table::Slot;

/// Numbers in a group.
const GROUP_LEN: usize = 16;
/// No counter has this number.
const NONE: Slot = Slot::MAX;

/// Slots by number.
#[derive(Debug, Default)]
pub(super) struct Numbers {
    groups: HashMap<u64, [Slot; GROUP_LEN], foldhash::fast::RandomState>,
}

impl Numbers {
    pub(super) fn get(&self, id: u64) -> Option<Slot> {
        let (group, at) = place(id);
        self.groups.get(&group)?.get(at).copied().filter(|&slot| slot != NONE)
    }

    /// Notes where a counter is. Returns whether there was none of its number.
    pub(super) fn insert(&mut self, id: u64, slot: Slot) -> bool {
        let (group, at) = place(id);
        let group = self.groups.entry(group).or_insert([NONE; GROUP_LEN]);
        let before = group.get_mut(at).map(|found| std::mem::replace(found, slot));
        before == Some(NONE)
    }

    pub(super) fn remove(&mut self, id: u64) {
        let (number, at) = place(id);
        let Some(group) = self.groups.get_mut(&number) else { return };
        if let Some(found) = group.get_mut(at) {
            *found = NONE;
        }
        if group.iter().all(|&slot| slot == NONE) {
            self.groups.remove(&number);
        }
    }
}

fn place(id: u64) -> (u64, usize) {
    let [low, ..] = id.to_le_bytes();
    (id >> 4, usize::from(low & 15))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn they_behave_as_a_plain_map(
            steps in prop::collection::vec((0..40_u64, any::<bool>(), 0..9_u32), 0..200)
        ) {
            let (mut numbers, mut model) = (Numbers::default(), BTreeMap::new());
            for (id, put, slot) in steps {
                let id = if id < 20 { id } else { !id };
                if put {
                    prop_assert_eq!(numbers.insert(id, slot), model.insert(id, slot).is_none());
                } else {
                    numbers.remove(id);
                    model.remove(&id);
                }
                prop_assert_eq!(numbers.get(id), model.get(&id).copied());
            }
            for id in (0..40).chain(u64::MAX - 40..=u64::MAX) {
                prop_assert_eq!(numbers.get(id), model.get(&id).copied());
            }
        }
    }
}
