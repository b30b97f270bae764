//! A request at rest: the file in which an increment waits for a daemon, and what such files are called. Bytes
//! and names only; where the files are, and who may make and take them, is not known here.
//!
//! ```text
//! "countdsp"  version u8  0 0 0  length u32  CRC-32 u32  payload: a Request::Incr, all or nothing
//! ```
//!
//! The CRC covers all of the file but itself. Numbers are little-endian.

use std::fmt;

use super::Request;
use crate::codec::Malformed;
use crate::frame::PAYLOAD_BYTES_MAX;
use crate::ids::RequestId;

/// The longest file, in bytes.
pub const FILE_BYTES_MAX: usize = 64 << 10;
/// How many requests can wait at a time: each has one of so many names.
pub const SLOTS: u32 = 1 << 16;

const MAGIC: [u8; 8] = *b"countdsp";
const VERSION: u8 = 1;
const HEADER_BYTES: usize = 20;
/// Where the CRC stands.
const CRC_AT: usize = 16;
/// Digits in the name of a slot.
const SLOT_DIGITS: usize = 5;
/// Digits in the name of a file that is being written.
const TEMPORARY_DIGITS: usize = 32;

const _: () = assert!(FILE_BYTES_MAX <= PAYLOAD_BYTES_MAX, "what is spooled could be sent");

/// Bytes that are no request at rest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SpooledError {
    /// It is over [`FILE_BYTES_MAX`].
    TooLong,
    /// It is not one of countd's files.
    Foreign,
    /// It is of a newer version.
    NewerVersion(u8),
    /// It is cut short, or has bytes too many.
    Length,
    /// Its checksum is wrong.
    Damaged,
    /// Its payload is no request.
    Malformed(Malformed),
    /// Its payload is no increment that is done as a whole.
    OtherRequest,
}

impl fmt::Display for SpooledError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SpooledError::TooLong => write!(f, "it is over {FILE_BYTES_MAX} bytes"),
            SpooledError::Foreign => f.write_str("it is no spooled request of countd"),
            SpooledError::NewerVersion(version) => {
                write!(f, "it is of version {version}, which only a newer countd knows")
            }
            SpooledError::Length => f.write_str("it is not as long as it says"),
            SpooledError::Damaged => f.write_str("its checksum is wrong"),
            SpooledError::Malformed(error) => error.fmt(f),
            SpooledError::OtherRequest => {
                f.write_str("it is no increment that is done as a whole or not at all")
            }
        }
    }
}

impl std::error::Error for SpooledError {}

/// The file of a request.
///
/// # Errors
/// [`SpooledError::TooLong`] when it is longer than such a file may be, [`SpooledError::OtherRequest`] for
/// what is no atomic increment.
pub fn to_bytes(request: &Request<'_>) -> Result<Vec<u8>, SpooledError> {
    session_of(request)?;
    let mut bytes = vec![0; HEADER_BYTES];
    crate::codec::encode(request, &mut bytes).map_err(SpooledError::Malformed)?;
    if bytes.len() > FILE_BYTES_MAX {
        return Err(SpooledError::TooLong);
    }
    let length = u32::try_from(bytes.len().saturating_sub(HEADER_BYTES));
    let length = length.map_err(|_| SpooledError::TooLong)?;
    put(&mut bytes, 0, &MAGIC);
    put(&mut bytes, MAGIC.len(), &[VERSION]);
    put(&mut bytes, CRC_AT.saturating_sub(4), &length.to_le_bytes());
    let crc = crc(&bytes);
    put(&mut bytes, CRC_AT, &crc.to_le_bytes());
    Ok(bytes)
}

/// The payload of a file, which is that of a [`Request::Incr`] that is atomic, and the session of its id.
///
/// # Errors
/// [`SpooledError`] for anything else.
pub fn from_bytes(bytes: &[u8]) -> Result<(u128, &[u8]), SpooledError> {
    if bytes.len() > FILE_BYTES_MAX {
        return Err(SpooledError::TooLong);
    }
    let Some((header, payload)) = bytes.split_first_chunk::<HEADER_BYTES>() else {
        return Err(if bytes.starts_with(&MAGIC) {
            SpooledError::Length
        } else {
            SpooledError::Foreign
        });
    };
    let [magic @ .., version, _, _, _, l0, l1, l2, l3, c0, c1, c2, c3] = header;
    if *magic != MAGIC {
        return Err(SpooledError::Foreign);
    }
    if *version != VERSION {
        return Err(SpooledError::NewerVersion(*version));
    }
    if usize::try_from(u32::from_le_bytes([*l0, *l1, *l2, *l3])) != Ok(payload.len()) {
        return Err(SpooledError::Length);
    }
    if crc(bytes) != u32::from_le_bytes([*c0, *c1, *c2, *c3]) {
        return Err(SpooledError::Damaged);
    }
    let request = Request::from_payload(payload).map_err(SpooledError::Malformed)?;
    Ok((session_of(&request)?, payload))
}

/// The name of a slot; numbers past [`SLOTS`] begin anew.
pub fn slot_name(number: u32) -> String {
    format!("r{:0SLOT_DIGITS$}", number % SLOTS)
}

/// Whether this is the name of a slot.
pub fn is_slot(name: &str) -> bool {
    let digits = name.strip_prefix('r').filter(|digits| digits.len() == SLOT_DIGITS);
    let digits = digits.filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()));
    digits.and_then(|digits| digits.parse().ok()).is_some_and(|number: u32| number < SLOTS)
}

