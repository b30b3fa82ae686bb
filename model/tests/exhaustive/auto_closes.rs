//! Expiry schedules: what the scheduler at the provider keeps, what an installation has on record of it, and how the
//! driver reads, sets and drops them. The decisions are the real plan's, the rows move by the real [`AutoClose`].
//!
//! | real driver | here |
//! |---|---|
//! | `see_auto_closes`, before every plan but the first of a reading that asks for a change of rules | [`Driver::see_auto_closes`]: what the plan lacks is read as it is now, or not at all |
//! | `set_auto_close`: intent, call, outcome | as for a lease. A refusal stands for every further rule of the pass |
//! | create where none was seen, else update; the other one where that fails | the same; a late request is the first of the two alone |
//! | `drop_auto_close`: call, outcome | the same; the row is forgotten with the answer |
//! | a row is written where its version is still the same | [`Pass::raced`] |
//!
//! The scheduler fires an expiry schedule in the tick of its time: at any moment of it, and before it is over. It needs
//! no machine for that. `LEAD` is less than a tick, so an expiry schedule that is sent a minute ahead fires in the tick
//! in which it is sent.

use crate::{
    bugs::Bug,
    driver::{Driver, Provider},
    real,
    world::{Ages, Answer, Call, LONG_EXPIRED, Life, Names, Pass, Process, Rule, Site, Tick, World, members},
};
use eg_model::{failure::FailureClass, lease::Phase};

/// The last writer of a schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum By {
    /// A pass on a fresh reading, without a change by others since that reading.
    Seeing,
    /// A pass on an old reading, or two at the same moment.
    Blindly,
    /// One of two processes of one installation that run without their lock, and the other has acted meanwhile.
    Overtaken,
    /// A hand.
    Hand,
    /// A request that was late.
    Late,
}

/// A schedule at the scheduler.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Schedule {
    /// Its name, and the rule that it revokes.
    pub(crate) rule: u8,
    /// The permission of that rule. Only a bug sees this.
    pub(crate) port: u8,
    pub(crate) at: Tick,
    /// It was switched off: it does nothing, and stays.
    pub(crate) off: bool,
    /// It was left to those who hold the rule, and none of them has it on record yet.
    pub(crate) left: bool,
    pub(crate) by: By,
}

impl Schedule {
    pub(crate) fn is_due(&self) -> bool {
        !self.off && self.at <= 0
    }

    /// True if it may be left over.
    fn is_excused(&self) -> bool {
        matches!(self.by, By::Overtaken | By::Late) || self.off || self.left
    }
}

/// The result of reading one schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Seen {
    Absent,
    Set(Tick),
    Wrong,
    Unreadable,
}

/// [`eg_model::auto_close::AutoClose`] in small numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct AutoCloseRow {
    pub(crate) rule: u8,
    pub(crate) port: u8,
    pub(crate) at: Tick,
    pub(crate) confirmed: bool,
    /// Not to be tried again in this tick.
    pub(crate) waits: bool,
    pub(crate) failure: Option<FailureClass>,
}

/// A transition of [`eg_model::auto_close::AutoClose`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flip {
    Intend { at: Tick },
    Set { at: Tick },
    Refused { class: FailureClass, waits: bool },
}

/// Expiry schedules in the world, as far as they have names or an age.
impl World {
    pub(crate) fn rename_auto_closes(&mut self, names: &Names) {
        self.schedules.iter_mut().for_each(|schedule| schedule.rule = names.of(schedule.rule));
        self.unset = names.of_all(self.unset);
        for site in &mut self.sites {
            site.auto_closes.iter_mut().for_each(|row| row.rule = names.of(row.rule));
            for pass in site.processes.iter_mut().filter_map(Process::pass_mut) {
                pass.auto_closes.iter_mut().for_each(|(rule, _)| *rule = names.of(*rule));
            }
        }
    }

    pub(crate) fn mentioned_auto_closes(&self) -> u16 {
        let rows = self.sites.iter().flat_map(|site| &site.auto_closes).map(|row| row.rule);
        let passes = self.sites.iter().flat_map(|site| &site.processes).filter_map(Process::pass);
        let seen = passes.flat_map(|pass| &pass.auto_closes).map(|(rule, _)| *rule);
        let schedules = self.schedules.iter().map(|schedule| schedule.rule);
        schedules.chain(rows).chain(seen).fold(0, |mask, rule| mask | 1 << rule)
    }

    pub(crate) fn sort_auto_closes(&mut self) {
        self.schedules.sort_unstable();
        for site in &mut self.sites {
            site.auto_closes.sort_unstable();
            site.processes.iter_mut().filter_map(Process::pass_mut).for_each(|pass| pass.auto_closes.sort_unstable());
        }
    }

