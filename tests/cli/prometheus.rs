//! The real Prometheus, and the real node_exporter, over kills of the daemon: no total goes back, and what it finds that
//! counters gained is what was counted. Skipped with a word where they are not installed; where `CI` is set, that is a
//! failure.

use std::process::{Child, Command, Stdio};

use crate::harness::{Home, until};
use crate::http::{free_port, get};

/// A program that ends with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start(program: &str, arguments: &[String]) -> Option<Running> {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    match command.spawn() {
        Ok(child) => Some(Running(child)),
        Err(_) => {
            assert!(std::env::var_os("CI").is_none(), "no {program}, and CI has to have it");
            eprintln!("skipped: {program} is not installed");
            None
        }
    }
}

/// Whether somebody listens at a port.
fn is_there(port: u16) -> bool {
    std::net::TcpStream::connect(("127.0.0.1", port)).is_ok()
}

/// The one value of a query, if there is one.
fn query(port: u16, text: &str) -> Option<f64> {
    let encoded: String = text.bytes().map(|byte| format!("%{byte:02X}")).collect();
    let got = get(port, &format!("/api/v1/query?query={encoded}"), &[]);
    // It listens before it can answer.
    if got.status != 200 {
        return None;
    }
    let answer: serde_json::Value = serde_json::from_slice(&got.body).unwrap();
    answer["data"]["result"][0]["value"][1].as_str()?.parse().ok()
}

#[test]
fn prometheus_finds_what_was_counted_though_the_daemon_is_killed_over_and_over() {
    let (home, port, ours) = (Home::new(), free_port(), free_port());
    let config = format!(
        "global: {{scrape_interval: 200ms, scrape_timeout: 200ms}}\n\
         scrape_configs: [{{job_name: countd, static_configs: [{{targets: ['127.0.0.1:{ours}']}}]}}]\n"
    );
    let file = home.path("prometheus.yml");
    std::fs::write(&file, config).unwrap();
    let arguments = [
        format!("--config.file={}", file.display()),
        format!("--storage.tsdb.path={}", home.path("tsdb").display()),
        format!("--web.listen-address=127.0.0.1:{port}"),
    ];
    let sink = format!("prometheus://127.0.0.1:{ours}");
    let serve = || home.serve(&["--sink", &sink]);
    let mut daemon = serve();
    // Declared, so that it is seen before it counts.
    home.ok(&["incr", "jobs.done,host=a=0"]);
    let Some(_prometheus) = start("prometheus", &arguments) else { return };
    until("Prometheus listens", || is_there(port));
    until("it has seen the counter", || query(port, "jobs_done_total{host=\"a\"}") == Some(0.0));
    for round in 1..=4_u32 {
        for _ in 0..10 {
            home.ok(&["incr", "jobs.done,host=a=3"]);
        }
        let total = f64::from(round * 30);
        until("it has seen the total", || query(port, "jobs_done_total") == Some(total));
        daemon.kill();
        daemon = serve();
    }
    let all = "(jobs_done_total[10m])";
    assert_eq!(query(port, &format!("resets{all}")), Some(0.0));
    let gained = format!("max_over_time{all} - min_over_time{all}");
    assert_eq!(query(port, &gained), Some(120.0));
    // It reckons with the time before the first scrape, so this is about as much.
    assert!(query(port, &format!("increase{all}")) >= Some(120.0));
    until("it sees the daemon's own numbers", || query(port, "countd_counters") == Some(1.0));
}

#[test]
fn node_exporter_passes_the_file_on() {
    let (home, port) = (Home::new(), free_port());
    std::fs::create_dir(home.path("textfiles")).unwrap();
    let sink = format!("textfile:{}", home.path("textfiles/countd.prom").display());
    let _daemon = home.serve(&["--sink", &sink]);
    home.ok(&["incr", "jobs.done,host=a=7"]);
    home.ok(&["flush"]);
    let arguments = [
        "--collector.disable-defaults".to_owned(),
        "--collector.textfile".to_owned(),
        format!("--collector.textfile.directory={}", home.path("textfiles").display()),
        format!("--web.listen-address=127.0.0.1:{port}"),
    ];
    let Some(_exporter) = start("prometheus-node-exporter", &arguments) else { return };
    until("node_exporter listens", || is_there(port));
    let text = get(port, "/metrics", &[]).text();
    assert!(text.contains("\njobs_done_total{host=\"a\"} 7\n"), "{text}");
    assert!(text.contains("\nnode_textfile_scrape_error 0\n"), "{text}");
    home.ok(&["incr", "jobs.done,host=a"]);
    home.ok(&["flush"]);
    let text = get(port, "/metrics", &[]).text();
    assert!(text.contains("\njobs_done_total{host=\"a\"} 8\n"), "{text}");
}
