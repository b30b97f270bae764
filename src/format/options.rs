//! Options as they follow a `?` in the description of a sink: `KEY=VALUE`, joined by `&`, with `%XX` for a byte that
//! would be misread. What keys and values mean is not known here.

use std::fmt;

/// Options at most.
const OPTIONS_MAX: usize = 32;

/// An option as it was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Given<'a> {
    /// Where its key begins in the text, in bytes.
    pub at: usize,
    /// Its key.
    pub key: &'a str,
    /// Its value, decoded.
    pub value: String,
}

/// What is wrong with a text of options, and at which byte.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OptionsError {
    /// Where.
    pub at: usize,
    /// What.
    pub what: &'static str,
}

impl fmt::Display for OptionsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.what)
    }
}

/// Reads options; an empty text has none.
///
/// # Errors
/// [`OptionsError`] when it is no list of them.
pub fn split(text: &str) -> Result<Vec<Given<'_>>, OptionsError> {
    let mut all = Vec::new();
    if text.is_empty() {
        return Ok(all);
    }
    let mut at = 0_usize;
    for option in text.split('&') {
        let fault = |inside: usize, what| Err(OptionsError { at: at.saturating_add(inside), what });
        if all.len() >= OPTIONS_MAX {
            return fault(0, "there are too many options");
        }
        let Some((key, value)) = option.split_once('=') else {
            return fault(0, "an option is written KEY=VALUE, and & stands between two");
        };
        if key.is_empty() {
            return fault(0, "there is no key before the =");
        }
        let value_at = key.len().saturating_add(1);
        match decode(value) {
            Ok(value) => all.push(Given { at, key, value }),
            Err(error) => return fault(value_at.saturating_add(error.at), error.what),
        }
        at = at.saturating_add(option.len()).saturating_add(1);
    }
    Ok(all)
}

/// The text with each `%XX` as the byte it stands for.
///
/// # Errors
/// [`OptionsError`] for a `%` without two hexadecimal digits, and where that makes no UTF-8, or a control character.
pub fn decode(text: &str) -> Result<String, OptionsError> {
    let fault = |at, what| Err(OptionsError { at, what });
    let mut bytes = Vec::with_capacity(text.len());
    let mut all = text.bytes().enumerate();
    while let Some((at, byte)) = all.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digits = text.get(at.saturating_add(1)..at.saturating_add(3)).unwrap_or_default();
        let is_hex = digits.len() == 2 && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
        match u8::from_str_radix(digits, 16) {
            Ok(byte) if is_hex => bytes.push(byte),
            Ok(_) | Err(_) => {
                return fault(
                    at,
                    "two hexadecimal digits follow a %; the character itself is written %25",
                );
            }
        }
        all.nth(1);
    }
    match String::from_utf8(bytes) {
        Ok(text) if text.contains(char::is_control) => {
            fault(0, "control characters are not allowed")
        }
        Ok(text) => Ok(text),
        Err(_) => fault(0, "it is no UTF-8"),
    }
}

/// The text so that [`decode`] reads it again, also as the value of an option.
pub fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for c in text.chars() {
        if matches!(c, '%' | '&' | '?' | '=' | '#') || c.is_whitespace() || c.is_control() {
            percent(c, &mut encoded);
        } else {
            encoded.push(c);
        }
    }
    encoded
}

/// Appends `%XX` for each byte of a character.
pub fn percent(c: char, out: &mut String) {
    for byte in c.encode_utf8(&mut [0; 4]).bytes() {
        out.push('%');
        for digit in [byte >> 4, byte & 15] {
            out.extend(char::from_digit(digit.into(), 16).map(|digit| digit.to_ascii_uppercase()));
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn options_are_keys_and_decoded_values_with_their_places() {
        let all = split("format=json&only=a%26b*").unwrap();
        let all: Vec<_> = all.iter().map(|given| (given.at, given.key, &*given.value)).collect();
        assert_eq!(all, [(0, "format", "json"), (12, "only", "a&b*")]);
        assert!(split("").unwrap().is_empty());
    }

    #[test]
    fn what_is_no_list_of_options_is_refused_where_it_is_wrong() {
        for (text, at) in [
            ("a", 0),
            ("a=1&", 4),
            ("a=1&=2", 4),
            ("a=1&b=%4", 6),
            ("a=%zz", 2),
            ("a=%+1", 2),
            ("a=%ff", 2),
            ("a=%0A", 2),
        ] {
            assert_eq!(split(text).unwrap_err().at, at, "{text}");
        }
        assert!(split(&"a=1&".repeat(100)).is_err());
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded_to_the_same(text in "\\PC*") {
            prop_assert_eq!(decode(&encode(&text)), Ok(text));
        }

        #[test]
        fn any_text_is_read_or_refused(text in any::<String>()) {
            if let Err(error) = split(&text) {
                prop_assert!(error.at <= text.len());
            }
        }
    }
}
