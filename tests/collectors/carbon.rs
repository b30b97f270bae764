//! Carbon, which never answers and keeps one value for each second and name. What it has is read from its files, as
//! Graphite would.

use std::fs;
use std::hash::{BuildHasher, RandomState};
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::Signal;

use crate::harness::{Home, until};
use crate::load::{Totals, count_while, open_window, owed};
use crate::programs::{Process, free_ports, program};

/// Carbon with a folder of its own.
struct Carbon {
    program: PathBuf,
    folder: tempfile::TempDir,
    port: u16,
}

impl Carbon {
    /// One that has what it gets in memory for some seconds before it stores it, and keeps each second.
    fn new() -> Option<Carbon> {
        let program = program(&["carbon-cache", "carbon-cache.py"])?;
        let folder = tempfile::tempdir().unwrap();
        let [port, pickle, query] = free_ports();
        let path = folder.path().display();
        let settings = [
            ("STORAGE_DIR", path.to_string()),
            ("CONF_DIR", path.to_string()),
            ("LOG_DIR", path.to_string()),
            ("PID_DIR", path.to_string()),
            ("LOCAL_DATA_DIR", format!("{path}/whisper")),
            ("LINE_RECEIVER_INTERFACE", "127.0.0.1".into()),
            ("LINE_RECEIVER_PORT", port.to_string()),
            ("PICKLE_RECEIVER_INTERFACE", "127.0.0.1".into()),
            ("PICKLE_RECEIVER_PORT", pickle.to_string()),
            ("CACHE_QUERY_INTERFACE", "127.0.0.1".into()),
            ("CACHE_QUERY_PORT", query.to_string()),
            ("MAX_UPDATES_PER_SECOND", "8".into()),
            ("MAX_CREATES_PER_MINUTE", "inf".into()),
            ("CARBON_METRIC_INTERVAL", "0".into()),
            ("ENABLE_TAGS", "False".into()),
            ("TAG_HASH_FILENAMES", "False".into()),
            ("USER", String::new()),
        ];
        let settings: String =
            settings.iter().map(|(key, value)| format!("{key} = {value}\n")).collect();
        fs::write(folder.path().join("carbon.conf"), format!("[cache]\n{settings}")).unwrap();
        let schemas = "[all]\npattern = .*\nretentions = 1s:2h\n";
        fs::write(folder.path().join("storage-schemas.conf"), schemas).unwrap();
        Some(Carbon { program, folder, port })
    }

    fn start(&self) -> Process {
        // One that was killed has left its own.
        let _ = fs::remove_file(self.folder.path().join("carbon-cache-a.pid"));
        let mut command = Command::new(&self.program);
        let settings = self.folder.path().join("carbon.conf");
        command.arg(format!("--config={}", settings.display())).args(["--nodaemon", "start"]);
        Process::start(command, self.port, &self.folder.path().join("said"))
    }

    fn sink(&self, options: &str) -> String {
        format!("--sink=graphite://127.0.0.1:{}?{options}", self.port)
    }

    /// The sums of all points, by names as countd writes them.
    fn sums(&self) -> Totals {
        let mut sums = Totals::new();
        add_files(&self.folder.path().join("whisper"), "", &mut sums);
        sums
    }

    #[track_caller]
    fn wait_for(&self, totals: &Totals) {
        let mut sums = Totals::new();
        let is_all = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            until("carbon has stored it all", || {
                sums = self.sums();
                sums == *totals
            });
        }));
        assert!(is_all.is_ok(), "carbon has {sums:#?}, and counted was {totals:#?}");
    }
}

fn add_files(folder: &Path, above: &str, sums: &mut Totals) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap();
        if path.is_dir() {
            add_files(&path, &format!("{above}{name}."), sums);
        } else {
            let name = match above.starts_with("_tagged.") {
                true => name.replace("_DOT_", ".").replace(';', ","),
                false => format!("{above}{name}"),
            };
            *sums.entry(name).or_default() += sum(&fs::read(&path).unwrap());
        }
    }
}

