//! Readings: the rules of groups (`observe`, `rule`), the list of groups (`groups`), whole accounts (`account`), all of
//! them page by page (`pages`).

pub mod account;
pub mod groups;
mod interfaces;
pub mod observe;
pub mod pages;
pub mod rule;
