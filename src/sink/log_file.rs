//! The sink into a log file: one append of whole lines a report, then synced. A file that was rotated away
//! is noticed by device and inode before each report, so no signal is needed. A report that did not fit is
//! cut off again, so that it can come whole later.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{Sink, SinkError, render};
use crate::format::ReportFormat;
use crate::record::FilePlace;
use crate::report::Report;

/// The mode of a log file that is created, less the umask.
const MODE: u32 = 0o640;

/// A log file as a sink.
#[derive(Debug)]
pub struct LogFile {
    path: PathBuf,
    /// Whether a report is synced before it counts as written.
    synced: bool,
    file: Option<File>,
    /// The name is to be opened anew.
    reopen: bool,
    /// The name was gone at the last report: a rotation may be between its rename and its create.
    missing: bool,
    rendered: Vec<u8>,
}

impl LogFile {
    /// Opens the log file, and creates it if it is not there.
    ///
    /// # Errors
    /// When it cannot be opened, or is something else than a regular file.
    pub fn open(path: &Path, synced: bool) -> io::Result<LogFile> {
        let file = Some(open(path)?);
        let path = path.to_owned();
        Ok(LogFile { path, synced, file, reopen: false, missing: false, rendered: Vec::new() })
    }

    /// The file to write to now: what has the name, or for one report more the old one if nothing has.
    fn current(&mut self) -> io::Result<&File> {
        let held = match &self.file {
            Some(file) => Some(file.metadata()?),
            None => None,
        };
        // One that has no name any more was deleted, or compressed: nobody would read what it is given.
        let held = held.filter(|metadata| metadata.nlink() > 0).map(|m| identity(&m));
        let named = match std::fs::metadata(&self.path) {
            Ok(metadata) => Some(identity(&metadata)),
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
        let file = self.file.take().filter(|_| keep);
        let file = match file {
            Some(file) => file,
            None => {
                let file = open(&self.path)?;
                (self.missing, self.reopen) = (false, false);
                file
            }
        };
        Ok(self.file.insert(file))
    }

    fn failed(&self, what: &str, error: &io::Error) -> SinkError {
        SinkError::Failed(format!("cannot {what} {}: {error}", self.path.display()))
    }

    fn append(&self, mut file: &File) -> io::Result<()> {
        let metadata = file.metadata()?;
        if metadata.nlink() == 0 {
            return Err(io::Error::other("it was deleted a moment ago"));
        }
        let start = metadata.len();
        let mut rest = self.rendered.as_slice();
        let mut written = 0_u64;
        let result = loop {
            match file.write(rest) {
                Ok(0) if rest.is_empty() => break Ok(()),
                Ok(0) => break Err(io::Error::from(io::ErrorKind::WriteZero)),
                Ok(n) => {
                    written = written.saturating_add(u64::try_from(n).unwrap_or(u64::MAX));
                    rest = rest.get(n..).unwrap_or_default();
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => break Err(error),
            }
            if rest.is_empty() {
                break Ok(());
            }
        };
        let result = result.and_then(|()| if self.synced { file.sync_data() } else { Ok(()) });
        // Only what is ours is cut off: if the file has grown by more, somebody else writes to it too.
        if result.is_err() && file.metadata()?.len() == start.saturating_add(written) {
            file.set_len(start)?;
        }
        result
    }
}

impl Sink for LogFile {
    fn prepare(
        &mut self,
        format: ReportFormat,
        reports: &[Arc<Report>],
    ) -> Result<Option<FilePlace>, SinkError> {
        self.rendered.clear();
        render(format, reports, &mut self.rendered);
        let crc = crc32fast::hash(&self.rendered);
        let length = u64::try_from(self.rendered.len()).unwrap_or(u64::MAX);
        let metadata = self.current().and_then(File::metadata);
        let metadata = metadata.map_err(|error| self.failed("open", &error))?;
        let (device, inode) = identity(&metadata);
        Ok(Some(FilePlace { device, inode, offset: metadata.len(), length, crc }))
    }

    fn write(&mut self) -> Result<(), SinkError> {
        let Some(file) = &self.file else {
            return Err(SinkError::Failed(format!("{} is not open", self.path.display())));
        };
        self.append(file).map_err(|error| self.failed("write to", &error))?;
        self.rendered = Vec::new();
        Ok(())
    }

    /// At the next report: one that is prepared goes where it was prepared for.
    fn reopen(&mut self) {
        self.reopen = true;
    }
}

fn open(path: &Path) -> io::Result<File> {
    // Without O_NONBLOCK a fifo would hold up the start until somebody reads it.
    let nonblocking = rustix::fs::OFlags::NONBLOCK.bits();
    let flags = i32::try_from(nonblocking).unwrap_or_default();
    let mut options = OpenOptions::new();
    options.append(true).mode(MODE).custom_flags(flags);
    let file = match options.open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let file = options.create(true).open(path)?;
            sync_folder_of(path)?;
            file
        }
        result => result?,
    };
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    Ok(file)
}

