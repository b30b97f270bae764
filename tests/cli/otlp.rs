//! An OpenTelemetry receiver, made up with the official types, that takes metrics, refuses them, hangs and dies; and what
//! it has in the end.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use countd::system::clock;
use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsPartialSuccess, ExportMetricsServiceRequest, ExportMetricsServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::{NumberDataPoint, number_data_point};
use prost::Message;

use crate::harness::{Daemon, Home, until};
use crate::http::{Request, free_port, request};

/// What a receiver does with a request.
#[derive(Debug, Clone, PartialEq)]
enum Does {
    Take,
    /// Takes all but so many points.
    TakeMost(i64),
    /// Answers with this status, and these header lines.
    Refuse(u16, &'static str),
    /// Takes what has so many bytes at most.
    TakeSmall(usize),
    /// Answers the first request with one status, and all others with another.
    RefuseFirst(u16, u16),
    /// Answers so if that name is in it, and takes everything else.
    RefuseIf(u16, &'static str),
    /// Reads so many bytes and hangs up, as one that is killed.
    Die(usize),
    /// Reads it, and never answers.
    Hang,
}

/// What came, and when, by `CLOCK_BOOTTIME`.
type Got = Arc<Mutex<Vec<(u64, Request)>>>;

struct Receiver {
    port: u16,
    does: Arc<Mutex<Does>>,
    /// What it took.
    taken: Got,
    /// What it did not.
    refused: Got,
}

impl Receiver {
    fn start(does: Does) -> Receiver {
        Receiver::start_at(0, does)
    }

    fn start_at(port: u16, does: Does) -> Receiver {
        let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let does = Arc::new(Mutex::new(does));
        let (taken, refused) = (Got::default(), Got::default());
        let all = (Arc::clone(&does), Arc::clone(&taken), Arc::clone(&refused));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (does, taken, refused) = all.clone();
                let stream = stream.unwrap();
                std::thread::spawn(move || serve(stream, &does, &taken, &refused));
            }
        });
        Receiver { port, does, taken, refused }
    }

    fn now(&self, does: Does) {
        *self.does.lock().unwrap() = does;
    }

    fn requests(&self) -> Vec<ExportMetricsServiceRequest> {
        let taken = self.taken.lock().unwrap();
        let decode = |(_, request): &(u64, Request)| {
            ExportMetricsServiceRequest::decode(&*request.body).unwrap()
        };
        // One with nothing in it only asks how it is received.
        taken.iter().filter(|(_, request)| !request.body.is_empty()).map(decode).collect()
    }

    /// Every point it took, with the name of its metric.
    fn points(&self) -> Vec<(String, NumberDataPoint)> {
        let mut points = Vec::new();
        for request in self.requests() {
            for metric in &request.resource_metrics[0].scope_metrics[0].metrics {
                let Some(Data::Sum(sum)) = &metric.data else { panic!("{metric:?}") };
                let named =
                    sum.data_points.iter().map(|point| (metric.name.clone(), point.clone()));
                points.extend(named);
            }
        }
        points
    }

    /// The last value of each series; of deltas, all values added up.
    fn values(&self, add: bool) -> BTreeMap<String, i64> {
        let mut values = BTreeMap::new();
        for (mut name, point) in self.points() {
            for attribute in &point.attributes {
                name += &format!(",{}={}", attribute.key, text(attribute));
            }
            let Some(number_data_point::Value::AsInt(value)) = point.value else {
                panic!("{point:?}")
            };
            let sum = if add { values.get(&name).copied().unwrap_or(0) } else { 0 };
            values.insert(name, sum + value);
        }
        values
    }
}

