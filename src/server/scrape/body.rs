//! What a scrape is answered with: a sight of the counters, turned into bytes piece by piece, packed if that was
//! asked for, and in chunks where the client knows them.

use std::io::{self, Write};
use std::sync::Arc;

use flate2::Compression;
use flate2::write::GzEncoder;

use crate::format::prometheus::view::View;
use crate::format::prometheus::{Collisions, Dialect, Progress};

/// How much is rendered at a time.
const PIECE_BYTES: usize = 64 << 10;

/// How the end of a response is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Coding {
    /// By a last chunk.
    Chunks,
    /// By the end of the connection.
    UntilTheEnd,
}

/// A response that is being made.
#[derive(Debug)]
pub(super) struct Body {
    view: Arc<View>,
    dialect: Dialect,
    coding: Coding,
    packer: Option<GzEncoder<Vec<u8>>>,
    progress: Progress,
}

impl Body {
    pub(super) fn new(view: Arc<View>, dialect: Dialect, gzip: bool, coding: Coding) -> Body {
        // The text is so repetitive that more effort packs it little better.
        let packer = gzip.then(|| GzEncoder::new(Vec::new(), Compression::fast()));
        Body { view, dialect, coding, packer, progress: Progress::default() }
    }

    /// Which counters it does not have.
    pub(super) fn collisions(&self) -> &Collisions {
        self.view.collisions()
    }

    /// Appends the next bytes; returns whether they were the last.
    ///
    /// # Errors
    /// None in practice: what is written to is memory.
    pub(super) fn write_piece(&mut self, out: &mut Vec<u8>) -> io::Result<bool> {
        let mut text = Vec::new();
        let progress = &mut self.progress;
        let done = self.view.render(self.dialect, progress, PIECE_BYTES, &mut text);
        let bytes = match &mut self.packer {
            None => text,
            Some(packer) => {
                packer.write_all(&text)?;
                if done {
                    packer.try_finish()?;
                }
                std::mem::take(packer.get_mut())
            }
        };
        match self.coding {
            Coding::UntilTheEnd => out.extend_from_slice(&bytes),
            Coding::Chunks => {
                // A chunk without bytes would be the end.
                if !bytes.is_empty() {
                    write!(out, "{:x}\r\n", bytes.len())?;
                    out.extend_from_slice(&bytes);
                    out.extend_from_slice(b"\r\n");
                }
                if done {
                    out.extend_from_slice(b"0\r\n\r\n");
                }
            }
        }
        Ok(done)
    }
}
