//! One target, from its first reading to rest: rounds of plan and apply, reading again where the view was stale or
//! an outcome is not known.
//!
//! | after a round | next |
//! |---|---|
//! | every step done | plan again over the reading with the known effects laid over it; nothing left: rest |
//! | an outcome is not known, or the view was stale, or a join has to be seen | read again after 1, 2, 4 seconds; then it stays pending |
//! | throttled | the same again after a short delay |
//! | credentials refused | rest; what is left stays on record |
//! | too many rounds | rest: somebody else changes this target all the time |

mod change;
mod ledger;
mod look;
mod open;
mod switch;

use super::{Driver, Loaded, Look, Request, StepOutcome, StepReport, patience::Patience};
use crate::error::CommandError;
use eg_model::{
    Timestamp,
    address::IpVersion,
    failure::{Failure, FailureClass},
    ids::{GrantId, RuleId, SessionId},
    lease::Lease,
    observation::{Effect, Observation, ObservedRule, OwnedRule, Reading},
    permission::Permission,
    plan::{LedgerStep, Note, NoteKind, Policy, Record, Step, SwitchView, TargetPlan, TargetView, plan_target},
    session::{Session, Standing},
    switch::{SwitchSeen, SwitchWay},
    target::{Capabilities, Reach, TargetKey},
};
use eg_state::{EventKind, StateError};
use std::collections::{BTreeMap, BTreeSet};
use std::mem::take;
use tokio::time::Instant;

/// Rounds of plan and apply in one pass; a healthy target needs two or three.
const ROUNDS: u32 = 12;

/// What happened at one target.
pub(super) struct TargetReport {
    pub(super) target: TargetKey,
    pub(super) first_plan: TargetPlan,
    pub(super) converged: bool,
    pub(super) steps: Vec<StepReport>,
    pub(super) notes: Vec<Note>,
    pub(super) wake: Option<Timestamp>,
    pub(super) state_error: Option<String>,
}

/// What a target at rest leaves.
struct Rest {
    /// When to look again at the latest.
    wake: Option<Timestamp>,
    /// Something that was kept is wanted no more.
    freed: bool,
}

/// What to do after a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Flow {
    /// The next step.
    Next,
    /// Plan again, on the same reading.
    Replan,
    /// Read again at once: the reading is too old to act on.
    Refresh,
    /// Read again after a while.
    Reobserve,
    /// Plan again after a short delay.
    Throttled,
    /// Nothing more in this pass.
    Rest,
}

/// A step's rules, each with the lease that it is about.
type Leased<'r> = Vec<(&'r OwnedRule, Lease)>;

pub(super) struct TargetRun<'a> {
    driver: &'a Driver<'a>,
    request: &'a Request,
    key: TargetKey,
    ways: Vec<Reach>,
    look: Look,
    may_open: bool,
    patience: Patience<'a>,
    /// Permissions whose outcome has to be seen before this target may rest.
    watching: BTreeSet<Permission>,
    /// Rules whose revoke succeeded without being named: gone once a reading says so.
    confirming: BTreeMap<RuleId, (OwnedRule, Lease)>,
    quota_freed: bool,
    allowed: Option<bool>,
    steps: Vec<StepReport>,
    notes: BTreeSet<Note>,
    clean: bool,
    /// How many of the ways were found wanting.
    ways_tried: usize,
    /// Rules of others that were not to be closed in this pass.
    given_up: BTreeSet<RuleId>,
    /// An outcome that could not be recorded. Closing goes on all the same.
    unrecorded: Option<String>,
    /// Where expiry switches of this target's rules are set.
    switch_way: Option<SwitchWay>,
    /// What was read of switches, with our own changes laid over it; forgotten with the reading of the rules.
    switches: BTreeMap<RuleId, SwitchSeen>,
    /// Why no switch can be set in this pass: the next one would meet the same.
    switch_refusal: Option<Failure>,
    /// Why none can be taken away.
    drop_refusal: Option<Failure>,
}

