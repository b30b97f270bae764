//! Reports into the real collectors, on the loopback, which are stopped, killed, stalled and started again while countd
//! counts and is killed itself. What a collector has in the end is compared with the totals, to the last count. A
//! collector that is not installed is skipped with a word; where `CI` is set, that is a failure.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panics")]
#![expect(clippy::print_stderr, reason = "a skipped test says so")]

mod carbon;
mod exec;
#[path = "../cli/harness.rs"]
#[expect(dead_code, reason = "the tests of the command line use the rest")]
mod harness;
mod load;
mod programs;
mod statsd;
