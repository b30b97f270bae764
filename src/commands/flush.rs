//! `countd flush`: closes the window now, and returns when every sink has its report.

use clap::{Args, ValueHint};

use crate::commands::exit::{DONE, Failure};
use crate::commands::{Invocation, TIMEOUT_LONG};

pub(super) const EXAMPLES: &str = "\
EXAMPLES:
  countd flush && tail -n 5 /var/log/countd.log
  countd flush --timeout 60s           a slow collector

EXIT STATUS:
  0 every sink has it; 1 refused, or a sink does not have it yet; 2 wrong use; 3 no daemon; 4 \
outcome unknown";

/// Writes the reports now, without waiting for the flush interval, and returns when every sink has its
/// report. Needs root or the daemon's own user.
#[derive(Debug, Args)]
pub struct FlushArgs {
    /// How long to wait for the sinks, such as 10s or 500ms [default: 10s]
    #[arg(long, value_name = "DURATION", allow_hyphen_values = true, value_hint = ValueHint::Other)]
    timeout: Option<String>,
}

pub(super) fn run(args: &FlushArgs, invocation: &mut Invocation<'_>) -> Result<u8, Failure> {
    invocation.client(args.timeout.as_deref(), TIMEOUT_LONG)?.flush()?;
    Ok(DONE)
}
