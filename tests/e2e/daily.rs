//! The commands of every day beside the five of a session: what is going on, who holds what, what is wrong.

mod cloud_expiry;
mod completions;
mod doctor;
mod follow;
mod iam_policy;
mod ip;
mod log;
mod logins;
mod man;
mod marks;
mod notify;
mod policy;
mod ports;
mod prefixes;
mod progress;
mod reasons;
mod retries;
pub(crate) mod schedule;
mod status;
mod watch;
mod who;
mod words;
