//! The world that the model checker explores, as small numbers: what is true at the provider, what is on its way
//! there, and what each installation has on record and is doing.
//!
//! # Time
//!
//! One tick is 200 seconds, and every time is kept relative to the provider's now. The plan and the ledger compare
//! times with two constants only, so a few ticks tell all cases apart:
//!
//! | constant | in ticks | what can be told apart |
//! |---|---|---|
//! | settle window, 300 s | more than 1, less than 2 | the same tick and the next are inside, the one after is outside; attempts one tick apart leave it one after the other |
//! | grace of others' leases, 600 s | 3 is inside, 4 is outside | |
//! | retry delays, 15 s to 2 min | less than 1 | not due in this tick, due in the next |
//! | freshness of a reading, 10 s | less than 1 | acted on in the tick it was made in, or read again |
//!
//! So ages of attempts are cut at [`SETTLED`] and expired tags at [`LONG_EXPIRED`]: what is older behaves the same for
//! ever, and the space is finite without a bound on time.
//!
//! What is late or lagging is so for less than the settle window, both together: a late request lands in the tick of
//! its call or in the next one or never, a lagging reading shows what was true one tick ago or less, and what landed
//! one tick late does not lag on top of that. This is the assumption that the window stands for (a signed request is
//! refused after five minutes); with a later landing or a longer lag, the search finds a lease that is closed too
//! early. For the same reason no time passes between a reading and its plan, or an intent and its call: a process goes
//! on at once, or it has crashed. Recording an answer may take any time.
//!
//! # The longest lease
//!
//! 31 days are too many ticks to count. In a space with the longest leases (`Space::longest`), a lease of
//! [`LONGEST_TERM`] ticks is one of 31 days for the real functions, and one that is still to come ends by as much
//! before or after 31 days as it does before or after that many ticks. Its last tick takes the rest of the time.
//!
//! # Ids
//!
//! Rule ids are never reused, and the plan only compares and sorts them. [`World::canonical`] renumbers them in order,
//! and forgets those that nothing mentions any more.

use crate::auto_closes::{AutoCloseRow, Schedule, Seen};
use eg_model::{failure::FailureClass, lease::Phase};
use std::borrow::Cow;

/// A moment, in ticks after the provider's now.
pub(crate) type Tick = i8;

/// An attempt of this age is settled.
pub(crate) const SETTLED: Tick = 2;
/// A tag that says this time or an earlier one holds nothing.
pub(crate) const LONG_EXPIRED: Tick = -4;
/// The longest session, where sessions are the longest that there are.
pub(crate) const LONGEST_TERM: Tick = 2;
/// Places for installations.
pub(crate) const SITES: usize = 2;

/// The tags that `eg` wrote on a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Tags {
    /// The permissions whose digests are in the marks.
    pub(crate) fits: u8,
    /// Each installation's lease.
    pub(crate) leases: [Option<Tick>; SITES],
}

/// The kind of firewall.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Kind {
    /// Security groups: rules with ids and tags.
    Group,
    /// Rules with ids, without marks.
    Bare,
    /// Prefix lists: entries with ids and text, marks on the container.
    List,
    /// Sets of addresses: entries that are their value, marks on the container.
    Set,
    /// Entries with their marks in their text, which close by themselves.
    Timed,
    /// The same in this host's kernel: a reading shows what is true now. A call may still land late.
    Kernel,
}

impl Kind {
    pub(crate) fn marks_container(self) -> bool {
        matches!(self, Self::List | Self::Set)
    }

    pub(crate) fn closes_by_itself(self) -> bool {
        matches!(self, Self::Timed | Self::Kernel)
    }
}

/// A mark on the container.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Mark {
    pub(crate) site: u8,
    pub(crate) port: u8,
    pub(crate) until: Tick,
}

