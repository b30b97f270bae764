//! A disk in memory for tests. It tells what is written from what is synced, so that a process can be killed
//! (what is written stays) and the power can be cut (of what is not synced, any part stays or none), at every
//! single operation. Only what changes the disk counts as an operation. It has folders, each a disk of its own
//! with the same operations.

mod change;
pub mod spool;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

use self::change::{Change, Dice, apply, apply_name};
use super::{Disk, File, Identity};

/// What happens to an operation, counted from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plan {
    /// All goes well.
    Well,
    /// This one fails, those after it do not.
    FailAt(u64),
    /// From this one on nothing happens any more: the process is dead.
    StopAt(u64),
}

#[derive(Debug, Default, Clone)]
struct Content {
    written: Vec<u8>,
    synced: Vec<u8>,
    unsynced: Vec<Change>,
}

#[derive(Debug, Default, Clone)]
struct Inner {
    files: Vec<Content>,
    names: BTreeMap<String, usize>,
    synced_names: BTreeMap<String, usize>,
    unsynced_names: Vec<Change>,
    operations: u64,
    plan: Option<Plan>,
    /// How much of an append gets written in which the process dies or that fails: half, if not set.
    torn: Option<u64>,
    /// How many more bytes fit.
    space: Option<usize>,
    reads: u64,
    opened: u64,
    /// Which read fails.
    fails_read: Option<u64>,
}

/// The disk, and which folder of it: a prefix of names.
#[derive(Debug, Clone, Default)]
pub struct FakeDisk(Arc<Mutex<Inner>>, String);

#[derive(Debug)]
struct FakeFile(FakeDisk, usize);

