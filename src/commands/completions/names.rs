//! The names of counters for a shell's completion: where on a command line they belong, and how much of each is
//! offered. A completion is silent: where there is nothing to offer, for whatever reason, nothing is said.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::time::Duration;

use crate::client::Client;
use crate::commands::Invocation;
use crate::counter::name::check;
use crate::protocol::Wanted;

/// How long somebody who pressed TAB waits for a daemon.
const TIMEOUT: Duration = Duration::from_millis(200);
/// Commands whose arguments are counters; of `run` the first.
pub(super) const COMMANDS: [&str; 5] = ["incr", "run", "dump", "get", "delete"];

/// A place for a name.
#[derive(Debug, PartialEq, Eq)]
struct Place {
    /// What stands there already.
    prefix: String,
    /// The socket that the line names.
    socket: Option<OsString>,
}

/// What may be put at the end of a line, one a line. `words` are those of the line, the one to be completed last.
pub(super) fn offer(
    words: &[OsString],
    countd: clap::Command,
    invocation: &mut Invocation<'_>,
) -> String {
    let names = Place::at_the_end_of(words, countd)
        .and_then(|place| place.ask(invocation))
        .unwrap_or_default();
    names.into_iter().map(|name| name + "\n").collect()
}

impl Place {
    fn at_the_end_of(words: &[OsString], mut countd: clap::Command) -> Option<Place> {
        countd.build();
        let (last, words) = words.split_last()?;
        let mut words = words.iter().skip(1).map(OsString::as_os_str);
        let (mut command, mut is_chosen, mut socket) = (&countd, false, None);
        let (mut arguments, mut options) = (0, true);
        while let Some(word) = words.next() {
            let text = word.to_str().unwrap_or_default();
            if options && text == "--" {
                options = false;
            } else if options && text.len() > 1 && text.starts_with('-') {
                let (is_socket, value) = value_of(text, command, &mut words)?;
                socket = if is_socket { value } else { socket };
            } else if is_chosen {
                arguments += 1;
            } else {
                command = command.find_subcommand(text)?;
                is_chosen = true;
            }
        }
        let prefix = last.to_str()?.to_owned();
        let is_option = options && prefix.starts_with('-');
        let is_name = is_chosen && (arguments == 0 || command.get_name() != "run");
        (is_name && !is_option && COMMANDS.contains(&command.get_name()))
            .then_some(Place { prefix, socket })
    }

    fn ask(self, invocation: &mut Invocation<'_>) -> Option<BTreeSet<String>> {
        if self.prefix.contains(['*', '?', '[']) {
            return None;
        }
        if let Some(socket) = self.socket {
            invocation.socket = Some(from_home(socket, invocation));
        }
        let mut client = Client::new(invocation.socket().ok()?, TIMEOUT).one_request();
        let pattern = format!("{}*", self.prefix);
        let wanted = Wanted { patterns: vec![&pattern], tags: Vec::new() };
        let mut offers = BTreeSet::new();
        let asked = client.dump(&wanted, |row| {
            if let Some(offer) = up_to_the_next_part(&row.name, &self.prefix)
                && !offers.contains(offer)
                // What stands in no name today may mean something to a shell.
                && check(&row.name).is_ok()
            {
                offers.insert(offer.to_owned());
            }
        });
        // With some of them missing, what is left may look like the only one there is.
        asked.ok().map(|_| offers)
    }
}

/// The value of an option that takes one, and whether it is the socket. `None` if the value is yet to come.
fn value_of<'a>(
    option: &str,
    command: &clap::Command,
    words: &mut impl Iterator<Item = &'a OsStr>,
) -> Option<(bool, Option<OsString>)> {
    let (name, value) = match option.strip_prefix("--") {
        Some(long) => match long.split_once('=') {
            Some((name, value)) => (name.to_owned(), Some(value)),
            None => (long.to_owned(), None),
        },
        None => {
            let short = option.chars().nth(1).unwrap_or_default();
            let rest = option.get(1 + short.len_utf8()..).filter(|rest| !rest.is_empty());
            (short.to_string(), rest)
        }
    };
    let is_long = option.starts_with("--");
    let has_name = |arg: &&clap::Arg| match is_long {
        true => arg.get_long() == Some(&name),
        false => arg.get_short().is_some_and(|short| name.starts_with(short)),
    };
    let found = command.get_arguments().find(has_name);
    if !found.is_some_and(|arg| arg.get_action().takes_values()) {
        return Some((false, None));
    }
    let value = match value {
        Some(value) => OsString::from(value),
        None => words.next()?.to_owned(),
    };
    Some((is_long && name == "socket", Some(value)))
}

