//! Golden outputs, and a reader of the format that is written from its grammar, not from the
//! renderer.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

fn row(name: &str, total: u64) -> Row<'_> {
    Row { name: name.into(), total, since_flush: 1, created_ms: 0, last_seen_ms: 0 }
}

fn text(rows: &[Row<'_>]) -> (String, Vec<Collision>) {
    let mut out = Vec::new();
    let collisions = render(rows, &mut out);
    assert_eq!(collisions.named.len(), collisions.number.min(NAMED_MAX));
    (String::from_utf8(out).unwrap(), collisions.named)
}

/// All of it, in pieces of this size.
fn pieces(rows: &[Row<'_>], shown: &Shown, dialect: Dialect, bytes: usize) -> String {
    let (index, _) = Index::of(&rows, shown);
    let (mut out, mut progress) = (Vec::new(), Progress::default());
    while !index.render(&rows, dialect, &mut progress, bytes, &mut out) {}
    String::from_utf8(out).unwrap()
}

type Labels = BTreeMap<String, String>;

/// Reads an exposition, or says which rule of the grammar it breaks. Stricter than Prometheus in
/// that each family has both its HELP and its TYPE, in this order, and samples.
fn read(text: &str) -> Result<BTreeMap<(String, Labels), u64>, String> {
    if !text.is_empty() && !text.ends_with('\n') {
        return Err("no newline at the end".into());
    }
    let mut samples = BTreeMap::new();
    let mut families = BTreeSet::new();
    let mut lines = text.split_terminator('\n').peekable();
    while let Some(line) = lines.next() {
        let help = line.strip_prefix("# HELP ").ok_or_else(|| format!("no HELP: {line}"))?;
        let (family, help) = help.split_once(' ').ok_or("HELP without text")?;
        if !is_name(family, true) || !families.insert(family) {
            return Err(format!("family {family}"));
        }
        unescape(help, false)?;
        if lines.next() != Some(&*format!("# TYPE {family} counter")) {
            return Err(format!("TYPE of {family}"));
        }
        let before = samples.len();
        while let Some(line) = lines.next_if(|line| !line.starts_with('#')) {
            let rest = line.strip_prefix(family).ok_or_else(|| format!("stray {line}"))?;
            let (labels, value) = rest.rsplit_once(' ').ok_or("no value")?;
            let value = value.parse().map_err(|_| format!("value {value}"))?;
            if samples.insert((family.to_owned(), read_labels(labels)?), value).is_some() {
                return Err(format!("twice {line}"));
            }
        }
        if samples.len() == before {
            return Err(format!("{family} without samples"));
        }
    }
    Ok(samples)
}

fn read_labels(text: &str) -> Result<Labels, String> {
    let mut labels = Labels::new();
    if text.is_empty() {
        return Ok(labels);
    }
    let inner = text.strip_prefix('{').and_then(|text| text.strip_suffix('}'));
    let mut rest = inner.ok_or_else(|| format!("braces {text}"))?;
    while !rest.is_empty() {
        let (key, after) = rest.split_once("=\"").ok_or("no label value")?;
        let mut before = ' ';
        let end = after.char_indices().find(|&(_, c)| {
            let ends = c == '"' && before != '\\';
            before = if before == '\\' { ' ' } else { c };
            ends
        });
        let (value, after) = after.split_at(end.ok_or("open quote")?.0);
        let after = after.strip_prefix('"').ok_or("quote")?;
        if !is_name(key, false) || labels.insert(key.into(), unescape(value, true)?).is_some() {
            return Err(format!("label {key}"));
        }
        rest = match after.strip_prefix(',') {
            Some("") => return Err("comma at the end".into()),
            Some(after) => after,
            None if after.is_empty() => after,
            None => return Err(format!("after a label: {after}")),
        };
    }
    Ok(labels)
}

fn is_name(text: &str, colons: bool) -> bool {
    let begins = |c: char| c.is_ascii_alphabetic() || c == '_' || (colons && c == ':');
    text.starts_with(begins) && text.chars().all(|c| begins(c) || c.is_ascii_digit())
}

fn unescape(text: &str, quote: bool) -> Result<String, String> {
    let mut plain = String::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some('\\') => plain.push('\\'),
                Some('n') => plain.push('\n'),
                Some('"') if quote => plain.push('"'),
                other => return Err(format!("escape {other:?}")),
            },
            '"' if quote => return Err("bare quote".into()),
            _ => plain.push(c),
        }
    }
    Ok(plain)
}

