//! The plan for one target; the tables are in the parent's documentation.

use super::{LedgerStep, Note, NoteKind, PlanContext, Step, TargetPlan, TargetView, Want, wants};
use crate::plan::auto_close::with_auto_closes;
use crate::{
    SETTLE_WINDOW, Timestamp,
    collecting::{SKEW_LIMIT, abandoned, clocks_agree, lease_state},
    damage::{Damage, ends_too_far_ahead},
    failure::{Failure, FailureClass, Purpose},
    ids::{InstallationId, RuleId, SessionId},
    lease::{Lease, Phase},
    net::permission::Permission,
    observation::{Observation, ObservedRule, OwnedRule, Proof, Reading},
    session::record::Standing,
    tags::{Fit, LEASE_GRACE, LeaseState, Marks, Misfit, SESSION, lease_key, lease_value, sessions_named},
    target::Capabilities,
    twin,
};
use chrono::{DateTime, TimeDelta, Utc};
use std::collections::{BTreeMap, BTreeSet};

/// A join counts only when seen; look again this soon.
const JOIN_CHECK: TimeDelta = TimeDelta::seconds(60);
/// The longest delay between two attempts to open.
const OPENING_DELAY_MAX: TimeDelta = TimeDelta::minutes(15);
/// The longest delay between two attempts to close.
pub(super) const CLOSING_DELAY_MAX: TimeDelta = TimeDelta::minutes(2);

/// What takes one target from what was seen to what is wanted.
#[must_use]
pub fn plan_target(record: &PlanContext<'_>, view: &TargetView<'_>) -> TargetPlan {
    let wanted = wants(record.sessions).remove(view.key).unwrap_or_default();
    let leases = record.leases.iter().filter(|lease| &lease.target.key == view.key && lease.phase != Phase::Closed);
    let leases: BTreeMap<Permission, &Lease> = leases.map(|lease| (lease.permission, lease)).collect();
    let plan = match view.observation {
        Observation::Unavailable(failure) => unavailable(record, view, &wanted, &leases, failure),
        Observation::Missing => missing(view, &wanted, &leases),
        Observation::Complete(reading) => Planner::new(record, view, reading, &wanted, &leases).run(),
    };
    with_auto_closes(record, view, &wanted, &leases, plan)
}

/// Nothing is concluded: what is recorded as held stays so.
fn unavailable(
    record: &PlanContext<'_>,
    view: &TargetView<'_>,
    wanted: &BTreeMap<Permission, Want>,
    leases: &BTreeMap<Permission, &Lease>,
    failure: &Failure,
) -> TargetPlan {
    let mut plan = TargetPlan::empty(view.key);
    let held: BTreeSet<Permission> = record
        .sessions
        .iter()
        .flat_map(|session| &session.grants)
        .filter(|grant| grant.target.key == *view.key)
        .flat_map(|grant| &grant.permissions)
        .filter(|item| item.standing.is_held())
        .map(|item| item.permission)
        .collect();
    for (permission, _) in wanted.iter().filter(|(_, want)| want.open) {
        let known = leases.get(permission).is_some_and(|lease| lease.phase == Phase::Held);
        if !known && !held.contains(permission) {
            plan.standings.insert(*permission, failed(failure));
        }
    }
    if !wanted.is_empty() || !leases.is_empty() {
        plan.notes.push(Note {
            kind: NoteKind::Unavailable,
            message: format!("{} cannot be read: {failure} ({})", view.key, failure.class.advice()),
        });
    }
    plan
}

/// The target is gone, and its rules with it.
fn missing(
    view: &TargetView<'_>,
    wanted: &BTreeMap<Permission, Want>,
    leases: &BTreeMap<Permission, &Lease>,
) -> TargetPlan {
    let mut plan = TargetPlan::empty(view.key);
    plan.ledger = leases.values().map(|lease| LedgerStep::Close { lease: lease.id }).collect();
    let why = format!("{} no longer exists", view.key);
    for (permission, _) in wanted.iter().filter(|(_, want)| want.open) {
        plan.standings.insert(*permission, Standing::Failed(why.clone()));
    }
    if !wanted.is_empty() || !leases.is_empty() {
        plan.notes.push(Note { kind: NoteKind::Missing, message: format!("{why}; its rules are gone with it") });
    }
    plan
}

fn failed(failure: &Failure) -> Standing {
    let text = failure.to_string();
    if failure.class.fails_grant() { Standing::Failed(text) } else { Standing::Pending(text) }
}

/// What a wanted permission has come to when no rule for it can be seen, from its lease alone.
///
/// | lease | standing |
/// |---|---|
/// | none, or never attempted and never refused | untried |
/// | the last attempt was "exists already", and we hold its rule by id | held: the reading is stale |
/// | the last attempt was refused for good | failed |
/// | any other refusal, or an attempt without an outcome | pending |
#[must_use]
pub fn standing_without_rule(lease: Option<&Lease>) -> Standing {
    let Some(lease) = lease else { return Standing::Untried };
    match (&lease.last_failure, lease.proven_rule()) {
        (Some(failure), Some(rule)) if failure.class == FailureClass::Stale && lease.phase == Phase::Held => {
            held(lease, rule)
        }
        (Some(failure), _) => failed(failure),
        (None, Some(rule)) => Standing::Pending(format!("its rule {rule} has vanished; it is being opened again")),
        (None, None) if lease.attempted() => {
            Standing::Pending("whether the last attempt arrived is not known yet".to_owned())
        }
        (None, None) => Standing::Untried,
    }
}

