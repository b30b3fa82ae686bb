//! One group, from its first reading to rest. A rule is closed only by its id, and only on a reading of it that is at most
//! ten seconds old. It counts as closed once the answer names it, or a later reading no longer shows it.
//!
//! | after a call | next |
//! |---|---|
//! | the answer names the rule | closed |
//! | done, but the answer does not name the rule; a tag was taken off; no usable answer; "not found" | read again after 1, 2, 4 seconds; rules that are still there are tried again |
//! | one of several is refused as not found or invalid | one at a time |
//! | throttled | repeat after a short delay |
//! | a later reading shows that the rule may not be closed any more | held again, if a lease holds it; else not known |
//! | refused | reported; the other rules go on |
//! | credentials refused | reported, and nothing more in this group |

use super::reading::{AccountRegion, SweepTarget};
use crate::{
    host::env::Env,
    reconcile::{apply::release::release, reading::is_recent, retry_budget::RetryBudget},
};
use eg_model::{
    collecting::clocks_agree,
    failure::{Failure, FailureClass, Reaction},
    ids::RuleId,
    observation::OwnedRule,
    sweep::{
        holders::Holder,
        judge::{KeepReason, State, SweepAction, SweepScope, Swept, holders_beside, sweep},
    },
    target::TargetKey,
};
use eg_providers::ReadResult;
use std::collections::{BTreeMap, BTreeSet};

/// Rounds of judging and calling; a healthy group needs two.
const ROUNDS: u32 = 12;

/// The outcome for a rule that the sweep had an action for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    Planned,
    Done,
    /// The rule was closed by something else before.
    Gone,
    /// A lease holds the rule again since it was first read.
    HeldAgain,
    Refused(Failure),
    /// The call may have taken effect or not.
    Unknown(Option<Failure>),
    /// Nothing was sent: no time was left, or the provider throttled.
    Undone(Option<Failure>),
}

impl Outcome {
    /// True if the rule may still be open, or tagged, against the user's request.
    pub fn is_open(&self) -> bool {
        matches!(self, Self::Refused(_) | Self::Unknown(_) | Self::Undone(_))
    }

    pub fn failure(&self) -> Option<&Failure> {
        match self {
            Self::Refused(failure) => Some(failure),
            Self::Unknown(failure) | Self::Undone(failure) => failure.as_ref(),
            Self::Planned | Self::Done | Self::Gone | Self::HeldAgain => None,
        }
    }
}

/// A marked rule as it was first read, with its outcome.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SweepRow {
    pub place: AccountRegion,
    pub target: TargetKey,
    pub swept: Swept,
    /// `None` if the sweep had no action for the rule.
    pub outcome: Option<Outcome>,
    /// The holders that keep a rule open although its owner was swept, as it was last read.
    pub still_held_by: Vec<Holder>,
}

impl SweepRow {
    /// True if the rule's owner was swept, and the rule stays open for another holder, or because its marks do not fit.
    pub fn outlives_owner(&self) -> bool {
        !self.still_held_by.is_empty() || (self.swept.outlives_owner() && self.outcome.is_none())
    }
}

/// The next action after a call, mildest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum CallFlow {
    Next,
    ReadAgain,
    Throttled,
    Rest,
}

/// A mark on a container is one item of a list that its installation writes as a whole, from its record. Another writer
/// could lose an item that was added meanwhile.
fn only_its_own_eg(target: &TargetKey, key: &str) -> Failure {
    let message = format!("take the lease off {target}: only its own installation may write the tag {key}");
    Failure::new(FailureClass::Invalid, message)
}

pub(super) struct GroupRun<'a> {
    env: &'a Env,
    pub(super) budget: RetryBudget<'a>,
    pub(super) group: SweepTarget,
    pub(super) scope: &'a SweepScope,
    first: Vec<Swept>,
    outcomes: BTreeMap<RuleId, Outcome>,
    /// Rules with a call whose answer does not settle the outcome.
    sent: BTreeMap<RuleId, Option<Failure>>,
    /// The failure that stopped all further calls.
    stopped_by: Option<Failure>,
    singly: bool,
}

impl<'a> GroupRun<'a> {
    pub(super) fn new(env: &'a Env, budget: RetryBudget<'a>, group: SweepTarget, scope: &'a SweepScope) -> Self {
        let first = sweep(&group.target, &group.reading, scope);
        let (outcomes, sent) = Default::default();
        Self { env, budget, group, scope, first, outcomes, sent, stopped_by: None, singly: false }
    }

    pub(super) fn plan(&mut self) {
        let due = self.first.iter().filter(|swept| swept.deed.is_some());
        self.outcomes = due.map(|swept| (swept.rule.id.clone(), Outcome::Planned)).collect();
    }

