//! The little of HTTP/1.1 that a request with a body and a short response needs, to a host and port, without TLS. All
//! waits are bounded together, and so is what is read. A connection is kept for the next request.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::time::Duration;

use super::connect::Deadline;

/// Bytes of a response's head.
const HEAD_BYTES_MAX: usize = 16 << 10;
/// Header lines of a response.
const HEADERS_MAX: usize = 64;
/// Bytes of a response's body that are read; with more the connection is not kept.
const BODY_BYTES_MAX: usize = 64 << 10;
const READ_BYTES: usize = 4 << 10;

/// What a server says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// The status.
    pub status: u16,
    /// What the body is, as it says.
    pub kind: String,
    /// When to ask again, as it says.
    pub retry_after: Option<String>,
    /// The body, or its beginning.
    pub body: Vec<u8>,
}

/// A server at a port of a host.
#[derive(Debug)]
pub struct HttpClient {
    host: String,
    port: u16,
    /// How it is called in a request.
    name: String,
    /// For one request and its response.
    patience: Duration,
    kept: Option<TcpStream>,
}

/// How long a body is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Length {
    Known(usize),
    Chunks,
    UntilTheEnd,
}

impl HttpClient {
    /// Nothing is connected yet.
    pub fn new(host: &str, port: u16, patience: Duration) -> HttpClient {
        let name =
            if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
        HttpClient { host: host.to_owned(), port, name, patience, kept: None }
    }

    /// Sends a body to a path. It is never sent twice: whether it was taken is not known when that fails.
    ///
    /// # Errors
    /// What the system says, and what is no response.
    pub fn post(&mut self, path: &str, kind: &str, body: &[u8]) -> io::Result<Response> {
        let deadline = Deadline::after(self.patience);
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: {}\r\nUser-Agent: countd/{}\r\nContent-Type: {kind}\r\n\
             Content-Length: {}\r\n\r\n",
            self.name,
            env!("CARGO_PKG_VERSION"),
            body.len()
        );
        let mut stream = match self.kept.take().filter(is_idle) {
            Some(kept) => kept,
            None => self.connect(deadline)?,
        };
        let mut request = head.into_bytes();
        request.extend_from_slice(body);
        let sent = send(&mut stream, &request, deadline);
        // Who refuses it by its head may have said so, and hung up.
        let (response, goes_on) = match read(&mut stream, deadline) {
            Ok(read) => read,
            Err(error) => return Err(sent.err().unwrap_or(error)),
        };
        if goes_on && sent.is_ok() {
            self.kept = Some(stream);
        }
        Ok(response)
    }

    fn connect(&self, deadline: Deadline) -> io::Result<TcpStream> {
        let addresses: Vec<SocketAddr> =
            (self.host.as_str(), self.port).to_socket_addrs()?.collect();
        let mut failed = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
        for (number, address) in addresses.iter().enumerate() {
            let others = u32::try_from(addresses.len().saturating_sub(number)).unwrap_or(1);
            match TcpStream::connect_timeout(address, left(deadline)? / others.max(1)) {
                Ok(stream) => {
                    stream.set_nodelay(true)?;
                    return Ok(stream);
                }
                Err(error) => failed = error,
            }
        }
        Err(failed)
    }
}

fn left(deadline: Deadline) -> io::Result<Duration> {
    deadline.left().ok_or_else(late)
}

fn late() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "it does not answer in time")
}

/// Whether the other end has said nothing since the last response: it has not hung up.
fn is_idle(stream: &TcpStream) -> bool {
    let peeked = stream.set_nonblocking(true).and_then(|()| stream.peek(&mut [0]));
    let is_idle = peeked.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock);
    is_idle && stream.set_nonblocking(false).is_ok()
}

