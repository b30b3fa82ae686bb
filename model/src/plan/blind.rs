//! The plan for a firewall that cannot be read back: scripts that apply and revoke, and nothing that observes.
//!
//! Nothing here is ever foreign, shared or collected: the record is all that is known. Two things take the place of a
//! reading. A call whose outcome is unknown counts as landed for closing, and as not landed for opening. And an answer
//! counts only once no earlier call of unknown outcome can land after it: for that long, a process that outlived a
//! crash of `eg` may still be at work.
//!
//! This rests on scripts that can run again: to apply twice is to apply once, and to revoke what is not there succeeds.
//! A script that adds a second copy leaves one behind. A run in which one of several scripts has failed is a call of
//! unknown outcome, not a refusal.

use super::{
    case::table,
    context::PlanContext,
    note::NoteKind,
    planner::{CLOSING_DELAY_MAX, OPENING_DELAY_MAX},
    standing::{failed, pending},
    target_plan::TargetPlan,
    wants::{Want, wants},
};
use crate::{
    SETTLE_WINDOW, Timestamp,
    damage::ends_too_far_ahead,
    ids::RuleId,
    lease::{Lease, Phase},
    net::permission::Permission,
    plan::{LedgerStep, Step},
    session::record::Standing,
    target::TargetKey,
};
use chrono::TimeDelta;
use std::collections::BTreeMap;

