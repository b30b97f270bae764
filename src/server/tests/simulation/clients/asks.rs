//! What clients ask for: the requests, and which counters and amounts are in them.

use super::super::ledger::{DELETED, Entries, PAIR};
use super::super::world::World;
use crate::ids::RequestId;
use crate::protocol::{Entry, Request, Wanted};

#[derive(Debug, Clone)]
pub(super) enum Ask {
    Incr { id: RequestId, atomic: bool, totals: bool, entries: Entries },
    Get(String),
    Dump,
    Delete,
    Flush,
    Status,
}

impl Ask {
    pub(super) fn request(&self) -> Request<'_> {
        match self {
            Ask::Incr { id, atomic, totals, entries } => {
                let entries = entries.iter().map(|(name, amount)| Entry { name, amount: *amount });
                let entries = entries.collect();
                Request::Incr { id: *id, atomic: *atomic, totals: *totals, entries }
            }
            Ask::Get(name) => Request::Get { name },
            Ask::Dump => Request::Dump { wanted: Wanted::default() },
            Ask::Delete => {
                let wanted = Wanted { patterns: vec!["gone.*"], tags: Vec::new() };
                Request::Delete { wanted, dry_run: false }
            }
            Ask::Flush => Request::Flush { timeout_ms: 20_000 },
            Ask::Status => Request::Status,
        }
    }
}

pub(super) fn name(world: &mut World) -> String {
    match world.dice.below(4) {
        0 => format!("n{}", world.dice.any_size(40)),
        1 => format!("{DELETED}{}", world.dice.below(3)),
        _ => format!("c{}", world.dice.below(4)),
    }
}

/// What some request adds. One with a bad name is refused whole unless it is a stream's.
pub(super) fn entries(world: &mut World, bad_names: bool) -> Entries {
    if world.dice.happens(250) {
        let amount = 1 + world.dice.any_size(9);
        return PAIR.map(|name| (name.to_owned(), amount)).into();
    }
    let count = 1 + world.dice.any_size(4);
    let mut entries = Entries::new();
    for _ in 0..count {
        let bad = bad_names && world.dice.happens(50);
        let name = if bad { ".bad".to_owned() } else { name(world) };
        entries.push((name, world.dice.any_size(100)));
    }
    entries
}
