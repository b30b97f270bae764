//! Putting aside what was taken and is not accepted: where to, under which name, and how much of it. What may be
//! a request that somebody relies on is never removed. What is not accepted, and why, is known above.

use std::collections::BTreeSet;
use std::fmt;
use std::io;

use super::{Intake, Scan};
use crate::disk::spool::{Kind, Looked, Room};

/// Files kept that are no requests; past it they are removed.
pub const GARBAGE_MAX: usize = 1_000;
/// Requests kept that were not accepted, as many as can wait at a time; past it they stay among the taken.
pub const REQUESTS_MAX: usize = 65_536;
/// Names that are tried for something that is moved aside.
const NAMES_MAX: usize = 1_000;
/// How the names of those that are no requests end.
const GARBAGE: &str = ".bad";
/// Something that was not accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Where it is now, from the spool folder.
    pub place: String,
    /// Whose it is, if that is known.
    pub uid: Option<u32>,
    /// Why.
    pub why: String,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.place)?;
        if let Some(uid) = self.uid {
            write!(f, " of uid {uid}")?;
        }
        write!(f, ": {}", self.why)
    }
}

/// How many files are kept that were not accepted.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Kept {
    pub(super) garbage: usize,
    pub(super) requests: usize,
}

/// As what something is moved aside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Aside {
    /// It is no request, and may be removed.
    Garbage,
    /// It is one, or may be. Somebody was told that it will be counted: it is never removed.
    Request,
    /// The same, and it may have been counted.
    Doubtful,
}

impl Kept {
    pub(super) fn of(names: &[String]) -> Kept {
        let garbage = names.iter().filter(|name| name.ends_with(GARBAGE)).count();
        Kept { garbage, requests: names.len().saturating_sub(garbage) }
    }

    pub(super) fn all(self) -> usize {
        self.garbage.saturating_add(self.requests)
    }
}

impl Intake {
    /// Moves aside what is no file. A folder has to be writable for who moves it elsewhere, and empty to be
    /// removed: it may have to stay, and then gets a name that no request has.
    pub(super) fn put_aside(
        &mut self,
        room: Room,
        name: &str,
        looked: Looked,
        before: &BTreeSet<String>,
        scan: &mut Scan,
    ) {
        let (uid, why) = (Some(looked.uid), what_it_is(looked.kind).to_owned());
        if let Ok(refusal) = self.refuse(room, name, uid, why.clone(), Aside::Garbage) {
            scan.refused.push(refusal);
            return;
        }
        let why = format!("{why}, and cannot be moved to refused");
        let place = place_of(room, name);
        match self.shift(room, name, room, |number| format!("{name}.{number}.stuck")) {
            Ok(new) => scan.refused.push(Refusal { place: place_of(room, &new), uid, why }),
            Err(_) => {
                if !before.contains(&place) {
                    scan.refused.push(Refusal { place: place.clone(), uid, why });
                }
                self.stuck.insert(place);
            }
        }
    }

    /// Moves aside what cannot be accepted. What is no request is removed where there is too much of that
    /// already.
    pub(super) fn refuse(
        &mut self,
        room: Room,
        name: &str,
        uid: Option<u32>,
        why: String,
        aside: Aside,
    ) -> io::Result<Refusal> {
        let (kept, max, suffix) = match aside {
            Aside::Garbage => (self.kept.garbage, GARBAGE_MAX, GARBAGE),
            Aside::Request => (self.kept.requests, REQUESTS_MAX, ""),
            Aside::Doubtful => (self.kept.requests, REQUESTS_MAX, ".unread"),
        };
        let moved = if kept < max {
            let name_of = |number: usize| format!("{name}.{}{suffix}", number.saturating_add(kept));
            self.shift(room, name, Room::Refused, name_of)
        } else {
            Err(io::Error::other("it was not accepted, and there is no room for it in refused"))
        };
        let place = match (moved, aside) {
            (Ok(new), _) => {
                let kept = match aside {
                    Aside::Garbage => &mut self.kept.garbage,
                    Aside::Request | Aside::Doubtful => &mut self.kept.requests,
                };
                *kept = kept.saturating_add(1);
                place_of(Room::Refused, &new)
            }
            // It may be possible to remove it where it cannot be moved.
            (Err(_), Aside::Garbage) => {
                self.remove(room, name)?;
                format!("{name} (removed)")
            }
            (Err(error), Aside::Request | Aside::Doubtful) => return Err(error),
        };
        Ok(Refusal { place, uid, why })
    }

    /// Gives something the first of these names that is free, counted from 1. Returns which.
    fn shift(
        &mut self,
        from: Room,
        name: &str,
        to: Room,
        name_of: impl Fn(usize) -> String,
    ) -> io::Result<String> {
        for new in (1..=NAMES_MAX).map(name_of) {
            match self.disk.shift(from, name, to, &new) {
                Ok(()) => {
                    self.changed(from);
                    self.changed(to);
                    return Ok(new);
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
        Err(io::ErrorKind::AlreadyExists.into())
    }
}

fn what_it_is(kind: Kind) -> &'static str {
    match kind {
        Kind::Folder => "it is a folder",
        Kind::Other | Kind::File => "it is not a regular file",
    }
}

/// From the spool folder.
fn place_of(room: Room, name: &str) -> String {
    match room {
        Room::Spool => name.to_owned(),
        Room::Taken => format!("taken/{name}"),
        Room::Refused => format!("refused/{name}"),
    }
}
