//! What comes over `incr --stdin`: the input is cuts and then the stream that they cut. Any blocks give the lines
//! that the whole gives, and those are its lines; what a line counts is a canonical name, and means the same
//! however it is written.

use countd::client::lines::{LINE_BYTES_MAX, Line, Lines};
use countd::counter::name;
use countd::counter::text::{parse_increment, parse_line};

use super::input::Input;

/// Lengths of blocks that are used again and again until the stream ends.
const CUTS: usize = 4;

pub(crate) fn check(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let cuts: Vec<usize> = (0..CUTS).map(|_| 1 + usize::from(input.byte())).collect();
    // Some bytes many times, for lines near the limit.
    let (repeated, times) = (input.byte(), usize::from(input.byte()) * 64);
    let mut stream = vec![repeated; times];
    stream.extend_from_slice(input.rest());

    let mut blocks = Vec::new();
    let mut rest = stream.as_slice();
    for cut in cuts.iter().cycle() {
        let (block, after) = rest.split_at((*cut).min(rest.len()));
        blocks.push(block);
        rest = after;
        if rest.is_empty() {
            break;
        }
    }
    let lines = split(&blocks);
    let mut expected: Vec<&[u8]> = stream.split(|byte| *byte == b'\n').collect();
    if expected.last().is_some_and(|last| last.is_empty()) {
        expected.pop();
    }
    let bounded = |line: &&[u8]| (line.len() <= LINE_BYTES_MAX).then(|| line.to_vec());
    assert_eq!(lines, expected.iter().map(bounded).collect::<Vec<_>>());
    for line in lines.into_iter().flatten() {
        if let Ok(text) = str::from_utf8(&line) {
            a_line(text);
        }
    }
}

/// The lines of blocks; `None` for one that is too long.
fn split(blocks: &[&[u8]]) -> Vec<Option<Vec<u8>>> {
    let mut found = Vec::new();
    let mut lines = Lines::default();
    let mut each = |line: Line<'_>| {
        found.push(match line {
            Line::Whole(bytes) => Some(bytes.to_vec()),
            Line::Overlong => None,
        });
    };
    blocks.iter().for_each(|block| lines.push(block, &mut each));
    lines.finish(&mut each);
    found
}

fn a_line(text: &str) {
    let line = match parse_line(text) {
        Ok(Some(line)) => line,
        Ok(None) => {
            assert!(text.trim_matches([' ', '\t', '\r']).is_empty(), "{text:?}");
            return;
        }
        Err(error) => {
            let message = error.to_string();
            assert!(!message.is_empty() && !message.contains(char::is_control), "{message:?}");
            return;
        }
    };
    assert_eq!(name::check(&line.name), Ok(()));
    let text = text.strip_suffix('\r').unwrap_or(text);
    for ended in [format!("{text}\n"), format!("{text}\r\n"), format!("\t{text} ")] {
        assert_eq!(parse_line(&ended).as_ref(), Ok(&Some(line.clone())), "{ended:?}");
    }
    let (name, amount) = (&line.name, line.amount);
    assert_eq!(parse_line(&format!("{name} {amount}")).as_ref(), Ok(&Some(line.clone())));
    let argument = format!("{name}={amount}");
    assert_eq!(parse_line(&argument).as_ref(), Ok(&Some(line.clone())));
    let read = parse_increment(&argument).map(|(name, amount)| (name.to_string(), amount));
    assert_eq!(read, Ok((line.name.to_string(), Some(amount))));
}
