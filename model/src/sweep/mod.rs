//! Decisions that need no record: which installations hold a rule, and which rules `eg sweep` closes.

pub mod holders;
pub mod judge;
