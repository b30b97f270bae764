//! `countd serve`: the daemon's options.

mod aligned;
mod check;
mod sinks;
mod socket;
mod words;

use std::ffi::{OsStr, OsString};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, ValueHint};

use crate::commands::Invocation;
use crate::commands::exit::{DONE, Failure};
use crate::commands::settings::{self, Settings, VARIABLES};
use crate::commands::words::Words;
use crate::format::ReportFormat;
use crate::format::size::parse_size;
use crate::journal::Fsync;
use crate::note::Level;
use crate::server::assemble::{Config, SpoolConfig, Surroundings};
use crate::server::{Server, Stopper};
use crate::sink::spec::Defaults;
use crate::system::activation::Activation;
use crate::system::command;
use crate::system::groups::group_id;
use crate::system::listen::ListenAt;
use crate::system::memory;
use crate::system::messages::{Messages, Teller};
use crate::system::output::{Output, Patient};
use crate::system::paths::spool::{SpoolPath, serve_spool};
use crate::system::paths::{Environment, ServeSocket, make_private_folder, state_folder};
use crate::system::signals::Signals;
use crate::system::spool::{PRIVATE_MODE, SHARED_MODE};
use crate::system::supervisor::{NotifySocket, Supervisor};
use crate::turn::OWED_BYTES_MAX;
use crate::window::{INTERVAL_MAX, INTERVAL_MIN};
use words::Journals;

/// The flush interval unless told otherwise.
const INTERVAL: Duration = Duration::from_secs(5);
/// How long the last messages get to be written at the end.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// What sinks may be owed, in bytes.
const OWED_BYTES: std::ops::RangeInclusive<usize> = 64 << 10..=64 << 30;
/// The most counters that can be allowed.
const COUNTERS_MAX: u32 = 1 << 28;

pub(super) const EXAMPLES: &str = "\
EXAMPLES:
  countd serve                                   reports to stdout every 5 s
  countd serve --log-file /var/log/countd.log --interval 1m --aligned
  countd serve --log-file x.log --log-file -     both
  countd serve --sink 'graphite://127.0.0.1:2003?interval=10s'
  countd serve --sink prometheus://127.0.0.1:9464
  countd serve --sink 'exec:./send-on.sh?format=json' --check
  countd serve --ephemeral --socket ./test.sock  in a test

EXIT STATUS:
  0 stopped by SIGTERM or SIGINT; 1 cannot start, or cannot keep its promises any more; 2 wrong use; 3 the \
folder of the socket is not to be trusted

Each option can also come from the environment, as COUNTD_INTERVAL=1m; the command line wins.";

