//! Responses in pieces, cut off, too long and none at all, and servers that hang.

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
    for text in ["", "HTTP/1.1 200", "SSH-2.0-OpenSSH_9.2\r\n"] {
        assert!(read_in(text.as_bytes(), 5).is_err(), "{text}");
    }
}

#[test]
fn a_status_is_heard_though_the_body_breaks_off_or_is_none() {
    for text in [
        "Content-Length: 5\r\n\r\nhell",
        "Content-Length: x\r\n\r\n",
        "Content-Length: 0, 0\r\n\r\n",
        "Transfer-Encoding: chunked\r\n\r\nxyz\r\n",
        "Transfer-Encoding: chunked\r\n\r\n5\r\nhe",
    ] {
        let (response, kept) = read_in(format!("HTTP/1.1 200 OK\r\n{text}").as_bytes(), 5).unwrap();
        assert_eq!((response.status, kept), (200, false), "{text}");
    }
}

#[test]
fn a_server_is_called_what_it_is_called_everywhere() {
    for (host, name) in [("a.b", "a.b:80"), ("::1", "[::1]:80"), ("fe80::1%eth0", "[fe80::1]:80")] {
        assert_eq!(HttpClient::new(host, 80, PATIENCE).name, name);
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
