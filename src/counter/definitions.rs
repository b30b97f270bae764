//! What is fixed when counters are created, by slot: like a [`Column`](super::column::Column) a clone shares
//! every chunk with the original, and a chunk is copied at the first write after that. The names of a chunk
//! stand in one text, so that a million of them are no million pieces of memory. It knows nothing of values.

use std::sync::Arc;

/// Slots in a chunk: what one write after a freeze copies at most.
const CHUNK_LEN: usize = 256;
/// Bytes that a chunk's text grows by.
const TEXT_GROWS_BY: usize = 1024;
/// Bits of a length in [`Place`].
const LENGTH_BITS: u32 = 8;

/// What is fixed when a counter is created.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Definition<'a> {
    /// Its number, never used again for another counter.
    pub id: u64,
    /// Its canonical name with tags: 1 to 255 bytes.
    pub name: &'a str,
    /// The uid that created it.
    pub creator: u32,
    /// When, in milliseconds since 1970-01-01 UTC.
    pub created_ms: u64,
}

/// The definitions of counters, addressed by index; each may be missing.
#[derive(Debug, Clone, Default)]
pub struct Definitions {
    chunks: Vec<Arc<Chunk>>,
    len: usize,
}

#[derive(Debug, Clone)]
struct Chunk {
    text: String,
    /// Bytes of text that are no name any more.
    dead: usize,
    /// Where names stand, apart from what is not looked at to find one.
    names: [Place; CHUNK_LEN],
    creators: [u32; CHUNK_LEN],
    fixed: [Fixed; CHUNK_LEN],
}

impl Default for Chunk {
    fn default() -> Chunk {
        Chunk {
            text: String::new(),
            dead: 0,
            names: [Place::default(); CHUNK_LEN],
            creators: [0; CHUNK_LEN],
            fixed: [Fixed::default(); CHUNK_LEN],
        }
    }
}

#[derive(Debug, Clone, Copy, Default)]
struct Fixed {
    id: u64,
    created_ms: u64,
}

/// Where a name stands in the text of its chunk: first byte and length in one; a length of 0 is no counter.
#[derive(Debug, Clone, Copy, Default)]
struct Place(u32);

impl Definitions {
    /// How many there can be, with the missing ones.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there can be none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The definition at `index`, if there is one.
    pub fn get(&self, index: usize) -> Option<Definition<'_>> {
        self.chunks.get(index / CHUNK_LEN)?.get(index % CHUNK_LEN)
    }

    /// The number of the counter at `index`, if there is one.
    pub fn id(&self, index: usize) -> Option<u64> {
        let (chunk, at) = (self.chunks.get(index / CHUNK_LEN)?, index % CHUNK_LEN);
        let id = chunk.fixed.get(at)?.id;
        chunk.names.get(at).filter(|name| name.length() > 0).map(|_| id)
    }

    /// Something of where the number stands and of where the name's place does.
    pub fn glance(&self, index: usize) -> u64 {
        let Some(chunk) = self.chunks.get(index / CHUNK_LEN) else { return 0 };
        let id = chunk.fixed.get(index % CHUNK_LEN).map_or(0, |fixed| fixed.id);
        id ^ chunk.names.get(index % CHUNK_LEN).map_or(0, |place| u64::from(place.0))
    }

    /// The name at `index`, if there is one.
    pub fn name(&self, index: usize) -> Option<&str> {
        let chunk = self.chunks.get(index / CHUNK_LEN)?;
        chunk.names.get(index % CHUNK_LEN)?.in_text(&chunk.text)
    }

    /// Adds room for one at the end.
    pub fn push_missing(&mut self) {
        if self.len.is_multiple_of(CHUNK_LEN) {
            self.chunks.push(Arc::default());
        }
        self.len = self.len.saturating_add(1);
    }

    /// Puts one where there is room and none is; `None` where there is no room or the name is too long.
    pub fn put(&mut self, index: usize, definition: Definition<'_>) -> Option<()> {
        let chunk = self.chunks.get_mut(index / CHUNK_LEN).filter(|_| index < self.len)?;
        let chunk = Arc::make_mut(chunk);
        chunk.put(index % CHUNK_LEN, definition)
    }

    /// Takes away the one at `index`.
    pub fn remove(&mut self, index: usize) {
        if let Some(chunk) = self.chunks.get_mut(index / CHUNK_LEN) {
            Arc::make_mut(chunk).remove(index % CHUNK_LEN);
        }
    }
}