#[test]
fn a_family_has_one_head_and_its_series_together() {
    let rows = [
        row("jobs.done,host=b,result=ok", 2),
        row("hits", u64::MAX),
        row("jobs.done.late", 7),
        row("jobs.done,host=a", 1),
        row("jobs.done", 0),
    ];
    let expected = "\
# HELP hits_total hits
# TYPE hits_total counter
hits_total 18446744073709551615
# HELP jobs_done_late_total jobs.done.late
# TYPE jobs_done_late_total counter
jobs_done_late_total 7
# HELP jobs_done_total jobs.done
# TYPE jobs_done_total counter
jobs_done_total 0
jobs_done_total{host=\"a\"} 1
jobs_done_total{host=\"b\",result=\"ok\"} 2
";
    assert_eq!(text(&rows), (expected.to_owned(), vec![]));
    assert_eq!(read(expected).unwrap().len(), 5);
}

#[test]
fn names_are_mapped_to_what_prometheus_allows() {
    for (name, family) in [
        ("a-b/c@d+e%f", "a_b_c_d_e_f_total"),
        ("a:b", "a:b_total"),
        ("404s", "_404s_total"),
        ("größe", "gr__e_total"),
        ("bytes_total", "bytes_total"),
        ("bytes.total", "bytes_total"),
        ("total", "total_total"),
        ("_total", "_total_total"),
        ("countd.increments", "_countd_increments_total"),
        ("countd", "countd_total"),
    ] {
        let (text, collisions) = text(&[row(name, 1)]);
        let expected = format!("# HELP {family} {name}\n# TYPE {family} counter\n{family} 1\n");
        assert_eq!((text, collisions), (expected, vec![]));
    }
}

#[test]
fn special_characters_are_escaped() {
    let (text, _) = text(&[row("a\\b\"c\nd,k-1=x\\y\"z\nw", 1)]);
    let expected = r#"# HELP a_b_c_d_total a\\b"c\nd
# TYPE a_b_c_d_total counter
a_b_c_d_total{k_1="x\\y\"z\nw"} 1
"#;
    assert_eq!(text, expected);
    let labels = Labels::from([("k_1".into(), "x\\y\"z\nw".into())]);
    assert_eq!(read(&text).unwrap().get(&("a_b_c_d_total".into(), labels)), Some(&1));
}

#[test]
fn of_counters_that_are_one_series_the_later_is_left_out_and_named() {
    let rows = [row("a.b,x=1", 5), row("a.b", 3), row("a-b", 2), row("a_b_total", 4)];
    let expected = "\
# HELP a_b_total a-b
# TYPE a_b_total counter
a_b_total 2
a_b_total{x=\"1\"} 5
";
    let (text, collisions) = text(&rows);
    assert_eq!(text, expected);
    let said: Vec<String> = collisions.iter().map(Collision::to_string).collect();
    assert_eq!(
        said,
        [
            "a.b is left out: a-b has the same series a_b_total in Prometheus",
            "a_b_total is left out: a-b has the same series a_b_total in Prometheus",
        ]
    );
}

#[test]
fn a_label_stands_once_and_not_without_a_value() {
    let (text, collisions) = text(&[row("a,k-1=x,k.1=y,z=", 1), row("a,k_1=x", 2)]);
    let expected = "# HELP a_total a\n# TYPE a_total counter\na_total{k_1=\"x\"} 1\n";
    assert_eq!((text.as_str(), collisions.len()), (expected, 1));
}

#[test]
fn open_metrics_has_the_family_without_total_and_the_time_of_creation() {
    let mut rows = [row("a.total,x=1", 5), row("a", 3), row("a\"b", 1)];
    rows[0].created_ms = 1_795_352_405_007;
    let expected = "\
# TYPE a_b counter
# HELP a_b a\\\"b
a_b_total 1
a_b_created 0.000
# TYPE a counter
# HELP a a
a_total 3
a_created 0.000
a_total{x=\"1\"} 5
a_created{x=\"1\"} 1795352405.007
";
    let created = Dialect::OpenMetrics { created: true };
    assert_eq!(pieces(&rows, &Shown::default(), created, usize::MAX), expected);
    let without: String = expected
        .lines()
        .filter(|line| !line.contains("_created"))
        .map(|l| format!("{l}\n"))
        .collect();
    let dialect = Dialect::OpenMetrics { created: false };
    assert_eq!(pieces(&rows, &Shown::default(), dialect, 1), without);
}

#[test]
fn names_that_a_reader_of_open_metrics_would_confuse_are_noticed() {
    for (names, fits) in [
        (&["a", "b.created", "b.total"][..], false),
        (&["a,x=1", "a.created,y=2", "z"], false),
        (&["a", "a.total.total"], false),
        (&["a", "b.created", "created", "total", "c.total"], true),
        (&["a", "a.created.x", "a.sum", "a.bucket", "a.info"], true),
    ] {
        let rows: Vec<Row<'_>> = names.iter().map(|name| row(name, 1)).collect();
        let (index, _) = Index::of(&rows.as_slice(), &Shown::default());
        assert_eq!(index.fits_open_metrics(), fits, "{names:?}");
    }
}

#[test]
fn a_prefix_stands_before_each_name_and_a_pattern_leaves_others_out() {
    let shown = Shown { prefix: "web.".into(), only: Some(Pattern::parse("a*").unwrap()) };
    let rows = [row("a", 1), row("b", 2), row("ab,x=1", 3)];
    let text = pieces(&rows, &shown, Dialect::Text, 1);
    let samples: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
    assert_eq!(samples, ["web_a_total 1", "web_ab_total{x=\"1\"} 3"]);
    let odd = Shown { prefix: "9.".into(), only: None };
    assert!(pieces(&rows, &odd, Dialect::Text, 1).contains("\n_9_a_total 1\n"));
}

#[test]
fn no_rows_are_no_bytes() {
    assert_eq!(text(&[]), (String::new(), vec![]));
}

#[test]
fn the_checker_refuses_what_the_grammar_does() {
    let head = "# HELP a a\n# TYPE a counter\n";
    assert!(read(&format!("{head}a{{b=\"c\",d=\"\\\\\"}} 1\n")).is_ok());
    for bad in [
        "a 1",
        "a 1.5\n",
        "a 1\na 2\n",
        "b 1\n",
        "a{b=\"c} 1\n",
        "a{b=\"c\",} 1\n",
        "a{b=\"c\"d=\"e\"} 1\n",
        "a{b=\"c\\\"} 1\n",
        "a{b=\"\\q\"} 1\n",
        "a{1b=\"c\"} 1\n",
        "a 1\n# HELP a a\n# TYPE a counter\na{b=\"c\"} 1\n",
        "",
    ] {
        assert!(read(&format!("{head}{bad}")).is_err(), "{bad}");
    }
}

proptest! {
    #[test]
    fn any_names_make_text_of_the_grammar_with_every_counter_shown_or_named(
        names in proptest::collection::btree_set("[ab.1\\-,=\"\\\\\n]{0,8}|.*", 0..9),
        total in any::<u64>(),
    ) {
        let rows: Vec<_> = names.iter().map(|name| row(name, total)).collect();
        let (text, collisions) = text(&rows);
        let samples = read(&text).map_err(TestCaseError::fail)?;
        prop_assert_eq!(samples.len().saturating_add(collisions.len()), rows.len());
        prop_assert_eq!(pieces(&rows, &Shown::default(), Dialect::Text, 40), text.clone());
        prop_assert!(samples.keys().all(|(family, _)| !family.starts_with("countd_")));
        prop_assert!(samples.values().all(|&value| value == total));
        for collision in &collisions {
            prop_assert!(names.contains(&collision.shown) && names.contains(&collision.left_out));
        }
    }
}
