//! What the operator is told: a line, and how much it matters. Whoever finds something out says how much; how it
//! is shown, and where, is not known here.

/// How much a message matters; less, from the first to the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// Something does not work.
    Error,
    /// Something may not be as it was meant.
    Warning,
    /// Worth knowing, and in order.
    Notice,
    /// In order, and one of many.
    Info,
}

impl Level {
    /// Its number in syslog(3) and the journal of systemd.
    pub fn priority(self) -> u8 {
        match self {
            Level::Error => 3,
            Level::Warning => 4,
            Level::Notice => 5,
            Level::Info => 6,
        }
    }
}

/// A message for the operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// How much it matters.
    pub level: Level,
    /// What there is to say, as one line.
    pub text: String,
}

impl Note {
    /// A message that matters so much.
    pub fn new(level: Level, text: String) -> Note {
        Note { level, text }
    }
}
