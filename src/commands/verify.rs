//! `countd verify`: what is in a state folder, and whether a daemon would start from it. It asks no daemon,
//! and changes nothing unless it is told to repair.

use std::ffi::OsString;
use std::path::Path;

use clap::{Args, ValueHint};

use crate::commands::exit::{DONE, Failure, REFUSED};
use crate::commands::settings::Chosen;
use crate::commands::words::Words;
use crate::commands::{Invocation, TableOrJson};
use crate::format::status::{status_json, status_table};
use crate::journal::{FileRead, Loss, OpenError, Repair, Verdict};
use crate::protocol::{StatusReport, Value};
use crate::system::clock;
use crate::system::disk::{StateFolder, StateFolderError};
use crate::system::paths::state_folder;

pub(super) const EXAMPLES: &str = "\
EXAMPLES:
  countd verify                        the folder that `countd serve` would use
  countd verify /backup/countd
  countd verify --repair ./state

EXIT STATUS:
  0 sound; 1 damaged, empty, or it could not be read; 2 wrong use";

/// Reads a state folder without a daemon, and says what is in it and whether it is sound: whether `countd
/// serve` would start from it.
#[derive(Debug, Args)]
pub struct VerifyArgs {
    /// The state folder [default: where countd serve keeps its state]
    #[arg(value_name = "DIR", value_parser = clap::value_parser!(OsString), value_hint = ValueHint::DirPath)]
    dir: Option<OsString>,
    /// Cut a damaged journal at its last good record. The original is kept beside it
    #[arg(long)]
    repair: bool,
    /// table or json (one object)
    #[arg(
        long,
        value_name = "FORMAT",
        default_value = "table",
        value_parser = Words(["table", "json"]),
        hide_possible_values = true
    )]
    format: String,
}

pub(super) fn run(args: &VerifyArgs, invocation: &mut Invocation<'_>) -> Result<u8, Failure> {
    let format: TableOrJson =
        Chosen::on_command_line("--format", &args.format).parse(str::parse)?;
    if args.dir.as_ref().is_some_and(|dir| dir.is_empty()) {
        return Err(Failure::Usage("DIR is empty".into()));
    }
    let path = state_folder(args.dir.as_deref(), invocation.environment)?;
    let failed = |error: OpenError| failed(&path, &error);
    let folder = match args.repair {
        true => StateFolder::open_existing(&path),
        false => StateFolder::look_at(&path),
    };
    let folder = folder.map_err(refused)?;
    let disk = folder.disk();
    let mut repaired = None;
    if args.repair
        && let Some(plan) = Repair::of(&*disk).map_err(failed)?
    {
        let kept = plan.carry_out(&*disk).map_err(failed)?;
        repaired = Some((plan.loss().clone(), kept));
    }
    let verdict = Verdict::of(&*disk).map_err(failed)?;
    let mut report = StatusReport { problems: problems(&verdict, &path), facts: Vec::new() };
    let mut facts = Facts(&mut report.facts);
    facts.text(
        "sound",
        match (verdict.is_sound(), verdict.is_empty) {
            (true, false) => "yes",
            (true, true) => "empty",
            (false, _) => "no",
        },
    );
    facts.text("state_dir", &path.display().to_string());
    match (&repaired, &verdict.loss) {
        (Some((loss, kept)), _) => facts.repaired(loss, kept),
        (None, Some(loss)) => facts.repair("possible", loss),
        (None, None) if !verdict.is_sound() => facts.text("repair", "impossible"),
        (None, None) => {}
    }
    if !verdict.is_empty {
        facts.state(&verdict);
    }
    facts.files(&verdict);
    let mut text = Vec::new();
    match format {
        TableOrJson::Table => status_table(&report, clock::now().wall_ms, &mut text),
        TableOrJson::Json => status_json(&report, &mut text),
    }
    invocation.put(&text)?;
    Ok(if verdict.is_sound() && !verdict.is_empty { DONE } else { REFUSED })
}

/// What is wrong, each with what to do.
fn problems(verdict: &Verdict, path: &Path) -> Vec<String> {
    let mut problems = Vec::new();
    for problem in &verdict.problems {
        let (what, remedy) = (problem.what(), problem.remedy());
        problems.push(match &verdict.loss {
            None => format!("{what}: {remedy}"),
            Some(Loss { cut: Some((file, offset)), .. }) => format!(
                "{what}: {remedy}; or have the journal cut after offset {offset} of {file}, and what follows \
                 set aside, with countd verify --repair {}",
                path.display()
            ),
            Some(Loss { cut: None, .. }) => format!(
                "{what}: {remedy}; or have it mended, for nothing is lost, with countd verify --repair {}",
                path.display()
            ),
        });
    }
    problems
}

