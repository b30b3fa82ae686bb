//! WAF IP sets (WAFV2 API reference, `IPSet`). Web ACLs that use a set decide what an address of it may reach.
//!
//! | file | holds |
//! |---|---|
//! | `kind` | IP sets, as the configuration and the messages know them |
//! | `place` | scope, name and id of a set (pure) |
//! | `firewall` | the trait's core |
//! | `observe` | readings: the addresses of a set, then its tags |
//! | `change` | changes of the whole set under its lock token, one a second |
//! | `access` | marks, the caller, and the sets of a region |

mod access;
mod change;
mod firewall;
mod kind;
mod observe;
mod place;

#[cfg(test)]
mod tests;

pub use firewall::IpSets;
pub use kind::WAF_IP_SET;