fn send(stream: &mut TcpStream, mut bytes: &[u8], deadline: Deadline) -> io::Result<()> {
    while !bytes.is_empty() {
        stream.set_write_timeout(Some(left(deadline)?))?;
        match stream.write(bytes) {
            Ok(written) => bytes = bytes.get(written..).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Err(late()),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Appends what comes next; nothing at the end.
fn receive(
    stream: &mut impl ReadInTime,
    into: &mut Vec<u8>,
    deadline: Deadline,
) -> io::Result<usize> {
    let mut buffer = [0; READ_BYTES];
    loop {
        match stream.read_in_time(&mut buffer, left(deadline)?) {
            Ok(read) => {
                into.extend_from_slice(buffer.get(..read).unwrap_or_default());
                return Ok(read);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Err(late()),
            Err(error) => return Err(error),
        }
    }
}

/// What can be read from for a while.
trait ReadInTime {
    fn read_in_time(&mut self, buffer: &mut [u8], left: Duration) -> io::Result<usize>;
}

impl ReadInTime for TcpStream {
    fn read_in_time(&mut self, buffer: &mut [u8], left: Duration) -> io::Result<usize> {
        self.set_read_timeout(Some(left))?;
        self.read(buffer)
    }
}

/// Reads a response, and whether another request may follow on the connection.
fn read(stream: &mut impl ReadInTime, deadline: Deadline) -> io::Result<(Response, bool)> {
    let mut bytes = Vec::new();
    loop {
        let (mut response, length, keeps, at) = match head(&bytes)? {
            Some(head) => head,
            None if bytes.len() > HEAD_BYTES_MAX => return Err(bad("its head is too long")),
            None => {
                if receive(stream, &mut bytes, deadline)? == 0 {
                    let what = "it hung up without a response";
                    return Err(io::Error::new(io::ErrorKind::UnexpectedEof, what));
                }
                continue;
            }
        };
        bytes.drain(..at);
        // Only a hint, as in 100, and the response comes after it.
        if (100..200).contains(&response.status) {
            continue;
        }
        let whole = match length {
            _ if matches!(response.status, 204 | 304) => bytes.is_empty(),
            Length::Known(length) => body(stream, &mut bytes, Some(length), deadline)?,
            Length::UntilTheEnd => body(stream, &mut bytes, None, deadline)?,
            Length::Chunks => chunks(stream, &mut bytes, deadline)?,
        };
        response.body = bytes;
        return Ok((response, keeps && whole && length != Length::UntilTheEnd));
    }
}

type Head = (Response, Length, bool, usize);

/// Reads the head of a response, as far as it is there whole.
fn head(bytes: &[u8]) -> io::Result<Option<Head>> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut parsed = httparse::Response::new(&mut headers);
    let at = match parsed.parse(bytes) {
        Ok(httparse::Status::Complete(at)) => at,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(error) => return Err(bad(&format!("it is no HTTP: {error}"))),
    };
    let value = |name: &str| {
        let found = parsed.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name));
        found.map(|header| String::from_utf8_lossy(header.value).trim().to_owned())
    };
    let is = |name: &str, wanted: &str| {
        value(name).is_some_and(|value| value.to_ascii_lowercase().contains(wanted))
    };
    let length = match value("content-length") {
        _ if is("transfer-encoding", "chunked") => Length::Chunks,
        Some(text) => Length::Known(text.parse().map_err(|_| bad("its length is no number"))?),
        None => Length::UntilTheEnd,
    };
    let response = Response {
        status: parsed.code.unwrap_or(0),
        kind: value("content-type").unwrap_or_default(),
        retry_after: value("retry-after"),
        body: Vec::new(),
    };
    let keeps = parsed.version == Some(1) && !is("connection", "close");
    Ok(Some((response, length, keeps, at)))
}

/// Reads on until the body is so long, or to its end; whether it is whole. Of one too long there is the beginning.
fn body(
    stream: &mut impl ReadInTime,
    bytes: &mut Vec<u8>,
    length: Option<usize>,
    deadline: Deadline,
) -> io::Result<bool> {
    let most = length.unwrap_or(usize::MAX).min(BODY_BYTES_MAX);
    while bytes.len() < most {
        if receive(stream, bytes, deadline)? == 0 {
            return match length {
                Some(_) => Err(io::ErrorKind::UnexpectedEof.into()),
                None => Ok(true),
            };
        }
    }
    // More than was announced would be taken for the next response.
    let whole = length == Some(bytes.len());
    bytes.truncate(most);
    Ok(whole)
}

/// Reads a body in chunks; whether it is whole.
fn chunks(
    stream: &mut impl ReadInTime,
    bytes: &mut Vec<u8>,
    deadline: Deadline,
) -> io::Result<bool> {
    let mut coded = std::mem::take(bytes);
    loop {
        let parsed = httparse::parse_chunk_size(&coded);
        let (at, size) = match parsed.map_err(|_| bad("a chunk has no size"))? {
            httparse::Status::Complete((at, size)) => {
                (at, usize::try_from(size).unwrap_or(usize::MAX))
            }
            httparse::Status::Partial => {
                if coded.len() > READ_BYTES || receive(stream, &mut coded, deadline)? == 0 {
                    return Err(bad("a chunk has no size"));
                }
                continue;
            }
        };
        coded.drain(..at);
        if size == 0 {
            // What may follow is not of interest; anything but the usual empty line ends the connection.
            while coded.len() < 2 {
                if receive(stream, &mut coded, deadline)? == 0 {
                    return Ok(false);
                }
            }
            return Ok(coded == b"\r\n");
        }
        if size > BODY_BYTES_MAX.saturating_sub(bytes.len()) {
            return Ok(false);
        }
        while coded.len() < size.saturating_add(2) {
            if receive(stream, &mut coded, deadline)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        bytes.extend(coded.drain(..size));
        coded.drain(..2);
    }
}

fn bad(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.to_owned())
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use proptest::prelude::*;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(20);

    /// Bytes that come in pieces.
    struct Pieces<'a>(std::slice::Chunks<'a, u8>);

    impl ReadInTime for Pieces<'_> {
        fn read_in_time(&mut self, buffer: &mut [u8], _left: Duration) -> io::Result<usize> {
            let piece = self.0.next().unwrap_or_default();
            buffer[..piece.len()].copy_from_slice(piece);
            Ok(piece.len())
        }
    }

    fn read_in(text: &[u8], piece: usize) -> io::Result<(Response, bool)> {
        read(&mut Pieces(text.chunks(piece)), Deadline::after(PATIENCE))
    }

    #[test]
    fn bodies_end_by_their_length_by_a_last_chunk_or_with_the_connection() {
        for (head, body, goes_on) in [
            ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", "hello", true),
            ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: Close\r\n\r\n", "hello", false),
            ("HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\n", "hello", false),
            ("HTTP/1.1 200 OK\r\n\r\n", "hello", false),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
                "2\r\nhe\r\n3;x=y\r\nllo\r\n0\r\n\r\n",
                true,
            ),
            (
                "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",
                "hello",
                true,
            ),
        ] {
            for piece in [1, 7, 4096] {
                let text = format!("{head}{body}");
                let (response, kept) = read_in(text.as_bytes(), piece).unwrap();
                assert_eq!((&*response.body, kept), (&b"hello"[..], goes_on), "{text}");
                assert_eq!(response.status, 200);
            }
        }
    }

    #[test]
    fn what_is_too_long_is_not_read_to_its_end() {
        for head in ["Content-Length: 99999999\r\n", "", "Transfer-Encoding: chunked\r\n"] {
            let chunk = if head.starts_with('T') { "8000\r\n" } else { "" };
            let body = format!("{chunk}{}\r\n", "x".repeat(0x8000)).repeat(100);
            let text = format!("HTTP/1.1 500 no\r\n{head}\r\n{body}");
            let (response, kept) = read_in(text.as_bytes(), 4096).unwrap();
            assert!(response.body.len() <= BODY_BYTES_MAX && !kept, "{head}");
        }
        let text = format!("HTTP/1.1 200 OK\r\nX: {}", "x".repeat(1 << 20));
        assert!(read_in(text.as_bytes(), 4096).unwrap_err().to_string().contains("too long"));
    }

    #[test]
    fn what_ends_early_or_is_no_response_is_an_error() {
        for text in [
            "",
            "HTTP/1.1 200",
            "SSH-2.0-OpenSSH_9.2\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell",
            "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhe",
        ] {
            assert!(read_in(text.as_bytes(), 5).is_err(), "{text}");
        }
    }

    #[test]
    fn a_connection_is_kept_and_one_that_was_closed_is_not_used() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let serving = std::thread::spawn(move || {
            for requests in [2, 1] {
                let (mut stream, _) = listener.accept().unwrap();
                for _ in 0..requests {
                    let mut request = Vec::new();
                    while !request.ends_with(b"\r\n\r\nbody") {
                        let mut byte = [0];
                        stream.read_exact(&mut byte).unwrap();
                        request.push(byte[0]);
                    }
                    let answer = b"HTTP/1.1 503 no\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n";
                    stream.write_all(answer).unwrap();
                }
            }
        });
        let mut client = HttpClient::new("127.0.0.1", port, PATIENCE);
        for _ in 0..2 {
            let response = client.post("/v1/metrics", "text/plain", b"body").unwrap();
            assert_eq!((response.status, response.retry_after.as_deref()), (503, Some("7")));
        }
        // The end of the connection may still be on its way.
        while client.kept.as_ref().is_some_and(is_idle) {}
        assert_eq!(client.post("/v1/metrics", "text/plain", b"body").unwrap().status, 503);
        serving.join().unwrap();
        assert!(client.post("/v1/metrics", "text/plain", b"body").is_err());
    }

    #[test]
    fn a_server_that_says_nothing_is_given_up() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let mut client = HttpClient::new("127.0.0.1", port, Duration::from_millis(30));
        let error = client.post("/", "text/plain", &vec![b'x'; 32 << 20]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut, "{error}");
        let error = client.post("/", "text/plain", b"x").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut, "{error}");
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(
            bytes in prop::collection::vec(any::<u8>(), 0..200),
            piece in 1_usize..9,
        ) {
            let _ = read_in(&bytes, piece);
            for head in ["Content-Length: 9", "Transfer-Encoding: chunked", "X: y"] {
                let head = format!("HTTP/1.1 200 OK\r\n{head}\r\n\r\n");
                let _ = read_in(&[head.as_bytes(), &bytes].concat(), piece);
            }
        }
    }
}
