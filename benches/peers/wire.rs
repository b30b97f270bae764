//! Records sent over long-lived connections, to each server in its own language, from bytes made before. Every record
//! adds 1 to one counter; nothing is added up before it is sent.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::Path;

use countd::frame;
use countd::ids::RequestId;
use countd::protocol::{ENTRIES_MAX, Entry, Hello, Request, Response, VERSION};
use countd::system::{clock, random};

use crate::Result;
use crate::names::name;

/// Connections over which records come at the same time.
pub(crate) const CONNECTIONS: usize = 4;
/// Chunks on the way, on each connection.
const IN_FLIGHT: usize = 8;

/// A server's language.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wire {
    /// Requests as large as those of `incr --stdin`.
    Countd,
    /// Pipelined `INCR`.
    Redis,
    /// Lines `NAME:1|c`, which nobody acknowledges.
    Statsd,
    /// Records `[u16 length][name]`.
    Prototype,
}

/// What one connection sends.
#[derive(Debug, Default)]
struct Load {
    opening: Vec<u8>,
    chunks: Vec<(Vec<u8>, u64)>,
}

/// What all connections send.
#[derive(Debug)]
pub(crate) struct Loads(Wire, Vec<Load>);

impl Loads {
    /// Sends records with these numbers as names. Send them within a minute: countd takes no older requests.
    pub(crate) fn new(wire: Wire, numbers: &[u32]) -> Result<Loads> {
        let share = numbers.len().div_ceil(CONNECTIONS).max(1);
        let loads = numbers.chunks(share).map(|numbers| Load::new(wire, numbers));
        Ok(Loads(wire, loads.collect::<Result<_>>()?))
    }

    /// Sends all of it; returns when all of it is acknowledged, or read where nothing is acknowledged.
    pub(crate) fn send(&self, socket: &Path) -> Result<()> {
        std::thread::scope(|scope| {
            let sending = self.1.iter().map(|load| {
                scope.spawn(|| load.send(self.0, socket).map_err(|error| error.to_string()))
            });
            for sent in sending.collect::<Vec<_>>() {
                sent.join().map_err(|_| "a sending thread panicked")??;
            }
            Ok(())
        })
    }
}

impl Load {
    fn new(wire: Wire, numbers: &[u32]) -> Result<Load> {
        let mut load = Load::default();
        if wire == Wire::Countd {
            let hello = Hello { version: VERSION, one_request: false };
            load.opening.extend(hello.to_bytes());
        }
        let session = random::session()?;
        // 4,096 commands are on the way to redis on each connection, 4,096 entries are in a request to countd.
        let records = if wire == Wire::Redis { ENTRIES_MAX / IN_FLIGHT } else { ENTRIES_MAX };
        for (seq, numbers) in (0..).zip(numbers.chunks(records)) {
            let names: Vec<String> = numbers.iter().map(|&number| name(number)).collect();
            let mut bytes = Vec::new();
            match wire {
                Wire::Countd => {
                    let id = RequestId { session, seq, born_ns: clock::boot_ns() };
                    let entries = names.iter().map(|name| Entry { name, amount: 1 }).collect();
                    let request = Request::Incr { id, atomic: false, totals: false, entries };
                    request.write(&mut bytes)?;
                }
                Wire::Redis => {
                    for name in &names {
                        write!(bytes, "*2\r\n$4\r\nINCR\r\n${}\r\n{name}\r\n", name.len())?;
                    }
                }
                Wire::Statsd => {
                    for name in &names {
                        writeln!(bytes, "{name}:1|c")?;
                    }
                }
                Wire::Prototype => {
                    for name in &names {
                        bytes.extend(u16::try_from(name.len())?.to_le_bytes());
                        bytes.extend(name.as_bytes());
                    }
                }
            }
            load.chunks.push((bytes, numbers.len() as u64));
        }
        Ok(load)
    }

    fn send(&self, wire: Wire, socket: &Path) -> Result<()> {
        let mut stream = UnixStream::connect(socket)?;
        stream.write_all(&self.opening)?;
        let requests = self.chunks.iter().map(|(_, records)| *records);
        let (bytes, block) = (Vec::new(), vec![0; 64 << 10]);
        let mut replies = Replies { wire, requests, bytes, block };
        let (mut sent, mut acknowledged) = (0, 0);
        for (at, (bytes, records)) in self.chunks.iter().enumerate() {
            // Before this chunk leaves, the one that is eight before it is acknowledged.
            let ahead = at.saturating_sub(IN_FLIGHT - 1)..at;
            let may_wait: u64 = self.chunks[ahead].iter().map(|(_, records)| records).sum();
            while wire != Wire::Statsd && sent - acknowledged > may_wait {
                acknowledged += replies.read(&mut stream)?;
            }
            stream.write_all(bytes)?;
            sent += records;
        }
        if wire == Wire::Statsd {
            // It hangs up when it has taken in all that came before the end.
            stream.shutdown(Shutdown::Write)?;
            stream.read_to_end(&mut Vec::new())?;
            return Ok(());
        }
        while acknowledged < sent {
            acknowledged += replies.read(&mut stream)?;
        }
        Ok(())
    }
}

/// Replies that came on a connection.
struct Replies<T> {
    wire: Wire,
    /// The records of each request that is not acknowledged.
    requests: T,
    bytes: Vec<u8>,
    block: Vec<u8>,
}

impl<T: Iterator<Item = u64>> Replies<T> {
    /// Reads some; returns how many records they acknowledge.
    fn read(&mut self, stream: &mut UnixStream) -> Result<u64> {
        let length = stream.read(&mut self.block)?;
        if length == 0 {
            return Err(format!("{:?}: the server hung up", self.wire).into());
        }
        self.bytes.extend_from_slice(&self.block[..length]);
        let (mut taken, mut records) = (0, 0);
        while let Some((end, acknowledged)) = acknowledgement(self.wire, &self.bytes[taken..])? {
            taken += end;
            records += acknowledged.or_else(|| self.requests.next()).unwrap_or_default();
        }
        self.bytes.drain(..taken);
        Ok(records)
    }
}

/// The first acknowledgement in `bytes`: its length, and of how many records it is, or `None` when it is of the next
/// request.
fn acknowledgement(wire: Wire, bytes: &[u8]) -> Result<Option<(usize, Option<u64>)>> {
    match wire {
        Wire::Countd => {
            let Some(payload) = frame::first(bytes)? else { return Ok(None) };
            let end = payload.end;
            let response = Response::from_payload(&bytes[payload])?;
            if let Response::Counted(answer) = &response
                && answer.refused.is_empty()
            {
                return Ok(Some((end, None)));
            }
            Err(format!("countd: {response:?}").into())
        }
        Wire::Redis => {
            let Some(end) = memchr::memchr(b'\n', bytes) else { return Ok(None) };
            if bytes.first() != Some(&b':') {
                return Err(format!("redis: {}", String::from_utf8_lossy(&bytes[..end])).into());
            }
            Ok(Some((end + 1, Some(1))))
        }
        Wire::Prototype => {
            let records = bytes.first_chunk().map(|records| u64::from_le_bytes(*records));
            Ok(records.map(|records| (size_of::<u64>(), Some(records))))
        }
        Wire::Statsd => Ok(None),
    }
}

/// What redis says to a command; the beginning of it.
pub(crate) fn redis_ask(socket: &Path, command: &str) -> Result<String> {
    let mut stream = UnixStream::connect(socket)?;
    write!(stream, "{command}\r\n")?;
    let mut block = vec![0; 64 << 10];
    let length = stream.read(&mut block)?;
    Ok(String::from_utf8(block[..length].to_vec())?)
}
