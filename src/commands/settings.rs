//! What the command line leaves open and a `COUNTD_<OPTION>` variable may say. All of it is resolved in
//! [`Settings::choose`]: the command line wins, also where it only excludes the option; an empty variable
//! is unset. What says how much to count never comes from here. The path of the socket and of the state are
//! looked up in `system::paths`, by the same rules.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

use crate::commands::exit::Failure;
use crate::format::duration::{parse_duration, short};
use crate::system::paths::{Environment, Origin};

/// An option with the variable that may stand in for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Setting {
    /// The option, as it is written.
    pub option: &'static str,
    /// The variable.
    pub variable: &'static str,
}

macro_rules! settings {
    ($($name:ident $option:literal $variable:literal)*) => {
        $(
            #[doc = concat!("`", $option, "` and `", $variable, "`.")]
            pub const $name: Setting = Setting { option: $option, variable: $variable };
        )*

        /// Every variable that countd reads for an option.
        pub const VARIABLES: &[&str] = &[$($variable),*];
    };
}

settings! {
    SOCKET "--socket" "COUNTD_SOCKET"
    TIMEOUT "--timeout" "COUNTD_TIMEOUT"
    BEST_EFFORT "--best-effort" "COUNTD_BEST_EFFORT"
    SPOOL "--spool" "COUNTD_SPOOL"
    SPOOL_DIR "--spool-dir" "COUNTD_SPOOL_DIR"
    SOCKET_MODE "--socket-mode" "COUNTD_SOCKET_MODE"
    SOCKET_GROUP "--socket-group" "COUNTD_SOCKET_GROUP"
    INTERVAL "--interval" "COUNTD_INTERVAL"
    ALIGNED "--aligned" "COUNTD_ALIGNED"
    OFFSET "--offset" "COUNTD_OFFSET"
    LOG_FILE "--log-file" "COUNTD_LOG_FILE"
    SINK "--sink" "COUNTD_SINK"
    OWED_MAX "--owed-max" "COUNTD_OWED_MAX"
    FORMAT "--format" "COUNTD_FORMAT"
    IDLE "--idle" "COUNTD_IDLE"
    STATE_DIR "--state-dir" "COUNTD_STATE_DIR"
    EPHEMERAL "--ephemeral" "COUNTD_EPHEMERAL"
    FSYNC "--fsync" "COUNTD_FSYNC"
    MAX_COUNTERS "--max-counters" "COUNTD_MAX_COUNTERS"
    MAX_COUNTERS_PER_USER "--max-counters-per-user" "COUNTD_MAX_COUNTERS_PER_USER"
    MAX_CONNECTIONS "--max-connections" "COUNTD_MAX_CONNECTIONS"
}

/// Resolves options and variables.
#[derive(Clone, Copy)]
pub struct Settings<'a> {
    environment: &'a Environment<'a>,
}

/// A value that somebody chose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chosen {
    /// The value.
    pub value: OsString,
    /// Who chose it.
    pub origin: Origin,
}

impl<'a> Settings<'a> {
    /// Settings with the variables of an environment.
    pub fn new(environment: &'a Environment<'a>) -> Settings<'a> {
        Settings { environment }
    }

    /// The option's value, else the variable's. `excluded` says that the command line has something that
    /// excludes the option: then the variable says nothing.
    pub fn choose(
        &self,
        setting: Setting,
        option: Option<&OsStr>,
        excluded: bool,
    ) -> Option<Chosen> {
        if let Some(value) = option {
            let origin = Origin::Option(setting.option);
            return Some(Chosen { value: value.to_owned(), origin });
        }
        if excluded {
            return None;
        }
        let value = self.environment.set(setting.variable)?;
        Some(Chosen { value, origin: Origin::Variable(setting.variable) })
    }

    /// A switch: the variable may be 1, true, yes or on, or 0, false, no or off.
    ///
    /// # Errors
    /// [`Failure::Usage`] for any other value of the variable.
    pub fn switch(&self, setting: Setting, option: bool, excluded: bool) -> Result<bool, Failure> {
        let given = option.then_some(OsStr::new("1"));
        match self.choose(setting, given, excluded) {
            Some(chosen) => chosen.parse(parse_switch),
            None => Ok(false),
        }
    }

    /// A duration within `allowed`; `default` if nobody chose one.
    ///
    /// # Errors
    /// [`Failure::Usage`] for anything else.
    pub fn duration(
        &self,
        setting: Setting,
        option: Option<&str>,
        default: Duration,
        allowed: RangeInclusive<Duration>,
    ) -> Result<Duration, Failure> {
        match self.choose(setting, option.map(OsStr::new), false) {
            Some(chosen) => chosen.duration(&allowed),
            None => Ok(default),
        }
    }
}

impl Chosen {
    /// A value of the command line, where no variable may stand in for it.
    pub fn on_command_line(option: &'static str, value: &str) -> Chosen {
        Chosen { value: value.into(), origin: Origin::Option(option) }
    }

