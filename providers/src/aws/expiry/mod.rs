//! Cloud expiry: one EventBridge schedule per rule, which revokes the rule even if `eg` never runs again.

pub mod preparation;
pub mod schedule;
