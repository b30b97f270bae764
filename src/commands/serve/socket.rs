//! Which socket the daemon listens on: one that was handed over goes before any option, as whoever made it has
//! decided its path, mode and group. An option that says otherwise is overruled aloud.

use std::ffi::OsStr;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::ServeArgs;
use crate::commands::Invocation;
use crate::commands::exit::Failure;
use crate::commands::settings::{self, Chosen};
use crate::system::activation::HandedOver;
use crate::system::paths::{ServeSocket, handed_over_socket, serve_socket};

/// Where it listens, and what the operator should know of that.
pub(super) fn choose(
    handed: Option<&HandedOver>,
    args: &ServeArgs,
    invocation: &Invocation<'_>,
) -> Result<(ServeSocket, Vec<String>), Failure> {
    let (option, environment) = (invocation.socket.as_deref(), invocation.environment);
    let Some(handed) = handed else {
        return Ok((serve_socket(option, environment)?, Vec::new()));
    };
    let path = handed.path();
    let settings = invocation.settings();
    let text = |setting, option: &Option<String>| {
        settings.choose(setting, option.as_deref().map(OsStr::new), false)
    };
    let other = settings.choose(settings::SOCKET, option, false);
    let other = other.filter(|chosen| !is_same(path, Path::new(&chosen.value)));
    let mode = text(settings::SOCKET_MODE, &args.socket_mode);
    let group = text(settings::SOCKET_GROUP, &args.socket_group);
    let unit_says = [(other, "ListenStream="), (mode, "SocketMode="), (group, "SocketGroup=")];
    let overruled = unit_says.into_iter().filter_map(|(chosen, key)| {
        chosen.map(|Chosen { value, origin }| {
            let (value, path) = (value.display(), path.display());
            format!("{origin} {value} is ignored: {path} is handed over, and its unit says {key}")
        })
    });
    let warnings = overruled.collect();
    Ok((handed_over_socket(path, environment)?, warnings))
}

/// Whether both are the name of one file, or the same name.
fn is_same(one: &Path, other: &Path) -> bool {
    let absolute = |path: &Path| std::path::absolute(path).ok();
    let file = |path: &Path| std::fs::symlink_metadata(path).map(|m| (m.dev(), m.ino())).ok();
    let same_file = file(one).is_some_and(|one| file(other) == Some(one));
    same_file || absolute(one).is_some_and(|one| absolute(other) == Some(one))
}
