//! What the pieces of counting cost, each alone: `cargo bench --bench micro`. Time, and instructions where valgrind is
//! installed: those are the same in each run, and show what a change did. Each piece is done n and 3 n times; the
//! difference is what is told, so that getting ready for it costs nothing. An argument chooses pieces by name.

#![expect(clippy::disallowed_methods, reason = "a benchmark measures time")]

#[path = "peers/names.rs"]
mod names;

use std::hint::black_box;
use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use countd::counter::table::{Definition, Table, Values};
use countd::format::ReportFormat;
use countd::format::layout::Layout;
use countd::frame;
use countd::ids::RequestId;
use countd::protocol::{ENTRIES_MAX, Entry, Request};
use countd::record::block::write_block;
use countd::record::state::State;
use countd::record::{KIND_COUNTER, Record};
use countd::report::{Count, Counts, Report};
use countd::turn::{Core, OWED_BYTES_MAX, Peer, Rules};
use countd::window::{Moment, Window};

use names::{Mix, draw, name};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// Something that is done again and again.
struct Piece {
    name: &'static str,
    /// How many of what it is told for are in one of them.
    each: u64,
    /// How often it is done, at least.
    times: u64,
    /// Does it so often.
    run: fn(u64) -> Result<()>,
}

const BATCH: u64 = ENTRIES_MAX as u64;
const PIECES: [Piece; 9] = [
    Piece { name: "a frame is found", each: 1, times: 10_000, run: find_frame },
    Piece { name: "a request of one increment is written", each: 1, times: 5_000, run: write_one },
    Piece { name: "a request of one increment is read", each: 1, times: 5_000, run: read_one },
    Piece { name: "an increment of 4,096 is read", each: BATCH, times: 10, run: read_batch },
    Piece { name: "a counter of 100,000 is found and set", each: 1, times: 50_000, run: count },
    Piece {
        name: "a turn of one increment, and its request",
        each: 1,
        times: 2_000,
        run: turn_one,
    },
    Piece {
        name: "an increment in a turn of 4,096, likewise",
        each: BATCH,
        times: 10,
        run: turn_batch,
    },
    Piece { name: "a record goes into a block", each: BATCH, times: 10, run: append },
    Piece { name: "a line of a report, logfmt", each: BATCH, times: 10, run: print },
];

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1).peekable();
    if arguments.peek().is_some_and(|argument| argument == "--piece") {
        let [_, at, times] =
            arguments.collect::<Vec<_>>().try_into().map_err(|_| "--piece N TIMES")?;
        let piece = PIECES.get(at.parse::<usize>()?).ok_or("no such piece")?;
        return (piece.run)(times.parse()?);
    }
    let arguments: Vec<String> = arguments.collect();
    // `cargo test --all-targets` runs benchmarks too, without this.
    if !arguments.iter().any(|argument| argument == "--bench") {
        return Ok(());
    }
    let wanted = |piece: &Piece| {
        let mut words = arguments.iter().filter(|argument| !argument.starts_with('-')).peekable();
        words.peek().is_none() || words.any(|word| piece.name.contains(word.as_str()))
    };
    let mut out = std::io::stdout();
    writeln!(out, "{:<40} {:>12} {:>14}", "each", "ns", "instructions")?;
    for (at, piece) in PIECES.iter().enumerate().filter(|(_, piece)| wanted(piece)) {
        let instructions = instructions(at, piece).map_or("-".to_owned(), |n| format!("{n:.0}"));
        writeln!(out, "{:<40} {:>12.1} {instructions:>14}", piece.name, nanoseconds(piece)?)?;
    }
    Ok(())
}

/// The time of one, the median of several differences.
fn nanoseconds(piece: &Piece) -> Result<f64> {
    let timed = |times| -> Result<Duration> {
        let started = Instant::now();
        (piece.run)(times)?;
        Ok(started.elapsed())
    };
    let times = piece.times * 20;
    let difference = |_| Ok((timed(3 * times)?.as_secs_f64() - timed(times)?.as_secs_f64()) * 1e9);
    let mut differences = (0..7).map(difference).collect::<Result<Vec<_>>>()?;
    differences.sort_by(f64::total_cmp);
    Ok(differences.get(3).ok_or("no difference")? / (2 * times * piece.each) as f64)
}

/// The instructions of one, as valgrind counts them; `None` where it is not installed.
fn instructions(at: usize, piece: &Piece) -> Option<f64> {
    let counted = |times: u64| {
        let mut command = Command::new("valgrind");
        command.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]);
        command.arg(std::env::current_exe().ok()?).arg("--piece");
        let output =
            command.args([at.to_string(), times.to_string()]).stdin(Stdio::null()).output();
        let said = String::from_utf8(output.ok().filter(|output| output.status.success())?.stderr);
        let said = said.ok()?;
        let (_, number) = said.lines().find_map(|line| line.split_once("Collected : "))?;
        number.trim().parse::<f64>().ok()
    };
    let difference = counted(3 * piece.times)? - counted(piece.times)?;
    Some(difference / (2 * piece.times * piece.each) as f64)
}

