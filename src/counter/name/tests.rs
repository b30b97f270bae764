//! Every rule of a name with its edges, the messages, and what holds for arbitrary text.

use proptest::prelude::*;

use super::*;

fn fault(text: &str) -> NameFault {
    Name::new(text).unwrap_err().fault()
}

fn message(text: &str) -> String {
    Name::new(text).unwrap_err().to_string()
}

#[test]
fn letters_marks_and_digits_of_any_script_are_names() {
    let names = [
        "jobs.done",
        "a",
        "_",
        "x%",
        "5xx",
        "1.5",
        "A_-./:@+%9",
        "größe",
        "e\u{301}t\u{e9}",
        "\u{939}\u{93f}\u{928}\u{94d}\u{926}\u{940}",
        "\u{e01}\u{e33}\u{e25}\u{e31}\u{e07}",
        "a\u{664}\u{662}",
        "計数器",
    ];
    for name in names {
        assert_eq!(Name::new(name).map(String::from).as_deref(), Ok(name));
        assert_eq!(check(name), Ok(()), "{name}");
    }
}

#[test]
fn characters_that_a_shell_or_a_format_would_trip_over_are_refused() {
    for c in " \t\n\0\"'$&|;<>()[]{}*?!#~^`\\=,\u{7f}\u{85}\u{a0}\u{200b}\u{202e}½Ⅷ²€😀".chars()
    {
        let text = format!("a{c}b");
        assert!(Name::new(&text).is_err(), "{text:?}");
        assert!(check(&text).is_err(), "{text:?}");
    }
    assert_eq!(fault("ä€"), NameFault::Character('€'));
    assert_eq!(Name::new("ä€").unwrap_err().position(), 2);
}

#[test]
fn every_ascii_character_is_judged_as_the_rule_lists_it() {
    for c in (0..128).map(char::from) {
        let allowed = c.is_ascii_alphanumeric() || "_.-/:@+%".contains(c);
        assert_eq!(check(&format!("a{c}b")).is_ok(), allowed, "{c:?}");
        assert_eq!(check(&format!("äa{c}b")).is_ok(), allowed, "{c:?}");
        assert_eq!(check(&format!("n,k=a{c}b")).is_ok(), allowed, "{c:?}");
    }
}

#[test]
fn a_name_of_digits_only_is_refused_in_any_script() {
    assert_eq!(fault("500"), NameFault::OnlyDigits);
    assert_eq!(fault("500,host=a"), NameFault::OnlyDigits);
    assert_eq!(fault("\u{664}\u{662}"), NameFault::OnlyDigits);
    assert_eq!(fault("4\u{662}"), NameFault::OnlyDigits);
}

#[test]
fn empty_variables_inside_a_name_are_noticed() {
    assert_eq!(fault(""), NameFault::Empty);
    assert_eq!(fault(",host=a"), NameFault::Empty);
    assert_eq!(fault("http."), NameFault::DotLast);
    assert_eq!(fault("http.,host=a"), NameFault::DotLast);
    assert_eq!(fault("a..b"), NameFault::DoubleDot);
    assert_eq!(Name::new("ä..b").unwrap_err().position(), 2);
    assert_eq!(fault(".x"), NameFault::DotFirst);
    assert_eq!(fault("."), NameFault::DotFirst);
    assert_eq!(fault("-x"), NameFault::HyphenFirst);
    assert_eq!(fault("%x"), NameFault::PercentFirst);
}

#[test]
fn tags_are_sorted_by_key_and_not_by_their_text() {
    // '=' is greater than '1', so the texts would sort the other way round.
    let name = Name::new("n,a1=x,b=-.,a=y").unwrap();
    assert_eq!(name.as_str(), "n,a=y,a1=x,b=-.");
    assert_eq!(name.to_string(), name.as_str());
    assert_eq!(name.base(), "n");
    assert_eq!(name.tags().collect::<Vec<_>>(), [("a", "y"), ("a1", "x"), ("b", "-.")]);
    assert_eq!(check("n,a=y,a1=x"), Ok(()));
    assert_eq!(check("n,a1=x,a=y").unwrap_err().fault(), NameFault::TagsUnsorted);
}

