//! What the daemon is handed in: sockets with what is in them, a clock, workers, standard output. They do what
//! real ones do, but only in the daemon's own thread; when something happens is the world's business.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use super::world::{Mode, Queue, Shared, World};
use crate::format::layout::Layout;
use crate::record::FilePlace;
use crate::report::Report;
use crate::server::network::{Backlog, Network, Ready};
use crate::server::worker::{JOBS_MAX, Job, Worker, Workers};
use crate::sink::{Sink, SinkError};
use crate::system::clock::Clock;
use crate::turn::Prepared;
use crate::window::Moment;

/// One connection as the kernel has it.
#[derive(Debug, Default)]
pub(super) struct Conn {
    pub(super) uid: u32,
    /// What the client sent and the server has not read.
    pub(super) input: VecDeque<u8>,
    /// What the server sent and the client has not taken.
    pub(super) output: VecDeque<u8>,
    /// How much of that there may be.
    pub(super) capacity: usize,
    pub(super) accepted: bool,
    pub(super) watched: bool,
    /// The client hung up; with what it was sent unread, which is an error for the server.
    pub(super) gone: bool,
    pub(super) reset: bool,
    /// The server hung up.
    pub(super) closed: bool,
    /// The server wants no more.
    pub(super) shut: bool,
    /// The server's last write came short.
    pub(super) full: bool,
}

/// The clients' side.
impl World {
    pub(super) fn connect(&mut self, uid: u32, slow: bool) -> u64 {
        let number = self.next_number;
        self.next_number += 1;
        let capacity = if slow { 1 + self.dice.any_size(3_000) as usize } else { 1 << 20 };
        self.conns.insert(number, Conn { uid, capacity, ..Conn::default() });
        self.backlog.push_back(number);
        self.ready.push(Ready::Listener);
        number
    }

    /// Sends; returns whether it can be sent.
    pub(super) fn send(&mut self, number: u64, bytes: impl Iterator<Item = u8>) -> bool {
        let conn = self.conns.get_mut(&number).unwrap();
        if conn.closed || conn.shut {
            return false;
        }
        conn.input.extend(bytes);
        if conn.watched {
            self.ready.push(Ready::Readable(number));
        }
        true
    }

    /// Takes up to so many bytes; returns whether there may be more at some time.
    pub(super) fn take(&mut self, number: u64, most: usize, into: &mut Vec<u8>) -> bool {
        let conn = self.conns.get_mut(&number).unwrap();
        let count = most.min(conn.output.len());
        into.extend(conn.output.drain(..count));
        if conn.watched && conn.full && count > 0 && !conn.closed {
            conn.full = false;
            self.ready.push(Ready::Writable(number));
        }
        !(conn.closed && conn.output.is_empty())
    }

    pub(super) fn hang_up(&mut self, number: u64) {
        let reset = self.dice.happens(300);
        let conn = self.conns.get_mut(&number).unwrap();
        conn.gone = true;
        conn.reset = reset && !conn.output.is_empty();
        conn.output.clear();
        if conn.closed {
            self.conns.remove(&number);
        } else if conn.watched {
            // The kernel says that it can be written to, too: that fails at once.
            self.ready.extend([Ready::Ending(number), Ready::Writable(number)]);
        }
    }
}

impl Network for Shared {
    fn wait(&mut self, timeout: Option<Duration>, ready: &mut Vec<Ready>) -> io::Result<()> {
        let (mode, acts) = {
            let mut world = self.lock();
            world.waits += 1;
            let steps = world.swarm.steps;
            (world.mode, world.dice.below(steps + 1))
        };
        match mode {
            Mode::Wild => (0..acts).for_each(|_| self.act()),
            Mode::Calm => self.act(),
            Mode::Frozen => {}
        }
        let mut world = self.lock();
        if world.is_dead() {
            return Err(io::Error::other("dead"));
        }
        if !world.has_news() && timeout != Some(Duration::ZERO) && mode != Mode::Frozen {
            let calm = mode == Mode::Calm;
            let idle = if calm { world.next_idle() } else { world.dice.happens(300) };
            let wait = timeout.map_or(1_000_000_000, |timeout| timeout.as_nanos() as u64);
            if idle {
                let most = wait.min(if calm { 1_000_000_000 } else { 100_000_000_000 });
                world.pass(most);
            }
        }
        ready.append(&mut world.ready);
        if std::mem::take(&mut world.woken) {
            ready.push(Ready::Woken);
        }
        Ok(())
    }

    fn accept(&mut self) -> io::Result<(u64, u32)> {
        let mut world = self.lock();
        assert!(!world.handed_over || !world.left, "who waits is for the next daemon");
        let number = world.backlog.pop_front().ok_or(io::ErrorKind::WouldBlock)?;
        let conn = world.conns.get_mut(&number).unwrap();
        conn.accepted = true;
        Ok((number, conn.uid))
    }

