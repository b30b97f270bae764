//! What is wrong with the description of a sink, told so that it can be put right, and safe to print.

use std::error::Error;
use std::fmt;

/// Characters of a description that are shown at most.
const SHOWN_CHARS_MAX: usize = 120;

/// A text that describes no sink.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpecError {
    text: String,
    /// Which character is wrong, from 1; 0 if it is the whole.
    position: usize,
    what: String,
}

impl SpecError {
    /// What is wrong, from this byte on; 0 is for the whole text.
    pub(super) fn new(text: &str, at: usize, what: String) -> SpecError {
        let position = match at {
            0 => 0,
            at => {
                let before = text.char_indices().take_while(|(index, _)| *index < at).count();
                before.saturating_add(1)
            }
        };
        let mut shown: String =
            text.chars().take(SHOWN_CHARS_MAX).flat_map(char::escape_debug).collect();
        if text.chars().nth(SHOWN_CHARS_MAX).is_some() {
            shown.push('…');
        }
        SpecError { text: shown, position, what }
    }
}

impl fmt::Display for SpecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let SpecError { text, position, what } = self;
        match position {
            0 => write!(f, "\"{text}\": {what}"),
            position => write!(f, "\"{text}\", at character {position}: {what}"),
        }
    }
}

impl Error for SpecError {}
