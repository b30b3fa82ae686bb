//! One target, from its first reading to rest: rounds of plan and apply.
//!
//! | after a round | next |
//! |---|---|
//! | every step done | plan again over the reading with the known effects applied; no step left: rest |
//! | a rule that is to be changed was read more than ten seconds ago | read the rules that are to be changed again, by their ids: a group with thousands of rules over a slow link is never read whole in ten seconds |
//! | something is to be opened, and the reading ended more than ten seconds ago | read the whole again |
//! | an outcome is not known, or the reading was stale, or a join has to be seen | read again after 1, 2, 4 seconds; then it stays pending |
//! | throttled | repeat after a short delay |
//! | credentials refused | rest; open work stays on record |
//! | too many rounds | rest: something else changes this target all the time |
//!
//! A target holds a place of its route's [`Lane`](crate::reconcile::lane::Lane) while it works, and none while it waits; each
//! call takes a turn. Calls to the scheduler have slots of their own, and come after the calls to the firewall.

use super::{
    authorize::AuthorizeStep,
    rule_call::split,
    target::{Impatience, Round, StepFlow, StepResult, TargetRun},
};
use crate::{
    error::CommandError,
    reconcile::{
        lane::CalledService,
        loaded_record::LoadedTarget,
        report::{StepOutcome, TargetReport},
    },
};
use eg_model::{
    Timestamp,
    net::permission::Permission,
    observation::{Observation, OwnedRule},
    plan::{Note, NoteKind, Step, TargetPlan},
    target::MarkPlace,
};
use std::mem::take;

/// Rounds of plan and apply in one pass; a healthy target needs two or three.
const ROUNDS: u32 = 12;

/// The plans' liberties, each used up by the first plan that takes it.
struct Pending {
    /// Changes of rules go first, while the reading is recent: reading expiry schedules may take long.
    rules_first: bool,
    /// A person's impatience counts once: later rounds respect the delays that this pass has caused.
    impatience: Impatience,
}

