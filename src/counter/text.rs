//! Increments as people and scripts write them: the argument `NAME[,KEY=VALUE]...[=N]` and the
//! line `NAME [N]` of a stream. A well-formed line is read without taking memory. Nothing is added
//! up here, and options such as `--by` are not known.

#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::as_conversions)]

#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::error::Error;
use std::fmt;

use crate::counter::amount::{AmountError, AmountFault, parse_amount};
use crate::counter::excerpt::excerpt;
use crate::counter::name::{Name, NameError, NameFault, canonical};

/// One increment of a stream.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Line<'a> {
    /// The canonical name, borrowed when the line has it so.
    pub name: Cow<'a, str>,
    /// The amount, 1 when the line has none.
    pub amount: u64,
}

/// A text that is no increment, and why. Texts inside are cut, and escaped for printing.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum IncrementError {
    /// The name or a tag is wrong.
    Name(NameError),
    /// The amount is wrong.
    Amount(AmountError),
    /// An amount stands before a tag.
    AmountNotLast(Box<str>),
    /// The amount stands before the name, as in the output of `uniq -c`.
    AmountFirst(Box<str>),
    /// The line has an amount after `=` and another as its second word.
    TwoAmounts(Box<str>),
    /// The line has more than two words.
    TooManyWords(Box<str>),
}

impl fmt::Display for IncrementError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(error) => error.fmt(f),
            Self::Amount(error) => error.fmt(f),
            Self::AmountNotLast(text) => {
                write!(f, "\"{text}\" has its amount before a tag: ")?;
                f.write_str("the amount goes last, as in NAME,KEY=VALUE=N")
            }
            Self::AmountFirst(text) => {
                write!(f, "\"{text}\" has its amount first: the name goes first, as in NAME N")
            }
            Self::TwoAmounts(text) => {
                write!(f, "\"{text}\" has two amounts: write NAME N or NAME=N")
            }
            Self::TooManyWords(text) => {
                write!(f, "\"{text}\" has more than two words: write NAME, NAME N or NAME=N")
            }
        }
    }
}

// The wrapped errors are shown whole, so they are no source(): that would say them twice.
impl Error for IncrementError {}

impl From<NameError> for IncrementError {
    fn from(error: NameError) -> Self {
        Self::Name(error)
    }
}

impl From<AmountError> for IncrementError {
    fn from(error: AmountError) -> Self {
        Self::Amount(error)
    }
}

/// Reads an argument of `incr`: a name, and its amount if it has one.
///
/// # Errors
/// If the name, a tag or the amount is wrong, or the amount does not come last.
pub fn parse_increment(text: &str) -> Result<(Name, Option<u64>), IncrementError> {
    let (name, amount) = split_amount(text)?;
    let name = Name::new(name)?;
    let amount = amount.map(parse_amount).transpose()?;
    Ok((name, amount))
}

/// Reads a line of a stream; a blank line is `None`. The end of the line, LF or CR LF, may be there
/// or not.
///
/// # Errors
/// As [`parse_increment`], and if the line has more than two words or two amounts.
pub fn parse_line(line: &str) -> Result<Option<Line<'_>>, IncrementError> {
    let line = line.strip_suffix('\n').unwrap_or(line);
    let line = line.strip_suffix('\r').unwrap_or(line).trim_matches(BLANKS);
    if line.is_empty() {
        return Ok(None);
    }
    let Some((first, second)) = line.split_once(BLANKS) else {
        let (name, amount) = split_amount(line)?;
        let name = canonical(name)?;
        let amount = amount.map_or(Ok(1), parse_amount)?;
        return Ok(Some(Line { name, amount }));
    };
    let second = second.trim_start_matches(BLANKS);
    if second.contains(BLANKS) {
        return Err(IncrementError::TooManyWords(excerpt(line)));
    }
    let (name, None) = split_amount(first)? else {
        return Err(IncrementError::TwoAmounts(excerpt(line)));
    };
    let name = canonical(name).map_err(|error| {
        if error.fault() == NameFault::OnlyDigits && canonical(second).is_ok() {
            IncrementError::AmountFirst(excerpt(line))
        } else {
            error.into()
        }
    })?;
    Ok(Some(Line { name, amount: parse_amount(second)? }))
}

const BLANKS: [char; 2] = [' ', '\t'];

/// Splits the amount, still text, from the name. Without tags it follows the first `=`; with tags
/// the second `=` of the last one.
fn split_amount(text: &str) -> Result<(&str, Option<&str>), IncrementError> {
    if !text.bytes().any(|byte| byte == b',' || byte == b'=') {
        return Ok((text, None));
    }
    let Some((before, last_tag)) = text.rsplit_once(',') else {
        return Ok(match text.split_once('=') {
            Some((name, amount)) => (name, Some(amount)),
            None => (text, None),
        });
    };
    let mut parts = before.split(',');
    let base_has_amount = parts.next().is_some_and(|base| base.contains('='));
    if base_has_amount || parts.any(|tag| second_equals(tag).is_some()) {
        return Err(misplaced_amount(text));
    }
    let Some(at) = second_equals(last_tag) else {
        return Ok((text, None));
    };
    let at = before.len().saturating_add(1).saturating_add(at);
    let (name, amount) = text.split_at_checked(at).unwrap_or((text, ""));
    Ok((name, amount.strip_prefix('=')))
}

/// The byte offset of the second `=` of a tag.
fn second_equals(tag: &str) -> Option<usize> {
    tag.match_indices('=').nth(1).map(|(at, _)| at)
}

/// An amount before a comma: a fraction where the comma is the decimal sign, else not the last.
fn misplaced_amount(text: &str) -> IncrementError {
    let amount = text.split_once('=').map_or("", |(_, amount)| amount);
    match parse_amount(amount) {
        Err(error) if error.fault() == AmountFault::Fraction && !amount.ends_with(',') => {
            error.into()
        }
        _ => IncrementError::AmountNotLast(excerpt(text)),
    }
}
