//! The real disk: a folder held open by its descriptor, so that nobody can swap it for another, the lock that
//! gives a state folder one live owner, and a folder by its path, as log files are in. What the files say is
//! not known here.

use std::fmt;
use std::fs::{DirBuilder, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{AtFlags, CWD, Dir, FileType, Gid, Mode, OFlags, Uid};
use rustix::io::retry_on_intr;

use crate::disk::{Disk, File, Identity};

/// The name of the file whose lock is the ownership of a state folder. It is never removed.
pub(super) const LOCK: &str = "lock";

/// A folder of the file system.
#[derive(Debug)]
pub struct FolderDisk {
    folder: OwnedFd,
    /// Files are opened to be read only, and nothing is changed.
    read_only: bool,
}

impl FolderDisk {
    /// Opens a folder that is there.
    ///
    /// # Errors
    /// What the system says.
    pub fn open(path: &Path) -> io::Result<FolderDisk> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let folder = retry_on_intr(|| rustix::fs::openat(CWD, path, flags, Mode::empty()))?;
        Ok(FolderDisk { folder, read_only: false })
    }

    /// Opens a folder that is there to look at it: also one that nobody may write to.
    ///
    /// # Errors
    /// What the system says.
    pub fn open_read_only(path: &Path) -> io::Result<FolderDisk> {
        Ok(FolderDisk { read_only: true, ..FolderDisk::open(path)? })
    }

    /// Never follows a symbolic link and never waits for the other end of a named pipe.
    fn open_file(&self, name: &str, flags: OFlags, mode: u32) -> io::Result<std::fs::File> {
        let access = if self.read_only { OFlags::RDONLY } else { OFlags::RDWR };
        let flags = flags | access | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let mode = Mode::from_raw_mode(mode);
        let file = retry_on_intr(|| rustix::fs::openat(&self.folder, name, flags, mode))?;
        let found = rustix::fs::fstat(&file)?;
        if FileType::from_raw_mode(found.st_mode) != FileType::RegularFile {
            return Err(not_regular());
        }
        if flags.contains(OFlags::CREATE) && rustix::process::geteuid().is_root() {
            self.give_to_owner_of_folder(&file, found.st_uid)?;
        }
        Ok(file.into())
    }

    /// What root makes in the folder of another user is for that user's daemon.
    fn give_to_owner_of_folder(&self, file: &OwnedFd, owner: u32) -> io::Result<()> {
        let folder = rustix::fs::fstat(&self.folder)?;
        if folder.st_uid != owner {
            let (uid, gid) = (Uid::from_raw(folder.st_uid), Gid::from_raw(folder.st_gid));
            rustix::fs::fchown(file, Some(uid), Some(gid))?;
        }
        Ok(())
    }

    fn writable(&self) -> io::Result<&OwnedFd> {
        match self.read_only {
            true => Err(io::ErrorKind::ReadOnlyFilesystem.into()),
            false => Ok(&self.folder),
        }
    }

    fn journal_file(&self, name: &str, flags: OFlags) -> io::Result<Arc<dyn File>> {
        let file = self.open_file(name, flags | OFlags::APPEND, 0o640)?;
        Ok(Arc::new(FolderFile { file, truncated: AtomicBool::new(false) }))
    }
}

impl Disk for FolderDisk {
    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in Dir::read_from(&self.folder)? {
            let entry = entry?;
            match entry.file_name().to_str() {
                Ok("." | "..") | Err(_) => {}
                Ok(name) => names.push(name.into()),
            }
        }
        Ok(names)
    }

    fn identity(&self, name: &str) -> io::Result<Identity> {
        let flags = AtFlags::SYMLINK_NOFOLLOW;
        let found = retry_on_intr(|| rustix::fs::statat(&self.folder, name, flags))?;
        if FileType::from_raw_mode(found.st_mode) != FileType::RegularFile {
            return Err(not_regular());
        }
        Ok(Identity { device: found.st_dev, inode: found.st_ino })
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn File>> {
        self.journal_file(name, OFlags::empty())
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn File>> {
        self.writable()?;
        self.journal_file(name, OFlags::CREATE | OFlags::EXCL)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let folder = self.writable()?;
        Ok(retry_on_intr(|| rustix::fs::renameat(folder, from, folder, to))?)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let folder = self.writable()?;
        Ok(retry_on_intr(|| rustix::fs::unlinkat(folder, name, AtFlags::empty()))?)
    }

    fn sync_folder(&self) -> io::Result<()> {
        Ok(retry_on_intr(|| rustix::fs::fsync(&self.folder))?)
    }
}

fn not_regular() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file")
}

