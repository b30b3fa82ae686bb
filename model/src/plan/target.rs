//! The plan for one target, whether it was read, is gone, could not be read, or has nothing to be read.

use super::{
    auto_close::with_auto_closes,
    blind::plan_blind,
    context::{PlanContext, TargetView},
    note::{Note, NoteKind},
    planner::Planner,
    rules::SeenRules,
    standing::failed,
    step::LedgerStep,
    target_plan::TargetPlan,
    wants::{Want, wants},
};
use crate::{
    failure::Failure,
    lease::{Lease, Phase},
    net::permission::Permission,
    observation::{Observation, Reading},
    session::record::Standing,
};
use std::collections::{BTreeMap, BTreeSet};

/// The steps that take one target from its reading to the rules that the live sessions want.
#[must_use]
pub fn plan_target(record: &PlanContext<'_>, view: &TargetView<'_>) -> TargetPlan {
    let wanted = wants(record.sessions).remove(view.key).unwrap_or_default();
    let leases = record.leases.iter().filter(|lease| &lease.target.key == view.key && lease.phase != Phase::Closed);
    let leases: BTreeMap<Permission, &Lease> = leases.map(|lease| (lease.permission, lease)).collect();
    let plan = match view.observation {
        Observation::Unavailable(failure) => unavailable(record, view, &wanted, &leases, failure),
        Observation::Missing => missing(view, &wanted, &leases),
        Observation::NoReadBack => return plan_blind(record, view.key),
        Observation::Complete(reading) => complete(record, view, &wanted, &leases, reading),
    };
    with_auto_closes(record, view, &wanted, &leases, plan)
}

fn complete(
    record: &PlanContext<'_>,
    view: &TargetView<'_>,
    wanted: &BTreeMap<Permission, Want>,
    leases: &BTreeMap<Permission, &Lease>,
    reading: &Reading,
) -> TargetPlan {
    let rules = SeenRules::new(record, view, reading, leases);
    let mut planner = Planner::new(record, view, reading, &rules, wanted, leases);
    planner.check_clock();
    for (permission, want) in wanted {
        planner.plan_wanted(*permission, *want);
    }
    for (_, lease) in leases.iter().filter(|(permission, _)| !wanted.contains_key(*permission)) {
        planner.plan_unwanted(lease);
    }
    for seen in &rules.all {
        planner.plan_leftover(seen);
    }
    planner.finish()
}

/// The target could not be read: no conclusion, and the recorded state of every permission stays.
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
        let message = format!("{} cannot be read: {failure}", view.key);
        plan.notes.push(Note { kind: NoteKind::Unavailable, message, class: Some(failure.class) });
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
        plan.note(NoteKind::Missing, format!("{why}; its rules are gone with it"));
    }
    plan
}
