//! The state of one target's run.

use crate::{
    error::CommandError,
    reconcile::{
        driver::Driver,
        lane::{CallSlot, Lane},
        loaded_record::LoadedTarget,
        reading::TargetReading,
        report::StepReport,
        request::Request,
        retry_budget::RetryBudget,
    },
};
use eg_model::{
    Timestamp,
    auto_close::{AutoCloseRoute, AutoCloseSeen},
    failure::Failure,
    ids::RuleId,
    lease::Lease,
    net::permission::Permission,
    observation::{Effect, Observation, OwnedRule, Reading},
    plan::{AutoCloseView, Note, PlanContext, PlanPolicy, TargetPlan, TargetView, plan_target},
    target::{Capabilities, Target, TargetKey},
};
use eg_providers::Firewall;
use std::collections::{BTreeMap, BTreeSet};

/// The next action after a step, mildest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum StepFlow {
    Next,
    /// Plan again, on the same reading.
    Replan,
    /// Read again at once the rules that were read too long ago.
    Refresh,
    /// Read again after a while.
    Reobserve,
    /// Plan again after a short delay.
    Throttled,
    /// Nothing more in this pass.
    Stop,
}

pub(super) type StepResult = Result<StepFlow, CommandError>;

/// The surroundings of a step, the same for all steps of a plan.
#[derive(Clone, Copy)]
pub(super) struct Round<'r> {
    pub(super) firewall: &'r dyn Firewall,
    pub(super) loaded: &'r LoadedTarget,
    /// The plan also closes something, which can make room under a quota.
    pub(super) closes: bool,
}

/// The retry delays that a plan ignores: those of rules, those of expiry schedules.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Impatience {
    pub(super) rules: bool,
    pub(super) auto_closes: bool,
}

/// The rules of a step, each with its lease.
pub(super) type Leased<'r> = Vec<(&'r OwnedRule, Lease)>;

/// The expiry schedules of a target's rules, as far as this pass knows them.
#[derive(Default)]
pub(super) struct ExpiryState {
    /// The place of the schedules; looked up once.
    pub(super) route: Option<AutoCloseRoute>,
    pub(super) route_sought: bool,
    /// The schedules as read, with our own changes applied; forgotten with the reading of the rules.
    pub(super) seen: BTreeMap<RuleId, AutoCloseSeen>,
    /// Rules whose schedule has a damaged row: none is set for them in this pass.
    pub(super) damaged: BTreeSet<RuleId>,
    /// The reason why no schedule can be set in this pass: the next attempt would meet it too.
    pub(super) set_refusal: Option<Failure>,
    /// The reason why none can be deleted.
    pub(super) drop_refusal: Option<Failure>,
}

/// One target in one pass.
pub(in crate::reconcile) struct TargetRun<'a> {
    pub(super) driver: &'a Driver<'a>,
    pub(super) request: &'a Request,
    pub(super) lane: &'a Lane,
    pub(super) slot: Option<CallSlot<'a>>,
    pub(super) budget: RetryBudget<'a>,
    pub(super) key: TargetKey,
    pub(super) routes: Vec<Target>,
    pub(super) routes_tried: usize,
    pub(super) reading: TargetReading,
    pub(super) may_open: bool,
    /// Rules that are to be changed and were read too long ago.
    pub(super) too_old: BTreeSet<RuleId>,
    /// Permissions whose outcome a reading has to show before this target may rest.
    pub(super) watching: BTreeSet<Permission>,
    /// Rules whose revoke succeeded, but was not confirmed by id: gone once a reading shows so.
    pub(super) confirming: BTreeMap<RuleId, (OwnedRule, Lease)>,
    /// A full quota has made the pass close first once.
    pub(super) quota_freed: bool,
    /// Rules of others whose revoke was refused in this pass.
    pub(super) given_up: BTreeSet<RuleId>,
    /// Rules that our tag was taken off in this pass. If that could not be recorded, the plan would repeat it for ever.
    pub(super) left: BTreeSet<RuleId>,
    /// The same for permissions that were closed where nothing is read back.
    pub(super) undone: BTreeSet<Permission>,
    /// Permissions whose rows are damaged: nothing is opened for them in this pass.
    pub(super) damaged: BTreeSet<Permission>,
    pub(super) expiry: ExpiryState,
    pub(super) first_plan: Option<TargetPlan>,
    pub(super) steps: Vec<StepReport>,
    pub(super) notes: BTreeSet<Note>,
    pub(super) converged: bool,
    /// A rule was closed, which proves the right to.
    pub(super) closed_once: bool,
    /// The error of an outcome that could not be recorded. Closing goes on all the same.
    pub(super) unrecorded: Option<String>,
}

