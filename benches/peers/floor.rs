//! What the machine allows: the barest programs that do a part of what countd does, and no more. Each is a process
//! of its own, the benchmark started again with `--role`, so that its time is told from everything else's.

use std::collections::HashMap;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::ValueEnum;
use rustix::buffer::spare_capacity;
use rustix::event::epoll;

use crate::Result;

/// Bytes read at once, from a socket or a file.
const READ_BYTES: usize = 256 << 10;
/// The listener's key among the connections'.
const LISTENER: u64 = u64::MAX;

/// Which program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Role {
    /// Sends back what it reads.
    Echo,
    /// Counts records `[u16 length][name]`, whose names are text, after it has appended them to a log.
    Prototype,
    /// Counts the lines of standard input.
    Lines,
}

/// Runs it; a server runs until it is killed.
pub(crate) fn play(role: Role, paths: &[PathBuf]) -> Result<()> {
    match (role, paths) {
        (Role::Echo, [socket]) => echo(socket),
        (Role::Prototype, [socket, log]) => prototype(socket, log),
        (Role::Lines, []) => count_lines(),
        (Role::Echo | Role::Prototype | Role::Lines, _) => Err("wrong number of paths".into()),
    }
}

/// Sockets that are ready, one after the other: a listener's new connections are accepted here.
struct Sockets<T> {
    epoll: OwnedFd,
    listener: UnixListener,
    open: HashMap<u64, (UnixStream, T)>,
    next: u64,
}

impl<T: Default> Sockets<T> {
    fn listen(socket: &Path) -> Result<Self> {
        let listener = UnixListener::bind(socket)?;
        // A backlog as long as the kernel allows, as servers have.
        rustix::net::listen(&listener, 4096)?;
        listener.set_nonblocking(true)?;
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        epoll::add(&epoll, &listener, epoll::EventData::new_u64(LISTENER), epoll::EventFlags::IN)?;
        Ok(Sockets { epoll, listener, open: HashMap::new(), next: 0 })
    }

    fn accept_all(&mut self) -> Result<()> {
        while let Ok((stream, _)) = self.listener.accept() {
            stream.set_nonblocking(true)?;
            let key = epoll::EventData::new_u64(self.next);
            epoll::add(&self.epoll, &stream, key, epoll::EventFlags::IN)?;
            self.open.insert(self.next, (stream, T::default()));
            self.next += 1;
        }
        Ok(())
    }

    /// Hands each connection that is ready to `each`, and closes it when that returns false.
    fn serve(
        mut self,
        mut each: impl FnMut(&mut UnixStream, &mut T) -> Result<bool>,
    ) -> Result<()> {
        let mut ready = Vec::with_capacity(256);
        loop {
            epoll::wait(&self.epoll, spare_capacity(&mut ready), None)?;
            for event in ready.drain(..) {
                let key = event.data.u64();
                if key == LISTENER {
                    self.accept_all()?;
                } else if let Some((stream, state)) = self.open.get_mut(&key)
                    && !each(stream, state)?
                {
                    self.open.remove(&key);
                }
            }
        }
    }
}

fn echo(socket: &Path) -> Result<()> {
    let mut bytes = [0; 4096];
    Sockets::<()>::listen(socket)?.serve(|stream, ()| {
        Ok(match stream.read(&mut bytes) {
            Ok(length) if length > 0 => stream.write(&bytes[..length]).is_ok(),
            Ok(_) | Err(_) => false,
        })
    })
}

/// Counts by name. A name is checked once, when it is new.
#[derive(Default)]
struct Counts(HashMap<Box<[u8]>, u64, foldhash::fast::RandomState>);

impl Counts {
    fn add(&mut self, name: &[u8]) -> Result<()> {
        if let Some(count) = self.0.get_mut(name) {
            *count += 1;
        } else {
            std::str::from_utf8(name)?;
            self.0.insert(name.into(), 1);
        }
        Ok(())
    }
}

fn prototype(socket: &Path, log: &Path) -> Result<()> {
    let mut log = File::create(log)?;
    let synced = log.try_clone()?;
    std::thread::spawn(move || {
        while synced.sync_data().is_ok() {
            std::thread::sleep(Duration::from_secs(1));
        }
    });
    let mut counts = Counts::default();
    let mut block = vec![0; READ_BYTES];
    Sockets::<Vec<u8>>::listen(socket)?.serve(|stream, rest| {
        // What was left of the last block stands before what is read now.
        let kept = rest.len();
        block[..kept].copy_from_slice(rest);
        let length = match stream.read(&mut block[kept..]) {
            Ok(length) if length > 0 => kept + length,
            Ok(_) | Err(_) => return Ok(false),
        };
        log.write_all(&block[kept..length])?;
        let (mut at, mut records) = (0, 0_u64);
        while let Some(&[low, high]) = block[at..length].first_chunk() {
            let end = at + 2 + usize::from(u16::from_le_bytes([low, high]));
            if end > length {
                break;
            }
            // What is sent is text, or is refused.
            counts.add(std::str::from_utf8(&block[at + 2..end])?.as_bytes())?;
            (at, records) = (end, records + 1);
        }
        rest.clear();
        rest.extend_from_slice(&block[at..length]);
        Ok(stream.write(&records.to_le_bytes()).is_ok())
    })
}

fn count_lines() -> Result<()> {
    let mut input = std::io::stdin().lock();
    let mut counts = Counts::default();
    let mut block = vec![0; READ_BYTES];
    let mut kept = 0;
    loop {
        let length = kept + input.read(&mut block[kept..])?;
        if length == kept {
            break;
        }
        let mut at = 0;
        for end in memchr::memchr_iter(b'\n', &block[..length]) {
            counts.add(&block[at..end])?;
            at = end + 1;
        }
        block.copy_within(at..length, 0);
        kept = length - at;
    }
    let mut out = Vec::new();
    for (name, count) in &counts.0 {
        writeln!(out, "{} {count}", std::str::from_utf8(name)?)?;
    }
    Ok(std::io::stdout().write_all(&out)?)
}
