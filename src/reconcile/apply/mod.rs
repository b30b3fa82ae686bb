//! One target, from its first reading to rest: plan, write the intent, call the provider, record the outcome, read again
//! where an outcome is not known.

pub mod authorize;
pub mod by_id;
pub mod expiry;
pub mod ledger;
pub mod release;
pub mod reobserve;
pub mod round;
pub mod settled;
