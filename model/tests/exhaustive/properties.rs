//! The properties of every state, and the events that must happen in some.
//!
//! `stateright` misses cycles with its `eventually`. So "once faults stop, it converges" is an `always` property here:
//! from *every* state, rounds without faults are carried out inside the property, until a round changes nothing any
//! more. Then the wanted state must be there, and it must have been there after at most [`ROUNDS`] rounds, and stayed.

use crate::{
    auto_closes::{AutoCloseRow, By},
    quick::{Table, hash},
    space::Space,
    world::{Ages, Broken, Call, LONG_EXPIRED, Life, Mark, Process, Rule, SETTLED, Session, Site, World, members},
};
use eg_model::{failure::FailureClass, lease::Phase};
use stateright::Property;
use std::{cell::RefCell, sync::atomic::Ordering};

/// Rounds of its own, each a tick apart, after which an installation has what is wanted and nothing more to do; beside
/// the time that others' leases and its own clock take.
pub(crate) const ROUNDS: u8 = 6;
/// Rounds after which nothing may change any more; tags of others have to expire by then.
const LONGEST: usize = 40;
/// Passes in one round: the second and third see what the first has joined or could not name.
const PASSES: usize = 3;

pub(crate) const S1: &str = "S1 never touches a rule that is not ours";
pub(crate) const S2: &str = "S2 never revokes what is seen to be needed";
pub(crate) const S3: &str = "S3 a clean pass leaves nothing past its last session";
pub(crate) const S4: &str = "S4 nothing of ours without a lease";
pub(crate) const S5: &str = "S5 ended is for ever";
pub(crate) const S6: &str = "S6 a plan that is applied leaves an empty plan";
pub(crate) const S7: &str = "S7 one open lease per permission";
pub(crate) const L1: &str = "L1 it converges once faults stop";
/// The part of S2 about races: an installation that lost a rule gets it back without help.
pub(crate) const ALONE: &str = "S2/L1 each installation converges alone";
pub(crate) const W1: &str = "W1 no switch fires before who counts on it lets go";
pub(crate) const W2: &str = "W2 what is on record as set closes by itself, in time";
pub(crate) const W3: &str = "W3 no switch is left over";
pub(crate) const W4: &str = "W4 no switch is for a rule that is not ours";
pub(crate) const M1: &str = "M1 what another's mark holds is not collected";
pub(crate) const N1: &str = "N1 nothing closes by itself before who counts on it lets go";
pub(crate) const N2: &str = "N2 what closes by itself does so in time";
pub(crate) const MUST: [&str; 16] = [S1, S2, S3, S4, S5, S6, S7, L1, ALONE, W1, W2, W3, W4, M1, N1, N2];

pub(crate) const B1: &str = "B1 nothing of ours without a lease, though nothing is read";
pub(crate) const B2: &str = "B2 what counts as open for good is open";
/// Of the blind firewall: an event.
pub(crate) const B3: &str = "a call that outlived a crash has undone a later one";

pub(crate) const ADOPTED: &str = "a rule of a lost call is adopted";
pub(crate) const JOINED: &str = "a rule is joined";
pub(crate) const LEFT: &str = "a rule is left";
pub(crate) const COVERED: &str = "a foreign rule covers";
pub(crate) const FORGED: &str = "a foreign rule with forged marks covers";
pub(crate) const LANDED: &str = "a late request lands after its session";
pub(crate) const LOOSE: &str = "a mark without an entry is taken off";
pub(crate) const RACED: &str = "an entry was made between our mark and ours";
pub(crate) const CLOSED: &str = "a rule closes by itself, and its lease after it";
pub(crate) const FIRED: &str = "a switch fires though nothing of ours runs";
pub(crate) const MOVED: &str = "a switch is moved by who joins";
pub(crate) const DROPPED: &str = "a switch is dropped after a revoke";
pub(crate) const REPAIRED: &str = "a switch is put right after a hand";
pub(crate) const UNSET: &str = "a switch is refused";

