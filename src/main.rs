//! The `countd` program. It has the `main` of the C library instead of Rust's, whose preparations take longer
//! than an increment.

#![no_main]

use std::ffi::{OsString, c_char, c_int};

use countd::cli;
use countd::system::{allocator::Allocator, process};

#[global_allocator]
static ALLOCATOR: Allocator = Allocator::new();

/// What the C library calls.
#[expect(unsafe_code, reason = "the C library hands over pointers, and finds this by its name")]
#[unsafe(no_mangle)]
extern "C" fn main(count: c_int, words: *const *const c_char) -> c_int {
    // SAFETY: these are the arguments of `main`.
    let words: Vec<OsString> = unsafe { process::words(count, words) };
    cli::run(words).into()
}
