//! The patterns and tag filters of a command line, checked before the daemon is asked, and which of the
//! patterns without wildcards nothing has matched.

use crate::commands::exit::Failure;
use crate::counter::pattern::{Pattern, TagFilter};
use crate::protocol::{PATTERNS_MAX, TAG_FILTERS_MAX, Wanted};

/// What a command was asked to look at.
pub(super) struct Asked<'a> {
    patterns: &'a [String],
    tags: &'a [String],
    /// Patterns that mean a counter, and have not met it yet.
    missing: Vec<Pattern>,
    exactly: bool,
}

impl<'a> Asked<'a> {
    /// Checks patterns and filters. With `exactly`, a pattern without wildcards means only the counter
    /// without tags.
    pub(super) fn new(
        patterns: &'a [String],
        tags: &'a [String],
        exactly: bool,
    ) -> Result<Asked<'a>, Failure> {
        for (what, given, most) in [
            ("patterns", patterns.len(), PATTERNS_MAX),
            ("tag filters", tags.len(), TAG_FILTERS_MAX),
        ] {
            if given > most {
                let why = format!("{given} {what} are too many for one call: {most} at most");
                return Err(Failure::Usage(why));
            }
        }
        let mut missing = Vec::new();
        for pattern in patterns {
            let pattern = Pattern::parse(pattern)?;
            if pattern.is_literal() {
                missing.push(pattern);
            }
        }
        for tag in tags {
            TagFilter::parse(tag)?;
        }
        Ok(Asked { patterns, tags, missing, exactly })
    }

    /// The same for a daemon.
    pub(super) fn wanted(&self) -> Wanted<'a> {
        Wanted {
            patterns: self.patterns.iter().map(String::as_str).collect(),
            tags: self.tags.iter().map(String::as_str).collect(),
        }
    }

    /// Takes note of a counter that was found.
    pub(super) fn found(&mut self, name: &str) {
        let exactly = self.exactly;
        self.missing.retain(|pattern| {
            !if exactly { pattern.matches_exactly(name) } else { pattern.matches(name) }
        });
    }

    /// What to say of the patterns that mean a counter which is not there.
    pub(super) fn complaint(&self) -> Option<Failure> {
        let names: Vec<&str> = self.missing.iter().map(Pattern::as_str).collect();
        let with = if self.tags.is_empty() { "" } else { " with these tags" };
        match names.as_slice() {
            [] => None,
            [name] => Some(Failure::Refused(format!("no counter {name}{with}"))),
            names => Some(Failure::Refused(format!("no counters {}{with}", names.join(", ")))),
        }
    }
}
