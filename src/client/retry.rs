//! What to do after a failure: ask again, look for a refusal first, or give up, and then with what. A pure
//! decision over what failed and what the call has been through; nothing here waits or asks.

use std::io;
use std::time::Duration;

use rustix::io::Errno;

/// What a request does, as far as repeating it matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// It adds, under an id by which the daemon knows it again: the only one that is repeated.
    Incr,
    /// It changes something else.
    Change,
    /// It only reads.
    Read,
}

/// Where a call failed.
#[derive(Debug)]
pub(crate) enum Failed {
    /// In connecting.
    Connect(io::Error),
    /// In sending: not all of the request was taken.
    Send(io::Error),
    /// In receiving, the whole request having been sent.
    Receive(io::Error),
    /// The daemon hung up in place of an answer.
    HungUp,
}

/// What a call has been through.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Past {
    /// What its request does.
    pub(crate) kind: Kind,
    /// It had been connected before.
    pub(crate) connected: bool,
    /// Its request had gone out whole, now or before, and was not answered.
    pub(crate) unanswered: bool,
    /// There is time left.
    pub(crate) time_left: bool,
}

/// What to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// Connect and send again, at once the first time, then after a wait.
    Again,
    /// Receive: a refusal may be waiting there. If there is none, the daemon hung up.
    ReceiveFirst,
    /// Give up: nothing was done.
    NoDaemon,
    /// Give up: it cannot be told whether it was done.
    Unknown,
}

/// Decides what to do after a failure.
pub(crate) fn after(failed: &Failed, past: Past) -> Next {
    match failed {
        Failed::Connect(error) => {
            if passes(error, past.connected) {
                past.again()
            } else {
                past.give_up()
            }
        }
        Failed::Send(error) => match Errno::from_io_error(error) {
            Some(Errno::PIPE | Errno::CONNRESET | Errno::NOTCONN) => Next::ReceiveFirst,
            // Time is up, or the kernel is out of memory for a moment.
            Some(Errno::AGAIN | Errno::NOBUFS | Errno::NOMEM) => past.again(),
            _ => past.give_up(),
        },
        Failed::Receive(error) => match Errno::from_io_error(error) {
            Some(Errno::PIPE | Errno::CONNRESET | Errno::NOTCONN) => past.again(),
            Some(Errno::NOBUFS | Errno::NOMEM) => past.again(),
            // Time is up.
            Some(Errno::AGAIN) => Next::Unknown,
            _ => past.give_up(),
        },
        Failed::HungUp => past.again(),
    }
}

/// Whether a connect that failed so may succeed in a moment.
fn passes(error: &io::Error, connected_before: bool) -> bool {
    match Errno::from_io_error(error) {
        // The daemon is between stop and start, or has a full backlog, or the system is short.
        Some(Errno::CONNREFUSED | Errno::AGAIN) => true,
        Some(Errno::NFILE | Errno::NOBUFS | Errno::NOMEM) => true,
        // It was there: it is being started again, and makes its socket, and then sets its mode.
        Some(Errno::NOENT | Errno::ACCESS | Errno::NOTSOCK) => connected_before,
        _ => false,
    }
}

impl Past {
    fn again(self) -> Next {
        if self.kind == Kind::Incr && self.time_left { Next::Again } else { self.give_up() }
    }

    /// A read that was not answered has done nothing; the rest may have.
    fn give_up(self) -> Next {
        if self.unanswered && self.kind != Kind::Read { Next::Unknown } else { Next::NoDaemon }
    }
}

/// The waits between attempts: none, then 1 ms, twice as much each time, and 50 ms at most.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Waits {
    attempts: u32,
}

impl Waits {
    /// The longest wait.
    pub(crate) const MAX: Duration = Duration::from_millis(50);

