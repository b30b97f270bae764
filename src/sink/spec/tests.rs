//! Descriptions of sinks: what each is read as, and how it is refused.

use super::*;

fn defaults() -> Defaults {
    Defaults { format: None, omits_idle: true, interval: Duration::from_secs(5) }
}

fn spec(text: &str) -> SinkSpec {
    SinkSpec::parse(text, &defaults()).unwrap()
}

fn refused(text: &str) -> String {
    SinkSpec::parse(text, &defaults()).unwrap_err().to_string()
}

#[test]
fn each_kind_has_its_place_and_its_usual_format() {
    for (text, place, format) in [
        ("stdout", "stdout", "plain"),
        ("file:/var/log/x.log", "file:/var/log/x.log", "logfmt"),
        ("graphite://c.example:2003?value=total", "graphite://c.example:2003", "graphite"),
        ("graphite://[::1]:2003?ack=sent&timeout=3s", "graphite://[::1]:2003", "graphite"),
        ("statsd://h:8125?tags=dogstatsd&packet=512", "statsd://h:8125", "statsd"),
        ("statsd+unix:/run/s?timeout=2", "statsd+unix:/run/s", "statsd"),
        ("prometheus://0.0.0.0:9464?only=a*&created=no", "prometheus://0.0.0.0:9464", "plain"),
        ("prometheus+unix:/run/m?prefix=a", "prometheus+unix:/run/m", "plain"),
        ("otlp+http://h:4318?host=a&attributes=b=c,d=e", "otlp+http://h:4318", "plain"),
        ("otlp+http://[::1]:1/x?service=y", "otlp+http://[::1]:1/x", "plain"),
        ("textfile:/a.prom?remove=yes", "textfile:/a.prom", "plain"),
        ("exec: a b%20c  d?shell=no", "exec:a b%20c  d", "json"),
        ("exec:a 'b?shell=yes&format=plain", "exec:a 'b", "plain"),
    ] {
        let spec = spec(text);
        assert_eq!((&*spec.place(), spec.layout.format.name()), (place, format));
        assert!(spec.layout.omits_idle);
    }
    let json = Defaults { format: Some(ReportFormat::Json), ..defaults() };
    assert_eq!(SinkSpec::parse("stdout", &json).unwrap().layout.format, ReportFormat::Json);
}

#[test]
fn options_change_what_it_is_offered_and_not_its_place() {
    let all = spec("stdout?only=a.*%26&format=json&prefix=h.x&interval=30s&idle=zero");
    assert_eq!(all.place(), "stdout");
    let expected = "json?prefix=h.x.&only=a.*%26&span_ms=30000";
    assert_eq!(all.layout.to_string(), expected);
    assert_eq!(all.to_string(), "stdout (json, prefix h.x., only a.*&, every 30 s, idle zero)");
    let same = spec("stdout?interval=5s");
    assert_eq!((same.layout.spans, same.interval), (None, Some(Duration::from_secs(5))));
}

#[test]
fn a_path_may_have_any_character() {
    let odd = spec("file:a%3Fb%25 c");
    assert_eq!(
        (odd.kind.clone(), odd.place()),
        (Kind::File("a?b% c".into()), "file:a?b% c".into())
    );
}

#[test]
fn a_command_has_its_words_or_is_one_text_for_a_shell() {
    let words = |text: &str| {
        let Kind::Exec { words, .. } = spec(text).kind else { panic!("{text}") };
        words
    };
    assert_eq!(words("exec: a b%20c  d%3F"), ["a", "b c", "d?"]);
    assert_eq!(words("exec:date +%25s | x 'y z'?shell=yes"), ["date +%s | x 'y z'"]);
}

#[test]
fn a_receiver_of_otlp_gets_totals_or_what_was_gained() {
    let totals = spec("otlp+http://h:4318/v1/metrics?prefix=a");
    assert_eq!(totals.layout.to_string(), "plain?prefix=a.&idle=omit&value=total");
    assert_eq!(totals.to_string(), "otlp+http://h:4318 (otlp, prefix a.)");
    assert!(totals.sink_place().at_a_time > 1);
    let gained = spec("otlp+http://h:4318?temporality=delta&interval=10s&attributes=a=b=c, d=e");
    assert_eq!(gained.to_string(), "otlp+http://h:4318 (otlp, delta, every 10 s)");
    assert_eq!((gained.sink_place().at_a_time, gained.layout.number), (1, Number::Count));
    let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    let Kind::Otlp { path, attributes, .. } = gained.kind else { panic!() };
    assert_eq!((&*path, attributes), ("/v1/metrics", vec![pair("a", "b=c"), pair("d", "e")]));
}

#[test]
fn what_graphite_took_is_kept_for_five_minutes_or_as_long_as_told_and_nothing_else_is() {
    for (text, keeps_s) in [
        ("graphite://h:1", 300),
        ("graphite://h:1?again=0", 0),
        ("graphite://h:1?again=1h", 3_600),
        ("stdout?format=graphite", 0),
        ("statsd://h:1", 0),
        ("otlp+http://h:1", 0),
    ] {
        assert_eq!(spec(text).sink_place().keeps_ns, keeps_s * 1_000_000_000, "{text}");
    }
}

