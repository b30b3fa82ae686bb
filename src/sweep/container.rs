//! The tags of a container, once its entries are closed. The dead ones are removed, each with the value that was judged.
//!
//! | after a call | next |
//! |---|---|
//! | a reading no longer shows the tag | removed |
//! | a reading shows the tag with another value | held again: its installation is there |
//! | a reading still shows it | read again after 1, 2, 4 seconds, and try again; then not known |
//! | refused | reported |

use super::{
    group::{GroupRun, Outcome},
    reading::{AccountRegion, UnreadRegion},
};
use eg_model::{
    failure::{Failure, FailureClass},
    ids::InstallationId,
    observation::ObservedRule,
    sweep::{
        dead_marks::{ContainerTags, DeadMark, dead_marks},
        judge::SweepScope,
    },
    target::TargetKey,
};
use eg_providers::ContainerMarking;
use std::sync::Arc;

/// A dead tag, and what became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TagRow {
    pub place: AccountRegion,
    pub target: TargetKey,
    pub mark: DeadMark,
    pub outcome: Outcome,
}

impl GroupRun<'_> {
    /// Removes the dead tags; with `show`, only names them. A tag is the proof of the entries that it names. So no tag is
    /// removed while an entry that was to be closed may still be there, or one that its installation has marked: such an
    /// entry may have become due only now.
    pub(super) async fn remove_tags(&mut self, show: bool) -> Result<Vec<TagRow>, Box<UnreadRegion>> {
        let firewall = Arc::clone(&self.group.firewall);
        let (Some(marking), SweepScope::Expired { older_than }) = (firewall.container_marking(), self.scope) else {
            return Ok(Vec::new());
        };
        if !show && self.may_be_open() {
            return Ok(Vec::new());
        }
        let (place, target) = (self.group.place.clone(), self.group.target.clone());
        let unread = |failure| Box::new(place.unread(Some(target.id.clone()), failure));
        if self.budget.is_over() {
            let why = "the tags were not looked at: the sweep was over before";
            return Err(unread(Failure::new(FailureClass::Unknown, why)));
        }
        let seen = self.read_tags(marking).await.map_err(unread)?;
        let mut rows = Vec::new();
        for mark in dead_marks(&seen, *older_than) {
            if self.is_needed(&mark.installation) {
                continue;
            }
            let outcome = match (show, self.budget.is_over()) {
                (true, _) => Outcome::Planned,
                (false, true) => Outcome::Undone(None),
                (false, false) => self.remove_tag(marking, &mark).await,
            };
            rows.push(TagRow { place: place.clone(), target: target.clone(), mark, outcome });
        }
        Ok(rows)
    }

    /// True if an entry has a mark of this installation, and is not known to be gone when the sweep ends.
    fn is_needed(&self, installation: &InstallationId) -> bool {
        let marked = |rule: &&ObservedRule| rule.marks(&self.group.target.id).leases.contains_key(installation);
        let goes = |rule: &ObservedRule| {
            matches!(self.outcome(&rule.id), Some(Outcome::Planned | Outcome::Done | Outcome::Gone))
        };
        self.group.reading.rules.iter().filter(marked).any(|rule| !goes(rule))
    }

    async fn remove_tag(&mut self, marking: &dyn ContainerMarking, mark: &DeadMark) -> Outcome {
        let target = self.group.target.clone();
        loop {
            let failure = marking.remove_mark(&target, &mark.key, &mark.value).await.err();
            if let Some(failure) = &failure
                && !self.may_read_again(failure.clone()).await
            {
                return Outcome::Refused(failure.clone());
            }
            match self.read_tags(marking).await {
                Err(why) => return Outcome::Unknown(Some(why)),
                Ok(seen) => match seen.tags.get(&mark.key) {
                    None => return Outcome::Done,
                    Some(value) if *value != mark.value => return Outcome::HeldAgain,
                    Some(_) if failure.is_none() && !self.budget.before_reading_again().await => {
                        return Outcome::Unknown(None);
                    }
                    Some(_) => {}
                },
            }
        }
    }

    async fn read_tags(&mut self, marking: &dyn ContainerMarking) -> Result<ContainerTags, Failure> {
        loop {
            match marking.read_marks(&self.group.target).await {
                Ok(seen) => return Ok(seen),
                Err(failure) if self.may_read_again(failure.clone()).await => {}
                Err(failure) => return Err(failure),
            }
        }
    }
}
