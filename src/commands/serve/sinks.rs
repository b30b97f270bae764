//! Where reports go: `--sink` and `--log-file`, each place once, and none where the daemon has files of its own. What is
//! there is not looked at: paths are compared as they are written, and opened when the server is put together.

use std::ffi::OsStr;
use std::path::Path;

use super::words::Journals;
use super::{ServeArgs, absolute};
use crate::commands::exit::Failure;
use crate::commands::settings::{self, Chosen, Settings};
use crate::format::ReportFormat;
use crate::journal::is_state_file;
use crate::sink::spec::{Defaults, Kind, SinkSpec};
use crate::system::listen::companions;
use crate::system::paths::SocketPath;

/// What the daemon has for itself, where no sink may be.
pub(super) struct Own<'a> {
    /// Its socket.
    pub(super) socket: &'a Path,
    /// The folder of the journal.
    pub(super) state: Option<&'a Path>,
    /// The folder requests are taken from.
    pub(super) spool: Option<&'a Path>,
}

impl Own<'_> {
    /// What of it is at this path.
    fn at(&self, path: &Path) -> Option<&'static str> {
        let Own { socket, state, spool } = *self;
        if path == socket {
            Some("is the daemon's own socket")
        } else if companions(socket).iter().any(|companion| companion == path) {
            Some("is the daemon's own, beside its socket")
        } else if spool.is_some_and(|spool| path.starts_with(spool)) {
            Some("is in the daemon's own spool folder")
        } else if state.is_some() && path.parent() == state && path.file_name().is_some_and(is_its)
        {
            Some("is the daemon's own, in its state folder")
        } else {
            None
        }
    }
}

fn is_its(name: &OsStr) -> bool {
    name.to_str().is_some_and(is_state_file)
}

/// The sinks, in the order log files, then others. None is where another is, or something of the daemon's own.
pub(super) fn sinks(
    args: &ServeArgs,
    settings: &Settings<'_>,
    journals: Journals,
    mut defaults: Defaults,
    own: &Own<'_>,
) -> Result<Vec<SinkSpec>, Failure> {
    let format = settings.choose(settings::FORMAT, args.format.as_deref().map(OsStr::new), false);
    defaults.format = match format {
        Some(chosen) => Some(chosen.parse(str::parse::<ReportFormat>)?),
        None => None,
    };
    let specs: Vec<Chosen> = match args.sink.as_slice() {
        [] => settings.choose(settings::SINK, None, false).into_iter().collect(),
        given => given.iter().map(|spec| Chosen::on_command_line("--sink", spec)).collect(),
    };
    let mut paths = args.log_file.clone();
    if paths.is_empty() {
        let chosen = settings.choose(settings::LOG_FILE, None, false);
        paths.extend(chosen.map(|chosen| chosen.value));
    }
    // The journal is no place for counts, unless somebody asks for it.
    if paths.is_empty() && specs.is_empty() && !journals.stdout {
        paths.push("-".into());
    }
    let mut sinks: Vec<SinkSpec> = Vec::new();
    for path in paths {
        let kind = match path.to_str() {
            Some("-") => Kind::Stdout,
            Some("") => return Err(Failure::Usage("--log-file: the path is empty".into())),
            _ => Kind::File(absolute(Path::new(&path))),
        };
        if let Kind::File(path) = &kind
            && let Some(what) = own.at(path)
        {
            return Err(Failure::Usage(format!("--log-file {} {what}", path.display())));
        }
        if sinks.iter().any(|known| known.kind == kind) {
            let path = path.display();
            return Err(Failure::Usage(format!("--log-file {path} is given twice")));
        }
        sinks.push(SinkSpec::plain(kind, &defaults));
    }
    for spec in specs {
        let mut sink = spec.parse(|text| SinkSpec::parse(text, &defaults))?;
        if let Some(path) = sink.path_mut() {
            *path = absolute(path);
        }
        if let Kind::StatsdUnix { path, .. } | Kind::PrometheusUnix { path, .. } = &sink.kind {
            spec.parse(|_| SocketPath::new(path).map(|_| ()))?;
        }
        let (place, origin) = (sink.place(), spec.origin);
        let path = sink.path_mut().cloned();
        if let Some(what) = path.as_deref().and_then(|path| own.at(path)) {
            return Err(Failure::Usage(format!("{origin}: {place} {what}")));
        }
        // A file cannot be two things either.
        let is_there = |known: &mut SinkSpec| {
            known.place() == place || path.is_some() && known.path_mut().cloned() == path
        };
        if let Some(known) =
            sinks.iter_mut().find_map(|known| is_there(known).then(|| known.place()))
        {
            let what = match known == place {
                true => format!("{place} is a sink already, and there is one a place"),
                false => format!("{place} is at the place of {known}"),
            };
            return Err(Failure::Usage(format!("{origin}: {what}")));
        }
        sinks.push(sink);
    }
    Ok(sinks)
}
