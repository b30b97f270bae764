//! Random bits from the kernel.

use std::io;

use rustix::io::Errno;
use rustix::rand::{GetRandomFlags, getrandom};

/// Draws the id of a session: 128 random bits.
///
/// # Errors
/// What the kernel says; it has random bits always, except before its pool is filled at boot, when
/// this waits.
pub fn session() -> io::Result<u128> {
    let mut bytes = [0; 16];
    loop {
        match getrandom(&mut bytes, GetRandomFlags::empty()) {
            Ok(16) => return Ok(u128::from_le_bytes(bytes)),
            // Up to 256 bytes come whole; short of that a signal came first.
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn two_sessions_differ() {
        assert_ne!(super::session().unwrap(), super::session().unwrap());
    }
}
