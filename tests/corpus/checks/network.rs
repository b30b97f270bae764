//! A network that plays a script: at each wait one step of it, and when it is over all clients hang up and the
//! daemon is asked to stop. No socket is there, and time passes only when the script or the daemon's own waiting
//! says so.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use countd::server::Stopper;
use countd::server::network::{Backlog, Network, Ready};
use countd::server::worker::{Job, Wake, Worker, Workers};
use countd::system::clock::Clock;
use countd::window::Moment;

/// One thing that happens.
#[derive(Debug)]
pub(crate) enum Step {
    /// A client of this uid connects; clients are numbered from 0.
    Connect(u32),
    Send(usize, Vec<u8>),
    /// A client sends no more.
    End(usize),
    /// A client takes only so many bytes from now on.
    Room(usize, usize),
    /// So many milliseconds go by.
    Pass(u64),
    /// A read gets this many bytes at most.
    ReadMax(usize),
}

/// What a client sent and got.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) sent: Vec<u8>,
    pub(crate) got: Vec<u8>,
    uid: u32,
    /// How much of what was sent is read.
    read: usize,
    room: usize,
    ended: bool,
    watched: bool,
    closed: bool,
}

struct Playing {
    steps: VecDeque<Step>,
    stopper: Stopper,
    clients: Vec<Client>,
    backlog: VecDeque<u64>,
    ready: VecDeque<Ready>,
    read_max: usize,
    now: Moment,
    over: bool,
}

/// The network and the clock of one script. Clones share it.
#[derive(Clone)]
pub(crate) struct Play(Arc<Mutex<Playing>>);

impl Play {
    pub(crate) fn new(steps: Vec<Step>, stopper: Stopper, now: Moment) -> Play {
        Play(Arc::new(Mutex::new(Playing {
            steps: steps.into(),
            stopper,
            clients: Vec::new(),
            backlog: VecDeque::new(),
            ready: VecDeque::new(),
            read_max: usize::MAX,
            now,
            over: false,
        })))
    }

    /// What wakes the daemon's loop.
    pub(crate) fn wake(&self) -> Wake {
        let play = self.clone();
        Arc::new(move || play.playing().ready.push_back(Ready::Woken))
    }

    pub(crate) fn clients(self) -> Vec<Client> {
        std::mem::take(&mut self.playing().clients)
    }

    fn playing(&self) -> MutexGuard<'_, Playing> {
        self.0.lock().expect("nothing panics while it holds this")
    }
}

impl Playing {
    fn step(&mut self) {
        let Some(step) = self.steps.pop_front() else {
            for client in 0..self.clients.len() {
                self.end(client);
                self.room(client, usize::MAX);
            }
            self.stopper.stop();
            self.over = true;
            return;
        };
        match step {
            Step::Connect(uid) => {
                self.backlog.push_back(number(self.clients.len()));
                self.clients.push(Client {
                    sent: Vec::new(),
                    got: Vec::new(),
                    uid,
                    read: 0,
                    room: usize::MAX,
                    ended: false,
                    watched: false,
                    closed: false,
                });
                self.ready.push_back(Ready::Listener);
            }
            Step::Send(client, bytes) => {
                let Some(to) = self.clients.get_mut(client) else { return };
                if !to.ended && !to.closed {
                    to.sent.extend(bytes);
                    self.tell(client, Ready::Readable(number(client)));
                }
            }
            Step::End(client) => self.end(client),
            Step::Room(client, bytes) => self.room(client, bytes),
            Step::Pass(ms) => self.pass(Duration::from_millis(ms)),
            Step::ReadMax(bytes) => self.read_max = bytes,
        }
    }

    fn end(&mut self, client: usize) {
        let Some(to) = self.clients.get_mut(client) else { return };
        to.ended = true;
        self.tell(client, Ready::Ending(number(client)));
    }

