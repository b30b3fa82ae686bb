//! Readings: security groups, their rules, whole accounts.

pub mod account;
pub mod groups;
pub mod observe;
pub mod rule;
