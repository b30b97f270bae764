//! Connections as the server reads them: the input is a script of clients that connect, send bytes in pieces, hang
//! up, take their answers slowly, or take their time, against a whole server without sockets. What clients get
//! are whole frames with responses; and where nobody runs out of time or room, each request has its one answer, in
//! order and in whatever pieces it came, which says that it is malformed if it is.

use std::sync::Arc;
use std::time::Duration;

use countd::format::ReportFormat;
use countd::format::layout::Layout;
use countd::frame;
use countd::journal::{Fsync, Journal};
use countd::protocol::{HELLO_BYTES, Hello, Request, Response, VERSION};
use countd::record::FilePlace;
use countd::record::state::State;
use countd::report::Report;
use countd::server::{ConnectionLimits, Server, Setup, SinkSetup, Stopper};
use countd::sink::{Sink, SinkError};
use countd::turn::{OWED_BYTES_MAX, Prepared, Rules, SinkPlace};
use countd::window::Moment;

use super::input::Input;
use super::network::{AtOnce, Client, Play, Step};

const NOW: Moment = Moment { wall_ms: 1_700_000_000_000, boot_ns: 1_000_000_000_000 };
const OWNER: u32 = 1_000;
const CLIENTS_MAX: usize = 8;
const STEPS_MAX: usize = 60;

pub(crate) fn check(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    // In a calm script nobody runs out of anything.
    let calm = !input.flag();
    let mut steps = vec![Step::Connect(OWNER)];
    let mut clients = 1;
    while !input.is_empty() && steps.len() < STEPS_MAX {
        let step = step(&mut input, clients, calm);
        clients += usize::from(matches!(step, Step::Connect(_)));
        steps.push(step);
    }
    for client in serve(steps, calm) {
        let (answers, rest) = answers(&client.got);
        if calm {
            assert_eq!(answers, requests(&client), "{:?}", client.sent);
            assert_eq!(rest, 0, "an answer is cut short");
        }
    }
}

fn step(input: &mut Input<'_>, clients: usize, calm: bool) -> Step {
    match input.below(8) {
        0 if clients < CLIENTS_MAX => Step::Connect([OWNER, 0, 7][input.below(3)]),
        4 => Step::End(input.below(clients)),
        5 if !calm => {
            let client = input.below(clients);
            Step::Room(client, usize::try_from(input.number()).unwrap_or(usize::MAX))
        }
        6 if !calm => Step::Pass(input.number() % (1 << 40)),
        7 => Step::ReadMax(1 + usize::from(input.byte())),
        _ => Step::Send(input.below(clients), input.piece().to_vec()),
    }
}

fn serve(steps: Vec<Step>, calm: bool) -> Vec<Client> {
    let stopper = Stopper::new();
    let play = Play::new(steps, stopper.clone(), NOW);
    let connections_max = if calm { 2 * CLIENTS_MAX } else { 3 };
    let setup = Setup {
        network: Box::new(play.clone()),
        wake: play.wake(),
        workers: Box::new(AtOnce),
        clock: Box::new(play.clone()),
        boot: 1,
        journal: Journal::ephemeral(),
        fsync: Fsync::No,
        fold_first: false,
        state: State::new(7, 1, NOW),
        sinks: vec![SinkSetup {
            place: SinkPlace::new("stdout", ReportFormat::Plain),
            sink: Box::new(Taking),
        }],
        rules: Rules {
            counters_max: 100,
            counters_per_user_max: 50,
            owner: OWNER,
            interval: Duration::from_secs(5),
            aligned: None,
            with_idle: false,
            owed_bytes_max: OWED_BYTES_MAX,
        },
        limits: ConnectionLimits { connections_max, per_user_max: connections_max, owner: OWNER },
        about: Vec::new(),
        folder: None,
        scrapes: Vec::new(),
        spool: None,
        hangup_stops: false,
        supervisor: None,
        tell_flushes: true,
        notice: Box::new(|_, _| ()),
    };
    let server = Server::start(setup, stopper).expect("a server without a disk starts");
    server.run().expect("nothing here fails");
    play.clients()
}

/// A sink that takes everything: a flush is answered a few turns after it was asked for.
#[derive(Debug)]
struct Taking;

impl Sink for Taking {
    fn prepare(
        &mut self,
        _: &Layout,
        _: &[Arc<Report>],
        _: Option<FilePlace>,
    ) -> Result<Prepared, SinkError> {
        Ok(Prepared::Anywhere)
    }

    fn write(&mut self) -> Result<(), SinkError> {
        Ok(())
    }
}

/// An answer, or a request that has to get one: whether it is that the request is malformed.
#[derive(Debug, PartialEq, Eq)]
enum Answer {
    Malformed,
    Other,
}

/// The answers these bytes are, and how many bytes there are behind them.
fn answers(mut got: &[u8]) -> (Vec<Answer>, usize) {
    let mut answers = Vec::new();
    while let Some(range) = frame::first(got).expect("the server sends no frame over the limit") {
        let payload = got.get(range.clone()).unwrap_or_default();
        match Response::from_payload(payload).expect("the server sends responses") {
            // A snapshot's answer is over at its end.
            Response::Snapshot(_) | Response::Rows(_) => {}
            Response::Error { message, .. } if message.starts_with("malformed: ") => {
                answers.push(Answer::Malformed);
            }
            Response::Error { .. }
            | Response::Counted(_)
            | Response::TooOld { .. }
            | Response::Counter(_)
            | Response::End { .. }
            | Response::Flushed { .. }
            | Response::Status(_) => answers.push(Answer::Other),
        }
        got = got.get(range.end..).unwrap_or_default();
    }
    (answers, got.len())
}

/// The answers a client has to get: one for each whole request, and one for what cannot become any.
fn requests(client: &Client) -> Vec<Answer> {
    let Some((hello, mut rest)) = client.sent.split_first_chunk::<HELLO_BYTES>() else {
        return Vec::new();
    };
    let Some(hello) = Hello::from_bytes(hello).filter(|hello| hello.version == VERSION) else {
        return vec![Answer::Other];
    };
    let mut answers = Vec::new();
    loop {
        match frame::first(rest) {
            Ok(Some(range)) => {
                let read = Request::from_payload(rest.get(range.clone()).unwrap_or_default());
                answers.push(if read.is_ok() { Answer::Other } else { Answer::Malformed });
                rest = rest.get(range.end..).unwrap_or_default();
                if hello.one_request {
                    return answers;
                }
            }
            Ok(None) => return answers,
            Err(_) => {
                answers.push(Answer::Other);
                return answers;
            }
        }
    }
}
