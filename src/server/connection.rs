//! One connection: the bytes that came in and are not yet a request, the answers that are not yet out, and
//! what it is allowed. It reads and writes through the network handed in, and decides nothing of counters.

use std::collections::VecDeque;
use std::io;
use std::ops::Range;

use super::network::Network;
use super::numbers::Why;
use crate::frame;
use crate::protocol::{ErrorCode, HELLO_BYTES, Hello, Response, VERSION, VERSION_OLDEST};
use crate::turn::snapshot::Snapshot;

/// Bytes read from one connection in a turn.
pub(super) const READ_MAX: usize = 256 << 10;
/// Bytes of answers that wait for one connection; above it, nothing more is read from it.
pub(super) const QUEUED_MAX: usize = 1 << 20;
/// Requests of one connection that are answered in a turn: an answer can be much longer than what asks for
/// it.
pub(super) const REQUESTS_MAX: usize = 64;

/// What is to be sent, in order.
#[derive(Debug)]
enum Outgoing {
    Bytes(Vec<u8>),
    Snapshot(Box<Snapshot>),
}

/// What became of a read or a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It goes on.
    Open,
    /// Nothing more will come, or go.
    Ended,
}

/// A connection to a client.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) number: u64,
    pub(super) uid: u32,
    /// The loop is told when it becomes ready.
    pub(super) watched: bool,
    /// It is looked at in this turn.
    pub(super) active: bool,
    /// It was told to send no more.
    pub(super) shut: bool,
    /// Bytes of its input that are counted in what all hold.
    pub(super) counted: usize,
    /// Bytes of its answers that are counted in what waits for all.
    pub(super) counted_queued: usize,
    /// So much waits for all that this one gets no more before it has taken what it has.
    pub(super) short: bool,
    /// Reading may find something.
    pub(super) readable: bool,
    writable: bool,
    /// When the first byte of what is incomplete came, by `CLOCK_BOOTTIME`.
    pub(super) incomplete_since_ns: Option<u64>,
    pub(super) last_active_ns: u64,
    hello: Option<Hello>,
    input: Vec<u8>,
    taken: usize,
    /// There may be whole requests in the input, left for the next turn.
    more: bool,
    outgoing: VecDeque<Outgoing>,
    /// Bytes of the first outgoing that are out.
    sent: usize,
    /// The other end has said that it sends no more: reading goes on until its end is read.
    ending: bool,
    /// The other end sends no more.
    ended: bool,
    /// Hang up when all answers are out.
    finishing: bool,
    /// Requests that were found and not answered yet.
    unanswered: usize,
    /// What is said last, after all answers: why the connection is hung up.
    refusal: Option<Response<'static>>,
    /// Why it was refused, until that is counted.
    pub(super) refused: Option<Why>,
    /// Since when what waits for it has not got any shorter, by `CLOCK_BOOTTIME`.
    pub(super) stalled_since_ns: Option<u64>,
    /// Since when no turn has left it idle, by `CLOCK_BOOTTIME`.
    pub(super) restless_since_ns: Option<u64>,
}

impl Connection {
    pub(super) fn new(number: u64, uid: u32, now_ns: u64) -> Connection {
        Connection {
            number,
            uid,
            watched: false,
            active: false,
            shut: false,
            counted: 0,
            counted_queued: 0,
            short: false,
            readable: true,
            writable: true,
            incomplete_since_ns: None,
            last_active_ns: now_ns,
            hello: None,
            input: Vec::new(),
            taken: 0,
            more: false,
            outgoing: VecDeque::new(),
            sent: 0,
            ending: false,
            ended: false,
            finishing: false,
            unanswered: 0,
            refusal: None,
            refused: None,
            stalled_since_ns: None,
            restless_since_ns: None,
        }
    }

    pub(super) fn now_readable(&mut self, ending: bool) {
        self.readable = true;
        self.ending |= ending;
    }

    pub(super) fn now_writable(&mut self) {
        self.writable = true;
    }

    /// Whether something would be read now.
    pub(super) fn wants_to_read(&self) -> bool {
        self.readable && !self.ended && !self.finishing && !self.more && self.has_room()
    }

    /// Whether requests that came in before can be answered now.
    pub(super) fn wants_to_go_on(&self) -> bool {
        self.more && self.unanswered == 0 && self.has_room()
    }

    /// Whether its answers are being taken, so that there may be more.
    fn has_room(&self) -> bool {
        let queued_max = if self.short { 1 } else { QUEUED_MAX };
        self.queued() < queued_max && self.unanswered < REQUESTS_MAX
    }

    /// Whether something could be written now.
    pub(super) fn wants_to_write(&self) -> bool {
        self.writable && !self.outgoing.is_empty()
    }

