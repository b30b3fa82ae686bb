//! What expiry switches need before the first one can be set. Nothing that is there already is ever changed.

use super::{Action, SecurityGroups, failure::of_call, logged};
use crate::ExpiryRole;
use eg_model::failure::{Failure, FailureClass};
use serde_json::Value;

/// IAM gives documents with every character escaped that a URL cannot hold (RFC 3986, as its API reference says).
fn document(text: &str) -> Option<Value> {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        let digit = |byte: Option<u8>| byte.and_then(|byte| char::from(byte).to_digit(16));
        match byte {
            b'%' => bytes.push(u8::try_from(digit(rest.next())? * 16 + digit(rest.next())?).ok()?),
            plain => bytes.push(plain),
        }
    }
    serde_json::from_slice(&bytes).ok()
}

fn different(role: &ExpiryRole, what: &str) -> Failure {
    let message = format!("make the role {}: there is one of that name with {what}; nothing was changed", role.name);
    Failure::new(FailureClass::Invalid, message)
}

impl SecurityGroups {
    /// Whether anything was made. A role that a run has made and not finished is finished.
    pub(super) async fn make_role(&self, role: &ExpiryRole) -> Result<bool, Failure> {
        let tried = format!("read the role {}", role.name);
        let answer = logged(Action::GetRole, &role.name, self.iam.get_role().role_name(&role.name).send()).await;
        let trust = match answer.map_err(|error| of_call(&tried, &error)) {
            Ok(answer) => answer.role().and_then(|found| found.assume_role_policy_document()).map(str::to_owned),
            Err(failure) if failure.class == FailureClass::Gone => {
                self.create_role(role).await?;
                self.put_policy(role).await?;
                return Ok(true);
            }
            Err(failure) => return Err(failure),
        };
        if trust.as_deref().and_then(document).as_ref() != Some(&role.trust) {
            return Err(different(role, "another trust policy"));
        }
        self.nothing_else_is_allowed(role).await?;
        match self.policy(role).await? {
            Some(policy) if policy == role.policy => Ok(false),
            Some(_) => Err(different(role, "another policy")),
            None => self.put_policy(role).await.map(|()| true),
        }
    }

    async fn create_role(&self, role: &ExpiryRole) -> Result<(), Failure> {
        let request = self
            .iam
            .create_role()
            .role_name(&role.name)
            .path(&role.path)
            .description("EventBridge Scheduler closes eg's firewall rules with it")
            .assume_role_policy_document(role.trust.to_string());
        let answer = logged(Action::CreateRole, &role.name, request.send()).await;
        answer.map(drop).map_err(|error| of_call(&format!("make the role {}", role.name), &error))
    }

    async fn put_policy(&self, role: &ExpiryRole) -> Result<(), Failure> {
        let request = self.iam.put_role_policy().role_name(&role.name).policy_name(&role.policy_name);
        let request = request.policy_document(role.policy.to_string());
        let answer = logged(Action::PutRolePolicy, &role.name, request.send()).await;
        answer.map(drop).map_err(|error| of_call(&format!("give the role {} its policy", role.name), &error))
    }

    async fn policy(&self, role: &ExpiryRole) -> Result<Option<Value>, Failure> {
        let request = self.iam.get_role_policy().role_name(&role.name).policy_name(&role.policy_name);
        let answer = logged(Action::GetRolePolicy, &role.name, request.send()).await;
        let answer = answer.map_err(|error| of_call(&format!("read the policy of the role {}", role.name), &error));
        match answer {
            Ok(answer) => Ok(Some(document(answer.policy_document()).unwrap_or_default())),
            Err(failure) if failure.class == FailureClass::Gone => Ok(None),
            Err(failure) => Err(failure),
        }
    }

    async fn nothing_else_is_allowed(&self, role: &ExpiryRole) -> Result<(), Failure> {
        let tried = format!("read the policies of the role {}", role.name);
        let request = self.iam.list_role_policies().role_name(&role.name);
        let own = logged(Action::ListRolePolicies, &role.name, request.send()).await;
        let own = own.map_err(|error| of_call(&tried, &error))?;
        let request = self.iam.list_attached_role_policies().role_name(&role.name);
        let attached = logged(Action::ListAttachedRolePolicies, &role.name, request.send()).await;
        let attached = attached.map_err(|error| of_call(&tried, &error))?;
        let others = own.policy_names().iter().any(|name| *name != role.policy_name) || own.is_truncated();
        if others || !attached.attached_policies().is_empty() {
            return Err(different(role, "further policies"));
        }
        Ok(())
    }

    pub(super) async fn make_schedule_group(&self, name: &str) -> Result<bool, Failure> {
        let tried = format!("make the schedule group {name}");
        let answer =
            logged(Action::GetScheduleGroup, name, self.scheduler.get_schedule_group().name(name).send()).await;
        match answer.map_err(|error| of_call(&tried, &error)) {
            Ok(_) => return Ok(false),
            Err(failure) if failure.class == FailureClass::Gone => {}
            Err(failure) => return Err(failure),
        }
        let request = self.scheduler.create_schedule_group().name(name);
        let answer = logged(Action::CreateScheduleGroup, name, request.send()).await;
        answer.map(|_| true).map_err(|error| of_call(&tried, &error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_are_unescaped() {
        assert_eq!(document("%7B%22a%22%3A%20%22%C3%A9%2b%22%7D"), serde_json::from_str("{\"a\": \"é+\"}").ok());
        for bad in ["%7", "%zz", "{", "%ff"] {
            assert_eq!(document(bad), None, "{bad}");
        }
    }
}
