//! Expiry schedules: the provider closes a rule by itself at a given time, even if this machine never comes back.

use crate::types::Answered;
use async_trait::async_trait;
use eg_model::{
    Timestamp,
    auto_close::{AutoCloseRoute, AutoCloseSeen},
    failure::Failure,
    ids::RuleId,
    observation::OwnedRule,
};

/// An expiry schedule, as it is to become.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetAutoClose {
    /// The place of the schedule, and the role that it acts as.
    pub way: AutoCloseRoute,
    pub at: Timestamp,
    /// True if the rule has a schedule already, as far as was seen.
    pub exists: bool,
    pub description: String,
    /// Names the attempt, in at most 62 characters. It differs for each attempt: a provider answers the same token with
    /// its earlier answer for some hours, whatever has become of the schedule meanwhile.
    pub token: String,
}

/// Expiry schedules of rules.
#[async_trait]
pub trait AutoClosing: Send + Sync {
    /// Reads the expiry schedule of a rule of a group.
    async fn read_auto_close(&self, group: &str, rule: &RuleId, way: &AutoCloseRoute) -> AutoCloseSeen;

    /// Makes the expiry schedule of a rule, or moves it.
    ///
    /// # Errors
    /// The provider refused the call, or the outcome is not known.
    async fn set_auto_close(&self, rule: &OwnedRule, auto_close: &SetAutoClose) -> Result<Answered<()>, Failure>;

    /// Deletes the expiry schedule of a rule. A schedule that is gone already is no error.
    ///
    /// # Errors
    /// As for [`AutoClosing::set_auto_close`].
    async fn drop_auto_close(&self, rule: &RuleId, way: &AutoCloseRoute) -> Result<Answered<()>, Failure>;
}
