//! Why a path cannot be used, in words that say what to do.

use std::fmt;
use std::path::PathBuf;

use super::{Origin, SOCKET_PATH_BYTES_MAX};

/// A path that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PathError {
    /// It is empty: the kernel would make up a name for it.
    Empty {
        /// Who chose it.
        origin: Origin,
    },
    /// It is longer than the name of a socket may be.
    TooLong {
        /// The path.
        path: PathBuf,
        /// Who chose it.
        origin: Origin,
        /// Its length.
        bytes: usize,
    },
    /// It has a zero byte.
    Nul {
        /// Who chose it.
        origin: Origin,
    },
    /// The folder, in a place where everyone may write, is not ours alone.
    Untrusted {
        /// The folder.
        folder: PathBuf,
        /// What is wrong with it.
        why: &'static str,
    },
    /// There is no place for the state: no home either.
    NoHome,
    /// Where the daemon of this socket would take spooled requests from is not known.
    NoSpool {
        /// The socket.
        socket: PathBuf,
    },
}

impl fmt::Display for PathError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PathError::Empty { origin } => write!(f, "{origin}: the path is empty"),
            PathError::TooLong { path, origin, bytes } => {
                let path = path.display();
                write!(
                    f,
                    "{origin}: {path}: {bytes} bytes, but the path of a socket has at most "
                )?;
                write!(f, "{SOCKET_PATH_BYTES_MAX}: choose a shorter one")
            }
            PathError::Nul { origin } => write!(f, "{origin}: the path has a zero byte"),
            PathError::Untrusted { folder, why } => {
                let folder = folder.display();
                write!(f, "{folder}: {why}: remove it, or choose a socket with --socket")
            }
            PathError::NoHome => write!(
                f,
                "no place for the state: neither XDG_STATE_HOME nor HOME is set: \
                 choose one with --state-dir, or none with --ephemeral"
            ),
            PathError::NoSpool { socket } => write!(
                f,
                "it is not known where a daemon at {} takes spooled requests from: say so with --spool-dir",
                socket.display()
            ),
        }
    }
}

impl std::error::Error for PathError {}
