//! What responses mean, and what is done to find out where they leave that open.

use std::io::{Read, Write};

use super::*;

fn response(status: u16, retry_after: Option<&str>) -> Response {
    let retry_after = retry_after.map(str::to_owned);
    Response { status, kind: "text/plain".into(), retry_after, body: b"no".to_vec() }
}

#[test]
fn what_passes_is_asked_again_and_what_never_will_be_taken_is_not() {
    let answer = |status, retry_after| answer(&response(status, retry_after));
    assert_eq!(answer(200, None), Answer::Clear(Fate::Taken));
    for status in [408, 429, 502, 503, 504] {
        let at_once =
            Answer::Clear(Fate::Later(Duration::ZERO, format!("it answers {status}: no")));
        assert_eq!(answer(status, None), at_once);
        let Answer::Clear(Fate::Later(pause, why)) = answer(status, Some("7")) else {
            panic!("{status}")
        };
        assert_eq!((pause.as_secs(), why.contains("7 s of peace")), (7, true));
    }
    for status in [400, 422] {
        let refused = Fate::Refused(format!("it answers {status}: no"));
        assert_eq!(answer(status, None), Answer::Clear(refused));
    }
    let too_large = Fate::TooLarge("it answers 413: no".into());
    assert_eq!(answer(413, None), Answer::Clear(too_large));
    for status in [301, 401, 403, 404, 415] {
        assert!(matches!(answer(status, Some("7")), Answer::Unclear(_)), "{status}");
    }
    for status in [500, 501, 599] {
        assert!(matches!(answer(status, None), Answer::Failed(_)), "{status}");
    }
}

/// Answers the first requests so, one connection each.
fn answering(statuses: &[u16]) -> (Otlp, std::thread::JoinHandle<Vec<usize>>) {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let to = Address { host: "127.0.0.1".into(), port: listener.local_addr().unwrap().port() };
    let statuses = statuses.to_vec();
    let serving = std::thread::spawn(move || {
        let answer = |status: u16| {
            let (mut stream, _) = listener.accept().unwrap();
            let mut got = Vec::new();
            while !got.ends_with(b"\r\n\r\n") && !got.ends_with(b"body") {
                let mut byte = [0];
                stream.read_exact(&mut byte).unwrap();
                got.push(byte[0]);
                if got.ends_with(b"Content-Length: 4\r\n\r\n") {
                    stream.read_exact(&mut [0; 4]).unwrap();
                    got.extend_from_slice(b"body");
                }
            }
            let head =
                format!("HTTP/1.1 {status} x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            stream.write_all(head.as_bytes()).unwrap();
            if got.ends_with(b"body") { 4 } else { 0 }
        };
        statuses.into_iter().map(answer).collect()
    });
    (Otlp::new(&to, "/", Vec::new(), Duration::from_secs(60)), serving)
}

#[test]
fn it_is_the_content_if_nothing_is_taken_in_its_place_and_it_is_refused_again() {
    for (statuses, asked, expected) in [
        (&[403, 200, 403][..], &[4, 0, 4][..], Fate::Refused("it answers 403".into())),
        (&[403, 200, 200], &[4, 0, 4], Fate::Taken),
        (&[401, 401], &[4, 0], later("it answers 401")),
        (&[404, 503], &[4, 0], later("it answers 404")),
        (&[403, 200, 500], &[4, 0, 4], later("it answers 500")),
    ] {
        let (mut otlp, serving) = answering(statuses);
        let (fate, _) = otlp.ask(b"body", &mut None).unwrap();
        assert_eq!(fate, expected, "{statuses:?}");
        assert_eq!(serving.join().unwrap(), asked, "{statuses:?}");
    }
}

#[test]
fn what_a_receiver_fails_at_for_very_long_is_let_go() {
    let (mut otlp, serving) = answering(&[500, 500]);
    let mut since_ns = None;
    let (fate, _) = otlp.ask(b"body", &mut since_ns).unwrap();
    assert!(fate == later("it answers 500") && since_ns.is_some());
    otlp.failed_max = Duration::ZERO;
    let (fate, _) = otlp.ask(b"body", &mut since_ns).unwrap();
    assert_eq!(fate, Fate::Refused("it answers 500".into()));
    serving.join().unwrap();
}

#[test]
fn requests_are_not_smaller_for_ever_for_one_that_was_too_large() {
    let (mut otlp, _) = answering(&[]);
    assert_eq!(otlp.points_max(), otlp::POINTS_MAX);
    otlp.smaller = Some((20, u64::MAX));
    assert_eq!(otlp.points_max(), 20);
    otlp.smaller = Some((20, clock::boot_ns()));
    assert_eq!(otlp.points_max(), otlp::POINTS_MAX);
}

#[test]
fn a_pause_is_told_in_seconds_or_by_a_date() {
    assert_eq!(put_off("120"), Some(Duration::from_secs(120)));
    assert_eq!(put_off("99999999"), Some(PUT_OFF_MAX));
    assert_eq!(put_off("99999999999999999999"), Some(PUT_OFF_MAX));
    assert_eq!(put_off("Wed, 21 Oct 2015 07:28:00 GMT"), Some(Duration::ZERO));
    assert_eq!(put_off("Fri, 31 Dec 9999 23:59:59 GMT"), Some(PUT_OFF_MAX));
    for wrong in ["", "-1", "soon", "Wed, 21 ctN 2015 07:28:00 GMT", "Wed, 21 Oct"] {
        assert_eq!(put_off(wrong), None, "{wrong}");
    }
}
