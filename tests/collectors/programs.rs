//! Collectors as processes of a test.

use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::harness::{PATIENCE, until};

/// A program that has one of these names, if it is installed.
pub(crate) fn program(names: &[&str]) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    let mut paths = names.iter().flat_map(|name| folders.iter().map(move |at| at.join(name)));
    found(names[0], paths.find(|path| path.is_file()))
}

/// What was looked for, or a word that it is missing.
pub(crate) fn found(name: &str, path: Option<PathBuf>) -> Option<PathBuf> {
    if path.is_none() {
        assert!(std::env::var_os("CI").is_none(), "{name} is not installed, and CI has to have it");
        eprintln!("skipped: {name} is not installed");
    }
    path
}

/// Ports that nobody has.
pub(crate) fn free_ports<const N: usize>() -> [u16; N] {
    let taken = [(); N].map(|()| TcpListener::bind(("127.0.0.1", 0)).unwrap());
    taken.map(|listener| listener.local_addr().unwrap().port())
}

/// A running collector. Dropped, it is killed.
pub(crate) struct Process {
    child: Child,
}

impl Process {
    /// Starts it, and waits until it listens at this port. What it says goes to the end of a file.
    #[track_caller]
    pub(crate) fn start(mut command: Command, port: u16, says: &Path) -> Process {
        let said = std::fs::File::options().append(true).create(true).open(says).unwrap();
        command.stdin(Stdio::null()).stdout(said.try_clone().unwrap()).stderr(said);
        let mut process = Process { child: command.spawn().unwrap() };
        until("it listens", || {
            let ended = process.child.try_wait().unwrap();
            assert!(ended.is_none(), "{command:?}: {}", std::fs::read_to_string(says).unwrap());
            TcpStream::connect(("127.0.0.1", port)).is_ok()
        });
        process
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Ends it with this signal.
    pub(crate) fn end(mut self, signal: Signal) {
        self.signal(signal);
        self.child.wait().unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A connection that is given up like a test.
pub(crate) fn connect(port: u16) -> TcpStream {
    let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}
