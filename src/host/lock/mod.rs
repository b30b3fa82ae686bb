//! One pass at a time for each state file: [`acquire`] takes the lock, [`holder`] describes the process that has it, and
//! [`watchdog`] ends this process if it holds the lock and makes no progress. [`file`] knows the lock's file.

mod acquire;
mod file;
mod holder;
mod watchdog;

pub(crate) use acquire::{LockError, LockRequest, LockWarning, PassLock, acquire};
pub(crate) use holder::{LockHolder, stalled_holder};
