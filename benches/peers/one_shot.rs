//! One increment from a script: a process that is started, counts, and ends.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::floor::Role;
use crate::measure::{Samples, run};
use crate::names::{Mix, draw};
use crate::processes::{Server, countd, countd_command, floor, output, redis};
use crate::report::{Book, Goal, Table, short, times};
use crate::tools::Tools;
use crate::{Bench, Result};

const HOW: &str = "From the spawn of a process to its exit, one after the other, in each round in another order: what ran \
    before leaves the caches warm for some and cold for others. countd and redis journal the increment \
    before they answer, and sync the journal every second. The clients in C and Rust are the least that a client \
    can be: they connect, write 32 bytes, read the reply and exit; a bare epoll server echoes. The empty process is the \
    C client when it has nothing to do: the price of a process. countd finds its daemon's socket in `COUNTD_SOCKET`, or in the option. CPU, and page faults, are those \
    of the process and its children.";

/// A program, and what it took.
struct Runner {
    name: &'static str,
    command: Command,
    /// What it reads.
    input: PathBuf,
    samples: Samples,
}

impl Runner {
    fn new(name: &'static str, mut command: Command) -> Runner {
        command.stdout(Stdio::null());
        Runner { name, command, input: "/dev/null".into(), samples: Samples::default() }
    }
}

/// What they talk to.
struct Servers {
    echo: Server,
    countd: Server,
    redis: Option<Server>,
}

pub(crate) fn measure(bench: &Bench<'_>, book: &mut Book) -> Result<()> {
    let (tools, folder) = (&bench.tools, bench.folder);
    let redis = tools.redis_server.as_ref().map(|path| redis(path, folder, "one-shot-redis"));
    let servers = Servers {
        echo: floor(Role::Echo, folder, "echo")?,
        countd: countd(tools.packaged(), folder, "one-shot")?,
        redis: redis.transpose()?,
    };
    let mut runners = countd_and_floor(tools, &servers);
    runners.extend(peers(bench, &servers)?);
    let mut order: Vec<usize> = (0..runners.len()).collect();
    for round in 0..bench.rounds(500) {
        let drawn = draw(Mix::Uniform, 1_000, runners.len(), round as u64);
        order.sort_by_key(|&at| drawn[at]);
        for &at in &order {
            let runner = &mut runners[at];
            runner.command.stdin(File::open(&runner.input)?);
            runner.samples.add(run(&mut runner.command)?);
        }
    }
    report(&runners, tools.c_linked, book);
    Ok(())
}

fn countd_and_floor(tools: &Tools, servers: &Servers) -> Vec<Runner> {
    let client = |path: &Path| {
        let mut command = Command::new(path);
        command.arg(&servers.echo.socket);
        command
    };
    let incr = |path: &Path| {
        let mut command = countd_command(path, &servers.countd.socket, "incr");
        command.arg("jobs.done");
        command
    };
    let with_option = |path: &Path| {
        let mut command = Command::new(path);
        command.env_clear().arg("incr").arg("--socket").arg(&servers.countd.socket);
        command.arg("jobs.done");
        command
    };
    let (c, musl, rust) =
        (tools.c_client.as_deref(), tools.countd_musl.as_deref(), tools.rust_client.as_deref());
    let runners = [
        c.map(|path| Runner::new(EMPTY, Command::new(path))),
        c.map(|path| Runner::new(C_CLIENT, client(path))),
        musl.map(|path| Runner::new(COUNTD_MUSL, incr(path))),
        musl.map(|path| Runner::new(WITH_OPTION, with_option(path))),
        rust.map(|path| Runner::new(RUST_CLIENT, client(path))),
        Some(Runner::new(COUNTD, incr(&tools.countd))),
    ];
    runners.into_iter().flatten().collect()
}

