//! A pass in JSON, as in `docs/schema/v1/reconcile.json`.

use crate::{
    reconcile::report::{NoteReport, PassReport, StepReport},
    ui::json::{permission, region, time},
};
use eg_model::{plan::Step, session::follow::Move, target::TargetKey};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// A pass as the contract has it. `names` maps targets to the names of their resources.
pub fn pass(report: &PassReport, names: &BTreeMap<TargetKey, String>) -> Value {
    let steps: Vec<Value> = report.steps.iter().map(|step| step_json(step, names)).collect();
    let note = |item: &NoteReport| json!({"resourceId": item.target.id, "kind": item.note.kind.as_str(), "message": item.note.message});
    let state_error = |error: &String| json!({"resourceId": null, "kind": "state", "message": error});
    let notes = report.notes.iter().map(note).chain(report.state_errors.iter().map(state_error));
    json!({
        "runId": report.run.to_string(),
        "startedAt": time(report.started),
        "finishedAt": time(report.finished),
        "converged": report.converged,
        "digest": report.digest,
        "nextWakeAt": report.next_wake.map(time),
        "moves": report.moves.iter().map(move_json).collect::<Vec<_>>(),
        "steps": steps,
        "notes": notes.collect::<Vec<_>>(),
    })
}

fn move_json(step: &Move) -> Value {
    json!({"sessionId": step.session.to_string(), "from": step.from, "to": step.to})
}

fn step_json(report: &StepReport, names: &BTreeMap<TargetKey, String>) -> Value {
    let step = &report.step;
    let (session, until) = match step {
        Step::Authorize { session, until, .. }
        | Step::Join { session, until, .. }
        | Step::Restore { session, until, .. } => (Some(session.to_string()), Some(time(*until))),
        Step::Retag { until, .. } => (None, Some(time(*until))),
        Step::SetAutoClose { at, .. } => (None, Some(time(*at))),
        _ => (None, None),
    };
    json!({
        "action": step.action(),
        "resourceName": names.get(&report.target),
        "resourceId": report.target.id,
        "region": region(&report.target),
        "permissions": step.permissions().iter().map(permission).collect::<Vec<_>>(),
        "ruleIds": step.rule_ids(),
        "sessionId": session,
        "until": until,
        "outcome": report.outcome.as_str(),
        "error": report.error,
    })
}
