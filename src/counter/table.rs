//! The table of counters: found by name, kept in columns that freeze, ids that are never used twice.
//! Every change hands back what it replaced, so that a turn can be undone. It checks no limits and
//! writes nothing; its owner does.

use std::hash::{BuildHasher, Hasher};
use std::hint::black_box;

use foldhash::quality::RandomState;
use hashbrown::HashTable;

use super::column::Column;
pub use super::definitions::Definition;
use super::definitions::Definitions;
use super::name::same;

/// The table of names is in that many parts, each of which grows by itself: the growth of one is not felt. With
/// so many, a million counters just fit into parts of 4,096.
const PARTS: usize = 300;

/// How many names are looked for at once.
pub const SOME: usize = 16;

/// Where a counter lives in the table, until it is deleted.
pub type Slot = u32;

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
    definitions: Definitions,
    values: Column<Values>,
}

impl Columns {
    /// The counter in `slot`; `None` where one was deleted and past the end.
    pub fn get(&self, slot: Slot) -> Option<(Definition<'_>, Values)> {
        let index = usize::try_from(slot).ok()?;
        Some((self.definitions.get(index)?, *self.values.get(index)?))
    }

    /// The values in `slot`, which mean nothing where there is no counter.
    pub fn values(&self, slot: Slot) -> Option<Values> {
        self.values.get(usize::try_from(slot).ok()?).copied()
    }

    /// The number of the counter in `slot`, and its total.
    pub fn total(&self, slot: Slot) -> Option<(u64, u64)> {
        let index = usize::try_from(slot).ok()?;
        Some((self.definitions.id(index)?, self.values.get(index)?.total))
    }

    /// The name of the counter in `slot`.
    pub fn name(&self, slot: Slot) -> Option<&str> {
        self.definitions.name(usize::try_from(slot).ok()?)
    }

    /// Something of each place that finding the counter in `slot`, adding to it and writing its total will look at:
    /// it means nothing, and lies in the processor's caches from now on.
    fn glance(&self, slot: Slot) -> u64 {
        let index = usize::try_from(slot).unwrap_or(usize::MAX);
        let window = self.values.get(index).map_or(0, |values| values.window);
        self.definitions.glance(index) ^ window
    }

    /// How many slots there are, with the empty ones.
    pub fn slots(&self) -> Slot {
        Slot::try_from(self.definitions.len()).unwrap_or(Slot::MAX)
    }

    /// Every counter, in the order of slots.
    pub fn iter(&self) -> impl Iterator<Item = (Slot, Definition<'_>, Values)> {
        (0..self.slots()).filter_map(|slot| {
            self.get(slot).map(|(definition, values)| (slot, definition, values))
        })
    }
}

/// The counters of a daemon.
#[derive(Debug)]
pub struct Table {
    columns: Columns,
    len: usize,
    by_name: Vec<HashTable<Slot>>,
    hasher: RandomState,
    free: Vec<Slot>,
}

impl Default for Table {
    fn default() -> Table {
        let by_name = std::iter::repeat_with(HashTable::new).take(PARTS).collect();
        let (columns, hasher) = (Columns::default(), RandomState::default());
        Table { columns, len: 0, by_name, hasher, free: Vec::new() }
    }
}

impl Table {
    /// How many counters there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The columns as they are now; clone them to freeze this moment.
    pub fn columns(&self) -> &Columns {
        &self.columns
    }

    /// Where the counter of this canonical name lives; bytes that are no text are no name.
    pub fn find(&self, name: impl AsRef<[u8]>) -> Option<Slot> {
        let name = name.as_ref();
        let hash = hash_of(&self.hasher, name);
        let part = self.by_name.get(part_of(hash))?;
        part.find(hash, |&slot| same(name_in(&self.columns, slot).as_bytes(), name)).copied()
    }

