//! A growing column of values that can be frozen: a clone shares every chunk with the original, and a
//! chunk is copied at the first write after that. So a dump, a flush and a checkpoint each see one moment
//! of a million counters while the loop goes on counting. It knows nothing of what the values mean.

use std::sync::Arc;

/// Values in a chunk: what one write after a freeze copies at most.
const CHUNK_LEN: usize = 256;

/// A column of `T`, addressed by index.
#[derive(Debug, Clone)]
pub struct Column<T> {
    /// Values lie in the chunk itself: a look at one follows one pointer.
    chunks: Vec<Arc<[T; CHUNK_LEN]>>,
    len: usize,
}

impl<T> Default for Column<T> {
    fn default() -> Self {
        Column { chunks: Vec::new(), len: 0 }
    }
}

impl<T: Copy + Default> Column<T> {
    /// How many values it holds.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The value at `index`, if there is one.
    pub fn get(&self, index: usize) -> Option<&T> {
        let chunk = self.chunks.get(index / CHUNK_LEN).filter(|_| index < self.len)?;
        chunk.get(index % CHUNK_LEN)
    }

    /// The value at `index` for writing; a chunk that is shared is copied first.
    pub fn get_mut(&mut self, index: usize) -> Option<&mut T> {
        let chunk = self.chunks.get_mut(index / CHUNK_LEN).filter(|_| index < self.len)?;
        Arc::make_mut(chunk).get_mut(index % CHUNK_LEN)
    }

    /// Adds a value at the end.
    pub fn push(&mut self, value: T) {
        if self.len.is_multiple_of(CHUNK_LEN) {
            self.chunks.push(Arc::new([T::default(); CHUNK_LEN]));
        }
        self.len = self.len.saturating_add(1);
        if let Some(last) = self.get_mut(self.len.saturating_sub(1)) {
            *last = value;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frozen_column_keeps_its_moment() {
        let mut column = Column::default();
        for n in 0..1_000_u64 {
            column.push(n);
        }
        let frozen = column.clone();
        *column.get_mut(700).unwrap() = 1;
        column.push(1_000);
        assert_eq!((frozen.len(), column.len()), (1_000, 1_001));
        assert_eq!((frozen.get(700), column.get(700)), (Some(&700), Some(&1)));
        assert_eq!((frozen.get(1_000), column.get(1_000)), (None, Some(&1_000)));
    }

    #[test]
    fn a_write_copies_only_the_chunk_it_touches() {
        let mut column = Column::default();
        for n in 0..1_000_u64 {
            column.push(n);
        }
        let frozen = column.clone();
        *column.get_mut(0).unwrap() = 7;
        let shared = column.chunks.iter().zip(&frozen.chunks).filter(|(a, b)| Arc::ptr_eq(a, b));
        assert_eq!(shared.count(), 3);
    }
}
