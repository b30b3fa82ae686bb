//! One target, from its first reading to rest: rounds of plan and apply, reading again where the view was stale or
//! an outcome is not known.
//!
//! | after a round | next |
//! |---|---|
//! | every step done | plan again over the reading with the known effects laid over it; nothing left: rest |
//! | a rule that is to be changed was read more than ten seconds ago | read the rules that are to be changed again, by their ids: of a group with thousands of rules over a slow link, the whole is never that recent |
//! | something is to be opened, and the reading ended more than ten seconds ago | read the whole again |
//! | an outcome is not known, or the view was stale, or a join has to be seen | read again after 1, 2, 4 seconds; then it stays pending |
//! | throttled | the same again after a short delay |
//! | credentials refused | rest; what is left stays on record |
//! | too many rounds | rest: somebody else changes this target all the time |
//!
//! A target holds a slot of its route's [`Lane`] while it calls, and none while it waits: another one's turn comes then.
//! What concerns the scheduler has slots of its own, and comes after what concerns rules.

use crate::error::CommandError;
use crate::reconcile::{
    driver::{Driver, LoadedRecord, Request},
    lane::{CalledService, Lane, Turn},
    observe::TargetReading,
    report::{StepOutcome, StepReport},
    retry_budget::RetryBudget,
};
use eg_model::{
    Timestamp,
    auto_close::{AutoCloseRoute, AutoCloseSeen},
    failure::Failure,
    ids::{RuleId, SessionId},
    lease::Lease,
    net::permission::Permission,
    observation::{Effect, Observation, OwnedRule, Reading},
    plan::{AutoCloseView, Note, NoteKind, PlanContext, PlanPolicy, Step, TargetPlan, TargetView, plan_target},
    target::{Capabilities, Target, TargetKey},
};
use eg_state::StateError;
use std::collections::{BTreeMap, BTreeSet};
use std::mem::take;

/// Rounds of plan and apply in one pass; a healthy target needs two or three.
const ROUNDS: u32 = 12;

/// What happened at one target.
pub struct TargetReport {
    pub target: TargetKey,
    pub first_plan: TargetPlan,
    pub converged: bool,
    pub steps: Vec<StepReport>,
    pub notes: Vec<Note>,
    pub wake: Option<Timestamp>,
    pub state_error: Option<String>,
}

/// What to do after a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum StepFlow {
    Next,
    /// Plan again, on the same reading.
    Replan,
    /// Read again at once what is too old to be acted on.
    Refresh,
    /// Read again after a while.
    Reobserve,
    /// Plan again after a short delay.
    Throttled,
    /// Nothing more in this pass.
    Rest,
}

/// A step's rules, each with the lease that it is about.
pub type Leased<'r> = Vec<(&'r OwnedRule, Lease)>;

pub struct TargetRun<'a> {
    pub driver: &'a Driver<'a>,
    pub request: &'a Request,
    pub lane: &'a Lane,
    /// The slot that it holds.
    pub turn: Option<Turn<'a>>,
    pub key: TargetKey,
    pub ways: Vec<Target>,
    pub look: TargetReading,
    pub may_open: bool,
    pub patience: RetryBudget<'a>,
    /// Rules that are to be changed and were read too long ago.
    pub too_old: BTreeSet<RuleId>,
    /// Permissions whose outcome has to be seen before this target may rest.
    pub watching: BTreeSet<Permission>,
    /// Rules whose revoke succeeded without being named: gone once a reading says so.
    pub confirming: BTreeMap<RuleId, (OwnedRule, Lease)>,
    pub quota_freed: bool,
    pub steps: Vec<StepReport>,
    pub notes: BTreeSet<Note>,
    pub clean: bool,
    /// How many of the ways were found wanting.
    pub ways_tried: usize,
    /// Rules of others that were not to be closed in this pass.
    pub given_up: BTreeSet<RuleId>,
    /// Rules of others that our tag was taken off in this pass. Where that could not be recorded, the plan would ask for it
    /// again and again.
    pub left: BTreeSet<RuleId>,
    /// Rules whose expiry schedule is on record in a row that is damaged: none is set for them in this pass.
    pub unreadable_auto_closes: BTreeSet<RuleId>,
    /// An outcome that could not be recorded. Closing goes on all the same.
    pub unrecorded: Option<String>,
    /// Permissions whose rows are damaged: nothing is opened for them in this pass.
    pub unreadable: BTreeSet<Permission>,
    /// Where expiry schedules of this target's rules are set; looked for once, before the first of them is looked at.
    pub auto_close_route: Option<AutoCloseRoute>,
    pub way_looked_for: bool,
    /// What was read of expiry schedules, with our own changes laid over it; forgotten with the reading of the rules.
    pub auto_closes: BTreeMap<RuleId, AutoCloseSeen>,
    /// Why no expiry schedule can be set in this pass: the next one would meet the same.
    pub auto_close_refusal: Option<Failure>,
    /// Why none can be taken away.
    pub drop_refusal: Option<Failure>,
}

