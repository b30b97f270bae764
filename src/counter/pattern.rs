//! Which counters a command is about: patterns over names, filters over tags, and both together. A
//! pattern is judged against canonical text only; whether anything matched is the caller's affair.

#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::as_conversions)]

mod error;
mod glob;
#[cfg(test)]
mod tests;

use crate::counter::name::{base, sorted_tags, tag_text, tags, verify_key};
use error::Subject;
pub use error::{PatternError, PatternFault};
use glob::Glob;

/// The longest pattern or tag filter, in bytes of UTF-8.
pub const PATTERN_BYTES_MAX: usize = 1024;

/// A glob over the name part, with an optional glob over the tags after the first comma.
///
/// `*` is any run of characters, dots and nothing included; `?` is one character; `[abc]` and
/// `[a-z]` are one of a set, `[!abc]` and `[^abc]` one that is not in it; a `]` that comes first in
/// a set is a member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    text: String,
    base: Glob,
    tags: Option<Glob>,
}

impl Pattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// If it is empty, too long, has an unclosed `[` or a control character.
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        let fault = |at, fault| PatternError::new(Subject::Pattern, text, at, fault);
        check_text(text).map_err(|(at, what)| fault(at, what))?;
        let base_text = base(text);
        if base_text.is_empty() {
            return Err(fault(0, PatternFault::Empty));
        }
        let base_glob = Glob::parse(base_text).map_err(|at| fault(at, PatternFault::Unclosed))?;
        let tags = match tag_text(text) {
            Some(tags) => {
                let start = base_text.len().saturating_add(1);
                let unclosed = |at| fault(start.saturating_add(at), PatternFault::Unclosed);
                Some(Glob::parse(tags).map_err(unclosed)?.map_literal(|tags| {
                    // Counters have their tags sorted, so a literal must have them so too.
                    sorted_tags(tags).join(",")
                }))
            }
            None => None,
        };
        Ok(Self { text: text.to_owned(), base: base_glob, tags })
    }

    /// The pattern as it was given.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether the pattern has nothing of a glob, in its name part and its tags.
    #[must_use]
    pub fn is_literal(&self) -> bool {
        self.base.is_literal() && self.tags.as_ref().is_none_or(Glob::is_literal)
    }

    /// Whether the counter matches; without a tag part, whatever its tags are.
    #[must_use]
    pub fn matches(&self, canonical: &str) -> bool {
        let tags = || tag_text(canonical).unwrap_or_default();
        self.base.matches(base(canonical))
            && self.tags.as_ref().is_none_or(|glob| glob.matches(tags()))
    }

    /// As [`Self::matches`], except that a literal without tags matches only the counter without.
    #[must_use]
    pub fn matches_exactly(&self, canonical: &str) -> bool {
        let is_tagged_otherwise =
            self.is_literal() && self.tags.is_none() && tag_text(canonical).is_some();
        !is_tagged_otherwise && self.matches(canonical)
    }
}

/// A glob over the value of one tag, `KEY=GLOB`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TagFilter {
    key: String,
    glob: Glob,
}

impl TagFilter {
    /// Reads `KEY=GLOB`.
    ///
    /// # Errors
    /// If there is no `=`, the key can be no tag's key, or the glob is no good pattern.
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        let fault = |at, fault| PatternError::new(Subject::TagFilter, text, at, fault);
        check_text(text).map_err(|(at, what)| fault(at, what))?;
        let Some((key, glob)) = text.split_once('=') else {
            return Err(fault(text.len(), PatternFault::NoGlob));
        };
        verify_key(key).map_err(|(at, _)| fault(at, PatternFault::Key))?;
        let start = key.len().saturating_add(1);
        if glob.is_empty() {
            return Err(fault(start, PatternFault::NoGlob));
        }
        let unclosed = |at| fault(start.saturating_add(at), PatternFault::Unclosed);
        Ok(Self { key: key.to_owned(), glob: Glob::parse(glob).map_err(unclosed)? })
    }

    /// The key.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.key
    }

    /// Whether the counter has a tag of this key, and its value matches.
    #[must_use]
    pub fn matches(&self, canonical: &str) -> bool {
        tags(canonical).any(|(key, value)| key == self.key && self.glob.matches(value))
    }
}

/// What a command was asked to look at: any of the patterns, and all of the tag filters.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selection {
    /// A counter must match one of these; none means every counter.
    pub patterns: Vec<Pattern>,
    /// A counter must match each of these.
    pub tags: Vec<TagFilter>,
}

impl Selection {
    /// Steps for each character of a name, at most, to tell whether a counter is selected: what a search
    /// through many counters costs.
    #[must_use]
    pub fn steps(&self) -> usize {
        let patterns = self.patterns.iter().flat_map(|p| std::iter::once(&p.base).chain(&p.tags));
        let globs = patterns.chain(self.tags.iter().map(|filter| &filter.glob));
        globs.map(Glob::steps).fold(0, usize::saturating_add)
    }

    /// Whether the counter is selected.
    #[must_use]
    pub fn matches(&self, canonical: &str) -> bool {
        let by_name =
            self.patterns.is_empty() || self.patterns.iter().any(|p| p.matches(canonical));
        by_name && self.tags.iter().all(|filter| filter.matches(canonical))
    }

    /// As [`Self::matches`], but by [`Pattern::matches_exactly`].
    #[must_use]
    pub fn matches_exactly(&self, canonical: &str) -> bool {
        self.patterns.iter().any(|p| p.matches_exactly(canonical)) && self.matches(canonical)
    }
}

/// The checks that patterns and tag filters share, before memory is taken.
fn check_text(text: &str) -> Result<(), (usize, PatternFault)> {
    if text.is_empty() {
        return Err((0, PatternFault::Empty));
    }
    if text.len() > PATTERN_BYTES_MAX {
        return Err((0, PatternFault::TooLong { bytes: text.len() }));
    }
    match text.char_indices().find(|(_, c)| c.is_control()) {
        Some((at, _)) => Err((at, PatternFault::Control)),
        None => Ok(()),
    }
}
