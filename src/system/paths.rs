//! Where the socket and the state are: the same answer for a shell, cron, sudo and a unit of systemd. The
//! look-up is a pure function of an [`Environment`]; only `Environment::of_process`, [`has_system_unit`] and
//! [`make_private_folder`] touch the system. Whether a daemon answers at the place is not looked at.

mod error;
pub mod spool;

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use rustix::io::Errno;

pub use error::PathError;

/// The longest path of a socket, in bytes: `sun_path` of `sockaddr_un`, less its final zero.
pub const SOCKET_PATH_BYTES_MAX: usize = 107;

/// Where a daemon of the system listens.
pub const SYSTEM_SOCKET: &str = "/run/countd/countd.sock";
const SYSTEM_FOLDER: &str = "/run/countd";
const SYSTEM_STATE: &str = "/var/lib/countd";
const SOCKET_VARIABLE: &str = "COUNTD_SOCKET";
const STATE_VARIABLE: &str = "COUNTD_STATE_DIR";

/// Where administrators and packages put units.
const UNIT_FOLDERS: &[&str] = &["/etc/systemd/system", "/usr/lib/systemd/system"];

/// The mode of the system's socket: who can log can count.
pub const SYSTEM_SOCKET_MODE: u32 = 0o666;
/// The mode of any other socket.
pub const PRIVATE_SOCKET_MODE: u32 = 0o600;

/// What a look-up depends on.
pub struct Environment<'a> {
    /// The value of an environment variable.
    pub variable: &'a dyn Fn(&str) -> Option<OsString>,
    /// The effective user id.
    pub euid: u32,
    /// What is at a path.
    pub look: &'a dyn Fn(&Path) -> Place,
}

/// What is at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// Nothing.
    Missing,
    /// It cannot be told, for want of permission.
    Hidden,
    /// A folder.
    Folder {
        /// Its owner's user id.
        owner: u32,
        /// Its permission bits.
        mode: u32,
        /// Whether the path is a symbolic link to it.
        by_link: bool,
    },
    /// Anything else.
    Other,
}

/// Who chose a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// The command line.
    Option(&'static str),
    /// This environment variable.
    Variable(&'static str),
    /// The program that uses this library.
    Caller,
    /// Nobody: it is a place where countd looks by itself.
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Option(name) | Origin::Variable(name) => f.write_str(name),
            Origin::Caller => f.write_str("the path given"),
            Origin::Default => f.write_str("the default"),
        }
    }
}

/// The path of a socket, and how it was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SocketPath {
    path: PathBuf,
    origin: Origin,
    passed: Vec<PathBuf>,
}

impl SocketPath {
    /// A path that the caller knows.
    ///
    /// # Errors
    /// [`PathError`] if it is empty or too long for a socket.
    pub fn new(path: impl Into<PathBuf>) -> Result<SocketPath, PathError> {
        SocketPath::checked(path.into(), Origin::Caller, Vec::new())
    }

    /// The socket a client of this process connects to when it was given no path: `COUNTD_SOCKET`, else
    /// the first place where a daemon may be.
    ///
    /// # Errors
    /// As [`client_socket`].
    pub fn find() -> Result<SocketPath, PathError> {
        Environment::of_process(|environment| client_socket(None, environment))
    }

    /// The path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Who chose it.
    pub fn origin(&self) -> Origin {
        self.origin
    }

    /// The places that were looked at before, in order, where there was nothing.
    pub fn passed(&self) -> &[PathBuf] {
        &self.passed
    }

    fn checked(
        path: PathBuf,
        origin: Origin,
        passed: Vec<PathBuf>,
    ) -> Result<SocketPath, PathError> {
        let bytes = path.as_os_str().len();
        if bytes == 0 {
            return Err(PathError::Empty { origin });
        }
        if bytes > SOCKET_PATH_BYTES_MAX {
            return Err(PathError::TooLong { path, origin, bytes });
        }
        if path.as_os_str().as_bytes().contains(&0) {
            return Err(PathError::Nul { origin });
        }
        Ok(SocketPath { path, origin, passed })
    }
}

impl fmt::Display for SocketPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.path.display())?;
        match self.origin {
            Origin::Variable(name) => write!(f, " (from {name})"),
            Origin::Option(_) | Origin::Caller => Ok(()),
            Origin::Default => {
                for passed in &self.passed {
                    write!(f, ", nothing at {}", passed.display())?;
                }
                Ok(())
            }
        }
    }
}

/// The socket a client connects to: the option, else `COUNTD_SOCKET`, else `/run/countd/countd.sock` if it
/// is there, else `countd/countd.sock` in the user's runtime folder if there is one, else
/// `/tmp/countd-EUID/countd.sock`.
///
/// # Errors
/// [`PathError`] for a path that no socket can have, and for a folder below `/tmp` that is not the
/// user's alone.
pub fn client_socket(
    option: Option<&OsStr>,
    environment: &Environment<'_>,
) -> Result<SocketPath, PathError> {
    if let Some((path, origin)) = chosen_socket(option, environment) {
        return SocketPath::checked(path, origin, Vec::new());
    }
    let system = PathBuf::from(SYSTEM_SOCKET);
    if (environment.look)(&system) != Place::Missing {
        return SocketPath::checked(system, Origin::Default, Vec::new());
    }
    user_socket(environment, vec![system]).map(|(socket, _)| socket)
}

