//! Why a server ends though nobody stopped it: only what would make its promises untrue.

use std::fmt;
use std::io;

use crate::journal::AppendError;

/// Why a server ended though nobody stopped it.
#[derive(Debug)]
pub enum ServerError {
    /// The journal cannot be relied on any more. What was acknowledged is in it.
    Journal(AppendError),
    /// A sync of the journal failed: what it covered is in doubt.
    Sync(io::Error),
    /// The journal was not stopped in good order, and cannot be written anew.
    Checkpoint(io::Error),
    /// Waiting for sockets failed.
    Wait(io::Error),
    /// A thread could not be had.
    Thread(io::Error),
}

impl fmt::Display for ServerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ServerError::Journal(error) => write!(f, "the journal failed: {error}"),
            ServerError::Sync(error) => write!(
                f,
                "cannot sync the journal: {error}; stopping without another word to clients, which \
                 will ask again"
            ),
            ServerError::Checkpoint(error) => write!(
                f,
                "cannot write a checkpoint: {error}; what the journal has may not be on the disk, so it \
                 must be written anew before anything is counted: look after the disk"
            ),
            ServerError::Wait(error) => write!(f, "cannot wait for connections: {error}"),
            ServerError::Thread(error) => write!(f, "cannot start a thread: {error}"),
        }
    }
}

impl std::error::Error for ServerError {}
