//! The space that is searched: where it begins, what can happen, and within which bounds.

use crate::{
    auto_closes::By,
    bugs::Bug,
    driver::{Driver, Fate, Look, Provider, snapshot},
    properties,
    quick::hash,
    world::{
        Broken, Call, Kind, LONG_EXPIRED, LONGEST_TERM, Life, Process, Rule, SETTLED, SITES, Session, Site, Tags, Tick,
        World,
    },
};
use stateright::{Model, Property};
use std::{
    cmp::Ordering,
    sync::{Arc, atomic::AtomicU8},
};

/// Bounds. Time has none: see the parent's notes on ticks.
#[derive(Clone, Debug)]
pub(crate) struct Space {
    /// For each installation, what each of its sessions wants (a bit mask of permissions).
    pub(crate) sessions: Vec<Vec<u8>>,
    pub(crate) kind: Kind,
    /// Permissions; one more exists, unwanted, to edit rules into.
    pub(crate) ports: u8,
    /// The length of a session, in ticks.
    pub(crate) term: Tick,
    /// The number of extensions, by two ticks.
    pub(crate) extends: u8,
    /// The number of faults of the network, of readings and of processes.
    pub(crate) faults: u8,
    /// The number of times that a hand deletes, edits, strips or makes a rule.
    pub(crate) hands: u8,
    /// The number of times that a hand writes `eg`'s tags on a rule made by hand.
    pub(crate) forgeries: u8,
    /// Processes of the first installation; two run without their lock.
    pub(crate) processes: usize,
    /// In the first installation, every transaction is a step of its own.
    pub(crate) fine: bool,
    /// There, time may pass between a reading and its plan (a machine sleeps), and the reading is as old as it is.
    pub(crate) slow: bool,
    /// The lead of the first installation's clock. It may step back to right, at the price of a fault. (A clock
    /// that steps forward makes the settle window look shorter than it is; `docs/guarantees.md` rules that out.)
    pub(crate) skew: Option<Tick>,
    /// Sessions last for as long as any may, 31 days.
    pub(crate) longest: bool,
    /// Which installations have cloud expiry configured (a bit mask).
    pub(crate) auto_closes: u8,
    /// The installations are alike, so that of two worlds which differ in their names alone one is enough. In a path to
    /// a discovery they may then change names at any step.
    pub(crate) alike: bool,
    pub(crate) bug: Option<Bug>,
    /// The most rounds that it has taken from any state to what is wanted.
    pub(crate) most_rounds: Arc<AtomicU8>,
}

impl Space {
    /// One permission, one session of one installation, one fault, one foreign hand.
    pub(crate) fn one() -> Self {
        Self {
            kind: Kind::Group,
            sessions: vec![vec![1]],
            ports: 1,
            term: 3,
            extends: 0,
            faults: 1,
            hands: 1,
            forgeries: 0,
            processes: 1,
            fine: false,
            slow: false,
            skew: None,
            longest: false,
            auto_closes: 0,
            alike: false,
            bug: None,
            most_rounds: Arc::default(),
        }
    }

    /// One permission, one session in each of two installations.
    pub(crate) fn two() -> Self {
        Self { sessions: vec![vec![1], vec![1]], term: 2, ..Self::one() }
    }

    /// One permission, one session of one installation; a hand makes a rule and forges its tags.
    pub(crate) fn forged() -> Self {
        Self { forgeries: 1, ..Self::one() }
    }

    /// Two installations with sessions of 31 days; the clock of one is ahead by as much as `start` lets pass.
    pub(crate) fn far() -> Self {
        Self { term: LONGEST_TERM, longest: true, skew: Some(3), faults: 0, hands: 0, ..Self::two() }
    }

    /// One installation, with expiry schedules.
    pub(crate) fn auto_closing() -> Self {
        Self { auto_closes: 1, ..Self::one() }
    }

