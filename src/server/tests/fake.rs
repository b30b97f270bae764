//! The network, the clock and the sink that tests hand in.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

use mio::{Events, Poll, Token, Waker};

use crate::format::layout::Layout;
use crate::frame;
use crate::protocol::Response;
use crate::record::FilePlace;
use crate::report::Report;
use crate::server::network::{Backlog, Network, Ready};
use crate::sink::{Sink, SinkError};
use crate::system::clock::Clock;
use crate::turn::Prepared;
use crate::window::Moment;

/// How long a thread may take before a test gives up, as in a machine that hangs.
const PATIENCE: Duration = Duration::from_secs(60);

/// A clock that stands still until it is told to pass.
#[derive(Debug, Clone)]
pub(super) struct FakeClock(Arc<Mutex<Moment>>);

impl Default for FakeClock {
    fn default() -> FakeClock {
        let begin = Moment { wall_ms: 1_700_000_000_000, boot_ns: 1_000_000_000_000 };
        FakeClock(Arc::new(Mutex::new(begin)))
    }
}

impl FakeClock {
    pub(super) fn pass(&self, time: Duration) {
        let mut now = self.0.lock().unwrap();
        now.wall_ms += time.as_millis() as u64;
        now.boot_ns += time.as_nanos() as u64;
    }
}

impl Clock for FakeClock {
    fn now(&self) -> Moment {
        *self.0.lock().unwrap()
    }
}

/// What happens when the loop sleeps and nothing is scripted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sleep {
    /// The time passes at once.
    Passes,
    /// A thread is waited for, in real time.
    UntilWoken,
}

#[derive(Debug)]
struct Conn {
    uid: u32,
    input: VecDeque<u8>,
    /// The client sends no more.
    ended: bool,
    output: Vec<u8>,
    /// How many bytes the client's side still takes.
    room: usize,
    accepted: bool,
    watched: bool,
    closed: bool,
}

/// What is scripted, and what came of it.
pub(super) struct Script {
    poll: Poll,
    sleep: Sleep,
    clock: FakeClock,
    conns: BTreeMap<u64, Conn>,
    backlog: VecDeque<u64>,
    accept_errors: VecDeque<io::Error>,
    ready: VecDeque<Ready>,
    /// Every sleep that was asked for.
    pub(super) waits: Vec<Option<Duration>>,
    pub(super) accepts: usize,
    pub(super) listening: bool,
    /// Whose those are that wait at a stop.
    pub(super) stopping: Backlog,
    /// Bytes given to a read at most.
    pub(super) read_max: usize,
}

impl Script {
    /// Something else than a socket is ready.
    pub(super) fn tell(&mut self, what: Ready) {
        self.ready.push_back(what);
    }
}

/// The test's end of the network.
#[derive(Clone)]
pub(super) struct Net(Arc<Mutex<Script>>);

/// The server's end.
pub(super) struct FakeNetwork(Arc<Mutex<Script>>);

impl FakeNetwork {
    pub(super) fn new(clock: FakeClock) -> (FakeNetwork, Net, Waker) {
        let poll = Poll::new().unwrap();
        let waker = Waker::new(poll.registry(), Token(0)).unwrap();
        let script = Arc::new(Mutex::new(Script {
            poll,
            sleep: Sleep::Passes,
            clock,
            conns: BTreeMap::new(),
            backlog: VecDeque::new(),
            accept_errors: VecDeque::new(),
            ready: VecDeque::new(),
            waits: Vec::new(),
            accepts: 0,
            listening: true,
            stopping: Backlog::Ours,
            read_max: usize::MAX,
        }));
        (FakeNetwork(Arc::clone(&script)), Net(script), waker)
    }

    fn script(&self) -> MutexGuard<'_, Script> {
        self.0.lock().unwrap()
    }
}

