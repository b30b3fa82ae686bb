//! `eg status`: everything at a glance, [`once`] or as a dashboard that [`watch`]es the record.

pub mod once;
pub mod watch;
