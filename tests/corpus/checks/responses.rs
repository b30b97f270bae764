//! A response as the client reads it: the input is the payload of a frame. It takes memory in proportion to
//! what came, and can be written and read again as what it was; as with requests, integers may be longer
//! than need be.

use countd::frame::HEADER_BYTES;
use countd::protocol::{ErrorCode, ROWS_MAX, Response, Row};

use super::memory;

/// Bytes for each that came, at most: a fact without key and text is three bytes that become 56, in a list that
/// doubles, and is there twice meanwhile.
const MEMORY_PER_BYTE: usize = 56 * 3;
/// What is taken before anything came: for a list of rows, as many as can be; for a text that is not borrowed, what
/// the codec takes before it looks whether the text is there.
const MEMORY_BEFORE: usize = memory::VALUE_CLAIM_MAX + ROWS_MAX * size_of::<Row<'_>>() + 4096;

pub(crate) fn check(payload: &[u8]) {
    let (response, most) = memory::most(|| Response::from_payload(payload));
    let allowed = MEMORY_BEFORE + payload.len() * MEMORY_PER_BYTE;
    assert!(most <= allowed, "{most} bytes for a payload of {}", payload.len());
    let Ok(response) = response else { return };
    let mut frame = Vec::new();
    response.write(&mut frame).expect("what came in a frame fits into one");
    let written = frame.split_off(HEADER_BYTES);
    assert!(written.len() <= payload.len(), "{response:?}");
    if written.len() == payload.len() {
        assert_eq!(written, payload, "{response:?}");
    }
    assert_eq!(Response::from_payload(&written).as_ref(), Ok(&response));
    // A response ends where it ends.
    let shorter = written.split_last().map_or(&[][..], |(_, shorter)| shorter);
    assert!(Response::from_payload(shorter).is_err(), "{response:?}");
    let longer = [written.as_slice(), &[0]].concat();
    assert!(Response::from_payload(&longer).is_err(), "{response:?}");
    if let Response::Error { code, .. } = response {
        assert_eq!(u8::from(ErrorCode::from(code)), code);
    }
}
