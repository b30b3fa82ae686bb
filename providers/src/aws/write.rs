//! Changes: authorize, revoke, tag, untag; and what the caller may do.

use crate::{
    Answered, Authorize, Rights, Verdict,
    aws::{
        action::Action,
        errors::{
            dry_run::verdict,
            failure::{of_call, unusable},
        },
        read::rule::{self, Read},
        security_group::SecurityGroups,
        text::description,
    },
};
use aws_sdk_ec2::types::SecurityGroupRule;
use aws_types::request_id::RequestId;
use eg_model::{
    failure::Failure,
    ids::RuleId,
    net::{
        address::IpVersion,
        permission::{Permission, PortSpec},
    },
    observation::ObservedRule,
    tags::{MANAGED_BY, MANAGED_BY_EG},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

/// "tcp/22, tcp/443 from 203.0.113.42/32": what a call opens, for people; at most three ports are named.
fn opening(permissions: &[Permission]) -> String {
    let named: Vec<String> = permissions.iter().take(3).map(|p| format!("{} from {}", p.ports(), p.cidr())).collect();
    match permissions.len().saturating_sub(named.len()) {
        0 => named.join(", "),
        more => format!("{} and {more} more", named.join(", ")),
    }
}

/// The rules that an answer lists for the permissions asked for. AWS lists each one; some endpoints do not, and then
/// a reading has to tell the ids of the rest.
fn new_rules(call: &Authorize, listed: &[SecurityGroupRule]) -> Vec<ObservedRule> {
    let read = |rule: &SecurityGroupRule| {
        // Some endpoints leave the direction out of this answer; the call says it.
        let mut rule = rule.clone();
        rule.is_egress.get_or_insert(false);
        match rule::read(&rule) {
            Read::Rule(mut rule) => {
                if rule.tags.is_empty() {
                    rule.tags = call.tags.clone();
                }
                rule.description.get_or_insert_with(|| description(&call.description));
                Some(rule)
            }
            Read::Egress | Read::Other | Read::Unreadable(_) => None,
        }
    };
    let rules: Vec<ObservedRule> = listed.iter().filter_map(read).collect();
    let of = |permission: &Permission| rules.iter().find(|rule| rule.permission == *permission).cloned();
    call.permissions.iter().filter_map(of).collect()
}

impl SecurityGroups {
    /// `AuthorizeSecurityGroupIngress`, tags in the same call.
    pub(super) async fn authorize_call(&self, call: &Authorize) -> Result<Answered<Vec<ObservedRule>>, Failure> {
        let tried = format!("open {} on {}", opening(&call.permissions), call.group);
        let description = description(&call.description);
        let description = (!description.is_empty()).then_some(description);
        let permissions = call.permissions.iter().map(|p| rule::ip_permission(p, description.as_deref())).collect();
        let request = self
            .client
            .ec2
            .authorize_security_group_ingress()
            .group_id(&call.group)
            .set_ip_permissions(Some(permissions))
            .set_tag_specifications(rule::tag_specification(&call.tags));
        let answer =
            self.client.call(Action::AuthorizeSecurityGroupIngress, &call.group, || request.clone().send()).await;
        let answer = answer.map_err(|error| of_call(&tried, &error))?;
        let request_id = answer.request_id().map(str::to_owned);
        let value = new_rules(call, answer.security_group_rules());
        if value.is_empty() && answer.r#return() == Some(false) {
            return Err(unusable(&tried, "the answer says that it was not done", request_id.as_deref()));
        }
        Ok(Answered { value, request_id })
    }

    /// `RevokeSecurityGroupIngress` by rule id, never by permission: that would close whatever allows the same. Some
    /// endpoints answer without a list; then the set is empty and only another look can tell.
    pub(super) async fn revoke_ids(
        &self,
        group: &str,
        ids: Vec<String>,
    ) -> Result<Answered<BTreeSet<RuleId>>, Failure> {
        let tried = format!("close {} on {group}", ids.join(", "));
        let asked: BTreeSet<String> = ids.iter().cloned().collect();
        #[expect(
            clippy::disallowed_methods,
            reason = "the one place: by id, and `Firewall::revoke` takes owned rules only"
        )]
        let request =
            self.client.ec2.revoke_security_group_ingress().group_id(group).set_security_group_rule_ids(Some(ids));
        let answer = self.client.call(Action::RevokeSecurityGroupIngress, group, || request.clone().send()).await;
        let answer = answer.map_err(|error| of_call(&tried, &error))?;
        let request_id = answer.request_id().map(str::to_owned);
        let named = answer.revoked_security_group_rules().iter().filter_map(|rule| rule.security_group_rule_id());
        let value: BTreeSet<RuleId> = named.filter(|id| asked.contains(*id)).map(|id| RuleId(id.to_owned())).collect();
        if value.is_empty() && answer.r#return() == Some(false) {
            return Err(unusable(&tried, "the answer says that it was not done", request_id.as_deref()));
        }
        Ok(Answered { value, request_id })
    }

    /// `CreateTags`.
    pub(super) async fn tag_ids(
        &self,
        group: &str,
        ids: Vec<String>,
        tags: &BTreeMap<String, String>,
    ) -> Result<Answered<()>, Failure> {
        let tried = format!("tag {} on {group}", ids.join(", "));
        let request = self.client.ec2.create_tags().set_resources(Some(ids)).set_tags(Some(rule::ec2_tags(tags)));
        let answer = self.client.call(Action::CreateTags, group, || request.clone().send()).await;
        let answer = answer.map_err(|error| of_call(&tried, &error))?;
        Ok(Answered { value: (), request_id: answer.request_id().map(str::to_owned) })
    }

    /// `DeleteTags` by key and value: a tag with another value stays (EC2 API reference, `DeleteTags`). Without tags
    /// named, that call deletes every tag, so it is not sent.
    pub(super) async fn untag_id(
        &self,
        group: &str,
        id: &str,
        tags: &BTreeMap<String, String>,
    ) -> Result<Answered<()>, Failure> {
        if tags.is_empty() {
            return Ok(Answered { value: (), request_id: None });
        }
        let tried = format!("remove a tag from {id} on {group}");
        let request = self.client.ec2.delete_tags().resources(id).set_tags(Some(rule::ec2_tags(tags)));
        let answer = self.client.call(Action::DeleteTags, group, || request.clone().send()).await;
        let answer = answer.map_err(|error| of_call(&tried, &error))?;
        Ok(Answered { value: (), request_id: answer.request_id().map(str::to_owned) })
    }

    /// Authorize with the tags and our mark (so that `ec2:CreateTags` is asked too), and revoke, each as a dry run of
    /// [`probe`]: IAM does not look at ports and addresses, and an endpoint that does not know `DryRun` then neither
    /// opens what was asked for behind the ledger's back nor revokes a rule of a stranger. Refused, authorize is
    /// asked without any tag, to tell which of both is missing. Whether tags of existing rules may be changed
    /// (`ec2:CreateTags`, `ec2:DeleteTags` on a rule) cannot be asked before there is a rule.
    pub(super) async fn dry_runs(
        &self,
        group: &str,
        permission: &Permission,
        tags: &BTreeMap<String, String>,
    ) -> Rights {
        let probe = probe(permission);
        let mut tags = tags.clone();
        tags.insert(MANAGED_BY.to_owned(), MANAGED_BY_EG.to_owned());
        let open_and_tag = async {
            match self.dry_authorize(group, &probe, Some(&tags)).await {
                Verdict::Allowed => (Verdict::Allowed, Verdict::Allowed),
                Verdict::Unknown(failure) => (Verdict::Unknown(failure.clone()), Verdict::Unknown(failure)),
                Verdict::Denied(failure) => match self.dry_authorize(group, &probe, None).await {
                    open @ Verdict::Denied(_) => {
                        let untold = "whether tagging is permitted cannot be told before opening is";
                        (open, Verdict::Unknown(Failure { message: untold.to_owned(), ..failure }))
                    }
                    open => (open, Verdict::Denied(failure)),
                },
            }
        };
        #[expect(clippy::disallowed_methods, reason = "a dry run, of a permission that no rule has")]
        let revoke = self
            .client
            .ec2
            .revoke_security_group_ingress()
            .group_id(group)
            .ip_permissions(rule::ip_permission(&probe, None))
            .dry_run(true);
        let close = self
            .client
            .call(Action::RevokeSecurityGroupIngress, format!("{group} (dry run)"), || revoke.clone().send());
        let ((open, tag), close) = tokio::join!(open_and_tag, close);
        Rights { open, tag, close: verdict(group, "ec2:RevokeSecurityGroupIngress", close) }
    }

    async fn dry_authorize(&self, group: &str, probe: &Permission, tags: Option<&BTreeMap<String, String>>) -> Verdict {
        let request = self
            .client
            .ec2
            .authorize_security_group_ingress()
            .group_id(group)
            .ip_permissions(rule::ip_permission(probe, None))
            .set_tag_specifications(tags.and_then(rule::tag_specification))
            .dry_run(true);
        let answer = self
            .client
            .call(Action::AuthorizeSecurityGroupIngress, format!("{group} (dry run)"), || request.clone().send())
            .await;
        verdict(group, if tags.is_some() { "ec2:CreateTags" } else { "ec2:AuthorizeSecurityGroupIngress" }, answer)
    }
}

/// tcp/9 (discard) from the first address of a documentation network (RFC 5737, RFC 3849), in the permission's
/// family: a rule that would open nothing, and that does not exist.
fn probe(permission: &Permission) -> Permission {
    let address: IpAddr = match permission.ip_version() {
        IpVersion::V4 => Ipv4Addr::new(192, 0, 2, 0).into(),
        IpVersion::V6 => Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0).into(),
    };
    Permission::for_host(PortSpec::Tcp(9, 9), address)
}
