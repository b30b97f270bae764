//! The seam between the loop and the sockets: readiness, connections, bytes. The real one polls with mio; a
//! test can hand in another. What the bytes mean is not its business.

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

use interprocess::local_socket::{Listener, Stream};
use interprocess::os::unix::uds_local_socket as uds;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token, Waker};
use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::SocketFlags;

use crate::system::listen::Listening;
use crate::system::signals::Signals;
use crate::system::spool::Watch;

/// What the loop should look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ready {
    /// Connections wait to be accepted.
    Listener,
    /// A connection has bytes to read.
    Readable(u64),
    /// A connection's other end sends no more, or there is an error: what is there is to be read up to its
    /// end. It may be told together with the last bytes, and is not told again.
    Ending(u64),
    /// A connection takes bytes again.
    Writable(u64),
    /// Another thread has news, or a stop was asked for.
    Woken,
    /// There was a SIGHUP.
    Hangup,
    /// Something came into the spool.
    Spool,
}

/// Who is to answer those that wait to be accepted when the server stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backlog {
    /// This server: nobody comes after it.
    Ours,
    /// The next one, at the same socket: there they wait, and others may join them.
    Left,
}

/// The sockets as the loop needs them. A connection has a number, which is never used again.
pub trait Network: Send {
    /// Waits until something is ready, at most this long, and says what. Readiness is told once: it holds
    /// until a read or a write comes short.
    ///
    /// # Errors
    /// When waiting itself fails.
    fn wait(&mut self, timeout: Option<Duration>, ready: &mut Vec<Ready>) -> io::Result<()>;

    /// Accepts a connection: its number and the uid at the other end.
    ///
    /// # Errors
    /// `WouldBlock` when none waits; others are the system's.
    fn accept(&mut self) -> io::Result<(u64, u32)>;

    /// Whether a connection waits to be accepted. Costs more than it is worth unless there is no room for one.
    fn somebody_waits(&self) -> bool;

    /// Tells from now on when this connection becomes ready.
    ///
    /// # Errors
    /// When the system refuses; the connection cannot be kept then.
    fn watch(&mut self, connection: u64) -> io::Result<()>;

    /// Reads from a connection; 0 is its end.
    ///
    /// # Errors
    /// `WouldBlock` when there is nothing; others end the connection.
    fn read(&mut self, connection: u64, buffer: &mut [u8]) -> io::Result<usize>;

    /// Writes to a connection.
    ///
    /// # Errors
    /// `WouldBlock` when it takes nothing now; others end the connection.
    fn write(&mut self, connection: u64, bytes: &[u8]) -> io::Result<usize>;

    /// Lets the other end send no more: what it has sent can still be read.
    fn shut_reading(&mut self, connection: u64);

    /// Hangs up.
    fn close(&mut self, connection: u64);

    /// Has no more of the listener: lets nobody new connect and leaves accepting those that wait to the
    /// server, or leaves them all at a socket that was handed over.
    fn stop_listening(&mut self) -> Backlog;
}

const LISTENER: Token = Token(0);
const WAKER: Token = Token(1);
const HANGUP: Token = Token(2);
const SPOOL: Token = Token(3);
/// Numbers below are tokens of other things.
const FIRST_CONNECTION: u64 = 4;
/// Events taken in at a time.
const EVENTS_MAX: usize = 1024;

/// A Unix socket, polled with mio.
#[derive(Debug)]
pub struct UnixNetwork {
    poll: Poll,
    events: Events,
    listening: Listening,
    signals: Option<Signals>,
    spool: Option<Watch>,
    connections: HashMap<u64, Connected, foldhash::fast::RandomState>,
    next: u64,
}

/// A connection and what of it is polled.
#[derive(Debug)]
struct Connected {
    stream: Stream,
    watched: bool,
    /// It once took less than there was for it. Most never do, and would only wake the loop to tell that they
    /// take something.
    filled: bool,
}

impl Connected {
    fn interest(&self) -> Interest {
        if self.filled { Interest::READABLE | Interest::WRITABLE } else { Interest::READABLE }
    }
}

impl UnixNetwork {
    /// Polls this socket, these signals and this watch. The waker wakes it from another thread.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn new(
        listening: Listening,
        signals: Option<Signals>,
        spool: Option<Watch>,
    ) -> io::Result<(UnixNetwork, Waker)> {
        let polled = register(&listening, signals.as_ref(), spool.as_ref());
        let (poll, waker) = polled.inspect_err(|_| listening.unlink())?;
        let network = UnixNetwork {
            poll,
            events: Events::with_capacity(EVENTS_MAX),
            listening,
            signals,
            spool,
            connections: HashMap::default(),
            next: FIRST_CONNECTION,
        };
        Ok((network, waker))
    }

    fn stream(&self, connection: u64) -> io::Result<&Stream> {
        let connected = self.connections.get(&connection);
        connected
            .map(|connected| &connected.stream)
            .ok_or_else(|| io::ErrorKind::NotConnected.into())
    }
}