/// The sum of the points in a file of whisper: a header of 16 bytes that ends with the number of archives, 12 bytes that
/// describe each, and points, each a second since 1970 or 0, and a value.
#[expect(clippy::big_endian_bytes, reason = "so they are in the file")]
fn sum(file: &[u8]) -> u64 {
    let Some((header, rest)) = file.split_first_chunk::<16>() else { return 0 };
    assert_eq!(header[12..], 1_u32.to_be_bytes(), "one archive");
    let points = rest.get(12..).unwrap_or_default().chunks_exact(12);
    let values = points.filter(|point| point[..4] != [0; 4]).map(|point| {
        let value = f64::from_be_bytes(point[4..].try_into().unwrap());
        assert_eq!(value, value.trunc());
        value as u64
    });
    values.sum()
}

#[test]
fn carbon_has_every_count_after_it_was_stopped_killed_and_stalled_and_countd_was_killed() {
    let Some(carbon) = Carbon::new() else { return };
    let home = Home::new();
    let sink = carbon.sink("interval=1s&timeout=500ms");
    let serve = || home.serve(&["--interval", "100ms", &sink]);
    let is_owed = || until("windows are owed", || owed(&home) >= 25);
    let is_told = || until("no more than two seconds are owed", || owed(&home) <= 20);
    let mut daemon = Some(serve());
    let mut running = None;
    let totals = count_while(&home, || {
        // It is away at the start.
        is_owed();
        let mut process = carbon.start();
        is_told();
        for signal in [Signal::TERM, Signal::KILL] {
            process.end(signal);
            is_owed();
            process = carbon.start();
            is_told();
        }
        process.signal(Signal::STOP);
        is_owed();
        process.signal(Signal::CONT);
        is_told();
        process.signal(Signal::STOP);
        is_owed();
        daemon.take().unwrap().kill();
        daemon = Some(serve());
        process.end(Signal::KILL);
        process = carbon.start();
        is_told();
        daemon.take().unwrap().kill();
        daemon = Some(serve());
        is_told();
        running = Some(process);
    });
    home.ok(&["flush"]);
    carbon.wait_for(&totals);
    assert_eq!(daemon.unwrap().stop().code, 0);
    drop(running);
}

/// What it had read and not stored is lost with it; at the same moment nobody is left who would know.
#[test]
fn carbon_has_every_count_though_it_and_countd_are_killed_at_one_moment_again_and_again() {
    let Some(carbon) = Carbon::new() else { return };
    let home = Home::new();
    let sink = carbon.sink("interval=1s&timeout=500ms");
    let serve = || home.serve(&["--interval", "100ms", &sink]);
    let (mut daemon, mut process) = (Some(serve()), Some(carbon.start()));
    let seed = RandomState::new();
    let totals = count_while(&home, || {
        for round in 0..6 {
            let chance = seed.hash_one(round);
            let until_window = open_window(&home) + 5 + chance % 40;
            until("windows are closed", || open_window(&home) >= until_window);
            let (serving, running) = (daemon.take().unwrap(), process.take().unwrap());
            if chance & 1 << 40 == 0 {
                serving.signal(Signal::KILL);
                running.end(Signal::KILL);
                serving.kill();
            } else {
                running.signal(Signal::KILL);
                serving.kill();
                running.end(Signal::KILL);
            }
            if chance & 1 << 41 == 0 {
                process = Some(carbon.start());
                daemon = Some(serve());
            } else {
                daemon = Some(serve());
                process = Some(carbon.start());
            }
        }
    });
    home.ok(&["flush", "--timeout", "50s"]);
    assert_eq!(owed(&home), 0);
    // Nothing more is counted, and nobody is told that it goes, but who asks.
    process.take().unwrap().end(Signal::KILL);
    process = Some(carbon.start());
    home.ok(&["flush", "--timeout", "50s"]);
    carbon.wait_for(&totals);
    let status = home.run(&["status"]);
    assert_eq!(status.code, 0, "{status:?}");
    drop(process);
    assert_eq!(daemon.unwrap().stop().code, 0);
}