pub(crate) fn all() -> Vec<Property<Space>> {
    vec![
        Property::always(S1, |_, world: &World| !world.broken.touched),
        Property::always(S2, |_, world: &World| !world.broken.needed),
        Property::always(S3, |_, world: &World| !world.broken.left),
        Property::always(S4, |_, world: &World| nothing_forgotten(world)),
        Property::always(S5, |_, world: &World| !world.sites.iter().flat_map(|s| &s.sessions).any(|s| s.risen)),
        Property::always(S6, |space, world| verdict(space, world).empty),
        Property::always(S7, |_, world: &World| one_lease_each(world)),
        Property::always(L1, |space, world| verdict(space, world).together),
        Property::always(ALONE, |space, world| verdict(space, world).alone),
        Property::always(W1, |_, world: &World| !world.broken.early),
        Property::always(W2, |_, world: &World| !world.broken.unmoved && world.recorded_auto_closes_are_set()),
        Property::always(W3, |space, world: &World| {
            world.no_auto_close_is_forgotten() && verdict(space, world).dropped
        }),
        Property::always(W4, |_, world: &World| !world.broken.auto_closing),
        Property::always(M1, |_, world: &World| !world.broken.collected),
        Property::always(N1, |_, world: &World| !world.broken.cut),
        Property::always(N2, |_, world: &World| world.closes_in_time()),
        Property::sometimes(ADOPTED, |_, world: &World| {
            let adopted = |phase, flight: Option<_>| phase == Phase::Held && flight.is_some();
            world.sites.iter().flat_map(|site| &site.ledger).any(|row| adopted(row.phase, row.in_flight))
        }),
        Property::sometimes(JOINED, |_, world: &World| {
            let shared = |phase, shared| phase == Phase::Held && shared;
            world.sites.iter().flat_map(|site| &site.ledger).any(|row| shared(row.phase, row.shared))
        }),
        Property::sometimes(LEFT, |_, world: &World| {
            world.sites.iter().flat_map(|site| &site.ledger).any(|row| row.phase == Phase::Leaving)
        }),
        Property::sometimes(COVERED, |space: &Space, world: &World| {
            let mut world = world.clone();
            let by_hand = world.rules.iter().any(|rule| rule.made_by.is_none());
            by_hand && (0..world.sites.len()).any(|site| space.driver(&mut world, site, 0).fresh_plan().covered != 0)
        }),
        Property::sometimes(FORGED, |space: &Space, world: &World| {
            let forged = |rule: &Rule| rule.made_by.is_none() && rule.tags.is_some();
            let covers = |world: &mut World, site| space.driver(world, site, 0).fresh_plan().covered != 0;
            world.rules.iter().any(forged) && (0..world.sites.len()).any(|site| covers(&mut world.clone(), site))
        }),
        Property::sometimes(LANDED, |_, world: &World| {
            let over = |site: u8| world.sites[usize::from(site)].wanted() == 0;
            world.rules.iter().any(|rule| rule.late && rule.made_by.is_some_and(over))
        }),
        Property::sometimes(LOOSE, |_, world: &World| {
            about_to(world, |site, call| matches!(call, Call::Unmark { ports } if site.wanted() & ports != ports))
        }),
        Property::sometimes(RACED, |_, world: &World| {
            let by_hand = world.rules.iter().any(|rule| rule.made_by.is_none());
            let half = |process: &Process| matches!(process, Process::Intended(pass) if pass.half && matches!(pass.call, Some(Call::Authorize { .. })));
            by_hand && world.sites.iter().flat_map(|site| &site.processes).any(half)
        }),
        Property::sometimes(CLOSED, |_, world: &World| {
            let over = |site: &Site| site.wanted() == 0 && site.ledger.iter().any(|row| row.phase == Phase::Held);
            world.kind.closes_by_itself() && world.rules.is_empty() && world.hands > 0 && world.sites.iter().all(over)
        }),
        Property::sometimes(FIRED, |space: &Space, world: &World| {
            let overdue = |site: &Site| site.sessions.iter().any(|s| s.life == Life::Live && s.until <= 0);
            let gone = |row: &crate::world::Row| row.proven().is_some_and(|id| world.rules.iter().all(|r| r.id != id));
            let closed = |site: &Site| overdue(site) && site.ledger.iter().any(gone) && !site.auto_closes.is_empty();
            space.hands == 0
                && world.schedules.is_empty()
                && world.sites.iter().all(|s| s.idle())
                && closed(&world.sites[0])
        }),
        Property::sometimes(MOVED, |_, world: &World| {
            about_to(world, |site, call| match call {
                Call::SetAutoClose { rule, at, .. } => {
                    let shared =
                        |row: &crate::world::Row| row.shared && row.phase == Phase::Held && row.rule == Some(rule);
                    site.ledger.iter().any(shared) && world.schedule(rule).is_some_and(|known| known.at < at)
                }
                _ => false,
            })
        }),
        Property::sometimes(DROPPED, |_, world: &World| {
            about_to(world, |site, call| match call {
                Call::DropAutoClose { rule } => {
                    world.schedule(rule).is_some() && site.revoked.iter().any(|(id, _)| *id == rule)
                }
                _ => false,
            })
        }),
        Property::sometimes(REPAIRED, |_, world: &World| {
            about_to(world, |_, call| match call {
                Call::SetAutoClose { rule, .. } => {
                    let by_hand = world.schedule(rule).is_some_and(|known| known.by == By::Hand);
                    by_hand || world.unset & (1 << rule) != 0
                }
                _ => false,
            })
        }),
        Property::sometimes(UNSET, |_, world: &World| {
            let refused = |row: &AutoCloseRow| row.failure == Some(FailureClass::Denied);
            world.sites.iter().flat_map(|site| &site.auto_closes).any(refused)
        }),
    ]
}

