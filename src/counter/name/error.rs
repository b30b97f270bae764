//! What is wrong with a name, told so that it can be put right, and safe to print: the text shown
//! is cut and escaped. It does not decide what is wrong.

#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::as_conversions)]

use std::error::Error;
use std::fmt;

use super::NAME_BYTES_MAX;
use super::rules::{Fault, Subject};
use crate::counter::excerpt::{Described, excerpt, position};

/// A text that is no name: what is wrong, and where.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct NameError {
    subject: Subject,
    text: Box<str>,
    position: usize,
    fault: NameFault,
}

/// The rule that a text breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum NameFault {
    /// There is no name part.
    Empty,
    /// The name with its tags has this many bytes, over [`NAME_BYTES_MAX`].
    TooLong {
        /// Bytes of the whole name.
        bytes: usize,
    },
    /// This character may not stand in a name or a tag's value.
    Character(char),
    /// The name begins with `-`.
    HyphenFirst,
    /// The name begins with `.`.
    DotFirst,
    /// The name or the tag's value begins with `%`.
    PercentFirst,
    /// The name has `..`.
    DoubleDot,
    /// The name ends in `.`.
    DotLast,
    /// The name has nothing but digits.
    OnlyDigits,
    /// Nothing stands between two commas, or after the last.
    TagEmpty,
    /// Nothing stands before the `=` of a tag.
    TagWithoutKey,
    /// This character may not stand in a key, or not first.
    TagKey(char),
    /// The key begins with `__`.
    TagKeyReserved,
    /// The tag has no `=`, or nothing after it.
    TagWithoutValue,
    /// The key was given before.
    TagRepeated,
    /// The tags are not sorted by key; only where canonical text is asked for.
    TagsUnsorted,
}

impl NameError {
    /// The name part, the tag or the whole text that is wrong; cut, and escaped for printing.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Which character of that text (before it was cut and escaped) is wrong, from 1.
    #[must_use]
    pub fn position(&self) -> usize {
        self.position
    }

    /// What is wrong.
    #[must_use]
    pub fn fault(&self) -> NameFault {
        self.fault
    }

    fn key(&self) -> &str {
        self.text.split_once('=').map_or(&self.text, |(key, _)| key)
    }

    /// What the fault says after the text it is about.
    fn complaint(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = self.position;
        match self.fault {
            NameFault::Empty => f.write_str("has nothing before its tags: write NAME,KEY=VALUE"),
            NameFault::TooLong { bytes } => {
                write!(f, "has {bytes} bytes, tags included: at most {NAME_BYTES_MAX} are allowed")
            }
            NameFault::Character(c) => {
                let place = match self.subject {
                    Subject::Name => "a name",
                    Subject::Tag => "a tag's value",
                };
                write!(f, "has {} at character {at}: ", Described(c))?;
                write!(f, "only letters, digits and _ . - / : @ + % may stand in {place}")
            }
            NameFault::HyphenFirst => f.write_str("begins with a hyphen"),
            NameFault::DotFirst => f.write_str("begins with a dot"),
            NameFault::PercentFirst => match self.subject {
                Subject::Name => f.write_str("begins with %"),
                Subject::Tag => f.write_str("has a value that begins with %"),
            },
            NameFault::DoubleDot => write!(f, "has two dots in a row at character {at}"),
            NameFault::DotLast => f.write_str("ends in a dot"),
            NameFault::OnlyDigits if self.text.parse::<u64>().is_ok() => {
                let amount = &self.text;
                write!(f, "has only digits: did you mean NAME={amount} or --by {amount}?")
            }
            NameFault::OnlyDigits => f.write_str("has only digits"),
            NameFault::TagEmpty => {
                write!(f, "has an empty tag at character {at}: write NAME,KEY=VALUE")
            }
            NameFault::TagWithoutKey => f.write_str("has no key: write KEY=VALUE"),
            NameFault::TagKey(c) if at == 1 && c.is_ascii_digit() => {
                f.write_str("has a key that begins with a digit")
            }
            NameFault::TagKey(c) => {
                write!(f, "has {} at character {at}: ", Described(c))?;
                f.write_str("only a-z, A-Z, 0-9 and _ may stand in a tag's key")
            }
            NameFault::TagKeyReserved => {
                f.write_str("has a key that begins with __: such keys are reserved")
            }
            NameFault::TagWithoutValue => write!(f, "has no value: write {}=VALUE", self.key()),
            NameFault::TagRepeated => write!(f, "gives the key {} again", self.key()),
            NameFault::TagsUnsorted => f.write_str("is out of order: sort the tags by key"),
        }
    }
}

impl From<Fault<'_>> for NameError {
    fn from(fault: Fault<'_>) -> Self {
        Self {
            subject: fault.subject,
            text: excerpt(fault.part),
            position: position(fault.part, fault.at),
            fault: fault.what,
        }
    }
}

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let subject = match self.subject {
            Subject::Name => "name",
            Subject::Tag => "tag",
        };
        if self.text.is_empty() {
            return write!(f, "{subject} is empty");
        }
        write!(f, "{subject} \"{}\" ", self.text)?;
        self.complaint(f)
    }
}

impl Error for NameError {}
