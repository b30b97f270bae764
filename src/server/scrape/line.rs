//! A connection of a scraper: a request is read, waits for a sight of the counters, and is answered; then comes the
//! next. Never does it block, hold more than a little, or last longer than its limits allow.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, Shutdown, recv, send, shutdown};

use super::body::Body;
use super::http::{self, HEAD_BYTES_MAX, Head, Request, Status, Wants};
use crate::format::prometheus::view::View;
use crate::format::prometheus::{Collisions, Dialect};

/// How long a connection may be idle, in nanoseconds: longer than scrapes are apart.
const IDLE_NS: u64 = 300_000_000_000;
/// From the first byte of a request to its last.
const READING_NS: u64 = 10_000_000_000;
/// How long a request waits for its sight.
const WAITING_NS: u64 = 30_000_000_000;
/// How long a client may take nothing of its response.
const STALLED_NS: u64 = 10_000_000_000;
/// How long it may take over all of it.
const SENDING_NS: u64 = 60_000_000_000;
/// After so long of that it gives way to others: most scrapers wait 10 s.
const SLOW_NS: u64 = 5_000_000_000;
/// How long a client gets to hang up after its last response.
const ENDING_NS: u64 = 1_000_000_000;
/// Bytes taken in at a time.
const READ_BYTES: usize = 4 << 10;

/// A connection.
#[derive(Debug)]
pub(super) struct Line {
    socket: OwnedFd,
    /// What came in and was not looked at.
    input: Vec<u8>,
    output: Vec<u8>,
    sent: usize,
    state: State,
    /// When it is ended unless something happens, by `CLOCK_BOOTTIME`.
    until_ns: u64,
    /// When it is ended whatever happens.
    ends_ns: u64,
}

#[derive(Debug)]
enum State {
    Reading,
    Waiting(Request),
    /// What is in the output, then the rest of the body.
    Sending {
        body: Option<Body>,
        goes_on: bool,
    },
    /// It has all, and is to hang up.
    Ending,
}

/// What becomes of a connection.
#[derive(Debug)]
pub(super) enum Fate {
    /// It waits for its client, or for a sight.
    Waits,
    /// It could go on at once; others come first.
    GoesOn,
    /// All of a response with metrics is made, without these counters; it could go on at once.
    Scraped(Collisions),
    Over,
}

impl Line {
    pub(super) fn new(socket: OwnedFd, now_ns: u64) -> Line {
        let mut line = Line {
            socket,
            input: Vec::new(),
            output: Vec::new(),
            sent: 0,
            state: State::Reading,
            until_ns: 0,
            ends_ns: u64::MAX,
        };
        line.until_ns = now_ns.saturating_add(IDLE_NS);
        line
    }

    pub(super) fn deadline_ns(&self) -> u64 {
        self.until_ns.min(self.ends_ns)
    }

    /// Whether it can be ended to make room, now or from some moment on: at once if it has asked for nothing, or has its
    /// answer.
    pub(super) fn dispensable_at_ns(&self) -> Option<u64> {
        match self.state {
            State::Reading | State::Ending => Some(0),
            State::Waiting(_) => None,
            State::Sending { .. } => {
                Some(self.ends_ns.saturating_sub(SENDING_NS).saturating_add(SLOW_NS))
            }
        }
    }

    /// Whether it holds a sight.
    pub(super) fn has_view(&self) -> bool {
        matches!(self.state, State::Sending { body: Some(_), .. })
    }

    pub(super) fn is_waiting(&self) -> bool {
        matches!(self.state, State::Waiting(_))
    }

    /// Does one thing that can be done without waiting.
    pub(super) fn step(&mut self, now_ns: u64, created: bool) -> Fate {
        match &mut self.state {
            State::Reading => self.read(now_ns, created),
            State::Waiting(_) => Fate::Waits,
            State::Sending { .. } => self.send(now_ns),
            State::Ending => self.drain(),
        }
    }

    /// Gives a request that waits what it asks for.
    pub(super) fn show(&mut self, view: &Arc<View>, now_ns: u64) {
        let State::Waiting(mut request) = self.state else { return };
        if !view.fits_open_metrics() {
            request.dialect = Dialect::Text;
        }
        let body = Body::new(Arc::clone(view), request.dialect, request.gzip, request.coding());
        self.answer(http::metrics_head(&request), Some(body), request.goes_on, now_ns);
    }

    /// Its time is up. Returns whether it is over, or has still something to say.
    pub(super) fn time_out(&mut self, now_ns: u64) -> Fate {
        let status = match self.state {
            State::Reading if !self.input.is_empty() => Status::TimedOut,
            State::Waiting(_) => Status::Busy,
            State::Reading | State::Sending { .. } | State::Ending => return Fate::Over,
        };
        self.refuse(status, now_ns);
        Fate::GoesOn
    }

