//! The sink into a statsd: lines in packets, over UDP or to a Unix datagram socket. UDP promises nothing: a packet
//! that the other end has no room for is gone, and nobody is told; what the kernel does tell, that nobody listens,
//! is heeded. A Unix socket loses nothing: it is waited for until it takes the next packet.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs, UdpSocket};
use std::os::fd::AsFd;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;

use super::half_out::HalfOut;
use super::spec::Address;
use super::{Sink, SinkError};
use crate::format::layout::Layout;
use crate::record::FilePlace;
use crate::report::Report;
use crate::system::clock::{pause, timespec};
use crate::system::connect::Deadline;
use crate::turn::Prepared;

/// Packets that the smallest usual buffer of a receiver has room for, so they may come at once over UDP.
const AT_ONCE_MAX: usize = 32;
/// Then these, ...
const BURST: usize = 2;
/// ... each so long: about 100,000 counters a second.
const BURST_EVERY: Duration = Duration::from_millis(1);
/// How long it is listened for a refusal of the last packet that left this machine.
const ECHO: Duration = Duration::from_millis(50);

/// A statsd as a sink.
#[derive(Debug)]
pub struct Statsd {
    to: Place,
    outbox: Outbox,
}

/// What is to be sent.
#[derive(Debug)]
struct Outbox {
    packet_bytes_max: usize,
    text: HalfOut,
}

#[derive(Debug)]
enum Place {
    Udp(Address),
    Unix { path: PathBuf, patience: Duration },
}

impl Statsd {
    /// One at this address, with packets of so many bytes at most.
    pub fn udp(to: Address, packet_bytes_max: usize) -> Statsd {
        Statsd::at(Place::Udp(to), packet_bytes_max)
    }

    /// One at this socket, which is given up when it takes nothing for so long.
    pub fn unix(path: PathBuf, packet_bytes_max: usize, patience: Duration) -> Statsd {
        Statsd::at(Place::Unix { path, patience }, packet_bytes_max)
    }

    fn at(to: Place, packet_bytes_max: usize) -> Statsd {
        Statsd { to, outbox: Outbox { packet_bytes_max, text: HalfOut::default() } }
    }
}

impl Outbox {
    fn send_by_udp(&mut self, to: &Address) -> io::Result<()> {
        let addresses: Vec<SocketAddr> = (to.host.as_str(), to.port).to_socket_addrs()?.collect();
        self.send_to_first(&addresses)
    }

    /// Sends to the first of these addresses at which somebody listens, as far as that is told: `localhost` has two, and
    /// most programs listen at one.
    fn send_to_first(&mut self, addresses: &[SocketAddr]) -> io::Result<()> {
        let mut failed = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
        for address in addresses {
            let begun = self.text.out();
            match self.send_to(*address) {
                Ok(()) => return Ok(()),
                Err(error) => failed = error,
            }
            // Who had the beginning is to have the rest.
            if self.text.out() != begun {
                break;
            }
        }
        Err(failed)
    }

    fn send_to(&mut self, address: SocketAddr) -> io::Result<()> {
        let socket = connect_udp(address)?;
        let is_here = address.ip().is_loopback();
        let begun = self.text.out();
        let sent = self.send_packets(&socket);
        let sent = sent.and_then(|()| if is_here { Ok(()) } else { listen_for_refusal(&socket) });
        if sent.is_err() && !is_here {
            // The refusal took its time, and may be of any of them.
            self.text.back_to(begun);
        }
        sent
    }

    fn send_packets(&mut self, socket: &UdpSocket) -> io::Result<()> {
        let mut number = 0_usize;
        while let Some(packet) = next_packet(self.text.rest(), self.packet_bytes_max) {
            if number >= AT_ONCE_MAX && number.is_multiple_of(BURST) {
                pause(BURST_EVERY);
            }
            loop {
                match socket.send(packet.lines) {
                    Ok(_) => break,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    // The network card's queue; the socket's own buffer is waited for.
                    Err(error) if Errno::from_io_error(&error) == Some(Errno::NOBUFS) => {
                        pause(BURST_EVERY);
                    }
                    Err(error) => return Err(error),
                }
            }
            // On this machine a refusal is there by now, and is of this packet.
            if let Some(error) = socket.take_error()? {
                return Err(error);
            }
            let bytes = packet.bytes;
            self.text.advance(bytes);
            number = number.wrapping_add(1);
        }
        Ok(())
    }

    fn send_by_unix(&mut self, path: &PathBuf, patience: Duration) -> io::Result<()> {
        let socket = UnixDatagram::unbound()?;
        socket.connect(path)?;
        socket.set_nonblocking(true)?;
        while let Some(packet) = next_packet(self.text.rest(), self.packet_bytes_max) {
            let deadline = Deadline::after(patience);
            while let Err(error) = socket.send(packet.lines) {
                match Errno::from_io_error(&error) {
                    Some(Errno::INTR) => {}
                    Some(Errno::AGAIN | Errno::NOBUFS) => wait_for_room(&socket, deadline)?,
                    _ => return Err(error),
                }
            }
            let bytes = packet.bytes;
            self.text.advance(bytes);
        }
        Ok(())
    }
}

