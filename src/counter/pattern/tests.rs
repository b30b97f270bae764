//! Globs, tags and selections, and the matcher against one too simple to be wrong.

use proptest::prelude::*;

use super::*;

fn pattern(text: &str) -> Pattern {
    Pattern::parse(text).unwrap()
}

fn matches(text: &str, canonical: &str) -> bool {
    pattern(text).matches(canonical)
}

fn filter(text: &str) -> TagFilter {
    TagFilter::parse(text).unwrap()
}

#[test]
fn a_star_is_any_run_of_characters() {
    assert!(matches("*", "a.b/c"));
    assert!(matches("http.*", "http.500.slow"));
    assert!(matches("http*", "http"));
    assert!(matches("a**b", "ab"));
    assert!(matches("*.done", "jobs.x.done"));
    assert!(matches("*ab*ab", "abxabab"));
    assert!(!matches("http.*", "http"));
    assert!(!matches("*.done", "jobs.done.x"));
}

#[test]
fn a_question_mark_is_one_character_and_not_one_byte() {
    assert!(matches("a?c", "aäc"));
    assert!(matches("??", "計数"));
    assert!(!matches("a?", "a"));
    assert!(!matches("a?", "abc"));
}

#[test]
fn sets_have_members_ranges_and_negation() {
    let cases = [
        ("[abc]", "b", true),
        ("[abc]", "d", false),
        ("[a-c]x", "cx", true),
        ("[a-c]", "-", false),
        ("[!a-c]", "d", true),
        ("[^a-c]", "b", false),
        ("[-a]", "-", true),
        ("[a-]", "-", true),
        ("[]a]", "a", true),
        ("[!]a]", "a", false),
        ("[!]a]", "b", true),
        ("[a!]", "a", true),
        ("[c-a]", "b", false),
        ("[ä-ü]", "ö", true),
        ("[*]", "x", false),
        ("5[0-9][0-9]x", "503x", true),
        ("a]", "a", false),
    ];
    for (text, name, wanted) in cases {
        assert_eq!(matches(text, name), wanted, "{text} {name}");
    }
}

#[test]
fn without_a_tag_part_the_tags_do_not_matter() {
    assert!(matches("jobs", "jobs,host=a"));
    assert!(matches("j*", "jobs,host=a"));
    assert!(!matches("*host*", "jobs,host=a"));
}

#[test]
fn a_tag_part_is_a_glob_over_all_tags() {
    assert!(matches("jobs,host=*", "jobs,host=a,result=ok"));
    assert!(matches("*,*result=ok*", "jobs,host=a,result=ok"));
    assert!(!matches("jobs,host=?", "jobs,host=a,result=ok"));
    assert!(!matches("jobs,host=*", "jobs"));
    assert!(matches("jobs,*", "jobs"));
    assert!(matches("jobs,", "jobs"));
    assert!(!matches("jobs,", "jobs,host=a"));
}

#[test]
fn literal_tags_match_in_any_order() {
    assert!(matches("a,y=1,x=2", "a,x=2,y=1"));
    assert!(matches("*,y=1,x=2", "a,x=2,y=1"));
    assert!(!matches("a,y=1", "a,x=2,y=1"));
    assert_eq!(pattern("a,y=1,x=2").as_str(), "a,y=1,x=2");
}

#[test]
fn an_exact_literal_is_that_counter_alone() {
    assert!(pattern("jobs").matches_exactly("jobs"));
    assert!(!pattern("jobs").matches_exactly("jobs,host=a"));
    assert!(pattern("a,y=1,x=2").matches_exactly("a,x=2,y=1"));
    assert!(pattern("job*").matches_exactly("jobs,host=a"));
    assert!(pattern("jobs,host=*").matches_exactly("jobs,host=a"));
}

#[test]
fn a_literal_has_no_glob_in_either_part() {
    for text in ["jobs", "jobs,a=1", "a]", "a\\b"] {
        assert!(pattern(text).is_literal(), "{text}");
    }
    for text in ["*", "a?", "[a]", "a,b=*", "a*,b=c"] {
        assert!(!pattern(text).is_literal(), "{text}");
    }
}

