//! Prometheus comes and takes: what it gets, whatever the daemon does meanwhile, and what becomes of those who only
//! look like it.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::time::Duration;

use countd::system::clock;
use flate2::read::GzDecoder;

use crate::harness::{Daemon, Home, Ran, until};
use crate::http::{Response, connect, free_port, get, response};

const OPEN: &str = "Accept: application/openmetrics-text;version=1.0.0,text/plain;q=0.5";

/// A daemon that can be scraped at a port.
fn scraped(options: &str) -> (Home, Daemon, u16) {
    let (home, port) = (Home::new(), free_port());
    let sink = format!("prometheus://127.0.0.1:{port}{options}");
    let daemon = home.serve(&["--sink", &sink]);
    (home, daemon, port)
}

/// The value of a series.
fn value(text: &str, series: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(&format!("{series} ")));
    line.unwrap_or_else(|| panic!("no {series} in {text}")).parse().unwrap()
}

fn promtool(args: &[&str], input: &[u8]) -> Option<Ran> {
    let mut command = Command::new("promtool");
    command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let Ok(mut child) = command.spawn() else {
        assert!(std::env::var_os("CI").is_none(), "no promtool, and CI has to have it");
        eprintln!("skipped: promtool is not installed (Debian's package prometheus has it)");
        return None;
    };
    child.stdin.take().unwrap().write_all(input).unwrap();
    Some(Ran::of(child.wait_with_output().unwrap()))
}

