//! countd counts things for scripts.

pub mod client;
pub mod server;

pub mod journal;
pub mod sink;
pub mod system;

pub mod turn;

pub mod format;

pub mod protocol;

pub mod record;

pub mod codec;
pub mod counter;
pub mod frame;
pub mod ids;
pub mod report;
pub mod window;

