//! How long an increment waits for its answer while the daemon does something large: nothing, a dump, a
//! flush, each of a million counters. Run with `cargo bench --bench answers`; the number of counters can be
//! given as an argument after `--`.

#![expect(clippy::disallowed_methods, reason = "a benchmark measures time")]

use std::io::Write;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use countd::client::{Client, SocketPath};
use countd::counter::name::Name;
use countd::protocol::Wanted;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

fn main() -> Result<()> {
    let counters = std::env::args().skip(1).find_map(|arg| arg.parse().ok()).unwrap_or(1_000_000);
    let folder = tempfile::tempdir()?;
    let socket = folder.path().join("sock");
    let mut daemon = serve(folder.path(), &socket)?;
    let client = || -> Result<Client> {
        Ok(Client::new(SocketPath::new(&socket)?, Duration::from_secs(30)))
    };
    fill(&mut client()?, counters)?;
    let mut out = std::io::stdout();
    writeln!(out, "increments answered, {counters} counters: microseconds")?;
    writeln!(
        out,
        "{:<24} {:>8} {:>8} {:>8} {:>8}",
        "while", "number", "median", "99 %", "longest"
    )?;
    let mut report = |what: &str, work: &mut dyn FnMut() -> Result<()>| -> Result<()> {
        let times = measure(&mut client()?, work)?;
        let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize];
        let (median, high, longest) = (at(0.5), at(0.99), at(1.0));
        writeln!(out, "{what:<24} {:>8} {median:>8} {high:>8} {longest:>8}", times.len())?;
        Ok(())
    };
    let mut asker = client()?;
    report("nothing else happens", &mut || {
        std::thread::park_timeout(Duration::from_secs(1));
        Ok(())
    })?;
    report("all are dumped", &mut || {
        let mut rows = 0;
        asker.dump(&Wanted::default(), |_| rows += 1)?;
        assert!(rows >= counters);
        Ok(())
    })?;
    asker.flush()?;
    fill(&mut asker, counters)?;
    report("all are flushed", &mut || Ok(asker.flush().map(drop)?))?;
    daemon.kill()?;
    daemon.wait()?;
    Ok(())
}

fn serve(folder: &Path, socket: &Path) -> Result<Child> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_countd"));
    command.arg("serve").arg("--socket").arg(socket).arg("--state-dir").arg(folder.join("state"));
    command.arg("--log-file").arg(folder.join("log")).args(["--interval", "1h"]);
    command.args(["--max-counters", "100000000"]);
    let daemon = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    let mut wait = Command::new(env!("CARGO_BIN_EXE_countd"));
    wait.arg("status").arg("--socket").arg(socket).args(["--wait", "30s"]).stdout(Stdio::null());
    assert!(wait.status()?.success(), "the daemon is ready");
    Ok(daemon)
}

fn fill(client: &mut Client, counters: usize) -> Result<()> {
    let names = (0..counters).map(|n| Ok((Name::new(&format!("some.counter.{n}"))?, 1)));
    let names = names.collect::<Result<Vec<_>>>()?;
    for some in names.chunks(4000) {
        client.incr(some)?;
    }
    Ok(())
}

/// The times in which increments are answered while `work` is done, sorted, in microseconds.
fn measure(client: &mut Client, work: &mut dyn FnMut() -> Result<()>) -> Result<Vec<u128>> {
    let done = AtomicBool::new(false);
    let entry = [(Name::new("some.counter.0")?, 1)];
    std::thread::scope(|scope| {
        let counting = scope.spawn(|| {
            let mut times = Vec::new();
            while !done.load(Ordering::Relaxed) {
                let started = Instant::now();
                client.incr(&entry).map_err(|error| error.to_string())?;
                times.push(started.elapsed().as_micros());
            }
            Ok::<_, String>(times)
        });
        let worked = work();
        done.store(true, Ordering::Relaxed);
        let times = counting.join().map_err(|_| "the counting thread panicked")?;
        worked?;
        let mut times = times?;
        times.sort_unstable();
        Ok(times)
    })
}