    /// Two installations that are alike, both with expiry schedules.
    pub(crate) fn both_auto_closing() -> Self {
        Self { auto_closes: 3, alike: true, ..Self::two() }
    }

    /// Two installations, one of them with expiry schedules.
    pub(crate) fn one_of_two_auto_closing() -> Self {
        Self { auto_closes: 1, ..Self::two() }
    }

    /// One installation, with another kind of firewall.
    pub(crate) fn of(kind: Kind) -> Self {
        Self { kind, ..Self::one() }
    }

    /// Two installations that are alike, with another kind of firewall and short sessions.
    pub(crate) fn two_of(kind: Kind) -> Self {
        Self { kind, term: 1, alike: true, ..Self::two() }
    }

    /// Two permissions of one installation, whose marks are one tag of a list.
    pub(crate) fn two_in_one_tag() -> Self {
        Self { sessions: vec![vec![1, 2]], ports: 2, hands: 0, term: 1, ..Self::of(Kind::List) }
    }

    /// Two processes of one installation, which run without their lock.
    pub(crate) fn unlocked() -> Self {
        Self { processes: 2, fine: true, ..Self::one() }
    }

    pub(crate) fn driver<'w>(&self, world: &'w mut World, site: usize, process: usize) -> Driver<'w> {
        let auto_closing = self.auto_closes & (1 << site) != 0;
        let fine = self.fine && site == 0;
        Driver { world, site, process, bug: self.bug, fine, auto_closing, longest: self.longest }
    }

    /// The one world that stands for all which behave the same.
    fn representative(&self, world: World) -> World {
        let world = world.canonical();
        if !self.alike {
            return world;
        }
        let record =
            |site: &Site| (site.sessions.clone(), site.ledger.clone(), site.revoked.clone(), site.auto_closes.clone());
        match record(&world.sites[0]).cmp(&record(&world.sites[1])) {
            Ordering::Less => world,
            Ordering::Greater => world.mirrored(),
            Ordering::Equal => {
                let mirrored = world.mirrored();
                if hash(&mirrored) < hash(&world) { mirrored } else { world }
            }
        }
    }

    fn site(&self, number: usize) -> Site {
        let unborn = |ports: &u8| Session { life: Life::Unborn, ports: *ports, until: 0, risen: false };
        let processes = if number == 0 { self.processes } else { 1 };
        Site {
            skew: if number == 0 { self.skew.unwrap_or(0) } else { 0 },
            sessions: self.sessions[number].iter().map(unborn).collect(),
            ledger: Vec::new(),
            revoked: Vec::new(),
            opened: Vec::new(),
            auto_closes: Vec::new(),
            processes: vec![Process::Idle; processes],
        }
    }
}

/// A change that another actor makes at the provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hand {
    /// Makes a rule, without our tags.
    Makes(u8),
    Deletes(u8),
    Edits(u8, u8),
    Strips(u8),
    /// Writes `eg`'s tags on a rule made by hand, with leases that say this.
    Forges(u8, [Option<Tick>; SITES]),
    /// Deletes a rule's expiry schedule.
    Unsets(u8),
    /// Expiry schedules it off.
    AutoClosesOff(u8),
    /// Makes it fire now.
    Hastens(u8),
}

/// The possible next event. The first number is an installation, the second one of its sessions or processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Start(usize, usize),
    Stop(usize, usize),
    Extend(usize, usize),
    Reads(usize, usize, Look),
    GoesOn(usize, usize),
    Calls(usize, usize, Fate),
    Records(usize, usize),
    Crashes(usize, usize),
    Lands(usize),
    /// From now on, readings may show what is true now.
    Lags,
    Hand(Hand),
    /// The scheduler does what is due.
    Fires(u8),
    /// The firewall closes a rule by itself: at its time, or before that because of a wrong clock.
    Closes(u8),
    ClosesEarly(u8),
    /// It is late.
    Dawdles(u8),
    ClockSteps(usize),
    Tick,
}