    /// Where the counters of these names live, [`SOME`] at most, as [`Table::find`] says of each. What is looked at
    /// for one hangs on what was looked at before, and most of it is far away: so each step is taken for all of
    /// them before the next, and the waits overlap.
    pub fn find_some<'a>(
        &self,
        names: impl Iterator<Item = &'a [u8]> + Clone,
        found: &mut [Option<Slot>; SOME],
    ) {
        for (first, name) in found.iter_mut().zip(names.clone()) {
            let hash = hash_of(&self.hasher, name);
            // As a rule the first whose hash is alike is the one.
            *first =
                self.by_name.get(part_of(hash)).and_then(|part| part.find(hash, |_| true)).copied();
        }
        let glances = found.iter().flatten().map(|slot| self.columns.glance(*slot));
        black_box(glances.fold(0, |all, one| all ^ one));
        for (found, name) in found.iter_mut().zip(names) {
            let is_it = |slot: &Slot| same(name_in(&self.columns, *slot).as_bytes(), name);
            *found = found.filter(is_it).or_else(|| self.find(name));
        }
    }

    /// The counter in `slot`.
    pub fn get(&self, slot: Slot) -> Option<(Definition<'_>, Values)> {
        self.columns.get(slot)
    }

    /// Puts a counter with its values into a free slot. `None` when the name is taken or no slot is left.
    pub fn insert(&mut self, definition: Definition<'_>, values: Values) -> Option<Slot> {
        let hash = hash_of(&self.hasher, definition.name.as_bytes());
        let part = self.by_name.get(part_of(hash))?;
        if part.find(hash, |&slot| name_in(&self.columns, slot) == definition.name).is_some() {
            return None;
        }
        let slot = match self.free.pop() {
            Some(slot) => slot,
            None => {
                let slot = Slot::try_from(self.columns.definitions.len()).ok()?;
                self.columns.definitions.push_missing();
                self.columns.values.push(Values::default());
                slot
            }
        };
        self.put(slot, hash, definition, values)?;
        Some(slot)
    }

    /// Puts a counter at the end. It is not found by its name before [`Table::end_loading`].
    pub fn load(&mut self, definition: Definition<'_>, values: Values) -> Option<Slot> {
        let index = self.columns.definitions.len();
        let slot = Slot::try_from(index).ok()?;
        self.columns.definitions.push_missing();
        self.columns.values.push(values);
        self.columns.definitions.put(index, definition)?;
        Some(slot)
    }

    /// Lets counters that were loaded be found by their names: all at once, so that nothing grows in steps.
    ///
    /// # Errors
    /// A name that is there twice.
    pub fn end_loading(&mut self) -> Result<(), String> {
        let (columns, hasher) = (&self.columns, &self.hasher);
        let each = columns.definitions.len() / PARTS;
        self.len = 0;
        for part in &mut self.by_name {
            part.clear();
            part.reserve(each, |&slot| hash_of(hasher, name_in(columns, slot).as_bytes()));
        }
        for slot in 0..columns.slots() {
            let Some(name) = columns.name(slot) else { continue };
            let hash = hash_of(hasher, name.as_bytes());
            let Some(part) = self.by_name.get_mut(part_of(hash)) else { continue };
            if part.find(hash, |&other| name_in(columns, other) == name).is_some() {
                return Err(name.to_owned());
            }
            part.insert_unique(hash, slot, |&slot| {
                hash_of(hasher, name_in(columns, slot).as_bytes())
            });
            self.len = self.len.saturating_add(1);
        }
        Ok(())
    }

    /// The values in `slot`, to be changed.
    pub fn values_mut(&mut self, slot: Slot) -> Option<&mut Values> {
        self.columns.values.get_mut(usize::try_from(slot).ok()?)
    }

    /// Replaces the values in `slot`; returns what they were.
    pub fn set(&mut self, slot: Slot, values: Values) -> Option<Values> {
        let index = usize::try_from(slot).ok()?;
        let stored = self.columns.values.get_mut(index)?;
        Some(std::mem::replace(stored, values))
    }

    /// Forgets the counter in `slot`. The slot stays empty until it is released.
    pub fn remove(&mut self, slot: Slot) -> Option<()> {
        let index = usize::try_from(slot).ok()?;
        let definition = self.columns.definitions.get(index)?;
        let hash = hash_of(&self.hasher, definition.name.as_bytes());
        let part = self.by_name.get_mut(part_of(hash))?;
        if let Ok(entry) = part.find_entry(hash, |&other| other == slot) {
            entry.remove();
            self.len = self.len.saturating_sub(1);
        }
        self.columns.definitions.remove(index);
        Some(())
    }

    /// Puts a counter into an empty slot: the one it was removed from.
    pub fn restore(
        &mut self,
        slot: Slot,
        definition: Definition<'_>,
        values: Values,
    ) -> Option<()> {
        self.put(slot, hash_of(&self.hasher, definition.name.as_bytes()), definition, values)
    }

    fn put(
        &mut self,
        slot: Slot,
        hash: u64,
        definition: Definition<'_>,
        values: Values,
    ) -> Option<()> {
        let index = usize::try_from(slot).ok()?;
        self.columns.definitions.put(index, definition)?;
        *self.columns.values.get_mut(index)? = values;
        let (columns, hasher) = (&self.columns, &self.hasher);
        let part = self.by_name.get_mut(part_of(hash))?;
        part.insert_unique(hash, slot, |&slot| hash_of(hasher, name_in(columns, slot).as_bytes()));
        self.len = self.len.saturating_add(1);
        Some(())
    }

    /// Lets another counter have a slot that was emptied.
    pub fn release(&mut self, slot: Slot) {
        self.free.push(slot);
    }

    /// Lets other counters have slots that were emptied.
    pub fn release_all(&mut self, slots: &mut Vec<Slot>) {
        self.free.append(slots);
    }
}

/// The part for a name of this hash, by bits that its places within the part do not depend on.
fn part_of(hash: u64) -> usize {
    let [_, _, _, _, a, b, _, _] = hash.to_le_bytes();
    usize::from(u16::from_le_bytes([a, b])).wrapping_mul(PARTS) >> 16
}

fn hash_of(hasher: &RandomState, name: &[u8]) -> u64 {
    let mut hasher = hasher.build_hasher();
    hasher.write(name);
    hasher.finish()
}

fn name_in(columns: &Columns, slot: Slot) -> &str {
    columns.name(slot).unwrap_or_default()
}

#[cfg(test)]
#[expect(clippy::as_conversions, reason = "tests reckon with small numbers")]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn definition(id: u64, name: &str) -> Definition<'_> {
        Definition { id, name, creator: 0, created_ms: 0 }
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
                        let (definition, values) = table.get(slot).unwrap();
                        prop_assert_eq!(definition.name, &*name);
                        table.remove(slot).unwrap();
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
