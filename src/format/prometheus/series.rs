//! What a counter is called in Prometheus: its name and its tags in the characters that are allowed there.

use super::escaped;
use crate::counter::name::{base, tags};

/// What the names of countd's own series begin with; no counter's does.
pub(super) const OWN: &str = "countd_";

/// Appends the family of a counter: its name as Prometheus can write it, with `_total`.
pub(super) fn put_family(prefix: &str, counter: &str, out: &mut String) {
    let begin = out.len();
    let name = base(counter);
    let is_own = {
        put_mapped(prefix, true, out);
        put_mapped(name, true, out);
        let family = out.get(begin..).unwrap_or_default();
        let is_bare = family.is_empty() || family.starts_with(|c: char| c.is_ascii_digit());
        is_bare || family.starts_with(OWN)
    };
    if is_own {
        out.insert(begin, '_');
    }
    let family = out.get(begin..).unwrap_or_default();
    if !family.ends_with("_total") || family == "_total" {
        out.push_str("_total");
    }
}

/// Appends the labels of a counter: `{key="value",...}`, or nothing.
pub(super) fn put_labels(counter: &str, out: &mut String) {
    // A label with an empty value is none. Two tags can only be one label, or have no value, in a name that
    // today's rules refuse: then the first stands.
    let mut pairs: Vec<(String, &str)> = tags(counter)
        .filter(|(_, value)| !value.is_empty())
        .map(|(key, value)| (label(key), value))
        .collect();
    pairs.sort_unstable();
    pairs.dedup_by(|later, first| later.0 == first.0);
    for (at, (key, value)) in pairs.iter().enumerate() {
        out.push(if at == 0 { '{' } else { ',' });
        out.push_str(key);
        out.push_str("=\"");
        out.push_str(&escaped(value, true));
        out.push('"');
    }
    if !pairs.is_empty() {
        out.push('}');
    }
}

fn label(key: &str) -> String {
    let mut label = String::with_capacity(key.len());
    if key.is_empty() || key.starts_with(|c: char| c.is_ascii_digit()) {
        label.push('_');
    }
    put_mapped(key, false, &mut label);
    label
}

/// Appends the text in `[a-zA-Z0-9_]`, and with colons where those are allowed; every other character is an
/// underscore.
fn put_mapped(text: &str, colons: bool, out: &mut String) {
    let allowed = |c: char| c.is_ascii_alphanumeric() || c == '_' || (colons && c == ':');
    out.extend(text.chars().map(|c| if allowed(c) { c } else { '_' }));
}
