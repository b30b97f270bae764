//! The client's side: a blocking [`Client`] that asks a daemon and says what became of it. It connects,
//! repeats what may be repeated, and bounds every wait. It reads no environment but in
//! [`SocketPath::find`], and writes nothing but to the socket.

mod batch;
mod call;
mod connection;
mod error;
#[cfg(test)]
pub(crate) mod fake;
pub(crate) mod in_flight;
pub mod lines;
pub mod plain;
mod retry;
pub mod stream;
mod sums;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::time::Duration;

pub use crate::system::paths::{PathError, SocketPath};
use call::{Call, Link, message};
pub use error::{ClientError, NoDaemon, Unknown};
use retry::Kind;

use crate::counter::name::Name;
use crate::ids::{Answer, RequestId};
use crate::protocol::{
    ENTRIES_MAX, Entry, ErrorCode, Request, Response, Row, SnapshotInfo, StatusReport, Wanted,
};
use crate::system::connect::Deadline;
use crate::system::{clock, random};

/// The longest time for which an increment is repeated: no longer than a daemon is sure to know its id.
pub const INCR_TIMEOUT_MAX: Duration = Duration::from_secs(60);
/// How much longer than the daemon waits for its sinks a flush waits for the daemon's answer.
const FLUSH_GRACE: Duration = Duration::from_secs(1);

/// Asks a daemon. Every call blocks until it is answered or its timeout is over, and is made over a
/// connection that is kept from call to call and renewed when the daemon was started again.
///
/// ```
/// use std::time::Duration;
/// use countd::{Client, Name, SocketPath};
///
/// # use countd::server::{Server, Stopper, assemble::{Config, Surroundings}};
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let folder = std::env::temp_dir().join(format!("countd-example-{}", std::process::id()));
/// # std::fs::create_dir(&folder)?;
/// # let socket = folder.join("sock");
/// # let (config, stopper) = (Config::ephemeral(&socket), Stopper::new());
/// # let server = Server::assemble(config, Surroundings::default(), stopper.clone(), Box::new(|_, _| ()))?;
/// # let serving = std::thread::spawn(|| server.run());
/// // The socket that `countd incr` would use: SocketPath::find()?
/// let mut client = Client::new(SocketPath::new(socket)?, Duration::from_secs(2));
///
/// let jobs = Name::new("jobs.done")?.with_tag("host", "a")?;
/// client.incr(&[(jobs.clone(), 3), (Name::new("mail.sent")?, 1)])?;
/// assert_eq!(client.get(&jobs)?.total, 3);
/// # stopper.stop();
/// # serving.join().unwrap()?;
/// # std::fs::remove_dir_all(&folder)?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Client {
    link: Link,
    timeout: Duration,
}

impl Client {
    /// A client of the daemon at `socket` whose calls take up to `timeout`. Nothing is connected yet.
    pub fn new(socket: SocketPath, timeout: Duration) -> Client {
        let link = Link { looked: socket, one_request: false, connection: None };
        Client { link, timeout }
    }

    /// The same for a program that asks once: each call has a connection to itself, on which the daemon
    /// hangs up as soon as it has answered.
    #[must_use]
    pub fn one_request(mut self) -> Client {
        self.link.one_request = true;
        self
    }

    /// Adds to counters, all or none of them, exactly once; an amount of 0 declares the counter. The
    /// call is repeated under one id while the daemon is gone, up to the timeout and
    /// [`INCR_TIMEOUT_MAX`].
    ///
    /// # Errors
    /// [`ClientError::NoDaemon`] and [`ClientError::Refused`]: nothing was added.
    /// [`ClientError::Unknown`]: all or nothing was.
    pub fn incr(&mut self, entries: &[(Name, u64)]) -> Result<(), ClientError> {
        self.count(entries, false).map(drop)
    }

    /// As [`Client::incr`], and returns each counter's total right after its entry was added.
    ///
    /// # Errors
    /// As [`Client::incr`].
    pub fn incr_totals(&mut self, entries: &[(Name, u64)]) -> Result<Vec<u64>, ClientError> {
        let totals = self.count(entries, true)?.totals;
        if totals.len() != entries.len() {
            return Err(self.link.protocol("it did not tell all the totals"));
        }
        Ok(totals)
    }