/// A rule at the provider, or in a reading of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Rule {
    pub(crate) id: u8,
    pub(crate) port: u8,
    pub(crate) tags: Option<Tags>,
    /// Its description names the session of its tags. Where no hand forges tags, every rule counts as described:
    /// nothing asks about the description of a rule without tags.
    pub(crate) described: bool,
    /// The installation whose call made it; none: a hand made it. Only the properties see this.
    pub(crate) made_by: Option<u8>,
    /// Its age, cut at [`SETTLED`].
    pub(crate) age: Tick,
    /// It landed late.
    pub(crate) late: bool,
    /// A hand made it while `eg` had claimed its permission, in a kind that cannot tell the two apart.
    pub(crate) claimed: bool,
    /// When the firewall closes it by itself.
    pub(crate) closes: Option<Tick>,
}

impl Rule {
    fn mirrored(mut self) -> Self {
        self.made_by = self.made_by.map(|site| 1 - site);
        self.tags.iter_mut().for_each(|tags| tags.leases.swap(0, 1));
        self
    }

    /// Its marks are its own.
    pub(crate) fn genuine(&self) -> bool {
        self.described && self.tags.is_some_and(|tags| tags.fits & (1 << self.port) != 0)
    }

    /// Another site than `site` has a lease on it that is unexpired by the provider's clock.
    pub(crate) fn held_by_another(&self, site: usize) -> bool {
        let holds = |(other, lease): (usize, &Option<Tick>)| other != site && lease.is_some_and(|at| at > LONG_EXPIRED);
        self.genuine() && self.tags.is_some_and(|tags| tags.leases.iter().enumerate().any(holds))
    }

    pub(crate) fn has_leases(&self) -> bool {
        self.tags.is_some_and(|tags| tags.leases != [None; SITES])
    }

    pub(crate) fn lease_of(&self, site: usize) -> Option<Tick> {
        self.tags.and_then(|tags| tags.leases[site])
    }
}

/// A change on its way to the provider; the plan's steps in small numbers. Sets are bit masks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Call {
    Join {
        rule: u8,
        session: u8,
        until: Tick,
    },
    Restore {
        rule: u8,
        port: u8,
        session: u8,
        until: Tick,
    },
    Authorize {
        session: u8,
        until: Tick,
        ports: u8,
    },
    Retag {
        until: Tick,
        rules: u16,
    },
    Leave {
        rule: u8,
        value: Option<Tick>,
    },
    Revoke {
        rules: u16,
    },
    Collect {
        rules: u16,
    },
    /// `exists`: a look showed one, so it is updated, not created.
    SetAutoClose {
        rule: u8,
        port: u8,
        at: Tick,
        exists: bool,
    },
    DropAutoClose {
        rule: u8,
    },
    Unmark {
        ports: u8,
    },
    /// A request alone, not a step: an installation's whole tag on the container, by port.
    Write {
        list: [Option<Tick>; SITES],
    },
}

impl Call {
    pub(crate) fn rules(self) -> u16 {
        match self {
            Self::Authorize { .. } | Self::Unmark { .. } | Self::Write { .. } => 0,
            Self::Join { rule, .. }
            | Self::Restore { rule, .. }
            | Self::Leave { rule, .. }
            | Self::SetAutoClose { rule, .. }
            | Self::DropAutoClose { rule } => 1 << rule,
            Self::Retag { rules, .. } | Self::Revoke { rules } | Self::Collect { rules } => rules,
        }
    }

    /// The same call about one of its rules.
    pub(crate) fn only(self, rule: u8) -> Self {
        match self {
            Self::Retag { until, .. } => Self::Retag { until, rules: 1 << rule },
            Self::Revoke { .. } => Self::Revoke { rules: 1 << rule },
            Self::Collect { .. } => Self::Collect { rules: 1 << rule },
            other => other,
        }
    }