/// A new file's name survives a power cut only with its folder.
fn sync_folder_of(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

fn identity(metadata: &std::fs::Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Count;
    use crate::window::{Moment, Window};

    fn report(number: u64) -> Arc<Report> {
        let moment = Moment::default();
        let window = Window {
            first: number,
            number,
            start: moment,
            start_boot: 1,
            end: moment,
            end_boot: 1,
        };
        let count = Count { name: format!("n{number}").into(), count: number, total: number };
        Arc::new(Report { window, counts: vec![count] })
    }

    fn put(sink: &mut LogFile, number: u64) -> Option<FilePlace> {
        let place = sink.prepare(ReportFormat::Plain, &[report(number)]).unwrap();
        sink.write().unwrap();
        place
    }

    fn read(path: &Path) -> String {
        std::fs::read_to_string(path).unwrap()
    }

    #[test]
    fn reports_are_appended_and_the_offer_names_their_place() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        std::fs::write(&path, "old\n").unwrap();
        let mut sink = LogFile::open(&path, true).unwrap();
        let place = put(&mut sink, 1).unwrap();
        assert_eq!((place.offset, place.length, place.crc), (4, 5, crc32fast::hash(b"n1 1\n")));
        assert_eq!(place.inode, std::fs::metadata(&path).unwrap().ino());
        put(&mut sink, 2);
        assert_eq!(read(&path), "old\nn1 1\nn2 2\n");
    }

    #[test]
    fn a_renamed_file_is_followed_by_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let (path, old) = (folder.path().join("log"), folder.path().join("log.1"));
        let mut sink = LogFile::open(&path, true).unwrap();
        put(&mut sink, 1);
        std::fs::rename(&path, &old).unwrap();
        std::fs::write(&path, "").unwrap();
        put(&mut sink, 2);
        assert_eq!((read(&old).as_str(), read(&path).as_str()), ("n1 1\n", "n2 2\n"));
    }

    #[test]
    fn while_the_name_is_gone_the_old_file_takes_one_report_more() {
        let folder = tempfile::tempdir().unwrap();
        let (path, old) = (folder.path().join("log"), folder.path().join("log.1"));
        let mut sink = LogFile::open(&path, true).unwrap();
        std::fs::rename(&path, &old).unwrap();
        put(&mut sink, 1);
        assert!(!path.exists());
        put(&mut sink, 2);
        assert_eq!((read(&old).as_str(), read(&path).as_str()), ("n1 1\n", "n2 2\n"));
    }

    #[test]
    fn a_file_that_was_deleted_takes_nothing_more() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let mut sink = LogFile::open(&path, true).unwrap();
        std::fs::remove_file(&path).unwrap();
        put(&mut sink, 1);
        assert_eq!(read(&path), "n1 1\n");
    }

    #[test]
    fn a_file_that_is_deleted_between_prepare_and_write_takes_nothing_and_the_next_attempt_is_whole()
     {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let mut sink = LogFile::open(&path, true).unwrap();
        sink.prepare(ReportFormat::Plain, &[report(1)]).unwrap();
        std::fs::remove_file(&path).unwrap();
        assert!(matches!(sink.write(), Err(SinkError::Failed(_))));
        put(&mut sink, 1);
        assert_eq!(read(&path), "n1 1\n");
    }

    #[test]
    fn a_reopen_between_prepare_and_write_waits_for_the_next_report() {
        let folder = tempfile::tempdir().unwrap();
        let (path, old) = (folder.path().join("log"), folder.path().join("log.1"));
        let mut sink = LogFile::open(&path, true).unwrap();
        std::fs::rename(&path, &old).unwrap();
        sink.prepare(ReportFormat::Plain, &[report(1)]).unwrap();
        sink.reopen();
        sink.write().unwrap();
        put(&mut sink, 2);
        assert_eq!((read(&old).as_str(), read(&path).as_str()), ("n1 1\n", "n2 2\n"));
    }

    #[test]
    fn reopen_opens_the_name_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let mut sink = LogFile::open(&path, true).unwrap();
        let old = folder.path().join("log.1");
        std::fs::rename(&path, &old).unwrap();
        sink.reopen();
        put(&mut sink, 1);
        assert_eq!((read(&old).as_str(), read(&path).as_str()), ("", "n1 1\n"));
    }

    #[test]
    fn what_is_no_regular_file_is_refused() {
        let error = LogFile::open(Path::new("/dev/null"), true).unwrap_err();
        assert_eq!(error.to_string(), "it is not a regular file");
        assert!(LogFile::open(Path::new("/"), true).is_err());
    }

    #[test]
    fn a_report_that_failed_is_written_whole_by_the_next_attempt() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let mut sink = LogFile::open(&path, true).unwrap();
        put(&mut sink, 1);
        sink.prepare(ReportFormat::Plain, &[report(2)]).unwrap();
        sink.file = Some(File::open(&path).unwrap());
        assert!(matches!(sink.write(), Err(SinkError::Failed(_))));
        assert_eq!(read(&path), "n1 1\n");
        sink.reopen();
        put(&mut sink, 2);
        assert_eq!(read(&path), "n1 1\nn2 2\n");
    }
}
