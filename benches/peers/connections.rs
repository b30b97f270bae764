//! Records that come over long-lived connections: what a server takes in.

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;

use countd::protocol::Wanted;

use crate::floor::Role;
use crate::measure::{Samples, watched};
use crate::names::{Mix, draw};
use crate::parallel::exact;
use crate::processes::{Server, client, countd, floor, redis};
use crate::report::{Book, Goal, Table, short, times};
use crate::wire::{CONNECTIONS, Loads, Wire, redis_ask};
use crate::{Bench, Result};

const PROTOTYPE: &str = "floor: read, parse, check UTF-8, append to a log, count";
const COUNTD: &str = "**countd serve**";
const REDIS: &str = "redis, INCR, 4,096 in flight on each";
const STATSD: &str = "statsd (nothing kept, no acknowledgement)";

/// A server that is measured.
struct Peer {
    name: &'static str,
    wire: Wire,
    server: Server,
    /// Records a round: the slow ones get fewer.
    records: usize,
    samples: Samples,
    sent: u64,
    /// Where statsd says what it has.
    management: u16,
}

pub(crate) fn measure(bench: &Bench<'_>, book: &mut Book) -> Result<()> {
    let how = format!(
        "{CONNECTIONS} connections over a Unix socket send records that add 1 to a counter, as fast as they are \
         taken: to countd in requests as large as those of `--stdin`, 4,096 increments each, not added up; up to 8 \
         requests or blocks are on the way on each. From the first byte to the last acknowledgement; all names \
         exist before. Records are those that the server says it has counted: all of them. countd, redis (append-only \
         file) and the floor sync their journal every second. CPU is the server's. Beside what the floor does, countd looks \
         ids up and remembers them, keeps what each counter gained in the open window and when it was last counted, can \
         take back a turn whose append fails, checks sums and limits, and journals totals, so that a repeat changes nothing."
    );
    let head =
        ["names", "server", "million/s", "x redis", "x floor", "CPU s a million", "x floor's CPU"];
    let mut table = Table::new("Records over connections that stay open", how, &head);
    let mixes = [(100_000, Mix::Uniform), (100_000, Mix::Zipf), (1_000, Mix::Zipf)];
    for (names, mix) in mixes {
        let peers = of_mix(bench, names, mix)?;
        let what = match mix {
            Mix::Uniform => format!("{}, uniform", short(f64::from(names))),
            Mix::Zipf => format!("{}, Zipf", short(f64::from(names))),
        };
        add_rows(&what, &peers, &mut table);
        add_goals(&what, (names, mix) == mixes[0], &peers, book);
    }
    book.tables.push(table);
    Ok(())
}

fn of_mix(bench: &Bench<'_>, names: u32, mix: Mix) -> Result<Vec<Peer>> {
    let tools = &bench.tools;
    let folder = tempfile::tempdir_in(bench.folder)?;
    let folder = folder.path();
    let mut peers = Vec::new();
    let mut add = |name, wire, server, records, management| {
        let records = if bench.quick { records / 4 } else { records };
        let samples = Samples::default();
        peers.push(Peer { name, wire, server, records, samples, sent: 0, management });
    };
    add(PROTOTYPE, Wire::Prototype, floor(Role::Prototype, folder, "prototype")?, 4_000_000, 0);
    add(COUNTD, Wire::Countd, countd(tools.packaged(), folder, "countd")?, 4_000_000, 0);
    if let Some(path) = &tools.redis_server {
        add(REDIS, Wire::Redis, redis(path, folder, "redis")?, 1_000_000, 0);
    }
    if let Some((node, package)) = &tools.statsd {
        let (server, management) = statsd(node, package, folder)?;
        add(STATSD, Wire::Statsd, server, 500_000, management);
    }
    let all: Vec<u32> = (0..names).collect();
    for peer in &mut peers {
        Loads::new(peer.wire, &all)?.send(&peer.server.socket)?;
        peer.sent = u64::from(names);
    }
    for round in 0..bench.rounds(5) {
        for peer in &mut peers {
            let numbers = draw(mix, names, peer.records, round as u64);
            let loads = Loads::new(peer.wire, &numbers)?;
            let spent = watched(peer.server.pid(), || loads.send(&peer.server.socket))?;
            peer.samples.add(spent);
            peer.sent += numbers.len() as u64;
        }
    }
    for peer in &peers {
        if let Some(counted) = counted(peer)? {
            exact(peer.name, counted, peer.sent)?;
        }
    }
    Ok(peers)
}

