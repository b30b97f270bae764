//! The messages of a running daemon, on standard error. A thread of its own writes them from a bounded queue,
//! so that a terminal that is paused, a pipe nobody reads or a journal that is stopped holds up nothing: what
//! does not fit is dropped, counted, and the number told. That something cannot be written is nothing anyone
//! could be told. What is said, and how much it matters, is decided elsewhere.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, channel, sync_channel};
use std::time::Duration;

use crate::note::Level;

/// Messages that wait to be written.
const MESSAGES_MAX: usize = 1_000;

/// How a message looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// `countd: warning: text`, for people.
    Plain,
    /// `<4>text`, for the journal of systemd, which takes the number for the priority and has our name already.
    Journal,
}

impl Style {
    /// The message as a line.
    pub fn line(self, level: Level, text: &str) -> String {
        let text = text.replace('\n', " ");
        match (self, level) {
            (Style::Journal, level) => format!("<{}>{text}\n", level.priority()),
            (Style::Plain, Level::Warning) => format!("countd: warning: {text}\n"),
            (Style::Plain, Level::Error | Level::Notice | Level::Info) => {
                format!("countd: {text}\n")
            }
        }
    }
}

/// Takes messages. Clones of it share one queue.
#[derive(Debug, Clone)]
pub struct Teller {
    style: Style,
    queue: SyncSender<String>,
    dropped: Arc<AtomicU64>,
}

impl Teller {
    /// Has a message written, as soon as those before it are.
    pub fn tell(&self, level: Level, text: &str) {
        if self.queue.try_send(self.style.line(level, text)).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// The thread that writes messages.
#[derive(Debug)]
pub struct Messages {
    teller: Teller,
    ended: Receiver<()>,
}

impl Messages {
    /// Starts writing to this output.
    ///
    /// # Errors
    /// When there is no thread to be had.
    pub fn start(style: Style, out: impl Write + Send + 'static) -> io::Result<Messages> {
        let (queue, lines) = sync_channel(MESSAGES_MAX);
        let (end, ended) = channel();
        let dropped = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&dropped);
        std::thread::Builder::new().name("messages".into()).spawn(move || {
            write_all(&lines, out, &counted, style);
            // Nobody may be waiting.
            let _ = end.send(());
        })?;
        Ok(Messages { teller: Teller { style, queue, dropped }, ended })
    }

    /// What takes messages.
    pub fn teller(&self) -> Teller {
        self.teller.clone()
    }

    /// Waits until all is written, so long at most. All tellers have to be gone.
    pub fn finish(self, patience: Duration) {
        drop(self.teller);
        let _ = self.ended.recv_timeout(patience);
    }
}

fn write_all(lines: &Receiver<String>, mut out: impl Write, dropped: &AtomicU64, style: Style) {
    for line in lines {
        let _ = out.write_all(line.as_bytes());
        let number = dropped.swap(0, Ordering::Relaxed);
        if number > 0 {
            let text = format!("{number} messages dropped: nobody took them in time");
            let _ = out.write_all(style.line(Level::Warning, &text).as_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn a_message_is_one_line_with_its_priority_or_for_people() {
        let line = |style: Style, level| style.line(level, "a\nb");
        assert_eq!(line(Style::Journal, Level::Error), "<3>a b\n");
        assert_eq!(line(Style::Journal, Level::Info), "<6>a b\n");
        assert_eq!(line(Style::Plain, Level::Warning), "countd: warning: a b\n");
        assert_eq!(line(Style::Plain, Level::Notice), "countd: a b\n");
    }

    #[test]
    fn who_takes_nothing_holds_up_nobody_and_learns_how_much_was_dropped() {
        let (mut reader, writer) = io::pipe().unwrap();
        let messages = Messages::start(Style::Plain, writer).unwrap();
        let teller = messages.teller();
        let text = "x".repeat(10_000);
        // More than a pipe and the queue hold.
        for _ in 0..2 * MESSAGES_MAX {
            teller.tell(Level::Notice, &text);
        }
        drop(teller);
        let mut read = String::new();
        let reading = std::thread::spawn(move || reader.read_to_string(&mut read).map(|_| read));
        messages.finish(Duration::from_secs(60));
        let read = reading.join().unwrap().unwrap();
        let told: Vec<&str> = read.lines().filter(|line| line.contains("dropped")).collect();
        let number = |line: &str| line.split(' ').find_map(|word| word.parse::<usize>().ok());
        let dropped: usize = told.iter().filter_map(|line| number(line)).sum();
        assert!(dropped > 0 && read.lines().count() - told.len() + dropped == 2 * MESSAGES_MAX);
    }

    #[test]
    fn the_end_does_not_wait_for_ever_and_a_reader_that_is_gone_is_no_matter() {
        let (reader, writer) = io::pipe().unwrap();
        let messages = Messages::start(Style::Plain, writer).unwrap();
        let teller = messages.teller();
        (0..20).for_each(|_| teller.tell(Level::Notice, &"x".repeat(10_000)));
        drop(teller);
        messages.finish(Duration::from_millis(10));
        drop(reader);
        let (reader, writer) = io::pipe().unwrap();
        drop(reader);
        let messages = Messages::start(Style::Plain, writer).unwrap();
        messages.teller().tell(Level::Error, "into nothing");
        messages.finish(Duration::from_secs(60));
    }
}
