//! The clocks. The only place that reads them; everything else is handed a moment.

use std::io;
use std::time::Duration;

use rustix::event::Timespec;
use rustix::time::{ClockId, clock_gettime};

use crate::window::{BootId, Moment};

/// A clock that can be handed in.
pub trait Clock: Send {
    /// The moment it is.
    fn now(&self) -> Moment;
}

/// The system's clocks.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Moment {
        now()
    }
}

/// The moment it is, by both clocks.
pub fn now() -> Moment {
    let wall = since_zero(ClockId::Realtime);
    let boot = since_zero(ClockId::Boottime);
    Moment {
        wall_ms: u64::try_from(wall.as_millis()).unwrap_or(u64::MAX),
        boot_ns: u64::try_from(boot.as_nanos()).unwrap_or(u64::MAX),
    }
}

/// Nanoseconds by `CLOCK_BOOTTIME`, for what needs no wall clock.
pub fn boot_ns() -> u64 {
    u64::try_from(since_zero(ClockId::Boottime).as_nanos()).unwrap_or(u64::MAX)
}

/// Which boot this is: the kernel's random boot id.
///
/// # Errors
/// If `/proc` cannot be read, or has no boot id where Linux puts it.
pub fn boot_id() -> io::Result<BootId> {
    const PATH: &str = "/proc/sys/kernel/random/boot_id";
    let text = std::fs::read_to_string(PATH).map_err(|error| {
        let what = format!(
            "cannot read {PATH}, and which boot this is cannot be told without: {error}; a unit of systemd \
             must not have ProcSubset=pid"
        );
        io::Error::new(error.kind(), what)
    })?;
    let digits: String = text.trim_end().chars().filter(|c| *c != '-').collect();
    BootId::from_str_radix(&digits, 16)
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, format!("{PATH}: no boot id")))
}

/// Waits; a signal may end it early. For the moments in which there is nothing to wait for but time,
/// such as a daemon that is too busy just now.
pub fn pause(wait: Duration) {
    let wait = timespec(wait);
    // An interrupted wait is a shorter wait: callers look at the clock anyway.
    let _ = rustix::event::poll(&mut [], Some(&wait));
}

/// A duration as the kernel takes it.
pub(crate) fn timespec(duration: Duration) -> Timespec {
    Timespec {
        tv_sec: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: duration.subsec_nanos().into(),
    }
}

/// A clock before its zero, as after a bad start of the wall clock, is at zero.
fn since_zero(clock: ClockId) -> Duration {
    let at = clock_gettime(clock);
    match (u64::try_from(at.tv_sec), u32::try_from(at.tv_nsec)) {
        (Ok(seconds), Ok(nanos)) => Duration::new(seconds, nanos),
        _ => Duration::ZERO,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_that_never_steps_goes_on() {
        let before = boot_ns();
        pause(Duration::from_millis(2));
        let after = now();
        assert!(after.boot_ns > before);
        assert!(after.wall_ms > 1_600_000_000_000);
    }

    #[test]
    fn a_boot_has_one_id() {
        assert_eq!(boot_id().unwrap(), boot_id().unwrap());
        assert_ne!(boot_id().unwrap(), 0);
    }
}
