//! The one file that names the codec: typed values to bytes and back, little-endian with variable-length
//! integers, the same for messages on the socket and records on disk. Decoding borrows from its input, is
//! bounded, and takes no more and no less than a value. What the values mean is not its business.
//!
//! Format: bincode 2, `config::standard()`:
//! <https://github.com/bincode-org/bincode/blob/v2.0.1/docs/spec.md>.

#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::as_conversions)]

use std::fmt;

use bincode::config::{Configuration, Limit, LittleEndian, Varint};
use bincode::enc::write::Writer;
use bincode::error::{DecodeError, EncodeError};
use serde::{Deserialize, Serialize};

/// The longest encoding of one value, in bytes.
pub(crate) const VALUE_BYTES_MAX: usize = 1 << 20;

/// The decoder's limit counts each integer as eight bytes, however short its encoding is, so it must be
/// eight times what it stands for, or it would refuse values that are within bounds.
const LIMIT: usize = 8 * VALUE_BYTES_MAX;

const CONFIG: Configuration<LittleEndian, Varint, Limit<LIMIT>> =
    bincode::config::standard().with_limit();

/// Bytes that are not the encoding of the value that was expected there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Malformed {
    what: String,
    cut_short: bool,
}

impl Malformed {
    /// Whether more bytes might have made it a value.
    pub(crate) fn is_cut_short(&self) -> bool {
        self.cut_short
    }

    fn new(what: impl Into<String>) -> Malformed {
        Malformed { what: what.into(), cut_short: false }
    }
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "malformed: {}", self.what)
    }
}

impl std::error::Error for Malformed {}

/// Appends the encoding of `value` to `out`.
///
/// # Errors
/// [`Malformed`] when the value has no encoding; ours all have one. `out` is then left as it was.
pub(crate) fn encode<T: Serialize>(value: &T, out: &mut Vec<u8>) -> Result<(), Malformed> {
    let before = out.len();
    bincode::serde::encode_into_writer(value, Appender(out), CONFIG).map_err(|error| {
        out.truncate(before);
        Malformed::new(error.to_string())
    })
}

/// Decodes one value that takes all of `bytes`.
///
/// # Errors
/// [`Malformed`] for anything else: a value cut short, bytes left over, an unknown variant, a length past
/// the limit, text that is not UTF-8.
pub(crate) fn decode<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, Malformed> {
    let (value, rest) = decode_first(bytes)?;
    if rest.is_empty() {
        Ok(value)
    } else {
        Err(Malformed::new(format!("{} bytes left over", rest.len())))
    }
}

/// Decodes the value that `bytes` begin with, and returns it with what follows.
///
/// # Errors
/// As [`decode`], but bytes may be left over.
pub(crate) fn decode_first<'a, T: Deserialize<'a>>(
    bytes: &'a [u8],
) -> Result<(T, &'a [u8]), Malformed> {
    let (value, used) =
        bincode::serde::borrow_decode_from_slice(bytes, CONFIG).map_err(in_words)?;
    Ok((value, bytes.get(used..).unwrap_or_default()))
}

/// The bytes that say that an integer follows in two, four or eight; smaller ones are the integer.
const IN_TWO: u8 = 251;
const IN_FOUR: u8 = 252;
const IN_EIGHT: u8 = 253;

/// Appends the encoding of an integer of any width up to 64 bits, as [`encode`] does, for what is written most.
pub(crate) fn put_number(number: u64, out: &mut Vec<u8>) {
    let [a, b, c, d, ..] = number.to_le_bytes();
    if let Ok(short) = u8::try_from(number)
        && short < IN_TWO
    {
        out.push(short);
    } else if u16::try_from(number).is_ok() {
        out.extend_from_slice(&[IN_TWO, a, b]);
    } else if u32::try_from(number).is_ok() {
        out.extend_from_slice(&[IN_FOUR, a, b, c, d]);
    } else {
        out.push(IN_EIGHT);
        out.extend_from_slice(&number.to_le_bytes());
    }
}

/// Takes the integer that `bytes` begin with, as [`decode_first`] does, for what is read most. `None` if they
/// begin with none of up to 64 bits.
pub(crate) fn take_number(bytes: &mut &[u8]) -> Option<u64> {
    let (&first, rest) = bytes.split_first()?;
    let (number, rest) = match first {
        IN_TWO => {
            rest.split_first_chunk().map(|(n, rest)| (u16::from_le_bytes(*n).into(), rest))?
        }
        IN_FOUR => {
            rest.split_first_chunk().map(|(n, rest)| (u32::from_le_bytes(*n).into(), rest))?
        }
        IN_EIGHT => rest.split_first_chunk().map(|(n, rest)| (u64::from_le_bytes(*n), rest))?,
        short if short < IN_TWO => (short.into(), rest),
        _ => return None,
    };
    *bytes = rest;
    Some(number)
}

