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
/// Points of a request that are not cut any smaller: a receiver for which they are too much takes none.
const POINTS_LEAST: usize = 16;
/// How long requests stay smaller after that, in nanoseconds: a limit can be raised, and a report in requests of the
/// least takes long.
const SMALLER_NS: u64 = 3_600_000_000_000;
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
    /// The receiver has found a request too large: one has so many points until this moment, by `CLOCK_BOOTTIME`.
    smaller: Option<(usize, u64)>,
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
    /// Points that were taken, or let go.
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
    /// Fewer points at a time may be.
    TooLarge(String),
    /// It may be later, and so long nothing is asked.
    Later(Duration, String),
}

/// Why no more of a report is sent.
enum Stop {
    /// What is left of it is to be cut smaller.
    TooLarge,
    Failed(SinkError),
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
            smaller: None,
            said: Vec::new(),
            warning: None,
            problem: None,
        }
    }

    fn send(&mut self, work: &mut Work) -> Result<(), SinkError> {
        loop {
            match self.send_rest(work) {
                Ok(()) => break,
                Err(Stop::TooLarge) => {}
                Err(Stop::Failed(error)) => return Err(error),
            }
        }
        if !work.warned {
            self.warning = None;
        }
        self.problem = work.lost.take();
        Ok(())
    }

    fn points_max(&self) -> usize {
        match self.smaller {
            Some((points, until_ns)) if clock::boot_ns() < until_ns => points,
            Some(_) | None => otlp::POINTS_MAX,
        }
    }

    fn send_rest(&mut self, work: &mut Work) -> Result<(), Stop> {
        let Work { layout, reports, created, done, failed_since_ns, warned, lost } = work;
        let (from, most, resource) = (*done, self.points_max(), self.resource.clone());
        otlp::each_request(layout, reports, &resource, created, from, most, |request| {
            let asked = self.ask(&request.bytes, failed_since_ns);
            let failed = |error| SinkError::Failed(format!("not delivered: {error}"));
            let (fate, body) = asked.map_err(|error| Stop::Failed(failed(error)))?;
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
                Fate::TooLarge(_) if request.points > POINTS_LEAST => {
                    let until_ns = clock::boot_ns().saturating_add(SMALLER_NS);
                    self.smaller = Some((request.points.div_ceil(2), until_ns));
                    return Err(Stop::TooLarge);
                }
                Fate::Refused(why) | Fate::TooLarge(why) => {
                    let points = request.points;
                    let told = format!("{points} points are refused for good, and dropped: {why}");
                    self.said.push(told.clone());
                    *lost = Some(told);
                }
                Fate::Later(pause, why) => {
                    let pause_ns = u64::try_from(pause.as_nanos()).unwrap_or(u64::MAX);
                    let until_ns = clock::boot_ns().saturating_add(pause_ns);
                    self.put_off = Some((until_ns, why.clone()));
                    return Err(Stop::Failed(SinkError::Failed(why)));
                }
            }
            *done = request.end;
            *failed_since_ns = None;
            Ok(())
        })
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
        400 | 422 => Fate::Refused(why),
        413 => Fate::TooLarge(why),
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
mod tests;
