//! `countd dump`: a snapshot of counters, in the order and the format asked for.

use std::borrow::Cow;

use clap::{Args, ValueHint};

use crate::commands::exit::{DONE, Failure, say};
use crate::commands::selection::Asked;
use crate::commands::settings::Chosen;
use crate::commands::words::Words;
use crate::commands::{Invocation, TIMEOUT_LONG};
use crate::format::SnapshotFormat;
use crate::format::prometheus::{self, Collisions};
use crate::format::snapshot::{SortKey, csv_header, csv_row, json_row, plain_row, sort};
use crate::format::table;
use crate::protocol::{Row, SnapshotInfo};

/// How much is rendered before it is written.
const WRITE_BYTES: usize = 64 << 10;

pub(super) const EXAMPLES: &str = "\
EXAMPLES:
  countd dump                          all counters
  countd dump 'jobs.*'                 names that begin so, with any tags
  countd dump jobs.done -t host='web*'
  countd dump --sort total | head -20
  countd dump --since-flush            what was gained since the last flush
  countd dump --format json | jq .total

EXIT STATUS:
  0 done; 1 a name without wildcards matches nothing, or counters fall together in Prometheus; 2 wrong use; 3 no daemon;
  4 no answer in time";

/// Shows counters at one moment: totals since each was created. In byte order as `NAME TOTAL`; on a
/// terminal as a table.
#[derive(Debug, Args)]
pub struct DumpArgs {
    /// Counters to show: names, or patterns with * ? [...] over the name part. Without tags in it a
    /// pattern matches whatever the tags are. Default: all.
    #[arg(value_name = "PATTERN", value_hint = ValueHint::Other)]
    patterns: Vec<String>,
    /// Only counters that have this tag with a value that matches
    #[arg(short, long = "tag", value_name = "KEY=GLOB", value_hint = ValueHint::Other)]
    tags: Vec<String>,
    /// plain, table, json (one object a line), csv or prometheus. Default: table on a terminal, else
    /// plain
    #[arg(
        long,
        value_name = "FORMAT",
        value_parser = Words(SnapshotFormat::ALL.map(SnapshotFormat::name)),
        hide_possible_values = true
    )]
    format: Option<String>,
    /// Print what was gained since the last flush in place of the totals
    #[arg(long)]
    since_flush: bool,
    /// name, total, since-flush or last-seen. Numbers sort from the largest, times from the latest
    #[arg(
        long,
        value_name = "KEY",
        default_value = "name",
        value_parser = Words(SortKey::ALL.map(SortKey::name)),
        hide_possible_values = true
    )]
    sort: String,
    /// How long to wait for the answer, such as 10s or 500ms [default: 10s]
    #[arg(long, value_name = "DURATION", allow_hyphen_values = true, value_hint = ValueHint::Other)]
    timeout: Option<String>,
}

pub(super) fn run(args: &DumpArgs, invocation: &mut Invocation<'_>) -> Result<u8, Failure> {
    let format = match &args.format {
        Some(word) => Chosen::on_command_line("--format", word).parse(str::parse)?,
        // The table has its own column for it; who asks for it wants the number.
        None if !args.since_flush && (invocation.out_is_terminal)() => SnapshotFormat::Table,
        None => SnapshotFormat::Plain,
    };
    if args.since_flush && format == SnapshotFormat::Prometheus {
        let why = "--since-flush: prometheus takes totals only, and finds the gain itself";
        return Err(Failure::Usage(why.to_owned()));
    }
    let key: SortKey = Chosen::on_command_line("--sort", &args.sort).parse(str::parse)?;
    let mut asked = Asked::new(&args.patterns, &args.tags, false)?;
    let mut client = invocation.client(args.timeout.as_deref(), TIMEOUT_LONG)?;
    let mut rows: Vec<Row<'static>> = Vec::new();
    let info = client.dump(&asked.wanted(), |row| {
        asked.found(&row.name);
        rows.push(Row { name: Cow::Owned(row.name.into_owned()), ..row });
    })?;
    sort(&mut rows, key);
    write(format, args.since_flush, &info, &rows, invocation)?;
    asked.complaint().map_or(Ok(DONE), Err)
}

/// Names the counters that are left out because others have the same series.
fn complain(collisions: &Collisions, invocation: &mut Invocation<'_>) -> Result<(), Failure> {
    for collision in &collisions.named {
        say(invocation.err, collision);
    }
    match collisions.number {
        0 => Ok(()),
        n => {
            Err(Failure::Refused(format!("{n} counters have no series of their own in Prometheus")))
        }
    }
}

fn write(
    format: SnapshotFormat,
    since_flush: bool,
    info: &SnapshotInfo,
    rows: &[Row<'_>],
    invocation: &mut Invocation<'_>,
) -> Result<(), Failure> {
    let mut text = Vec::new();
    let render: &dyn Fn(&Row<'_>, &mut Vec<u8>) = match format {
        SnapshotFormat::Plain => &|row, out| plain_row(row, since_flush, out),
        SnapshotFormat::Json => &json_row,
        SnapshotFormat::Csv => {
            csv_header(&mut text);
            &csv_row
        }
        SnapshotFormat::Table => {
            table::render(info, rows, &mut text);
            return invocation.put(&text);
        }
        SnapshotFormat::Prometheus => {
            let collisions = prometheus::render(rows, &mut text);
            invocation.put(&text)?;
            return complain(&collisions, invocation);
        }
    };
    for row in rows {
        render(row, &mut text);
        if text.len() >= WRITE_BYTES {
            invocation.put(&text)?;
            text.clear();
        }
    }
    invocation.put(&text)
}
