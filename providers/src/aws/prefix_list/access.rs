//! Marks on lists, the caller's rights, and the lists of a region.

use super::{firewall::PrefixLists, kind::PREFIX_LIST, observe::ChangeState};
use crate::{
    Answered, Caller, CallerAccess, ContainerMarking, CredentialsEnd, ListedGroup, Rights, Verdict,
    aws::{
        action::Action,
        address_list::check_key,
        errors::{dry_run::verdict, failure::of_call},
        read::rule::ec2_tags,
    },
};
use async_trait::async_trait;
use aws_sdk_ec2::types::{RemovePrefixListEntry, Tag};
use aws_types::request_id::RequestId;
use eg_model::{
    container_mark::spare_mark,
    failure::{Failure, FailureClass},
    net::{address::IpVersion, permission::Permission},
    sweep::dead_marks::ContainerTags,
    tags::{LEASE_PREFIX, MANAGED_BY, MANAGED_BY_EG},
    target::TargetKey,
};
use std::collections::BTreeMap;

#[async_trait]
impl ContainerMarking for PrefixLists {
    /// `CreateTags`, or `DeleteTags` by key alone: nobody but its installation writes the tag. Where no more tags fit, one
    /// that was left behind makes room.
    async fn write_mark(&self, target: &TargetKey, key: &str, value: Option<&str>) -> Result<Answered<()>, Failure> {
        let list = &target.id;
        let tried = format!("mark {list}");
        check_key(&tried, key)?;
        let tag = Tag::builder().key(key).set_value(value.map(str::to_owned)).build();
        if value.is_none() {
            return self.delete_tag(&tried, list, tag).await;
        }
        let request = self.client.ec2.create_tags().resources(list).tags(tag);
        let send = async || {
            let answer = self.client.call(Action::CreateTags, list, || request.clone().send()).await;
            answer.map_err(|error| of_call(&tried, &error))
        };
        let answer = match send().await {
            Err(full) if full.class == FailureClass::Limit && self.drop_spare_mark(&tried, list).await => send().await,
            answer => answer,
        };
        let request_id = answer?.request_id().map(str::to_owned);
        Ok(Answered { value: (), request_id })
    }

    async fn read_marks(&self, target: &TargetKey) -> Result<ContainerTags, Failure> {
        let list = self.describe_one(&format!("read {}", target.id), &target.id).await?;
        Ok(ContainerTags { tags: list.tags, read_at: list.read_at, provider_time: list.provider_time })
    }

    async fn remove_mark(&self, target: &TargetKey, key: &str, value: &str) -> Result<Answered<()>, Failure> {
        let tried = format!("remove a mark of {}", target.id);
        check_key(&tried, key)?;
        self.delete_tag(&tried, &target.id, Tag::builder().key(key).value(value).build()).await
    }
}

/// The first address of a documentation network (RFC 5737, RFC 3849), which no list holds for a purpose.
fn probe(version: IpVersion) -> &'static str {
    match version {
        IpVersion::V4 => "192.0.2.0/32",
        IpVersion::V6 => "2001:db8::/128",
    }
}

#[async_trait]
impl CallerAccess for PrefixLists {
    async fn caller(&self) -> Result<Caller, Failure> {
        self.client.known_caller().await.cloned()
    }

    /// A dry run of a change, which opens and closes, and one of a mark. An endpoint that does not know `DryRun` refuses to
    /// remove an entry that is not there under a version that is none.
    async fn rights(&self, list: &str, permission: &Permission, tags: &BTreeMap<String, String>) -> Rights {
        #[expect(clippy::disallowed_methods, reason = "a dry run, for an entry that no list holds")]
        let change = self
            .client
            .ec2
            .modify_managed_prefix_list()
            .prefix_list_id(list)
            .current_version(1)
            .remove_entries(RemovePrefixListEntry::builder().cidr(probe(permission.ip_version())).build())
            .dry_run(true);
        let mut tags = tags.clone();
        tags.insert(MANAGED_BY.to_owned(), MANAGED_BY_EG.to_owned());
        tags.retain(|key, _| key.starts_with(LEASE_PREFIX) || key == MANAGED_BY);
        let mark = self.client.ec2.create_tags().resources(list).set_tags(Some(ec2_tags(&tags))).dry_run(true);
        let (changed, marked) = tokio::join!(
            self.client.call(Action::ModifyManagedPrefixList, format!("{list} (dry run)"), || change.clone().send()),
            self.client.call(Action::CreateTags, format!("{list} (dry run)"), || mark.clone().send()),
        );
        let change = verdict(list, "ec2:ModifyManagedPrefixList", changed);
        Rights { open: change.clone(), tag: verdict(list, "ec2:CreateTags", marked), close: once(change) }
    }

    async fn credentials_end(&self) -> CredentialsEnd {
        self.client.credentials_end().await
    }
}

/// The same right twice: its lack is told once.
fn once(verdict: Verdict) -> Verdict {
    match verdict {
        Verdict::Denied(failure) => {
            let untold = "a prefix list has one right for opening and closing";
            Verdict::Unknown(Failure { message: untold.to_owned(), ..failure })
        }
        other => other,
    }
}

impl PrefixLists {
    /// With a value: only if the tag has it.
    async fn delete_tag(&self, tried: &str, list: &str, tag: Tag) -> Result<Answered<()>, Failure> {
        let request = self.client.ec2.delete_tags().resources(list).tags(tag);
        let answer = self.client.call(Action::DeleteTags, list, || request.clone().send()).await;
        let request_id = answer.map_err(|error| of_call(tried, &error))?.request_id().map(str::to_owned);
        Ok(Answered { value: (), request_id })
    }

    /// Makes room for a tag: takes off the mark of an installation that has left it behind. False if there is none, or it
    /// could not be taken off.
    async fn drop_spare_mark(&self, tried: &str, list: &str) -> bool {
        let dropped = async {
            let found = self.describe_one(tried, list).await?;
            let read = self.entries(tried, list, found.version).await?;
            let shown = read.entries.iter().map(|entry| entry.permission().digest(list)).collect();
            let spare = found.provider_time.and_then(|now| spare_mark(&found.tags, &shown, now));
            let Some((key, value)) = spare else { return Ok(false) };
            // By its value, too: its installation may be writing another one.
            let tag = Tag::builder().key(key).value(value).build();
            self.delete_tag(tried, list, tag).await.map(|_| true)
        };
        dropped.await.inspect_err(|failure| tracing::info!("no room for another tag: {failure}")).unwrap_or(false)
    }

    /// The lists of the caller's account that it can change.
    pub(super) async fn list(&self, tried: &str) -> Result<Vec<ListedGroup>, Failure> {
        let account = &self.client.known_caller().await?.account;
        let lists = self.describe(tried, &[]).await?.into_values();
        let own = lists.filter(|list| list.state != ChangeState::Deleted && list.check(tried, account).is_ok());
        Ok(own.map(|list| ListedGroup::bare(&PREFIX_LIST, list.id, list.name, list.tags)).collect())
    }
}
