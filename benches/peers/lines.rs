//! Lines counted by one process: `countd incr --stdin` and what would be used instead.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use countd::protocol::Wanted;

use crate::floor::Role;
use crate::measure::{Samples, run};
use crate::names::{Mix, draw, name};
use crate::parallel::exact;
use crate::processes::{client, countd, countd_command, floor_command};
use crate::report::{Book, Goal, Table, short, times};
use crate::{Bench, Result};

const HOW: &str = "A file of names, one a line, their frequencies as of words in a text (Zipf, s = 1), from the start \
    of the process until it ends: for countd when the daemon has acknowledged all of it. The floor reads blocks, \
    finds the ends of lines and counts in a hash table, and keeps nothing. The daemon has counted exactly the \
    lines that were read.";

const FLOOR: &str = "floor: bare line counter in Rust";
const COUNTD: &str = "**countd incr --stdin**";
const COUNTD_MUSL: &str = "**countd incr --stdin**, musl";
const MAWK: &str = "mawk '{c[$1]++}'";

pub(crate) fn measure(bench: &Bench<'_>, book: &mut Book) -> Result<()> {
    let head = ["names", "", "million lines/s", "x mawk", "CPU s a million", "x floor's time"];
    let mut table = Table::new("Lines on standard input", "", &head);
    let lines = if bench.quick { bench.lines / 4 } else { bench.lines };
    for (names, goal) in [(1_000, 4.0), (100_000, 3.5)] {
        let file = bench.folder.join("names");
        write(&file, names, lines)?;
        let samples = with(bench, &file, lines)?;
        let of = |wanted| samples.iter().find(|(name, _)| *name == wanted).map(|(_, s)| s.wall());
        let per_million = lines as f64 / 1e6;
        for (name, samples) in &samples {
            table.row([
                short(f64::from(names)),
                (*name).to_owned(),
                short(per_million / samples.wall()),
                of(MAWK).map_or("-".to_owned(), |mawk| times(mawk / samples.wall())),
                short(samples.cpu() / per_million),
                of(FLOOR).map_or("-".to_owned(), |floor| times(samples.wall() / floor)),
            ]);
        }
        // The better of the two builds is not chosen: what is packaged counts.
        let countd = of(COUNTD_MUSL).or(of(COUNTD));
        if let Some(ratio) = of(MAWK).zip(countd).map(|(mawk, countd)| mawk / countd) {
            let what = format!("--stdin, {} names, against mawk", short(f64::from(names)));
            book.goal(what, Goal::AtLeast(goal), ratio, " x");
            book.floor(of(MAWK).zip(of(FLOOR)).map_or(f64::NAN, |(mawk, floor)| mawk / floor));
            if names == 100_000 {
                book.headline(format!(
                    "`countd incr --stdin` counts lines {ratio:.1} times as fast as `mawk '{{c[$1]++}}'`, with 100,000 \
                     names, and what it has counted is in the journal."
                ));
            }
        }
    }
    table.explain(format!("{HOW} {} lines.", short(lines as f64)));
    book.tables.push(table);
    Ok(())
}

/// Counts the file again and again, each program once a round.
fn with(bench: &Bench<'_>, file: &Path, lines: usize) -> Result<Vec<(&'static str, Samples)>> {
    let tools = &bench.tools;
    let folder = tempfile::tempdir_in(bench.folder)?;
    let daemon = countd(tools.packaged(), folder.path(), "lines")?;
    let mut runners = Vec::new();
    let mut add = |name, mut command: Command| {
        command.stdout(Stdio::null());
        runners.push((name, command, Samples::default()));
    };
    let incr = |path: &Path| {
        let mut command = countd_command(path, &daemon.socket, "incr");
        command.arg("--stdin");
        command
    };
    add(FLOOR, floor_command(Role::Lines)?);
    if let Some(path) = &tools.countd_musl {
        add(COUNTD_MUSL, incr(path));
    }
    add(COUNTD, incr(&tools.countd));
    if let Some(path) = &tools.mawk {
        let mut command = Command::new(path);
        command.arg("{c[$1]++} END {for (n in c) print n, c[n]}");
        add(MAWK, command);
    }
    let rounds = bench.rounds(5);
    for _ in 0..rounds {
        for (_, command, samples) in &mut runners {
            command.stdin(File::open(file)?);
            samples.add(run(command)?);
        }
    }
    let mut counted = 0;
    client(&daemon.socket)?.dump(&Wanted::default(), |row| counted += row.total)?;
    let by_countd = 1 + usize::from(tools.countd_musl.is_some());
    exact("countd", counted, (lines * rounds * by_countd) as u64)?;
    Ok(runners.into_iter().map(|(name, _, samples)| (name, samples)).collect())
}

fn write(file: &Path, names: u32, lines: usize) -> Result<()> {
    let mut out = BufWriter::new(File::create(file)?);
    for number in draw(Mix::Zipf, names, lines, 1) {
        writeln!(out, "{}", name(number))?;
    }
    Ok(out.flush()?)
}
