//! What has to hold for any bytes or text from outside, a file for each way in. Every check takes bytes and
//! panics if something does not hold; what the bytes stand for is said where they are read.

#![expect(clippy::expect_used, reason = "a check fails by a panic")]

mod connections;
pub(crate) mod disk;
mod facts;
pub(crate) mod folder;
pub(crate) mod input;
mod journal;
mod lines;
mod memory;
mod names;
mod network;
mod requests;
mod responses;
mod settings;
mod spool;
mod turns;

/// A check: it panics when something does not hold.
pub(crate) type Check = fn(&[u8]);

/// All of them, each with the name of its fuzz target and of the folder with its inputs.
pub(crate) const CHECKS: &[(&str, Check)] = &[
    ("connections", connections::check),
    ("journal", journal::check),
    ("lines", lines::check),
    ("names", names::check),
    ("requests", requests::check),
    ("responses", responses::check),
    ("settings", settings::check),
    ("spool", spool::check),
    ("turns", turns::check),
];
