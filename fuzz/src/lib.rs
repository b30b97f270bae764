//! What the fuzz targets check: the same as `tests/corpus`, which runs it over the committed inputs, and whose
//! text this is. Nothing is checked here that is not checked there.

#[path = "../../tests/corpus/checks/mod.rs"]
mod checks;

/// Runs the check of this name.
///
/// # Panics
/// When the check fails, or there is none of this name.
pub fn check(name: &str, bytes: &[u8]) {
    match checks::CHECKS.iter().find(|(known, _)| *known == name) {
        Some((_, check)) => check(bytes),
        None => panic!("no check is called {name}"),
    }
}
