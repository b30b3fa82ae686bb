//! The commands of every day beside the five of a session: what is going on, who holds what, what is wrong.

mod cloud_expiry;
mod doctor;
mod iam_policy;
mod ip;
mod log;
mod retries;
mod schedule;
mod status;
mod who;
