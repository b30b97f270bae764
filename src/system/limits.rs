//! Limits the kernel puts on this process.

use rustix::process::{Resource, getrlimit, setrlimit};

/// Descriptors needed beside those of connections: files, polls, threads' ends.
const BESIDE: u64 = 64;

/// Raises the soft limit on descriptors, as far as the hard one lets it, to what so many connections need.
/// Where that is not enough, connections wait.
pub fn allow_descriptors(connections: usize) {
    let needed = u64::try_from(connections).unwrap_or(u64::MAX).saturating_add(BESIDE);
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current.is_some_and(|current| current < needed) {
        limit.current = Some(limit.maximum.map_or(needed, |maximum| maximum.min(needed)));
        // Refused, the old limit holds, and that is what the loop copes with.
        let _ = setrlimit(Resource::Nofile, limit);
    }
}
