//! A request as the server reads it: the input is the payload of a frame. What is read takes no more memory
//! than its limits say, and can be written and read again as what it was. The codec reads integers that are
//! written longer than need be, so the bytes are the same only if they were the shortest.

use countd::frame::HEADER_BYTES;
use countd::protocol::{ENTRIES_MAX, Entry, PATTERNS_MAX, Request, TAG_FILTERS_MAX};

use super::memory;

/// What the longest lists take, and a message of what is wrong.
const MEMORY_MAX: usize = ENTRIES_MAX * size_of::<Entry<'_>>()
    + (PATTERNS_MAX + TAG_FILTERS_MAX) * size_of::<&str>()
    + 4096;

pub(crate) fn check(payload: &[u8]) {
    let (request, most) = memory::most(|| Request::from_payload(payload));
    assert!(most <= MEMORY_MAX, "{most} bytes for a payload of {}", payload.len());
    let Ok(request) = request else { return };
    let mut frame = Vec::new();
    request.write(&mut frame).expect("what came in a frame fits into one");
    let written = frame.split_off(HEADER_BYTES);
    assert!(written.len() <= payload.len(), "{request:?}");
    if written.len() == payload.len() {
        assert_eq!(written, payload, "{request:?}");
    }
    assert_eq!(Request::from_payload(&written).as_ref(), Ok(&request));
    // A request ends where it ends.
    let shorter = written.split_last().map_or(&[][..], |(_, shorter)| shorter);
    assert!(Request::from_payload(shorter).is_err(), "{request:?}");
    let longer = [written.as_slice(), &[0]].concat();
    assert!(Request::from_payload(&longer).is_err(), "{request:?}");
}
