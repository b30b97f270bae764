//! Prometheus comes and takes: a small HTTP server on a thread of its own, which answers `GET /metrics` with the
//! totals. It asks the loop for a sight of the counters, which costs the loop no more than a reference to each
//! piece of them, and does the rest itself. A scrape is no report: nobody is owed anything, and no window is
//! closed for it.

mod body;
mod http;
mod line;

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::net::TcpListener;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::sync::{Arc, Weak};
use std::time::Duration;

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token, Waker};
use rustix::io::Errno;
use rustix::net::SocketFlags;

use super::worker::{Mailbox, News};
use crate::format::prometheus::view::{Sight, View};
use crate::format::prometheus::{Collisions, Shown};
use crate::protocol::Value;
use crate::system::clock;
use crate::system::listen::Listening;
use line::{Fate, Line};

/// Connections at a time; past it, one that asks for nothing gives way, or one that is slow to take its answer.
pub(super) const LINES_MAX: usize = 64;
/// Sights at a time that are being sent: each holds the counters of its moment.
const VIEWS_MAX: usize = 2;
/// How long nobody is accepted after the system could not, in nanoseconds.
const ACCEPT_AGAIN_NS: u64 = 1_000_000_000;

const DOOR: Token = Token(0);
const WAKER: Token = Token(1);
const FIRST_LINE: usize = 2;

/// Where scrapers come to.
#[derive(Debug)]
pub enum Door {
    /// A port.
    Tcp(TcpListener),
    /// A Unix socket, which is removed at the end.
    Unix(Listening),
}

/// A server of scrapes as it is to be.
#[derive(Debug)]
pub struct ScrapeSetup {
    /// What it is called.
    pub place: String,
    /// Where it listens.
    pub door: Door,
    /// What it shows.
    pub shown: Shown,
    /// Whether OpenMetrics has when each counter was created.
    pub created: bool,
}

/// A scrape that was answered.
#[derive(Debug)]
pub(super) struct Scraped {
    /// Whose.
    pub(super) scrape: usize,
    /// Which counters it did not have.
    pub(super) collisions: Collisions,
}

/// A server of scrapes, as the loop sees it.
pub(super) struct Scrape {
    pub(super) place: String,
    sights: Option<Sender<Sight>>,
    waker: Arc<Waker>,
    /// As long as it is there, so is its socket.
    _door: Door,
    answered: u64,
    last_ms: Option<u64>,
    pub(super) collisions: Collisions,
}

impl fmt::Debug for Scrape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scrape").field("place", &self.place).finish_non_exhaustive()
    }
}

impl Scrape {
    /// Starts its thread. It has this number among all of its kind.
    pub(super) fn start(number: usize, setup: ScrapeSetup, mailbox: Mailbox) -> io::Result<Scrape> {
        let ScrapeSetup { place, door, shown, created } = setup;
        let poll = Poll::new()?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKER)?);
        let listener = door.as_fd().try_clone_to_owned()?;
        rustix::io::ioctl_fionbio(&listener, true)?;
        let fd = listener.as_raw_fd();
        poll.registry().register(&mut SourceFd(&fd), DOOR, Interest::READABLE)?;
        let (sights, inbox) = channel();
        let server = HttpServer {
            number,
            poll,
            listener,
            lines: BTreeMap::new(),
            next: FIRST_LINE,
            ready: Vec::new(),
            inbox,
            asked: false,
            views: Vec::new(),
            accept_after_ns: None,
            mailbox,
            shown,
            created,
        };
        let name = format!("scrape-{number}");
        std::thread::Builder::new().name(name).spawn(move || server.run())?;
        let collisions = Collisions::default();
        let sights = Some(sights);
        Ok(Scrape { place, sights, waker, _door: door, answered: 0, last_ms: None, collisions })
    }

    /// Gives it what it asked for.
    pub(super) fn show(&mut self, sight: Sight) {
        if let Some(sights) = &self.sights {
            // It ends only after us.
            let _ = sights.send(sight);
        }
        let _ = self.waker.wake();
    }

    /// Notes that it answered. Returns what the operator is to be told.
    pub(super) fn answered(&mut self, collisions: Collisions, now_ms: u64) -> Vec<String> {
        self.answered = self.answered.saturating_add(1);
        self.last_ms = Some(now_ms);
        let news = self.collisions.news(&collisions);
        self.collisions = collisions;
        news.iter().map(|one| format!("{}: {one}", self.place)).collect()
    }

    /// What is wrong, in words.
    pub(super) fn problem(&self) -> Option<String> {
        let problem = self.collisions.problem()?;
        Some(format!("sink {}: {problem}", self.place))
    }

    /// Facts for the status, as of a sink with this number.
    pub(super) fn facts(&self, number: usize) -> Vec<(String, Value)> {
        let key = |key: &str| format!("sink_{number}_{key}");
        let mut facts = vec![
            (key("place"), Value::Text(self.place.clone())),
            (key("scrapes"), Value::Number(self.answered)),
        ];
        facts.extend(self.last_ms.map(|at| (key("last_scrape"), Value::TimeMs(at))));
        facts
    }
}