    fn read(&mut self, now_ns: u64, created: bool) -> Fate {
        match http::read(&self.input, created) {
            Head::Whole(request, length) => {
                self.input.drain(..length);
                self.take(request, now_ns);
                return Fate::GoesOn;
            }
            Head::Bad(status) => {
                self.refuse(status, now_ns);
                return Fate::GoesOn;
            }
            Head::Partial => {}
        }
        let mut buffer = [0; READ_BYTES];
        let room = HEAD_BYTES_MAX.saturating_sub(self.input.len()).min(READ_BYTES);
        match recv(&self.socket, buffer.get_mut(..room).unwrap_or_default(), RecvFlags::empty()) {
            Ok((0, _)) => Fate::Over,
            Ok((read, _)) => {
                if self.input.is_empty() {
                    self.until_ns = now_ns.saturating_add(READING_NS);
                }
                self.input.extend_from_slice(buffer.get(..read).unwrap_or_default());
                Fate::GoesOn
            }
            Err(Errno::INTR) => Fate::GoesOn,
            Err(Errno::AGAIN) => Fate::Waits,
            Err(_) => Fate::Over,
        }
    }

    fn take(&mut self, request: Request, now_ns: u64) {
        match request.wants {
            Wants::Answer(status) => {
                let response = status.response(request.head_only, request.goes_on);
                self.answer(response, None, request.goes_on, now_ns);
            }
            Wants::Metrics if request.head_only => {
                self.answer(http::metrics_head(&request), None, request.goes_on, now_ns);
            }
            Wants::Metrics => {
                self.until_ns = now_ns.saturating_add(WAITING_NS);
                self.state = State::Waiting(request);
            }
        }
    }

    /// The last answer on this connection: what follows cannot be understood, or has taken too long.
    fn refuse(&mut self, status: Status, now_ns: u64) {
        self.answer(status.response(false, false), None, false, now_ns);
    }

    fn answer(&mut self, output: Vec<u8>, body: Option<Body>, goes_on: bool, now_ns: u64) {
        (self.output, self.sent) = (output, 0);
        self.until_ns = now_ns.saturating_add(STALLED_NS);
        self.ends_ns = now_ns.saturating_add(SENDING_NS);
        self.state = State::Sending { body, goes_on };
    }

    fn send(&mut self, now_ns: u64) -> Fate {
        let rest = self.output.get(self.sent..).unwrap_or_default();
        if !rest.is_empty() {
            return match send(&self.socket, rest, SendFlags::NOSIGNAL) {
                Ok(sent) => {
                    self.sent = self.sent.saturating_add(sent);
                    self.until_ns = now_ns.saturating_add(STALLED_NS);
                    Fate::GoesOn
                }
                Err(Errno::INTR) => Fate::GoesOn,
                Err(Errno::AGAIN) => Fate::Waits,
                Err(_) => Fate::Over,
            };
        }
        let State::Sending { body, goes_on } = &mut self.state else { return Fate::Waits };
        self.output.clear();
        self.sent = 0;
        if let Some(rest) = body {
            return match rest.write_piece(&mut self.output) {
                Ok(false) => Fate::GoesOn,
                Ok(true) => {
                    let collisions = rest.collisions().clone();
                    *body = None;
                    Fate::Scraped(collisions)
                }
                Err(_) => Fate::Over,
            };
        }
        self.output = Vec::new();
        self.ends_ns = u64::MAX;
        if *goes_on {
            let limit_ns = if self.input.is_empty() { IDLE_NS } else { READING_NS };
            self.until_ns = now_ns.saturating_add(limit_ns);
            self.state = State::Reading;
            return Fate::GoesOn;
        }
        // Hanging up with something unread would take the response back.
        let _ = shutdown(&self.socket, Shutdown::Write);
        self.ends_ns = now_ns.saturating_add(ENDING_NS);
        self.state = State::Ending;
        Fate::GoesOn
    }

