//! Many increments over a long time: added up by name, and sent in batches, each one request of a session.
//! A [`Stream`] outlasts its daemon: it repeats a batch under its id until it is answered. It reads no
//! input and no clock for when to send: whoever feeds it says so. Up to
//! [`ANSWERS_PER_SESSION`](crate::ids::ANSWERS_PER_SESSION) requests are in flight; what their answers mean
//! is decided by `InFlight`. It never waits to send while there is something to receive, so that neither
//! end can hold up the other.

use std::os::fd::BorrowedFd;
use std::time::Duration;

use rustix::io::Errno;

use crate::client::SocketPath;
use crate::client::batch::Batch;
pub use crate::client::batch::RefusedLines;
use crate::client::call::{Call, Link, message};
use crate::client::error::{ClientError, NoDaemon, Unknown};
use crate::client::in_flight::{Heard, InFlight};
use crate::client::plain::{NameHasher, Plain};
use crate::client::retry::{self, Failed, Kind, Next, Waits};
pub use crate::client::sums::Full;
use crate::client::sums::Sums;
use crate::protocol::Request;
use crate::system::connect::{Deadline, wait};
use crate::system::{clock, random};

/// How long no answer comes before it is said that one is waited for.
const QUIET_MAX: Duration = Duration::from_secs(1);

/// A stream of increments to one daemon.
pub struct Stream {
    link: Link,
    patience: Option<Duration>,
    /// What was added and is not to be sent yet.
    sums: Sums,
    in_flight: InFlight<Batch>,
    /// Empty ones that were sent, kept for their memory.
    spare: Vec<Batch>,
    answered: Answered,
    waits: Waits,
    /// When waiting for an answer is given up.
    give_up: Deadline,
    /// When it is said that an answer is waited for.
    quiet: Deadline,
    /// That has been said, and none has come since.
    stalled: bool,
    /// The connection takes no more; answers may still come.
    closing: bool,
}

/// What was answered.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Answered {
    /// How many increments, those that were refused among them.
    pub lines: u64,
    /// What was refused; the rest is counted.
    pub refused: Vec<RefusedLines>,
}

impl Stream {
    /// Connects to the daemon at `socket`, waiting up to `timeout` where a wait may help. Later waits
    /// for a daemon that is gone last up to `patience`, or for ever.
    ///
    /// # Errors
    /// [`ClientError::NoDaemon`] and [`ClientError::System`].
    pub fn connect(
        socket: SocketPath,
        timeout: Duration,
        patience: Option<Duration>,
    ) -> Result<Stream, ClientError> {
        let session = random::session().map_err(ClientError::System)?;
        let mut link = Link { looked: socket, one_request: false, connection: None };
        link.connect(&mut Call::new(Kind::Incr, Deadline::after(timeout)))?;
        Ok(Stream {
            link,
            patience,
            sums: Sums::default(),
            spare: Vec::new(),
            in_flight: InFlight::new(session),
            answered: Answered::default(),
            waits: Waits::default(),
            give_up: Deadline::never(),
            quiet: Deadline::never(),
            stalled: false,
            closing: false,
        })
    }

    /// Adds an increment. `name` is canonical; `line` is a number by which the caller knows it again when it
    /// is refused.
    ///
    /// # Errors
    /// [`Full`] when what was added has to be sent first; nothing was added then.
    pub fn add(&mut self, name: &str, amount: u64, line: u64) -> Result<(), Full> {
        self.sums.add(name, amount, line)
    }

