//! Which counters a request is about, and how deleting them begins.

use super::deleting::{Deletion, NOTHING_DELETED};
use super::refusal::{Reason, Refused};
use super::snapshot::Snapshot;
use super::{Core, Peer, Pending, Reply};
use crate::counter::name;
use crate::counter::pattern::{Pattern, PatternError, Selection, TagFilter};
use crate::counter::table::Slot;
use crate::protocol::{SELECTION_STEPS_MAX, Wanted};

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
    /// Deletes what is selected, and answers with the counters as they were; `None` if that takes more turns
    /// than this. A literal is found by its name; only wildcards look at every counter.
    pub(super) fn delete(
        &mut self,
        peer: Peer,
        selection: Selection,
        dry_run: bool,
    ) -> Result<Option<Pending>, Refused> {
        if selection.patterns.is_empty() {
            let what = "delete needs a pattern: '*' for all counters";
            return Err(Refused::new(Reason::BadRequest, what));
        }
        let info = self.begin_snapshot(peer)?;
        let literal = selection.patterns.iter().all(Pattern::is_literal);
        let window = self.state.open.number;
        if literal || dry_run {
            let columns = self.state.table.columns().clone();
            let slots = literal.then(|| self.named(&selection));
            let snapshot = match &slots {
                Some(slots) => Snapshot::these(info, columns, window, slots.clone()),
                None => Snapshot::exactly(info, columns, window, selection),
            };
            let reply = Reply::Snapshot(Box::new(snapshot));
            if dry_run {
                return Ok(Some(Pending::Said(reply)));
            }
            self.delete_slots(&slots.unwrap_or_default());
            return Ok(Some(Pending::Change { reply, increments: 0, failed: NOTHING_DELETED }));
        }
        let mut deletion = Deletion::new(peer, info, selection, self);
        self.delete_piece(&mut deletion);
        if deletion.is_done() {
            let reply = deletion.reply();
            return Ok(Some(Pending::Change { reply, increments: 0, failed: NOTHING_DELETED }));
        }
        self.deletions.push_back(deletion);
        Ok(None)
    }

    fn named(&self, selection: &Selection) -> Vec<Slot> {
        let table = &self.state.table;
        let tagged = |slot: &Slot| {
            let name = table.columns().name(*slot);
            name.is_some_and(|name| selection.tags.iter().all(|filter| filter.matches(name)))
        };
        let names = selection.patterns.iter().filter_map(|p| name::canonical(p.as_str()).ok());
        let mut slots: Vec<Slot> =
            names.filter_map(|name| table.find(&*name)).filter(tagged).collect();
        slots.sort_unstable();
        slots.dedup();
        slots
    }
}
