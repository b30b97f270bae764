//! Arguments and lines, right and wrong, and that the two agree.

use proptest::prelude::*;

use super::*;
use crate::counter::amount::AmountFault;

fn argument(text: &str) -> (String, Option<u64>) {
    let (name, amount) = parse_increment(text).unwrap();
    (name.to_string(), amount)
}

fn line(text: &str) -> (String, u64) {
    let line = parse_line(text).unwrap().unwrap();
    (line.name.into_owned(), line.amount)
}

#[test]
fn an_argument_is_a_name_with_tags_and_an_amount_last() {
    assert_eq!(argument("hits"), ("hits".to_owned(), None));
    assert_eq!(argument("hits=5"), ("hits".to_owned(), Some(5)));
    assert_eq!(argument("hits= 05 "), ("hits".to_owned(), Some(5)));
    assert_eq!(argument("hits=0"), ("hits".to_owned(), Some(0)));
    assert_eq!(argument("jobs,host=5"), ("jobs,host=5".to_owned(), None));
    assert_eq!(argument("jobs,host=a=3"), ("jobs,host=a".to_owned(), Some(3)));
    assert_eq!(argument("jobs,b=1,a=2=3"), ("jobs,a=2,b=1".to_owned(), Some(3)));
}

#[test]
fn an_amount_before_a_tag_is_refused_saying_where_it_goes() {
    for text in ["jobs=3,host=a", "jobs,a=1=3,b=2", "jobs=3,host=a=3", "jobs=,a=1", "jobs=3,"] {
        let error = parse_increment(text).unwrap_err();
        assert_eq!(error, IncrementError::AmountNotLast(text.into()));
        assert!(error.to_string().contains("the amount goes last"), "{error}");
    }
}

#[test]
fn a_wrong_amount_is_named_as_such() {
    let fault = |text| match parse_increment(text) {
        Err(IncrementError::Amount(error)) => error.fault(),
        other => panic!("{text}: {other:?}"),
    };
    assert_eq!(fault("hits="), AmountFault::Empty);
    assert_eq!(fault("hits=-5"), AmountFault::Negative);
    assert_eq!(fault("hits=1.5"), AmountFault::Fraction);
    assert_eq!(fault("hits=1,5"), AmountFault::Fraction);
    assert_eq!(fault("a=b=c"), AmountFault::NotANumber);
    assert_eq!(fault("hits,host=a="), AmountFault::Empty);
    assert_eq!(fault("hits,host=a=b=c"), AmountFault::NotANumber);
}

#[test]
fn a_wrong_name_is_named_as_such() {
    let message = |text| parse_increment(text).unwrap_err().to_string();
    assert_eq!(message(""), "name is empty");
    assert_eq!(message("=5"), "name is empty");
    assert_eq!(message("5"), r#"name "5" has only digits: did you mean NAME=5 or --by 5?"#);
    assert_eq!(message("jobs,host==3"), r#"tag "host=" has no value: write host=VALUE"#);
}

#[test]
fn a_line_is_a_name_alone_or_with_an_amount() {
    assert_eq!(line("hits"), ("hits".to_owned(), 1));
    assert_eq!(line("hits 5"), ("hits".to_owned(), 5));
    assert_eq!(line("  hits \t 5 \r\n"), ("hits".to_owned(), 5));
    assert_eq!(line("hits\t0"), ("hits".to_owned(), 0));
    assert_eq!(line("hits=5\r"), ("hits".to_owned(), 5));
    assert_eq!(line("jobs,b=1,a=2 3"), ("jobs,a=2,b=1".to_owned(), 3));
    assert_eq!(line("jobs,a=2=3"), ("jobs,a=2".to_owned(), 3));
    assert_eq!(line("größe,ort=köln 18446744073709551615").1, u64::MAX);
}

#[test]
fn blank_lines_are_nothing() {
    for text in ["", "\r", "\n", "\r\n", " \t ", " \r"] {
        assert_eq!(parse_line(text), Ok(None), "{text:?}");
    }
}

#[test]
fn a_canonical_name_is_borrowed_from_its_line() {
    let borrowed = |text| matches!(parse_line(text).unwrap().unwrap().name, Cow::Borrowed(_));
    assert!(borrowed("hits"));
    assert!(borrowed(" jobs,a=1,b=2 7\r"));
    assert!(!borrowed("jobs,b=2,a=1"));
}

#[test]
fn lines_with_too_much_in_them_are_refused() {
    let error = |text| parse_line(text).unwrap_err();
    assert_eq!(error("a 1 2"), IncrementError::TooManyWords("a 1 2".into()));
    assert_eq!(error(" a  1\tb "), IncrementError::TooManyWords(r"a  1\tb".into()));
    assert_eq!(error("a=1 2"), IncrementError::TwoAmounts("a=1 2".into()));
    assert_eq!(error("a,b=c=1 2"), IncrementError::TwoAmounts("a,b=c=1 2".into()));
}

#[test]
fn swapped_columns_are_noticed() {
    let error = parse_line("   5 GET").unwrap_err();
    assert_eq!(error, IncrementError::AmountFirst("5 GET".into()));
    assert!(error.to_string().contains("the name goes first"), "{error}");
    assert!(matches!(parse_line("5 6"), Err(IncrementError::Name(_))));
    assert!(matches!(parse_line("a\rb 6"), Err(IncrementError::Name(_))));
    assert!(matches!(parse_line("a b"), Err(IncrementError::Amount(_))));
}

/// Text made of what increments are made of.
fn increment_like() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "a", "b", "5", "12", ".", "-", ",", ",a=", ",b=", "=", "=3", "ä", "e\u{301}", "€",
    ]);
    prop::collection::vec(piece, 0..10).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn a_line_of_one_word_reads_like_the_argument(text in increment_like()) {
        prop_assume!(!text.is_empty());
        let from_line = parse_line(&text)
            .map(|line| line.map(|line| (line.name.into_owned(), line.amount)));
        let from_argument = parse_increment(&text)
            .map(|(name, amount)| Some((name.to_string(), amount.unwrap_or(1))));
        prop_assert_eq!(from_line, from_argument);
    }

    #[test]
    fn a_blank_before_the_amount_reads_like_an_equals_sign(
        text in increment_like(), amount in any::<u64>()
    ) {
        if let Ok((name, None)) = parse_increment(&text) {
            prop_assert_eq!(line(&format!("{text}\t {amount}")), (name.to_string(), amount));
            prop_assert_eq!(line(&format!("{text}={amount}")), (name.to_string(), amount));
        }
    }

    #[test]
    fn arbitrary_text_never_panics(text in any::<String>()) {
        let _ = parse_increment(&text).map_err(|error| error.to_string());
        let _ = parse_line(&text).map_err(|error| error.to_string());
    }
}
