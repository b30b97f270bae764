//! The socket that whoever starts the daemon has opened for it and hands over, as systemd does
//! (`sd_listen_fds(3)`): descriptors from 3 on, how many and for whom by `LISTEN_FDS` and `LISTEN_PID`, their
//! names by `LISTEN_FDNAMES`. It is looked at whether one can be served, and taken as it is: its path, mode
//! and owner are those of whoever made it. Nothing is accepted here.

use std::ffi::OsString;
use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use rustix::net::sockopt::{socket_acceptconn, socket_domain, socket_type};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketType, getsockname};

/// The name of the socket to take, where several are handed over.
pub const NAME: &str = "countd";

/// A socket that was handed over: it listens, and belongs to somebody else.
#[derive(Debug)]
pub struct HandedOver {
    pub(super) listener: UnixListener,
    pub(super) path: PathBuf,
}

/// What was handed over.
#[derive(Debug, Default)]
pub struct Activation {
    /// The socket to serve, if there is one.
    pub socket: Option<HandedOver>,
    /// What else was found, that the operator should know of.
    pub warnings: Vec<String>,
}

/// Why what was handed over cannot be served.
#[derive(Debug)]
pub enum ActivationError {
    /// The variables do not say what they should.
    Variables(io::Error),
    /// Several were handed over, and not exactly one has our name.
    Which(Vec<String>),
    /// It is of the wrong kind.
    Unfit {
        /// Its descriptor.
        descriptor: RawFd,
        /// Its name.
        name: String,
        /// What it is, and what it should be.
        why: Unfit,
    },
}

/// Why a descriptor cannot be served.
#[derive(Debug)]
pub enum Unfit {
    /// It is no socket.
    NoSocket,
    /// A socket of another family.
    OtherFamily,
    /// A Unix socket, and no stream.
    NoStream,
    /// A stream that does not listen, such as a single connection.
    NotListening,
    /// Its name is in no folder, and clients connect to paths.
    NoPath,
    /// The system said no.
    System(io::Error),
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unfit::NoSocket => f.write_str("it is no socket"),
            Unfit::OtherFamily => {
                f.write_str("it is no Unix socket: use ListenStream= with a path that begins with /")
            }
            Unfit::NoStream => {
                f.write_str("it is no stream socket: use ListenStream= in the socket unit")
            }
            Unfit::NotListening => {
                f.write_str("it does not listen: use Accept=no, the default, in the socket unit")
            }
            Unfit::NoPath => f.write_str(
                "it has no path, and clients connect to one: use ListenStream= with a path that begins \
                 with /",
            ),
            Unfit::System(error) => write!(f, "it cannot be looked at: {error}"),
        }
    }
}

impl fmt::Display for ActivationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ActivationError::Variables(error) => write!(
                f,
                "LISTEN_FDS, LISTEN_PID and LISTEN_FDNAMES do not say which sockets are handed over: \
                 {error}; unset them to listen without"
            ),
            ActivationError::Which(names) => write!(
                f,
                "{} sockets are handed over ({}), and countd serves one: give that one \
                 FileDescriptorName={NAME} in its socket unit",
                names.len(),
                names.join(", ")
            ),
            ActivationError::Unfit { descriptor, name, why } => {
                write!(
                    f,
                    "cannot serve descriptor {descriptor} ({name}), which is handed over: {why}"
                )
            }
        }
    }
}

impl std::error::Error for ActivationError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            ActivationError::Variables(error)
            | ActivationError::Unfit { why: Unfit::System(error), .. } => Some(error),
            ActivationError::Which(_) | ActivationError::Unfit { .. } => None,
        }
    }
}

impl Activation {
    /// Takes the socket that this process was handed. To be called before it opens anything, as what is
    /// handed over is told by its number only.
    ///
    /// # Errors
    /// [`ActivationError`] when something was handed over that cannot be served.
    pub fn take() -> Result<Activation, ActivationError> {
        let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
        let handed = sd_notify::listen_fds_with_names().map_err(ActivationError::Variables)?;
        let (descriptors, names): (Vec<RawFd>, Vec<String>) = handed.unzip();
        if descriptors.is_empty() {
            let warnings = not_for_us(variable, std::process::id()).into_iter().collect();
            return Ok(Activation { socket: None, warnings });
        }
        let (Some(chosen), others) = choose(&names)? else { return Ok(Activation::default()) };
        let (Some(&descriptor), Some(name)) = (descriptors.get(chosen), names.get(chosen)) else {
            return Ok(Activation::default());
        };
        let unfit =
            |why| ActivationError::Unfit { descriptor, name: name.escape_debug().to_string(), why };
        let socket = adopt(descriptor);
        let path = path_of_listener(socket.as_fd()).map_err(unfit)?;
        let listener = UnixListener::from(socket);
        // Between the readiness and the accept whoever was waiting may have gone.
        listener.set_nonblocking(true).map_err(|error| unfit(Unfit::System(error)))?;
        let mut warnings: Vec<String> = Vec::new();
        if !others.is_empty() {
            let others = others.join(", ");
            warnings.push(format!("of what was handed over this is not used: {others}"));
        }
        if !is_there(&path) {
            warnings.push(format!(
                "the socket that was handed over has lost its file {}, so nobody can connect: restart its \
                 socket unit, and let no RuntimeDirectory= of a service remove the folder",
                path.display()
            ));
        }
        Ok(Activation { socket: Some(HandedOver { listener, path }), warnings })
    }
}

