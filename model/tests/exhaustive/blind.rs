//! A firewall that cannot be read back: every plan is made by the real `plan_blind`, every row moves by the real
//! `Lease`. A world of its own, since there are no rules to see, no hands to notice and nobody to share with.
//!
//! A call runs scripts. It is answered, or refused before anything ran, or its outcome is unknown: `eg` crashed or gave
//! up, and the scripts have run, have not, or go on running for less than the settle window. One script of several that
//! fails is an unknown outcome, too.

use crate::{
    properties::{B1, B2, B3, L1},
    real::{self, Turn},
    world::{Ages, LONG_EXPIRED, Life, Row, SETTLED, Session, Tick},
};
use eg_model::{failure::FailureClass, lease::Phase};
use stateright::{Model, Property};

/// What the scripts are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Work {
    Apply(Tick),
    Undo,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum BlindBug {
    /// A call of unknown outcome has not landed: its lease closes.
    LostHasNotLanded,
    /// A call of unknown outcome has landed: it is not made again.
    LostHasLanded,
    /// A revoke of unknown outcome has closed.
    UndoneWithoutAnswer,
    /// The intent of a revoke leaves the record as it was.
    UndoingLeavesRecord,
    /// An answer is final, whatever can still land after it.
    AnswerIsFinal,
    /// Of a script that is not to be run twice, every run adds a copy.
    ScriptAddsCopy,
}

impl BlindBug {
    pub(crate) const ALL: [Self; 6] = [
        Self::LostHasNotLanded,
        Self::LostHasLanded,
        Self::UndoneWithoutAnswer,
        Self::UndoingLeavesRecord,
        Self::AnswerIsFinal,
        Self::ScriptAddsCopy,
    ];
}

#[derive(Clone, Debug)]
pub(crate) struct BlindSpace {
    pub(crate) sessions: usize,
    pub(crate) faults: u8,
    pub(crate) term: Tick,
    pub(crate) bug: Option<BlindBug>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Host {
    /// Copies of the entry.
    copies: u8,
    /// Scripts that go on running, and for how long.
    late: Vec<(Work, Tick)>,
    sessions: Vec<Session>,
    row: Option<Row>,
    /// A call whose intent is on record.
    intended: Option<Work>,
    faults: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    Start(usize),
    Stop(usize),
    Pass,
    Calls(Fate),
    Lands(usize),
    Tick,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Answered,
    Refused,
    /// Everything has run, and no answer came: with or without a crash.
    Ran(bool),
    /// Nothing has run.
    DidNotRun(bool),
    /// It goes on running.
    RunsOn(bool),
}

impl Host {
    fn wanted(&self) -> bool {
        self.sessions.iter().any(|session| session.life == Life::Live)
    }

    /// The expire transaction, and the end of sessions that hold nothing any more.
    fn expire(&mut self) {
        for session in &mut self.sessions {
            if session.life == Life::Live && session.until <= 0 {
                session.life = Life::Ending;
            }
        }
        self.let_go();
    }

    fn let_go(&mut self) {
        let wanted = self.wanted();
        let over = real::has_let_go(self.row.as_ref(), wanted);
        for session in self.sessions.iter_mut().filter(|session| over && session.life == Life::Ending) {
            (session.life, session.until) = (Life::Ended, LONG_EXPIRED);
        }
        self.row = self.row.filter(|row| row.sent.is_some() || wanted);
    }

    fn turn(&mut self, turn: Turn) {
        let row = self.row.unwrap_or_else(|| real::claim(0, 0));
        let next = real::turn(row, turn, 0);
        self.row = Some(next).filter(|row| row.phase != Phase::Closed);
    }

    fn run(&mut self, work: Work, bug: Option<BlindBug>) {
        let adds = bug == Some(BlindBug::ScriptAddsCopy);
        self.copies = match work {
            Work::Apply(_) if adds => (self.copies + 1).min(3),
            Work::Apply(_) => 1,
            Work::Undo => {
                if adds {
                    self.copies.saturating_sub(1)
                } else {
                    0
                }
            }
        };
    }

