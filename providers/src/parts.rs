//! The optional parts of a firewall, asked for by callers that do not know the kind: a kind without the part answers with
//! a plain failure, and nothing is sent.

use crate::{
    access::{CallerAccess, CredentialsEnd, Rights, Verdict},
    auto_close::{AutoClosing, SetAutoClose},
    discovery::{Discovery, ListedGroup},
    firewall::Firewall,
    marks::Marking,
    types::{Answered, Caller, ReadResult},
};
use eg_model::{
    auto_close::{AutoCloseRoute, AutoCloseSeen},
    failure::{Failure, FailureClass},
    ids::RuleId,
    net::permission::Permission,
    observation::OwnedRule,
    selector::Selector,
    target::TargetKey,
};
use std::collections::{BTreeMap, BTreeSet};

fn lacking(what: &str) -> Failure {
    Failure::new(FailureClass::Invalid, format!("this kind of firewall {what}"))
}

impl dyn Firewall + '_ {
    fn marks(&self) -> Result<&dyn Marking, Failure> {
        self.marking().ok_or_else(|| lacking("has no tags on rules"))
    }

    fn auto_close(&self) -> Result<&dyn AutoClosing, Failure> {
        self.auto_closing().ok_or_else(|| lacking("does not close rules by itself"))
    }

    fn directory(&self) -> Result<&dyn Discovery, Failure> {
        self.discovery().ok_or_else(|| lacking("does not list its targets"))
    }

    fn credentials(&self) -> Result<&dyn CallerAccess, Failure> {
        self.access().ok_or_else(|| lacking("does not tell the caller's rights"))
    }

    pub async fn tag(&self, rules: &[OwnedRule], tags: &BTreeMap<String, String>) -> Result<Answered<()>, Failure> {
        self.marks()?.tag(rules, tags).await
    }

    pub async fn untag(&self, rule: &OwnedRule, tags: &BTreeMap<String, String>) -> Result<Answered<()>, Failure> {
        self.marks()?.untag(rule, tags).await
    }

    pub async fn read_auto_close(&self, group: &str, rule: &RuleId, way: &AutoCloseRoute) -> AutoCloseSeen {
        match self.auto_close() {
            Ok(part) => part.read_auto_close(group, rule, way).await,
            Err(failure) => AutoCloseSeen::Unreadable(failure),
        }
    }

    pub async fn set_auto_close(&self, rule: &OwnedRule, auto_close: &SetAutoClose) -> Result<Answered<()>, Failure> {
        self.auto_close()?.set_auto_close(rule, auto_close).await
    }

    pub async fn drop_auto_close(&self, rule: &RuleId, way: &AutoCloseRoute) -> Result<Answered<()>, Failure> {
        self.auto_close()?.drop_auto_close(rule, way).await
    }

    pub async fn groups(&self, meant: Option<&Selector>) -> Result<Vec<ListedGroup>, Failure> {
        self.directory()?.groups(meant).await
    }

    pub async fn regions(&self) -> Result<BTreeSet<String>, Failure> {
        self.directory()?.regions().await
    }

    pub async fn marked(&self, like: &TargetKey) -> Result<BTreeMap<TargetKey, ReadResult>, Failure> {
        self.directory()?.marked(like).await
    }

    pub async fn caller(&self) -> Result<Caller, Failure> {
        self.credentials()?.caller().await
    }

    pub async fn rights(&self, group: &str, permission: &Permission, tags: &BTreeMap<String, String>) -> Rights {
        match self.credentials() {
            Ok(part) => part.rights(group, permission, tags).await,
            Err(failure) => {
                let [open, tag, close] = [failure.clone(), failure.clone(), failure].map(Verdict::Unknown);
                Rights { open, tag, close }
            }
        }
    }

    pub async fn credentials_end(&self) -> CredentialsEnd {
        match self.access() {
            Some(part) => part.credentials_end().await,
            None => CredentialsEnd::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Authorize, RulesSeen};
    use async_trait::async_trait;
    use eg_model::{observation::ObservedRule, target::Capabilities};

    /// A kind of firewall with nothing but the core.
    struct Bare;

    #[async_trait]
    impl Firewall for Bare {
        fn capabilities(&self) -> Capabilities {
            Capabilities::LEAST
        }

        async fn observe(&self, _: &BTreeSet<TargetKey>) -> BTreeMap<TargetKey, ReadResult> {
            BTreeMap::new()
        }

        async fn observe_rules(&self, _: &TargetKey, _: &BTreeSet<RuleId>) -> Result<RulesSeen, Failure> {
            Err(lacking("is bare"))
        }

        async fn authorize(&self, _: &Authorize) -> Result<Answered<Vec<ObservedRule>>, Failure> {
            Err(lacking("is bare"))
        }

        async fn revoke(&self, _: &[OwnedRule]) -> Result<Answered<BTreeSet<RuleId>>, Failure> {
            Err(lacking("is bare"))
        }
    }

    #[tokio::test]
    async fn a_kind_without_a_part_says_so() {
        let bare: &dyn Firewall = &Bare;
        let rule = RuleId("r-1".to_owned());
        let way = AutoCloseRoute { role_arn: String::new(), group: String::new() };
        let refused = [
            bare.tag(&[], &BTreeMap::new()).await.unwrap_err(),
            bare.drop_auto_close(&rule, &way).await.unwrap_err(),
            bare.groups(None).await.unwrap_err(),
            bare.regions().await.unwrap_err(),
            bare.caller().await.unwrap_err(),
        ];
        assert!(refused.iter().all(|failure| failure.class == FailureClass::Invalid), "{refused:?}");
        assert_eq!(refused[0].message, "this kind of firewall has no tags on rules");
        assert!(matches!(bare.read_auto_close("g", &rule, &way).await, AutoCloseSeen::Unreadable(_)));
        let any = Permission::for_host(eg_model::net::permission::PortSpec::Tcp(1, 1), [192, 0, 2, 1].into());
        assert_eq!(bare.rights("g", &any, &BTreeMap::new()).await.denied(), [], "nothing is known to be denied");
        assert_eq!(bare.credentials_end().await, CredentialsEnd::Unknown);
    }
}