    pub(super) async fn run(&mut self) {
        for _ in 0..ROUNDS {
            if self.budget.is_over() || (!self.is_recent(self.group.reading.last_page_at) && !self.read().await) {
                break;
            }
            let due = self.evaluate();
            if due.is_empty() {
                break;
            }
            let rules = due.iter().map(|(SweepAction::Close(rule) | SweepAction::Untag { rule, .. })| rule);
            let old: BTreeSet<RuleId> =
                rules.filter(|rule| !self.is_recent(rule.read_at())).map(|rule| rule.id().clone()).collect();
            if !old.is_empty() {
                if self.read_by_id(&old).await {
                    continue;
                }
                break;
            }
            let goes_on = match self.act(due).await {
                CallFlow::Next => true,
                CallFlow::ReadAgain => self.budget.before_reading_again().await && self.read().await,
                CallFlow::Throttled => self.budget.after_throttling().await,
                CallFlow::Rest => false,
            };
            if !goes_on {
                break;
            }
        }
        self.evaluate();
    }

    pub(super) fn outcome(&self, rule: &RuleId) -> Option<&Outcome> {
        self.outcomes.get(rule)
    }

    /// True if an action for a rule is not known to be done.
    pub(super) fn may_be_open(&self) -> bool {
        let mut due = self.first.iter().filter(|swept| swept.deed.is_some());
        due.any(|swept| self.outcomes.get(&swept.rule.id).is_none_or(Outcome::is_open))
    }

    /// Settles the outcomes that the reading shows, and returns the actions that are still to be done.
    fn evaluate(&mut self) -> Vec<SweepAction> {
        let now = sweep(&self.group.target, &self.group.reading, self.scope);
        let there: BTreeSet<&RuleId> = self.group.reading.rules.iter().map(|rule| &rule.id).collect();
        for swept in self.first.iter().filter(|swept| swept.deed.is_some()) {
            let id = &swept.rule.id;
            let again = now.iter().find(|now| now.rule.id == *id);
            if self.outcomes.contains_key(id) || again.is_some_and(|now| now.deed.is_some()) {
                continue;
            }
            let held = again
                .is_some_and(|now| now.state == State::Held && now.kept.is_none_or(|kept| kept == KeepReason::Held));
            let untagged = matches!(swept.deed, Some(SweepAction::Untag { .. }));
            let outcome = match (there.contains(id), self.sent.contains_key(id)) {
                (false, false) => Outcome::Gone,
                (false, true) => Outcome::Done,
                (true, true) if untagged => Outcome::Done,
                (true, _) if held => Outcome::HeldAgain,
                // The rule is open, but its marks are gone, or the clocks disagree: nothing is settled.
                (true, _) => continue,
            };
            self.outcomes.insert(id.clone(), outcome);
        }
        let open = |swept: &Swept| {
            let first = self.first.iter().any(|first| first.rule.id == swept.rule.id && first.deed.is_some());
            first && !self.outcomes.contains_key(&swept.rule.id)
        };
        now.into_iter().filter(open).filter_map(|swept| swept.deed).collect()
    }

    async fn act(&mut self, due: Vec<SweepAction>) -> CallFlow {
        let mut close = Vec::new();
        let mut worst = CallFlow::Next;
        for deed in due {
            match deed {
                SweepAction::Close(rule) => close.push(rule),
                SweepAction::Untag { rule, key, value } if self.is_recent(rule.read_at()) => {
                    let answer = match self.group.firewall.container_marking() {
                        Some(_) => Err(only_its_own_eg(&self.group.target, &key)),
                        None => release(self.group.firewall.as_ref(), &rule, &key, &value).await,
                    };
                    let flow = match answer {
                        Ok(_) => self.unsettled(std::slice::from_ref(&rule), None),
                        Err(failure) => self.failed(std::slice::from_ref(&rule), failure),
                    };
                    worst = worst.max(flow);
                }
                // The next round reads again.
                SweepAction::Untag { .. } => {}
            }
            if worst >= CallFlow::Throttled || self.budget.is_over() {
                return worst;
            }
        }
        let batch = if self.singly { 1 } else { self.group.firewall.capabilities().batch.max(1) };
        for rules in close.chunks(batch) {
            worst = worst.max(self.close(rules).await);
            if worst >= CallFlow::Throttled || self.budget.is_over() {
                break;
            }
        }
        worst
    }

    async fn close(&mut self, rules: &[OwnedRule]) -> CallFlow {
        if rules.iter().any(|rule| !self.is_recent(rule.read_at())) {
            return CallFlow::Next;
        }
        match self.group.firewall.revoke(rules).await {
            Err(failure) => self.failed(rules, failure),
            Ok(answer) => {
                let (named, unnamed): (Vec<_>, Vec<_>) =
                    rules.iter().cloned().partition(|rule| answer.value.contains(rule.id()));
                self.outcomes.extend(named.iter().map(|rule| (rule.id().clone(), Outcome::Done)));
                self.unsettled(&unnamed, None)
            }
        }
    }

