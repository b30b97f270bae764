//! Fuzzes the check `journal`: what it takes and what must hold is said in `tests/corpus/checks/journal.rs`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| countd_fuzz::check("journal", bytes));
