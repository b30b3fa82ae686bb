//! The commands. Each file has the documented arguments of one command and the function that runs it. [`context`] holds what
//! every command gets, [`global`] the options of every command, [`targets`] the configured targets, and [`pass`] the only
//! way to make a pass.

pub mod adopt;
pub mod completions;
pub mod context;
pub mod demo;
pub mod doctor;
pub mod global;
pub mod help;
pub mod iam_policy;
pub mod init;
pub mod ip;
pub mod log;
pub mod man;
pub mod pass;
pub mod reconcile;
pub mod resource;
pub mod sandbox;
pub mod schedule;
pub mod schema;
pub mod session;
pub mod setup;
pub mod status;
pub mod sweep;
pub mod targets;
pub mod who;