    /// True if it can create or prolong a rule or a tag that has to be closed later.
    pub(crate) fn writes_tags(self) -> bool {
        let closes = matches!(
            self,
            Self::Leave { .. } | Self::Revoke { .. } | Self::Collect { .. } | Self::Unmark { .. } | Self::Write { .. }
        );
        !self.is_of_auto_close() && !closes
    }

    /// True if it goes to the scheduler.
    pub(crate) fn is_of_auto_close(self) -> bool {
        matches!(self, Self::SetAutoClose { .. } | Self::DropAutoClose { .. })
    }

    fn renamed(self, names: &Names) -> Self {
        match self {
            Self::Join { rule, session, until } => Self::Join { rule: names.of(rule), session, until },
            Self::Restore { rule, port, session, until } => {
                Self::Restore { rule: names.of(rule), port, session, until }
            }
            Self::Authorize { .. } | Self::Unmark { .. } | Self::Write { .. } => self,
            Self::Retag { until, rules } => Self::Retag { until, rules: names.of_all(rules) },
            Self::Leave { rule, value } => Self::Leave { rule: names.of(rule), value },
            Self::Revoke { rules } => Self::Revoke { rules: names.of_all(rules) },
            Self::Collect { rules } => Self::Collect { rules: names.of_all(rules) },
            Self::SetAutoClose { rule, port, at, exists } => {
                Self::SetAutoClose { rule: names.of(rule), port, at, exists }
            }
            Self::DropAutoClose { rule } => Self::DropAutoClose { rule: names.of(rule) },
        }
    }

    fn aged(self, ages: Ages) -> Self {
        match self {
            Self::Join { rule, session, until } => Self::Join { rule, session, until: ages.expiry(until) },
            Self::Restore { rule, port, session, until } => {
                Self::Restore { rule, port, session, until: ages.expiry(until) }
            }
            Self::Authorize { session, until, ports } => Self::Authorize { session, until: ages.expiry(until), ports },
            Self::Retag { until, rules } => Self::Retag { until: ages.expiry(until), rules },
            Self::Leave { rule, value } => Self::Leave { rule, value: value.map(|at| ages.expiry(at)) },
            Self::SetAutoClose { rule, port, at, exists } => {
                Self::SetAutoClose { rule, port, at: ages.expiry(at), exists }
            }
            Self::Write { list } => Self::Write { list: list.map(|until| until.map(|at| ages.expiry(at))) },
            Self::Revoke { .. } | Self::Collect { .. } | Self::DropAutoClose { .. } | Self::Unmark { .. } => self,
        }
    }
}

/// The members of a bit mask, in order.
pub(crate) fn members(mut mask: u16) -> impl Iterator<Item = u8> {
    std::iter::from_fn(move || {
        let member = mask.trailing_zeros();
        mask &= mask.wrapping_sub(1);
        (member < 16).then_some(member as u8)
    })
}

/// A row of the ledger: [`eg_model::lease::Lease`] in small numbers. Versions are not here: the only thing that they
/// are for, telling whether somebody wrote since, is [`Intent::raced`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Row {
    pub(crate) port: u8,
    /// Tells rows of one permission apart. There should never be two.
    pub(crate) twin: u8,
    pub(crate) phase: Phase,
    pub(crate) shared: bool,
    pub(crate) rule: Option<u8>,
    pub(crate) tagged: Option<Tick>,
    pub(crate) sent: Option<Tick>,
    pub(crate) in_flight: Option<Tick>,
    pub(crate) unknown: Option<Tick>,
    /// Not to be tried again in this tick.
    pub(crate) waits: bool,
    pub(crate) failure: Option<FailureClass>,
    pub(crate) vanished: u8,
}

impl Row {
    pub(crate) fn key(&self) -> (u8, u8) {
        (self.port, self.twin)
    }

    /// The id that proves its rule.
    pub(crate) fn proven(&self) -> Option<u8> {
        self.rule.filter(|_| matches!(self.phase, Phase::Joining | Phase::Held | Phase::Leaving))
    }