impl Network for UnixNetwork {
    fn wait(&mut self, timeout: Option<Duration>, ready: &mut Vec<Ready>) -> io::Result<()> {
        match self.poll.poll(&mut self.events, timeout) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(()),
            Err(error) => return Err(error),
        }
        for event in &self.events {
            match event.token() {
                LISTENER => ready.push(Ready::Listener),
                WAKER => ready.push(Ready::Woken),
                HANGUP => {
                    if self.signals.as_ref().is_some_and(Signals::hung_up) {
                        ready.push(Ready::Hangup);
                    }
                }
                SPOOL => {
                    if self.spool.as_ref().is_some_and(Watch::heard) {
                        ready.push(Ready::Spool);
                    }
                }
                Token(number) => {
                    let number = u64::try_from(number).unwrap_or(u64::MAX);
                    if event.is_read_closed() || event.is_error() {
                        ready.push(Ready::Ending(number));
                    } else if event.is_readable() {
                        ready.push(Ready::Readable(number));
                    }
                    if event.is_writable() {
                        ready.push(Ready::Writable(number));
                    }
                }
            }
        }
        Ok(())
    }

    fn accept(&mut self) -> io::Result<(u64, u32)> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let fd = rustix::net::accept_with(socket(self.listening.listener()).as_fd(), flags)?;
        // A peer outside the daemon's pid namespace has the pid 0 here, for which interprocess and rustix have
        // no value; only the uid is wanted.
        let uid = getsockopt(&fd, PeerCredentials)?.uid();
        let stream = Stream::UdSocket(uds::Stream::from(fd));
        let number = self.next;
        self.next = self.next.wrapping_add(1);
        self.connections.insert(number, Connected { stream, watched: false, filled: false });
        Ok((number, uid))
    }

    fn somebody_waits(&self) -> bool {
        let fd = socket(self.listening.listener()).as_fd();
        let now = Timespec::default();
        poll(&mut [PollFd::new(&fd, PollFlags::IN)], Some(&now)).is_ok_and(|ready| ready > 0)
    }

    fn watch(&mut self, connection: u64) -> io::Result<()> {
        let connected = self.connections.get_mut(&connection).ok_or(io::ErrorKind::NotConnected)?;
        let Stream::UdSocket(ref stream) = connected.stream;
        let (fd, token) = (stream.as_fd().as_raw_fd(), token(connection));
        self.poll.registry().register(&mut SourceFd(&fd), token, connected.interest())?;
        connected.watched = true;
        Ok(())
    }

    fn read(&mut self, connection: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let stream = self.stream(connection)?;
        retry(|| io::Read::read(&mut &*stream, buffer))
    }

    fn write(&mut self, connection: u64, bytes: &[u8]) -> io::Result<usize> {
        let connected = self.connections.get_mut(&connection).ok_or(io::ErrorKind::NotConnected)?;
        // One plain write: it does not raise SIGPIPE, a vectored one would.
        let written = retry(|| io::Write::write(&mut &connected.stream, bytes));
        let short = match &written {
            Ok(length) => *length < bytes.len(),
            Err(error) => error.kind() == io::ErrorKind::WouldBlock,
        };
        if short && !std::mem::replace(&mut connected.filled, true) && connected.watched {
            let Stream::UdSocket(ref stream) = connected.stream;
            let (fd, token) = (stream.as_fd().as_raw_fd(), token(connection));
            // If it takes something again by now, this tells.
            self.poll.registry().reregister(&mut SourceFd(&fd), token, connected.interest())?;
        }
        written
    }

    fn shut_reading(&mut self, connection: u64) {
        if let Ok(Stream::UdSocket(stream)) = self.stream(connection) {
            let _ = stream.inner().shutdown(std::net::Shutdown::Read);
        }
    }

    fn close(&mut self, connection: u64) {
        // Closing the descriptor takes it out of the poll.
        self.connections.remove(&connection);
    }

    fn stop_listening(&mut self) -> Backlog {
        if self.listening.is_handed_over() {
            // Whoever comes now is for the next one, and must not wake us up any more.
            let fd = socket(self.listening.listener()).as_fd().as_raw_fd();
            let _ = self.poll.registry().deregister(&mut SourceFd(&fd));
            return Backlog::Left;
        }
        self.listening.unlink();
        Backlog::Ours
    }
}

fn token(connection: u64) -> Token {
    Token(usize::try_from(connection).unwrap_or(usize::MAX))
}

fn register(
    listening: &Listening,
    signals: Option<&Signals>,
    spool: Option<&Watch>,
) -> io::Result<(Poll, Waker)> {
    let poll = Poll::new()?;
    let registry = poll.registry();
    let waker = Waker::new(registry, WAKER)?;
    let fd = socket(listening.listener()).as_fd().as_raw_fd();
    registry.register(&mut SourceFd(&fd), LISTENER, Interest::READABLE)?;
    if let Some(fd) = signals.and_then(Signals::hangup_fd) {
        registry.register(&mut SourceFd(&fd), HANGUP, Interest::READABLE)?;
    }
    if let Some(watch) = spool {
        let fd = watch.as_fd().as_raw_fd();
        registry.register(&mut SourceFd(&fd), SPOOL, Interest::READABLE)?;
    }
    Ok((poll, waker))
}

fn socket(listener: &Listener) -> &uds::Listener {
    let Listener::UdSocket(socket) = listener;
    socket
}

fn retry(mut call: impl FnMut() -> io::Result<usize>) -> io::Result<usize> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}
