//! The statsd that the others are measured by, from npm. What it has is asked at its port for administrators. It gets
//! packets over UDP, and its counters are gone when it ends.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::Signal;

use crate::harness::{Home, parse_counts, until};
use crate::load::{Totals, count_while};
use crate::programs::{Process, connect, found, free_ports, program};

/// Statsd with a folder of its own.
struct Statsd {
    node: PathBuf,
    script: PathBuf,
    folder: tempfile::TempDir,
    port: u16,
    admin: u16,
}

impl Statsd {
    /// One that never flushes, so that its counters are all it got.
    fn new() -> Option<Statsd> {
        let node = program(&["node"])?;
        let script = found("statsd", script())?;
        let folder = tempfile::tempdir().unwrap();
        let [admin] = free_ports();
        let port = UdpSocket::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
        let settings = format!(
            "{{ address: '127.0.0.1', port: {port}, mgmt_address: '127.0.0.1', mgmt_port: {admin}, \
             backends: [], flushInterval: 3600000 }}"
        );
        fs::write(folder.path().join("settings.js"), settings).unwrap();
        Some(Statsd { node, script, folder, port, admin })
    }

    fn start(&self) -> Process {
        let mut command = Command::new(&self.node);
        command.arg(&self.script).arg(self.folder.path().join("settings.js"));
        Process::start(command, self.admin, &self.folder.path().join("said"))
    }

    fn sink(&self) -> String {
        format!("--sink=statsd://127.0.0.1:{}", self.port)
    }

    /// Its counters without those it has of itself, by names as countd writes them.
    fn counters(&self) -> Totals {
        let mut admin = connect(self.admin);
        admin.write_all(b"counters\n").unwrap();
        let lines = BufReader::new(admin).lines().map(Result::unwrap);
        let text: String = lines.take_while(|line| line != "END").collect();
        let text = text.trim().strip_prefix('{').unwrap().strip_suffix('}').unwrap();
        let pairs = text.split(',').filter_map(|pair| pair.rsplit_once(':'));
        let pairs = pairs.map(|(name, count)| {
            let name = name.trim().trim_matches('\'').replace(';', ",");
            (name, count.trim().parse().unwrap())
        });
        pairs.filter(|(name, _)| !name.starts_with("statsd.")).collect()
    }

    #[track_caller]
    fn wait_for(&self, totals: &Totals) {
        let mut counters = Totals::new();
        let is_all = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            until("statsd has it all", || {
                counters = self.counters();
                counters == *totals
            });
        }));
        assert!(is_all.is_ok(), "statsd has {counters:#?}, and counted was {totals:#?}");
    }
}

/// In the folder of the package: `STATSD_DIR`, or where npm installs packages for everyone.
fn script() -> Option<PathBuf> {
    let folder = match std::env::var_os("STATSD_DIR") {
        Some(folder) => PathBuf::from(folder),
        None => {
            let root = Command::new(program(&["npm"])?).args(["root", "-g"]).output().unwrap();
            Path::new(String::from_utf8(root.stdout).unwrap().trim()).join("statsd")
        }
    };
    Some(folder.join("stats.js")).filter(|script| script.is_file())
}

#[test]
fn statsd_has_every_count_while_nothing_happens_to_it() {
    let Some(statsd) = Statsd::new() else { return };
    let (home, _running) = (Home::new(), statsd.start());
    let serve = || home.serve(&["--interval", "100ms", &statsd.sink()]);
    let daemon = serve();
    let is_sent = || statsd.counters().values().sum::<u64>() > 100_000;
    let mut counted = count_while(&home, || until("windows are sent", is_sent));
    assert_eq!(daemon.stop().code, 0);
    statsd.wait_for(&counted);
    let _daemon = serve();
    // As many packets at once as the kernel keeps for it, however late it reads them: more may be lost.
    let names = (0..2_000).map(|n| format!("many.{n}"));
    let lines: String = names.clone().map(|name| format!("{name} 7\n")).collect();
    assert_eq!(home.pipe(&["incr", "--stdin"], lines.as_bytes()).code, 0);
    counted.extend(names.map(|name| (name, 7)));
    home.ok(&["flush"]);
    statsd.wait_for(&counted);
}

/// What it had is lost with it, and no sender can mend that. What it had not got it gets.
#[test]
fn a_statsd_that_was_killed_gets_all_that_was_not_sent_to_it_before() {
    let Some(statsd) = Statsd::new() else { return };
    let (home, running) = (Home::new(), statsd.start());
    let daemon = home.serve(&[&statsd.sink()]);
    home.ok(&["incr", "a=5", "b,host=x=7"]);
    home.ok(&["flush"]);
    statsd.wait_for(&Totals::from([("a".into(), 5), ("b,host=x".into(), 7)]));
    running.end(Signal::KILL);
    let mut daemon = Some(daemon);
    for _ in 0..3 {
        home.ok(&["incr", "a=2", "b,host=x=3"]);
        home.run(&["flush", "--timeout", "100ms"]).refused(1, &["statsd://"]);
        daemon.take().unwrap().kill();
        daemon = Some(home.serve(&[&statsd.sink()]));
    }
    let running = statsd.start();
    home.ok(&["flush", "--timeout", "50s"]);
    statsd.wait_for(&Totals::from([("a".into(), 6), ("b,host=x".into(), 9)]));
    // One that is stalled for a while reads later what its kernel had room for.
    running.signal(Signal::STOP);
    home.ok(&["incr", "a=4"]);
    home.ok(&["flush"]);
    running.signal(Signal::CONT);
    statsd.wait_for(&Totals::from([("a".into(), 10), ("b,host=x".into(), 9)]));
    assert_eq!(parse_counts(&home.ok(&["dump"]))["a"], 15);
}
