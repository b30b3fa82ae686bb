//! The job that runs `eg reconcile` every minute: what it is, and how each scheduler installs it.

pub mod crontab;
pub mod install;
pub mod job;
pub mod launchd;
pub mod scheduled;
pub mod systemd;
pub mod variables;
