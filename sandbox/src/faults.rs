//! Scripts of faults: each rule says when its fault strikes.

use crate::protocol::form::Form;
use chrono::TimeDelta;
use ipnet::IpNet;
use std::time::Duration;

#[derive(Clone, Debug, PartialEq)]
pub enum Fault {
    /// `RequestLimitExceeded`; nothing is done.
    Throttle,
    /// A server error with this status; nothing is done.
    Status(u16),
    /// It is done, and the answer is a server error with this status.
    StatusAfter(u16),
    /// It is done, and the answer comes later, in real time.
    Slow(Duration),
    /// The connection is reset; nothing is done.
    ResetBefore,
    /// It is done, and the connection is reset: a lost reply.
    ResetAfter,
    /// The connection is reset, and it is done when the sandbox's clock has moved this far.
    LandLate(TimeDelta),
    /// Any error; nothing is done.
    Refuse { code: String, message: String, status: u16 },
    /// Not authorized, dry runs included; nothing is done.
    Deny,
    /// The session token is past its time; nothing is done.
    ExpiredToken,
    /// The groups, lists and sets that the request names are deleted with their rules before it is looked at.
    GroupGone,
    /// Before the request is looked at, somebody adds an entry to the prefix list or IP set that it names, in the place of
    /// one with the same CIDR.
    EntryAdded { cidr: IpNet, description: String },
    /// Before the request is looked at, somebody removes an entry from the prefix list or IP set that it names.
    EntryRemoved { cidr: IpNet },
    /// A change of a prefix list is accepted, and is done when the sandbox's clock has moved this far.
    StaysInProgress(TimeDelta),
    /// A change of a prefix list is accepted, and fails later with this message.
    FailsLater(String),
    /// It is done, and the answer's XML ends in the middle.
    TruncatedPage,
}

impl Fault {
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Throttle => "Throttle",
            Self::Status(_) => "Status",
            Self::StatusAfter(_) => "StatusAfter",
            Self::Slow(_) => "Slow",
            Self::ResetBefore => "ResetBefore",
            Self::ResetAfter => "ResetAfter",
            Self::LandLate(_) => "LandLate",
            Self::Refuse { .. } => "Refuse",
            Self::Deny => "Deny",
            Self::ExpiredToken => "ExpiredToken",
            Self::GroupGone => "GroupGone",
            Self::EntryAdded { .. } => "EntryAdded",
            Self::EntryRemoved { .. } => "EntryRemoved",
            Self::StaysInProgress(_) => "StaysInProgress",
            Self::FailsLater(_) => "FailsLater",
            Self::TruncatedPage => "TruncatedPage",
        }
    }
}

/// The requests that are struck, of those that a rule looks at.
#[derive(Clone, Copy, Debug, PartialEq)]
enum When {
    Always,
    Nth(u64),
    Every(u64),
    Chance(f64),
}

/// A fault and its conditions. All of them must hold; a new rule has none and strikes every request.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    fault: Fault,
    action: Option<String>,
    region: Option<String>,
    containing: Option<String>,
    dry_run: Option<bool>,
    when: When,
    times: Option<u64>,
}

impl Rule {
    /// Strikes every request.
    pub fn new(fault: Fault) -> Self {
        Self { fault, action: None, region: None, containing: None, dry_run: None, when: When::Always, times: None }
    }

    /// Looks at requests for this action only.
    #[must_use]
    pub fn on(self, action: &str) -> Self {
        Self { action: Some(action.to_owned()), ..self }
    }

    /// Looks at requests of this region only.
    #[must_use]
    pub fn in_region(self, region: &str) -> Self {
        Self { region: Some(region.to_owned()), ..self }
    }

    /// Looks at requests only with a field that contains this text.
    #[must_use]
    pub fn containing(self, text: &str) -> Self {
        Self { containing: Some(text.to_owned()), ..self }
    }

    /// Looks at dry runs only, or at no dry run.
    #[must_use]
    pub fn dry_run(self, dry_run: bool) -> Self {
        Self { dry_run: Some(dry_run), ..self }
    }

    /// Strikes the n-th request that it looks at, counted from 1.
    #[must_use]
    pub fn nth(self, n: u64) -> Self {
        Self { when: When::Nth(n), ..self }
    }

    /// Strikes every n-th request that it looks at.
    #[must_use]
    pub fn every(self, n: u64) -> Self {
        Self { when: When::Every(n), ..self }
    }

    /// Strikes with this probability, drawn by the seed.
    #[must_use]
    pub fn chance(self, probability: f64) -> Self {
        Self { when: When::Chance(probability), ..self }
    }

    #[must_use]
    pub fn times(self, times: u64) -> Self {
        Self { times: Some(times), ..self }
    }

