//! The settings: `root` holds all of them, and each other file one table of `config.toml`, with the type that it is read
//! into and its reader. `kind` reads the keys that depend on the kind of firewall, and `only` selects resources by `--only`
//! values.
//!
//! Nothing here reads a file or the environment.

mod aws;
mod detect;
mod host;
mod kind;
mod only;
mod reconcile;
mod resource;
mod root;
mod session;
#[cfg(test)]
mod tests;

pub use aws::{AwsSettings, Description};
pub use detect::Detect;
pub use eg_providers::aws::CloudExpiry;
pub use host::{HostMeant, Meant};
pub use only::Chosen;
pub use reconcile::{Notify, Reconcile};
pub use resource::{Defaults, Resource, ResourceEntry, Selection, SourceLine};
pub use root::{INCLUDED_KEYS, ROOT_KEYS, Settings, tables};
pub use session::{SessionSettings, User};
