//! Leases that no live session wants any more: [`UnwantedCase`], row by row.

use super::{case::UnwantedCase, note::NoteKind, planner::Planner, rules::SeenRule, step::Step};
use crate::{
    failure::Purpose,
    lease::{Lease, Phase},
    observation::Proof,
    tags::lease_value,
};

impl<'a> Planner<'a> {
    fn unwanted_case(&self, lease: &Lease) -> UnwantedCase<'a> {
        let by_id = self.find(|seen| Some(&seen.rule.id) == lease.proven_rule());
        let tagged = |seen: &SeenRule<'_>| {
            let free = !self.rules.is_known(seen.rule) && seen.rule.permission == lease.permission;
            free && seen.genuine() && self.rules.our_tag(seen).is_some()
        };
        let by_tag = self.find(tagged).filter(|_| self.has_marks());
        if let Some(case) = by_tag.and_then(|second| self.second_rule_case(second, by_id, lease)) {
            return case;
        }
        if let Some(second) = self.presumed_beside(by_id, lease) {
            return UnwantedCase::SecondRulePresumed(second);
        }
        if self.rules.shows_displaced(lease.permission) {
            return UnwantedCase::DisplacedFirst(by_id.or(by_tag));
        }
        let by_id = by_id.map(|seen| (seen, Proof::LedgerId));
        let presumed = || self.presumed(lease).map(|seen| (seen, Proof::Attempt));
        match by_id.or(by_tag.map(|seen| (seen, Proof::LeaseTag))).or_else(presumed) {
            Some((seen, proof)) => self.found_case(seen, proof, lease),
            None => self.gone_case(lease),
        }
    }

    /// The rows for our tag on a rule beside the known one: a lost call that landed after an edit, or a reading older
    /// than the known id. To adopt the second rule would trade the better proof for a worse one, and leave a rule
    /// behind.
    fn second_rule_case(
        &self,
        second: &'a SeenRule<'a>,
        known: Option<&SeenRule<'_>>,
        lease: &Lease,
    ) -> Option<UnwantedCase<'a>> {
        let (known_id, known_shows) = (lease.proven_rule()?, known.is_some());
        let on_record = self.record.opened.get(known_id) == Some(&lease.permission);
        match self.rules.held_by_others(second) {
            _ if !known_shows && self.is_settled(lease) => None,
            false => Some(UnwantedCase::SecondRule(second, known_shows)),
            true if !known_shows => Some(UnwantedCase::SecondRuleUnsure(second)),
            true if on_record => Some(UnwantedCase::SecondRuleShared(second, self.rules.our_tag(second)?)),
            true => None,
        }
    }

    fn found_case(&self, seen: &'a SeenRule<'a>, proof: Proof, lease: &Lease) -> UnwantedCase<'a> {
        // An edited rule no longer opens the permission that its tags speak of, so others' leases on it hold nothing.
        let edited = seen.rule.permission != lease.permission;
        let others = !edited && self.rules.held_by_others(seen);
        let settled = self.is_settled(lease) && !self.marks_may_return();
        match lease.phase {
            Phase::Joining if !settled && !edited && !seen.genuine() => UnwantedCase::JoinHidden(seen, proof),
            _ if !others => UnwantedCase::OursAlone(seen, proof),
            Phase::Leaving if !settled => UnwantedCase::LeftUnsettled(seen, proof),
            Phase::Leaving | Phase::Joining if settled && self.rules.our_unexpired_tag(seen).is_none() => {
                UnwantedCase::LeftToOthers(seen, proof)
            }
            _ => UnwantedCase::HeldByOthers(seen, proof),
        }
    }

    fn gone_case(&self, lease: &Lease) -> UnwantedCase<'a> {
        let absent = self.is_settled(lease) && !self.marks_may_return();
        let settled = !lease.attempted() || absent;
        let left = lease.phase == Phase::Leaving
            && lease.last_failure.is_none()
            && !lease.may_still_land(self.reading.read_at);
        match self.rules.stray_tag(lease.permission) {
            Some(until) if settled => UnwantedCase::StrayTag(until),
            None if settled && self.rules.loose_mark(lease.permission) => UnwantedCase::LooseMark,
            None if settled => UnwantedCase::Gone,
            _ if left || lease.opened_nothing() => UnwantedCase::GoneUnawaited,
            _ => UnwantedCase::GoneUnsettled,
        }
    }

    pub(super) fn plan_unwanted(&mut self, lease: &Lease) {
        self.apply_unwanted(self.unwanted_case(lease), lease);
    }

    /// Treats a lease as unwanted whose rule is not there.
    pub(super) fn plan_gone(&mut self, lease: &Lease) {
        self.apply_unwanted(self.gone_case(lease), lease);
    }

    fn apply_unwanted(&mut self, case: UnwantedCase<'a>, lease: &Lease) {
        self.plan.rows.insert(case.row());
        self.decided.extend(case.rule().map(|seen| seen.rule.id.clone()));
        match case.found() {
            Some((seen, Proof::LeaseTag)) => {
                self.rules.our_tag(seen).into_iter().for_each(|tag| self.adopt(lease.permission, seen, tag));
            }
            Some((seen, Proof::Attempt)) => {
                self.adopt_by(lease.permission, seen, Proof::Attempt, lease.tagged_until);
            }
            _ => {}
        }
        match case {
            UnwantedCase::SecondRule(second, known_shows) => {
                self.decided.extend(lease.proven_rule().cloned());
                self.collect.push(self.owned(second, Proof::LeaseTag));
                if !known_shows {
                    self.wait(lease);
                }
            }
            UnwantedCase::SecondRuleShared(second, tag) => {
                self.decided.extend(lease.proven_rule().cloned());
                self.adopt(lease.permission, second, tag);
            }
            UnwantedCase::SecondRulePresumed(second) => {
                self.decided.extend(lease.proven_rule().cloned());
                self.adopt_by(lease.permission, second, Proof::Attempt, lease.tagged_until);
                self.note_closing(lease);
            }
            UnwantedCase::SecondRuleUnsure(_) => {
                self.decided.extend(lease.proven_rule().cloned());
                self.wait(lease);
            }
            UnwantedCase::DisplacedFirst(_) | UnwantedCase::JoinHidden(..) | UnwantedCase::GoneUnsettled => {
                self.wait(lease);
            }
            UnwantedCase::LeftUnsettled(..) | UnwantedCase::GoneUnawaited => self.settle(lease),
            UnwantedCase::LeftToOthers(..) | UnwantedCase::Gone => self.close_lease(lease),
            UnwantedCase::LooseMark => self.unmark(lease),
            UnwantedCase::HeldByOthers(..) | UnwantedCase::OursAlone(..) if !self.is_due_to_close(lease) => {
                self.wait(lease);
            }
            UnwantedCase::HeldByOthers(seen, proof) => {
                let tag = self.rules.our_tag(seen).map(str::to_owned);
                let value = tag.or(lease.tagged_until.map(lease_value)).unwrap_or_default();
                let rule = self.owned(seen, proof);
                self.plan.steps.push(Step::Leave { rule, value });
            }
            UnwantedCase::OursAlone(seen, proof) => self.revoke.push(self.owned(seen, proof)),
            UnwantedCase::StrayTag(until) => {
                self.note_closing(lease);
                self.wait_for_tag(until);
            }
        }
    }

    /// Takes our mark off the container, before the lease closes.
    pub(super) fn unmark(&mut self, lease: &Lease) {
        if self.is_due_to_close(lease) {
            self.unmark.push(lease.permission);
        } else {
            self.wait(lease);
        }
    }

    /// Waits until a reading is believed, and says so.
    fn wait(&mut self, lease: &Lease) {
        self.settle(lease);
        self.note_closing(lease);
    }

    fn note_closing(&mut self, lease: &Lease) {
        let (ports, cidr) = (lease.permission.ports(), lease.permission.cidr());
        let why = lease.last_failure.as_ref().filter(|why| why.purpose != Some(Purpose::Tag));
        let why = why.map(|failure| format!(": {failure}")).unwrap_or_default();
        let message = format!("{ports} from {cidr} on {} is not confirmed as closed yet{why}", self.plan.target.id);
        self.plan.note(NoteKind::Closing, message);
    }
}
