//! Listening on a Unix socket: one's own, or one that was handed over, of which nothing is changed. A socket
//! path of one's own has one live owner, by a lock beside it. The socket
//! is made under another name and then renamed, so that it appears with its mode and group, and takes the
//! place of a stale one without a moment in which clients find nothing. Only a socket that nobody serves any
//! more is replaced; a live one, and any other file, never is. Nothing is accepted here.

use std::fmt;
use std::fs::{File, OpenOptions, Permissions, TryLockError};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use interprocess::local_socket::{
    GenericFilePath, Listener, ListenerNonblockingMode, ListenerOptions, prelude::*,
};
use interprocess::os::unix::local_socket::ListenerOptionsExt;
use interprocess::os::unix::uds_local_socket as uds;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

use super::activation::HandedOver;

/// The end of the name of the file whose lock says who owns a path.
const LOCK: &str = ".lock";
/// The end of the name under which a socket is made.
const NEW: &str = "~";

/// A socket to listen on.
#[derive(Debug, Clone)]
pub struct ListenAt {
    /// Its path.
    pub path: PathBuf,
    /// Its mode, whatever the umask.
    pub mode: u32,
    /// The group it is to belong to.
    pub group: Option<u32>,
}

/// A socket that listens.
#[derive(Debug)]
pub struct Listening {
    listener: Listener,
    path: PathBuf,
    /// What there is of it if it is ours.
    ours: Option<Ours>,
}

#[derive(Debug)]
struct Ours {
    identity: (u64, u64),
    /// Held as long as we live; the file stays, or two could hold a lock on two files of one name.
    _lock: File,
}

/// Why a socket cannot be had.
#[derive(Debug)]
pub enum ListenError {
    /// Another daemon has it.
    Taken(PathBuf),
    /// There is a file of another type.
    NotASocket(PathBuf),
    /// The system said no.
    System {
        /// What was tried.
        doing: &'static str,
        /// With what.
        path: PathBuf,
        /// What it said.
        cause: io::Error,
    },
}

impl fmt::Display for ListenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ListenError::Taken(path) => write!(
                f,
                "another daemon, or a socket unit of systemd, serves {}: stop it, or choose another with \
                 --socket",
                path.display()
            ),
            ListenError::NotASocket(path) => {
                write!(f, "{} is there and is no socket: it is left alone", path.display())
            }
            ListenError::System { path, cause, .. } if cause.kind() == io::ErrorKind::NotFound => {
                let folder = path.parent().unwrap_or(path).display();
                write!(f, "there is no folder {folder} for the socket: make it first")
            }
            ListenError::System { doing, path, cause } => {
                write!(f, "cannot {doing} {}: {cause}", path.display())
            }
        }
    }
}

impl std::error::Error for ListenError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            ListenError::System { cause, .. } => Some(cause),
            ListenError::Taken(_) | ListenError::NotASocket(_) => None,
        }
    }
}

impl Listening {
    /// Takes the socket path and listens there.
    ///
    /// # Errors
    /// [`ListenError`] when another daemon is there, or something else, or the system refuses.
    pub fn open(at: &ListenAt) -> Result<Listening, ListenError> {
        let path = at.path.as_path();
        let system =
            |doing| move |cause| ListenError::System { doing, path: at.path.clone(), cause };
        let lock = lock(path)?;
        let new = beside(path, NEW);
        for place in [path, &new] {
            refuse_taken(place)?;
        }
        remove(&new).map_err(system("remove what a start left half-made beside"))?;
        let listener = bind(&new, at.mode).map_err(system("listen on"))?;
        if let Err(cause) = put_into_place(&new, at) {
            let _ = remove(&new);
            return Err(system("put into place the socket")(cause));
        }
        let metadata = std::fs::symlink_metadata(path).map_err(system("look at"))?;
        let identity = (metadata.dev(), metadata.ino());
        let ours = Some(Ours { identity, _lock: lock });
        Ok(Listening { listener, path: path.to_owned(), ours })
    }

