//! `eg resource`: manages the security groups that the configuration names.

pub mod add;
pub mod discover;
pub mod groups;
pub mod list;
pub mod remove;
pub mod verify;
