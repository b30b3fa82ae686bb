//! Changes of a set. `UpdateIPSet` replaces the whole set and its description, under the token of the reading that the new
//! set is made from. So WAF refuses it if somebody else has changed the set since, and it is made anew.
//!
//! | what happens | outcome |
//! |---|---|
//! | the token is not the current one (`WAFOptimisticLockException`) | read and decide again; after [`CONFLICTS_MAX`] times: nothing was changed, try again |
//! | the address to add is there, or the one to remove is not | changed meanwhile |
//! | no answer | not known |
//!
//! Where identity is the value, "changed meanwhile" proves that an address is there. So a lost race is not called that.

use super::{
    firewall::IpSets,
    observe::{SetAddress, SetVersion, id_of},
    place::SetPlace,
};
use crate::{
    Answered, Authorize,
    aws::{
        action::Action,
        errors::failure::{nothing_sent, of_call},
    },
};
use aws_types::request_id::RequestId;
use eg_model::{
    failure::{Failure, FailureClass},
    ids::RuleId,
    net::permission::{Permission, PortSpec},
    observation::ObservedRule,
};
use std::{collections::BTreeSet, time::Duration};
use tokio::time::{Instant, sleep_until};

/// The number of times that a change is sent under a token that is not the set's any more.
const CONFLICTS_MAX: u32 = 5;
/// The time between two writes: WAF allows one a second for each account and region (WAF Developer Guide, "AWS WAF
/// quotas": any individual create, put or update action), and its clock need not tick as ours does.
const WRITES_APART: Duration = Duration::from_millis(1_100);
/// The most addresses in a set (WAF Developer Guide, "AWS WAF quotas").
const ADDRESSES_MAX: usize = 10_000;

impl IpSets {
    /// Adds the network of each permission of a call.
    pub(super) async fn add(&self, call: &Authorize) -> Result<Answered<Vec<ObservedRule>>, Failure> {
        let named: Vec<String> = call.permissions.iter().map(|permission| permission.cidr().to_string()).collect();
        let tried = format!("open {} on {}", named.join(", "), call.group);
        let refused = |class, why: &str| Failure::new(class, format!("{tried}: {why}"));
        if call.permissions.iter().any(|permission| permission.spec() != Some(PortSpec::All)) {
            return Err(refused(FailureClass::Invalid, "an IP set has no ports"));
        }
        if call.permissions.iter().any(Permission::is_for_everybody) {
            return Err(refused(FailureClass::Invalid, "WAF takes no network that holds every address"));
        }
        let decide = |set: &SetVersion| {
            if let Some(other) = call.permissions.iter().find(|permission| permission.ip_version() != set.family) {
                let (family, network) = (set.family.number(), other.cidr());
                let why = format!("the set holds IPv{family} addresses only, and {network} is none");
                return Err(refused(FailureClass::Invalid, &why));
            }
            let there = |permission: &&Permission| set.addresses.iter().any(|known| known.network == permission.cidr());
            if let Some(permission) = call.permissions.iter().find(there) {
                return Err(refused(FailureClass::Stale, &format!("the set holds {} already", permission.cidr())));
            }
            let held = set.addresses.len();
            if held + call.permissions.len() > ADDRESSES_MAX {
                let why = format!("the set holds {held} of at most {ADDRESSES_MAX} addresses");
                return Err(refused(FailureClass::Limit, &why));
            }
            let spelled = set.addresses.iter().map(|address| address.spelling.clone());
            Ok(spelled.chain(named.iter().cloned()).collect())
        };
        let request_id = self.change(&call.group, &tried, decide).await?;
        let rule = |permission: &Permission| ObservedRule {
            id: id_of(permission),
            permission: *permission,
            description: None,
            tags: call.tags.clone(),
        };
        Ok(Answered { value: call.permissions.iter().map(rule).collect(), request_id })
    }

    /// Removes addresses by their ids, which are their values.
    pub(super) async fn remove(
        &self,
        target: &str,
        ids: BTreeSet<RuleId>,
    ) -> Result<Answered<BTreeSet<RuleId>>, Failure> {
        let named: Vec<&str> = ids.iter().map(|id| id.0.as_str()).collect();
        let tried = format!("close {} on {target}", named.join(", "));
        let decide = |set: &SetVersion| {
            let is = |address: &SetAddress, id: &RuleId| id_of(&address.permission()) == *id;
            if let Some(gone) = ids.iter().find(|id| !set.addresses.iter().any(|address| is(address, id))) {
                let message = format!("{tried}: {} is not in the set any more", gone.0);
                return Err(Failure::new(FailureClass::Stale, message));
            }
            let stays = |address: &&SetAddress| !ids.iter().any(|id| is(address, id));
            Ok(set.addresses.iter().filter(stays).map(|address| address.spelling.clone()).collect())
        };
        let request_id = self.change(target, &tried, decide).await?;
        Ok(Answered { value: ids, request_id })
    }

    /// Replaces the addresses of a set, decided on a reading; again if the set has changed since.
    async fn change(
        &self,
        target: &str,
        tried: &str,
        decide: impl Fn(&SetVersion) -> Result<Vec<String>, Failure>,
    ) -> Result<Option<String>, Failure> {
        let place = SetPlace::read(target)?;
        // Held for reading and writing: while a write waits for its turn, no other one makes its token old.
        let mut last = self.client.waf_write.lock().await;
        let mut conflicts = 0;
        loop {
            if let Some(last) = *last {
                sleep_until(last + WRITES_APART).await;
            }
            let set = self.get(tried, &place).await.map_err(nothing_sent)?;
            let addresses = decide(&set)?;
            #[expect(clippy::disallowed_methods, reason = "the one place: under the token that was read")]
            let request = self
                .client
                .wafv2
                .update_ip_set()
                .name(&place.name)
                .scope(place.scope.clone())
                .id(&place.id)
                // Without it, the update erases the description.
                .set_description(set.description)
                .set_addresses(Some(addresses))
                .lock_token(set.token);
            let answer = self.client.call(Action::UpdateIPSet, target, || request.clone().send()).await;
            *last = Some(Instant::now());
            let failure = match answer.map_err(|error| of_call(tried, &error)) {
                Ok(answer) => return Ok(answer.request_id().map(str::to_owned)),
                Err(failure) if failure.code.ends_with("WAFOptimisticLockException") => failure,
                Err(failure) => return Err(failure),
            };
            conflicts += 1;
            if conflicts == CONFLICTS_MAX {
                return Err(Failure { class: FailureClass::Throttled, ..failure });
            }
        }
    }
}