    pub(crate) fn age_auto_closes(&mut self, ages: Ages) {
        self.schedules.iter_mut().for_each(|schedule| schedule.at = ages.expiry(schedule.at));
        for site in &mut self.sites {
            for row in &mut site.auto_closes {
                (row.at, row.waits) = (ages.expiry(row.at), false);
            }
            for pass in site.processes.iter_mut().filter_map(Process::pass_mut) {
                for (_, seen) in &mut pass.auto_closes {
                    if let Seen::Set(at) = seen {
                        *at = ages.expiry(*at);
                    }
                }
            }
        }
    }

    pub(crate) fn schedule(&self, rule: u8) -> Option<&Schedule> {
        self.schedules.iter().find(|schedule| schedule.rule == rule)
    }

    /// W2: on record as set means that the scheduler alone closes the rule, at the recorded time or at the end of the
    /// latest lease: whichever is later. What a hand, an old reading, a late request or two at the same moment have
    /// made of a schedule is put right by the next pass. While another installation has on record that it is moving
    /// it, it may still say when that one's lease would have ended.
    pub(crate) fn recorded_auto_closes_are_set(&self) -> bool {
        let moving = |rule: u8| {
            self.sites.iter().flat_map(|site| &site.auto_closes).any(|row| row.rule == rule && !row.confirmed)
        };
        self.sites.iter().all(|site| {
            site.auto_closes.iter().filter(|row| row.confirmed).all(|row| {
                let Some(rule) = site.held_rule(self, row.rule) else { return true };
                let leases = rule.latest_lease().max(site.until(rule.port));
                let known = self.sites.iter().flat_map(|site| &site.auto_closes).filter(|known| known.rule == row.rule);
                let latest = known.map(|known| known.at).max().max(leases);
                match self.schedule(row.rule) {
                    Some(schedule) if schedule.by != By::Seeing => true,
                    Some(schedule) => {
                        !schedule.off && (Some(schedule.at) <= latest || schedule.at <= 0 || moving(row.rule))
                    }
                    None => self.unset & (1 << row.rule) != 0,
                }
            })
        })
    }

    /// W3, in every state: with no lease open, nothing on record and nothing running or on its way, there is no expiry
    /// schedule, but for what hits nothing and deletes itself: one that a late request has left, and one whose rule was
    /// closed by somebody who had joined it and not looked at its expiry schedule yet. And for one that a hand has
    /// switched off, which does nothing.
    pub(crate) fn no_auto_close_is_forgotten(&self) -> bool {
        let over = |site: &Site| site.ledger.is_empty() && site.auto_closes.is_empty() && site.idle();
        !self.sites.iter().all(over) || self.schedules.iter().all(Schedule::is_excused)
    }

    /// W3, once everything is stopped and some rounds have passed.
    pub(crate) fn every_auto_close_is_dropped(&self) -> bool {
        let there = |schedule: &Schedule| self.rules.iter().any(|rule| rule.id == schedule.rule);
        self.schedules.iter().all(|schedule| schedule.is_excused() || there(schedule))
    }

    /// True if every rule that `site` holds, or has left to others, closes at the end of its latest lease.
    pub(crate) fn auto_closes_are_right(&self, site: usize) -> bool {
        let here = &self.sites[site];
        here.ledger.iter().all(|row| {
            let rule = row.proven().and_then(|id| self.rules.iter().find(|rule| rule.id == id));
            let Some(rule) = rule.filter(|rule| rule.port == row.port) else { return true };
            let own = here.until(rule.port);
            let moved = here.auto_closes.iter().any(|auto_close| auto_close.rule == rule.id);
            let held = if row.phase == Phase::Leaving { own.is_none() && moved } else { own.is_some() };
            let Some(latest) = rule.latest_lease_but_of(site).max(own).filter(|_| held) else { return true };
            let at = |schedule: &Schedule| latest.max(schedule.at.min(0));
            let fits = |s: &Schedule| s.at == at(s) || (s.at > latest && !rule.genuine());
            let right = |schedule: &Schedule| !schedule.off && fits(schedule);
            self.schedule(rule.id).is_some_and(right)
        })
    }
}

impl Rule {
    fn latest_lease(&self) -> Option<Tick> {
        let leases = self.tags.map(|tags| tags.leases).filter(|_| self.genuine()).unwrap_or_default();
        leases.into_iter().flatten().filter(|at| *at > LONG_EXPIRED).max()
    }

    fn latest_lease_but_of(mut self, site: usize) -> Option<Tick> {
        self.tags.iter_mut().for_each(|tags| tags.leases[site] = None);
        self.latest_lease()
    }
}

