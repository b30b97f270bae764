//! What a daemon does when there is nothing to do.

use std::time::Duration;

use countd::Name;

use crate::measure::{cpu_of, switches};
use crate::processes::{Server, client, countd, redis};
use crate::report::{Book, Goal, Table, short};
use crate::{Bench, Result};

const WATCHED: Duration = Duration::from_secs(12);
const HOW: &str = "For 12 s, more than two flush intervals, after an increment that was flushed: how often any thread \
    of the server was put on a CPU, and for how long, a minute.";

pub(crate) fn measure(bench: &Bench<'_>, book: &mut Book) -> Result<()> {
    let (tools, folder) = (&bench.tools, bench.folder);
    let daemon = countd(tools.packaged(), folder, "idle")?;
    let mut asker = client(&daemon.socket)?;
    asker.incr(&[(Name::new("jobs.done")?, 1)])?;
    asker.flush()?;
    drop(asker);
    let mut servers: Vec<(&str, Server)> = vec![("**countd serve**", daemon)];
    if let Some(path) = &tools.redis_server {
        servers.push(("redis", redis(path, folder, "idle-redis")?));
    }
    // What they were started and asked for is done, and synced.
    std::thread::sleep(Duration::from_secs(3));
    let state = |(_, server): &(&str, Server)| -> Result<(f64, f64)> {
        Ok((switches(server.pid())?, cpu_of(server.pid())?.as_secs_f64()))
    };
    let before = servers.iter().map(state).collect::<Result<Vec<_>>>()?;
    std::thread::sleep(WATCHED);
    let after = servers.iter().map(state).collect::<Result<Vec<_>>>()?;
    let mut table = Table::new(
        "An idle server",
        HOW,
        &["server", "times on a CPU a minute", "CPU ms a minute"],
    );
    let minutes = WATCHED.as_secs_f64() / 60.0;
    for (at, (name, _)) in servers.iter().enumerate() {
        let (times, cpu) = (after[at].0 - before[at].0, after[at].1 - before[at].1);
        table.row([(*name).to_owned(), short(times / minutes), short(cpu * 1e3 / minutes)]);
    }
    book.tables.push(table);
    let times = (after[0].0 - before[0].0) / minutes;
    book.goal("an idle daemon: times on a CPU a minute", Goal::AtMost(0.0), times, "");
    Ok(())
}