#[test]
fn malformed_tags_are_refused_with_their_own_fault() {
    let cases = [
        ("n,", NameFault::TagEmpty),
        ("n,a=1,", NameFault::TagEmpty),
        ("n,,a=1", NameFault::TagEmpty),
        ("n,=v", NameFault::TagWithoutKey),
        ("n,host", NameFault::TagWithoutValue),
        ("n,host=", NameFault::TagWithoutValue),
        ("n,1a=v", NameFault::TagKey('1')),
        ("n,a.b=v", NameFault::TagKey('.')),
        ("n,ä=v", NameFault::TagKey('ä')),
        ("n,__a=v", NameFault::TagKeyReserved),
        ("n,__=v", NameFault::TagKeyReserved),
        ("n,a=%v", NameFault::PercentFirst),
        ("n,a=b=c", NameFault::Character('=')),
        ("n,a=b c", NameFault::Character(' ')),
        ("n,a=1,a=1", NameFault::TagRepeated),
        ("n,a=1,b=2,a=3", NameFault::TagRepeated),
        ("n,b=1,a=", NameFault::TagWithoutValue),
        ("n=5", NameFault::Character('=')),
        ("a=b=c", NameFault::Character('=')),
    ];
    for (text, wanted) in cases {
        assert_eq!(fault(text), wanted, "{text}");
        assert!(check(text).is_err(), "{text}");
    }
    for text in ["n,_=v", "n,_a=v", "n,a__=v", "n,a=5", "n,a=v%", "n,a=..", "n,a=ä\u{308}"] {
        assert_eq!(check(text), Ok(()), "{text}");
    }
}

#[test]
fn the_limit_counts_bytes_and_includes_the_tags() {
    assert_eq!(check(&"a".repeat(255)), Ok(()));
    assert_eq!(fault(&"a".repeat(256)), NameFault::TooLong { bytes: 256 });
    assert_eq!(check(&format!("{}a", "ä".repeat(127))), Ok(()));
    assert_eq!(fault(&"ä".repeat(128)), NameFault::TooLong { bytes: 256 });
    let tagged = format!("n,k={}", "v".repeat(251));
    assert_eq!(Name::new(&tagged).map(String::from), Ok(tagged.clone()));
    assert_eq!(fault(&(tagged + "v")), NameFault::TooLong { bytes: 256 });
}

#[test]
fn with_tag_inserts_in_order_and_refuses_a_second_value() {
    let name = Name::new("n,b=2").unwrap().with_tag("c", "3").unwrap().with_tag("a", "1").unwrap();
    assert_eq!(name.as_str(), "n,a=1,b=2,c=3");
    let fault = |key, value| name.clone().with_tag(key, value).unwrap_err().fault();
    assert_eq!(fault("b", "2"), NameFault::TagRepeated);
    assert_eq!(fault("d", "4,e=5"), NameFault::Character(','));
    assert_eq!(fault("d,e", "5"), NameFault::TagKey(','));
    assert_eq!(fault("d=4", "5"), NameFault::Character('='));
    assert_eq!(fault("d", ""), NameFault::TagWithoutValue);
    assert_eq!(fault("", "5"), NameFault::TagWithoutKey);
    assert_eq!(fault("d", &"v".repeat(250)), NameFault::TooLong { bytes: 266 });
}

