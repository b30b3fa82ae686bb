//! Firewall targets: which firewall, and the route to it.

use crate::SETTLE_WINDOW;
use chrono::TimeDelta;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Identifies a firewall. Two resources that name the same group through different credentials have one key.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TargetKey {
    /// The provider (`aws`).
    pub provider: String,
    /// The kind of firewall (`security-group`).
    pub kind: String,
    /// A non-default endpoint, when one was set; another endpoint is another cloud.
    pub endpoint: Option<String>,
    /// Empty for a kind without regions.
    pub region: String,
    /// The provider's id (`sg-…`), or the values that tell the firewall from others of its kind.
    pub id: String,
}

impl TargetKey {
    /// A firewall at the provider's own endpoint.
    pub fn new(provider: &str, kind: &str, region: &str, id: &str) -> Self {
        let [provider, kind, region, id] = [provider, kind, region, id].map(str::to_owned);
        Self { provider, kind, endpoint: None, region, id }
    }
}

/// `sg-0abc123def4567890 in eu-west-1`. An id without a region says little (`eg`), so provider and kind stand before it:
/// `nftables table eg`.
impl fmt::Display for TargetKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.region.as_str() {
            "" => write!(f, "{} {} {}", self.provider, self.kind, self.id),
            region => write!(f, "{} in {region}", self.id),
        }
    }
}

/// The endpoint of the provider's other services, beside the one that holds the firewall (in AWS: STS, IAM, the
/// scheduler).
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum OtherServices {
    /// The target's endpoint, or the provider's own.
    #[default]
    WithTarget,
    /// The provider's own endpoints, although the target has another.
    ByThemselves,
    /// Another endpoint.
    At(String),
}

/// The credentials and endpoints on the way to a firewall, except secrets. A grant keeps its route from the start, so that
/// editing or deleting a resource, or running from cron without the shell's environment, never strands a rule.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Route {
    /// The account of the credentials; absent until a call has told it.
    pub account: Option<String>,
    /// The partition (`aws`, `aws-cn`, …) from the caller's ARN; absent until a call has told it.
    pub partition: Option<String>,
    /// The only profile to take credentials from; absent: the standard chain.
    pub profile: Option<String>,
    /// A role to assume on top.
    pub role_arn: Option<String>,
    /// The external id that the role asks for.
    pub external_id: Option<String>,
    /// `AWS_CONFIG_FILE` at start.
    pub config_file: Option<String>,
    /// `AWS_SHARED_CREDENTIALS_FILE` at start.
    pub credentials_file: Option<String>,
    /// The endpoint of the provider's other services.
    pub other_services: OtherServices,
}

impl Route {
    /// The route as configured, without account and partition, which calls add later.
    #[must_use]
    pub fn configured(&self) -> Self {
        Self { account: None, partition: None, ..self.clone() }
    }

    /// True if both routes are configured alike, so that one client serves both.
    pub fn same_way(&self, other: &Self) -> bool {
        self.configured() == other.configured()
    }
}

/// A firewall and the route to it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Target {
    pub key: TargetKey,
    /// The way there.
    pub route: Route,
}

impl Target {
    /// A target reached with the standard chain of credentials.
    pub fn new(key: TargetKey) -> Self {
        Self { key, route: Route::default() }
    }

    /// The target without the firewall's id: common to all firewalls of one kind, region, endpoint and configured route.
    /// One client reads them all.
    #[must_use]
    pub fn regional(&self) -> Self {
        Self { key: TargetKey { id: String::new(), ..self.key.clone() }, route: self.route.configured() }
    }
}

/// What tells two rules of a kind of firewall apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Identity {
    /// An id that is never reused. A rule that is deleted and made again has another one.
    Id,
    /// The permission itself. A rule that is deleted and made again is the same rule: what the record knows of the one
    /// counts for the other.
    Value,
}

/// The place where a kind of firewall carries the marks of a rule. Its module shows them as tags of the rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MarkPlace {
    /// Tags of the rule.
    Rule {
        /// The most tags on one rule.
        tags: usize,
    },
    /// The text of the rule, which the module replaces as a whole.
    Entry,
    /// Tags of the container of all rules ([`crate::container_mark`]). The mark is written before its rule, and taken
    /// off after it.
    Container {
        /// The most permissions of one installation.
        leases: usize,
    },
    /// None. Ownership rests on the record alone, and nothing is joined, left or collected.
    None,
}

/// The ability of a kind of firewall to close a rule by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expiry {
    /// Rules stay until they are revoked.
    None,
    /// A schedule beside the firewall closes one rule at a given time ([`crate::auto_close`]).
    Schedule,
    /// Every rule has a time at which the firewall closes it: the end of the latest lease in its marks.
    Native,
}

/// The abilities of a kind of firewall, as data that [`crate::plan::plan_target`] reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capabilities {
    /// What tells two rules apart.
    pub identity: Identity,
    /// The place of the marks.
    pub marks: MarkPlace,
    /// The most permissions that one authorize call may carry.
    pub batch: usize,
    /// The ability to close a rule by itself.
    pub expiry: Expiry,
    /// The time after which a reading is believed about a call that was answered. Zero where a reading shows every earlier
    /// write, as the kernel's does. A call without an answer may land within [`SETTLE_WINDOW`] all the same.
    pub settle: TimeDelta,
}

impl Capabilities {
    /// The least: rules with ids, and nothing else.
    pub const LEAST: Self =
        Self { identity: Identity::Id, marks: MarkPlace::None, batch: 1, expiry: Expiry::None, settle: SETTLE_WINDOW };
}
