//! Collectors made up for a test, on the loopback, each of which can be away, hang, refuse and come back.

use std::collections::BTreeMap;
use std::io::Read;
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixDatagram;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

/// What a collector got: its lines, in the order they came.
pub(crate) type Lines = Arc<Mutex<Vec<String>>>;

/// What a carbon does with a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Does {
    /// Reads it to its end, and closes it.
    Read,
    /// Reads so many bytes and closes it, as one that is killed.
    Die(usize),
    /// Neither reads nor closes it before it is stopped.
    Hang,
}

/// A carbon.
pub(crate) struct Carbon {
    pub(crate) port: u16,
    pub(crate) lines: Lines,
    does: Arc<Mutex<Does>>,
    stopped: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Carbon {
    pub(crate) fn start() -> Carbon {
        Carbon::start_at(0, Lines::default())
    }

    /// One at this port that goes on with these lines.
    pub(crate) fn start_at(port: u16, lines: Lines) -> Carbon {
        let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let (does, stopped) = (Arc::new(Mutex::new(Does::Read)), Arc::new(AtomicBool::new(false)));
        let (kept, todo, end) = (Arc::clone(&lines), Arc::clone(&does), Arc::clone(&stopped));
        let serve = move || {
            let mut hung = Vec::new();
            for stream in listener.incoming() {
                let stream = stream.unwrap();
                if !is_written_to(&stream, &end) {
                    return;
                }
                let does = *todo.lock().unwrap();
                take(stream, does, &kept, &end, &mut hung);
            }
        };
        let thread = Some(std::thread::spawn(serve));
        Carbon { port, lines, does, stopped, thread }
    }

    pub(crate) fn now(&self, does: Does) {
        *self.does.lock().unwrap() = does;
    }

    /// Stops it: nobody listens then, and what hangs is reset.
    pub(crate) fn stop(mut self) -> (u16, Lines) {
        self.stopped.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(("127.0.0.1", self.port));
        self.thread.take().unwrap().join().unwrap();
        (self.port, Arc::clone(&self.lines))
    }

    /// What a path has in all, each timestamp once, as whisper has it.
    pub(crate) fn sums(&self) -> BTreeMap<String, u64> {
        whisper(&self.lines)
    }
}

/// The sums of the paths, each timestamp once; a timestamp that comes again has the same value.
pub(crate) fn whisper(lines: &Lines) -> BTreeMap<String, u64> {
    let mut points = BTreeMap::new();
    for line in lines.lock().unwrap().iter() {
        let [path, value, second] = line.split(' ').collect::<Vec<_>>()[..] else {
            panic!("{line}")
        };
        let point = (path.to_owned(), second.parse::<u64>().unwrap());
        let value = value.parse::<u64>().unwrap();
        let before = points.insert(point, value);
        assert!(before.is_none_or(|before| before == value), "{line} was {before:?}");
    }
    let mut sums = BTreeMap::new();
    for ((path, _), value) in points {
        *sums.entry(path).or_default() += value;
    }
    sums
}

/// Waits until something comes, or the end of the connection; `false` when it is the end of all.
fn is_written_to(stream: &TcpStream, end: &AtomicBool) -> bool {
    stream.set_read_timeout(Some(Duration::from_millis(5))).unwrap();
    while stream.peek(&mut [0]).is_err_and(|error| is_quiet(&error)) {
        if end.load(Ordering::SeqCst) {
            return false;
        }
    }
    !end.load(Ordering::SeqCst)
}

fn is_quiet(error: &std::io::Error) -> bool {
    error.kind() == std::io::ErrorKind::WouldBlock
}

fn take(
    mut stream: TcpStream,
    does: Does,
    lines: &Lines,
    end: &AtomicBool,
    hung: &mut Vec<TcpStream>,
) {
    let most = match does {
        Does::Read => usize::MAX,
        Does::Die(most) => most,
        Does::Hang => return hung.push(stream),
    };
    let (mut text, mut taken, mut bytes) = (Vec::new(), 0, [0; 65_536]);
    while taken < most && !end.load(Ordering::SeqCst) {
        let room = bytes.len().min(most - taken);
        match stream.read(&mut bytes[..room]) {
            Ok(0) => return,
            Ok(read) => {
                taken += read;
                text.extend_from_slice(&bytes[..read]);
            }
            Err(error) if is_quiet(&error) => continue,
            // One whose daemon was killed may be reset.
            Err(_) => return,
        }
        // As with carbon, a line counts when its end was read.
        let whole = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        let whole = String::from_utf8(text.drain(..whole).collect()).unwrap();
        lines.lock().unwrap().extend(whole.lines().map(str::to_owned));
    }
}

/// What can be received from.
pub(crate) trait Receives: Send + 'static {
    fn receive(&self, into: &mut [u8]) -> std::io::Result<usize>;
    fn wait(&self, most: Duration);
}

impl Receives for std::net::UdpSocket {
    fn receive(&self, into: &mut [u8]) -> std::io::Result<usize> {
        self.recv(into)
    }

    fn wait(&self, most: Duration) {
        self.set_read_timeout(Some(most)).unwrap();
    }
}

impl Receives for UnixDatagram {
    fn receive(&self, into: &mut [u8]) -> std::io::Result<usize> {
        self.recv(into)
    }

    fn wait(&self, most: Duration) {
        self.set_read_timeout(Some(most)).unwrap();
    }
}

/// A statsd: counts what it gets.
pub(crate) struct Statsd {
    pub(crate) lines: Lines,
    stopped: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Statsd {
    pub(crate) fn of(socket: impl Receives, lines: Lines) -> Statsd {
        let stopped = Arc::new(AtomicBool::new(false));
        let (kept, end) = (Arc::clone(&lines), Arc::clone(&stopped));
        let serve = move || {
            socket.wait(Duration::from_millis(20));
            let mut packet = [0; 65_536];
            while !end.load(Ordering::SeqCst) {
                let Ok(length) = socket.receive(&mut packet) else { continue };
                assert!(length <= 1432, "{length}");
                let text = String::from_utf8(packet[..length].to_vec()).unwrap();
                kept.lock().unwrap().extend(text.lines().map(str::to_owned));
            }
        };
        Statsd { lines, stopped, thread: Some(std::thread::spawn(serve)) }
    }

    /// Stops it: nobody listens then.
    pub(crate) fn stop(mut self) -> Lines {
        self.stopped.store(true, Ordering::SeqCst);
        self.thread.take().unwrap().join().unwrap();
        Arc::clone(&self.lines)
    }

    pub(crate) fn sum(&self, name: &str) -> u64 {
        let lines = self.lines.lock().unwrap();
        let counts = lines.iter().filter_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        counts.map(|rest| rest.split('|').next().unwrap().parse::<u64>().unwrap()).sum()
    }
}
