//! The shape of the source: arrows between modules only point down, the codec has one name in one file, and
//! no file outgrows its reader. It reads text, not syntax: what it looks for is written the same everywhere.

#![expect(clippy::unwrap_used, reason = "a test that cannot read its source has failed")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The layers, from the top. A module may use its own layer's others and all layers below.
const LAYERS: [&[&str]; 11] = [
    &["main"],
    &["cli"],
    &["commands"],
    &["client", "server"],
    &["journal", "sink", "spool", "system"],
    &["disk"],
    &["turn"],
    &["format"],
    &["protocol"],
    &["record"],
    &["counter", "window", "ids", "report", "note", "frame", "codec"],
];

/// Who uses whom within a layer. Everything else there is strange to each other.
const NEIGHBOURS: [(&str, &str); 4] =
    [("ids", "window"), ("report", "window"), ("frame", "codec"), ("sink", "system")];

/// The crate of the codec, and the one file that names it.
const CODEC: (&str, &str) = ("bincode", "src/codec.rs");
/// Calls that lose data or kill a daemon, each with what it does.
const TRAPS: [(&str, &str); 4] = [
    ("write_vectored", "raises SIGPIPE on a socket"),
    ("try_overwrite", "removes whatever has the socket's name"),
    ("ConnectWaitMode", "takes a full backlog for a connection"),
    ("reclaim_name(true)", "removes the socket of whoever has the name by then"),
];
/// Lines of a file, tests aside.
const FILE_LINES_MAX: usize = 450;
const MAIN_LINES_MAX: usize = 40;

/// A file of the source.
struct Source {
    /// From the package's root, with `/`.
    path: String,
    text: String,
}

impl Source {
    /// The module at the top of the library this is in, or `main`.
    fn module(&self) -> &str {
        let inside = self.path.trim_start_matches("src/");
        inside.split('/').next().unwrap_or(inside).trim_end_matches(".rs")
    }

    fn is_test(&self) -> bool {
        self.path.ends_with("/tests.rs") || self.path.contains("/tests/")
    }

    /// What would lead out of its module at the top: as many steps up as it is deep.
    fn way_out(&self) -> String {
        let inside = self.path.trim_start_matches("src/").trim_end_matches("/mod.rs");
        "super::".repeat(inside.split('/').count())
    }

    /// Its text without the tests in it; nothing of a file of tests.
    fn without_tests(&self) -> String {
        let parts = self.text.split_once("\nmod tests {\n");
        let parts = parts.and_then(|(code, rest)| Some((code, rest.split_once("\n}\n")?.1)));
        match parts {
            _ if self.is_test() => String::new(),
            Some((before, after)) => format!("{before}\n{after}"),
            None => self.text.clone(),
        }
    }

    /// The lines, numbered from 1, without comments.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let lines = self.text.lines().enumerate();
        lines.map(|(at, line)| (at + 1, without_comment(line)))
    }
}

/// A line up to its comment. A `//` in a text is taken for one too: nothing that is looked for follows it.
fn without_comment(line: &str) -> &str {
    line.split_once("//").map_or(line, |(code, _)| code)
}

fn package() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn collect(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

fn sources(folder: &str) -> Vec<Source> {
    let mut paths = Vec::new();
    collect(&package().join(folder), &mut paths);
    paths.sort();
    assert!(!paths.is_empty(), "no source under {folder}");
    let read = |path: PathBuf| Source {
        text: std::fs::read_to_string(&path).unwrap(),
        path: path.strip_prefix(package()).unwrap().to_str().unwrap().replace('\\', "/"),
    };
    paths.into_iter().map(read).collect()
}

/// The layer of a module of the library; 0 is the top.
fn layer(module: &str) -> Option<usize> {
    LAYERS.iter().position(|layer| layer.contains(&module))
}

/// The modules that a piece of code names as `crate::MODULE` or `countd::MODULE`, also several at once in
/// braces.
fn named(code: &str) -> Vec<String> {
    let mut found = Vec::new();
    for root in ["crate::", "countd::"] {
        for (at, _) in code.match_indices(root) {
            let before = code.get(..at).and_then(|before| before.chars().next_back());
            if before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':') {
                continue;
            }
            let after = code.get(at + root.len()..).unwrap_or_default();
            match after.strip_prefix('{') {
                Some(inside) => found.extend(branches(inside)),
                None => found.push(word(after)),
            }
        }
    }
    found.retain(|name| !name.is_empty());
    found
}

fn word(text: &str) -> String {
    text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}

/// The first words of each branch of a use tree, up to its closing brace.
fn branches(tree: &str) -> Vec<String> {
    let (mut depth, mut branch, mut all) = (0, String::new(), Vec::new());
    for c in tree.chars() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => all.push(std::mem::take(&mut branch)),
            _ if depth == 0 => branch.push(c),
            _ => {}
        }
    }
    all.push(branch);
    all.iter().map(|branch| word(branch.trim())).collect()
}

