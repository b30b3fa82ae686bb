//! The job that runs `eg reconcile` every minute. [`job`] is the job as data; [`crontab`], [`systemd`] and [`launchd`] make
//! the text for one scheduler each, and [`variables`] the file with the job's passwords. [`install`] asks and changes the
//! schedulers of this machine. [`scheduled`] answers whether something closes sessions on time.

pub mod crontab;
pub mod install;
pub mod job;
pub mod launchd;
pub mod scheduled;
pub mod systemd;
pub mod variables;
