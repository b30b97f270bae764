//! `countd run`: runs a command, counts how it ended and adds up how long it took, and exits as it did. The
//! command comes first: nothing that counting may meet changes its exit status, and what is wrong with the
//! command line is said before it is started.

use std::ffi::OsString;
use std::time::Duration;

use clap::{Args, ValueHint};

use crate::commands::Invocation;
use crate::commands::delivery::{self, Delivery, DeliveryArgs};
use crate::commands::exit::{DONE, Failure, say};
use crate::commands::given::{tagged, tags, utf8, value};
use crate::counter::name::Name;
use crate::system::child::{self, Ended, StartError};
use crate::system::clock;

/// The tag that says how the command ended, and its two values.
const RESULT: &str = "result";
const OK: &str = "ok";
const FAIL: &str = "fail";
/// What the counter of the run time has after the name.
const MILLISECONDS: &str = ".milliseconds";

/// As a shell has them.
const NOT_FOUND: u8 = 127;
const NOT_EXECUTED: u8 = 126;
const SIGNAL_BASE: u8 = 128;

pub(super) const USAGE: &str = "countd run [OPTIONS] <NAME[,KEY=VALUE]...> [--] <COMMAND> [ARG]...";

pub(super) const EXAMPLES: &str = "\
EXAMPLES:
  countd run backup -- rsync -a /home /mnt
  countd run backup -t host=$HOSTNAME -- sh -c 'dump | gzip >db.gz'
  countd run --spool report -- ./report    counted later if no daemon is there

EXIT STATUS:
  that of COMMAND, whatever becomes of counting; 128 + n if signal n ended it, 127 if it was not found, 126 if it \
cannot be executed; 2 wrong use of countd, COMMAND was not started

Options --socket, --timeout, --best-effort, --spool and --spool-dir can also come from the environment, as \
COUNTD_SPOOL=1; the command line wins.";

const TIMEOUT: &str =
    "How long to try to count once the command has ended, such as 500ms, up to 60s [default: 2s]";
const BEST_EFFORT: &str =
    "Run the command also with a bad name or tag, uncounted; say what is wrong";

/// Runs a command and exits with its status. Counts one more of NAME,result=ok if that is 0, else of
/// NAME,result=fail, and adds how long it ran to NAME.milliseconds, both or neither.
#[derive(Debug, Args)]
#[command(mut_args(delivery::meaning(TIMEOUT, BEST_EFFORT)))]
pub struct RunArgs {
    /// The counter; letters, digits and _ . - / : @ + % may stand in it. The tag result is added to it
    #[arg(
        value_name = "NAME[,KEY=VALUE]...",
        value_parser = clap::value_parser!(OsString),
        value_hint = ValueHint::Other
    )]
    name: OsString,
    /// The command and its arguments: all that follows NAME and the options, after -- or without it
    #[arg(
        value_name = "COMMAND",
        required = true,
        trailing_var_arg = true,
        value_parser = clap::value_parser!(OsString),
        value_hint = ValueHint::CommandWithArguments
    )]
    command: Vec<OsString>,
    /// A tag for the counters, other than result
    #[arg(
        short,
        long = "tag",
        value_name = "KEY=VALUE",
        value_parser = clap::value_parser!(OsString),
        value_hint = ValueHint::Other
    )]
    tags: Vec<OsString>,
    #[command(flatten)]
    delivery: DeliveryArgs,
}

pub(super) fn run(args: &RunArgs, invocation: &mut Invocation<'_>) -> Result<u8, Failure> {
    let settings = invocation.settings();
    let best_effort = args.delivery.best_effort(settings, false)?;
    let spools = args.delivery.spools(settings, false)?;
    let timeout = args.delivery.timeout(settings)?;
    let delivery = Delivery { timeout, spools, spool_dir: args.delivery.spool_dir.as_deref() };
    // Where the daemon is will be looked up when it is needed, but a path that cannot be one is wrong now.
    if let Err(wrong @ Failure::Usage(_)) = invocation.socket() {
        return Err(wrong);
    }
    let counters = match args.counters() {
        Err(failure) if best_effort && failure.is_forgivable() => {
            failure.report(invocation.err);
            None
        }
        counters => Some(counters?),
    };

    let started = clock::boot_ns();
    let ended = execute(&args.command, invocation);
    let took = Duration::from_nanos(clock::boot_ns().saturating_sub(started));
    let status = status(ended);
    if let Some(counters) = counters
        && let Err(failure) = delivery.deliver(&counters.gained(status == DONE, took), invocation)
    {
        failure.report(invocation.err);
    }
    if let Ended::Signalled { by_terminal: true, .. } = ended {
        child::end_by_interrupt();
    }
    Ok(status)
}

