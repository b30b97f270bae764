//! The real network, turn by turn: what the kernel tells, and does not tell again.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use super::*;
use crate::server::assemble::{Config, Surroundings};

fn server() -> (Server, PathBuf, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("socket");
    let config = Config::ephemeral(&socket);
    let server =
        Server::assemble(config, Surroundings::default(), Stopper::new(), Box::new(|_, _| {}));
    let server = server.unwrap();
    (server, socket, folder)
}

/// Lets the loop take in all that has happened.
fn settle(server: &mut Server) {
    for _ in 0..8 {
        server.turn(Some(Duration::ZERO)).unwrap();
    }
}

#[test]
fn a_client_that_writes_and_hangs_up_at_once_is_not_kept() {
    let (mut server, socket, _folder) = server();
    let mut client = UnixStream::connect(&socket).unwrap();
    client.write_all(&hello(false)).unwrap();
    settle(&mut server);
    assert_eq!(server.connections.len(), 1);
    // Both reach the loop as one readiness.
    client.write_all(&framed(&Request::Status)).unwrap();
    drop(client);
    settle(&mut server);
    assert_eq!(server.connections.len(), 0);
}

#[test]
fn the_end_of_a_stream_is_found_though_it_came_with_the_last_bytes() {
    let (mut server, socket, _folder) = server();
    let mut client = UnixStream::connect(&socket).unwrap();
    settle(&mut server);
    // Nothing will be written to it, which would fail and tell.
    client.write_all(&hello(false)).unwrap();
    drop(client);
    settle(&mut server);
    assert_eq!(server.connections.len(), 0);
}

#[test]
fn a_client_that_shuts_its_side_still_gets_its_answer() {
    let (mut server, socket, _folder) = server();
    let mut client = UnixStream::connect(&socket).unwrap();
    client.write_all(&[hello(false), framed(&Request::Status)].concat()).unwrap();
    client.shutdown(std::net::Shutdown::Write).unwrap();
    settle(&mut server);
    let mut answer = Vec::new();
    client.read_to_end(&mut answer).unwrap();
    assert!(frame::first(&answer).unwrap().is_some());
    assert_eq!(server.connections.len(), 0);
}

#[test]
fn a_reader_that_pauses_gets_the_rest_of_its_dump() {
    let (mut server, socket, _folder) = server();
    let mut client = UnixStream::connect(&socket).unwrap();
    let names: Vec<String> = (0..20_000).map(|n| format!("{}{n}", "long.".repeat(20))).collect();
    client.write_all(&hello(true)).unwrap();
    let mut filling = UnixStream::connect(&socket).unwrap();
    filling.write_all(&hello(false)).unwrap();
    for (n, some) in names.chunks(1_000).enumerate() {
        let id = RequestId { session: n as u128, seq: 0, born_ns: crate::system::clock::boot_ns() };
        let entries = some.iter().map(|name| Entry { name, amount: 1 }).collect();
        filling
            .write_all(&framed(&Request::Incr { id, atomic: true, totals: false, entries }))
            .unwrap();
        settle(&mut server);
    }
    client.write_all(&framed(&dump())).unwrap();
    settle(&mut server);
    let mut answer = Vec::new();
    client.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
    let mut buffer = vec![0; 50_000];
    loop {
        match client.read(&mut buffer) {
            Ok(0) => break,
            Ok(n) => answer.extend_from_slice(&buffer[..n]),
            Err(error) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
        }
        server.turn(Some(Duration::ZERO)).unwrap();
    }
    let mut last = String::new();
    while let Some(range) = frame::first(&answer).unwrap() {
        last = format!("{:?}", Response::from_payload(&answer[range.clone()]).unwrap());
        answer.drain(..range.end);
    }
    assert_eq!(last, "End { rows: 20000 }");
}
