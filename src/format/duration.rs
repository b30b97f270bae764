//! Lengths of time as people write and read them: the durations of the command line, and the short
//! forms in tables and messages. Exact forms for programs are not made here.

use std::fmt;
use std::time::Duration;

const MS: u64 = 1;
const S: u64 = 1000 * MS;
const MIN: u64 = 60 * S;
const H: u64 = 60 * MIN;
const D: u64 = 24 * H;

const NS_PER_MS: u128 = 1_000_000;

/// Why a text is no duration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DurationError {
    /// There is nothing.
    Empty,
    /// This part is neither a number nor a unit.
    Unreadable(String),
    /// This number has no unit though there is more than the number.
    NoUnit(String),
    /// There is no such unit.
    UnknownUnit(String),
    /// It is over 584 years.
    TooLong,
}

impl fmt::Display for DurationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DurationError::Empty => write!(f, "there is no number")?,
            DurationError::Unreadable(part) => write!(f, "cannot read {part:?}")?,
            DurationError::NoUnit(number) => write!(f, "{number:?} has no unit")?,
            DurationError::UnknownUnit(unit) => write!(f, "there is no unit {unit:?}")?,
            DurationError::TooLong => return write!(f, "longer than 584 years"),
        }
        write!(f, "; write it like 5s, 500ms, 2m, 1h 30m, or 5 for seconds")
    }
}

impl std::error::Error for DurationError {}

/// Reads `5s`, `500ms`, `2m`, `1h 30m`, `1.5d`, or a bare number of seconds. The units are ms, s, m
/// or min, h, d; blanks may stand anywhere but in a number or a unit. What is below a nanosecond is
/// cut off.
///
/// # Errors
/// [`DurationError`] for any other text, signs and exponents included.
pub fn parse_duration(text: &str) -> Result<Duration, DurationError> {
    let mut rest = text.trim();
    if rest.is_empty() {
        return Err(DurationError::Empty);
    }
    let mut total_ns: u128 = 0;
    let mut first = true;
    while !rest.is_empty() {
        let (number, after) = split_while(rest, |c| c.is_ascii_digit() || c == '.');
        let (unit, after) = split_while(after.trim_start(), char::is_alphabetic);
        let after = after.trim_start();
        let unit_ms = match unit {
            _ if number.is_empty() => return Err(DurationError::Unreadable(rest.to_owned())),
            "" if first && after.is_empty() => S,
            "" if after.is_empty() || after.starts_with(|c: char| c.is_ascii_digit()) => {
                return Err(DurationError::NoUnit(number.to_owned()));
            }
            "" => return Err(DurationError::Unreadable(after.to_owned())),
            "ms" => MS,
            "s" => S,
            "m" | "min" => MIN,
            "h" => H,
            "d" => D,
            _ => return Err(DurationError::UnknownUnit(unit.to_owned())),
        };
        total_ns = total_ns.saturating_add(nanoseconds(number, unit_ms)?);
        first = false;
        rest = after;
    }
    u64::try_from(total_ns).map(Duration::from_nanos).map_err(|_| DurationError::TooLong)
}

/// A decimal number of units.
fn nanoseconds(number: &str, unit_ms: u64) -> Result<u128, DurationError> {
    const PLACES: usize = 18;
    const SCALE: u128 = 1_000_000_000_000_000_000;
    let unreadable = || DurationError::Unreadable(number.to_owned());
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if fraction.contains('.') || (whole.is_empty() && fraction.is_empty()) {
        return Err(unreadable());
    }
    let whole: u64 = match whole {
        "" => 0,
        digits => digits.parse().map_err(|_| DurationError::TooLong)?,
    };
    let digits = fraction.chars().chain(std::iter::repeat('0')).take(PLACES);
    let parts: u64 = digits.collect::<String>().parse().map_err(|_| unreadable())?;
    let unit_ns = u128::from(unit_ms).saturating_mul(NS_PER_MS);
    let part_ns = u128::from(parts).saturating_mul(unit_ns) / SCALE;
    Ok(u128::from(whole).saturating_mul(unit_ns).saturating_add(part_ns))
}

fn split_while(text: &str, belongs: impl Fn(char) -> bool) -> (&str, &str) {
    let end = text.find(|c| !belongs(c)).unwrap_or(text.len());
    text.split_at_checked(end).unwrap_or((text, ""))
}

/// A duration in its one or two largest units, cut off: `3 d 4 h`, `5 min`, `12.3 s`, `50 ms`.
pub fn short(duration: Duration) -> String {
    let ms = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let (large, small) = match ms {
        0 => return "0 s".to_owned(),
        1..S => return format!("{ms} ms"),
        S..MIN => {
            let tenths = ms / 100;
            return match tenths % 10 {
                0 => format!("{} s", ms / S),
                tenth => format!("{}.{tenth} s", ms / S),
            };
        }
        MIN..H => ((ms / MIN, "min"), (ms % MIN / S, "s")),
        H..D => ((ms / H, "h"), (ms % H / MIN, "min")),
        D.. => ((ms / D, "d"), (ms % D / H, "h")),
    };
    match small {
        (0, _) => format!("{} {}", large.0, large.1),
        (number, unit) => format!("{} {} {number} {unit}", large.0, large.1),
    }
}

