//! Names and patterns: the input is lines of text, the first a pattern, the others names. What is accepted as a
//! name has one canonical form, which is accepted as it is; what a glob matches is what the plainest matcher
//! there is says it matches.

use countd::counter::name::{self, NAME_BYTES_MAX, Name};
use countd::counter::pattern::{PATTERN_BYTES_MAX, Pattern, Selection, TagFilter};
use countd::counter::text::parse_increment;

pub(crate) fn check(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let mut lines = text.split('\n');
    let pattern = lines.next().unwrap_or_default();
    let names: Vec<Name> = lines.filter_map(a_name).collect();
    a_pattern(pattern, &names);
    a_tag_filter(pattern, &names);
}

fn a_name(text: &str) -> Option<Name> {
    let increment = parse_increment(text);
    let name = match Name::new(text) {
        Ok(name) => name,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            assert!(name::check(text).is_err());
            return None;
        }
    };
    // A name is an increment of nothing said, and reads as one unless it has more `=` than tags.
    assert_eq!(increment.as_ref(), Ok(&(name.clone(), None)));
    let canonical = name.as_str();
    assert!(canonical.len() <= NAME_BYTES_MAX && canonical.len() == text.len());
    assert_eq!(name::check(canonical), Ok(()));
    assert_eq!(name::check(text).is_ok(), canonical == text);
    assert_eq!(name.to_string(), canonical);
    assert_eq!(canonical.parse().as_ref(), Ok(&name));
    // Put together from its parts in any order, it is the same.
    let base = Name::new(name.base()).expect("the name part is a name");
    let tags: Vec<_> = name.tags().collect();
    assert!(tags.is_sorted_by(|(a, _), (b, _)| a < b), "{canonical}");
    let again = tags.iter().rev().fold(base, |name, (key, value)| {
        name.with_tag(key, value).expect("a tag of a name can be put to it")
    });
    assert_eq!(again, name);
    Some(name)
}

fn a_pattern(text: &str, names: &[Name]) {
    let pattern = match Pattern::parse(text) {
        Ok(pattern) => pattern,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            return;
        }
    };
    assert!(text.len() <= PATTERN_BYTES_MAX);
    assert_eq!(pattern.as_str(), text);
    let (base, tags) = match text.split_once(',') {
        Some((base, tags)) => (base, Some(tags)),
        None => (text, None),
    };
    for name in names {
        let canonical = name.as_str();
        let tag_text = canonical.split_once(',').map_or("", |(_, tags)| tags);
        let expected = glob(base, name.base())
            && tags.is_none_or(|tags| glob(tags, tag_text) || is_tags(tags, name));
        assert_eq!(pattern.matches(canonical), expected, "{text:?} {canonical:?}");
        let exactly = pattern.matches_exactly(canonical);
        assert!(!exactly || expected);
        if pattern.is_literal() {
            let same = Name::new(text).is_ok_and(|text| text == *name);
            assert_eq!(exactly, same || (expected && tags.is_some()), "{text:?} {canonical:?}");
        } else {
            assert_eq!(exactly, expected);
        }
    }
    let length = text.len();
    let selection = Selection { patterns: vec![pattern], tags: Vec::new() };
    assert!(selection.steps() <= length + 2, "{}", selection.steps());
}

/// Whether these are the name's tags, written in whatever order.
fn is_tags(tags: &str, name: &Name) -> bool {
    let is_literal = !tags.contains(['*', '?', '[']);
    let mut given: Vec<&str> = tags.split(',').collect();
    given.sort_unstable();
    let mut those: Vec<String> = name.tags().map(|(key, value)| format!("{key}={value}")).collect();
    those.sort_unstable();
    is_literal && !those.is_empty() && given == those
}

fn a_tag_filter(text: &str, names: &[Name]) {
    let filter = match TagFilter::parse(text) {
        Ok(filter) => filter,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            return;
        }
    };
    let (key, wanted) = text.split_once('=').expect("a filter has a key");
    assert_eq!(filter.key(), key);
    for name in names {
        let expected = name.tags().any(|(its, value)| its == key && glob(wanted, value));
        assert_eq!(filter.matches(name.as_str()), expected, "{text:?} {name}");
    }
}

/// Whether a glob without an open `[` matches the whole text, found out by trying every end of a prefix.
fn glob(pattern: &str, text: &str) -> bool {
    let text: Vec<char> = text.chars().collect();
    let mut pattern = pattern.chars();
    // Whether what was read of the pattern matches the first so many characters.
    let mut matched: Vec<bool> = (0..=text.len()).map(|end| end == 0).collect();
    while let Some(c) = pattern.next() {
        if c == '*' {
            let first = matched.iter().position(|matched| *matched).unwrap_or(matched.len());
            matched.iter_mut().skip(first).for_each(|matched| *matched = true);
            continue;
        }
        let takes: Box<dyn Fn(char) -> bool> = match c {
            '?' => Box::new(|_| true),
            '[' => set(&mut pattern),
            c => Box::new(move |its| its == c),
        };
        for end in (0..matched.len()).rev() {
            matched[end] = end > 0 && matched[end - 1] && takes(text[end - 1]);
        }
    }
    matched.last() == Some(&true)
}

/// What a set takes; the pattern is read behind its `]`.
fn set(pattern: &mut std::str::Chars<'_>) -> Box<dyn Fn(char) -> bool> {
    let negated = pattern.as_str().starts_with(['!', '^']);
    if negated {
        pattern.next();
    }
    let mut members: Vec<char> = Vec::new();
    loop {
        match pattern.next() {
            None | Some(']') if !members.is_empty() => break,
            None => break,
            Some(c) => members.push(c),
        }
    }
    Box::new(move |its| {
        let (mut rest, mut found) = (members.as_slice(), false);
        while let Some((first, after)) = rest.split_first() {
            (found, rest) = match after {
                ['-', last, behind @ ..] => (found || (*first..=*last).contains(&its), behind),
                _ => (found || *first == its, after),
            };
        }
        found != negated
    })
}
