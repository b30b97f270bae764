//! A glob and its matcher. The matcher is a loop that goes back to the last `*` only, so its work
//! is bounded by the length of the glob times that of the text, and its stack by nothing a user
//! writes. It knows nothing of names and tags.

#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::as_conversions)]

use std::str::Chars;

/// A compiled glob.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Glob {
    /// Text without `*`, `?` and `[`, compared as it is.
    Literal(String),
    /// Anything else; no two [`Token::Run`] in a row.
    Tokens(Vec<Token>),
}

/// One element of a glob.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Token {
    /// `*`
    Run,
    /// `?`
    One,
    /// The character itself.
    Char(char),
    /// `[...]`: inclusive ranges; a single character is a range of one.
    Set { negated: bool, ranges: Vec<(char, char)> },
}

impl Glob {
    /// Compiles `text`; the error is the byte offset of a `[` that is never closed.
    pub(super) fn parse(text: &str) -> Result<Self, usize> {
        if !text.contains(['*', '?', '[']) {
            return Ok(Self::Literal(text.to_owned()));
        }
        let mut tokens = Vec::new();
        let mut chars = text.char_indices();
        while let Some((at, c)) = chars.next() {
            tokens.push(match c {
                '*' if tokens.last() == Some(&Token::Run) => continue,
                '*' => Token::Run,
                '?' => Token::One,
                '[' => {
                    let (set, rest) = parse_set(chars.as_str()).ok_or(at)?;
                    while chars.as_str().len() > rest.len() {
                        chars.next();
                    }
                    set
                }
                c => Token::Char(c),
            });
        }
        Ok(Self::Tokens(tokens))
    }

    /// Steps for each character of a text, at most: 1 for a literal, which is compared as a whole.
    pub(super) fn steps(&self) -> usize {
        let Self::Tokens(tokens) = self else { return 1 };
        let steps = tokens.iter().map(|token| match token {
            Token::Set { ranges, .. } => ranges.len().max(1),
            Token::Run | Token::One | Token::Char(_) => 1,
        });
        steps.fold(1, usize::saturating_add)
    }

    pub(super) fn is_literal(&self) -> bool {
        matches!(self, Self::Literal(_))
    }

    /// Rewrites the text of a literal; a glob stays as it is.
    pub(super) fn map_literal(self, rewrite: impl FnOnce(&str) -> String) -> Self {
        match self {
            Self::Literal(text) => Self::Literal(rewrite(&text)),
            Self::Tokens(tokens) => Self::Tokens(tokens),
        }
    }

    /// Whether the whole of `text` matches.
    pub(super) fn matches(&self, text: &str) -> bool {
        match self {
            Self::Literal(literal) => literal == text,
            Self::Tokens(tokens) => tokens_match(tokens, text),
        }
    }
}

impl Token {
    fn matches_char(&self, c: char) -> bool {
        match self {
            Self::Run | Self::One => true,
            Self::Char(wanted) => *wanted == c,
            Self::Set { negated, ranges } => {
                ranges.iter().any(|(first, last)| (*first..=*last).contains(&c)) != *negated
            }
        }
    }
}

/// Reads a set from behind its `[`; returns it with the text behind its `]`.
fn parse_set(text: &str) -> Option<(Token, &str)> {
    let (negated, text) = match text.strip_prefix(['!', '^']) {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let mut ranges = Vec::new();
    let mut chars = text.chars();
    loop {
        let first = chars.next()?;
        if first == ']' && !ranges.is_empty() {
            return Some((Token::Set { negated, ranges }, chars.as_str()));
        }
        let mut ahead = chars.clone();
        // A hyphen is a range only between two characters; before the `]` it is itself.
        match (ahead.next(), ahead.next()) {
            (Some('-'), Some(last)) if last != ']' => {
                ranges.push((first, last));
                chars = ahead;
            }
            _ => ranges.push((first, first)),
        }
    }
}

fn tokens_match(tokens: &[Token], text: &str) -> bool {
    let mut tokens = tokens;
    let mut chars = text.chars();
    // Behind the last `*`: the tokens there, and where the run ends that is tried now.
    let mut retry: Option<(&[Token], Chars<'_>)> = None;
    loop {
        match tokens.split_first() {
            Some((Token::Run, [])) => return true,
            Some((Token::Run, behind)) => {
                retry = Some((behind, chars.clone()));
                tokens = behind;
                continue;
            }
            Some((token, behind)) => match chars.next() {
                Some(c) if token.matches_char(c) => {
                    tokens = behind;
                    continue;
                }
                Some(_) => {}
                // A longer run would leave even less text for the tokens that want some.
                None => return false,
            },
            None if chars.as_str().is_empty() => return true,
            None => {}
        }
        let Some((behind, run_end)) = &mut retry else {
            return false;
        };
        if run_end.next().is_none() {
            return false;
        }
        tokens = behind;
        chars = run_end.clone();
    }
}
