//! Firewalls: the trait that the reconciler speaks, and one module per provider.

pub mod aws;

use async_trait::async_trait;
use eg_model::{
    Timestamp,
    auto_close::{AutoCloseRoute, AutoCloseSeen},
    failure::Failure,
    ids::{RuleId, SessionId},
    net::permission::Permission,
    observation::{ObservedRule, OwnedRule, Reading},
    selector::Selector,
    target::{Capabilities, Target, TargetKey},
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
pub enum ReadResult {
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

/// What one look at some rules of a target, by their ids, came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RulesSeen {
    /// Those that are there.
    pub rules: Vec<ObservedRule>,
    /// When they were asked for, on the local clock.
    pub read_at: Timestamp,
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

/// What an expiry schedule is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetAutoClose {
    /// Where it is kept, and as whom it acts.
    pub way: AutoCloseRoute,
    /// When it fires.
    pub at: Timestamp,
    /// Whether there is one already, as far as was seen.
    pub exists: bool,
    /// For people in the console.
    pub description: String,
    /// Another one for each attempt, of 62 characters at the most: the same one within some hours is the same request to
    /// the provider, whatever has become of the expiry schedule meanwhile.
    pub token: String,
}

/// The role that expiry schedules act as.
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

impl ExpiryRole {
    /// By this, `eg` knows a role that it has made.
    pub const DESCRIPTION: &str = "EventBridge Scheduler closes eg's firewall rules with it";
}

/// What preparing something has come to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Prepared {
    /// It was made, or what a run before had begun was finished.
    Made,
    /// It was there, of our own making, and is for these besides now.
    Widened(BTreeSet<String>),
    /// It was there, and does what is wanted.
    There,
}

/// An answer with its request id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answered<T> {
    /// What the provider answered.
    pub value: T,
    /// Its request id.
    pub request_id: Option<String>,
}

/// A target that the caller can see, as one list of them shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedGroup {
    /// The provider's id.
    pub id: String,
    /// Its name at the provider; unique in its network only.
    pub name: String,
    /// The network that it belongs to (AWS: the VPC).
    pub network: Option<String>,
    /// Its own tags.
    pub tags: BTreeMap<String, String>,
    /// What its ingress rules allow to CIDRs.
    pub permissions: Vec<Permission>,
    /// How many more sources its ingress rules allow (groups, prefix lists), or that cannot be read.
    pub other_ingress: usize,
}

/// What a dry run told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The call would have been let through.
    Allowed,
    /// The caller may not do this.
    Denied(Failure),
    /// It could not be told.
    Unknown(Failure),
}

/// What the caller may do with a target's rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rights {
    /// Open.
    pub open: Verdict,
    /// Tag what is opened, in the same call.
    pub tag: Verdict,
    /// Close.
    pub close: Verdict,
}

impl Rights {
    /// One failure for each right that is certainly missing.
    #[must_use]
    pub fn denied(self) -> Vec<Failure> {
        let denied = |verdict| match verdict {
            Verdict::Denied(failure) => Some(failure),
            Verdict::Allowed | Verdict::Unknown(_) => None,
        };
        [self.open, self.tag, self.close].into_iter().filter_map(denied).collect()
    }
}

/// When the credentials stop working, as far as that can be told beforehand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CredentialsEnd {
    /// They renew themselves (instance, container, process).
    Renewing,
    /// Static keys in a file: they last until somebody takes them away.
    Lasting,
    /// Renewal ends then (an SSO login, a session token).
    At(Timestamp),
    /// They renew themselves as long as a login of a person lasts.
    Login {
        /// The latest time at which it can end.
        until: Timestamp,
        /// What begins another one.
        command: String,
    },
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
    async fn observe(&self, targets: &BTreeSet<TargetKey>) -> BTreeMap<TargetKey, ReadResult>;

    /// Reads rules of one target by their ids; those that are not there are left out.
    ///
    /// # Errors
    /// They could not be read whole: nothing is known of any of them.
    async fn observe_rules(&self, target: &TargetKey, rules: &BTreeSet<RuleId>) -> Result<RulesSeen, Failure>;

    /// Reads every target of the account and region that has a rule tagged as `eg`'s, with these rules alone; the
    /// keys are like `like` in everything but the id. Targets without such a rule are left out.
    ///
    /// # Errors
    /// It could not be read whole: nothing is known of any target.
    async fn marked(&self, like: &TargetKey) -> Result<BTreeMap<TargetKey, ReadResult>, Failure>;

    /// The regions that are enabled for the account; never none.
    ///
    /// # Errors
    /// The provider did not say.
    async fn regions(&self) -> Result<BTreeSet<String>, Failure>;

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

    /// Asks, without changing anything, what the caller may do with the rules of a group. Of the permission only the
    /// family counts. The tags are those that opening would give: a policy may ask for some, or permit no others.
    async fn rights(&self, group: &str, permission: &Permission, tags: &BTreeMap<String, String>) -> Rights;

    /// The groups that the caller can see, or those of them that are meant; by name, then id.
    ///
    /// # Errors
    /// They could not be listed whole, or the provider listed others than those asked for.
    async fn groups(&self, meant: Option<&Selector>) -> Result<Vec<ListedGroup>, Failure>;

    /// Reads the expiry schedule of a rule of a group.
    async fn read_auto_close(&self, group: &str, rule: &RuleId, way: &AutoCloseRoute) -> AutoCloseSeen;

    /// Has the provider revoke a rule by itself at a given time, or moves that time.
    ///
    /// # Errors
    /// As for [`Firewall::authorize`].
    async fn set_auto_close(&self, rule: &OwnedRule, auto_close: &SetAutoClose) -> Result<Answered<()>, Failure>;

    /// Deletes the expiry schedule of a rule; that there is none is no error.
    ///
    /// # Errors
    /// As for [`Firewall::authorize`].
    async fn drop_auto_close(&self, rule: &RuleId, way: &AutoCloseRoute) -> Result<Answered<()>, Failure>;

    /// Makes the role that expiry schedules act as, or widens the one that `eg` has made for less.
    ///
    /// # Errors
    /// There is a role of that name that is different in any other way, or that lacks something and is not of our own
    /// making ([`eg_model::failure::FailureClass::Invalid`], every difference named; nothing is changed then), or a
    /// call failed.
    async fn prepare_role(&self, role: &ExpiryRole) -> Result<Prepared, Failure>;

    /// Makes a group for expiry schedules, unless it is there.
    ///
    /// # Errors
    /// The one that is there is being deleted, or a call failed.
    async fn prepare_schedule_group(&self, name: &str) -> Result<Prepared, Failure>;

    /// Who is calling.
    ///
    /// # Errors
    /// The provider did not say.
    async fn caller(&self) -> Result<Caller, Failure>;

    /// When the credentials end; not known where they do not come in time.
    async fn credentials_end(&self, now: Timestamp) -> CredentialsEnd;
}

/// Makes firewalls from the way to reach them; each way once.
#[async_trait]
pub trait Connect: Send + Sync {
    /// The firewall that `target` leads to.
    ///
    /// # Errors
    /// The kind is not known, or the way cannot be used (an endpoint in plain http that is not on loopback, say).
    async fn connect(&self, target: &Target) -> Result<Arc<dyn Firewall>, Failure>;

    /// The region that the profile of `target` (without one, the default profile) is configured for, where it is.
    async fn profile_region(&self, target: &Target) -> Option<String>;
}
