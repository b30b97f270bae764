//! What `--spool` does when there is no daemon: the request is left where one will find it. It gets an id
//! that was never sent to anyone, for it must be certain that nobody has counted it.

use std::ffi::OsStr;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use crate::client::{ClientError, NoDaemon, SocketPath};
use crate::commands::Invocation;
use crate::commands::exit::{DONE, Failure, say};
use crate::counter::name::Name;
use crate::ids::RequestId;
use crate::protocol::spooled::{SLOTS, slot_name, temporary_name, to_bytes};
use crate::protocol::{Entry, Request};
use crate::system::paths::spool::{SpoolPath, client_spool};
use crate::system::spool::{PRIVATE_MODE, PutError, put as put_file};
use crate::system::{clock, random};

/// Slots that are tried: with nine of ten taken, all of these are in 3 % of all cases.
const TRIES: usize = 32;

/// Whether a request that failed so may be spooled: nothing of it was done, nothing is on its way, and no
/// daemon is there that does not want this user.
pub(super) fn may_replace(error: &ClientError) -> bool {
    match error {
        ClientError::NoDaemon { why: NoDaemon::Connect(error), .. } => {
            error.kind() != io::ErrorKind::PermissionDenied
        }
        ClientError::NoDaemon { .. } => true,
        ClientError::Refused { .. }
        | ClientError::NotFound { .. }
        | ClientError::Unknown { .. }
        | ClientError::Protocol { .. }
        | ClientError::TooLarge { .. }
        | ClientError::System(_) => false,
    }
}

/// Leaves a request that found no daemon, for this reason, in the spool.
pub(super) fn put(
    option: Option<&OsStr>,
    increments: &[(Name, u64)],
    socket: &SocketPath,
    no_daemon: &ClientError,
    invocation: &mut Invocation<'_>,
) -> Result<u8, Failure> {
    let failed = |why: &dyn std::fmt::Display| {
        Failure::NoDaemon(format!("{no_daemon}; and it cannot be spooled: {why}"))
    };
    let folder = client_spool(option, invocation.environment, socket);
    let folder = folder.map_err(|error| failed(&error))?;
    let path = folder.path().display();
    make(&folder).map_err(|error| failed(&format!("cannot make {path}: {error}")))?;
    match write(folder.path(), increments) {
        Ok(()) => {}
        Err(Unwritten::Put(error @ PutError::Unsafe(_))) => {
            return Err(Failure::Unknown(format!("{no_daemon}; spool folder {path}: {error}")));
        }
        Err(Unwritten::Put(error)) => return Err(failed(&format!("spool folder {path}: {error}"))),
        Err(Unwritten::Other(why)) => return Err(failed(&why)),
    }
    let then = "and counted once a daemon takes it from there";
    say(invocation.err, format!("{no_daemon}: spooled in {path}, {then}"));
    Ok(DONE)
}

/// The user's own may be made: whoever starts a daemon of this user's will look there.
fn make(folder: &SpoolPath) -> io::Result<()> {
    match folder {
        SpoolPath::Private(path) => {
            std::fs::DirBuilder::new().recursive(true).mode(PRIVATE_MODE).create(path)
        }
        SpoolPath::System | SpoolPath::Chosen(_) => Ok(()),
    }
}

enum Unwritten {
    Put(PutError),
    Other(String),
}

fn write(folder: &Path, increments: &[(Name, u64)]) -> Result<(), Unwritten> {
    let other = |error: &dyn std::fmt::Display| Unwritten::Other(error.to_string());
    let draw = || random::session().map_err(|error| other(&error));
    let id = RequestId { session: draw()?, seq: 0, born_ns: clock::boot_ns() };
    let entries = increments.iter();
    let entries = entries.map(|(name, amount)| Entry { name: name.as_str(), amount: *amount });
    let request = Request::Incr { id, atomic: true, totals: false, entries: entries.collect() };
    let bytes = to_bytes(&request).map_err(|error| other(&format!("the request: {error}")))?;
    let slots: Result<Vec<String>, Unwritten> = (0..TRIES)
        .map(|_| {
            let drawn = draw()? % u128::from(SLOTS);
            Ok(slot_name(u32::try_from(drawn).unwrap_or_default()))
        })
        .collect();
    let temporary = temporary_name(draw()?);
    put_file(folder, &temporary, slots?.into_iter(), &bytes).map_err(Unwritten::Put)
}
