//! A client's socket: connecting, sending and receiving, each bounded in time or without any wait. It knows
//! nothing of what is said, nor what to do when it fails: it returns the system's own error.
//!
//! The connect is done here because `ConnectWaitMode::Timeout` of interprocess returns an unconnected
//! stream at once when the daemon's backlog is full. Bytes are sent with `MSG_NOSIGNAL`, as its `write`
//! does; its `write_vectored` does not, and would end the program with SIGPIPE.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::time::Duration;

use interprocess::local_socket::{Stream, prelude::*};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{
    self, AddressFamily, RecvFlags, SendFlags, SocketAddrUnix, SocketFlags, SocketType,
};

use crate::system::clock;

/// The longest single wait: callers that wait longer come back.
const WAIT_MAX: Duration = Duration::from_secs(3600);
/// The kernel takes a timeout of zero for none at all.
const WAIT_MIN: Duration = Duration::from_micros(1);
/// How far the sending timeout may be off before it is worth a system call.
const SLACK: Duration = Duration::from_millis(5);

/// The moment at which waiting ends, if it ever does, by `CLOCK_BOOTTIME`.
#[derive(Debug, Clone, Copy)]
pub struct Deadline(Option<u64>);

impl Deadline {
    /// The moment `timeout` from now.
    pub fn after(timeout: Duration) -> Deadline {
        let wait_ns = u64::try_from(timeout.as_nanos()).unwrap_or(u64::MAX);
        Deadline(Some(clock::boot_ns().saturating_add(wait_ns)))
    }

    /// The sooner of the two.
    #[must_use]
    pub fn sooner(self, other: Deadline) -> Deadline {
        match (self.0, other.0) {
            (Some(one), Some(other)) => Deadline(Some(one.min(other))),
            (one, other) => Deadline(one.or(other)),
        }
    }

    /// No end.
    pub fn never() -> Deadline {
        Deadline(None)
    }

    /// The time that is left; `None` when there is none.
    pub fn left(&self) -> Option<Duration> {
        let Some(at) = self.0 else { return Some(WAIT_MAX) };
        let left = Duration::from_nanos(at.saturating_sub(clock::boot_ns()));
        (!left.is_zero()).then(|| left.clamp(WAIT_MIN, WAIT_MAX))
    }
}

/// A connected socket.
#[derive(Debug)]
pub struct Socket {
    stream: Stream,
    send_timeout: Duration,
}

/// A send that failed.
#[derive(Debug)]
pub struct SendError {
    /// How many bytes were taken before.
    pub taken: usize,
    /// Why no more were; `WouldBlock` when the time was up.
    pub cause: io::Error,
}

impl Socket {
    /// Connects to the socket at `path`. A daemon whose backlog is full is waited for.
    ///
    /// # Errors
    /// The system's: `WouldBlock` when the backlog was full all the time, `ENOTSOCK` also when
    /// something else than a socket is there.
    pub fn connect(path: &Path, deadline: Deadline) -> io::Result<Socket> {
        let address = SocketAddrUnix::new(path)?;
        let kind = SocketType::STREAM;
        let fd = net::socket_with(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC, None)?;
        let mut wait = deadline.left().ok_or(Errno::AGAIN)?;
        loop {
            set_socket_timeout(&fd, Timeout::Send, Some(wait))?;
            match net::connect(&fd, &address) {
                Ok(()) => break,
                Err(Errno::INTR) => wait = deadline.left().ok_or(Errno::AGAIN)?,
                Err(Errno::CONNREFUSED) if !is_socket(path) => return Err(Errno::NOTSOCK.into()),
                Err(error) => return Err(error.into()),
            }
        }
        let stream = Stream::UdSocket(fd.into());
        Ok(Socket { stream, send_timeout: wait })
    }

    /// Sends all of `bytes`, in one write if the socket takes them.
    ///
    /// # Errors
    /// [`SendError`], with the number of bytes taken before.
    pub fn send(&mut self, bytes: &[u8], deadline: Deadline) -> Result<(), SendError> {
        // As a rule there is room, and nothing to wait for.
        let sent = self.send_some(bytes).unwrap_or(0);
        let mut rest = bytes.get(sent..).unwrap_or_default();
        while !rest.is_empty() {
            let sent = self.set_send_timeout(deadline).and_then(|()| (&self.stream).write(rest));
            match sent {
                Ok(sent) => rest = rest.get(sent..).unwrap_or_default(),
                Err(error) if goes_on(&error, deadline) => {}
                Err(cause) => return Err(SendError { taken: bytes.len() - rest.len(), cause }),
            }
        }
        Ok(())
    }