fn request(seq: u64, names: &[String]) -> Result<Vec<u8>> {
    let entries = names.iter().map(|name| Entry { name, amount: 1 }).collect();
    let id = RequestId { session: 1 << 100, seq, born_ns: NOW.boot_ns };
    let mut bytes = Vec::new();
    Request::Incr { id, atomic: true, totals: false, entries }.write(&mut bytes)?;
    Ok(bytes)
}

fn one_name() -> [String; 1] {
    ["http.requests,method=GET".to_owned()]
}

fn batch() -> Vec<String> {
    draw(Mix::Zipf, 100_000, ENTRIES_MAX, 1).into_iter().map(name).collect()
}

fn payload(frame: &[u8]) -> Result<&[u8]> {
    let range = frame::first(frame)?.ok_or("a frame that is not whole")?;
    Ok(frame.get(range).unwrap_or_default())
}

fn find_frame(times: u64) -> Result<()> {
    let bytes = request(1, &one_name())?;
    for _ in 0..times {
        black_box(frame::first(black_box(&bytes))?);
    }
    Ok(())
}

fn write_one(times: u64) -> Result<()> {
    let name = one_name();
    for seq in 0..times {
        black_box(request(seq, &name)?);
    }
    Ok(())
}

fn read(names: &[String], times: u64) -> Result<()> {
    let bytes = request(1, names)?;
    for _ in 0..times {
        black_box(Request::from_payload(payload(black_box(&bytes))?)?);
    }
    Ok(())
}

fn read_one(times: u64) -> Result<()> {
    read(&one_name(), times)
}

fn read_batch(times: u64) -> Result<()> {
    read(&batch(), times)
}

fn count(times: u64) -> Result<()> {
    const COUNTERS: u32 = 100_000;
    let names: Vec<String> = (0..COUNTERS).map(name).collect();
    let mut table = Table::default();
    for (id, name) in (1..).zip(&names) {
        let definition = Definition { id, name, creator: 0, created_ms: 0 };
        table.insert(definition, Values::default()).ok_or("a name twice")?;
    }
    let wanted = draw(Mix::Uniform, COUNTERS, 1 << 16, 1);
    for (total, &number) in (0..times).zip(wanted.iter().cycle()) {
        let name = names.get(number as usize).ok_or("no such name")?;
        let slot = table.find(black_box(name)).ok_or("no such counter")?;
        table.set(slot, Values { total, ..Values::default() });
    }
    Ok(())
}

const NOW: Moment = Moment { wall_ms: 1_700_000_000_000, boot_ns: 1_000_000_000_000 };

fn turns(names: &[String], times: u64) -> Result<()> {
    let rules = Rules {
        counters_max: 1_000_000,
        counters_per_user_max: 1_000_000,
        owner: 0,
        interval: Duration::from_secs(5),
        aligned: None,
        with_idle: false,
        owed_bytes_max: OWED_BYTES_MAX,
    };
    let (mut core, _, _) = Core::start(State::new(1, 1, NOW), rules, &[], 1, NOW);
    // A stream begins with any number; each request has the next one.
    for seq in 0..times {
        let bytes = request(seq, names)?;
        let peer = Peer { connection: 1, uid: 0 };
        if core.step(NOW, 1, std::iter::once((peer, payload(&bytes)?))).is_empty() {
            return Err("an increment was refused".into());
        }
        black_box(core.committed(Ok(())));
    }
    Ok(())
}

fn turn_one(times: u64) -> Result<()> {
    turns(&one_name(), times)
}

fn turn_batch(times: u64) -> Result<()> {
    turns(&batch(), times)
}

fn append(times: u64) -> Result<()> {
    let (mut payload, mut block) = (Vec::new(), Vec::new());
    for sequence in 0..times {
        payload.clear();
        block.clear();
        // One in sixteen is new, as when a job has begun to count something else.
        for id in (0..BATCH).map(|n| 1_000_000 + n) {
            let name = "http.requests,method=GET";
            let defined = Record::Defined { id, kind: KIND_COUNTER, creator: 0, name };
            if id % 16 == 0 { defined } else { Record::Total { id, total: id } }
                .encode(&mut payload)?;
        }
        write_block(&mut block, sequence, 0, NOW.wall_ms, &payload);
        black_box(&block);
    }
    Ok(())
}

fn print(times: u64) -> Result<()> {
    let mut names = batch();
    names.sort_unstable();
    names.dedup();
    // As many as the piece is told to have: those that are drawn twice are made up for.
    let more = (0..ENTRIES_MAX - names.len()).map(|n| format!("https.requests.{n:04}"));
    names.extend(more);
    let counts = names.iter().map(|name| Count { name, count: 12, total: 123_456 });
    let counts = Counts::of_sorted(counts, 64 * ENTRIES_MAX);
    let end = Moment { wall_ms: NOW.wall_ms + 5_000, boot_ns: NOW.boot_ns + 5_000_000_000 };
    let window = Window { first: 1, number: 1, start: NOW, start_boot: 1, end, end_boot: 1 };
    let reports = [Arc::new(Report::new(window, counts))];
    let layout = Layout::of(ReportFormat::Logfmt);
    let mut out = Vec::new();
    for _ in 0..times {
        out.clear();
        layout.render(black_box(&reports), &mut out);
        black_box(&out);
    }
    Ok(())
}
