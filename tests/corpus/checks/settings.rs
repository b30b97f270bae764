//! Text from the command line and the environment that is no name: durations, amounts, words, and where the socket
//! and the state are. The input is lines: the first is read as a value, and all are the values of variables. What
//! is read can be written and read again, messages can be printed, and no path is one that a socket cannot have.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;
use std::time::Duration;

use countd::commands::settings::{
    BEST_EFFORT, EPHEMERAL, INTERVAL, STATE_DIR, Settings, TIMEOUT, VARIABLES,
};
use countd::counter::amount::parse_amount;
use countd::format::duration::{parse_duration, short};
use countd::format::layout::Layout;
use countd::format::{ReportFormat, SnapshotFormat};
use countd::journal::Fsync;
use countd::sink::spec::{Defaults, SinkSpec};
use countd::system::paths::{
    Environment, Place, SOCKET_PATH_BYTES_MAX, SocketPath, client_socket, serve_socket,
    state_folder,
};

/// Variables besides those of options.
const OTHERS: [&str; 4] = ["XDG_RUNTIME_DIR", "XDG_STATE_HOME", "STATE_DIRECTORY", "HOME"];

pub(crate) fn check(bytes: &[u8]) {
    let lines: Vec<&[u8]> = bytes.split(|byte| *byte == b'\n').collect();
    let first = lines.first().copied().unwrap_or_default();
    if let Ok(text) = str::from_utf8(first) {
        a_duration(text);
        an_amount(text);
        words(text);
        a_sink(text);
    }
    places(&lines);
}

fn a_duration(text: &str) {
    match parse_duration(text) {
        Ok(duration) => {
            let exactly = format!("{}ms", duration.as_millis());
            let whole = Duration::from_millis(u64::try_from(duration.as_millis()).unwrap_or(0));
            assert_eq!(parse_duration(&exactly), Ok(whole));
            // Cut off to two units, and never more than it was.
            let shown = short(duration);
            let read = parse_duration(&shown).expect("what is shown can be typed");
            assert!(read <= duration, "{shown}");
            assert_eq!(short(read), shown);
        }
        Err(error) => printable(&error.to_string()),
    }
}

fn an_amount(text: &str) {
    match parse_amount(text) {
        Ok(amount) => assert_eq!(parse_amount(&amount.to_string()), Ok(amount)),
        Err(error) => printable(&error.to_string()),
    }
}

/// A sink is the same with its layout written down and read again, and its place is one of its own.
fn a_sink(text: &str) {
    let defaults = Defaults {
        format: None,
        omits_idle: text.len().is_multiple_of(2),
        interval: Duration::from_secs(5),
    };
    match SinkSpec::parse(text, &defaults) {
        Ok(spec) => {
            assert_eq!(spec.layout.to_string().parse(), Ok(spec.layout.clone()));
            assert_eq!(spec.sink_place().place, spec.place());
            printable(&spec.to_string());
            printable(&spec.place());
        }
        Err(error) => printable(&error.to_string()),
    }
    if let Err(error) = text.parse::<Layout>() {
        printable(&error);
    }
}

/// Words that stand for themselves.
fn words(text: &str) {
    match text.parse::<Fsync>() {
        Ok(fsync) => assert_eq!(fsync.to_string(), text),
        Err(error) => printable(&error.to_string()),
    }
    if let Ok(format) = text.parse::<ReportFormat>() {
        assert_eq!(format.to_string(), text);
    }
    if let Ok(format) = text.parse::<SnapshotFormat>() {
        assert_eq!(format.to_string(), text);
    }
}

fn places(lines: &[&[u8]]) {
    let value = |at: usize| lines.get(at).map(|line| OsString::from_vec(line.to_vec()));
    let variable = |name: &str| {
        let mut known = VARIABLES.iter().chain(&OTHERS);
        known.position(|known| *known == name).and_then(|at| value(at % 6))
    };
    let kind = lines.last().and_then(|line| line.last()).copied().unwrap_or(0);
    let look = |path: &Path| match kind.wrapping_add(path.as_os_str().as_bytes().len() as u8) % 4 {
        0 => Place::Missing,
        1 => Place::Hidden,
        2 => Place::Folder { owner: u32::from(kind % 2), mode: 0o700, by_link: kind & 4 != 0 },
        _ => Place::Other,
    };
    let environment =
        Environment { variable: &variable, euid: u32::from(kind & 8 != 0), look: &look };
    let option = value(0).filter(|_| kind & 16 != 0);
    for socket in [
        client_socket(option.as_deref(), &environment),
        serve_socket(option.as_deref(), &environment).map(|found| found.socket),
    ] {
        match socket {
            Ok(socket) => {
                let bytes = socket.path().as_os_str().as_bytes();
                assert!(!bytes.is_empty() && bytes.len() <= SOCKET_PATH_BYTES_MAX);
                assert!(!bytes.contains(&0));
                assert!(SocketPath::new(socket.path()).is_ok());
            }
            Err(error) => assert!(!error.to_string().is_empty()),
        }
    }
    if let Ok(folder) = state_folder(option.as_deref(), &environment) {
        assert!(!folder.as_os_str().is_empty());
    }
    let settings = Settings::new(&environment);
    let range = Duration::from_millis(1)..=Duration::from_secs(60);
    for setting in [TIMEOUT, INTERVAL] {
        if let Ok(chosen) = settings.duration(setting, None, Duration::from_secs(2), range.clone())
        {
            assert!(range.contains(&chosen));
        }
    }
    for setting in [BEST_EFFORT, EPHEMERAL] {
        assert_eq!(settings.switch(setting, false, true).ok(), Some(false));
        let _ = settings.switch(setting, false, false);
    }
    assert_eq!(settings.choose(STATE_DIR, None, true), None);
}

/// A message is one line, and nothing in it moves a terminal's cursor.
fn printable(message: &str) {
    assert!(!message.is_empty() && !message.contains(char::is_control), "{message:?}");
}