/// True if an installation's next call is like this.
fn about_to(world: &World, like: impl Fn(&Site, Call) -> bool) -> bool {
    let intended = |process: &Process| match process {
        Process::Intended(pass) => pass.call,
        _ => None,
    };
    world.sites.iter().any(|site| site.processes.iter().filter_map(intended).any(|call| like(site, call)))
}

/// S4, for each installation: with no lease open and nothing running, none of its requests is on its way and no rule
/// carries its tag. For all together: nothing that any of them made exists.
fn nothing_forgotten(world: &World) -> bool {
    let over = |site: usize| world.sites[site].ledger.is_empty() && world.sites[site].idle();
    let each = (0..world.sites.len()).filter(|site| over(*site)).all(|site| {
        let opens = |call: Call| match call {
            Call::Authorize { .. } | Call::Join { .. } => true,
            Call::Write { list } => list.into_iter().flatten().any(|at| at > LONG_EXPIRED),
            _ => false,
        };
        let holds = |mark: &Mark| usize::from(mark.site) == site && mark.until > LONG_EXPIRED;
        let late = world.late.iter().any(|late| usize::from(late.site) == site && opens(late.call));
        let tagged = |rule: &Rule| rule.genuine() && rule.lease_of(site).is_some_and(|at| at > LONG_EXPIRED);
        !late && !world.marks.iter().any(holds) && !world.rules.iter().any(tagged)
    });
    let all = (0..world.sites.len()).all(over);
    each && !(all && world.rules.iter().any(|rule| rule.made_by.is_some()))
}

fn one_lease_each(world: &World) -> bool {
    world.sites.iter().all(|site| {
        let ports = |row: &crate::world::Row| row.port;
        let mut seen: Vec<u8> = site.ledger.iter().map(ports).collect();
        seen.sort_unstable();
        seen.windows(2).all(|pair| pair[0] != pair[1])
    })
}

// ----------------------------------------------------------------------------------------------------- without faults

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Who {
    All,
    Only(usize),
}

impl Who {
    fn takes_part(self, site: usize) -> bool {
        self == Self::All || self == Self::Only(site)
    }
}

/// The condition at the end of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum End {
    /// Sessions go on for ever: every one has what it wants, and nothing else is open.
    Held,
    /// Every session is stopped now: nothing is left.
    Stopped,
    /// Every session is stopped now, and no time passes that would make an expiry schedule fire: none is left.
    Dropped,
}

/// The result of running a world without further faults.
#[derive(Clone, Copy, Debug)]
struct Verdict {
    together: bool,
    alone: bool,
    empty: bool,
    dropped: bool,
}

thread_local! {
    /// Verdicts by calm world: many worlds differ only in what can still go wrong.
    static VERDICTS: RefCell<Table<u64, Verdict>> = RefCell::default();
    /// The world that was asked about last, since three properties ask about each.
    static LAST: RefCell<Option<(World, Verdict)>> = RefCell::default();
    /// Rounds to the goal by calm world; none: never.
    static CALM: RefCell<Table<u64, Option<u8>>> = RefCell::default();
}

fn verdict(space: &Space, world: &World) -> Verdict {
    let last = LAST.with_borrow(|last| last.as_ref().filter(|(known, _)| known == world).map(|(_, verdict)| *verdict));
    last.unwrap_or_else(|| {
        let calm = calm(world);
        let key = hash(&(&calm, space.bug));
        let known = VERDICTS.with_borrow(|verdicts| verdicts.get(&key).copied());
        let verdict = known.unwrap_or_else(|| judged(space, &calm));
        VERDICTS.with_borrow_mut(|verdicts| keep(verdicts, key, verdict));
        LAST.set(Some((world.clone(), verdict)));
        verdict
    })
}