impl Sink for Statsd {
    fn prepare(
        &mut self,
        layout: &Layout,
        reports: &[Arc<Report>],
        _offered: Option<FilePlace>,
    ) -> Result<Prepared, SinkError> {
        Ok(self.outbox.text.prepare(layout, reports))
    }

    fn write(&mut self) -> Result<(), SinkError> {
        let sent = match &self.to {
            Place::Udp(to) => self.outbox.send_by_udp(to),
            Place::Unix { path, patience } => self.outbox.send_by_unix(path, *patience),
        };
        sent.map_err(|error| SinkError::Failed(format!("not sent: {error}")))?;
        self.outbox.text.done();
        Ok(())
    }
}

/// Lines that go together.
struct Packet<'a> {
    /// Without the end of the last.
    lines: &'a [u8],
    /// With the end of the last.
    bytes: usize,
}

/// As many whole lines as there is room for, one at least.
fn next_packet(text: &[u8], bytes_max: usize) -> Option<Packet<'_>> {
    let room = text.get(..bytes_max.saturating_add(1)).unwrap_or(text);
    let end = room.iter().rposition(|byte| *byte == b'\n');
    let end = end.or_else(|| text.iter().position(|byte| *byte == b'\n')).unwrap_or(text.len());
    let lines = text.get(..end).filter(|_| !text.is_empty())?;
    Some(Packet { lines, bytes: end.saturating_add(1).min(text.len()) })
}

/// A socket to this address. That it can be had does not mean that somebody listens.
fn connect_udp(address: SocketAddr) -> io::Result<UdpSocket> {
    let any: SocketAddr = match address {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(any)?;
    socket.connect(address)?;
    Ok(socket)
}

fn listen_for_refusal(socket: &UdpSocket) -> io::Result<()> {
    let mut polled = [PollFd::from_borrowed_fd(socket.as_fd(), PollFlags::empty())];
    let _ = poll(&mut polled, Some(&timespec(ECHO)));
    socket.take_error()?.map_or(Ok(()), Err)
}

fn wait_for_room(socket: &UnixDatagram, deadline: Deadline) -> io::Result<()> {
    let Some(left) = deadline.left() else {
        return Err(io::Error::new(io::ErrorKind::TimedOut, "it takes no packet in time"));
    };
    let mut polled = [PollFd::from_borrowed_fd(socket.as_fd(), PollFlags::OUT)];
    match poll(&mut polled, Some(&timespec(left))) {
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packets(text: &str, bytes_max: usize) -> Vec<String> {
        let (mut rest, mut all) = (text.as_bytes(), Vec::new());
        while let Some(packet) = next_packet(rest, bytes_max) {
            assert!(packet.bytes > 0);
            rest = &rest[packet.bytes..];
            all.push(String::from_utf8(packet.lines.to_vec()).unwrap());
        }
        all
    }

    #[test]
    fn packets_have_whole_lines_and_as_many_as_there_is_room_for() {
        assert_eq!(packets("a:1|c\nb:2|c\nc:3|c\n", 11), ["a:1|c\nb:2|c", "c:3|c"]);
        assert_eq!(packets("a:1|c\nb:2|c\nc:3|c\n", 10), ["a:1|c", "b:2|c", "c:3|c"]);
        assert_eq!(packets("a:1|c\nb:2|c\n", 1_000), ["a:1|c\nb:2|c"]);
        assert_eq!(packets("a:1|c", 1_000), ["a:1|c"]);
        assert!(packets("", 1_000).is_empty());
    }

    #[test]
    fn of_the_addresses_of_a_name_the_one_is_used_at_which_somebody_listens() {
        let listener = UdpSocket::bind(("127.0.0.1", 0)).unwrap();
        let nobody = UdpSocket::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap();
        let addresses = [nobody, listener.local_addr().unwrap()];
        let text = HalfOut::from(b"a:1|c\n".as_slice());
        let mut outbox = Outbox { packet_bytes_max: 512, text };
        outbox.send_to_first(&addresses).unwrap();
        let mut packet = [0; 16];
        let length = listener.recv(&mut packet).unwrap();
        assert_eq!(&packet[..length], b"a:1|c");
        outbox.text.back_to(0);
        let error = outbox.send_to_first(&[nobody]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
        assert!(outbox.send_to_first(&[]).is_err());
    }

    #[test]
    fn a_line_longer_than_a_packet_goes_alone() {
        assert_eq!(packets("a:1|c\nlong:1|c\nb:1|c\n", 5), ["a:1|c", "long:1|c", "b:1|c"]);
    }
}