/// Keeps the counters, and writes what each gained to stdout, a log file or a collector every flush
/// interval. Runs in the foreground until SIGTERM or SIGINT; SIGHUP opens the log files again.
#[derive(Debug, Args)]
pub struct ServeArgs {
    /// Permission bits of the socket, octal, whatever the umask [default: 0666 in /run/countd, else 0600]
    #[arg(long, value_name = "MODE", value_hint = ValueHint::Other)]
    pub socket_mode: Option<String>,
    /// Group of the socket, by name or number [default: that of the process]
    #[arg(long, value_name = "GROUP", value_hint = ValueHint::Other)]
    pub socket_group: Option<String>,
    /// Time from one flush to the next, such as 5s, 500ms or 2m; a bare number is seconds [default: 5s]
    #[arg(long, value_name = "DURATION", allow_hyphen_values = true, value_hint = ValueHint::Other)]
    pub interval: Option<String>,
    /// Flush at multiples of the interval by the wall clock
    #[arg(long)]
    pub aligned: bool,
    /// With --aligned, how long after those moments: less than the interval, or auto, which differs from host to
    /// host and stays the same on each, so that a fleet does not flush at one moment [default: 0s]
    #[arg(long, value_name = "DURATION|auto", allow_hyphen_values = true, value_hint = ValueHint::Other)]
    pub offset: Option<String>,
    /// Append reports to this file; - is stdout, the default. May be given several times
    #[arg(
        long,
        value_name = "PATH",
        value_parser = clap::value_parser!(OsString),
        value_hint = ValueHint::FilePath
    )]
    pub log_file: Vec<OsString>,
    /// Where reports go, as KIND:WHERE?OPTIONS, such as graphite://HOST:PORT; SINKS in man countd-serve has
    /// all kinds. May be given several times
    #[arg(long, value_name = "SPEC", value_hint = ValueHint::Other)]
    pub sink: Vec<String>,
    /// Memory for reports that sinks have not taken, all together; past it the oldest are merged [default:
    /// 64MiB]
    #[arg(long, value_name = "SIZE", allow_hyphen_values = true, value_hint = ValueHint::Other)]
    pub owed_max: Option<String>,
    /// Format of reports: plain, logfmt, json, graphite or statsd [default: logfmt in a log file, plain on
    /// stdout]
    #[arg(
        long,
        value_name = "FORMAT",
        value_parser = Words(ReportFormat::ALL.map(ReportFormat::name)),
        hide_possible_values = true
    )]
    pub format: Option<String>,
    /// Whether counters that gained nothing are left out of a report: omit, or written as 0: zero
    /// [default: omit]
    #[arg(
        long,
        value_name = "omit|zero",
        value_parser = Words(["omit", "zero"]),
        hide_possible_values = true
    )]
    pub idle: Option<String>,
    /// Folder of the journal and checkpoints [default: /var/lib/countd as root, else
    /// ~/.local/state/countd]
    #[arg(
        long,
        value_name = "DIR",
        value_parser = clap::value_parser!(OsString),
        value_hint = ValueHint::DirPath
    )]
    pub state_dir: Option<OsString>,
    /// Keep no state: totals start at 0 each time
    #[arg(long, conflicts_with_all = ["state_dir", "spool_dir"])]
    pub ephemeral: bool,
    /// Folder that requests are taken from which found no daemon [default: /var/spool/countd with the
    /// socket in /run/countd, else spool in the state folder]
    #[arg(
        long,
        value_name = "DIR",
        value_parser = clap::value_parser!(OsString),
        value_hint = ValueHint::DirPath
    )]
    pub spool_dir: Option<OsString>,
    /// When an increment is safe from a power cut: always (before it is acknowledged), everysec, or no
    /// (when the kernel writes it). No mode loses an acknowledged increment when a process crashes
    /// [default: everysec]
    #[arg(
        long,
        value_name = "always|everysec|no",
        value_parser = Words(["always", "everysec", "no"]),
        hide_possible_values = true
    )]
    pub fsync: Option<String>,
    /// Counters there may be [default: 1000000]
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_hint = ValueHint::Other)]
    pub max_counters: Option<String>,
    /// Counters that one user may create; root and the daemon's user may create all [default: a quarter
    /// of all]
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_hint = ValueHint::Other)]
    pub max_counters_per_user: Option<String>,
    /// Clients that may be connected at a time [default: 1024]
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_hint = ValueHint::Other)]
    pub max_connections: Option<String>,
    /// Read all settings, say what would be served and where, and exit: 0, or 2 if a setting is wrong. Nothing is
    /// touched
    #[arg(long)]
    pub check: bool,
}

pub(super) fn run(args: &ServeArgs, invocation: &mut Invocation<'_>) -> Result<u8, Failure> {
    let journals = Journals::of_process(invocation.environment);
    if args.check {
        return check(args, invocation, journals);
    }
    match serve(args, invocation, journals) {
        Err(failure) if journals.stderr && failure.status() != DONE => {
            let line = journals.style().line(Level::Error, &failure.to_string());
            let _ = invocation.err.write_all(line.as_bytes());
            Ok(failure.status())
        }
        done => done,
    }
}

fn check(
    args: &ServeArgs,
    invocation: &mut Invocation<'_>,
    journals: Journals,
) -> Result<u8, Failure> {
    let (socket, _) = socket::choose(None, args, invocation)?;
    let settings = invocation.settings();
    let config = config(args, &settings, invocation.environment, &socket, journals)?;
    let text = check::describe(&config, &socket, journals);
    invocation.put(text.as_bytes())?;
    Ok(DONE)
}

