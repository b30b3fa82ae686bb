//! nftables on this host: a table of its own, whose sets hold the openings and whose chain marks the packets that they
//! let in. The user's ruleset accepts marked packets, with one line.
//!
//! | file | holds |
//! |---|---|
//! | `kind` | the kind, as the configuration and the messages know it |
//! | `connect` | the connector |
//! | `table_firewall` | the trait's parts: read, decide, write if nothing of `eg` has written meanwhile |
//! | `nft` | the program `nft`, and its complaints as failures |
//! | `listing` | the JSON of `nft` as what the table holds |
//! | `ruleset` | the user's ruleset beside the table: does it accept what is marked? |
//! | `place` | the set and the element of a permission |
//! | `entry` | the comment of an element: session, nonce and leases |
//! | `change` | the text of a transaction |

mod change;
mod connect;
mod entry;
mod kind;
mod listing;
mod nft;
mod place;
mod ruleset;
mod table_firewall;

#[cfg(test)]
mod tests;

pub use connect::Nftables;
pub use entry::ElementText;
pub use kind::TABLE;
pub use listing::TableListing;
pub use ruleset::hindrance;
