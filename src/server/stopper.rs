//! Asking a server to stop, from whatever thread. How it stops is not known here.

use std::fmt;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};

use super::worker::Wake;

/// Stops a server from another thread.
#[derive(Clone, Default)]
pub struct Stopper {
    asked: Arc<AtomicU32>,
    wake: Arc<OnceLock<Wake>>,
}

impl fmt::Debug for Stopper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stopper").field("asked", &self.asked).finish_non_exhaustive()
    }
}

impl Stopper {
    /// One for a server that is yet to be made.
    pub fn new() -> Stopper {
        Stopper::default()
    }

    /// Asks the server to stop. Asked twice, it does not wait for its sinks.
    pub fn stop(&self) {
        self.asked.fetch_add(1, Ordering::SeqCst);
        if let Some(wake) = self.wake.get() {
            wake();
        }
    }

    /// Lets it wake the server's loop, which looks before it first sleeps whether it was asked before.
    pub(super) fn wakes(&self, wake: Wake) {
        let _ = self.wake.set(wake);
    }

    pub(super) fn times_asked(&self) -> u32 {
        self.asked.load(Ordering::SeqCst)
    }
}
