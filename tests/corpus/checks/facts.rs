//! What a state says, in an order that does not depend on how it came to be, so that two states can be compared:
//! one that was kept and one that was restored. When the open window began is left out: an empty one is moved
//! without being written down. Answers are apart: what the running daemon has forgotten, a restored one may
//! still know.

use countd::codec::Malformed;
use countd::record::image::Image;
use countd::record::{Record, records};

/// What a state says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Facts {
    /// Counters, what was deleted in the open window, owed windows, sinks, sessions out of the spool; sorted.
    pub(crate) records: Vec<String>,
    /// The number of the next counter and that of the open window.
    pub(crate) next: (u64, u64),
    /// The answers that are remembered, oldest first.
    pub(crate) answers: Vec<String>,
}

impl Facts {
    pub(crate) fn of(image: &Image) -> Facts {
        let mut facts = Facts { records: Vec::new(), next: (0, 0), answers: Vec::new() };
        let mut owed = 0;
        let read = image.blocks(|payload| {
            for record in records(payload) {
                facts.take(&record.expect("an image can be read"), &mut owed);
            }
            Ok::<(), Malformed>(())
        });
        read.expect("an image is made of records that can be read");
        facts.records.sort_unstable();
        facts
    }

    fn take(&mut self, record: &Record<'_>, owed: &mut u64) {
        match record {
            Record::Base { next_counter, window, .. } => self.next = (*next_counter, *window),
            Record::Answered { .. } => self.answers.push(format!("{record:?}")),
            Record::Owed { window } => {
                *owed = window.number;
                self.records.push(format!("{record:?}"));
            }
            Record::OwedCount { .. } => self.records.push(format!("in window {owed}: {record:?}")),
            Record::Counter { .. }
            | Record::Retired { .. }
            | Record::SinkAdded { .. }
            | Record::SinkReached { .. }
            | Record::Kept { .. }
            | Record::Held { .. }
            | Record::Offered { .. } => self.records.push(format!("{record:?}")),
            Record::End { .. } => {}
            Record::Defined { .. }
            | Record::Total { .. }
            | Record::Deleted { .. }
            | Record::Opened { .. }
            | Record::Closed { .. }
            | Record::Merged { .. }
            | Record::Delivered { .. }
            | Record::SinkRemoved { .. }
            | Record::Released { .. }
            | Record::Acknowledged { .. }
            | Record::Started { .. } => unreachable!("no part of an image: {record:?}"),
        }
    }

    /// Panics unless `self`, restored, is what `kept` is.
    pub(crate) fn must_be(&self, kept: &Facts) {
        assert_eq!(self.records, kept.records);
        assert_eq!(self.next, kept.next);
        assert!(self.answers.ends_with(&kept.answers), "{:#?}\n{:#?}", self.answers, kept.answers);
    }
}