#[test]
fn a_format_with_timestamps_has_one_a_second_or_fewer() {
    assert_eq!(spec("stdout?format=graphite").layout.to_string(), "graphite?idle=omit");
    let ten = spec("stdout?value=total&format=graphite&interval=10s").layout;
    assert_eq!(ten.to_string(), "graphite?idle=omit&value=total&span_ms=10000");
    let fast = Defaults { interval: Duration::from_millis(100), ..defaults() };
    let error = SinkSpec::parse("stdout?format=graphite&interval=500ms", &fast).unwrap_err();
    assert!(error.to_string().contains("1s is the least"), "{error}");
}

#[test]
fn what_is_wrong_is_said_with_its_place_and_what_would_be_right() {
    for (text, expected) in [
        ("", "\"\": it is empty: write one of stdout, "),
        ("/var/log/x", "\"/var/log/x\": a log file is written file:/var/log/x"),
        ("stderr", "\"stderr\": there is no such kind of sink: write one of stdout, file:PATH"),
        ("file:", "\"file:\", at character 6: the path is empty"),
        ("file://x", "at character 6: a path follows, without //"),
        ("file:x%", "at character 7: two hexadecimal digits follow a %"),
        ("stdout?format=xml", "at character 8: format: \"xml\" is not one of plain, "),
        ("stdout?only=a&only=b", "at character 15: only is given twice"),
        (
            "stdout?value=rate",
            "there is no option \"value\" here, but format, prefix, interval, only, idle;",
        ),
        ("stdout?interval=7s", "interval: \"7s\" is no multiple of the flush interval, 5 s"),
        ("stdout?interval=0", "is no multiple"),
        ("stdout?idle=maybe", "idle: \"maybe\" is not one of omit, zero"),
        ("stdout?only=[", "only: pattern \"[\" has a [ at character 1 that no ] closes"),
        ("stdout?prefix=a b", "prefix: "),
        ("stdout?x", "at character 8: an option is written KEY=VALUE"),
        ("graphite:x", "at character 10: //HOST:PORT follows"),
        ("graphite://", "at character 12: there is no host"),
        ("graphite://h", "at character 13: the port is missing"),
        ("graphite://h:", "at character 14: \"\" is no port from 1 to 65535"),
        ("graphite://h:2003/", "at character 14: \"2003/\" is no port"),
        ("statsd://h:+1", "no port"),
        ("graphite://a b:1", "at character 13: ' ' is no part of a host's name"),
        ("graphite://u@h:1", "at character 13: '@' is no part"),
        ("graphite://::1:2003", "stands in brackets, as [::1]"),
        ("graphite://[::1:2003", "no ] closes the ["),
        ("graphite://h:1?format=json", "format: there is only one here, graphite"),
        ("graphite://h:1?ack=no", "ack: \"no\" is not one of read, sent"),
        ("graphite://h:1?again=61m", "again: from 0s to 1 h are allowed"),
        ("statsd://h:1?again=5m", "there is no option \"again\" here"),
        ("graphite://h:1?timeout=0", "timeout: from 1ms to 10 min are allowed"),
        ("statsd://h:1?packet=9", "packet: from 512 to 65507 bytes are allowed"),
        ("statsd://h:1?timeout=1s", "there is no option \"timeout\" here, but prefix, "),
        ("statsd+unix:", "at character 13: the path is empty"),
        ("prometheus://h", "at character 15: the port is missing"),
        (
            "prometheus://h:1?idle=zero",
            "there is no option \"idle\" here, but prefix, only, created;",
        ),
        ("prometheus://h:1?format=json", "format: there is only one here, prometheus"),
        ("otlp+http://h/x", "the port is missing"),
        ("otlp+http:/x", "at character 11: //HOST:PORT follows"),
        ("otlp+http://h:1/é", "at character 16: 'é' is no part of a path of HTTP"),
        ("otlp+http://h:1?attributes=a", "attributes: attributes are written KEY=VALUE"),
        ("otlp+http://h:1?attributes=a=1,b=2,a=3", "attributes: a is given twice"),
        (
            "otlp+http://h:1?attributes=service.name=x",
            "attributes: service.name has an option of its own, service=",
        ),
        ("otlp+http://h:1?temporality=x", "temporality: \"x\" is not one of cumulative, delta"),
        ("stdout?temporality=delta", "there is no option \"temporality\" here"),
        ("exec: ", "at character 6: a command of 1 to 256 words follows"),
        ("exec:sh -c 'x'", "a ' means nothing without a shell"),
        ("exec:date +%s", "at character 12: two hexadecimal digits"),
        ("exec:curl http://x/?a=b", "there is no option \"a\" here"),
        ("file:\u{7}", "\"file:\\u{7}\", at character 6: a control character is written %XX"),
    ] {
        let error = refused(text);
        assert!(error.contains(expected), "{text}: {error}");
    }
    assert!(refused(&"é".repeat(5_000)).contains("10000 bytes"));
}
