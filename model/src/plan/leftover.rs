//! Rules that no want and no lease has decided about: [`LeftoverCase`], row by row.

use super::{case::LeftoverCase, note::NoteKind, planner::Planner, rules::SeenRule};
use crate::{
    collecting::{abandoned, clocks_agree},
    observation::Proof,
    tags::{Fit, LeaseState, Misfit},
};

impl Planner<'_> {
    fn leftover_case(&self, seen: &SeenRule<'_>) -> LeftoverCase {
        let (rule, marks) = (seen.rule, &seen.marks);
        if self.rules.displaced(rule).is_some() {
            return LeftoverCase::Displaced;
        }
        if self.lease_is_unreadable(seen) {
            return LeftoverCase::LeaseUnreadable;
        }
        if !self.has_marks() {
            return LeftoverCase::Untaggable;
        }
        let provider = self.reading.provider_time;
        match seen.fit {
            Some(Fit::Misfit(misfit)) => LeftoverCase::Misfit(misfit),
            // It was ours, and no lease knows it any more.
            Some(Fit::OursById) if marks.managed && !self.rules.is_known(rule) => LeftoverCase::Misfit(Misfit::Digest),
            _ if !seen.genuine() => LeftoverCase::NotLeft,
            _ if self.decided.contains(&rule.id) || self.wanted.contains_key(&rule.permission) => LeftoverCase::NotLeft,
            _ if self.rules.our_unexpired_tag(seen).is_some() => LeftoverCase::NotOnRecord,
            // Others' leases are judged by the provider's clock. If that is unknown, or ours is plainly wrong, no rule
            // of others is closed.
            fit if self.record.policy.collect
                && clocks_agree(self.record.now, provider)
                && abandoned(fit, marks, provider) =>
            {
                LeftoverCase::Expired
            }
            _ => LeftoverCase::Held,
        }
    }

    fn lease_is_unreadable(&self, seen: &SeenRule<'_>) -> bool {
        let rule = seen.rule;
        let free = !self.wanted.contains_key(&rule.permission) && !self.leases.contains_key(&rule.permission);
        self.unreadable
            && free
            && !self.rules.is_known(rule)
            && !self.decided.contains(&rule.id)
            && self.record.opened.get(&rule.id) == Some(&rule.permission)
            && !self.rules.has_tag_of_others(seen)
    }

    pub(super) fn plan_leftover(&mut self, seen: &SeenRule<'_>) {
        let id = &seen.rule.id;
        let case = self.leftover_case(seen);
        self.plan.rows.insert(case.row());
        match case {
            LeftoverCase::Displaced => {
                let message = format!("{id} was edited by hand while a reading did not show it; it is closed");
                self.plan.note(NoteKind::Edited, message);
                return self.collect.push(self.owned(seen, Proof::LedgerId));
            }
            LeftoverCase::LeaseUnreadable => return self.collect.push(self.owned(seen, Proof::LedgerId)),
            LeftoverCase::Untaggable => return,
            LeftoverCase::Misfit(misfit) => {
                self.plan.note(NoteKind::Misfit, format!("{id} is left alone: {}", misfit.why()));
            }
            LeftoverCase::NotOnRecord => {
                let message = format!("{id} carries our tag but is not in this record; it closes by its own tag");
                self.plan.note(NoteKind::Unledgered, message);
            }
            LeftoverCase::Expired => self.collect.push(self.owned(seen, Proof::Marked)),
            LeftoverCase::NotLeft | LeftoverCase::Held => {}
        }
        if seen.marks.managed {
            self.note_odd_leases(seen);
        }
    }

    fn note_odd_leases(&mut self, seen: &SeenRule<'_>) {
        for (holder, value) in &seen.marks.leases {
            if self.rules.state(value) == LeaseState::Odd {
                let id = &seen.rule.id;
                let message = format!("{id}: the lease of {holder} says \"{value}\", which holds nothing");
                self.plan.note(NoteKind::OddLease, message);
            }
        }
    }
}