fn refused(error: StateFolderError) -> Failure {
    Failure::Refused(match error {
        StateFolderError::Owned { path } => format!(
            "a countd is at work in the state folder {}: stop it first, or copy the folder and verify the copy",
            path.display()
        ),
        error @ StateFolderError::Io { .. } => error.to_string(),
    })
}

fn failed(path: &Path, error: &OpenError) -> Failure {
    let (path, what, remedy) = (path.display(), error.what(), error.remedy());
    Failure::Refused(match error.is_damage() {
        true => format!("state folder {path} cannot be repaired: {what}: {remedy}"),
        false => format!("state folder {path}: {what}: {remedy}"),
    })
}

/// Collects what there is to say.
struct Facts<'a>(&'a mut Vec<(String, Value)>);

impl Facts<'_> {
    fn put(&mut self, key: &str, value: Value) {
        self.0.push((key.to_owned(), value));
    }

    fn text(&mut self, key: &str, text: &str) {
        self.put(key, Value::Text(text.to_owned()));
    }

    fn number(&mut self, key: &str, number: usize) {
        self.put(key, Value::Number(u64::try_from(number).unwrap_or(u64::MAX)));
    }

    fn repaired(&mut self, loss: &Loss, kept: &[(String, String)]) {
        self.repair("done", loss);
        for (at, (name, under)) in kept.iter().enumerate() {
            self.text(&format!("kept_{at}"), &format!("{name} as {under}"));
        }
    }

    /// What a repair gives up or gave up.
    fn repair(&mut self, how: &str, loss: &Loss) {
        self.text("repair", how);
        if let Some((file, offset)) = &loss.cut {
            self.text("cut_in", file);
            self.put("cut_at", Value::Number(*offset));
        }
        self.put("given_up", Value::Bytes(loss.bytes));
        self.put("given_up_blocks", Value::Number(loss.blocks));
        if loss.cut.is_some() {
            self.put("given_up_from", Value::TimeMs(loss.kept_until_ms));
            self.put("given_up_to", Value::TimeMs(loss.lost_until_ms));
        }
    }

    fn state(&mut self, verdict: &Verdict) {
        let state = &verdict.state;
        self.text("state", &format!("{:032x}", state.id));
        let last = verdict.read.iter().map(|file| file.last_ms).max();
        self.put("last_written", Value::TimeMs(last.unwrap_or(0)));
        self.number("counters", state.table.len());
        let mut sum = (0_u128, 0_u128);
        for (_, _, values) in state.table.columns().iter() {
            let count = values.count(state.open.number);
            sum.0 = sum.0.saturating_add(values.total.into());
            sum.1 = sum.1.saturating_add(count.into());
        }
        self.sum("sum_of_totals", sum.0);
        self.sum("sum_of_counts", sum.1);
        self.put("window", Value::Number(state.open.number));
        self.put("window_opened", Value::TimeMs(state.open.start.wall_ms));
        self.number("ids_remembered", state.ids.len());
        for (at, sink) in state.sinks.iter().enumerate() {
            self.text(&format!("sink_{at}_place"), &sink.place);
            let owed = state.closed_after(sink.acknowledged).count();
            self.number(&format!("sink_{at}_windows_owed"), owed);
            let kept = sink.kept.iter().map(|kept| kept.reports.len()).sum();
            self.number(&format!("sink_{at}_windows_kept"), kept);
        }
        self.put("cut_off", Value::Bytes(verdict.cut_off_bytes));
    }

    /// A sum of `u64` may be no `u64`.
    fn sum(&mut self, key: &str, sum: u128) {
        let number = u64::try_from(sum).map(Value::Number);
        self.put(key, number.unwrap_or_else(|_| Value::Text(sum.to_string())));
    }

    fn files(&mut self, verdict: &Verdict) {
        for (at, file) in verdict.read.iter().enumerate() {
            let FileRead { name, bytes, blocks, records, last_ms, .. } = file;
            self.text(&format!("file_{at}_name"), name);
            self.text(&format!("file_{at}_is"), file.what());
            self.put(&format!("file_{at}_size"), Value::Bytes(*bytes));
            self.put(&format!("file_{at}_blocks"), Value::Number(*blocks));
            self.put(&format!("file_{at}_records"), Value::Number(*records));
            self.put(&format!("file_{at}_last_written"), Value::TimeMs(*last_ms));
        }
        for (at, (name, what)) in verdict.others.iter().enumerate() {
            let at = at.saturating_add(verdict.read.len());
            self.text(&format!("file_{at}_name"), name);
            self.text(&format!("file_{at}_is"), what);
        }
    }
}
