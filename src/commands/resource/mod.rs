//! `eg resource`: manages the security groups that the configuration names. `add` and `remove` edit the configuration, `list`
//! shows it, `verify` and `discover` ask the provider.

pub mod add;
pub mod change_json;
pub mod discover;
pub mod list;
pub mod openings;
pub mod remove;
pub mod verify;