    /// The next reading has to show the outcome.
    fn unsettled(&mut self, rules: &[OwnedRule], why: Option<&Failure>) -> CallFlow {
        self.sent.extend(rules.iter().map(|rule| (rule.id().clone(), why.cloned())));
        if rules.is_empty() { CallFlow::Next } else { CallFlow::ReadAgain }
    }

    fn failed(&mut self, rules: &[OwnedRule], failure: Failure) -> CallFlow {
        if failure.class.splits_batch() && rules.len() > 1 {
            self.singly = true;
            return CallFlow::Next;
        }
        match failure.class.reaction() {
            Reaction::RetryNow => {
                self.stopped_by = Some(failure);
                CallFlow::Throttled
            }
            Reaction::Reobserve => self.unsettled(rules, Some(&failure)),
            reaction => {
                let refused = |rule: &OwnedRule| (rule.id().clone(), Outcome::Refused(failure.clone()));
                self.outcomes.extend(rules.iter().map(refused));
                if reaction != Reaction::Stop {
                    return CallFlow::Next;
                }
                self.stopped_by = Some(failure);
                CallFlow::Rest
            }
        }
    }

    /// Reads the whole group again, because a rule may have lost its marks meanwhile.
    async fn read(&mut self) -> bool {
        loop {
            let mut seen = self.group.firewall.observe(&BTreeSet::from([self.group.target.clone()])).await;
            let failure = match seen.remove(&self.group.target) {
                Some(ReadResult::Complete(reading)) => {
                    self.group.reading = reading;
                    return true;
                }
                Some(ReadResult::Unavailable(failure)) => failure,
                Some(ReadResult::NotFound { .. } | ReadResult::NoReadBack) | None => return false,
            };
            if !self.may_read_again(failure).await {
                return false;
            }
        }
    }

    /// Reads rules again by their ids: a group with thousands of rules over a slow link is never read whole in ten seconds.
    async fn read_by_id(&mut self, rules: &BTreeSet<RuleId>) -> bool {
        loop {
            match self.group.firewall.observe_rules(&self.group.target, rules).await {
                Ok(seen) => {
                    self.group.reading.read_again(rules, seen.rules, seen.read_at);
                    return true;
                }
                Err(failure) => {
                    if !self.may_read_again(failure).await {
                        return false;
                    }
                }
            }
        }
    }

    /// Waits, if the failed reading may be repeated.
    pub(super) async fn may_read_again(&mut self, failure: Failure) -> bool {
        let again = match failure.class.reaction() {
            Reaction::RetryNow => self.budget.after_throttling().await,
            Reaction::Reobserve => self.budget.before_reading_again().await,
            Reaction::RetryLater | Reaction::Stop => false,
        };
        if !again {
            self.stopped_by = Some(failure);
        }
        again
    }

    fn is_recent(&self, read_at: eg_model::Timestamp) -> bool {
        is_recent(read_at, self.env.now())
    }

    /// The holders that keep a rule open although its owner was swept; none for a rule that is closed or gone.
    fn still_held_by(&self, first: &Swept) -> Vec<Holder> {
        let SweepScope::Owner { owner, even_if_held: false } = self.scope else { return Vec::new() };
        let closed = matches!(self.outcomes.get(&first.rule.id), Some(Outcome::Gone))
            || (matches!(first.deed, Some(SweepAction::Close(_)))
                && self.outcomes.get(&first.rule.id) == Some(&Outcome::Done));
        if closed || (first.deed.is_none() && first.kept != Some(KeepReason::Held)) {
            return Vec::new();
        }
        let SweepTarget { reading, target, .. } = &self.group;
        let agree = clocks_agree(reading.read_at, reading.provider_time);
        let now = sweep(target, reading, self.scope).into_iter().find(|now| now.rule.id == first.rule.id);
        now.filter(|now| now.state != State::Misfit)
            .map(|now| holders_beside(&now.rule, owner, agree))
            .unwrap_or_default()
    }

    pub(super) fn rows(mut self) -> Vec<SweepRow> {
        let mut held: BTreeMap<RuleId, Vec<Holder>> =
            self.first.iter().map(|swept| (swept.rule.id.clone(), self.still_held_by(swept))).collect();
        let row = |swept: Swept| {
            let open = swept.deed.is_some();
            let known = self.outcomes.remove(&swept.rule.id);
            let outcome = open.then(|| {
                let not_known = || match self.sent.remove(&swept.rule.id) {
                    Some(why) => Outcome::Unknown(why.or_else(|| self.stopped_by.clone())),
                    None => Outcome::Undone(self.stopped_by.clone()),
                };
                known.unwrap_or_else(not_known)
            });
            let still_held_by = held.remove(&swept.rule.id).unwrap_or_default();
            let (place, target) = (self.group.place.clone(), self.group.target.clone());
            SweepRow { place, target, swept, outcome, still_held_by }
        };
        self.first.into_iter().map(row).collect()
    }
}