impl FakeDisk {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap()
    }

    fn with(&self, inner: Inner) -> FakeDisk {
        FakeDisk(Arc::new(Mutex::new(inner)), self.1.clone())
    }

    /// Whether an operation was refused because the process is dead.
    pub fn is_dead(&self) -> bool {
        let inner = self.inner();
        matches!(inner.plan, Some(Plan::StopAt(at)) if inner.operations > at)
    }

    /// Whether all that was written to these files of this folder would survive a power cut, but for an end
    /// that need not.
    pub fn is_synced(
        &self,
        these: impl Fn(&str) -> bool,
        need_not: impl Fn(&[u8]) -> bool,
    ) -> bool {
        let inner = self.inner();
        let mut ours = inner
            .names
            .iter()
            .filter(|(name, _)| folder_of(name) == self.1 && these(&name[self.1.len()..]));
        ours.all(|(path, file)| {
            let content = &inner.files[*file];
            let end = content.written.strip_prefix(content.synced.as_slice());
            inner.synced_names.get(path) == Some(file)
                && end.is_some_and(|end| end.is_empty() || need_not(end))
        })
    }

    /// Lets appends that fail, or in which the process dies, get so far, by chance.
    pub fn tear(&self, seed: u64) {
        self.inner().torn = Some(seed);
    }

    /// Somebody else renames a file: no operation of ours.
    pub fn rotate(&self, from: &str, to: &str) {
        let mut inner = self.inner();
        let (from, to) = (self.key(from), self.key(to));
        let Some(&file) = inner.names.get(&from) else { return };
        let change = Change::Rename(from, to, file);
        apply_name(&mut inner.names, change.clone());
        inner.unsynced_names.push(change);
    }

    /// A folder of it. Only what is in it is listed and synced there.
    pub fn folder(&self, name: &str) -> FakeDisk {
        FakeDisk(Arc::clone(&self.0), format!("{}{name}/", self.1))
    }

    fn key(&self, name: &str) -> String {
        format!("{}{name}", self.1)
    }

    /// How many operations there were.
    pub fn operations(&self) -> u64 {
        self.inner().operations
    }

    /// Sets what happens, counting from now on.
    pub fn plan(&self, plan: Plan) {
        let mut inner = self.inner();
        (inner.plan, inner.operations) = (Some(plan), 0);
    }

    /// How many times it was read, listed or looked at since it was told which read fails.
    pub fn reads(&self) -> u64 {
        self.inner().reads
    }

    /// How often a file was opened.
    pub fn opened(&self) -> u64 {
        self.inner().opened
    }

    /// Lets this read fail, counting from now on.
    pub fn fail_read(&self, at: Option<u64>) {
        let mut inner = self.inner();
        (inner.fails_read, inner.reads) = (at, 0);
    }

    /// Lets only this many more bytes be written.
    pub fn space(&self, bytes: Option<usize>) {
        self.inner().space = bytes;
    }

    /// The disk after the process was killed: all that was written is there.
    pub fn killed(&self) -> FakeDisk {
        let mut inner = self.inner().clone();
        inner.plan = None;
        self.with(inner)
    }

    /// The disk after a power cut. Of what was not synced, nothing is there (seed 0), or some by chance: any
    /// of the changes, and of an append any part.
    pub fn power_cut(&self, seed: u64) -> FakeDisk {
        let mut inner = self.inner().clone();
        let mut dice = Dice::new(seed);
        for file in &mut inner.files {
            for change in std::mem::take(&mut file.unsynced) {
                if let Some(change) = dice.leaves(change) {
                    apply(&mut file.synced, change);
                }
            }
            file.written = file.synced.clone();
        }
        for change in std::mem::take(&mut inner.unsynced_names) {
            match dice.leaves(change) {
                // No folder has a name twice: a file got it after the one before had lost it.
                Some(Change::Link(path, _)) if inner.synced_names.contains_key(&path) => {}
                Some(change) => apply_name(&mut inner.synced_names, change),
                None => {}
            }
        }
        inner.names = inner.synced_names.clone();
        (inner.plan, inner.space) = (None, None);
        self.with(inner)
    }

    /// A file's bytes.
    pub fn content(&self, name: &str) -> Vec<u8> {
        let inner = self.inner();
        inner.files[inner.names[&self.key(name)]].written.clone()
    }

    /// A file's bytes, to look at and to damage; written and synced.
    pub fn edit<T>(&self, name: &str, edit: impl FnOnce(&mut Vec<u8>) -> T) -> T {
        let mut inner = self.inner();
        let at = inner.names[&self.key(name)];
        let file = &mut inner.files[at];
        let made = edit(&mut file.written);
        file.synced = file.written.clone();
        made
    }

    /// Puts a file there; written and synced.
    pub fn put(&self, name: &str, bytes: &[u8]) {
        self.create(name).unwrap();
        self.sync_folder().unwrap();
        self.edit(name, |content| content.extend_from_slice(bytes));
    }

    /// Whether the next operation is to be done.
    fn begin(&self) -> io::Result<MutexGuard<'_, Inner>> {
        let mut inner = self.inner();
        let now = inner.operations;
        inner.operations += 1;
        match inner.plan {
            Some(Plan::FailAt(at)) if at == now => Err(io::Error::other("failed as planned")),
            Some(Plan::StopAt(at)) if at <= now => Err(io::Error::other("dead")),
            _ => Ok(inner),
        }
    }

    fn begin_read(&self) -> io::Result<MutexGuard<'_, Inner>> {
        let mut inner = self.inner();
        let now = inner.reads;
        inner.reads += 1;
        match inner.fails_read {
            Some(at) if at == now => Err(io::Error::from_raw_os_error(5)),
            _ => Ok(inner),
        }
    }

    fn change_name(&self, change: Change) -> io::Result<()> {
        let mut inner = self.begin()?;
        apply_name(&mut inner.names, change.clone());
        inner.unsynced_names.push(change);
        Ok(())
    }

    fn find(&self, name: &str) -> io::Result<usize> {
        self.inner().names.get(&self.key(name)).copied().ok_or(io::ErrorKind::NotFound.into())
    }
}

/// The prefix of names in the folder that a name is in.
fn folder_of(name: &str) -> &str {
    &name[..name.rfind('/').map_or(0, |at| at + 1)]
}

