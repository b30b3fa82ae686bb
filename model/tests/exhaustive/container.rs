//! Firewalls unlike security groups: where their marks are, how a step becomes two requests, and what closes by itself.
//!
//! | module of such a kind | here |
//! |---|---|
//! | authorize: the installation's tag on the container, then the entry | [`Driver::request`], twice; a crash, a loss or other actors come between |
//! | revoke: the entry, then the tag | the same |
//! | join, retag, restore, leave, unmark | the tag alone |
//! | the tag, as a whole, from the record | [`Driver::list`], by the real [`tag_list`](eg_model::plan::tag_list) |
//! | an entry is written if the list is still the one that was read; after a conflict it is read again | [`Late::fresh`]: only what is late can meet another list |
//! | an entry is marked if its text is `eg`'s and a list names it; where it has no text, if a list names it | [`marked`](crate::world::marked) |

use crate::{
    bugs::Bug,
    driver::{Driver, Look, Provider, seen},
    real::{self, Turn},
    world::{Call, Intent, Kind, Late, Mark, Pass, Process, Row, Rule, SITES, Tick, World, marked, members},
};
use eg_model::lease::Phase;

impl Driver<'_> {
    pub(crate) fn read_container(&self, look: Look) -> Vec<Rule> {
        let kind = self.world.kind;
        let old = self.world.lag.as_ref().map(|(_, rules)| rules.as_slice()).unwrap_or_default();
        let entries = if matches!(look, Look::Lagging | Look::LaggingEntries) { old } else { &self.world.rules };
        let mut rules = marked(kind, entries, self.marks_shown(look));
        if self.bug == Some(Bug::TextAloneIsGenuine) {
            for rule in rules.iter_mut().filter(|rule| rule.tags.is_none() && rule.made_by.is_some()) {
                rule.tags = Some(crate::world::Tags { fits: 1 << rule.port, leases: [None; SITES] });
            }
        }
        seen(&rules)
    }

    fn marks_shown(&self, look: Look) -> &[Mark] {
        let old = matches!(look, Look::Lagging | Look::LaggingMarks);
        if old { &self.world.lagging_marks } else { &self.world.marks }
    }

    /// Permissions with our mark, and no marked entry in this reading.
    pub(crate) fn loose(&self, rules: &[Rule], look: Look) -> u8 {
        let marks = self.marks_shown(look).iter().filter(|mark| usize::from(mark.site) == self.site);
        let ports = marks.fold(0, |ports, mark| ports | 1 << mark.port);
        let shows = rules.iter().filter(|rule| rule.lease_of(self.site).is_some());
        let named = shows.fold(0, |ports, rule| ports | 1 << rule.port);
        if self.world.kind.marks_container() { ports & !named } else { 0 }
    }

    fn has_bug(&self, bug: Bug) -> bool {
        self.bug == Some(bug)
    }

    /// True if a write of the tag may still land, and bring back any mark that it names.
    /// The call that has just been answered does not count.
    pub(crate) fn marks_may_return(&self, answered: &[Intent]) -> bool {
        let site = &self.world.sites[self.site];
        let answered: Vec<(u8, u8)> = answered.iter().map(|intent| intent.row.key()).collect();
        self.world.kind.marks_container()
            && !self.has_bug(Bug::ClosedBeforeOldList)
            && real::marks_may_return(&site.ledger, &answered, site.skew)
    }

    /// True if a step takes two requests.
    pub(crate) fn in_two(&self, step: Call) -> bool {
        self.world.kind.marks_container() && matches!(step, Call::Authorize { .. } | Call::Revoke { .. })
    }

    /// The next request of a step.
    pub(crate) fn request(&self, pass: &Pass, step: Call) -> Call {
        if !self.world.kind.marks_container() {
            return step;
        }
        let ports = pass.intents.iter().fold(0, |ports, intent| ports | 1 << intent.row.port);
        let first = pass.half == (self.bug == Some(Bug::EntryBeforeMark));
        match step {
            Call::Authorize { until, .. } if first => self.list(ports, Some(until)),
            Call::Authorize { .. } | Call::Collect { .. } => step,
            Call::Revoke { .. } if !pass.half => step,
            Call::Join { until, .. } | Call::Retag { until, .. } | Call::Restore { until, .. } => {
                self.list(ports, Some(until))
            }
            _ => self.list(ports, None),
        }
    }

    /// The whole list, with another end for some permissions.
    fn list(&self, ports: u8, until: Option<Tick>) -> Call {
        let site = &self.world.sites[self.site];
        let wanted: Vec<(u8, Tick)> = (0..).take(SITES).filter_map(|port| Some((port, site.until(port)?))).collect();
        let endless = |row: &Row| row.tagged.is_none() && site.until(row.port).is_none();
        let mut rows = site.ledger.clone();
        rows.retain(|row| !(self.has_bug(Bug::EndlessIsLeftOut) && endless(row)));
        Call::Write { list: real::list(&rows, &wanted, (ports, until)) }
    }

    /// The write counts as an attempt for the leases that it names and no entry of the reading shows with our mark.
    pub(crate) fn date_named_newly(&mut self, pass: &Pass, step: Call) {
        if !self.world.kind.marks_container() || matches!(step, Call::Collect { .. }) {
            return;
        }
        let own = |row: &Row| pass.intents.iter().any(|intent| intent.row.key() == row.key());
        let shown = |row: &Row| pass.rules.iter().any(|r| r.port == row.port && r.lease_of(self.site).is_some());
        let named = |row: &Row| row.sent.is_some() && row.phase != Phase::Leaving;
        let site = &self.world.sites[self.site];
        let newly: Vec<Row> =
            site.ledger.iter().filter(|row| named(row) && !own(row) && !shown(row)).copied().collect();
        for row in newly {
            let next = real::turn(row, Turn::Intend { opening: false, undoing: false }, self.now());
            self.write(row.key(), next);
        }
    }

    /// M1: what is collected is held by nobody, as far as the provider had known when the pass read it.
    pub(crate) fn check_collected(&mut self, pass: &Pass, call: Call) {
        let Call::Collect { rules } = call else { return };
        let held = |rule: &Rule| rules & (1 << rule.id) != 0 && rule.held_by_another(self.site);
        let held = pass.undisturbed && self.world.kind == Kind::List && self.world.marked_rules().iter().any(held);
        self.world.broken.collected |= held;
    }

    /// A write of the whole list as it was read drops what came since.
    pub(crate) fn drop_unseen(&mut self, pass: &Pass) {
        let unseen = |rule: &Rule| pass.rules.iter().all(|known| known.id != rule.id);
        let dropped = self.world.rules.iter().filter(|rule| unseen(rule)).fold(0_u16, |mask, rule| mask | 1 << rule.id);
        Provider { world: self.world, bug: self.bug }.check_touched(dropped);
        self.world.rules.retain(|rule| dropped & (1 << rule.id) == 0);
    }

    /// A text that is written from an old reading loses what others have written since.
    pub(crate) fn write_text_of(&mut self, pass: &Pass, call: Call) {
        let written = call.rules();
        let other = 1 - self.site;
        for rule in self.world.rules.iter_mut().filter(|rule| written & (1 << rule.id) != 0) {
            let known = pass.rules.iter().find(|known| known.id == rule.id).and_then(|known| known.lease_of(other));
            if let Some(tags) = &mut rule.tags {
                tags.leases[other] = known;
                rule.closes = tags.leases.into_iter().flatten().max();
            }
        }
    }

    /// An attempt on a reading that does not show what a hand has just made.
    pub(crate) fn claim_unseen(&mut self, ports: u8) {
        if matches!(self.world.kind, Kind::Bare | Kind::Set) {
            for rule in self.world.rules.iter_mut().filter(|rule| ports & (1 << rule.port) != 0) {
                rule.claimed |= rule.made_by.is_none();
            }
        }
    }
}

