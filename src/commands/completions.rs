//! `countd completions`: a script that teaches a shell to complete countd's commands and options.

use clap::{Args, ValueEnum, ValueHint};
use clap_complete::Shell;

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
    shell: ShellName,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum ShellName {
    Bash,
    Zsh,
    Fish,
}

pub(super) fn run(
    args: &CompletionsArgs,
    invocation: &mut Invocation<'_>,
    mut countd: clap::Command,
) -> Result<u8, Failure> {
    let shell = match args.shell {
        ShellName::Bash => Shell::Bash,
        ShellName::Zsh => Shell::Zsh,
        ShellName::Fish => Shell::Fish,
    };
    // Into memory first: it panics when it cannot write.
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut countd, "countd", &mut script);
    if shell == Shell::Fish {
        put_arguments_for_fish(&countd, &mut script);
    }
    invocation.put(&script)?;
    Ok(DONE)
}

/// Fish offers names of files where nothing else is said, and the generator says nothing of arguments that
/// are no options. None of ours is a file; some are folders.
fn put_arguments_for_fish(countd: &clap::Command, script: &mut Vec<u8>) {
    for command in countd.get_subcommands().filter(|command| command.get_name() != "help") {
        let values = command.get_positionals().filter_map(|arg| {
            let values = arg.get_value_parser().possible_values()?;
            Some(values.map(|value| value.get_name().to_owned()).collect::<Vec<_>>().join(" "))
        });
        let mut line = format!(
            "complete -c countd -n \"__fish_countd_using_subcommand {}\" -f",
            command.get_name()
        );
        for values in values {
            line.push_str(&format!(" -a \"{values}\""));
        }
        if command.get_positionals().any(|arg| arg.get_value_hint() == ValueHint::DirPath) {
            line.push_str(" -a \"(__fish_complete_directories)\"");
        }
        line.push('\n');
        script.extend_from_slice(line.as_bytes());
    }
}
