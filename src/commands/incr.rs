//! `countd incr`: adds to counters, those of its arguments in one request or those of its standard input
//! as a stream.

pub(crate) mod plain;
mod stdin;
#[cfg(test)]
mod tests;

use std::ffi::OsString;
use std::io::Write as _;

use clap::{Args, ValueHint};

use crate::client::Client;
use crate::commands::Invocation;
use crate::commands::delivery::{self, Delivery, DeliveryArgs};
use crate::commands::exit::{DONE, Failure};
use crate::commands::given::{tagged, tags, utf8, value};
use crate::commands::settings::Settings;
use crate::counter::amount::parse_amount;
use crate::counter::name::Name;
use crate::counter::text::parse_increment;

pub(super) const EXAMPLES: &str = "\
EXAMPLES:
  countd incr jobs.done                    1 more
  countd incr bytes.sent=4096 files.sent   4096 and 1, both or neither
  countd incr errors --by 3
  countd incr jobs.done -t host=$HOSTNAME -t result=ok
  build=$(countd incr build --print)       a unique number
  awk '{print $9}' access.log | countd incr --stdin
  countd incr --best-effort cron.runs      never fails the script
  countd incr --spool backup.runs          counted later if no daemon is there

EXIT STATUS:
  0 counted, exactly once, or with --spool to be counted so; 1 refused, nothing was counted, except with --stdin the lines that were not refused; 2 wrong \
use; 3 no daemon, nothing was counted; 4 no answer in time: counted or not

Options --socket, --timeout, --best-effort, --spool and --spool-dir can also come from the environment, as \
COUNTD_TIMEOUT=500ms and COUNTD_SPOOL=1; the command line wins.";

const TIMEOUT: &str = "How long to try, such as 500ms, up to 60s [default: 2s]. With --stdin: how long to wait for a \
daemon that is gone [default: for ever]";
const BEST_EFFORT: &str = "Exit 0 whatever becomes of the increment, also with a bad name, tag or amount; say what \
went wrong";

/// Adds to counters: all of them or, when refused, none. A counter begins to be when it is first counted.
/// When this returns 0 the increment is counted once, exactly once, whatever process crashes afterwards.
#[derive(Debug, Default, Args)]
#[command(mut_args(delivery::meaning(TIMEOUT, BEST_EFFORT)))]
pub struct IncrArgs {
    /// Counters to add to, each with its own amount if it has one; - is the same as --stdin. Letters,
    /// digits and _ . - / : @ + % may stand in names and tags
    #[arg(
        value_name = "NAME[,KEY=VALUE]...[=N]",
        value_parser = clap::value_parser!(OsString),
        allow_negative_numbers = true,
        value_hint = ValueHint::Other
    )]
    names: Vec<OsString>,
    /// How much to add to each NAME that has no amount of its own; 0 only makes the counter
    /// [default: 1]
    #[arg(
        long,
        value_name = "N",
        value_parser = clap::value_parser!(OsString),
        allow_negative_numbers = true,
        value_hint = ValueHint::Other
    )]
    by: Option<OsString>,
    /// A tag for each NAME or line
    #[arg(
        short,
        long = "tag",
        value_name = "KEY=VALUE",
        value_parser = clap::value_parser!(OsString),
        value_hint = ValueHint::Other
    )]
    tags: Vec<OsString>,
    /// Read lines NAME, NAME N or NAME=N from standard input, and count them until it ends. A bad line
    /// is refused with a message; the others count
    #[arg(long)]
    stdin: bool,
    /// Print the new totals, one a line in the order of the names
    #[arg(long)]
    print: bool,
    #[command(flatten)]
    delivery: DeliveryArgs,
}

pub(crate) fn run(args: &IncrArgs, invocation: &mut Invocation<'_>) -> Result<u8, Failure> {
    let best_effort = args.best_effort(invocation.settings())?;
    let spools = args.spools(invocation.settings())?;
    let done = if args.is_stream() {
        check_stream(args).and_then(|()| stream(args, invocation))
    } else {
        once(args, spools, invocation)
    };
    match done {
        Err(failure) if best_effort && failure.is_forgivable() => {
            failure.report(invocation.err);
            Ok(DONE)
        }
        // Lines of a stream that were refused have been named.
        Ok(_) if best_effort => Ok(DONE),
        done => done,
    }
}

