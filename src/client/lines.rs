//! Lines out of blocks of bytes, as they come. It holds at most one line, up to [`LINE_BYTES_MAX`]; a longer
//! one is reported once and skipped. What a line says is not its business.

/// The longest line, in bytes, without its end.
pub const LINE_BYTES_MAX: usize = 4096;

/// What was found where a line ought to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Line<'a> {
    /// A line, without its newline.
    Whole(&'a [u8]),
    /// One that is too long.
    Overlong,
}

/// Splits what comes in blocks.
#[derive(Debug, Default)]
pub struct Lines {
    begun: Vec<u8>,
    skipping: bool,
}

impl Lines {
    /// Takes a block, and hands each line that ends in it to `each`.
    pub fn push(&mut self, block: &[u8], mut each: impl FnMut(Line<'_>)) {
        let mut begin = 0;
        for at in memchr::memchr_iter(b'\n', block) {
            self.end(block.get(begin..at).unwrap_or_default(), &mut each);
            begin = at + 1;
        }
        if let Some(rest) = block.get(begin..).filter(|rest| !rest.is_empty()) {
            self.begin(rest, &mut each);
        }
    }

    /// Whether the next block goes on with a line that was begun.
    pub fn is_within(&self) -> bool {
        self.skipping || !self.begun.is_empty()
    }

    /// Takes the end of the input: a last line without its newline is a line.
    pub fn finish(self, mut each: impl FnMut(Line<'_>)) {
        if !self.begun.is_empty() {
            each(Line::Whole(&self.begun));
        }
    }

    fn begin(&mut self, piece: &[u8], each: &mut impl FnMut(Line<'_>)) {
        if self.skipping {
            return;
        }
        if self.begun.len() + piece.len() <= LINE_BYTES_MAX {
            self.begun.extend_from_slice(piece);
            return;
        }
        self.begun.clear();
        self.skipping = true;
        each(Line::Overlong);
    }

    fn end(&mut self, end: &[u8], each: &mut impl FnMut(Line<'_>)) {
        if self.begun.is_empty() && !self.skipping && end.len() <= LINE_BYTES_MAX {
            return each(Line::Whole(end));
        }
        if self.skipping {
            self.skipping = false;
            return;
        }
        if self.begun.len() + end.len() > LINE_BYTES_MAX {
            self.begun.clear();
            return each(Line::Overlong);
        }
        self.begun.extend_from_slice(end);
        each(Line::Whole(&self.begun));
        self.begun.clear();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The lines of blocks, `None` for one that is too long.
    fn split<'a>(blocks: impl IntoIterator<Item = &'a [u8]>) -> Vec<Option<Vec<u8>>> {
        let mut found = Vec::new();
        let mut lines = Lines::default();
        let mut each = |line: Line<'_>| {
            found.push(match line {
                Line::Whole(bytes) => Some(bytes.to_vec()),
                Line::Overlong => None,
            });
        };
        for block in blocks {
            lines.push(block, &mut each);
            assert!(lines.begun.len() <= LINE_BYTES_MAX);
        }
        lines.finish(&mut each);
        found
    }

    fn some(line: &[u8]) -> Option<Vec<u8>> {
        Some(line.to_vec())
    }

    #[test]
    fn a_last_line_without_newline_counts() {
        assert_eq!(split([&b"a\n\nb"[..]]), [some(b"a"), some(b""), some(b"b")]);
        assert_eq!(split([&b"a\n"[..], b"b\n"]), [some(b"a"), some(b"b")]);
        assert_eq!(split([&b""[..]]), []);
    }

    #[test]
    fn an_overlong_line_is_reported_once_and_skipped() {
        let long = vec![b'x'; 3 * LINE_BYTES_MAX];
        assert_eq!(split([&long[..], &long, b"\nb\n"]), [None, some(b"b")]);
        let blocks = [&b"a\n"[..], &long, &long];
        assert_eq!(split(blocks), [some(b"a"), None]);
        let longest = vec![b'x'; LINE_BYTES_MAX];
        assert_eq!(split([&longest[..], b"\n"]), [some(&longest)]);
        assert_eq!(split([&longest[..], b"y\nb"]), [None, some(b"b")]);
    }

    proptest! {
        #[test]
        fn any_split_of_any_bytes_gives_the_same_lines(
            lines in prop::collection::vec((any::<u8>(), prop_oneof![0..9_usize, 4090..4103_usize]), 0..12),
            ended in any::<bool>(),
            cuts in prop::collection::vec(prop_oneof![1..40_usize, 1..6_000_usize], 1..30),
        ) {
            let mut bytes = Vec::new();
            for (byte, length) in &lines {
                bytes.extend(std::iter::repeat_n(*byte, *length));
                bytes.push(b'\n');
            }
            if !ended {
                bytes.pop();
            }
            let (mut blocks, mut rest) = (Vec::new(), bytes.as_slice());
            for cut in cuts.iter().cycle() {
                let (block, later) = rest.split_at((*cut).min(rest.len()));
                blocks.push(block);
                rest = later;
                if rest.is_empty() {
                    break;
                }
            }
            prop_assert_eq!(split(blocks), split([bytes.as_slice()]));
        }
    }
}