    fn looks_at(&self, action: &str, region: &str, form: &Form) -> bool {
        let text = |text: &String| form.fields().values().any(|value| value.contains(text.as_str()));
        self.action.as_ref().is_none_or(|wanted| wanted == action)
            && self.region.as_ref().is_none_or(|wanted| wanted == region)
            && self.containing.as_ref().is_none_or(text)
            && self.dry_run.is_none_or(|wanted| wanted == form.is_true("DryRun"))
    }
}

impl From<Fault> for Rule {
    fn from(fault: Fault) -> Self {
        Self::new(fault)
    }
}

/// Rules in order: every rule counts every request that it looks at, and the first that strikes is the one that
/// happens. So a rule means the same whatever stands beside it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Script(Vec<Rule>);

impl<R: Into<Rule>> FromIterator<R> for Script {
    fn from_iter<I: IntoIterator<Item = R>>(rules: I) -> Self {
        Self(rules.into_iter().map(Into::into).collect())
    }
}

impl<R: Into<Rule>, const N: usize> From<[R; N]> for Script {
    fn from(rules: [R; N]) -> Self {
        rules.into_iter().collect()
    }
}

#[derive(Debug)]
struct Running {
    rule: Rule,
    seen: u64,
    struck: u64,
    dice: fastrand::Rng,
}

impl Running {
    fn strikes(&mut self, action: &str, region: &str, form: &Form) -> bool {
        if !self.rule.looks_at(action, region, form) {
            return false;
        }
        self.seen += 1;
        let due = match self.rule.when {
            When::Always => true,
            When::Nth(n) => self.seen == n,
            When::Every(n) => n != 0 && self.seen.is_multiple_of(n),
            When::Chance(probability) => self.dice.f64() < probability,
        };
        due && self.rule.times.is_none_or(|times| self.struck < times)
    }
}

#[derive(Debug, Default)]
pub(crate) struct Faults(Vec<Running>);

impl Faults {
    /// From the beginning. Each rule has dice of its own, so that one rule's draws do not shift another's.
    pub(crate) fn start(script: Script, seed: u64) -> Self {
        let dice = |number: u64| fastrand::Rng::with_seed(seed ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let running =
            (1..).zip(script.0).map(|(number, rule)| Running { rule, seen: 0, struck: 0, dice: dice(number) });
        Self(running.collect())
    }

    pub(crate) fn strike(&mut self, action: &str, region: &str, form: &Form) -> Option<Fault> {
        let mut chosen = None;
        for running in &mut self.0 {
            if running.strikes(action, region, form) && chosen.is_none() {
                running.struck += 1;
                chosen = Some(running.rule.fault.clone());
            }
        }
        chosen
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn struck(script: impl Into<Script>, calls: u64) -> Vec<u64> {
        let mut faults = Faults::start(script.into(), 7);
        (1..=calls).filter(|_| faults.strike("A", "r", &Form::default()).is_some()).collect()
    }

    #[test]
    fn when() {
        assert_eq!(struck([Rule::new(Fault::Throttle)], 3), [1, 2, 3]);
        assert_eq!(struck([Rule::new(Fault::Throttle).times(2)], 4), [1, 2]);
        assert_eq!(struck([Rule::new(Fault::Throttle).nth(3)], 5), [3]);
        assert_eq!(struck([Rule::new(Fault::Throttle).every(2).times(2)], 9), [2, 4]);
        assert_eq!(struck([Rule::new(Fault::Throttle).on("B")], 3), [0; 0]);
        assert_eq!(struck([Rule::new(Fault::Throttle).chance(0.0)], 50), [0; 0]);
        assert_eq!(struck([Rule::new(Fault::Throttle).chance(1.0)], 3), [1, 2, 3]);
    }

    #[test]
    fn chance_depends_on_the_seed_and_not_on_the_neighbours() {
        let rule = Rule::new(Fault::Throttle).chance(0.5);
        let alone = struck([rule.clone()], 50);
        assert_eq!(alone, struck([rule.clone()], 50));
        assert_eq!(alone, struck([rule, Rule::new(Fault::Deny).nth(99)], 50));
        assert!((10..40).contains(&alone.len()), "{alone:?}");
    }

    #[test]
    fn which() {
        let form = Form::parse(b"DryRun=true&X=sg-1");
        let looks = |rule: Rule| rule.looks_at("A", "r", &form);
        let rule = || Rule::new(Fault::Throttle);
        assert!(looks(rule().on("A").containing("sg-").dry_run(true)));
        assert!(!looks(rule().containing("sg-2")));
        assert!(!looks(rule().dry_run(false)));
        assert!(looks(rule().in_region("r")) && !looks(rule().in_region("s")));
    }

    #[test]
    fn the_first_that_strikes_happens_and_all_count() {
        let mut faults = Faults::start([Rule::new(Fault::Deny).nth(1), Rule::new(Fault::Throttle).nth(2)].into(), 0);
        let mut next = || faults.strike("A", "r", &Form::default());
        assert_eq!([next(), next(), next()], [Some(Fault::Deny), Some(Fault::Throttle), None]);
    }
}
