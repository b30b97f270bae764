//! How long increments wait while the daemon does something large: what the benchmark of that name prints.

use std::process::Command;

use crate::processes::output;
use crate::report::{Book, Goal};
use crate::{Bench, Result};

pub(crate) fn measure(bench: &Bench<'_>, book: &mut Book) -> Result<()> {
    if bench.quick {
        return Ok(());
    }
    let mut command = Command::new(env!("CARGO"));
    command.current_dir(env!("CARGO_MANIFEST_DIR")).args(["bench", "--bench", "answers"]);
    let printed = output(&mut command)?;
    for (what, micros) in high_times(&printed).unwrap_or_default() {
        let what = format!("99 % of the answers while {what}");
        book.goal(what, Goal::AtMost(5.0), micros / 1e3, " ms");
    }
    book.answers = printed;
    Ok(())
}

/// What the daemon did, and the 99th percentile of the answers meanwhile, in microseconds.
fn high_times(printed: &str) -> Option<Vec<(&str, f64)>> {
    let mut lines = printed.lines().skip_while(|line| !line.starts_with("while "));
    let head = lines.next()?;
    let columns = head.split("  ").filter(|column| !column.is_empty());
    let at = columns.skip(1).position(|column| column.trim() == "99 %")?;
    let width = head.len() - head.trim_start_matches("while").trim_start().len();
    let rows = lines.map_while(|line| {
        // Names are as wide as the first column, numbers are flush right behind it.
        let end = line.find("  ").unwrap_or(width).min(line.len());
        let (what, numbers) = line.split_at_checked(end)?;
        Some((what.trim(), numbers.split_whitespace().nth(at)?.parse().ok()?))
    });
    Some(rows.filter(|(what, _)| !what.starts_with("nothing")).collect())
}
