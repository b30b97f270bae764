//! What a server is made of: sockets, clock, disk and sinks, the real ones or made-up ones. How they are had is not
//! known here.

use std::fmt;

use super::ConnectionLimits;
use super::network::Network;
use super::scrape::ScrapeSetup;
use super::spool::SpoolSetup;
use super::worker::{Wake, Workers};
use crate::journal::{Fsync, Journal};
use crate::note::Level;
use crate::protocol::Value;
use crate::record::state::State;
use crate::sink::Sink;
use crate::system::clock::Clock;
use crate::system::disk::StateFolder;
use crate::system::supervisor::Supervisor;
use crate::turn::{Rules, SinkPlace};
use crate::window::BootId;

/// Takes messages for the operator.
pub type Notice = Box<dyn FnMut(Level, &str) + Send>;

/// A sink and what it gets.
#[derive(Debug)]
pub struct SinkSetup {
    /// Its place, and what it is offered.
    pub place: SinkPlace,
    /// Where it writes.
    pub sink: Box<dyn Sink>,
}

/// Everything a server is made of.
pub struct Setup {
    /// The sockets.
    pub network: Box<dyn Network>,
    /// Wakes the network from another thread.
    pub wake: Wake,
    /// Who does what may block.
    pub workers: Box<dyn Workers>,
    /// The clock.
    pub clock: Box<dyn Clock>,
    /// The boot the clock runs in.
    pub boot: BootId,
    /// Where changes are written down.
    pub journal: Journal,
    /// When the journal is synced.
    pub fsync: Fsync,
    /// Whether the journal has to be folded before the server is ready.
    pub fold_first: bool,
    /// What the journal restored.
    pub state: State,
    /// The sinks.
    pub sinks: Vec<SinkSetup>,
    /// Where scrapers come to.
    pub scrapes: Vec<ScrapeSetup>,
    /// The spool, if there is one.
    pub spool: Option<SpoolSetup>,
    /// Limits on counters, and how flushes are made.
    pub rules: Rules,
    /// Limits on connections.
    pub limits: ConnectionLimits,
    /// Facts for the status that do not change: socket, owner.
    pub about: Vec<(String, Value)>,
    /// The state folder, whose lock is held as long as the server lives.
    pub folder: Option<StateFolder>,
    /// Whether a SIGHUP ends the server, as when its terminal goes away.
    pub hangup_stops: bool,
    /// Who looks after the process, if anybody does.
    pub supervisor: Option<Box<dyn Supervisor>>,
    /// Whether each flush is told of.
    pub tell_flushes: bool,
    /// Takes messages for the operator.
    pub notice: Notice,
}

impl fmt::Debug for Setup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Setup").field("about", &self.about).finish_non_exhaustive()
    }
}
