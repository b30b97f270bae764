//! A report as text of which a part may be out already: the same report, prepared again, goes on where an attempt
//! that failed had come to. Where the text goes, and in what pieces, is its sink's business.

use std::sync::Arc;

use crate::format::layout::Layout;
use crate::report::Report;
use crate::turn::Prepared;

/// A report as text, and how much of it is out.
#[derive(Debug, Default)]
pub(super) struct HalfOut {
    text: Vec<u8>,
    out: usize,
}

impl HalfOut {
    /// Renders these reports; another text than before begins anew.
    pub(super) fn prepare(&mut self, layout: &Layout, reports: &[Arc<Report>]) -> Prepared {
        let mut text = Vec::new();
        layout.render(reports, &mut text);
        if text.is_empty() {
            return Prepared::Already;
        }
        if text != self.text {
            *self = HalfOut { text, out: 0 };
        }
        Prepared::Anywhere
    }

    /// What is not out.
    pub(super) fn rest(&self) -> &[u8] {
        self.text.get(self.out..).unwrap_or_default()
    }

    /// So many bytes of the rest are out now.
    pub(super) fn advance(&mut self, bytes: usize) {
        self.out = self.out.saturating_add(bytes);
    }

    /// How much is out.
    pub(super) fn out(&self) -> usize {
        self.out
    }

    /// What is out from there on may not have come.
    pub(super) fn back_to(&mut self, out: usize) {
        self.out = self.out.min(out);
    }

    /// All of it is out: its memory goes.
    pub(super) fn done(&mut self) {
        *self = HalfOut::default();
    }
}

#[cfg(test)]
impl From<&[u8]> for HalfOut {
    fn from(text: &[u8]) -> HalfOut {
        HalfOut { text: text.into(), out: 0 }
    }
}