impl Net {
    pub(super) fn script(&self) -> MutexGuard<'_, Script> {
        self.0.lock().unwrap()
    }

    /// A client connects; the server has not accepted it yet.
    pub(super) fn connect(&self, uid: u32) -> u64 {
        let mut script = self.script();
        let number = 3 + script.conns.len() as u64;
        let conn = Conn {
            uid,
            input: VecDeque::new(),
            ended: false,
            output: Vec::new(),
            room: usize::MAX,
            accepted: false,
            watched: false,
            closed: false,
        };
        script.conns.insert(number, conn);
        script.backlog.push_back(number);
        script.ready.push_back(Ready::Listener);
        number
    }

    /// The listener is ready though nobody waits, as after the last of many.
    pub(super) fn knock(&self) {
        self.script().ready.push_back(Ready::Listener);
    }

    /// Lets the next accepts fail.
    pub(super) fn fail_accepts(&self, errors: impl IntoIterator<Item = io::Error>) {
        self.script().accept_errors.extend(errors);
    }

    pub(super) fn send(&self, connection: u64, bytes: &[u8]) {
        let mut script = self.script();
        let conn = script.conns.get_mut(&connection).unwrap();
        conn.input.extend(bytes);
        if conn.watched {
            script.ready.push_back(Ready::Readable(connection));
        }
    }

    pub(super) fn end(&self, connection: u64) {
        let mut script = self.script();
        let conn = script.conns.get_mut(&connection).unwrap();
        conn.ended = true;
        if conn.watched {
            script.ready.push_back(Ready::Ending(connection));
        }
    }

    /// Lets the client take only so many bytes from now on.
    pub(super) fn room(&self, connection: u64, bytes: usize) {
        let mut script = self.script();
        let conn = script.conns.get_mut(&connection).unwrap();
        conn.room = bytes;
        if conn.watched && bytes > 0 {
            script.ready.push_back(Ready::Writable(connection));
        }
    }

    pub(super) fn is_closed(&self, connection: u64) -> bool {
        self.script().conns[&connection].closed
    }

    pub(super) fn is_accepted(&self, connection: u64) -> bool {
        self.script().conns[&connection].accepted
    }

    /// Bytes the client has got.
    pub(super) fn got(&self, connection: u64) -> usize {
        self.script().conns[&connection].output.len()
    }

    /// The whole messages the client has got, and takes off; rows of snapshots only by their number.
    pub(super) fn answers(&self, connection: u64) -> Vec<String> {
        let mut script = self.script();
        let output = &mut script.conns.get_mut(&connection).unwrap().output;
        let mut answers = Vec::new();
        while let Some(range) = frame::first(output).unwrap() {
            let response = Response::from_payload(&output[range.clone()]).unwrap();
            answers.push(if let Response::Rows(rows) = response {
                format!("{} rows", rows.len())
            } else {
                format!("{response:?}")
            });
            output.drain(..range.end);
        }
        answers
    }

    pub(super) fn sleep(&self, sleep: Sleep) {
        self.script().sleep = sleep;
    }

    /// Whether a wait would come back at once.
    pub(super) fn has_news(&self) -> bool {
        !self.script().ready.is_empty()
    }
}

impl Network for FakeNetwork {
    fn wait(&mut self, timeout: Option<Duration>, ready: &mut Vec<Ready>) -> io::Result<()> {
        let mut guard = self.script();
        let script = &mut *guard;
        script.waits.push(timeout);
        ready.extend(script.ready.drain(..));
        let sleeps = ready.is_empty() && timeout != Some(Duration::ZERO);
        let real = match script.sleep {
            Sleep::UntilWoken if sleeps => PATIENCE,
            Sleep::UntilWoken | Sleep::Passes => Duration::ZERO,
        };
        let mut events = Events::with_capacity(8);
        script.poll.poll(&mut events, Some(real))?;
        if !events.is_empty() {
            ready.push(Ready::Woken);
        } else if sleeps {
            assert_eq!(script.sleep, Sleep::Passes, "no thread had any news");
            script.clock.pass(timeout.expect("the loop would sleep for ever"));
        }
        Ok(())
    }