    /// Receives up to as many bytes as there is room for; 0 when the other side hung up.
    ///
    /// # Errors
    /// The system's; `WouldBlock` when the time was up.
    pub fn receive(&mut self, room: &mut [u8], deadline: Deadline) -> io::Result<usize> {
        loop {
            let left = deadline.left().ok_or(Errno::AGAIN)?;
            self.stream.set_recv_timeout(Some(left))?;
            match (&self.stream).read(room) {
                Err(error) if goes_on(&error, deadline) => {}
                received => return received,
            }
        }
    }

    /// Sends as many of `bytes` as the socket takes now.
    ///
    /// # Errors
    /// The system's; `WouldBlock` when it takes none.
    pub fn send_some(&self, bytes: &[u8]) -> io::Result<usize> {
        let Stream::UdSocket(ref stream) = self.stream;
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        Ok(rustix::io::retry_on_intr(|| net::send(stream.inner(), bytes, flags))?)
    }

    /// Receives what is there now, up to as many bytes as there is room for; 0 when the other side hung up.
    ///
    /// # Errors
    /// The system's; `WouldBlock` when nothing is there.
    pub fn receive_some(&self, room: &mut [u8]) -> io::Result<usize> {
        let Stream::UdSocket(ref stream) = self.stream;
        let received = rustix::io::retry_on_intr(|| {
            net::recv(stream.inner(), &mut *room, RecvFlags::DONTWAIT)
        });
        Ok(received?.0)
    }

    /// Whether the other side has neither hung up nor said anything unasked, as far as is known here.
    pub fn is_quiet(&self) -> bool {
        let Stream::UdSocket(ref stream) = self.stream;
        let mut byte = [0];
        let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
        net::recv(stream.inner(), &mut byte, flags) == Err(Errno::AGAIN)
    }

    fn set_send_timeout(&mut self, deadline: Deadline) -> io::Result<()> {
        let left = deadline.left().ok_or(Errno::AGAIN)?;
        if left.abs_diff(self.send_timeout) > SLACK {
            self.stream.set_send_timeout(Some(left))?;
            self.send_timeout = left;
        }
        Ok(())
    }
}

/// What can be done without waiting.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Ready {
    /// The input can be read, or is at its end.
    pub input: bool,
    /// The socket has something to receive, or was hung up.
    pub receive: bool,
    /// The socket takes something.
    pub send: bool,
}

/// Waits until the input or the socket is ready, or the time is up; a signal may end it early. The socket is
/// asked whether it takes something only if that is wanted.
///
/// # Errors
/// The system's.
pub fn wait(
    input: Option<BorrowedFd<'_>>,
    socket: Option<(&Socket, bool)>,
    deadline: Deadline,
) -> io::Result<Ready> {
    let mut polled = Vec::with_capacity(2);
    if let Some((socket, sending)) = socket {
        let Stream::UdSocket(ref stream) = socket.stream;
        let send = if sending { PollFlags::OUT } else { PollFlags::empty() };
        polled.push(PollFd::from_borrowed_fd(stream.inner().as_fd(), PollFlags::IN | send));
    }
    if let Some(input) = input {
        polled.push(PollFd::from_borrowed_fd(input, PollFlags::IN));
    }
    let left = clock::timespec(deadline.left().unwrap_or_default());
    match poll(&mut polled, Some(&left)) {
        Ok(_) => {}
        Err(Errno::INTR) => return Ok(Ready::default()),
        Err(error) => return Err(error.into()),
    }
    let mut found = polled.iter().map(PollFd::revents);
    let of_socket = socket.and_then(|_| found.next()).unwrap_or(PollFlags::empty());
    let of_input = input.and_then(|_| found.next()).unwrap_or(PollFlags::empty());
    Ok(Ready {
        input: !of_input.is_empty(),
        receive: of_socket.intersects(!PollFlags::OUT),
        send: of_socket.contains(PollFlags::OUT),
    })
}

/// Whether an error only means that the wait was cut short and there is time left to go on.
fn goes_on(error: &io::Error, deadline: Deadline) -> bool {
    match Errno::from_io_error(error) {
        Some(Errno::INTR) => true,
        Some(Errno::AGAIN) => deadline.left().is_some(),
        _ => false,
    }
}

/// The kernel says "connection refused" of any file that is no socket.
fn is_socket(path: &Path) -> bool {
    use std::os::unix::fs::FileTypeExt;
    // If it cannot be looked at, it is the refusal that is to be reported.
    std::fs::metadata(path).map_or(true, |found| found.file_type().is_socket())
}