fn tag_time(value: &str) -> Option<Timestamp> {
    DateTime::parse_from_rfc3339(value).map(|until| until.with_timezone(&Utc)).ok()
}

fn held(lease: &Lease, rule: &RuleId) -> Standing {
    if lease.shared { Standing::Shared(rule.clone()) } else { Standing::Own(rule.clone()) }
}

/// Whether the last attempt to write a tag was denied.
fn may_not_restore(lease: &Lease) -> bool {
    lease.last_failure.as_ref().is_some_and(|failure| failure.class == FailureClass::Denied)
}

/// Slows down against somebody who keeps deleting our rule: 1, 2, 4, 8, then 15 minutes from the second time on.
/// `vanished` counts the earlier times.
fn contest_pause(vanished: u32) -> TimeDelta {
    let minutes = 1_i64.checked_shl(vanished.saturating_sub(1)).unwrap_or(i64::MAX);
    TimeDelta::minutes(minutes.clamp(1, 15))
}

/// Whether a rule is one whose revoke was confirmed, and that a reading still shows.
pub(super) fn is_stale(record: &PlanContext<'_>, reading: &Reading, rule: &ObservedRule) -> bool {
    record.revoked.get(&rule.id).is_some_and(|at| reading.read_at - *at <= SETTLE_WINDOW)
}

#[derive(Clone)]
struct SeenRule<'a> {
    rule: &'a ObservedRule,
    marks: Marks,
    /// What the marks are worth.
    fit: Option<Fit>,
}

impl SeenRule<'_> {
    fn genuine(&self) -> bool {
        self.fit == Some(Fit::Genuine)
    }
}

struct Planner<'a> {
    record: &'a PlanContext<'a>,
    capabilities: Capabilities,
    reading: &'a Reading,
    wanted: &'a BTreeMap<Permission, Want>,
    leases: &'a BTreeMap<Permission, &'a Lease>,
    /// A lease here cannot be read.
    unreadable: bool,
    seen: Vec<SeenRule<'a>>,
    /// Which permission's lease knows a rule by its id. That lease alone decides about the rule, whatever the rule
    /// has been edited into: to another permission it is neither foreign nor its own.
    known: BTreeMap<&'a RuleId, Permission>,
    dealt_with: BTreeSet<RuleId>,
    authorize: BTreeMap<(Timestamp, SessionId), Vec<Permission>>,
    retag: BTreeMap<Timestamp, Vec<OwnedRule>>,
    revoke: Vec<OwnedRule>,
    collect: Vec<OwnedRule>,
    plan: TargetPlan,
}

