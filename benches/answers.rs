//! How long an increment waits for its answer while the daemon does something large, what memory a million
//! counters take, and how long a start with them does. Run with `cargo bench --bench answers`; the number of
//! counters can be given as an argument after `--`, and what the names begin with as another.

#![expect(clippy::disallowed_methods, reason = "a benchmark measures time")]

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use countd::client::{Client, ClientError, SocketPath};
use countd::counter::name::Name;
use countd::protocol::Wanted;
use rustix::process::{Pid, Signal, kill_process};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

fn main() -> Result<()> {
    let arguments: Vec<String> =
        std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    let counters = arguments.iter().find_map(|arg| arg.parse().ok()).unwrap_or(1_000_000);
    let prefix = arguments.iter().find(|arg| arg.parse::<usize>().is_err());
    let folder = tempfile::tempdir()?;
    let mut bench = Bench {
        counters,
        prefix: prefix.map_or("some.counter.", String::as_str).to_owned(),
        folder: folder.path().to_owned(),
        daemon: None,
    };
    bench.answers()?;
    bench.starts()?;
    bench.blocked_sink()?;
    bench.kill()
}

struct Bench {
    counters: usize,
    prefix: String,
    folder: PathBuf,
    daemon: Option<Child>,
}

impl Bench {
    fn answers(&mut self) -> Result<()> {
        self.start(&["--log-file", "log", "--sink", "prometheus+unix:scrape"])?;
        self.fill()?;
        say(format_args!(
            "{} counters; increments answered, in microseconds; memory in MB\n{:<24} {:>7} {:>7} {:>7} \
             {:>7} {:>7} {:>8} {:>7} {:>7}",
            self.counters,
            "while",
            "number",
            "median",
            "99 %",
            "99.9 %",
            "longest",
            "took ms",
            "now",
            "peak"
        ))?;
        self.report("nothing else happens", || {
            std::thread::park_timeout(Duration::from_secs(1));
            Ok(())
        })?;
        self.report("all are dumped", || {
            let mut rows = 0;
            self.client(30)?.dump(&Wanted::default(), |_| rows += 1)?;
            assert!(rows >= self.counters, "all are in it");
            Ok(())
        })?;
        self.report("countd dump | cat", || {
            let socket = self.socket();
            let mut dump = Command::new(env!("CARGO_BIN_EXE_countd"));
            let dump = dump.arg("dump").arg("--socket").arg(socket).stdout(Stdio::piped());
            let mut dump = dump.spawn()?;
            let piped = dump.stdout.take().ok_or("it is piped")?;
            let cat = Command::new("cat").stdin(piped).stdout(Stdio::null()).status()?;
            assert!(cat.success() && dump.wait()?.success(), "all is dumped");
            Ok(())
        })?;
        for (what, accepts) in
            [("all are scraped", "*/*"), ("the same, gzip", "*/*\r\nAccept-Encoding: gzip")]
        {
            self.report(what, || {
                let mut scraper = UnixStream::connect(self.folder.join("scrape"))?;
                write!(scraper, "GET /metrics HTTP/1.0\r\nAccept: {accepts}\r\n\r\n")?;
                let mut bytes = Vec::new();
                scraper.read_to_end(&mut bytes)?;
                assert!(
                    bytes.starts_with(b"HTTP/1.1 200 ") || bytes.starts_with(b"HTTP/1.0 200 "),
                    "it is answered"
                );
                Ok(())
            })?;
        }
        self.client(30)?.flush()?;
        for again in ["all are flushed", "all are flushed again"] {
            self.report("all are counted", || self.fill())?;
            self.report(again, || Ok(self.client(30)?.flush().map(drop)?))?;
        }
        // A journal that somebody deleted is folded, however short it is.
        self.report("all are checkpointed", || {
            let before = self.last_file("checkpoint")?;
            std::fs::remove_file(self.last_file("journal")?.ok_or("there is a journal")?)?;
            while self.last_file("checkpoint")? == before {
                std::thread::park_timeout(Duration::from_millis(1));
            }
            Ok(())
        })?;
        self.report("all are deleted", || {
            let wanted = Wanted { patterns: vec!["*"], tags: Vec::new() };
            let mut rows = 0;
            self.client(30)?.delete(&wanted, false, |_| rows += 1)?;
            assert!(rows >= self.counters, "all are in it");
            Ok(())
        })?;
        self.report("that is flushed", || Ok(self.client(30)?.flush().map(drop)?))?;
        self.report("all are made again", || self.fill())
    }

    fn starts(&mut self) -> Result<()> {
        say(format_args!("\nuntil it answers, in milliseconds; memory in MB"))?;
        for _ in 0..3 {
            self.signal(Signal::TERM)?;
            self.report_start("after a clean stop", &["--log-file", "log"])?;
            self.fill()?;
            self.kill()?;
            self.report_start("after kill -9", &["--log-file", "log"])?;
        }
        self.kill()
    }

    fn blocked_sink(&mut self) -> Result<()> {
        say(format_args!("\na sink takes nothing; columns as above"))?;
        let stdout = self.start(&[])?;
        for _ in 0..5 {
            self.report("all are counted", || self.fill())?;
            self.report("that is owed, and merged", || {
                let flushed = self.client(1)?.flush();
                assert!(flushed.is_err(), "the sink has not got it");
                Ok(())
            })?;
        }
        let mut stdout = BufReader::new(stdout.ok_or("it is piped")?);
        self.report("the sink takes all", || {
            let (mut line, mut lines) = (Vec::new(), 0);
            while lines < self.counters {
                line.clear();
                assert!(stdout.read_until(b'\n', &mut line)? > 0, "the daemon lives");
                lines += 1;
            }
            Ok(())
        })
    }