    pub(crate) fn settled(&self, kind: Kind, now: Tick) -> bool {
        let past = |at: Option<Tick>, ticks: Tick| at.is_none_or(|at| now - at >= ticks);
        let answered = if kind == Kind::Kernel { 1 } else { SETTLED };
        past(self.sent, answered) && past(self.unknown.max(self.in_flight), SETTLED)
    }

    /// Cuts what is long past, so that rows which behave the same are the same. `now` is the local clock.
    pub(crate) fn cut(mut self, now: Tick) -> Self {
        for at in [&mut self.sent, &mut self.in_flight, &mut self.unknown].into_iter().flatten() {
            *at = (*at).max(now - SETTLED);
        }
        self.tagged = self.tagged.map(|at| at.max(LONG_EXPIRED));
        self.vanished = self.vanished.min(3);
        self
    }

    pub(crate) fn aged(mut self, ages: Ages, now: Tick) -> Self {
        for at in [&mut self.sent, &mut self.in_flight, &mut self.unknown].into_iter().flatten() {
            *at -= 1;
        }
        self.tagged = self.tagged.map(|at| ages.expiry(at));
        self.waits = false;
        self.cut(now)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Life {
    Unborn,
    Live,
    Ending,
    Ended,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Session {
    pub(crate) life: Life,
    /// The permissions that it wants.
    pub(crate) ports: u8,
    pub(crate) until: Tick,
    /// It had ended before.
    pub(crate) risen: bool,
}

/// An intent that was written, with the row as it was then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Intent {
    pub(crate) rule: Option<u8>,
    pub(crate) row: Row,
    /// The row was settled before.
    pub(crate) settled: bool,
    /// The row was written since: its version has changed.
    pub(crate) raced: bool,
}

/// The answer to a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Answer {
    /// Done; an authorize made rules with ids from this one on, in the order of ports.
    Done(u8),
    /// Done, without naming rules.
    Unnamed,
    Failed(FailureClass),
}

/// One pass of one process, between its reading and its rest.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Pass {
    /// The reading, with known effects laid over it.
    pub(crate) rules: Vec<Rule>,
    pub(crate) read_at: Tick,
    /// The wants of the live sessions when the round began.
    pub(crate) wanted: u8,
    pub(crate) todo: Vec<Call>,
    pub(crate) call: Option<Call>,
    pub(crate) intents: Vec<Intent>,
    /// Nothing was refused or left unknown.
    pub(crate) clean: bool,
    /// No other actor has changed the provider since the reading.
    pub(crate) undisturbed: bool,
    /// The reading may be old, or lack tags. (Known only where there are expiry schedules.)
    pub(crate) old: bool,
    /// Nothing has been done on this reading yet. (Known only where there are expiry schedules.)
    pub(crate) rules_first: bool,
    /// Expiry schedules cannot be read.
    pub(crate) blind: bool,
    /// The expiry schedules as read, with known effects applied.
    pub(crate) auto_closes: Vec<(u8, Seen)>,
    /// Why no expiry schedule can be set in this pass.
    pub(crate) refusal: Option<FailureClass>,
    /// The row of the call's expiry schedule was written since: its version has changed.
    pub(crate) raced: bool,
    /// The first of the two requests of this call was answered.
    pub(crate) half: bool,
    /// Permissions with our mark on the container, and no marked entry.
    pub(crate) loose: u8,
}

