//! A file with the totals, in the format of Prometheus, for node_exporter to read. It is written whole each time,
//! beside the old one, and takes its place: a reader finds the old or the new, never half. Not synced, as after a
//! power cut it is written anew. Reports only say that there is something to write: what is written is the last sight.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::OFlags;

use super::{Sink, SinkError};
use crate::format::layout::Layout;
use crate::format::prometheus::view::{Sight, View};
use crate::format::prometheus::{Collisions, Dialect, Progress, Shown};
use crate::record::FilePlace;
use crate::report::Report;
use crate::turn::Prepared;

/// Everyone may read it: node_exporter has a user of its own.
const MODE: u32 = 0o644;
/// How much is rendered before it is written.
const PIECE_BYTES: usize = 64 << 10;

/// The file.
#[derive(Debug)]
pub struct Textfile {
    path: PathBuf,
    /// The new file, until it is whole.
    beside: PathBuf,
    shown: Shown,
    /// It goes when the daemon stops.
    removed: bool,
    /// What is to be written; nothing once it is.
    sight: Option<Sight>,
    collisions: Collisions,
    said: Vec<String>,
}

impl Textfile {
    /// A file at this path, which is not written yet.
    ///
    /// # Errors
    /// When there is no folder for it, or something else than a file is there.
    pub fn new(path: &Path, shown: Shown, removed: bool) -> io::Result<Textfile> {
        let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it has no name"));
        };
        if !fs::metadata(folder)?.is_dir() {
            return Err(io::ErrorKind::NotADirectory.into());
        }
        // A device or a socket would be replaced like any file.
        if fs::metadata(path).is_ok_and(|found| !found.is_file()) {
            let what = "something else than a file is there";
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, what));
        }
        // Not a name that node_exporter reads, nor one that is seen.
        let mut hidden = std::ffi::OsString::from(".");
        hidden.push(name);
        hidden.push("~");
        let beside = folder.join(hidden);
        Ok(Textfile {
            path: path.to_owned(),
            beside,
            shown,
            removed,
            sight: None,
            collisions: Collisions::default(),
            said: Vec::new(),
        })
    }

    fn put(&mut self) -> io::Result<()> {
        let Some(sight) = self.sight.clone() else { return Ok(()) };
        // Anybody may have left something there.
        match fs::remove_file(&self.beside) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        let mut options = OpenOptions::new();
        options.write(true).create_new(true).mode(0o600);
        options.custom_flags(i32::try_from(OFlags::NOFOLLOW.bits()).unwrap_or(0));
        let mut file = options.open(&self.beside)?;
        self.fill(sight, &mut file)?;
        // Whatever the umask.
        file.set_permissions(Permissions::from_mode(MODE))?;
        fs::rename(&self.beside, &self.path)?;
        self.sight = None;
        Ok(())
    }

    fn fill(&mut self, sight: Sight, file: &mut File) -> io::Result<()> {
        let view = View::of(sight, &self.shown);
        let (mut progress, mut text) = (Progress::default(), Vec::new());
        loop {
            let done = view.render(Dialect::Text, &mut progress, PIECE_BYTES, &mut text);
            file.write_all(&text)?;
            text.clear();
            if done {
                break;
            }
        }
        self.said.extend(self.collisions.news(view.collisions()));
        self.collisions = view.collisions().clone();
        Ok(())
    }
}

impl Sink for Textfile {
    fn wants_sights(&self) -> bool {
        true
    }

    fn look(&mut self, sight: Sight) {
        self.sight = Some(sight);
    }

    fn prepare(
        &mut self,
        _layout: &Layout,
        _reports: &[Arc<Report>],
        _offered: Option<FilePlace>,
    ) -> Result<Prepared, SinkError> {
        Ok(Prepared::AnyTimes)
    }

    fn write(&mut self) -> Result<(), SinkError> {
        let put = self.put();
        put.inspect_err(|_| {
            let _ = fs::remove_file(&self.beside);
        })
        .map_err(|error| SinkError::Failed(error.to_string()))
    }

    fn said(&mut self) -> Vec<String> {
        std::mem::take(&mut self.said)
    }

    fn problem(&self) -> Option<String> {
        self.collisions.problem()
    }

    fn finish(&mut self) {
        if self.removed {
            // If it cannot be removed, it could not have been written, and that was said.
            let _ = fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(path: &Path) -> String {
        fs::read_to_string(path).unwrap()
    }

    #[test]
    fn a_file_is_replaced_whole_with_a_mode_that_everyone_can_read() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("a.prom");
        // What somebody left there is neither followed nor kept.
        std::os::unix::fs::symlink("/etc/passwd", home.path().join(".a.prom~")).unwrap();
        let mut file = Textfile::new(&path, Shown::default(), true).unwrap();
        file.look(Sight::default());
        assert!(matches!(file.prepare(&layout(), &[], None), Ok(Prepared::AnyTimes)));
        assert!(!path.exists());
        file.write().unwrap();
        assert!(text(&path).contains("\ncountd_problems 0\n"));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, MODE);
        assert_eq!(fs::read_dir(home.path()).unwrap().count(), 1);
        file.finish();
        assert!(!path.exists());
    }

    #[test]
    fn a_file_that_cannot_be_written_leaves_the_old_one() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("a.prom");
        fs::write(&path, "old").unwrap();
        let mut file = Textfile::new(&path, Shown::default(), false).unwrap();
        file.look(Sight::default());
        fs::create_dir(home.path().join(".a.prom~")).unwrap();
        assert!(matches!(file.write(), Err(SinkError::Failed(_))));
        assert_eq!(text(&path), "old");
        fs::remove_dir(home.path().join(".a.prom~")).unwrap();
        file.look(Sight::default());
        file.write().unwrap();
        // What is written already is not written again.
        file.write().unwrap();
        file.finish();
        assert!(text(&path).starts_with("# HELP "));
    }

    #[test]
    fn what_could_not_be_written_is_written_by_the_next_attempt() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("a.prom");
        let mut file = Textfile::new(&path, Shown::default(), false).unwrap();
        file.look(Sight::default());
        fs::create_dir(home.path().join(".a.prom~")).unwrap();
        assert!(file.write().is_err());
        fs::remove_dir(home.path().join(".a.prom~")).unwrap();
        // Nobody has it look again in between, when it was prepared for before.
        file.write().unwrap();
        assert!(text(&path).starts_with("# HELP "));
    }

    #[test]
    fn without_a_folder_and_in_place_of_a_device_there_is_no_such_file() {
        for path in ["/nowhere/a.prom", "/etc/passwd/a.prom", "/", "/etc", "/dev/null"] {
            assert!(Textfile::new(Path::new(path), Shown::default(), false).is_err(), "{path}");
        }
    }

    fn layout() -> Layout {
        Layout::of(crate::format::ReportFormat::Plain)
    }
}