/// The name under which a file is written before it gets a slot.
pub fn temporary_name(random: u128) -> String {
    format!("t{random:0TEMPORARY_DIGITS$x}")
}

/// Whether this is the name of a file that is being written, or was when its writer ended.
pub fn is_temporary(name: &str) -> bool {
    let hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    name.strip_prefix('t')
        .is_some_and(|digits| digits.len() == TEMPORARY_DIGITS && digits.bytes().all(hex))
}

fn session_of(request: &Request<'_>) -> Result<u128, SpooledError> {
    if let Request::Incr { id: RequestId { session, .. }, atomic: true, .. } = request {
        return Ok(*session);
    }
    Err(SpooledError::OtherRequest)
}

/// Of all but the CRC itself.
fn crc(bytes: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(bytes.get(..CRC_AT).unwrap_or_default());
    hasher.update(bytes.get(HEADER_BYTES..).unwrap_or_default());
    hasher.finalize()
}

fn put(bytes: &mut [u8], at: usize, part: &[u8]) {
    for (place, byte) in bytes.iter_mut().skip(at).zip(part) {
        *place = *byte;
    }
}

#[cfg(test)]
#[expect(clippy::indexing_slicing, reason = "tests may panic")]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::protocol::Entry;

    fn request(entries: Vec<Entry<'_>>) -> Request<'_> {
        let id = RequestId { session: 9, seq: 0, born_ns: 7 };
        Request::Incr { id, atomic: true, totals: false, entries }
    }

    fn file() -> Vec<u8> {
        to_bytes(&request(vec![Entry { name: "ab", amount: 300 }])).unwrap()
    }

    #[test]
    fn a_spooled_request_has_these_bytes() {
        let payload = [0, 9, 0, 7, 1, 0, 1, 2, b'a', b'b', 251, 44, 1];
        let mut golden = b"countdsp\x01\0\0\0\x0d\0\0\0".to_vec();
        golden.extend([164, 24, 84, 124]);
        golden.extend(payload);
        assert_eq!(file(), golden);
        assert_eq!(from_bytes(&golden), Ok((9, &payload[..])));
    }

    #[test]
    fn every_truncation_and_every_byte_too_many_is_refused() {
        let mut bytes = file();
        for cut in 0..bytes.len() {
            assert!(from_bytes(&bytes[..cut]).is_err(), "{cut}");
        }
        bytes.push(0);
        assert_eq!(from_bytes(&bytes), Err(SpooledError::Length));
    }

    #[test]
    fn every_flipped_bit_is_refused() {
        let bytes = file();
        for bit in 0..bytes.len() * 8 {
            let mut bytes = bytes.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(from_bytes(&bytes).is_err(), "{bit}");
        }
    }

    #[test]
    fn what_is_no_atomic_increment_is_refused() {
        assert_eq!(to_bytes(&Request::Status), Err(SpooledError::OtherRequest));
        let id = RequestId { session: 9, seq: 0, born_ns: 7 };
        let stream = Request::Incr { id, atomic: false, totals: false, entries: Vec::new() };
        assert_eq!(to_bytes(&stream), Err(SpooledError::OtherRequest));
        // Another request with a checksum that is right.
        let mut bytes = vec![0; HEADER_BYTES];
        crate::codec::encode(&stream, &mut bytes).unwrap();
        put(&mut bytes, 0, b"countdsp\x01\0\0\0");
        let length = u32::try_from(bytes.len() - HEADER_BYTES).unwrap();
        put(&mut bytes, 12, &length.to_le_bytes());
        let crc = crc(&bytes);
        put(&mut bytes, CRC_AT, &crc.to_le_bytes());
        assert_eq!(from_bytes(&bytes), Err(SpooledError::OtherRequest));
    }

    #[test]
    fn a_request_that_is_too_long_for_a_file_is_refused() {
        let name = "n".repeat(200);
        let entries = |n| (0..n).map(|_| Entry { name: &name, amount: 1 }).collect();
        assert!(to_bytes(&request(entries(300))).unwrap().len() <= FILE_BYTES_MAX);
        assert_eq!(to_bytes(&request(entries(330))), Err(SpooledError::TooLong));
        assert_eq!(from_bytes(&vec![0; FILE_BYTES_MAX + 1]), Err(SpooledError::TooLong));
    }

    #[test]
    fn a_newer_version_is_told() {
        let mut bytes = file();
        bytes[8] = 2;
        assert_eq!(from_bytes(&bytes), Err(SpooledError::NewerVersion(2)));
    }

    #[test]
    fn names_are_recognized_and_no_others() {
        assert_eq!(slot_name(7), "r00007");
        assert_eq!(slot_name(SLOTS), "r00000");
        assert!(is_slot("r00000") && is_slot("r65535"));
        for name in ["r65536", "r99999", "r0000", "r000000", "R00000", "r0000a", "r+0001", "", "r"]
        {
            assert!(!is_slot(name), "{name}");
        }
        assert!(is_temporary(&temporary_name(0)) && is_temporary(&temporary_name(u128::MAX)));
        for name in ["t", "t0", "taken", "r00000", &format!("t{}", "G".repeat(32))] {
            assert!(!is_temporary(name), "{name}");
        }
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = from_bytes(&bytes);
            let mut made = file();
            made.truncate(HEADER_BYTES);
            made.extend(bytes);
            let _ = from_bytes(&made);
        }
    }
}
