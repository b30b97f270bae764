//! The name of a counter: `jobs.done`, or with tags `jobs.done,host=a,result=ok`. A [`Name`] is
//! canonical text, its tags sorted by key, so equal counters have equal bytes; every character may
//! stand unquoted in a shell. It does not normalise Unicode, knows no patterns and no amounts.

#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::as_conversions)]

mod error;
mod rules;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

pub use error::{NameError, NameFault};
pub(super) use rules::verify_key;
use rules::{Order, verify, verify_tag};

/// The longest name with its tags, in bytes of UTF-8.
pub const NAME_BYTES_MAX: usize = 255;

/// A checked, canonical name, ordered by its bytes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(String);

impl Name {
    /// Checks `text` and sorts its tags by key.
    ///
    /// # Errors
    /// What rule the text breaks, and where.
    pub fn new(text: &str) -> Result<Self, NameError> {
        canonical(text).map(|text| Self(text.into_owned()))
    }

    /// This name with one tag more.
    ///
    /// # Errors
    /// If the tag breaks a rule, its key is there already, or the name gets too long.
    pub fn with_tag(self, key: &str, value: &str) -> Result<Self, NameError> {
        let tag = format!("{key}={value}");
        // Checked alone first: a comma in the value must not begin another tag.
        verify_tag(&tag).map_err(NameError::from)?;
        Self::new(&format!("{self},{tag}"))
    }

    /// The canonical text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name part, without the tags.
    #[must_use]
    pub fn base(&self) -> &str {
        base(&self.0)
    }

    /// The tags as (key, value), sorted by key.
    pub fn tags(&self) -> impl Iterator<Item = (&str, &str)> {
        tags(&self.0)
    }
}

impl FromStr for Name {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        Self::new(text)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl AsRef<str> for Name {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl From<Name> for String {
    fn from(name: Name) -> Self {
        name.0
    }
}

/// Checks that `text` is a canonical name; takes no memory when it is.
///
/// # Errors
/// What rule the text breaks, and where; tags out of order are an error here.
pub fn check(text: &str) -> Result<(), NameError> {
    verify(text, Order::Sorted).map_err(NameError::from)
}

/// The canonical form of `text`, borrowed when the text has it already.
///
/// # Errors
/// What rule the text breaks, and where.
pub fn canonical(text: &str) -> Result<Cow<'_, str>, NameError> {
    match verify(text, Order::Sorted) {
        Ok(()) => Ok(Cow::Borrowed(text)),
        Err(fault) if fault.what == NameFault::TagsUnsorted => {
            // A worse fault may stand behind the tag that is out of order.
            verify(text, Order::Any).map_err(NameError::from)?;
            let mut sorted = base(text).to_owned();
            for tag in sorted_tags(tag_text(text).unwrap_or_default()) {
                sorted.push(',');
                sorted.push_str(tag);
            }
            check(&sorted)?;
            Ok(Cow::Owned(sorted))
        }
        Err(fault) => Err(fault.into()),
    }
}

/// The name part of canonical text; of other text, what stands before the first comma.
#[must_use]
pub fn base(canonical: &str) -> &str {
    canonical.split_once(',').map_or(canonical, |(base, _)| base)
}

/// The tags of canonical text as (key, value); of other text, whatever looks like one.
pub fn tags(canonical: &str) -> impl Iterator<Item = (&str, &str)> {
    tag_text(canonical).unwrap_or_default().split(',').filter_map(|tag| tag.split_once('='))
}

/// Whether two names are the same bytes. They are short, and are compared here, eight bytes at a time: a call for
/// it takes longer, most of all of musl, which compares byte by byte.
pub(crate) fn same(one: &[u8], other: &[u8]) -> bool {
    if one.len() != other.len() {
        return false;
    }
    let differ =
        |(one, other): (&[u8; 8], &[u8; 8])| u64::from_le_bytes(*one) != u64::from_le_bytes(*other);
    // The last eight bytes may overlap those before.
    match one.last_chunk().zip(other.last_chunk()) {
        Some(ends) => {
            let (ones, others) = (one.as_chunks().0, other.as_chunks().0);
            !differ(ends) && !ones.iter().zip(others).any(differ)
        }
        None => one.iter().zip(other).all(|(one, other)| one == other),
    }
}

/// What stands after the first comma, if there is one.
pub(super) fn tag_text(text: &str) -> Option<&str> {
    text.split_once(',').map(|(_, tags)| tags)
}

/// The tags of a tag part, sorted by key; they need not be well formed.
pub(super) fn sorted_tags(tag_text: &str) -> Vec<&str> {
    let mut tags: Vec<&str> = tag_text.split(',').collect();
    tags.sort_unstable_by_key(|tag| tag.split_once('=').map_or(*tag, |(key, _)| key));
    tags
}
