//! One request from its first attempt to its answer: connecting, sending, receiving, and doing so again
//! as [`retry`] decides. What is asked and what the answer means is not known here, but for
//! "busy": ask again in a moment.

use std::fmt;
use std::io;
use std::ops::Range;
use std::time::Duration;

use rustix::io::Errno;

use crate::client::connection::{Connection, ReceiveError};
use crate::client::error::{ClientError, NoDaemon, Unknown};
use crate::client::retry::{self, Failed, Kind, Next, Past, Waits};
use crate::protocol::{ErrorCode, Hello, MessageError, Request, Response, VERSION};
use crate::system::clock;
use crate::system::connect::Deadline;
use crate::system::paths::SocketPath;

/// How long a connect of a patient call waits before it says that it does.
const CONNECT_PATIENT_MAX: Duration = Duration::from_secs(1);

/// A daemon that is busy is left alone for a moment, also the first time.
const WAIT_BUSY_MIN: Duration = Duration::from_millis(1);

/// Where requests go, and the connection that is kept for them.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) looked: SocketPath,
    /// Each connection is for one request: the daemon is told, and hangs up first.
    pub(crate) one_request: bool,
    pub(crate) connection: Option<Connection>,
}

/// A request on its way.
pub(crate) struct Call<'a> {
    kind: Kind,
    deadline: Deadline,
    connected: bool,
    /// How often the request went out whole and was not answered.
    unanswered: u32,
    waits: Waits,
    /// For a call that is to outlast its daemon: whom to tell that it waits.
    on_wait: Option<&'a mut dyn FnMut(&ClientError)>,
}

impl<'a> Call<'a> {
    pub(crate) fn new(kind: Kind, deadline: Deadline) -> Call<'a> {
        let waits = Waits::default();
        Call { kind, deadline, connected: false, unanswered: 0, waits, on_wait: None }
    }

    /// What a stream has in flight, as one call: it has been connected before, what it asks may have
    /// arrived, and it has waited.
    pub(crate) fn patient(
        deadline: Deadline,
        unanswered: bool,
        waits: Waits,
        on_wait: &'a mut dyn FnMut(&ClientError),
    ) -> Call<'a> {
        let call = Call::new(Kind::Incr, deadline);
        let unanswered = u32::from(unanswered);
        Call { connected: true, unanswered, waits, on_wait: Some(on_wait), ..call }
    }

    /// How it has waited.
    pub(crate) fn waits(&self) -> Waits {
        self.waits
    }

    /// Whether no attempt but the one just answered can have arrived.
    pub(crate) fn sent_once(&self) -> bool {
        self.unanswered == 0
    }

    /// What it has been through.
    pub(crate) fn past(&self) -> Past {
        Past {
            kind: self.kind,
            connected: self.connected,
            unanswered: self.unanswered > 0,
            time_left: self.deadline.left().is_some(),
        }
    }
}

/// The bytes of a request with the hello before it, as they leave in one write.
///
/// # Errors
/// [`ClientError::TooLarge`] when they do not fit into a frame.
pub(crate) fn message(request: &Request<'_>, one_request: bool) -> Result<Vec<u8>, ClientError> {
    let mut bytes = Hello { version: VERSION, one_request }.to_bytes().to_vec();
    request.write(&mut bytes).map_err(|error: MessageError| ClientError::TooLarge {
        why: format!("the request is too large: {error}"),
    })?;
    Ok(bytes)
}

impl Link {
    /// Asks until there is an answer other than "busy", and returns where its first frame is in the
    /// connection, which is there then.
    ///
    /// # Errors
    /// [`ClientError`] when there is none.
    pub(crate) fn ask(
        &mut self,
        message: &[u8],
        call: &mut Call<'_>,
    ) -> Result<Range<usize>, ClientError> {
        loop {
            match self.attempt(message, call) {
                Ok(payload) => match self.not_now(&payload)? {
                    None => return Ok(payload),
                    Some(refusal) => {
                        self.connection = None;
                        self.wait_after_refusal(refusal, call)?;
                    }
                },
                Err(ReceiveError::Oversized(oversized)) => {
                    self.connection = None;
                    return Err(self.protocol(oversized));
                }
                Err(ReceiveError::Failed(failed)) => {
                    self.connection = None;
                    self.wait_after(failed, call)?;
                }
            }
        }
    }

