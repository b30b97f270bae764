//! A thousand increments by as many processes, several at a time.

use std::fs::File;
use std::path::Path;
use std::process::{Command, Stdio};

use countd::Name;

use crate::floor::Role;
use crate::measure::{Samples, run};
use crate::processes::{Server, client, countd, floor, redis};
use crate::report::{Book, Goal, Table, short, times};
use crate::wire::redis_ask;
use crate::{Bench, Result};

const PROCESSES: u64 = 1000;
const COUNTER: &str = "jobs.done";
const HOW: &str = "`xargs -n 1 -P 8` and `-P 32` with 1,000 lines, until all is done. xargs itself can start only so \
    many processes a second, which bounds the fast ones. No process failed, and each server has counted \
    exactly 1,000 a round: else there would be no table.";

pub(crate) fn measure(bench: &Bench<'_>, book: &mut Book) -> Result<()> {
    let (tools, folder) = (&bench.tools, bench.folder);
    let Some(xargs) = &tools.xargs else { return Ok(()) };
    let echo = floor(Role::Echo, folder, "parallel-echo")?;
    let daemon = countd(tools.packaged(), folder, "parallel")?;
    let redis = match (&tools.redis_server, &tools.redis_cli) {
        (Some(server), Some(cli)) => Some((redis(server, folder, "parallel-redis")?, cli)),
        _ => None,
    };
    let mut runners: Vec<(&str, &Path, Vec<&str>)> = Vec::new();
    if let Some(path) = &tools.c_client {
        runners.push((C_CLIENT, path, vec![text(&echo.socket)?]));
    }
    runners.push((COUNTD, tools.packaged(), vec!["incr"]));
    if let Some((server, cli)) = &redis {
        runners.push((REDIS, cli, vec!["-s", text(&server.socket)?, "INCR"]));
    }
    let lines = folder.join("lines");
    std::fs::write(&lines, format!("{COUNTER}\n").repeat(PROCESSES as usize))?;
    let rounds = bench.rounds(5);
    let mut samples = vec![[Samples::default(), Samples::default()]; runners.len()];
    for _ in 0..rounds {
        for (at, parallel) in ["8", "32"].into_iter().enumerate() {
            for ((_, program, arguments), samples) in runners.iter().zip(&mut samples) {
                let mut command = Command::new(xargs);
                command.args(["-n", "1", "-P", parallel]).arg(program).args(arguments);
                command.env_clear().env("COUNTD_SOCKET", &daemon.socket);
                command.stdin(File::open(&lines)?).stdout(Stdio::null());
                samples[at].add(run(&mut command)?);
            }
        }
    }
    let sent = PROCESSES * 2 * rounds as u64;
    let counted = client(&daemon.socket)?.get(&Name::new(COUNTER)?)?.total;
    exact("countd", counted, sent)?;
    if let Some((server, _)) = &redis {
        exact("redis", redis_count(server)?, sent)?;
    }
    let names: Vec<&str> = runners.iter().map(|(name, ..)| *name).collect();
    report(&names, &samples, book);
    Ok(())
}

const C_CLIENT: &str = "floor: client in C, musl, to a bare epoll server";
const COUNTD: &str = "**countd incr**";
const REDIS: &str = "redis-cli INCR";

fn report(names: &[&str], samples: &[[Samples; 2]], book: &mut Book) {
    let head = ["", "-P 8, ms", "x C client", "-P 32, ms", "x C client"];
    let mut table = Table::new("1,000 increments through xargs", HOW, &head);
    let wall = |name, at: usize| {
        let found = names.iter().position(|&other| other == name);
        found.map_or(f64::NAN, |place| samples[place][at].wall())
    };
    for &name in names {
        let cells = |at| (short(wall(name, at) * 1e3), times(wall(name, at) / wall(C_CLIENT, at)));
        let ((eight, to_eight), (many, to_many)) = (cells(0), cells(1));
        table.row([name.to_owned(), eight, to_eight, many, to_many]);
    }
    book.tables.push(table);
    for (at, parallel) in ["-P 8", "-P 32"].into_iter().enumerate() {
        let (countd, c_client, redis) = (wall(COUNTD, at), wall(C_CLIENT, at), wall(REDIS, at));
        if !c_client.is_nan() {
            let what = format!("1,000 through xargs {parallel}, against the client in C");
            book.goal(what, Goal::AtMost(1.2), countd / c_client, " x");
            book.floor(1.0);
        }
        if !redis.is_nan() {
            let what = format!("redis-cli through xargs {parallel}, against countd");
            book.goal(what, Goal::AtLeast(7.0), redis / countd, " x");
            book.floor(redis / c_client);
        }
    }
}

/// A figure of a server that has not counted all of it, or more, is none.
pub(crate) fn exact(server: &str, counted: u64, sent: u64) -> Result<()> {
    if counted == sent {
        Ok(())
    } else {
        Err(format!("{server} counted {counted} of {sent}").into())
    }
}

fn redis_count(server: &Server) -> Result<u64> {
    let answer = redis_ask(&server.socket, &format!("GET {COUNTER}"))?;
    Ok(answer.lines().nth(1).ok_or("redis does not know the counter")?.parse()?)
}

fn text(path: &Path) -> Result<&str> {
    Ok(path.to_str().ok_or("a temporary folder that is no UTF-8")?)
}