impl TargetRun<'_> {
    /// Takes the target from its first reading to rest.
    pub(in crate::reconcile) async fn run(mut self) -> TargetReport {
        let ended = self.run_to_rest().await;
        let marked = self.capabilities().marks != MarkPlace::None;
        let (wake, state_error) = match ended {
            Ok(wake) => (wake, self.unrecorded),
            Err(error) => (None, Some(error.message)),
        };
        let unconverged = state_error.is_some() || self.notes.iter().any(|note| note.kind.unconverged());
        TargetReport {
            first_plan: self.first_plan.unwrap_or_else(|| TargetPlan::empty(&self.key)),
            converged: self.converged && !unconverged,
            target: self.key,
            read: !matches!(self.reading.observation, Observation::Unavailable(_)),
            marked,
            steps: self.steps,
            notes: self.notes,
            wake,
            state_error,
        }
    }

    async fn run_to_rest(&mut self) -> Result<Option<Timestamp>, CommandError> {
        self.rounds().await?;
        let mut settled = self.settle()?;
        // A session keeps its old address until it is open at the new one. Now the old one can be closed.
        if settled.freed && !self.is_over() {
            self.rounds().await?;
            settled = self.settle()?;
        }
        Ok(settled.wake)
    }

    async fn rounds(&mut self) -> Result<(), CommandError> {
        let interactive = self.request.interactive;
        let impatience = Impatience { rules: interactive, auto_closes: interactive };
        let mut pending = Pending { rules_first: true, impatience };
        for _ in 0..ROUNDS {
            if !self.round(&mut pending).await? || self.is_over() {
                return Ok(());
            }
        }
        self.converged = false;
        let message =
            format!("{} is contended: something else changes it all the time; eg tries again later", self.key);
        self.notes.insert(Note::new(NoteKind::Contested, message));
        Ok(())
    }

    /// One round: plan, record what the reading teaches, apply, read again. False if the target is at rest.
    async fn round(&mut self, pending: &mut Pending) -> Result<bool, CommandError> {
        self.take_slot(CalledService::Firewall).await;
        let loaded = self.driver.load(&self.key, self.now())?;
        let (mut plan, impatience) = self.plan_round(&loaded, pending).await;
        self.first_plan.get_or_insert_with(|| plan.clone());
        if self.request.dry_run {
            self.steps = plan.steps.iter().map(|step| self.report(step, StepOutcome::Planned, None)).collect();
            return Ok(false);
        }
        // Such a note is about a problem that this plan solves, so the last plan does not repeat it.
        self.notes.extend(plan.notes.iter().filter(|note| note.kind.outlives_mending()).cloned());
        let learnt = self.learn(&plan, &loaded)?;
        let before = plan.steps.len();
        plan.steps.retain(|step| self.may_try(step));
        self.converged &= plan.steps.len() == before;
        let (planned, reported) = (!plan.steps.is_empty(), self.steps.len());
        let flow = self.apply(&plan, &loaded).await?;
        self.still_watched()?;
        // The step for an expiry schedule may depend on what was just learnt.
        let plan_again = planned || (learnt && self.unrecorded.is_none() && self.has_auto_closes(&loaded));
        Ok(match flow {
            StepFlow::Next | StepFlow::Replan if plan_again => true,
            StepFlow::Next | StepFlow::Replan if self.watching.is_empty() => false,
            StepFlow::Next | StepFlow::Replan | StepFlow::Reobserve => self.reobserve().await,
            StepFlow::Refresh => {
                pending.rules_first = true;
                // If no step was tried, the impatience is not used up.
                pending.impatience.rules = impatience.rules && self.steps.len() == reported;
                self.read_old_again().await
            }
            StepFlow::Throttled => self.pause().await,
            StepFlow::Stop => false,
        })
    }

    /// The plan of a round, and the delays that it ignores.
    async fn plan_round(&mut self, loaded: &LoadedTarget, pending: &mut Pending) -> (TargetPlan, Impatience) {
        let mut impatience = Impatience { rules: take(&mut pending.impatience.rules), auto_closes: false };
        let plan = self.plan(loaded, impatience);
        let changes_rules = plan.steps.iter().any(|step| !step.is_of_auto_close() && self.may_try(step));
        if take(&mut pending.rules_first) && !self.request.dry_run && changes_rules {
            return (plan, impatience);
        }
        self.find_auto_close_route(loaded).await;
        if !self.has_auto_closes(loaded) {
            return (plan, impatience);
        }
        self.read_auto_closes(loaded).await;
        impatience.auto_closes = take(&mut pending.impatience.auto_closes);
        (self.plan(loaded, impatience), impatience)
    }

    /// True if a step may still be tried in this pass.
    fn may_try(&self, step: &Step) -> bool {
        // A left-over expiry schedule is harmless, so its deletion waits for a record that can be written.
        let waits_for_record = step.opens() || matches!(step, Step::DropAutoClose { .. });
        if waits_for_record && !self.may_open {
            return false;
        }
        let asked: &[Permission] = if let Step::Authorize { permissions, .. } = step { permissions } else { &[] };
        let mut about = asked.iter().chain(step.rules().iter().map(OwnedRule::permission)).peekable();
        // A step that is only in part about damaged rows is sent one item a call.
        if step.opens() && about.peek().is_some() && about.all(|permission| self.damaged.contains(permission)) {
            return false;
        }
        match step {
            Step::Collect { rules } => !rules.iter().any(|rule| self.given_up.contains(rule.id())),
            Step::Leave { rule, .. } => !self.left.contains(rule.id()),
            Step::Undo { permission } => !self.undone.contains(permission),
            Step::SetAutoClose { rule, .. } => !self.expiry.damaged.contains(rule.id()),
            _ => true,
        }
    }

    async fn apply(&mut self, plan: &TargetPlan, loaded: &LoadedTarget) -> StepResult {
        let Some(firewall) = self.reading.firewall.clone() else { return Ok(StepFlow::Stop) };
        let closes = plan.steps.iter().any(|step| !step.opens());
        let round = Round { firewall: firewall.as_ref(), loaded, closes };
        let mut worst = StepFlow::Next;
        let mut too_fast = false;
        for (number, step) in plan.steps.iter().enumerate() {
            let scheduler = step.is_of_auto_close();
            self.take_slot(if scheduler { CalledService::Scheduler } else { CalledService::Firewall }).await;
            if self.is_over() {
                return Ok(StepFlow::Stop);
            }
            if too_fast && step.opens() {
                continue;
            }
            if !scheduler && !self.was_read_recently(step) {
                // One call reads again all rules that were read too long ago.
                let rest = plan.steps.iter().skip(number).filter(|step| !step.is_of_auto_close());
                self.too_old = rest.flat_map(|step| self.old_rules(step)).collect();
                return Ok(StepFlow::Refresh);
            }
            let flow = self.carry_out(step, round).await?;
            worst = worst.max(flow);
            // A throttled opening does not hold up the closings that follow.
            if flow == StepFlow::Throttled && step.opens() {
                too_fast = true;
            } else if flow >= StepFlow::Refresh {
                return Ok(flow);
            }
        }
        Ok(worst)
    }

    async fn carry_out(&mut self, step: &Step, round: Round<'_>) -> StepResult {
        match step {
            Step::Authorize { session, until, permissions } => {
                let opener = round.loaded.sessions.iter().find(|known| known.id == *session);
                let reason = opener.and_then(|opener| opener.reason.as_deref());
                let call = AuthorizeStep { session: *session, until: *until, reason, permissions, step };
                self.authorize(&call, round).await
            }
            Step::Unmark { .. } | Step::Undo { .. } => self.close_by_permission(step, round).await,
            Step::SetAutoClose { .. } | Step::DropAutoClose { .. } => self.auto_close(step, round).await,
            _ => self.change(step, round).await,
        }
    }

    /// Carries out a step one item a call.
    pub(super) async fn one_by_one(&mut self, step: &Step, round: Round<'_>) -> StepResult {
        let mut worst = StepFlow::Next;
        for one in split(step) {
            let flow = Box::pin(self.carry_out(&one, Round { closes: false, ..round })).await?;
            worst = worst.max(flow);
            if matches!(flow, StepFlow::Throttled | StepFlow::Stop) || self.is_over() {
                break;
            }
        }
        Ok(worst)
    }
}
