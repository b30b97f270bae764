//! The kernel's side: clocks, random bits, sockets, signals, children, files, groups, and where they are looked for.
//! What depends on the operating system is here; nothing here decides anything about counters.

pub mod activation;
pub mod allocator;
pub mod child;
pub mod clock;
pub mod command;
pub mod connect;
pub mod disk;
pub mod groups;
pub mod host;
pub mod limits;
pub mod listen;
pub mod memory;
pub mod messages;
pub mod output;
pub mod paths;
pub mod process;
pub mod random;
pub mod signals;
pub mod spool;
pub mod supervisor;
pub mod tcp;
