//! The `countd` program.

fn main() {}
