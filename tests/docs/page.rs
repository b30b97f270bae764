//! A page of the manual: title, name, arguments and options come from the command line's own types, all
//! else from the command's file in `man/sections`. There, text between `.EX` and `.EE` is shown as it
//! stands; `.\" @options` is where arguments and options go, `.\" @include FILE` takes in another file, and
//! `.\" @example` says of the `.EX` that follows what a test makes of it.

use clap::{Arg, Command, CommandFactory};
use countd::cli::Cli;

use crate::repository;
use crate::roff::{bold_face, italic_face, prose, verbatim};

/// When the pages were last changed in what they say.
const DATE: &str = "2026-11-22";
/// The commands, in the order in which pages name each other.
const COMMANDS: [&str; 10] =
    ["serve", "incr", "run", "dump", "get", "delete", "flush", "status", "verify", "completions"];

/// A page, and what it is about.
pub(crate) struct Page {
    /// The subcommand; `None` for the page of countd itself.
    pub(crate) subcommand: Option<String>,
    /// What it does, in a few words.
    about: String,
    /// Its arguments.
    pub(crate) command: Command,
}

/// All pages.
pub(crate) fn all() -> Vec<Page> {
    let unbuilt = Cli::command();
    let about = |command: &Command| command.get_about().unwrap().to_string();
    let mut countd = Cli::command();
    countd.build();
    let ours = countd.get_subcommands().filter(|command| command.get_name() != "help");
    let mut pages: Vec<Page> = ours
        .map(|command| Page {
            subcommand: Some(command.get_name().to_owned()),
            // Built, a command has the longer text of its arguments.
            about: about(unbuilt.find_subcommand(command.get_name()).unwrap()),
            command: command.clone(),
        })
        .collect();
    pages.insert(0, Page { subcommand: None, about: about(&unbuilt), command: countd });
    pages
}

impl Page {
    /// `countd` or `countd-incr`.
    pub(crate) fn name(&self) -> String {
        match &self.subcommand {
            Some(command) => format!("countd-{command}"),
            None => "countd".to_owned(),
        }
    }

    /// The name of its file.
    pub(crate) fn file(&self) -> String {
        format!("{}.1", self.name())
    }

    /// Its own part, with what it includes, line by line.
    pub(crate) fn sections(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for line in read(&self.name()).lines() {
            match line.strip_prefix(".\\\" @include ") {
                Some(file) => lines.extend(read(file).lines().map(str::to_owned)),
                None => lines.push(line.to_owned()),
            }
        }
        lines
    }

    /// The arguments that a page tells of: not those every program has.
    pub(crate) fn arguments(&self) -> impl Iterator<Item = &Arg> {
        self.command
            .get_arguments()
            .filter(|arg| !matches!(arg.get_id().as_str(), "help" | "version"))
    }

    /// The whole page.
    pub(crate) fn render(&self) -> String {
        let name = self.name();
        let mut out = format!(
            ".\\\" Made from the command line and man/sections/{name}.man: {}\n",
            crate::UPDATE
        );
        let version = env!("CARGO_PKG_VERSION");
        let title = name.to_uppercase();
        out.push_str(&format!(
            ".TH \"{title}\" \"1\" \"{DATE}\" \"countd {version}\" \"User Commands\"\n"
        ));
        // Lines are neither stretched nor broken inside words, of which many are names.
        out.push_str(".nr HY 0\n.nh\n.ad l\n");
        let mut about = self.about.chars();
        let first = about.next().unwrap().to_ascii_lowercase();
        let about = format!("{first}{}", about.as_str());
        out.push_str(&format!(".SH NAME\n{} \\- {}\n", name.replace('-', "\\-"), prose(&about)));
        let mut is_shown = false;
        for line in self.sections() {
            match line.as_str() {
                ".\\\" @options" => self.put_options(&mut out),
                line if line.starts_with(".\\\" @") => {}
                ".EX" => {
                    is_shown = true;
                    let last = out.lines().last().unwrap_or_default();
                    if last != ".PP" && !last.starts_with(".SH") {
                        out.push_str(".PP\n");
                    }
                    out.push_str(".RS 4\n.EX\n");
                }
                ".EE" => {
                    is_shown = false;
                    out.push_str(".EE\n.RE\n");
                }
                line if is_shown => out.push_str(&format!("{}\n", verbatim(line))),
                line => {
                    out.push_str(&format!("{}\n", unbroken_options(line)));
                }
            }
        }
        self.put_see_also(&mut out);
        out
    }

