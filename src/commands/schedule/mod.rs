//! `eg schedule`: the job that closes sessions on time while no `eg` runs. [`place`] is the job with its scheduler, which the
//! three commands share.

pub mod install;
pub mod place;
pub mod remove;
pub mod show;