impl Space {
    fn user_actions(&self, world: &World, number: usize, actions: &mut Vec<Action>) {
        let site = &world.sites[number];
        for (n, session) in site.sessions.iter().enumerate() {
            // Sessions that want the same are alike: they start in their order.
            let unborn = |s: &Session| s.life == Life::Unborn && s.ports == session.ports;
            match session.life {
                Life::Unborn if !site.sessions[..n].iter().any(unborn) => actions.push(Action::Start(number, n)),
                Life::Live => {
                    actions.push(Action::Stop(number, n));
                    if world.extends > 0 && session.until > site.skew {
                        actions.push(Action::Extend(number, n));
                    }
                }
                _ => {}
            }
        }
    }

    fn process_actions(&self, world: &World, site: usize, actions: &mut Vec<Action>) {
        let fine = self.fine && site == 0;
        for (n, process) in world.sites[site].processes.iter().enumerate() {
            match process {
                Process::Idle => {
                    let looks = looks(world).into_iter().map(|look| Action::Reads(site, n, look));
                    actions.extend(looks);
                }
                Process::Ready(_) => actions.push(Action::GoesOn(site, n)),
                Process::Intended(pass) => {
                    let fates = fates(world, pass.call, fine).into_iter().map(|fate| Action::Calls(site, n, fate));
                    actions.extend(fates);
                }
                Process::Answered(..) => actions.push(Action::Records(site, n)),
            }
            if fine && world.faults > 0 && *process != Process::Idle {
                actions.push(Action::Crashes(site, n));
            }
        }
    }

    fn hand_actions(&self, world: &World, actions: &mut Vec<Action>) {
        if world.forgeries > 0 {
            let by_hand = world.rules.iter().filter(|rule| rule.made_by.is_none());
            let forges = |rule: &Rule| FORGED.map(|leases| Action::Hand(Hand::Forges(rule.id, leases)));
            actions.extend(by_hand.flat_map(forges));
        }
        if world.hands == 0 {
            return;
        }
        let free = |port: &u8| !world.rules.iter().any(|rule| rule.port == *port);
        actions.extend((0..self.ports).filter(free).map(|port| Action::Hand(Hand::Makes(port))));
        for rule in &world.rules {
            actions.push(Action::Hand(Hand::Deletes(rule.id)));
            // The text of an entry is replaced with the entry, and its value is the entry.
            if known(world, rule) && !world.kind.closes_by_itself() {
                actions.push(Action::Hand(Hand::Strips(rule.id)));
            }
            if known(world, rule) && matches!(world.kind, Kind::Group | Kind::Bare) {
                let edits = (0..=self.ports).filter(free).map(|port| Action::Hand(Hand::Edits(rule.id, port)));
                actions.extend(edits);
            }
        }
        for schedule in &world.schedules {
            actions.push(Action::Hand(Hand::Unsets(schedule.rule)));
            if !schedule.off {
                actions.push(Action::Hand(Hand::AutoClosesOff(schedule.rule)));
            }
            if schedule.at > 0 {
                actions.push(Action::Hand(Hand::Hastens(schedule.rule)));
            }
        }
    }

