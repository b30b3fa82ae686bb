//! Marks on the container: a step is the write of one tag, before the entries that it opens and after those that it closes.
//!
//! | step | requests |
//! |---|---|
//! | authorize | the tag, then the entries |
//! | revoke | the entries, then the tag |
//! | join, retag, restore, leave, unmark | the tag |
//! | collect | the entries: they are marked by others, or by nobody any more |
//!
//! The tag is written as a whole, from the record ([`tag_list`]). So one write concerns every lease that it names: all of
//! them are dated before it, and none closes while a write can still land ([`marks_may_return`]).

use super::{rule_call::RuleCall, target::TargetRun};
use crate::{error::CommandError, reconcile::loaded_record::LoadedTarget};
use eg_model::{
    Timestamp,
    container_mark::{ContainerMark, relist},
    failure::{Failure, FailureClass},
    ids::{LeaseId, RuleId},
    lease::{Attempt, Lease},
    net::permission::Permission,
    observation::{Effect, Observation},
    plan::{Step, marks_may_return, named_newly, tag_list},
    tags::lease_key,
    target::MarkPlace,
};
use eg_providers::{Answered, Firewall};
use eg_state::RowOutcome;
use std::collections::{BTreeMap, BTreeSet};

/// One write of this installation's tag on a container.
pub(super) struct TagWrite {
    /// The leases that the tag names, by digest.
    list: BTreeMap<String, Timestamp>,
    /// A join counts only once a reading shows it.
    joins: bool,
}

/// The time until which the permissions of a step are kept; `None` if it lets go of them.
fn kept_until(step: &Step) -> Option<Timestamp> {
    match step {
        Step::Authorize { until, .. }
        | Step::Join { until, .. }
        | Step::Restore { until, .. }
        | Step::Retag { until, .. } => Some(*until),
        _ => None,
    }
}

