//! The table of counters: found by name, kept in columns that freeze, ids that are never used twice.
//! Every change hands back what it replaced, so that a turn can be undone. It checks no limits and
//! writes nothing; its owner does.

use std::hash::BuildHasher;
use std::sync::Arc;

use foldhash::quality::RandomState;
use hashbrown::HashTable;

use super::column::Column;

/// Where a counter lives in the table, until it is deleted.
pub type Slot = u32;

/// What is fixed when a counter is created.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Definition {
    /// Its number, never used again for another counter.
    pub id: u64,
    /// Its canonical name with tags.
    pub name: Arc<str>,
    /// The uid that created it.
    pub creator: u32,
    /// When, in milliseconds since 1970-01-01 UTC.
    pub created_ms: u64,
}

/// What changes as a counter counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Values {
    /// What it gained since it was created.
    pub total: u64,
    /// Its total at the start of `window`.
    pub base: u64,
    /// The window in which it last gained.
    pub window: u64,
    /// When it was last counted, in milliseconds since 1970-01-01 UTC.
    pub last_seen_ms: u64,
}

impl Values {
    /// What it gained in `window`.
    pub fn count(&self, window: u64) -> u64 {
        if self.window == window { self.total.saturating_sub(self.base) } else { 0 }
    }
}

/// Both columns of the counters: a clone is one frozen moment of them.
#[derive(Debug, Clone, Default)]
pub struct Columns {
    definitions: Column<Option<Definition>>,
    values: Column<Values>,
}

impl Columns {
    /// The counter in `slot`; `None` where one was deleted and past the end.
    pub fn get(&self, slot: Slot) -> Option<(&Definition, &Values)> {
        let index = usize::try_from(slot).ok()?;
        Some((self.definitions.get(index)?.as_ref()?, self.values.get(index)?))
    }

    /// How many slots there are, with the empty ones.
    pub fn slots(&self) -> Slot {
        Slot::try_from(self.definitions.len()).unwrap_or(Slot::MAX)
    }

    /// Every counter, in the order of slots.
    pub fn iter(&self) -> impl Iterator<Item = (Slot, &Definition, &Values)> {
        (0..self.slots()).filter_map(|slot| {
            self.get(slot).map(|(definition, values)| (slot, definition, values))
        })
    }
}

/// The counters of a daemon.
#[derive(Debug, Default)]
pub struct Table {
    columns: Columns,
    by_name: HashTable<Slot>,
    hasher: RandomState,
    free: Vec<Slot>,
}

impl Table {
    /// How many counters there are.
    pub fn len(&self) -> usize {
        self.by_name.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }

    /// The columns as they are now; clone them to freeze this moment.
    pub fn columns(&self) -> &Columns {
        &self.columns
    }

    /// Where the counter of this canonical name lives.
    pub fn find(&self, name: &str) -> Option<Slot> {
        let hash = self.hasher.hash_one(name);
        self.by_name.find(hash, |&slot| name_in(&self.columns, slot) == name).copied()
    }

    /// The counter in `slot`.
    pub fn get(&self, slot: Slot) -> Option<(&Definition, &Values)> {
        self.columns.get(slot)
    }

    /// Puts a counter with its values into a free slot. `None` when the name is taken or no slot is left.
    pub fn insert(&mut self, definition: Definition, values: Values) -> Option<Slot> {
        if self.find(&definition.name).is_some() {
            return None;
        }
        let slot = match self.free.pop() {
            Some(slot) => slot,
            None => {
                let slot = Slot::try_from(self.columns.definitions.len()).ok()?;
                self.columns.definitions.push(None);
                self.columns.values.push(Values::default());
                slot
            }
        };
        self.restore(slot, definition, values)?;
        Some(slot)
    }

    /// Replaces the values in `slot`; returns what they were.
    pub fn set(&mut self, slot: Slot, values: Values) -> Option<Values> {
        let index = usize::try_from(slot).ok()?;
        let stored = self.columns.values.get_mut(index)?;
        Some(std::mem::replace(stored, values))
    }

