//! The sink into OpenTelemetry: OTLP over HTTP, in protobuf. Totals may be sent any number of times; counts are added up
//! by the receiver, so what was taken is not sent again, but in doubt it is. What is refused for what it is will
//! never be taken, and is let go with a message, as it would keep all that comes after it; what is refused for anything
//! else is kept, and sent again, not before the receiver said. Where the status does not tell which of the two it is, a
//! request with nothing in it does.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use super::spec::Address;
use super::{Sink, SinkError};
use crate::format::duration::short;
use crate::format::layout::Layout;
use crate::format::otlp::{self, Created, Verdict};
use crate::format::prometheus::view::Sight;
use crate::record::FilePlace;
use crate::report::Report;
use crate::system::clock;
use crate::system::http::{HttpClient, Response};
use crate::turn::Prepared;

/// What the body of a request is.
const PROTOBUF: &str = "application/x-protobuf";
/// The longest that a receiver can put us off.
const PUT_OFF_MAX: Duration = Duration::from_secs(3600);
/// How long a receiver is left alone that refuses in a way that does not pass by itself, as when it wants a password.
const REFUSED_PAUSE: Duration = Duration::from_secs(300);
/// How long a request is kept that a receiver fails at in that way, while nothing else is sent: it may be what is in it
/// that it fails at.
const FAILED_MAX: Duration = Duration::from_secs(24 * 3600);

/// A receiver as a sink.
#[derive(Debug)]
pub struct Otlp {
    client: HttpClient,
    path: String,
    /// The attributes of what sends.
    resource: Vec<(String, String)>,
    sight: Option<Sight>,
    work: Option<Work>,
    /// It is not asked again before this moment, by `CLOCK_BOOTTIME`, and why.
    put_off: Option<(u64, String)>,
    failed_max: Duration,
    said: Vec<String>,
    /// What the receiver said of the last report though it took it.
    warning: Option<String>,
    /// What was lost of the last report.
    problem: Option<String>,
}

/// Reports that are being sent.
#[derive(Debug)]
struct Work {
    layout: Layout,
    reports: Vec<Arc<Report>>,
    created: Created,
    /// Requests that were taken, or let go.
    done: usize,
    /// Since when the receiver fails at the next, by `CLOCK_BOOTTIME`.
    failed_since_ns: Option<u64>,
    /// The receiver said something though it took a request.
    warned: bool,
    /// What was lost, the last of it.
    lost: Option<String>,
}

/// What becomes of a request.
#[derive(Debug, PartialEq, Eq)]
enum Fate {
    Taken,
    /// It will never be.
    Refused(String),
    /// It may be later, and so long nothing is asked.
    Later(Duration, String),
}

/// What a response says of that.
#[derive(Debug, PartialEq, Eq)]
enum Answer {
    Clear(Fate),
    /// The request is refused, or whoever sends it.
    Unclear(String),
    /// The receiver fails, and that may be at this request.
    Failed(String),
}

impl Otlp {
    /// A receiver at this path, that is waited for so long.
    pub fn new(
        to: &Address,
        path: &str,
        resource: Vec<(String, String)>,
        patience: Duration,
    ) -> Otlp {
        Otlp {
            client: HttpClient::new(&to.host, to.port, patience),
            path: path.to_owned(),
            resource,
            sight: None,
            work: None,
            put_off: None,
            failed_max: FAILED_MAX,
            said: Vec::new(),
            warning: None,
            problem: None,
        }
    }

