//! Why a call did not do what it was to do: one variant for each thing a caller can act on.

use std::fmt;
use std::io;

use crate::protocol::ErrorCode;
use crate::system::paths::{Origin, SocketPath, has_system_unit};

/// A call that failed.
#[derive(Debug)]
pub enum ClientError {
    /// No daemon took the request, so nothing was done: none is there, or it may not be reached, or it
    /// took no request in time.
    NoDaemon {
        /// Where it was looked for.
        looked: SocketPath,
        /// What was found there.
        why: NoDaemon,
    },
    /// The daemon said no, so nothing was done.
    Refused {
        /// Its reason as a code.
        code: ErrorCode,
        /// Its reason for a person.
        message: String,
    },
    /// There is no such counter.
    NotFound {
        /// The name asked for.
        name: String,
    },
    /// The request was sent and no answer came: it may have been done, or not.
    Unknown {
        /// The daemon's socket.
        looked: SocketPath,
        /// What became of the answer.
        why: Unknown,
    },
    /// What answers does not speak this protocol.
    Protocol {
        /// Its socket.
        looked: SocketPath,
        /// What was wrong with its answer.
        why: String,
    },
    /// The request is larger than a daemon takes; nothing was sent.
    TooLarge {
        /// What is too large.
        why: String,
    },
    /// The system would not give what a client needs; nothing was sent.
    System(io::Error),
}

/// What was found in place of a daemon.
#[derive(Debug)]
pub enum NoDaemon {
    /// Connecting failed.
    Connect(io::Error),
    /// Its backlog was full all the time.
    BacklogFull,
    /// It has the request, and does not answer for a while; it is still waited for.
    NotAnswering,
    /// It took no byte of the request, or not all of it, in time.
    NotTaken,
    /// It hung up each time, before it answered and before the request was out, or where the request
    /// only reads.
    HungUp,
}

/// What became of an answer.
#[derive(Debug)]
pub enum Unknown {
    /// It did not come in time.
    TimedOut,
    /// It did not come in time, and would have changed nothing.
    TimedOutReading,
    /// The daemon hung up, and could not be asked again.
    HungUp,
    /// Receiving failed.
    Receive(io::Error),
    /// The daemon no longer knows whether it had done it.
    Forgotten,
    /// It cannot be understood.
    Unreadable(String),
}

impl ClientError {
    /// Of a daemon that finds also a request too old which it has just given the time.
    pub(crate) fn clock_behind() -> ClientError {
        let message = "not counted: the daemon's clock is behind times that it remembers (its machine, or \
                       its time namespace, was set back); it counts again when it has caught up";
        ClientError::Refused { code: ErrorCode::Failed, message: message.into() }
    }
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ClientError::NoDaemon { looked, why } => no_daemon(f, looked, why),
            ClientError::Refused { code: ErrorCode::Version, message } => {
                write!(f, "the daemon is of another version: {message}")
            }
            // It would have done it.
            ClientError::Refused { code: ErrorCode::Failed, message } => f.write_str(message),
            ClientError::Refused { message, .. } => write!(f, "refused: {message}"),
            ClientError::NotFound { name } => write!(f, "no counter {name}"),
            ClientError::Unknown { looked, why } => {
                let path = looked.path().display();
                match why {
                    Unknown::TimedOutReading => return write!(f, "no answer in time from {path}"),
                    Unknown::TimedOut => write!(f, "no answer in time from {path}"),
                    Unknown::HungUp => write!(f, "the daemon at {path} hung up before it answered"),
                    Unknown::Receive(error) => write!(f, "no answer from {path}: {error}"),
                    Unknown::Forgotten => write!(f, "the answer of {path} was lost too long ago"),
                    Unknown::Unreadable(why) => {
                        write!(f, "the answer of {path} cannot be understood: {why}")
                    }
                }?;
                f.write_str(": the request may have been done, or not")
            }
            ClientError::Protocol { looked, why } => {
                let path = looked.path().display();
                write!(f, "what answers at {path} is no countd this client understands: {why}")
            }
            ClientError::TooLarge { why } => f.write_str(why),
            ClientError::System(error) => {
                write!(f, "the system does not give what a client needs: {error}")
            }
        }
    }
}

fn no_daemon(f: &mut fmt::Formatter<'_>, looked: &SocketPath, why: &NoDaemon) -> fmt::Result {
    match why {
        NoDaemon::Connect(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            write!(f, "no permission to reach the daemon: looked at {looked}")
        }
        NoDaemon::Connect(error) if error.kind() == io::ErrorKind::NotFound => {
            let start = match looked.origin() == Origin::Default && has_system_unit() {
                true => "start that of the system with `systemctl start countd.socket`",
                false => "start one with `countd serve`",
            };
            write!(f, "no daemon: looked at {looked}: {start}")
        }
        NoDaemon::Connect(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            write!(f, "no daemon: looked at {looked}: it listens no more")
        }
        NoDaemon::Connect(error) => write!(f, "no daemon: looked at {looked}: {error}"),
        NoDaemon::BacklogFull => write!(f, "the daemon took no connection in time at {looked}"),
        NoDaemon::NotAnswering => write!(f, "the daemon does not answer at {looked}"),
        NoDaemon::NotTaken => write!(f, "the daemon did not take the request in time at {looked}"),
        NoDaemon::HungUp => write!(f, "the daemon hung up before it answered at {looked}"),
    }
}

impl std::error::Error for ClientError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            ClientError::NoDaemon { why: NoDaemon::Connect(error), .. }
            | ClientError::Unknown { why: Unknown::Receive(error), .. }
            | ClientError::System(error) => Some(error),
            ClientError::NoDaemon { .. }
            | ClientError::Refused { .. }
            | ClientError::NotFound { .. }
            | ClientError::Unknown { .. }
            | ClientError::Protocol { .. }
            | ClientError::TooLarge { .. } => None,
        }
    }
}
