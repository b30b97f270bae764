//! `countd get`: exactly one number on the standard output.

use clap::{Args, ValueHint};

use crate::client::{Client, ClientError};
use crate::commands::exit::{DONE, Failure};
use crate::commands::selection::Asked;
use crate::commands::{Invocation, TIMEOUT};
use crate::counter::amount::parse_amount;
use crate::counter::name::Name;
use crate::protocol::{Row, Wanted};

/// Tagged counters that are named in place of one that is not there.
const HINTS_MAX: usize = 5;

pub(super) const EXAMPLES: &str = "\
EXAMPLES:
  countd get jobs.done
  countd get jobs.done -t host=a
  countd get jobs.failed --default 0   0 if it was never counted
  countd get --sum 'jobs.*'            all of them together

EXIT STATUS:
  0 done; 1 no such counter; 2 wrong use; 3 no daemon; 4 no answer in time";

/// Prints a counter's total, or the sum of several, and nothing else.
#[derive(Debug, Args)]
pub struct GetArgs {
    /// The counter; with --sum, names or patterns with * ? [...]
    #[arg(value_name = "NAME", required = true, value_hint = ValueHint::Other)]
    names: Vec<String>,
    /// A tag of the counter; with --sum the value is a pattern
    #[arg(short, long = "tag", value_name = "KEY=VALUE", value_hint = ValueHint::Other)]
    tags: Vec<String>,
    /// Print what was gained since the last flush in place of the total
    #[arg(long)]
    since_flush: bool,
    /// Print this number if there is no such counter; never for a missing daemon
    #[arg(
        long,
        value_name = "N",
        allow_negative_numbers = true,
        conflicts_with = "sum",
        value_hint = ValueHint::Other
    )]
    default: Option<String>,
    /// Add up all counters that match
    #[arg(long)]
    sum: bool,
    /// How long to wait for the answer, such as 2s or 500ms [default: 2s]
    #[arg(long, value_name = "DURATION", allow_hyphen_values = true, value_hint = ValueHint::Other)]
    timeout: Option<String>,
}

pub(super) fn run(args: &GetArgs, invocation: &mut Invocation<'_>) -> Result<u8, Failure> {
    let number = if args.sum { sum(args, invocation)? } else { one(args, invocation)? };
    invocation.put(format!("{number}\n").as_bytes())?;
    Ok(DONE)
}

fn one(args: &GetArgs, invocation: &Invocation<'_>) -> Result<u64, Failure> {
    let [name] = args.names.as_slice() else {
        let why = "get prints one number: give one NAME, or --sum for all of them together";
        return Err(Failure::Usage(why.to_owned()));
    };
    let mut name = Name::new(name).map_err(|error| Failure::Usage(error.to_string()))?;
    for tag in &args.tags {
        let (key, value) = tag.split_once('=').unwrap_or((tag, ""));
        name = name.with_tag(key, value).map_err(|error| Failure::Usage(error.to_string()))?;
    }
    let default = args.default.as_deref().map(parse_amount).transpose();
    let default = default.map_err(|error| Failure::Usage(format!("--default: {error}")))?;
    let mut client = invocation.client(args.timeout.as_deref(), TIMEOUT)?;
    match client.get(&name) {
        Ok(row) => Ok(number(&row, args.since_flush)),
        Err(ClientError::NotFound { .. }) => match default {
            Some(default) => Ok(default),
            None => Err(Failure::Refused(not_found(&name, &mut client))),
        },
        Err(error) => Err(error.into()),
    }
}

fn sum(args: &GetArgs, invocation: &Invocation<'_>) -> Result<u64, Failure> {
    let mut asked = Asked::new(&args.names, &args.tags, false)?;
    let mut client = invocation.client(args.timeout.as_deref(), TIMEOUT)?;
    let mut sum: u128 = 0;
    client.dump(&asked.wanted(), |row| {
        asked.found(&row.name);
        sum = sum.saturating_add(number(&row, args.since_flush).into());
    })?;
    if let Some(complaint) = asked.complaint() {
        return Err(complaint);
    }
    u64::try_from(sum).map_err(|_| {
        Failure::Refused(format!("the sum {sum} is over {}, the largest a counter has", u64::MAX))
    })
}

fn number(row: &Row<'_>, since_flush: bool) -> u64 {
    if since_flush { row.since_flush } else { row.total }
}

/// Says what counters of that name there are; why they are not known does not matter here.
fn not_found(name: &Name, client: &mut Client) -> String {
    let mut others = Vec::new();
    let wanted = Wanted { patterns: vec![name.base()], tags: Vec::new() };
    let listed = client.dump(&wanted, |row| others.push(row.name.into_owned()));
    if listed.is_err() || others.is_empty() {
        return format!("no counter {name}");
    }
    others.sort_unstable();
    let more = others.len().saturating_sub(HINTS_MAX);
    others.truncate(HINTS_MAX);
    let mut text = format!("no counter {name}, but {}", others.join(" "));
    if more > 0 {
        text.push_str(&format!(" and {more} more"));
    }
    text.push_str(&format!(": `countd get --sum {}` adds them up", name.base()));
    text
}
