//! Telling whoever looks after this process how it does, as systemd wants it (`sd_notify(3)`): datagrams to
//! the socket in `NOTIFY_SOCKET`. Where nobody asks, nothing is opened and nothing is sent. When what is told
//! is decided by the loop.

use std::ffi::OsString;
use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

use rustix::net::{AddressFamily, SendFlags, SocketAddrUnix, SocketFlags, SocketType, sockopt};
use sd_notify::NotifyState;

/// How long news that must not be missed may take to be handed over.
const PATIENCE: Duration = Duration::from_secs(1);

/// What a supervisor can be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told<'a> {
    /// The daemon serves, and how it does.
    Ready(&'a str),
    /// How it does.
    Status(&'a str),
    /// It opens its log files again; `Ready` follows.
    Reloading,
    /// It has begun to stop.
    Stopping,
    /// Its loop goes on.
    Alive,
}

/// Whoever looks after this process.
pub trait Supervisor: Send {
    /// Tells it something. It is waited for a moment at most, for `Status` and `Alive` not at all.
    ///
    /// # Errors
    /// When it did not take it.
    fn tell(&mut self, what: Told<'_>) -> io::Result<()>;

    /// Within which time it wants to hear again that the loop goes on, or takes the daemon for hung.
    fn watchdog(&self) -> Option<Duration>;
}

impl fmt::Debug for dyn Supervisor + '_ {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Supervisor")
    }
}

/// The socket in `NOTIFY_SOCKET`.
#[derive(Debug)]
pub struct NotifySocket {
    socket: OwnedFd,
    address: SocketAddrUnix,
    watchdog: Option<Duration>,
}

impl NotifySocket {
    /// That of this process, if there is one.
    ///
    /// # Errors
    /// When the variable names no socket that can be written to, or the system refuses one.
    pub fn of_process() -> io::Result<Option<NotifySocket>> {
        let name = std::env::var_os("NOTIFY_SOCKET").filter(|name| !name.is_empty());
        let Some(name) = name else { return Ok(None) };
        let watchdog = sd_notify::watchdog_enabled().filter(|within| !within.is_zero());
        NotifySocket::new(&name, watchdog).map(Some)
    }

    fn new(name: &OsString, watchdog: Option<Duration>) -> io::Result<NotifySocket> {
        let address = match name.as_bytes() {
            [b'@', abstract_name @ ..] => SocketAddrUnix::new_abstract_name(abstract_name)?,
            [b'/', ..] => SocketAddrUnix::new(name.as_os_str())?,
            _ => {
                let why = "it begins with neither / nor @";
                return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
            }
        };
        let flags = SocketFlags::CLOEXEC;
        let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::DGRAM, flags, None)?;
        sockopt::set_socket_timeout(&socket, sockopt::Timeout::Send, Some(PATIENCE))?;
        Ok(NotifySocket { socket, address, watchdog })
    }
}

impl Supervisor for NotifySocket {
    fn tell(&mut self, what: Told<'_>) -> io::Result<()> {
        // A line each, so a text must be one.
        let one_line = |text: &str| text.replace(['\n', '\r'], " ");
        let news = match what {
            Told::Ready(status) => {
                vec![NotifyState::Ready.to_string(), status_line(&one_line(status))]
            }
            Told::Status(status) => vec![status_line(&one_line(status))],
            Told::Reloading => {
                let now = NotifyState::monotonic_usec_now()?;
                vec![NotifyState::Reloading.to_string(), now.to_string()]
            }
            Told::Stopping => vec![NotifyState::Stopping.to_string(), status_line("stopping")],
            Told::Alive => vec![NotifyState::Watchdog.to_string()],
        };
        let can_be_missed = matches!(what, Told::Status(_) | Told::Alive);
        let flags = if can_be_missed { SendFlags::DONTWAIT } else { SendFlags::empty() };
        let text = news.join("\n");
        loop {
            match rustix::net::sendto(&self.socket, text.as_bytes(), flags, &self.address) {
                Ok(_) => return Ok(()),
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn watchdog(&self) -> Option<Duration> {
        self.watchdog
    }
}

fn status_line(status: &str) -> String {
    NotifyState::Status(status).to_string()
}

#[cfg(test)]
mod tests {
    use std::os::linux::net::SocketAddrExt;
    use std::os::unix::net::{SocketAddr, UnixDatagram};

    use super::*;

    fn received(socket: &UnixDatagram) -> String {
        let mut buffer = [0; 1_000];
        let bytes = socket.recv(&mut buffer).unwrap();
        String::from_utf8(buffer[..bytes].to_vec()).unwrap()
    }

    #[test]
    fn it_is_told_in_the_words_of_sd_notify_at_a_path_and_at_an_abstract_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let name = format!("countd-test-notify-{}", std::process::id());
        let abstract_name = SocketAddr::from_abstract_name(&name).unwrap();
        let places = [
            (UnixDatagram::bind(&path).unwrap(), path.into_os_string()),
            (UnixDatagram::bind_addr(&abstract_name).unwrap(), format!("@{name}").into()),
        ];
        for (socket, name) in places {
            let mut supervisor = NotifySocket::new(&name, None).unwrap();
            for (what, words) in [
                (Told::Ready("1 counter"), "READY=1\nSTATUS=1 counter"),
                (Told::Status("a\nREADY=1"), "STATUS=a READY=1"),
                (Told::Stopping, "STOPPING=1\nSTATUS=stopping"),
                (Told::Alive, "WATCHDOG=1"),
            ] {
                supervisor.tell(what).unwrap();
                assert_eq!(received(&socket), words);
            }
            supervisor.tell(Told::Reloading).unwrap();
            let reloading = received(&socket);
            let since = reloading.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").unwrap();
            assert!(since.parse::<u64>().unwrap() > 0);
        }
    }

    #[test]
    fn a_supervisor_that_hangs_is_not_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let _never_read = UnixDatagram::bind(&path).unwrap();
        let mut supervisor = NotifySocket::new(&path.into_os_string(), None).unwrap();
        let failed = (0..100_000).find_map(|_| supervisor.tell(Told::Alive).err());
        assert_eq!(failed.unwrap().kind(), io::ErrorKind::WouldBlock);
        assert!(supervisor.tell(Told::Stopping).is_err(), "after a moment");
    }

    #[test]
    fn a_name_that_is_none_is_refused() {
        for name in ["vsock:2:1", "notify"] {
            assert!(NotifySocket::new(&name.into(), None).is_err());
        }
    }
}