fn serve(mut stream: TcpStream, does: &Mutex<Does>, taken: &Got, refused: &Got) {
    loop {
        let does_now = does.lock().unwrap().clone();
        if let Does::Die(bytes) = does_now {
            let _ = stream.read_exact(&mut vec![0; bytes]);
            return;
        }
        let Some(request) = request(&mut stream) else { return };
        let now_ns = clock::boot_ns();
        // It may have been told otherwise while it waited.
        let does_now = does.lock().unwrap().clone();
        let (status, more, body) = match does_now {
            Does::Take => (200, "", ExportMetricsServiceResponse::default().encode_to_vec()),
            Does::TakeMost(rejected_data_points) => {
                let error_message = "too old".into();
                let partial = ExportMetricsPartialSuccess { rejected_data_points, error_message };
                let response = ExportMetricsServiceResponse { partial_success: Some(partial) };
                (200, "", response.encode_to_vec())
            }
            Does::Refuse(status, more) => (status, more, b"\x12\x06not me".to_vec()),
            Does::TakeSmall(most) if request.body.len() > most => (413, "", Vec::new()),
            Does::TakeSmall(_) => (200, "", Vec::new()),
            Does::RefuseFirst(first, then) => {
                let is_first = refused.lock().unwrap().is_empty();
                (if is_first { first } else { then }, "", Vec::new())
            }
            Does::RefuseIf(status, name) if has(&request.body, name) => {
                (status, "", b"\x12\x06not me".to_vec())
            }
            Does::RefuseIf(..) => (200, "", Vec::new()),
            Does::Die(_) => return,
            Does::Hang => {
                let _ = stream.read(&mut [0]);
                return;
            }
        };
        let kept = if status == 200 { taken } else { refused };
        kept.lock().unwrap().push((now_ns, request));
        let head = format!(
            "HTTP/1.1 {status} x\r\nContent-Type: application/x-protobuf\r\n{more}Content-Length: {}\r\n\r\n",
            body.len()
        );
        let _ = stream.write_all(&[head.as_bytes(), &body].concat());
    }
}

fn has(body: &[u8], name: &str) -> bool {
    body.windows(name.len()).any(|part| part == name.as_bytes())
}

fn text(attribute: &KeyValue) -> &str {
    match attribute.value.as_ref().and_then(|value| value.value.as_ref()) {
        Some(Value::StringValue(text)) => text,
        other => panic!("{other:?}"),
    }
}

fn sink(port: u16, options: &str) -> String {
    format!("otlp+http://127.0.0.1:{port}{options}")
}

fn daemon(home: &Home, receiver: &Receiver, options: &str) -> Daemon {
    home.serve(&["--sink", &sink(receiver.port, options)])
}

#[test]
fn a_receiver_gets_totals_with_their_creation_and_who_they_are_from() {
    let (home, receiver) = (Home::new(), Receiver::start(Does::Take));
    let options = "/otlp/x?service=jobs&host=web1&attributes=team=a b&prefix=p&timeout=30s";
    let options = options.replace("a b", "a%20b");
    let _daemon = daemon(&home, &receiver, &options);
    home.ok(&["incr", "a=5", "b,x=1=2"]);
    home.ok(&["flush"]);
    home.ok(&["incr", "a"]);
    home.ok(&["flush"]);
    let values = receiver.values(false);
    assert_eq!(values, [("p.a".into(), 6), ("p.b,x=1".into(), 2)].into_iter().collect());
    let heads: Vec<String> =
        receiver.taken.lock().unwrap().iter().map(|(_, it)| it.head.clone()).collect();
    let wanted = ["POST /otlp/x HTTP/1.1\r\n", "\r\nContent-Type: application/x-protobuf\r\n"];
    assert!(heads.iter().all(|head| wanted.iter().all(|part| head.contains(part))), "{heads:?}");
    let request = &receiver.requests()[0];
    let resource = request.resource_metrics[0].resource.as_ref().unwrap();
    let attributes: Vec<_> = resource.attributes.iter().map(|it| (&*it.key, text(it))).collect();
    let expected = [("service.name", "jobs"), ("host.name", "web1"), ("team", "a b")];
    assert_eq!(attributes, expected);
    let points = receiver.points();
    let starts: Vec<u64> = points.iter().map(|(_, point)| point.start_time_unix_nano).collect();
    assert_eq!(starts[0], starts[2], "a counter begins once: {points:?}");
    for (_, point) in &points {
        let (start, end) = (point.start_time_unix_nano, point.time_unix_nano);
        assert!(start > 1_600_000_000_000_000_000 && start <= end, "{point:?}");
    }
    let status = home.ok(&["status"]);
    assert!(status.contains("otlp") && status.contains("sink 0 last success"), "{status}");
}

#[test]
fn a_receiver_that_is_away_gets_each_window_when_it_comes() {
    let (home, port) = (Home::new(), free_port());
    let mut daemon = home.serve(&["--sink", &sink(port, "?temporality=delta")]);
    for _ in 0..3 {
        home.ok(&["incr", "a=2"]);
        home.run(&["flush", "--timeout", "50ms"]).refused(1, &["otlp+http", "not delivered"]);
    }
    daemon.wait_until_it_says("reports wait, and come once it works");
    let receiver = Receiver::start_at(port, Does::Take);
    home.ok(&["flush", "--timeout", "30s"]);
    let windows: Vec<_> = receiver
        .points()
        .iter()
        .map(|(_, point)| (point.start_time_unix_nano, point.time_unix_nano))
        .collect();
    assert_eq!((receiver.values(true)["a"], windows.len()), (6, 3));
    assert!(windows.is_sorted() && windows.iter().all(|(start, end)| start < end), "{windows:?}");
}