impl TargetRun<'_> {
    /// True if the marks are in a tag of the container.
    pub(super) fn marks_container(&self) -> bool {
        matches!(self.capabilities().marks, MarkPlace::Container { .. })
    }

    /// The tag as a step for these leases writes it; `Some(None)` if the step writes none. Dates the other leases that it
    /// names newly. `None` if one of those has changed meanwhile.
    pub(super) fn prepare_tag(
        &mut self,
        step: &Step,
        before: &[Lease],
        loaded: &LoadedTarget,
    ) -> Result<Option<Option<TagWrite>>, CommandError> {
        if !self.marks_container() || matches!(step, Step::Collect { .. }) {
            return Ok(Some(None));
        }
        let now = self.now();
        let permissions: Vec<Permission> = before.iter().map(|lease| lease.permission).collect();
        let leases = self.driver.store().open_leases_on(&self.key)?;
        let list = tag_list(&self.key.id, &leases, &loaded.wants, (&permissions, kept_until(step)), now);
        let Observation::Complete(reading) = &self.reading.observation else { return Ok(None) };
        let us = self.driver.store().installation().clone();
        let others = named_newly(&self.key.id, &leases, &list, reading, &us);
        let others = others.into_iter().filter(|lease| !permissions.contains(&lease.permission));
        let dated: Vec<(Lease, u64)> =
            others.map(|lease| (self.intent(lease, Attempt::Other, now), lease.version)).collect();
        if !dated.is_empty() {
            let written = self.driver.store_of(&self.key).write_leases(&dated, &[]);
            if self.unless_unwritable(written)? == Some(RowOutcome::Raced) {
                return Ok(None);
            }
        }
        Ok(Some(Some(TagWrite { list, joins: matches!(step, Step::Join { .. }) })))
    }

    /// Sends the requests of a step that changes rules by their ids. The answer names the rules that a revoke has closed.
    pub(super) async fn send_with_tag(
        &mut self,
        firewall: &dyn Firewall,
        call: &RuleCall<'_>,
        tag: &TagWrite,
        intents: &[Lease],
    ) -> Result<Answered<BTreeSet<RuleId>>, Failure> {
        let RuleCall::Revoke(rules) = call else {
            let written = self.write_tag(firewall, tag).await?;
            return Ok(Answered { value: BTreeSet::new(), request_id: written.request_id });
        };
        let answer = firewall.revoke(rules).await?;
        answer.value.iter().for_each(|rule| self.apply_known(Effect::Removed(rule.clone())));
        if rules.iter().any(|rule| !answer.value.contains(rule.id())) {
            let why = format!("revoke on {}: the answer does not confirm every entry", self.key.id);
            return Err(Failure::new(FailureClass::Unknown, why));
        }
        self.write_tag_after_entries(firewall, tag, intents).await?;
        Ok(answer)
    }

    /// Writes the tag, and shows it on the reading.
    pub(super) async fn write_tag(&mut self, firewall: &dyn Firewall, tag: &TagWrite) -> Result<Answered<()>, Failure> {
        let answer = self.send_tag(firewall, tag).await?;
        if !tag.joins {
            self.show_tag(tag);
        }
        Ok(answer)
    }

    async fn send_tag(&self, firewall: &dyn Firewall, tag: &TagWrite) -> Result<Answered<()>, Failure> {
        let failed = |class, why: String| Failure::new(class, format!("mark {}: {why}", self.key.id));
        let value = ContainerMark::write(&tag.list).ok_or_else(|| {
            let most = tag.list.len().saturating_sub(1);
            failed(FailureClass::Limit, format!("its tag for this machine has room for {most} addresses at most"))
        })?;
        let marking = firewall.container_marking();
        let marking = marking.ok_or_else(|| failed(FailureClass::Invalid, "it carries no tags".to_owned()))?;
        let key = lease_key(self.driver.store().installation());
        marking.write_mark(&self.key, &key, Some(value.as_str()).filter(|value| !value.is_empty())).await
    }

    /// Shows on the reading what the tag says by now.
    pub(super) fn show_tag(&mut self, tag: &TagWrite) {
        let (container, us) = (self.key.id.clone(), self.driver.store().installation().clone());
        if let Some(reading) = self.rules_read() {
            relist(reading, &container, &us, &tag.list);
        }
    }

    /// Takes marks off after their entries are gone. Too fast is no reason to leave them there: it is tried again at once.
    pub(super) async fn write_tag_after_entries(
        &mut self,
        firewall: &dyn Firewall,
        tag: &TagWrite,
        intents: &[Lease],
    ) -> Result<Answered<()>, Failure> {
        // A full disk: a tag that is written late must find the leases that it names on record. The next pass takes it off.
        if !self.are_on_record(intents) {
            let why = format!("mark {}: the record cannot be written", self.key.id);
            return Err(Failure::new(FailureClass::Transient, why));
        }
        loop {
            let written = self.write_tag(firewall, tag).await;
            let too_fast = matches!(&written, Err(failure) if failure.class == FailureClass::Throttled);
            if !too_fast || !self.budget.after_throttling().await {
                return written;
            }
        }
    }

    fn are_on_record(&self, intents: &[Lease]) -> bool {
        let open = self.driver.store().open_leases_on(&self.key);
        let same = |intent: &Lease, known: &Lease| (known.id, known.version) == (intent.id, intent.version);
        open.is_ok_and(|open| intents.iter().all(|intent| open.iter().any(|known| same(intent, known))))
    }

    /// True if a write of the tag, other than the one of these intents, could still bring back a mark when that one was sent.
    pub(super) fn marks_may_return(&self, answered: &[Lease]) -> Result<bool, CommandError> {
        if !self.marks_container() {
            return Ok(false);
        }
        let open = self.driver.store().open_leases_on(&self.key)?;
        let sent = answered.iter().filter_map(|lease| lease.in_flight).min().unwrap_or_else(|| self.now());
        let answered: Vec<LeaseId> = answered.iter().map(|lease| lease.id).collect();
        Ok(marks_may_return(&open, &answered, sent))
    }
}