fn once(args: &IncrArgs, spools: bool, invocation: &mut Invocation<'_>) -> Result<u8, Failure> {
    if args.names.is_empty() {
        let why =
            "incr: nothing to count: give a NAME, or --stdin to read names from standard input";
        return Err(Failure::Usage(why.to_owned()));
    }
    let timeout = args.delivery.timeout(invocation.settings())?;
    let increments = args.increments()?;
    if !args.print {
        let delivery = Delivery { timeout, spools, spool_dir: args.delivery.spool_dir.as_deref() };
        return delivery.deliver(&increments, invocation);
    }
    let mut client = Client::new(invocation.socket()?, timeout).one_request();
    let mut text = Vec::new();
    for total in client.incr_totals(&increments)? {
        writeln!(text, "{total}").map_err(Failure::Output)?;
    }
    let written = invocation.put(&text);
    let written = written.and_then(|()| invocation.out.flush().map_err(Failure::Output));
    written.map_err(counted_but)?;
    Ok(DONE)
}

/// Totals that cannot be written are those of increments that are counted: who hears of it must not count
/// again.
fn counted_but(failure: Failure) -> Failure {
    if let Failure::Output(error) = &failure
        && error.kind() != std::io::ErrorKind::BrokenPipe
    {
        return Failure::Refused(format!("counted, but the totals cannot be written: {error}"));
    }
    failure
}

fn stream(args: &IncrArgs, invocation: &mut Invocation<'_>) -> Result<u8, Failure> {
    let connect = args.delivery.timeout(invocation.settings())?;
    // Only the command line bounds how long a stream waits for a daemon that was there.
    let patience = args.delivery.timeout.as_ref().map(|_| connect);
    let tags = tags(&args.tags)?;
    let stream = crate::client::stream::Stream::connect(invocation.socket()?, connect, patience)?;
    let input = rustix::stdio::stdin();
    let told = (invocation.err_is_terminal)();
    stdin::count(input, stream, &tags, invocation.err, told)
}

impl IncrArgs {
    fn is_stream(&self) -> bool {
        self.stdin || self.names.iter().any(|name| name == "-")
    }

    /// On the command line `--print` excludes it, and so keeps the variable from asking for it.
    fn best_effort(&self, settings: Settings<'_>) -> Result<bool, Failure> {
        if self.delivery.best_effort && self.print {
            let why = "--best-effort excludes --print: what is printed has to be a total";
            return Err(Failure::Usage(why.to_owned()));
        }
        self.delivery.best_effort(settings, self.print)
    }

    /// What prints totals needs a daemon, and a stream waits for one: either excludes it, and so keeps the
    /// variable from asking for it.
    fn spools(&self, settings: Settings<'_>) -> Result<bool, Failure> {
        let excluded = self.print || self.is_stream();
        if self.delivery.spool && excluded {
            let what = if self.print { "--print" } else { "--stdin" };
            let why = format!("--spool excludes {what}: only a daemon can answer");
            return Err(Failure::Usage(why));
        }
        self.delivery.spools(settings, excluded)
    }

    /// The counters and how much to add to each.
    fn increments(&self) -> Result<Vec<(Name, u64)>, Failure> {
        let by = match &self.by {
            Some(by) => parse_amount(utf8(by, "--by")?).map_err(|e| value(format!("--by: {e}")))?,
            None => 1,
        };
        let tags = tags(&self.tags)?;
        let mut increments = Vec::with_capacity(self.names.len());
        let mut before: Option<&OsString> = None;
        for text in &self.names {
            let before = before.replace(text).and_then(|before| before.to_str());
            let text = utf8(text, "NAME")?;
            if let Some(before) = before
                && is_number(text)
            {
                let what =
                    format!("{text} is no name: did you mean {before}={text} or --by {text}?");
                return Err(value(what));
            }
            if let Some(negative) = text.strip_prefix('-')
                && is_number(negative)
            {
                // It can only be meant as an amount.
                parse_amount(text).map_err(value)?;
            }
            let (name, amount) = parse_increment(text).map_err(value)?;
            increments.push((tagged(name, &tags)?, amount.unwrap_or(by)));
        }
        Ok(increments)
    }
}

fn check_stream(args: &IncrArgs) -> Result<(), Failure> {
    let others = if args.stdin { 0 } else { 1 };
    let excluded = if args.names.len() > others {
        "NAME"
    } else if args.by.is_some() {
        "--by"
    } else if args.print {
        "--print"
    } else {
        return Ok(());
    };
    let why = format!("--stdin excludes {excluded}: names and amounts come from standard input");
    Err(Failure::Usage(why))
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}
