//! The role and the schedule group that expiry schedules need before the first one can be set. Everything that is there is
//! read first. A role that `eg` has made for fewer groups or regions is widened, never narrowed: other installations may
//! have expiry schedules that act as it. A role that was made or changed otherwise stays as it is.

use crate::aws::{
    action::Action,
    errors::failure::of_call,
    policy::{
        document::{Compared, compare, decoded, strangers, widened},
        roles::ExpiryRole,
    },
    security_group::SecurityGroups,
};
use aws_sdk_iam::types::{Role, Tag};
use aws_sdk_scheduler::types::ScheduleGroupState;
use eg_model::failure::{Failure, FailureClass};
use serde_json::Value;
use std::collections::BTreeSet;

/// The groups of schedules that the role may be taken for, in its trust policy.
const TAKEN_FOR: &str = "/Statement/0/Condition/ArnEquals/aws:SourceArn";
/// The groups whose rules the role may close, in its policy.
const CLOSES: &str = "/Statement/0/Resource";
/// CloudFormation tags what it makes (User Guide, "Resource tags").
const STACK: &str = "aws:cloudformation:stack-name";

/// The result of preparing a role or a schedule group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Prepared {
    /// It was made, or what a run before had begun was finished.
    Made,
    /// It was there, made by `eg`, and is for these besides now.
    Widened(BTreeSet<String>),
    /// It was there, and does what is wanted.
    There,
}

/// A role of the wanted name.
struct FoundRole {
    path: String,
    /// The maker, if not `eg`.
    other: Option<String>,
    trust: Value,
    policy: Option<Value>,
    /// Its further policies.
    more: Vec<String>,
}

/// The documents to write.
#[derive(Default)]
struct Changes {
    trust: Option<Value>,
    policy: Option<Value>,
    added: BTreeSet<String>,
    /// Its policy was not there yet: a run has ended before it was done.
    unfinished: bool,
}

fn maker(role: &Role) -> Option<String> {
    let stack = |tags: &[Tag]| tags.iter().find(|tag| tag.key() == STACK).map(|tag| tag.value().to_owned());
    match (stack(role.tags()), role.description()) {
        (Some(stack), _) => Some(format!("the CloudFormation stack {stack} has made it")),
        (None, Some(ExpiryRole::DESCRIPTION)) => None,
        (None, said) => Some(format!("eg has not made it (its description is \"{}\")", said.unwrap_or_default())),
    }
}

fn refused(role: &ExpiryRole, why: &str) -> Failure {
    let message = format!("make the role {}: there is one of that name, and {why}; nothing was changed", role.name);
    Failure::new(FailureClass::Invalid, message)
}

/// The changes to a role that is there.
fn changes(role: &ExpiryRole, found: &FoundRole) -> Result<Changes, Failure> {
    let (mut changes, mut wrong) = (Changes::default(), Vec::new());
    if found.path != role.path {
        wrong.push(format!("its path is {} and should be {}", found.path, role.path));
    }
    match compare(&role.trust, &found.trust, TAKEN_FOR) {
        Compared::Covers => {}
        Compared::Lacks(missing) => {
            changes.trust = Some(widened(&role.trust, &found.trust, TAKEN_FOR));
            changes.added.extend(missing);
        }
        Compared::Differs(list) => wrong.extend(list.iter().map(|one| format!("in its trust policy {one}"))),
    }
    let strange = |where_: &str, entries: BTreeSet<String>| {
        entries
            .into_iter()
            .map(move |entry| format!("in {where_} {entry} is more than eg ever needs"))
            .collect::<Vec<_>>()
    };
    wrong.extend(strange("its trust policy", strangers(&role.trust, &found.trust, TAKEN_FOR)));
    wrong.extend(found.more.iter().map(|name| format!("it has the further policy {name}")));
    if let Some(policy) = &found.policy {
        wrong.extend(strange(&format!("its policy {}", role.policy_name), strangers(&role.policy, policy, CLOSES)));
    }
    match found.policy.as_ref().map(|policy| (policy, compare(&role.policy, policy, CLOSES))) {
        None => {
            changes.policy = Some(role.policy.clone());
            changes.unfinished = true;
        }
        Some((_, Compared::Covers)) => {}
        Some((policy, Compared::Lacks(missing))) => {
            changes.policy = Some(widened(&role.policy, policy, CLOSES));
            changes.added.extend(missing);
        }
        Some((_, Compared::Differs(list))) => {
            wrong.extend(list.iter().map(|one| format!("in its policy {} {one}", role.policy_name)));
        }
    }
    if !wrong.is_empty() {
        return Err(refused(role, &wrong.join("; ")));
    }
    match &found.other {
        Some(other) if changes.unfinished => {
            Err(refused(role, &format!("{other}; it lacks the policy {}", role.policy_name)))
        }
        Some(other) if !changes.added.is_empty() => {
            let lacking: Vec<String> = changes.added.into_iter().collect();
            Err(refused(role, &format!("{other}; it lacks {}", lacking.join(", "))))
        }
        _ => Ok(changes),
    }
}

