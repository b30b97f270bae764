//! Golden bytes of every message: a change here is a change of the protocol and needs a new version.

use super::*;

fn request_bytes(request: &Request<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    request.write(&mut out).unwrap();
    let range = frame::first(&out).unwrap().unwrap();
    assert_eq!(Request::from_payload(&out[range.clone()]).as_ref(), Ok(request));
    out[range].to_vec()
}

fn response_bytes(response: &Response<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    response.write(&mut out).unwrap();
    let range = frame::first(&out).unwrap().unwrap();
    assert_eq!(Response::from_payload(&out[range.clone()]).as_ref(), Ok(response));
    out[range].to_vec()
}

fn wanted() -> Wanted<'static> {
    Wanted { patterns: vec!["a*"], tags: vec!["k=v"] }
}

const WANTED: [u8; 9] = [1, 2, b'a', b'*', 1, 3, b'k', b'=', b'v'];

#[test]
fn hello_has_these_bytes() {
    let hello = Hello { version: 1, one_request: true };
    assert_eq!(&hello.to_bytes(), b"countd\x01\x01");
    assert_eq!(Hello::from_bytes(b"countd\x01\x01"), Some(hello));
    assert_eq!(Hello::from_bytes(b"GET / HT"), None);
}

#[test]
fn requests_have_these_bytes() {
    let id = RequestId { session: 5, seq: 300, born_ns: 7 };
    let entries = vec![Entry { name: "ab", amount: 1 }, Entry { name: "c", amount: 70_000 }];
    assert_eq!(
        request_bytes(&Request::Incr { id, atomic: true, totals: false, entries }),
        [0, 5, 251, 44, 1, 7, 1, 0, 2, 2, b'a', b'b', 1, 1, b'c', 252, 112, 17, 1, 0]
    );
    assert_eq!(request_bytes(&Request::Get { name: "ab" }), [1, 2, b'a', b'b']);
    assert_eq!(request_bytes(&Request::Dump { wanted: wanted() }), [&[2], &WANTED[..]].concat());
    let delete = Request::Delete { wanted: wanted(), dry_run: true };
    assert_eq!(request_bytes(&delete), [&[3], &WANTED[..], &[1]].concat());
    assert_eq!(request_bytes(&Request::Flush { timeout_ms: 10 }), [4, 10]);
    assert_eq!(request_bytes(&Request::Status), [5]);
}

#[test]
fn the_error_reply_is_frozen() {
    let error = Response::error(ErrorCode::Version, "no");
    assert_eq!(response_bytes(&error), [0, 2, 2, b'n', b'o']);
}

#[test]
fn responses_have_these_bytes() {
    let refused = vec![crate::ids::RefusedEntry { entry: 3, reason: "x".into() }];
    let answer = Answer { totals: vec![9], refused };
    assert_eq!(response_bytes(&Response::Counted(Cow::Owned(answer))), [1, 1, 9, 1, 3, 1, b'x']);
    assert_eq!(response_bytes(&Response::TooOld { now_ns: 8 }), [2, 8]);
    let row = Row { name: "a".into(), total: 5, since_flush: 4, created_ms: 3, last_seen_ms: 2 };
    assert_eq!(response_bytes(&Response::Counter(row.clone())), [3, 1, b'a', 5, 4, 3, 2]);
    let info = SnapshotInfo { taken_ms: 1, window_open_ms: 2, interval_ms: 3 };
    assert_eq!(response_bytes(&Response::Snapshot(info)), [4, 1, 2, 3]);
    assert_eq!(response_bytes(&Response::Rows(vec![row])), [5, 1, 1, b'a', 5, 4, 3, 2]);
    assert_eq!(response_bytes(&Response::End { rows: 1 }), [6, 1]);
    assert_eq!(response_bytes(&Response::Flushed { window: 6 }), [7, 6]);
    let facts = vec![
        ("t".into(), Value::Text("x".into())),
        ("n".into(), Value::Number(1)),
        ("b".into(), Value::Bytes(2)),
        ("d".into(), Value::DurationMs(3)),
        ("m".into(), Value::TimeMs(4)),
    ];
    let status = StatusReport { problems: vec!["p".into()], facts };
    assert_eq!(
        response_bytes(&Response::Status(status)),
        [
            8, 1, 1, b'p', 5, 1, b't', 0, 1, b'x', 1, b'n', 1, 1, 1, b'b', 2, 2, 1, b'd', 3, 3, 1,
            b'm', 4, 4
        ]
    );
}

#[test]
fn error_codes_read_back() {
    for code in 0..=255_u8 {
        assert_eq!(u8::from(ErrorCode::from(code)), code);
    }
}

#[test]
fn too_many_entries_are_refused_and_the_limit_is_not() {
    let id = RequestId { session: u128::MAX, seq: u64::MAX, born_ns: u64::MAX };
    let entries = |n| vec![Entry { name: "ab", amount: u64::MAX }; n];
    let incr = |n| Request::Incr { id, atomic: false, totals: true, entries: entries(n) };
    request_bytes(&incr(ENTRIES_MAX));
    let mut out = Vec::new();
    incr(ENTRIES_MAX + 1).write(&mut out).unwrap();
    let error = Request::from_payload(&out[frame::HEADER_BYTES..]).unwrap_err();
    assert_eq!(error.to_string(), "malformed: 4097 entries, limit 4096");
}

#[test]
fn every_truncation_and_every_extra_byte_is_refused() {
    let id = RequestId { session: 77, seq: 1, born_ns: 2 };
    let entries = vec![Entry { name: "jobs", amount: 3 }];
    let mut bytes = request_bytes(&Request::Incr { id, atomic: true, totals: true, entries });
    for cut in 0..bytes.len() {
        assert!(Request::from_payload(&bytes[..cut]).is_err());
    }
    bytes.push(0);
    assert!(Request::from_payload(&bytes).is_err());
}
