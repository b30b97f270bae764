//! The lines that collectors read: Graphite's plaintext (`PATH VALUE TIMESTAMP`, as carbon reads it on port 2003)
//! and statsd's (`NAME:COUNT|c`, with DogStatsD's tags if asked for). What a reader would take for something else
//! is written `%XX`, as in a URL, and so is `%`: two counters never become one.

use std::borrow::Cow;

use super::layout::{Layout, Line, Number, Portion, TagForm};
use super::options::percent;
use super::{float, put};
use crate::counter::name::{base, tags};
use crate::report::Report;

/// `PATH VALUE TIMESTAMP` a line.
pub(super) fn graphite(layout: &Layout, portion: &Portion, out: &mut Vec<u8>) {
    let seconds = portion.report.window.length().as_secs_f64();
    for Line { name, count, total } in layout.lines(&portion.report) {
        out.extend_from_slice(escaped(base(&name), is_bad_in_path).as_bytes());
        put_graphite_tags(&name, is_bad_in_tag, out);
        let second = portion.second;
        match layout.number {
            Number::Count => put(out, format_args!(" {count} {second}\n")),
            Number::Total => put(out, format_args!(" {total} {second}\n")),
            Number::Rate if seconds > 0.0 => {
                put(out, format_args!(" {} {second}\n", float(count) / seconds));
            }
            Number::Rate => put(out, format_args!(" 0 {second}\n")),
        }
    }
}

/// `NAME:COUNT|c` a line.
pub(super) fn statsd(layout: &Layout, report: &Report, out: &mut Vec<u8>) {
    for Line { name, count, .. } in layout.lines(report) {
        out.extend_from_slice(escaped(base(&name), is_bad_in_statsd).as_bytes());
        match layout.tags {
            TagForm::Graphite => {
                put_graphite_tags(&name, is_bad_in_statsd, out);
                put(out, format_args!(":{count}|c\n"));
            }
            TagForm::Dogstatsd => {
                put(out, format_args!(":{count}|c"));
                let mut before = "|#";
                for (key, value) in tags(&name) {
                    // A value may have a colon: the first ends the key.
                    let value = escaped(value, |c| c != ':' && is_bad_in_statsd(c));
                    put(out, format_args!("{before}{key}:{value}"));
                    before = ",";
                }
                out.push(b'\n');
            }
        }
    }
}

fn put_graphite_tags(name: &str, is_bad: fn(char) -> bool, out: &mut Vec<u8>) {
    for (key, value) in tags(name) {
        // Graphite has the path itself in a tag of this name, and whoever else sets it is overruled.
        let key = if key == "name" { "%6Eame" } else { key };
        put(out, format_args!(";{key}={}", escaped(value, is_bad)));
    }
}

/// The text with `%XX` in place of these characters.
fn escaped(text: &str, is_bad: impl Fn(char) -> bool) -> Cow<'_, str> {
    if !text.contains(&is_bad) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::new();
    for c in text.chars() {
        if is_bad(c) {
            percent(c, &mut escaped);
        } else {
            escaped.push(c);
        }
    }
    Cow::Owned(escaped)
}

/// What ends a line or a word, or begins an escape. Names that are valid now have none of it but `%`.
fn is_bad_anywhere(c: char) -> bool {
    c == '%' || c.is_whitespace() || c.is_control()
}

/// A path becomes the name of a file, in folders that its dots stand for.
fn is_bad_in_path(c: char) -> bool {
    is_bad_anywhere(c) || matches!(c, '/' | ';' | '=' | '\\')
}

fn is_bad_in_tag(c: char) -> bool {
    is_bad_anywhere(c) || matches!(c, ';' | '~')
}