/// Where `serve` listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServeSocket {
    /// The socket.
    pub socket: SocketPath,
    /// The mode it gets unless told otherwise.
    pub mode: u32,
    /// The folder to make first, by [`make_private_folder`] or, for the system's, with mode 0755.
    pub folder: Option<(PathBuf, u32)>,
    /// What clients of the same user look at when they are told nothing, if it is another path: they
    /// need `COUNTD_SOCKET` then.
    pub clients_look_at: Option<PathBuf>,
}

/// Where `serve` listens when it was not handed a socket: the option, else `COUNTD_SOCKET`, else `/run/countd/countd.sock` as root or where
/// `/run/countd` is the user's, else the next of the places where clients look.
///
/// # Errors
/// As [`client_socket`].
pub fn serve_socket(
    option: Option<&OsStr>,
    environment: &Environment<'_>,
) -> Result<ServeSocket, PathError> {
    let system = PathBuf::from(SYSTEM_SOCKET);
    let (socket, folder) = match chosen_socket(option, environment) {
        Some((path, origin)) => (SocketPath::checked(path, origin, Vec::new())?, None),
        None if has_system_folder(environment) => {
            let socket = SocketPath::checked(system, Origin::Default, Vec::new())?;
            (socket, Some((PathBuf::from(SYSTEM_FOLDER), 0o755)))
        }
        None => {
            let (socket, folder) = user_socket(environment, Vec::new())?;
            (socket, Some((folder, 0o700)))
        }
    };
    Ok(with_what_clients_look_at(socket, folder, environment))
}

/// Where `serve` listens when it was handed this socket: there, and nowhere else.
///
/// # Errors
/// [`PathError`] for a path that no client can connect to.
pub fn handed_over_socket(
    path: &Path,
    environment: &Environment<'_>,
) -> Result<ServeSocket, PathError> {
    let socket = SocketPath::checked(path.to_owned(), Origin::Caller, Vec::new())?;
    Ok(with_what_clients_look_at(socket, None, environment))
}

fn with_what_clients_look_at(
    socket: SocketPath,
    folder: Option<(PathBuf, u32)>,
    environment: &Environment<'_>,
) -> ServeSocket {
    let is_system = socket.path() == Path::new(SYSTEM_SOCKET);
    let mode = if is_system { SYSTEM_SOCKET_MODE } else { PRIVATE_SOCKET_MODE };
    let unset = Environment { variable: &|name| other_variable(environment, name), ..*environment };
    // Who has set the variable for serve has it for clients too.
    let told = is_system || matches!(socket.origin(), Origin::Variable(_));
    let found = if told { None } else { client_socket(None, &unset).ok() };
    let clients_look_at = found.map(|found| found.path).filter(|path| *path != socket.path());
    ServeSocket { socket, mode, folder, clients_look_at }
}

/// Where `serve` keeps its state: the option, else `COUNTD_STATE_DIR`, else `STATE_DIRECTORY` as systemd
/// sets it, else `/var/lib/countd` as root, else `countd` in `XDG_STATE_HOME` or `~/.local/state`.
///
/// # Errors
/// [`PathError::Empty`] for an empty option, [`PathError::NoHome`] when no variable tells a place.
pub fn state_folder(
    option: Option<&OsStr>,
    environment: &Environment<'_>,
) -> Result<PathBuf, PathError> {
    if let Some(option) = option {
        let origin = Origin::Option("--state-dir");
        return if option.is_empty() {
            Err(PathError::Empty { origin })
        } else {
            Ok(option.into())
        };
    }
    if let Some(folder) = environment.set(STATE_VARIABLE) {
        return Ok(folder.into());
    }
    if let Some(folders) = environment.set("STATE_DIRECTORY") {
        // A unit with several has them in the order in which it names them.
        let mut folders = folders.as_bytes().split(|byte| *byte == b':');
        if let Some(first) = folders.find(|folder| !folder.is_empty()) {
            return Ok(PathBuf::from(OsStr::from_bytes(first)));
        }
    }
    if environment.euid == 0 {
        return Ok(PathBuf::from(SYSTEM_STATE));
    }
    user_state(environment)
}

/// Where a user's own daemon keeps its state unless told otherwise.
fn user_state(environment: &Environment<'_>) -> Result<PathBuf, PathError> {
    // The XDG specification has relative paths ignored.
    let state_home = environment.set("XDG_STATE_HOME").map(PathBuf::from);
    if let Some(state_home) = state_home.filter(|path| path.is_absolute()) {
        return Ok(state_home.join("countd"));
    }
    let home = environment.set("HOME").ok_or(PathError::NoHome)?;
    Ok(PathBuf::from(home).join(".local/state/countd"))
}

