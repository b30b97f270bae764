//! Hearing of files that come into a spool folder, so that a daemon with nothing to do need not look.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::inotify::{CreateFlags, WatchFlags, add_watch, init};
use rustix::io::Errno;

use super::SpoolFolder;
use crate::disk::spool::Room;

/// Bytes of events read at a time; what they say does not matter.
const BUFFER_BYTES: usize = 64 << 10;
/// Reads for one readiness. As many take off all that the kernel keeps at a time.
const READS_MAX: usize = 64;

/// A descriptor that becomes readable when a file has got a name in the spool folder, or one that was refused
/// is taken away.
#[derive(Debug)]
pub struct Watch(OwnedFd);

impl Watch {
    /// Watches a spool folder.
    ///
    /// # Errors
    /// What the system says, as when it has no watches left.
    pub fn new(folder: &SpoolFolder) -> io::Result<Watch> {
        let watch = init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        // By their descriptors: these are the folders that are taken from, whatever their paths are now.
        for (room, what) in [
            (Room::Spool, WatchFlags::MOVED_TO),
            (Room::Refused, WatchFlags::DELETE | WatchFlags::MOVED_FROM),
        ] {
            let fd = std::os::fd::AsRawFd::as_raw_fd(folder.room(room));
            add_watch(&watch, format!("/proc/self/fd/{fd}"), what | WatchFlags::ONLYDIR)?;
        }
        Ok(Watch(watch))
    }

    /// Takes off what made it readable. Returns whether anything did.
    pub fn heard(&self) -> bool {
        let mut heard = false;
        for _ in 0..READS_MAX {
            match rustix::io::read(&self.0, &mut [0_u8; BUFFER_BYTES][..]) {
                Ok(count) if count > 0 => heard = true,
                Err(Errno::INTR) => {}
                Ok(_) | Err(_) => break,
            }
        }
        heard
    }
}

impl AsFd for Watch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
