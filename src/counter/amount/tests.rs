//! Amounts at the ends of their range, and each way to get one wrong.

use proptest::prelude::*;

use super::*;

fn fault(text: &str) -> AmountFault {
    parse_amount(text).unwrap_err().fault()
}

#[test]
fn decimal_amounts_are_read_with_zeros_and_blanks_around() {
    let cases = [("0", 0), ("5", 5), ("007", 7), (" 5\t", 5), ("18446744073709551615", u64::MAX)];
    for (text, wanted) in cases {
        assert_eq!(parse_amount(text), Ok(wanted), "{text:?}");
    }
    assert_eq!(parse_amount(&format!("{:0>400}", u64::MAX)), Ok(u64::MAX));
}

#[test]
fn each_wrong_amount_has_its_own_fault() {
    let cases = [
        (AmountFault::Empty, vec!["", " ", "\t\r"]),
        (AmountFault::Negative, vec!["-5", "-0", "-1.5", "-99999999999999999999"]),
        (AmountFault::Fraction, vec!["1.5", "1,5", ".5", "5."]),
        (AmountFault::TooLarge, vec!["18446744073709551616", "99999999999999999999999"]),
        (
            AmountFault::NotANumber,
            vec!["x", "+5", "-", "-x", ".", "1e3", "0x10", "1 2", "1_0", "1.2.3", "\u{665}", "−5"],
        ),
    ];
    for (wanted, texts) in cases {
        for text in texts {
            assert_eq!(fault(text), wanted, "{text:?}");
        }
    }
}

#[test]
fn messages_show_the_text_and_the_reason() {
    let message = |text| parse_amount(text).unwrap_err().to_string();
    assert_eq!(message(" "), "amount is empty");
    assert_eq!(message(" -5"), r#"amount "-5" is negative: counters only go up"#);
    assert_eq!(
        message("18446744073709551616"),
        r#"amount "18446744073709551616" is too large: at most 18446744073709551615 is allowed"#
    );
    assert_eq!(
        message("a\u{1b}"),
        r#"amount "a\u{1b}" is not a number: write it with digits 0 to 9 only"#
    );
}

proptest! {
    #[test]
    fn every_amount_reads_back(amount in any::<u64>(), zeros in 0_usize..30) {
        prop_assert_eq!(parse_amount(&format!(" {}{amount} ", "0".repeat(zeros))), Ok(amount));
    }

    #[test]
    fn arbitrary_text_never_panics(text in prop_oneof![any::<String>(), "[-+.,0-9 ]{0,24}"]) {
        let _ = parse_amount(&text).map_err(|error| error.to_string());
    }
}