#[test]
fn a_scrape_has_totals_and_countds_own_numbers() {
    let (home, _daemon, port) = scraped("?prefix=web&only=a*");
    home.ok(&["incr", "a=5", "ab,x=1=7", "b"]);
    let got = get(port, "/metrics", &[]);
    assert_eq!(got.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    let text = got.text();
    assert_eq!((value(&text, "web_a_total"), value(&text, "web_ab_total{x=\"1\"}")), (5, 7));
    assert!(!text.contains("web_b_total"), "{text}");
    assert_eq!(value(&text, "countd_increments_total"), 3);
    let got = get(port, "/metrics", &[OPEN]);
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    assert_eq!(got.header("content-type"), Some(kind));
    let text = got.text();
    assert!(text.ends_with("\n# EOF\n") && text.contains("\nweb_a_created 1"), "{text}");
    let got = get(port, "/metrics", &["Accept-Encoding: gzip"]);
    assert_eq!(got.header("content-encoding"), Some("gzip"));
    let mut text = String::new();
    GzDecoder::new(&*got.body).read_to_string(&mut text).unwrap();
    assert_eq!(value(&text, "web_a_total"), 5);
    let status = home.ok(&["status"]);
    assert!(status.contains("sink 0 scrapes") && status.contains("sink 0 last scrape"), "{status}");
}

#[test]
fn promtool_finds_nothing_wrong() {
    let (home, _daemon, port) = scraped("");
    home.ok(&["incr", "a=5", "ab,x=ü=7", "404s", "größe", "b.total", "countd.x", "z.created=0"]);
    let text = get(port, "/metrics", &[]).body;
    let Some(ran) = promtool(&["check", "metrics"], &text) else { return };
    assert_eq!((ran.code, &*ran.stderr), (0, ""), "{ran:?}");
    // It reads OpenMetrics only to fill a database, for which samples have times.
    let open = get(port, "/metrics", &[OPEN]).text();
    let timed = |line: &str| match line.starts_with('#') {
        true => format!("{line}\n"),
        false => format!("{line} 1795352405.5\n"),
    };
    let open: String = open.lines().map(timed).collect();
    let (file, folder) = (home.path("open"), home.path("blocks"));
    std::fs::write(&file, open).unwrap();
    let [file, folder] = [&file, &folder].map(|path| path.to_str().unwrap());
    let ran = promtool(&["tsdb", "create-blocks-from", "openmetrics", file, folder], b"").unwrap();
    assert_eq!(ran.code, 0, "{ran:?}");
}

#[test]
fn where_open_metrics_has_no_room_for_a_name_there_is_text() {
    let (home, _daemon, port) = scraped("");
    home.ok(&["incr", "a"]);
    let kind = || {
        let got = get(port, "/metrics", &[OPEN]);
        (got.header("content-type").unwrap().to_owned(), got.text().ends_with("# EOF\n"))
    };
    assert!(matches!(kind(), (kind, true) if kind.starts_with("application/openmetrics-text")));
    // Beside this one, the time at which the other was created has a name that is taken.
    home.ok(&["incr", "a.created=5"]);
    assert!(matches!(kind(), (kind, false) if kind.starts_with("text/plain; version=0.0.4")));
    assert_eq!(value(&get(port, "/metrics", &[OPEN]).text(), "a_created_total"), 5);
}

#[test]
fn counters_that_are_one_series_are_told_of_and_not_added_up() {
    let (home, mut daemon, port) = scraped("");
    home.ok(&["incr", "a.b=3", "a-b=5"]);
    let text = get(port, "/metrics", &[]).text();
    assert_eq!((value(&text, "a_b_total"), value(&text, "countd_name_collisions")), (5, 1));
    daemon.wait_until_it_says("a.b is left out: a-b has the same series a_b_total");
    let ran = home.run(&["status"]);
    assert!(ran.code == 1 && ran.stdout.contains("no series of its own"), "{ran:?}");
    home.ok(&["delete", "a-b"]);
    let text = get(port, "/metrics", &[]).text();
    assert_eq!((value(&text, "a_b_total"), value(&text, "countd_name_collisions")), (3, 0));
    daemon.wait_until_it_says("every counter has a series of its own");
    home.ok(&["status"]);
}

#[test]
fn every_number_of_the_status_has_a_series() {
    let (home, _daemon, port) = scraped("");
    home.ok(&["incr", "a"]);
    home.run(&["incr", "--timeout", "1s", "a=18446744073709551615"]);
    get(port, "/metrics", &[]);
    let socket = countd::SocketPath::new(home.socket()).unwrap();
    let status = countd::Client::new(socket, Duration::from_secs(10)).status().unwrap();
    let missing = countd::format::prometheus::own::missing(&status);
    assert!(missing.is_empty() && status.facts.len() > 20, "{missing:?}");
}

#[test]
fn a_unix_socket_is_scraped_and_removed_at_the_end() {
    let home = Home::new();
    let path = home.path("metrics");
    let sink = format!("prometheus+unix:{}", path.display());
    let daemon = home.serve(&["--sink", &sink]);
    home.ok(&["incr", "a=5"]);
    let mut stream = UnixStream::connect(&path).unwrap();
    stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").unwrap();
    let got = response(&mut stream, false);
    assert_eq!(got.header("connection"), Some("close"));
    assert_eq!(value(&got.text(), "a_total"), 5);
    assert_eq!(daemon.stop().code, 0);
    assert!(!path.exists());
}

#[test]
fn a_port_that_is_taken_is_an_error_at_the_start() {
    let taken = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let sink = format!("prometheus://{}", taken.local_addr().unwrap());
    let home = Home::new();
    let ran = Ran::of(home.serve_command(&["--sink", &sink]).output().unwrap());
    ran.refused(1, &["sink prometheus://127.0.0.1:", "in use"]);
}

#[test]
fn a_large_scrape_shows_one_moment_and_counting_goes_on_meanwhile() {
    const COUNTERS: u64 = 100_000;
    let (home, _daemon, port) = scraped("");
    let lines: String = (0..COUNTERS).map(|n| format!("n{n:06},host=a=1\n")).collect();
    assert_eq!(home.pipe(&["incr", "--stdin"], lines.as_bytes()).code, 0);
    home.ok(&["incr", "a.first", "z.last"]);
    let mut stream = connect(port);
    stream.write_all(b"GET /metrics HTTP/1.1\r\n\r\n").unwrap();
    // It is on its way, and much of it has no room to wait in.
    let mut first = [0; 1];
    stream.read_exact(&mut first).unwrap();
    for _ in 0..20 {
        home.ok(&["incr", "a.first", "z.last"]);
    }
    let got = response(&mut first.as_slice().chain(&stream), false);
    let text = got.text();
    assert_eq!((value(&text, "a_first_total"), value(&text, "z_last_total")), (1, 1));
    assert_eq!(text.matches("{host=\"a\"} 1\n").count() as u64, COUNTERS);
    assert_eq!((home.total("a.first"), home.total("z.last")), (21, 21));
    let again = get(port, "/metrics", &[OPEN, "Accept-Encoding: gzip"]);
    let mut text = String::new();
    GzDecoder::new(&*again.body).read_to_string(&mut text).unwrap();
    assert_eq!((value(&text, "z_last_total"), text.ends_with("# EOF\n")), (21, true));
}

#[test]
fn requests_on_one_connection_are_answered_in_order() {
    let (home, _daemon, port) = scraped("");
    home.ok(&["incr", "a=5"]);
    let mut stream = connect(port);
    let requests = "GET /metrics HTTP/1.1\r\n\r\nHEAD /metrics HTTP/1.1\r\n\r\nGET /x HTTP/1.1\r\n\r\n\
                    DELETE /metrics HTTP/1.1\r\n\r\nGET /metrics HTTP/1.1\r\nConnection: close\r\n\r\n";
    stream.write_all(requests.as_bytes()).unwrap();
    let mut next = |to_head| response(&mut stream, to_head);
    assert_eq!(value(&next(false).text(), "a_total"), 5);
    assert_eq!(next(true).status, 200);
    assert_eq!(next(false).status, 404);
    let refused = next(false);
    assert_eq!((refused.status, refused.header("allow")), (405, Some("GET, HEAD")));
    assert_eq!(value(&next(false).text(), "a_total"), 5);
    assert_eq!(stream.read(&mut [0; 9]).unwrap(), 0);
}

/// What comes back for these bytes, if anything does.
fn said(port: u16, bytes: &[u8]) -> Option<Response> {
    let mut stream = connect(port);
    // It may be refused before all of it is sent.
    let _ = stream.write_all(bytes);
    let _ = stream.shutdown(std::net::Shutdown::Write);
    let mut all = Vec::new();
    let _ = stream.read_to_end(&mut all);
    (!all.is_empty()).then(|| response(&mut all.as_slice(), false))
}

#[test]
fn what_is_no_scrape_is_refused_and_hurts_nobody() {
    let (home, daemon, port) = scraped("");
    home.ok(&["incr", "a=5"]);
    let status = |bytes: &[u8]| said(port, bytes).map(|response| response.status);
    assert_eq!(status(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"), Some(400));
    assert_eq!(status(b"GET /metrics HTTP/9.9\r\n\r\n"), Some(400));
    let huge = format!("GET /metrics HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(1 << 20));
    assert_eq!(status(huge.as_bytes()), Some(431));
    let many = format!("GET /metrics HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(1_000));
    assert_eq!(status(many.as_bytes()), Some(431));
    assert_eq!(status(b"POST /metrics HTTP/1.1\r\nContent-Length: 9\r\n\r\nGET / HTT"), Some(405));
    assert_eq!(status(b"GET /met"), None);
    assert_eq!(status(b""), None);
    // Those who begin and do not go on make room for others.
    let begun: Vec<_> = (0..200)
        .map(|_| {
            let mut stream = connect(port);
            let _ = stream.write_all(b"GET /metrics HTTP/1.1\r\nX: ");
            stream
        })
        .collect();
    assert_eq!(value(&get(port, "/metrics", &[]).text(), "a_total"), 5);
    // Those who ask and hang up at once, too.
    for _ in 0..200 {
        let _ = connect(port).write_all(b"GET /metrics HTTP/1.1\r\n\r\n");
    }
    assert_eq!(value(&get(port, "/metrics", &[]).text(), "a_total"), 5);
    drop(begun);
    home.ok(&["incr", "a"]);
    assert_eq!(daemon.stop().code, 0);
}

#[test]
fn a_total_that_was_scraped_is_on_the_disk() {
    let (home, daemon, port) = scraped("");
    for n in 1..=20 {
        let begun_ns = clock::boot_ns();
        home.ok(&["incr", "a"]);
        let text = get(port, "/metrics", &[]).text();
        assert_eq!((value(&text, "a_total"), value(&text, "countd_counters")), (n, 1));
        let status = home.run(&["status", "--format", "json"]).stdout;
        let status: serde_json::Value = serde_json::from_str(&status).unwrap();
        // A second after the last append, what is synced is written down, which is not synced itself.
        if clock::boot_ns() - begun_ns < 900_000_000 {
            assert_eq!(status["journal_unsynced"], 0, "{status}");
        }
    }
    daemon.kill();
    let sink = format!("prometheus://127.0.0.1:{port}");
    let _daemon = home.serve(&["--sink", &sink]);
    assert_eq!(value(&get(port, "/metrics", &[]).text(), "a_total"), 20);
    until("somebody is there", || home.total("a") == 20);
}

/// A daemon that keeps a file for node_exporter, and that file.
fn kept(options: &str, more: &[&str]) -> (Home, Daemon, std::path::PathBuf) {
    let home = Home::new();
    let path = home.path("countd.prom");
    let sink = format!("textfile:{}{options}", path.display());
    let daemon = home.serve(&[&["--sink", &*sink], more].concat());
    (home, daemon, path)
}

#[test]
fn a_file_for_node_exporter_has_totals_after_each_flush_and_stays() {
    let (home, daemon, path) = kept("", &[]);
    let text = || std::fs::read_to_string(&path).unwrap_or_default();
    until("it is written at the start", || text().contains("\ncountd_counters 0\n"));
    home.ok(&["incr", "a=5", "b,x=1=7"]);
    home.ok(&["flush"]);
    assert_eq!((value(&text(), "a_total"), value(&text(), "b_total{x=\"1\"}")), (5, 7));
    let mode = std::os::unix::fs::PermissionsExt::mode(&path.metadata().unwrap().permissions());
    assert_eq!(mode & 0o777, 0o644);
    if let Some(ran) = promtool(&["check", "metrics"], text().as_bytes()) {
        assert_eq!((ran.code, &*ran.stderr), (0, ""), "{ran:?}");
    }
    home.ok(&["incr", "a"]);
    assert_eq!(daemon.stop().code, 0);
    assert_eq!(value(&text(), "a_total"), 6);
}

#[test]
fn a_file_for_node_exporter_has_what_no_report_tells_and_goes_if_asked_to() {
    let (home, daemon, path) = kept("?remove=yes", &["--interval", "20ms"]);
    let text = || std::fs::read_to_string(&path).unwrap_or_default();
    home.ok(&["incr", "a", "b=0"]);
    until("a declared counter is there", || text().contains("\nb_total 0\n"));
    home.ok(&["incr", "c=0"]);
    until("another one is", || text().contains("\nc_total 0\n"));
    home.ok(&["delete", "c"]);
    until("a deleted one is not", || !text().contains("\nc_total"));
    home.ok(&["incr", "d=0"]);
    assert_eq!(daemon.stop().code, 0);
    assert!(!path.exists());
}

#[test]
fn a_file_for_node_exporter_that_cannot_be_written_is_told_of_and_comes_later() {
    let (home, mut daemon, path) = kept("", &[]);
    until("it is written at the start", || path.exists());
    let beside = home.path(".countd.prom~");
    std::fs::create_dir(&beside).unwrap();
    home.ok(&["incr", "a.b", "a-b"]);
    home.run(&["flush", "--timeout", "100ms"]).refused(1, &["textfile:", "irectory"]);
    daemon.wait_until_it_says("reports wait, and come once it works");
    std::fs::remove_dir(&beside).unwrap();
    home.ok(&["flush"]);
    let text = std::fs::read_to_string(&path).unwrap();
    assert_eq!((value(&text, "a_b_total"), value(&text, "countd_name_collisions")), (1, 1));
    daemon.wait_until_it_says("a.b is left out: a-b has the same series");
    home.run(&["status"]).stdout.find("has no series of its own").unwrap();
    let nowhere = format!("textfile:{}", home.path("no/a.prom").display());
    let other = Home::new();
    let ran = Ran::of(other.serve_command(&["--sink", &nowhere]).output().unwrap());
    ran.refused(1, &["sink textfile:", "No such file"]);
}

#[test]
fn a_file_that_cannot_be_written_is_told_of_once_while_another_can_be() {
    let (home, mut daemon, path) = {
        let home = Home::new();
        let sinks = ["bad", "good"].map(|name| format!("textfile:{}", home.path(name).display()));
        let daemon = home.serve(&["--interval", "20ms", "--sink", &sinks[0], "--sink", &sinks[1]]);
        let path = home.path("good");
        (home, daemon, path)
    };
    let text = || std::fs::read_to_string(&path).unwrap_or_default();
    until("both are written at the start", || home.path("bad").exists() && path.exists());
    std::fs::create_dir(home.path(".bad~")).unwrap();
    // No report tells of a counter that is declared.
    home.ok(&["incr", "a=0"]);
    daemon.wait_until_it_says("cannot show the counters");
    for _ in 0..2 {
        let before = text();
        until("it is tried again", || text() != before);
        let stdout = home.run(&["status"]).stdout;
        assert!(stdout.contains("problem: ") && stdout.contains("cannot show"), "{stdout}");
    }
    let told = daemon.stop().stderr;
    assert_eq!(told.matches("cannot show the counters").count(), 1, "{told}");
}

#[test]
fn a_report_that_is_written_shows_that_the_file_can_be_written_again() {
    let home = Home::new();
    let (path, beside) = (home.path("a.prom"), home.path(".a.prom~"));
    std::fs::create_dir(&beside).unwrap();
    let sink = format!("textfile:{}", path.display());
    let mut daemon = home.serve(&["--interval", "1m", "--sink", &sink]);
    daemon.wait_until_it_says("cannot show the counters");
    std::fs::remove_dir(&beside).unwrap();
    home.ok(&["incr", "a"]);
    home.ok(&["flush"]);
    assert!(path.exists());
    home.ok(&["status"]);
}

#[test]
fn totals_in_the_file_go_on_after_the_daemon_was_killed() {
    let (home, daemon, path) = kept("", &["--interval", "20ms"]);
    let text = || std::fs::read_to_string(&path).unwrap_or_default();
    for _ in 0..30 {
        home.ok(&["incr", "a"]);
    }
    daemon.kill();
    let before = text();
    let sink = format!("textfile:{}", path.display());
    let _daemon = home.serve(&["--sink", &sink]);
    until("it is written at the start", || text() != before && text().contains("a_total 30\n"));
}
