//! What counting and flushing are limited to. Who chooses it, and from where, is not known here.

use std::time::Duration;

/// What counting is limited to, and how flushes are made.
#[derive(Debug, Clone)]
pub struct Rules {
    /// Counters in all.
    pub counters_max: u32,
    /// Counters that one uid may create; root and the owner are exempt.
    pub counters_per_user_max: u32,
    /// The uid the daemon runs as; it and root may flush and delete.
    pub owner: u32,
    /// Spacing of flushes.
    pub interval: Duration,
    /// If flushes come at multiples of the interval by the wall clock, how long after those.
    pub aligned: Option<Duration>,
    /// Whether idle counters are reported with 0.
    pub with_idle: bool,
    /// Memory for closed windows that sinks are owed; past it, those never offered are merged.
    pub owed_bytes_max: usize,
}

/// What closed windows may take by default.
pub const OWED_BYTES_MAX: usize = 64 << 20;
