//! The sink into a log file: one append of whole lines a report, then synced. A file that was rotated away
//! is noticed by its identity before each report, so no signal is needed. A report that may have been written
//! before, by this run or by one that was killed, is looked for where it was to go: one that is there is not
//! written again, and the beginning of one is cut off, so that each is there once.

#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::as_conversions)]

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{Sink, SinkError};
use crate::disk::{Disk, File, Identity};
use crate::format::layout::Layout;
use crate::record::FilePlace;
use crate::report::Report;
use crate::turn::Prepared;

/// Bytes compared at a time.
const COMPARED_BYTES: usize = 64 << 10;

/// A log file as a sink.
#[derive(Debug)]
pub struct LogFile {
    folder: Arc<dyn Disk>,
    name: String,
    /// The file for messages.
    path: PathBuf,
    /// Whether a report is synced before it counts as written.
    synced: bool,
    file: Option<Arc<dyn File>>,
    /// The name is to be opened anew.
    reopen: bool,
    /// The name was gone at the last report: a rotation may be between its rename and its create.
    missing: bool,
    rendered: Vec<u8>,
    /// Where `rendered` goes.
    place: Option<FilePlace>,
}

/// What there is of a report in the file where it was to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trace {
    /// All of it.
    Whole,
    /// Its beginning, or nothing.
    Part,
    /// Something else.
    Other,
}

impl LogFile {
    /// Opens the log file of this name in `folder`, and creates it if it is not there. Messages call it
    /// `path`.
    ///
    /// # Errors
    /// When it cannot be opened, or is something else than a regular file.
    pub fn open(
        folder: Arc<dyn Disk>,
        name: &str,
        path: &Path,
        synced: bool,
    ) -> io::Result<LogFile> {
        let mut log = LogFile {
            folder,
            name: name.to_owned(),
            path: path.to_owned(),
            synced,
            file: None,
            reopen: false,
            missing: false,
            rendered: Vec::new(),
            place: None,
        };
        log.file = Some(log.open_or_create()?);
        Ok(log)
    }

    fn open_or_create(&self) -> io::Result<Arc<dyn File>> {
        let file = match self.folder.open(&self.name) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.folder.create(&self.name)?
            }
            result => result?,
        };
        // Whoever created it may have been killed before its name was safe.
        if self.synced {
            self.folder.sync_folder()?;
        }
        Ok(file)
    }

    /// The file to write to now: what has the name, or for one report more the old one if nothing has.
    fn current(&mut self) -> io::Result<Arc<dyn File>> {
        let held = match &self.file {
            // One that has no name any more was deleted, or compressed: nobody would read what it is given.
            Some(file) if file.has_name()? => Some(file.identity()?),
            Some(_) | None => None,
        };
        let named = match self.folder.open(&self.name) {
            Ok(file) => Some(file.identity()?),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        let keep = match (held, named) {
            _ if self.reopen => false,
            (Some(held), Some(named)) => held == named,
            (Some(_), None) => !self.missing,
            (None, _) => false,
        };
        self.missing = named.is_none();
        let file = match self.file.take().filter(|_| keep) {
            Some(file) => file,
            None => {
                let file = self.open_or_create()?;
                (self.missing, self.reopen) = (false, false);
                file
            }
        };
        Ok(Arc::clone(self.file.insert(file)))
    }

    /// Settles what became of an earlier offer: afterwards its report is in the file whole, or nothing of it
    /// is, both safely; or it cannot be told.
    fn settle(&self, offered: FilePlace) -> io::Result<Trace> {
        let Some(file) = self.find(offered.inode)? else { return Ok(Trace::Other) };
        let trace = trace(&*file, offered, &self.rendered)?;
        match trace {
            Trace::Whole if self.synced => file.sync()?,
            Trace::Part => self.cut(&*file, offered.offset)?,
            Trace::Whole | Trace::Other => {}
        }
        Ok(trace)
    }

    /// The file of this inode, under whatever name in the folder. The device is not compared: its number may
    /// be another after a reboot.
    fn find(&self, inode: u64) -> io::Result<Option<Arc<dyn File>>> {
        let wanted = |identity: io::Result<Identity>| identity.is_ok_and(|it| it.inode == inode);
        if let Some(held) = self.file.as_ref().filter(|held| wanted(held.identity())) {
            return Ok(Some(Arc::clone(held)));
        }
        // What cannot be opened is not the log file: that one we could open.
        let mut others = self.folder.list()?.into_iter();
        Ok(others.find_map(|name| {
            let may_be = wanted(self.folder.identity(&name));
            let file = if may_be { self.folder.open(&name).ok() } else { None };
            file.filter(|file| wanted(file.identity()))
        }))
    }

    fn cut(&self, file: &dyn File, length: u64) -> io::Result<()> {
        if file.length()? > length {
            file.truncate(length)?;
        }
        // Also when there is nothing to cut: it may have been cut a moment ago, and that not be safe.
        if self.synced { file.sync() } else { Ok(()) }
    }

    fn append(&self, file: &dyn File, place: FilePlace) -> io::Result<()> {
        if !file.has_name()? {
            return Err(io::Error::other("it was deleted a moment ago"));
        }
        if file.length()? != place.offset {
            return Err(io::Error::other("somebody else changed it a moment ago"));
        }
        let appended = file.append(&self.rendered);
        let appended = appended.and_then(|()| if self.synced { file.sync() } else { Ok(()) });
        if appended.is_err() && trace(file, place, &self.rendered).ok() != Some(Trace::Other) {
            // If this fails, too, it is done before the next attempt.
            let _ = self.cut(file, place.offset);
        }
        appended
    }

    fn failed(&self, what: &str, error: &io::Error) -> SinkError {
        SinkError::Failed(format!("cannot {what} {}: {error}", self.path.display()))
    }
}