impl<'a> TargetRun<'a> {
    pub(in crate::reconcile) fn new(
        driver: &'a Driver<'a>,
        request: &'a Request,
        lane: &'a Lane,
        slot: Option<CallSlot<'a>>,
        routes: Vec<Target>,
        reading: TargetReading,
        may_open: bool,
    ) -> Self {
        Self {
            driver,
            request,
            lane,
            slot,
            budget: RetryBudget::new(driver.env, &driver.interrupt, lane.deadline()),
            key: reading.target.key.clone(),
            routes,
            routes_tried: 0,
            reading,
            may_open,
            too_old: BTreeSet::new(),
            watching: BTreeSet::new(),
            confirming: BTreeMap::new(),
            quota_freed: false,
            given_up: BTreeSet::new(),
            left: BTreeSet::new(),
            undone: BTreeSet::new(),
            damaged: BTreeSet::new(),
            expiry: ExpiryState::default(),
            first_plan: None,
            steps: Vec::new(),
            notes: BTreeSet::new(),
            converged: true,
            closed_once: false,
            unrecorded: None,
        }
    }

    pub(super) fn now(&self) -> Timestamp {
        self.driver.env.now()
    }

    /// True if nothing new may be begun in this pass.
    pub(super) fn is_over(&self) -> bool {
        self.budget.is_over()
    }

    pub(super) fn plan(&self, loaded: &LoadedTarget, impatience: Impatience) -> TargetPlan {
        let policy = &self.driver.policy;
        let store = self.driver.store();
        let context = PlanContext {
            now: self.now(),
            installation: store.installation(),
            sessions: &loaded.sessions,
            leases: &loaded.rows.leases,
            revoked: &loaded.rows.revoked,
            opened: &loaded.rows.opened,
            twin: loaded.twin,
            policy: PlanPolicy {
                open: policy.open && self.may_open,
                collect: policy.collect,
                ignore_delays: impatience.rules,
            },
        };
        let view = TargetView {
            key: &self.key,
            capabilities: self.capabilities(),
            observation: &self.reading.observation,
            unreadable: loaded.rows.unreadable,
            auto_closes: self.has_auto_closes(loaded).then_some(AutoCloseView {
                way: self.expiry.route.as_ref(),
                rows: &loaded.rows.auto_closes,
                ignore_delays: impatience.auto_closes,
                seen: &self.expiry.seen,
            }),
        };
        plan_target(&context, &view)
    }

    pub(super) fn capabilities(&self) -> Capabilities {
        self.reading.firewall.as_ref().map_or(Capabilities::LEAST, |firewall| firewall.capabilities())
    }

    /// True if the target has expiry schedules, or may get some.
    pub(super) fn has_auto_closes(&self, loaded: &LoadedTarget) -> bool {
        self.expiry.route.is_some() || !loaded.rows.auto_closes.is_empty()
    }

    /// The rules, if they could be read.
    pub(super) fn rules_read(&mut self) -> Option<&mut Reading> {
        match &mut self.reading.observation {
            Observation::Complete(reading) => Some(reading),
            Observation::Missing | Observation::NoReadBack | Observation::Unavailable(_) => None,
        }
    }

    /// Applies an effect that is known to have happened to the reading, so that it need not be read again.
    pub(super) fn apply_known(&mut self, effect: Effect) {
        if let Some(reading) = self.rules_read() {
            reading.lay_over(effect);
        }
    }
}