impl<'a> TargetRun<'a> {
    pub(super) fn new(
        driver: &'a Driver<'a>,
        request: &'a Request,
        key: TargetKey,
        ways: Vec<Reach>,
        look: Look,
        may_open: bool,
        deadline: Instant,
    ) -> Self {
        Self {
            driver,
            request,
            key,
            ways,
            look,
            may_open,
            patience: Patience::new(driver.env, &driver.interrupt, deadline),
            watching: BTreeSet::new(),
            confirming: BTreeMap::new(),
            quota_freed: false,
            allowed: None,
            steps: Vec::new(),
            notes: BTreeSet::new(),
            clean: true,
            ways_tried: 0,
            given_up: BTreeSet::new(),
            unrecorded: None,
            switch_way: None,
            switches: BTreeMap::new(),
            switch_refusal: None,
            drop_refusal: None,
        }
    }

    pub(super) async fn run(mut self) -> TargetReport {
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

    fn now(&self) -> Timestamp {
        self.driver.env.now()
    }

    fn capabilities(&self) -> Capabilities {
        let none = Capabilities { marks: false, batch: 1, tags_per_rule: 0, switches: false };
        self.look.firewall.as_ref().map_or(none, |firewall| firewall.capabilities())
    }

    fn plan(&self, loaded: &Loaded, impatient: Impatient) -> TargetPlan {
        let policy = &self.driver.policy;
        let store = self.driver.store.borrow();
        let record = Record {
            now: self.now(),
            installation: store.installation(),
            sessions: &loaded.sessions,
            leases: &loaded.leases,
            revoked: &loaded.revoked,
            opened: &loaded.opened,
            policy: Policy {
                open: policy.open && self.may_open,
                collect: policy.collect,
                ignore_delays: impatient.of_rules,
            },
        };
        let capabilities = self.capabilities();
        let switches = SwitchView {
            way: self.switch_way.as_ref(),
            rows: &loaded.switches,
            ignore_delays: impatient.of_switches,
            seen: &self.switches,
        };
        let switches = Some(switches).filter(|_| self.has_switches(loaded));
        plan_target(
            &record,
            &TargetView { key: &self.key, capabilities, observation: &self.look.observation, switches },
        )
    }

    /// Whether expiry switches are of any concern here.
    fn has_switches(&self, loaded: &Loaded) -> bool {
        self.switch_way.is_some() || loaded.switches.iter().any(|row| *row.target() == self.key)
    }

    fn reading(&mut self) -> Option<&mut Reading> {
        match &mut self.look.observation {
            Observation::Complete(reading) => Some(reading),
            Observation::Missing | Observation::Unavailable(_) => None,
        }
    }

    fn lay_over(&mut self, effect: Effect) {
        if let Some(reading) = self.reading() {
            reading.lay_over(effect);
        }
    }

    fn halted(&self) -> bool {
        self.patience.is_over()
    }

    async fn rounds(&mut self, first_plan: &mut Option<TargetPlan>) -> Result<(), CommandError> {
        while self.unread_for_now() {
            let again =
                if self.throttled_reading() { self.pause().await } else { self.patience.before_reading_again().await };
            if !again || !self.refresh().await {
                break;
            }
        }
        self.find_switch_way().await?;
        // A reading is soon too old to act on, and the scheduler may take its time: what a fresh one says of rules is done
        // before switches are looked at.
        let mut rules_first = true;
        // A person's impatience counts once: later rounds of this pass respect the delays that it has caused.
        let mut untried = Impatient { of_rules: self.request.interactive, of_switches: self.request.interactive };
        for _ in 0..ROUNDS {
            let loaded = self.driver.load(self.now())?;
            let mut impatient = Impatient { of_rules: take(&mut untried.of_rules), of_switches: false };
            if !(take(&mut rules_first) && self.changes_rules(&loaded, impatient)) {
                self.see_switches(&loaded).await;
                impatient.of_switches = take(&mut untried.of_switches);
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
            let planned = plan.steps.len();
            let flow = self.apply(plan, &loaded).await?;
            self.still_watched()?;
            let rests = match flow {
                Flow::Next | Flow::Replan if planned > 0 => false,
                // Whose switch is to be set or dropped depends on what the reading has just taught.
                Flow::Next | Flow::Replan if learnt && self.unrecorded.is_none() && self.has_switches(&loaded) => false,
                Flow::Next | Flow::Replan if self.watching.is_empty() => true,
                Flow::Next | Flow::Replan | Flow::Reobserve => !self.reobserve().await,
                Flow::Refresh => {
                    rules_first = true;
                    !self.refresh().await
                }
                Flow::Throttled => !self.pause().await,
                Flow::Rest => true,
            };
            if rests || self.halted() {
                return Ok(());
            }
        }
        self.clean = false;
        let message = format!("{} is contended: somebody else changes it all the time; eg tries again later", self.key);
        self.notes.insert(Note { kind: NoteKind::Contested, message });
        Ok(())
    }

    /// Whether the reading asks for a change of rules; all that is shown by a dry run is looked at first.
    fn changes_rules(&self, loaded: &Loaded, impatient: Impatient) -> bool {
        let changes = |step: &Step| !step.is_of_switch() && self.is_open_to(step);
        !self.request.dry_run && self.plan(loaded, impatient).steps.iter().any(changes)
    }

    /// Whether a step may still be tried in this pass.
    fn is_open_to(&self, step: &Step) -> bool {
        let given_up = |rule: &OwnedRule| self.given_up.contains(rule.id());
        let collects = matches!(step, Step::Collect { .. });
        // A switch that is left over is harmless, and that it was taken away could not be recorded.
        let waits = step.opens() || matches!(step, Step::DropSwitch { .. });
        (self.may_open || !waits) && !(collects && step.rules().iter().any(given_up))
    }

    /// Rest: what every permission has come to goes on record.
    fn rest(&mut self) -> Result<Rest, CommandError> {
        let now = self.now();
        let loaded = self.driver.load(now)?;
        let plan = self.plan(&loaded, Impatient::default());
        self.clean &= plan.steps.is_empty() && !plan.deferred && plan.unread.is_empty();
        self.notes.extend(plan.notes.iter().cloned());
        if self.request.dry_run {
            return Ok(Rest { wake: plan.wake, freed: false });
        }
        let standings = plan.standings.into_iter().map(|(permission, standing)| {
            let standing = self.refusal(&permission, standing, &loaded);
            ((self.key.clone(), permission), standing)
        });
        let standings: BTreeMap<_, _> = standings.collect();
        self.clean &= standings.values().all(Standing::is_held);
        let changes = self.driver.store.borrow_mut().record_standings(&standings, now)?;
        for change in &changes {
            (self.driver.on_change)(change);
        }
        let kept = self.kept(&loaded);
        let freed = !kept.is_empty() && self.kept(&*self.driver.load(now)?) != kept;
        Ok(Rest { wake: plan.wake, freed })
    }

    /// The grants on this target that sessions keep open for now, though they have moved on.
    fn kept(&self, loaded: &Loaded) -> BTreeSet<GrantId> {
        let here = |session: &'_ Session| {
            let grants = session.grants.iter().filter(|grant| grant.reach.target == self.key && session.keeps(grant));
            grants.map(|grant| grant.id).collect::<Vec<_>>()
        };
        loaded.sessions.iter().flat_map(here).collect()
    }

    /// A missing permission of the caller's stands for every port that it keeps shut.
    fn refusal(&self, permission: &Permission, standing: Standing, loaded: &Loaded) -> Standing {
        let lease = loaded.leases.iter().find(|lease| *lease.target() == self.key && lease.permission == *permission);
        match lease.and_then(|lease| lease.last_failure.as_ref()) {
            Some(failure) if !standing.is_held() && failure.class.fails_grant() => {
                let room = self.room_taken(failure.class, permission.ip_version());
                Standing::Failed(format!("{failure} ({room}{})", failure.class.advice()))
            }
            _ => match (&self.look.observation, standing) {
                (Observation::Unavailable(failure), Standing::Failed(why)) if why == failure.to_string() => {
                    Standing::Failed(format!("{why} ({})", failure.class.advice()))
                }
                (_, standing) => standing,
            },
        }
    }

    /// For a full quota: how full, and how much of it is ours.
    fn room_taken(&self, class: FailureClass, family: IpVersion) -> String {
        match &self.look.observation {
            Observation::Complete(reading) if class == FailureClass::Limit => {
                let marked = |rule: &&ObservedRule| rule.marks(&self.key.id).genuine();
                let ours = reading.rules.iter().filter(|rule| rule.permission.ip_version() == family).filter(marked);
                let (all, ours) = (reading.ingress_rules(family), ours.count());
                format!("the group has {all} or more {family} ingress rules, {ours} of them eg's; ")
            }
            _ => String::new(),
        }
    }

    /// Ledger steps: what the reading teaches. Whether it taught anything.
    fn learn(&mut self, plan: &TargetPlan, loaded: &Loaded) -> Result<bool, CommandError> {
        let confirmed: Vec<_> = match &self.look.observation {
            Observation::Complete(reading) => {
                let gone = |id: &&RuleId| !reading.rules.iter().any(|rule| rule.id == **id);
                self.confirming.keys().filter(gone).cloned().collect()
            }
            Observation::Missing | Observation::Unavailable(_) => Vec::new(),
        };
        let learnt = !confirmed.is_empty() || !plan.ledger.is_empty();
        for id in confirmed {
            if let Some((rule, lease)) = self.confirming.remove(&id) {
                self.record_revoked(&lease, &rule, None, loaded)?;
            }
        }
        for step in &plan.ledger {
            self.learn_step(step, loaded)?;
        }
        Ok(learnt)
    }

    fn learn_step(&mut self, step: &LedgerStep, loaded: &Loaded) -> Result<(), CommandError> {
        let now = self.now();
        match step {
            LedgerStep::Adopt { permission, rule, until } => {
                let claimed = self.driver.store.borrow_mut().claim(&self.look.reach, permission, now);
                let Some(lease) = self.unless_unwritable(claimed)? else { return Ok(()) };
                let event = self.event(EventKind::LeaseAdopted, "seen with our tag", permission, Some(rule.id()));
                self.write(&lease, &lease.adopted(rule.id().clone(), *until), &event)?;
            }
            LedgerStep::KnowSwitch { .. } | LedgerStep::ForgetSwitch { .. } => self.learn_switch(step, loaded)?,
            LedgerStep::Close { lease } => {
                if let Some(lease) = loaded.leases.iter().find(|known| known.id == *lease) {
                    let event = self.event(EventKind::LeaseClosed, "nothing of ours is there", &lease.permission, None);
                    self.write(lease, &lease.closed(), &event)?;
                }
            }
        }
        Ok(())
    }

    async fn apply(&mut self, plan: TargetPlan, loaded: &Loaded) -> Result<Flow, CommandError> {
        let Some(firewall) = self.look.firewall.clone() else { return Ok(Flow::Rest) };
        // Ledger steps have moved leases on; steps start from what is on record now.
        let closes = plan.steps.iter().any(|step| !step.opens());
        let mut worst = Flow::Next;
        let mut too_fast = false;
        for step in &plan.steps {
            if self.halted() {
                return Ok(Flow::Rest);
            }
            if too_fast && step.opens() {
                continue;
            }
            let flow = match step {
                Step::Authorize { session, until, permissions } => {
                    let opener = loaded.sessions.iter().find(|known| known.id == *session);
                    let reason = opener.and_then(|opener| opener.reason.as_deref());
                    let call = Opening { session: *session, until: *until, reason, permissions, step };
                    self.authorize(&firewall, &call, closes).await?
                }
                Step::SetSwitch { .. } | Step::DropSwitch { .. } => self.switch(&firewall, step, loaded).await?,
                _ => self.change(&firewall, step, loaded).await?,
            };
            worst = worst.max(flow);
            // What cannot be opened for being too fast does not hold up what is to be closed.
            if flow == Flow::Throttled && step.opens() {
                too_fast = true;
            } else if matches!(flow, Flow::Refresh | Flow::Reobserve | Flow::Throttled | Flow::Rest) {
                return Ok(flow);
            }
        }
        Ok(worst)
    }
}

/// Whose delays a plan looks past.
#[derive(Clone, Copy, Debug, Default)]
struct Impatient {
    of_rules: bool,
    of_switches: bool,
}

/// One authorize step, taken apart.
struct Opening<'s> {
    session: SessionId,
    until: Timestamp,
    /// Why the session was started, as the user says.
    reason: Option<&'s str>,
    permissions: &'s [Permission],
    step: &'s Step,
}

fn unrecorded(error: StateError) -> CommandError {
    let mut error = CommandError::from(error);
    error.message = format!("a change was made but could not be recorded (the next pass finds it): {}", error.message);
    error
}
