//! This machine: environment, clock, paths, files, locks, signals, other programs. Tests fix all of it through [`env::Env`].
//! [`clock`] and [`progress`] lie below [`env`], which lies below [`lock`]; nothing here knows the printer.

pub mod child;
pub mod clock;
pub mod env;
pub mod failpoints;
pub mod lock;
pub mod notify_command;
pub mod paths;
pub mod progress;
pub mod reachability;
pub mod signals;
pub mod watch_lock;