    fn drain(&mut self) -> Fate {
        let mut dropped = [0; READ_BYTES];
        match recv(&self.socket, &mut dropped[..], RecvFlags::empty()) {
            Ok((0, _)) => Fate::Over,
            Ok(_) | Err(Errno::INTR) => Fate::GoesOn,
            Err(Errno::AGAIN) => Fate::Waits,
            Err(_) => Fate::Over,
        }
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        if self.has_view() || self.sent < self.output.len() {
            // To HTTP/1.0 the end of the connection is that of the response: one that is broken off would be taken for a
            // whole one, and the number it ends in for another. A Unix socket knows no other end.
            let _ = rustix::net::sockopt::set_socket_linger(&self.socket, Some(Duration::ZERO));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{ErrorKind, Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::os::unix::net::UnixStream;

    use super::*;
    use crate::format::prometheus::Shown;
    use crate::format::prometheus::view::Sight;

    const SECOND: u64 = 1_000_000_000;

    /// A connection that begins at 0, and the client's end.
    fn pair() -> (Line, UnixStream) {
        let (client, server) = UnixStream::pair().unwrap();
        server.set_nonblocking(true).unwrap();
        (Line::new(server.into(), 0), client)
    }

    /// Steps until it waits or is over.
    fn go(line: &mut Line, now_ns: u64) -> Fate {
        loop {
            match line.step(now_ns, true) {
                Fate::GoesOn | Fate::Scraped(_) => {}
                fate @ (Fate::Waits | Fate::Over) => return fate,
            }
        }
    }

    #[test]
    fn a_request_that_does_not_come_whole_is_refused_in_time() {
        let (mut line, mut client) = pair();
        assert!(matches!(go(&mut line, 0), Fate::Waits));
        assert_eq!(line.deadline_ns(), IDLE_NS);
        client.write_all(b"GET /met").unwrap();
        assert!(matches!(go(&mut line, 5 * SECOND), Fate::Waits));
        // A byte now and then changes nothing.
        client.write_all(b"r").unwrap();
        assert!(matches!(go(&mut line, 9 * SECOND), Fate::Waits));
        assert_eq!(line.deadline_ns(), 15 * SECOND);
        assert!(matches!(line.time_out(15 * SECOND), Fate::GoesOn));
        assert!(matches!(go(&mut line, 15 * SECOND), Fate::Waits));
        let mut said = String::new();
        client.read_to_string(&mut said).unwrap();
        assert!(said.starts_with("HTTP/1.1 408 "), "{said}");
        // It is not waited for long when it does not hang up.
        assert_eq!(line.deadline_ns(), 16 * SECOND);
        assert!(matches!(line.time_out(16 * SECOND), Fate::Over));
    }

    #[test]
    fn an_idle_connection_is_ended_without_a_word() {
        let (mut line, _client) = pair();
        assert!(matches!(line.time_out(IDLE_NS), Fate::Over));
    }

    #[test]
    fn a_request_that_gets_no_sight_is_told_to_come_again() {
        let (mut line, mut client) = pair();
        client.write_all(b"GET /metrics HTTP/1.1\r\n\r\n").unwrap();
        assert!(matches!(go(&mut line, 0), Fate::Waits));
        assert!(line.is_waiting() && line.dispensable_at_ns().is_none());
        assert!(matches!(line.time_out(WAITING_NS), Fate::GoesOn));
        go(&mut line, WAITING_NS);
        let mut said = String::new();
        client.read_to_string(&mut said).unwrap();
        assert!(said.starts_with("HTTP/1.1 503 ") && said.contains("Retry-After"), "{said}");
    }

    #[test]
    fn a_response_that_is_broken_off_does_not_end_like_a_whole_one() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        for breaks_off in [false, true] {
            let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let (server, _) = listener.accept().unwrap();
            server.set_nonblocking(true).unwrap();
            let mut line = Line::new(server.into(), 0);
            client.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").unwrap();
            while !line.is_waiting() {
                line.step(0, true);
            }
            line.show(&Arc::new(View::of(Sight::default(), &Shown::default())), 0);
            if breaks_off {
                line.step(0, true);
            } else {
                go(&mut line, 0);
            }
            drop(line);
            let read = client.read_to_end(&mut Vec::new());
            let expected = breaks_off.then_some(ErrorKind::ConnectionReset);
            assert_eq!(read.err().map(|error| error.kind()), expected);
        }
    }

    #[test]
    fn a_client_that_takes_its_response_byte_by_byte_is_hung_up_on() {
        let (mut line, mut client) = pair();
        // More requests than answers to them find room to wait in.
        line.input = b"GET /x HTTP/1.1\r\n\r\n".repeat(100_000);
        assert!(matches!(go(&mut line, 0), Fate::Waits));
        assert_eq!(line.deadline_ns(), STALLED_NS);
        client.read_exact(&mut [0; 9]).unwrap();
        assert_eq!(line.dispensable_at_ns(), Some(SLOW_NS));
        assert!(matches!(go(&mut line, 59 * SECOND), Fate::Waits | Fate::Over));
        assert!(line.deadline_ns() <= SENDING_NS);
        assert!(matches!(line.time_out(SENDING_NS), Fate::Over));
    }
}
