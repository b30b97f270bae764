//! `countd delete`: forgets counters and prints what they were.

use std::borrow::Cow;

use clap::{Args, ValueHint};

use crate::commands::exit::{DONE, Failure};
use crate::commands::selection::Asked;
use crate::commands::{Invocation, TIMEOUT};
use crate::format::snapshot::{SortKey, plain_row, sort};
use crate::protocol::Row;

pub(super) const EXAMPLES: &str = "\
EXAMPLES:
  countd delete --dry-run 'test.*'     which would they be?
  countd delete 'test.*'
  countd delete jobs.done              the counter without tags, and no other
  countd delete jobs.done,host=a
  countd delete '*' -t host=gone

EXIT STATUS:
  0 done; 1 refused, or a name without wildcards is not there; 2 wrong use; 3 no daemon; 4 \
outcome unknown";

/// Forgets counters, and prints `NAME TOTAL` of each as it was. What they gained since the last flush is
/// still reported. Needs root or the daemon's own user.
#[derive(Debug, Args)]
pub struct DeleteArgs {
    /// Counters to forget: names, each exactly that counter, or patterns with * ? [...]
    #[arg(value_name = "PATTERN", required = true, value_hint = ValueHint::Other)]
    patterns: Vec<String>,
    /// Only counters that have this tag with a value that matches
    #[arg(short, long = "tag", value_name = "KEY=GLOB", value_hint = ValueHint::Other)]
    tags: Vec<String>,
    /// Forget nothing; print which counters it would be
    #[arg(short = 'n', long)]
    dry_run: bool,
    /// A name that is not there is no failure
    #[arg(long)]
    ignore_missing: bool,
    /// How long to wait for the answer, such as 2s or 500ms [default: 2s]
    #[arg(long, value_name = "DURATION", allow_hyphen_values = true, value_hint = ValueHint::Other)]
    timeout: Option<String>,
}

pub(super) fn run(args: &DeleteArgs, invocation: &mut Invocation<'_>) -> Result<u8, Failure> {
    let mut asked = Asked::new(&args.patterns, &args.tags, true)?;
    let mut client = invocation.client(args.timeout.as_deref(), TIMEOUT)?;
    let mut rows: Vec<Row<'static>> = Vec::new();
    let done = client.delete(&asked.wanted(), args.dry_run, |row| {
        asked.found(&row.name);
        rows.push(Row { name: Cow::Owned(row.name.into_owned()), ..row });
    });
    // What came is deleted, also if the rest is not.
    if args.dry_run && done.is_err() {
        rows.clear();
    }
    sort(&mut rows, SortKey::Name);
    let mut text = Vec::new();
    for row in &rows {
        plain_row(row, false, &mut text);
    }
    invocation.put(&text)?;
    done?;
    match asked.complaint() {
        Some(complaint) if !args.ignore_missing => Err(complaint),
        _ => Ok(DONE),
    }
}