impl Sink for LogFile {
    fn prepare(
        &mut self,
        layout: &Layout,
        reports: &[Arc<Report>],
        offered: Option<FilePlace>,
    ) -> Result<Prepared, SinkError> {
        self.rendered.clear();
        self.place = None;
        layout.render(reports, &mut self.rendered);
        if self.rendered.is_empty() {
            return Ok(Prepared::Already);
        }
        let settled = offered.map(|offered| self.settle(offered)).transpose();
        let settled = settled.map_err(|error| self.failed("look for a report in", &error))?;
        if settled == Some(Trace::Whole) {
            self.rendered = Vec::new();
            return Ok(Prepared::Already);
        }
        let place = self.current().and_then(|file| {
            let (identity, offset) = (file.identity()?, file.length()?);
            let length = u64::try_from(self.rendered.len()).map_err(io::Error::other)?;
            let crc = crc32fast::hash(&self.rendered);
            Ok(FilePlace { device: identity.device, inode: identity.inode, offset, length, crc })
        });
        let place = place.map_err(|error| self.failed("open", &error))?;
        self.place = Some(place);
        Ok(match settled {
            Some(Trace::Other) => Prepared::InDoubt(place),
            Some(Trace::Part | Trace::Whole) | None => Prepared::At(place),
        })
    }

    fn write(&mut self) -> Result<(), SinkError> {
        let (Some(file), Some(place)) = (&self.file, self.place.take()) else {
            return Err(SinkError::Failed(format!("{} is not open", self.path.display())));
        };
        self.append(&**file, place).map_err(|error| self.failed("write to", &error))?;
        self.rendered = Vec::new();
        Ok(())
    }

    /// At the next report: one that is prepared goes where it was prepared for.
    fn reopen(&mut self) {
        self.reopen = true;
    }
}

/// Compares what a file has at this place with the report that was to be there. After a power cut what was
/// being written may have holes, which are zeros; no report has one.
fn trace(file: &dyn File, place: FilePlace, rendered: &[u8]) -> io::Result<Trace> {
    let length = file.length()?;
    let end = place.offset.saturating_add(place.length);
    if length < place.offset {
        return Ok(Trace::Other);
    }
    let ours = u64::try_from(rendered.len()).is_ok_and(|length| length == place.length);
    let (mut part, mut crc) = (ours && length <= end, crc32fast::Hasher::new());
    let (mut at, mut buffer) = (place.offset, vec![0; COMPARED_BYTES]);
    let mut wanted = rendered.iter();
    while at < end.min(length) {
        let room = usize::try_from(end.saturating_sub(at)).unwrap_or(usize::MAX);
        let room = buffer.get_mut(..room.min(COMPARED_BYTES)).unwrap_or_default();
        let read = file.read_at(at, room)?;
        let bytes = buffer.get(..read).unwrap_or_default();
        if bytes.is_empty() {
            break;
        }
        crc.update(bytes);
        part = bytes.iter().fold(part, |part, byte| {
            let same = wanted.next() == Some(byte) || *byte == 0;
            part && same
        });
        at = at.saturating_add(u64::try_from(read).unwrap_or(u64::MAX));
    }
    Ok(if at == end && crc.finalize() == place.crc {
        Trace::Whole
    } else if part {
        Trace::Part
    } else {
        Trace::Other
    })
}

#[cfg(test)]
mod tests;
