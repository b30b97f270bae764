//! The subcommands: one file each, with its arguments and what it does. A command is handed everything it
//! touches in an [`Invocation`], and returns an exit status or a [`Failure`]; what ends the process is
//! above.

pub mod completions;
pub mod delete;
mod delivery;
pub mod dump;
pub mod exit;
pub mod flush;
pub mod get;
mod given;
pub mod incr;
pub mod run;
mod selection;
pub mod serve;
pub mod settings;
pub mod status;
pub mod verify;
mod words;

use std::ffi::{OsStr, OsString};
use std::io::Write;
use std::str::FromStr;
use std::time::Duration;

use clap::Subcommand;

use crate::client::{Client, SocketPath};
use exit::Failure;
use settings::{Chosen, Settings};

use crate::system::paths::{Environment, client_socket};

/// What countd can be told to do.
#[derive(Debug, Subcommand)]
#[command(defer = true)]
#[expect(clippy::large_enum_variant, reason = "there is one, and it is read once")]
pub enum Command {
    /// Keep the counters: the daemon
    #[command(after_help = serve::EXAMPLES)]
    Serve(serve::ServeArgs),
    /// Add to counters, exactly once
    #[command(after_help = incr::EXAMPLES)]
    Incr(incr::IncrArgs),
    /// Run a command, and count how it ended and how long it took
    #[command(override_usage = run::USAGE, after_help = run::EXAMPLES)]
    Run(run::RunArgs),
    /// Show counters
    #[command(after_help = dump::EXAMPLES)]
    Dump(dump::DumpArgs),
    /// Print one number
    #[command(after_help = get::EXAMPLES)]
    Get(get::GetArgs),
    /// Forget counters
    #[command(after_help = delete::EXAMPLES)]
    Delete(delete::DeleteArgs),
    /// Write the reports now
    #[command(after_help = flush::EXAMPLES)]
    Flush(flush::FlushArgs),
    /// Show the daemon's health
    #[command(after_help = status::EXAMPLES)]
    Status(status::StatusArgs),
    /// Check a state folder without a daemon
    #[command(after_help = verify::EXAMPLES)]
    Verify(verify::VerifyArgs),
    /// Print a completion script for a shell
    #[command(after_help = completions::EXAMPLES)]
    Completions(completions::CompletionsArgs),
}

/// What a command works with.
pub struct Invocation<'a> {
    /// The socket on the command line.
    pub socket: Option<OsString>,
    /// Variables, user, files.
    pub environment: &'a Environment<'a>,
    /// The standard output; it is flushed after the command.
    pub out: &'a mut dyn Write,
    /// The standard error.
    pub err: &'a mut dyn Write,
    /// Whether the standard output is a terminal.
    pub out_is_terminal: fn() -> bool,
    /// Whether the standard error is a terminal.
    pub err_is_terminal: fn() -> bool,
}

/// The timeout of a command that only the daemon's loop answers.
const TIMEOUT: Duration = Duration::from_secs(2);
/// The timeout of a command that waits for sinks or has much to say.
const TIMEOUT_LONG: Duration = Duration::from_secs(10);
/// The shortest timeout.
const TIMEOUT_MIN: Duration = Duration::from_millis(1);
/// The longest timeout that makes sense.
const TIMEOUT_MAX: Duration = Duration::from_secs(24 * 3600);

/// How facts are shown: to a person, or to a program.
#[derive(Clone, Copy)]
enum TableOrJson {
    Table,
    Json,
}

impl FromStr for TableOrJson {
    type Err = String;

    fn from_str(word: &str) -> Result<TableOrJson, String> {
        match word {
            "table" => Ok(TableOrJson::Table),
            "json" => Ok(TableOrJson::Json),
            _ => Err(format!("\"{}\" is not one of table, json", word.escape_debug())),
        }
    }
}

impl Command {
    /// Does it, and returns the exit status. `countd` is the whole command line, for completions.
    ///
    /// # Errors
    /// [`Failure`], still to be reported.
    pub fn run(
        self,
        invocation: &mut Invocation<'_>,
        countd: fn() -> clap::Command,
    ) -> Result<u8, Failure> {
        match self {
            Command::Serve(args) => serve::run(&args, invocation),
            Command::Incr(args) => incr::run(&args, invocation),
            Command::Run(args) => run::run(&args, invocation),
            Command::Dump(args) => dump::run(&args, invocation),
            Command::Get(args) => get::run(&args, invocation),
            Command::Delete(args) => delete::run(&args, invocation),
            Command::Flush(args) => flush::run(&args, invocation),
            Command::Status(args) => status::run(&args, invocation),
            Command::Verify(args) => verify::run(&args, invocation),
            Command::Completions(args) => completions::run(&args, invocation, countd()),
        }
    }
}

impl Invocation<'_> {
    /// What options and variables say.
    pub fn settings(&self) -> Settings<'_> {
        Settings::new(self.environment)
    }

    /// The daemon's socket.
    ///
    /// # Errors
    /// [`Failure`] when the path is not one to connect to.
    pub fn socket(&self) -> Result<SocketPath, Failure> {
        let option = self.socket.as_deref().map(OsStr::new);
        Ok(client_socket(option, self.environment)?)
    }

    /// A client for one request a connection.
    ///
    /// # Errors
    /// [`Failure`] for a bad timeout or socket.
    fn client(&self, timeout: Option<&str>, default: Duration) -> Result<Client, Failure> {
        let timeout = match timeout {
            Some(text) => {
                Chosen::on_command_line("--timeout", text).duration(&(TIMEOUT_MIN..=TIMEOUT_MAX))?
            }
            None => default,
        };
        Ok(Client::new(self.socket()?, timeout).one_request())
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.out.write_all(bytes).map_err(Failure::Output)
    }
}

#[cfg(test)]
mod tests;