fn peers(bench: &Bench<'_>, servers: &Servers) -> Result<Vec<Runner>> {
    let (tools, folder) = (&bench.tools, bench.folder);
    let mut runners = Vec::new();
    if let (Some(server), Some(cli)) = (&servers.redis, &tools.redis_cli) {
        let mut command = Command::new(cli);
        command.arg("-s").arg(&server.socket).args(["INCR", "jobs.done"]);
        runners.push(Runner::new(REDIS, command));
    }
    if let Some(path) = &tools.nc {
        let bytes = folder.join("bytes");
        std::fs::write(&bytes, [b'x'; 32])?;
        let mut command = Command::new(path);
        command.args(["-N", "-U"]).arg(&servers.echo.socket);
        // Not each nc knows Unix sockets.
        if run(command.stdin(File::open(&bytes)?).stdout(Stdio::null())).is_ok() {
            runners.push(Runner { input: bytes, ..Runner::new(NC, command) });
        }
    }
    if tools.flock.is_some() {
        let script = "exec 9>lock; flock 9; read n <count; echo $((n + 1)) >count";
        std::fs::write(folder.join("count"), "0\n")?;
        let mut command = Command::new("sh");
        command.current_dir(folder).args(["-c", script]);
        runners.push(Runner::new(FLOCK, command));
    }
    if let Some(path) = &tools.sqlite3 {
        let database = folder.join("database");
        let create = "create table counts (name text primary key, n integer)";
        output(Command::new(path).arg(&database).arg(create))?;
        let add_one =
            "insert into counts values ('jobs.done', 1) on conflict do update set n = n + 1";
        let mut command = Command::new(path);
        command.arg(&database).arg(add_one);
        runners.push(Runner::new(SQLITE, command));
    }
    Ok(runners)
}

const EMPTY: &str = "floor: empty process, C, musl";
const C_CLIENT: &str = "floor: client in C, musl";
const COUNTD_MUSL: &str = "**countd incr**, musl";
const WITH_OPTION: &str = "**countd incr --socket**, musl";
const RUST_CLIENT: &str = "floor: client in Rust, default build";
const COUNTD: &str = "**countd incr**, default build";
const REDIS: &str = "redis-cli INCR";
const NC: &str = "nc -N -U, to the bare server";
const FLOCK: &str = "sh, flock, a number in a file";
const SQLITE: &str = "sqlite3, a row in a table";

fn report(runners: &[Runner], c_linked: &str, book: &mut Book) {
    let head = ["", "time, µs", "x C client", "CPU, µs", "x C client's CPU", "page faults"];
    let how = format!("{HOW} What is built with musl is {c_linked}.");
    let mut table = Table::new("One increment from a script", how, &head);
    let of = |name| runners.iter().find(|runner| runner.name == name).map(|runner| &runner.samples);
    let wall = |name| of(name).map_or(f64::NAN, Samples::wall);
    let cpu = |name| of(name).map_or(f64::NAN, Samples::cpu);
    for Runner { name, samples, .. } in runners {
        table.row([
            (*name).to_owned(),
            short(samples.wall() * 1e6),
            times(samples.wall() / wall(C_CLIENT)),
            short(samples.cpu() * 1e6),
            times(samples.cpu() / cpu(C_CLIENT)),
            short(samples.faults()),
        ]);
    }
    book.tables.push(table);
    let mut goal = |what: &str, goal, is: f64, floor: f64| {
        if !is.is_nan() {
            book.goal(format!("an increment from a script: {what}"), goal, is, " x");
            book.floor(floor);
        }
    };
    let (musl, c_client) = (wall(COUNTD_MUSL), wall(C_CLIENT));
    goal("musl, against the client in C", Goal::AtMost(1.4), musl / c_client, 1.0);
    goal("the same, CPU", Goal::AtMost(1.4), cpu(COUNTD_MUSL) / cpu(C_CLIENT), 1.0);
    goal(
        "default build, against the client in Rust",
        Goal::AtMost(1.15),
        wall(COUNTD) / wall(RUST_CLIENT),
        1.0,
    );
    goal(
        "redis-cli, against musl",
        Goal::AtLeast(12.0),
        wall(REDIS) / musl,
        wall(REDIS) / c_client,
    );
    goal("nc -U, against musl", Goal::AtLeast(3.0), wall(NC) / musl, wall(NC) / c_client);
    let ratio = |name| wall(name) / musl;
    if [C_CLIENT, REDIS, FLOCK].iter().all(|name| of(name).is_some()) && !musl.is_nan() {
        book.headline(format!(
            "One `countd incr` of a script, from start to exit, journalled and acknowledged, takes {:.1} times what the \
             least client in C takes that connects and reads a reply; `redis-cli INCR` takes {:.0} times as long as \
             countd, and `flock` with a number in a file {:.0} times.",
            1.0 / ratio(C_CLIENT), ratio(REDIS), ratio(FLOCK),
        ));
    }
}