    /// Listens on a socket that was handed over. Its file is left alone, now and later.
    pub fn adopt(handed: HandedOver) -> Listening {
        let HandedOver { listener, path } = handed;
        Listening { listener: Listener::UdSocket(uds::Listener::from(listener)), path, ours: None }
    }

    /// Whether it belongs to whoever handed it over.
    pub fn is_handed_over(&self) -> bool {
        self.ours.is_none()
    }

    /// The listener.
    pub fn listener(&self) -> &Listener {
        &self.listener
    }

    /// Where it listens.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Removes the socket, if it is ours and still there: from then on nobody new can connect.
    pub fn unlink(&self) {
        let Some(Ours { identity, .. }) = &self.ours else { return };
        let there = std::fs::symlink_metadata(&self.path);
        if there.is_ok_and(|metadata| (metadata.dev(), metadata.ino()) == *identity) {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

impl AsFd for Listening {
    fn as_fd(&self) -> BorrowedFd<'_> {
        let Listener::UdSocket(socket) = &self.listener;
        socket.as_fd()
    }
}

/// What is made beside a socket to listen there: the lock, and at first the socket.
pub fn companions(path: &Path) -> [PathBuf; 2] {
    [LOCK, NEW].map(|ending| beside(path, ending))
}

/// The file beside the socket whose lock says who owns the path.
fn lock(path: &Path) -> Result<File, ListenError> {
    let lock_path = beside(path, LOCK);
    let flags = rustix::fs::OFlags::NOFOLLOW.bits();
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .custom_flags(i32::try_from(flags).unwrap_or_default())
        .open(&lock_path);
    let system = |doing| {
        let path = lock_path.clone();
        move |cause| ListenError::System { doing, path, cause }
    };
    let file = file.map_err(system("open the lock"))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(ListenError::Taken(path.to_owned())),
        Err(TryLockError::Error(cause)) => Err(system("lock")(cause)),
    }
}

/// The path with more at its end.
fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    PathBuf::from(name)
}

/// Refuses a place where there is anything but a stale socket: one that refuses connections while we hold
/// its lock.
fn refuse_taken(path: &Path) -> Result<(), ListenError> {
    let system = |doing, cause| ListenError::System { doing, path: path.to_owned(), cause };
    let metadata = match std::fs::symlink_metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(system("look at", error)),
    };
    if !metadata.file_type().is_socket() {
        return Err(ListenError::NotASocket(path.to_owned()));
    }
    match probe(path) {
        Err(Errno::CONNREFUSED) => Ok(()),
        Ok(()) | Err(Errno::AGAIN) => Err(ListenError::Taken(path.to_owned())),
        Err(error) => Err(system("see who serves", error.into())),
    }
}

fn remove(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

fn probe(path: &Path) -> rustix::io::Result<()> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    rustix::net::connect(socket.as_fd(), &SocketAddrUnix::new(path)?)
}

/// Binds, with this mode less the umask.
fn bind(path: &Path, mode: u32) -> io::Result<Listener> {
    ListenerOptions::new()
        .name(path.to_fs_name::<GenericFilePath>()?)
        .mode(mode)
        .nonblocking(ListenerNonblockingMode::Accept)
        // Dropping it would remove whatever has the name by then.
        .reclaim_name(false)
        .create_sync()
}

