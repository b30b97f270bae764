//! The rules a name obeys, each in one place, for every way a name comes in. Finding a fault takes
//! no memory; turning it into an error that can be kept is left to the error's module.

#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::as_conversions)]

use std::cmp::Ordering;

use unicode_properties::{GeneralCategory, GeneralCategoryGroup, UnicodeGeneralCategory};

use super::{NAME_BYTES_MAX, NameFault};

/// Where in a text, and what is wrong there; borrowed, so that it costs nothing.
#[derive(Debug, Clone, Copy)]
pub(in crate::counter) struct Fault<'a> {
    pub(super) subject: Subject,
    /// The part that is shown: the name part, one tag, or the whole text.
    pub(super) part: &'a str,
    /// Byte offset in the part.
    pub(super) at: usize,
    pub(super) what: NameFault,
}

/// What a message is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Subject {
    Name,
    Tag,
}

/// Which order of the tags is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    /// Strictly ascending by key: canonical.
    Sorted,
    /// Any, and keys may repeat.
    Any,
}

// What a byte or character is, as bits, so that a whole part can be judged by their union.
const NAMING: u8 = 1;
const DIGIT: u8 = 2;
const DOT: u8 = 4;
const NOT_ASCII: u8 = 8;
const REFUSED: u8 = 16;

const CLASSES: [u8; 256] = classes();

#[expect(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    reason = "runs in the compiler: a fault in it does not build"
)]
const fn classes() -> [u8; 256] {
    let mut classes = [REFUSED; 256];
    let mut byte = 0;
    while byte < classes.len() {
        classes[byte] = match byte as u8 {
            b'a'..=b'z' | b'A'..=b'Z' => NAMING,
            b'_' | b'-' | b'/' | b':' | b'@' | b'+' | b'%' => NAMING,
            b'.' => NAMING | DOT,
            b'0'..=b'9' => DIGIT,
            0x80..=0xff => NOT_ASCII,
            _ => REFUSED,
        };
        byte += 1;
    }
    classes
}

fn class_of_byte(byte: u8) -> u8 {
    CLASSES.get(usize::from(byte)).copied().unwrap_or(REFUSED)
}

fn class_of_char(c: char) -> u8 {
    if let Ok(byte @ 0..=0x7f) = u8::try_from(c) {
        return class_of_byte(byte);
    }
    let group = c.general_category_group();
    if matches!(group, GeneralCategoryGroup::Letter | GeneralCategoryGroup::Mark) {
        NAMING
    } else if c.general_category() == GeneralCategory::DecimalNumber {
        DIGIT
    } else {
        REFUSED
    }
}

/// Checks a name with its tags.
pub(super) fn verify(text: &str, order: Order) -> Result<(), Fault<'_>> {
    let whole = |at, what| Err(Fault { subject: Subject::Name, part: text, at, what });
    if text.len() > NAME_BYTES_MAX {
        return whole(0, NameFault::TooLong { bytes: text.len() });
    }
    // Plainer than the search for a character, which a short name is over before it begins.
    let comma = text.bytes().position(|byte| byte == b',');
    let Some((base, tags)) = comma.and_then(|at| text.split_at_checked(at)) else {
        return verify_base(text);
    };
    let tags = tags.strip_prefix(',').unwrap_or(tags);
    if base.is_empty() {
        return whole(0, NameFault::Empty);
    }
    verify_base(base)?;
    let mut last_key = "";
    let mut at = base.len();
    for tag in tags.split(',') {
        at = at.saturating_add(1);
        if tag.is_empty() {
            return whole(at, NameFault::TagEmpty);
        }
        let key = verify_tag(tag)?;
        let fault = |what| Err(Fault { subject: Subject::Tag, part: tag, at: 0, what });
        match (order, key.cmp(last_key)) {
            (Order::Any, _) | (Order::Sorted, Ordering::Greater) => {}
            (Order::Sorted, Ordering::Equal) => return fault(NameFault::TagRepeated),
            (Order::Sorted, Ordering::Less) => return fault(NameFault::TagsUnsorted),
        }
        last_key = key;
        at = at.saturating_add(tag.len());
    }
    Ok(())
}

/// Checks the name part.
fn verify_base(base: &str) -> Result<(), Fault<'_>> {
    let fault = |at, what| Err(Fault { subject: Subject::Name, part: base, at, what });
    let seen = match classes_of(base) {
        Ok(seen) => seen,
        Err((at, c)) => return fault(at, NameFault::Character(c)),
    };
    match base.as_bytes().first() {
        None => return fault(0, NameFault::Empty),
        Some(b'-') => return fault(0, NameFault::HyphenFirst),
        Some(b'.') => return fault(0, NameFault::DotFirst),
        Some(b'%') => return fault(0, NameFault::PercentFirst),
        Some(_) => {}
    }
    if seen & DOT != 0 {
        if let Some(at) = base.as_bytes().windows(2).position(|pair| pair == b"..") {
            return fault(at, NameFault::DoubleDot);
        }
        if base.ends_with('.') {
            return fault(base.len().saturating_sub(1), NameFault::DotLast);
        }
    }
    if seen & NAMING == 0 { fault(0, NameFault::OnlyDigits) } else { Ok(()) }
}

/// Checks one `key=value` and returns the key.
pub(super) fn verify_tag(tag: &str) -> Result<&str, Fault<'_>> {
    let fault = |at, what| Err(Fault { subject: Subject::Tag, part: tag, at, what });
    let (key, value) = tag.split_once('=').unwrap_or((tag, ""));
    if let Err((at, what)) = verify_key(key) {
        return fault(at, what);
    }
    let value_at = key.len().saturating_add(1);
    if value.is_empty() {
        return fault(key.len(), NameFault::TagWithoutValue);
    }
    if let Err((at, c)) = classes_of(value) {
        return fault(value_at.saturating_add(at), NameFault::Character(c));
    }
    if value.starts_with('%') {
        return fault(value_at, NameFault::PercentFirst);
    }
    Ok(key)
}

/// Checks the key of a tag: `[A-Za-z_][A-Za-z0-9_]*`, not beginning `__`.
pub(in crate::counter) fn verify_key(key: &str) -> Result<(), (usize, NameFault)> {
    if key.is_empty() {
        return Err((0, NameFault::TagWithoutKey));
    }
    let bad = |(at, c): &(usize, char)| {
        !(*c == '_' || c.is_ascii_alphabetic() || *at > 0 && c.is_ascii_digit())
    };
    if let Some((at, c)) = key.char_indices().find(bad) {
        return Err((at, NameFault::TagKey(c)));
    }
    if key.starts_with("__") { Err((0, NameFault::TagKeyReserved)) } else { Ok(()) }
}

/// The union of the classes in a part, or where its first refused character stands.
fn classes_of(part: &str) -> Result<u8, (usize, char)> {
    let seen = part.bytes().fold(0, |seen, byte| seen | class_of_byte(byte));
    if seen & (NOT_ASCII | REFUSED) == 0 {
        return Ok(seen);
    }
    let mut seen = 0;
    for (at, c) in part.char_indices() {
        let class = class_of_char(c);
        if class == REFUSED {
            return Err((at, c));
        }
        seen |= class;
    }
    Ok(seen)
}
