//! `countd completions`: a script that teaches a shell to complete countd's commands and options, and what that
//! script asks when names of counters may be wanted. The scripts are generated from the command line's types;
//! `names.*` beside this is what is put into them.

mod names;

use std::ffi::OsString;

use clap::{Args, ValueEnum, ValueHint};
use clap_complete::aot::{Bash, Fish, Generator, Zsh};

use crate::commands::Invocation;
use crate::commands::exit::{DONE, Failure};

pub(super) const EXAMPLES: &str = "\
EXAMPLES:
  countd completions bash >~/.local/share/bash-completion/completions/countd
  countd completions zsh >~/.zfunc/_countd
  countd completions fish >~/.config/fish/completions/countd.fish

EXIT STATUS:
  0 done; 1 the output could not be written; 2 wrong use";

/// Prints a script that teaches a shell to complete countd's commands and options.
#[derive(Debug, Args)]
pub struct CompletionsArgs {
    /// The shell
    #[arg(required_unless_present = "line")]
    shell: Option<ShellName>,
    /// For these scripts alone: the words of a command line up to the cursor. Prints what names of counters
    /// may stand there
    #[arg(
        last = true,
        hide = true,
        conflicts_with = "shell",
        value_parser = clap::value_parser!(OsString),
        value_hint = ValueHint::Other
    )]
    line: Vec<OsString>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum ShellName {
    Bash,
    Zsh,
    Fish,
}

/// Where the generated scripts begin to look for what to offer.
const BEGIN: &str = "_countd() {\n";
/// Asks for names in the shells' own words.
const BASH_NAMES: &str = include_str!("completions/names.bash");
const ZSH_NAMES: &str = include_str!("completions/names.zsh");
const FISH_NAMES: &str = include_str!("completions/names.fish");

pub(super) fn run(
    args: &CompletionsArgs,
    invocation: &mut Invocation<'_>,
    mut countd: clap::Command,
) -> Result<u8, Failure> {
    let text = match args.shell {
        None => names::offer(&args.line, countd, invocation),
        Some(ShellName::Bash) => {
            let script = generated(Bash, &mut countd);
            format!("{BASH_NAMES}{}", script.replacen(BEGIN, "_countd_words() {\n", 1))
        }
        Some(ShellName::Zsh) => {
            let begin = format!("{ZSH_NAMES}{BEGIN}    _countd_names && return 0\n");
            generated(Zsh, &mut countd).replacen(BEGIN, &begin, 1)
        }
        Some(ShellName::Fish) => {
            let script = generated(Fish, &mut countd);
            format!("{FISH_NAMES}{script}{}", arguments_for_fish(&countd))
        }
    };
    invocation.put(text.as_bytes())?;
    Ok(DONE)
}

fn generated(shell: impl Generator, countd: &mut clap::Command) -> String {
    // Into memory first: it panics when it cannot write.
    let mut script = Vec::new();
    clap_complete::generate(shell, countd, "countd", &mut script);
    String::from_utf8_lossy(&script).into_owned()
}

/// Fish offers names of files where nothing else is said, and the generator says nothing of arguments that
/// are no options. Ours are counters, words or folders; what a command line has after `run NAME` may be anything.
fn arguments_for_fish(countd: &clap::Command) -> String {
    let mut script = String::new();
    for command in countd.get_subcommands().filter(|command| command.get_name() != "help") {
        let values = command.get_positionals().filter_map(|arg| {
            let values = arg.get_value_parser().possible_values()?;
            Some(values.map(|value| value.get_name().to_owned()).collect::<Vec<_>>().join(" "))
        });
        let is_command = |arg: &clap::Arg| arg.get_value_hint() == ValueHint::CommandWithArguments;
        let files = if command.get_positionals().any(is_command) { "" } else { " -f" };
        let mut line = format!(
            "complete -c countd -n \"__fish_countd_using_subcommand {}\"{files}",
            command.get_name()
        );
        if names::COMMANDS.contains(&command.get_name()) {
            line.push_str(" -a \"(__fish_countd_names)\"");
        }
        for values in values {
            line.push_str(&format!(" -a \"{values}\""));
        }
        if command.get_positionals().any(|arg| arg.get_value_hint() == ValueHint::DirPath) {
            line.push_str(" -a \"(__fish_complete_directories)\"");
        }
        line.push('\n');
        script.push_str(&line);
    }
    script
}
