//! Puts a server together from a configuration: the state folder and its lock, the socket and its lock, the
//! journal, the sinks. What the configuration should be is the command line's business.

mod outputs;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::network::UnixNetwork;
use super::scrape;
use super::spool::SpoolSetup;
use super::worker::{Threads, Wake};
use super::{ConnectionLimits, Notice, Server, ServerError, Setup, Stopper};
use crate::journal::{Fresh, Fsync, Journal, OpenError, Opened};
use crate::note::Level;
use crate::protocol::Value;
use crate::record::state::State;
use crate::sink::spec::SinkSpec;
use crate::spool::Intake;
use crate::system::activation::HandedOver;
use crate::system::clock::{self, Clock, SystemClock};
use crate::system::disk::{StateFolder, StateFolderError};
use crate::system::limits::{self, Room};
use crate::system::listen::{ListenAt, ListenError, Listening};
use crate::system::random;
use crate::system::signals::Signals;
use crate::system::spool::{SpoolFolder, SpoolFolderError, Watch};
use crate::system::supervisor::Supervisor;
use crate::turn::{OWED_BYTES_MAX, Rules};
use crate::window::{BootId, Moment};

/// A spool that requests are to be taken out of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpoolConfig {
    /// The folder.
    pub folder: PathBuf,
    /// The mode it is made with.
    pub mode: u32,
    /// Somebody has asked for it: without it the daemon does not start.
    pub asked_for: bool,
}

/// What a daemon is to be like.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where it listens, unless it is handed a socket.
    pub listen: ListenAt,
    /// Where its state lives; `None` keeps nothing.
    pub state_folder: Option<PathBuf>,
    /// Where requests may be spooled.
    pub spool: Option<SpoolConfig>,
    /// When the journal is synced.
    pub fsync: Fsync,
    /// Where reports go, and as what; a path is absolute.
    pub sinks: Vec<SinkSpec>,
    /// Memory for closed windows that sinks are owed.
    pub owed_bytes_max: usize,
    /// Spacing of flushes.
    pub interval: Duration,
    /// If flushes come at multiples of the interval by the wall clock, how long after those.
    pub aligned: Option<Duration>,
    /// Whether idle counters are reported with 0.
    pub with_idle: bool,
    /// Counters in all.
    pub counters_max: u32,
    /// Counters that one uid may create; a quarter of all by default.
    pub counters_per_user_max: Option<u32>,
    /// Connections in all.
    pub connections_max: usize,
    /// Whether each flush is told of as one message.
    pub tell_flushes: bool,
}

impl Config {
    /// A daemon on this socket with the defaults: state nowhere, reports nowhere, every 5 s.
    pub fn ephemeral(socket: &Path) -> Config {
        Config {
            listen: ListenAt { path: socket.to_owned(), mode: 0o600, group: None },
            state_folder: None,
            spool: None,
            fsync: Fsync::Everysec,
            sinks: Vec::new(),
            owed_bytes_max: OWED_BYTES_MAX,
            interval: Duration::from_secs(5),
            aligned: None,
            with_idle: false,
            counters_max: 1_000_000,
            counters_per_user_max: None,
            connections_max: 1024,
            tell_flushes: false,
        }
    }
}

/// What a daemon has from whoever started its process; nothing, where it is part of a program.
#[derive(Debug, Default)]
pub struct Surroundings {
    /// The signals it is to obey.
    pub signals: Option<Signals>,
    /// The socket it was handed.
    pub socket: Option<HandedOver>,
    /// Who is to be told how it does.
    pub supervisor: Option<Box<dyn Supervisor>>,
}