    fn tick(&mut self, ages: Ages) {
        for session in self.sessions.iter_mut().filter(|session| session.life == Life::Live) {
            session.until = ages.expiry(session.until);
        }
        self.row = self.row.map(|row| row.aged(ages, 0));
        self.late.iter_mut().for_each(|(_, age)| *age += 1);
        self.late.retain(|(_, age)| *age < SETTLED);
    }
}

impl BlindSpace {
    pub(crate) fn one() -> Self {
        Self { sessions: 2, faults: 2, term: 3, bug: None }
    }

    fn plan(&self, host: &Host) -> real::Blind {
        let live = |(_, session): &(usize, &Session)| session.life == Life::Live;
        let sessions = host.sessions.iter().enumerate().filter(live).map(|(n, s)| (n as u8, 1, s.until)).collect();
        let mut row = host.row;
        match self.bug {
            Some(BlindBug::LostHasNotLanded) => {
                row = row.map(|row| match row.phase {
                    Phase::Claimed => {
                        Row { in_flight: None, unknown: None, failure: Some(FailureClass::Denied), ..row }
                    }
                    _ => row,
                });
            }
            Some(BlindBug::LostHasLanded) => {
                let lost = |row: &Row| row.phase == Phase::Claimed && row.unknown.max(row.in_flight).is_some();
                row = row.map(|row| if lost(&row) { held(row) } else { row });
            }
            Some(BlindBug::AnswerIsFinal) => {
                row = row.map(|row| Row { unknown: None, ..row });
            }
            _ => {}
        }
        real::blind(sessions, row)
    }

    fn pass(&self, host: &mut Host) {
        host.expire();
        let plan = self.plan(host);
        if plan.closes {
            host.row = None;
            host.let_go();
        }
        let Some(work) = plan.work else { return };
        let tagged = host.row.and_then(|row| row.tagged);
        host.turn(Turn::Intend { opening: matches!(work, Work::Apply(_)), undoing: work == Work::Undo });
        if self.bug == Some(BlindBug::UndoingLeavesRecord) && work == Work::Undo {
            host.row = host.row.map(|row| Row { tagged, in_flight: None, ..row });
        }
        host.intended = Some(work);
    }

    fn call(&self, host: &mut Host, fate: Fate) {
        let Some(work) = host.intended.take() else { return };
        let crashed = match fate {
            Fate::Answered => {
                host.run(work, self.bug);
                let wanted = host.wanted();
                match work {
                    Work::Apply(until) => host.turn(Turn::Authorized { rule: 0, until }),
                    Work::Undo => host.turn(Turn::Undone { wanted }),
                }
                // The answer is recorded before anything else is known.
                let closes = self.bug == Some(BlindBug::AnswerIsFinal) && work == Work::Undo && !wanted;
                host.row = host.row.filter(|_| !closes);
                return host.let_go();
            }
            Fate::Refused => {
                host.turn(Turn::Refused { class: FailureClass::Denied, waits: true });
                return host.let_go();
            }
            Fate::Ran(crashed) => {
                host.run(work, self.bug);
                crashed
            }
            Fate::DidNotRun(crashed) => crashed,
            Fate::RunsOn(crashed) => {
                host.late.push((work, 0));
                host.late.sort_unstable();
                crashed
            }
        };
        if !crashed && self.bug == Some(BlindBug::UndoneWithoutAnswer) && work == Work::Undo {
            host.row = None;
        } else if !crashed {
            host.turn(Turn::Unanswered);
        }
        host.let_go();
    }

