//! One target, from its first reading to rest. [`round`] is the loop: plan, write the intent, call the provider, record the
//! outcome, read again if an outcome is not known. [`target`] is its state. A step goes to [`authorize`], to [`by_id`]
//! (tags, untags, revokes; [`rule_call`] is the call itself), to [`by_permission`] (where no rule can be named) or to
//! [`expiry`]; [`container`] adds the tag of a container; [`ledger`] writes intents and outcomes.

mod authorize;
mod by_id;
mod by_permission;
mod container;
mod expiry;
mod ledger;
pub mod release;
mod reobserve;
mod round;
mod rule_call;
mod settled;
pub mod target;
