//! The `countd` program.

use std::process::ExitCode;

fn main() -> ExitCode {
    countd::cli::run()
}
