//! What is wrong with a pattern or a tag filter, told so that it can be put right, and safe to
//! print: the text shown is cut and escaped. It does not decide what is wrong.

#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::as_conversions)]

use std::error::Error;
use std::fmt;

use super::PATTERN_BYTES_MAX;
use crate::counter::excerpt::{excerpt, position};

/// A text that is no pattern or no tag filter: what is wrong, and where.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PatternError {
    subject: Subject,
    text: Box<str>,
    position: usize,
    fault: PatternFault,
}

/// What a message is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Subject {
    Pattern,
    TagFilter,
}

/// The rule that a text breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PatternFault {
    /// There is nothing, or nothing before the tags.
    Empty,
    /// The text has this many bytes, over [`PATTERN_BYTES_MAX`].
    TooLong {
        /// Bytes of the text.
        bytes: usize,
    },
    /// A control character.
    Control,
    /// A `[` without its `]`.
    Unclosed,
    /// A tag filter whose key can be no tag's key.
    Key,
    /// A tag filter without `=`, or with nothing after it.
    NoGlob,
}

impl PatternError {
    pub(super) fn new(subject: Subject, text: &str, at: usize, fault: PatternFault) -> Self {
        Self { subject, text: excerpt(text), position: position(text, at), fault }
    }

    /// The text, cut, and escaped for printing.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Which character of the text (before it was cut and escaped) is wrong, from 1.
    #[must_use]
    pub fn position(&self) -> usize {
        self.position
    }

    /// What is wrong.
    #[must_use]
    pub fn fault(&self) -> PatternFault {
        self.fault
    }
}

impl fmt::Display for PatternError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (text, at) = (&self.text, self.position);
        let subject = match self.subject {
            Subject::Pattern => "pattern",
            Subject::TagFilter => "tag filter",
        };
        if text.is_empty() {
            return write!(f, "{subject} is empty");
        }
        write!(f, "{subject} \"{text}\" ")?;
        match self.fault {
            PatternFault::Empty => write!(f, "has nothing before its tags: write *{text}"),
            PatternFault::TooLong { bytes } => {
                write!(f, "has {bytes} bytes: at most {PATTERN_BYTES_MAX} are allowed")
            }
            PatternFault::Control => write!(f, "has a control character at character {at}"),
            PatternFault::Unclosed => write!(f, "has a [ at character {at} that no ] closes"),
            PatternFault::Key => {
                write!(f, "has no good key, from character {at}: write KEY=GLOB")
            }
            PatternFault::NoGlob => {
                let key = text.trim_end_matches('=');
                write!(f, "has no value to look for: write {key}=GLOB, or {key}=* for any")
            }
        }
    }
}

impl Error for PatternError {}
