//! Which counters a request is about, and deleting them.

use super::refusal::{Reason, Refused};
use super::snapshot::Snapshot;
use super::{Core, Peer, Pending, Reply};
use crate::counter::name;
use crate::counter::pattern::{Pattern, PatternError, Selection, TagFilter};
use crate::counter::table::Slot;
use crate::protocol::{SELECTION_STEPS_MAX, Wanted};
use crate::record::Record;

/// Reads the patterns and tag filters of a request.
pub(super) fn selection(wanted: &Wanted<'_>) -> Result<Selection, String> {
    let read = || -> Result<Selection, PatternError> {
        Ok(Selection {
            patterns: wanted
                .patterns
                .iter()
                .map(|text| Pattern::parse(text))
                .collect::<Result<_, _>>()?,
            tags: wanted
                .tags
                .iter()
                .map(|text| TagFilter::parse(text))
                .collect::<Result<_, _>>()?,
        })
    };
    let selection = read().map_err(|error| error.to_string())?;
    let steps = selection.steps();
    if steps > SELECTION_STEPS_MAX {
        return Err(format!(
            "the patterns together are too long: {steps} steps for each character of a name, limit \
             {SELECTION_STEPS_MAX}"
        ));
    }
    Ok(selection)
}

impl Core {
    /// Deletes what is selected, and answers with the counters as they were.
    pub(super) fn delete(
        &mut self,
        peer: Peer,
        selection: &Selection,
        dry_run: bool,
    ) -> Result<Pending, Refused> {
        if selection.patterns.is_empty() {
            let what = "delete needs a pattern: '*' for all counters";
            return Err(Refused::new(Reason::BadRequest, what));
        }
        let info = self.begin_snapshot(peer)?;
        let slots = self.selected(selection);
        let columns = self.state.table.columns().clone();
        let snapshot = Snapshot::these(info, columns, self.state.open.number, slots.clone());
        let reply = Reply::Snapshot(Box::new(snapshot));
        if dry_run {
            return Ok(Pending::Said(reply));
        }
        for slot in slots {
            let Some((definition, _)) = self.state.table.get(slot) else { continue };
            let id = definition.id;
            self.write(&Record::Deleted { id });
            self.undo.extend(self.state.delete(slot));
        }
        Ok(Pending::Change { reply, increments: 0, failed: "nothing was deleted" })
    }

    /// A literal is found by its name; only wildcards look at every counter.
    fn selected(&self, selection: &Selection) -> Vec<Slot> {
        let table = &self.state.table;
        let tagged = |slot: &Slot| {
            let name = table.columns().name(*slot);
            name.is_some_and(|name| selection.tags.iter().all(|filter| filter.matches(name)))
        };
        let mut slots: Vec<Slot> = if selection.patterns.iter().all(Pattern::is_literal) {
            let names = selection.patterns.iter().filter_map(|p| name::canonical(p.as_str()).ok());
            names.filter_map(|name| table.find(&name)).collect()
        } else {
            let matching = table.columns().iter().filter(|(_, definition, _)| {
                selection.patterns.iter().any(|p| p.matches_exactly(definition.name))
            });
            matching.map(|(slot, ..)| slot).collect()
        };
        slots.retain(tagged);
        slots.sort_unstable();
        slots.dedup();
        slots
    }
}