    /// One counter.
    ///
    /// # Errors
    /// [`ClientError::NotFound`] if there is none, and any other.
    pub fn get(&mut self, name: &Name) -> Result<Row<'static>, ClientError> {
        let request = Request::Get { name: name.as_str() };
        let answer = self.ask(&request, Kind::Read, self.timeout, |response| {
            if let Response::Counter(row) = response { Ok(owned(row)) } else { Err(response) }
        });
        if let Err(ClientError::Refused { code: ErrorCode::NotFound, .. }) = answer {
            return Err(ClientError::NotFound { name: name.as_str().to_owned() });
        }
        answer
    }

    /// A snapshot of counters, one moment for all: hands each to `each`, in no order. When an error
    /// follows, what was handed over before is no whole snapshot.
    ///
    /// # Errors
    /// Any [`ClientError`].
    pub fn dump(
        &mut self,
        wanted: &Wanted<'_>,
        each: impl FnMut(Row<'_>),
    ) -> Result<SnapshotInfo, ClientError> {
        let request = Request::Dump { wanted: wanted.clone() };
        self.rows(&request, Kind::Read, each)
    }

    /// Forgets counters and hands each, as it was, to `each`; with `dry_run` it only tells which they
    /// would be. Root and the daemon's own user may do this.
    ///
    /// # Errors
    /// Any [`ClientError`]. Counters that were handed to `each` before are gone all the same: the daemon may have
    /// broken off half-way, as when its disk is full.
    pub fn delete(
        &mut self,
        wanted: &Wanted<'_>,
        dry_run: bool,
        each: impl FnMut(Row<'_>),
    ) -> Result<SnapshotInfo, ClientError> {
        let request = Request::Delete { wanted: wanted.clone(), dry_run };
        self.rows(&request, if dry_run { Kind::Read } else { Kind::Change }, each)
    }

    /// Flushes now, and returns the window's number when every sink has it. The daemon waits for its
    /// sinks up to the timeout. Root and the daemon's own user may do this.
    ///
    /// # Errors
    /// [`ClientError::Refused`] names the sinks that do not have it; and any other.
    pub fn flush(&mut self) -> Result<u64, ClientError> {
        let timeout_ms = u64::try_from(self.timeout.as_millis()).unwrap_or(u64::MAX);
        let request = Request::Flush { timeout_ms };
        let timeout = self.timeout.saturating_add(FLUSH_GRACE);
        self.ask(&request, Kind::Change, timeout, |response| {
            if let Response::Flushed { window } = response { Ok(window) } else { Err(response) }
        })
    }

    /// The daemon's health.
    ///
    /// # Errors
    /// Any [`ClientError`].
    pub fn status(&mut self) -> Result<StatusReport, ClientError> {
        self.ask(&Request::Status, Kind::Read, self.timeout, |response| {
            if let Response::Status(report) = response { Ok(report) } else { Err(response) }
        })
    }

    fn count(&mut self, entries: &[(Name, u64)], totals: bool) -> Result<Answer, ClientError> {
        if entries.len() > ENTRIES_MAX {
            let why = format!("{} increments at once, limit {ENTRIES_MAX}", entries.len());
            return Err(ClientError::TooLarge { why });
        }
        let deadline = Deadline::after(self.timeout.min(INCR_TIMEOUT_MAX));
        let mut call = Call::new(Kind::Incr, deadline);
        let (mut born_ns, mut renewed) = (clock::boot_ns(), false);
        loop {
            let session = random::session().map_err(ClientError::System)?;
            let id = RequestId { session, seq: 0, born_ns };
            let entries =
                entries.iter().map(|(name, amount)| Entry { name: name.as_str(), amount: *amount });
            let entries = entries.collect();
            let request = Request::Incr { id, atomic: true, totals, entries };
            let answer = counted(&mut self.link, &request, &mut call);
            match self.done(answer)? {
                Counted::Answer(answer) => return Ok(answer),
                // It did not know this id and applied nothing, so another is safe.
                Counted::TooOld { now_ns } => {
                    born_ns = now_ns;
                    if std::mem::replace(&mut renewed, true) {
                        self.link.wait_after_refusal(ClientError::clock_behind(), &mut call)?;
                    }
                }
            }
        }
    }

    fn ask<T>(
        &mut self,
        request: &Request<'_>,
        kind: Kind,
        timeout: Duration,
        read: impl for<'r> FnOnce(Response<'r>) -> Result<T, Response<'r>>,
    ) -> Result<T, ClientError> {
        let message = message(request, self.link.one_request)?;
        let mut call = Call::new(kind, Deadline::after(timeout));
        let payload = self.link.ask(&message, &mut call)?;
        let link = &self.link;
        let answer = link
            .response(payload)
            .and_then(|response| read(response).map_err(|other| unexpected(link, other)));
        self.done(answer)
    }

    fn rows(
        &mut self,
        request: &Request<'_>,
        kind: Kind,
        each: impl FnMut(Row<'_>),
    ) -> Result<SnapshotInfo, ClientError> {
        let message = message(request, self.link.one_request)?;
        let snapshot = self.snapshot(&message, kind, each);
        self.done(snapshot)
    }

    fn snapshot(
        &mut self,
        message: &[u8],
        kind: Kind,
        mut each: impl FnMut(Row<'_>),
    ) -> Result<SnapshotInfo, ClientError> {
        let mut call = Call::new(kind, Deadline::after(self.timeout));
        let payload = self.link.ask(message, &mut call)?;
        let begin = self.link.response(payload)?;
        let Response::Snapshot(info) = begin else {
            return Err(unexpected(&self.link, begin));
        };
        let mut came = 0_u64;
        loop {
            let payload = self.link.next(&call)?;
            let next = self.link.response(payload)?;
            if let Response::Rows(rows) = next {
                came = came.saturating_add(u64::try_from(rows.len()).unwrap_or(u64::MAX));
                rows.into_iter().for_each(&mut each);
            } else if let Response::End { rows } = next {
                if rows != came {
                    return Err(self.link.protocol(format_args!("{came} of {rows} counters came")));
                }
                return Ok(info);
            } else {
                return Err(unexpected(&self.link, next));
            }
        }
    }

    /// Ends a call. A connection for one request has had it; so has one on which a call went wrong, for
    /// the rest of an answer may still be under way there.
    fn done<T>(&mut self, result: Result<T, ClientError>) -> Result<T, ClientError> {
        if self.link.one_request || result.is_err() {
            self.link.connection = None;
        }
        result
    }
}

/// What became of an increment request that was answered.
enum Counted {
    Answer(Answer),
    /// It was sent only once, and refused for its age.
    TooOld {
        now_ns: u64,
    },
}

fn counted(
    link: &mut Link,
    request: &Request<'_>,
    call: &mut Call<'_>,
) -> Result<Counted, ClientError> {
    let error = match ask_to_count(link, request, call) {
        Ok(counted) => return Ok(counted),
        Err(error) => error,
    };
    // The request went out; what came back does not tell what became of it.
    if let ClientError::Protocol { looked, why } = error {
        return Err(ClientError::Unknown { looked, why: Unknown::Unreadable(why) });
    }
    // A daemon of another version does not look whether it knows the id.
    let other_version = matches!(error, ClientError::Refused { code: ErrorCode::Version, .. });
    Err(if other_version && !call.sent_once() { link.forgotten() } else { error })
}

fn ask_to_count(
    link: &mut Link,
    request: &Request<'_>,
    call: &mut Call<'_>,
) -> Result<Counted, ClientError> {
    let message = message(request, link.one_request)?;
    let payload = link.ask(&message, call)?;
    let now_ns = match link.response(payload)? {
        Response::Counted(answer) => return Ok(Counted::Answer(answer.into_owned())),
        Response::TooOld { now_ns } => now_ns,
        other @ (Response::Error { .. }
        | Response::Counter(_)
        | Response::Snapshot(_)
        | Response::Rows(_)
        | Response::End { .. }
        | Response::Flushed { .. }
        | Response::Status(_)) => return Err(unexpected(link, other)),
    };
    if call.sent_once() { Ok(Counted::TooOld { now_ns }) } else { Err(link.forgotten()) }
}

/// The error of an answer that does not belong to the question; a refusal belongs to each.
fn unexpected(link: &Link, response: Response<'_>) -> ClientError {
    match response {
        Response::Error { code, message } => {
            ClientError::Refused { code: code.into(), message: message.into_owned() }
        }
        Response::Counted(_)
        | Response::TooOld { .. }
        | Response::Counter(_)
        | Response::Snapshot(_)
        | Response::Rows(_)
        | Response::End { .. }
        | Response::Flushed { .. }
        | Response::Status(_) => link.protocol("its answer belongs to another question"),
    }
}

fn owned(row: Row<'_>) -> Row<'static> {
    Row { name: Cow::Owned(row.name.into_owned()), ..row }
}
