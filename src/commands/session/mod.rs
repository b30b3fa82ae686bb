//! `eg session`, one file per command. The commands that open a session share their steps: [`open`] (options and request),
//! [`preflight`] and [`refusal`], [`build`] (session and record), [`warnings`], [`check`] and [`atomic`]. Stopping is in
//! [`close`]; [`find`] finds a session by its id, and [`outcome`] tells its state after a pass.

pub mod atomic;
pub mod build;
pub mod check;
pub mod close;
pub mod ensure;
pub mod extend;
pub mod find;
pub mod get;
pub mod list;
pub mod open;
pub mod outcome;
pub mod preflight;
pub mod preview;
pub mod refusal;
pub mod run;
pub mod start;
pub mod stop;
pub mod warnings;
