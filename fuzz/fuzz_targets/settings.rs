//! Fuzzes the check `settings`: what it takes and what must hold is said in `tests/corpus/checks/settings.rs`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| countd_fuzz::check("settings", bytes));
