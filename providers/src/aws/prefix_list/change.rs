//! Changes of a list. Each is made under the version that it was decided on, so that AWS refuses it if somebody else has
//! changed the list since. It is then decided anew, on the next version.
//!
//! | what happens | outcome |
//! |---|---|
//! | the list has another version (`PrefixListVersionMismatch`) | read and decide again; after [`CONFLICTS_MAX`] times: changed meanwhile |
//! | another change is in progress | wait and read again; at the deadline: nothing was sent, try again |
//! | the change is done, and the next version holds it | done |
//! | the next version does not hold it | somebody else's change came, and this one failed: changed meanwhile |
//! | `modify-failed` | refused, with AWS's state message |
//! | still in progress at the deadline, or the list cannot be read | not known |
//!
//! `ModifyManagedPrefixList` replaces the description of an entry that is there already. So an entry that somebody else
//! made is refused here, before anything is sent.

use super::{
    entry::{ListEntry, describe},
    firewall::PrefixLists,
    observe::{ChangeState, ListDescription},
};
use crate::{
    Answered, Authorize,
    aws::{
        action::Action,
        errors::failure::{nothing_sent, of_call},
    },
};
use aws_sdk_ec2::types::{AddPrefixListEntry, RemovePrefixListEntry};
use aws_types::request_id::RequestId;
use eg_model::{
    failure::{Failure, FailureClass},
    ids::RuleId,
    net::{
        address::IpVersion,
        permission::{Permission, PortSpec},
    },
    observation::ObservedRule,
};
use std::{collections::BTreeSet, time::Duration};
use tokio::time::{Instant, sleep};

/// The number of times that a change is sent under a version that is not the list's any more.
const CONFLICTS_MAX: u32 = 5;
/// The first wait for a change in progress; each further one is twice as long, up to [`LONGEST_WAIT`].
const FIRST_WAIT: Duration = Duration::from_millis(100);
const LONGEST_WAIT: Duration = Duration::from_secs(2);

/// What one request changes.
struct Edit {
    add: Vec<ListEntry>,
    remove: Vec<ListEntry>,
}

impl Edit {
    fn is_in(&self, entries: &[ListEntry]) -> bool {
        self.add.iter().all(|entry| entries.iter().any(|known| known.id() == entry.id()))
            && !self.remove.iter().any(|entry| entries.iter().any(|known| known.id() == entry.id()))
    }
}

/// The end of one attempt.
enum ChangeAttempt {
    Done(Option<String>),
    /// Nothing was changed, and the list may be ready for the next attempt.
    Conflict(Failure),
    InProgress(Failure),
}

/// Waits that grow, until a deadline.
struct Waits {
    next: Duration,
    deadline: Instant,
}

impl Waits {
    fn until(deadline: Instant) -> Self {
        Self { next: FIRST_WAIT, deadline }
    }

    /// False if the deadline does not allow another wait.
    async fn wait(&mut self) -> bool {
        let wait = self.next;
        self.next = (wait * 2).min(LONGEST_WAIT);
        let fits = Instant::now() + wait < self.deadline;
        if fits {
            sleep(wait).await;
        }
        fits
    }
}

impl PrefixLists {
    /// Adds an entry for each permission of a call.
    pub(super) async fn add(&self, call: &Authorize) -> Result<Answered<Vec<ObservedRule>>, Failure> {
        let list = &call.group;
        let named: Vec<String> = call.permissions.iter().map(|permission| permission.cidr().to_string()).collect();
        let tried = format!("open {} on {list}", named.join(", "));
        let refused = |class, why: &str| Failure::new(class, format!("{tried}: {why}"));
        if call.permissions.iter().any(|permission| permission.spec() != Some(PortSpec::All)) {
            return Err(refused(FailureClass::Invalid, "a prefix list has no ports"));
        }
        let decide = |found: &ListDescription, entries: &[ListEntry]| {
            if let Some(permission) = call.permissions.iter().find(|p| p.ip_version() != found.family) {
                return Err(refused(FailureClass::Invalid, &wrong_family(permission, found.family)));
            }
            let there = |permission: &&Permission| entries.iter().any(|entry| entry.cidr == permission.cidr());
            if let Some(permission) = call.permissions.iter().find(there) {
                return Err(refused(FailureClass::Stale, &format!("the list has an entry for {}", permission.cidr())));
            }
            if entries.len() + call.permissions.len() > found.max_entries {
                let (held, most) = (entries.len(), found.max_entries);
                return Err(refused(FailureClass::Limit, &format!("the list holds {held} of at most {most} entries")));
            }
            let description = Some(describe(&call.description, &call.nonce, found.now()));
            let entry =
                |permission: &Permission| ListEntry { cidr: permission.cidr(), description: description.clone() };
            Ok(Edit { add: call.permissions.iter().map(entry).collect(), remove: Vec::new() })
        };
        let (edit, request_id) = self.change(list, &tried, decide).await?;
        let rule = |entry: ListEntry| ObservedRule {
            id: entry.id(),
            permission: entry.permission(),
            description: entry.description,
            tags: call.tags.clone(),
        };
        Ok(Answered { value: edit.add.into_iter().map(rule).collect(), request_id })
    }

