//! Figures of speed are written by the benchmark, and by nobody else.

/// The command that writes them.
const WRITTEN_BY: &str = "`cargo bench --bench peers -- --write`";

#[test]
fn the_figures_in_the_readme_are_those_of_the_benchmark() {
    let measured = include_str!("../../docs/BENCHMARKS.md");
    let readme = include_str!("../../README.md");
    let section = readme.split_once("\n## How fast\n").unwrap().1;
    let section = section.split_once("\n## ").unwrap().0;
    let (before, rest) = section.split_once("<!-- from docs/BENCHMARKS.md -->\n").unwrap();
    let (quoted, after) = rest.split_once("<!-- until here -->\n").unwrap();
    assert!(measured.contains(WRITTEN_BY));
    assert!(measured.contains(&format!("In short:\n\n{quoted}\n")), "{WRITTEN_BY} writes both");
    assert!(quoted.lines().count() > 2, "what it quotes is there");
    let by_hand = format!("{before}{after}").replace("sqlite3", "");
    assert!(!by_hand.contains(|c: char| c.is_ascii_digit()), "figures by hand: {by_hand}");
}
