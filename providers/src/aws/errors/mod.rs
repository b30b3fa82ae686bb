//! Errors of AWS: one table from error codes to classes (`classify`), failed calls as failures with words for users
//! (`failure`, `error_chain`), answers of dry runs (`dry_run`), and answers that are cut off (`whole`).

pub mod classify;
pub mod dry_run;
pub mod error_chain;
pub mod failure;
pub mod whole;