fn is_bad_in_statsd(c: char) -> bool {
    is_bad_anywhere(c) || matches!(c, ':' | '|' | '#' | ',' | ';' | '=')
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::format::ReportFormat;
    use crate::report::Count;
    use crate::window::{Moment, Window};

    const END_MS: u64 = 1_795_352_405_123;

    fn rendered(options: &[(&str, &str)], format: ReportFormat, names: &[&str]) -> String {
        let moment = |ms: u64| Moment { wall_ms: ms, boot_ns: ms.saturating_mul(1_000_000) };
        let window = Window {
            first: 1,
            number: 1,
            start: moment(END_MS.saturating_sub(5_000)),
            start_boot: 1,
            end: moment(END_MS),
            end_boot: 1,
        };
        let counts = names.iter().map(|name| Count { name, count: 12, total: u64::MAX });
        let report = Arc::new(Report::new(window, counts.collect()));
        let mut layout = Layout::of(format);
        for (key, value) in options {
            assert_eq!(layout.set(key, value), Ok(true));
        }
        let mut out = Vec::new();
        layout.render(&[report], &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn graphite_has_path_value_and_the_second_in_which_the_window_ended() {
        let names = ["my.useful.count", "jobs.done,host=a,result=ok"];
        let expected = "\
jobs.done;host=a;result=ok 12 1795352404
my.useful.count 12 1795352404
";
        assert_eq!(rendered(&[], ReportFormat::Graphite, &names), expected);
    }

    #[test]
    fn graphite_has_the_number_that_was_asked_for_and_the_prefix() {
        let shown = |value| {
            rendered(&[("value", value), ("prefix", "h.x")], ReportFormat::Graphite, &["a"])
        };
        assert_eq!(shown("total"), "h.x.a 18446744073709551615 1795352404\n");
        assert_eq!(shown("rate"), "h.x.a 2.4 1795352404\n");
        assert_eq!(shown("count"), "h.x.a 12 1795352404\n");
    }

    #[test]
    fn what_carbon_would_misread_is_escaped_so_that_two_counters_stay_two() {
        let names = ["/x", "%2Fx", "a b\n1", "größe:80@x+y", "n,p=/a;b~%", "o,p=x/y:z"];
        let shown = rendered(&[], ReportFormat::Graphite, &names);
        let paths: Vec<&str> = shown.lines().map(|line| line.split(' ').next().unwrap()).collect();
        let expected =
            ["%252Fx", "%2Fx", "a%20b%0A1", "größe:80@x+y", "n;p=/a%3Bb%7E%25", "o;p=x/y:z"];
        assert_eq!(paths, expected);
    }

    #[test]
    fn a_tag_that_graphite_would_overrule_is_escaped() {
        let names = ["jobs,name=a", "jobs,name=b,names=c"];
        let shown = rendered(&[], ReportFormat::Graphite, &names);
        let paths: Vec<&str> = shown.lines().map(|line| line.split(' ').next().unwrap()).collect();
        assert_eq!(paths, ["jobs;%6Eame=a", "jobs;%6Eame=b;names=c"]);
        let expected = "jobs;%6Eame=a:12|c\njobs;%6Eame=b;names=c:12|c\n";
        assert_eq!(rendered(&[], ReportFormat::Statsd, &names), expected);
        let expected = "jobs:12|c|#name:a\njobs:12|c|#name:b,names:c\n";
        assert_eq!(rendered(&[("tags", "dogstatsd")], ReportFormat::Statsd, &names), expected);
    }

    #[test]
    fn statsd_has_name_count_and_type() {
        let names = ["my.count", "http:200/x", "jobs,host=a,url=b:80"];
        let expected = "http%3A200/x:12|c\njobs;host=a;url=b%3A80:12|c\nmy.count:12|c\n";
        assert_eq!(rendered(&[], ReportFormat::Statsd, &names), expected);
        let expected = "http%3A200/x:12|c\njobs:12|c|#host:a,url:b:80\nmy.count:12|c\n";
        assert_eq!(rendered(&[("tags", "dogstatsd")], ReportFormat::Statsd, &names), expected);
    }
}