#[test]
fn wrong_patterns_are_refused_with_what_and_where() {
    let message = |text: &str| Pattern::parse(text).unwrap_err().to_string();
    assert_eq!(message(""), "pattern is empty");
    assert_eq!(message(",a=b"), r#"pattern ",a=b" has nothing before its tags: write *,a=b"#);
    assert_eq!(message("ä[b"), r#"pattern "ä[b" has a [ at character 2 that no ] closes"#);
    assert_eq!(message("a,b[!]"), r#"pattern "a,b[!]" has a [ at character 4 that no ] closes"#);
    assert_eq!(message("[]"), r#"pattern "[]" has a [ at character 1 that no ] closes"#);
    assert_eq!(message("a[x,y]"), r#"pattern "a[x,y]" has a [ at character 2 that no ] closes"#);
    assert_eq!(message("a\u{1b}"), r#"pattern "a\u{1b}" has a control character at character 2"#);
    assert!(Pattern::parse(&"a".repeat(PATTERN_BYTES_MAX)).is_ok());
    assert_eq!(
        Pattern::parse(&"a".repeat(1025)).unwrap_err().fault(),
        PatternFault::TooLong { bytes: 1025 }
    );
}

#[test]
fn a_tag_filter_wants_its_key_and_a_matching_value() {
    assert!(filter("host=a*").matches("jobs,host=ab,result=ok"));
    assert!(filter("result=ok").matches("jobs,host=ab,result=ok"));
    assert!(filter("host=*").matches("jobs,host=ab"));
    assert!(!filter("host=a").matches("jobs,host=ab"));
    assert!(!filter("host=*").matches("jobs,hosts=ab"));
    assert!(!filter("host=*").matches("host"));
    assert_eq!(filter("host=a").key(), "host");
}

#[test]
fn wrong_tag_filters_are_refused_with_what_and_where() {
    let message = |text: &str| TagFilter::parse(text).unwrap_err().to_string();
    let no_value = "has no value to look for: write host=GLOB, or host=* for any";
    assert_eq!(message(""), "tag filter is empty");
    assert_eq!(message("host"), format!(r#"tag filter "host" {no_value}"#));
    assert_eq!(message("host="), format!(r#"tag filter "host=" {no_value}"#));
    assert_eq!(
        message("h*t=a"),
        r#"tag filter "h*t=a" has no good key, from character 2: write KEY=GLOB"#
    );
    assert_eq!(message("h=[a"), r#"tag filter "h=[a" has a [ at character 3 that no ] closes"#);
    assert!(TagFilter::parse("=a").is_err());
    assert!(TagFilter::parse("h=\n").is_err());
}

#[test]
fn a_selection_is_any_pattern_and_all_filters() {
    let selection = |patterns: &[&str], tags: &[&str]| Selection {
        patterns: patterns.iter().map(|text| pattern(text)).collect(),
        tags: tags.iter().map(|text| filter(text)).collect(),
    };
    assert!(selection(&[], &[]).matches("anything,a=b"));
    assert!(selection(&["x", "j*"], &[]).matches("jobs"));
    assert!(!selection(&["x", "y"], &[]).matches("jobs"));
    assert!(selection(&[], &["a=1", "b=2"]).matches("n,a=1,b=2"));
    assert!(!selection(&[], &["a=1", "b=3"]).matches("n,a=1,b=2"));
    assert!(!selection(&["x"], &["a=1"]).matches("n,a=1"));
}

#[test]
fn a_glob_made_to_be_slow_is_not() {
    // A matcher that tried every way to share the text out would not end in our lifetime.
    let hostile = "*a".repeat(PATTERN_BYTES_MAX / 2 - 1) + "*b";
    assert!(!matches(&hostile, &"a".repeat(255)));
    assert!(!matches(&("a*".repeat(100) + "b"), &"a".repeat(255)));
}

/// Says whether the fragments match, by trying everything.
fn naive(fragments: &[&str], text: &[char]) -> bool {
    let Some((fragment, behind)) = fragments.split_first() else {
        return text.is_empty();
    };
    if *fragment == "*" {
        return (0..=text.len()).any(|run| naive(behind, text.get(run..).unwrap()));
    }
    text.split_first().is_some_and(|(c, rest)| {
        let fits = match *fragment {
            "?" => true,
            "[ab]" | "[a-b]" => matches!(c, 'a' | 'b'),
            "[!a]" | "[^a]" => *c != 'a',
            literal => literal.starts_with(*c),
        };
        fits && naive(behind, rest)
    })
}

proptest! {
    #[test]
    fn the_matcher_agrees_with_one_that_tries_everything(
        fragments in prop::collection::vec(
            prop::sample::select(vec![
                "a", "b", "ä", "*", "*", "?", "[ab]", "[a-b]", "[!a]", "[^a]",
            ]),
            1..8,
        ),
        text in "[abä.]{0,8}",
    ) {
        let chars: Vec<char> = text.chars().collect();
        let glob = Glob::parse(&fragments.concat()).unwrap();
        prop_assert_eq!(glob.matches(&text), naive(&fragments, &chars));
    }

    #[test]
    fn a_name_is_a_literal_pattern_that_matches_itself(
        name in "[a-z][a-z0-9_/:]{0,9}(,a=[a-z]{1,3})?(,b=[a-z]{1,3})?"
    ) {
        let pattern = pattern(&name);
        prop_assert!(pattern.is_literal());
        prop_assert!(pattern.matches(&name) && pattern.matches_exactly(&name));
    }

    #[test]
    fn arbitrary_text_never_panics(
        text in prop_oneof![any::<String>(), r"[a\[\]!^*?,=-]{0,12}"], name in any::<String>()
    ) {
        match Pattern::parse(&text) {
            Ok(pattern) => { let _ = (pattern.matches(&name), pattern.matches_exactly(&name)); }
            Err(error) => prop_assert!(!error.to_string().chars().any(char::is_control)),
        }
        match TagFilter::parse(&text) {
            Ok(filter) => { let _ = filter.matches(&name); }
            Err(error) => prop_assert!(!error.to_string().chars().any(char::is_control)),
        }
    }
}