    fn room(&mut self, client: usize, bytes: usize) {
        let Some(to) = self.clients.get_mut(client) else { return };
        to.room = bytes;
        if bytes > 0 {
            self.tell(client, Ready::Writable(number(client)));
        }
    }

    fn tell(&mut self, client: usize, ready: Ready) {
        if self.clients[client].watched && !self.clients[client].closed {
            self.ready.push_back(ready);
        }
    }

    fn pass(&mut self, time: Duration) {
        let add = |to: u64, by: u128| to.saturating_add(u64::try_from(by).unwrap_or(u64::MAX));
        self.now.wall_ms = add(self.now.wall_ms, time.as_millis());
        self.now.boot_ns = add(self.now.boot_ns, time.as_nanos());
    }

    fn client(&mut self, connection: u64) -> &mut Client {
        let at = usize::try_from(connection).expect("a number that accept gave out");
        let client = &mut self.clients[at];
        assert!(!client.closed, "a connection is used after it was hung up");
        client
    }
}

fn number(client: usize) -> u64 {
    u64::try_from(client).expect("few clients")
}

impl Clock for Play {
    fn now(&self) -> Moment {
        self.playing().now
    }
}

/// Workers that do each job at once; the loop hears of it at its next wait.
#[derive(Debug)]
pub(crate) struct AtOnce;

impl Workers for AtOnce {
    fn spawn(&mut self, _: &str) -> io::Result<Box<dyn Worker>> {
        Ok(Box::new(AtOnce))
    }
}

impl Worker for AtOnce {
    fn submit(&mut self, job: Job) -> bool {
        job();
        true
    }
}

impl Network for Play {
    fn wait(&mut self, timeout: Option<Duration>, ready: &mut Vec<Ready>) -> io::Result<()> {
        let mut playing = self.playing();
        if playing.over {
            if playing.ready.is_empty() {
                playing.pass(timeout.expect("a daemon that stops has a limit"));
            }
        } else {
            playing.step();
        }
        ready.extend(playing.ready.drain(..));
        Ok(())
    }

    fn accept(&mut self) -> io::Result<(u64, u32)> {
        let mut playing = self.playing();
        let number = playing.backlog.pop_front().ok_or(io::ErrorKind::WouldBlock)?;
        let uid = playing.client(number).uid;
        Ok((number, uid))
    }

    fn somebody_waits(&self) -> bool {
        !self.playing().backlog.is_empty()
    }

    fn watch(&mut self, connection: u64) -> io::Result<()> {
        let mut playing = self.playing();
        let client = playing.client(connection);
        client.watched = true;
        let (some, ended) = (client.read < client.sent.len(), client.ended);
        let room = client.room > 0;
        if ended {
            playing.ready.push_back(Ready::Ending(connection));
        } else if some {
            playing.ready.push_back(Ready::Readable(connection));
        }
        if room {
            playing.ready.push_back(Ready::Writable(connection));
        }
        Ok(())
    }

    fn read(&mut self, connection: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let mut playing = self.playing();
        let read_max = playing.read_max;
        let client = playing.client(connection);
        let rest = &client.sent[client.read..];
        let count = rest.len().min(buffer.len()).min(read_max);
        buffer[..count].copy_from_slice(&rest[..count]);
        client.read += count;
        if count == 0 && !client.ended { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(count) }
    }

    fn write(&mut self, connection: u64, bytes: &[u8]) -> io::Result<usize> {
        let mut playing = self.playing();
        let client = playing.client(connection);
        let count = bytes.len().min(client.room);
        if count == 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        client.room -= count;
        client.got.extend_from_slice(&bytes[..count]);
        Ok(count)
    }

    fn shut_reading(&mut self, connection: u64) {
        self.playing().client(connection).ended = true;
    }

    fn close(&mut self, connection: u64) {
        self.playing().client(connection).closed = true;
    }

    fn stop_listening(&mut self) -> Backlog {
        Backlog::Ours
    }
}
