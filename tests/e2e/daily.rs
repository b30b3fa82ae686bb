//! The commands of every day beside the five of a session: what is going on, who holds what, what is wrong.

mod cloud_expiry;
mod doctor;
mod follow;
mod iam_policy;
mod ip;
mod log;
mod notify;
mod policy;
mod ports;
mod prefixes;
mod reasons;
mod retries;
mod schedule;
mod status;
mod who;
