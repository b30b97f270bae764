//! Opens what a configuration wants reports to go to, and where it wants to be scraped. What a collector over a
//! network has of it is tried only when there is something to hand over: one that is away is no error here.

use std::ffi::OsStr;
use std::io;
use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;

use super::{Config, StartError};
use crate::format::prometheus::Shown;
use crate::journal::Fsync;
use crate::server::SinkSetup;
use crate::server::scrape::{Door, ScrapeSetup};
use crate::sink::spec::{Kind, SinkSpec};
use crate::sink::{
    Sink, exec::Exec, graphite::Graphite, log_file::LogFile, otlp::Otlp, statsd::Statsd,
    stdout::Stdout, textfile::Textfile,
};
use crate::system::disk::PathFolder;
use crate::system::host::host_name;
use crate::system::listen::{ListenAt, Listening};

/// What there is of a sink's description.
enum Output {
    /// It is handed reports.
    Sink(Box<dyn Sink>),
    /// It is come to.
    Scraped { door: Door, created: bool },
}

/// Opens all sinks.
pub(super) fn open(config: &Config) -> Result<(Vec<SinkSetup>, Vec<ScrapeSetup>), StartError> {
    let (mut sinks, mut scrapes) = (Vec::new(), Vec::new());
    for spec in &config.sinks {
        match open_one(spec, config)? {
            Output::Sink(sink) => sinks.push(SinkSetup { place: spec.sink_place(), sink }),
            Output::Scraped { door, created } => {
                let (place, shown) = (spec.place(), shown(spec));
                scrapes.push(ScrapeSetup { place, door, shown, created });
            }
        }
    }
    Ok((sinks, scrapes))
}

fn open_one(spec: &SinkSpec, config: &Config) -> Result<Output, StartError> {
    let sink: Box<dyn Sink> = match &spec.kind {
        Kind::Stdout => Box::new(Stdout::default()),
        Kind::File(path) => {
            let failed = |source| StartError::LogFile { path: path.clone(), source };
            Box::new(open_log_file(path, config.fsync != Fsync::No).map_err(failed)?)
        }
        Kind::Graphite { to, delivered, timeout, again: _ } => {
            Box::new(Graphite::new(to.clone(), *delivered, *timeout))
        }
        Kind::Statsd { to, packet } => Box::new(Statsd::udp(to.clone(), *packet)),
        Kind::StatsdUnix { path, packet, timeout } => {
            Box::new(Statsd::unix(path.clone(), *packet, *timeout))
        }
        Kind::Exec { words, shell, timeout, .. } => {
            Box::new(Exec::new(words, *shell, *timeout).map_err(StartError::System)?)
        }
        Kind::Textfile { path, removed } => {
            let failed = |source| StartError::Sink { place: spec.place(), source };
            Box::new(Textfile::new(path, shown(spec), *removed).map_err(failed)?)
        }
        Kind::Otlp { to, path, service, host, attributes, timeout } => {
            let host = host.clone().unwrap_or_else(host_name);
            let mut resource =
                vec![("service.name".to_owned(), service.clone()), ("host.name".to_owned(), host)];
            resource.extend(attributes.iter().cloned());
            Box::new(Otlp::new(to, path, resource, *timeout))
        }
        Kind::Prometheus { at, created } => {
            let failed = |source| StartError::Sink { place: spec.place(), source };
            let listener = TcpListener::bind((at.host.as_str(), at.port)).map_err(failed)?;
            return Ok(Output::Scraped { door: Door::Tcp(listener), created: *created });
        }
        Kind::PrometheusUnix { path, created } => {
            // Who may ask for a dump may scrape.
            let at = ListenAt { path: path.clone(), ..config.listen.clone() };
            let listening = Listening::open(&at).map_err(StartError::Listen)?;
            return Ok(Output::Scraped { door: Door::Unix(listening), created: *created });
        }
    };
    Ok(Output::Sink(sink))
}

fn shown(spec: &SinkSpec) -> Shown {
    Shown { prefix: spec.layout.prefix.clone(), only: spec.layout.only.clone() }
}

fn open_log_file(path: &Path, synced: bool) -> io::Result<LogFile> {
    let (Some(folder), Some(name)) = (path.parent(), path.file_name().and_then(OsStr::to_str))
    else {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it has no name, or not in UTF-8"));
    };
    LogFile::open(Arc::new(PathFolder::new(folder)), name, path, synced)
}
