//! Counters that were deleted in the open window and had gained in it. They are kept as a table like the living:
//! a million of them are no burden to the loop, either, and a clone of its columns is a frozen moment.

use crate::counter::table::{Columns, Definition, Table, Values};

/// What a deleted counter had gained in the open window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retired {
    /// Its count.
    pub count: u64,
    /// Its total at removal.
    pub total: u64,
}

/// All of them, by name.
#[derive(Debug, Default)]
pub(super) struct AllRetired {
    /// None as long as there is none.
    table: Option<Table>,
}

impl AllRetired {
    pub(super) fn is_empty(&self) -> bool {
        self.table.as_ref().is_none_or(Table::is_empty)
    }

    pub(super) fn get(&self, name: &str) -> Option<Retired> {
        let table = self.table.as_ref()?;
        table.get(table.find(name)?).map(|(_, values)| of(values))
    }

    /// Puts one in, in place of what was there under its name.
    pub(super) fn insert(&mut self, name: &str, retired: Retired) {
        let table = self.table.get_or_insert_default();
        // A table of its own, so what is not a total has a field that this use has no other for.
        let values = Values { total: retired.total, base: retired.count, ..Values::default() };
        match table.find(name) {
            Some(slot) => drop(table.set(slot, values)),
            None => {
                let definition = Definition { id: 0, name, creator: 0, created_ms: 0 };
                table.insert(definition, values);
            }
        }
    }

    pub(super) fn remove(&mut self, name: &str) {
        let Some(table) = &mut self.table else { return };
        if let Some(slot) = table.find(name) {
            table.remove(slot);
            table.release(slot);
        }
    }

    /// This moment of them.
    pub(super) fn columns(&self) -> Columns {
        self.table.as_ref().map(|table| table.columns().clone()).unwrap_or_default()
    }
}

/// What one was, from its values in such columns.
pub(super) fn of(values: Values) -> Retired {
    Retired { count: values.base, total: values.total }
}
