//! How one request of increments gets to the daemon, or where there is none into the spool. What to count, and
//! whether a failure matters, is decided by the command.

mod spool;

use std::ffi::OsStr;
use std::time::Duration;

use crate::client::{Client, INCR_TIMEOUT_MAX};
use crate::commands::exit::{DONE, Failure};
use crate::commands::settings::{self, Settings};
use crate::commands::{Invocation, TIMEOUT, TIMEOUT_MIN};
use crate::counter::name::Name;

/// What the options of a command say of it.
pub(super) struct Delivery<'a> {
    /// How long to try.
    pub(super) timeout: Duration,
    /// Whether a request that no daemon takes is spooled.
    pub(super) spools: bool,
    /// The spool folder that was named.
    pub(super) spool_dir: Option<&'a OsStr>,
}

impl Delivery<'_> {
    /// Adds to counters, all or none, exactly once.
    pub(super) fn deliver(
        &self,
        increments: &[(Name, u64)],
        invocation: &mut Invocation<'_>,
    ) -> Result<u8, Failure> {
        let socket = invocation.socket()?;
        let mut client = Client::new(socket.clone(), self.timeout).one_request();
        match client.incr(increments) {
            Err(error) if self.spools && spool::may_replace(&error) => {
                spool::put(self.spool_dir, increments, &socket, &error, invocation)
            }
            counted => Ok(counted.map(|()| DONE)?),
        }
    }
}

/// The timeout of an increment.
pub(super) fn timeout(settings: Settings<'_>, option: Option<&str>) -> Result<Duration, Failure> {
    settings.duration(settings::TIMEOUT, option, TIMEOUT, TIMEOUT_MIN..=INCR_TIMEOUT_MAX)
}

/// Whether to spool. `excluded` says that the command line has something that excludes it.
pub(super) fn spools(
    settings: Settings<'_>,
    spool: bool,
    spool_dir: Option<&OsStr>,
    excluded: bool,
) -> Result<bool, Failure> {
    let spools = settings.switch(settings::SPOOL, spool, excluded)?;
    if spool_dir.is_some() && !spools && !excluded {
        return Err(Failure::Usage("--spool-dir is nothing without --spool".to_owned()));
    }
    Ok(spools)
}
