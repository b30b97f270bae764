//! Times, medians, and what the kernel knows of a process.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;

use crate::Result;

/// The middle value; the mean of the two in the middle if their number is even.
pub(crate) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => f64::NAN,
        even if even % 2 == 0 => f64::midpoint(sorted[middle - 1], sorted[middle]),
        _ => sorted[middle],
    }
}

/// Wall time and CPU time of the same things, done again and again, in seconds; and page faults.
#[derive(Debug, Clone, Default)]
pub(crate) struct Samples {
    wall: Vec<f64>,
    cpu: Vec<f64>,
    faults: Vec<f64>,
}

impl Samples {
    pub(crate) fn add(&mut self, spent: Spent) {
        self.wall.push(spent.wall.as_secs_f64());
        self.cpu.push(spent.cpu.as_secs_f64());
        self.faults.push(spent.faults as f64);
    }

    pub(crate) fn wall(&self) -> f64 {
        median(&self.wall)
    }

    pub(crate) fn cpu(&self) -> f64 {
        median(&self.cpu)
    }

    pub(crate) fn faults(&self) -> f64 {
        median(&self.faults)
    }
}

/// What something took.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Spent {
    pub(crate) wall: Duration,
    pub(crate) cpu: Duration,
    /// Page faults that read nothing from a disk. Counted of commands alone: a server has had its own before.
    pub(crate) faults: u64,
}

/// Runs a command from its spawn to its exit, with its CPU time and that of its own children.
pub(crate) fn run(command: &mut Command) -> Result<Spent> {
    let before = of_children()?;
    let started = Instant::now();
    let status = command.status().map_err(|error| format!("{command:?}: {error}"))?;
    let wall = started.elapsed();
    if !status.success() {
        return Err(format!("{command:?}: {status}").into());
    }
    let after = of_children()?;
    Ok(Spent { wall, cpu: after.0.saturating_sub(before.0), faults: after.1 - before.1 })
}

/// The CPU time of all children that ended, and their page faults.
fn of_children() -> Result<(Duration, u64)> {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    let micros = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
    let faults = u64::try_from(usage.minor_page_faults())?;
    Ok((Duration::from_micros(u64::try_from(micros)?), faults))
}

/// How long something takes, and how much CPU time the process `pid` spends meanwhile.
pub(crate) fn watched(pid: u32, work: impl FnOnce() -> Result<()>) -> Result<Spent> {
    let before = cpu_of(pid)?;
    let wall = timed(work)?;
    Ok(Spent { wall, cpu: cpu_of(pid)?.saturating_sub(before), faults: 0 })
}

/// How long something takes.
pub(crate) fn timed(work: impl FnOnce() -> Result<()>) -> Result<Duration> {
    let started = Instant::now();
    work()?;
    Ok(started.elapsed())
}

/// The CPU time of a living process, all its threads together.
pub(crate) fn cpu_of(pid: u32) -> Result<Duration> {
    let pid = nix::unistd::Pid::from_raw(i32::try_from(pid)?);
    Ok(nix::time::clock_getcpuclockid(pid)?.now()?.into())
}

/// Waits until something is so, for at most half a minute.
pub(crate) fn until(what: &str, mut is_so: impl FnMut() -> bool) -> Result<()> {
    let started = Instant::now();
    while !is_so() {
        if started.elapsed() > Duration::from_secs(30) {
            return Err(format!("{what}: not within 30 s").into());
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

/// Memory of a process that is in RAM, in bytes.
pub(crate) fn resident(pid: u32) -> Result<f64> {
    let kilobytes = field(&Path::new("/proc").join(pid.to_string()).join("status"), "VmRSS:")?;
    Ok(kilobytes * 1024.0)
}

/// How often the threads of a process have been put on a CPU.
pub(crate) fn switches(pid: u32) -> Result<f64> {
    let mut sum = 0.0;
    for task in std::fs::read_dir(Path::new("/proc").join(pid.to_string()).join("task"))? {
        let status = task?.path().join("status");
        sum += field(&status, "voluntary_ctxt_switches:")?;
        sum += field(&status, "nonvoluntary_ctxt_switches:")?;
    }
    Ok(sum)
}

/// The number behind a word at the beginning of a line.
fn field(path: &Path, word: &str) -> Result<f64> {
    let text = std::fs::read_to_string(path)?;
    let mut rest = text.lines().filter_map(|line| line.strip_prefix(word));
    let number = rest.next().and_then(|rest| rest.split_whitespace().next()?.parse().ok());
    number.ok_or_else(|| format!("{}: no {word}", path.display()).into())
}