    /// Removes entries by their ids. An entry for the same CIDR that somebody else has made has another id, and stays.
    pub(super) async fn remove(
        &self,
        list: &str,
        ids: BTreeSet<RuleId>,
    ) -> Result<Answered<BTreeSet<RuleId>>, Failure> {
        let named: Vec<&str> = ids.iter().map(|id| id.0.as_str()).collect();
        let tried = format!("close {} on {list}", named.join(", "));
        let decide = |_: &ListDescription, entries: &[ListEntry]| {
            let find = |id: &RuleId| {
                let gone =
                    || Failure::new(FailureClass::Stale, format!("{tried}: {} is not in the list any more", id.0));
                entries.iter().find(|entry| entry.id() == *id).cloned().ok_or_else(gone)
            };
            Ok(Edit { add: Vec::new(), remove: ids.iter().map(find).collect::<Result<_, _>>()? })
        };
        let (_, request_id) = self.change(list, &tried, decide).await?;
        Ok(Answered { value: ids, request_id })
    }

    /// Makes a change, decided on the entries of the current version; again if that is not the current one any more.
    async fn change(
        &self,
        list: &str,
        tried: &str,
        decide: impl Fn(&ListDescription, &[ListEntry]) -> Result<Edit, Failure>,
    ) -> Result<(Edit, Option<String>), Failure> {
        let mut waits = Waits::until(Instant::now() + self.client.call_timeout);
        let mut conflicts = 0;
        loop {
            let found = self.describe_one(tried, list).await.map_err(nothing_sent)?;
            let caller = self.client.known_caller().await.map_err(nothing_sent)?;
            found.check(tried, &caller.account)?;
            let (attempt, edit) = match found.state {
                ChangeState::InProgress => {
                    let message = format!("{tried}: another change of the list is in progress");
                    (ChangeAttempt::InProgress(Failure::new(FailureClass::Throttled, message)), None)
                }
                ChangeState::Ready | ChangeState::Failed(_) | ChangeState::Deleted => {
                    let read = self.entries(tried, list, found.version).await.map_err(nothing_sent)?;
                    let edit = decide(&found, &read.entries)?;
                    (self.attempt(tried, &found, &edit).await?, Some(edit))
                }
            };
            let failure = match (attempt, edit) {
                (ChangeAttempt::Done(request_id), Some(edit)) => return Ok((edit, request_id)),
                (ChangeAttempt::Done(_), None) => continue,
                (ChangeAttempt::InProgress(failure), _) => failure,
                (ChangeAttempt::Conflict(failure), _) => {
                    conflicts += 1;
                    failure
                }
            };
            if conflicts == CONFLICTS_MAX || !waits.wait().await {
                return Err(failure);
            }
        }
    }

    /// Sends a change under the version that it was decided on, and follows it.
    async fn attempt(&self, tried: &str, found: &ListDescription, edit: &Edit) -> Result<ChangeAttempt, Failure> {
        let add = |entry: &ListEntry| {
            AddPrefixListEntry::builder()
                .cidr(entry.cidr.to_string())
                .set_description(entry.description.clone())
                .build()
        };
        let remove = |entry: &ListEntry| RemovePrefixListEntry::builder().cidr(entry.cidr.to_string()).build();
        let some = |entries: &[ListEntry]| !entries.is_empty();
        #[expect(clippy::disallowed_methods, reason = "the one place: under the version that was read")]
        let request = self
            .client
            .ec2
            .modify_managed_prefix_list()
            .prefix_list_id(&found.id)
            .current_version(found.version)
            .set_add_entries(some(&edit.add).then(|| edit.add.iter().map(add).collect()))
            .set_remove_entries(some(&edit.remove).then(|| edit.remove.iter().map(remove).collect()));
        let answer = self.client.call(Action::ModifyManagedPrefixList, &found.id, || request.clone().send()).await;
        match answer.map_err(|error| of_call(tried, &error)) {
            Ok(answer) => self.follow(tried, found, edit, answer.request_id().map(str::to_owned)).await,
            Err(failure) if failure.code.ends_with("PrefixListVersionMismatch") => Ok(ChangeAttempt::Conflict(failure)),
            Err(failure) if failure.code.ends_with("IncorrectState") => Ok(ChangeAttempt::InProgress(failure)),
            Err(failure) => Err(failure),
        }
    }

    /// Follows an accepted change until it is done, failed, or not known at the deadline.
    async fn follow(
        &self,
        tried: &str,
        before: &ListDescription,
        edit: &Edit,
        request_id: Option<String>,
    ) -> Result<ChangeAttempt, Failure> {
        let mut waits = Waits::until(Instant::now() + self.client.call_timeout);
        // A reading that lags shows the list as it was, with a failure of an earlier change if there was one.
        let failed_before = matches!(before.state, ChangeState::Failed(_));
        loop {
            let (seen, why) = match self.describe_one(tried, &before.id).await {
                Ok(seen) => (Some(seen), format!("{tried}: the change was accepted and is still in progress")),
                Err(failure) => (None, failure.message),
            };
            match seen {
                Some(seen) if seen.version > before.version => {
                    // Versions are immutable, so this tells for good. Without it, a change that failed while somebody else's
                    // came would count as done.
                    if let Ok(next) = self.entries(tried, &before.id, before.version + 1).await {
                        let other = || Failure::new(FailureClass::Stale, format!("{tried}: another change came first"));
                        let done = edit.is_in(&next.entries);
                        return Ok(if done {
                            ChangeAttempt::Done(request_id)
                        } else {
                            ChangeAttempt::Conflict(other())
                        });
                    }
                }
                Some(ListDescription { state: ChangeState::Failed(why), .. }) if !failed_before => {
                    let message = format!("{tried}: the change failed: {why}");
                    return Err(Failure { request_id, ..Failure::new(FailureClass::Invalid, message) });
                }
                _ => {}
            }
            if !waits.wait().await {
                return Err(Failure { request_id, ..Failure::new(FailureClass::Unknown, why) });
            }
        }
    }
}

fn wrong_family(permission: &Permission, family: IpVersion) -> String {
    format!("the list holds IPv{} addresses only, and {} is none", family.number(), permission.cidr())
}