    fn somebody_waits(&self) -> bool {
        !self.lock().backlog.is_empty()
    }

    fn watch(&mut self, connection: u64) -> io::Result<()> {
        let mut world = self.lock();
        let conn = world.conns.get_mut(&connection).unwrap();
        assert!(!conn.watched && !conn.closed);
        conn.watched = true;
        let (some, gone) = (!conn.input.is_empty(), conn.gone);
        let room = conn.output.len() < conn.capacity;
        if some || gone {
            let what = if gone { Ready::Ending } else { Ready::Readable };
            world.ready.push(what(connection));
        }
        if room {
            world.ready.push(Ready::Writable(connection));
        }
        Ok(())
    }

    fn read(&mut self, connection: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let mut world = self.lock();
        let conn = world.conns.get_mut(&connection).unwrap();
        assert!(!conn.closed && conn.accepted);
        if conn.reset {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        let n = conn.input.len().min(buffer.len());
        for (place, byte) in buffer.iter_mut().zip(conn.input.drain(..n)) {
            *place = byte;
        }
        match n {
            0 if conn.gone || conn.shut => Ok(0),
            0 => Err(io::ErrorKind::WouldBlock.into()),
            n => Ok(n),
        }
    }

    fn write(&mut self, connection: u64, bytes: &[u8]) -> io::Result<usize> {
        let mut world = self.lock();
        if world.is_dead() {
            return Err(io::Error::other("dead"));
        }
        let conn = world.conns.get_mut(&connection).unwrap();
        assert!(!conn.closed);
        if conn.gone {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let n = bytes.len().min(conn.capacity - conn.output.len().min(conn.capacity));
        conn.full = n < bytes.len();
        conn.output.extend(&bytes[..n]);
        if n == 0 { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(n) }
    }

    fn shut_reading(&mut self, connection: u64) {
        self.lock().conns.get_mut(&connection).unwrap().shut = true;
    }

    fn close(&mut self, connection: u64) {
        let mut world = self.lock();
        let conn = world.conns.get_mut(&connection).unwrap();
        conn.closed = true;
        if conn.gone {
            world.conns.remove(&connection);
        }
    }

    fn stop_listening(&mut self) -> Backlog {
        let mut world = self.lock();
        (world.listening, world.left) = (world.handed_over, true);
        if world.handed_over { Backlog::Left } else { Backlog::Ours }
    }
}

impl Clock for Shared {
    fn now(&self) -> Moment {
        let mut world = self.lock();
        // Some time passes between any two looks.
        if world.mode != Mode::Frozen {
            world.pass(700);
        }
        world.now
    }
}

impl Workers for Shared {
    fn spawn(&mut self, name: &str) -> io::Result<Box<dyn Worker>> {
        let mut world = self.lock();
        world.queues.push(Queue { worker: name.to_owned(), ..Queue::default() });
        let at = world.queues.len() - 1;
        world.note(|| format!("worker {at} is {name}"));
        Ok(Box::new(SimWorker(self.clone(), at)))
    }
}

struct SimWorker(Shared, usize);

impl std::fmt::Debug for SimWorker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "worker {}", self.1)
    }
}

impl Worker for SimWorker {
    fn submit(&mut self, job: Job) -> bool {
        let mut world = self.0.lock();
        let queue = &mut world.queues[self.1];
        let takes = queue.jobs.len() < JOBS_MAX;
        if takes {
            queue.jobs.push_back(job);
        }
        takes
    }
}

/// Standard output: nothing tells afterwards what of it was read.
pub(super) struct SimStdout {
    pub(super) world: Shared,
    pub(super) rendered: Vec<u8>,
    pub(super) written: usize,
}

impl std::fmt::Debug for SimStdout {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SimStdout")
    }
}

impl Sink for SimStdout {
    fn prepare(
        &mut self,
        layout: &Layout,
        reports: &[Arc<Report>],
        _offered: Option<FilePlace>,
    ) -> Result<Prepared, SinkError> {
        let mut text = Vec::new();
        layout.render(reports, &mut text);
        if text != self.rendered {
            (self.rendered, self.written) = (text, 0);
        }
        Ok(Prepared::Anywhere)
    }

    fn write(&mut self) -> Result<(), SinkError> {
        let mut world = self.world.lock();
        if world.is_dead() {
            return Err(SinkError::Failed("dead".into()));
        }
        let fails = world.swarm.sink_failures;
        let mut rest = self.rendered[self.written..].to_vec();
        let failed = world.dice.happens(fails);
        if failed {
            let most = world.dice.index(rest.len() + 1);
            rest.truncate(most);
        }
        self.written += rest.len();
        let run = world.stdout.last_mut().unwrap();
        run.0.extend(rest);
        if failed {
            if world.doom.is_some() {
                world.die();
            }
            return Err(SinkError::Failed("nobody reads it just now".into()));
        }
        (self.rendered, self.written) = (Vec::new(), 0);
        Ok(())
    }
}
