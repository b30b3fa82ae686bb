//! Security groups as a kind of firewall: the trait's parts, each by the module that knows its calls.

use crate::{
    Answered, Authorize, AutoClosing, Caller, CallerAccess, CredentialsEnd, Discovery, Firewall, Interfaces,
    ListedGroup, Marking, ReadResult, Rights, RulesSeen, SetAutoClose, aws::client::Client, firewall::one_target,
};
use async_trait::async_trait;
use eg_model::{
    SETTLE_WINDOW,
    auto_close::{AutoCloseRoute, AutoCloseSeen},
    failure::{Failure, FailureClass},
    ids::RuleId,
    net::permission::Permission,
    observation::{ObservedRule, OwnedRule},
    selector::Selector,
    tags::DIGESTS_PER_CALL,
    target::{Capabilities, Expiry, Identity, MarkPlace, TargetKey},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// The security groups of one endpoint, one set of credentials and one region.
pub struct SecurityGroups {
    pub(super) client: Arc<Client>,
}

/// The most tags on one resource (AWS, "Tag your Amazon EC2 resources", tag restrictions).
const TAGS_PER_RULE: usize = 50;

/// The one group that a call is about, and the rules' ids.
fn one_group(rules: &[OwnedRule]) -> Result<Option<(&str, Vec<String>)>, Failure> {
    let ids = || rules.iter().map(|rule| rule.id().0.clone()).collect();
    Ok(one_target(rules)?.map(|target| (target.id.as_str(), ids())))
}

#[async_trait]
impl Firewall for SecurityGroups {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            identity: Identity::Id,
            marks: MarkPlace::Rule { tags: TAGS_PER_RULE },
            batch: DIGESTS_PER_CALL,
            expiry: Expiry::Schedule,
            settle: SETTLE_WINDOW,
        }
    }

    async fn observe(&self, targets: &BTreeSet<TargetKey>) -> BTreeMap<TargetKey, ReadResult> {
        let groups: BTreeSet<String> = targets.iter().map(|target| target.id.clone()).collect();
        let seen = self.observe_groups(&groups).await;
        let answer = |target: &TargetKey| {
            let nothing =
                || ReadResult::Unavailable(Failure::new(FailureClass::Unknown, format!("read {target}: no answer")));
            (target.clone(), seen.get(&target.id).cloned().unwrap_or_else(nothing))
        };
        targets.iter().map(answer).collect()
    }

    async fn observe_rules(&self, target: &TargetKey, rules: &BTreeSet<RuleId>) -> Result<RulesSeen, Failure> {
        self.observe_by_id(&target.id, rules).await
    }

    async fn authorize(&self, call: &Authorize) -> Result<Answered<Vec<ObservedRule>>, Failure> {
        self.authorize_call(call).await
    }

    async fn revoke(&self, rules: &[OwnedRule]) -> Result<Answered<BTreeSet<RuleId>>, Failure> {
        match one_group(rules)? {
            Some((group, ids)) => self.revoke_ids(group, ids).await,
            None => Ok(Answered { value: BTreeSet::new(), request_id: None }),
        }
    }

    fn marking(&self) -> Option<&dyn Marking> {
        Some(self)
    }

    fn auto_closing(&self) -> Option<&dyn AutoClosing> {
        Some(self)
    }

    fn discovery(&self) -> Option<&dyn Discovery> {
        Some(self)
    }

    fn network(&self) -> Option<&dyn Interfaces> {
        Some(&*self.client)
    }

    fn access(&self) -> Option<&dyn CallerAccess> {
        Some(self)
    }
}

#[async_trait]
impl Marking for SecurityGroups {
    async fn tag(&self, rules: &[OwnedRule], tags: &BTreeMap<String, String>) -> Result<Answered<()>, Failure> {
        match one_group(rules)? {
            Some((group, ids)) => self.tag_ids(group, ids, tags).await,
            None => Ok(Answered { value: (), request_id: None }),
        }
    }

    async fn untag(&self, rule: &OwnedRule, tags: &BTreeMap<String, String>) -> Result<Answered<()>, Failure> {
        self.untag_id(&rule.target().id, &rule.id().0, tags).await
    }
}

#[async_trait]
impl AutoClosing for SecurityGroups {
    async fn read_auto_close(&self, group: &str, rule: &RuleId, way: &AutoCloseRoute) -> AutoCloseSeen {
        self.read_schedule(group, rule, way).await.unwrap_or_else(AutoCloseSeen::Unreadable)
    }

    async fn set_auto_close(&self, rule: &OwnedRule, auto_close: &SetAutoClose) -> Result<Answered<()>, Failure> {
        self.set_schedule(&rule.target().id, rule.id(), auto_close).await
    }

    async fn drop_auto_close(&self, rule: &RuleId, way: &AutoCloseRoute) -> Result<Answered<()>, Failure> {
        self.drop_schedule(rule, way).await
    }
}

#[async_trait]
impl Discovery for SecurityGroups {
    async fn groups(&self, meant: Option<&Selector>) -> Result<Vec<ListedGroup>, Failure> {
        self.list_groups(meant).await
    }

    async fn regions(&self) -> Result<BTreeSet<String>, Failure> {
        self.client.enabled_regions().await
    }

    async fn marked(&self, like: &TargetKey) -> Result<BTreeMap<TargetKey, ReadResult>, Failure> {
        let key = |id: String| TargetKey { id, ..like.clone() };
        Ok(self.marked_groups().await?.into_iter().map(|(id, read)| (key(id), read)).collect())
    }
}

#[async_trait]
impl CallerAccess for SecurityGroups {
    async fn caller(&self) -> Result<Caller, Failure> {
        self.client.known_caller().await.cloned()
    }

    async fn rights(&self, group: &str, permission: &Permission, tags: &BTreeMap<String, String>) -> Rights {
        self.dry_runs(group, permission, tags).await
    }

    async fn credentials_end(&self) -> CredentialsEnd {
        self.client.credentials_end().await
    }
}