fn may_use(user: &str, used: &str) -> bool {
    match (layer(user), layer(used)) {
        (Some(from), Some(to)) if from == to => user == used || NEIGHBOURS.contains(&(user, used)),
        (Some(from), Some(to)) => from < to,
        (_, None) | (None, _) => false,
    }
}

#[test]
fn every_module_has_its_layer() {
    let sources = sources("src");
    for source in sources.iter().filter(|source| source.module() != "lib") {
        assert!(layer(source.module()).is_some(), "{} is in no layer", source.path);
    }
    for module in LAYERS.iter().flat_map(|layer| layer.iter()) {
        let there = sources.iter().any(|source| source.module() == *module);
        assert!(there, "the layer of {module} has nothing in it");
    }
}

#[test]
fn the_library_lists_its_modules_from_the_top_layer_down() {
    let text = std::fs::read_to_string(package().join("src/lib.rs")).unwrap();
    let listed: Vec<usize> = text
        .lines()
        .filter_map(|line| line.trim_start_matches("pub ").strip_prefix("mod "))
        .map(|name| layer(name.trim_end_matches(';')).unwrap())
        .collect();
    let modules = LAYERS.iter().skip(1).map(|layer| layer.len()).sum::<usize>();
    assert_eq!(
        listed.len(),
        modules,
        "each module of a layer is in lib.rs, and each of lib.rs in one"
    );
    assert!(listed.is_sorted(), "{listed:?}");
}

#[test]
fn arrows_only_point_down() {
    let mut wrong = Vec::new();
    let mut arrows = BTreeMap::<(String, String), usize>::new();
    for source in sources("src") {
        // The library itself only lists.
        if source.module() == "lib" {
            continue;
        }
        let text = source.without_tests();
        let code = text.lines().map(without_comment).collect::<Vec<_>>().join("\n");
        let user = source.module();
        if code.contains(&source.way_out()) {
            wrong.push(format!("{} leaves {user} by super::", source.path));
        }
        for used in named(&code) {
            if !may_use(user, &used) {
                wrong.push(format!("{}: {user} may not use {used}", source.path));
            }
            *arrows.entry((user.to_owned(), used)).or_default() += 1;
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(
        arrows.len() > 30,
        "only {} arrows found: is this still how they are written?",
        arrows.len()
    );
    for (user, used) in NEIGHBOURS {
        let there = arrows.contains_key(&(user.to_owned(), used.to_owned()));
        assert!(there, "{user} does not use {used} any more: take it from the table");
    }
}

#[test]
fn paths_are_read_as_they_are_written() {
    assert_eq!(named("use crate::turn::{Core, Peer};"), ["turn"]);
    assert_eq!(
        named("use crate::{frame, ids::{Answer, Ids}, window};"),
        ["frame", "ids", "window"]
    );
    assert_eq!(named("pub(crate) fn f(at: crate::window::Moment)"), ["window"]);
    assert_eq!(named("mycrate::turn; self::crate::x"), [""; 0]);
    assert_eq!(named("use countd::cli::run;"), ["cli"]);
    assert!(may_use("server", "turn") && !may_use("turn", "server"));
    assert!(!may_use("client", "server") && !may_use("turn", "nowhere"));
    assert!(may_use("ids", "window") && !may_use("window", "ids"));
}

#[test]
fn one_file_names_the_codec() {
    let (name, only) = CODEC;
    let naming = |source: &Source| source.code().any(|(_, line)| line.contains(name));
    let files: Vec<String> =
        sources("src").into_iter().filter(naming).map(|source| source.path).collect();
    assert_eq!(files, [only]);
}

#[test]
fn nothing_prints_past_its_writer() {
    let mut wrong = Vec::new();
    for source in sources("src") {
        for (at, line) in source.code() {
            let prints = ["println!", "eprintln!", "print!", "eprint!", "dbg!"];
            if prints.iter().any(|print| line.contains(print)) {
                wrong.push(format!("{}:{at}: {line}", source.path));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn files_say_what_they_are_for_and_are_short() {
    let mut wrong = Vec::new();
    for source in sources("src").into_iter().chain(sources("tests")) {
        let lines = source.text.lines().count();
        if !source.text.starts_with("//! ") {
            wrong.push(format!("{} does not open with //!", source.path));
        }
        if source.path.starts_with("src/") && !source.is_test() && lines > FILE_LINES_MAX {
            wrong.push(format!("{} has {lines} lines", source.path));
        }
        if source.path == "src/main.rs" && lines >= MAIN_LINES_MAX {
            wrong.push(format!("{} has {lines} lines", source.path));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn no_call_that_loses_data_or_kills_a_daemon() {
    let mut wrong = Vec::new();
    for source in sources("src") {
        for (call, does) in TRAPS {
            if source.code().any(|(_, line)| line.contains(call)) {
                wrong.push(format!("{}: {call} {does}", source.path));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
