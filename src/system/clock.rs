//! The clocks. The only place that reads them; everything else is handed a moment.

use std::io;
use std::time::Duration;

#[cfg(target_pointer_width = "64")]
use nix::libc;
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

/// Nanoseconds by `CLOCK_BOOTTIME`, for what looks at the clock a few times. It asks the kernel: to find the function
/// that needs no system call takes one, and four pages that are touched for nothing else.
#[cfg(target_pointer_width = "64")]
#[expect(
    unsafe_code,
    reason = "the C library looks for the kernel's function, too, unless it is told"
)]
pub fn boot_ns() -> u64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: it is a clock, and there is room for the time. It cannot fail: the clock is there since Linux 2.6.39.
    unsafe { libc::syscall(libc::SYS_clock_gettime, libc::CLOCK_BOOTTIME, &raw mut now) };
    u64::try_from(whole(now.tv_sec, now.tv_nsec).as_nanos()).unwrap_or(u64::MAX)
}

/// The same where that call may know of 32 bits only, and the C library of others.
#[cfg(not(target_pointer_width = "64"))]
pub fn boot_ns() -> u64 {
    now().boot_ns
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

fn since_zero(clock: ClockId) -> Duration {
    let at = clock_gettime(clock);
    whole(at.tv_sec, at.tv_nsec)
}

/// A clock before its zero, as after a bad start of the wall clock, is at zero.
fn whole(seconds: i64, nanos: i64) -> Duration {
    match (u64::try_from(seconds), u32::try_from(nanos)) {
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
