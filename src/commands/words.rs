//! Values that are one of a few words, as far as a shell's completion has to know them. Every text is taken
//! here: which words will do, and what is said of others, is decided where the value is read, the same for
//! the command line and a variable.

use std::ffi::OsStr;

use clap::builder::{PossibleValue, StringValueParser, TypedValueParser};
use clap::{Arg, Command, Error};

/// Takes any text, and knows the words to offer for it.
#[derive(Debug, Clone)]
pub(super) struct Words<const N: usize>(pub(super) [&'static str; N]);

impl<const N: usize> TypedValueParser for Words<N> {
    type Value = String;

    fn parse_ref(
        &self,
        command: &Command,
        arg: Option<&Arg>,
        value: &OsStr,
    ) -> Result<String, Error> {
        StringValueParser::new().parse_ref(command, arg, value)
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        Some(Box::new(self.0.iter().map(PossibleValue::new)))
    }
}
