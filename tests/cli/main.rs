//! The real binary in temporary folders: what users see, signals, kills, and damaged places. Nothing here
//! sleeps to wait; it waits for a line, a reply, an end of file.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panics")]
#![expect(clippy::print_stderr, reason = "a skipped test says so")]

mod bad_input;
mod collectors;
mod commands;
mod container;
mod durability;
mod fakes;
mod handover;
mod harness;
mod hostile;
mod http;
mod incr;
mod journald;
mod otlp;
mod prometheus;
mod run;
mod scrape;
mod sinks;
mod sockets;
mod spool;
mod stopping;
mod storm;
mod stream;
mod supervised;
mod syscalls;
mod terminal;
mod verify;