impl Pass {
    /// A pass that has just read this.
    pub(crate) fn new(rules: Vec<Rule>) -> Self {
        let (todo, call, intents) = (Vec::new(), None, Vec::new());
        Self {
            rules,
            read_at: 0,
            wanted: 0,
            todo,
            call,
            intents,
            clean: true,
            undisturbed: true,
            old: false,
            rules_first: false,
            blind: false,
            auto_closes: Vec::new(),
            refusal: None,
            raced: false,
            half: false,
            loose: 0,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Process {
    Idle,
    /// Has a reading, and plans or goes on next.
    Ready(Box<Pass>),
    /// Its intent is on record, and the call goes out next.
    Intended(Box<Pass>),
    /// It knows the answer, and records it next.
    Answered(Box<Pass>, Answer),
}

impl Process {
    pub(crate) fn pass(&self) -> Option<&Pass> {
        match self {
            Self::Idle => None,
            Self::Ready(pass) | Self::Intended(pass) | Self::Answered(pass, _) => Some(pass),
        }
    }

    pub(crate) fn pass_mut(&mut self) -> Option<&mut Pass> {
        match self {
            Self::Idle => None,
            Self::Ready(pass) | Self::Intended(pass) | Self::Answered(pass, _) => Some(pass),
        }
    }
}

/// A rule in the events on record, until its revoke is confirmed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Opened {
    pub(crate) rule: u8,
    /// The permission that it was opened for.
    pub(crate) port: u8,
    /// The last time that it was proved, on the installation's own clock, cut as in [`Row::cut`].
    pub(crate) at: Tick,
}

impl Opened {
    /// True if a reading may still hide it.
    fn fresh(&self, now: Tick) -> bool {
        now - self.at < SETTLED
    }
}

/// One installation: its state file, and what runs on it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Site {
    /// The lead of its clock on the provider's.
    pub(crate) skew: Tick,
    pub(crate) sessions: Vec<Session>,
    pub(crate) ledger: Vec<Row>,
    /// Rules whose revoke was confirmed lately, and when, on its own clock.
    pub(crate) revoked: Vec<(u8, Tick)>,
    /// Rules that an answer, its tag or a join once proved to be `eg`'s.
    pub(crate) opened: Vec<Opened>,
    /// Expiry schedules on record.
    pub(crate) auto_closes: Vec<AutoCloseRow>,
    pub(crate) processes: Vec<Process>,
}

impl Site {
    /// Everything that a live session wants.
    pub(crate) fn wanted(&self) -> u8 {
        let live = self.sessions.iter().filter(|session| session.life == Life::Live && session.until > self.skew);
        live.fold(0, |ports, session| ports | session.ports)
    }

    /// True if a rule that was once proved to be `eg`'s has another permission than it was opened for.
    pub(crate) fn edited(&self, rule: &Rule) -> bool {
        self.opened.iter().any(|opened| opened.rule == rule.id && opened.port != rule.port)
    }

    pub(crate) fn idle(&self) -> bool {
        self.processes.iter().all(|process| *process == Process::Idle)
    }
}

/// A call that is late.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Late {
    pub(crate) site: u8,
    pub(crate) call: Call,
    pub(crate) age: Tick,
    /// No entry of the container has changed since it was sent. A conditional write lands only then. (Known only where
    /// writes are conditional.)
    pub(crate) fresh: bool,
}

/// Forbidden effects of a step, for the checks that need to see the step and not the state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Broken {
    /// S1: a rule that was not ours was changed.
    pub(crate) touched: bool,
    /// S2: a rule that was seen to be needed was revoked.
    pub(crate) needed: bool,
    /// S3: a clean pass left a rule of ours that no live session wants.
    pub(crate) left: bool,
    /// W1: an expiry schedule fired on a rule that an installation still held and counted on.
    pub(crate) early: bool,
    /// W2: a clean pass left an expiry schedule at another time than the end of the latest lease.
    pub(crate) unmoved: bool,
    /// W4: an expiry schedule was set for a rule that is not ours, or fired on one.
    pub(crate) auto_closing: bool,
    /// M1: an entry was collected although another installation's mark held it.
    pub(crate) collected: bool,
    /// N1: a rule closed by itself although an installation still held it, and had written that.
    pub(crate) cut: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct World {
    pub(crate) kind: Kind,
    pub(crate) rules: Vec<Rule>,
    /// The marks on the container, and those that lagging readings show.
    pub(crate) marks: Vec<Mark>,
    pub(crate) lagging_marks: Vec<Mark>,
    /// The rules that lagging readings show, and the time since.
    pub(crate) lag: Option<(Tick, Vec<Rule>)>,
    pub(crate) late: Vec<Late>,
    /// The schedules at the scheduler.
    pub(crate) schedules: Vec<Schedule>,
    /// Rules whose schedules a hand has deleted, and no call has set again.
    pub(crate) unset: u16,
    pub(crate) sites: Vec<Site>,
    pub(crate) faults: u8,
    pub(crate) hands: u8,
    pub(crate) forgeries: u8,
    pub(crate) extends: u8,
    pub(crate) broken: Broken,
}

