//! nftables on this host.

mod kind;

pub use kind::TABLE;
