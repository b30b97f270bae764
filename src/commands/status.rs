//! `countd status`: the daemon's health in numbers, problems first.

use std::time::Duration;

use clap::{Args, ValueHint};

use crate::client::ClientError;
use crate::commands::exit::{DONE, Failure, REFUSED};
use crate::commands::settings::Chosen;
use crate::commands::words::Words;
use crate::commands::{Invocation, TIMEOUT, TIMEOUT_MAX, TIMEOUT_MIN, TableOrJson};
use crate::format::status::{status_json, status_table};
use crate::protocol::StatusReport;
use crate::system::clock;
use crate::system::connect::Deadline;

/// How long to wait before a daemon that was not there is asked again.
const ASK_AGAIN: Duration = Duration::from_millis(20);

pub(super) const EXAMPLES: &str = "\
EXAMPLES:
  countd status
  countd status --wait 10s             when the daemon was just started
  countd status --format json | jq .counters

EXIT STATUS:
  0 all is well; 1 there is a problem, it is listed first; 2 wrong use;
  3 no daemon; 4 no answer in time";

/// Shows the daemon's health in numbers, problems first.
#[derive(Debug, Args)]
pub struct StatusArgs {
    /// Wait up to this long, such as 10s, until there is a daemon and it answers [default: do not wait]
    #[arg(long, value_name = "DURATION", allow_hyphen_values = true, value_hint = ValueHint::Other)]
    wait: Option<String>,
    /// table or json (one object)
    #[arg(
        long,
        value_name = "FORMAT",
        default_value = "table",
        value_parser = Words(["table", "json"]),
        hide_possible_values = true
    )]
    format: String,
    /// How long to wait for an answer, such as 2s or 500ms [default: 2s]
    #[arg(long, value_name = "DURATION", allow_hyphen_values = true, value_hint = ValueHint::Other)]
    timeout: Option<String>,
}

pub(super) fn run(args: &StatusArgs, invocation: &mut Invocation<'_>) -> Result<u8, Failure> {
    let format: TableOrJson =
        Chosen::on_command_line("--format", &args.format).parse(str::parse)?;
    let report = ask(args, invocation)?;
    let mut text = Vec::new();
    match format {
        TableOrJson::Table => status_table(&report, clock::now().wall_ms, &mut text),
        TableOrJson::Json => status_json(&report, &mut text),
    }
    invocation.put(&text)?;
    Ok(if report.problems.is_empty() { DONE } else { REFUSED })
}

fn ask(args: &StatusArgs, invocation: &Invocation<'_>) -> Result<StatusReport, Failure> {
    let wait = args.wait.as_deref().map(|wait| Chosen::on_command_line("--wait", wait));
    let wait = wait.map(|wait| wait.duration(&(TIMEOUT_MIN..=TIMEOUT_MAX))).transpose()?;
    let deadline = wait.map(Deadline::after);
    loop {
        // Looked up each time: the daemon may make the socket that comes first.
        let error = match invocation.client(args.timeout.as_deref(), TIMEOUT)?.status() {
            Ok(report) => return Ok(report),
            Err(error) => error,
        };
        let passes = matches!(error, ClientError::NoDaemon { .. } | ClientError::Unknown { .. });
        match deadline.and_then(|deadline| deadline.left()) {
            Some(left) if passes => clock::pause(ASK_AGAIN.min(left)),
            _ => return Err(error.into()),
        }
    }
}