impl<'a> TargetRun<'a> {
    pub fn new(
        driver: &'a Driver<'a>,
        request: &'a Request,
        lane: &'a Lane,
        key: TargetKey,
        ways: Vec<Target>,
        look: TargetReading,
        may_open: bool,
    ) -> Self {
        Self {
            driver,
            request,
            lane,
            turn: None,
            too_old: BTreeSet::new(),
            key,
            ways,
            look,
            may_open,
            patience: RetryBudget::new(driver.env, &driver.interrupt, lane.deadline()),
            watching: BTreeSet::new(),
            confirming: BTreeMap::new(),
            quota_freed: false,
            steps: Vec::new(),
            notes: BTreeSet::new(),
            clean: true,
            ways_tried: 0,
            given_up: BTreeSet::new(),
            left: BTreeSet::new(),
            unreadable_auto_closes: BTreeSet::new(),
            unrecorded: None,
            unreadable: BTreeSet::new(),
            auto_close_route: None,
            way_looked_for: false,
            auto_closes: BTreeMap::new(),
            auto_close_refusal: None,
            drop_refusal: None,
        }
    }

    pub async fn run(mut self) -> TargetReport {
        let mut first_plan = None;
        let mut ended = self.rounds(&mut first_plan).await.and_then(|()| self.rest());
        // What a session held at its old address was kept until it was open at the new one.
        if ended.as_ref().is_ok_and(|rest| rest.freed) && !self.halted() {
            ended = self.rounds(&mut first_plan).await.and_then(|()| self.rest());
        }
        let (wake, state_error) = match ended {
            Ok(rest) => (rest.wake, self.unrecorded.clone()),
            Err(error) => {
                self.clean = false;
                (None, Some(error.message))
            }
        };
        TargetReport {
            first_plan: first_plan.unwrap_or_else(|| TargetPlan::empty(&self.key)),
            converged: self.clean && state_error.is_none() && !self.notes.iter().any(|note| note.kind.unconverged()),
            target: self.key,
            steps: self.steps,
            notes: self.notes.into_iter().collect(),
            wake,
            state_error,
        }
    }

    pub fn now(&self) -> Timestamp {
        self.driver.env.now()
    }

    fn capabilities(&self) -> Capabilities {
        let none = Capabilities { marks: false, batch: 1, tags_per_rule: 0, auto_closes: false };
        self.look.firewall.as_ref().map_or(none, |firewall| firewall.capabilities())
    }

    pub fn plan(&self, loaded: &LoadedRecord, impatient: Impatient) -> TargetPlan {
        let policy = &self.driver.policy;
        let store = self.driver.store.borrow();
        let record = PlanContext {
            now: self.now(),
            installation: store.installation(),
            sessions: &loaded.sessions,
            leases: &loaded.leases,
            revoked: &loaded.revoked,
            opened: &loaded.opened,
            twin: loaded.twin,
            policy: PlanPolicy {
                open: policy.open && self.may_open,
                collect: policy.collect,
                ignore_delays: impatient.of_rules,
            },
        };
        let capabilities = self.capabilities();
        let auto_closes = AutoCloseView {
            way: self.auto_close_route.as_ref(),
            rows: &loaded.auto_closes,
            ignore_delays: impatient.of_auto_closes,
            seen: &self.auto_closes,
        };
        let auto_closes = Some(auto_closes).filter(|_| self.has_auto_closes(loaded));
        let unreadable = loaded.unreadable.contains(&self.key);
        plan_target(
            &record,
            &TargetView { key: &self.key, capabilities, observation: &self.look.observation, unreadable, auto_closes },
        )
    }

