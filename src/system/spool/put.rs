//! Putting a file into a spool folder that can be written to and entered, and perhaps not listed. When it is
//! put it survives a power cut. Nothing that is there is replaced.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Mode, OFlags, RenameFlags};
use rustix::io::{Errno, retry_on_intr};

/// Who reads it: its owner, and the group of the folder.
const FILE_MODE: u32 = 0o640;

/// What became of a file that could not be put.
#[derive(Debug)]
pub enum PutError {
    /// It is not there.
    Not {
        /// What was tried.
        doing: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// It is not there: every name that was tried is in use.
    Full,
    /// It is there; whether a power cut would leave it is not known.
    Unsafe(io::Error),
}

impl fmt::Display for PutError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PutError::Not { doing, source } => write!(f, "cannot {doing}: {source}"),
            PutError::Full => f.write_str("it is full"),
            PutError::Unsafe(error) => {
                write!(f, "the request is in it, but cannot be made safe from a power cut: {error}")
            }
        }
    }
}

impl std::error::Error for PutError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            PutError::Not { source, .. } | PutError::Unsafe(source) => Some(source),
            PutError::Full => None,
        }
    }
}

/// Puts a file under the first of `names` that is free, having written it under `temporary`.
///
/// # Errors
/// [`PutError`].
pub fn put(
    folder: &Path,
    temporary: &str,
    names: impl Iterator<Item = String>,
    bytes: &[u8],
) -> Result<(), PutError> {
    let not = |doing| move |source: io::Error| PutError::Not { doing, source };
    let folder = open(folder).map_err(not("open it"))?;
    let file = create(&folder, temporary).map_err(not("create a file in it"))?;
    let put = write(&file, bytes)
        .map_err(not("write a file in it"))
        .and_then(|()| give_name(&folder, temporary, names));
    if put.is_err() {
        // If it stays, the daemon removes it one day.
        let _ = rustix::fs::unlinkat(&folder, temporary, AtFlags::empty());
    }
    put?;
    // The folder cannot be opened for a sync of its own by who may not list it.
    retry_on_intr(|| rustix::fs::syncfs(&file)).map_err(|error| PutError::Unsafe(error.into()))
}

fn open(folder: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(retry_on_intr(|| rustix::fs::openat(CWD, folder, flags, Mode::empty()))?)
}

fn create(folder: &OwnedFd, name: &str) -> io::Result<OwnedFd> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mode = Mode::from_raw_mode(FILE_MODE);
    let file = retry_on_intr(|| rustix::fs::openat(folder, name, flags, mode))?;
    // Whatever the umask.
    retry_on_intr(|| rustix::fs::fchmod(&file, mode))?;
    Ok(file)
}

fn write(file: &OwnedFd, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        let count = retry_on_intr(|| rustix::io::write(file.as_fd(), bytes))?;
        if count == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        bytes = bytes.get(count..).unwrap_or_default();
    }
    Ok(retry_on_intr(|| rustix::fs::fsync(file))?)
}

fn give_name(
    folder: &OwnedFd,
    temporary: &str,
    names: impl Iterator<Item = String>,
) -> Result<(), PutError> {
    for name in names {
        let flags = RenameFlags::NOREPLACE;
        let renamed = retry_on_intr(|| {
            rustix::fs::renameat_with(folder, temporary, folder, name.as_str(), flags)
        });
        match renamed {
            Ok(()) => return Ok(()),
            Err(Errno::EXIST) => {}
            Err(error) => {
                return Err(PutError::Not { doing: "name a file in it", source: error.into() });
            }
        }
    }
    Err(PutError::Full)
}
