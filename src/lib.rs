//! countd counts things for scripts: `countd incr NAME` adds to a counter, `countd serve` keeps the counters
//! and writes what each gained to stdout, a log file or a collector every flush interval, `countd dump` shows them.
//!
//! **The promise:** when an increment is acknowledged it is counted once, exactly once, whatever process
//! crashes afterwards; with `--fsync always` also when the machine does.
//!
//! A Rust program counts with a [`Client`], which keeps the same promise; [`Name`] is what it counts. The rest
//! of the library is what the `countd` program is made of; it is public so that tests can reach it, and may
//! change.
//!
//! # How an increment goes
//!
//! ```text
//! argv -> protocol::Request::Incr -> payload -> frame -> one write to the socket
//!   | read -> frame -> decode -> turn::Core::step -> records -> journal append, once a turn -> replies
//!   | turn::Core::advance -> report::Report -> format -> sink
//! ```
//!
//! One thread owns the counters and does all of that but the last line ([`server`]): large reports are put together,
//! and all are written, by others. What a request, a flush
//! or a sink's answer does is decided without I/O, as a function of values ([`turn`]). Nobody is told anything
//! before the append that makes it true ([`journal`]). Time enters once a turn and is passed down.
//!
//! # Layers
//!
//! A module uses those below it only; a test refuses an upward `use`.
//!
//! | layer | what is there |
//! |---|---|
//! | [`cli`] | the command line, assembled from the commands |
//! | [`commands`] | a file a subcommand: its arguments, and what it does |
//! | [`client`], [`server`] | connect, ask, retry; the loop that drives the turn |
//! | [`journal`], [`sink`], [`spool`], [`system`] | what touches disk, outputs, the kernel |
//! | [`disk`] | the seam to a disk: a folder and its files, real or made up |
//! | [`turn`] | what requests, flushes and completions do. Pure |
//! | [`format`](mod@format) | a report, a snapshot, a status as text. Pure |
//! | [`protocol`] | requests and responses, and their bytes. Pure |
//! | [`record`] | what the journal says, the state, replay. Pure |
//! | [`counter`], [`ids`], [`window`], [`report`], [`note`], [`frame`] | the values all of it is about. Pure |

pub mod cli;

pub mod commands;

pub mod client;
pub mod server;

pub mod journal;
pub mod sink;
pub mod spool;
pub mod system;

pub mod disk;

pub mod turn;

pub mod format;

pub mod protocol;

pub mod record;

pub mod codec;
pub mod counter;
pub mod frame;
pub mod ids;
pub mod note;
pub mod report;
pub mod window;

pub use client::{Client, ClientError, SocketPath};
pub use counter::name::{Name, NameError};
