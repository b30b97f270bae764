//! For tests: a daemon that does as a test says, a connection at a time, over a real socket.

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;

use tempfile::TempDir;

use crate::frame;
use crate::ids::{Answer, RequestId};
use crate::protocol::{HELLO_BYTES, Hello, Request, Response};

/// What it does with a connection.
pub(crate) type Script = Box<dyn FnOnce(&mut Peer) + Send>;

pub(crate) struct Fake {
    pub(crate) folder: TempDir,
    serving: Option<JoinHandle<()>>,
}

impl Fake {
    /// Serves as many connections as there are scripts.
    pub(crate) fn serve(scripts: Vec<Script>) -> Fake {
        Fake::serve_in(tempfile::tempdir().unwrap(), scripts)
    }

    pub(crate) fn serve_in(folder: TempDir, scripts: Vec<Script>) -> Fake {
        let listener = UnixListener::bind(folder.path().join("s")).unwrap();
        let serving = std::thread::spawn(move || {
            for script in scripts {
                let (stream, _) = listener.accept().unwrap();
                script(&mut Peer { stream, hello: None });
            }
        });
        Fake { folder, serving: Some(serving) }
    }

    pub(crate) fn path(&self) -> PathBuf {
        socket_in(self.folder.path())
    }

    /// Waits for the last script, and passes its panic on.
    pub(crate) fn done(mut self) {
        self.serving.take().unwrap().join().unwrap();
    }
}

pub(crate) fn socket_in(folder: &Path) -> PathBuf {
    folder.join("s")
}

/// The other end of a connection.
pub(crate) struct Peer {
    pub(crate) stream: UnixStream,
    pub(crate) hello: Option<Hello>,
}

/// An increment request as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Incr {
    pub(crate) id: RequestId,
    pub(crate) totals: bool,
    pub(crate) atomic: bool,
    pub(crate) entries: Vec<(String, u64)>,
}

impl Peer {
    /// The payload of the next request; empty when the client hung up.
    pub(crate) fn payload(&mut self) -> Vec<u8> {
        if self.hello.is_none() {
            let mut hello = [0; HELLO_BYTES];
            if self.stream.read_exact(&mut hello).is_err() {
                return Vec::new();
            }
            self.hello = Some(Hello::from_bytes(&hello).unwrap());
        }
        let mut header = [0; frame::HEADER_BYTES];
        if self.stream.read_exact(&mut header).is_err() {
            return Vec::new();
        }
        let mut payload = vec![0; u32::from_le_bytes(header) as usize];
        self.stream.read_exact(&mut payload).unwrap();
        payload
    }

    pub(crate) fn incr(&mut self) -> Incr {
        let payload = self.payload();
        let Request::Incr { id, atomic, totals, entries } =
            Request::from_payload(&payload).unwrap()
        else {
            panic!("no increment");
        };
        let entries = entries.iter().map(|e| (e.name.to_owned(), e.amount)).collect();
        Incr { id, totals, atomic, entries }
    }

    pub(crate) fn answer(&mut self, response: &Response<'_>) {
        let mut bytes = Vec::new();
        response.write(&mut bytes).unwrap();
        self.stream.write_all(&bytes).unwrap();
    }

    pub(crate) fn counted(&mut self, totals: &[u64]) {
        let answer = Answer { totals: totals.to_vec(), refused: Vec::new() };
        self.answer(&Response::Counted(std::borrow::Cow::Owned(answer)));
    }
}
