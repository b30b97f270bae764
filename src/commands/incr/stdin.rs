//! `countd incr --stdin`: lines are read in blocks, added up as they come, and sent at least every
//! [`SEND_EVERY`], without waiting for answers. A bad line is refused with a message and the rest counts.
//! While the daemon is gone nothing is read, and whatever was read is counted, refused, or told at the end to
//! be neither.

use std::io::Write;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use rustix::io::Errno;

use crate::client::ClientError;
use crate::client::lines::{LINE_BYTES_MAX, Line, Lines};
use crate::client::plain::{Group, Plain};
use crate::client::stream::{Full, Stream};
use crate::commands::exit::{DONE, Failure, REFUSED, say};
use crate::commands::incr::tagged;
use crate::counter::name::Name;
use crate::counter::text::parse_line;
use crate::system::connect::Deadline;

/// How long an increment waits for others to be sent with, at most.
pub(super) const SEND_EVERY: Duration = Duration::from_millis(100);
/// How much is read at a time.
const BLOCK_BYTES: usize = 64 << 10;
/// Bad lines that are named; the rest are only counted.
const NAMED_MAX: u32 = 10;

/// Counts the lines of `input` until it ends.
pub(super) fn count(
    input: BorrowedFd<'_>,
    stream: Stream,
    tags: &[(&str, &str)],
    err: &mut dyn Write,
    err_is_terminal: bool,
) -> Result<u8, Failure> {
    let mut tally = Tally {
        stream,
        tags,
        err,
        due: None,
        failure: None,
        said: false,
        read: 0,
        unsent: 0,
        counted: 0,
        refused: 0,
        named: 0,
    };
    let done = read_all(input, &mut tally);
    let Tally { counted, refused, err, stream, unsent, .. } = tally;
    let unsent = unsent.saturating_add(stream.lines());
    if done.is_err() && unsent > 0 {
        let what = "read and not acknowledged";
        let counted = lines(counted);
        say(err, format_args!("{counted} counted, {refused} refused, {unsent} {what}"));
    } else if refused > 0 || err_is_terminal || done.is_err() {
        say(err, format_args!("{} counted, {refused} refused", lines(counted)));
    }
    done.map(|()| if refused > 0 { REFUSED } else { DONE })
}

fn lines(number: u64) -> String {
    if number == 1 { "1 line".into() } else { format!("{number} lines") }
}

fn read_all(input: BorrowedFd<'_>, tally: &mut Tally<'_>) -> Result<(), Failure> {
    let mut block = vec![0; BLOCK_BYTES];
    let mut lines = Lines::default();
    loop {
        if tally.wait(input)? {
            match rustix::io::read(input, &mut block) {
                Ok(0) => break,
                Ok(length) => {
                    let block = block.get(..length).unwrap_or_default();
                    tally.take_block(block, &mut lines);
                }
                // An input that does not block after all is polled again.
                Err(Errno::INTR | Errno::AGAIN) => {}
                Err(error) => return Err(Failure::Input(error.into())),
            }
        }
        tally.check()?;
        if tally.due.is_some_and(|due| due.left().is_none()) {
            tally.send()?;
        }
    }
    lines.finish(|line| tally.take(line));
    tally.check()?;
    tally.exchange(Stream::finish)
}

/// The stream and what became of its lines.
struct Tally<'a> {
    stream: Stream,
    tags: &'a [(&'a str, &'a str)],
    err: &'a mut dyn Write,
    /// When what the stream holds has to be sent.
    due: Option<Deadline>,
    /// Why the stream came to its end in the middle of a block.
    failure: Option<Failure>,
    /// It has been said that a daemon is waited for, which is not there again yet.
    said: bool,
    /// The number of the last line that was read.
    read: u64,
    /// Lines of that block that the stream did not get.
    unsent: u64,
    counted: u64,
    refused: u64,
    named: u32,
}