table! {
    /// A permission on a firewall that cannot be read back.
    BlindCase<'a> {
        /// Wanted; the last call has applied it, and no call of unknown outcome can land after that: keep.
        Open(&'a RuleId),
        /// The same, but such a call can still land, and may undo it: keep, and `Authorize` again when it cannot.
        ///
        /// *`eg` crashed during a revoke; a new session has applied the permission again.*
        MayBeUndone(&'a RuleId, Timestamp),
        /// Wanted, and never applied, refused, revoked, or not known: `Authorize`, even if the last call may have landed.
        ///
        /// *The script did not end within its time.*
        NotOpen,
        /// Not wanted, or wanted only while it is open; never attempted, or every call was refused:
        /// [`Close`](LedgerStep::Close) the lease.
        NeverOpened(&'a Lease),
        /// Not wanted; the revoke was confirmed, but a call of unknown outcome can still land: wait, then `Undo` once
        /// more.
        ///
        /// *The apply timed out, and the session was stopped a minute later.*
        MayLand(&'a Lease, Timestamp),
        /// Not wanted, and not confirmed as revoked: `Undo`, again and again until it is confirmed.
        NotClosed(&'a Lease),
        /// Wanted only while it is open, and no lease: nothing.
        NotReopened,
    }
}

/// The steps that take one target to what the live sessions want, from the record alone. Each has one permission.
#[must_use]
pub fn plan_blind(record: &PlanContext<'_>, target: &TargetKey) -> TargetPlan {
    let wanted = wants(record.sessions).remove(target).unwrap_or_default();
    let leases = record.leases.iter().filter(|lease| &lease.target.key == target && lease.phase != Phase::Closed);
    let leases: BTreeMap<Permission, &Lease> = leases.map(|lease| (lease.permission, lease)).collect();
    let mut planner = BlindPlanner { record, plan: TargetPlan::empty(target) };
    for (permission, want) in &wanted {
        planner.plan(*permission, Some(*want), leases.get(permission).copied());
    }
    for (permission, lease) in leases.iter().filter(|(permission, _)| !wanted.contains_key(*permission)) {
        planner.plan(*permission, None, Some(lease));
    }
    planner.finish()
}

struct BlindPlanner<'a> {
    record: &'a PlanContext<'a>,
    plan: TargetPlan,
}

impl<'a> BlindPlanner<'a> {
    fn case(&self, want: Option<Want>, lease: Option<&'a Lease>) -> BlindCase<'a> {
        let applied = |lease: &&Lease| lease.phase == Phase::Held && lease.tagged_until.is_some();
        // To apply again may have been refused, and what it was to replace may be undone by now.
        let open = lease.filter(applied).filter(|lease| lease.last_failure.is_none());
        match (want, open.and_then(|lease| Some((lease, lease.rule_id.as_ref()?)))) {
            (Some(_), Some((lease, rule))) => match lease.unknown_since().filter(|_| lease.may_be_overtaken()) {
                Some(unknown) => BlindCase::MayBeUndone(rule, settled(unknown)),
                None => BlindCase::Open(rule),
            },
            (Some(want), None) if want.open => BlindCase::NotOpen,
            _ => lease.map_or(BlindCase::NotReopened, |lease| self.closing_case(lease)),
        }
    }

    fn closing_case(&self, lease: &'a Lease) -> BlindCase<'a> {
        let confirmed = lease.phase == Phase::Claimed && lease.in_flight.is_none() && lease.last_failure.is_none();
        let lands = lease.last_unknown_at.filter(|_| lease.may_still_land(self.record.now));
        match lands.filter(|_| confirmed) {
            _ if lease.opened_nothing() => BlindCase::NeverOpened(lease),
            Some(unknown) => BlindCase::MayLand(lease, settled(unknown)),
            None => BlindCase::NotClosed(lease),
        }
    }

    fn plan(&mut self, permission: Permission, want: Option<Want>, lease: Option<&'a Lease>) {
        let case = self.case(want, lease);
        self.plan.rows.insert(case.row());
        match case {
            BlindCase::Open(rule) => self.stands(permission, Standing::Own(rule.clone())),
            BlindCase::MayBeUndone(rule, settles_at) => {
                self.stands(permission, Standing::Own(rule.clone()));
                if settles_at > self.record.now {
                    self.plan.wake_at(settles_at);
                } else if let Some(want) = want {
                    self.apply(permission, want, lease);
                }
            }
            BlindCase::NotOpen => {
                self.stands(permission, standing(lease));
                want.into_iter().for_each(|want| self.apply(permission, want, lease));
            }
            BlindCase::NeverOpened(lease) => self.plan.ledger.push(LedgerStep::Close { lease: lease.id }),
            BlindCase::MayLand(lease, settles_at) => {
                self.note_closing(lease);
                self.plan.wake_at(settles_at);
            }
            BlindCase::NotClosed(lease) => {
                let latest = lease.last_sent_at.map(|sent| sent + CLOSING_DELAY_MAX);
                let next = lease.next_try_at.map(|next| latest.map_or(next, |latest| next.min(latest)));
                if self.is_due(next, CLOSING_DELAY_MAX) {
                    self.plan.steps.push(Step::Undo { permission });
                } else {
                    self.note_closing(lease);
                }
            }
            BlindCase::NotReopened => {}
        }
    }

    fn apply(&mut self, permission: Permission, want: Want, lease: Option<&Lease>) {
        let may_open = want.open && self.record.policy.open && !ends_too_far_ahead(want.until, self.record.now);
        if may_open && self.is_due(lease.and_then(|lease| lease.next_try_at), OPENING_DELAY_MAX) {
            let permissions = vec![permission];
            self.plan.steps.push(Step::Authorize { session: want.session, until: want.until, permissions });
        }
    }

    fn is_due(&mut self, next_try_at: Option<Timestamp>, longest: TimeDelta) -> bool {
        let later = self.record.put_off(next_try_at, longest).filter(|_| !self.record.policy.ignore_delays);
        if let Some(at) = later {
            self.plan.wake_at(at);
            self.plan.deferred = true;
        }
        later.is_none()
    }

    fn stands(&mut self, permission: Permission, standing: Standing) {
        self.plan.standings.insert(permission, standing);
    }

    fn note_closing(&mut self, lease: &Lease) {
        let (ports, cidr) = (lease.permission.ports(), lease.permission.cidr());
        let why = lease.last_failure.as_ref().map(|failure| format!(": {failure}")).unwrap_or_default();
        let message = format!("{ports} from {cidr} on {} is not confirmed as closed yet{why}", self.plan.target.id);
        self.plan.note(NoteKind::Closing, message);
    }

    fn finish(mut self) -> TargetPlan {
        self.plan.steps.sort();
        self.plan.ledger.sort();
        self.plan.notes.sort();
        self.plan
    }
}

/// The first moment at which a call of unknown outcome cannot land any more.
fn settled(unknown: Timestamp) -> Timestamp {
    unknown + SETTLE_WINDOW + TimeDelta::seconds(1)
}

fn standing(lease: Option<&Lease>) -> Standing {
    match lease.map(|lease| (lease, &lease.last_failure)) {
        Some((_, Some(failure))) => failed(failure),
        Some((lease, None)) if lease.attempted() => pending("whether the last call arrived is not known"),
        _ => Standing::Untried,
    }
}
