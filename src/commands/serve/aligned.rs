//! When flushes come by the wall clock, and how long after the multiples of the interval.

use std::ffi::OsStr;
use std::time::Duration;

use super::ServeArgs;
use crate::commands::exit::Failure;
use crate::commands::settings::{self, Settings};
use crate::format::duration::{parse_duration, short};
use crate::system::host;
use crate::window::offset_of;

/// The offset that each host has of its own.
const AUTO: &str = "auto";

/// The offset of aligned flushes, if they are to be aligned.
pub(super) fn offset(
    args: &ServeArgs,
    settings: &Settings<'_>,
    interval: Duration,
) -> Result<Option<Duration>, Failure> {
    let is_aligned = settings.switch(settings::ALIGNED, args.aligned, false)?;
    let chosen = settings.choose(settings::OFFSET, args.offset.as_deref().map(OsStr::new), false);
    let offset = match chosen {
        None => Duration::ZERO,
        Some(chosen) => chosen.parse(|text| parse(text, interval, is_aligned))?,
    };
    Ok(is_aligned.then_some(offset))
}

fn parse(text: &str, interval: Duration, is_aligned: bool) -> Result<Duration, String> {
    let offset = match text {
        AUTO => offset_of(interval, host::number()),
        _ => parse_duration(text).map_err(|error| format!("{error}, and not auto"))?,
    };
    if offset >= interval {
        return Err(format!("{text} is not less than the interval, {}", short(interval)));
    }
    if !is_aligned && (text == AUTO || !offset.is_zero()) {
        return Err("only aligned flushes have an offset: add --aligned".into());
    }
    Ok(offset)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIVE: Duration = Duration::from_secs(5);

    #[test]
    fn an_offset_is_less_than_the_interval_and_only_of_aligned_flushes() {
        assert_eq!(parse("1s", FIVE, true), Ok(Duration::from_secs(1)));
        assert_eq!(parse("0s", FIVE, false), Ok(Duration::ZERO));
        assert!(parse("5s", FIVE, true).unwrap_err().contains("not less than the interval, 5 s"));
        assert!(parse("1s", FIVE, false).unwrap_err().contains("--aligned"));
        assert!(parse("car", FIVE, true).unwrap_err().contains("auto"));
    }

    #[test]
    fn the_offset_of_a_host_stays() {
        assert_eq!(parse("auto", FIVE, true), parse("auto", FIVE, true));
    }
}