/// Takes over what the process was given, and serves until it is stopped.
fn serve(args: &ServeArgs, invocation: &Invocation<'_>, journals: Journals) -> Result<u8, Failure> {
    // First of all: it goes by the numbers of descriptors, and nothing else is open yet.
    let activation = Activation::take().map_err(|error| Failure::Refused(error.to_string()))?;
    // Then these, as no other thread is there yet.
    memory::give_back();
    let stopper = Stopper::new();
    let to_stop = stopper.clone();
    let signals = Signals::take_over(move || to_stop.stop());
    let signals = signals.map_err(|error| failed("cannot take over signals", &error))?;
    let messages = Messages::start(journals.style(), Patient(Output::stderr()));
    let messages = messages.map_err(|error| failed("cannot start a thread", &error))?;
    let done =
        serve_with(args, invocation, journals, activation, signals, stopper, messages.teller());
    messages.finish(LAST_WORDS);
    done
}

fn serve_with(
    args: &ServeArgs,
    invocation: &Invocation<'_>,
    journals: Journals,
    activation: Activation,
    signals: Signals,
    stopper: Stopper,
    teller: Teller,
) -> Result<u8, Failure> {
    let environment = invocation.environment;
    let handed = activation.socket.is_some();
    let (socket, overruled) = socket::choose(activation.socket.as_ref(), args, invocation)?;
    for warning in activation.warnings.into_iter().chain(overruled) {
        teller.tell(Level::Warning, &warning);
    }
    let config = config(args, &invocation.settings(), environment, &socket, journals)?;
    if let Some((folder, mode)) = &socket.folder {
        make_folder(folder, *mode, environment.euid)?;
    }
    let surroundings = Surroundings {
        signals: Some(signals),
        socket: activation.socket,
        supervisor: supervisor(&teller),
    };
    let telling = teller.clone();
    let notice = Box::new(move |level, text: &str| telling.tell(level, text));
    let started = Server::assemble(config.clone(), surroundings, stopper, notice);
    let server = started.map_err(|error| Failure::Refused(error.to_string()))?;
    for variable in unknown_variables() {
        let told = format!("{variable} is not a variable of countd's and is ignored");
        teller.tell(Level::Warning, &told);
    }
    words::say_where(&teller, &config, &socket, handed, server.counters());
    drop(teller);
    let ran = server.run();
    // What they had taken by now is not known, so they get it again.
    command::end_all();
    ran.map_err(|error| Failure::Refused(error.to_string()))?;
    Ok(DONE)
}

/// The options and variables as what the daemon is to be like.
fn config(
    args: &ServeArgs,
    settings: &Settings<'_>,
    environment: &Environment<'_>,
    socket: &ServeSocket,
    journals: Journals,
) -> Result<Config, Failure> {
    let text = |setting, option: &Option<String>| {
        settings.choose(setting, option.as_deref().map(OsStr::new), false)
    };
    let mode = match text(settings::SOCKET_MODE, &args.socket_mode) {
        Some(chosen) => chosen.parse(parse_mode)?,
        None => socket.mode,
    };
    let group = match text(settings::SOCKET_GROUP, &args.socket_group) {
        Some(chosen) => Some(chosen.parse(|name| {
            group_id(name).map_err(|error| format!("{}: {error}", name.escape_debug()))
        })?),
        None => None,
    };
    let excluded = args.state_dir.is_some() || args.spool_dir.is_some();
    let ephemeral = settings.switch(settings::EPHEMERAL, args.ephemeral, excluded)?;
    let state_folder = match ephemeral {
        true => None,
        false => Some(absolute(&state_folder(args.state_dir.as_deref(), environment)?)),
    };
    let fsync = match text(settings::FSYNC, &args.fsync) {
        Some(chosen) => chosen.parse(str::parse)?,
        None => Fsync::Everysec,
    };
    let with_idle = match text(settings::IDLE, &args.idle) {
        Some(chosen) => chosen.parse(parse_idle)?,
        None => false,
    };
    let number = |setting, option: &Option<String>, max| match text(setting, option) {
        Some(chosen) => chosen.parse(|text| parse_number(text, max)).map(Some),
        None => Ok(None),
    };
    let counters_max = number(settings::MAX_COUNTERS, &args.max_counters, COUNTERS_MAX)?;
    let counters_per_user_max =
        number(settings::MAX_COUNTERS_PER_USER, &args.max_counters_per_user, COUNTERS_MAX)?;
    let connections_max = number(settings::MAX_CONNECTIONS, &args.max_connections, 1 << 20)?;
    let allowed = INTERVAL_MIN..=INTERVAL_MAX;
    let interval = args.interval.as_deref();
    let interval = settings.duration(settings::INTERVAL, interval, INTERVAL, allowed)?;
    let owed_bytes_max = match text(settings::OWED_MAX, &args.owed_max) {
        Some(chosen) => chosen.parse(parse_owed)?,
        None => OWED_BYTES_MAX,
    };
    let defaults = Defaults { format: None, omits_idle: !with_idle, interval };
    let path = socket.socket.path();
    let spool = match &state_folder {
        Some(state) => {
            Some(spool(serve_spool(args.spool_dir.as_deref(), environment, path, state)?))
        }
        // It would lose what it took.
        None => None,
    };
    let own = sinks::Own {
        socket: &absolute(path),
        state: state_folder.as_deref(),
        spool: spool.as_ref().map(|spool| spool.folder.as_path()),
    };
    let sinks = sinks::sinks(args, settings, journals, defaults, &own)?;
    Ok(Config {
        listen: ListenAt { path: socket.socket.path().to_owned(), mode, group },
        state_folder,
        spool,
        fsync,
        with_idle: if sinks.is_empty() {
            with_idle
        } else {
            sinks.iter().any(|sink| !sink.layout.omits_idle)
        },
        sinks,
        owed_bytes_max,
        interval,
        aligned: aligned::offset(args, settings, interval)?,
        counters_max: counters_max.unwrap_or(1_000_000),
        counters_per_user_max,
        connections_max: usize::try_from(connections_max.unwrap_or(1024)).unwrap_or(usize::MAX),
        tell_flushes: journals.stderr,
    })
}