    /// Whether expiry schedules are of any concern here.
    fn has_auto_closes(&self, loaded: &LoadedRecord) -> bool {
        self.auto_close_route.is_some() || loaded.auto_closes.iter().any(|row| row.target.key == self.key)
    }

    pub fn reading(&mut self) -> Option<&mut Reading> {
        match &mut self.look.observation {
            Observation::Complete(reading) => Some(reading),
            Observation::Missing | Observation::Unavailable(_) => None,
        }
    }

    pub fn lay_over(&mut self, effect: Effect) {
        if let Some(reading) = self.reading() {
            reading.lay_over(effect);
        }
    }

    pub fn halted(&self) -> bool {
        self.patience.is_over()
    }

    async fn rounds(&mut self, first_plan: &mut Option<TargetPlan>) -> Result<(), CommandError> {
        // A reading is soon too old to act on, and the scheduler may take its time: what a fresh one says of rules is done
        // before expiry schedules are looked at.
        let mut rules_first = true;
        // A person's impatience counts once: later rounds of this pass respect the delays that it has caused.
        let mut untried = Impatient { of_rules: self.request.interactive, of_auto_closes: self.request.interactive };
        for _ in 0..ROUNDS {
            self.take_turn(CalledService::Firewall).await;
            let loaded = self.driver.load(self.now())?;
            let mut impatient = Impatient { of_rules: take(&mut untried.of_rules), of_auto_closes: false };
            if !(take(&mut rules_first) && self.changes_rules(&loaded, impatient)) {
                self.find_auto_close_route(&loaded).await;
                self.see_auto_closes(&loaded).await;
                impatient.of_auto_closes = take(&mut untried.of_auto_closes);
            }
            let mut plan = self.plan(&loaded, impatient);
            first_plan.get_or_insert_with(|| plan.clone());
            if self.request.dry_run {
                let planned = plan.steps.iter().map(|step| self.report(step, StepOutcome::Planned, None));
                self.steps = planned.collect();
                return Ok(());
            }
            // What was found wrong and mended is told, even though the last plan no longer knows of it.
            self.notes.extend(plan.notes.iter().filter(|note| note.kind.outlives_mending()).cloned());
            let learnt = self.learn(&plan, &loaded)?;
            let before = plan.steps.len();
            plan.steps.retain(|step| self.is_open_to(step));
            self.clean &= plan.steps.len() == before;
            let (planned, reported) = (plan.steps.len(), self.steps.len());
            let flow = self.apply(plan, &loaded).await?;
            self.still_watched()?;
            let rests = match flow {
                StepFlow::Next | StepFlow::Replan if planned > 0 => false,
                // Whose expiry schedule is to be set or dropped depends on what the reading has just taught.
                StepFlow::Next | StepFlow::Replan
                    if learnt && self.unrecorded.is_none() && self.has_auto_closes(&loaded) =>
                {
                    false
                }
                StepFlow::Next | StepFlow::Replan if self.watching.is_empty() => true,
                StepFlow::Next | StepFlow::Replan | StepFlow::Reobserve => !self.reobserve().await,
                StepFlow::Refresh => {
                    rules_first = true;
                    // Nothing was tried, so nothing is put off.
                    untried.of_rules = impatient.of_rules && self.steps.len() == reported;
                    !self.read_old_again().await
                }
                StepFlow::Throttled => !self.pause().await,
                StepFlow::Rest => true,
            };
            if rests || self.halted() {
                return Ok(());
            }
        }
        self.clean = false;
        let message = format!("{} is contended: somebody else changes it all the time; eg tries again later", self.key);
        self.notes.insert(Note::new(NoteKind::Contested, message));
        Ok(())
    }