impl SecurityGroups {
    /// Makes the role that expiry schedules act as, or widens the one that `eg` has made for less.
    ///
    /// # Errors
    /// There is a role of that name that is different in any other way, or that lacks something and was not made by `eg`
    /// ([`FailureClass::Invalid`], every difference named; nothing is changed then), or a call failed.
    pub async fn prepare_role(&self, role: &ExpiryRole) -> Result<Prepared, Failure> {
        let found = match self.find_role(role).await? {
            Some(found) => found,
            None => match self.create_role(role).await {
                Ok(()) => {
                    self.put_policy(role, &role.policy).await?;
                    return Ok(Prepared::Made);
                }
                // Another process was faster.
                Err(failure) if failure.class == FailureClass::Stale => self.find_role(role).await?.ok_or(failure)?,
                Err(failure) => return Err(failure),
            },
        };
        let Changes { trust, policy, added, unfinished } = changes(role, &found)?;
        // The trust policy goes last: until then the role can do no more than before.
        if let Some(policy) = policy {
            self.put_policy(role, &policy).await?;
        }
        if let Some(trust) = trust {
            self.put_trust(role, &trust).await?;
        }
        Ok(match (unfinished, added.is_empty()) {
            (true, _) => Prepared::Made,
            (false, true) => Prepared::There,
            (false, false) => Prepared::Widened(added),
        })
    }

    async fn find_role(&self, role: &ExpiryRole) -> Result<Option<FoundRole>, Failure> {
        let tried = format!("read the role {}", role.name);
        let answer = self
            .client
            .call(Action::GetRole, &role.name, || self.client.iam.get_role().role_name(&role.name).send())
            .await;
        let answer = match answer.map_err(|error| of_call(&tried, &error)) {
            Err(failure) if failure.class == FailureClass::Gone => return Ok(None),
            other => other?,
        };
        let shown = answer.role().ok_or_else(|| Failure::new(FailureClass::Unknown, format!("{tried}: no answer")))?;
        Ok(Some(FoundRole {
            path: shown.path().to_owned(),
            other: maker(shown),
            trust: shown.assume_role_policy_document().and_then(decoded).unwrap_or_default(),
            more: self.further_policies(role).await?,
            policy: self.policy(role).await?,
        }))
    }

    async fn create_role(&self, role: &ExpiryRole) -> Result<(), Failure> {
        let request = self
            .client
            .iam
            .create_role()
            .role_name(&role.name)
            .path(&role.path)
            .description(ExpiryRole::DESCRIPTION)
            .assume_role_policy_document(role.trust.to_string());
        let answer = self.client.call(Action::CreateRole, &role.name, || request.clone().send()).await;
        answer.map(drop).map_err(|error| of_call(&format!("make the role {}", role.name), &error))
    }