#[derive(Debug)]
struct FolderFile {
    file: std::fs::File,
    /// Whether it was cut since it was last synced: fdatasync only promises lengths that grew.
    truncated: AtomicBool,
}

impl File for FolderFile {
    fn identity(&self) -> io::Result<Identity> {
        let metadata = self.file.metadata()?;
        Ok(Identity { device: metadata.dev(), inode: metadata.ino() })
    }

    fn has_name(&self) -> io::Result<bool> {
        Ok(self.file.metadata()?.nlink() > 0)
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn read_at(&self, offset: u64, bytes: &mut [u8]) -> io::Result<usize> {
        Ok(retry_on_intr(|| rustix::io::pread(&self.file, &mut *bytes, offset))?)
    }

    fn append(&self, bytes: &[u8]) -> io::Result<()> {
        // One write, as a rule. One that comes short is gone on with, to hear why it did.
        (&self.file).write_all(bytes)
    }

    fn truncate(&self, length: u64) -> io::Result<()> {
        retry_on_intr(|| rustix::fs::ftruncate(&self.file, length))?;
        // Not before: a sync on another thread would take it for done.
        self.truncated.store(true, Ordering::Release);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        if self.truncated.swap(false, Ordering::AcqRel) {
            return Ok(retry_on_intr(|| rustix::fs::fsync(&self.file))?);
        }
        Ok(retry_on_intr(|| rustix::fs::fdatasync(&self.file))?)
    }
}

/// A folder by its path, each time anew: what has that path now is meant, and links to files are followed.
#[derive(Debug)]
pub struct PathFolder(PathBuf);

impl PathFolder {
    /// The folder at this path.
    pub fn new(path: &Path) -> PathFolder {
        PathFolder(path.to_owned())
    }

    fn open_file(&self, name: &str, options: &mut OpenOptions) -> io::Result<Arc<dyn File>> {
        // Without O_NONBLOCK a named pipe would hold up everything until somebody opens its other end.
        let flags = i32::try_from(OFlags::NONBLOCK.bits()).map_err(io::Error::other)?;
        let file = options.read(true).append(true).custom_flags(flags).open(self.0.join(name))?;
        if !file.metadata()?.is_file() {
            return Err(not_regular());
        }
        Ok(Arc::new(FolderFile { file, truncated: AtomicBool::new(false) }))
    }
}

impl Disk for PathFolder {
    fn list(&self) -> io::Result<Vec<String>> {
        let entries = std::fs::read_dir(&self.0)?;
        let names = entries.map(|entry| Ok(entry?.file_name().into_string().ok()));
        names.filter_map(Result::transpose).collect()
    }

    fn identity(&self, name: &str) -> io::Result<Identity> {
        let found = std::fs::metadata(self.0.join(name))?;
        if !found.is_file() {
            return Err(not_regular());
        }
        Ok(Identity { device: found.dev(), inode: found.ino() })
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn File>> {
        self.open_file(name, &mut OpenOptions::new())
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn File>> {
        self.open_file(name, OpenOptions::new().create_new(true).mode(0o640))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        std::fs::rename(self.0.join(from), self.0.join(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        std::fs::remove_file(self.0.join(name))
    }

    fn sync_folder(&self) -> io::Result<()> {
        std::fs::File::open(&self.0)?.sync_all()
    }
}

/// Why a state folder cannot be had.
#[derive(Debug)]
pub enum StateFolderError {
    /// Another process owns it.
    Owned {
        /// The folder.
        path: PathBuf,
    },
    /// The system refused.
    Io {
        /// The folder.
        path: PathBuf,
        /// What was tried.
        doing: &'static str,
        /// Why not.
        source: io::Error,
    },
}

impl fmt::Display for StateFolderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StateFolderError::Owned { path } => write!(
                f,
                "another countd has the state folder {}: stop it first, or give this one its own \
                 with --state-dir",
                path.display()
            ),
            StateFolderError::Io { path, doing, source } => {
                write!(f, "cannot {doing} state folder {}: {source}", path.display())
            }
        }
    }
}

impl std::error::Error for StateFolderError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            StateFolderError::Owned { .. } => None,
            StateFolderError::Io { source, .. } => Some(source),
        }
    }
}