#[test]
fn messages_say_what_is_wrong_and_where() {
    let only = "only letters, digits and _ . - / : @ + % may stand in";
    let cases = [
        ("", "name is empty".to_owned()),
        ("http.", r#"name "http." ends in a dot"#.to_owned()),
        ("a b", format!(r#"name "a b" has a blank at character 2: {only} a name"#)),
        ("n,a=b=c", format!(r#"tag "a=b=c" has "=" at character 4: {only} a tag's value"#)),
        ("500", r#"name "500" has only digits: did you mean NAME=500 or --by 500?"#.to_owned()),
        ("\u{664}", "name \"\u{664}\" has only digits".to_owned()),
        ("jobs,host", r#"tag "host" has no value: write host=VALUE"#.to_owned()),
        ("jobs,host=", r#"tag "host=" has no value: write host=VALUE"#.to_owned()),
        ("n,", r#"name "n," has an empty tag at character 3: write NAME,KEY=VALUE"#.to_owned()),
        ("n,1=a", r#"tag "1=a" has a key that begins with a digit"#.to_owned()),
        ("n,a=1,a=2", r#"tag "a=2" gives the key a again"#.to_owned()),
    ];
    for (text, wanted) in cases {
        assert_eq!(message(text), wanted);
    }
    let long = message(&"a".repeat(1000));
    assert!(long.ends_with("…\" has 1000 bytes, tags included: at most 255 are allowed"), "{long}");
}

#[test]
fn messages_are_safe_to_print() {
    let error = message("a\u{1b}[31m\n\u{202e}");
    assert!(!error.chars().any(|c| c.is_control() || c == '\u{202e}'), "{error:?}");
}

#[test]
fn parts_of_text_that_is_no_name_do_not_panic() {
    assert_eq!(base(",a=b"), "");
    assert_eq!(tags("n").count(), 0);
    assert_eq!(tags("n,,x,=,a=b").collect::<Vec<_>>(), [("", ""), ("a", "b")]);
}

/// Names that are nearly right: made of what names are made of.
fn name_like() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "a", "b", "Z", "7", "_", ".", "-", "%", "e\u{301}", "ä", "\u{662}", ",", ",a=", ",b1=",
        ",b=", "=", "\u{94d}", " ", "€",
    ]);
    prop::collection::vec(piece, 0..14).prop_map(|pieces| pieces.concat())
}

fn tagged_name() -> impl Strategy<Value = String> {
    let tags = prop::collection::vec(("[a-c_][a-c0-2]{0,2}", "[a-z0-9.:/äé-]{1,6}"), 0..6);
    ("[a-zä][a-z0-9_/]{0,9}", tags).prop_map(|(base, tags)| {
        tags.iter().fold(base, |text, (key, value)| format!("{text},{key}={value}"))
    })
}

proptest! {
    #[test]
    fn what_a_name_displays_parses_back_to_it(text in prop_oneof![name_like(), tagged_name()]) {
        if let Ok(name) = Name::new(&text) {
            prop_assert_eq!(check(name.as_str()), Ok(()));
            prop_assert_eq!(name.to_string().parse::<Name>(), Ok(name.clone()));
            prop_assert_eq!(base(&text), name.base());
            let mut wanted: Vec<_> = tags(&text).collect();
            wanted.sort_unstable();
            prop_assert_eq!(name.tags().collect::<Vec<_>>(), wanted);
        }
    }

    #[test]
    fn check_accepts_exactly_what_parsing_leaves_unchanged(
        text in prop_oneof![name_like(), tagged_name(), any::<String>()]
    ) {
        let unchanged = Name::new(&text).is_ok_and(|name| name.as_str() == text);
        prop_assert_eq!(check(&text).is_ok(), unchanged);
        if let Err(error) = check(&text) {
            prop_assert!(error.position() >= 1);
            prop_assert!(!error.to_string().chars().any(char::is_control));
        }
    }

    #[test]
    fn tags_added_one_by_one_make_the_name_that_has_them_all(text in tagged_name()) {
        let one_by_one = tags(&text).try_fold(Name::new(base(&text)).unwrap(), |name, (k, v)| {
            name.with_tag(k, v)
        });
        prop_assert_eq!(one_by_one.ok(), Name::new(&text).ok());
    }

    #[test]
    fn arbitrary_text_never_panics(text in any::<String>(), key in any::<String>()) {
        let _ = (base(&text), tags(&text).count(), check(&text));
        let _ = Name::new("n").unwrap().with_tag(&key, &text).map_err(|error| error.to_string());
    }
}

proptest! {
    #[test]
    fn names_are_the_same_if_their_bytes_are(one in "[ab]{0,20}", other in "[ab]{0,20}", at: prop::sample::Index) {
        prop_assert_eq!(same(one.as_bytes(), other.as_bytes()), one == other);
        prop_assert!(same(one.as_bytes(), one.clone().as_bytes()));
        let mut changed = one.clone().into_bytes();
        if let Some(byte) = changed.get_mut(at.index(one.len().max(1))) {
            *byte ^= 1;
            prop_assert!(!same(one.as_bytes(), &changed));
        }
    }
}