    /// From every state, rounds without faults lead to what is wanted, and stay there.
    fn converges(&self, host: &Host, stopped: bool) -> bool {
        let mut host = Host { faults: 0, ..host.clone() };
        let stop = |session: &mut Session| match session.life {
            Life::Unborn => session.life = Life::Ended,
            Life::Live if stopped => session.life = Life::Ending,
            _ => {}
        };
        host.sessions.iter_mut().for_each(stop);
        let mut rest = 0;
        for _ in 0..12 {
            let before = host.clone();
            for _ in 0..3 {
                self.call(&mut host, Fate::Answered);
                self.pass(&mut host);
            }
            self.call(&mut host, Fate::Answered);
            while let Some(index) = host.late.iter().position(|(_, age)| *age == SETTLED - 1) {
                let (work, _) = host.late.remove(index);
                host.run(work, self.bug);
            }
            host.tick(Ages::Held);
            rest = if host == before { rest + 1 } else { 0 };
        }
        let right =
            if host.wanted() { host.copies > 0 && host.row.is_some() } else { host.copies == 0 && host.row.is_none() };
        let ended = host.sessions.iter().all(|session| session.life != Life::Ending);
        right && ended && rest > 0 && host.intended.is_none()
    }
}

fn held(row: Row) -> Row {
    Row { phase: Phase::Held, rule: Some(0), tagged: Some(1), unknown: None, in_flight: None, failure: None, ..row }
}

/// B1: with no lease and nothing running, nothing of ours is open, or may still be opened.
fn nothing_forgotten(host: &Host) -> bool {
    let idle = host.row.is_none() && host.intended.is_none();
    !idle || (host.copies == 0 && !host.late.iter().any(|(work, _)| matches!(work, Work::Apply(_))))
}

/// B2: what the plan calls open for good is open, and nothing is on its way that would close it.
fn open_is_open(space: &BlindSpace, host: &Host) -> bool {
    !space.plan(host).open
        || host.intended.is_some()
        || (host.copies > 0 && !host.late.iter().any(|(work, _)| *work == Work::Undo))
}

impl Model for BlindSpace {
    type State = Host;
    type Action = Event;

    fn init_states(&self) -> Vec<Host> {
        let unborn = Session { life: Life::Unborn, ports: 1, until: 0, risen: false };
        let sessions = vec![unborn; self.sessions];
        vec![Host { copies: 0, late: Vec::new(), sessions, row: None, intended: None, faults: self.faults }]
    }

    fn actions(&self, host: &Host, events: &mut Vec<Event>) {
        for (n, session) in host.sessions.iter().enumerate() {
            match session.life {
                Life::Unborn if !host.sessions[..n].iter().any(|s| s.life == Life::Unborn) => {
                    events.push(Event::Start(n))
                }
                Life::Live => events.push(Event::Stop(n)),
                _ => {}
            }
        }
        if host.intended.is_some() {
            events.push(Event::Calls(Fate::Answered));
            if host.faults > 0 {
                let lost = [false, true].map(|crash| [Fate::Ran(crash), Fate::DidNotRun(crash), Fate::RunsOn(crash)]);
                let fates = lost.into_iter().flatten().chain([Fate::Refused]);
                events.extend(fates.map(Event::Calls));
            }
        } else {
            events.extend([Event::Pass, Event::Tick]);
        }
        events.extend((0..host.late.len()).map(Event::Lands));
    }

    fn next_state(&self, before: &Host, event: Event) -> Option<Host> {
        let mut host = before.clone();
        match event {
            Event::Start(n) => {
                host.expire();
                (host.sessions[n].life, host.sessions[n].until) = (Life::Live, self.term);
            }
            Event::Stop(n) => {
                host.expire();
                if host.sessions[n].life == Life::Live {
                    host.sessions[n].life = Life::Ending;
                }
                host.let_go();
            }
            Event::Pass => self.pass(&mut host),
            Event::Calls(fate) => {
                host.faults -= u8::from(fate != Fate::Answered);
                self.call(&mut host, fate);
            }
            Event::Lands(index) => {
                let (work, _) = host.late.remove(index);
                host.run(work, self.bug);
            }
            Event::Tick => host.tick(Ages::Running),
        }
        (host != *before).then_some(host)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(B1, |_, host: &Host| nothing_forgotten(host)),
            Property::always(B2, |space: &Self, host: &Host| open_is_open(space, host)),
            Property::always(L1, |space: &Self, host: &Host| {
                space.converges(host, false) && space.converges(host, true)
            }),
            Property::sometimes(B3, |space: &Self, host: &Host| {
                host.wanted() && host.copies == 0 && space.plan(host).may_be_undone
            }),
        ]
    }
}
