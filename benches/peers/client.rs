//! The least that a Rust client of a daemon can do with the standard library: connect, write 32 bytes, read the
//! reply, exit. Built by the benchmark itself, with the options of the release profile, dynamically linked.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

fn main() -> std::io::Result<()> {
    let Some(socket) = std::env::args_os().nth(1) else { return Ok(()) };
    let mut stream = UnixStream::connect(socket)?;
    let mut bytes = *b"thirty-two bytes to be echoed...";
    stream.write_all(&bytes)?;
    stream.read_exact(&mut bytes)
}
