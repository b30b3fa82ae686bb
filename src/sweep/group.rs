//! One group, from its first reading to rest. Nothing is closed on a reading of it older than ten seconds, nothing but by its
//! id, and a rule counts as closed when the answer names it or a later reading no longer shows it.
//!
//! | after a call | next |
//! |---|---|
//! | the answer names the rule | closed |
//! | done, and the rule is not named; a tag was taken off; no usable answer; "not found" | read again after 1, 2, 4 seconds; what is still there is tried again |
//! | one of several is refused as not found or invalid | one at a time |
//! | throttled | the same again after a short delay |
//! | read again, it is not to be closed any more | held again, if somebody holds it; else not known |
//! | refused | reported; the others go on |
//! | credentials refused | reported, and nothing more in this group |

use crate::sweep::accounts::{AccountRegion, SweepTarget};
use crate::{
    host::env::Env,
    reconcile::{apply::release::leave, observe::fresh, retry_budget::RetryBudget},
};
use eg_model::{
    collecting::clocks_agree,
    failure::{Failure, Reaction},
    ids::RuleId,
    observation::OwnedRule,
    sweep::{
        holders::Holder,
        judge::{KeepReason, State, SweepAction, SweepScope, Swept, holders_beside, sweep},
    },
};
use eg_providers::ReadResult;
use std::collections::{BTreeMap, BTreeSet};

/// Rounds of judging and calling; a healthy group needs two.
const ROUNDS: u32 = 12;

/// What became of a rule that something was to be done about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    Planned,
    Done,
    /// Somebody else had closed it before.
    Gone,
    /// Somebody holds it again since it was first read.
    HeldAgain,
    Refused(Failure),
    /// Whether it was done is not known.
    Unknown(Option<Failure>),
    /// Nothing was sent about it: there was no time, or the provider would not be asked so fast.
    Undone(Option<Failure>),
}

impl Outcome {
    /// Whether the rule may still be open, or tagged, against what was asked.
    #[must_use]
    pub fn is_open(&self) -> bool {
        matches!(self, Self::Refused(_) | Self::Unknown(_) | Self::Undone(_))
    }

    #[must_use]
    pub fn failure(&self) -> Option<&Failure> {
        match self {
            Self::Refused(failure) => Some(failure),
            Self::Unknown(failure) | Self::Undone(failure) => failure.as_ref(),
            Self::Planned | Self::Done | Self::Gone | Self::HeldAgain => None,
        }
    }
}

/// A marked rule, as it was first read, and what became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SweepRow {
    pub place: AccountRegion,
    pub group: String,
    pub swept: Swept,
    /// `None`: nothing was to be done.
    pub outcome: Option<Outcome>,
    /// Of a rule that was to go with its owner: who keeps it open, as it was last read.
    pub still_held_by: Vec<Holder>,
}

impl SweepRow {
    /// Whether it was asked for with its owner, and is open for another's sake, or because its marks do not fit.
    #[must_use]
    pub fn outlives_owner(&self) -> bool {
        !self.still_held_by.is_empty() || (self.swept.outlives_owner() && self.outcome.is_none())
    }
}

/// What to do after a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum CallFlow {
    Next,
    ReadAgain,
    Throttled,
    Rest,
}

pub(super) struct GroupRun<'a> {
    env: &'a Env,
    patience: RetryBudget<'a>,
    group: SweepTarget,
    wish: &'a SweepScope,
    first: Vec<Swept>,
    outcomes: BTreeMap<RuleId, Outcome>,
    /// Something was sent about these, and the answer does not settle it.
    sent: BTreeMap<RuleId, Option<Failure>>,
    /// Why nothing more could be sent, or read.
    stopped_by: Option<Failure>,
    singly: bool,
}

impl<'a> GroupRun<'a> {
    pub(super) fn new(env: &'a Env, patience: RetryBudget<'a>, group: SweepTarget, wish: &'a SweepScope) -> Self {
        let first = sweep(&group.target, &group.reading, wish);
        let (outcomes, sent) = Default::default();
        Self { env, patience, group, wish, first, outcomes, sent, stopped_by: None, singly: false }
    }

    pub(super) fn shown(mut self) -> Vec<SweepRow> {
        let due = self.first.iter().filter(|swept| swept.deed.is_some());
        self.outcomes = due.map(|swept| (swept.rule.id.clone(), Outcome::Planned)).collect();
        self.rows()
    }

