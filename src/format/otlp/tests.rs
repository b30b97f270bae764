//! What is made is read with the official types; what receivers say is made with them.

use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsPartialSuccess, ExportMetricsServiceRequest, ExportMetricsServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::{AggregationTemporality, number_data_point};

use super::*;
use crate::format::ReportFormat;
use crate::report::{Count, Counts};
use crate::window::Moment;

fn report(counts: &[(&str, u64, u64)]) -> Arc<Report> {
    let moment = |wall_ms| Moment { wall_ms, boot_ns: 0 };
    let (start, end) = (moment(1_000), moment(6_000));
    let window = Window { first: 1, number: 1, start, start_boot: 1, end, end_boot: 1 };
    let mut all = Counts::default();
    for &(name, count, total) in counts {
        all.push(Count { name, count, total });
    }
    Arc::new(Report::new(window, all))
}

fn layout(number: Number) -> Layout {
    Layout { number, prefix: "web.".into(), ..Layout::of(ReportFormat::Plain) }
}

fn requests(layout: &Layout, reports: &[Arc<Report>], from: usize) -> Vec<Request> {
    let resource = [("service.name".to_owned(), "x".to_owned())];
    let created: Created = [("a".into(), 500), ("a,k=v".into(), 7_000)].into_iter().collect();
    let mut all = Vec::new();
    each_request(layout, reports, &resource, &created, from, POINTS_MAX, |request| {
        all.push(request);
        Ok::<(), ()>(())
    })
    .unwrap();
    all
}

fn text(key: &str, value: &str) -> KeyValue {
    let value = Some(AnyValue { value: Some(Value::StringValue(value.into())) });
    KeyValue { key: key.into(), value, ..KeyValue::default() }
}

/// Name, attributes, start and end in milliseconds, value.
type Seen = (String, Vec<KeyValue>, u64, u64, number_data_point::Value);

fn decoded(request: &Request) -> (Vec<Seen>, i32) {
    let decoded = ExportMetricsServiceRequest::decode(&*request.bytes).unwrap();
    // Nothing in it that the official types do not know.
    assert_eq!(decoded.encoded_len(), request.bytes.len());
    let resource = &decoded.resource_metrics[0];
    assert_eq!(resource.resource.as_ref().unwrap().attributes, [text("service.name", "x")]);
    let scope = &resource.scope_metrics[0];
    assert_eq!(scope.scope.as_ref().unwrap().name, "countd");
    let (mut seen, mut temporality) = (Vec::new(), 0);
    for metric in &scope.metrics {
        let Some(Data::Sum(sum)) = &metric.data else { panic!("{metric:?}") };
        assert!(sum.is_monotonic);
        temporality = sum.aggregation_temporality;
        for point in &sum.data_points {
            let (start, end) = (point.start_time_unix_nano, point.time_unix_nano);
            let (start, end) = (start / 1_000_000, end / 1_000_000);
            let value = point.value.unwrap();
            seen.push((metric.name.clone(), point.attributes.clone(), start, end, value));
        }
    }
    (seen, temporality)
}

#[test]
fn totals_have_their_time_of_creation_and_counts_that_of_the_window() {
    use number_data_point::Value::{AsDouble, AsInt};
    let reports = [report(&[("a", 2, 5), ("a,k=v", 1, 7), ("b", 1, u64::MAX)])];
    let (seen, temporality) = decoded(&requests(&layout(Number::Total), &reports, 0)[0]);
    assert_eq!(temporality, AggregationTemporality::Cumulative as i32);
    let expected: Vec<Seen> = vec![
        ("web.a".into(), vec![], 500, 6_000, AsInt(5)),
        // Made anew after the window: when the one that counted was made is not known.
        ("web.a".into(), vec![text("k", "v")], 0, 6_000, AsInt(7)),
        ("web.b".into(), vec![], 0, 6_000, AsDouble(18_446_744_073_709_551_615.0)),
    ];
    assert_eq!(seen, expected);
    let (seen, temporality) = decoded(&requests(&layout(Number::Count), &reports, 0)[0]);
    assert_eq!(temporality, AggregationTemporality::Delta as i32);
    let points: Vec<_> =
        seen.into_iter().map(|(.., start, end, value)| (start, end, value)).collect();
    let expected = [2, 1, 1].map(|count| (1_000, 6_000, AsInt(count)));
    assert_eq!(points, expected);
}

#[test]
fn a_report_is_cut_into_requests_that_can_be_gone_on_with() {
    let names: Vec<String> = (0..POINTS_MAX * 2 + 1).map(|n| format!("n{n:05}")).collect();
    let counts: Vec<_> = names.iter().map(|name| (&**name, 1, 1)).collect();
    let reports = [report(&counts), report(&[("z", 1, 1)])];
    let all = requests(&layout(Number::Count), &reports, 0);
    let points: Vec<usize> = all.iter().map(|request| request.points).collect();
    assert_eq!(points, [POINTS_MAX, POINTS_MAX, 1, 1]);
    let ends: Vec<usize> = all.iter().map(|request| request.end).collect();
    assert_eq!(ends, [POINTS_MAX, POINTS_MAX * 2, POINTS_MAX * 2 + 1, POINTS_MAX * 2 + 2]);
    for (number, end) in ends.into_iter().enumerate() {
        assert_eq!(requests(&layout(Number::Count), &reports, end), all[number + 1..]);
    }
    let rest = requests(&layout(Number::Count), &reports, POINTS_MAX * 2 - 1);
    assert_eq!(rest.iter().map(|request| request.points).collect::<Vec<_>>(), [2, 1]);
    let long = "x".repeat(255);
    let longest: Vec<_> = (0..POINTS_MAX).map(|_| (&*long, 1, 1)).collect();
    let request = &requests(&layout(Number::Count), &[report(&longest)], 0)[0];
    assert!(request.bytes.len() < 1 << 20, "{}", request.bytes.len());
}

#[test]
fn what_a_receiver_says_is_read() {
    let partial = |rejected_data_points, error_message: &str| {
        let partial_success = Some(ExportMetricsPartialSuccess {
            rejected_data_points,
            error_message: error_message.into(),
        });
        ExportMetricsServiceResponse { partial_success }.encode_to_vec()
    };
    assert_eq!(verdict(b""), None);
    assert_eq!(verdict(&partial(0, "")), None);
    let said = verdict(&partial(3, "too\nold")).unwrap();
    assert_eq!((said.rejected, &*said.message), (3, "too\\nold"));
    assert_eq!(verdict(&partial(0, "a warning")).unwrap().rejected, 0);
    assert_eq!(verdict(b"\xff\xff"), None);
    assert_eq!(refusal(b"\x08\x03\x12\x03bad", true), "bad");
    assert_eq!(refusal(b"<html>\nno</html>", false), "<html>");
    assert_eq!(refusal("é".repeat(999).as_bytes(), false).chars().count(), SAID_CHARS_MAX);
}

proptest::proptest! {
    #[test]
    fn any_bytes_are_read_without_a_panic(
        bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..99)
    ) {
        let _ = (verdict(&bytes), refusal(&bytes, true), refusal(&bytes, false));
    }
}