/// Runs the command; one that cannot be started has ended as a shell says it has.
fn execute(command: &[OsString], invocation: &mut Invocation<'_>) -> Ended {
    let path = (invocation.environment.variable)("PATH");
    match child::run(command, path.as_deref()) {
        Ok(ended) => ended,
        Err(error) => {
            let name = command.first().map(|name| name.display().to_string()).unwrap_or_default();
            say(invocation.err, format_args!("run: {name}: {error}"));
            Ended::Exited(match error {
                StartError::NotFound => NOT_FOUND,
                StartError::NotExecuted(_) => NOT_EXECUTED,
            })
        }
    }
}

/// The exit status a shell would have for it.
fn status(ended: Ended) -> u8 {
    match ended {
        Ended::Exited(status) => status,
        Ended::Signalled { signal, .. } => SIGNAL_BASE.saturating_add(signal),
    }
}

/// What a run counts, by its result.
struct Counters {
    ok: Name,
    fail: Name,
    milliseconds: Name,
}

impl Counters {
    fn gained(self, is_ok: bool, took: Duration) -> [(Name, u64); 2] {
        let result = if is_ok { self.ok } else { self.fail };
        let took = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        [(result, 1), (self.milliseconds, took)]
    }
}

impl RunArgs {
    fn counters(&self) -> Result<Counters, Failure> {
        let name = Name::new(utf8(&self.name, "NAME")?).map_err(value)?;
        let name = tagged(name, &tags(&self.tags)?)?;
        if name.tags().any(|(key, _)| key == RESULT) {
            let why =
                "run: the tag result is for what becomes of the command: name yours otherwise";
            return Err(Failure::Usage(why.to_owned()));
        }
        let with_result = |result| name.clone().with_tag(RESULT, result).map_err(value);
        let (ok, fail) = (with_result(OK)?, with_result(FAIL)?);
        let mut milliseconds =
            Name::new(&format!("{}{MILLISECONDS}", name.base())).map_err(value)?;
        for (key, text) in name.tags() {
            milliseconds = milliseconds.with_tag(key, text).map_err(value)?;
        }
        Ok(Counters { ok, fail, milliseconds })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counters(name: &str, tags: &[&str]) -> Result<Vec<String>, Failure> {
        let args = RunArgs {
            name: name.into(),
            command: vec!["true".into()],
            tags: tags.iter().map(Into::into).collect(),
            delivery: DeliveryArgs::default(),
        };
        let names = [
            args.counters()?.gained(true, Duration::ZERO),
            args.counters()?.gained(false, Duration::ZERO),
        ];
        Ok(names.iter().flatten().map(|(name, _)| name.to_string()).collect())
    }

    #[test]
    fn the_result_is_a_tag_and_the_run_time_has_none_of_it() {
        let names = ["job,result=ok", "job.milliseconds", "job,result=fail", "job.milliseconds"];
        assert_eq!(counters("job", &[]).unwrap(), names);
        let names = counters("job,z=1", &["host=a"]).unwrap();
        assert_eq!(names[..2], ["job,host=a,result=ok,z=1", "job.milliseconds,host=a,z=1"]);
    }

    #[test]
    fn a_result_of_ones_own_is_refused() {
        for (name, tags) in [("job,result=x", &[][..]), ("job", &["result=ok"])] {
            let failure = counters(name, tags).unwrap_err();
            assert!(failure.to_string().starts_with("run: the tag result "), "{failure}");
            assert!(!failure.is_forgivable());
        }
    }

    #[test]
    fn every_counter_of_a_run_is_checked_before_it() {
        let long = "x".repeat(250);
        for (name, tags) in [(&*long, &[][..]), ("a b", &[]), ("a=3", &[]), ("a", &["host="])] {
            assert!(counters(name, tags).unwrap_err().is_forgivable(), "{name} {tags:?}");
        }
    }

    #[test]
    fn whole_milliseconds_are_added() {
        let name = |name| Name::new(name).unwrap();
        let counters = Counters { ok: name("o"), fail: name("f"), milliseconds: name("m") };
        let gained = counters.gained(false, Duration::from_micros(2_999));
        assert_eq!(gained, [(name("f"), 1), (name("m"), 2)]);
    }

    #[test]
    fn a_signal_is_a_status_over_128() {
        assert_eq!(status(Ended::Signalled { signal: 15, by_terminal: false }), 143);
        assert_eq!(status(Ended::Exited(255)), 255);
    }
}