/// How long ago a moment was, both in milliseconds since 1970-01-01 UTC: `3 s ago`, `5 min ago`;
/// `now` within a second, `in 3 s` if it is ahead, as after a clock was set back; `never` for 0.
pub fn ago(moment_ms: u64, now_ms: u64) -> String {
    if moment_ms == 0 {
        return "never".to_owned();
    }
    let distance = now_ms.abs_diff(moment_ms);
    let (number, unit) = match distance {
        ..S => return "now".to_owned(),
        S..MIN => (distance / S, "s"),
        MIN..H => (distance / MIN, "min"),
        H..D => (distance / H, "h"),
        D.. => (distance / D, "d"),
    };
    if moment_ms > now_ms { format!("in {number} {unit}") } else { format!("{number} {unit} ago") }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ms(text: &str) -> u128 {
        parse_duration(text).unwrap().as_millis()
    }

    #[test]
    fn durations_are_read_with_their_units() {
        assert_eq!(ms("5s"), 5_000);
        assert_eq!(ms("500ms"), 500);
        assert_eq!((ms("2m"), ms("2min")), (120_000, 120_000));
        assert_eq!((ms("1h 30m"), ms("1h30m")), (5_400_000, 5_400_000));
        assert_eq!(ms(" 3 d 4 h "), 273_600_000);
        assert_eq!((ms("1.5h"), ms(".5s"), ms("5.s")), (5_400_000, 500, 5_000));
    }

    #[test]
    fn a_bare_number_is_seconds() {
        assert_eq!((ms("5"), ms("0.5"), ms("0"), ms("007")), (5_000, 500, 0, 7_000));
        assert_eq!(parse_duration("0.0000000019"), Ok(Duration::from_nanos(1)));
    }

    #[test]
    fn the_limit_is_what_a_u64_of_nanoseconds_holds() {
        let longest = parse_duration("18446744073.709551615");
        assert_eq!(longest, Ok(Duration::from_nanos(u64::MAX)));
        assert_eq!(parse_duration("18446744073.709551616"), Err(DurationError::TooLong));
        assert_eq!(parse_duration("18446744073709551616ms"), Err(DurationError::TooLong));
        assert_eq!(parse_duration("18446744073709551615d"), Err(DurationError::TooLong));
    }

    #[test]
    fn what_is_no_duration_is_refused_with_the_part_that_is_wrong() {
        let error = |text| parse_duration(text).unwrap_err().to_string();
        let how = "; write it like 5s, 500ms, 2m, 1h 30m, or 5 for seconds";
        for (text, what) in [
            ("", "there is no number"),
            (" ", "there is no number"),
            ("s", r#"cannot read "s""#),
            ("-5s", r#"cannot read "-5s""#),
            ("+5", r#"cannot read "+5""#),
            ("0,5", r#"cannot read ",5""#),
            ("1.2.3s", r#"cannot read "1.2.3""#),
            (".", r#"cannot read ".""#),
            ("1h 30", r#""30" has no unit"#),
            ("1 30m", r#""1" has no unit"#),
            ("5M", r#"there is no unit "M""#),
            ("1e3", r#"there is no unit "e""#),
            ("5µs", r#"there is no unit "µs""#),
            ("inf", r#"cannot read "inf""#),
            ("５s", r#"cannot read "５s""#),
        ] {
            assert_eq!(error(text), format!("{what}{how}"), "{text:?}");
        }
        assert_eq!(error("1000000d"), "longer than 584 years");
    }

    #[test]
    fn short_forms_have_at_most_two_units() {
        for (ms, expected) in [
            (0, "0 s"),
            (50, "50 ms"),
            (999, "999 ms"),
            (3_200, "3.2 s"),
            (5_000, "5 s"),
            (5_049, "5 s"),
            (59_999, "59.9 s"),
            (60_000, "1 min"),
            (303_000, "5 min 3 s"),
            (3_600_000, "1 h"),
            (273_600_000, "3 d 4 h"),
            (u64::MAX, "213503982334 d 14 h"),
        ] {
            assert_eq!(short(Duration::from_millis(ms)), expected);
        }
        assert_eq!(short(Duration::MAX), "213503982334 d 14 h");
    }

    #[test]
    fn moments_are_told_by_their_distance() {
        let now: u64 = 1_795_352_405_123;
        for (distance, expected) in [
            (999, "now"),
            (3_999, "3 s ago"),
            (300_000, "5 min ago"),
            (7_200_000, "2 h ago"),
            (259_200_000, "3 d ago"),
            (now, "never"),
        ] {
            assert_eq!(ago(now.abs_diff(distance), now), expected);
        }
        assert_eq!((ago(5_500, 5_000), ago(9_000, 5_000)), ("now".into(), "in 4 s".into()));
        assert_eq!(ago(u64::MAX, 0), "in 213503982334 d");
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused_without_panic(text in "\\PC*|[0-9. smhd]*") {
            if let Err(error) = parse_duration(&text) {
                prop_assert!(!error.to_string().is_empty());
            }
        }

        #[test]
        fn what_is_shown_can_be_typed_back(ms in 0..u64::from(u32::MAX)) {
            let shown = short(Duration::from_millis(ms));
            let back = parse_duration(&shown).unwrap();
            prop_assert_eq!(short(back), shown);
        }
    }
}
