//! The image of a state at one moment, as the records of a checkpoint. Taking it copies no counters, only
//! shares them, so it can be written out while the state moves on.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::retired::of;
use super::state::{Kept, OpenWindow, Retired, SinkState, State};
use super::{KIND_COUNTER, Record};
use crate::codec::Malformed;
use crate::counter::table::Columns;
use crate::ids::Answered;
use crate::report::{Count, Report};
use crate::window::BootId;

/// Bytes of payload after which a block of a checkpoint is written.
const BLOCK_BYTES: usize = 256 << 10;

/// A state at one moment.
#[derive(Debug)]
pub struct Image {
    next_counter: u64,
    open: OpenWindow,
    counters: Columns,
    retired: Columns,
    closed: Vec<Arc<Report>>,
    sinks: Vec<SinkState>,
    answers: Vec<Answered>,
    held: BTreeSet<u128>,
    horizon_ns: u64,
    ids_boot: BootId,
}

impl Image {
    /// Freezes this state.
    pub fn of(state: &State) -> Image {
        Image {
            next_counter: state.next_counter,
            open: state.open,
            counters: state.table.columns().clone(),
            retired: state.retired.columns(),
            closed: state.closed.iter().cloned().collect(),
            sinks: state.sinks.clone(),
            answers: state.ids.iter().cloned().collect(),
            held: state.held.clone(),
            horizon_ns: state.ids.horizon_ns(),
            ids_boot: state.ids.boot(),
        }
    }

    /// Hands out the payloads of the checkpoint's blocks, in order.
    ///
    /// # Errors
    /// What `write` returns.
    pub fn blocks<E: From<Malformed>>(
        &self,
        write: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut out = Blocks { payload: Vec::with_capacity(BLOCK_BYTES + 4096), records: 0, write };
        out.put(&Record::Base {
            next_counter: self.next_counter,
            window: self.open.number,
            start: self.open.start,
            start_boot: self.open.start_boot,
            horizon_ns: self.horizon_ns,
            ids_boot: self.ids_boot,
        })?;
        self.counters(&mut out)?;
        for (_, definition, values) in self.retired.iter() {
            let (name, Retired { count, total }) = (definition.name, of(values));
            out.put(&Record::Retired { name, count, total })?;
        }
        self.sinks(&mut out)?;
        for answered in &self.answers {
            let (id, digest, answer) = (answered.id, answered.digest, answered.answer.clone());
            out.put(&Record::Answered { id, digest, answer })?;
        }
        for &session in &self.held {
            out.put(&Record::Held { session })?;
        }
        let records = out.records;
        out.put(&Record::End { records })?;
        out.flush()
    }

    fn counters<E: From<Malformed>, W: FnMut(&[u8]) -> Result<(), E>>(
        &self,
        out: &mut Blocks<W>,
    ) -> Result<(), E> {
        for (_, definition, values) in self.counters.iter() {
            let in_window = values.window == self.open.number;
            out.put(&Record::Counter {
                id: definition.id,
                kind: KIND_COUNTER,
                creator: definition.creator,
                created_ms: definition.created_ms,
                last_seen_ms: values.last_seen_ms,
                total: values.total,
                gained: in_window.then(|| values.count(self.open.number)),
                name: definition.name,
            })?;
        }
        Ok(())
    }

    /// Owed windows come before the sinks: a sink without them would have nothing to be owed.
    fn sinks<E: From<Malformed>, W: FnMut(&[u8]) -> Result<(), E>>(
        &self,
        out: &mut Blocks<W>,
    ) -> Result<(), E> {
        for report in &self.closed {
            window(report, out)?;
        }
        for sink in &self.sinks {
            let (place, acknowledged) = (sink.place.as_str(), sink.acknowledged);
            out.put(&Record::SinkAdded { place, acknowledged })?;
            if let Some(second) = sink.reached {
                out.put(&Record::SinkReached { place, second })?;
            }
            for Kept { offer, reports, .. } in &sink.kept {
                for report in reports {
                    window(report, out)?;
                }
                let windows = u64::try_from(reports.len()).unwrap_or(u64::MAX);
                out.put(&Record::Kept { place, offer: offer.clone(), windows })?;
            }
            if let Some(offer) = sink.offered.clone() {
                out.put(&Record::Offered { place, offer })?;
            }
        }
        Ok(())
    }
}

fn window<E: From<Malformed>, W: FnMut(&[u8]) -> Result<(), E>>(
    report: &Report,
    out: &mut Blocks<W>,
) -> Result<(), E> {
    out.put(&Record::Owed { window: report.window })?;
    for Count { name, count, total } in report.counts().iter() {
        out.put(&Record::OwedCount { name, count, total })?;
    }
    Ok(())
}

/// Collects records into payloads of a good size.
struct Blocks<W> {
    payload: Vec<u8>,
    records: u64,
    write: W,
}

impl<W> Blocks<W> {
    fn put<E: From<Malformed>>(&mut self, record: &Record<'_>) -> Result<(), E>
    where
        W: FnMut(&[u8]) -> Result<(), E>,
    {
        record.encode(&mut self.payload)?;
        self.records = self.records.saturating_add(1);
        if self.payload.len() >= BLOCK_BYTES { self.flush() } else { Ok(()) }
    }

    fn flush<E>(&mut self) -> Result<(), E>
    where
        W: FnMut(&[u8]) -> Result<(), E>,
    {
        if !self.payload.is_empty() {
            (self.write)(&self.payload)?;
            self.payload.clear();
        }
        Ok(())
    }
}
