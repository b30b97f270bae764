//! What clients are told: every answer is held against the ledger, and every refusal has its reason in the world.

use super::super::ledger::DELETED;
use super::super::world::World;
use super::asks::Ask;
use super::{Batch, Client, Done, Pending, STRANGER};
use crate::client::in_flight::Heard;
use crate::frame;
use crate::ids::REMEMBERED_NS;
use crate::protocol::{ErrorCode, Response};

/// Requests that may be repeated later.
const DONE_MAX: usize = 60;

impl Client {
    /// Hears what came: whether the connection goes on, or `None` if nothing is wanted any more.
    pub(super) fn listen(&mut self, world: &mut World) -> Option<bool> {
        while let Some(range) = frame::first(&self.got).unwrap() {
            let payload: Vec<u8> = self.got.drain(..range.end).skip(range.start).collect();
            let response = Response::from_payload(&payload).unwrap();
            if let Response::Rows(rows) = response {
                self.rows.extend(rows.iter().map(|row| (row.name.to_string(), row.total)));
                continue;
            }
            if let Response::Snapshot(_) = response {
                continue;
            }
            world.note(|| format!("client {} gets {response:?}", self.session));
            if self.stream.is_some() {
                match self.stream_hears(world, response) {
                    Some(true) => continue,
                    end => return end,
                }
            }
            let Some(pending) = self.pending.pop_front() else {
                let text = format!("{response:?}");
                let busy = self.uid == STRANGER && text.contains("its limit");
                assert!(busy || text.contains("no complete request"), "unasked: {text}");
                return Some(false);
            };
            self.on_the_way -= self.on_the_way.min(1);
            match self.answered(world, pending, &response) {
                Some(true) => {}
                end => return end,
            }
        }
        Some(true)
    }

    /// Lets a stream make of an answer what the real one does.
    fn stream_hears(&mut self, world: &mut World, response: Response<'_>) -> Option<bool> {
        let text = format!("{response:?}");
        // The answer may have been under way for long.
        let too_old = if let Response::TooOld { now_ns } = response { Some(now_ns) } else { None };
        let stream = self.stream.as_mut()?;
        let oldest_ns = stream.contents().next().map_or(0, |batch| batch.made_ns);
        let age_ns = world.now.boot_ns - oldest_ns;
        match stream.hear(response, world.now.boot_ns) {
            Heard::Counted(batch, answer) => {
                let Batch { entries, before, .. } = batch;
                world.ledger.counted(&entries, &answer, &before, world.now.boot_ns);
                Some(true)
            }
            // Its session was forgotten, or what came before it was not done.
            Heard::SendAgain => {
                self.renewed_ns = too_old.unwrap_or(self.renewed_ns);
                Some(false)
            }
            Heard::SendLater(why) => {
                let waited_ns = world.now.boot_ns - self.connected_ns;
                let late = text.contains("no complete request") && waited_ns >= 10_000_000_000;
                let busy = self.uid == STRANGER && text.contains("its limit");
                let renewed_ago_ns = world.now.boot_ns - self.renewed_ns;
                match too_old {
                    Some(now_ns) => {
                        assert!(renewed_ago_ns >= REMEMBERED_NS, "{why}");
                        self.renewed_ns = now_ns;
                    }
                    None => assert!(late || busy || world.trouble, "{why}"),
                }
                Some(false)
            }
            Heard::Forgotten => {
                assert!(age_ns >= REMEMBERED_NS, "forgotten at {} ms", age_ns / 1_000_000);
                self.left = 0;
                None
            }
            Heard::Refused(why) => panic!("a stream was refused: {why}"),
            Heard::Unasked => panic!("a stream did not ask: {text}"),
        }
    }

    fn answered(&mut self, world: &mut World, asked: Pending, got: &Response<'_>) -> Option<bool> {
        match (&asked.ask, got) {
            (_, Response::Error { code, message }) => {
                // A deletion that broke off had some of them.
                world.ledger.deleted(&std::mem::take(&mut self.rows));
                return self.refused(world, asked, ErrorCode::from(*code), message);
            }
            (Ask::Incr { entries, .. }, Response::Counted(answer)) => match &asked.known {
                Some(known) => assert_eq!(answer.as_ref(), known, "{asked:?} asked again"),
                None => {
                    let now_ns = world.now.boot_ns;
                    world.ledger.counted(entries, answer, &asked.before, now_ns);
                    let answer = answer.as_ref().clone();
                    world.done.push(Done { uid: self.uid, ask: asked.ask, answer });
                    if world.done.len() > DONE_MAX {
                        world.done.remove(0);
                    }
                }
            },
            (Ask::Incr { id, entries, .. }, Response::TooOld { .. }) => {
                let age_ns = world.now.boot_ns - id.born_ns;
                let age_ms = age_ns / 1_000_000;
                assert!(age_ns >= REMEMBERED_NS, "too old at {age_ms} ms: {asked:?}");
                if asked.known.is_none() && asked.times_sent == 1 {
                    world.ledger.taken_back(entries);
                }
                return None;
            }
            (Ask::Get(name), Response::Counter(row)) => {
                assert_eq!(row.name, *name);
                let least = asked.before.get(name).unwrap_or(&0);
                assert!(name.starts_with(DELETED) || row.total >= *least, "{row:?}, {least}");
            }
            (Ask::Dump, Response::End { rows }) => {
                assert_eq!(*rows, self.rows.len() as u64);
                world.ledger.check(&self.rows, &asked.before, "in a dump");
                self.rows.clear();
            }
            (Ask::Delete, Response::End { .. }) => {
                world.ledger.deleted(&self.rows);
                self.rows.clear();
            }
            (Ask::Flush, Response::Flushed { .. }) | (Ask::Status, Response::Status(_)) => {}
            (ask, got) => panic!("{ask:?} was answered {got:?}"),
        }
        Some(true)
    }

    /// Every refusal has its reason in the world.
    fn refused(
        &mut self,
        world: &mut World,
        asked: Pending,
        code: ErrorCode,
        message: &str,
    ) -> Option<bool> {
        let waited_ns = world.now.boot_ns - self.connected_ns;
        let expected = match (code, &asked.ask) {
            (ErrorCode::Forbidden, Ask::Delete | Ask::Flush) => self.uid == STRANGER,
            (ErrorCode::NotFound, Ask::Get(name)) => {
                name.starts_with(DELETED) || asked.before.get(name).is_none_or(|total| *total == 0)
            }
            (ErrorCode::Failed, Ask::Flush) => true,
            (ErrorCode::Failed, _) => world.trouble,
            (ErrorCode::Busy, Ask::Dump | Ask::Delete | Ask::Flush) => true,
            (ErrorCode::Busy, _) => {
                let late = message.contains("no complete request") && waited_ns >= 10_000_000_000;
                late || self.uid == STRANGER
            }
            _ => false,
        };
        assert!(expected, "{asked:?} was refused, {code:?}: {message}");
        let Ask::Incr { .. } = &asked.ask else { return None };
        // It asks again.
        self.pending.push_front(asked);
        Some(false)
    }
}
