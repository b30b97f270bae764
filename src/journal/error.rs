//! Why a journal cannot be opened, or does not take a write. The words name the file, the offset and what to
//! do, because the one who reads them has a daemon that does not start.

use std::fmt;
use std::io;

use crate::record::block::HeaderError;
use crate::record::replay::ReplayError;

/// Why a state cannot be restored. The folder was left as it was found.
#[derive(Debug)]
pub enum OpenError {
    /// The disk refused.
    Io {
        /// The file, or what was to be done with the folder.
        what: String,
        /// Why.
        source: io::Error,
    },
    /// A file that must be there is not.
    Missing {
        /// Its name.
        file: String,
        /// The file that shows that it was there.
        needed_by: String,
    },
    /// A file is not one of this countd's: it is foreign, of a newer version, or another kind.
    NotOurs {
        /// Its name.
        file: String,
        /// What it is.
        source: HeaderError,
    },
    /// A file does not belong with the others.
    Mixed {
        /// Its name.
        file: String,
        /// Why not.
        what: String,
    },
    /// What had been written safely is not what the file says now.
    Damaged {
        /// Its name.
        file: String,
        /// Where the damage begins, in bytes from its start.
        offset: u64,
        /// What is wrong there.
        what: String,
    },
    /// A block is whole, yet says what this version cannot follow.
    Unreadable {
        /// The file's name.
        file: String,
        /// Where the block begins, in bytes from the file's start.
        offset: u64,
        /// What it says.
        source: ReplayError,
    },
}

impl OpenError {
    pub(super) fn missing(file: &str, needed_by: &str) -> OpenError {
        OpenError::Missing { file: file.into(), needed_by: needed_by.into() }
    }

    pub(super) fn damaged(file: &str, offset: u64, what: impl Into<String>) -> OpenError {
        OpenError::Damaged { file: file.into(), offset, what: what.into() }
    }

    /// What is wrong and where, without what to do.
    pub fn what(&self) -> String {
        match self {
            OpenError::Io { what, source } => format!("{what}: {source}"),
            OpenError::Missing { file, needed_by } => {
                format!("{file} is missing, {needed_by} needs it")
            }
            OpenError::NotOurs { file, source } => format!("{file}: {source}"),
            OpenError::Mixed { file, what } => format!("{file}: {what}"),
            OpenError::Damaged { file, offset, what } => {
                format!("{file}: damaged at offset {offset}: {what}")
            }
            OpenError::Unreadable { file, offset, source } => {
                format!("{file}: block at offset {offset}: {source}")
            }
        }
    }

    /// What the user can do, besides having it repaired.
    pub fn remedy(&self) -> &'static str {
        match self {
            OpenError::Io { .. } => {
                "see that the disk and its permissions are right, and try again"
            }
            OpenError::NotOurs { source: HeaderError::Newer(_), .. } => NEWER,
            OpenError::NotOurs { .. } => FOREIGN,
            OpenError::Unreadable { source: ReplayError::Inconsistent(_), .. } => RESTORE,
            OpenError::Unreadable { .. } => NEWER,
            OpenError::Missing { .. } | OpenError::Mixed { .. } | OpenError::Damaged { .. } => {
                RESTORE
            }
        }
    }

    /// Whether what is there is wrong, and not only out of reach.
    pub fn is_damage(&self) -> bool {
        !matches!(self, OpenError::Io { .. })
    }
}

const RESTORE: &str = "put all files of the folder back from one copy, or move them all away to start \
                       from zero";
const FOREIGN: &str = "if somebody put it there, move it away; if countd wrote it, put all files of the \
                       folder back from one copy";
const NEWER: &str = "start the newer countd that wrote it";

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what())?;
        match self {
            OpenError::Io { .. } => Ok(()),
            OpenError::NotOurs { .. } | OpenError::Unreadable { .. } => {
                write!(f, ": {}", self.remedy())
            }
            OpenError::Missing { .. } | OpenError::Mixed { .. } | OpenError::Damaged { .. } => {
                write!(f, ": countd verify says what is left; {}", self.remedy())
            }
        }
    }
}

pub(super) fn io_error(what: &str) -> impl FnOnce(io::Error) -> OpenError {
    move |source| OpenError::Io { what: what.into(), source }
}

impl std::error::Error for OpenError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            OpenError::Io { source, .. } => Some(source),
            OpenError::NotOurs { source, .. } => Some(source),
            OpenError::Unreadable { source, .. } => Some(source),
            OpenError::Missing { .. } | OpenError::Mixed { .. } | OpenError::Damaged { .. } => None,
        }
    }
}

/// Why the journal did not take a write.
#[derive(Debug)]
pub enum AppendError {
    /// The journal is as it was before, and can be used further.
    Refused(io::Error),
    /// What the journal's files hold now is not known: the daemon must stop, and find out at its next start.
    Broken {
        /// What was tried.
        doing: &'static str,
        /// Why it failed.
        source: io::Error,
    },
}

impl fmt::Display for AppendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AppendError::Refused(source) => write!(f, "cannot write the journal: {source}"),
            AppendError::Broken { doing, source } => {
                write!(f, "the journal is in doubt, cannot {doing}: {source}")
            }
        }
    }
}

impl std::error::Error for AppendError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            AppendError::Refused(source) | AppendError::Broken { source, .. } => Some(source),
        }
    }
}