/// The way in which a tick ages expiries.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ages {
    /// As time does.
    Running,
    /// Not at all: everything lasts for long enough.
    Held,
}

impl Ages {
    pub(crate) fn expiry(self, at: Tick) -> Tick {
        if self == Self::Running { (at - 1).max(LONG_EXPIRED) } else { at }
    }

    fn rule(self, mut rule: Rule) -> Rule {
        if let Some(tags) = &mut rule.tags {
            tags.leases = tags.leases.map(|lease| lease.map(|at| self.expiry(at)));
        }
        rule.age = (rule.age + 1).min(SETTLED);
        rule.closes = rule.closes.map(|at| self.expiry(at));
        rule
    }

    fn marks(self, marks: &mut [Mark]) {
        marks.iter_mut().for_each(|mark| mark.until = self.expiry(mark.until));
    }

    fn all(self, rules: &mut [Rule]) {
        for rule in rules {
            *rule = self.rule(*rule);
        }
    }
}

/// New names for rule ids: as many as are mentioned, in the same order.
pub(crate) struct Names(u16);

impl Names {
    pub(crate) fn of(&self, id: u8) -> u8 {
        (self.0 & ((1 << id) - 1)).count_ones() as u8
    }

    pub(crate) fn of_all(&self, ids: u16) -> u16 {
        members(ids).fold(0, |renamed, id| renamed | 1 << self.of(id))
    }
}

/// The tags that the container's marks make of these rules. Made by a hand, an entry of a list has no text of `eg`'s.
pub(crate) fn marked(kind: Kind, rules: &[Rule], marks: &[Mark]) -> Vec<Rule> {
    let tagged = |rule: &Rule| {
        let mut leases = [None; SITES];
        for mark in marks.iter().filter(|mark| mark.port == rule.port) {
            // On an entry that was just made, what has expired may be the lease of an earlier one.
            if kind == Kind::Set || rule.age >= SETTLED || mark.until > 0 {
                leases[usize::from(mark.site)] = Some(mark.until);
            }
        }
        let marked = leases != [None; SITES] && (kind == Kind::Set || rule.made_by.is_some());
        Rule { tags: marked.then_some(Tags { fits: 1 << rule.port, leases }), ..*rule }
    };
    rules.iter().map(tagged).collect()
}

