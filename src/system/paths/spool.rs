//! Where requests are spooled: for the daemon that takes them, and for a client that finds none. A client must
//! not put a request where another daemon takes it than the one it was meant for, so it has to know which
//! that is.

use crate::system::disk::LOCK;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use super::{
    Environment, Origin, PathError, Place, STATE_VARIABLE, SYSTEM_SOCKET, SocketPath, user_state,
};

/// Where requests are spooled for the daemon of the system.
pub const SYSTEM_SPOOL: &str = "/var/spool/countd";
const SPOOL_VARIABLE: &str = "COUNTD_SPOOL_DIR";
/// The spool in a state folder.
const FOLDER: &str = "spool";

/// A spool folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SpoolPath {
    /// Somebody chose it.
    Chosen(PathBuf),
    /// That of the daemon of the system.
    System,
    /// That of one state folder, for its user alone.
    Private(PathBuf),
}

impl SpoolPath {
    /// The path.
    pub fn path(&self) -> &Path {
        match self {
            SpoolPath::Chosen(path) | SpoolPath::Private(path) => path,
            SpoolPath::System => Path::new(SYSTEM_SPOOL),
        }
    }
}

/// Where a daemon takes requests from that listens on `socket` and has its state in `state`: the option,
/// else `COUNTD_SPOOL_DIR`, else `/var/spool/countd` for the system's socket, else `spool` in the state
/// folder.
///
/// # Errors
/// [`PathError::Empty`] for an empty option.
pub fn serve_spool(
    option: Option<&OsStr>,
    environment: &Environment<'_>,
    socket: &Path,
    state: &Path,
) -> Result<SpoolPath, PathError> {
    Ok(match chosen(option, environment)? {
        Some(chosen) => chosen,
        None if socket == Path::new(SYSTEM_SOCKET) => SpoolPath::System,
        None => SpoolPath::Private(state.join(FOLDER)),
    })
}

/// Where a client that looked for its daemon at `socket` spools: the option, else `COUNTD_SPOOL_DIR`, else
/// `/var/spool/countd` if the socket is the system's; else, if nobody chose a socket, the spool of the user's own
/// daemon, or `/var/spool/countd` if that is there and the user has no daemon: neither its socket nor its
/// state is there.
///
/// # Errors
/// [`PathError::NoSpool`] when it cannot be told where that daemon would take it from.
pub fn client_spool(
    option: Option<&OsStr>,
    environment: &Environment<'_>,
    socket: &SocketPath,
) -> Result<SpoolPath, PathError> {
    if let Some(chosen) = chosen(option, environment)? {
        return Ok(chosen);
    }
    if socket.path() == Path::new(SYSTEM_SOCKET) {
        return Ok(SpoolPath::System);
    }
    if socket.origin() != Origin::Default {
        return Err(PathError::NoSpool { socket: socket.path().to_owned() });
    }
    let is_there = |path: &Path| (environment.look)(path) != Place::Missing;
    // A daemon of root's serves the system. STATE_DIRECTORY is of whatever unit this client is part of.
    let own = match environment.set(STATE_VARIABLE) {
        _ if environment.euid == 0 => None,
        Some(folder) => Some(PathBuf::from(folder)),
        None => user_state(environment).ok(),
    };
    let has_daemon =
        is_there(socket.path()) || own.as_ref().is_some_and(|state| is_there(&state.join(LOCK)));
    let system = || match (environment.look)(Path::new(SYSTEM_SPOOL)) {
        Place::Folder { .. } => Some(SpoolPath::System),
        Place::Missing | Place::Hidden | Place::Other => None,
    };
    let private = || own.as_ref().map(|state| SpoolPath::Private(state.join(FOLDER)));
    let spool = if has_daemon { private().or_else(system) } else { system().or_else(private) };
    spool.ok_or_else(|| PathError::NoSpool { socket: socket.path().to_owned() })
}

fn chosen(
    option: Option<&OsStr>,
    environment: &Environment<'_>,
) -> Result<Option<SpoolPath>, PathError> {
    if option.is_some_and(OsStr::is_empty) {
        return Err(PathError::Empty { origin: Origin::Option("--spool-dir") });
    }
    let variable = || environment.set(SPOOL_VARIABLE);
    let chosen = option.map(OsStr::to_owned).or_else(variable);
    Ok(chosen.map(|path| SpoolPath::Chosen(path.into())))
}