    /// Reads the value.
    ///
    /// # Errors
    /// [`Failure::Usage`], which names the option or the variable, when `read` cannot.
    pub fn parse<T, E: fmt::Display>(
        &self,
        read: impl FnOnce(&str) -> Result<T, E>,
    ) -> Result<T, Failure> {
        let refuse = |why: &dyn fmt::Display| Failure::Usage(format!("{}: {why}", self.origin));
        let Some(text) = self.value.to_str() else {
            return Err(refuse(&"the value is not UTF-8"));
        };
        read(text).map_err(|error| refuse(&error))
    }

    /// Reads a duration within `allowed`.
    ///
    /// # Errors
    /// [`Failure::Usage`] for anything else.
    pub fn duration(&self, allowed: &RangeInclusive<Duration>) -> Result<Duration, Failure> {
        self.parse(|text| {
            let duration = parse_duration(text).map_err(|error| error.to_string())?;
            if allowed.contains(&duration) {
                return Ok(duration);
            }
            let (least, most) = (*allowed.start(), *allowed.end());
            let (bound, of) = if duration < least { ("least", least) } else { ("most", most) };
            Err(format!("{text}: at {bound} {} is allowed", short(of)))
        })
    }
}

fn parse_switch(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "1" | "true" | "yes" | "on" => Ok(true),
        "0" | "false" | "no" | "off" => Ok(false),
        _ => Err(format!("\"{}\" is neither 1 nor 0", text.escape_debug())),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::system::paths::Place;

    fn with<T>(variables: &[(&str, &str)], test: impl FnOnce(Settings<'_>) -> T) -> T {
        let variable = |name: &str| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, value)| value.into())
        };
        let look = |_: &Path| Place::Missing;
        test(Settings::new(&Environment { variable: &variable, euid: 1, look: &look }))
    }

    const MIN: Duration = Duration::from_millis(1);
    const MAX: Duration = Duration::from_secs(60);

    fn timeout(settings: Settings<'_>, option: Option<&str>) -> Result<u64, String> {
        settings
            .duration(TIMEOUT, option, Duration::from_secs(2), MIN..=MAX)
            .map(|duration| duration.as_secs())
            .map_err(|failure| failure.to_string())
    }

    #[test]
    fn the_command_line_wins_over_the_variable_and_that_over_the_default() {
        with(&[("COUNTD_TIMEOUT", "3s")], |settings| {
            assert_eq!(timeout(settings, Some("4s")), Ok(4));
            assert_eq!(timeout(settings, None), Ok(3));
        });
        assert_eq!(with(&[], |settings| timeout(settings, None)), Ok(2));
    }

    #[test]
    fn an_empty_variable_is_unset() {
        assert_eq!(with(&[("COUNTD_TIMEOUT", "")], |settings| timeout(settings, None)), Ok(2));
    }

    #[test]
    fn what_the_command_line_excludes_no_variable_brings_back() {
        with(&[("COUNTD_BEST_EFFORT", "1"), ("COUNTD_STATE_DIR", "/s")], |settings| {
            assert!(settings.switch(BEST_EFFORT, false, false).unwrap());
            assert!(!settings.switch(BEST_EFFORT, false, true).unwrap());
            assert_eq!(settings.choose(STATE_DIR, None, true), None);
            let chosen = settings.choose(STATE_DIR, Some(OsStr::new("/o")), true).unwrap();
            assert_eq!(chosen.value, "/o");
        });
    }

    #[test]
    fn a_bad_value_names_the_variable_or_the_option() {
        with(&[("COUNTD_TIMEOUT", "soon"), ("COUNTD_BEST_EFFORT", "maybe")], |settings| {
            let error = timeout(settings, None).unwrap_err();
            assert!(error.starts_with("COUNTD_TIMEOUT: "), "{error}");
            let error = timeout(settings, Some("x")).unwrap_err();
            assert!(error.starts_with("--timeout: "), "{error}");
            let failure = settings.switch(BEST_EFFORT, false, false).unwrap_err();
            assert_eq!(failure.to_string(), "COUNTD_BEST_EFFORT: \"maybe\" is neither 1 nor 0");
            assert_eq!(failure.status(), 2);
        });
    }

    #[test]
    fn a_timeout_is_within_its_limits() {
        with(&[], |settings| {
            let error = timeout(settings, Some("61s")).unwrap_err();
            assert_eq!(error, "--timeout: 61s: at most 1 min is allowed");
            let error = timeout(settings, Some("0")).unwrap_err();
            assert_eq!(error, "--timeout: 0: at least 1 ms is allowed");
            assert_eq!(timeout(settings, Some("60")), Ok(60));
        });
    }

    #[test]
    fn a_variable_is_named_after_its_option() {
        for setting in [SOCKET, TIMEOUT, BEST_EFFORT, MAX_COUNTERS_PER_USER, EPHEMERAL] {
            let option = setting.option.trim_start_matches("--").replace('-', "_");
            assert_eq!(setting.variable, format!("COUNTD_{}", option.to_uppercase()));
        }
        assert!(VARIABLES.contains(&"COUNTD_LOG_FILE"));
    }
}