    /// Whether it holds nothing that anybody waits for, as far as is known.
    pub(super) fn is_idle(&self) -> bool {
        !self.readable && self.input.is_empty() && self.outgoing.is_empty() && self.unanswered == 0
    }

    /// Whether a request of it was read that cannot be answered yet.
    pub(super) fn is_answered_later(&self) -> bool {
        self.unanswered > 0
    }

    /// Since when it has been waited for: for the rest of a request, or to take its answers.
    pub(super) fn stuck_since_ns(&self) -> Option<u64> {
        if self.outgoing.is_empty() {
            self.incomplete_since_ns.filter(|_| !self.wants_to_read())
        } else {
            self.stalled_since_ns.filter(|_| !self.writable)
        }
    }

    /// Whether it can be hung up.
    pub(super) fn is_done(&self) -> bool {
        let answered = self.outgoing.is_empty()
            && self.unanswered == 0
            && self.refusal.is_none()
            && !self.more;
        answered && (self.finishing || self.ended)
    }

    /// Bytes that came in and are not yet requests.
    pub(super) fn held(&self) -> usize {
        self.input.len()
    }

    /// Snapshots that wait or are under way.
    pub(super) fn snapshots(&self) -> usize {
        self.outgoing.iter().filter(|out| matches!(out, Outgoing::Snapshot(_))).count()
    }

    pub(super) fn queued(&self) -> usize {
        let bytes = self.outgoing.iter().map(|out| match out {
            Outgoing::Bytes(bytes) => bytes.len(),
            Outgoing::Snapshot(_) => QUEUED_MAX,
        });
        bytes.fold(0, usize::saturating_add)
    }