/// Takes the text that `bytes` begin with; whether it is UTF-8 is not looked at. `None` if it is cut short.
pub(crate) fn take_bytes<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = usize::try_from(take_number(bytes)?).ok()?;
    let (text, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    Some(text)
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the codec's own enum, and its words do for the rest"
)]
fn in_words(error: DecodeError) -> Malformed {
    match error {
        DecodeError::OtherString(what) => Malformed::new(what),
        DecodeError::UnexpectedEnd { .. } => {
            Malformed { what: "it is cut short".into(), cut_short: true }
        }
        DecodeError::LimitExceeded => Malformed::new(format!("it is over {VALUE_BYTES_MAX} bytes")),
        other => Malformed::new(other.to_string()),
    }
}

/// Appends to a vector without a detour; bincode writes into slices and into `io::Write` only.
struct Appender<'a>(&'a mut Vec<u8>);

impl Writer for Appender<'_> {
    fn write(&mut self, bytes: &[u8]) -> Result<(), EncodeError> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }
}

#[cfg(test)]
#[expect(clippy::indexing_slicing, reason = "tests may panic")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    enum Sample<'a> {
        Text(&'a str),
        Pairs(#[serde(borrow)] Vec<(&'a str, u64)>),
    }

    #[test]
    fn the_bytes_are_what_the_format_says() {
        let mut bytes = Vec::new();
        encode(&Sample::Pairs(vec![("ab", 1), ("c", 300)]), &mut bytes).unwrap();
        assert_eq!(bytes, [1, 2, 2, b'a', b'b', 1, 1, b'c', 251, 44, 1]);
    }

    #[test]
    fn bytes_left_over_are_refused() {
        assert!(decode::<u64>(&[0]).is_ok());
        let error = decode::<u64>(&[0, 9, 9]).unwrap_err();
        assert_eq!(error.to_string(), "malformed: 2 bytes left over");
    }

    #[test]
    fn a_length_of_a_tebibyte_is_refused_without_taking_memory() {
        let mut claim = vec![0];
        encode(&(1_u64 << 40), &mut claim).unwrap();
        assert!(decode::<Sample<'_>>(&claim).is_err());
        claim[0] = 1;
        assert!(decode::<Sample<'_>>(&claim).is_err());
    }

    #[test]
    fn a_value_of_the_full_size_passes_the_limit() {
        let names = vec![("n", 1_u64); VALUE_BYTES_MAX / 3 - 2];
        let mut bytes = Vec::new();
        encode(&Sample::Pairs(names), &mut bytes).unwrap();
        assert!(bytes.len() <= VALUE_BYTES_MAX);
        assert!(decode::<Sample<'_>>(&bytes).is_ok());
    }

    proptest! {
        #[test]
        fn every_truncation_is_refused(pairs in prop::collection::vec(("[a-z]{0,9}", any::<u64>()), 0..9)) {
            let borrowed = Sample::Pairs(pairs.iter().map(|(n, v)| (n.as_str(), *v)).collect());
            let mut bytes = Vec::new();
            encode(&borrowed, &mut bytes).unwrap();
            prop_assert_eq!(decode::<Sample<'_>>(&bytes).unwrap(), borrowed);
            for cut in 0..bytes.len() {
                prop_assert!(decode::<Sample<'_>>(&bytes[..cut]).is_err());
            }
        }

        #[test]
        fn numbers_and_texts_are_written_and_read_as_all_else_is(
            shift in 0..64_u32, number: u64, text in "\\PC{0,300}", more: u8
        ) {
            let number = number >> shift;
            let (mut all, mut alone) = (Vec::new(), Vec::new());
            encode(&number, &mut all).unwrap();
            put_number(number, &mut alone);
            prop_assert_eq!(&all, &alone);
            encode(&text, &mut all).unwrap();
            all.push(more);
            let mut rest = all.as_slice();
            prop_assert_eq!(take_number(&mut rest), Some(number));
            prop_assert_eq!(take_bytes(&mut rest), Some(text.as_bytes()));
            prop_assert_eq!(rest, [more]);
        }

        #[test]
        fn any_bytes_are_the_number_that_decoding_finds(bytes in prop::collection::vec(any::<u8>(), 0..11)) {
            let mut rest = bytes.as_slice();
            match decode_first::<u64>(&bytes) {
                Ok((number, after)) => {
                    prop_assert_eq!(take_number(&mut rest), Some(number));
                    prop_assert_eq!(rest, after);
                }
                Err(_) => prop_assert_eq!(take_number(&mut rest), None),
            }
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode::<Sample<'_>>(&bytes);
        }
    }
}