    fn send(&mut self, work: &mut Work) -> Result<(), SinkError> {
        let Work { layout, reports, created, done, failed_since_ns, warned, lost } = work;
        let (from, resource) = (*done, self.resource.clone());
        otlp::each_request(layout, reports, &resource, created, from, |request| {
            let asked = self.ask(&request.bytes, failed_since_ns);
            let (fate, body) =
                asked.map_err(|error| SinkError::Failed(format!("not delivered: {error}")))?;
            match fate {
                Fate::Taken => {
                    if let Some(verdict) = otlp::verdict(&body) {
                        let told = describe(&verdict);
                        if self.warning.as_ref() != Some(&told) {
                            self.said.push(told.clone());
                        }
                        self.warning = Some(told.clone());
                        *warned = true;
                        if verdict.rejected > 0 {
                            *lost = Some(told);
                        }
                    }
                }
                Fate::Refused(why) => {
                    let points = request.points;
                    let told = format!("{points} points are refused for good, and dropped: {why}");
                    self.said.push(told.clone());
                    *lost = Some(told);
                }
                Fate::Later(pause, why) => {
                    let pause_ns = u64::try_from(pause.as_nanos()).unwrap_or(u64::MAX);
                    let until_ns = clock::boot_ns().saturating_add(pause_ns);
                    self.put_off = Some((until_ns, why.clone()));
                    return Err(SinkError::Failed(why));
                }
            }
            *done = request.number.saturating_add(1);
            *failed_since_ns = None;
            Ok(())
        })?;
        if !*warned {
            self.warning = None;
        }
        self.problem = lost.take();
        Ok(())
    }

    /// Sends a request. Returns what becomes of it, and what was said to that.
    fn ask(
        &mut self,
        request: &[u8],
        failed_since_ns: &mut Option<u64>,
    ) -> io::Result<(Fate, Vec<u8>)> {
        let response = self.client.post(&self.path, PROTOBUF, request)?;
        let fate = match answer(&response) {
            Answer::Clear(fate) => fate,
            Answer::Unclear(why) => return self.clear_up(request, &why),
            Answer::Failed(why) => {
                let now_ns = clock::boot_ns();
                let since_ns = *failed_since_ns.get_or_insert(now_ns);
                let failed = Duration::from_nanos(now_ns.saturating_sub(since_ns));
                if failed < self.failed_max { later(&why) } else { Fate::Refused(why) }
            }
        };
        Ok((fate, response.body))
    }

    /// Finds out what is refused. A request with nothing in it is valid, and what is the matter with the path or a password
    /// is the matter with that one, too. If it is taken and the other, once more, is not, it is what is in it.
    fn clear_up(&mut self, request: &[u8], why: &str) -> io::Result<(Fate, Vec<u8>)> {
        let nothing = self.client.post(&self.path, PROTOBUF, &[])?;
        if answer(&nothing) != Answer::Clear(Fate::Taken) {
            return Ok((later(why), nothing.body));
        }
        let response = self.client.post(&self.path, PROTOBUF, request)?;
        let fate = match answer(&response) {
            Answer::Clear(fate) => fate,
            Answer::Unclear(why) => Fate::Refused(why),
            Answer::Failed(why) => later(&why),
        };
        Ok((fate, response.body))
    }
}

impl Sink for Otlp {
    fn wants_sights(&self) -> bool {
        true
    }

    fn shows_sights(&self) -> bool {
        false
    }

    fn look(&mut self, sight: Sight) {
        self.sight = Some(sight);
    }

    fn prepare(
        &mut self,
        layout: &Layout,
        reports: &[Arc<Report>],
        _offered: Option<FilePlace>,
    ) -> Result<Prepared, SinkError> {
        let sight = self.sight.take();
        if let Some((until_ns, why)) = &self.put_off {
            if clock::boot_ns() < *until_ns {
                return Err(SinkError::Failed(why.clone()));
            }
            self.put_off = None;
        }
        let windows = |reports: &[Arc<Report>]| {
            let ends = (reports.first(), reports.last());
            (ends.0.map(|first| first.window.first), ends.1.map(|last| last.window.number))
        };
        let is_same =
            |work: &Work| work.layout == *layout && windows(&work.reports) == windows(reports);
        if !self.work.as_ref().is_some_and(is_same) {
            let created = match (otlp::is_delta(layout), sight) {
                (false, Some(sight)) => created(reports, &sight),
                _ => Created::default(),
            };
            let (layout, reports) = (layout.clone(), reports.to_vec());
            self.work = Some(Work {
                layout,
                reports,
                created,
                done: 0,
                failed_since_ns: None,
                warned: false,
                lost: None,
            });
        }
        Ok(match (otlp::is_empty(layout, reports), otlp::is_delta(layout)) {
            (true, _) => Prepared::Already,
            (false, true) => Prepared::Anywhere,
            (false, false) => Prepared::AnyTimes,
        })
    }

