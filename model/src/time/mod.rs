//! Durations and times as users type them.

pub mod duration;
pub mod until;