impl Inner {
    /// What changed in a folder is there for good; what was moved out of it or into it is once the other
    /// folder was synced too, and with it all that became of it later.
    fn sync_names(&mut self, folder: &str) {
        let mut held = BTreeSet::new();
        for mut change in std::mem::take(&mut self.unsynced_names) {
            let names = match &change {
                Change::Link(name, _) | Change::Remove(name) => vec![name.clone()],
                Change::Rename(from, to, _) | Change::Shift(from, to, ..) => {
                    vec![from.clone(), to.clone()]
                }
                Change::Append(..) | Change::Truncate(_) => unreachable!(),
            };
            let synced = match &mut change {
                Change::Shift(.., folders) => {
                    folders.remove(folder);
                    folders.is_empty()
                }
                Change::Link(..) | Change::Rename(..) | Change::Remove(_) => {
                    folder_of(&names[0]) == folder
                }
                Change::Append(..) | Change::Truncate(_) => unreachable!(),
            };
            if synced && names.iter().all(|name| !held.contains(name)) {
                apply_name(&mut self.synced_names, change);
            } else {
                held.extend(names);
                self.unsynced_names.push(change);
            }
        }
    }
}

impl Disk for FakeDisk {
    fn identity(&self, name: &str) -> io::Result<Identity> {
        drop(self.begin_read()?);
        Ok(Identity { device: 1, inode: self.find(name)? as u64 })
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let inner = self.begin_read()?;
        let names = inner.names.keys().filter(|name| folder_of(name) == self.1);
        Ok(names.map(|name| name[self.1.len()..].to_owned()).collect())
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn File>> {
        self.begin_read()?.opened += 1;
        Ok(Arc::new(FakeFile(self.clone(), self.find(name)?)))
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn File>> {
        if self.find(name).is_ok() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let file = self.inner().files.len();
        self.change_name(Change::Link(self.key(name), file))?;
        self.inner().files.push(Content::default());
        self.open(name)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let file = self.find(from)?;
        self.change_name(Change::Rename(self.key(from), self.key(to), file))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.find(name)?;
        self.change_name(Change::Remove(self.key(name)))
    }

    fn sync_folder(&self) -> io::Result<()> {
        let mut inner = self.begin()?;
        inner.sync_names(&self.1);
        Ok(())
    }
}

impl FakeFile {
    fn write(&self, inner: &mut Inner, bytes: &[u8]) {
        let file = &mut inner.files[self.1];
        let change = Change::Append(file.written.len() as u64, bytes.to_vec());
        apply(&mut file.written, change.clone());
        file.unsynced.push(change);
    }
}

impl File for FakeFile {
    fn identity(&self) -> io::Result<Identity> {
        Ok(Identity { device: 1, inode: self.1 as u64 })
    }

    fn has_name(&self) -> io::Result<bool> {
        Ok(self.0.inner().names.values().any(|file| *file == self.1))
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.0.begin_read()?.files[self.1].written.len() as u64)
    }

    fn read_at(&self, offset: u64, bytes: &mut [u8]) -> io::Result<usize> {
        let inner = self.0.begin_read()?;
        let rest = inner.files[self.1].written.get(offset as usize..).unwrap_or_default();
        // As few as a disk may return.
        let count = rest.len().min(bytes.len()).min(4096);
        bytes[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    }

    fn append(&self, bytes: &[u8]) -> io::Result<()> {
        let before = self.0.operations();
        let plan = self.0.inner().plan;
        let alive = !matches!(plan, Some(Plan::StopAt(at)) if at < before);
        match self.0.begin() {
            Ok(mut inner) => {
                let fits = inner.space.map_or(bytes.len(), |space| space.min(bytes.len()));
                inner.space = inner.space.map(|space| space - fits);
                self.write(&mut inner, &bytes[..fits]);
                if fits == bytes.len() { Ok(()) } else { Err(io::ErrorKind::StorageFull.into()) }
            }
            // A write that fails, or in which the process dies, may have got half-way.
            Err(error) => {
                if alive {
                    let mut inner = self.0.inner();
                    let half = bytes.len() as u64 / 2;
                    let so_far = inner.torn.map_or(half, |seed| seed % (bytes.len() as u64 + 1));
                    self.write(&mut inner, &bytes[..so_far as usize]);
                }
                Err(error)
            }
        }
    }

    fn truncate(&self, length: u64) -> io::Result<()> {
        let mut inner = self.0.begin()?;
        let file = &mut inner.files[self.1];
        apply(&mut file.written, Change::Truncate(length));
        file.unsynced.push(Change::Truncate(length));
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut inner = self.0.begin()?;
        let file = &mut inner.files[self.1];
        file.synced = file.written.clone();
        file.unsynced.clear();
        Ok(())
    }
}
