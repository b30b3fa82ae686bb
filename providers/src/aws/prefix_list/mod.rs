//! Managed prefix lists (VPC User Guide, "Group CIDR blocks using managed prefix lists"). One entry opens every security
//! group, route and firewall rule that references the list.
//!
//! | file | holds |
//! |---|---|
//! | `kind` | prefix lists, as the configuration and the messages know them |
//! | `firewall` | the trait's core |
//! | `entry` | an entry, its text and its id (pure) |
//! | `observe` | readings: a list's version and tags, and the entries of that very version |
//! | `change` | changes under a version, repeated on a conflict, and followed until they are done |
//! | `access` | marks, the caller's rights, and the lists of a region |

mod access;
mod change;
mod entry;
mod firewall;
mod kind;
mod observe;

#[cfg(test)]
mod tests;

pub use entry::{ListEntry, describe};
pub use firewall::PrefixLists;
pub use kind::PREFIX_LIST;
