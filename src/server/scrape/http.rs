//! The little of HTTP/1 that a scrape needs, as functions of bytes: the head of a request, what it accepts, and
//! the head of a response. No bodies of requests are read.

use super::body::Coding;
use crate::format::prometheus::Dialect;

/// Bytes of a request's head.
pub(super) const HEAD_BYTES_MAX: usize = 8 << 10;
/// Header lines of a request.
const HEADERS_MAX: usize = 64;

/// What has come in so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Head {
    /// A beginning.
    Partial,
    /// No request, or none that is answered with more than this.
    Bad(Status),
    /// A request, and how many bytes it took.
    Whole(Request, usize),
}

/// A request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Request {
    pub(super) wants: Wants,
    /// Only the head of the response is wanted.
    pub(super) head_only: bool,
    pub(super) dialect: Dialect,
    pub(super) gzip: bool,
    /// Whether another request may follow on this connection.
    pub(super) goes_on: bool,
    /// Whether the client knows responses whose length is not told before.
    pub(super) knows_chunks: bool,
}

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wants {
    Metrics,
    /// Nothing that is here.
    Answer(Status),
}

/// Responses that have no metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Status {
    BadRequest,
    NotFound,
    MethodNotAllowed,
    TimedOut,
    HeadTooLarge,
    Busy,
}

impl Status {
    fn line(self) -> &'static str {
        match self {
            Status::BadRequest => "400 Bad Request",
            Status::NotFound => "404 Not Found",
            Status::MethodNotAllowed => "405 Method Not Allowed",
            Status::TimedOut => "408 Request Timeout",
            Status::HeadTooLarge => "431 Request Header Fields Too Large",
            Status::Busy => "503 Service Unavailable",
        }
    }

    fn text(self) -> &'static str {
        match self {
            Status::BadRequest => "this is no HTTP request\n",
            Status::NotFound => "metrics are at /metrics\n",
            Status::MethodNotAllowed => "metrics can only be had with GET\n",
            Status::TimedOut => "the request did not come whole in time\n",
            Status::HeadTooLarge => "the head of the request is too long\n",
            Status::Busy => "other scrapes are being answered; try again\n",
        }
    }

    /// The whole response.
    pub(super) fn response(self, head_only: bool, goes_on: bool) -> Vec<u8> {
        let (line, text) = (self.line(), self.text());
        let allow = match self {
            Status::MethodNotAllowed => "Allow: GET, HEAD\r\n",
            Status::Busy => "Retry-After: 5\r\n",
            Status::BadRequest | Status::NotFound | Status::TimedOut | Status::HeadTooLarge => "",
        };
        let connection = connection(goes_on);
        let length = text.len();
        let body = if head_only { "" } else { text };
        format!(
            "HTTP/1.1 {line}\r\n{allow}Content-Type: text/plain; charset=utf-8\r\n\
             Content-Length: {length}\r\n{connection}\r\n{body}"
        )
        .into_bytes()
    }
}

/// The head of the response that has the metrics.
pub(super) fn metrics_head(request: &Request) -> Vec<u8> {
    let kind = match request.dialect {
        Dialect::Text => "text/plain; version=0.0.4; charset=utf-8",
        Dialect::OpenMetrics { .. } => "application/openmetrics-text; version=1.0.0; charset=utf-8",
    };
    let gzip = if request.gzip { "Content-Encoding: gzip\r\n" } else { "" };
    let coding = match request.coding() {
        Coding::Chunks => "Transfer-Encoding: chunked\r\n",
        Coding::UntilTheEnd => "",
    };
    let connection = connection(request.goes_on);
    format!(
        "HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\n{gzip}{coding}Vary: Accept, Accept-Encoding\r\n\
         {connection}\r\n"
    )
    .into_bytes()
}

fn connection(goes_on: bool) -> &'static str {
    if goes_on { "" } else { "Connection: close\r\n" }
}

impl Request {
    pub(super) fn coding(&self) -> Coding {
        if self.knows_chunks { Coding::Chunks } else { Coding::UntilTheEnd }
    }
}