    /// Reads what is there, up to the share of one turn, with a buffer that is shared by all.
    pub(super) fn read(&mut self, network: &mut dyn Network, buffer: &mut [u8]) -> Outcome {
        let mut share = READ_MAX;
        while share > 0 {
            let length = buffer.len().min(share);
            let Some(room) = buffer.get_mut(..length) else { break };
            match network.read(self.number, room) {
                Ok(0) => {
                    self.ended = true;
                    self.readable = false;
                    break;
                }
                Ok(n) => {
                    self.input.extend_from_slice(room.get(..n).unwrap_or_default());
                    share = share.saturating_sub(n);
                    if n < length && !self.ending {
                        self.readable = false;
                        break;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.readable = false;
                    break;
                }
                Err(_) => return Outcome::Ended,
            }
        }
        Outcome::Open
    }

    /// Finds the next request in what came in, of its share of this turn: the range of its payload. What
    /// cannot become one is answered and ends the connection.
    pub(super) fn next_request(&mut self, share: usize) -> Option<Range<usize>> {
        self.more = false;
        if self.finishing {
            return None;
        }
        if !self.has_room() || self.unanswered >= share {
            self.more = self.taken < self.input.len();
            return None;
        }
        let hello = match self.hello {
            Some(hello) => hello,
            None => self.take_hello()?,
        };
        match frame::first(self.input.get(self.taken..).unwrap_or_default()) {
            Ok(Some(payload)) => {
                let start = self.taken.saturating_add(payload.start);
                self.taken = self.taken.saturating_add(payload.end);
                self.finishing = hello.one_request;
                self.unanswered = self.unanswered.saturating_add(1);
                Some(start..self.taken)
            }
            Ok(None) => None,
            Err(oversized) => {
                self.refuse(Why::Oversized, &oversized.to_string());
                None
            }
        }
    }

    fn take_hello(&mut self) -> Option<Hello> {
        let bytes = self.input.first_chunk::<HELLO_BYTES>()?;
        match Hello::from_bytes(bytes) {
            Some(hello) if (VERSION_OLDEST..=VERSION).contains(&hello.version) => {
                self.taken = HELLO_BYTES;
                self.hello = Some(hello);
                Some(hello)
            }
            Some(hello) => {
                let message = format!(
                    "this client speaks version {} of the protocol, the daemon {VERSION}: \
                     use one countd for both",
                    hello.version
                );
                self.refuse(Why::OtherVersion, &message);
                None
            }
            None => {
                self.refuse(Why::NotCountd, "this is a countd socket: use the countd command");
                None
            }
        }
    }

    /// The payload that [`Connection::next_request`] found.
    pub(super) fn payload(&self, range: Range<usize>) -> &[u8] {
        self.input.get(range).unwrap_or_default()
    }

    /// Forgets the bytes of the requests that were found, and notes since when the rest is incomplete.
    pub(super) fn forget_taken(&mut self, now_ns: u64) {
        if self.finishing {
            self.taken = self.input.len();
        }
        if self.taken > 0 {
            self.last_active_ns = now_ns;
            self.incomplete_since_ns = None;
            self.input.drain(..self.taken);
            self.taken = 0;
        }
        if self.input.is_empty() {
            self.incomplete_since_ns = None;
            // An idle connection keeps no buffer.
            self.input = Vec::new();
        } else if self.more {
            // It waits for us, not for the other end.
            self.incomplete_since_ns = None;
        } else {
            self.incomplete_since_ns.get_or_insert(now_ns);
        }
    }

    /// Answers what was asked, then with this error, and hangs up after it.
    pub(super) fn refuse(&mut self, why: Why, message: &str) {
        self.refusal = Some(Response::error(why.code(), message.to_owned()));
        self.refused = Some(why);
        self.finishing = true;
        self.more = false;
        self.say_last();
    }

    fn say_last(&mut self) {
        if self.unanswered == 0
            && let Some(refusal) = self.refusal.take()
        {
            self.send(&refusal);
        }
    }

    /// Queues the answer to a request.
    pub(super) fn answer(&mut self, response: &Response<'_>) {
        self.unanswered = self.unanswered.saturating_sub(1);
        self.send(response);
        self.say_last();
    }

    /// Queues a snapshot as the answer to a request.
    pub(super) fn answer_with_snapshot(&mut self, snapshot: Box<Snapshot>) {
        self.unanswered = self.unanswered.saturating_sub(1);
        self.outgoing.push_back(Outgoing::Snapshot(snapshot));
        self.say_last();
    }

    /// Whether it waits for the answer of an earlier turn. What came in meanwhile is left for later.
    pub(super) fn is_waiting(&mut self) -> bool {
        if self.unanswered > 0 {
            self.more = !self.input.is_empty();
        }
        self.unanswered > 0
    }

    fn send(&mut self, response: &Response<'_>) {
        if !matches!(self.outgoing.back(), Some(Outgoing::Bytes(_))) {
            self.outgoing.push_back(Outgoing::Bytes(Vec::new()));
        }
        if let Some(Outgoing::Bytes(bytes)) = self.outgoing.back_mut()
            && let Err(error) = response.write(bytes)
        {
            let failed = Response::error(ErrorCode::Failed, error.to_string());
            let written = failed.write(bytes);
            debug_assert!(written.is_ok(), "a short message fits into a frame");
        }
    }

    /// Writes what it takes, and notes since when it takes nothing.
    pub(super) fn write(&mut self, network: &mut dyn Network, now_ns: u64) -> Outcome {
        let before = (self.outgoing.len(), self.sent);
        let outcome = self.write_some(network);
        if self.outgoing.is_empty() || self.writable {
            self.stalled_since_ns = None;
        } else if before != (self.outgoing.len(), self.sent) || self.stalled_since_ns.is_none() {
            self.stalled_since_ns = Some(now_ns);
        }
        if self.is_idle() {
            self.restless_since_ns = None;
        } else {
            self.restless_since_ns.get_or_insert(now_ns);
        }
        outcome
    }

    /// Of a snapshot one piece, so that others get their turn.
    fn write_some(&mut self, network: &mut dyn Network) -> Outcome {
        while self.writable {
            match self.outgoing.front_mut() {
                None => break,
                Some(Outgoing::Bytes(bytes)) => {
                    let rest = bytes.get(self.sent..).unwrap_or_default();
                    if rest.is_empty() {
                        self.outgoing.pop_front();
                        self.sent = 0;
                        let snapshot = matches!(self.outgoing.front(), Some(Outgoing::Snapshot(_)));
                        if snapshot { break } else { continue }
                    }
                    match network.write(self.number, rest) {
                        Ok(n) => {
                            self.writable = n == rest.len();
                            self.sent = self.sent.saturating_add(n);
                        }
                        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                            self.writable = false;
                        }
                        Err(_) => return Outcome::Ended,
                    }
                }
                Some(Outgoing::Snapshot(snapshot)) => {
                    let mut piece = Vec::new();
                    match snapshot.write_piece(&mut piece) {
                        Ok(false) => {}
                        Ok(true) => {
                            self.outgoing.pop_front();
                        }
                        Err(_) => return Outcome::Ended,
                    }
                    self.outgoing.push_front(Outgoing::Bytes(piece));
                }
            }
        }
        // A short write leaves the rest for the next readiness; all out leaves nothing.
        if let Some(Outgoing::Bytes(bytes)) = self.outgoing.front()
            && self.sent == bytes.len()
        {
            self.outgoing.pop_front();
            self.sent = 0;
        }
        Outcome::Open
    }
}