fn spool(path: SpoolPath) -> SpoolConfig {
    let mode = match path {
        SpoolPath::System => SHARED_MODE,
        SpoolPath::Chosen(_) | SpoolPath::Private(_) => PRIVATE_MODE,
    };
    let asked_for = matches!(path, SpoolPath::Chosen(_));
    SpoolConfig { folder: absolute(path.path()), mode, asked_for }
}

fn parse_mode(text: &str) -> Result<u32, String> {
    let digits = text.strip_prefix("0o").unwrap_or(text);
    let mode = u32::from_str_radix(digits, 8).ok().filter(|mode| *mode <= 0o777);
    mode.ok_or_else(|| format!("\"{}\" is no mode such as 0660", text.escape_debug()))
}

fn parse_idle(text: &str) -> Result<bool, String> {
    match text {
        "omit" => Ok(false),
        "zero" => Ok(true),
        _ => Err(format!("\"{}\" is neither omit nor zero", text.escape_debug())),
    }
}

/// A size as memory for what sinks are owed.
fn parse_owed(text: &str) -> Result<usize, String> {
    let bytes = parse_size(text)?;
    match usize::try_from(bytes).ok().filter(|bytes| OWED_BYTES.contains(bytes)) {
        Some(bytes) => Ok(bytes),
        None => Err(format!("{text}: from 64KiB to 64GiB are allowed")),
    }
}

fn parse_number(text: &str, max: u32) -> Result<u32, String> {
    let number = text.trim().parse().ok().filter(|number| (1..=max).contains(number));
    number.ok_or_else(|| format!("\"{}\" is no number from 1 to {max}", text.escape_debug()))
}

/// The path as it is from anywhere; as it was given where the working folder is gone.
fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

fn make_folder(folder: &Path, mode: u32, euid: u32) -> Result<(), Failure> {
    let made = if mode == 0o700 {
        make_private_folder(folder, euid)
    } else {
        std::fs::DirBuilder::new().recursive(true).mode(mode).create(folder)
    };
    made.map_err(|error| failed(&format!("cannot make the folder {}", folder.display()), &error))
}

/// Who asked to be told how the daemon does. That nobody can be told is no reason not to count.
fn supervisor(teller: &Teller) -> Option<Box<dyn Supervisor>> {
    let socket = NotifySocket::of_process().unwrap_or_else(|error| {
        teller.tell(Level::Warning, &format!("NOTIFY_SOCKET is not used: {error}"));
        None
    });
    socket.map(|socket| Box::new(socket) as Box<dyn Supervisor>)
}

/// Variables that look like settings and are none: misspelt ones, as a rule.
fn unknown_variables() -> impl Iterator<Item = String> {
    let names = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    names.filter(|name| name.starts_with("COUNTD_") && !VARIABLES.contains(&name.as_str()))
}

fn failed(what: &str, error: &std::io::Error) -> Failure {
    Failure::Refused(format!("{what}: {error}"))
}