impl Drop for Scrape {
    fn drop(&mut self) {
        self.sights = None;
        let _ = self.waker.wake();
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        if let Door::Unix(listening) = self {
            listening.unlink();
        }
    }
}

impl AsFd for Door {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Door::Tcp(listener) => listener.as_fd(),
            Door::Unix(listening) => listening.as_fd(),
        }
    }
}

/// The thread's side.
struct HttpServer {
    number: usize,
    poll: Poll,
    listener: OwnedFd,
    lines: BTreeMap<usize, Line>,
    next: usize,
    /// Connections that can go on at once.
    ready: Vec<usize>,
    inbox: Receiver<Sight>,
    /// A sight was asked for and is not there yet.
    asked: bool,
    views: Vec<Weak<View>>,
    accept_after_ns: Option<u64>,
    mailbox: Mailbox,
    shown: Shown,
    created: bool,
}

impl HttpServer {
    fn run(mut self) {
        let mut events = Events::with_capacity(LINES_MAX);
        loop {
            match self.poll.poll(&mut events, self.timeout()) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                // Nothing can be waited for any more; counting goes on without.
                Err(_) => return,
            }
            let now_ns = clock::boot_ns();
            let mut knocks = self.accept_after_ns.is_some_and(|after| now_ns >= after);
            let mut ready = std::mem::take(&mut self.ready);
            for event in &events {
                match event.token() {
                    DOOR => knocks = true,
                    WAKER => {}
                    Token(number) if ready.contains(&number) => {}
                    Token(number) => ready.push(number),
                }
            }
            if knocks {
                self.accept(now_ns, &mut ready);
            }
            if !self.look(now_ns, &mut ready) {
                return;
            }
            for number in ready {
                self.step(number, now_ns);
            }
            self.time_out(now_ns);
            self.ask(now_ns);
        }
    }

    fn timeout(&self) -> Option<Duration> {
        if !self.ready.is_empty() {
            return Some(Duration::ZERO);
        }
        let deadlines = self.lines.values().map(Line::deadline_ns);
        let slow = self.wants_sight().then(|| self.slowest()).flatten().map(|(_, at_ns)| at_ns);
        let next = deadlines.chain(self.accept_after_ns).chain(slow).min()?;
        let wait_ns = next.saturating_sub(clock::boot_ns());
        Some(Duration::from_millis(wait_ns.div_ceil(1_000_000)))
    }

    fn accept(&mut self, now_ns: u64, ready: &mut Vec<usize>) {
        self.accept_after_ns = None;
        loop {
            // Who would have to be turned away waits in the backlog until one of the others has its answer.
            if self.lines.len() >= LINES_MAX && self.dispensable(now_ns).is_none() {
                self.accept_after_ns = Some(now_ns.saturating_add(ACCEPT_AGAIN_NS));
                return;
            }
            let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
            let socket = match rustix::net::accept_with(&self.listener, flags) {
                Ok(socket) => socket,
                Err(Errno::AGAIN) => return,
                // Whoever came is gone again.
                Err(Errno::INTR | Errno::CONNABORTED | Errno::PROTO | Errno::PERM) => continue,
                Err(_) => {
                    self.accept_after_ns = Some(now_ns.saturating_add(ACCEPT_AGAIN_NS));
                    return;
                }
            };
            // A Unix socket has no such thing, and needs none.
            let _ = rustix::net::sockopt::set_tcp_nodelay(&socket, true);
            if self.lines.len() >= LINES_MAX
                && let Some(number) = self.dispensable(now_ns)
            {
                self.lines.remove(&number);
            }
            let fd = socket.as_raw_fd();
            let interest = Interest::READABLE | Interest::WRITABLE;
            let token = Token(self.next);
            if self.poll.registry().register(&mut SourceFd(&fd), token, interest).is_err() {
                continue;
            }
            self.lines.insert(self.next, Line::new(socket, now_ns));
            ready.push(self.next);
            self.next = self.next.wrapping_add(1).max(FIRST_LINE);
        }
    }

    /// The connection that makes room: of those that wait for nothing the one that would be ended next, else of those that
    /// are slow.
    fn dispensable(&self, now_ns: u64) -> Option<usize> {
        let some = self.lines.iter().filter_map(|(&number, line)| {
            let at_ns = line.dispensable_at_ns().filter(|&at_ns| at_ns <= now_ns)?;
            Some((at_ns > 0, line.deadline_ns(), number))
        });
        some.min().map(|(.., number)| number)
    }

    /// The connection that holds a sight for longest, and from when on it gives way.
    fn slowest(&self) -> Option<(usize, u64)> {
        let holding = self.lines.iter().filter(|(_, line)| line.has_view());
        let all = holding.filter_map(|(&number, line)| Some((number, line.dispensable_at_ns()?)));
        all.min_by_key(|&(_, at_ns)| at_ns)
    }

    /// Takes a sight that came; `false` if none will come any more.
    fn look(&mut self, now_ns: u64, ready: &mut Vec<usize>) -> bool {
        let sight = match self.inbox.try_recv() {
            Ok(sight) => sight,
            Err(TryRecvError::Empty) => return true,
            Err(TryRecvError::Disconnected) => return false,
        };
        self.asked = false;
        let view = Arc::new(View::of(sight, &self.shown));
        self.views.push(Arc::downgrade(&view));
        for (&number, line) in self.lines.iter_mut().filter(|(_, line)| line.is_waiting()) {
            line.show(&view, now_ns);
            ready.push(number);
        }
        true
    }

    fn step(&mut self, number: usize, now_ns: u64) {
        let Some(line) = self.lines.get_mut(&number) else { return };
        match line.step(now_ns, self.created) {
            Fate::Waits => {}
            Fate::GoesOn => self.ready.push(number),
            Fate::Scraped(collisions) => {
                self.ready.push(number);
                let scraped = Scraped { scrape: self.number, collisions };
                self.mailbox.leave(News::Scraped(scraped));
            }
            Fate::Over => {
                self.lines.remove(&number);
            }
        }
    }

    fn time_out(&mut self, now_ns: u64) {
        let late = self.lines.iter().filter(|(_, line)| now_ns >= line.deadline_ns());
        let late: Vec<usize> = late.map(|(&number, _)| number).collect();
        for number in late {
            let fate = self.lines.get_mut(&number).map(|line| line.time_out(now_ns));
            match fate {
                Some(Fate::GoesOn) => self.ready.push(number),
                Some(_) | None => {
                    self.lines.remove(&number);
                }
            }
        }
    }

    /// Asks for a sight if somebody waits for one, and not too many are held by others who are not slow.
    fn ask(&mut self, now_ns: u64) {
        self.views.retain(|view| view.strong_count() > 0);
        while self.wants_sight() && self.views.len() >= VIEWS_MAX {
            let Some((number, _)) = self.slowest().filter(|&(_, at_ns)| at_ns <= now_ns) else {
                return;
            };
            self.lines.remove(&number);
            self.views.retain(|view| view.strong_count() > 0);
        }
        if self.wants_sight() {
            self.asked = true;
            self.mailbox.leave(News::Look(self.number));
        }
    }

    /// Whether somebody waits for a sight that was not asked for.
    fn wants_sight(&self) -> bool {
        !self.asked && self.lines.values().any(Line::is_waiting)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::net::UnixStream;

    use super::*;

    fn server() -> (HttpServer, Receiver<News>) {
        let (mailbox, news) = Mailbox::new(Arc::new(|| {}));
        let server = HttpServer {
            number: 0,
            poll: Poll::new().unwrap(),
            listener: TcpListener::bind(("127.0.0.1", 0)).unwrap().into(),
            lines: BTreeMap::new(),
            next: FIRST_LINE,
            ready: Vec::new(),
            inbox: channel().1,
            asked: false,
            views: Vec::new(),
            accept_after_ns: None,
            mailbox,
            shown: Shown::default(),
            created: true,
        };
        (server, news)
    }

    /// Somebody who asks for metrics.
    fn asks(server: &mut HttpServer) -> (usize, UnixStream) {
        let (mut client, ours) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        client.write_all(b"GET /metrics HTTP/1.1\r\n\r\n").unwrap();
        let mut line = Line::new(ours.into(), 0);
        while !line.is_waiting() {
            line.step(0, true);
        }
        let number = server.lines.len();
        server.lines.insert(number, line);
        (number, client)
    }

    #[test]
    fn who_is_slow_to_take_an_answer_gives_way_to_who_waits_for_one() {
        let (mut server, news) = server();
        let mut clients = Vec::new();
        for begun_ns in [0, 1_000_000_000] {
            let (number, client) = asks(&mut server);
            let view = Arc::new(View::of(Sight::default(), &Shown::default()));
            server.views.push(Arc::downgrade(&view));
            server.lines.get_mut(&number).unwrap().show(&view, begun_ns);
            clients.push(client);
        }
        let (third, _client) = asks(&mut server);
        server.ask(4_999_999_999);
        assert!(news.try_recv().is_err() && server.lines.len() == 3);
        // The loop comes back for that.
        assert_eq!(server.slowest(), Some((0, 5_000_000_000)));
        server.ask(5_000_000_000);
        assert!(matches!(news.try_recv(), Ok(News::Look(0))));
        assert_eq!(server.lines.keys().copied().collect::<Vec<_>>(), [1, third]);
        // Of those in the way to others who come, too, those that wait for nothing go first.
        assert_eq!(server.dispensable(5_999_999_999), None);
        assert_eq!(server.dispensable(6_000_000_000), Some(1));
        server.lines.insert(9, Line::new(UnixStream::pair().unwrap().0.into(), 0));
        assert_eq!(server.dispensable(6_000_000_000), Some(9));
    }
}