    /// Adds those lines of a group whose names were added to before, spelled as they are now, so that nobody need look
    /// at them again; the first of the group has this number. Returns which are left, as bits, the first lowest.
    pub fn add_known(&mut self, group: &[Plain<'_>], first_line: u64) -> u32 {
        self.sums.add_known(group, first_line)
    }

    /// What the names of a group are to be hashed by.
    pub fn hasher(&self) -> NameHasher {
        self.sums.hasher()
    }

    /// Whether something was added that is not sent.
    pub fn is_due(&self) -> bool {
        !self.sums.is_empty()
    }

    /// How many increments were added and not answered.
    pub fn lines(&self) -> u64 {
        let batches = self.in_flight.contents();
        batches.map(Batch::lines).fold(self.sums.lines(), u64::saturating_add)
    }

    /// What was answered since this was asked last.
    pub fn answered(&mut self) -> Answered {
        std::mem::take(&mut self.answered)
    }

    /// Sends what was added, and waits for no answer but as many as make room for it; that, and for a daemon
    /// that is gone, as long as it takes or the stream's patience lasts without an answer. `on_wait` is told when
    /// it waits for a daemon, and why.
    ///
    /// # Errors
    /// [`ClientError`] as for [`Client::incr`](crate::client::Client::incr); nothing of what was added and
    /// not answered is forgotten then, and the stream is at its end.
    pub fn send(&mut self, on_wait: &mut dyn FnMut(&ClientError)) -> Result<(), ClientError> {
        while !self.sums.is_empty() {
            while !self.in_flight.has_room() {
                self.exchange(None, Deadline::never(), on_wait)?;
            }
            let first = self.in_flight.is_empty();
            let mut batch = self.spare.pop().unwrap_or_default();
            self.sums.take(&mut batch);
            self.in_flight.push(batch, clock::boot_ns());
            if first {
                self.note_progress();
                // It may have hung up since, unnoticed.
                self.reconnect(on_wait)?;
            }
            self.transmit(on_wait)?;
        }
        Ok(())
    }

    /// Sends and receives until `input` can be read, it is `until`, or something is answered; says whether
    /// the input can be read. It is left alone while the daemon is gone or as much is in flight as may be.
    ///
    /// # Errors
    /// As [`Stream::send`], and [`ClientError::System`].
    pub fn wait(
        &mut self,
        input: BorrowedFd<'_>,
        until: Deadline,
        on_wait: &mut dyn FnMut(&ClientError),
    ) -> Result<bool, ClientError> {
        self.exchange(Some(input), until, on_wait)
    }

    /// Sends what was added and waits for all answers, each as [`Stream::send`] does.
    ///
    /// # Errors
    /// As [`Stream::send`].
    pub fn finish(&mut self, on_wait: &mut dyn FnMut(&ClientError)) -> Result<(), ClientError> {
        self.send(on_wait)?;
        while !self.in_flight.is_empty() {
            self.exchange(None, Deadline::never(), on_wait)?;
        }
        Ok(())
    }

    /// Waits once, and does what can be done then.
    fn exchange(
        &mut self,
        input: Option<BorrowedFd<'_>>,
        until: Deadline,
        on_wait: &mut dyn FnMut(&ClientError),
    ) -> Result<bool, ClientError> {
        if self.in_flight.is_empty() {
            return Ok(wait(input, None, until).map_err(ClientError::System)?.input);
        }
        if self.link.connection.is_none() {
            self.reconnect(on_wait)?;
        }
        let input = input.filter(|_| self.in_flight.has_room() && !self.stalled);
        let until = until.sooner(self.give_up).sooner(self.quiet);
        let more = !self.closing && self.in_flight.next_to_send().is_some();
        let socket = self.link.connection.as_ref().map(|connection| (connection.socket(), more));
        let ready = wait(input, socket, until);
        let ready = ready.map_err(|error| self.given_up(&Failed::Receive(error)))?;
        if ready.receive {
            self.receive(on_wait)?;
        } else if self.give_up.left().is_none() {
            return Err(self.timed_out());
        } else if self.quiet.left().is_none() {
            self.quiet = Deadline::after(QUIET_MAX);
            self.stalled = true;
            let looked = self.link.looked.clone();
            on_wait(&ClientError::NoDaemon { looked, why: NoDaemon::NotAnswering });
        }
        if ready.send {
            self.transmit(on_wait)?;
        }
        Ok(ready.input)
    }

    /// Sends what the socket takes now.
    fn transmit(&mut self, on_wait: &mut dyn FnMut(&ClientError)) -> Result<(), ClientError> {
        while !self.closing {
            let Some(connection) = &mut self.link.connection else { return Ok(()) };
            if !connection.is_sending() {
                let Some((id, batch)) = self.in_flight.next_to_send() else { return Ok(()) };
                let entries = batch.entries();
                let request = Request::Incr { id, atomic: false, totals: false, entries };
                connection.queue(message(&request, false)?);
            }
            match connection.send_some() {
                Ok(()) if connection.is_sending() => return Ok(()),
                Ok(()) => self.in_flight.sent(),
                Err(failed) => {
                    let past = self.call(on_wait).past();
                    match retry::after(&failed, past) {
                        Next::ReceiveFirst => self.closing = true,
                        Next::Again | Next::NoDaemon | Next::Unknown => {
                            return self.lost(failed, on_wait);
                        }
                    }
                }
            }
        }
        Ok(())
    }

    /// Receives what is there now.
    fn receive(&mut self, on_wait: &mut dyn FnMut(&ClientError)) -> Result<(), ClientError> {
        let Some(connection) = &mut self.link.connection else { return Ok(()) };
        if let Err(failed) = connection.receive_some() {
            return self.lost(failed, on_wait);
        }
        while let Some(connection) = &mut self.link.connection {
            let payload = match connection.received() {
                Ok(Some(payload)) => payload,
                Ok(None) => break,
                Err(oversized) => return Err(self.unreadable(self.link.protocol(oversized))),
            };
            let heard = match self.link.response(payload) {
                Ok(response) => self.in_flight.hear(response, clock::boot_ns()),
                Err(error) => return Err(self.unreadable(error)),
            };
            self.act(heard, on_wait)?;
        }
        Ok(())
    }

    fn act(
        &mut self,
        heard: Heard<Batch>,
        on_wait: &mut dyn FnMut(&ClientError),
    ) -> Result<(), ClientError> {
        match heard {
            Heard::Counted(mut batch, answer) => {
                self.answered.lines = self.answered.lines.saturating_add(batch.lines());
                self.answered.refused.extend(batch.refused(answer));
                batch.clear();
                self.spare.push(batch);
                self.note_progress();
                Ok(())
            }
            Heard::SendAgain => {
                self.link.connection = None;
                Ok(())
            }
            Heard::SendLater(refusal) => {
                self.link.connection = None;
                let mut call = self.call(on_wait);
                let waited = self.link.wait_after_refusal(refusal, &mut call);
                self.waits = call.waits();
                waited
            }
            Heard::Forgotten => Err(self.link.forgotten()),
            Heard::Refused(refusal) => Err(refusal),
            Heard::Unasked => {
                let why = "its answer belongs to another question";
                Err(self.unreadable(self.link.protocol(why)))
            }
        }
    }

    /// The connection is no more: all that is in flight is sent again over another.
    fn lost(
        &mut self,
        failed: Failed,
        on_wait: &mut dyn FnMut(&ClientError),
    ) -> Result<(), ClientError> {
        self.link.connection = None;
        self.in_flight.connection_lost();
        let mut call = self.call(on_wait);
        let waited = self.link.wait_after(failed, &mut call);
        self.waits = call.waits();
        waited
    }

    fn reconnect(&mut self, on_wait: &mut dyn FnMut(&ClientError)) -> Result<(), ClientError> {
        self.closing = false;
        let mut call = self.call(on_wait);
        let connected = self.link.connect(&mut call);
        self.waits = call.waits();
        self.quiet = Deadline::after(QUIET_MAX);
        connected
    }

    fn call<'a>(&self, on_wait: &'a mut dyn FnMut(&ClientError)) -> Call<'a> {
        Call::patient(self.give_up, self.in_flight.is_uncertain(), self.waits, on_wait)
    }

    fn note_progress(&mut self) {
        self.give_up = self.patience.map_or_else(Deadline::never, Deadline::after);
        self.quiet = Deadline::after(QUIET_MAX);
        self.waits = Waits::default();
        self.stalled = false;
    }

    /// The error of an answer that did not come in time.
    fn timed_out(&self) -> ClientError {
        let waited = Errno::AGAIN.into();
        let awaited = self.in_flight.is_awaited();
        self.given_up(&if awaited { Failed::Receive(waited) } else { Failed::Send(waited) })
    }

    fn given_up(&self, failed: &Failed) -> ClientError {
        self.link.given_up(failed, self.call(&mut |_| {}).past())
    }

    /// What came back does not tell what became of what was sent.
    fn unreadable(&self, error: ClientError) -> ClientError {
        if let ClientError::Protocol { looked, why } = &error
            && self.in_flight.is_uncertain()
        {
            let (looked, why) = (looked.clone(), Unknown::Unreadable(why.clone()));
            return ClientError::Unknown { looked, why };
        }
        error
    }
}
