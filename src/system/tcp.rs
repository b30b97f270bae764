//! A TCP connection to a collector that takes lines and never answers. All waits are bounded, and while one
//! lasts the other side is watched: a peer that hangs up is an error at once, not after the next report.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::os::fd::AsFd;
use std::time::Duration;

use nix::libc;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;

use super::clock::{pause, timespec};
use super::connect::Deadline;

/// How often it is looked whether the peer's kernel has everything: nothing tells.
const LOOK_AGAIN: Duration = Duration::from_millis(2);

/// The same, while something else may be told.
const LOOK_AT_LEAST: Duration = Duration::from_millis(200);

/// A connection.
#[derive(Debug)]
pub struct Tcp {
    stream: TcpStream,
    /// How long nothing may move.
    patience: Duration,
}

/// Connects to the first of a host's addresses that answers, each of which gets its share of the time that is left.
///
/// # Errors
/// What the system says of the last address it was tried with; `TimedOut` when there was time for none.
pub(super) fn connect_to_first(
    addresses: &[SocketAddr],
    deadline: Deadline,
) -> io::Result<TcpStream> {
    let mut failed = match addresses.is_empty() {
        true => io::Error::new(io::ErrorKind::NotFound, "the name has no address"),
        false => io::Error::new(io::ErrorKind::TimedOut, "its name was found too late"),
    };
    for (number, address) in addresses.iter().enumerate() {
        let Some(left) = deadline.left() else { break };
        let others = u32::try_from(addresses.len().saturating_sub(number)).unwrap_or(1);
        match TcpStream::connect_timeout(address, left / others.max(1)) {
            Ok(stream) => return Ok(stream),
            Err(error) => failed = error,
        }
    }
    Err(failed)
}

impl Tcp {
    /// Connects to the first address of this host that answers.
    /// Looking up the name takes as long as the system lets it.
    ///
    /// # Errors
    /// What the system says of the name, or of the last address.
    pub fn connect(host: &str, port: u16, patience: Duration) -> io::Result<Tcp> {
        let addresses: Vec<SocketAddr> = (host, port).to_socket_addrs()?.collect();
        let stream = connect_to_first(&addresses, Deadline::after(patience))?;
        stream.set_nonblocking(true)?;
        Ok(Tcp { stream, patience })
    }

    /// Whether the peer is still there, as far as can be told without sending.
    pub fn is_alive(&mut self) -> bool {
        self.drain().is_ok()
    }

