//! Firewalls: the trait that the reconciler speaks, and one module per provider.

pub mod aws;

use async_trait::async_trait;
use eg_model::{
    Timestamp,
    failure::Failure,
    ids::{RuleId, SessionId},
    observation::{ObservedRule, OwnedRule, Reading},
    permission::Permission,
    switch::{SwitchSeen, SwitchWay},
    target::{Capabilities, Reach, TargetKey},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// Who the provider says is calling.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The account.
    pub account: String,
    /// The provider's full name for the caller; for AWS an ARN.
    pub arn: String,
    /// The partition (`aws`, `aws-cn`, …).
    pub partition: String,
}

/// What one look at a target came to, before anything is concluded from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sighting {
    /// Every page was read.
    Complete(Reading),
    /// The provider says there is no such target, to this caller.
    NotFound {
        /// Who asked.
        caller: Caller,
    },
    /// It could not be read whole.
    Unavailable(Failure),
}

/// One authorize call: its permissions, and the tags and description that AWS gives every rule of the call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authorize {
    /// The target's id.
    pub group: String,
    /// Distinct permissions, in plan order.
    pub permissions: Vec<Permission>,
    /// The tags.
    pub tags: BTreeMap<String, String>,
    /// For people in the console; made acceptable by the provider's module.
    pub description: String,
    /// For the log.
    pub session: SessionId,
}

/// What an expiry switch is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetSwitch {
    /// Where it is kept, and as whom it acts.
    pub way: SwitchWay,
    /// When it fires.
    pub at: Timestamp,
    /// Whether there is one already, as far as was seen.
    pub exists: bool,
    /// For people in the console.
    pub description: String,
    /// Another one for each attempt: the same one within some hours is the same request to the provider, whatever has
    /// become of the switch meanwhile.
    pub token: String,
}

/// The role that expiry switches act as.
#[derive(Clone, Debug, PartialEq)]
pub struct ExpiryRole {
    /// Its name.
    pub name: String,
    /// Its path; `/` where it has none.
    pub path: String,
    /// Who may take it.
    pub trust: serde_json::Value,
    /// The name of its one policy.
    pub policy_name: String,
    /// What it may do.
    pub policy: serde_json::Value,
}

/// An answer with its request id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answered<T> {
    /// What the provider answered.
    pub value: T,
    /// Its request id.
    pub request_id: Option<String>,
}

/// When the credentials stop working, as far as that can be told beforehand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CredentialsEnd {
    /// They renew themselves (instance, container, process, static keys in a file).
    Renewing,
    /// Renewal ends then (an SSO login, a session token).
    At(Timestamp),
    /// They come from this shell's environment: a scheduled reconcile does not have them.
    ShellOnly,
    /// Not known.
    Unknown,
}

/// One kind of firewall, reached one way (endpoint, credentials, region).
#[async_trait]
pub trait Firewall: Send + Sync {
    /// What this kind can do.
    fn capabilities(&self) -> Capabilities;

    /// Reads targets; the answer has an entry for each one asked for.
    async fn observe(&self, targets: &BTreeSet<TargetKey>) -> BTreeMap<TargetKey, Sighting>;

    /// Opens permissions, tagged in the same call. The answer lists the new rules, as far as the provider names them.
    ///
    /// # Errors
    /// The provider refused the whole call, or its outcome is not known: see [`Failure::class`].
    async fn authorize(&self, call: &Authorize) -> Result<Answered<Vec<ObservedRule>>, Failure>;

    /// Revokes rules of one target, by id. The answer names those whose revoke the provider confirmed.
    ///
    /// # Errors
    /// As for [`Firewall::authorize`]; one unknown id refuses the whole call.
    async fn revoke(&self, rules: &[OwnedRule]) -> Result<Answered<BTreeSet<RuleId>>, Failure>;

    /// Writes tags on rules, adding or replacing.
    ///
    /// # Errors
    /// As for [`Firewall::revoke`].
    async fn tag(&self, rules: &[OwnedRule], tags: &BTreeMap<String, String>) -> Result<Answered<()>, Failure>;

    /// Deletes tags from one rule, each by key and value: a tag that says something else by now stays.
    ///
    /// # Errors
    /// As for [`Firewall::revoke`].
    async fn untag(&self, rule: &OwnedRule, tags: &BTreeMap<String, String>) -> Result<Answered<()>, Failure>;

    /// Asks, without changing anything, whether the caller may authorize, revoke and tag on a group. The answer
    /// holds one failure for each permission that is missing, and is empty when all are there or it cannot tell.
    async fn missing_permissions(&self, group: &str, permission: &Permission) -> Vec<Failure>;

    /// Reads the expiry switch of a rule of a group.
    async fn read_switch(&self, group: &str, rule: &RuleId, way: &SwitchWay) -> SwitchSeen;

    /// Has the provider revoke a rule by itself at a given time, or moves that time.
    ///
    /// # Errors
    /// As for [`Firewall::authorize`].
    async fn set_switch(&self, rule: &OwnedRule, switch: &SetSwitch) -> Result<Answered<()>, Failure>;

    /// Deletes the switch of a rule; that there is none is no error.
    ///
    /// # Errors
    /// As for [`Firewall::authorize`].
    async fn drop_switch(&self, rule: &RuleId, way: &SwitchWay) -> Result<Answered<()>, Failure>;

    /// Makes the role that expiry switches act as, unless it is there just so. Whether anything was made.
    ///
    /// # Errors
    /// There is a role of that name that is any different (nothing is changed then), or a call failed.
    async fn prepare_role(&self, role: &ExpiryRole) -> Result<bool, Failure>;

    /// Makes a group for switches, unless it is there. Whether it was made.
    ///
    /// # Errors
    /// A call failed.
    async fn prepare_schedule_group(&self, name: &str) -> Result<bool, Failure>;

    /// Who is calling.
    ///
    /// # Errors
    /// The provider did not say.
    async fn caller(&self) -> Result<Caller, Failure>;

    /// When the credentials end.
    async fn credentials_end(&self, now: Timestamp) -> CredentialsEnd;
}

/// Makes firewalls from the way to reach them; each way once.
#[async_trait]
pub trait Connect: Send + Sync {
    /// The firewall that `reach` leads to.
    ///
    /// # Errors
    /// The kind is not known, or the way cannot be used (an endpoint in plain http that is not on loopback, say).
    async fn connect(&self, reach: &Reach) -> Result<Arc<dyn Firewall>, Failure>;
}
