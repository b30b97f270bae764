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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::ReportFormat;
    use crate::report::Count;
    use crate::window::{Moment, Window};

    fn report(name: &str) -> [Arc<Report>; 1] {
        let moment = Moment::default();
        let window =
            Window { first: 1, number: 1, start: moment, start_boot: 1, end: moment, end_boot: 1 };
        let count = Count { name, count: 1, total: 1 };
        [Arc::new(Report::new(window, std::iter::once(count).collect()))]
    }

    #[test]
    fn the_same_report_goes_on_and_another_begins_anew() {
        let plain = Layout::of(ReportFormat::Plain);
        let mut text = HalfOut::default();
        assert_eq!(text.prepare(&plain, &[]), Prepared::Already);
        assert_eq!(text.prepare(&plain, &report("a")), Prepared::Anywhere);
        assert_eq!(text.rest(), b"a 1\n");
        text.advance(2);
        text.prepare(&plain, &report("a"));
        assert_eq!((text.rest(), text.out()), (b"1\n".as_slice(), 2));
        text.back_to(1);
        assert_eq!(text.rest(), b" 1\n");
        text.prepare(&plain, &report("b"));
        assert_eq!(text.rest(), b"b 1\n");
        // Once it is out, the same counts of a later window are all to go.
        text.advance(4);
        text.done();
        text.prepare(&plain, &report("b"));
        assert_eq!(text.rest(), b"b 1\n");
    }
}
