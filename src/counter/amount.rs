//! The amount of an increment as people write it: a decimal `u64`. Signs, fractions, exponents and
//! digit groups are refused, each with the reason, rather than guessed at.

#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::as_conversions)]

#[cfg(test)]
mod tests;

use std::error::Error;
use std::fmt;

use crate::counter::excerpt::excerpt;

/// A text that is no amount, and why.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct AmountError {
    text: Box<str>,
    fault: AmountFault,
}

/// What keeps a text from being an amount.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum AmountFault {
    /// Nothing, or only blanks.
    Empty,
    /// A number below zero.
    Negative,
    /// A number with a decimal point or comma.
    Fraction,
    /// A whole number over `u64::MAX`.
    TooLarge,
    /// Anything else.
    NotANumber,
}

impl AmountError {
    /// The text, cut, and escaped for printing.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// What is wrong.
    #[must_use]
    pub fn fault(&self) -> AmountFault {
        self.fault
    }
}

impl fmt::Display for AmountError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = &self.text;
        match self.fault {
            AmountFault::Empty => f.write_str("amount is empty"),
            AmountFault::Negative => {
                write!(f, "amount \"{text}\" is negative: counters only go up")
            }
            AmountFault::Fraction => {
                write!(f, "amount \"{text}\" is a fraction: counters count in whole numbers")
            }
            AmountFault::TooLarge => {
                write!(f, "amount \"{text}\" is too large: at most {} is allowed", u64::MAX)
            }
            AmountFault::NotANumber => {
                write!(f, "amount \"{text}\" is not a number: write it with digits 0 to 9 only")
            }
        }
    }
}

impl Error for AmountError {}

/// Reads a decimal amount; leading zeros and surrounding blanks are allowed.
///
/// # Errors
/// If the text is empty, negative, a fraction, too large or no number.
pub fn parse_amount(text: &str) -> Result<u64, AmountError> {
    let digits = text.trim_ascii();
    let refuse = |fault| Err(AmountError { text: excerpt(digits), fault });
    if digits.is_empty() {
        return refuse(AmountFault::Empty);
    }
    if is_digits(digits) {
        // Nothing but digits: only the size can still be wrong.
        return digits.parse().or_else(|_| refuse(AmountFault::TooLarge));
    }
    match digits.strip_prefix('-') {
        Some(rest) if is_digits(rest) || is_fraction(rest) => refuse(AmountFault::Negative),
        Some(_) => refuse(AmountFault::NotANumber),
        None if is_fraction(digits) => refuse(AmountFault::Fraction),
        None => refuse(AmountFault::NotANumber),
    }
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_fraction(text: &str) -> bool {
    text.split_once(['.', ',']).is_some_and(|(whole, part)| {
        let empty_or_digits = |side: &str| side.is_empty() || is_digits(side);
        empty_or_digits(whole) && empty_or_digits(part) && !(whole.is_empty() && part.is_empty())
    })
}
