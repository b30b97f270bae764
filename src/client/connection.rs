//! A connection to a daemon: frames out, frames in. A frame's claimed length is checked before there is
//! memory for it. What the frames mean, and what to do when one does not come, is decided elsewhere.

use std::ops::Range;
use std::path::Path;
use std::{fmt, io};

use crate::client::retry::Failed;
use crate::frame::{self, Oversized, PAYLOAD_BYTES_MAX};
use crate::protocol::HELLO_BYTES;
use crate::system::connect::{Deadline, Socket};

/// What is read at a time when it is not known how much is to come.
const READ_BYTES: usize = 1024;

/// A connected daemon.
#[derive(Debug)]
pub(crate) struct Connection {
    socket: Socket,
    greeted: bool,
    /// A message that is sent piece by piece, and how much of it is out.
    outgoing: Vec<u8>,
    sent: usize,
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
    /// Connects, waiting for a place in the daemon's backlog.
    pub(crate) fn open(path: &Path, deadline: Deadline) -> io::Result<Connection> {
        let socket = Socket::connect(path, deadline)?;
        let (outgoing, held) = (Vec::new(), Vec::new());
        Ok(Connection { socket, greeted: false, outgoing, sent: 0, held, next: 0 })
    }

    /// Whether the connection can be used for another request.
    pub(crate) fn is_idle(&self) -> bool {
        self.next == self.held.len() && self.socket.is_quiet()
    }

    /// Sends a hello and a frame, in one write; the hello only the first time.
    pub(crate) fn send(&mut self, message: &[u8], deadline: Deadline) -> Result<(), Failed> {
        let bytes = message.get(self.skipped()..).unwrap_or_default();
        self.socket.send(bytes, deadline).map_err(|error| Failed::Send(error.cause))
    }

    /// Takes a message of a hello and a frame for [`Connection::send_some`]. The one before must be out.
    pub(crate) fn queue(&mut self, message: Vec<u8>) {
        debug_assert!(!self.is_sending());
        self.sent = self.skipped();
        self.outgoing = message;
    }

    /// Whether a message is not out yet.
    pub(crate) fn is_sending(&self) -> bool {
        self.sent < self.outgoing.len()
    }

    /// Sends what the socket takes now of the message.
    pub(crate) fn send_some(&mut self) -> Result<(), Failed> {
        while let Some(rest) = self.outgoing.get(self.sent..).filter(|rest| !rest.is_empty()) {
            match self.socket.send_some(rest) {
                Ok(sent) => self.sent = self.sent.saturating_add(sent),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(Failed::Send(error)),
            }
        }
        Ok(())
    }

    /// The socket, to wait for.
    pub(crate) fn socket(&self) -> &Socket {
        &self.socket
    }

    /// How much of a message goes without saying: the hello, after the first time.
    fn skipped(&mut self) -> usize {
        if std::mem::replace(&mut self.greeted, true) { HELLO_BYTES } else { 0 }
    }

    /// Receives a frame; [`Connection::payload`] has its payload until the next is received.
    pub(crate) fn receive(&mut self, deadline: Deadline) -> Result<Range<usize>, ReceiveError> {
        loop {
            if let Some(payload) = self.received().map_err(ReceiveError::Oversized)? {
                return Ok(payload);
            }
            let received = self.fill(|socket, room| socket.receive(room, deadline));
            received.map_err(ReceiveError::Failed)?;
        }
    }

    /// The next frame that has come whole; [`Connection::payload`] has its payload until the next.
    pub(crate) fn received(&mut self) -> Result<Option<Range<usize>>, Oversized> {
        self.held.drain(..self.next);
        self.next = 0;
        let payload = frame::first(&self.held)?;
        self.next = payload.as_ref().map_or(0, |payload| payload.end);
        Ok(payload)
    }

    /// Receives what is there now, if anything is.
    pub(crate) fn receive_some(&mut self) -> Result<(), Failed> {
        match self.fill(|socket, room| socket.receive_some(room)) {
            Err(Failed::Receive(error)) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            received => received,
        }
    }

    /// Takes more bytes in, behind those of frames that were not handed out.
    fn fill(
        &mut self,
        receive: impl FnOnce(&mut Socket, &mut [u8]) -> io::Result<usize>,
    ) -> Result<(), Failed> {
        let filled = self.held.len();
        // Bounded: the length that is claimed has been checked, or is when the first frame is looked for.
        let claimed = frame_bytes(&self.held).min(PAYLOAD_BYTES_MAX + frame::HEADER_BYTES);
        let room = claimed.saturating_sub(filled).max(READ_BYTES);
        self.held.resize(filled + room, 0);
        let free = self.held.get_mut(filled..).unwrap_or_default();
        let received = receive(&mut self.socket, free);
        self.held.truncate(filled + *received.as_ref().unwrap_or(&0));
        match received {
            Ok(0) => Err(Failed::HungUp),
            Ok(_) => Ok(()),
            Err(error) => Err(Failed::Receive(error)),
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
