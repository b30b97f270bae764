//! How one request of increments gets to the daemon, or where there is none into the spool, and the options that
//! say so. What to count, and whether a failure matters, is decided by the command.

mod spool;

use std::ffi::{OsStr, OsString};
use std::time::Duration;

use clap::{Arg, Args, ValueHint};

use crate::client::{Client, INCR_TIMEOUT_MAX};
use crate::commands::exit::{DONE, Failure};
use crate::commands::settings::{self, Settings};
use crate::commands::{Invocation, TIMEOUT, TIMEOUT_MIN};
use crate::counter::name::Name;

/// Options of every command that counts. What the first two mean there is for each command to say.
#[derive(Debug, Default, Args)]
pub(super) struct DeliveryArgs {
    #[arg(long, value_name = "DURATION", allow_hyphen_values = true, value_hint = ValueHint::Other)]
    pub(super) timeout: Option<String>,
    #[arg(long)]
    pub(super) best_effort: bool,
    /// When no daemon is there, leave what is to be counted in a spool folder: it is counted once, when a
    /// daemon is
    #[arg(long)]
    pub(super) spool: bool,
    /// That folder [default: /var/spool/countd, else that of the user's own daemon]
    #[arg(
        long,
        value_name = "DIR",
        value_parser = clap::value_parser!(OsString),
        value_hint = ValueHint::DirPath
    )]
    pub(super) spool_dir: Option<OsString>,
}

/// Says what the first two mean for a command.
pub(super) fn meaning(timeout: &'static str, best_effort: &'static str) -> impl Fn(Arg) -> Arg {
    move |arg| match arg.get_id().as_str() {
        "timeout" => arg.help(timeout),
        "best_effort" => arg.help(best_effort),
        _ => arg,
    }
}

/// What they say of one request.
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

impl DeliveryArgs {
    pub(super) fn timeout(&self, settings: Settings<'_>) -> Result<Duration, Failure> {
        let (option, range) = (self.timeout.as_deref(), TIMEOUT_MIN..=INCR_TIMEOUT_MAX);
        settings.duration(settings::TIMEOUT, option, TIMEOUT, range)
    }

    /// `excluded` says that the command line has something that excludes it.
    pub(super) fn best_effort(
        &self,
        settings: Settings<'_>,
        excluded: bool,
    ) -> Result<bool, Failure> {
        settings.switch(settings::BEST_EFFORT, self.best_effort, excluded)
    }

    /// Likewise, and whether the folder is named for nothing.
    pub(super) fn spools(&self, settings: Settings<'_>, excluded: bool) -> Result<bool, Failure> {
        let spools = settings.switch(settings::SPOOL, self.spool, excluded)?;
        if self.spool_dir.is_some() && !spools && !excluded {
            return Err(Failure::Usage("--spool-dir is nothing without --spool".to_owned()));
        }
        Ok(spools)
    }
}