impl Tally<'_> {
    /// Waits for input until something has to be sent; says whether there is any.
    fn wait(&mut self, input: BorrowedFd<'_>) -> Result<bool, Failure> {
        let due = self.due.unwrap_or(Deadline::never());
        self.exchange(|stream, on_wait| stream.wait(input, due, on_wait))
    }

    /// Takes what was read. Lines in groups as long as they are plain; the others go through `lines` one by one.
    fn take_block(&mut self, block: &[u8], lines: &mut Lines) {
        let mut group = Group::default();
        let mut rest = block;
        while !rest.is_empty() {
            if self.tags.is_empty() && self.failure.is_none() && !lines.is_within() {
                rest = group.read(rest, self.stream.hasher());
                self.take_group(group.lines());
                if group.is_whole() {
                    continue;
                }
            }
            let end = memchr::memchr(b'\n', rest).map_or(rest.len(), |at| at + 1);
            let (line, behind) = rest.split_at_checked(end).unwrap_or((rest, &[]));
            lines.push(line, |line| self.take(line));
            rest = behind;
        }
    }

    /// Takes lines that are plain: known names are counted, the others looked at.
    fn take_group(&mut self, group: &[Plain<'_>]) {
        let before = self.read;
        let left = self.stream.add_known(group, before.saturating_add(1));
        if left != 0 {
            for (line, number) in group.iter().zip(0_u32..).filter(|(_, n)| left >> n & 1 == 1) {
                self.read = before.saturating_add(u64::from(number));
                self.take(Line::Whole(line.line()));
            }
        }
        self.read = before.saturating_add(group.len() as u64);
        self.note_due();
    }

    fn take(&mut self, line: Line<'_>) {
        self.read = self.read.saturating_add(1);
        let number = self.read;
        let text = match line {
            Line::Whole(bytes) => std::str::from_utf8(bytes).map_err(|_| "is not UTF-8".to_owned()),
            Line::Overlong => Err(format!("is longer than {LINE_BYTES_MAX} bytes")),
        };
        let added = match text.and_then(|text| parse_line(text).map_err(|e| e.to_string())) {
            Ok(None) => Ok(()),
            Ok(Some(line)) if self.tags.is_empty() => {
                return self.add(&line.name, line.amount, number);
            }
            Ok(Some(line)) => {
                let name = Name::new(&line.name).map_err(|error| error.to_string());
                match name.and_then(|name| tagged(name, self.tags).map_err(|e| e.to_string())) {
                    Ok(name) => return self.add(name.as_str(), line.amount, number),
                    Err(why) => Err(why),
                }
            }
            Err(why) => Err(why),
        };
        if let Err(why) = added {
            self.refuse(1, format_args!("line {number}: {why}"));
        }
    }

    fn add(&mut self, name: &str, amount: u64, line: u64) {
        let mut added =
            if self.failure.is_none() { self.stream.add(name, amount, line) } else { Err(Full) };
        if added.is_err() && self.failure.is_none() {
            self.failure = self.send().err();
            // An empty batch has room for any one increment; one that was not sent is full.
            added = self.stream.add(name, amount, line);
        }
        if added.is_err() {
            self.unsent = self.unsent.saturating_add(1);
        }
        self.note_due();
    }

    /// Begins to wait for more, if it has not begun.
    fn note_due(&mut self) {
        if self.due.is_none() && self.stream.is_due() {
            self.due = Some(Deadline::after(SEND_EVERY));
        }
    }

    /// Whether the stream can go on after the lines that came.
    fn check(&mut self) -> Result<(), Failure> {
        self.failure.take().map_or(Ok(()), Err)
    }

    fn send(&mut self) -> Result<(), Failure> {
        self.due = None;
        self.exchange(Stream::send)
    }

    /// Lets the stream do something, and takes in what was answered meanwhile.
    fn exchange<T>(
        &mut self,
        does: impl FnOnce(&mut Stream, &mut dyn FnMut(&ClientError)) -> Result<T, ClientError>,
    ) -> Result<T, Failure> {
        let (said, err) = (&mut self.said, &mut *self.err);
        let done = does(&mut self.stream, &mut |error: &ClientError| {
            if !std::mem::replace(said, true) {
                say(err, format_args!("{error}: nothing is read until it is there again"));
            }
        });
        let answered = self.stream.answered();
        self.said &= answered.lines == 0;
        self.counted = self.counted.saturating_add(answered.lines);
        for refused in answered.refused {
            self.counted = self.counted.saturating_sub(refused.lines);
            let others = match refused.lines.saturating_sub(1) {
                0 => String::new(),
                more => format!(" and {more} more"),
            };
            let (first, name) = (refused.first_line, &refused.name);
            let reason = &refused.reason;
            self.refuse(refused.lines, format_args!("line {first}{others}: {name}: {reason}"));
        }
        done.map_err(Failure::from)
    }

    fn refuse(&mut self, lines: u64, message: impl std::fmt::Display) {
        self.refused = self.refused.saturating_add(lines);
        if self.named < NAMED_MAX {
            self.named += 1;
            say(self.err, message);
        }
    }
}