#[test]
fn a_receiver_that_wants_peace_gets_it_and_then_everything() {
    let receiver = Receiver::start(Does::Refuse(503, "Retry-After: 2\r\n"));
    let home = Home::new();
    let mut daemon = daemon(&home, &receiver, "?temporality=delta");
    home.ok(&["incr", "a=2"]);
    home.run(&["flush", "--timeout", "100ms"]).refused(1, &["503: not me", "2 s of peace"]);
    daemon.wait_until_it_says("503");
    receiver.now(Does::Take);
    // A flush that is asked for lets sinks be tried at once; this one still is not.
    home.run(&["flush", "--timeout", "100ms"]).refused(1, &["2 s of peace"]);
    until("all is there", || receiver.values(true).get("a") == Some(&2));
    let (first, then) = (receiver.refused.lock().unwrap(), receiver.taken.lock().unwrap());
    assert_eq!((first.len(), then.len()), (1, 1));
    assert!(then[0].0 - first[0].0 >= 2_000_000_000);
    daemon.wait_until_it_says("takes reports again");
}

#[test]
fn what_is_refused_for_what_it_is_is_let_go_with_a_message() {
    let (home, receiver) = (Home::new(), Receiver::start(Does::Refuse(400, "")));
    let mut daemon = daemon(&home, &receiver, "");
    home.ok(&["incr", "a=2", "b"]);
    home.ok(&["flush"]);
    daemon.wait_until_it_says("2 points are refused for good, and dropped: it answers 400: not me");
    assert!(home.run(&["status"]).stdout.contains("refused for good"));
    receiver.now(Does::TakeMost(1));
    home.ok(&["incr", "a"]);
    home.ok(&["flush"]);
    daemon.wait_until_it_says("the receiver took all but 1 points: too old");
    let ran = home.run(&["status"]);
    assert!(ran.code == 1 && ran.stdout.contains("problem: sink otlp+http"), "{ran:?}");
    receiver.now(Does::Take);
    home.ok(&["incr", "a"]);
    home.ok(&["flush"]);
    // Totals make up for it.
    assert_eq!(receiver.values(false)["a"], 4);
    home.ok(&["status"]);
    assert_eq!(
        (receiver.taken.lock().unwrap().len(), receiver.refused.lock().unwrap().len()),
        (2, 1)
    );
}

#[test]
fn a_receiver_that_wants_a_password_is_not_asked_over_and_over_and_nothing_is_dropped() {
    let (home, receiver) = (Home::new(), Receiver::start(Does::Refuse(401, "")));
    let daemon = daemon(&home, &receiver, "?temporality=delta");
    home.ok(&["incr", "a=2"]);
    for _ in 0..3 {
        home.run(&["flush", "--timeout", "50ms"]).refused(1, &["401: not me", "again after 5 min"]);
    }
    // The report, and nothing, which it does not take either.
    let refused = |at: usize| receiver.refused.lock().unwrap()[at].1.body.len();
    assert!(receiver.refused.lock().unwrap().len() == 2 && refused(0) > 0 && refused(1) == 0);
    receiver.now(Does::Take);
    drop(daemon);
    // Another daemon does not know of that, and asks.
    let _daemon = home.serve(&["--sink", &sink(receiver.port, "?temporality=delta")]);
    until("all is there", || receiver.values(true).get("a") == Some(&2));
}

#[test]
fn a_report_that_is_refused_for_what_is_in_it_keeps_no_other() {
    let (home, receiver) = (Home::new(), Receiver::start(Does::RefuseIf(403, "poison")));
    let mut daemon = daemon(&home, &receiver, "?temporality=delta");
    home.ok(&["incr", "poison", "b"]);
    home.ok(&["flush"]);
    daemon.wait_until_it_says("2 points are refused for good, and dropped: it answers 403: not me");
    home.ok(&["incr", "a=2"]);
    home.ok(&["flush"]);
    let expected: BTreeMap<String, i64> = [("a".into(), 2)].into();
    assert_eq!(receiver.values(true), expected);
    assert_eq!(receiver.refused.lock().unwrap().len(), 2);
}

