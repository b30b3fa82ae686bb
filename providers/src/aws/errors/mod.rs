//! AWS errors: one table from error codes to failure classes, and failures in words for users.

pub mod classify;
pub mod failure;
pub mod whole;
