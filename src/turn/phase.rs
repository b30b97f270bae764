//! What a sink is doing, and of what it holds the state knows nothing yet. What comes of what it says is in `sinks`.

/// What a sink is doing. It has one order at a time, and what it says of another is not heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    Idle,
    /// `again` if it took them before.
    Preparing {
        first: u64,
        last: u64,
        again: bool,
    },
    /// It has prepared them; that they are offered is not in the journal yet.
    Offering {
        first: u64,
        last: u64,
        again: bool,
    },
    Writing {
        first: u64,
        last: u64,
        again: bool,
    },
    /// It looks whether it still has what it took.
    Looking,
    /// It has written them; that is not in the journal yet.
    Acknowledging,
    Failed {
        until_ns: u64,
    },
    /// It takes nothing more; that is not in the journal yet.
    Leaving,
    Gone,
}

impl Phase {
    /// The windows it holds of which the state knows nothing yet.
    pub(super) fn in_hand(self) -> Option<(u64, u64)> {
        match self {
            Phase::Preparing { first, last, again: false }
            | Phase::Offering { first, last, again: false } => Some((first, last)),
            Phase::Idle
            | Phase::Preparing { .. }
            | Phase::Offering { .. }
            | Phase::Writing { .. }
            | Phase::Looking
            | Phase::Acknowledging
            | Phase::Failed { .. }
            | Phase::Leaving
            | Phase::Gone => None,
        }
    }

    /// When it gets another try.
    pub(super) fn retried_at_ns(self) -> Option<u64> {
        match self {
            Phase::Failed { until_ns } => Some(until_ns),
            Phase::Idle
            | Phase::Preparing { .. }
            | Phase::Offering { .. }
            | Phase::Writing { .. }
            | Phase::Looking
            | Phase::Acknowledging
            | Phase::Leaving
            | Phase::Gone => None,
        }
    }

    /// Whether it can be given an order.
    pub(super) fn is_free(self, now_ns: u64) -> bool {
        self == Phase::Idle || self.retried_at_ns().is_some_and(|at| now_ns >= at)
    }
}