    /// The next frame of an answer that has several.
    ///
    /// # Errors
    /// [`ClientError`] when it does not come.
    pub(crate) fn next(&mut self, call: &Call<'_>) -> Result<Range<usize>, ClientError> {
        let received = match &mut self.connection {
            Some(connection) => connection.receive(call.deadline),
            None => Err(ReceiveError::Failed(Failed::HungUp)),
        };
        received.map_err(|error| {
            self.connection = None;
            match error {
                ReceiveError::Oversized(oversized) => self.protocol(oversized),
                ReceiveError::Failed(failed) => {
                    // Its request was sent and part of the answer has come: it is not asked again.
                    self.given_up(&failed, Past { unanswered: true, ..call.past() })
                }
            }
        })
    }

    /// Reads a response out of the connection.
    ///
    /// # Errors
    /// [`ClientError::Protocol`] for anything else.
    pub(crate) fn response(&self, payload: Range<usize>) -> Result<Response<'_>, ClientError> {
        let bytes = self.connection.as_ref().map_or(&[][..], |c| c.payload(payload));
        Response::from_payload(bytes).map_err(|error| self.protocol(error))
    }

    /// The error of an answer that is none.
    pub(crate) fn protocol(&self, why: impl fmt::Display) -> ClientError {
        ClientError::Protocol { looked: self.looked.clone(), why: why.to_string() }
    }

    /// The error of an answer that came too late to be told.
    pub(crate) fn forgotten(&self) -> ClientError {
        ClientError::Unknown { looked: self.looked.clone(), why: Unknown::Forgotten }
    }

    /// Connects, unless there is a connection.
    ///
    /// # Errors
    /// [`ClientError::NoDaemon`].
    pub(crate) fn connect(&mut self, call: &mut Call<'_>) -> Result<(), ClientError> {
        loop {
            match self.connected(call) {
                Ok(connection) => {
                    self.connection = Some(connection);
                    return Ok(());
                }
                Err(failed) => self.wait_after(failed, call)?,
            }
        }
    }

    fn connected(&mut self, call: &mut Call<'_>) -> Result<Connection, Failed> {
        if let Some(connection) = self.connection.take().filter(Connection::is_idle) {
            call.connected = true;
            return Ok(connection);
        }
        let deadline = match call.on_wait {
            Some(_) => call.deadline.sooner(Deadline::after(CONNECT_PATIENT_MAX)),
            None => call.deadline,
        };
        let connection = Connection::open(self.looked.path(), deadline);
        let connection = connection.map_err(Failed::Connect)?;
        call.connected = true;
        Ok(connection)
    }

    fn attempt(
        &mut self,
        message: &[u8],
        call: &mut Call<'_>,
    ) -> Result<Range<usize>, ReceiveError> {
        let connection = self.connected(call).map_err(ReceiveError::Failed)?;
        let connection = self.connection.insert(connection);
        if let Err(failed) = connection.send(message, call.deadline) {
            return match retry::after(&failed, call.past()) {
                Next::ReceiveFirst => match connection.receive(call.deadline) {
                    Err(ReceiveError::Failed(_)) => Err(ReceiveError::Failed(Failed::HungUp)),
                    received => received,
                },
                Next::Again | Next::NoDaemon | Next::Unknown => Err(ReceiveError::Failed(failed)),
            };
        }
        call.unanswered = call.unanswered.saturating_add(1);
        let payload = connection.receive(call.deadline)?;
        call.unanswered = call.unanswered.saturating_sub(1);
        Ok(payload)
    }

    /// The refusal of a daemon that may do the same request in a moment.
    fn not_now(&self, payload: &Range<usize>) -> Result<Option<ClientError>, ClientError> {
        let Response::Error { code, message } = self.response(payload.clone())? else {
            return Ok(None);
        };
        let code = ErrorCode::from(code);
        let message = message.into_owned();
        Ok((code == ErrorCode::Busy).then_some(ClientError::Refused { code, message }))
    }

    /// Waits before the next attempt, if there is to be one.
    ///
    /// # Errors
    /// [`ClientError`] if there is to be none.
    pub(crate) fn wait_after(
        &self,
        failed: Failed,
        call: &mut Call<'_>,
    ) -> Result<(), ClientError> {
        let mut next = retry::after(&failed, call.past());
        if next == Next::Again {
            let wait = call.waits.next();
            if wait.is_zero() {
                return Ok(());
            }
            if let Some(on_wait) = &mut call.on_wait {
                on_wait(&self.no_daemon(&failed));
            }
            clock::pause(wait.min(call.deadline.left().unwrap_or_default()));
            // When this was the last of the time, it is this failure that is to be told.
            next = retry::after(&failed, call.past());
        }
        if next == Next::Again { Ok(()) } else { Err(self.given_up(&failed, call.past())) }
    }

    /// Waits before the next attempt after a refusal that may pass.
    ///
    /// # Errors
    /// [`ClientError`] if there is no time left for one.
    pub(crate) fn wait_after_refusal(
        &self,
        refusal: ClientError,
        call: &mut Call<'_>,
    ) -> Result<(), ClientError> {
        let wait = call.waits.next().max(WAIT_BUSY_MIN);
        // Busy for a moment is not worth a word.
        if let Some(on_wait) = call.on_wait.as_mut().filter(|_| wait >= Waits::MAX) {
            on_wait(&refusal);
        }
        if let Some(left) = call.deadline.left() {
            clock::pause(wait.min(left));
        }
        match call.deadline.left() {
            Some(_) => Ok(()),
            None if call.unanswered > 0 => Err(self.unknown(&Failed::HungUp, call.kind)),
            None => Err(refusal),
        }
    }

    /// The error of a call that is given up after this failure.
    pub(crate) fn given_up(&self, failed: &Failed, past: Past) -> ClientError {
        match retry::after(failed, Past { time_left: false, ..past }) {
            Next::Unknown => self.unknown(failed, past.kind),
            Next::NoDaemon | Next::ReceiveFirst | Next::Again => self.no_daemon(failed),
        }
    }

    fn no_daemon(&self, failed: &Failed) -> ClientError {
        let why = match failed {
            Failed::Connect(error) if timed_out(error) => NoDaemon::BacklogFull,
            Failed::Connect(error) => NoDaemon::Connect(copy(error)),
            Failed::Send(error) if timed_out(error) => NoDaemon::NotTaken,
            Failed::Send(error) => NoDaemon::Connect(copy(error)),
            Failed::Receive(_) | Failed::HungUp => NoDaemon::HungUp,
        };
        ClientError::NoDaemon { looked: self.looked.clone(), why }
    }

    fn unknown(&self, failed: &Failed, kind: Kind) -> ClientError {
        let why = match failed {
            Failed::Receive(error) if timed_out(error) => match kind {
                Kind::Read => Unknown::TimedOutReading,
                Kind::Incr | Kind::Change => Unknown::TimedOut,
            },
            Failed::Receive(error) if !hung_up(error) => Unknown::Receive(copy(error)),
            Failed::Receive(_) | Failed::Connect(_) | Failed::Send(_) | Failed::HungUp => {
                Unknown::HungUp
            }
        };
        ClientError::Unknown { looked: self.looked.clone(), why }
    }
}

/// An error of the system is its number.
fn copy(error: &io::Error) -> io::Error {
    error.raw_os_error().map_or_else(|| error.kind().into(), io::Error::from_raw_os_error)
}

fn hung_up(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::CONNRESET | Errno::PIPE | Errno::NOTCONN))
}

fn timed_out(error: &io::Error) -> bool {
    Errno::from_io_error(error) == Some(Errno::AGAIN)
}
