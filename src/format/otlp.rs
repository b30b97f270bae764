//! Reports as OTLP has them, in protobuf: a sum for each name, a point for each set of tags. Totals, with the time of
//! creation as the start, or with the layout's number set to counts what was gained in the window. A report is cut
//! into requests that every receiver takes.

mod proto;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use prost::Message;

use super::layout::{Layout, Line, Number};
use super::printable;
use crate::counter::name::{base, tags};
use crate::report::Report;
use crate::window::Window;
use proto::{
    AnyValue, ExportRequest, ExportResponse, KeyValue, Metric, Point, Resource, ResourceMetrics,
    Scope, ScopeMetrics, Status, Sum,
};

/// Points of a request. With the longest names it stays below the megabyte that a proxy allows by default.
pub const POINTS_MAX: usize = 2_000;
/// Characters of what a receiver says that are shown.
const SAID_CHARS_MAX: usize = 200;

/// When counters were created, by their canonical names, in milliseconds since 1970-01-01 UTC.
pub type Created = HashMap<Box<str>, u64, foldhash::quality::RandomState>;

/// A request to a receiver.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    /// Its points.
    pub points: usize,
    /// The points of the same reports up to its last.
    pub end: usize,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// What a receiver says of a request that it took.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// Points that it did not take and never will.
    pub rejected: u64,
    /// Why, or a warning.
    pub message: String,
}

/// Hands over each request that these reports, oldest first, make, from one point on, with so many points in each at most.
/// The same reports have the same points, in the same order.
///
/// # Errors
/// The first that `send` returns; nothing is handed over after it.
pub fn each_request<E>(
    layout: &Layout,
    reports: &[Arc<Report>],
    resource: &[(String, String)],
    created: &Created,
    from: usize,
    points_max: usize,
    mut send: impl FnMut(Request) -> Result<(), E>,
) -> Result<(), E> {
    let mut end = 0_usize;
    for portion in layout.portions(reports) {
        let lines: Vec<Line<'_>> = layout.lines(&portion.report).collect();
        let before = from.saturating_sub(end).min(lines.len());
        end = end.saturating_add(before);
        for some in lines.get(before..).unwrap_or_default().chunks(points_max.max(1)) {
            let request = request(layout, &portion.report.window, some, resource, created);
            end = end.saturating_add(some.len());
            send(Request { points: some.len(), end, bytes: request.encode_to_vec() })?;
        }
    }
    Ok(())
}

/// Whether these reports make no request.
pub fn is_empty(layout: &Layout, reports: &[Arc<Report>]) -> bool {
    layout.portions(reports).iter().all(|portion| layout.lines(&portion.report).next().is_none())
}

/// Whether these counts are what was gained, and not totals.
pub fn is_delta(layout: &Layout) -> bool {
    layout.number == Number::Count
}

fn request(
    layout: &Layout,
    window: &Window,
    lines: &[Line<'_>],
    resource: &[(String, String)],
    created: &Created,
) -> ExportRequest {
    let is_delta = is_delta(layout);
    let (start_ms, end_ms) = (window.start.wall_ms, window.end.wall_ms);
    let mut sums: BTreeMap<&str, Vec<Point>> = BTreeMap::new();
    for line in lines {
        let name = &*line.name;
        let start_ms = if is_delta {
            start_ms
        } else {
            // One that was deleted meanwhile is not known any more: 0 is for that.
            let counter = name.strip_prefix(&layout.prefix).unwrap_or(name);
            created.get(counter).map_or(0, |&created| if created > end_ms { 0 } else { created })
        };
        let number = if is_delta { line.count } else { line.total };
        let as_int = i64::try_from(number).ok();
        sums.entry(base(name)).or_default().push(Point {
            start_ns: start_ms.saturating_mul(1_000_000),
            time_ns: end_ms.saturating_mul(1_000_000),
            as_int,
            as_double: as_int.is_none().then(|| super::float(number)),
            attributes: tags(name).map(|(key, value)| attribute(key, value)).collect(),
        });
    }
    let metric = |(name, data_points): (&str, Vec<Point>)| Metric {
        name: name.to_owned(),
        sum: Some(Sum {
            data_points,
            temporality: if is_delta { 1 } else { 2 },
            is_monotonic: true,
        }),
    };
    let scope = Scope { name: "countd".into(), version: env!("CARGO_PKG_VERSION").into() };
    let attributes = resource.iter().map(|(key, value)| attribute(key, value)).collect();
    ExportRequest {
        resource_metrics: vec![ResourceMetrics {
            resource: Some(Resource { attributes }),
            scope_metrics: vec![ScopeMetrics {
                scope: Some(scope),
                metrics: sums.into_iter().map(metric).collect(),
            }],
        }],
    }
}

fn attribute(key: &str, value: &str) -> KeyValue {
    let value = AnyValue { string: Some(value.to_owned()) };
    KeyValue { key: key.to_owned(), value: Some(value) }
}

/// Reads the response to a request that was taken, if it says more than that.
pub fn verdict(body: &[u8]) -> Option<Verdict> {
    let partial = ExportResponse::decode(body).ok()?.partial_success?;
    let rejected = u64::try_from(partial.rejected).unwrap_or(0);
    let message = shown(&partial.message);
    (rejected > 0 || !message.is_empty()).then_some(Verdict { rejected, message })
}

/// Reads why a request was refused, as far as that is told in the way of OTLP or in plain text.
pub fn refusal(body: &[u8], is_protobuf: bool) -> String {
    let message = match is_protobuf {
        true => Status::decode(body).map(|status| status.message).unwrap_or_default(),
        false => String::from_utf8_lossy(body).into_owned(),
    };
    shown(message.lines().next().unwrap_or_default())
}

fn shown(text: &str) -> String {
    printable(&text.chars().take(SAID_CHARS_MAX).collect::<String>()).into_owned()
}

#[cfg(test)]
#[expect(
    clippy::as_conversions,
    clippy::indexing_slicing,
    reason = "tests reckon with small numbers, and may panic"
)]
mod tests;
