//! What a collector sees of a fleet: `cargo bench --bench fleet`. 1,000 hosts with 1,000 counters each, simulated with
//! countd's own schedule, offsets and rendering: bytes of a report, and how many hosts flush in each 100 ms. No clock
//! is read, so the figures are the same each time; those in `docs/FLEETS.md` are its output. `cargo test` runs it too: it
//! fails when they are not.

use std::sync::Arc;
use std::time::Duration;

use countd::format::ReportFormat;
use countd::format::layout::{Layout, TagForm};
use countd::report::{Count, Counts, Report};
use countd::system::host;
use countd::window::{Moment, Schedule, Window, offset_of};

const HOSTS: u64 = 1_000;
const COUNTERS: u64 = 1_000;
const INTERVAL: Duration = Duration::from_secs(10);
const INTERVALS: u64 = 60;
const SLOT_MS: u64 = 100;
/// How far the clock of a host is from the right time at most, in both directions: as NTP keeps it in a data center.
const ASTRAY_MS: u64 = 5;
/// A full ten seconds.
const BEGIN_MS: u64 = 1_700_000_000_000;

/// A number for a host that looks like chance and is the same each time.
fn chance(host: u64, sides: u64) -> u64 {
    let mixed = (host + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed ^ (mixed >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9) % sides
}

fn host_number(host: u64) -> u32 {
    host::hash(b"", format!("web{host}").as_bytes())
}

/// The moments of a host's flushes, in milliseconds by the right time. Each comes a little late.
fn flushes(host: u64, aligned: Option<Duration>) -> Vec<u64> {
    // Hosts start one after the other, within a minute, and their clocks are a little astray.
    let start_ms = chance(host, 60_000);
    let astray_ms = chance(host + HOSTS, 2 * ASTRAY_MS + 1);
    let at = |boot_ms: u64| Moment {
        wall_ms: BEGIN_MS + boot_ms + astray_ms - ASTRAY_MS,
        boot_ns: boot_ms * 1_000_000,
    };
    let mut schedule = Schedule::new(INTERVAL, aligned, at(start_ms));
    let mut moments = Vec::new();
    while moments.last().is_none_or(|last| *last < 60_000 + INTERVALS * 10_000) {
        let flush_ms =
            schedule.due_boot_ns().div_ceil(1_000_000) + chance(host + schedule.due_boot_ns(), 3);
        schedule.flushed(at(flush_ms));
        moments.push(flush_ms);
    }
    moments
}

/// How many hosts flush in each 100 ms, once all have started.
fn spread(aligned: impl Fn(u64) -> Option<Duration>) -> Vec<u64> {
    let mut slots = vec![0; (INTERVALS * 10_000 / SLOT_MS) as usize];
    for host in 0..HOSTS {
        for flush in flushes(host, aligned(host)) {
            let slot = flush.checked_sub(70_000).map(|ms| (ms / SLOT_MS) as usize);
            if let Some(hosts) = slot.and_then(|slot| slots.get_mut(slot)) {
                *hosts += 1;
            }
        }
    }
    slots
}

/// Bytes of a report of all counters of a host.
fn bytes(layout: &Layout) -> usize {
    let names = (0..COUNTERS).map(|n| format!("http.requests.endpoint{n:03},code={}", 200 + n % 5));
    let names: Vec<String> = names.collect();
    let counts = names.iter().map(|name| Count { name, count: 1_234, total: 123_456 });
    let counts = Counts::of_sorted(counts, 64 * names.len());
    let at = |ms: u64| Moment { wall_ms: BEGIN_MS + ms, boot_ns: ms * 1_000_000 };
    let window =
        Window { first: 1, number: 1, start: at(0), start_boot: 1, end: at(10_000), end_boot: 1 };
    let mut out = Vec::new();
    layout.render(&[Arc::new(Report::new(window, counts))], &mut out);
    out.len()
}

fn layout(format: ReportFormat, tags: TagForm) -> Layout {
    Layout { prefix: "hosts.web0.".into(), tags, ..Layout::of(format) }
}

fn graphite() -> usize {
    bytes(&layout(ReportFormat::Graphite, TagForm::Graphite))
}

#[expect(clippy::print_stdout, reason = "a benchmark prints")]
fn main() {
    let tables = [load(), spreads()];
    let document = include_str!("../docs/FLEETS.md");
    for table in tables {
        println!("{table}");
        assert!(document.contains(&table), "docs/FLEETS.md has other figures: put these in");
    }
}

/// Bytes of a report in the formats of collectors, as a table.
fn load() -> String {
    let mut table =
        String::from("| format | bytes a flush and host | of 1,000 hosts | bytes a second |\n");
    table.push_str("|---|---|---|---|\n");
    for (name, bytes) in [
        ("graphite", graphite()),
        ("statsd", bytes(&layout(ReportFormat::Statsd, TagForm::Graphite))),
        ("statsd, tags=dogstatsd", bytes(&layout(ReportFormat::Statsd, TagForm::Dogstatsd))),
    ] {
        let all = bytes as f64 * HOSTS as f64;
        let second = all / INTERVAL.as_secs_f64();
        let (all, second) = (all / 1e6, second / 1e6);
        table.push_str(&format!("| {name} | {bytes} | {all:.1} MB | {second:.1} MB |\n"));
    }
    table
}

/// How many hosts flush at the same time, as a table.
fn spreads() -> String {
    let mut table = String::from(
        "| flushes | 100 ms with any | hosts in the fullest 100 ms | in the median one with any | Graphite's bytes in the fullest |\n",
    );
    table.push_str("|---|---|---|---|---|\n");
    let unaligned = spread(|_| None);
    let aligned = spread(|_| Some(Duration::ZERO));
    let offset = spread(|host| Some(offset_of(INTERVAL, host_number(host))));
    for (name, slots) in [
        ("as each host started", unaligned),
        ("`--aligned`", aligned),
        ("`--aligned --offset auto`", offset),
    ] {
        let mut hosts: Vec<u64> = slots.iter().copied().filter(|hosts| *hosts > 0).collect();
        hosts.sort_unstable();
        let (used, most) = (hosts.len() * 100 / slots.len(), hosts.last().copied().unwrap_or(0));
        let median = hosts.get(hosts.len() / 2).copied().unwrap_or(0);
        let bytes = most as f64 * graphite() as f64 / 1e6;
        table.push_str(&format!("| {name} | {used} % | {most} | {median} | {bytes:.1} MB |\n"));
    }
    table
}
