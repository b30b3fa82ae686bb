//! Permissions that live sessions want: [`WantedCase`] and [`TagCase`], row by row.

use super::{
    case::{TagCase, WantedCase},
    note::NoteKind,
    planner::{OPENING_DELAY_MAX, Planner},
    rules::SeenRule,
    standing::{failed, held, pending, standing_without_rule},
    step::{LedgerStep, Step},
    wants::Want,
};
use crate::{
    damage::{Damage, ends_too_far_ahead},
    failure::{FailureClass, Purpose},
    ids::RuleId,
    lease::{Lease, Phase},
    net::permission::Permission,
    observation::Proof,
    session::record::Standing,
    tags::{LeaseState, SESSION, lease_key, lease_value, sessions_named},
    target::{Expiry, MarkPlace},
    twin,
};
use chrono::TimeDelta;

/// A join counts only once a reading shows it; the next pass comes this soon.
const JOIN_CHECK: TimeDelta = TimeDelta::seconds(60);

impl<'a> Planner<'a> {
    fn wanted_case(&self, permission: Permission, want: Want, lease: Option<&'a Lease>) -> WantedCase<'a> {
        let marked = |seen: &SeenRule<'_>| seen.rule.permission == permission && seen.genuine();
        // While its marks fit, a rule that is being joined is judged by them.
        let by_marks = |lease: &Lease, seen: &SeenRule<'_>| lease.phase == Phase::Joining && marked(seen);
        if let Some(lease) = lease
            && let Some(known) = lease.proven_rule()
            && let Some(seen) = self.find(|seen| seen.rule.id == *known && !by_marks(lease, seen))
        {
            return match self.presumed_beside(Some(seen), lease) {
                Some(second) => WantedCase::Presumed(second, lease),
                None => self.known_case(permission, seen, lease),
            };
        }
        if let Some(of) = self.rules.edited_into(permission) {
            return WantedCase::EditedInto(of);
        }
        if self.has_marks() {
            let tagged = self.find(|seen| marked(seen) && self.rules.our_tag(seen).is_some());
            if let Some((seen, tag)) = tagged.and_then(|seen| Some((seen, self.rules.our_tag(seen)?))) {
                return match lease.filter(|lease| self.is_older_than_known(seen, lease)) {
                    Some(lease) => WantedCase::OlderThanKnown(seen, lease),
                    None => WantedCase::OursByTag(seen, tag),
                };
            }
            if let Some(seen) = self.find(marked) {
                return self.marked_case(seen, want, lease);
            }
        }
        if let Some((lease, seen)) = lease.and_then(|lease| Some((lease, self.presumed(lease)?))) {
            return WantedCase::Presumed(seen, lease);
        }
        match self.find(|seen| seen.rule.permission == permission) {
            Some(seen) => WantedCase::Covered(seen),
            None if want.open => WantedCase::Absent,
            None => WantedCase::NotReopened(None),
        }
    }

    fn known_case(&self, permission: Permission, seen: &'a SeenRule<'a>, lease: &'a Lease) -> WantedCase<'a> {
        if seen.rule.permission != permission {
            return WantedCase::Edited(seen, lease);
        }
        if lease.phase == Phase::Leaving && seen.genuine() {
            return WantedCase::Left(seen, lease);
        }
        if !self.has_marks() {
            return WantedCase::OursUntaggable(seen, lease);
        }
        match self.rules.our_tag(seen).filter(|_| !seen.marks.incomplete()) {
            Some(tag) => WantedCase::OursById(seen, lease, tag),
            None if self.is_settled(lease) => WantedCase::TagsLost(seen, lease),
            None => WantedCase::TagsHidden(seen, lease),
        }
    }

    fn marked_case(&self, seen: &'a SeenRule<'a>, want: Want, lease: Option<&'a Lease>) -> WantedCase<'a> {
        match lease {
            _ if !want.open => WantedCase::NotReopened(Some(seen)),
            // A join would trade the id of a rule that is there for an id that a stale reading still shows.
            Some(lease) if lease.phase == Phase::Held && self.is_older_than_known(seen, lease) => {
                WantedCase::OlderThanKnown(seen, lease)
            }
            Some(lease)
                if lease.phase == Phase::Joining
                    && lease.rule_id.as_ref() == Some(&seen.rule.id)
                    && !self.is_settled(lease) =>
            {
                WantedCase::JoinHidden(seen, lease)
            }
            _ => WantedCase::Marked(seen),
        }
    }

    /// True if the reading may be older than the id on record: it shows another rule in its place.
    fn is_older_than_known(&self, seen: &SeenRule<'_>, lease: &Lease) -> bool {
        lease.proven_rule().is_some_and(|id| *id != seen.rule.id) && !self.is_settled(lease)
    }

    pub(super) fn plan_wanted(&mut self, permission: Permission, want: Want) {
        let lease = self.leases.get(&permission).copied();
        let case = self.wanted_case(permission, want, lease);
        self.plan.rows.insert(case.row());
        self.decided.extend(case.rule().map(|seen| seen.rule.id.clone()));
        match case {
            WantedCase::Edited(seen, lease) => self.revoke_edited(seen, lease),
            WantedCase::Left(seen, lease) => {
                self.stands(permission, pending("joining its rule again"));
                self.join(seen, Proof::LedgerId, want, Some(lease));
            }
            WantedCase::OursUntaggable(seen, lease) => self.stands_by_id(seen, lease),
            WantedCase::TagsHidden(seen, lease) => {
                self.stands_by_id(seen, lease);
                self.wait_for_tags(seen, want, lease);
            }
            WantedCase::TagsLost(seen, lease) => {
                self.stands_by_id(seen, lease);
                self.restore(seen, want, lease);
            }
            WantedCase::OursById(seen, lease, tag) => {
                self.stands_by_id(seen, lease);
                self.keep_tag(seen, Proof::LedgerId, tag, want, Some(lease));
            }
            WantedCase::EditedInto(of) => {
                let message =
                    format!("a rule of another port ({}) was edited into this one; it is closed first", of.ports());
                self.stands(permission, Standing::Pending(message));
            }
            WantedCase::OlderThanKnown(_, lease) => {
                let held = lease.proven_rule().filter(|_| lease.phase == Phase::Held).map(|id| held(lease, id));
                self.stands(permission, held.unwrap_or_else(|| standing_without_rule(Some(lease))));
                self.settle(lease);
            }
            WantedCase::OursByTag(seen, tag) => {
                self.adopt(permission, seen, tag);
                let (shared, id) = (lease.is_some_and(|lease| lease.shared), seen.rule.id.clone());
                self.stands(permission, if shared { Standing::Shared(id) } else { Standing::Own(id) });
                self.keep_tag(seen, Proof::LeaseTag, tag, want, lease);
            }
            WantedCase::NotReopened(_) => lease.into_iter().for_each(|lease| self.plan_gone(lease)),
            WantedCase::JoinHidden(_, lease) => {
                self.stands(permission, pending("our tag on another installation's rule is not visible yet"));
                self.settle(lease);
                self.plan.wake_at(self.record.now + JOIN_CHECK);
            }
            WantedCase::Marked(seen) => {
                let refused = lease.and_then(|lease| lease.last_failure.as_ref()).map(failed);
                self.stands(permission, refused.unwrap_or_else(|| pending("joining another installation's rule")));
                self.join(seen, Proof::Marked, want, lease);
            }
            WantedCase::Presumed(seen, lease) => self.presume(permission, seen, lease),
            WantedCase::Covered(seen) => {
                self.stands(permission, Standing::Foreign(seen.rule.id.clone()));
                lease.into_iter().for_each(|lease| self.close_covered(lease));
            }
            WantedCase::Absent => self.open(permission, want, lease),
        }
    }

    fn presume(&mut self, permission: Permission, seen: &SeenRule<'_>, lease: &Lease) {
        self.adopt_by(permission, seen, Proof::Attempt, lease.tagged_until);
        let shows = |known: &&RuleId| self.find(|seen| seen.rule.id == **known).is_some();
        if let Some(known) = lease.proven_rule().filter(shows) {
            self.plan.note(NoteKind::Edited, format!("{known} was edited by hand; it is closed"));
        }
        self.stands(permission, Standing::Own(seen.rule.id.clone()));
    }

    fn stands(&mut self, permission: Permission, standing: Standing) {
        self.plan.standings.insert(permission, standing);
    }

    /// The standing of a rule that the record knows by its id.
    fn stands_by_id(&mut self, seen: &SeenRule<'_>, lease: &Lease) {
        let standing = match lease.phase {
            Phase::Leaving | Phase::Joining => pending("its rule was found without its tags"),
            _ => held(lease, &seen.rule.id),
        };
        self.stands(seen.rule.permission, standing);
        if lease.phase == Phase::Joining {
            self.plan.wake_at(self.record.now + JOIN_CHECK);
        }
    }

    fn revoke_edited(&mut self, seen: &SeenRule<'_>, lease: &Lease) {
        let message = format!("{} was edited by hand; it is closed and opened anew", seen.rule.id);
        self.plan.note(NoteKind::Edited, message);
        self.stands(lease.permission, pending("its rule was edited by hand"));
        if self.is_due_to_close(lease) {
            self.revoke.push(self.owned(seen, Proof::LedgerId));
        }
    }

    fn wait_for_tags(&mut self, seen: &SeenRule<'_>, want: Want, lease: &Lease) {
        self.settle(lease);
        // The refusal to write the tags is itself the last call, and so never settled.
        if may_not_restore(lease) && lease.tagged_until == Some(want.until) {
            self.note_stripped(seen, lease);
        }
        // The record knows the time in our tag, even if the reading does not show it.
        let behind = lease.phase == Phase::Held && lease.tagged_until != Some(want.until);
        if behind && self.is_due(Some(lease)) {
            self.retag(seen, Proof::LedgerId, want);
        }
    }

    fn restore(&mut self, seen: &SeenRule<'_>, want: Want, lease: &Lease) {
        self.note_stripped(seen, lease);
        if self.is_due(Some(lease)) {
            let (opener, rule) = (self.opener(seen, want), self.owned(seen, Proof::LedgerId));
            self.plan.steps.push(Step::Restore { rule, session: want.session, until: want.until, opener });
        }
    }

    fn note_stripped(&mut self, seen: &SeenRule<'_>, lease: &Lease) {
        let then = if may_not_restore(lease) {
            "the credentials may not write them again (eg iam-policy --restore prints what allows it); until then only \
             this installation knows that it is eg's, and closes it by its id"
        } else {
            "they are written again"
        };
        self.plan.note(NoteKind::Stripped, format!("{} was found without its tags; {then}", seen.rule.id));
    }

    /// The value of `eg:session` that the rule's description confirms: the present value, if it does; else a live
    /// session of ours that the description names, or the short id in the description. If it names none, nothing can
    /// fit.
    fn opener(&self, seen: &SeenRule<'_>, want: Want) -> String {
        let said = seen.rule.tags.get(SESSION).cloned();
        let live = self.record.sessions.iter().map(|session| session.id);
        let whole = said.clone().into_iter().chain(std::iter::once(want.session).chain(live).map(|id| id.to_string()));
        let named: Vec<&str> = sessions_named(seen.rule.description.as_deref().unwrap_or_default()).collect();
        let fits = |id: &String| named.iter().any(|short| id.starts_with(short));
        let found = whole.into_iter().find(fits).or_else(|| named.first().map(|short| (*short).to_owned()));
        found.or(said).unwrap_or_else(|| want.session.to_string())
    }

    fn tag_case(&self, tag: &str, want: Want, lease: Option<&Lease>) -> TagCase {
        let written = lease.filter(|lease| lease.tagged_until == Some(want.until));
        if tag == lease_value(want.until) {
            TagCase::Right
        } else if self.record.twin && self.rules.state(tag).holds() && twin::stands(tag, want.until, lease) {
            TagCase::OfTwin
        } else if written.is_some_and(|lease| !self.is_settled(lease)) {
            TagCase::Rewritten
        } else {
            TagCase::Behind
        }
    }

    fn keep_tag(&mut self, seen: &SeenRule<'_>, proof: Proof, tag: &str, want: Want, lease: Option<&Lease>) {
        let case = self.tag_case(tag, want, lease);
        self.plan.rows.insert(case.row());
        match case {
            TagCase::Right => self.learn_tag(seen, proof, want, lease),
            TagCase::OfTwin | TagCase::Rewritten => {}
            TagCase::Behind if self.is_due(lease) => self.retag(seen, proof, want),
            TagCase::Behind => {
                // The last refusal may be that of a call for another purpose.
                let why = lease.and_then(|lease| lease.last_failure.as_ref());
                let why = why.filter(|why| why.purpose == Some(Purpose::Tag));
                let why = why.map(|failure| format!(": {failure}")).unwrap_or_default();
                let message = format!("the tag of {} still says another time{why}", seen.rule.id);
                self.plan.note(NoteKind::TagBehind, message);
            }
        }
    }

    fn retag(&mut self, seen: &SeenRule<'_>, proof: Proof, want: Want) {
        let owned = self.owned(seen, proof);
        self.retag.entry(want.until).or_default().push(owned);
    }

    /// Records that a rewrite without an answer has worked.
    fn learn_tag(&mut self, seen: &SeenRule<'_>, proof: Proof, want: Want, lease: Option<&Lease>) {
        let unanswered = |lease: &&Lease| lease.last_failure.as_ref().is_some_and(|why| why.class.outcome_unknown());
        let lease = lease.filter(unanswered).filter(|lease| lease.tagged_until != Some(want.until));
        if let Some(lease) = lease.filter(|_| proof == Proof::LedgerId) {
            let rule = self.owned(seen, proof);
            self.plan.ledger.push(LedgerStep::Adopt { permission: lease.permission, rule, until: Some(want.until) });
        }
    }

    fn join(&mut self, seen: &SeenRule<'_>, proof: Proof, want: Want, lease: Option<&Lease>) {
        self.plan.wake_at(self.record.now + JOIN_CHECK);
        let marks = |planner: &mut Self| planner.has_room_for_mark(seen.rule.permission, lease);
        if self.may_open(want) && self.is_due(lease) && marks(self) && self.make_room(seen, proof) {
            let rule = self.owned(seen, proof);
            self.plan.steps.push(Step::Join { rule, session: want.session, until: want.until });
        }
    }

    /// Makes room for our lease tag on a rule with as many tags as it may have: removes others' expired lease tags,
    /// oldest first. False if that is not enough.
    fn make_room(&mut self, seen: &SeenRule<'_>, proof: Proof) -> bool {
        let MarkPlace::Rule { tags: most } = self.capabilities.marks else { return true };
        let (rule, me) = (seen.rule, self.record.installation);
        let after = rule.tags.len() + usize::from(!rule.tags.contains_key(&lease_key(me)));
        let excess = after.saturating_sub(most);
        if excess == 0 {
            return true;
        }
        let others = seen.marks.leases.iter().filter(|(id, _)| *id != me);
        let expired = others.filter(|(_, value)| self.rules.state(value) == LeaseState::Expired);
        let mut expired: Vec<(String, String)> = expired.map(|(id, value)| (value.clone(), lease_key(id))).collect();
        expired.sort();
        if expired.len() < excess {
            self.plan.note(NoteKind::TagsFull, format!("{} has no room for another tag", rule.id));
            return false;
        }
        let tags = expired.into_iter().take(excess).map(|(value, key)| (key, value)).collect();
        let rule = self.owned(seen, proof);
        self.plan.steps.push(Step::MakeRoom { rule, tags });
        true
    }

    /// True if the container can carry our mark for one more permission; every lease that was attempted has its place.
    fn has_room_for_mark(&mut self, permission: Permission, lease: Option<&Lease>) -> bool {
        let MarkPlace::Container { leases: most } = self.capabilities.marks else { return true };
        if lease.is_some_and(Lease::attempted) {
            return true;
        }
        let room = self.leases.values().filter(|lease| lease.attempted()).count() + self.new_marks < most;
        if room {
            self.new_marks += 1;
        } else {
            let why = format!("{} has no room for another mark of this machine", self.plan.target.id);
            self.stands(permission, pending(&why));
            self.plan.note(NoteKind::TagsFull, why);
        }
        room
    }

    /// Closes a lease whose permission a foreign rule covers, once no rule of ours can be left.
    fn close_covered(&mut self, lease: &Lease) {
        match self.rules.stray_tag(lease.permission) {
            _ if self.rules.shows_displaced(lease.permission) => {}
            _ if !self.is_settled(lease) || self.marks_may_return() => self.settle(lease),
            Some(until) => self.wait_for_tag(until),
            None if self.rules.loose_mark(lease.permission) => self.unmark(lease),
            None => self.close_lease(lease),
        }
    }

    fn open(&mut self, permission: Permission, want: Want, lease: Option<&Lease>) {
        let standing = match standing_without_rule(lease) {
            Standing::Untried | Standing::Pending(_) if ends_too_far_ahead(want.until, self.record.now) => {
                Standing::Pending(format!("by this machine's clock, {}; nothing is opened", Damage::Future))
            }
            standing => standing,
        };
        let proven = standing.is_held();
        self.stands(permission, standing);
        // "Exists already" has just proven the rule: only the reading is behind, and the plan is not deferred.
        let next = lease.and_then(|lease| lease.next_try_at).filter(|_| proven);
        if let Some(at) = self.put_off(next, OPENING_DELAY_MAX) {
            return self.plan.wake_at(at);
        }
        let by_itself = |lease: &&Lease| {
            self.capabilities.expiry == Expiry::Native && lease.tagged_until.is_some_and(|end| end <= self.record.now)
        };
        let vanished = lease.filter(|lease| lease.phase == Phase::Held && lease.vanished >= 1);
        let vanished = vanished.filter(|lease| !by_itself(lease));
        if vanished.is_some_and(|lease| self.pauses_contest(lease)) {
            return;
        }
        if self.may_open(want) && self.is_due(lease) && self.has_room_for_mark(permission, lease) {
            self.authorize.entry((want.until, want.session)).or_default().push(permission);
        }
    }

    /// Reports that something else keeps deleting a rule. True if the plan pauses before it opens the rule once more.
    fn pauses_contest(&mut self, lease: &Lease) -> bool {
        // Of the kinds with tags on rules, most have their rules written by Terraform.
        let whose = match self.capabilities.marks {
            MarkPlace::Rule { .. } => {
                ", often Terraform with inline ingress blocks: use separate aws_vpc_security_group_ingress_rule \
                 resources, or lifecycle { ignore_changes = [ingress] }"
            }
            MarkPlace::Entry | MarkPlace::Container { .. } | MarkPlace::None => {
                ": have it leave alone what it did not make"
            }
        };
        let (ports, cidr) = (lease.permission.ports(), lease.permission.cidr());
        let message = format!("something keeps deleting {ports} from {cidr} on {}{whose}", self.plan.target.id);
        self.plan.note(NoteKind::Contested, message);
        let next = lease.last_sent_at.map(|sent| sent + contest_pause(lease.vanished));
        let next = next.filter(|next| *next > self.record.now && !self.record.policy.ignore_delays);
        next.into_iter().for_each(|at| self.plan.wake_at(at));
        next.is_some()
    }
}

/// True if the last attempt to write a tag was denied.
fn may_not_restore(lease: &Lease) -> bool {
    lease.last_failure.as_ref().is_some_and(|failure| failure.class == FailureClass::Denied)
}

/// The pause before a rule that keeps vanishing is opened again: 1, 2, 4, 8, then 15 minutes. `vanished` counts the
/// earlier times.
fn contest_pause(vanished: u32) -> TimeDelta {
    let minutes = 1_i64.checked_shl(vanished.saturating_sub(1)).unwrap_or(i64::MAX);
    TimeDelta::minutes(minutes.clamp(1, 15))
}