/// Why a daemon cannot start.
#[derive(Debug)]
pub enum StartError {
    /// The state folder cannot be had.
    Folder(StateFolderError),
    /// The journal in the state folder cannot be read.
    Journal {
        /// The state folder.
        folder: PathBuf,
        /// Why.
        source: OpenError,
    },
    /// The spool folder that was asked for cannot be had.
    Spool(SpoolFolderError),
    /// The socket cannot be had.
    Listen(ListenError),
    /// The log file cannot be opened.
    LogFile {
        /// Its path.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A sink cannot be had.
    Sink {
        /// Its place.
        place: String,
        /// Why.
        source: io::Error,
    },
    /// The system refused something that is always there.
    System(io::Error),
    /// The server gave up while it was made ready.
    Server(ServerError),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StartError::Folder(error) => error.fmt(f),
            StartError::Journal { folder, source } => {
                write!(f, "state folder {}: {source}", folder.display())
            }
            StartError::Spool(error) => error.fmt(f),
            StartError::Listen(error) => error.fmt(f),
            StartError::LogFile { path, source } => {
                write!(f, "cannot open the log file {}: {source}", path.display())
            }
            StartError::Sink { place, source } => write!(f, "sink {place}: {source}"),
            StartError::System(error) => error.fmt(f),
            StartError::Server(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for StartError {}

/// A state folder that is locked, or none, with what is in it.
struct Loaded {
    journal: Journal,
    state: State,
    fold_first: bool,
    notes: Vec<String>,
}

impl Server {
    /// Makes a daemon of this configuration ready. The stopper stops it, whatever signals it obeys. `notice` takes messages for the operator.
    ///
    /// # Errors
    /// [`StartError`] says what could not be had. Nothing is left behind then.
    pub fn assemble(
        mut config: Config,
        surroundings: Surroundings,
        stopper: Stopper,
        mut notice: Notice,
    ) -> Result<Server, StartError> {
        let boot = clock::boot_id().map_err(StartError::System)?;
        let now = SystemClock.now();
        let owner = rustix::process::geteuid().as_raw();
        config.connections_max = possible_connections(&config, &mut notice);
        let folder = config.state_folder.as_deref().map(StateFolder::open).transpose();
        let folder = folder.map_err(StartError::Folder)?;
        let (sinks, scrapes) = outputs::open(&config)?;
        let spool = open_spool(&config, &mut *notice)?;
        let Surroundings { signals, socket, supervisor } = surroundings;
        let listening = match socket {
            Some(socket) => Listening::adopt(socket),
            None => Listening::open(&config.listen).map_err(StartError::Listen)?,
        };
        let ready = (|| {
            let loaded = load(folder.as_ref(), boot, now)?;
            loaded.notes.iter().for_each(|note| notice(Level::Warning, note));
            let socket = listening.path().to_owned();
            Ok((loaded, socket))
        })();
        let (loaded, socket) = match ready {
            Ok(ready) => ready,
            Err(error) => {
                listening.unlink();
                return Err(error);
            }
        };
        let (spool, watch) = spool.unzip();
        let network = UnixNetwork::new(listening, signals, watch.flatten());
        let (network, waker) = network.map_err(StartError::System)?;
        let wake: Wake = Arc::new(move || {
            // It fails only if the loop is gone.
            let _ = waker.wake();
        });
        stopper.wakes(Arc::clone(&wake));
        let setup = Setup {
            network: Box::new(network),
            wake,
            workers: Box::new(Threads),
            clock: Box::new(SystemClock),
            boot,
            journal: loaded.journal,
            fsync: config.fsync,
            fold_first: loaded.fold_first,
            state: loaded.state,
            sinks,
            scrapes,
            spool,
            rules: rules(&config, owner),
            limits: ConnectionLimits {
                connections_max: config.connections_max,
                per_user_max: (config.connections_max / 4).max(1),
                owner,
            },
            about: about(&socket, config.state_folder.as_deref(), owner),
            folder,
            hangup_stops: rustix::termios::isatty(rustix::stdio::stdout()),
            supervisor,
            tell_flushes: config.tell_flushes,
            notice,
        };
        Server::start(setup, stopper).map_err(StartError::Server)
    }
}

/// As many connections as are configured, or, with a warning, as there are descriptors for.
fn possible_connections(config: &Config, notice: &mut dyn FnMut(Level, &str)) -> usize {
    let wanted = config.connections_max;
    let scraped = config.sinks.iter().filter(|spec| spec.kind.is_scraped()).count();
    let others = config.sinks.len() + scraped * scrape::LINES_MAX;
    match limits::allow_descriptors(wanted, others) {
        Room::Enough => wanted,
        Room::Only { connections, descriptors } => {
            let told = format!(
                "only {connections} connections at a time, not {wanted}: no more than \
                 {descriptors} files may be open; raise that with ulimit -n, or LimitNOFILE= in a unit"
            );
            notice(Level::Warning, &told);
            connections
        }
    }
}

fn load(folder: Option<&StateFolder>, boot: BootId, now: Moment) -> Result<Loaded, StartError> {
    let state_id = random::session().map_err(StartError::System)?;
    let Some(folder) = folder else {
        let state = State::new(state_id, boot, now);
        let journal = Journal::ephemeral();
        return Ok(Loaded { journal, state, fold_first: false, notes: Vec::new() });
    };
    let opened = Journal::open(folder.disk(), Fresh { state_id, boot, now });
    let Opened { journal, state, notes, unclean, .. } = opened
        .map_err(|source| StartError::Journal { folder: folder.path().to_owned(), source })?;
    Ok(Loaded { journal, state, fold_first: unclean, notes })
}

/// The spool, and what hears of files that come into it. Without either the daemon counts all the same.
fn open_spool(
    config: &Config,
    notice: &mut dyn FnMut(Level, &str),
) -> Result<Option<(SpoolSetup, Option<Watch>)>, StartError> {
    let Some(SpoolConfig { folder, mode, asked_for }) = &config.spool else { return Ok(None) };
    let folder = match SpoolFolder::open(folder, *mode) {
        Ok(folder) => folder,
        Err(error) if *asked_for => return Err(StartError::Spool(error)),
        Err(error) => {
            let told = format!("{error}; no spooled requests are taken in");
            notice(Level::Warning, &told);
            return Ok(None);
        }
    };
    let watch = Watch::new(&folder).inspect_err(|error| {
        let path = folder.path().display();
        let told = format!(
            "spool folder {path}: it cannot be watched: {error}; it is looked at every flush interval"
        );
        notice(Level::Warning, &told);
    });
    let path = folder.path().to_owned();
    let intake = Intake::new(Arc::new(folder));
    let look_every = watch.is_err().then_some(config.interval);
    Ok(Some((SpoolSetup { path, intake, look_every }, watch.ok())))
}

fn rules(config: &Config, owner: u32) -> Rules {
    let quarter = (config.counters_max / 4).max(1);
    Rules {
        counters_max: config.counters_max,
        counters_per_user_max: config.counters_per_user_max.unwrap_or(quarter),
        owner,
        interval: config.interval,
        aligned: config.aligned,
        with_idle: config.with_idle,
        owed_bytes_max: config.owed_bytes_max,
    }
}

fn about(socket: &Path, state: Option<&Path>, owner: u32) -> Vec<(String, Value)> {
    let text = |path: &Path| {
        let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        Value::Text(path.display().to_string())
    };
    let state = state.map_or_else(|| Value::Text("none (--ephemeral)".into()), text);
    vec![
        ("socket".into(), text(socket)),
        ("state_dir".into(), state),
        ("pid".into(), Value::Number(std::process::id().into())),
        ("owner_uid".into(), Value::Number(owner.into())),
    ]
}