impl Site {
    /// The end of the latest live session that wants a permission.
    pub(crate) fn until(&self, port: u8) -> Option<Tick> {
        let live = self.sessions.iter().filter(|session| session.life == Life::Live && session.until > self.skew);
        live.filter(|session| session.ports & (1 << port) != 0).map(|session| session.until).max()
    }

    fn held_rule<'w>(&self, world: &'w World, id: u8) -> Option<&'w Rule> {
        let row = self.ledger.iter().find(|row| row.phase == Phase::Held && row.proven() == Some(id))?;
        world.rules.iter().find(|rule| rule.id == id && rule.port == row.port)
    }

    /// True if the record says that a rule closes by itself at the end of the last session here, and our tag says the
    /// same to others.
    fn counts_on(&self, number: usize, world: &World, rule: u8) -> bool {
        let tagged = |rule: &&Rule| rule.genuine() && rule.lease_of(number) >= self.until(rule.port);
        let until = self.held_rule(world, rule).filter(tagged).and_then(|rule| self.until(rule.port));
        let confirmed = |until: Tick| {
            let row = self.auto_closes.iter().find(|row| row.rule == rule);
            row.is_some_and(|row| row.confirmed && row.at >= until)
        };
        until.is_some_and(confirmed)
    }
}

impl Driver<'_> {
    /// Reads the expiry schedules that the plan lacks.
    pub(crate) fn see_auto_closes(&self, pass: &mut Pass) {
        let unread = self.plan(pass).unread;
        for rule in members(unread) {
            let seen = match self.world.schedule(rule) {
                _ if pass.blind => Seen::Unreadable,
                None => Seen::Absent,
                Some(schedule) if schedule.off => Seen::Wrong,
                Some(schedule) => Seen::Set(schedule.at),
            };
            pass.auto_closes.push((rule, seen));
        }
    }

    fn auto_close_row(&mut self, rule: u8, port: u8, flip: Flip) {
        let now = self.world.sites[self.site].skew;
        let rows = &mut self.world.sites[self.site].auto_closes;
        let known = rows.iter().position(|row| row.rule == rule).map(|index| rows.remove(index));
        let next = real::flip(known.unwrap_or_else(|| real::new_auto_close(rule, port)), flip, now);
        rows.push(next);
        self.race_auto_close(rule);
        self.world.schedules.iter_mut().filter(|known| known.rule == rule).for_each(|known| known.left = false);
    }

    pub(crate) fn know_auto_close(&mut self, rule: u8, port: u8, at: Tick) {
        self.auto_close_row(rule, port, Flip::Set { at });
    }

    fn forget_auto_close(&mut self, rule: u8) {
        self.world.sites[self.site].auto_closes.retain(|row| row.rule != rule);
        self.race_auto_close(rule);
    }

    /// Makes the versions of a row that others have read old.
    fn race_auto_close(&mut self, rule: u8) {
        let about = |call: Call| call.is_of_auto_close() && call.rules() & (1 << rule) != 0;
        let passes = self.world.sites[self.site].processes.iter_mut().filter_map(Process::pass_mut);
        passes.filter(|pass| pass.call.is_some_and(about)).for_each(|pass| pass.raced = true);
    }

    /// The outcome, where the version is still the one of the intent. Where it is not, somebody else's write is as
    /// good.
    fn auto_close_outcome(&mut self, pass: &Pass, rule: u8, port: u8, flip: Flip) {
        if !pass.raced {
            self.auto_close_row(rule, port, flip);
        }
    }

    /// Leaves a rule to the holders that the reading shows.
    pub(crate) fn leave_auto_close(&mut self, pass: &Pass, rule: u8) {
        self.forget_auto_close(rule);
        let known = self.world.sites.iter().flat_map(|site| &site.auto_closes).any(|row| row.rule == rule);
        let held = |seen: &Rule| seen.id == rule && seen.held_by_another(self.site);
        let left = !known && pass.rules.iter().any(held);
        self.world.schedules.iter_mut().filter(|schedule| schedule.rule == rule).for_each(|known| known.left = left);
    }

    /// The intent, where there is one. Whether a call goes out.
    pub(crate) fn intend_auto_close(&mut self, pass: &mut Pass, call: Call) -> bool {
        let known = |rule: u8| self.world.sites[self.site].auto_closes.iter().any(|row| row.rule == rule);
        pass.intents = Vec::new();
        pass.call = Some(call);
        pass.raced = false;
        let Call::SetAutoClose { rule, port, at, .. } = call else {
            return members(call.rules()).all(known);
        };
        self.auto_close_row(rule, port, Flip::Intend { at });
        if self.bug == Some(Bug::AutoCloseConfirmedFirst) {
            self.auto_close_row(rule, port, Flip::Set { at });
        }
        if let Some(class) = pass.refusal {
            self.auto_close_row(rule, port, Flip::Refused { class, waits: true });
            return false;
        }
        let shows = |(id, seen): &(u8, Seen)| *id == rule && matches!(seen, Seen::Set(_) | Seen::Wrong);
        pass.call = Some(Call::SetAutoClose { rule, port, at, exists: pass.auto_closes.iter().any(shows) });
        true
    }

    /// True if the pass goes on without reading again.
    pub(crate) fn record_auto_close(&mut self, pass: &mut Pass, call: Call, answer: Answer) -> bool {
        match (call, answer) {
            (Call::SetAutoClose { rule, port, at, .. }, Answer::Done(_) | Answer::Unnamed) => {
                self.auto_close_outcome(pass, rule, port, Flip::Set { at });
                pass.auto_closes.retain(|(id, _)| *id != rule);
                pass.auto_closes.push((rule, Seen::Set(at)));
                true
            }
            (Call::SetAutoClose { rule, port, at, .. }, Answer::Failed(class)) => {
                let unknown = class.outcome_unknown();
                if unknown && self.bug == Some(Bug::AutoCloseLostReplyCounts) {
                    self.auto_close_row(rule, port, Flip::Set { at });
                    return false;
                }
                self.auto_close_outcome(pass, rule, port, Flip::Refused { class, waits: !unknown });
                pass.refusal = Some(class).filter(|class| *class == FailureClass::Denied);
                pass.clean = false;
                !unknown
            }
            (Call::DropAutoClose { rule }, Answer::Done(_) | Answer::Unnamed) => {
                self.forget_auto_close(rule);
                pass.auto_closes.retain(|(id, _)| *id != rule);
                true
            }
            (Call::DropAutoClose { rule }, Answer::Failed(class)) => {
                self.auto_close_outcome(pass, rule, 0, Flip::Refused { class, waits: true });
                true
            }
            _ => panic!("not about a switch: {call:?}"),
        }
    }
}

