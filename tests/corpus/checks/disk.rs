//! A folder in memory: all that is written is there, nothing fails. A copy of it is what a daemon that was
//! killed leaves behind.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

use countd::disk::{Disk, File, Identity};

type Content = Arc<Mutex<Vec<u8>>>;

/// The folder. Clones share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct MemoryDisk(Arc<Mutex<BTreeMap<String, Content>>>);

#[derive(Debug)]
struct MemoryFile(Content);

impl MemoryDisk {
    pub(crate) fn of(files: impl IntoIterator<Item = (String, Vec<u8>)>) -> MemoryDisk {
        let files = files.into_iter().map(|(name, bytes)| (name, Arc::new(Mutex::new(bytes))));
        MemoryDisk(Arc::new(Mutex::new(files.collect())))
    }

    /// All files with their contents.
    pub(crate) fn files(&self) -> Vec<(String, Vec<u8>)> {
        let read = |(name, content): (&String, &Content)| (name.clone(), locked(content).clone());
        locked(&self.0).iter().map(read).collect()
    }

    fn find(&self, name: &str) -> io::Result<Content> {
        locked(&self.0).get(name).cloned().ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

fn locked<T>(lock: &Mutex<T>) -> MutexGuard<'_, T> {
    lock.lock().expect("nothing panics while it holds this")
}

impl Disk for MemoryDisk {
    fn identity(&self, name: &str) -> io::Result<Identity> {
        MemoryFile(self.find(name)?).identity()
    }

    fn list(&self) -> io::Result<Vec<String>> {
        Ok(locked(&self.0).keys().cloned().collect())
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn File>> {
        Ok(Arc::new(MemoryFile(self.find(name)?)))
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn File>> {
        if self.find(name).is_ok() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        locked(&self.0).insert(name.to_owned(), Content::default());
        self.open(name)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let content = self.find(from)?;
        let mut files = locked(&self.0);
        files.remove(from);
        files.insert(to.to_owned(), content);
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.find(name)?;
        locked(&self.0).remove(name);
        Ok(())
    }

    fn sync_folder(&self) -> io::Result<()> {
        Ok(())
    }
}

impl File for MemoryFile {
    fn identity(&self) -> io::Result<Identity> {
        Ok(Identity { device: 0, inode: Arc::as_ptr(&self.0).addr() as u64 })
    }

    fn has_name(&self) -> io::Result<bool> {
        Ok(true)
    }

    fn length(&self) -> io::Result<u64> {
        Ok(u64::try_from(locked(&self.0).len()).unwrap_or(u64::MAX))
    }

    fn read_at(&self, offset: u64, bytes: &mut [u8]) -> io::Result<usize> {
        let content = locked(&self.0);
        let offset = usize::try_from(offset).unwrap_or(usize::MAX);
        let rest = content.get(offset..).unwrap_or_default();
        let count = rest.len().min(bytes.len());
        bytes.iter_mut().zip(rest).for_each(|(place, byte)| *place = *byte);
        Ok(count)
    }

    fn append(&self, bytes: &[u8]) -> io::Result<()> {
        locked(&self.0).extend_from_slice(bytes);
        Ok(())
    }

    fn truncate(&self, length: u64) -> io::Result<()> {
        locked(&self.0).truncate(usize::try_from(length).unwrap_or(usize::MAX));
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
}
