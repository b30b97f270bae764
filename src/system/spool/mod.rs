//! Spool folders of the file system: the daemon's side, which takes requests out, and in `put` the client's,
//! which puts one in. Anyone may have put anything there: nothing is followed, waited for or trusted. What
//! the files say is not known here.

mod put;
mod watch;

use std::fmt;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Dir, FileType, FlockOperation, Mode, OFlags, RenameFlags, Stat};
use rustix::io::{Errno, retry_on_intr};

use crate::disk::spool::{Kind, Looked, Room, SpoolDisk};

pub use put::{PutError, put};
pub use watch::Watch;

/// The mode of the system's spool folder: everyone may put files in, nobody but the daemon may list them, nobody
/// may touch another's, and all belong to its group.
pub const SHARED_MODE: u32 = 0o3733;
/// The mode of any other.
pub const PRIVATE_MODE: u32 = 0o700;

/// Why a spool folder cannot be had.
#[derive(Debug)]
pub struct SpoolFolderError {
    path: PathBuf,
    why: String,
}

impl fmt::Display for SpoolFolderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "spool folder {}: {}", self.path.display(), self.why)
    }
}

impl std::error::Error for SpoolFolderError {}

/// A spool folder that this process takes requests out of for as long as it keeps this value.
#[derive(Debug)]
pub struct SpoolFolder {
    path: PathBuf,
    spool: OwnedFd,
    /// Its lock keeps other daemons out.
    taken: OwnedFd,
    refused: OwnedFd,
}

impl SpoolFolder {
    /// Takes a folder into possession, and makes it with this mode if it is missing; its parents, if they are,
    /// with mode 0700.
    ///
    /// # Errors
    /// [`SpoolFolderError`]: it is not ours alone to take from, another daemon does, or the system refuses.
    pub fn open(path: &Path, mode: u32) -> Result<SpoolFolder, SpoolFolderError> {
        let failed = |why| SpoolFolderError { path: path.into(), why };
        let io = |doing: &'static str| {
            move |error: io::Error| SpoolFolderError {
                path: path.into(),
                why: format!("cannot {doing} it: {error}"),
            }
        };
        make(path, mode).map_err(io("make"))?;
        let spool = open_folder(CWD, path, OFlags::empty()).map_err(io("open"))?;
        let found = rustix::fs::fstat(&spool).map_err(|error| io("look at")(error.into()))?;
        let euid = rustix::process::geteuid().as_raw();
        check(found.st_uid, found.st_mode, euid).map_err(failed)?;
        let own = |name| own_folder(&spool, name, euid).map_err(|why| failed(why.to_string()));
        let (taken, refused) = (own("taken")?, own("refused")?);
        let locked = rustix::fs::flock(&taken, FlockOperation::NonBlockingLockExclusive);
        match locked {
            Ok(()) => Ok(SpoolFolder { path: path.into(), spool, taken, refused }),
            Err(Errno::WOULDBLOCK) => Err(failed("another countd takes requests out of it".into())),
            Err(error) => Err(io("lock")(error.into())),
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn room(&self, room: Room) -> &OwnedFd {
        match room {
            Room::Spool => &self.spool,
            Room::Taken => &self.taken,
            Room::Refused => &self.refused,
        }
    }
}

/// Whether requests can be taken out of a folder of this owner and mode. Its owner is asked for first: of any
/// other the mode says nothing.
fn check(owner: u32, mode: u32, euid: u32) -> Result<(), String> {
    if owner != euid {
        return Err(format!("it belongs to uid {owner}, not to the daemon's user"));
    }
    let shared = mode & 0o022 != 0;
    if shared && mode & 0o1000 == 0 {
        let why = "others may write to it, and it has no sticky bit: chmod 3733 or 0700 it";
        return Err(why.into());
    }
    // Files are for their owner and for the folder's group, which they get by this bit.
    if shared && mode & 0o2000 == 0 && euid != 0 {
        let why = "others may write to it, and it has no set-group-ID bit, without which their files \
                   cannot be read: chmod 3733 or 0700 it";
        return Err(why.into());
    }
    Ok(())
}

/// Makes the folder, with this mode whatever the umask, and the parents of one that is for nobody else.
fn make(path: &Path, mode: u32) -> io::Result<()> {
    if let Some(parent) = path.parent().filter(|_| mode == PRIVATE_MODE) {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(parent)?;
    }
    match std::fs::DirBuilder::new().mode(0o700).create(path) {
        Ok(()) => std::fs::set_permissions(path, PermissionsExt::from_mode(mode)),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
}

fn open_folder(at: impl AsFd, path: impl rustix::path::Arg, flags: OFlags) -> io::Result<OwnedFd> {
    let flags = flags | OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(at, path, flags, Mode::empty())?)
}

/// A folder in the spool that nobody else may enter. Anyone may have made something of its name before.
fn own_folder(spool: &OwnedFd, name: &'static str, euid: u32) -> io::Result<OwnedFd> {
    match rustix::fs::mkdirat(spool, name, Mode::from_raw_mode(0o700)) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(error) => return Err(error.into()),
    }
    let folder = open_folder(spool, name, OFlags::NOFOLLOW)
        .map_err(|error| io::Error::new(error.kind(), format!("cannot open {name}: {error}")))?;
    let found = rustix::fs::fstat(&folder)?;
    if found.st_uid != euid || found.st_mode & 0o077 != 0 {
        let why = format!("{name} in it is not the daemon's alone: remove it");
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, why));
    }
    Ok(folder)
}

