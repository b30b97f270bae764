//! How a command ends: what went wrong, as one message and one exit status, the same for every command.

use std::fmt;
use std::io::{self, Write};

use crate::client::ClientError;
use crate::counter::pattern::PatternError;
use crate::system::paths::PathError;

/// Done; for `incr`: acknowledged.
pub const DONE: u8 = 0;
/// Refused by the daemon, not found, or the output could not be written.
pub const REFUSED: u8 = 1;
/// Wrong use.
pub const USAGE: u8 = 2;
/// No daemon there, or none that took the request.
pub const NO_DAEMON: u8 = 3;
/// The request was sent and not answered: outcome unknown.
pub const UNKNOWN: u8 = 4;

/// Why a command could not do what it was to do.
#[derive(Debug)]
pub enum Failure {
    /// The command line or a variable is wrong.
    Usage(String),
    /// A value on the command line that says what to count is wrong: as a rule it comes from data.
    Value(String),
    /// The daemon said no, or it is not there what was asked for.
    Refused(String),
    /// There is no daemon.
    NoDaemon(String),
    /// It is not known whether it was done.
    Unknown(String),
    /// The input could not be read.
    Input(io::Error),
    /// The output could not be written.
    Output(io::Error),
}

impl Failure {
    /// The exit status.
    pub fn status(&self) -> u8 {
        match self {
            // Whoever reads our output has enough of it.
            Failure::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => DONE,
            Failure::Usage(_) | Failure::Value(_) => USAGE,
            Failure::Refused(_) | Failure::Input(_) | Failure::Output(_) => REFUSED,
            Failure::NoDaemon(_) => NO_DAEMON,
            Failure::Unknown(_) => UNKNOWN,
        }
    }

    /// Whether `--best-effort` makes a mere message of it: what may go wrong in a script that is right.
    pub fn is_forgivable(&self) -> bool {
        match self {
            Failure::Value(_)
            | Failure::Refused(_)
            | Failure::NoDaemon(_)
            | Failure::Unknown(_)
            | Failure::Input(_)
            | Failure::Output(_) => true,
            Failure::Usage(_) => false,
        }
    }

    /// Says what went wrong, unless nobody wants to know.
    pub fn report(&self, err: &mut dyn Write) {
        if self.status() != DONE {
            say(err, self);
        }
    }
}

/// Writes a message of countd as one line. That it cannot be written is nothing anyone could be told.
pub fn say(err: &mut dyn Write, message: impl fmt::Display) {
    let _ = err.write_all(format!("countd: {message}\n").as_bytes());
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Usage(message)
            | Failure::Value(message)
            | Failure::Refused(message)
            | Failure::NoDaemon(message)
            | Failure::Unknown(message) => f.write_str(message),
            Failure::Input(error) => write!(f, "standard input: {error}"),
            Failure::Output(error) => write!(f, "standard output: {error}"),
        }
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Failure {
        let message = error.to_string();
        match error {
            ClientError::NoDaemon { .. } => Failure::NoDaemon(message),
            ClientError::Refused { .. }
            | ClientError::NotFound { .. }
            | ClientError::Protocol { .. }
            | ClientError::System(_) => Failure::Refused(message),
            ClientError::Unknown { .. } => Failure::Unknown(message),
            ClientError::TooLarge { .. } => Failure::Usage(message),
        }
    }
}

impl From<PathError> for Failure {
    fn from(error: PathError) -> Failure {
        let message = error.to_string();
        match error {
            PathError::Untrusted { .. } | PathError::NoSpool { .. } => Failure::NoDaemon(message),
            PathError::Empty { .. }
            | PathError::TooLong { .. }
            | PathError::Nul { .. }
            | PathError::NoHome => Failure::Usage(message),
        }
    }
}

impl From<PatternError> for Failure {
    fn from(error: PatternError) -> Failure {
        Failure::Usage(error.to_string())
    }
}
