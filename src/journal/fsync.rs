//! When the journal is synced, as the user chooses it. Doing so is for those who drive the journal.

use std::fmt;
use std::str::FromStr;

/// What an acknowledged increment survives besides the daemon's end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Fsync {
    /// A power cut: the journal is synced before each reply.
    Always,
    /// A power cut about a second later: the journal is synced in the background.
    #[default]
    Everysec,
    /// What the kernel had written by then.
    No,
}

/// A word that is none of [`Fsync`]'s.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownFsync {
    /// The word.
    pub given: String,
}

impl fmt::Display for UnknownFsync {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\" is none of always, everysec and no", self.given.escape_debug())
    }
}

impl std::error::Error for UnknownFsync {}

impl FromStr for Fsync {
    type Err = UnknownFsync;

    fn from_str(word: &str) -> Result<Fsync, UnknownFsync> {
        match word {
            "always" => Ok(Fsync::Always),
            "everysec" => Ok(Fsync::Everysec),
            "no" => Ok(Fsync::No),
            _ => Err(UnknownFsync { given: word.to_owned() }),
        }
    }
}

impl fmt::Display for Fsync {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Fsync::Always => "always",
            Fsync::Everysec => "everysec",
            Fsync::No => "no",
        })
    }
}
