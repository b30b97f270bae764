//! Command lines of `countd incr` that need no parser: names, tags, amounts and switches, as nearly all of those in scripts
//! are. Building the parser's model of all commands takes longer than everything else a one-shot does, so these
//! are read without. What is not surely read here as it would be there is left to the parser: a test holds
//! the two against each other.

use std::ffi::{OsStr, OsString};

use super::IncrArgs;

/// Reads a command line, the program's name first in it: the socket's path and the arguments of `incr`. `None` if
/// the parser has to.
pub(crate) fn read(words: &[OsString]) -> Option<(Option<OsString>, IncrArgs)> {
    let mut words = words.iter().skip(1);
    let (mut socket, mut args) = (None, IncrArgs::default());
    let mut first = words.next()?;
    if first == "--socket" {
        socket = Some(words.next().filter(|value| is_value(value))?.clone());
        first = words.next()?;
    }
    if first != "incr" {
        return None;
    }
    while let Some(word) = words.next() {
        let switch = match word.to_str() {
            Some("-t" | "--tag") => {
                args.tags.push(words.next().filter(|value| is_value(value))?.clone());
                continue;
            }
            Some("--socket") if socket.is_none() => {
                socket = Some(words.next().filter(|value| is_value(value))?.clone());
                continue;
            }
            Some("--by") if args.by.is_none() => {
                args.by = Some(words.next().filter(|value| is_value(value))?.clone());
                continue;
            }
            Some("--print") => &mut args.print,
            Some("--best-effort") => &mut args.delivery.best_effort,
            Some("--spool") => &mut args.delivery.spool,
            _ if is_value(word) => {
                args.names.push(word.clone());
                continue;
            }
            _ => return None,
        };
        if std::mem::replace(switch, true) {
            return None;
        }
    }
    Some((socket, args))
}

/// Whether it can be nothing but a value.
fn is_value(word: &OsStr) -> bool {
    !word.is_empty() && !word.as_encoded_bytes().starts_with(b"-")
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use proptest::prelude::*;

    use super::*;
    use crate::cli::Cli;
    use crate::commands::Command;

    fn plain(words: &[&str]) -> Option<String> {
        let words = [&["countd"], words].concat();
        let words: Vec<OsString> = words.iter().map(OsString::from).collect();
        read(&words).map(|read| format!("{read:?}"))
    }

    fn parsed(words: &[&str]) -> Option<String> {
        match Cli::try_parse_from([&["countd"], words].concat()) {
            Ok(Cli { socket, command: Command::Incr(args) }) => {
                Some(format!("{:?}", (socket, args)))
            }
            _ => None,
        }
    }

    #[test]
    fn what_scripts_write_needs_no_parser() {
        for words in [
            &["incr", "a"][..],
            &["incr", "a,host=b=3", "c=4"],
            &["incr", "a", "-t", "host=b", "--tag", "rc=1", "--best-effort", "--spool"],
            &["incr", "--print", "build"],
            &["incr", "a", "--by", "3"],
            &["incr", "--socket", "s", "a"],
            &["--socket", "s", "incr", "a"],
            &["incr"],
        ] {
            assert!(plain(words).is_some(), "{words:?}");
            assert_eq!(plain(words), parsed(words), "{words:?}");
        }
    }

    #[test]
    fn everything_else_is_left_to_the_parser() {
        for words in [
            &["dump"][..],
            &["--socket", "s", "incr", "a", "--socket", "s"],
            &["--socket=s", "incr", "a"],
            &["incr", "a", "--by", "-3"],
            &["incr", "a", "--by", "3", "--by", "3"],
            &["incr", "-"],
            &["incr", "-1"],
            &["incr", "a", "--", "b"],
            &["incr", "a", "--print", "--print"],
            &["incr", "a", "-t"],
            &["incr", "a", "-thost=b"],
            &["incr", "a", "-t", "--print"],
            &["incr", "--help"],
            &["incr", ""],
        ] {
            assert_eq!(plain(words), None, "{words:?}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]
        #[test]
        fn what_is_read_without_the_parser_is_read_as_the_parser_does(
            words in prop::collection::vec(
                prop_oneof![
                    4 => prop::sample::select(vec![
                        "incr", "a", "a=3", "a,b=c", "-t", "--tag", "--tag=b=c", "-tb=c", "b=c", "--print",
                        "--best-effort", "--spool", "--spool-dir", "--stdin", "-", "--", "--by", "-1", "--help",
                        "-h", "-V", "help", "--socket", "--timeout", "--pri", "dump", "", "=", "-x",
                    ]).prop_map(str::to_owned),
                    1 => "\\PC{0,4}",
                ],
                0..6,
            ),
            before: bool,
        ) {
            let mut words: Vec<&str> = words.iter().map(String::as_str).collect();
            words.insert(0, "incr");
            if before {
                words.splice(0..0, ["--socket", "s"]);
            }
            if let Some(args) = plain(&words) {
                prop_assert_eq!(Some(args), parsed(&words));
            }
        }
    }
}
