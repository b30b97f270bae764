//! Frames on the socket: a length, little-endian in four bytes, and that many bytes of payload. It splits a
//! stream of bytes into payloads and says when what it holds cannot become one. What is in a payload, and
//! where the bytes come from, is not its business.

#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::as_conversions)]

use std::fmt;
use std::ops::Range;

/// The longest payload, in bytes.
pub const PAYLOAD_BYTES_MAX: usize = crate::codec::VALUE_BYTES_MAX;

/// Bytes of a frame before its payload.
pub const HEADER_BYTES: usize = 4;

/// A frame whose length is past [`PAYLOAD_BYTES_MAX`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Oversized {
    /// The length it claims, in bytes.
    pub claimed: u32,
}

impl fmt::Display for Oversized {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a frame of {} bytes is over the limit of {PAYLOAD_BYTES_MAX}", self.claimed)
    }
}

impl std::error::Error for Oversized {}

/// Appends a frame to `out`, its payload written by `payload` straight into place.
///
/// # Errors
/// What `payload` returns, and [`Oversized`] made into it; `out` is then left as it was.
pub fn write<E: From<Oversized>>(
    out: &mut Vec<u8>,
    payload: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
) -> Result<(), E> {
    let start = out.len();
    out.extend_from_slice(&[0; HEADER_BYTES]);
    let written = payload(out).and_then(|()| {
        let length = out.len().saturating_sub(start).saturating_sub(HEADER_BYTES);
        let claimed = u32::try_from(length).unwrap_or(u32::MAX);
        if length > PAYLOAD_BYTES_MAX { Err(Oversized { claimed }.into()) } else { Ok(claimed) }
    });
    match written {
        Ok(length) => {
            if let Some(header) = out.get_mut(start..).and_then(|frame| frame.first_chunk_mut()) {
                *header = length.to_le_bytes();
            }
            Ok(())
        }
        Err(error) => {
            out.truncate(start);
            Err(error)
        }
    }
}

/// Finds the frame that `bytes` begin with: the range of its payload, or `None` when more bytes are needed.
///
/// # Errors
/// [`Oversized`] as soon as the length is there, before anything of the payload is waited for.
pub fn first(bytes: &[u8]) -> Result<Option<Range<usize>>, Oversized> {
    let Some(header) = bytes.first_chunk::<HEADER_BYTES>() else { return Ok(None) };
    let claimed = u32::from_le_bytes(*header);
    let length = usize::try_from(claimed).unwrap_or(usize::MAX);
    if length > PAYLOAD_BYTES_MAX {
        return Err(Oversized { claimed });
    }
    let end = HEADER_BYTES.saturating_add(length);
    Ok(if bytes.len() >= end { Some(HEADER_BYTES..end) } else { None })
}

#[cfg(test)]
#[expect(clippy::indexing_slicing, reason = "tests may panic")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn framed(payload: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        write(&mut out, |out| {
            out.extend_from_slice(payload);
            Ok::<(), Oversized>(())
        })
        .unwrap();
        out
    }

    #[test]
    fn oversized_frame_is_refused_by_its_header_alone() {
        let mut header = u32::try_from(PAYLOAD_BYTES_MAX + 1).unwrap().to_le_bytes().to_vec();
        assert_eq!(first(&header), Err(Oversized { claimed: 1_048_577 }));
        header = u32::try_from(PAYLOAD_BYTES_MAX).unwrap().to_le_bytes().to_vec();
        assert_eq!(first(&header), Ok(None));
    }

    #[test]
    fn an_oversized_payload_is_not_written() {
        let mut out = vec![7];
        let result = write(&mut out, |out| {
            out.resize(PAYLOAD_BYTES_MAX + 100, 0);
            Ok::<(), Oversized>(())
        });
        assert!(result.is_err());
        assert_eq!(out, [7]);
    }

    #[test]
    fn a_frame_is_its_length_and_its_payload() {
        assert_eq!(framed(b"abc"), [3, 0, 0, 0, b'a', b'b', b'c']);
        assert_eq!(framed(b""), [0, 0, 0, 0]);
    }

    proptest! {
        #[test]
        fn any_split_of_any_frames_gives_the_same_payloads(
            payloads in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..10),
            cuts in prop::collection::vec(1..50_usize, 1..60),
        ) {
            let stream: Vec<u8> = payloads.iter().flat_map(|p| framed(p)).collect();
            let (mut held, mut found, mut rest) = (Vec::new(), Vec::new(), stream.as_slice());
            for cut in cuts.iter().cycle() {
                let (now, later) = rest.split_at((*cut).min(rest.len()));
                held.extend_from_slice(now);
                rest = later;
                while let Some(payload) = first(&held).unwrap() {
                    found.push(held[payload.clone()].to_vec());
                    held.drain(..payload.end);
                }
                if rest.is_empty() {
                    break;
                }
            }
            prop_assert_eq!(found, payloads);
            prop_assert!(held.is_empty());
        }
    }
}
