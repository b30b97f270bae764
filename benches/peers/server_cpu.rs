//! What an increment of a script costs the server.

use std::process::{Command, Stdio};

use crate::floor::Role;
use crate::measure::{Samples, run, watched};
use crate::processes::{Server, countd, countd_command, floor, redis};
use crate::report::{Book, Goal, Table, short, times};
use crate::{Bench, Result};

const HOW: &str = "CPU time of the server for one request of a process that connects, asks once and exits: each \
    with its own client, one client after the other. The bare server accepts, waits until the connection is readable, \
    echoes, and closes at its end; it keeps nothing. Both journals are written before the answer.";

pub(crate) fn measure(bench: &Bench<'_>, book: &mut Book) -> Result<()> {
    let (tools, folder) = (&bench.tools, bench.folder);
    let mut servers: Vec<(&str, Server, Command, Samples)> = Vec::new();
    let mut add = |name, server, mut command: Command| {
        command.stdout(Stdio::null());
        servers.push((name, server, command, Samples::default()));
    };
    if let Some(path) = &tools.c_client {
        let server = floor(Role::Echo, folder, "cpu-echo")?;
        let mut command = Command::new(path);
        command.arg(&server.socket);
        add(ECHO, server, command);
    }
    let server = countd(tools.packaged(), folder, "cpu")?;
    let mut command = countd_command(tools.packaged(), &server.socket, "incr");
    command.arg("jobs.done");
    add(COUNTD, server, command);
    if let (Some(path), Some(cli)) = (&tools.redis_server, &tools.redis_cli) {
        let server = redis(path, folder, "cpu-redis")?;
        let mut command = Command::new(cli);
        command.arg("-s").arg(&server.socket).args(["INCR", "jobs.done"]);
        add("redis, redis-cli INCR", server, command);
    }
    let asked = if bench.quick { 50 } else { 200 };
    for _ in 0..bench.rounds(15) {
        for (_, server, command, samples) in &mut servers {
            samples.add(watched(server.pid(), || {
                (0..asked).try_for_each(|_| run(command).map(drop))
            })?);
        }
    }
    let micros = |samples: &Samples| samples.cpu() * 1e6 / f64::from(asked);
    let of = |wanted| {
        let found = servers.iter().find(|(name, ..)| *name == wanted);
        found.map_or(f64::NAN, |(.., samples)| micros(samples))
    };
    let head = ["server", "CPU a request, µs", "x bare server"];
    let mut table = Table::new("The server's share of an increment from a script", HOW, &head);
    for (name, .., samples) in &servers {
        table.row([(*name).to_owned(), short(micros(samples)), times(micros(samples) / of(ECHO))]);
    }
    book.tables.push(table);
    let ratio = of(COUNTD) / of(ECHO);
    if !ratio.is_nan() {
        book.goal("server CPU of an increment from a script", Goal::AtMost(1.3), ratio, " x");
        book.floor(1.0);
    }
    Ok(())
}

const ECHO: &str = "floor: bare epoll server that echoes";
const COUNTD: &str = "**countd serve**";