    /// Whether the reading asks for a change of rules; all that is shown by a dry run is looked at first.
    fn changes_rules(&self, loaded: &LoadedRecord, impatient: Impatient) -> bool {
        let changes = |step: &Step| !step.is_of_auto_close() && self.is_open_to(step);
        !self.request.dry_run && self.plan(loaded, impatient).steps.iter().any(changes)
    }

    /// Whether a step may still be tried in this pass.
    fn is_open_to(&self, step: &Step) -> bool {
        let given_up = |rule: &OwnedRule| self.given_up.contains(rule.id());
        let collects = matches!(step, Step::Collect { .. });
        // An expiry schedule that is left over is harmless, and that it was taken away could not be recorded.
        let waits = step.opens() || matches!(step, Step::DropAutoClose { .. });
        let asked: &[Permission] = if let Step::Authorize { permissions, .. } = step { permissions } else { &[] };
        let mut about = asked.iter().chain(step.rules().iter().map(OwnedRule::permission)).peekable();
        // A step that is only in part about damaged rows is sent one item a call.
        let unreadable =
            step.opens() && about.peek().is_some() && about.all(|permission| self.unreadable.contains(permission));
        let unrecordable = waits && !self.may_open;
        let refused_before = collects && step.rules().iter().any(given_up);
        let done_before = match step {
            Step::Leave { rule, .. } => self.left.contains(rule.id()),
            Step::SetAutoClose { rule, .. } => self.unreadable_auto_closes.contains(rule.id()),
            _ => false,
        };
        !(unrecordable || unreadable || refused_before || done_before)
    }

    async fn apply(&mut self, plan: TargetPlan, loaded: &LoadedRecord) -> Result<StepFlow, CommandError> {
        let Some(firewall) = self.look.firewall.clone() else { return Ok(StepFlow::Rest) };
        // Ledger steps have moved leases on; steps start from what is on record now.
        let closes = plan.steps.iter().any(|step| !step.opens());
        let mut worst = StepFlow::Next;
        let mut too_fast = false;
        for (number, step) in plan.steps.iter().enumerate() {
            self.take_turn(if step.is_of_auto_close() { CalledService::Scheduler } else { CalledService::Firewall })
                .await;
            if self.halted() {
                return Ok(StepFlow::Rest);
            }
            if too_fast && step.opens() {
                continue;
            }
            if !step.is_of_auto_close() && !self.is_recent(step) {
                // All that is old is read again in one call.
                let rest = plan.steps.iter().skip(number).filter(|step| !step.is_of_auto_close());
                self.too_old = rest.flat_map(|step| self.old_rules(step)).collect();
                return Ok(StepFlow::Refresh);
            }
            let flow = match step {
                Step::Authorize { session, until, permissions } => {
                    let opener = loaded.sessions.iter().find(|known| known.id == *session);
                    let reason = opener.and_then(|opener| opener.reason.as_deref());
                    let call = AuthorizeStep { session: *session, until: *until, reason, permissions, step };
                    self.authorize(&firewall, &call, closes, loaded).await?
                }
                Step::SetAutoClose { .. } | Step::DropAutoClose { .. } => {
                    self.auto_close(&firewall, step, loaded).await?
                }
                _ => self.change(&firewall, step, loaded).await?,
            };
            worst = worst.max(flow);
            // What cannot be opened for being too fast does not hold up what is to be closed.
            if flow == StepFlow::Throttled && step.opens() {
                too_fast = true;
            } else if matches!(flow, StepFlow::Refresh | StepFlow::Reobserve | StepFlow::Throttled | StepFlow::Rest) {
                return Ok(flow);
            }
        }
        Ok(worst)
    }
}

/// Whose delays a plan looks past.
#[derive(Clone, Copy, Debug, Default)]
pub struct Impatient {
    of_rules: bool,
    of_auto_closes: bool,
}

/// One authorize step, taken apart.
pub struct AuthorizeStep<'s> {
    pub session: SessionId,
    pub until: Timestamp,
    /// Why the session was started, as the user says.
    pub reason: Option<&'s str>,
    pub permissions: &'s [Permission],
    pub step: &'s Step,
}

pub fn unrecorded(error: StateError) -> CommandError {
    let mut error = CommandError::from(error);
    error.message = format!("a change was made but could not be recorded (the next pass finds it): {}", error.message);
    error
}
