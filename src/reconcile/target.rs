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

use super::{Driver, Loaded, Look, Request, StepOutcome, StepReport, observe::fresh};
use crate::{
    error::CommandError,
    retry::{self, Retry},
};
use chrono::TimeDelta;
use eg_model::{
    Timestamp,
    failure::{Failure, FailureClass, Reaction},
    ids::{LeaseId, RuleId, SessionId},
    lease::{Attempt, Lease, Phase},
    marks::{lease_key, lease_value, tags_for},
    observation::{Effect, Observation, OwnedRule, Reading},
    permission::Permission,
    plan::{LedgerStep, Note, NoteKind, Policy, Record, Step, TargetPlan, TargetView, plan_target},
    session::Standing,
    target::{Capabilities, Reach, TargetKey},
};
use eg_providers::{Answered, Authorize, Firewall};
use eg_state::{Event, EventKind, StateError, Written};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};
use tokio::time::{Instant, sleep};

/// Rounds of plan and apply in one pass; a healthy target needs two or three.
const ROUNDS: u32 = 12;
/// Readings after unknown outcomes in one pass.
const REOBSERVATIONS: u32 = 3;
/// Tries of a throttled call in one pass.
const THROTTLES: u32 = 6;
/// What a lease tag is made to say where deleting it is denied: long past for everybody.
const LONG_AGO: &str = "1970-01-01T00:00:00Z";

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
    deadline: Instant,
    /// Permissions whose outcome has to be seen before this target may rest.
    watching: BTreeSet<Permission>,
    /// Rules whose revoke succeeded without being named: gone once a reading says so.
    confirming: BTreeMap<RuleId, Lease>,
    reobserved: u32,
    throttled: u32,
    quota_freed: bool,
    allowed: Option<bool>,
    steps: Vec<StepReport>,
    notes: BTreeSet<Note>,
    clean: bool,
    /// How many of the ways were found wanting.
    ways_tried: usize,
    /// Rules of others that were not to be closed in this pass.
    given_up: BTreeSet<RuleId>,
    /// An outcome that a full disk kept from the record. Closing goes on all the same.
    unrecorded: Option<String>,
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
            deadline,
            watching: BTreeSet::new(),
            confirming: BTreeMap::new(),
            reobserved: 0,
            throttled: 0,
            quota_freed: false,
            allowed: None,
            steps: Vec::new(),
            notes: BTreeSet::new(),
            clean: true,
            ways_tried: 0,
            given_up: BTreeSet::new(),
            unrecorded: None,
        }
    }

    pub(super) async fn run(mut self) -> TargetReport {
        let mut first_plan = None;
        let outcome = self.rounds(&mut first_plan).await;
        let ended = outcome.and_then(|()| self.rest());
        let (wake, state_error) = match ended {
            Ok(wake) => (wake, self.unrecorded.clone()),
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
        let none = Capabilities { marks: false, batch: 1, tags_per_rule: 0 };
        self.look.firewall.as_ref().map_or(none, |firewall| firewall.capabilities())
    }

    fn plan(&self, loaded: &Loaded, ignore_delays: bool) -> TargetPlan {
        let policy = &self.driver.policy;
        let store = self.driver.store.borrow();
        let record = Record {
            now: self.now(),
            installation: store.installation(),
            sessions: &loaded.sessions,
            leases: &loaded.leases,
            revoked: &loaded.revoked,
            policy: Policy { open: policy.open && self.may_open, collect: policy.collect, ignore_delays },
        };
        let capabilities = self.capabilities();
        plan_target(&record, &TargetView { key: &self.key, capabilities, observation: &self.look.observation })
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
        self.driver.interrupt.asked().is_some() || Instant::now() >= self.deadline
    }

    async fn rounds(&mut self, first_plan: &mut Option<TargetPlan>) -> Result<(), CommandError> {
        while self.unread_for_now() {
            let again = if self.throttled_reading() { self.pause().await } else { self.reobserve_pause().await };
            if !again || !self.refresh().await {
                break;
            }
        }
        for round in 0..ROUNDS {
            let loaded = self.driver.load(self.now())?;
            // A person's impatience counts once: later rounds of this pass respect the delays that it has caused.
            let mut plan = self.plan(&loaded, self.request.interactive && round == 0);
            first_plan.get_or_insert_with(|| plan.clone());
            if self.request.dry_run {
                let planned = plan.steps.iter().map(|step| self.report(step, StepOutcome::Planned, None));
                self.steps = planned.collect();
                return Ok(());
            }
            // What was found wrong and mended is told, even though the last plan no longer knows of it.
            let mended =
                |note: &&Note| matches!(note.kind, NoteKind::Stripped | NoteKind::Edited | NoteKind::Contested);
            self.notes.extend(plan.notes.iter().filter(mended).cloned());
            self.learn(&plan, &loaded)?;
            let before = plan.steps.len();
            plan.steps.retain(|step| self.is_open_to(step));
            self.clean &= plan.steps.len() == before;
            let planned = plan.steps.len();
            let flow = self.apply(plan, &loaded).await?;
            self.still_watched()?;
            let rests = match flow {
                Flow::Next | Flow::Replan if planned > 0 => false,
                Flow::Next | Flow::Replan if self.watching.is_empty() => true,
                Flow::Next | Flow::Replan | Flow::Reobserve => !self.reobserve().await,
                Flow::Refresh => !self.refresh().await,
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

    /// Whether a step may still be tried in this pass.
    fn is_open_to(&self, step: &Step) -> bool {
        let given_up = |rule: &OwnedRule| self.given_up.contains(rule.id());
        let collects = matches!(step, Step::Collect { .. });
        (self.may_open || !step.opens()) && !(collects && step.rules().iter().any(given_up))
    }

    /// Rest: what every permission has come to goes on record.
    fn rest(&mut self) -> Result<Option<Timestamp>, CommandError> {
        let now = self.now();
        let loaded = self.driver.load(now)?;
        let plan = self.plan(&loaded, false);
        self.clean &= plan.steps.is_empty() && !plan.deferred;
        self.notes.extend(plan.notes.iter().cloned());
        if self.request.dry_run {
            return Ok(plan.wake);
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
        Ok(plan.wake)
    }

    /// A missing permission of the caller's stands for every port that it keeps shut.
    fn refusal(&self, permission: &Permission, standing: Standing, loaded: &Loaded) -> Standing {
        let lease = loaded.leases.iter().find(|lease| *lease.target() == self.key && lease.permission == *permission);
        match lease.and_then(|lease| lease.last_failure.as_ref()) {
            Some(failure) if !standing.is_held() && failure.class.fails_grant() => {
                Standing::Failed(format!("{failure} ({})", failure.class.advice()))
            }
            _ => match (&self.look.observation, standing) {
                (Observation::Unavailable(failure), Standing::Failed(why)) if why == failure.to_string() => {
                    Standing::Failed(format!("{why} ({})", failure.class.advice()))
                }
                (_, standing) => standing,
            },
        }
    }

    /// Ledger steps: what the reading teaches.
    fn learn(&mut self, plan: &TargetPlan, loaded: &Loaded) -> Result<(), CommandError> {
        let confirmed: Vec<_> = match &self.look.observation {
            Observation::Complete(reading) => {
                let gone = |id: &&RuleId| !reading.rules.iter().any(|rule| rule.id == **id);
                self.confirming.keys().filter(gone).cloned().collect()
            }
            Observation::Missing | Observation::Unavailable(_) => Vec::new(),
        };
        for id in confirmed {
            if let Some(lease) = self.confirming.remove(&id) {
                self.record_revoked(&lease, &id, None, loaded)?;
            }
        }
        for step in &plan.ledger {
            self.learn_step(step, loaded)?;
        }
        Ok(())
    }

    fn learn_step(&mut self, step: &LedgerStep, loaded: &Loaded) -> Result<(), CommandError> {
        let now = self.now();
        match step {
            LedgerStep::Adopt { permission, rule, until } => {
                let claimed = self.driver.store.borrow_mut().claim(&self.look.reach, permission, now);
                let Some(lease) = self.unless_full(claimed)? else { return Ok(()) };
                let event = self.event(EventKind::LeaseAdopted, "seen with our tag", permission, Some(rule.id()));
                self.write(&lease, &lease.adopted(rule.id().clone(), *until), &event)?;
            }
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
                    let call = Opening { session: *session, until: *until, permissions, step };
                    self.authorize(&firewall, &call, closes).await?
                }
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

    // ---- opening -------------------------------------------------------------------------------------------

    async fn authorize(
        &mut self,
        firewall: &Arc<dyn Firewall>,
        call: &Opening<'_>,
        closes: bool,
    ) -> Result<Flow, CommandError> {
        let now = self.now();
        let mut leases = Vec::new();
        for permission in call.permissions {
            let claimed = self.driver.store.borrow_mut().claim(&self.look.reach, permission, now);
            match self.unless_full(claimed)? {
                Some(lease) => leases.push(lease),
                None => return Ok(Flow::Replan),
            }
        }
        if let Some(failure) = self.forbidden(firewall, call).await {
            self.refuse(&leases, &failure, Retry::Opening, call.step)?;
            return Ok(Flow::Next);
        }
        let intents: Vec<Lease> = leases.iter().map(|lease| self.intent(lease, Attempt::Opening, now)).collect();
        if !self.intend(&leases, &intents, Some(call.session), call.step)? {
            return Ok(Flow::Replan);
        }
        let answer = firewall.authorize(&self.authorize_call(call)).await;
        match answer {
            Ok(answer) => self.authorized(call, &intents, answer),
            Err(failure) => Box::pin(self.not_authorized(firewall, call, &intents, failure, closes)).await,
        }
    }

    fn authorize_call(&self, call: &Opening<'_>) -> Authorize {
        let store = self.driver.store.borrow();
        let mut tags = self.driver.policy.extra_tags.clone();
        tags.extend(tags_for(&self.key.id, call.permissions, call.session, store.installation(), call.until));
        Authorize {
            group: self.key.id.clone(),
            permissions: call.permissions.to_vec(),
            tags,
            description: self.description(call.session),
            session: call.session,
        }
    }

    fn description(&self, session: SessionId) -> String {
        let (env, short) = (self.driver.env, session.short());
        if self.driver.policy.name_person {
            format!("eg {}@{} session {short}", env.user, env.host)
        } else {
            format!("eg session {short}")
        }
    }

    fn authorized(
        &mut self,
        call: &Opening<'_>,
        intents: &[Lease],
        answer: Answered<Vec<eg_model::observation::ObservedRule>>,
    ) -> Result<Flow, CommandError> {
        let mut unnamed = false;
        for lease in intents {
            let Some(rule) = answer.value.iter().find(|rule| rule.permission == lease.permission) else {
                let event = self.event(EventKind::Authorized, "opened, id not named", &lease.permission, None);
                self.write(lease, &lease.landed(), &Event { session: Some(call.session), ..event })?;
                self.watching.insert(lease.permission);
                unnamed = true;
                continue;
            };
            let event = self.event(EventKind::Authorized, "opened", &lease.permission, Some(&rule.id));
            let event = Event { session: Some(call.session), request_id: answer.request_id.clone(), ..event };
            self.write(lease, &lease.authorized(rule.id.clone(), call.until), &event)?;
        }
        self.lay_over(Effect::Added(answer.value));
        self.steps.push(self.report(call.step, StepOutcome::Done, None));
        Ok(if unnamed { Flow::Reobserve } else { Flow::Next })
    }

    async fn not_authorized(
        &mut self,
        firewall: &Arc<dyn Firewall>,
        call: &Opening<'_>,
        intents: &[Lease],
        failure: Failure,
        closes: bool,
    ) -> Result<Flow, CommandError> {
        let class = failure.class;
        if class.outcome_unknown() {
            return self.unanswered(intents, &failure, call.step);
        }
        // A full quota: close first what is due anyway, once, then try again.
        if class == FailureClass::Limit && closes && !self.quota_freed {
            self.quota_freed = true;
            self.soft_refuse(intents, &failure)?;
            return Ok(Flow::Next);
        }
        if class.splits_batch() && call.permissions.len() > 1 {
            self.soft_refuse(intents, &failure)?;
            return self.one_by_one(firewall, call).await;
        }
        match class.reaction() {
            Reaction::RetryNow => {
                self.soft_refuse(intents, &failure)?;
                Ok(Flow::Throttled)
            }
            Reaction::Reobserve => {
                // "Exists already": proof for a rule whose id we hold; else the next reading must show whose it is.
                let known = intents.iter().any(|lease| lease.proven_rule().is_some());
                if known {
                    // Nothing changes for the user; the stale reading is looked at again in a later pass.
                    for lease in intents {
                        self.refuse_until(lease, &failure, TimeDelta::minutes(1))?;
                    }
                    return Ok(Flow::Next);
                }
                self.soft_refuse(intents, &failure)?;
                self.watching.extend(call.permissions.iter().copied());
                Ok(Flow::Reobserve)
            }
            Reaction::RetryLater => {
                self.refuse(intents, &failure, Retry::Opening, call.step)?;
                Ok(Flow::Next)
            }
            Reaction::Stop => {
                self.refuse(intents, &failure, Retry::Opening, call.step)?;
                Ok(Flow::Rest)
            }
        }
    }

    async fn one_by_one(&mut self, firewall: &Arc<dyn Firewall>, call: &Opening<'_>) -> Result<Flow, CommandError> {
        let mut worst = Flow::Next;
        for permission in call.permissions {
            let (session, until) = (call.session, call.until);
            let step = Step::Authorize { session, until, permissions: vec![*permission] };
            let one = Opening { session, until, permissions: std::slice::from_ref(permission), step: &step };
            let flow = Box::pin(self.authorize(firewall, &one, false)).await?;
            worst = worst.max(flow);
            if matches!(flow, Flow::Throttled | Flow::Rest) || self.halted() {
                break;
            }
        }
        Ok(worst)
    }

    /// Before the first grant on a target that this installation has never closed a rule on: may we also close?
    /// A rule that could be opened but never revoked is the one thing that must not be.
    async fn forbidden(&mut self, firewall: &Arc<dyn Firewall>, call: &Opening<'_>) -> Option<Failure> {
        if self.allowed == Some(true) {
            return None;
        }
        let targets = self.driver.store.borrow().targets().ok()?;
        if targets.get(&self.key).is_some_and(|record| record.closed_once) {
            self.allowed = Some(true);
            return None;
        }
        let permission = call.permissions.first()?;
        let missing = firewall.missing_permissions(&self.key.id, permission).await;
        self.allowed = Some(missing.is_empty());
        missing.into_iter().next()
    }

    // ---- changing and closing ------------------------------------------------------------------------------

    async fn change(
        &mut self,
        firewall: &Arc<dyn Firewall>,
        step: &Step,
        loaded: &Loaded,
    ) -> Result<Flow, CommandError> {
        let now = self.now();
        if step.rules().iter().any(|rule| !fresh(rule.read_at(), now)) {
            return Ok(Flow::Refresh);
        }
        let leased = self.leased(step)?;
        let before: Vec<Lease> = leased.iter().map(|(_, lease)| lease.clone()).collect();
        let attempt = if matches!(step, Step::Join { .. }) { Attempt::Opening } else { Attempt::Other };
        let intents: Vec<Lease> = before.iter().map(|lease| self.intent(lease, attempt, now)).collect();
        let session = match step {
            Step::Join { session, .. } | Step::Restore { session, .. } => Some(*session),
            _ => None,
        };
        if !self.intend(&before, &intents, session, step)? {
            return Ok(Flow::Replan);
        }
        let intended: Leased<'_> = leased.iter().map(|(rule, _)| *rule).zip(intents.iter().cloned()).collect();
        match self.send(firewall, step).await {
            Ok(answer) => self.changed(step, &intended, &answer, loaded),
            Err(failure) => Box::pin(self.not_changed(firewall, step, &before, &intended, failure, loaded)).await,
        }
    }

    /// Each rule of a step with its lease: by the rule's id, else by its permission. Rules that nobody here holds
    /// (collected ones, and those that only make room) have none.
    fn leased<'s>(&mut self, step: &'s Step) -> Result<Leased<'s>, CommandError> {
        if matches!(step, Step::Collect { .. } | Step::MakeRoom { .. }) {
            return Ok(Vec::new());
        }
        let now = self.now();
        let open = self.driver.store.borrow().open_leases()?;
        let open: Vec<Lease> = open.into_iter().filter(|lease| *lease.target() == self.key).collect();
        let mut leased = Leased::new();
        for rule in step.rules() {
            let by_id = open.iter().find(|lease| lease.proven_rule() == Some(rule.id()));
            let lease = match by_id.or_else(|| open.iter().find(|lease| lease.permission == *rule.permission())) {
                Some(lease) => lease.clone(),
                None => {
                    let claimed = self.driver.store.borrow_mut().claim(&self.look.reach, rule.permission(), now);
                    // Where no row can be written, closing goes on with a lease that nothing records.
                    let unwritten = Lease::claim(LeaseId(0), self.look.reach.clone(), *rule.permission());
                    self.unless_full(claimed)?.unwrap_or(unwritten)
                }
            };
            leased.push((rule, lease));
        }
        Ok(leased)
    }

    async fn send(&self, firewall: &Arc<dyn Firewall>, step: &Step) -> Result<Answered<BTreeSet<RuleId>>, Failure> {
        let installation = self.driver.store.borrow().installation().clone();
        let key = lease_key(&installation);
        let named = |answer: Answered<()>| Answered { value: BTreeSet::new(), request_id: answer.request_id };
        match step {
            Step::Authorize { .. } => Err(Failure::new(FailureClass::Invalid, "an authorize is not a change")),
            Step::MakeRoom { rule, tags } => firewall.untag(rule, tags).await.map(named),
            Step::Join { rule, until, .. } => {
                let tags = BTreeMap::from([(key, lease_value(*until))]);
                firewall.tag(std::slice::from_ref(rule), &tags).await.map(named)
            }
            Step::Restore { rule, session, until } => {
                let mut tags = self.driver.policy.extra_tags.clone();
                tags.extend(tags_for(&self.key.id, &[*rule.permission()], *session, &installation, *until));
                firewall.tag(std::slice::from_ref(rule), &tags).await.map(named)
            }
            Step::Retag { rules, until } => {
                firewall.tag(rules, &BTreeMap::from([(key, lease_value(*until))])).await.map(named)
            }
            Step::Leave { rule, value } => {
                let left = firewall.untag(rule, &BTreeMap::from([(key.clone(), value.clone())])).await;
                match left {
                    Err(failure) if failure.class == FailureClass::Denied => {
                        let tags = BTreeMap::from([(key, LONG_AGO.to_owned())]);
                        firewall.tag(std::slice::from_ref(rule), &tags).await.map(named)
                    }
                    other => other.map(named),
                }
            }
            Step::Revoke { rules } | Step::Collect { rules } => firewall.revoke(rules).await,
        }
    }

    fn changed(
        &mut self,
        step: &Step,
        intended: &Leased<'_>,
        answer: &Answered<BTreeSet<RuleId>>,
        loaded: &Loaded,
    ) -> Result<Flow, CommandError> {
        let request = answer.request_id.as_deref();
        let installation = self.driver.store.borrow().installation().clone();
        for (rule, lease) in intended {
            let event = |kind, outcome| {
                let event = self.event(kind, outcome, rule.permission(), Some(rule.id()));
                Event { request_id: answer.request_id.clone(), ..event }
            };
            match step {
                Step::Join { until, session, .. } => {
                    let event = Event { session: Some(*session), ..event(EventKind::Joined, "tagged") };
                    self.write(lease, &lease.joined(rule.id().clone(), *until), &event)?;
                    self.watching.insert(lease.permission);
                }
                Step::Restore { until, .. } | Step::Retag { until, .. } => {
                    let event = event(EventKind::Retagged, step.action());
                    self.write(lease, &lease.retagged(*until), &event)?;
                }
                Step::Leave { .. } => {
                    let event = event(EventKind::Left, "untagged");
                    self.write(lease, &lease.left(rule.id().clone()), &event)?;
                }
                Step::Revoke { .. } if answer.value.contains(rule.id()) => {
                    self.record_revoked(lease, rule.id(), request, loaded)?;
                }
                Step::Revoke { .. } => {
                    self.confirming.insert(rule.id().clone(), lease.clone());
                    self.watching.insert(lease.permission);
                }
                Step::MakeRoom { .. } | Step::Authorize { .. } | Step::Collect { .. } => {}
            }
        }
        self.lay_over_change(step, answer, &installation);
        if let Step::Collect { rules } = step {
            let event = |rule: &OwnedRule| {
                let event = self.event(EventKind::Revoked, "collected", rule.permission(), Some(rule.id()));
                Event { request_id: answer.request_id.clone(), ..event }
            };
            let events: Vec<Event> = rules.iter().map(event).collect();
            // Nothing hangs on these rows: the rules were nobody's.
            if let Err(error) = self.driver.store.borrow_mut().write_leases(&[], &events) {
                self.unrecorded = Some(unrecorded(error).message);
            }
        }
        self.steps.push(self.report(step, StepOutcome::Done, None));
        let unseen = matches!(step, Step::Join { .. }) || !self.confirming.is_empty();
        Ok(if unseen { Flow::Reobserve } else { Flow::Replan })
    }

    fn lay_over_change(
        &mut self,
        step: &Step,
        answer: &Answered<BTreeSet<RuleId>>,
        installation: &eg_model::ids::InstallationId,
    ) {
        let key = lease_key(installation);
        match step {
            Step::MakeRoom { rule, tags } => {
                self.lay_over(Effect::Untagged(rule.id().clone(), tags.keys().cloned().collect()));
            }
            Step::Restore { rule, session, until } => {
                let tags = tags_for(&self.key.id, &[*rule.permission()], *session, installation, *until);
                self.lay_over(Effect::Tagged(rule.id().clone(), tags));
            }
            Step::Retag { rules, until } => {
                for rule in rules {
                    let tags = BTreeMap::from([(key.clone(), lease_value(*until))]);
                    self.lay_over(Effect::Tagged(rule.id().clone(), tags));
                }
            }
            Step::Leave { rule, .. } => self.lay_over(Effect::Untagged(rule.id().clone(), vec![key])),
            Step::Revoke { rules } => {
                for rule in rules.iter().filter(|rule| answer.value.contains(rule.id())) {
                    self.lay_over(Effect::Removed(rule.id().clone()));
                }
            }
            Step::Collect { rules } => {
                for rule in rules {
                    self.lay_over(Effect::Removed(rule.id().clone()));
                }
            }
            // A join counts only when it is seen.
            Step::Join { .. } | Step::Authorize { .. } => {}
        }
    }

    fn record_revoked(
        &mut self,
        lease: &Lease,
        rule: &RuleId,
        request: Option<&str>,
        loaded: &Loaded,
    ) -> Result<(), CommandError> {
        let now = self.now();
        let wanted = loaded.wants.get(&self.key).is_some_and(|wants| wants.contains_key(&lease.permission));
        let event = self.event(EventKind::Revoked, "closed", &lease.permission, Some(rule));
        let event = Event { request_id: request.map(str::to_owned), ..event };
        self.write(lease, &lease.revoked(wanted, now), &event)?;
        let mut store = self.driver.store.borrow_mut();
        let mut record = store.targets()?.remove(&self.key).unwrap_or_default();
        if !record.closed_once {
            record.closed_once = true;
            match store.record_target(&self.key, &record) {
                Err(error) if error.is_full() => self.unrecorded = Some(unrecorded(error).message),
                other => other?,
            }
        }
        Ok(())
    }

    async fn not_changed(
        &mut self,
        firewall: &Arc<dyn Firewall>,
        step: &Step,
        before: &[Lease],
        intended: &Leased<'_>,
        failure: Failure,
        loaded: &Loaded,
    ) -> Result<Flow, CommandError> {
        let intents: Vec<Lease> = intended.iter().map(|(_, lease)| lease.clone()).collect();
        let class = failure.class;
        if class.outcome_unknown() {
            return self.unanswered(&intents, &failure, step);
        }
        if class.splits_batch() && step.rules().len() > 1 {
            self.soft_refuse(&intents, &failure)?;
            return self.rules_one_by_one(firewall, step, loaded).await;
        }
        // By id, "not found" is final once a rule is old enough for every answer to know it.
        let gone = matches!(step, Step::Revoke { .. }) && class == FailureClass::Stale;
        let settled = before.iter().all(|lease| lease.settled(self.now()));
        if let (true, true, [(rule, lease)]) = (gone, settled, intended.as_slice()) {
            self.record_revoked(lease, rule.id(), failure.request_id.as_deref(), loaded)?;
            self.lay_over(Effect::Removed(rule.id().clone()));
            self.steps.push(self.report(step, StepOutcome::Done, None));
            return Ok(Flow::Next);
        }
        let retry = if step.opens() { Retry::Opening } else { Retry::Closing };
        if let Step::Collect { rules } = step {
            self.given_up.extend(rules.iter().map(|rule| rule.id().clone()));
        }
        // These credentials may read but not close; others on record for the same target may.
        if !step.opens() && matches!(class, FailureClass::Denied | FailureClass::Credentials) && self.next_way() {
            self.soft_refuse(&intents, &failure)?;
            return Ok(Flow::Refresh);
        }
        match class.reaction() {
            Reaction::RetryNow => {
                self.soft_refuse(&intents, &failure)?;
                Ok(Flow::Throttled)
            }
            Reaction::Reobserve => {
                // "Not found" is neither success nor failure. Only a join's attempt has to be taken back.
                if matches!(step, Step::Join { .. }) {
                    self.soft_refuse(&intents, &failure)?;
                }
                self.watching.extend(intents.iter().map(|lease| lease.permission));
                Ok(Flow::Reobserve)
            }
            Reaction::RetryLater => {
                self.refuse(&intents, &failure, retry, step)?;
                Ok(Flow::Next)
            }
            Reaction::Stop => {
                self.refuse(&intents, &failure, retry, step)?;
                Ok(Flow::Rest)
            }
        }
    }

    async fn rules_one_by_one(
        &mut self,
        firewall: &Arc<dyn Firewall>,
        step: &Step,
        loaded: &Loaded,
    ) -> Result<Flow, CommandError> {
        let mut worst = Flow::Next;
        for rule in step.rules() {
            let rules = vec![rule.clone()];
            let one = match step {
                Step::Retag { until, .. } => Step::Retag { until: *until, rules },
                Step::Revoke { .. } => Step::Revoke { rules },
                Step::Collect { .. } => Step::Collect { rules },
                other => other.clone(),
            };
            let flow = Box::pin(self.change(firewall, &one, loaded)).await?;
            worst = worst.max(flow);
            if matches!(flow, Flow::Throttled | Flow::Rest) || self.halted() {
                break;
            }
        }
        Ok(worst)
    }

    // ---- the ledger ----------------------------------------------------------------------------------------

    fn event(&self, kind: EventKind, outcome: &str, permission: &Permission, rule: Option<&RuleId>) -> Event {
        Event {
            target: Some(self.key.clone()),
            permission: Some(*permission),
            rule_id: rule.cloned(),
            ..Event::new(self.now(), kind, outcome)
        }
    }

    fn failure_event(&self, kind: EventKind, lease: &Lease, failure: &Failure) -> Event {
        let event = self.event(kind, &failure.class.to_string(), &lease.permission, lease.proven_rule());
        Event { request_id: failure.request_id.clone(), detail: Some(failure.message.clone()), ..event }
    }

    /// An intent. The way that works now is the way to close it later.
    fn intent(&self, lease: &Lease, attempt: Attempt, now: Timestamp) -> Lease {
        Lease { reach: self.look.reach.clone(), ..lease.intend(attempt, now) }
    }

    /// Transaction A: the session still lives, every lease is still what the plan saw, and the intent is written.
    /// Closing goes on where the disk is too full to write it: what it closes is known by its id.
    fn intend(
        &mut self,
        before: &[Lease],
        intents: &[Lease],
        session: Option<SessionId>,
        step: &Step,
    ) -> Result<bool, CommandError> {
        if intents.is_empty() {
            return Ok(true);
        }
        let now = self.now();
        let batch: Vec<(Lease, u64)> = intents.iter().cloned().zip(before.iter().map(|lease| lease.version)).collect();
        let event = |lease: &Lease| {
            let event = self.event(EventKind::Intent, step.action(), &lease.permission, lease.proven_rule());
            Event { session, ..event }
        };
        let events: Vec<Event> = intents.iter().map(event).collect();
        let written = self.driver.store.borrow_mut().begin_attempt(session.map(|id| (id, now)), &batch, &events);
        match written {
            Ok(Written::Done) => Ok(true),
            Ok(Written::Raced | Written::NoLongerWanted) => {
                self.steps.push(self.report(step, StepOutcome::Skipped, Some("the record has changed".to_owned())));
                Ok(false)
            }
            Err(error) if error.is_full() && !step.opens() => {
                tracing::warn!("closing without a written intent: {error}");
                Ok(true)
            }
            Err(error) => self.unless_full::<()>(Err(error)).map(|_| false),
        }
    }

    /// A full disk keeps anything new from being opened in this pass; it never keeps anything from being closed.
    fn unless_full<T>(&mut self, result: Result<T, StateError>) -> Result<Option<T>, CommandError> {
        match result {
            Ok(value) => Ok(Some(value)),
            Err(error) if error.is_full() => {
                self.may_open = false;
                self.unrecorded = Some(CommandError::from(error).message);
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Transaction B: the outcome, where the version is still ours. If somebody else has moved the lease on, the
    /// next reading tells; nothing is lost, because the intent is on record.
    fn write(&mut self, from: &Lease, to: &Lease, event: &Event) -> Result<(), CommandError> {
        let written = self.driver.store.borrow_mut().write_lease(to, from.version, event);
        match written {
            Ok(Written::Done) => Ok(()),
            Ok(Written::Raced | Written::NoLongerWanted) => {
                tracing::info!("a lease on {} changed meanwhile; the next reading decides", self.key);
                Ok(())
            }
            Err(error) if error.is_full() => {
                self.unrecorded = Some(unrecorded(error).message);
                Ok(())
            }
            Err(error) => Err(unrecorded(error)),
        }
    }

    fn refuse(&mut self, intents: &[Lease], failure: &Failure, retry: Retry, step: &Step) -> Result<(), CommandError> {
        for lease in intents {
            let wait = retry::delay(retry, lease.refusals.saturating_add(1), self.driver.env.random());
            self.refuse_until(lease, failure, TimeDelta::from_std(wait).unwrap_or(TimeDelta::minutes(1)))?;
        }
        self.clean = false;
        let report = self.report(step, StepOutcome::Refused, Some(failure.to_string()));
        self.steps.push(StepReport { advice: Some(failure.class.advice()), ..report });
        Ok(())
    }

    /// Refused for now: it may go again in this pass.
    fn soft_refuse(&mut self, intents: &[Lease], failure: &Failure) -> Result<(), CommandError> {
        intents.iter().try_for_each(|lease| self.refuse_until(lease, failure, TimeDelta::zero()))
    }

    fn refuse_until(&mut self, lease: &Lease, failure: &Failure, wait: TimeDelta) -> Result<(), CommandError> {
        let now = self.now();
        let event = self.failure_event(EventKind::Refused, lease, failure);
        self.write(lease, &lease.refused(failure.clone(), now + wait), &event)
    }

    /// No usable answer: this target rests for the round, and readings must tell.
    fn unanswered(&mut self, intents: &[Lease], failure: &Failure, step: &Step) -> Result<Flow, CommandError> {
        let now = self.now();
        let retry = if step.opens() { Retry::Opening } else { Retry::Closing };
        for lease in intents {
            let wait = retry::delay(retry, lease.refusals.saturating_add(1), self.driver.env.random());
            let next = now + TimeDelta::from_std(wait).unwrap_or(TimeDelta::minutes(1));
            let event = self.failure_event(EventKind::Unanswered, lease, failure);
            self.write(lease, &lease.unanswered(failure.clone(), next, now), &event)?;
            self.watching.insert(lease.permission);
        }
        self.clean = false;
        let report = self.report(step, StepOutcome::Unknown, Some(failure.to_string()));
        self.steps.push(StepReport { advice: Some(failure.class.advice()), ..report });
        Ok(Flow::Reobserve)
    }

    fn report(&self, step: &Step, outcome: StepOutcome, error: Option<String>) -> StepReport {
        StepReport { target: self.key.clone(), step: step.clone(), outcome, error, advice: None }
    }

    /// Turns to the next recorded way to this target, each once in a pass.
    fn next_way(&mut self) -> bool {
        self.ways_tried += 1;
        let more = self.ways_tried < self.ways.len();
        if more {
            self.ways.rotate_left(1);
        }
        more
    }

    // ---- looking again -------------------------------------------------------------------------------------

    /// Keeps watching only what is still open: a wanted permission that is not held, a lease that is not closed.
    fn still_watched(&mut self) -> Result<(), CommandError> {
        if self.watching.is_empty() {
            return Ok(());
        }
        let loaded = self.driver.load(self.now())?;
        let plan = self.plan(&loaded, false);
        let confirming = |permission: &Permission| self.confirming.values().any(|l| l.permission == *permission);
        let open = |permission: &Permission| {
            let lease = loaded.leases.iter().find(|l| *l.target() == self.key && l.permission == *permission);
            match plan.standings.get(permission) {
                Some(standing) => !standing.is_held(),
                None => lease.is_some_and(|lease| lease.phase != Phase::Leaving || confirming(permission)),
            }
        };
        let watching = self.watching.iter().copied().filter(open).collect();
        self.watching = watching;
        Ok(())
    }

    async fn reobserve(&mut self) -> bool {
        self.reobserve_pause().await && self.refresh().await
    }

    async fn reobserve_pause(&mut self) -> bool {
        if self.reobserved >= REOBSERVATIONS {
            return false;
        }
        self.reobserved += 1;
        let wait = retry::delay(Retry::Reobserve, self.reobserved, 0.0);
        self.rest_for(wait).await
    }

    fn throttled_reading(&self) -> bool {
        matches!(&self.look.observation, Observation::Unavailable(failure) if failure.class == FailureClass::Throttled)
    }

    /// Whether the reading failed for a reason that passes by itself: throttled, it is made again in any pass; after a
    /// server's or the network's failure, while a person waits.
    fn unread_for_now(&self) -> bool {
        let Observation::Unavailable(failure) = &self.look.observation else { return false };
        let passes = failure.class.outcome_unknown() && self.request.interactive;
        (passes || self.throttled_reading()) && !self.request.dry_run && !self.halted()
    }

    async fn pause(&mut self) -> bool {
        if self.throttled >= THROTTLES {
            self.clean = false;
            return false;
        }
        self.throttled += 1;
        let wait = retry::delay(Retry::Throttled, self.throttled, self.driver.env.random());
        self.rest_for(wait).await
    }

    /// Sleeps, unless a signal or the pass's deadline comes first.
    async fn rest_for(&self, wait: std::time::Duration) -> bool {
        tokio::select! {
            () = sleep(wait) => !self.halted(),
            () = self.driver.interrupt.wait() => false,
            () = tokio::time::sleep_until(self.deadline) => false,
        }
    }

    async fn refresh(&mut self) -> bool {
        let targets = BTreeMap::from([(self.key.clone(), self.ways.clone())]);
        if let Some(look) = self.driver.look(&targets, false).await.remove(&self.key) {
            self.look = look;
        }
        true
    }
}

/// One authorize step, taken apart.
struct Opening<'s> {
    session: SessionId,
    until: Timestamp,
    permissions: &'s [Permission],
    step: &'s Step,
}

fn unrecorded(error: StateError) -> CommandError {
    let mut error = CommandError::from(error);
    error.message = format!("a change was made but could not be recorded (the next pass finds it): {}", error.message);
    error
}
