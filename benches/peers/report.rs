//! What was measured, as the text of `docs/BENCHMARKS.md`, and the lines of it that the README quotes.

use std::fmt::Write as _;
use std::path::Path;

use crate::Result;

/// The lines in README.md between which the figures are.
const QUOTED: [&str; 2] = ["<!-- from docs/BENCHMARKS.md -->\n", "<!-- until here -->\n"];

/// A table with what its rows mean.
#[derive(Debug, Clone)]
pub(crate) struct Table {
    title: &'static str,
    how: String,
    head: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(crate) fn new(title: &'static str, how: impl Into<String>, head: &[&str]) -> Table {
        let head = head.iter().map(|&cell| cell.to_owned()).collect();
        Table { title, how: how.into(), head, rows: Vec::new() }
    }

    /// Says how it was measured, when that is known only at the end.
    pub(crate) fn explain(&mut self, how: String) {
        self.how = how;
    }

    pub(crate) fn row<const N: usize>(&mut self, cells: [String; N]) {
        self.rows.push(cells.into());
    }

    fn write(&self, out: &mut String) -> Result<()> {
        writeln!(out, "\n## {}\n\n{}\n", self.title, wrapped(&self.how))?;
        // A bar in a cell would begin another.
        let cell = |text: &String| text.replace('|', "\\|");
        let line = |cells: &[String]| {
            format!("| {} |\n", cells.iter().map(cell).collect::<Vec<_>>().join(" | "))
        };
        out.push_str(&line(&self.head));
        out.push_str(&format!("|{}\n", "---|".repeat(self.head.len())));
        self.rows.iter().for_each(|row| out.push_str(&line(row)));
        Ok(())
    }
}

/// What a ratio should be.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Goal {
    AtMost(f64),
    AtLeast(f64),
}

/// All that was measured.
#[derive(Debug, Default)]
pub(crate) struct Book {
    /// What all of it was measured on, one fact a line.
    machine: Vec<String>,
    pub(crate) tables: Vec<Table>,
    /// What, its goal, what it is, and what the floor would be in countd's place, if that can be said.
    goals: Vec<(String, Goal, f64, Option<f64>, &'static str)>,
    /// What the README says.
    headlines: Vec<String>,
    /// What the benchmark of answers prints.
    pub(crate) answers: String,
}

impl Book {
    pub(crate) fn new(machine: Vec<String>) -> Book {
        Book { machine, ..Book::default() }
    }

    /// Holds a figure against its goal.
    pub(crate) fn goal(
        &mut self,
        what: impl Into<String>,
        goal: Goal,
        is: f64,
        unit: &'static str,
    ) {
        self.goals.push((what.into(), goal, is, None, unit));
    }

    /// What the floor would be in countd's place: of the goal that was noted last.
    pub(crate) fn floor(&mut self, floor: f64) {
        if let Some((.., of_floor, _)) = self.goals.last_mut() {
            *of_floor = Some(floor).filter(|floor| !floor.is_nan());
        }
    }

    /// Says something in the README too.
    pub(crate) fn headline(&mut self, line: String) {
        self.headlines.push(line);
    }

    fn quoted(&self) -> String {
        let lines = self.headlines.iter().map(|line| format!("{}\n", wrapped_item(line)));
        lines.collect()
    }

    /// The document.
    pub(crate) fn text(&self) -> Result<String> {
        let mut out = String::from("# How fast countd is\n\n");
        let about = "Written by `cargo bench --bench peers -- --write`: no figure here is from anywhere else. All that \
            is in one table was measured in one run, in turns, each program once a round, so that what else \
            the machine did meanwhile met all of them; the figures are medians over the rounds. Compare ratios: times \
            depend on the machine. *Floor* means the barest program that does only this part of the work, and \
            none of what makes it safe: what the machine allows.";
        writeln!(out, "{}\n", wrapped(about))?;
        if !self.headlines.is_empty() {
            writeln!(out, "In short:\n\n{}", self.quoted())?;
        }
        writeln!(out, "Measured on:\n")?;
        for line in &self.machine {
            writeln!(out, "{}", wrapped_item(line))?;
        }
        for table in &self.tables {
            table.write(&mut out)?;
        }
        if !self.answers.is_empty() {
            let how = "While the daemon does something large with a million counters, as `cargo bench --bench answers` prints it:";
            writeln!(
                out,
                "\n## How long an increment waits\n\n{how}\n\n```text\n{}```",
                self.answers
            )?;
        }
        self.goals_table().write(&mut out)?;
        Ok(out)
    }

    fn goals_table(&self) -> Table {
        let how = "What countd is meant to reach, each against what was measured in the same run; beside it what the floor, \
            the barest program that does this and keeps nothing safe, would be in countd's place: what no program \
            gets past on this machine.";
        let mut table = Table::new("Goals", how, &["what", "goal", "is", "", "floor"]);
        for (what, goal, is, floor, unit) in &self.goals {
            let (wanted, holds) = match goal {
                Goal::AtMost(most) => (format!("at most {}{unit}", short(*most)), is <= most),
                Goal::AtLeast(least) => (format!("at least {}{unit}", short(*least)), is >= least),
            };
            let holds = if holds { "reached" } else { "not reached" };
            let number = |number: f64| format!("{}{unit}", short(number));
            let floor = floor.map(number).unwrap_or_default();
            table.row([what.clone(), wanted, number(*is), holds.to_owned(), floor]);
        }
        table
    }

    /// Writes the document, and the README's lines, under this folder.
    pub(crate) fn write(&self, package: &Path) -> Result<()> {
        std::fs::create_dir_all(package.join("docs"))?;
        std::fs::write(package.join("docs/BENCHMARKS.md"), self.text()?)?;
        let path = package.join("README.md");
        let readme = std::fs::read_to_string(&path)?;
        let [begin, end] = QUOTED;
        let parts = readme.split_once(begin);
        let parts = parts.and_then(|(before, rest)| Some((before, rest.split_once(end)?.1)));
        let (before, after) = parts.ok_or("README.md has no place for the figures")?;
        std::fs::write(&path, format!("{before}{begin}{}{end}{after}", self.quoted()))?;
        Ok(())
    }
}

/// Text in lines of at most 120 characters.
fn wrapped(text: &str) -> String {
    let mut out = String::new();
    let mut width = 0;
    for word in text.split_whitespace() {
        let length = word.chars().count();
        if width > 0 && width + 1 + length > 120 {
            out.push('\n');
            width = 0;
        } else if width > 0 {
            out.push(' ');
            width += 1;
        }
        out.push_str(word);
        width += length;
    }
    out
}

fn wrapped_item(text: &str) -> String {
    wrapped(&format!("- {text}")).replace('\n', "\n  ")
}

/// A number with three digits that say something, thousands apart.
pub(crate) fn short(number: f64) -> String {
    let digits = match number.abs() {
        large if large >= 100.0 => 0,
        medium if medium >= 10.0 => 1,
        small if small >= 0.1 || small == 0.0 => 2,
        _ => 4,
    };
    let text = format!("{number:.digits$}");
    let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
    let mut out = String::new();
    for (at, digit) in whole.chars().enumerate() {
        if at > 0 && (whole.len() - at) % 3 == 0 && out != "-" {
            out.push(',');
        }
        out.push(digit);
    }
    let fraction = fraction.trim_end_matches('0');
    if fraction.is_empty() { out } else { format!("{out}.{fraction}") }
}

/// How many times as large, for a table.
pub(crate) fn times(ratio: f64) -> String {
    if ratio.is_nan() { "-".to_owned() } else { format!("{ratio:.2}") }
}
