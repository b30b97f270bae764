//! Text from outside made fit to stand in a message: cut to a sane length, and with everything
//! escaped that could move the cursor, reorder the line or end the quotes. It judges nothing.

#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::as_conversions)]

use std::fmt;

use unicode_properties::{GeneralCategoryGroup, UnicodeGeneralCategory};

/// Characters of the original that are shown at most.
pub(super) const EXCERPT_CHARS_MAX: usize = 64;

/// The beginning of `text`, safe to print between double quotes; `…` marks a cut.
pub(super) fn excerpt(text: &str) -> Box<str> {
    let mut shown = String::new();
    let mut chars = text.chars();
    for (index, c) in chars.by_ref().take(EXCERPT_CHARS_MAX).enumerate() {
        // A mark is legible only on its letter; alone it would sit on the quote.
        let is_mark_on_letter =
            index > 0 && c.general_category_group() == GeneralCategoryGroup::Mark;
        if c == '\'' || is_mark_on_letter {
            shown.push(c);
        } else {
            shown.extend(c.escape_debug());
        }
    }
    if !chars.as_str().is_empty() {
        shown.push('…');
    }
    shown.into_boxed_str()
}

/// A character as a message names it: by a word where it cannot be seen, else in quotes.
pub(super) struct Described(pub(super) char);

impl fmt::Display for Described {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            '\t' => f.write_str("a tab"),
            '\n' | '\r' => f.write_str("a line break"),
            c if c.is_control() => f.write_str("a control character"),
            c if c.is_whitespace() => f.write_str("a blank"),
            c => write!(f, "\"{}\"", excerpt(c.encode_utf8(&mut [0; 4]))),
        }
    }
}

/// The 1-based character position of the byte offset `at` in `text`.
pub(super) fn position(text: &str, at: usize) -> usize {
    text.char_indices().take_while(|(start, _)| *start < at).count().saturating_add(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_disturb_a_terminal_is_escaped() {
        assert_eq!(&*excerpt("a\u{1b}[2J\n\"\u{202e}\\"), r#"a\u{1b}[2J\n\"\u{202e}\\"#);
    }

    #[test]
    fn marks_stay_on_their_letters_and_are_escaped_alone() {
        assert_eq!(&*excerpt("e\u{301}'"), "e\u{301}'");
        assert_eq!(&*excerpt("\u{301}e"), "\\u{301}e");
    }

    #[test]
    fn long_text_is_cut_with_a_mark() {
        let exact = "ä".repeat(EXCERPT_CHARS_MAX);
        assert_eq!(*excerpt(&exact), *exact);
        assert_eq!(*excerpt(&format!("{exact}b")), *format!("{exact}…"));
    }

    #[test]
    fn unseen_characters_are_named_by_a_word() {
        let words = ['\t', '\r', '\0', '\u{a0}', '"'].map(|c| Described(c).to_string());
        let wanted = ["a tab", "a line break", "a control character", "a blank", r#""\"""#];
        assert_eq!(words, wanted);
    }

    #[test]
    fn positions_count_characters_from_one() {
        assert_eq!(position("äb", 0), 1);
        assert_eq!(position("äb", 2), 2);
        assert_eq!(position("äb", 3), 3);
        assert_eq!(position("äb", 99), 3);
    }
}