/// Gives a socket its group and, whatever the umask took from it, its mode; then its name.
fn put_into_place(new: &Path, at: &ListenAt) -> io::Result<()> {
    if let Some(group) = at.group {
        std::os::unix::fs::lchown(new, None, Some(group))?;
    }
    std::fs::set_permissions(new, Permissions::from_mode(at.mode))?;
    std::fs::rename(new, &at.path)
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    fn at(path: &Path, mode: u32) -> ListenAt {
        ListenAt { path: path.to_owned(), mode, group: None }
    }

    #[test]
    fn the_mode_is_exact_whatever_the_umask() {
        let folder = tempfile::tempdir().unwrap();
        for mode in [0o666, 0o660, 0o600] {
            let path = folder.path().join(format!("{mode:o}"));
            let _listening = Listening::open(&at(&path, mode)).unwrap();
            let metadata = std::fs::symlink_metadata(&path).unwrap();
            assert_eq!(metadata.permissions().mode() & 0o7777, mode);
        }
    }

    #[test]
    fn a_second_daemon_is_refused_and_the_first_keeps_its_socket() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sock");
        let first = Listening::open(&at(&path, 0o600)).unwrap();
        let error = Listening::open(&at(&path, 0o600)).unwrap_err();
        assert!(matches!(error, ListenError::Taken(_)), "{error}");
        assert_eq!(probe(&path), Ok(()));
        drop(first);
    }

    #[test]
    fn a_stale_socket_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sock");
        drop(Listening::open(&at(&path, 0o600)).unwrap());
        assert_eq!(probe(&path), Err(Errno::CONNREFUSED));
        let _again = Listening::open(&at(&path, 0o600)).unwrap();
        assert_eq!(probe(&path), Ok(()));
    }

    #[test]
    fn while_a_stale_socket_is_replaced_there_is_always_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sock");
        drop(Listening::open(&at(&path, 0o600)).unwrap());
        let replaced = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !replaced.load(std::sync::atomic::Ordering::Relaxed) {
                    let answer = probe(&path);
                    assert!(matches!(answer, Ok(()) | Err(Errno::CONNREFUSED)), "{answer:?}");
                }
            });
            for _ in 0..200 {
                drop(Listening::open(&at(&path, 0o600)).unwrap());
            }
            replaced.store(true, std::sync::atomic::Ordering::Relaxed);
        });
    }

    #[test]
    fn what_a_killed_start_left_half_made_is_no_obstacle() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sock");
        drop(bind(&beside(&path, "~"), 0o600).unwrap());
        let _listening = Listening::open(&at(&path, 0o600)).unwrap();
        assert_eq!(probe(&path), Ok(()));
        assert!(!beside(&path, "~").exists());
    }

    #[test]
    fn a_live_socket_without_our_lock_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sock");
        let _foreign = UnixListener::bind(&path).unwrap();
        let error = Listening::open(&at(&path, 0o600)).unwrap_err();
        assert!(matches!(error, ListenError::Taken(_)), "{error}");
        assert_eq!(probe(&path), Ok(()));
    }

    #[test]
    fn a_file_that_is_no_socket_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sock");
        std::fs::write(&path, "precious").unwrap();
        let error = Listening::open(&at(&path, 0o600)).unwrap_err();
        assert!(matches!(error, ListenError::NotASocket(_)), "{error}");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");
    }

    #[test]
    fn a_socket_that_was_handed_over_is_left_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sock");
        let theirs = UnixListener::bind(&path).unwrap();
        std::fs::set_permissions(&path, Permissions::from_mode(0o642)).unwrap();
        let look = || {
            let metadata = std::fs::symlink_metadata(&path).unwrap();
            (metadata.ino(), metadata.mode(), metadata.uid(), metadata.ctime_nsec())
        };
        let before = look();
        let handed = HandedOver { listener: theirs.try_clone().unwrap(), path: path.clone() };
        let listening = Listening::adopt(handed);
        assert!(listening.is_handed_over());
        listening.unlink();
        drop(listening);
        assert_eq!((look(), probe(&path)), (before, Ok(())));
        assert!(!beside(&path, ".lock").exists());
    }

    #[test]
    fn unlink_removes_only_our_own_socket() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sock");
        let listening = Listening::open(&at(&path, 0o600)).unwrap();
        std::fs::remove_file(&path).unwrap();
        let _other = UnixListener::bind(&path).unwrap();
        listening.unlink();
        assert!(path.exists());
    }
}
