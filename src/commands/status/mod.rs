//! `eg status`: everything at a glance, once or as a dashboard.

pub mod once;
pub mod watch;