    fn hand(&self, world: &mut World, hand: Hand) {
        let before = Some(world.rules.clone()).filter(|_| self.kind.marks_container());
        match hand {
            Hand::Makes(port) => {
                let id = if self.kind == Kind::Set { port } else { world.next_id() };
                let (described, claimed) = (self.forgeries == 0, world.claims(port));
                world.rules.push(Rule {
                    id,
                    port,
                    tags: None,
                    described,
                    made_by: None,
                    age: SETTLED,
                    late: false,
                    claimed,
                    closes: None,
                });
            }
            Hand::Deletes(id) => world.rules.retain(|rule| rule.id != id),
            Hand::Edits(id, port) => {
                world.rules.iter_mut().filter(|rule| rule.id == id).for_each(|rule| rule.port = port);
            }
            Hand::Strips(_) if self.kind.marks_container() => world.marks.clear(),
            Hand::Strips(id) => {
                world.rules.iter_mut().filter(|rule| rule.id == id).for_each(|rule| rule.tags = None);
            }
            Hand::Forges(id, leases) => {
                let forge = |rule: &mut Rule| rule.tags = Some(Tags { fits: 1 << rule.port, leases });
                world.rules.iter_mut().filter(|rule| rule.id == id).for_each(forge);
            }
            Hand::Unsets(id) => {
                world.schedules.retain(|schedule| schedule.rule != id);
                world.unset |= 1 << id;
            }
            Hand::AutoClosesOff(id) | Hand::Hastens(id) => {
                for schedule in world.schedules.iter_mut().filter(|schedule| schedule.rule == id) {
                    match hand {
                        Hand::AutoClosesOff(_) => schedule.off = true,
                        _ => schedule.at = 0,
                    }
                    schedule.by = schedule.by.max(By::Hand);
                }
            }
        }
        Provider { world, bug: self.bug }.overtake(before);
        Provider { world, bug: self.bug }.disturb();
        match hand {
            Hand::Forges(..) => world.forgeries -= 1,
            _ => world.hands -= 1,
        }
    }

    fn user(&self, world: &mut World, action: Action) {
        let (Action::Start(site, n) | Action::Stop(site, n) | Action::Extend(site, n)) = action else { return };
        // Every command that writes runs the expire transaction first.
        self.driver(world, site, 0).expire();
        let now = world.sites[site].skew;
        let session = &mut world.sites[site].sessions[n];
        match (action, session.life) {
            (Action::Start(..), Life::Unborn) => {
                session.life = Life::Live;
                session.until = now + self.term;
            }
            (Action::Stop(..), Life::Live) => session.life = Life::Ending,
            (Action::Extend(..), Life::Live) => {
                session.until += 2;
                world.extends -= 1;
            }
            _ => {}
        }
        self.driver(world, site, 0).let_go();
    }
}

/// Leases that a hand may forge: none, each installation's, and one that has expired.
const FORGED: [[Option<Tick>; SITES]; 4] = [[None, None], [Some(2), None], [None, Some(2)], [Some(LONG_EXPIRED), None]];

/// The rules that a hand may edit or strip: those whose id some lease holds. Of others, nothing that proves them ours
/// would be left (`docs/guarantees.md` says so).
fn known(world: &World, rule: &Rule) -> bool {
    world.sites.iter().flat_map(|site| &site.ledger).any(|row| row.proven() == Some(rule.id))
}

fn looks(world: &World) -> Vec<Look> {
    let mut looks = vec![Look::Fresh];
    if world.faults > 0 && !world.schedules.is_empty() {
        looks.push(Look::Blind);
    }
    if world.lag.is_some() {
        looks.push(Look::Lagging);
        if world.kind.marks_container() {
            looks.extend([Look::LaggingMarks, Look::LaggingEntries]);
        }
    }
    if world.faults > 0 {
        looks.push(Look::Failed);
        let new = |rule: &Rule| rule.age < SETTLED && rule.tags.is_some();
        if world.kind != Kind::Kernel && world.rules.iter().any(new) {
            looks.push(Look::Tagless);
        }
    }
    looks
}

fn fates(world: &World, call: Option<Call>, fine: bool) -> Vec<Fate> {
    let mut fates = vec![Fate::Answered];
    if world.faults > 0 {
        fates.extend([Fate::ReplyLost, Fate::NeverArrived, Fate::Delayed, Fate::Refused]);
        if matches!(call, Some(Call::Authorize { .. } | Call::Revoke { .. })) {
            fates.push(Fate::Unnamed);
        }
        if !fine {
            fates.extend([Fate::CrashBefore, Fate::CrashAfter, Fate::CrashDelayed]);
        }
    }
    fates
}

impl Model for Space {
    type State = World;
    type Action = Action;