/// Reads what has come in. `created` is whether OpenMetrics is to have times of creation.
pub(super) fn read(bytes: &[u8], created: bool) -> Head {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut parsed = httparse::Request::new(&mut headers);
    let length = match parsed.parse(bytes) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) if bytes.len() < HEAD_BYTES_MAX => return Head::Partial,
        Ok(httparse::Status::Partial) | Err(httparse::Error::TooManyHeaders) => {
            return Head::Bad(Status::HeadTooLarge);
        }
        Err(_) => return Head::Bad(Status::BadRequest),
    };
    let (Some(method), Some(target)) = (parsed.method, parsed.path) else {
        return Head::Bad(Status::BadRequest);
    };
    let values = |name: &str| {
        let named = parsed.headers.iter().filter(|header| header.name.eq_ignore_ascii_case(name));
        let text = named.map(|header| String::from_utf8_lossy(header.value));
        text.collect::<Vec<_>>().join(",")
    };
    let is_new = parsed.version == Some(1);
    let connection = values("connection").to_ascii_lowercase();
    let asks = |word: &str| connection.split(',').any(|token| token.trim() == word);
    // A body would be taken for the next request.
    let has_body = !matches!(values("content-length").trim(), "" | "0")
        || !values("transfer-encoding").is_empty();
    let path = target.split(['?', '#']).next().unwrap_or(target);
    let head_only = method == "HEAD";
    let wants = match (method, path) {
        ("GET" | "HEAD", "/metrics") => Wants::Metrics,
        ("GET" | "HEAD", _) => Wants::Answer(Status::NotFound),
        _ => Wants::Answer(Status::MethodNotAllowed),
    };
    let request = Request {
        wants,
        head_only,
        dialect: dialect(&values("accept"), created),
        gzip: takes_gzip(&values("accept-encoding")),
        goes_on: is_new && !asks("close") && !has_body,
        knows_chunks: is_new,
    };
    Head::Whole(request, length)
}

/// Which format a client likes best. OpenMetrics has to be named; a client that takes anything gets text.
fn dialect(accept: &str, created: bool) -> Dialect {
    let (mut open, mut text) = (0_u32, 0_u32);
    for range in accept.split(',') {
        let mut parts = range.split(';').map(str::trim);
        let kind = parts.next().unwrap_or_default().to_ascii_lowercase();
        let (mut weight, mut version) = (1_000, None);
        for parameter in parts {
            match parameter.split_once('=') {
                Some(("q" | "Q", value)) => weight = thousandths(value),
                Some((key, value)) if key.trim().eq_ignore_ascii_case("version") => {
                    version = Some(value.trim_matches('"'));
                }
                Some(_) | None => {}
            }
        }
        match (kind.as_str(), version) {
            ("application/openmetrics-text", None | Some("1.0.0" | "0.0.1")) => {
                open = open.max(weight);
            }
            ("text/plain", None | Some("0.0.4")) | ("text/*" | "*/*", None) => {
                text = text.max(weight);
            }
            _ => {}
        }
    }
    if open > 0 && open >= text { Dialect::OpenMetrics { created } } else { Dialect::Text }
}

/// Whether `gzip` is accepted, or everything is and it is not excluded.
fn takes_gzip(accept_encoding: &str) -> bool {
    let mut any = false;
    for coding in accept_encoding.split(',') {
        let (name, rest) = coding.split_once(';').unwrap_or((coding, ""));
        let weight = match rest.trim().split_once('=') {
            Some(("q" | "Q", value)) => thousandths(value),
            Some(_) | None => 1_000,
        };
        match name.trim().to_ascii_lowercase().as_str() {
            "gzip" | "x-gzip" => return weight > 0,
            "*" => any = weight > 0,
            _ => {}
        }
    }
    any
}

