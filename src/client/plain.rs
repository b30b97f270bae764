//! Plain lines: a name, or a name, a blank and digits, as most are. Each byte is looked at once, eight at a time: where
//! the name ends is found while it is hashed. A name is not checked here: who has it already has checked it.
//! Every other line, and the last ones of a block, are for the parser.

use std::hash::{BuildHasher, Hasher};

use foldhash::fast::RandomState;

/// How many lines are looked up at once.
pub const GROUP_MAX: usize = 16;

/// A plain line is at most so many words of eight bytes long; no name is longer.
const WORDS_MAX: usize = 33;
/// This in each byte of a word.
const ONES: u64 = 0x0101_0101_0101_0101;
/// The highest bit of each byte of a word.
const HIGH: u64 = 0x80 * ONES;

/// A plain line.
#[derive(Debug, Clone, Copy, Default)]
pub struct Plain<'a> {
    /// It and what is behind it.
    bytes: &'a [u8],
    line_bytes: usize,
    name_bytes: usize,
    pub(crate) amount: u64,
    pub(crate) hash: u32,
}

impl<'a> Plain<'a> {
    /// All of it, without its end.
    pub fn line(&self) -> &'a [u8] {
        self.bytes.get(..self.line_bytes).unwrap_or_default()
    }

    /// Its name.
    pub(crate) fn words(&self) -> impl Iterator<Item = u64> {
        let (words, _) = self.bytes.as_chunks();
        let (whole, others) = words.split_at_checked(self.name_bytes / 8).unwrap_or_default();
        let last = others.first().map(|word| word_of(word) & first_bytes(self.name_bytes % 8));
        whole.iter().map(word_of).chain(last)
    }
}

/// A name in words of eight bytes. Behind it there are zeros, at least one: no name has any within.
pub(crate) fn words(name: &[u8]) -> impl Iterator<Item = u64> {
    let (whole, rest) = name.as_chunks();
    let mut last = [0; 8];
    last.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
    whole.iter().map(word_of).chain([word_of(&last)])
}

/// Plain lines that stand one behind the other.
#[derive(Debug, Default)]
pub struct Group<'a> {
    lines: [Plain<'a>; GROUP_MAX],
    len: usize,
}

impl<'a> Group<'a> {
    /// Reads as many plain lines as `bytes` begin with and a group holds, in place of those it had; returns what
    /// follows them.
    pub fn read(&mut self, mut bytes: &'a [u8], hasher: NameHasher) -> &'a [u8] {
        self.len = 0;
        for place in &mut self.lines {
            let Some((line, rest)) = first(bytes, hasher) else { break };
            *place = line;
            bytes = rest;
            self.len += 1;
        }
        bytes
    }

    /// Whether it has as many lines as it holds.
    pub fn is_whole(&self) -> bool {
        self.len == GROUP_MAX
    }

    /// The lines.
    pub fn lines(&self) -> &[Plain<'a>] {
        self.lines.get(..self.len).unwrap_or_default()
    }
}

/// Hashes names. Nobody outside knows how: names that are meant to be alike are not.
#[derive(Debug, Clone, Copy)]
pub struct NameHasher(u64);

impl Default for NameHasher {
    fn default() -> NameHasher {
        NameHasher(RandomState::default().build_hasher().finish())
    }
}

impl NameHasher {
    /// The hash of a name.
    pub(crate) fn hash(self, name: &[u8]) -> u32 {
        words(name).fold(self, NameHasher::with).finish()
    }

    fn with(self, word: u64) -> NameHasher {
        let product = u128::from(self.0 ^ word) * u128::from(0x9e37_79b9_7f4a_7c15_u64);
        let [low, high] = [product, product >> 64].map(|half| half as u64);
        NameHasher(low ^ high)
    }

    fn finish(self) -> u32 {
        (self.0 >> 32) as u32
    }
}

/// The plain line that `bytes` begin with, and what follows it; `None` also when too little follows to read words.
#[inline(always)]
fn first(bytes: &[u8], mut hasher: NameHasher) -> Option<(Plain<'_>, &[u8])> {
    let mut name_bytes = 0;
    for _ in 0..WORDS_MAX {
        let word = word_at(bytes, name_bytes)?;
        // The lowest one is right; above it a borrow may have made others.
        let ends = word.wrapping_sub(0x21 * ONES) & !word & HIGH;
        if ends == 0 {
            hasher = hasher.with(word);
            name_bytes += 8;
            continue;
        }
        let within = (ends.trailing_zeros() / 8) as usize;
        let hash = hasher.with(word & first_bytes(within)).finish();
        name_bytes += within;
        let mut line = Plain { bytes, line_bytes: name_bytes, name_bytes, amount: 1, hash };
        let (&end, rest) = bytes.get(name_bytes..)?.split_first()?;
        if end == b'\n' {
            return Some((line, rest));
        }
        let mut next = name_bytes;
        if end == b' ' || end == b'\t' {
            let (amount, digits) = amount(rest)?;
            next += 1 + digits;
            (line.amount, line.line_bytes) = (amount, next);
        }
        if bytes.get(next) == Some(&b'\r') {
            next += 1;
        }
        let (b'\n', rest) = bytes.get(next..)?.split_first()? else { return None };
        return Some((line, rest));
    }
    None
}

/// The number of up to fifteen digits that `bytes` begin with, and how many they are.
fn amount(bytes: &[u8]) -> Option<(u64, usize)> {
    let word = word_at(bytes, 0)?;
    let bits = digit_bits(word);
    match bits {
        0 => return None,
        64 => {}
        _ => return Some((number_of(word, bits), (bits / 8) as usize)),
    }
    let (number, next) = (number_of(word, bits), word_at(bytes, 8)?);
    match digit_bits(next) {
        0 => Some((number, 8)),
        64 => None,
        bits => {
            let scale = 10_u64.pow(bits / 8);
            Some((number * scale + number_of(next, bits), 8 + (bits / 8) as usize))
        }
    }
}

/// How many bits of a word are of the digits that it begins with.
fn digit_bits(word: u64) -> u32 {
    let digits = word ^ (0x30 * ONES);
    let others = (((digits & !HIGH) + 0x76 * ONES) | digits) & HIGH;
    others.trailing_zeros() & !7
}

/// The number of the digits that are the first bits of a word, at least one of them.
fn number_of(word: u64, bits: u32) -> u64 {
    // The first digit lowest; it goes up until the last is highest, with zeros before them.
    let digits = (word ^ (0x30 * ONES)) << (64 - bits);
    let pairs = (digits * 10 + (digits >> 8)) & 0x00ff_00ff_00ff_00ff;
    let fours = (pairs * 100 + (pairs >> 16)) & 0x0000_ffff_0000_ffff;
    (fours * 10_000 + (fours >> 32)) & 0xffff_ffff
}

fn word_at(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..)?.first_chunk().map(word_of)
}