/// A state folder that this process owns for as long as it keeps this value.
#[derive(Debug)]
pub struct StateFolder {
    path: PathBuf,
    disk: Arc<FolderDisk>,
    /// Open for the sake of its lock, which the kernel gives back however the process ends.
    _lock: Option<std::fs::File>,
}

impl StateFolder {
    /// Takes a folder into possession, and makes it (mode 0700, and so its parents) if it is missing.
    ///
    /// # Errors
    /// [`StateFolderError`]: somebody else has it, or the system refuses.
    pub fn open(path: &Path) -> Result<StateFolder, StateFolderError> {
        let io = |doing| {
            move |source: io::Error| StateFolderError::Io { path: path.into(), doing, source }
        };
        DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(io("create"))?;
        StateFolder::open_existing(path)
    }

    /// Takes a folder into possession that is there.
    ///
    /// # Errors
    /// As [`StateFolder::open`].
    pub fn open_existing(path: &Path) -> Result<StateFolder, StateFolderError> {
        let io = |doing| {
            move |source: io::Error| StateFolderError::Io { path: path.into(), doing, source }
        };
        let disk = FolderDisk::open(path).map_err(io("open"))?;
        let lock = disk.open_file(LOCK, OFlags::CREATE, 0o600).map_err(io("lock"))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(StateFolderError::Owned { path: path.into() });
            }
            Err(TryLockError::Error(source)) => return Err(io("lock")(source)),
        }
        // A folder that may be new must itself survive a power cut before anything in it is promised. Its
        // parents need not be readable for us, so the whole file system is asked; once in a folder's life.
        if disk.list().map_err(io("read"))?.iter().all(|name| name == LOCK) {
            retry_on_intr(|| rustix::fs::syncfs(&disk.folder))
                .map_err(|error| io("sync")(error.into()))?;
        }
        Ok(StateFolder { path: path.into(), disk: Arc::new(disk), _lock: Some(lock) })
    }

    /// Opens a folder to look at it, and keeps daemons out meanwhile; others may look, too. Nothing is made or
    /// changed, so a folder without a lock file has none: no daemon has ever owned it under this path.
    ///
    /// # Errors
    /// [`StateFolderError`]: a daemon has it, or the system refuses.
    pub fn look_at(path: &Path) -> Result<StateFolder, StateFolderError> {
        let io = |doing| {
            move |source: io::Error| StateFolderError::Io { path: path.into(), doing, source }
        };
        let disk = FolderDisk::open_read_only(path).map_err(io("open"))?;
        let lock = match disk.open_file(LOCK, OFlags::empty(), 0) {
            Ok(lock) => Some(lock),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(source) => return Err(io("look at the lock of")(source)),
        };
        match lock.as_ref().map(std::fs::File::try_lock_shared) {
            None | Some(Ok(())) => {}
            Some(Err(TryLockError::WouldBlock)) => {
                return Err(StateFolderError::Owned { path: path.into() });
            }
            Some(Err(TryLockError::Error(source))) => return Err(io("lock")(source)),
        }
        Ok(StateFolder { path: path.into(), disk: Arc::new(disk), _lock: lock })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The folder as a disk. Whoever writes to it must not outlive the state folder.
    pub fn disk(&self) -> Arc<dyn Disk> {
        Arc::<FolderDisk>::clone(&self.disk)
    }
}

#[cfg(test)]
mod tests;
