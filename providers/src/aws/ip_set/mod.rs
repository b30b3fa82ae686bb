//! AWS WAF IP sets.

mod kind;

pub use kind::WAF_IP_SET;