impl World {
    /// The rules with their marks, wherever those are.
    pub(crate) fn marked_rules(&self) -> Cow<'_, [Rule]> {
        match self.kind.marks_container() {
            true => Cow::Owned(marked(self.kind, &self.rules, &self.marks)),
            false => Cow::Borrowed(&self.rules),
        }
    }

    /// The lowest id that nothing has.
    pub(crate) fn next_id(&self) -> u8 {
        let remembered = |site: &Site| {
            let revoked = site.revoked.iter().fold(0, |mask, (id, _)| mask | 1 << id);
            site.opened.iter().fold(revoked, |mask, opened| mask | 1 << opened.rule)
        };
        let remembered = self.sites.iter().map(remembered).fold(0, |mask, ids| mask | ids);
        (16 - (self.mentioned() | remembered).leading_zeros()) as u8
    }

    fn mentioned(&self) -> u16 {
        let seen = |rules: &[Rule]| rules.iter().fold(0_u16, |mask, rule| mask | 1 << rule.id);
        let mut mask = seen(&self.rules) | self.lag.as_ref().map_or(0, |(_, rules)| seen(rules));
        mask |= self.late.iter().fold(0, |mask, late| mask | late.call.rules());
        mask |= self.mentioned_auto_closes();
        for site in &self.sites {
            mask |= site.ledger.iter().filter_map(|row| row.rule).fold(0, |mask, id| mask | 1 << id);
            let fresh = site.opened.iter().filter(|opened| opened.fresh(site.skew));
            mask |= fresh.fold(0, |mask, opened| mask | 1 << opened.rule);
            for process in &site.processes {
                let Some(pass) = process.pass() else { continue };
                mask |= seen(&pass.rules);
                mask |= pass.todo.iter().chain(&pass.call).fold(0, |mask, call| mask | call.rules());
                let ids = pass.intents.iter().flat_map(|intent| [intent.rule, intent.row.rule]);
                mask |= ids.flatten().fold(0, |mask, id| mask | 1 << id);
                if let (Process::Answered(_, Answer::Done(first)), Some(Call::Authorize { ports, .. })) =
                    (process, pass.call)
                {
                    mask |= (0..ports.count_ones() as u8).fold(0, |mask, n| mask | 1 << (first + n));
                }
            }
        }
        mask
    }

    /// The one of all worlds that behave the same which stands for them.
    pub(crate) fn canonical(mut self) -> Self {
        // A value is never forgotten, nor renamed.
        let by_value = self.kind == Kind::Set;
        let mask = if by_value { u16::MAX } else { self.mentioned() };
        let edited = self.edited().filter(|_| !by_value);
        self.unset &= mask;
        for site in &mut self.sites {
            site.revoked.retain(|(id, _)| mask & (1 << id) != 0);
            let mentioned = |opened: &Opened| mask & (1 << opened.rule) != 0;
            let needed = |opened: &Opened| edited.as_ref().map_or(mentioned(opened), |all| all.contains(opened));
            site.opened.retain(|opened| opened.fresh(site.skew) || needed(opened));
        }
        if mask & mask.wrapping_add(1) != 0 {
            self.rename(&Names(mask));
        }
        self.late.sort_unstable();
        self.marks.sort_unstable();
        self.lagging_marks.sort_unstable();
        self.sort_auto_closes();
        for site in &mut self.sites {
            site.ledger.sort_unstable_by_key(Row::key);
        }
        self
    }

    /// Where no hand can edit any more: what rules were opened for that were edited, and that a reading may show.
    fn edited(&self) -> Option<Vec<Opened>> {
        if self.hands > 0 {
            return None;
        }
        let passes = self.sites.iter().flat_map(|site| &site.processes).filter_map(Process::pass);
        let lag = self.lag.iter().flat_map(|(_, rules)| rules);
        let shown: Vec<&Rule> = self.rules.iter().chain(lag).chain(passes.flat_map(|pass| &pass.rules)).collect();
        let opened = self.sites.iter().flat_map(|site| &site.opened);
        let edited = |of: &&Opened| shown.iter().any(|rule| rule.id == of.rule && rule.port != of.port);
        Some(opened.filter(edited).copied().collect())
    }

    fn rename(&mut self, names: &Names) {
        let rules = |rules: &mut Vec<Rule>| rules.iter_mut().for_each(|rule| rule.id = names.of(rule.id));
        rules(&mut self.rules);
        self.lag.iter_mut().for_each(|(_, lagging)| rules(lagging));
        self.late.iter_mut().for_each(|late| late.call = late.call.renamed(names));
        self.rename_auto_closes(names);
        for site in &mut self.sites {
            site.ledger.iter_mut().for_each(|row| row.rule = row.rule.map(|id| names.of(id)));
            site.revoked.iter_mut().for_each(|(id, _)| *id = names.of(*id));
            site.opened.iter_mut().for_each(|opened| opened.rule = names.of(opened.rule));
            for process in &mut site.processes {
                if let Process::Answered(_, Answer::Done(first)) = process {
                    *first = names.of(*first);
                }
                let Some(pass) = process.pass_mut() else { continue };
                rules(&mut pass.rules);
                pass.todo.iter_mut().chain(&mut pass.call).for_each(|call| *call = call.renamed(names));
                for intent in &mut pass.intents {
                    intent.rule = intent.rule.map(|id| names.of(id));
                    intent.row.rule = intent.row.rule.map(|id| names.of(id));
                }
            }
        }
    }

    /// The same with the two installations' names exchanged.
    pub(crate) fn mirrored(&self) -> Self {
        let mut world = self.clone();
        let rules = |rules: &mut [Rule]| rules.iter_mut().for_each(|rule| *rule = rule.mirrored());
        world.sites.swap(0, 1);
        rules(&mut world.rules);
        world.lag.iter_mut().for_each(|(_, lagging)| rules(lagging));
        world.late.iter_mut().for_each(|late| late.site = 1 - late.site);
        world.late.sort_unstable();
        for mark in world.marks.iter_mut().chain(&mut world.lagging_marks) {
            mark.site = 1 - mark.site;
        }
        world.marks.sort_unstable();
        world.lagging_marks.sort_unstable();
        for process in world.sites.iter_mut().flat_map(|site| &mut site.processes) {
            process.pass_mut().into_iter().for_each(|pass| rules(&mut pass.rules));
        }
        world
    }

    /// True if time may pass: never between an intent and its call, and between a reading and its plan only if readings
    /// are slow. An answer may take long.
    pub(crate) fn may_tick(&self, slow: bool) -> bool {
        let acts = |process: &Process| match process {
            Process::Intended(_) => true,
            Process::Ready(_) => !slow,
            Process::Idle | Process::Answered(..) => false,
        };
        !self.sites.iter().flat_map(|site| &site.processes).any(acts)
    }

    /// 200 seconds pass.
    pub(crate) fn tick(&mut self, ages: Ages) {
        ages.all(&mut self.rules);
        ages.marks(&mut self.marks);
        ages.marks(&mut self.lagging_marks);
        self.late.iter_mut().for_each(|late| {
            late.age += 1;
            late.call = late.call.aged(ages);
        });
        self.late.retain(|late| late.age < SETTLED);
        if let Some((age, rules)) = &mut self.lag {
            *age += 1;
            ages.all(rules);
        }
        self.lag = self.lag.take().filter(|(age, _)| *age < SETTLED);
        if self.lag.is_none() {
            self.lagging_marks.clear();
        }
        self.age_auto_closes(ages);
        for site in &mut self.sites {
            site.tick(ages);
        }
    }
}

impl Site {
    fn tick(&mut self, ages: Ages) {
        let now = self.skew;
        for session in self.sessions.iter_mut().filter(|session| session.life == Life::Live) {
            session.until = ages.expiry(session.until);
        }
        self.ledger.iter_mut().for_each(|row| *row = row.aged(ages, now));
        self.revoked.iter_mut().for_each(|(_, at)| *at -= 1);
        self.revoked.retain(|(_, at)| now - *at < SETTLED);
        self.opened.iter_mut().for_each(|opened| opened.at = (opened.at - 1).max(now - SETTLED));
        for process in &mut self.processes {
            let Some(pass) = process.pass_mut() else { continue };
            pass.read_at = (pass.read_at - 1).max(-SETTLED);
            ages.all(&mut pass.rules);
            pass.todo.iter_mut().chain(&mut pass.call).for_each(|call| *call = call.aged(ages));
            pass.intents.iter_mut().for_each(|intent| intent.row = intent.row.aged(ages, now));
        }
    }
}
