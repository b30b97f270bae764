//! The command line: assembled from the commands' own arguments, parsed, run, and its failure reported.
//! What a command does is not known here.

use std::ffi::OsString;
use std::io::{BufWriter, Write};

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser, ValueHint};

use crate::commands::exit::{DONE, Failure, USAGE};
use crate::commands::{Command, Invocation, incr};
use crate::system::output::Output;
use crate::system::paths::Environment;
use crate::system::process;

const ABOUT: &str = "\
Counts things for scripts, durably and exactly once.

`countd incr NAME` in a script adds to a counter; `countd serve` keeps the counters, and writes what \
each gained to stdout or a log file every flush interval, 5 s by default; `countd dump` shows them.";

// Lines fit in 80 columns; what is longer has no line breaks of its own, and is wrapped to the terminal.
const AFTER_HELP: &str = "\
EXAMPLES:
  countd serve --log-file countd.log &   keep counters, and log what they gain
  countd incr jobs.done                  count one more
  countd get jobs.done                   print its total
  countd dump                            show all counters

EXIT STATUS:
  0  done; for incr: acknowledged
  1  refused by the daemon, not found, or the output could not be written
  2  wrong use
  3  no daemon there, no permission to reach it, or it took no request in time
  4  timed out after the request was sent: outcome unknown

The daemon is looked for at --socket, else at COUNTD_SOCKET, else at /run/countd/countd.sock if it \
exists, else at countd/countd.sock in the user's runtime folder, else at /tmp/countd-UID/countd.sock.";

/// Counts things for scripts, durably and exactly once
#[derive(Debug, Parser)]
#[command(name = "countd", version, long_about = ABOUT, after_help = AFTER_HELP)]
pub struct Cli {
    /// The daemon's socket
    #[arg(
        long,
        global = true,
        value_name = "PATH",
        value_parser = clap::value_parser!(OsString),
        value_hint = ValueHint::FilePath
    )]
    pub(crate) socket: Option<OsString>,
    /// What to do
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Does what a command line says, the program's name first in it, and returns the exit status.
pub fn run(words: Vec<OsString>) -> u8 {
    let mut err = Output::stderr();
    if let Err(error) = process::begin() {
        let failure = Failure::Refused(format!("standard input and output: {error}"));
        failure.report(&mut err);
        return failure.status();
    }
    // What needs no parser writes little, and all at once.
    match incr::plain::read(&words) {
        Some((socket, args)) => perform(socket, &mut Output::stdout(), &mut err, |invocation| {
            incr::run(&args, invocation)
        }),
        None => {
            let mut out = BufWriter::new(Output::stdout());
            match Cli::try_parse_from(words) {
                Ok(cli) => perform(cli.socket, &mut out, &mut err, |invocation| {
                    cli.command.run(invocation, Cli::command)
                }),
                Err(error) => explain(&error, &mut out, &mut err),
            }
        }
    }
}

fn perform(
    socket: Option<OsString>,
    out: &mut dyn Write,
    err: &mut dyn Write,
    command: impl FnOnce(&mut Invocation<'_>) -> Result<u8, Failure>,
) -> u8 {
    let done: Result<u8, Failure> = Environment::of_process(|environment| {
        let mut invocation = Invocation {
            socket,
            environment,
            out,
            err,
            out_is_terminal: || Output::stdout().is_terminal(),
            err_is_terminal: || Output::stderr().is_terminal(),
        };
        let status = command(&mut invocation)?;
        invocation.out.flush().map_err(Failure::Output)?;
        Ok(status)
    });
    done.unwrap_or_else(|failure| {
        // What was written before the failure is to be read before its message.
        let flushed = out.flush().map_err(Failure::Output);
        failure.report(err);
        flushed.err().map_or_else(|| failure.status(), |e| e.status().max(failure.status()))
    })
}

/// Prints help where help was asked for, and otherwise what is wrong with the command line.
fn explain(error: &clap::Error, out: &mut dyn Write, err: &mut dyn Write) -> u8 {
    if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
        let text = error.render().to_string();
        let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
        let failure = written.map_err(Failure::Output).err();
        if let Some(failure) = &failure {
            failure.report(err);
        }
        return failure.map_or(DONE, |failure| failure.status());
    }
    let _ = err.write_all(message(error).as_bytes());
    USAGE
}

/// What clap says, as countd says it.
fn message(error: &clap::Error) -> String {
    let text = error.render().to_string();
    match text.strip_prefix("error: ") {
        Some(text) => format!("countd: {text}"),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
        let mut countd = Cli::command();
        countd.build();
        for command in countd.get_subcommands_mut() {
            command.build();
        }
    }

    #[test]
    fn the_socket_may_stand_before_and_after_the_command() {
        for line in [["countd", "--socket", "/s", "flush"], ["countd", "flush", "--socket", "/s"]] {
            let cli = Cli::try_parse_from(line).unwrap();
            assert_eq!(cli.socket.as_deref(), Some("/s".as_ref()));
        }
        let cli = Cli::try_parse_from(["countd", "--socket", "", "flush"]).unwrap();
        assert_eq!(cli.socket.as_deref(), Some("".as_ref()));
    }

    #[test]
    fn wrong_use_is_said_by_countd() {
        let error = Cli::try_parse_from(["countd", "incr", "a", "--bye"]).unwrap_err();
        let text = message(&error);
        assert!(text.starts_with("countd: unexpected argument '--bye' found\n"), "{text}");
    }
}
