//! The trait that every kind of firewall implements, and the way to get one.

use crate::{
    access::CallerAccess,
    auto_close::AutoClosing,
    discovery::Discovery,
    interfaces::Interfaces,
    marks::{ContainerMarking, Marking},
    types::{Answered, Authorize, Hindrance, ReadResult, RulesSeen},
    unread::Unread,
};
use async_trait::async_trait;
use eg_model::{
    failure::{Failure, FailureClass},
    ids::RuleId,
    observation::{ObservedRule, OwnedRule},
    target::{Capabilities, Target, TargetKey},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// One kind of firewall, reached by one route (endpoint, credentials, region).
///
/// The core is what every kind has. The other parts are optional: a kind without one keeps the default. Callers that do not
/// know the kind call the parts' methods on `dyn Firewall`.
///
/// A change fails with [`Failure::class`] saying whether it may have taken effect all the same.
#[async_trait]
pub trait Firewall: Send + Sync {
    /// The limits and features of this kind.
    fn capabilities(&self) -> Capabilities;

    /// Reads targets. The answer has an entry for each of them.
    async fn observe(&self, targets: &BTreeSet<TargetKey>) -> BTreeMap<TargetKey, ReadResult>;

    /// Reads rules of one target by their ids and leaves out those that are not there.
    ///
    /// # Errors
    /// The rules could not be read whole: nothing is known of any of them.
    async fn observe_rules(&self, target: &TargetKey, rules: &BTreeSet<RuleId>) -> Result<RulesSeen, Failure>;

    /// Opens permissions, tagged in the same call. The answer lists the new rules, as far as the provider names them.
    ///
    /// # Errors
    /// The provider refused the whole call, or the outcome is not known.
    async fn authorize(&self, call: &Authorize) -> Result<Answered<Vec<ObservedRule>>, Failure>;

    /// Revokes rules of one target by their ids. The answer names the rules whose revoke the provider confirmed.
    ///
    /// # Errors
    /// The provider refused the whole call (one unknown id is enough), or the outcome is not known.
    async fn revoke(&self, rules: &[OwnedRule]) -> Result<Answered<BTreeSet<RuleId>>, Failure>;

    /// Asks what takes the effect away from the rules of a target: something else on the way. `None` if nothing does, or if
    /// that cannot be told.
    async fn hindrance(&self, _: &TargetKey) -> Option<Hindrance> {
        None
    }

    /// Tags on rules, or marks in their texts.
    fn marking(&self) -> Option<&dyn Marking> {
        None
    }

    /// Marks on the container of the rules ([`eg_model::target::MarkPlace::Container`]).
    fn container_marking(&self) -> Option<&dyn ContainerMarking> {
        None
    }

    /// Calls to a firewall that cannot be read back.
    fn unread(&self) -> Option<&dyn Unread> {
        None
    }

    /// Expiry schedules of rules.
    fn auto_closing(&self) -> Option<&dyn AutoClosing> {
        None
    }

    fn discovery(&self) -> Option<&dyn Discovery> {
        None
    }

    /// The network interfaces behind addresses.
    fn network(&self) -> Option<&dyn Interfaces> {
        None
    }

    /// Questions about the credentials.
    fn access(&self) -> Option<&dyn CallerAccess> {
        None
    }
}

/// The one target that a call is about; `None` without rules.
pub(crate) fn one_target(rules: &[OwnedRule]) -> Result<Option<&TargetKey>, Failure> {
    let mut targets = rules.iter().map(OwnedRule::target);
    let first = targets.next();
    match targets.find(|target| Some(*target) != first) {
        Some(other) => {
            let message =
                format!("change rules: the rules of one call must be of one firewall, and {other} is another");
            Err(Failure::new(FailureClass::Invalid, message))
        }
        None => Ok(first),
    }
}

/// Makes firewalls from the routes to them. Two targets with equal routes share one client.
#[async_trait]
pub trait Connect: Send + Sync {
    /// The firewall of a target, reached by its route.
    ///
    /// # Errors
    /// The kind is not known, or the route cannot be used (an endpoint in plain http that is not on loopback, say).
    async fn connect(&self, target: &Target) -> Result<Arc<dyn Firewall>, Failure>;
}
