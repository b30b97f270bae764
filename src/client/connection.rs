//! A connection to a daemon: frames out, frames in. A frame's claimed length is checked before there is
//! memory for it. What the frames mean, and what to do when one does not come, is decided elsewhere.

use std::ops::Range;
use std::path::Path;
use std::time::Duration;
use std::{fmt, io};

use crate::client::retry::Failed;
use crate::frame::{self, Oversized};
use crate::protocol::HELLO_BYTES;
use crate::system::connect::{Deadline, Socket};

/// What is read at a time when it is not known how much is to come.
const READ_BYTES: usize = 4096;

/// A connected daemon.
#[derive(Debug)]
pub(crate) struct Connection {
    socket: Socket,
    greeted: bool,
    held: Vec<u8>,
    /// Where what was not handed out yet begins in `held`.
    next: usize,
}

/// A frame that did not come.
#[derive(Debug)]
pub(crate) enum ReceiveError {
    /// The connection failed.
    Failed(Failed),
    /// The other side announced more than any countd sends.
    Oversized(Oversized),
}

impl fmt::Display for ReceiveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ReceiveError::Failed(failed) => write!(f, "{failed:?}"),
            ReceiveError::Oversized(oversized) => oversized.fmt(f),
        }
    }
}

impl Connection {
    /// Connects, waiting for a place in the daemon's backlog up to `wait`.
    pub(crate) fn open(path: &Path, wait: Duration) -> io::Result<Connection> {
        let socket = Socket::connect(path, wait)?;
        Ok(Connection { socket, greeted: false, held: Vec::new(), next: 0 })
    }

    /// Whether the connection can be used for another request.
    pub(crate) fn is_idle(&self) -> bool {
        self.next == self.held.len() && self.socket.is_quiet()
    }

    /// Sends a hello and a frame, in one write; the hello only the first time.
    pub(crate) fn send(&mut self, message: &[u8], deadline: Deadline) -> Result<(), Failed> {
        let skipped = if self.greeted { HELLO_BYTES } else { 0 };
        self.greeted = true;
        let bytes = message.get(skipped..).unwrap_or_default();
        self.socket.send(bytes, deadline).map_err(|error| Failed::Send(error.cause))
    }

    /// Receives a frame; [`Connection::payload`] has its payload until the next is received.
    pub(crate) fn receive(&mut self, deadline: Deadline) -> Result<Range<usize>, ReceiveError> {
        self.held.drain(..self.next);
        self.next = 0;
        loop {
            if let Some(payload) = frame::first(&self.held).map_err(ReceiveError::Oversized)? {
                self.next = payload.end;
                return Ok(payload);
            }
            let filled = self.held.len();
            // Bounded: the length that is claimed has just been checked.
            let room = frame_bytes(&self.held).saturating_sub(filled).max(READ_BYTES);
            self.held.resize(filled + room, 0);
            let free = self.held.get_mut(filled..).unwrap_or_default();
            let received = self.socket.receive(free, deadline);
            self.held.truncate(filled + *received.as_ref().unwrap_or(&0));
            match received {
                Ok(0) => return Err(ReceiveError::Failed(Failed::HungUp)),
                Ok(_) => {}
                Err(error) => return Err(ReceiveError::Failed(Failed::Receive(error))),
            }
        }
    }

    /// The bytes of a payload that was just received.
    pub(crate) fn payload(&self, range: Range<usize>) -> &[u8] {
        self.held.get(range).unwrap_or_default()
    }
}

/// The length of the frame that `bytes` begin, 0 while it is not known.
fn frame_bytes(bytes: &[u8]) -> usize {
    let claimed = bytes.first_chunk().map_or(0, |header| u32::from_le_bytes(*header));
    usize::try_from(claimed).map_or(0, |payload| payload.saturating_add(frame::HEADER_BYTES))
}
