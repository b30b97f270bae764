//! Each answer and each loss alone, and any of them in any order against the real core of a daemon.

mod model;

use super::*;

const S: u64 = 1_000_000_000;

/// So many requests, all out whole; their contents are their numbers.
fn out(requests: u64) -> InFlight<u64> {
    let mut in_flight = InFlight::new(40);
    for n in 0..requests {
        in_flight.push(n, 10 * S + n);
    }
    send_all(&mut in_flight);
    in_flight
}

/// Sends what is to be sent; its seqs and contents.
fn send_all(in_flight: &mut InFlight<u64>) -> Vec<(u64, u64)> {
    let mut sent = Vec::new();
    while let Some((id, content)) = in_flight.next_to_send() {
        sent.push((id.seq, *content));
        in_flight.sent();
    }
    sent
}

fn counted() -> Response<'static> {
    Response::Counted(std::borrow::Cow::Owned(Answer::default()))
}

fn too_old() -> Response<'static> {
    Response::TooOld { now_ns: 90 * S }
}

fn refused(code: ErrorCode) -> Response<'static> {
    Response::error(code, "no")
}

fn hear(in_flight: &mut InFlight<u64>, response: Response<'_>) -> Heard<u64> {
    in_flight.hear(response, 90 * S)
}

#[test]
fn answers_are_of_the_oldest() {
    let mut in_flight = out(2);
    for n in 0..2 {
        let heard = hear(&mut in_flight, counted());
        assert!(matches!(heard, Heard::Counted(content, _) if content == n), "{heard:?}");
    }
    assert!(in_flight.is_empty());
    assert!(matches!(hear(&mut in_flight, counted()), Heard::Unasked));
}

#[test]
fn what_is_not_out_has_no_answer() {
    let mut in_flight = InFlight::new(40);
    in_flight.push(0, S);
    assert!(!in_flight.is_uncertain());
    for response in [counted(), too_old(), Response::Flushed { window: 1 }] {
        assert!(matches!(hear(&mut in_flight, response), Heard::Unasked));
    }
}

#[test]
fn there_is_room_for_as_many_as_the_daemon_repeats_answers_of() {
    let mut in_flight = out(15);
    assert!(in_flight.has_room());
    in_flight.push(15, 11 * S);
    assert!(!in_flight.has_room());
    hear(&mut in_flight, counted());
    assert!(in_flight.has_room());
}

#[test]
fn after_a_loss_all_goes_out_again_under_the_same_ids() {
    let mut in_flight = out(3);
    hear(&mut in_flight, counted());
    in_flight.connection_lost();
    assert!(in_flight.is_uncertain() && !in_flight.is_awaited());
    assert_eq!(in_flight.next_to_send().unwrap().0.born_ns, 10 * S + 1);
    assert_eq!(send_all(&mut in_flight), [(1, 1), (2, 2)]);
}

#[test]
fn after_a_refusal_that_passes_all_from_the_refused_on_goes_out_again() {
    for code in [ErrorCode::Busy, ErrorCode::Failed] {
        let mut in_flight = out(3);
        hear(&mut in_flight, counted());
        assert!(matches!(hear(&mut in_flight, refused(code)), Heard::SendLater(_)));
        assert_eq!(send_all(&mut in_flight), [(1, 1), (2, 2)]);
        // The refused one was surely not done, and so none after it.
        assert!(matches!(hear(&mut in_flight, too_old()), Heard::SendAgain));
        assert_eq!(send_all(&mut in_flight), [(0, 1), (1, 2)]);
    }
}

#[test]
fn a_refusal_that_passes_does_not_make_sure_of_what_was_lost_before() {
    let mut in_flight = out(1);
    in_flight.connection_lost();
    assert!(matches!(hear(&mut in_flight, refused(ErrorCode::Busy)), Heard::SendLater(_)));
    send_all(&mut in_flight);
    assert!(matches!(hear(&mut in_flight, too_old()), Heard::Forgotten));
}

#[test]
fn what_comes_after_a_lost_one_that_is_counted_is_still_uncertain() {
    let mut in_flight = out(2);
    in_flight.connection_lost();
    send_all(&mut in_flight);
    hear(&mut in_flight, counted());
    assert!(matches!(hear(&mut in_flight, too_old()), Heard::Forgotten));
}

#[test]
fn too_old_at_the_first_time_gets_other_ids_for_all() {
    let mut in_flight = out(3);
    hear(&mut in_flight, counted());
    let session = in_flight.session;
    assert!(matches!(hear(&mut in_flight, too_old()), Heard::SendAgain));
    let (id, _) = in_flight.next_to_send().unwrap();
    assert_eq!((id.seq, id.born_ns), (0, 90 * S));
    assert_ne!(id.session, session);
    assert_eq!(send_all(&mut in_flight), [(0, 1), (1, 2)]);
    // A clock that is behind what the daemon remembers makes every time too old.
    assert!(matches!(hear(&mut in_flight, too_old()), Heard::SendLater(_)));
    assert_eq!(send_all(&mut in_flight), [(0, 1), (1, 2)]);
    hear(&mut in_flight, counted());
    assert!(matches!(hear(&mut in_flight, too_old()), Heard::SendAgain));
}

#[test]
fn out_of_order_was_never_done_however_often_it_was_sent() {
    let mut in_flight = out(3);
    hear(&mut in_flight, counted());
    in_flight.connection_lost();
    send_all(&mut in_flight);
    assert!(matches!(hear(&mut in_flight, refused(ErrorCode::Refused)), Heard::SendAgain));
    assert!(!in_flight.is_uncertain());
    assert_eq!(send_all(&mut in_flight), [(0, 1), (1, 2)]);
    // The first of a session is never out of order.
    assert!(matches!(hear(&mut in_flight, refused(ErrorCode::Refused)), Heard::Refused(_)));
}

#[test]
fn another_version_does_not_know_what_was_sent_before() {
    let mut in_flight = out(2);
    assert!(matches!(hear(&mut in_flight, refused(ErrorCode::Version)), Heard::Refused(_)));
    in_flight.connection_lost();
    assert!(matches!(hear(&mut in_flight, refused(ErrorCode::Version)), Heard::Forgotten));
}

#[test]
fn a_connection_that_is_refused_before_a_request_is_out_is_replaced() {
    let mut in_flight = InFlight::new(40);
    in_flight.push(0, S);
    assert!(matches!(hear(&mut in_flight, refused(ErrorCode::Busy)), Heard::SendLater(_)));
    assert!(matches!(hear(&mut in_flight, refused(ErrorCode::BadRequest)), Heard::Refused(_)));
}

#[test]
fn a_pause_begins_another_session() {
    let mut in_flight = out(1);
    let session = in_flight.session;
    hear(&mut in_flight, counted());
    in_flight.push(1, 11 * S);
    let (id, _) = in_flight.next_to_send().unwrap();
    assert_ne!(id.session, session);
    assert_eq!(id.seq, 0);
}

#[test]
fn a_clock_ahead_of_the_daemons_is_set_back_for_all_that_follows() {
    let mut in_flight = InFlight::new(40);
    in_flight.push(0, 1_000 * S);
    in_flight.sent();
    let heard = in_flight.hear(Response::TooOld { now_ns: 100 * S }, 1_001 * S);
    assert!(matches!(heard, Heard::SendAgain));
    in_flight.push(1, 1_002 * S);
    let born = in_flight.requests.iter().map(|request| request.born_ns / S);
    assert_eq!(born.collect::<Vec<_>>(), [100, 101]);
}