/// A shell puts the home folder in only when the line is run.
fn from_home(path: OsString, invocation: &Invocation<'_>) -> OsString {
    let rest = path.to_str().and_then(|path| path.strip_prefix("~/"));
    match (rest, (invocation.environment.variable)("HOME")) {
        (Some(rest), Some(home)) => PathBuf::from(home).join(rest).into(),
        _ => path,
    }
}

/// A name, cut after the next dot or, where its tags begin or have begun, comma.
fn up_to_the_next_part<'a>(name: &'a str, prefix: &str) -> Option<&'a str> {
    let rest = name.strip_prefix(prefix)?;
    let ends = |c: char| c == ',' || c == '.' && !prefix.contains(',');
    let end = rest.find(ends).map_or(rest.len(), |at| at + 1);
    name.get(..prefix.len() + end)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn place(line: &[&str]) -> Option<(String, Option<String>)> {
        let words: Vec<OsString> = std::iter::once(&"countd").chain(line).map(Into::into).collect();
        let place = Place::at_the_end_of(&words, crate::cli::Cli::command())?;
        Some((place.prefix, place.socket.map(|socket| socket.into_string().unwrap())))
    }

    #[test]
    fn names_belong_where_counters_are_arguments() {
        let at = |prefix: &str| Some((prefix.to_owned(), None));
        assert_eq!(place(&["incr", "a"]), at("a"));
        assert_eq!(place(&["get", ""]), at(""));
        assert_eq!(place(&["dump", "a", "-t", "h=x", "b."]), at("b."));
        assert_eq!(place(&["delete", "-n", "-th=x", "--", "b"]), at("b"));
        assert_eq!(place(&["incr", "--by=2", "--print", "a"]), at("a"));
        assert_eq!(place(&["run", "-t", "h=x", "a"]), at("a"));
        assert_eq!(place(&["run", "--spool", "--", "a"]), at("a"));
    }

    #[test]
    fn names_belong_nowhere_else() {
        for line in [
            &[""][..],
            &["inc"],
            &["flush", ""],
            &["serve", "a"],
            &["incr", "-"],
            &["incr", "--by"],
            &["incr", "--by", ""],
            &["get", "a", "-t", ""],
            &["--socket", ""],
            &["nonsense", "a"],
            &["run", "a", ""],
            &["run", "a", "--", "sh", "b"],
        ] {
            assert_eq!(place(line), None, "{line:?}");
        }
    }

    #[test]
    fn the_socket_of_the_line_is_seen_wherever_it_stands() {
        let found = Some(("a".to_owned(), Some("/s".to_owned())));
        for line in [
            &["--socket", "/s", "get", "a"][..],
            &["get", "--socket", "/s", "a"],
            &["get", "--socket=/s", "-t", "h=x", "a"],
        ] {
            assert_eq!(place(line), found, "{line:?}");
        }
    }

    #[test]
    fn a_name_is_offered_up_to_its_next_part() {
        let next = up_to_the_next_part;
        assert_eq!(next("a.b.c", ""), Some("a."));
        assert_eq!(next("a.b.c", "a"), Some("a."));
        assert_eq!(next("a.b.c", "a."), Some("a.b."));
        assert_eq!(next("a.b.c", "a.b.c"), Some("a.b.c"));
        assert_eq!(next("a.b,h=web.x,z=1", "a."), Some("a.b,"));
        assert_eq!(next("a.b,h=web.x,z=1", "a.b,"), Some("a.b,h=web.x,"));
        assert_eq!(next("a.b,h=web.x,z=1", "a.b,h=web.x,z"), Some("a.b,h=web.x,z=1"));
        assert_eq!(next("ä.b", "ä"), Some("ä."));
        assert_eq!(next("b", "a"), None);
    }
}