    fn socket(&self) -> PathBuf {
        self.folder.join("sock")
    }

    fn client(&self, seconds: u64) -> Result<Client> {
        Ok(Client::new(SocketPath::new(self.socket())?, Duration::from_secs(seconds)))
    }

    fn start(&mut self, arguments: &[&str]) -> Result<Option<ChildStdout>> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_countd"));
        command.arg("serve").arg("--socket").arg(self.socket()).args(arguments);
        command.arg("--state-dir").arg(self.folder.join("state")).args(["--interval", "1h"]);
        command.args(["--max-counters", "100000000"]).current_dir(&self.folder);
        let mut daemon = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
        let stdout = daemon.stdout.take();
        self.daemon = Some(daemon);
        let mut client = self.client(30)?;
        loop {
            match client.status() {
                Ok(_) => return Ok(stdout),
                Err(ClientError::NoDaemon { .. }) => {
                    std::thread::park_timeout(Duration::from_millis(1));
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn report_start(&mut self, what: &str, arguments: &[&str]) -> Result<()> {
        let started = Instant::now();
        self.start(arguments)?;
        let took = started.elapsed().as_millis();
        let (now, peak) = self.memory()?;
        say(format_args!("{what:<24} {took:>7} {now:>7.1} {peak:>7.1}"))
    }

    fn signal(&mut self, signal: Signal) -> Result<()> {
        let mut daemon = self.daemon.take().ok_or("there is a daemon")?;
        kill_process(Pid::from_child(&daemon), signal)?;
        daemon.wait()?;
        Ok(())
    }

    fn kill(&mut self) -> Result<()> {
        self.signal(Signal::KILL)
    }

    fn fill(&self) -> Result<()> {
        let mut client = self.client(30)?;
        let mut at = 0;
        while at < self.counters {
            let end = self.counters.min(at + 4000);
            let names = (at..end).map(|n| Ok((Name::new(&format!("{}{n}", self.prefix))?, 1)));
            client.incr(&names.collect::<Result<Vec<_>>>()?)?;
            at = end;
        }
        Ok(())
    }

    /// The newest of the checkpoints or of the journal's segments.
    fn last_file(&self, what: &str) -> Result<Option<PathBuf>> {
        let files = std::fs::read_dir(self.folder.join("state"))?;
        let paths = files.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
        let name =
            |path: &PathBuf| path.file_name().map(|name| name.to_string_lossy().into_owned());
        let whole = |name: &String| name.starts_with(what) && !name.ends_with(".tmp");
        Ok(paths.into_iter().filter(|path| name(path).as_ref().is_some_and(whole)).max())
    }

    /// The daemon's resident memory, and the most it has been.
    fn memory(&self) -> Result<(f64, f64)> {
        let daemon = self.daemon.as_ref().ok_or("there is a daemon")?;
        let status = std::fs::read_to_string(format!("/proc/{}/status", daemon.id()))?;
        let of = |key: &str| -> Option<f64> {
            let line = status.lines().find_map(|line| line.strip_prefix(key))?;
            Some(
                line.trim_start_matches(':').trim().split(' ').next()?.parse::<f64>().ok()?
                    / 1024.0,
            )
        };
        of("VmRSS").zip(of("VmHWM")).ok_or_else(|| "no memory in its status".into())
    }

    /// Says in which times increments are answered while `work` is done.
    fn report(&self, what: &str, work: impl FnOnce() -> Result<()>) -> Result<()> {
        let done = AtomicBool::new(false);
        let mut open = self.client(30)?;
        let entry = [(Name::new(&format!("{}0", self.prefix))?, 1)];
        let (mut times, took) = std::thread::scope(|scope| -> Result<(Vec<u128>, u128)> {
            let counting = scope.spawn(|| {
                let mut times = Vec::new();
                while !done.load(Ordering::Relaxed) {
                    let mut one_shot = self.client(30).map_err(|error| error.to_string())?;
                    // Over a connection that is open, and over a new one.
                    for client in [&mut open, &mut one_shot] {
                        let started = Instant::now();
                        client.incr(&entry).map_err(|error| error.to_string())?;
                        times.push(started.elapsed().as_micros());
                    }
                }
                Ok::<_, String>(times)
            });
            let started = Instant::now();
            let worked = work();
            let took = started.elapsed().as_millis();
            done.store(true, Ordering::Relaxed);
            let times = counting.join().map_err(|_| "the counting thread panicked")?;
            worked?;
            Ok((times?, took))
        })?;
        times.sort_unstable();
        let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize];
        let (median, high, higher, longest) = (at(0.5), at(0.99), at(0.999), at(1.0));
        let (now, peak) = self.memory()?;
        say(format_args!(
            "{what:<24} {:>7} {median:>7} {high:>7} {higher:>7} {longest:>8} {took:>7} {now:>7.1} {peak:>7.1}",
            times.len()
        ))
    }
}

fn say(line: std::fmt::Arguments<'_>) -> Result<()> {
    Ok(writeln!(std::io::stdout(), "{line}")?)
}
