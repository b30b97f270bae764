//! The little of HTTP/1.1 that a request with a body and a short response needs, to a host and port, without TLS. All
//! waits are bounded together, and so is what is read. A connection is kept for the next request.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

use super::connect::Deadline;
use super::tcp::connect_to_first;

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
    /// What it says of that cannot be understood.
    Unknown,
}

impl HttpClient {
    /// Nothing is connected yet.
    pub fn new(host: &str, port: u16, patience: Duration) -> HttpClient {
        // The zone of an address means something on this machine only.
        let name = match host.split('%').next().unwrap_or_default() {
            address if address.contains(':') => format!("[{address}]:{port}"),
            _ => format!("{host}:{port}"),
        };
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
            None => {
                let addresses = (self.host.as_str(), self.port).to_socket_addrs()?;
                let stream = connect_to_first(&addresses.collect::<Vec<_>>(), deadline)?;
                stream.set_nodelay(true)?;
                stream
            }
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
            _ if matches!(response.status, 204 | 304) => Ok(bytes.is_empty()),
            Length::Known(length) => body(stream, &mut bytes, Some(length), deadline),
            Length::UntilTheEnd => body(stream, &mut bytes, None, deadline),
            Length::Chunks => chunks(stream, &mut bytes, deadline),
            Length::Unknown => Ok(false),
        };
        // What becomes of the request is told by the status, however the body ends.
        let whole = whole.unwrap_or(false);
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
        Some(text) => text.parse().map_or(Length::Unknown, Length::Known),
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
mod tests;