impl HandedOver {
    /// Where it listens.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// A word on sockets that were handed to another process, such as a shell that started this one.
fn not_for_us(variable: impl Fn(&str) -> Option<OsString>, own_pid: u32) -> Option<String> {
    let number = variable("LISTEN_FDS").filter(|number| number != "0")?;
    let whom = match variable("LISTEN_PID") {
        Some(pid) if pid.to_str() == Some(own_pid.to_string().as_str()) => return None,
        Some(pid) => format!("process {}", pid.display()),
        None => "nobody, as LISTEN_PID is not set".to_owned(),
    };
    Some(format!(
        "LISTEN_FDS={} is for {whom}, and not for this process: no socket is taken over; what starts the \
         daemon has to exec it",
        number.display()
    ))
}

/// Which of several, and the names of the others.
fn choose(names: &[String]) -> Result<(Option<usize>, Vec<String>), ActivationError> {
    let named = |at: &usize| names.get(*at).is_some_and(|name| name == NAME);
    let ours: Vec<usize> = match names.len() {
        0 => return Ok((None, Vec::new())),
        // One needs no name.
        1 => vec![0],
        several => (0..several).filter(named).collect(),
    };
    let escaped = |name: &String| name.escape_debug().to_string();
    let [chosen] = ours[..] else {
        return Err(ActivationError::Which(names.iter().map(escaped).collect()));
    };
    let others = names.iter().enumerate().filter(|(at, _)| *at != chosen);
    Ok((Some(chosen), others.map(|(_, name)| escaped(name)).collect()))
}

/// The path of a socket that listens and can be served.
fn path_of_listener(socket: BorrowedFd<'_>) -> Result<PathBuf, Unfit> {
    let system = |error: Errno| match error {
        Errno::NOTSOCK => Unfit::NoSocket,
        error => Unfit::System(error.into()),
    };
    if socket_domain(socket).map_err(system)? != AddressFamily::UNIX {
        return Err(Unfit::OtherFamily);
    }
    if socket_type(socket).map_err(system)? != SocketType::STREAM {
        return Err(Unfit::NoStream);
    }
    if !socket_acceptconn(socket).map_err(system)? {
        return Err(Unfit::NotListening);
    }
    let address = getsockname(socket).map_err(system)?;
    let address = SocketAddrUnix::try_from(address).map_err(system)?;
    let path = address.path_bytes().ok_or(Unfit::NoPath)?;
    Ok(PathBuf::from(OsString::from_vec(path.to_vec())))
}

#[expect(unsafe_code, reason = "a descriptor that is known by its number has no safe interface")]
fn adopt(descriptor: RawFd) -> OwnedFd {
    // SAFETY: it is open, as it could be marked close-on-exec, and by the protocol of sd_listen_fds it was
    // opened for this process, which takes each number once, before it has opened any itself.
    unsafe { OwnedFd::from_raw_fd(descriptor) }
}

fn is_there(path: &Path) -> bool {
    std::fs::symlink_metadata(path).is_ok()
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::os::linux::net::SocketAddrExt;
    use std::os::unix::net::{SocketAddr, UnixDatagram, UnixStream};

    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    fn unfit(socket: &impl AsFd) -> String {
        path_of_listener(socket.as_fd()).unwrap_err().to_string()
    }

    #[test]
    fn a_listening_stream_is_fit_and_has_its_path() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sock");
        let listener = UnixListener::bind(&path).unwrap();
        assert_eq!(path_of_listener(listener.as_fd()).unwrap(), path);
    }

    #[test]
    fn whatever_else_it_is_is_said() {
        let folder = tempfile::tempdir().unwrap();
        let file = std::fs::File::create(folder.path().join("file")).unwrap();
        assert!(unfit(&file).contains("no socket"));
        assert!(unfit(&TcpListener::bind("127.0.0.1:0").unwrap()).contains("no Unix socket"));
        assert!(unfit(&UnixDatagram::unbound().unwrap()).contains("no stream"));
        let (one, _other) = UnixStream::pair().unwrap();
        assert!(unfit(&one).contains("Accept=no"));
        let name = format!("countd-test-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(name).unwrap();
        assert!(unfit(&UnixListener::bind_addr(&address).unwrap()).contains("no path"));
    }

    #[test]
    fn one_is_taken_whatever_its_name_and_of_several_the_one_with_ours() {
        assert_eq!(choose(&names(&["countd.socket"])).unwrap(), (Some(0), vec![]));
        let (chosen, others) = choose(&names(&["http", "countd", "stored"])).unwrap();
        assert_eq!((chosen, others), (Some(1), names(&["http", "stored"])));
        for wrong in [&["a", "b"][..], &["countd", "x", "countd"]] {
            let said = choose(&names(wrong)).unwrap_err().to_string();
            assert!(said.contains("FileDescriptorName=countd"), "{said}");
        }
    }

    #[test]
    fn what_was_handed_to_somebody_else_is_told_of() {
        let variables = |number: Option<&'static str>, pid: Option<&'static str>| {
            move |name: &str| match name {
                "LISTEN_FDS" => number.map(OsString::from),
                _ => pid.map(OsString::from),
            }
        };
        for (number, pid) in [(None, None), (None, Some("7")), (Some("0"), Some("7"))] {
            assert_eq!(not_for_us(variables(number, pid), 8), None);
        }
        assert_eq!(not_for_us(variables(Some("0"), Some("8")), 8), None);
        let said = not_for_us(variables(Some("1"), Some("7")), 8).unwrap();
        assert!(said.contains("is for process 7"), "{said}");
        let said = not_for_us(variables(Some("1"), None), 8).unwrap();
        assert!(said.contains("LISTEN_PID is not set"), "{said}");
    }
}