    fn accept(&mut self) -> io::Result<(u64, u32)> {
        let mut script = self.script();
        script.accepts += 1;
        // As Linux does, which takes a descriptor before it looks who waits.
        if let Some(error) = script.accept_errors.pop_front() {
            return Err(error);
        }
        if script.backlog.is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let number = script.backlog.pop_front().unwrap();
        let conn = script.conns.get_mut(&number).unwrap();
        conn.accepted = true;
        Ok((number, conn.uid))
    }

    fn somebody_waits(&self) -> bool {
        !self.script().backlog.is_empty()
    }

    fn watch(&mut self, connection: u64) -> io::Result<()> {
        let mut script = self.script();
        let conn = script.conns.get_mut(&connection).unwrap();
        assert!(!conn.watched && !conn.closed);
        conn.watched = true;
        let (some, ended, room) = (!conn.input.is_empty(), conn.ended, conn.room > 0);
        if some || ended {
            let what = if ended { Ready::Ending } else { Ready::Readable };
            script.ready.push_back(what(connection));
        }
        if room {
            script.ready.push_back(Ready::Writable(connection));
        }
        Ok(())
    }

    fn read(&mut self, connection: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let mut script = self.script();
        let read_max = script.read_max;
        let conn = script.conns.get_mut(&connection).unwrap();
        assert!(!conn.closed);
        let n = conn.input.len().min(buffer.len()).min(read_max);
        for (place, byte) in buffer.iter_mut().zip(conn.input.drain(..n)) {
            *place = byte;
        }
        match n {
            0 if conn.ended => Ok(0),
            0 => Err(io::ErrorKind::WouldBlock.into()),
            n => Ok(n),
        }
    }

    fn write(&mut self, connection: u64, bytes: &[u8]) -> io::Result<usize> {
        let mut script = self.script();
        let conn = script.conns.get_mut(&connection).unwrap();
        assert!(!conn.closed);
        let n = bytes.len().min(conn.room);
        if n == 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        conn.room -= n;
        conn.output.extend_from_slice(&bytes[..n]);
        Ok(n)
    }

    fn shut_reading(&mut self, connection: u64) {
        self.script().conns.get_mut(&connection).unwrap().ended = true;
    }

    fn close(&mut self, connection: u64) {
        self.script().conns.get_mut(&connection).unwrap().closed = true;
    }

    fn stop_listening(&mut self) -> Backlog {
        let mut script = self.script();
        script.listening = false;
        script.stopping
    }
}

/// Holds up a sink while it is shut.
#[derive(Debug, Clone, Default)]
pub(super) struct Gate(Arc<(Mutex<bool>, Condvar)>);

impl Gate {
    pub(super) fn shut(&self, shut: bool) {
        *self.0.0.lock().unwrap() = shut;
        self.0.1.notify_all();
    }

    fn pass(&self) {
        let shut = self.0.0.lock().unwrap();
        drop(self.0.1.wait_while(shut, |shut| *shut).unwrap());
    }
}

/// A sink that writes into a text.
#[derive(Debug)]
pub(super) struct FakeSink {
    prepared: Vec<u8>,
    log: Arc<Mutex<String>>,
    gate: Gate,
}

impl FakeSink {
    pub(super) fn new() -> (FakeSink, Arc<Mutex<String>>, Gate) {
        let (log, gate) = (Arc::default(), Gate::default());
        let sink = FakeSink { prepared: Vec::new(), log: Arc::clone(&log), gate: gate.clone() };
        (sink, log, gate)
    }
}

impl Sink for FakeSink {
    fn prepare(
        &mut self,
        layout: &Layout,
        reports: &[Arc<Report>],
        _offered: Option<FilePlace>,
    ) -> Result<Prepared, SinkError> {
        self.prepared.clear();
        layout.render(reports, &mut self.prepared);
        Ok(Prepared::Anywhere)
    }

    fn write(&mut self) -> Result<(), SinkError> {
        self.gate.pass();
        self.log.lock().unwrap().push_str(std::str::from_utf8(&self.prepared).unwrap());
        Ok(())
    }
}
