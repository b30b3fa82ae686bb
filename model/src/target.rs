//! Firewall targets: which one, and how to reach it again.

use serde::{Deserialize, Serialize};
use std::fmt;

/// Which firewall. Two resources that name the same group through different credentials are one target.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TargetKey {
    /// The provider (`aws`).
    pub provider: String,
    /// The kind of firewall (`security-group`).
    pub kind: String,
    /// A non-default endpoint, when one was set; another endpoint is another cloud.
    pub endpoint: Option<String>,
    /// The region.
    pub region: String,
    /// The provider's id (`sg-…`).
    pub id: String,
}

impl TargetKey {
    /// A target at the provider's own endpoint.
    #[must_use]
    pub fn new(provider: &str, kind: &str, region: &str, id: &str) -> Self {
        let [provider, kind, region, id] = [provider, kind, region, id].map(str::to_owned);
        Self { provider, kind, endpoint: None, region, id }
    }
}

impl fmt::Display for TargetKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} in {}", self.id, self.region)
    }
}

/// Where the provider's other services are asked, beside the one that holds the firewall (in AWS: STS, IAM, the
/// scheduler).
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum OtherServices {
    /// Where the target is: at its endpoint, or at the provider's own.
    #[default]
    WithTarget,
    /// At the provider's own endpoints, although the target has another.
    ByThemselves,
    /// At an endpoint of theirs.
    At(String),
}

/// A grant's snapshot of its target: everything needed to reach it again, except secrets. Taken at start, so that
/// editing or deleting a resource, or running from cron without the shell's environment, never strands a rule.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Reach {
    /// Which target.
    pub target: TargetKey,
    /// The account that the credentials belonged to, once a call has told.
    pub account: Option<String>,
    /// The partition (`aws`, `aws-cn`, …), from the caller's ARN.
    pub partition: Option<String>,
    /// The profile whose credentials alone are used; absent: the standard chain.
    pub profile: Option<String>,
    /// A role to assume on top.
    pub role_arn: Option<String>,
    /// The external id that the role asks for.
    pub external_id: Option<String>,
    /// `AWS_CONFIG_FILE` at start.
    pub config_file: Option<String>,
    /// `AWS_SHARED_CREDENTIALS_FILE` at start.
    pub credentials_file: Option<String>,
    /// Where the provider's other services are.
    pub other_services: OtherServices,
}

impl Reach {
    /// By the standard chain of credentials, with nothing learnt on the way yet.
    #[must_use]
    pub fn plain(target: TargetKey) -> Self {
        Self {
            target,
            account: None,
            partition: None,
            profile: None,
            role_arn: None,
            external_id: None,
            config_file: None,
            credentials_file: None,
            other_services: OtherServices::WithTarget,
        }
    }

    /// The same way to the same place, leaving out what is only learnt on the way: one client serves both.
    #[must_use]
    pub fn same_way(&self, other: &Self) -> bool {
        let way = |reach: &Self| Self { account: None, partition: None, ..reach.clone() };
        way(self) == way(other)
    }
}

/// What a kind of firewall can do, as data that [`crate::plan::plan_target`] reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capabilities {
    /// Whether a rule can carry marks (tags). Without them, ownership rests on the ledger alone, and nothing is
    /// joined, left or collected.
    pub marks: bool,
    /// The most permissions that one authorize call may carry.
    pub batch: usize,
    /// The most tags on one rule.
    pub tags_per_rule: usize,
    /// Whether the provider can close a rule by itself at a given time.
    pub auto_closes: bool,
}