    /// Forgets the counter in `slot`; returns what it was. The slot stays empty until it is released.
    pub fn remove(&mut self, slot: Slot) -> Option<(Definition, Values)> {
        let index = usize::try_from(slot).ok()?;
        let definition = self.columns.definitions.get(index)?.clone()?;
        let hash = self.hasher.hash_one(&*definition.name);
        if let Ok(entry) = self.by_name.find_entry(hash, |&other| other == slot) {
            entry.remove();
        }
        *self.columns.definitions.get_mut(index)? = None;
        Some((definition, *self.columns.values.get(index)?))
    }

    /// Puts a counter into an empty slot: the one it was removed from.
    pub fn restore(&mut self, slot: Slot, definition: Definition, values: Values) -> Option<()> {
        let index = usize::try_from(slot).ok()?;
        let hash = self.hasher.hash_one(&*definition.name);
        *self.columns.definitions.get_mut(index)? = Some(definition);
        *self.columns.values.get_mut(index)? = values;
        let (columns, hasher) = (&self.columns, &self.hasher);
        self.by_name.insert_unique(hash, slot, |&slot| hasher.hash_one(name_in(columns, slot)));
        Some(())
    }

    /// Lets another counter have a slot that was emptied.
    pub fn release(&mut self, slot: Slot) {
        self.free.push(slot);
    }
}

fn name_in(columns: &Columns, slot: Slot) -> &str {
    columns.get(slot).map_or("", |(definition, _)| &definition.name)
}

#[cfg(test)]
#[expect(clippy::as_conversions, reason = "tests reckon with small numbers")]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn definition(id: u64, name: &str) -> Definition {
        Definition { id, name: name.into(), creator: 0, created_ms: 0 }
    }

    fn total(total: u64) -> Values {
        Values { total, ..Values::default() }
    }

    #[test]
    fn a_name_that_is_taken_is_not_inserted_again() {
        let mut table = Table::default();
        assert_eq!(table.insert(definition(1, "a"), total(1)), Some(0));
        assert_eq!(table.insert(definition(2, "a"), total(2)), None);
        assert_eq!(table.len(), 1);
    }

    #[test]
    fn a_frozen_clone_still_has_what_was_removed() {
        let mut table = Table::default();
        let slot = table.insert(definition(1, "a"), total(1)).unwrap();
        let frozen = table.columns().clone();
        table.remove(slot);
        assert_eq!(table.find("a"), None);
        assert_eq!(frozen.get(slot).map(|(d, v)| (d.id, v.total)), Some((1, 1)));
    }

    #[test]
    fn counts_belong_to_one_window() {
        let values = Values { total: 9, base: 4, window: 3, last_seen_ms: 0 };
        assert_eq!((values.count(3), values.count(4)), (5, 0));
    }

    proptest! {
        #[test]
        fn the_table_behaves_as_a_plain_map(
            steps in prop::collection::vec((0..40_u8, 0..3_u8, any::<u64>()), 0..400)
        ) {
            let mut table = Table::default();
            let mut model = BTreeMap::new();
            for (id, (key, what, value)) in steps.into_iter().enumerate() {
                let name = format!("n{key}");
                match (what, table.find(&name)) {
                    (0, None) => {
                        table.insert(definition(id as u64, &name), total(value)).unwrap();
                        model.insert(name, value);
                    }
                    (1, Some(slot)) => {
                        let was = table.set(slot, total(value)).unwrap();
                        prop_assert_eq!(model.insert(name, value), Some(was.total));
                    }
                    (2, Some(slot)) => {
                        let (definition, values) = table.remove(slot).unwrap();
                        prop_assert_eq!(&*definition.name, &*name);
                        table.release(slot);
                        prop_assert_eq!(model.remove(&name), Some(values.total));
                    }
                    (_, found) => prop_assert_eq!(found.is_some(), model.contains_key(&name)),
                }
                prop_assert_eq!(table.len(), model.len());
            }
            let all: BTreeMap<String, u64> = table
                .columns()
                .iter()
                .map(|(_, definition, values)| (definition.name.to_string(), values.total))
                .collect();
            prop_assert_eq!(all, model);
        }
    }
}