fn judged(space: &Space, calm: &World) -> Verdict {
    Verdict {
        together: converges(space, calm, Who::All),
        alone: (0..calm.sites.len()).all(|site| converges(space, calm, Who::Only(site))),
        empty: applied_is_empty(space, calm),
        dropped: space.auto_closes == 0 || drops(space, calm),
    }
}

/// The number of results that are kept before memory is freed.
const KEPT: usize = 6_000_000;

fn keep<V>(known: &mut Table<u64, V>, key: u64, value: V) {
    if known.len() >= KEPT {
        known.clear();
    }
    known.insert(key, value);
}

/// The same world, with nothing bad ahead. What only counts bad things, or can be seen by the properties alone, goes.
fn calm(world: &World) -> World {
    let mut calm = world.clone();
    (calm.faults, calm.hands, calm.forgeries, calm.extends) = (0, 0, 0, 0);
    calm.lag = None;
    calm.lagging_marks.clear();
    calm.broken = Broken::default();
    for rule in &mut calm.rules {
        (rule.age, rule.late, rule.claimed) = (SETTLED, false, false);
    }
    for session in calm.sites.iter_mut().flat_map(|site| &mut site.sessions) {
        if session.life == Life::Unborn {
            (session.life, session.until, session.ports) = (Life::Ended, LONG_EXPIRED, 0);
        }
    }
    calm.canonical()
}

/// Carries out what a process has begun, with every call answered.
fn finish(space: &Space, world: &mut World, site: usize) {
    for process in 0..world.sites[site].processes.len() {
        for _ in 0..40 {
            let mut driver = space.driver(world, site, process);
            match driver.world.sites[site].processes[process] {
                Process::Idle => break,
                Process::Ready(_) => driver.go_on(),
                Process::Intended(_) => driver.call(crate::driver::Fate::Answered),
                Process::Answered(..) => driver.record(),
            }
        }
    }
}

fn pass(space: &Space, world: &mut World, site: usize) {
    space.driver(world, site, 0).observe(crate::driver::Look::Fresh);
    finish(space, world, site);
}

fn round(space: &Space, world: &mut World, who: Who, ages: Ages) {
    for site in (0..world.sites.len()).filter(|site| who.takes_part(*site)) {
        finish(space, world, site);
        for _ in 0..PASSES {
            pass(space, world, site);
        }
    }
    // Late requests land as late as they can.
    while let Some(index) = world.late.iter().position(|late| late.age == SETTLED - 1) {
        crate::driver::Provider { world, bug: space.bug }.deliver(index);
    }
    crate::driver::Provider { world, bug: space.bug }.fire_all();
    crate::driver::Provider { world, bug: space.bug }.close_all_due();
    world.tick(ages);
    world.broken = Broken::default();
    world.rules.iter_mut().for_each(|rule| (rule.age, rule.late) = (SETTLED, false));
}

/// S6: for an installation that is idle, what a plan begins is over within the passes of one round.
fn applied_is_empty(space: &Space, calm: &World) -> bool {
    (0..calm.sites.len()).filter(|site| calm.sites[*site].idle()).all(|site| {
        let mut world = calm.clone();
        for _ in 0..PASSES {
            pass(space, &mut world, site);
        }
        let plan = space.driver(&mut world, site, 0).fresh_plan();
        plan.calls.is_empty() && plan.learn.is_empty() && world.sites[site].idle()
    })
}

fn converges(space: &Space, calm: &World, who: Who) -> bool {
    let mut start = calm.clone();
    // The processes that take no part any more have crashed.
    let absent = (0..calm.sites.len()).filter(|site| !who.takes_part(*site));
    absent.for_each(|site| start.sites[site].processes.fill(Process::Idle));
    let start = start.canonical();
    let held = rounds(space, start.clone(), who, End::Held);
    let stopped = rounds(space, stopped(start, who), who, End::Stopped);
    // Leases of others have to expire first. After a clock has stepped back, its earlier writes are settled only once
    // it reaches their times again.
    let longest = space.term.unsigned_abs() + 2 * space.extends;
    let most = ROUNDS + longest + space.skew.unwrap_or(0).unsigned_abs();
    let quick = |rounds: Option<u8>| rounds.is_some_and(|rounds| rounds <= most);
    space.most_rounds.fetch_max(held.max(stopped).unwrap_or(0), Ordering::Relaxed);
    quick(held) && quick(stopped)
}