    fn put_options(&self, out: &mut String) {
        let (positional, options): (Vec<_>, Vec<_>) =
            self.arguments().filter(|arg| !arg.is_hide_set()).partition(|arg| arg.is_positional());
        // What every command has comes last.
        let (common, own): (Vec<_>, Vec<_>) =
            options.into_iter().partition(|arg| arg.is_global_set());
        let parts = [("ARGUMENTS", positional), ("OPTIONS", [own, common].concat())];
        for (heading, arguments) in parts {
            if !arguments.is_empty() {
                out.push_str(&format!(".SH {heading}\n"));
            }
            for arg in arguments {
                out.push_str(&format!(".TP\n{}\n{}\n", usage(arg), prose(&explanation(arg))));
            }
        }
    }

    fn put_see_also(&self, out: &mut String) {
        out.push_str(".SH SEE ALSO\n");
        let ours = self.subcommand.as_deref();
        let mut others: Vec<String> = Vec::new();
        if ours.is_some() {
            others.push("countd".to_owned());
        }
        let commands = COMMANDS.iter().filter(|command| Some(**command) != ours);
        others.extend(commands.map(|command| format!("countd\\-{command}")));
        for (at, other) in others.iter().enumerate() {
            let comma = if at + 1 < others.len() { "," } else { "" };
            out.push_str(&format!(".BR \\%{other} (1){comma}\n"));
        }
    }
}

/// A line of a section, with the hyphens of its options such that no line breaks at them.
fn unbroken_options(line: &str) -> String {
    let mut out = String::new();
    let mut rest = line;
    while let Some(at) = rest.find("--") {
        let (before, option) = rest.split_at(at);
        let is_name = |c: char| c.is_ascii_lowercase() || c == '-';
        let end = option.find(|c| !is_name(c)).unwrap_or(option.len());
        let (option, after) = option.split_at(end);
        out.push_str(before);
        out.push_str(&option.replace('-', "\\-"));
        rest = after;
    }
    out.push_str(rest);
    out.replace('~', "\\(ti")
}

fn read(name: &str) -> String {
    let path = repository(&format!("man/sections/{name}.man"));
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// `-t KEY=VALUE, --tag KEY=VALUE`, with faces.
fn usage(arg: &Arg) -> String {
    let value = arg.get_value_names().map(|names| names.join(" "));
    if arg.is_positional() {
        return italic_face(&value.unwrap_or_default());
    }
    let takes = arg.get_action().takes_values();
    let value = value.filter(|_| takes).map(|value| format!(" {}", italic_face(&value)));
    let value = value.unwrap_or_default();
    let short = arg.get_short().map(|short| bold_face(&format!("-{short}")));
    let long = arg.get_long().map(|long| bold_face(&format!("--{long}")));
    let forms = short.into_iter().chain(long).map(|form| format!("{form}{value}"));
    forms.collect::<Vec<_>>().join(", ")
}

/// The help of an argument as sentences.
fn explanation(arg: &Arg) -> String {
    let help = arg.get_long_help().or(arg.get_help()).unwrap().to_string();
    let mut text = help.replace("\n", " ");
    while let Some(at) = text.find(" [default: ") {
        let rest = text.split_off(at);
        let (default, after) = rest[" [default: ".len()..].split_once(']').unwrap();
        text = format!("{text}. Default: {default}{after}");
    }
    if !arg.get_action().takes_values() {
        return if text.ends_with('.') { text } else { text + "." };
    }
    if let Some(default) = arg.get_default_values().first() {
        text.push_str(&format!(". Default: {}", default.display()));
    }
    if !text.ends_with('.') {
        text.push('.');
    }
    if let Some(words) =
        arg.get_value_parser().possible_values().filter(|_| !arg.is_hide_possible_values_set())
    {
        let words: Vec<String> = words.map(|word| word.get_name().to_owned()).collect();
        text.push_str(&format!(" One of {}.", words.join(", ")));
    }
    text
}

#[test]
fn pages_name_every_command_there_is() {
    let there_are: Vec<_> = all().into_iter().filter_map(|page| page.subcommand).collect();
    assert_eq!(there_are, COMMANDS);
}