/// How many records the server says it has counted; the floor has said so with each acknowledgement.
fn counted(peer: &Peer) -> Result<Option<u64>> {
    let socket = &peer.server.socket;
    Ok(match peer.wire {
        Wire::Countd => {
            let mut counted = 0;
            client(socket)?.dump(&Wanted::default(), |row| counted += row.total)?;
            Some(counted)
        }
        Wire::Redis => {
            let statistics = redis_ask(socket, "INFO commandstats")?;
            let calls = statistics.split_once("cmdstat_incr:calls=").map_or("", |(_, rest)| rest);
            Some(calls.split(',').next().unwrap_or_default().parse()?)
        }
        Wire::Statsd => Some(statsd_counted(peer.management)?),
        Wire::Prototype => None,
    })
}

/// statsd with its server of streams on a Unix socket. Its management port is the only one that is not a file: the
/// kernel chooses which.
fn statsd(node: &Path, package: &Path, folder: &Path) -> Result<(Server, u16)> {
    let socket = folder.join("statsd.sock");
    let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
    let config = folder.join("statsd.js");
    let text = format!(
        "{{ servers: [{{ server: './servers/tcp', socket: {socket:?} }}], backends: [], \
         mgmt_address: '127.0.0.1', mgmt_port: {port}, flushInterval: 100000000 }}"
    );
    std::fs::write(&config, text)?;
    let mut command = Command::new(node);
    command.current_dir(package).arg("stats.js").arg(&config);
    let is_ready = |socket: &Path| {
        crate::processes::listens(socket) && TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok()
    };
    Ok((Server::start(&mut command, &socket, is_ready)?, port))
}

/// The sum of the counters that were sent: statsd prints its own ones too.
fn statsd_counted(port: u16) -> Result<u64> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.write_all(b"counters\n")?;
    let mut sum = 0;
    for line in BufReader::new(stream).lines() {
        let line = line?;
        if line == "END" {
            break;
        }
        if let Some((_, count)) =
            line.split_once("http.requests.").and_then(|(_, l)| l.split_once(':'))
        {
            sum += count.trim().trim_end_matches(',').parse::<u64>()?;
        }
    }
    Ok(sum)
}

impl Peer {
    /// Millions of records a second.
    fn rate(&self) -> f64 {
        self.records as f64 / 1e6 / self.samples.wall()
    }

    /// Seconds of CPU time a million records.
    fn cpu(&self) -> f64 {
        self.samples.cpu() * 1e6 / self.records as f64
    }
}

fn find<'a>(peers: &'a [Peer], name: &str) -> Option<&'a Peer> {
    peers.iter().find(|peer| peer.name == name)
}

fn add_rows(what: &str, peers: &[Peer], table: &mut Table) {
    let rate = |name| find(peers, name).map_or(f64::NAN, Peer::rate);
    let cpu = |name| find(peers, name).map_or(f64::NAN, Peer::cpu);
    for peer in peers {
        table.row([
            what.to_owned(),
            peer.name.to_owned(),
            short(peer.rate()),
            times(peer.rate() / rate(REDIS)),
            times(peer.rate() / rate(PROTOTYPE)),
            short(peer.cpu()),
            times(peer.cpu() / cpu(PROTOTYPE)),
        ]);
    }
}

fn add_goals(what: &str, is_first: bool, peers: &[Peer], book: &mut Book) {
    let (Some(floor), Some(countd)) = (find(peers, PROTOTYPE), find(peers, COUNTD)) else { return };
    let what = format!("records over connections, {what}");
    book.goal(
        format!("{what}: against the floor"),
        Goal::AtLeast(0.8),
        countd.rate() / floor.rate(),
        " x",
    );
    book.floor(1.0);
    book.goal(format!("{what}: server CPU a million"), Goal::AtMost(0.2), countd.cpu(), " s");
    book.floor(floor.cpu());
    if let Some(redis) = find(peers, REDIS).filter(|_| is_first) {
        let ratio = countd.rate() / redis.rate();
        book.goal(format!("{what}: against redis"), Goal::AtLeast(5.0), ratio, " x");
        book.floor(floor.rate() / redis.rate());
        book.headline(format!(
            "Over connections that stay open the daemon takes in {ratio:.1} times as many increments a second as \
             redis does pipelined `INCR`s, with 100,000 names, both with a journal that is synced every second."
        ));
    }
}
