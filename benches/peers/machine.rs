//! What all of it was measured on, and how large the programs are.

use std::path::Path;

use crate::report::{Book, Goal, Table, short};
use crate::tools::Tools;
use crate::{Bench, Result};

/// The machine, the versions, and what is missing; one fact a line.
pub(crate) fn facts(tools: &Tools) -> Result<Vec<String>> {
    let processors = std::fs::read_to_string("/proc/cpuinfo")?;
    let field = |word: &str| {
        let mut values = processors.lines().filter(|line| line.starts_with(word));
        values.next().and_then(|line| line.split_once(": ")).map_or("?", |(_, value)| value)
    };
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let virtual_machine = if field("flags").split(' ').any(|flag| flag == "hypervisor") {
        ", in a virtual machine"
    } else {
        ""
    };
    let mut facts = vec![
        format!(
            "{} x {}{virtual_machine}; Linux {}; {}",
            std::thread::available_parallelism()?,
            field("model name"),
            // Without what who built it has added.
            kernel.trim().split('-').next().unwrap_or("?"),
            humantime::format_rfc3339_seconds(std::time::SystemTime::now()).to_string()[..10]
                .to_owned(),
        ),
        tools.versions().join("; "),
        format!(
            "load when it began: {}; the nearer to 0, the more the times say",
            std::fs::read_to_string("/proc/loadavg")?.split(' ').next().unwrap_or("?"),
        ),
    ];
    facts.extend(tools.missing.iter().map(|what| format!("left out: {what}")));
    Ok(facts)
}

/// The sizes of the programs.
pub(crate) fn sizes(bench: &Bench<'_>, book: &mut Book) -> Result<()> {
    let how = "Of the stripped programs. redis-cli and redis-server need libraries beside them.";
    let mut table = Table::new("Size of the program", how, &["program", "MB"]);
    let megabytes =
        |path: &Path| -> Result<f64> { Ok(std::fs::metadata(path)?.len() as f64 / 1e6) };
    let tools = &bench.tools;
    let programs = [
        ("countd, musl", &tools.countd_musl),
        ("countd, default build", &Some(tools.countd.clone())),
        ("redis-cli", &tools.redis_cli),
        ("redis-server", &tools.redis_server),
    ];
    for (name, path) in programs {
        if let Some(path) = path {
            table.row([name.to_owned(), short(megabytes(path)?)]);
        }
    }
    book.tables.push(table);
    if let Some(countd) = &tools.countd_musl {
        book.goal("size of the program, musl", Goal::AtMost(2.5), megabytes(countd)?, " MB");
    }
    Ok(())
}