/// The same with every session stopped.
fn stopped(mut world: World, who: Who) -> World {
    for (_, site) in world.sites.iter_mut().enumerate().filter(|(site, _)| who.takes_part(*site)) {
        let live = site.sessions.iter_mut().filter(|session| session.life == Life::Live);
        live.for_each(|session| session.life = Life::Ending);
    }
    world
}

/// W3, once everything is stopped: what is left over is dropped, and does not wait until it fires.
fn drops(space: &Space, calm: &World) -> bool {
    rounds(space, stopped(calm.clone(), Who::All).canonical(), Who::All, End::Dropped).is_some_and(|n| n <= ROUNDS)
}

/// After how many rounds the goal is reached for good; none: never, or it never comes to rest.
fn rounds(space: &Space, start: World, who: Who, end: End) -> Option<u8> {
    let key = |world: &World| hash(&(world, who, end, space.bug, space.auto_closes));
    let mut path: Vec<(u64, bool)> = Vec::new();
    let mut world = start;
    let mut rest: Option<u8> = loop {
        let key = key(&world);
        if let Some(known) = CALM.with_borrow(|calm| calm.get(&key).copied()) {
            break known;
        }
        if path.len() > LONGEST {
            break None;
        }
        let goal = if end == End::Dropped { world.every_auto_close_is_dropped() } else { reached(space, &world, who) };
        path.push((key, goal));
        let mut next = world.clone();
        round(space, &mut next, who, if end == End::Stopped { Ages::Running } else { Ages::Held });
        let next = next.canonical();
        if next == world {
            break path.pop().and_then(|(key, reached)| {
                let rest = reached.then_some(0);
                CALM.with_borrow_mut(|calm| keep(calm, key, rest));
                rest
            });
        }
        world = next;
    };
    for (key, reached) in path.into_iter().rev() {
        rest = rest.map(|rounds| if rounds == 0 && reached { 0 } else { rounds + 1 });
        CALM.with_borrow_mut(|calm| keep(calm, key, rest));
    }
    rest
}

fn reached(space: &Space, world: &World, who: Who) -> bool {
    let mut world = world.clone();
    let each = (0..world.sites.len()).filter(|site| who.takes_part(*site)).all(|site| {
        let plan = space.driver(&mut world, site, 0).fresh_plan();
        let here = &world.sites[site];
        let wanted = here.wanted();
        // Our tag on a rule without marks has to expire, or the rule to be marked again by who knows it.
        let stray =
            |rule: &Rule| rule.described && !rule.genuine() && rule.lease_of(site).is_some_and(|at| at > LONG_EXPIRED);
        let rules = world.marked_rules();
        let strays = world.rules.iter().filter(|rule| stray(rule)).fold(0, |ports, rule| ports | 1 << rule.port);
        let unwanted = here.ledger.iter().any(|row| (wanted | strays) & (1 << row.port) == 0);
        let kept = |session: &Session| session.life == Life::Ending && session.ports & strays == 0;
        let ending = here.sessions.iter().any(kept);
        let holds = |rule: &Rule| rule.genuine() && rule.lease_of(site).is_some_and(|at| at > LONG_EXPIRED);
        let tagged = |rule: &Rule| holds(rule) && wanted & (1 << rule.port) == 0;
        let open = |port: u8| rules.iter().any(|rule| rule.port == port && opens(rule, &world, site));
        let marked =
            |mark: &Mark| usize::from(mark.site) == site && mark.until > LONG_EXPIRED && wanted & (1 << mark.port) == 0;
        here.idle()
            && plan.calls.is_empty()
            && plan.held & wanted == wanted
            && members(u16::from(wanted)).all(open)
            && !ending
            && !unwanted
            && !rules.iter().any(tagged)
            && !world.marks.iter().any(marked)
            && (space.auto_closes & (1 << site) == 0 || world.auto_closes_are_right(site))
    });
    let wanted = world.sites.iter().fold(0, |ports, site| ports | site.wanted());
    let orphan = |rule: &Rule| rule.made_by.is_some() && wanted & (1 << rule.port) == 0;
    each && (who != Who::All || !world.rules.iter().any(orphan))
}

/// A rule that opens what `site` wants: a foreign one, or one with our lease until the latest expiry.
fn opens(rule: &Rule, world: &World, site: usize) -> bool {
    let sessions = &world.sites[site].sessions;
    let wanting = sessions.iter().filter(|s| s.life == Life::Live && s.ports & (1 << rule.port) != 0);
    let until = wanting.map(|session| session.until).max();
    !rule.genuine() || rule.lease_of(site) == until
}
