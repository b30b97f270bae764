//! The sink into OpenTelemetry: OTLP over HTTP, in protobuf. Totals may be sent any number of times; counts are added up
//! by the receiver, so what was taken is not sent again, but in doubt it is. What is refused for what it is will
//! never be taken, and is let go with a message; for anything else that a receiver can be rid of it is kept, and
//! asked again, not before the receiver said.

use std::sync::Arc;
use std::time::Duration;

use super::spec::Address;
use super::{Sink, SinkError};
use crate::format::duration::short;
use crate::format::layout::Layout;
use crate::format::otlp::{self, Created};
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
    said: Vec<String>,
    /// What was lost since all was taken.
    problem: Option<String>,
}

/// Reports that are being sent.
#[derive(Debug)]
struct Work {
    layout: Layout,
    reports: Vec<Arc<Report>>,
    created: Created,
    /// Requests that were taken.
    done: usize,
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
            said: Vec::new(),
            problem: None,
        }
    }

    fn send(&mut self, work: &mut Work) -> Result<(), SinkError> {
        let mut refused = None;
        let Work { layout, reports, created, done } = work;
        let from = *done;
        otlp::each_request(layout, reports, &self.resource, created, from, |request| {
            let response = self.client.post(&self.path, PROTOBUF, &request.bytes);
            let response =
                response.map_err(|error| SinkError::Failed(format!("not delivered: {error}")))?;
            match fate(&response) {
                Fate::Taken => self.said.extend(warning(&response.body)),
                Fate::Refused(why) => {
                    let points = request.points;
                    let told = format!("{points} points are refused for good, and dropped: {why}");
                    self.said.push(told.clone());
                    refused = Some(told);
                }
                Fate::Later(pause, why) => {
                    let pause_ns = u64::try_from(pause.as_nanos()).unwrap_or(u64::MAX);
                    let until_ns = clock::boot_ns().saturating_add(pause_ns);
                    self.put_off = Some((until_ns, why.clone()));
                    return Err(SinkError::Failed(why));
                }
            }
            *done = request.number.saturating_add(1);
            Ok(())
        })?;
        self.problem = refused;
        Ok(())
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
            self.work = Some(Work { layout, reports, created, done: 0 });
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

/// What the specification says of each status; what it forbids to send again at once is not lost for that, where it
/// is not the content that is at fault.
fn fate(response: &Response) -> Fate {
    let Response { status, kind, retry_after, body } = response;
    let told = otlp::refusal(body, kind.starts_with(PROTOBUF));
    let why = if told.is_empty() {
        format!("it answers {status}")
    } else {
        format!("it answers {status}: {told}")
    };
    match status {
        200..=299 => Fate::Taken,
        429 | 502 | 503 | 504 => match retry_after.as_deref().and_then(put_off) {
            Some(pause) => Fate::Later(pause, format!("{why}; it wants {} of peace", short(pause))),
            None => Fate::Later(Duration::ZERO, why),
        },
        400 | 413 | 422 => Fate::Refused(why),
        _ => {
            let pause = short(REFUSED_PAUSE);
            Fate::Later(REFUSED_PAUSE, format!("{why}; it is asked again after {pause}"))
        }
    }
}

/// How long from now `Retry-After` is: seconds, or a date as in `Wed, 21 Oct 2015 07:28:00 GMT`.
fn put_off(text: &str) -> Option<Duration> {
    let pause = match text.parse() {
        Ok(seconds) => Duration::from_secs(seconds),
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
fn warning(body: &[u8]) -> Option<String> {
    let otlp::Verdict { rejected, message } = otlp::verdict(body)?;
    Some(match rejected {
        0 => format!("the receiver says: {message}"),
        _ => format!("the receiver took all but {rejected} points: {message}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn response(status: u16, retry_after: Option<&str>) -> Response {
        let retry_after = retry_after.map(str::to_owned);
        Response { status, kind: "text/plain".into(), retry_after, body: b"no".to_vec() }
    }

    #[test]
    fn what_passes_is_asked_again_and_what_never_will_be_taken_is_not() {
        let fate = |status, retry_after| fate(&response(status, retry_after));
        assert_eq!(fate(200, None), Fate::Taken);
        for status in [429, 502, 503, 504] {
            assert!(matches!(fate(status, None), Fate::Later(Duration::ZERO, _)), "{status}");
            let Fate::Later(pause, why) = fate(status, Some("7")) else { panic!("{status}") };
            assert_eq!((pause.as_secs(), why.contains("7 s of peace")), (7, true));
        }
        for status in [400, 413, 422] {
            assert_eq!(fate(status, None), Fate::Refused(format!("it answers {status}: no")));
        }
        for status in [301, 401, 403, 404, 500] {
            assert!(matches!(fate(status, Some("7")), Fate::Later(REFUSED_PAUSE, _)), "{status}");
        }
    }

    #[test]
    fn a_pause_is_told_in_seconds_or_by_a_date() {
        assert_eq!(put_off("120"), Some(Duration::from_secs(120)));
        assert_eq!(put_off("99999999"), Some(PUT_OFF_MAX));
        assert_eq!(put_off("Wed, 21 Oct 2015 07:28:00 GMT"), Some(Duration::ZERO));
        assert_eq!(put_off("Fri, 31 Dec 9999 23:59:59 GMT"), Some(PUT_OFF_MAX));
        for wrong in ["", "-1", "soon", "Wed, 21 ctN 2015 07:28:00 GMT", "Wed, 21 Oct"] {
            assert_eq!(put_off(wrong), None, "{wrong}");
        }
    }
}
