//! AWS: security groups, managed prefix lists and WAF IP sets. Everything that AWS alone knows is in this
//! folder: regions, partitions, ARNs, IAM documents, profiles, EventBridge schedules.
//!
//! | file or folder | holds |
//! |---|---|
//! | `connect` | the connector: one client for each route |
//! | `client` | the client that all kinds share, and the one way by which it sends a request |
//! | `security_group` | security groups: the trait's parts, each by the module that knows its calls |
//! | `address_list` | the parts of the trait that lists of addresses have in common |
//! | `prefix_list/`, `ip_set/` | managed prefix lists; WAF IP sets |
//! | `kind` | security groups, as the configuration knows them |
//! | `read/` | readings: rules, groups, whole accounts; every page, or none |
//! | `write` | authorize, revoke, tag, untag, and dry runs of them |
//! | `expiry/` | expiry schedules, and the role and schedule group that they need |
//! | `policy/` | IAM documents |
//! | `credentials/` | profiles, `credential_process`, when credentials end, and the region that they are used in |
//! | `errors/` | error codes to classes, and failures in words |
//! | `wire/` | HTTP, and the clock that requests are signed by |
//! | `action` | every call that this module makes, and the permission for it |
//! | `arn`, `endpoint`, `text` | names, endpoints, and texts that AWS accepts |

mod action;
mod address_list;
mod arn;
mod client;
mod connect;
mod credentials;
mod endpoint;
mod errors;
mod expiry;
mod ip_set;
mod kind;
mod policy;
mod prefix_list;
mod read;
mod security_group;
mod text;
mod wire;
mod write;

#[cfg(test)]
mod tests;

pub use action::Action;
pub use arn::{Scope, partition_of};
pub use connect::{Aws, Options};
pub use credentials::{
    files::ProfileFilePaths,
    profiles::{Profile, profiles},
    region,
};
pub use endpoint::check_endpoints;
pub use expiry::preparation::Prepared;
pub use ip_set::{IpSets, WAF_IP_SET};
pub use kind::{PROVIDER, SECURITY_GROUP};
pub use policy::{
    cloud_expiry::{ConfiguredAccount, ROLE_NAME},
    roles::{CloudExpiry, DEFAULT_SCHEDULE_GROUP},
    user::{PolicyTargets, Retag, policy, sweep_policy},
};
pub use prefix_list::{ListEntry, PREFIX_LIST, PrefixLists, describe};
pub use security_group::SecurityGroups;
pub use text::{description, session_name};
pub use wire::{
    clock::Clock,
    http::{NoCertificates, trusted_certificates},
};
