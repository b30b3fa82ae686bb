//! Everything that a configuration says.

use crate::settings::{
    aws::{self, AwsSettings},
    detect::{self, Detect},
    kind,
    reconcile::{self, Notify, Reconcile},
    resource::{self, Defaults, Resource, Selection},
    session::{self, SessionSettings, User},
};
use eg_model::net::address::IpVersion;
use std::{collections::BTreeMap, path::PathBuf};

pub const ROOT_KEYS: &[&str] =
    &["include", "defaults", "user", "session", "detect", "reconcile", "notify", "aws", "resource"];
/// The keys of an included file. The file that includes others says the rest, once.
pub const INCLUDED_KEYS: &[&str] = &["include", "defaults", "resource"];

/// Every table, as it is written, and its keys: the documentation names each.
pub fn tables() -> Vec<(&'static str, Vec<&'static str>)> {
    vec![
        ("", ROOT_KEYS.to_vec()),
        ("[defaults]", resource::DEFAULTS_KEYS.to_vec()),
        ("[user]", session::USER_KEYS.to_vec()),
        ("[session]", session::KEYS.to_vec()),
        ("[detect]", detect::KEYS.to_vec()),
        ("[reconcile]", reconcile::KEYS.to_vec()),
        ("[notify]", reconcile::NOTIFY_KEYS.to_vec()),
        ("[aws]", aws::KEYS.to_vec()),
        ("[aws.cloud_expiry]", aws::CLOUD_EXPIRY_KEYS.to_vec()),
        ("[[resource]]", kind::keys()),
    ]
}

/// The whole configuration. The default is that of an empty file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    pub user: User,
    pub session: SessionSettings,
    pub detect: Detect,
    pub reconcile: Reconcile,
    pub notify: Option<Notify>,
    pub aws: AwsSettings,
    /// `[defaults]` of the file itself, for hosts that a command names.
    pub defaults: Defaults,
    /// Every `[[resource]]` with an id, in the file's order; those of included files follow.
    pub resources: Vec<Resource>,
    /// Every `[[resource]]` that names groups by name or tags, in the same order.
    pub selections: Vec<Selection>,
    /// The file of each `[[resource]]`, by its name.
    pub files: BTreeMap<String, PathBuf>,
}

impl Settings {
    /// True if there is nothing to open.
    pub fn names_no_target(&self) -> bool {
        self.resources.is_empty() && self.selections.is_empty()
    }

    /// True if some resource takes addresses of this family.
    pub fn takes(&self, version: IpVersion) -> bool {
        let selections = self.selections.iter().map(|one| &one.like);
        self.resources.iter().chain(selections).any(|resource| resource.families.contains(&version))
    }
}