    /// Sends all of it.
    ///
    /// # Errors
    /// What the system says; `TimedOut` when the peer takes nothing for as long as is waited.
    pub fn send(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            match self.stream.write(bytes) {
                Ok(written) => bytes = bytes.get(written..).unwrap_or_default(),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.wait(PollFlags::OUT, "nothing of the report was taken")?;
                }
                Err(error) => return Err(error),
            }
            self.drain()?;
        }
        Ok(())
    }

    /// Ends the connection, and returns when the peer has ended its side, too. A program does that when it has
    /// come to the end of what it reads, and a kernel whose program has ended without reading all of it resets
    /// the connection, so then the peer has read everything.
    ///
    /// # Errors
    /// What the system says; `TimedOut` when the peer does not end it.
    pub fn finish(mut self) -> io::Result<()> {
        self.stream.shutdown(std::net::Shutdown::Write)?;
        let mut moving = Moving::new(self.patience);
        loop {
            match self.read() {
                // It may have ended its side before it got our last bytes, and the reset for these be on its way.
                Ok(0) => return self.deliver_last(),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    // It may have much to read yet, and is at it as long as there is less and less.
                    let left = moving.look(unacknowledged(&self.stream)?);
                    let left = left.ok_or_else(|| late("it did not end the connection"))?;
                    let mut polled = [PollFd::from_borrowed_fd(self.stream.as_fd(), PollFlags::IN)];
                    match poll(&mut polled, Some(&timespec(left.min(LOOK_AT_LEAST)))) {
                        Ok(_) | Err(Errno::INTR) => {}
                        Err(error) => return Err(error.into()),
                    }
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Returns when the peer's kernel has everything that was sent. Whether a program has read it cannot be told.
    ///
    /// # Errors
    /// What the system says; `TimedOut` when it is not there in time.
    pub fn deliver(&mut self) -> io::Result<()> {
        let mut moving = Moving::new(self.patience);
        loop {
            let bytes = unacknowledged(&self.stream)?;
            self.drain()?;
            if bytes == 0 {
                return Ok(());
            }
            moving.look(bytes).ok_or_else(|| late("the other end acknowledges nothing"))?;
            pause(LOOK_AGAIN);
        }
    }

    /// Returns when the peer's kernel has acknowledged everything, our end of the connection too, after the peer
    /// has ended its side.
    fn deliver_last(&self) -> io::Result<()> {
        let mut moving = Moving::new(self.patience);
        loop {
            // In this order: a reset leaves its error before it empties the queue.
            let bytes = unacknowledged(&self.stream)?;
            if let Some(error) = self.stream.take_error()? {
                return Err(error);
            }
            if bytes == 0 {
                return Ok(());
            }
            moving.look(bytes).ok_or_else(|| late("the other end acknowledges nothing"))?;
            pause(LOOK_AGAIN);
        }
    }

    /// Takes what the peer says, which means nothing; its end is an error.
    fn drain(&mut self) -> io::Result<()> {
        loop {
            match self.read() {
                Ok(0) => {
                    let what = "the other end closed the connection";
                    return Err(io::Error::new(io::ErrorKind::ConnectionAborted, what));
                }
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }

    fn read(&mut self) -> io::Result<usize> {
        let mut dropped = [0; 4096];
        loop {
            match self.stream.read(&mut dropped) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => return result,
            }
        }
    }

    fn wait(&self, for_what: PollFlags, late_when: &'static str) -> io::Result<()> {
        let deadline = Deadline::after(self.patience);
        loop {
            let Some(left) = deadline.left() else { return Err(late(late_when)) };
            let mut polled =
                [PollFd::from_borrowed_fd(self.stream.as_fd(), for_what | PollFlags::IN)];
            match poll(&mut polled, Some(&timespec(left))) {
                Ok(0) | Err(Errno::INTR) => {}
                Ok(_) => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// Something that is to become less.
struct Moving {
    least: u32,
    patience: Duration,
    deadline: Deadline,
}

impl Moving {
    fn new(patience: Duration) -> Moving {
        Moving { least: u32::MAX, patience, deadline: Deadline::after(patience) }
    }

    /// The time that is left for it to become less than this.
    fn look(&mut self, now: u32) -> Option<Duration> {
        if now < self.least {
            (self.least, self.deadline) = (now, Deadline::after(self.patience));
        }
        self.deadline.left()
    }
}

fn late(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, format!("{what} in time"))
}

/// Bytes that were sent and that the peer's kernel has not acknowledged.
#[expect(unsafe_code, reason = "this question has no safe interface")]
fn unacknowledged(stream: &TcpStream) -> io::Result<u32> {
    // SAFETY: this request writes one int, and to a socket means just that; the getter has room for one.
    let bytes = unsafe {
        rustix::ioctl::ioctl(
            stream,
            rustix::ioctl::Getter::<{ libc::TIOCOUTQ as _ }, libc::c_int>::new(),
        )
    }?;
    Ok(u32::try_from(bytes).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(20);

    fn pair(patience: Duration) -> (Tcp, TcpStream) {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let tcp = Tcp::connect("127.0.0.1", port, patience).unwrap();
        (tcp, listener.accept().unwrap().0)
    }

    #[test]
    fn a_peer_that_reads_to_the_end_and_closes_has_it_all() {
        let (mut tcp, mut peer) = pair(PATIENCE);
        let reading = std::thread::spawn(move || {
            let mut text = Vec::new();
            peer.read_to_end(&mut text).unwrap();
            text
        });
        let sent = vec![b'x'; 5 << 20];
        tcp.send(&sent).unwrap();
        tcp.finish().unwrap();
        assert_eq!(reading.join().unwrap(), sent);
    }

    #[test]
    fn a_peer_that_ends_without_reading_has_not() {
        let (mut tcp, peer) = pair(PATIENCE);
        tcp.send(b"some").unwrap();
        tcp.deliver().unwrap();
        drop(peer);
        assert!(tcp.finish().is_err());
    }

    #[test]
    fn a_peer_that_neither_reads_nor_ends_is_given_up() {
        let (mut tcp, _peer) = pair(Duration::from_millis(20));
        let error = tcp.send(&vec![b'x'; 64 << 20]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        let (mut tcp, _peer) = pair(Duration::from_millis(20));
        tcp.send(b"some").unwrap();
        tcp.deliver().unwrap();
        assert!(tcp.is_alive());
        assert_eq!(tcp.finish().unwrap_err().kind(), io::ErrorKind::TimedOut);
    }

    #[test]
    fn a_peer_that_closed_is_noticed_without_sending() {
        let (mut tcp, peer) = pair(PATIENCE);
        drop(peer);
        tcp.wait(PollFlags::empty(), "").unwrap();
        assert!(!tcp.is_alive());
    }

    #[test]
    fn nobody_there_is_an_error() {
        let free = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
        let error = Tcp::connect("127.0.0.1", free, PATIENCE).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    }
}