fn word_of(bytes: &[u8; 8]) -> u64 {
    u64::from_le_bytes(*bytes)
}

/// The bits of so many bytes of a word, fewer than eight.
fn first_bytes(bytes: usize) -> u64 {
    !(u64::MAX << (8 * bytes))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::counter::text::parse_line;

    const HASHER: NameHasher = NameHasher(0x0123_4567_89ab_cdef);

    /// The line, its name and amount, and what follows it.
    type Read<'a> = (&'a [u8], Vec<u8>, u64, &'a [u8]);

    fn read(bytes: &[u8]) -> Option<Read<'_>> {
        let (line, rest) = first(bytes, HASHER)?;
        let name = bytes[..line.name_bytes].to_vec();
        assert_eq!(line.hash, HASHER.hash(&name));
        assert!(line.words().eq(words(&name)), "{name:?}");
        Some((line.line(), name, line.amount, rest))
    }

    fn found(line: &str, name: &str, amount: u64) -> (Vec<u8>, Vec<u8>, u64) {
        (line.into(), name.into(), amount)
    }

    #[test]
    fn a_plain_line_is_a_name_and_perhaps_a_blank_and_digits() {
        let names = ["a", "abcdefg", "abcdefgh", "abcdefghi", "abcdefghijklmnop", "é,k=v", ""];
        for name in names {
            for (text, amount) in [
                ("", 1),
                (" 0", 0),
                ("\t7", 7),
                (" 12", 12),
                (" 7654321", 7_654_321),
                (" 87654321", 87_654_321),
                (" 987654321", 987_654_321),
                (" 999999999999999", 999_999_999_999_999),
            ] {
                for end in ["\n", "\r\n"] {
                    let line = format!("{name}{text}");
                    let bytes = format!("{line}{end}others.behind.it");
                    let (whole, name_read, amount_read, rest) = read(bytes.as_bytes()).unwrap();
                    assert_eq!(
                        (whole.to_vec(), name_read, amount_read),
                        found(&line, name, amount)
                    );
                    assert_eq!(rest, b"others.behind.it");
                }
            }
        }
    }

    #[test]
    fn what_is_not_plain_is_left_to_the_parser() {
        for line in [
            "a  1",
            "a 1 ",
            "a 1 2",
            "a b",
            "a ",
            "a -1",
            "a 1x",
            "a 12345678x",
            "a 1234567890123456",
            "a\r\r",
            "a\r1",
            "a \r",
            "a\u{b}",
            "a\0",
        ] {
            assert_eq!(read(format!("{line}\n12345678").as_bytes()), None, "{line:?}");
        }
        // Nor are lines without an end, or a name longer than any.
        assert_eq!(read(b"a"), None);
        assert_eq!(read(b"abcdefghijklmnopqrstuvwxyz"), None);
        assert_eq!(read(&[b'a'; 5_000]), None);
        assert_eq!(read(format!("{}\n12345678", "a".repeat(8 * WORDS_MAX)).as_bytes()), None);
    }

    #[test]
    fn a_group_stops_at_a_line_that_is_not_plain_and_when_it_is_whole() {
        let mut group = Group::default();
        let text = "a\nb 2\nc  3\nd\n01234567";
        assert_eq!(group.read(text.as_bytes(), HASHER), b"c  3\nd\n01234567");
        assert_eq!((group.lines().len(), group.is_whole()), (2, false));
        let text = "a\n".repeat(GROUP_MAX + 9);
        assert_eq!(group.read(text.as_bytes(), HASHER).len(), 18);
        assert_eq!((group.lines().len(), group.is_whole()), (GROUP_MAX, true));
    }

    proptest! {
        #[test]
        fn a_plain_line_means_what_the_parser_says(
            line in "([a-z.0-9é,=+]{0,20}|\\PC{0,9})([ \t]{1,2}([0-9]{0,17}|[0-9a+]{0,9}))?\r?",
        ) {
            let bytes = format!("{line}\n01234567");
            let Some((whole, name, amount, rest)) = read(bytes.as_bytes()) else { return Ok(()) };
            prop_assert_eq!(rest, b"01234567");
            prop_assert_eq!(whole, line.strip_suffix('\r').unwrap_or(&line).as_bytes());
            // Only if the name is canonical, and therefore may be known.
            let name = String::from_utf8(name).unwrap();
            if crate::counter::name::check(&name).is_ok() {
                let parsed = parse_line(&line).unwrap().unwrap();
                prop_assert_eq!((parsed.name.as_ref(), parsed.amount), (name.as_str(), amount));
            }
        }
    }
}