/// A weight of 0 to 1 with three decimals, in thousandths; 0 if it is none.
fn thousandths(text: &str) -> u32 {
    let text = text.trim();
    let (whole, decimals) = text.split_once('.').unwrap_or((text, ""));
    let digits = format!("{decimals:0<3}");
    match (whole, digits.parse::<u32>()) {
        ("1", Ok(0)) => 1_000,
        ("0", Ok(thousandths)) if digits.len() == 3 => thousandths,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const OPEN: Dialect = Dialect::OpenMetrics { created: true };

    fn whole(text: &str) -> Request {
        match read(text.as_bytes(), true) {
            Head::Whole(request, length) => {
                assert_eq!(length, text.len());
                request
            }
            other @ (Head::Partial | Head::Bad(_)) => panic!("{text:?}: {other:?}"),
        }
    }

    #[test]
    fn a_scrape_of_prometheus_is_open_metrics_in_gzip() {
        let request = whole(
            "GET /metrics HTTP/1.1\r\nHost: a\r\nUser-Agent: Prometheus/2.42.0\r\n\
             Accept: application/openmetrics-text;version=1.0.0,application/openmetrics-text;\
             version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1\r\n\
             Accept-Encoding: gzip\r\nX-Prometheus-Scrape-Timeout-Seconds: 10\r\n\r\n",
        );
        let expected = Request {
            wants: Wants::Metrics,
            head_only: false,
            dialect: OPEN,
            gzip: true,
            goes_on: true,
            knows_chunks: true,
        };
        assert_eq!(request, expected);
    }

    #[test]
    fn the_format_is_the_one_that_is_liked_best() {
        for (accept, expected) in [
            ("", Dialect::Text),
            ("*/*", Dialect::Text),
            ("text/html, */*;q=0.1", Dialect::Text),
            ("application/openmetrics-text", OPEN),
            ("application/openmetrics-text; version=\"1.0.0\"; charset=utf-8", OPEN),
            ("application/openmetrics-text;version=2.0.0, text/plain", Dialect::Text),
            ("application/openmetrics-text;q=0.4,text/plain;q=0.5", Dialect::Text),
            ("application/openmetrics-text;q=0.5,text/plain;q=0.5", OPEN),
            ("text/plain;version=1.0.0;q=0.9,application/openmetrics-text;q=0.1", OPEN),
            ("application/openmetrics-text;q=0", Dialect::Text),
            ("application/openmetrics-text;q=x", Dialect::Text),
            ("APPLICATION/OpenMetrics-Text;Q=0.001", OPEN),
        ] {
            assert_eq!(dialect(accept, true), expected, "{accept}");
        }
    }

    #[test]
    fn gzip_is_used_where_it_is_accepted() {
        for (accept, expected) in [
            ("", false),
            ("gzip", true),
            ("deflate, GZIP;q=0.5", true),
            ("gzip;q=0, *", false),
            ("*", true),
            ("br, *;q=0", false),
            ("identity", false),
        ] {
            assert_eq!(takes_gzip(accept), expected, "{accept}");
        }
    }

    #[test]
    fn other_paths_and_methods_are_refused_in_the_words_of_http() {
        for (line, expected) in [
            ("GET / HTTP/1.1", Status::NotFound),
            ("HEAD /metricsx HTTP/1.1", Status::NotFound),
            ("POST /metrics HTTP/1.1", Status::MethodNotAllowed),
            ("OPTIONS * HTTP/1.1", Status::MethodNotAllowed),
        ] {
            let wants = whole(&format!("{line}\r\n\r\n")).wants;
            assert_eq!(wants, Wants::Answer(expected), "{line}");
        }
        let request = whole("HEAD /metrics?a=b HTTP/1.1\r\n\r\n");
        assert!(request.wants == Wants::Metrics && request.head_only && request.goes_on);
        let text = String::from_utf8(Status::MethodNotAllowed.response(true, true)).unwrap();
        assert!(text.contains("\r\nAllow: GET, HEAD\r\n") && text.ends_with("\r\n\r\n"), "{text}");
    }

    #[test]
    fn a_connection_goes_on_only_where_the_next_request_is_sure_to_be_found() {
        for (text, expected) in [
            ("GET /metrics HTTP/1.1\r\n\r\n", true),
            ("GET /metrics HTTP/1.0\r\n\r\n", false),
            ("GET /metrics HTTP/1.1\r\nConnection: x, Close\r\n\r\n", false),
            ("GET /metrics HTTP/1.1\r\nContent-Length: 0\r\n\r\n", true),
            ("GET /metrics HTTP/1.1\r\nContent-Length: 5\r\n\r\n", false),
            ("GET /metrics HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", false),
        ] {
            assert_eq!(whole(text).goes_on, expected, "{text}");
        }
    }

    #[test]
    fn what_is_too_long_or_no_http_is_refused() {
        assert_eq!(read(b"", true), Head::Partial);
        assert_eq!(read(b"GET /metrics HT", true), Head::Partial);
        assert_eq!(read(b"\x16\x03\x01\x02\x00", true), Head::Bad(Status::BadRequest));
        assert_eq!(read(b"PRI * HTTP/2.0\r\n\r\n", true), Head::Bad(Status::BadRequest));
        let long = format!("GET /{} HTTP/1.1\r\n", "x".repeat(HEAD_BYTES_MAX));
        assert_eq!(read(long.as_bytes(), true), Head::Bad(Status::HeadTooLarge));
        let many = format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(HEADERS_MAX + 1));
        assert_eq!(read(many.as_bytes(), true), Head::Bad(Status::HeadTooLarge));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = read(&bytes, true);
            let head = [b"GET /metrics HTTP/1.1\r\nAccept: ".as_slice(), &bytes, b"\r\n\r\n"].concat();
            let _ = read(&head, true);
        }

        #[test]
        fn any_header_values_are_weighed(accept in ".*") {
            let _ = (dialect(&accept, true), takes_gzip(&accept), thousandths(&accept));
        }
    }
}