impl SpoolDisk for SpoolFolder {
    fn list(
        &self,
        room: Room,
        wanted: &dyn Fn(&str) -> bool,
        max: usize,
    ) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in Dir::read_from(self.room(room))? {
            let entry = entry?;
            match entry.file_name().to_str() {
                Ok("." | "..") | Err(_) => {}
                Ok(name) if wanted(name) && names.len() < max => names.push(name.into()),
                Ok(_) => {}
            }
        }
        Ok(names)
    }

    fn look(&self, room: Room, name: &str) -> io::Result<Looked> {
        let flags = AtFlags::SYMLINK_NOFOLLOW;
        Ok(looked(&retry_on_intr(|| rustix::fs::statat(self.room(room), name, flags))?))
    }

    fn read(&self, room: Room, name: &str, max: usize) -> io::Result<(Looked, Vec<u8>)> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
        let flags = flags | OFlags::CLOEXEC;
        let open = || rustix::fs::openat(self.room(room), name, flags, Mode::empty());
        let file = retry_on_intr(open)?;
        let looked = looked(&rustix::fs::fstat(&file)?);
        if looked.kind != Kind::File {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"));
        }
        // As much as the file has, for the limit is large and files are small.
        let length = usize::try_from(looked.bytes).unwrap_or(usize::MAX).min(max);
        let mut bytes = vec![0; length];
        let mut filled = 0_usize;
        while let Some(free) = bytes.get_mut(filled..).filter(|free| !free.is_empty()) {
            match retry_on_intr(|| rustix::io::read(&file, &mut *free))? {
                0 => break,
                count => filled = filled.saturating_add(count),
            }
        }
        bytes.truncate(filled);
        Ok((looked, bytes))
    }

    fn shift(&self, from: Room, name: &str, to: Room, new: &str) -> io::Result<()> {
        let (from, to) = (self.room(from), self.room(to));
        let flags = RenameFlags::NOREPLACE;
        Ok(retry_on_intr(|| rustix::fs::renameat_with(from, name, to, new, flags))?)
    }

    fn remove(&self, room: Room, name: &str) -> io::Result<()> {
        let room = self.room(room);
        let unlink = |flags| retry_on_intr(|| rustix::fs::unlinkat(room, name, flags));
        match unlink(AtFlags::empty()) {
            Err(Errno::ISDIR | Errno::PERM) => Ok(unlink(AtFlags::REMOVEDIR)?),
            removed => Ok(removed?),
        }
    }

    fn sync(&self, room: Room) -> io::Result<()> {
        Ok(retry_on_intr(|| rustix::fs::fsync(self.room(room)))?)
    }
}

fn looked(stat: &Stat) -> Looked {
    let kind = match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => Kind::File,
        FileType::Directory => Kind::Folder,
        FileType::Symlink
        | FileType::Fifo
        | FileType::Socket
        | FileType::CharacterDevice
        | FileType::BlockDevice
        | FileType::Unknown => Kind::Other,
    };
    let seconds = u64::try_from(stat.st_ctime).unwrap_or(0);
    Looked {
        kind,
        uid: stat.st_uid,
        one_name: stat.st_nlink == 1,
        bytes: u64::try_from(stat.st_size).unwrap_or(u64::MAX),
        changed_ms: seconds.saturating_mul(1_000),
    }
}

#[cfg(test)]
mod tests;
