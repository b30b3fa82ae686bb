//! The commands, seen from outside: what they print, how they end, and what they leave behind. One file or folder for each
//! command; the others name what several commands share.

mod cloud_expiry;
mod completions;
mod demo;
mod doctor;
mod files;
mod five_kinds;
mod follow;
mod follow_name;
mod host_recipes;
mod hosts;
mod iam_policy;
mod init;
mod ip;
mod kinds;
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
mod resource;
mod retries;
pub(crate) mod schedule;
mod selections;
pub(crate) mod session;
mod status;
pub(crate) mod sweep;
mod watch;
mod who;
mod words;
pub(crate) mod work;
