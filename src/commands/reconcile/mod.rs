//! `eg reconcile`: one pass, or passes for as long as `--watch` runs. Following addresses and notifying users belong to it.

pub mod follow;
pub mod notify;
pub mod once;
pub mod watch;