    /// The wait before the next attempt.
    pub(crate) fn next(&mut self) -> Duration {
        let attempts = self.attempts;
        self.attempts = attempts.saturating_add(1);
        match attempts {
            0 => Duration::ZERO,
            1..=6 => Duration::from_millis(1 << (attempts - 1)).min(Waits::MAX),
            _ => Waits::MAX,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRESH: Past =
        Past { kind: Kind::Incr, connected: false, unanswered: false, time_left: true };
    const SENT: Past = Past { connected: true, unanswered: true, ..FRESH };
    const LATE: Past = Past { time_left: false, ..FRESH };

    fn connect(errno: Errno, past: Past) -> Next {
        after(&Failed::Connect(errno.into()), past)
    }

    fn send(errno: Errno, past: Past) -> Next {
        after(&Failed::Send(errno.into()), past)
    }

    fn receive(errno: Errno, past: Past) -> Next {
        after(&Failed::Receive(errno.into()), past)
    }

    #[test]
    fn a_missing_socket_ends_a_call_at_once_unless_it_had_been_connected() {
        assert_eq!(connect(Errno::NOENT, FRESH), Next::NoDaemon);
        assert_eq!(connect(Errno::NOENT, Past { connected: true, ..FRESH }), Next::Again);
        assert_eq!(connect(Errno::NOENT, SENT), Next::Again);
    }

    #[test]
    fn a_refused_connection_and_a_full_backlog_are_tried_again() {
        for errno in [Errno::CONNREFUSED, Errno::AGAIN, Errno::NFILE, Errno::NOBUFS] {
            assert_eq!(connect(errno, FRESH), Next::Again);
            assert_eq!(connect(errno, LATE), Next::NoDaemon);
        }
    }

    #[test]
    fn what_a_wait_does_not_heal_is_not_waited_for() {
        for errno in [Errno::ACCESS, Errno::PERM, Errno::NOTDIR, Errno::NOTSOCK, Errno::PROTOTYPE] {
            assert_eq!(connect(errno, FRESH), Next::NoDaemon);
        }
        for errno in [Errno::MFILE, Errno::LOOP, Errno::NAMETOOLONG] {
            assert_eq!(connect(errno, SENT), Next::Unknown);
        }
    }

    #[test]
    fn a_closed_connection_may_hold_a_refusal() {
        for errno in [Errno::PIPE, Errno::CONNRESET] {
            for kind in [Kind::Incr, Kind::Change, Kind::Read] {
                assert_eq!(send(errno, Past { kind, ..LATE }), Next::ReceiveFirst);
            }
        }
    }

    #[test]
    fn a_request_that_was_not_taken_was_not_done() {
        assert_eq!(send(Errno::AGAIN, LATE), Next::NoDaemon);
        assert_eq!(send(Errno::AGAIN, Past { time_left: false, ..SENT }), Next::Unknown);
        assert_eq!(send(Errno::NOBUFS, FRESH), Next::Again);
        assert_eq!(send(Errno::BADF, FRESH), Next::NoDaemon);
    }

    #[test]
    fn only_incr_is_asked_again_after_a_hang_up() {
        assert_eq!(after(&Failed::HungUp, SENT), Next::Again);
        assert_eq!(receive(Errno::CONNRESET, SENT), Next::Again);
        let change = Past { kind: Kind::Change, ..SENT };
        assert_eq!(after(&Failed::HungUp, change), Next::Unknown);
        assert_eq!(after(&Failed::HungUp, Past { unanswered: false, ..change }), Next::NoDaemon);
        let read = Past { kind: Kind::Read, ..SENT };
        assert_eq!(after(&Failed::HungUp, read), Next::NoDaemon);
    }

    #[test]
    fn no_answer_in_time_is_an_unknown_outcome() {
        let late = Past { time_left: false, ..SENT };
        for kind in [Kind::Incr, Kind::Change, Kind::Read] {
            assert_eq!(receive(Errno::AGAIN, Past { kind, ..late }), Next::Unknown);
        }
        assert_eq!(after(&Failed::HungUp, late), Next::Unknown);
        assert_eq!(connect(Errno::CONNREFUSED, late), Next::Unknown);
    }

    #[test]
    fn waits_grow_to_fifty_milliseconds() {
        let mut waits = Waits::default();
        let waits: Vec<u128> = (0..10).map(|_| waits.next().as_millis()).collect();
        assert_eq!(waits, [0, 1, 2, 4, 8, 16, 32, 50, 50, 50]);
    }
}
