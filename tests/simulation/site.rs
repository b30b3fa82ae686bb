//! One firewall: what chance, people and time do to it, and what it shows. A file for each kind: `groups`, `lists`, `toys`.

use crate::action::Weather;
use chrono::TimeDelta;
use eg_sandbox::{Fault, HandClock, Handle, RegionSettings, Rule, Script, Stale, StaleSight};
use std::{fmt::Debug, path::Path};

/// The address of both machines.
pub const ADDRESS: &str = "203.0.113.42";
/// The account of every firewall in the sandbox.
pub const ACCOUNT: &str = "200000000001";

/// What was asked of a firewall, by its own log.
#[derive(Clone, Copy, Debug, Default)]
pub struct Calls {
    pub all: u64,
    /// Those that something happened to.
    pub struck: u64,
    /// Entries that `eg` opened, and entries that it closed.
    pub opened: u64,
    pub closed: u64,
}

pub trait Site: Sized {
    /// A rule or an entry, with all that is written on it.
    type Entry: Clone + PartialEq + Debug;

    /// Ports and network of what others have there from the beginning.
    const STRANGERS: [(&'static str, &'static str); 3] =
        [("tcp/22", "198.51.100.7/32"), ("tcp/3389", "203.0.113.42/32"), ("tcp/22", "203.0.113.0/24")];

    /// Without entries. A folder of its own is in `dir`.
    fn new(seed: u64, dir: &Path, clock: &HandClock) -> Self;

    /// The endpoint of the provider, if it has one.
    fn endpoint(&self) -> String;

    /// The configuration of both machines.
    fn config(&self) -> String;

    /// All that is there.
    fn entries(&self) -> Vec<Self::Entry>;

    fn id(entry: &Self::Entry) -> String;

    /// Somebody makes an entry by hand. `None` if there is one already.
    fn make(&mut self, ports: &str, cidr: &str) -> Option<Self::Entry>;

    /// True if an entry of others cannot be taken for one of `eg`, which has so many open leases.
    fn may_make_twin(&self, _open_leases: u32) -> bool {
        true
    }

    fn remove(&mut self, entry: &Self::Entry);

    /// Somebody edits an entry of `eg`. The result is what `eg` may not touch from then on.
    fn edit(&mut self, entry: &Self::Entry, number: u64) -> Option<Self::Entry>;

    /// Somebody takes the marks off an entry of `eg`.
    fn strip(&mut self, entry: &Self::Entry);

    /// True if that takes the marks off every other entry as well.
    fn strips_all(&self) -> bool;

    fn weather(&mut self, weather: Weather);

    /// Readings lag behind from now on, by so many seconds.
    fn lag(&mut self, seconds: i64);

    /// A command is about to run.
    fn before_command(&mut self) {}

    /// What is wrong while sessions are open and the weather is good; `None` if there is nothing to look at.
    fn while_open(&self, _ours: &[Self::Entry]) -> Option<Result<(), String>> {
        None
    }

    /// What is wrong in the end, beside entries that are left: other things of `eg`, or a call that meant those of others.
    fn in_the_end(&self, foreign: &[Self::Entry]) -> Result<(), String>;

    /// The calls that were meant to change something.
    fn changes(&self) -> Vec<String>;

    fn calls(&self) -> Calls;
}

/// Readings of the sandbox lag behind, every second one.
pub fn lag_behind(region: &Handle, seconds: i64, sights: &[StaleSight]) {
    let stale = Stale { chance: 0.5, ..Stale::new(TimeDelta::seconds(seconds), sights.iter().copied()) };
    region.set(|settings| {
        let stale = (seconds > 0).then_some(stale);
        *settings = RegionSettings { stale, ..settings.clone() };
    });
}

/// The calls of the sandbox's log that were meant to change something.
pub fn changes_in(region: &Handle) -> Vec<eg_sandbox::Call> {
    let reads = |action: &str| action.starts_with("Describe") || action.starts_with("Get");
    region.log().into_iter().filter(|call| !call.dry_run && !reads(&call.action)).collect()
}

/// The script of a weather; `changing` are the actions that may land late. Late calls land within the settle window: later
/// than that, AWS is not believed to act.
pub fn faults(weather: Weather, changing: &[&str]) -> Vec<Rule> {
    let late = |seconds| Fault::LandLate(TimeDelta::seconds(seconds));
    let lates = |chance: f64| {
        let on = move |action: &str, seconds| Rule::new(late(seconds)).on(action).dry_run(false).chance(chance);
        changing.iter().flat_map(move |action| [on(action, 40), on(action, 200)]).collect::<Vec<_>>()
    };
    let any = |fault: Fault, chance| vec![Rule::new(fault).chance(chance)];
    match weather {
        Weather::Fair => Vec::new(),
        Weather::LostAnswers => any(Fault::ResetAfter, 0.4),
        Weather::LostCalls => any(Fault::ResetBefore, 0.4),
        Weather::LateCalls => lates(0.3),
        Weather::ServerErrors => [any(Fault::Status(500), 0.3), any(Fault::StatusAfter(503), 0.3)].concat(),
        Weather::CutOff => any(Fault::TruncatedPage, 0.4),
        Weather::Throttled => any(Fault::Throttle, 0.5),
        Weather::Denied => any(Fault::Deny, 0.4),
        Weather::ExpiredToken => any(Fault::ExpiredToken, 0.4),
        Weather::Storm => [
            Fault::ResetAfter,
            Fault::ResetBefore,
            Fault::StatusAfter(500),
            Fault::TruncatedPage,
            Fault::Throttle,
            Fault::Deny,
        ]
        .into_iter()
        .map(|fault| Rule::new(fault).chance(0.08))
        .chain(lates(0.06))
        .collect(),
    }
}

/// Sets the weather of the sandbox.
pub fn set(region: &Handle, rules: Vec<Rule>) {
    region.script(rules.into_iter().collect::<Script>());
}
