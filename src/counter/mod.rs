//! Counters: their names, the patterns that select them, and the table that holds them.

#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::as_conversions)]

pub mod amount;
pub mod column;
pub mod definitions;
mod excerpt;
pub mod name;
pub mod pattern;
pub mod table;
pub mod text;
