//! Limits the kernel puts on this process.

use rustix::process::{Resource, getrlimit, setrlimit};

/// Descriptors kept for what is neither a connection nor a sink: the journal and what it is folded into,
/// locks, polls.
const BESIDE: u64 = 64;
/// Descriptors kept for each sink: a log file, and the one it is replaced by.
const PER_SINK: u64 = 2;

/// How many connections a process can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Room {
    /// As many as were asked for.
    Enough,
    /// Fewer, or clients could take the descriptors that the journal and the sinks need.
    Only {
        /// How many; at least 1.
        connections: usize,
        /// Descriptors this process may have in all.
        descriptors: u64,
    },
}

/// Raises the soft limit on descriptors, as far as the hard one lets it, to what so many connections and
/// sinks need, and says for how many connections that is enough.
pub fn allow_descriptors(connections: usize, sinks: usize) -> Room {
    let as_u64 = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
    let kept = as_u64(sinks).saturating_mul(PER_SINK).saturating_add(BESIDE);
    let needed = as_u64(connections).saturating_add(kept);
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current.is_some_and(|current| current < needed) {
        limit.current = Some(limit.maximum.map_or(needed, |maximum| maximum.min(needed)));
        // Refused, the old limit holds, and is asked for below.
        let _ = setrlimit(Resource::Nofile, limit);
    }
    room(connections, kept, getrlimit(Resource::Nofile).current)
}

fn room(connections: usize, kept: u64, descriptors: Option<u64>) -> Room {
    let Some(descriptors) = descriptors else { return Room::Enough };
    // Under a very low limit, a quarter may do: not all that is kept is needed at all times.
    let possible = descriptors.saturating_sub(kept).max(descriptors / 4).max(1);
    match usize::try_from(possible) {
        Ok(possible) if possible < connections => Room::Only { connections: possible, descriptors },
        Ok(_) | Err(_) => Room::Enough,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptors_are_kept_for_other_things_than_connections() {
        assert_eq!(room(1_024, 66, None), Room::Enough);
        assert_eq!(room(1_024, 66, Some(1_090)), Room::Enough);
        let only = |connections, descriptors| Room::Only { connections, descriptors };
        assert_eq!(room(1_024, 66, Some(1_089)), only(1_023, 1_089));
        assert_eq!(room(1_024, 66, Some(64)), only(16, 64));
        assert_eq!(room(1_024, 66, Some(0)), only(1, 0));
    }
}
