//! countd against its peers and against what the machine allows, end to end: `cargo bench --bench peers`. What is
//! not installed is left out, and named. With `--write` the figures go to `docs/BENCHMARKS.md` and the README.

#![expect(clippy::disallowed_methods, reason = "a benchmark measures time, and waits for others")]
#![expect(clippy::indexing_slicing, reason = "what a benchmark gets wrong may end it")]

mod answers;
mod connections;
mod floor;
mod idle;
mod lines;
mod machine;
mod measure;
mod million;
mod names;
mod one_shot;
mod parallel;
mod processes;
mod report;
mod server_cpu;
mod tools;
mod wire;

use std::io::Write;
use std::path::{Path, PathBuf};

use clap::{Parser, ValueEnum};

use floor::Role;
use report::Book;
use tools::Tools;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// countd against its peers.
#[derive(Debug, Parser)]
struct Arguments {
    /// A fraction of the rounds, for a first look.
    #[arg(long)]
    quick: bool,
    /// Write docs/BENCHMARKS.md, and its short form into README.md. Every peer has to be installed.
    #[arg(long, conflicts_with_all = ["quick", "only"])]
    write: bool,
    /// Only these tables.
    #[arg(long, value_enum)]
    only: Vec<Part>,
    /// Lines that --stdin counts, for each number of names.
    #[arg(long, default_value_t = 4_000_000)]
    lines: usize,
    /// cargo gives it when this is run as a benchmark.
    #[arg(long, hide = true)]
    bench: bool,
    /// Be one of the floor's programs.
    #[arg(long, hide = true)]
    role: Option<Role>,
    #[arg(hide = true)]
    paths: Vec<PathBuf>,
}

/// A table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    OneShot,
    Parallel,
    ServerCpu,
    Lines,
    Connections,
    Million,
    Answers,
    Idle,
    Size,
}

/// What each table is made with.
struct Bench<'a> {
    tools: Tools,
    folder: &'a Path,
    quick: bool,
    lines: usize,
}

impl Bench<'_> {
    /// How often something is done.
    fn rounds(&self, usual: usize) -> usize {
        if self.quick { usual.div_ceil(5) } else { usual }
    }

    fn measure(&self, part: Part, book: &mut Book) -> Result<()> {
        match part {
            Part::OneShot => one_shot::measure(self, book),
            Part::Parallel => parallel::measure(self, book),
            Part::ServerCpu => server_cpu::measure(self, book),
            Part::Lines => lines::measure(self, book),
            Part::Connections => connections::measure(self, book),
            Part::Million => million::measure(self, book),
            Part::Answers => answers::measure(self, book),
            Part::Idle => idle::measure(self, book),
            Part::Size => machine::sizes(self, book),
        }
    }
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    if let Some(role) = arguments.role {
        return floor::play(role, &arguments.paths);
    }
    if !arguments.bench {
        // `cargo test --all-targets` runs benchmarks too, without this.
        return Ok(());
    }
    let folder = tempfile::Builder::new().prefix("countd-bench").tempdir()?;
    end_in_order(folder.path())?;
    let mut told = std::io::stderr();
    writeln!(told, "building what is measured")?;
    let tools = Tools::find(folder.path())?;
    if arguments.write && !tools.missing.is_empty() {
        return Err(format!("not all is here to write of: {}", tools.missing.join("; ")).into());
    }
    let (quick, lines) = (arguments.quick, arguments.lines);
    let bench = Bench { tools, folder: folder.path(), quick, lines };
    let mut facts = machine::facts(&bench.tools)?;
    if quick {
        facts.push("quickly: a first look, by which no goal is reached or missed".to_owned());
    }
    let mut book = Book::new(facts);
    for &part in Part::value_variants() {
        if arguments.only.is_empty() || arguments.only.contains(&part) {
            writeln!(told, "measuring {part:?}")?;
            bench.measure(part, &mut book)?;
        }
    }
    std::io::stdout().write_all(book.text()?.as_bytes())?;
    if arguments.write {
        book.write(Path::new(env!("CARGO_MANIFEST_DIR")))?;
    }
    Ok(())
}

/// A benchmark that is interrupted leaves no process and no file.
fn end_in_order(folder: &Path) -> Result<()> {
    let folder = folder.to_owned();
    #[expect(clippy::exit, reason = "it was told to end")]
    ctrlc::set_handler(move || {
        processes::kill_all();
        let _ = std::fs::remove_dir_all(&folder);
        std::process::exit(130)
    })?;
    Ok(())
}