/// Whether this system has a daemon of its own, which systemd starts.
pub fn has_system_unit() -> bool {
    let is_there = |folder: &&str| Path::new(folder).join("countd.socket").exists();
    Path::new("/run/systemd/system").is_dir() && UNIT_FOLDERS.iter().any(is_there)
}

/// Makes a folder that only its owner may enter, if it is not there, and its one parent must be. What is
/// there has to be a folder of this user that nobody else may write to.
///
/// # Errors
/// The system's, and `PermissionDenied` when what is there is not ours alone.
pub fn make_private_folder(folder: &Path, euid: u32) -> io::Result<()> {
    match std::fs::DirBuilder::new().mode(0o700).create(folder) {
        Ok(()) => return Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(error),
    }
    match distrusted(look(folder), euid) {
        None => Ok(()),
        Some(why) => Err(io::Error::new(io::ErrorKind::PermissionDenied, why)),
    }
}

impl Environment<'_> {
    /// Hands `use_it` the environment of this process.
    pub fn of_process<T>(use_it: impl FnOnce(&Environment<'_>) -> T) -> T {
        let environment = Environment {
            variable: &|name| std::env::var_os(name),
            euid: rustix::process::geteuid().as_raw(),
            look: &look,
        };
        use_it(&environment)
    }

    /// A variable's value; an empty one counts as not set.
    pub fn set(&self, name: &str) -> Option<OsString> {
        (self.variable)(name).filter(|value| !value.is_empty())
    }
}

fn chosen_socket(
    option: Option<&OsStr>,
    environment: &Environment<'_>,
) -> Option<(PathBuf, Origin)> {
    if let Some(option) = option {
        return Some((option.into(), Origin::Option("--socket")));
    }
    let variable = environment.set(SOCKET_VARIABLE)?;
    Some((variable.into(), Origin::Variable(SOCKET_VARIABLE)))
}

/// The user's own socket and the folder it is in.
fn user_socket(
    environment: &Environment<'_>,
    mut passed: Vec<PathBuf>,
) -> Result<(SocketPath, PathBuf), PathError> {
    let euid = environment.euid;
    let runtime = environment.set("XDG_RUNTIME_DIR").map(PathBuf::from);
    let runtime = runtime.unwrap_or_else(|| PathBuf::from(format!("/run/user/{euid}")));
    match (environment.look)(&runtime) {
        Place::Folder { owner, .. } if owner == euid => {
            let folder = runtime.join("countd");
            let socket = folder.join("countd.sock");
            return Ok((SocketPath::checked(socket, Origin::Default, passed)?, folder));
        }
        Place::Folder { .. } | Place::Missing | Place::Hidden | Place::Other => {
            passed.push(runtime);
        }
    }
    let folder = PathBuf::from(format!("/tmp/countd-{euid}"));
    match (environment.look)(&folder) {
        // Not there: that is for the connect to find, or for serve to make.
        Place::Missing => {}
        place @ (Place::Hidden | Place::Folder { .. } | Place::Other) => {
            if let Some(why) = distrusted(place, euid) {
                return Err(PathError::Untrusted { folder, why });
            }
        }
    }
    let socket = SocketPath::checked(folder.join("countd.sock"), Origin::Default, passed)?;
    Ok((socket, folder))
}

/// Root makes it; for the user of a unit systemd has made it.
fn has_system_folder(environment: &Environment<'_>) -> bool {
    let owned = |place| matches!(place, Place::Folder { owner, .. } if owner == environment.euid);
    environment.euid == 0 || owned((environment.look)(Path::new(SYSTEM_FOLDER)))
}

fn other_variable(environment: &Environment<'_>, name: &str) -> Option<OsString> {
    if name == SOCKET_VARIABLE { None } else { (environment.variable)(name) }
}

/// Why what is in a place where everyone may write is not to be trusted.
fn distrusted(place: Place, euid: u32) -> Option<&'static str> {
    match place {
        Place::Folder { by_link: true, .. } => Some("is a symbolic link"),
        Place::Folder { owner, .. } if owner != euid => Some("belongs to another user"),
        Place::Folder { mode, .. } if mode & 0o777 != 0o700 => {
            Some("can be entered by others, its mode is not 0700")
        }
        Place::Folder { .. } => None,
        Place::Missing => Some("is gone"),
        Place::Hidden => Some("cannot be looked at"),
        Place::Other => Some("is no folder"),
    }
}

fn look(path: &Path) -> Place {
    let found = match std::fs::symlink_metadata(path) {
        Ok(found) => found,
        Err(error) => return not_found(&error),
    };
    let by_link = found.file_type().is_symlink();
    let found = if by_link {
        match std::fs::metadata(path) {
            Ok(found) => found,
            // A link that leads nowhere is there all the same.
            Err(_) => return Place::Other,
        }
    } else {
        found
    };
    if found.is_dir() {
        Place::Folder { owner: found.uid(), mode: found.mode() & 0o7777, by_link }
    } else {
        Place::Other
    }
}

fn not_found(error: &io::Error) -> Place {
    match Errno::from_io_error(error) {
        Some(Errno::NOENT | Errno::NOTDIR) => Place::Missing,
        _ => Place::Hidden,
    }
}

#[cfg(test)]
mod tests;