    async fn put_policy(&self, role: &ExpiryRole, policy: &Value) -> Result<(), Failure> {
        let request = self.client.iam.put_role_policy().role_name(&role.name).policy_name(&role.policy_name);
        let request = request.policy_document(policy.to_string());
        let answer = self.client.call(Action::PutRolePolicy, &role.name, || request.clone().send()).await;
        answer.map(drop).map_err(|error| of_call(&format!("give the role {} its policy", role.name), &error))
    }

    async fn put_trust(&self, role: &ExpiryRole, trust: &Value) -> Result<(), Failure> {
        let request =
            self.client.iam.update_assume_role_policy().role_name(&role.name).policy_document(trust.to_string());
        let answer = self.client.call(Action::UpdateAssumeRolePolicy, &role.name, || request.clone().send()).await;
        answer.map(drop).map_err(|error| of_call(&format!("say who may take the role {}", role.name), &error))
    }

    async fn policy(&self, role: &ExpiryRole) -> Result<Option<Value>, Failure> {
        let request = self.client.iam.get_role_policy().role_name(&role.name).policy_name(&role.policy_name);
        let answer = self.client.call(Action::GetRolePolicy, &role.name, || request.clone().send()).await;
        let answer = answer.map_err(|error| of_call(&format!("read the policy of the role {}", role.name), &error));
        match answer {
            Ok(answer) => Ok(Some(decoded(answer.policy_document()).unwrap_or_default())),
            Err(failure) if failure.class == FailureClass::Gone => Ok(None),
            Err(failure) => Err(failure),
        }
    }

    async fn further_policies(&self, role: &ExpiryRole) -> Result<Vec<String>, Failure> {
        let tried = format!("read the policies of the role {}", role.name);
        let request = self.client.iam.list_role_policies().role_name(&role.name);
        let own = self.client.call(Action::ListRolePolicies, &role.name, || request.clone().send()).await;
        let own = own.map_err(|error| of_call(&tried, &error))?;
        let request = self.client.iam.list_attached_role_policies().role_name(&role.name);
        let attached = self.client.call(Action::ListAttachedRolePolicies, &role.name, || request.clone().send()).await;
        let attached = attached.map_err(|error| of_call(&tried, &error))?;
        let mut more: Vec<String> =
            own.policy_names().iter().filter(|name| **name != role.policy_name).cloned().collect();
        more.extend(attached.attached_policies().iter().map(|one| one.policy_arn().unwrap_or("(unnamed)").to_owned()));
        if own.is_truncated() || attached.is_truncated() {
            more.push("(and more)".to_owned());
        }
        Ok(more)
    }

    /// Makes a group for expiry schedules, unless it is there.
    ///
    /// # Errors
    /// The group that is there is being deleted, or a call failed.
    pub async fn prepare_schedule_group(&self, name: &str) -> Result<Prepared, Failure> {
        let tried = format!("make the schedule group {name}");
        let request = self.client.scheduler.get_schedule_group().name(name);
        let answer = self.client.call(Action::GetScheduleGroup, name, || request.clone().send()).await;
        match answer.map_err(|error| of_call(&tried, &error)) {
            // It and every schedule in it are going, and until it is gone there can be no other of that name.
            Ok(answer) if answer.state() == Some(&ScheduleGroupState::Deleting) => {
                let message = format!("{tried}: the one that is there is being deleted");
                return Err(Failure::new(FailureClass::Stale, message));
            }
            Ok(_) => return Ok(Prepared::There),
            Err(failure) if failure.class == FailureClass::Gone => {}
            Err(failure) => return Err(failure),
        }
        let request = self.client.scheduler.create_schedule_group().name(name);
        let answer = self.client.call(Action::CreateScheduleGroup, name, || request.clone().send()).await;
        match answer.map_err(|error| of_call(&tried, &error)) {
            // Another process was faster.
            Err(failure) if failure.class == FailureClass::Stale => Ok(Prepared::There),
            made => made.map(|_| Prepared::Made),
        }
    }
}