impl Chunk {
    fn get(&self, at: usize) -> Option<Definition<'_>> {
        let name = self.names.get(at)?.in_text(&self.text)?;
        let (Fixed { id, created_ms }, creator) = (*self.fixed.get(at)?, *self.creators.get(at)?);
        Some(Definition { id, name, creator, created_ms })
    }

    fn put(&mut self, at: usize, definition: Definition<'_>) -> Option<()> {
        self.make_room(definition.name.len());
        let name = Place::of(self.text.len(), definition.name.len())?;
        let Definition { id, created_ms, creator, .. } = definition;
        *self.fixed.get_mut(at)? = Fixed { id, created_ms };
        *self.creators.get_mut(at)? = creator;
        *self.names.get_mut(at)? = name;
        self.text.push_str(definition.name);
        if at.saturating_add(1) == CHUNK_LEN {
            self.text.shrink_to_fit();
        }
        Some(())
    }

    fn remove(&mut self, at: usize) {
        let Some(name) = self.names.get_mut(at) else { return };
        self.dead = self.dead.saturating_add(name.length());
        *name = Place::default();
        if self.dead == self.text.len() {
            (self.text, self.dead) = (String::new(), 0);
        }
    }

    /// Makes room for a name, by leaving out those that are none any more if they are many.
    fn make_room(&mut self, bytes: usize) {
        if self.text.capacity().saturating_sub(self.text.len()) >= bytes {
            return;
        }
        let living = self.text.len().saturating_sub(self.dead);
        let mut text = String::new();
        if self.dead > living.max(TEXT_GROWS_BY) {
            text.reserve_exact(living.saturating_add(bytes.max(TEXT_GROWS_BY)));
            for place in &mut self.names {
                if let Some(name) = place.in_text(&self.text) {
                    *place = Place::of(text.len(), name.len()).unwrap_or_default();
                    text.push_str(name);
                }
            }
            (self.text, self.dead) = (text, 0);
        } else {
            self.text.reserve_exact(bytes.max(TEXT_GROWS_BY));
        }
    }
}

impl Place {
    fn of(start: usize, length: usize) -> Option<Place> {
        let start =
            u32::try_from(start).ok().filter(|start| start.leading_zeros() >= LENGTH_BITS)?;
        let length = u8::try_from(length).ok()?;
        Some(Place(start.wrapping_shl(LENGTH_BITS) | u32::from(length)))
    }

    fn length(self) -> usize {
        let [length, ..] = self.0.to_le_bytes();
        length.into()
    }

    fn in_text(self, text: &str) -> Option<&str> {
        let start = usize::try_from(self.0.wrapping_shr(LENGTH_BITS)).ok()?;
        let length = self.length();
        text.get(start..start.saturating_add(length)).filter(|name| !name.is_empty())
    }
}

#[cfg(test)]
#[expect(
    clippy::indexing_slicing,
    clippy::as_conversions,
    reason = "tests reckon with small numbers"
)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn definition(id: u64, name: &str) -> Definition<'_> {
        Definition { id, name, creator: 7, created_ms: 9 }
    }

    #[test]
    fn a_chunk_that_fills_keeps_no_room_and_one_that_empties_no_text() {
        let mut all = Definitions::default();
        for n in 0..CHUNK_LEN {
            all.push_missing();
            all.put(n, definition(n as u64, &format!("name.{n}"))).unwrap();
        }
        assert_eq!(all.chunks[0].text.capacity(), all.chunks[0].text.len());
        (0..CHUNK_LEN).for_each(|n| all.remove(n));
        assert_eq!(all.chunks[0].text.capacity(), 0);
    }

    #[test]
    fn a_counter_takes_24_bytes_beside_its_name_and_values() {
        let chunk = size_of::<Chunk>() - size_of::<(String, usize)>();
        assert_eq!(chunk, 24 * CHUNK_LEN);
    }

    #[test]
    fn text_does_not_grow_with_what_comes_and_goes() {
        let mut all = Definitions::default();
        (0..2).for_each(|_| all.push_missing());
        all.put(0, definition(1, "stays")).unwrap();
        for n in 0..10_000 {
            all.put(1, definition(n, &"x".repeat(255))).unwrap();
            all.remove(1);
        }
        assert!(all.chunks[0].text.capacity() < 4 * TEXT_GROWS_BY);
        assert_eq!(all.get(0), Some(definition(1, "stays")));
    }

    #[test]
    fn a_name_without_room_for_its_length_is_not_taken() {
        let mut all = Definitions::default();
        all.push_missing();
        assert_eq!(all.put(0, definition(1, &"x".repeat(256))), None);
        assert_eq!(all.put(1, definition(1, "x")), None);
        assert_eq!(all.get(0), None);
    }

    proptest! {
        #[test]
        fn they_behave_as_a_plain_map_and_a_clone_as_one_moment_of_it(
            steps in prop::collection::vec((0..600_usize, 0..255_usize, any::<bool>()), 0..600)
        ) {
            let mut all = Definitions::default();
            (0..600).for_each(|_| all.push_missing());
            let mut model = BTreeMap::new();
            let (mut frozen, mut moment) = (all.clone(), model.clone());
            for (id, (index, length, freeze)) in steps.into_iter().enumerate() {
                if freeze {
                    (frozen, moment) = (all.clone(), model.clone());
                }
                all.remove(index);
                model.remove(&index);
                if length > 0 {
                    let name = format!("{id:0length$}");
                    all.put(index, definition(id as u64, &name)).unwrap();
                    model.insert(index, (id as u64, name));
                }
            }
            for (all, model) in [(&all, &model), (&frozen, &moment)] {
                let found: BTreeMap<_, _> = (0..all.len())
                    .filter_map(|n| all.get(n).map(|d| (n, (d.id, d.name.to_owned()))))
                    .collect();
                prop_assert_eq!(&found, model);
            }
        }
    }
}