impl Provider<'_> {
    /// A request to the scheduler. One that is late is a single call, which fails where the other was needed.
    pub(crate) fn auto_close(&mut self, call: Call, by: By) -> Answer {
        match call {
            Call::SetAutoClose { rule, port, at, exists } => {
                // W4: an expiry schedule is set for a rule of `eg`'s, or for one that is gone.
                let hand_made = |known: &Rule| known.id == rule && known.made_by.is_none();
                self.world.broken.auto_closing |= self.world.rules.iter().any(hand_made);
                let there = self.world.schedule(rule).is_some();
                if by == By::Late && exists != there {
                    return Answer::Failed(FailureClass::Gone);
                }
                self.world.schedules.retain(|schedule| schedule.rule != rule);
                self.world.schedules.push(Schedule { rule, port, at, off: false, left: false, by });
                self.world.unset &= !(1 << rule);
            }
            Call::DropAutoClose { rule } => self.world.schedules.retain(|schedule| schedule.rule != rule),
            _ => panic!("not about a switch: {call:?}"),
        }
        Answer::Done(0)
    }

    /// A tag was written without a view of the latest changes: another installation may have moved the expiry schedule
    /// to the end of the other tags meanwhile.
    pub(crate) fn doubt_auto_closes(&mut self, rules: u16) {
        let seeing = |schedule: &&mut Schedule| schedule.by == By::Seeing && rules & (1 << schedule.rule) != 0;
        self.world.schedules.iter_mut().filter(seeing).for_each(|schedule| schedule.by = By::Blindly);
    }

    /// The scheduler does what it was told, and forgets it.
    pub(crate) fn fire(&mut self, rule: u8) {
        let Some(index) = self.world.schedules.iter().position(|schedule| schedule.rule == rule) else { return };
        let schedule = self.world.schedules.remove(index);
        let by_port = self.bug == Some(Bug::AutoCloseKeyedByPermission);
        let hit = |rule: &Rule| if by_port { rule.port == schedule.port } else { rule.id == schedule.rule };
        let hits: Vec<Rule> = self.world.rules.iter().filter(|rule| hit(rule)).copied().collect();
        for rule in &hits {
            // W4, and W1.
            self.world.broken.auto_closing |= rule.made_by.is_none();
            let counts =
                self.world.sites.iter().enumerate().any(|(number, site)| site.counts_on(number, self.world, rule.id));
            self.world.broken.early |= counts && schedule.by == By::Seeing;
        }
        self.world.rules.retain(|rule| !hit(rule));
        self.disturb();
    }

    /// Everything that is due fires before time goes on.
    pub(crate) fn fire_all(&mut self) {
        while let Some(rule) = self.world.schedules.iter().find(|schedule| schedule.is_due()).map(|due| due.rule) {
            self.fire(rule);
        }
    }
}