impl World {
    /// True if what a hand makes here now cannot be told from what `eg` makes: an installation is trying to open the
    /// same permission, or, where identity is the value, has a lease or a mark for it.
    pub(crate) fn claims(&self, port: u8) -> bool {
        let calls = self.sites.iter().flat_map(|site| &site.processes).any(|process| *process != Process::Idle);
        let mut rows = self.sites.iter().flat_map(|site| &site.ledger).filter(|row| row.port == port);
        let opens = |late: &Late| matches!(late.call, Call::Authorize { .. });
        match self.kind {
            Kind::Bare => {
                let unnamed = |row: &crate::world::Row| row.phase == Phase::Claimed && row.tagged.is_some();
                let unknown = |row: &crate::world::Row| row.in_flight.is_some() || row.unknown.is_some();
                calls || self.late.iter().any(opens) || rows.any(|row| unknown(row) || unnamed(row))
            }
            Kind::Set => {
                calls
                    || !self.late.is_empty()
                    || rows.next().is_some()
                    || self.marks.iter().any(|mark| mark.port == port)
            }
            Kind::Group | Kind::List | Kind::Timed | Kind::Kernel => false,
        }
    }

    /// N2: the firewall closes every rule at the end of its latest lease, or a tick later.
    pub(crate) fn closes_in_time(&self) -> bool {
        let latest = |rule: &Rule| rule.tags.and_then(|tags| tags.leases.into_iter().flatten().max());
        let late = |rule: &Rule| rule.closes.is_some_and(|at| latest(rule).is_some_and(|latest| at > latest.max(1)));
        !self.rules.iter().any(late)
    }
}

impl Provider<'_> {
    /// The firewall closes a rule by itself, at its time or, where a clock is wrong, `early`.
    pub(crate) fn close_by_itself(&mut self, rule: u8, early: bool) {
        let counts_on = |port: u8| {
            self.world.sites.iter().any(|site| {
                let row = site.ledger.iter().find(|row| row.proven() == Some(rule) && row.phase == Phase::Held);
                let until = site.until(port).filter(|at| *at > 0);
                row.is_some_and(|row| until.is_some() && row.tagged >= until)
            })
        };
        let port = self.world.rules.iter().find(|known| known.id == rule).map(|rule| rule.port);
        self.world.broken.cut |= !early && port.is_some_and(counts_on);
        self.world.rules.retain(|known| known.id != rule);
        self.disturb();
    }

    /// Everything that is due closes before time goes on.
    pub(crate) fn close_all_due(&mut self) {
        let due = self.world.rules.iter().filter(|rule| rule.closes.is_some_and(|at| at <= 0));
        let due = due.fold(0_u16, |mask, rule| mask | 1 << rule.id);
        members(due).for_each(|rule| self.close_by_itself(rule, false));
    }
}
