//! A spool folder on the disk in memory. All that is in it are regular files of one user; what hostile users
//! put there is for the real one.

use std::io;

use super::{Change, FakeDisk, folder_of};
use crate::disk::Disk;
use crate::disk::spool::{Kind, Looked, Room, SpoolDisk};

/// The spool folder.
#[derive(Debug, Clone)]
pub struct FakeSpool {
    spool: FakeDisk,
    taken: FakeDisk,
    refused: FakeDisk,
}

impl FakeSpool {
    /// The one of this disk.
    pub fn of(disk: &FakeDisk) -> FakeSpool {
        let spool = disk.folder("spool");
        FakeSpool { taken: spool.folder("taken"), refused: spool.folder("refused"), spool }
    }

    /// A room as a disk.
    pub fn room(&self, room: Room) -> &FakeDisk {
        match room {
            Room::Spool => &self.spool,
            Room::Taken => &self.taken,
            Room::Refused => &self.refused,
        }
    }

    /// The names in a room.
    pub fn names(&self, room: Room) -> Vec<String> {
        self.room(room).list().unwrap()
    }
}

impl SpoolDisk for FakeSpool {
    fn list(
        &self,
        room: Room,
        wanted: &dyn Fn(&str) -> bool,
        max: usize,
    ) -> io::Result<Vec<String>> {
        Ok(self.room(room).list()?.into_iter().filter(|name| wanted(name)).take(max).collect())
    }

    fn look(&self, room: Room, name: &str) -> io::Result<Looked> {
        let bytes = self.room(room).open(name)?.length()?;
        Ok(Looked { kind: Kind::File, uid: 1_000, one_name: true, bytes, changed_ms: 0 })
    }

    fn read(&self, room: Room, name: &str, max: usize) -> io::Result<(Looked, Vec<u8>)> {
        let file = self.room(room).open(name)?;
        let mut bytes = vec![0; max];
        let mut filled = 0;
        loop {
            match file.read_at(filled as u64, &mut bytes[filled..])? {
                0 => break,
                count => filled += count,
            }
        }
        bytes.truncate(filled);
        Ok((self.look(room, name)?, bytes))
    }

    fn shift(&self, from: Room, name: &str, to: Room, new: &str) -> io::Result<()> {
        let (source, target) = (self.room(from), self.room(to));
        let file = source.find(name)?;
        if target.find(new).is_ok() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let (name, new) = (source.key(name), target.key(new));
        let folders = [folder_of(&name).to_owned(), folder_of(&new).to_owned()].into();
        self.spool.change_name(Change::Shift(name, new, file, folders))
    }

    fn remove(&self, room: Room, name: &str) -> io::Result<()> {
        self.room(room).remove(name)
    }

    fn sync(&self, room: Room) -> io::Result<()> {
        self.room(room).sync_folder()
    }
}