impl<'a> Planner<'a> {
    fn new(
        record: &'a PlanContext<'a>,
        view: &'a TargetView<'a>,
        reading: &'a Reading,
        wanted: &'a BTreeMap<Permission, Want>,
        leases: &'a BTreeMap<Permission, &'a Lease>,
    ) -> Self {
        let stale = |rule: &&ObservedRule| is_stale(record, reading, rule);
        let known: BTreeMap<&RuleId, Permission> =
            leases.iter().filter_map(|(permission, lease)| Some((lease.proven_rule()?, *permission))).collect();
        let judged = |rule: &'a ObservedRule| {
            let marks = rule.marks(&view.key.id);
            let fit = marks.fit(known.contains_key(&rule.id) || record.opened.contains_key(&rule.id));
            SeenRule { rule, marks, fit }
        };
        let mut seen: Vec<_> = reading.rules.iter().filter(|rule| !stale(rule)).map(judged).collect();
        seen.sort_by(|a, b| a.rule.id.cmp(&b.rule.id));
        Self {
            record,
            capabilities: view.capabilities,
            reading,
            wanted,
            leases,
            unreadable: view.unreadable,
            seen,
            known,
            dealt_with: BTreeSet::new(),
            authorize: BTreeMap::new(),
            retag: BTreeMap::new(),
            revoke: Vec::new(),
            collect: Vec::new(),
            plan: TargetPlan::empty(view.key),
        }
    }

    fn run(mut self) -> TargetPlan {
        self.judge_clock();
        for (permission, want) in self.wanted {
            self.wanted_permission(*permission, *want);
        }
        for (permission, lease) in self.leases {
            if !self.wanted.contains_key(permission) {
                self.unwanted_lease(lease);
            }
        }
        self.remaining_rules();
        self.finish()
    }

    fn finish(mut self) -> TargetPlan {
        let batch = self.capabilities.batch.max(1);
        for ((until, session), permissions) in std::mem::take(&mut self.authorize) {
            for part in permissions.chunks(batch) {
                self.plan.steps.push(Step::Authorize { session, until, permissions: part.to_vec() });
            }
        }
        for (until, rules) in std::mem::take(&mut self.retag) {
            for part in rules.chunks(batch) {
                self.plan.steps.push(Step::Retag { until, rules: part.to_vec() });
            }
        }
        for part in self.revoke.chunks(batch) {
            self.plan.steps.push(Step::Revoke { rules: part.to_vec() });
        }
        for part in self.collect.chunks(batch) {
            self.plan.steps.push(Step::Collect { rules: part.to_vec() });
        }
        self.plan.steps.sort();
        self.plan.ledger.sort();
        self.plan.notes.sort();
        self.plan.notes.dedup();
        self.plan
    }

    fn me(&self) -> &'a InstallationId {
        self.record.installation
    }

    fn note(&mut self, kind: NoteKind, message: String) {
        self.plan.notes.push(Note { kind, message });
    }

    fn wake(&mut self, at: Timestamp) {
        self.plan.wake = Some(self.plan.wake.map_or(at, |known| known.min(at)));
    }

    fn owned(&self, rule: &ObservedRule, proof: Proof) -> OwnedRule {
        OwnedRule::seen(&self.plan.target, rule, proof, self.reading)
    }

    fn judge_clock(&mut self) {
        let Some(skew) = self.reading.provider_time.map(|provider| self.record.now - provider) else { return };
        if skew.abs() > SKEW_LIMIT {
            let minutes = skew.num_minutes();
            let message = format!("the clock of this machine differs from the provider's by {minutes} minutes");
            self.note(NoteKind::ClockSkew, message);
        }
    }

    /// Whether a lease value keeps its rule: judged by the provider's clock, and unknown means it does.
    fn state(&self, value: &str) -> LeaseState {
        lease_state(value, self.reading.provider_time)
    }

    fn held_by_another(&self, seen: &SeenRule<'_>) -> bool {
        let another = |(id, value): (&InstallationId, &String)| id != self.me() && self.state(value).holds();
        seen.genuine() && seen.marks.leases.iter().any(another)
    }

    /// Whether the lease's retry delay is over; else notes when to look again.
    fn due(&mut self, lease: Option<&Lease>) -> bool {
        self.due_at(lease.and_then(|lease| lease.next_try_at), OPENING_DELAY_MAX)
    }

    /// The same for closing: a failed attempt to open or to tag may have set a longer delay, but closing never waits
    /// longer than its own longest delay after the last attempt.
    fn due_to_close(&mut self, lease: &Lease) -> bool {
        let latest = lease.last_sent_at.map(|sent| sent + CLOSING_DELAY_MAX);
        let next = lease.next_try_at.map(|next| latest.map_or(next, |latest| next.min(latest)));
        self.due_at(next, CLOSING_DELAY_MAX)
    }

    fn due_at(&mut self, at: Option<Timestamp>, longest: TimeDelta) -> bool {
        let later = self.later(at, longest);
        if let Some(at) = later {
            self.wake(at);
            self.plan.deferred = true;
        }
        later.is_none()
    }

    /// When, if not now. A time further ahead than the longest delay was written before the clock stepped back; it
    /// delays nothing.
    fn later(&self, at: Option<Timestamp>, longest: TimeDelta) -> Option<Timestamp> {
        let now = self.record.now;
        at.filter(|at| *at > now && *at - now <= longest).filter(|_| !self.record.policy.ignore_delays)
    }

    fn wanted_permission(&mut self, permission: Permission, want: Want) {
        let lease = self.leases.get(&permission).copied();
        let proven = lease.and_then(Lease::proven_rule);
        // While its marks fit, a rule that is being joined is judged by them.
        let joining = lease.is_some_and(|lease| lease.phase == Phase::Joining);
        let by_marks = |seen: &SeenRule<'_>| joining && seen.rule.permission == permission && seen.genuine();
        let by_id = self.position(|seen| Some(&seen.rule.id) == proven && !by_marks(seen));
        if let (Some(index), Some(lease)) = (by_id, lease) {
            return self.wanted_ours_by_id(index, permission, want, lease);
        }
        let me = self.me();
        if let Some(of) = self.edited_into(permission) {
            let message =
                format!("a rule of another port ({}) was edited into this one; it is closed first", of.ports());
            self.plan.standings.insert(permission, Standing::Pending(message));
            return;
        }
        let marked = |seen: &SeenRule<'_>| seen.rule.permission == permission && seen.genuine();
        if self.capabilities.marks {
            if let Some(index) = self.position(|seen| marked(seen) && seen.marks.leases.contains_key(me)) {
                return self.wanted_ours_by_tag(index, permission, want, lease);
            }
            if let Some(index) = self.position(marked) {
                return self.wanted_marked(index, permission, want, lease);
            }
        }
        match self.position(|seen| seen.rule.permission == permission) {
            Some(index) => self.wanted_covered(index, permission, lease),
            None => self.wanted_absent(permission, want, lease),
        }
    }

    /// A rule that the ledger knows by id as another permission's, and that has this permission now. It is in the
    /// way of an authorize until it is revoked.
    fn edited_into(&self, permission: Permission) -> Option<Permission> {
        let of = |seen: &SeenRule<'_>| {
            let known = self.known.get(&seen.rule.id).copied();
            known.or_else(|| self.displaced(seen.rule)).filter(|of| *of != permission)
        };
        self.seen.iter().filter(|seen| seen.rule.permission == permission).find_map(of)
    }

    /// What a rule was opened for that was ours, has been edited by hand, and that no open lease knows any more: a
    /// reading that lagged did not show it, and its permission, free again, was opened anew under another id.
    fn displaced(&self, rule: &ObservedRule) -> Option<Permission> {
        let opened = self.record.opened.get(&rule.id).copied();
        opened.filter(|permission| *permission != rule.permission && !self.known.contains_key(&rule.id))
    }

    fn displaced_is_seen(&self, permission: Permission) -> bool {
        self.seen.iter().any(|seen| self.displaced(seen.rule) == Some(permission))
    }

    fn position(&self, matches: impl Fn(&SeenRule<'_>) -> bool) -> Option<usize> {
        self.seen.iter().position(|seen| !self.dealt_with.contains(&seen.rule.id) && matches(seen))
    }

    fn take(&mut self, index: usize) -> Option<SeenRule<'a>> {
        let seen = self.seen.get(index)?.clone();
        self.dealt_with.insert(seen.rule.id.clone());
        Some(seen)
    }

    fn wanted_ours_by_id(&mut self, index: usize, permission: Permission, want: Want, lease: &Lease) {
        let Some(seen) = self.take(index) else { return };
        let rule = seen.rule;
        if rule.permission != permission {
            let message = format!("{} was edited by hand; it is closed and opened anew", rule.id);
            self.note(NoteKind::Edited, message);
            self.plan.standings.insert(permission, Standing::Pending("its rule was edited by hand".to_owned()));
            if self.due_to_close(lease) {
                let owned = self.owned(rule, Proof::LedgerId);
                self.revoke.push(owned);
            }
            return;
        }
        if lease.phase == Phase::Leaving && seen.genuine() {
            self.plan.standings.insert(permission, Standing::Pending("joining its rule again".to_owned()));
            return self.join(rule, Proof::LedgerId, want, Some(lease));
        }
        let standing = match lease.phase {
            Phase::Leaving | Phase::Joining => Standing::Pending("its rule was found without its tags".to_owned()),
            _ => held(lease, &rule.id),
        };
        self.plan.standings.insert(permission, standing);
        if lease.phase == Phase::Joining {
            self.wake(self.record.now + JOIN_CHECK);
        }
        if !self.capabilities.marks {
            return;
        }
        let settled = lease.settled(self.reading.read_at);
        match seen.marks.leases.get(self.me()).filter(|_| !seen.marks.incomplete()) {
            None if !settled => {
                self.settle(lease);
                // What is not settled yet is the refusal itself.
                if may_not_restore(lease) && lease.tagged_until == Some(want.until) {
                    self.note_stripped(rule, lease);
                }
                // What our tag says is known from the ledger, even where it does not show.
                let behind = lease.phase == Phase::Held && lease.tagged_until != Some(want.until);
                if behind && self.due(Some(lease)) {
                    let owned = self.owned(rule, Proof::LedgerId);
                    self.retag.entry(want.until).or_default().push(owned);
                }
            }
            None => self.restore(rule, want, lease),
            Some(value) => self.keep(rule, Proof::LedgerId, value, want, Some(lease)),
        }
    }

    /// Our rule has lost its tags, or the one that names the session of its description.
    fn restore(&mut self, rule: &ObservedRule, want: Want, lease: &Lease) {
        self.note_stripped(rule, lease);
        if self.due(Some(lease)) {
            let (opener, rule) = (self.opener(rule, want), self.owned(rule, Proof::LedgerId));
            self.plan.steps.push(Step::Restore { rule, session: want.session, until: want.until, opener });
        }
    }

    fn note_stripped(&mut self, rule: &ObservedRule, lease: &Lease) {
        let then = if may_not_restore(lease) {
            "the credentials may not write them again (eg iam-policy --restore prints what allows it); until then only \
             this installation knows that it is eg's, and closes it by its id"
        } else {
            "they are written again"
        };
        self.note(NoteKind::Stripped, format!("{} was found without its tags; {then}", rule.id));
    }

    /// What `eg:session` has to say on a rule, so that its description bears it out: what it says, if that fits; else a
    /// live session of ours that the description names, or the short id that stands there. Where it names none, nothing
    /// can fit.
    fn opener(&self, rule: &ObservedRule, want: Want) -> String {
        let said = rule.tags.get(SESSION).cloned();
        let live = self.record.sessions.iter().map(|session| session.id);
        let whole = said.clone().into_iter().chain(std::iter::once(want.session).chain(live).map(|id| id.to_string()));
        let named: Vec<&str> = sessions_named(rule.description.as_deref().unwrap_or_default()).collect();
        let fits = |id: &String| named.iter().any(|short| id.starts_with(short));
        let found = whole.into_iter().find(fits).or_else(|| named.first().map(|short| (*short).to_owned()));
        found.or(said).unwrap_or_else(|| want.session.to_string())
    }

    fn wanted_ours_by_tag(&mut self, index: usize, permission: Permission, want: Want, lease: Option<&Lease>) {
        let Some(SeenRule { rule, marks, .. }) = self.take(index) else { return };
        let Some(value) = marks.leases.get(self.me()) else { return };
        if let Some(lease) = lease.filter(|lease| self.is_older_than_known(rule, lease)) {
            return self.keep_known(permission, lease);
        }
        let until = tag_time(value);
        let owned = self.owned(rule, Proof::LeaseTag);
        self.plan.ledger.push(LedgerStep::Adopt { permission, rule: owned, until });
        let shared = lease.is_some_and(|lease| lease.shared);
        let id = rule.id.clone();
        self.plan.standings.insert(permission, if shared { Standing::Shared(id) } else { Standing::Own(id) });
        self.keep(rule, Proof::LeaseTag, value, want, lease);
    }

    /// Whether the reading may be older than the id that we know: it shows another rule in its place.
    fn is_older_than_known(&self, rule: &ObservedRule, lease: &Lease) -> bool {
        lease.proven_rule().is_some_and(|id| *id != rule.id) && !lease.settled(self.reading.read_at)
    }

    fn keep_known(&mut self, permission: Permission, lease: &Lease) {
        let standing = match lease.proven_rule() {
            Some(id) if lease.phase == Phase::Held => held(lease, id),
            _ => standing_without_rule(Some(lease)),
        };
        self.plan.standings.insert(permission, standing);
        self.settle(lease);
    }

    /// Our tag is there; rewrite it if it says something else. A tag that we have just written and that does not
    /// show yet is a stale reading.
    fn keep(&mut self, rule: &ObservedRule, proof: Proof, value: &str, want: Want, lease: Option<&Lease>) {
        if value == lease_value(want.until) {
            return self.learn_tag(rule, proof, want, lease);
        }
        if self.record.twin && self.state(value).holds() && twin::stands(value, want.until, lease) {
            return;
        }
        let written = lease.is_some_and(|lease| lease.tagged_until == Some(want.until));
        let settled = lease.is_none_or(|lease| lease.settled(self.reading.read_at));
        if written && !settled {
            return;
        }
        if self.due(lease) {
            let owned = self.owned(rule, proof);
            self.retag.entry(want.until).or_default().push(owned);
            return;
        }
        // The last refusal may be that of another call.
        let why = lease.and_then(|lease| lease.last_failure.as_ref()).filter(|why| why.purpose == Some(Purpose::Tag));
        let why = why.map(|failure| format!(": {failure}")).unwrap_or_default();
        let message = format!("the tag of {} still says another time{why}", rule.id);
        self.note(NoteKind::TagBehind, message);
    }

    /// A rewrite that nobody answered and that shows was done.
    fn learn_tag(&mut self, rule: &ObservedRule, proof: Proof, want: Want, lease: Option<&Lease>) {
        let unanswered = |lease: &&Lease| lease.last_failure.as_ref().is_some_and(|why| why.class.outcome_unknown());
        let lease = lease.filter(unanswered).filter(|lease| lease.tagged_until != Some(want.until));
        if let Some(lease) = lease.filter(|_| proof == Proof::LedgerId) {
            let rule = self.owned(rule, proof);
            self.plan.ledger.push(LedgerStep::Adopt { permission: lease.permission, rule, until: Some(want.until) });
        }
    }

    fn wanted_marked(&mut self, index: usize, permission: Permission, want: Want, lease: Option<&Lease>) {
        let Some(SeenRule { rule, .. }) = self.take(index) else { return };
        if !want.open {
            return lease.into_iter().for_each(|lease| self.unwanted_absent(lease));
        }
        // To join it would trade the id of a rule that is there for one that a reading may still show.
        if let Some(lease) = lease.filter(|l| l.phase == Phase::Held && self.is_older_than_known(rule, l)) {
            return self.keep_known(permission, lease);
        }
        let joining = lease.filter(|l| l.phase == Phase::Joining && l.rule_id.as_ref() == Some(&rule.id));
        if let Some(lease) = joining.filter(|lease| !lease.settled(self.reading.read_at)) {
            let why = "our tag on another installation's rule is not visible yet";
            self.plan.standings.insert(permission, Standing::Pending(why.to_owned()));
            self.settle(lease);
            return self.wake(self.record.now + JOIN_CHECK);
        }
        let standing = lease.and_then(|lease| lease.last_failure.as_ref()).map(failed);
        let fresh = || Standing::Pending("joining another installation's rule".to_owned());
        self.plan.standings.insert(permission, standing.unwrap_or_else(fresh));
        self.join(rule, Proof::Marked, want, lease);
    }

    /// Whether anything may be opened for a want: not while its end lies so far ahead that the record is damaged, or this
    /// machine's clock behind.
    fn may_open(&self, want: Want) -> bool {
        want.open && self.record.policy.open && !ends_too_far_ahead(want.until, self.record.now)
    }

    fn join(&mut self, rule: &ObservedRule, proof: Proof, want: Want, lease: Option<&Lease>) {
        self.wake(self.record.now + JOIN_CHECK);
        if !self.may_open(want) || !self.due(lease) || !self.room(rule, proof) {
            return;
        }
        let rule = self.owned(rule, proof);
        self.plan.steps.push(Step::Join { rule, session: want.session, until: want.until });
    }

    /// Makes room for our lease tag where the rule has as many tags as it may: others' expired lease tags go,
    /// oldest first.
    fn room(&mut self, rule: &ObservedRule, proof: Proof) -> bool {
        let own = lease_key(self.me());
        let after = rule.tags.len() + usize::from(!rule.tags.contains_key(&own));
        let Some(excess) = after.checked_sub(self.capabilities.tags_per_rule).filter(|excess| *excess > 0) else {
            return true;
        };
        let marks = rule.marks(&self.plan.target.id);
        let mut expired: Vec<(String, String)> = marks
            .leases
            .iter()
            .filter(|(id, value)| *id != self.me() && self.state(value) == LeaseState::Expired)
            .map(|(id, value)| (value.clone(), lease_key(id)))
            .collect();
        expired.sort();
        if expired.len() < excess {
            let message = format!("{} has no room for another tag", rule.id);
            self.note(NoteKind::TagsFull, message);
            return false;
        }
        let tags = expired.into_iter().take(excess).map(|(value, key)| (key, value)).collect();
        let rule = self.owned(rule, proof);
        self.plan.steps.push(Step::MakeRoom { rule, tags });
        true
    }

    /// Somebody else's rule does it. If a lease of ours is open for it, it closes as soon as that is safe.
    fn wanted_covered(&mut self, index: usize, permission: Permission, lease: Option<&Lease>) {
        let Some(SeenRule { rule, .. }) = self.take(index) else { return };
        self.plan.standings.insert(permission, Standing::Foreign(rule.id.clone()));
        let Some(lease) = lease else { return };
        match self.stray_tag(lease) {
            _ if self.displaced_is_seen(permission) => {}
            _ if !lease.may_close_on_absence(self.reading.read_at) => self.settle(lease),
            Some(until) => self.wake(until + LEASE_GRACE + TimeDelta::seconds(1)),
            None => self.plan.ledger.push(LedgerStep::Close { lease: lease.id }),
        }
    }

    fn wanted_absent(&mut self, permission: Permission, want: Want, lease: Option<&Lease>) {
        if !want.open {
            return lease.into_iter().for_each(|lease| self.unwanted_absent(lease));
        }
        let standing = match standing_without_rule(lease) {
            Standing::Untried | Standing::Pending(_) if ends_too_far_ahead(want.until, self.record.now) => {
                Standing::Pending(format!("by this machine's clock, {}; nothing is opened", Damage::Future))
            }
            standing => standing,
        };
        let proven = standing.is_held();
        self.plan.standings.insert(permission, standing);
        // "Exists already" has just proven it: only the reading is behind, and nothing is put off.
        let next = lease.and_then(|lease| lease.next_try_at).filter(|_| proven);
        if let Some(at) = self.later(next, OPENING_DELAY_MAX) {
            return self.wake(at);
        }
        let vanished = lease.filter(|lease| lease.phase == Phase::Held && lease.vanished >= 1);
        if let Some(lease) = vanished {
            let message = format!(
                "something keeps deleting {} from {} on {}, often Terraform with inline ingress blocks: use separate \
                 aws_vpc_security_group_ingress_rule resources, or lifecycle {{ ignore_changes = [ingress] }}",
                permission.ports(),
                permission.cidr(),
                self.plan.target.id,
            );
            self.note(NoteKind::Contested, message);
            let next = lease.last_sent_at.map(|sent| sent + contest_pause(lease.vanished));
            if let Some(next) = next.filter(|next| *next > self.record.now && !self.record.policy.ignore_delays) {
                return self.wake(next);
            }
        }
        if self.may_open(want) && self.due(lease) {
            self.authorize.entry((want.until, want.session)).or_default().push(permission);
        }
    }

    /// Readings are not believed yet; look again when they are.
    fn settle(&mut self, lease: &Lease) {
        if let Some(at) = lease.settles_at() {
            self.wake(at + TimeDelta::seconds(1));
        }
    }

    fn waits(&mut self, lease: &Lease) {
        self.settle(lease);
        self.note_closing(lease);
    }

    fn note_closing(&mut self, lease: &Lease) {
        let (ports, cidr) = (lease.permission.ports(), lease.permission.cidr());
        let why = lease.last_failure.as_ref().filter(|why| why.purpose != Some(Purpose::Tag));
        let why = why.map(|failure| format!(": {failure}")).unwrap_or_default();
        let message = format!("{ports} from {cidr} on {} is not confirmed as closed yet{why}", self.plan.target.id);
        self.note(NoteKind::Closing, message);
    }

    fn unwanted_lease(&mut self, lease: &Lease) {
        let me = self.me();
        let by_id = self.position(|seen| Some(&seen.rule.id) == lease.proven_rule());
        let tagged = |seen: &SeenRule<'_>| {
            let free = !self.known.contains_key(&seen.rule.id);
            free && seen.rule.permission == lease.permission && seen.genuine() && seen.marks.leases.contains_key(me)
        };
        let by_tag = self.position(tagged).filter(|_| self.capabilities.marks);
        // Our tag on a rule beside the known one: a lost call that landed after an edit, or a reading older than the
        // id that we know. Adopting it would trade the better proof for a worse one and leave a rule behind.
        let known_stands = lease.proven_rule().is_some() && (by_id.is_some() || !lease.settled(self.reading.read_at));
        if let Some(index) = by_tag.filter(|_| known_stands)
            && self.beside_known(index, by_id.is_some(), lease)
        {
            return;
        }
        if self.displaced_is_seen(lease.permission) {
            // It is closed first: this lease alone remembers it.
            let known = by_id.or(by_tag).and_then(|index| self.seen.get(index));
            self.dealt_with.extend(known.map(|seen| seen.rule.id.clone()));
            return self.waits(lease);
        }
        let (found, proof) = match by_id {
            Some(index) => (Some(index), Proof::LedgerId),
            None => (by_tag, Proof::LeaseTag),
        };
        let Some(seen) = found.and_then(|index| self.take(index)) else {
            return self.unwanted_absent(lease);
        };
        let (rule, marks) = (seen.rule, &seen.marks);
        if proof == Proof::LeaseTag {
            let owned = self.owned(rule, proof);
            let until = marks.leases.get(me).and_then(|value| tag_time(value));
            self.plan.ledger.push(LedgerStep::Adopt { permission: lease.permission, rule: owned, until });
        }
        // An edited rule gives nobody what its tags speak of, so other holders' leases on it hold nothing either.
        let edited = rule.permission != lease.permission;
        let others = !edited && self.held_by_another(&seen);
        let settled = lease.settled(self.reading.read_at);
        if lease.phase == Phase::Joining && !settled && !edited && !seen.genuine() {
            // Tags of a new rule may not show yet: whether others hold it is not known.
            return self.waits(lease);
        }
        let our_value = marks.leases.get(me).filter(|value| self.state(value).holds());
        match (lease.phase, others) {
            (Phase::Leaving, true) if !settled => self.settle(lease),
            (Phase::Leaving | Phase::Joining, true) if settled && our_value.is_none() => {
                self.plan.ledger.push(LedgerStep::Close { lease: lease.id });
            }
            (_, true) => self.leave(rule, proof, marks.leases.get(me), lease),
            (_, false) => {
                if self.due_to_close(lease) {
                    let owned = self.owned(rule, proof);
                    self.revoke.push(owned);
                } else {
                    self.waits(lease);
                }
            }
        }
    }

    /// Lets go of a rule with our tag that is not the one its lease knows; whether that is all there is to do for now.
    ///
    /// | that rule | the known one | |
    /// |---|---|---|
    /// | ours alone | seen, or not | it is closed first |
    /// | shared | seen, and on record as opened | the lease takes it over: the known one, displaced from now on, is closed first, and then this one is left |
    /// | shared | not seen | wait |
    fn beside_known(&mut self, index: usize, known_is_seen: bool, lease: &Lease) -> bool {
        let shared = self.seen.get(index).is_some_and(|seen| self.held_by_another(seen));
        let remembered = lease.proven_rule().and_then(|known| self.record.opened.get(known)) == Some(&lease.permission);
        if shared && known_is_seen && !remembered {
            return false;
        }
        let Some(SeenRule { rule, marks, .. }) = self.take(index) else { return false };
        self.dealt_with.extend(lease.proven_rule().cloned());
        let owned = self.owned(rule, Proof::LeaseTag);
        match (shared, known_is_seen) {
            (false, _) => self.collect.push(owned),
            (true, true) => {
                let until = marks.leases.get(self.me()).and_then(|value| tag_time(value));
                self.plan.ledger.push(LedgerStep::Adopt { permission: lease.permission, rule: owned, until });
            }
            (true, false) => {}
        }
        if !known_is_seen {
            self.waits(lease);
        }
        true
    }

    fn unwanted_absent(&mut self, lease: &Lease) {
        let settled = !lease.attempted() || lease.may_close_on_absence(self.reading.read_at);
        let lands = lease.may_still_land(self.reading.read_at);
        match self.stray_tag(lease) {
            Some(until) if settled => {
                self.note_closing(lease);
                self.wake(until + LEASE_GRACE + TimeDelta::seconds(1));
            }
            None if settled => self.plan.ledger.push(LedgerStep::Close { lease: lease.id }),
            // No session waits for it, and nothing says that it is there.
            _ if lease.phase == Phase::Leaving && lease.last_failure.is_none() && !lands => self.settle(lease),
            _ if lease.opened_nothing() => self.settle(lease),
            _ => self.waits(lease),
        }
    }

    /// Until when our tag holds on a rule for this permission that has lost its marks: a tag written late, on a rule
    /// that somebody has stripped. We may not touch it, but another holder who knows the rule by its id marks it again,
    /// and our tag counts again. So the lease stays open until then, or until the tag's own time. With tags that
    /// somebody has put on a rule which no marks can make `eg`'s, there is nothing to wait for.
    fn stray_tag(&self, lease: &Lease) -> Option<Timestamp> {
        let (me, known) = (self.me(), &self.known);
        let stray = |seen: &&SeenRule<'_>| {
            let free = seen.rule.permission == lease.permission && !known.contains_key(&seen.rule.id);
            free && !seen.genuine() && seen.marks.can_be_mended()
        };
        let value = |seen: &SeenRule<'_>| {
            let value = seen.marks.leases.get(me).filter(|value| self.state(value).holds())?;
            tag_time(value)
        };
        self.seen.iter().filter(stray).filter_map(value).max()
    }

    fn leave(&mut self, rule: &ObservedRule, proof: Proof, value: Option<&String>, lease: &Lease) {
        if !self.due_to_close(lease) {
            return self.waits(lease);
        }
        let written = || lease.tagged_until.map(lease_value).unwrap_or_default();
        let value = value.cloned().unwrap_or_else(written);
        let rule = self.owned(rule, proof);
        self.plan.steps.push(Step::Leave { rule, value });
    }

    fn remaining_rules(&mut self) {
        let seen = std::mem::take(&mut self.seen);
        for one in &seen {
            let SeenRule { rule, marks, fit } = one;
            if self.displaced(rule).is_some() {
                let message = format!("{} was edited by hand while a reading did not show it; it is closed", rule.id);
                self.note(NoteKind::Edited, message);
                let owned = self.owned(rule, Proof::LedgerId);
                self.collect.push(owned);
                continue;
            }
            if self.lease_is_unreadable(one) {
                let owned = self.owned(rule, Proof::LedgerId);
                self.collect.push(owned);
                continue;
            }
            if !self.capabilities.marks {
                continue;
            }
            if marks.managed {
                self.report_odd(rule, marks);
            }
            let misfit = match fit {
                Some(Fit::Misfit(misfit)) => Some(*misfit),
                // It was ours, and no lease knows it any more.
                Some(Fit::OursById) if marks.managed && !self.known.contains_key(&rule.id) => Some(Misfit::Digest),
                _ => None,
            };
            if let Some(misfit) = misfit {
                let (id, why) = (&rule.id, misfit.why());
                let message = format!("{id} is left alone: {why}");
                self.note(NoteKind::Misfit, message);
            }
            if !self.dealt_with.contains(&rule.id) {
                self.remaining_rule(one);
            }
        }
    }

    /// Whether a rule is one that was ours when its lease could still be read, that nobody here wants, and that no lease
    /// tag of others holds, whether the marks fit or not. It is closed by its id, whatever our own tag on it says.
    fn lease_is_unreadable(&self, seen: &SeenRule<'_>) -> bool {
        let SeenRule { rule, marks, .. } = seen;
        let another = |(id, value): (&InstallationId, &String)| id != self.me() && self.state(value).holds();
        let free = !self.wanted.contains_key(&rule.permission) && !self.leases.contains_key(&rule.permission);
        self.unreadable
            && free
            && !self.known.contains_key(&rule.id)
            && !self.dealt_with.contains(&rule.id)
            && self.record.opened.get(&rule.id) == Some(&rule.permission)
            && !marks.leases.iter().any(another)
    }

    fn report_odd(&mut self, rule: &ObservedRule, marks: &Marks) {
        for (holder, value) in &marks.leases {
            if self.state(value) == LeaseState::Odd {
                let message = format!("{}: the lease of {holder} says \"{value}\", which holds nothing", rule.id);
                self.note(NoteKind::OddLease, message);
            }
        }
    }

    fn remaining_rule(&mut self, seen: &SeenRule<'_>) {
        let SeenRule { rule, marks, fit } = seen;
        if !seen.genuine() || self.wanted.contains_key(&rule.permission) {
            return;
        }
        if marks.leases.get(self.me()).is_some_and(|value| self.state(value).holds()) {
            let message = format!("{} carries our tag but is not in this record; it closes by its own tag", rule.id);
            return self.note(NoteKind::Unledgered, message);
        }
        if !abandoned(*fit, marks, self.reading.provider_time) || !self.may_collect() {
            return;
        }
        let owned = self.owned(rule, Proof::Marked);
        self.collect.push(owned);
    }

    /// Others' leases are judged by the provider's clock alone; where that is not known, or ours is plainly wrong,
    /// nothing of others is closed.
    fn may_collect(&self) -> bool {
        self.record.policy.collect && clocks_agree(self.record.now, self.reading.provider_time)
    }
}
