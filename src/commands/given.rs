//! Names and tags of counters to add to, as they are given on the command line. What is wrong with one is a
//! [`Failure::Value`]: as a rule it comes from data, and best effort forgives it.

use std::ffi::{OsStr, OsString};
use std::fmt::Display;

use crate::commands::exit::Failure;
use crate::counter::name::Name;

/// The tags of `-t KEY=VALUE`, each checked.
pub(super) fn tags(given: &[OsString]) -> Result<Vec<(&str, &str)>, Failure> {
    let mut tags = Vec::with_capacity(given.len());
    for tag in given {
        let tag = utf8(tag, "--tag")?;
        let (key, value) = tag.split_once('=').unwrap_or((tag, ""));
        // Checked once here, so that a stream does not refuse each of its lines for it.
        tagged(Name::new("a").map_err(self::value)?, &[(key, value)])?;
        tags.push((key, value));
    }
    Ok(tags)
}

/// Adds the tags to a name.
pub(super) fn tagged(mut name: Name, tags: &[(&str, &str)]) -> Result<Name, Failure> {
    for (key, text) in tags {
        name = name.with_tag(key, text).map_err(value)?;
    }
    Ok(name)
}

/// An argument that has to be text.
pub(super) fn utf8<'a>(text: &'a OsStr, what: &str) -> Result<&'a str, Failure> {
    text.to_str().ok_or_else(|| value(format!("{what} {text:?} is not UTF-8")))
}

/// What is wrong with a value that says what to count.
pub(super) fn value(error: impl Display) -> Failure {
    Failure::Value(error.to_string())
}