#[test]
fn a_receiver_for_which_a_request_is_too_large_gets_smaller_ones() {
    let (home, receiver) = (Home::new(), Receiver::start(Does::TakeSmall(10_000)));
    let mut daemon = daemon(&home, &receiver, "?temporality=delta");
    let lines: String = (0..3_000).map(|n| format!("n{n:06}\n")).collect();
    for rounds in 1..=2 {
        assert_eq!(home.pipe(&["incr", "--stdin"], lines.as_bytes()).code, 0);
        home.ok(&["flush", "--timeout", "30s"]);
        let values = receiver.values(true);
        assert_eq!((values.len(), values.values().sum::<i64>()), (3_000, 3_000 * rounds));
    }
    home.ok(&["status"]);
    // It is remembered what was too large.
    let refused = || receiver.refused.lock().unwrap().len();
    assert!(refused() < 10, "{}", refused());
    // One that takes nothing at all is not asked for each point alone.
    receiver.now(Does::TakeSmall(0));
    home.ok(&["incr", "a"]);
    home.ok(&["flush"]);
    daemon.wait_until_it_says("1 points are refused for good, and dropped: it answers 413");
}

#[test]
fn what_was_refused_stays_a_problem_though_the_rest_of_the_report_comes_later() {
    let (home, receiver) = (Home::new(), Receiver::start(Does::RefuseFirst(400, 503)));
    let mut daemon = daemon(&home, &receiver, "");
    let lines: String = (0..3_000).map(|n| format!("n{n:06}\n")).collect();
    assert_eq!(home.pipe(&["incr", "--stdin"], lines.as_bytes()).code, 0);
    home.run(&["flush", "--timeout", "50ms"]).refused(1, &["otlp+http"]);
    daemon.wait_until_it_says("2000 points are refused for good");
    daemon.wait_until_it_says("it answers 503");
    receiver.now(Does::Take);
    home.ok(&["flush", "--timeout", "30s"]);
    assert_eq!(receiver.values(false).len(), 1_000);
    let ran = home.run(&["status"]);
    assert!(ran.stdout.contains("2000 points are refused for good"), "{ran:?}");
}

#[test]
fn a_receiver_that_dies_or_hangs_holds_up_nothing_and_gets_it_again() {
    let (home, receiver) = (Home::new(), Receiver::start(Does::Hang));
    let log = home.path("log");
    let places = ["--log-file", log.to_str().unwrap(), "--sink"];
    let options = sink(receiver.port, "?timeout=200ms&temporality=delta");
    let _daemon = home.serve(&[&places[..], &[&options]].concat());
    home.ok(&["incr", "a=2"]);
    home.run(&["flush", "--timeout", "2s"]).refused(1, &["does not answer in time"]);
    assert_eq!(crate::harness::logged(&log)["a"], 2);
    for bytes in [0, 100, 200] {
        receiver.now(Does::Die(bytes));
        home.ok(&["incr", "a"]);
        home.run(&["flush", "--timeout", "500ms"]).refused(1, &["not delivered"]);
    }
    receiver.now(Does::Take);
    home.ok(&["flush", "--timeout", "30s"]);
    // None of what it hung up on or did not answer was counted there.
    assert_eq!(receiver.values(true)["a"], 5);
    assert_eq!(crate::harness::logged(&log)["a"], 5);
}

#[test]
fn a_large_report_comes_in_several_requests_and_goes_on_where_it_was_refused() {
    let (home, receiver) = (Home::new(), Receiver::start(Does::Take));
    let _daemon = daemon(&home, &receiver, "?temporality=delta");
    let lines: String = (0..5_000).map(|n| format!("n{n:06},host=a=1\n")).collect();
    assert_eq!(home.pipe(&["incr", "--stdin"], lines.as_bytes()).code, 0);
    home.ok(&["flush"]);
    let values = receiver.values(true);
    assert_eq!((values.len(), values.values().sum::<i64>()), (5_000, 5_000));
    assert_eq!(receiver.requests().len(), 3);
}

#[test]
fn totals_are_right_in_the_end_though_the_daemon_is_killed_over_and_over() {
    let (home, receiver) = (Home::new(), Receiver::start(Does::Take));
    let options = sink(receiver.port, "");
    for round in 1..=8 {
        let daemon = home.serve(&["--interval", "10ms", "--sink", &options]);
        for _ in 0..10 {
            home.ok(&["incr", "a", "b,x=1=2"]);
        }
        if round % 2 == 0 {
            receiver.now(Does::Refuse(503, ""));
        } else {
            receiver.now(Does::Take);
        }
        daemon.kill();
    }
    receiver.now(Does::Take);
    let _daemon = home.serve(&["--sink", &options]);
    home.ok(&["flush", "--timeout", "30s"]);
    let expected: BTreeMap<String, i64> = [("a".into(), 80), ("b,x=1".into(), 160)].into();
    until("all is there", || receiver.values(false) == expected);
}
