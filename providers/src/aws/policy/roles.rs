//! The roles that expiry schedules act as: those that are configured, and one that is to be made.

use eg_model::auto_close::AutoCloseRoute;
use serde_json::Value;

/// `[aws.cloud_expiry]`: every rule gets an expiry schedule in the cloud that closes it on time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CloudExpiry {
    /// The roles that close rules, one for each account; never empty.
    pub roles: Vec<String>,
    /// The group of schedules that expiry schedules are kept in; `default` by default, which every account has.
    pub schedule_group: String,
}

/// The group of schedules that every account has.
pub const DEFAULT_SCHEDULE_GROUP: &str = "default";

impl CloudExpiry {
    /// The route of expiry schedules of an account's rules; `None` if no role is of that account.
    pub fn way(&self, account: &str) -> Option<AutoCloseRoute> {
        let way = |role: &String| AutoCloseRoute { role_arn: role.clone(), group: self.schedule_group.clone() };
        self.roles.iter().map(way).find(|way| way.account() == account)
    }
}

/// The role that expiry schedules act as.
#[derive(Clone, Debug, PartialEq)]
pub struct ExpiryRole {
    pub name: String,
    /// Its path; `/` where it has none.
    pub path: String,
    pub trust: Value,
    pub policy_name: String,
    pub policy: Value,
}

impl ExpiryRole {
    /// The description by which `eg` knows a role that it has made.
    pub const DESCRIPTION: &str = "EventBridge Scheduler closes eg's firewall rules with it";
}