    fn init_states(&self) -> Vec<World> {
        vec![World {
            kind: self.kind,
            rules: Vec::new(),
            marks: Vec::new(),
            lagging_marks: Vec::new(),
            lag: None,
            late: Vec::new(),
            schedules: Vec::new(),
            unset: 0,
            sites: (0..self.sessions.len()).map(|number| self.site(number)).collect(),
            faults: self.faults,
            hands: self.hands,
            forgeries: self.forgeries,
            extends: self.extends,
            broken: Broken::default(),
        }]
    }

    fn actions(&self, world: &World, actions: &mut Vec<Action>) {
        for site in 0..world.sites.len() {
            self.user_actions(world, site, actions);
            self.process_actions(world, site, actions);
        }
        self.hand_actions(world, actions);
        actions.extend((0..world.late.len()).map(Action::Lands));
        actions.extend(world.schedules.iter().filter(|schedule| schedule.is_due()).map(|due| Action::Fires(due.rule)));
        for rule in world.rules.iter().filter(|rule| rule.closes.is_some()) {
            let due = rule.closes.is_some_and(|at| at <= 0);
            let (wrong, closes) =
                if due { (Action::Dawdles(rule.id), true) } else { (Action::ClosesEarly(rule.id), false) };
            actions.extend(closes.then_some(Action::Closes(rule.id)));
            actions.extend((world.faults > 0).then_some(wrong));
        }
        if world.faults > 0 && world.lag.is_none() && world.kind != Kind::Kernel {
            actions.push(Action::Lags);
        }
        if world.faults > 0 && world.sites[0].skew != 0 {
            actions.push(Action::ClockSteps(0));
        }
        if world.may_tick(self.slow) {
            actions.push(Action::Tick);
        }
    }

    fn next_state(&self, before: &World, action: Action) -> Option<World> {
        let mut world = before.clone();
        match action {
            Action::Start(..) | Action::Stop(..) | Action::Extend(..) => self.user(&mut world, action),
            Action::Reads(site, process, look) => {
                world.faults -= u8::from(matches!(look, Look::Tagless | Look::Failed | Look::Blind));
                self.driver(&mut world, site, process).observe(look);
            }
            Action::GoesOn(site, process) => self.driver(&mut world, site, process).go_on(),
            Action::Calls(site, process, fate) => {
                world.faults -= u8::from(fate != Fate::Answered);
                self.driver(&mut world, site, process).call(fate);
            }
            Action::Records(site, process) => self.driver(&mut world, site, process).record(),
            Action::Crashes(site, process) => {
                world.faults -= 1;
                world.sites[site].processes[process] = Process::Idle;
            }
            Action::Lands(index) => Provider { world: &mut world, bug: self.bug }.deliver(index),
            Action::Lags => {
                world.faults -= 1;
                world.lag = Some((0, snapshot(self.kind, &world.rules)));
                world.lagging_marks = world.marks.clone();
            }
            Action::Hand(hand) => self.hand(&mut world, hand),
            Action::Fires(rule) => Provider { world: &mut world, bug: self.bug }.fire(rule),
            Action::Closes(rule) => Provider { world: &mut world, bug: self.bug }.close_by_itself(rule, false),
            Action::ClosesEarly(rule) => {
                world.faults -= 1;
                Provider { world: &mut world, bug: self.bug }.close_by_itself(rule, true);
            }
            Action::Dawdles(rule) => {
                world.faults -= 1;
                world.rules.iter_mut().filter(|known| known.id == rule).for_each(|rule| rule.closes = Some(1));
            }
            Action::ClockSteps(site) => {
                world.faults -= 1;
                world.sites[site].skew = 0;
            }
            Action::Tick => {
                Provider { world: &mut world, bug: self.bug }.fire_all();
                Provider { world: &mut world, bug: self.bug }.close_all_due();
                world.tick(crate::world::Ages::Running);
            }
        }
        let world = self.representative(world);
        (world != *before).then_some(world)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        properties::all()
    }
}
