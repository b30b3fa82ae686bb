//! Managed prefix lists (VPC User Guide, "Group CIDR blocks using managed prefix lists"). One entry opens every security
//! group, route and firewall rule that references the list.
//!
//! | file | holds |
//! |---|---|
//! | `firewall` | the trait's core |
//! | `entry` | an entry, its text and its id (pure) |
//! | `observe` | readings: a list's version and tags, and the entries of that very version |
//! | `change` | changes under a version, repeated on a conflict, and followed until they are done |
//! | `access` | marks, the caller's rights, and the lists of a region |

mod access;
mod change;
mod entry;
mod firewall;
mod observe;

#[cfg(test)]
mod tests;

pub use firewall::PrefixLists;
