//! A million counters: memory, a dump, starts.

use std::io::Read;
use std::process::{Command, Stdio};

use crate::measure::{Samples, Spent, cpu_of, resident, timed, watched};
use crate::processes::{Server, countd, countd_command, redis};
use crate::report::{Book, Goal, Table, short, times};
use crate::wire::{Loads, Wire};
use crate::{Bench, Result};

const COUNTERS: u32 = 1_000_000;
const HOW: &str = "The same million names in both, each counted once. Memory is what is resident (VmRSS). A dump is \
    `countd dump` or `redis-cli keys '*'` into a pipe that is read, from start to exit: countd's has names and totals, \
    sorted, redis' names alone. A start is from the spawn of the server to its first answer: after a clean stop (SIGTERM) \
    and after `kill -9`, each when countd has just counted all of them again.";

pub(crate) fn measure(bench: &Bench<'_>, book: &mut Book) -> Result<()> {
    let (tools, folder) = (&bench.tools, bench.folder);
    let names: Vec<u32> = (0..COUNTERS).collect();
    let start_countd = || countd(tools.packaged(), folder, "million");
    let mut daemon = start_countd()?;
    Loads::new(Wire::Countd, &names)?.send(&daemon.socket)?;
    let memory = resident(daemon.pid())?;
    let mut peer = match (&tools.redis_server, &tools.redis_cli) {
        (Some(server), Some(cli)) => {
            let running = redis(server, folder, "million-redis")?;
            Loads::new(Wire::Redis, &names)?.send(&running.socket)?;
            Some((running, server, cli))
        }
        _ => None,
    };
    let peer_memory = peer.as_ref().map(|(running, ..)| resident(running.pid())).transpose()?;
    let mut times_of: [[Samples; 2]; 3] = Default::default();
    let [dumps, clean, killed] = &mut times_of;
    for _ in 0..bench.rounds(3) {
        dumps[0].add(read_all(&mut countd_command(tools.packaged(), &daemon.socket, "dump"))?);
        if let Some((running, _, cli)) = &peer {
            let mut keys = Command::new(cli);
            dumps[1].add(read_all(keys.arg("-s").arg(&running.socket).args(["keys", "*"]))?);
        }
        for (samples, is_clean) in [(&mut *clean, true), (&mut *killed, false)] {
            if is_clean {
                daemon.stop()?
            } else {
                drop(daemon)
            }
            let (wall, started) = start(start_countd)?;
            daemon = started;
            samples[0].add(wall);
            if let Some((running, server, cli)) = peer {
                if is_clean {
                    running.stop()?
                } else {
                    drop(running)
                }
                let (wall, started) = start(|| redis(server, folder, "million-redis"))?;
                peer = Some((started, server, cli));
                samples[1].add(wall);
            }
        }
    }
    let mut table =
        Table::new("A million counters", HOW, &["", "countd", "redis", "countd / redis"]);
    let mut row = |what: &str, unit: &str, countd: f64, redis: Option<f64>| {
        table.row([
            what.to_owned(),
            format!("{} {unit}", short(countd)),
            redis.map_or("-".to_owned(), |redis| format!("{} {unit}", short(redis))),
            redis.map_or("-".to_owned(), |redis| times(countd / redis)),
        ]);
    };
    row("memory", "MB", memory / 1e6, peer_memory.map(|memory| memory / 1e6));
    let what = ["dump into a pipe", "start after a clean stop", "start after kill -9"];
    for (what, [countd, redis]) in what.iter().zip(&times_of) {
        row(what, "s", countd.wall(), peer.as_ref().map(|_| redis.wall()));
        if what.starts_with("start") {
            let what = format!("{what}: CPU of the server");
            row(&what, "s", countd.cpu(), peer.as_ref().map(|_| redis.cpu()));
        }
    }
    book.tables.push(table);
    let [dumps, clean, killed] = &times_of;
    let mut goal = |what: &str, most, is, unit| {
        book.goal(format!("a million counters: {what}"), Goal::AtMost(most), is, unit);
    };
    goal("memory", 120.0, memory / 1e6, " MB");
    goal(what[0], 0.6, dumps[0].wall(), " s");
    goal(what[1], 0.5, clean[0].wall(), " s");
    goal(what[2], 1.0, killed[0].wall(), " s");
    Ok(())
}

/// Starts a server again: until it answers, and what CPU time it has spent by then.
fn start(start: impl FnOnce() -> Result<Server>) -> Result<(Spent, Server)> {
    let mut started = None;
    let wall = timed(|| {
        started = Some(start()?);
        Ok(())
    })?;
    let started = started.ok_or("nothing was started")?;
    Ok((Spent { wall, cpu: cpu_of(started.pid())?, faults: 0 }, started))
}

/// Runs a command and reads what it prints, until it ends.
fn read_all(command: &mut Command) -> Result<Spent> {
    watched(std::process::id(), || {
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
        let mut out = child.stdout.take().ok_or("no pipe")?;
        let mut block = vec![0; 64 << 10];
        let mut length = 0;
        loop {
            match out.read(&mut block)? {
                0 => break,
                read => length += read,
            }
        }
        let status = child.wait()?;
        if !status.success() || length < COUNTERS as usize * 10 {
            return Err(format!("{command:?}: {status}, {length} bytes").into());
        }
        Ok(())
    })
}