    fn write(&mut self) -> Result<(), SinkError> {
        let Some(mut work) = self.work.take() else { return Ok(()) };
        let sent = self.send(&mut work);
        if sent.is_err() {
            self.work = Some(work);
        }
        sent
    }

    fn said(&mut self) -> Vec<String> {
        std::mem::take(&mut self.said)
    }

    fn problem(&self) -> Option<String> {
        self.problem.clone()
    }
}

/// When the counters of these reports were created. Looks at each counter there is once.
fn created(reports: &[Arc<Report>], sight: &Sight) -> Created {
    let counts = reports.iter().flat_map(|report| report.counts().iter());
    let mut created: Created = counts.map(|count| (count.name.into(), 0)).collect();
    for (_, definition, _) in sight.columns.iter() {
        if let Some(moment) = created.get_mut(definition.name) {
            *moment = definition.created_ms;
        }
    }
    created
}

/// What each status means. The specification has four that pass, to which one is added that is of slow networks, and lets
/// go what has any other; here it is let go only where it is the content that is at fault.
fn answer(response: &Response) -> Answer {
    let Response { status, kind, retry_after, body } = response;
    let told = otlp::refusal(body, kind.starts_with(PROTOBUF));
    let why = if told.is_empty() {
        format!("it answers {status}")
    } else {
        format!("it answers {status}: {told}")
    };
    Answer::Clear(match status {
        200..=299 => Fate::Taken,
        408 | 429 | 502 | 503 | 504 => match retry_after.as_deref().and_then(put_off) {
            Some(pause) => Fate::Later(pause, format!("{why}; it wants {} of peace", short(pause))),
            None => Fate::Later(Duration::ZERO, why),
        },
        400 | 413 | 422 => Fate::Refused(why),
        500.. => return Answer::Failed(why),
        _ => return Answer::Unclear(why),
    })
}

fn later(why: &str) -> Fate {
    let pause = short(REFUSED_PAUSE);
    Fate::Later(REFUSED_PAUSE, format!("{why}; it is asked again after {pause}"))
}

/// How long from now `Retry-After` is: seconds, or a date as in `Wed, 21 Oct 2015 07:28:00 GMT`.
fn put_off(text: &str) -> Option<Duration> {
    let pause = match text.parse() {
        Ok(seconds) => Duration::from_secs(seconds),
        // More than there is a number for.
        Err(_) if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) => PUT_OFF_MAX,
        Err(_) => {
            let until = date(text)?.duration_since(std::time::UNIX_EPOCH).ok()?;
            until.saturating_sub(Duration::from_millis(clock::now().wall_ms))
        }
    };
    Some(pause.min(PUT_OFF_MAX))
}

fn date(text: &str) -> Option<std::time::SystemTime> {
    const MONTHS: &str = "JanFebMarAprMayJunJulAugSepOctNovDec";
    let mut words = text.split_once(", ")?.1.split(' ');
    let (day, month, year, time) = (words.next()?, words.next()?, words.next()?, words.next()?);
    let month = MONTHS.find(month).filter(|at| at % 3 == 0 && month.len() == 3)? / 3 + 1;
    humantime::parse_rfc3339(&format!("{year}-{month:02}-{day:0>2}T{time}Z")).ok()
}

/// What a receiver says though it took a request.
fn describe(verdict: &Verdict) -> String {
    let Verdict { rejected, message } = verdict;
    match rejected {
        0 => format!("the receiver says: {message}"),
        _ => format!("the receiver took all but {rejected} points: {message}"),
    }
}

#[cfg(test)]
mod tests {
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
        for status in [400, 413, 422] {
            let refused = Fate::Refused(format!("it answers {status}: no"));
            assert_eq!(answer(status, None), Answer::Clear(refused));
        }
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
                let head = format!(
                    "HTTP/1.1 {status} x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
                );
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
}
