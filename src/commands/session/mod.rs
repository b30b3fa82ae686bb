//! `eg session`: starts, shows, extends and stops sessions. [`open`] holds what `start`, `ensure` and `run` share.

pub mod ensure;
pub mod extend;
pub mod get;
pub mod list;
pub mod open;
pub mod preflight;
pub mod preview;
pub mod run;
pub mod start;
pub mod stop;