    pub(super) async fn run(mut self) -> Vec<SweepRow> {
        for _ in 0..ROUNDS {
            if self.patience.is_over() || (!self.is_recent(self.group.reading.last_page_at) && !self.read().await) {
                break;
            }
            let due = self.judge();
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
                CallFlow::ReadAgain => self.patience.before_reading_again().await && self.read().await,
                CallFlow::Throttled => self.patience.after_throttling().await,
                CallFlow::Rest => false,
            };
            if !goes_on {
                break;
            }
        }
        self.judge();
        self.rows()
    }

    /// Settles what the reading settles; what is still to be done.
    fn judge(&mut self) -> Vec<SweepAction> {
        let now = sweep(&self.group.target, &self.group.reading, self.wish);
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
                // Its marks are gone, or the clocks no longer tell: it is open, and nothing is settled.
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
                    let answer = leave(self.group.firewall.as_ref(), &rule, &key, &value).await;
                    let flow = match answer {
                        Ok(_) => self.unsettled(std::slice::from_ref(&rule), None),
                        Err(failure) => self.failed(std::slice::from_ref(&rule), failure),
                    };
                    worst = worst.max(flow);
                }
                // The next round reads again.
                SweepAction::Untag { .. } => {}
            }
            if worst >= CallFlow::Throttled || self.patience.is_over() {
                return worst;
            }
        }
        let batch = if self.singly { 1 } else { self.group.firewall.capabilities().batch.max(1) };
        for rules in close.chunks(batch) {
            worst = worst.max(self.close(rules).await);
            if worst >= CallFlow::Throttled || self.patience.is_over() {
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

    /// The next reading has to tell.
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

    /// Reads the group again, whole: a rule that lost its marks meanwhile is still there.
    async fn read(&mut self) -> bool {
        loop {
            let mut seen = self.group.firewall.observe(&BTreeSet::from([self.group.target.clone()])).await;
            let failure = match seen.remove(&self.group.target) {
                Some(ReadResult::Complete(reading)) => {
                    self.group.reading = reading;
                    return true;
                }
                Some(ReadResult::Unavailable(failure)) => failure,
                Some(ReadResult::NotFound { .. }) | None => return false,
            };
            if !self.may_read_again(failure).await {
                return false;
            }
        }
    }

    /// Reads rules again by their ids: of a group with thousands of rules over a slow link, the whole is never recent.
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

    /// Waits, where what failed may be asked again.
    async fn may_read_again(&mut self, failure: Failure) -> bool {
        let again = match failure.class.reaction() {
            Reaction::RetryNow => self.patience.after_throttling().await,
            Reaction::Reobserve => self.patience.before_reading_again().await,
            Reaction::RetryLater | Reaction::Stop => false,
        };
        if !again {
            self.stopped_by = Some(failure);
        }
        again
    }

    fn is_recent(&self, read_at: eg_model::Timestamp) -> bool {
        fresh(read_at, self.env.now())
    }

    /// Who keeps a rule open that was to go with its owner. A rule that is closed, or gone, nobody holds.
    fn still_held_by(&self, first: &Swept) -> Vec<Holder> {
        let SweepScope::Owner { owner, even_if_held: false } = self.wish else { return Vec::new() };
        let closed = matches!(self.outcomes.get(&first.rule.id), Some(Outcome::Gone))
            || (matches!(first.deed, Some(SweepAction::Close(_)))
                && self.outcomes.get(&first.rule.id) == Some(&Outcome::Done));
        if closed || (first.deed.is_none() && first.kept != Some(KeepReason::Held)) {
            return Vec::new();
        }
        let SweepTarget { reading, target, .. } = &self.group;
        let agree = clocks_agree(reading.read_at, reading.provider_time);
        let now = sweep(target, reading, self.wish).into_iter().find(|now| now.rule.id == first.rule.id);
        now.filter(|now| now.state != State::Misfit)
            .map(|now| holders_beside(&now.rule, owner, agree))
            .unwrap_or_default()
    }

    fn rows(mut self) -> Vec<SweepRow> {
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
            let (place, group) = (self.group.place.clone(), self.group.target.id.clone());
            SweepRow { place, group, swept, outcome, still_held_by }
        };
        self.first.into_iter().map(row).collect()
    }
}
