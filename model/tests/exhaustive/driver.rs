//! A process, in the order of the real driver (`src/reconcile`): expire; read; plan; learn; for each step intent, call,
//! outcome; plan again with the known effects, until nothing is left; rest.
//!
//! | real driver | here |
//! |---|---|
//! | `Flow::Next`, `Flow::Replan` | the next step, then the next round of the same pass |
//! | `Flow::Reobserve`, `Flow::Refresh` | the pass ends; the next one reads |
//! | a step on a reading that is not fresh | the same, whatever the step |
//! | `watching`, delays within a pass | the next pass may come in the same tick, so nothing is left out |
//! | `Store::begin_attempt` | the session still lives; rows are read and written in one step |
//! | `Store::write_lease` where the version is still the same | [`Intent::raced`] |
//!
//! With one process per installation, what touches only its own record goes together with what comes before it: no
//! other step can tell the difference. Left apart are the intent and the call, where stops, other installations and
//! hands come in between. In a fine space ([`Driver::fine`]) every transaction is a step of its own.

use crate::{
    auto_closes::{By, Seen},
    bugs::{self, Bug},
    real::{self, AutoClosesSeen, Learn, Plan, Turn, View},
    world::{
        Answer, Call, Intent, Kind, Late, Life, Mark, Opened, Pass, Process, Row, Rule, SETTLED, SITES, Session, Tags,
        Tick, World, members,
    },
};
use eg_model::{failure::FailureClass, lease::Phase};

/// The kind of a reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Look {
    Fresh,
    /// The state of a while ago.
    Lagging,
    /// Fresh, but rules made lately do not show their tags yet.
    Tagless,
    /// Fresh, but expiry schedules cannot be read.
    Blind,
    /// The entries are fresh, the marks on the container are those of a while ago.
    LaggingMarks,
    /// The other way round.
    LaggingEntries,
    /// No answer, or a part of one.
    Failed,
}

/// The fate of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Answered,
    /// Done, and the answer is lost.
    ReplyLost,
    NeverArrived,
    /// No answer, and the request is still on its way.
    Delayed,
    Refused,
    /// Done, and the answer names no rule.
    Unnamed,
    CrashBefore,
    CrashAfter,
    CrashDelayed,
}

/// Rounds of one pass without a fault; the real driver's limit.
const ROUNDS: usize = 12;

/// A world, and one process of it at work.
pub(crate) struct Driver<'w> {
    pub(crate) world: &'w mut World,
    pub(crate) site: usize,
    pub(crate) process: usize,
    pub(crate) bug: Option<Bug>,
    /// Every transaction is a step of its own.
    pub(crate) fine: bool,
    /// Cloud expiry is configured here.
    pub(crate) auto_closing: bool,
    /// Sessions last for as long as any may.
    pub(crate) longest: bool,
}

impl Driver<'_> {
    pub(crate) fn now(&self) -> Tick {
        self.world.sites[self.site].skew
    }

    fn has(&self, bug: Bug) -> bool {
        self.bug == Some(bug)
    }

    fn take(&mut self) -> Process {
        std::mem::replace(&mut self.world.sites[self.site].processes[self.process], Process::Idle)
    }

    fn put(&mut self, process: Process) {
        self.world.sites[self.site].processes[self.process] = process;
    }

    // ---------------------------------------------------------------------------------------------------- reading

    /// The pass begins: the expire transaction, then a reading.
    pub(crate) fn observe(&mut self, look: Look) {
        self.expire();
        let container = self.world.kind.marks_container();
        let rules = match look {
            _ if container && look != Look::Failed => self.read_container(look),
            Look::Fresh | Look::Blind => seen(&self.world.rules),
            Look::Lagging | Look::LaggingMarks | Look::LaggingEntries => {
                self.world.lag.as_ref().map(|(_, rules)| rules.clone()).unwrap_or_default()
            }
            Look::Tagless => {
                let hide = |rule: &Rule| Rule { tags: rule.tags.filter(|_| rule.age >= SETTLED), ..*rule };
                seen(&self.world.rules.iter().map(hide).collect::<Vec<_>>())
            }
            Look::Failed if self.has(Bug::FailedReadIsEmpty) => Vec::new(),
            // Of a target that cannot be read the plan is empty; what is on record stays.
            Look::Failed => return,
        };
        let old = self.auto_closing && matches!(look, Look::Lagging | Look::Tagless | Look::Failed);
        let loose = self.loose(&rules, look);
        let pass = Pass { old, rules_first: self.auto_closing, blind: look == Look::Blind, loose, ..Pass::new(rules) };
        self.put(Process::Ready(Box::new(pass)));
        if !self.fine {
            self.go_on();
        }
    }

    pub(crate) fn expire(&mut self) {
        let now = self.now();
        let reopens = self.has(Bug::ClockReopens);
        for session in &mut self.world.sites[self.site].sessions {
            if reopens && session.life == Life::Ended && session.until > now {
                session.life = Life::Live;
                session.risen = true;
            }
            if session.life == Life::Live && session.until <= now {
                session.life = Life::Ending;
            }
        }
        self.let_go();
    }

    /// Ending sessions that hold nothing any more have ended; claims that were never attempted and that nobody wants
    /// are closed.
    pub(crate) fn let_go(&mut self) {
        let keeps_expiry = self.has(Bug::ClockReopens);
        let site = &mut self.world.sites[self.site];
        let live = |session: &&Session| session.life == Life::Live;
        let wanted = site.sessions.iter().filter(live).fold(0, |ports, session| ports | session.ports);
        let ledger = &site.ledger;
        let gone = |port: u8| {
            let row = ledger.iter().find(|row| row.port == port);
            real::has_let_go(row, wanted & (1 << port) != 0)
        };
        for session in site.sessions.iter_mut().filter(|session| session.life == Life::Ending) {
            if members(u16::from(session.ports)).all(gone) {
                session.life = Life::Ended;
                session.until = if keeps_expiry { session.until } else { 0 };
            }
        }
        site.ledger.retain(|row| row.sent.is_some() || wanted & (1 << row.port) != 0);
    }

    // --------------------------------------------------------------------------------------------------- planning

    fn view(&self, pass: &Pass) -> View {
        let site = &self.world.sites[self.site];
        let live = |(_, session): &(usize, &Session)| session.life == Life::Live && session.until > site.skew;
        View {
            name: self.site as u8,
            one_id: self.has(Bug::OneIdTwoMachines),
            now: site.skew,
            provider: pass.read_at,
            read_at: pass.read_at + site.skew,
            longest: self.longest,
            sessions: site.sessions.iter().enumerate().filter(live).map(|(n, s)| (n as u8, s.ports, s.until)).collect(),
            ledger: site.ledger.clone(),
            revoked: site.revoked.clone(),
            opened: site.opened.iter().map(|opened| (opened.rule, opened.port)).collect(),
            kind: self.world.kind,
            loose: pass.loose,
            rules: pass.rules.clone(),
            auto_closes: self
                .auto_closing
                .then(|| AutoClosesSeen { rows: site.auto_closes.clone(), seen: pass.auto_closes.clone() }),
        }
    }

    pub(crate) fn plan(&self, pass: &Pass) -> Plan {
        let mut view = self.view(pass);
        bugs::blur(self.bug, &mut view, &self.world.sites[self.site]);
        let mut plan = (*real::plan(view.clone())).clone();
        bugs::distort(self.bug, &view, &mut plan);
        bugs::distort_auto_closes(self.bug, &view, &mut plan);
        plan
    }

    /// The plan on a fresh reading.
    pub(crate) fn fresh_plan(&self) -> Plan {
        let rules = seen(&self.world.marked_rules());
        let mut pass = Pass { loose: self.loose(&rules, Look::Fresh), ..Pass::new(rules) };
        self.see_auto_closes(&mut pass);
        self.plan(&pass)
    }

    /// From a reading or an outcome to the next intent, or to rest.
    pub(crate) fn go_on(&mut self) {
        let Process::Ready(mut pass) = self.take() else { panic!("nothing to go on with") };
        for _ in 0..ROUNDS {
            if pass.todo.is_empty() {
                self.forget_stripped(&pass);
                if !(std::mem::take(&mut pass.rules_first) && self.changes_rules(&pass)) {
                    self.see_auto_closes(&mut pass);
                }
                let plan = self.plan(&pass);
                self.check_needed(&pass, &plan);
                pass.wanted = self.world.sites[self.site].wanted();
                self.learn(&pass, &plan.learn);
                if plan.calls.is_empty() {
                    // The record that the reading has just changed decides which expiry schedules to set or drop.
                    if self.auto_closing && !plan.learn.is_empty() {
                        continue;
                    }
                    return self.rest(&pass, &plan);
                }
                pass.todo = plan.calls;
            }
            while !pass.todo.is_empty() {
                let call = pass.todo.remove(0);
                if call.is_of_auto_close() {
                    if self.intend_auto_close(&mut pass, call) {
                        return self.put(Process::Intended(pass));
                    }
                    continue;
                }
                if pass.read_at != 0 {
                    return; // too old to act on: read again
                }
                if self.intend(&mut pass, call) {
                    return self.put(Process::Intended(pass));
                }
            }
        }
        panic!("a pass that never ends: {:?}", self.world);
    }

    /// True if the plan changes rules. That comes before expiry schedules are read.
    fn changes_rules(&self, pass: &Pass) -> bool {
        self.plan(pass).calls.iter().any(|call| !call.is_of_auto_close())
    }

    /// S2: what the reading shows to be needed is not revoked.
    fn check_needed(&mut self, pass: &Pass, plan: &Plan) {
        let site = &self.world.sites[self.site];
        let (wanted, ledger) = (site.wanted(), &site.ledger);
        let needed = |id: u8| {
            let Some(rule) = pass.rules.iter().find(|rule| rule.id == id) else { return false };
            let edited = ledger.iter().any(|row| row.proven() == Some(id) && row.port != rule.port);
            let held = rule.held_by_another(self.site) || wanted & (1 << rule.port) != 0;
            held && !edited && !site.edited(rule)
        };
        let closes = |call: &&Call| matches!(call, Call::Revoke { .. } | Call::Collect { .. });
        let closed = plan.calls.iter().filter(closes).fold(0, |mask, call| mask | call.rules());
        if members(closed).any(needed) {
            self.world.broken.needed = true;
        }
    }

    fn forget_stripped(&mut self, pass: &Pass) {
        if !self.has(Bug::StrippedIsForeign) {
            return;
        }
        let bare = |id: u8| pass.rules.iter().any(|rule| rule.id == id && rule.tags.is_none());
        self.world.sites[self.site].ledger.retain(|row| !row.proven().is_some_and(bare));
    }

    /// Records what follows from the reading. A row that an adoption has just written is not closed by the same plan:
    /// its version is no longer the one that was loaded.
    fn learn(&mut self, pass: &Pass, steps: &[Learn]) {
        let now = self.now();
        let mut written = Vec::new();
        for step in steps {
            match *step {
                Learn::Adopt { port, rule, until } => {
                    let row = self.claim(port);
                    let next = bugs::bent_turn(self.bug, row, Turn::Adopted { rule, until }, now);
                    self.write(row.key(), next);
                    self.remember_opened(rule, port);
                    written.push(row.key());
                }
                Learn::Close { key } if !written.contains(&key) => {
                    let row = self.world.sites[self.site].ledger.iter().find(|row| row.key() == key).copied();
                    if let Some(row) = row {
                        self.write(key, bugs::bent_turn(self.bug, row, Turn::Closed, now));
                    }
                }
                Learn::Close { .. } => {}
                Learn::Know { rule, port, at } => self.know_auto_close(rule, port, at),
                Learn::Forget { rule } => self.leave_auto_close(pass, rule),
            }
        }
    }

    /// Rest: what has come to what goes on record.
    fn rest(&mut self, pass: &Pass, plan: &Plan) {
        self.let_go();
        let site = &self.world.sites[self.site];
        let ending = site.sessions.iter().any(|session| session.life == Life::Ending);
        if pass.clean && plan.clean && pass.undisturbed && !ending && self.leaves_something(pass) {
            self.world.broken.left = true;
        }
        let sees = self.auto_closing && pass.undisturbed && !pass.old && !pass.blind;
        if sees && pass.clean && plan.clean && !self.world.auto_closes_are_right(self.site) {
            self.world.broken.unmoved = true;
        }
    }

    /// S3: a rule of ours that no live session wants and nobody else holds, neither in the reading nor by now. What we
    /// have left, or look for because a reading may have hidden it, counts only where this reading shows it and nobody
    /// else on it: our lease stays open until that is settled. The same goes for an edited rule that the record
    /// remembers. What was edited before its id was known cannot be told to be ours, and with a wrong clock nothing is
    /// collected that carries others' leases (`docs/guarantees.md`).
    fn leaves_something(&self, pass: &Pass) -> bool {
        let site = &self.world.sites[self.site];
        let wanted = site.wanted();
        self.world.marked_rules().iter().any(|rule| {
            let row = site.ledger.iter().find(|row| row.proven() == Some(rule.id));
            let shown = pass.rules.iter().find(|seen| seen.id == rule.id);
            let others = rule.held_by_another(self.site) || shown.is_some_and(|seen| seen.held_by_another(self.site));
            let left = row.is_some_and(|row| row.phase == Phase::Leaving) && shown.is_none();
            let made = rule.made_by == Some(self.site as u8) && (self.now() == 0 || !rule.has_leases());
            let ours = row.is_some() || (rule.genuine() && (made || rule.lease_of(self.site).is_some()));
            let port = row.map_or(rule.port, |row| row.port);
            let displaced = row.is_none() && shown.is_some_and(|seen| site.edited(seen));
            let hidden = row.is_none() && site.edited(rule) && !displaced;
            displaced || (ours && !left && !hidden && wanted & (1 << port) == 0 && !others)
        })
    }

    // ------------------------------------------------------------------------------------------------- the ledger

    /// The open row of a permission, made where there is none.
    fn claim(&mut self, port: u8) -> Row {
        let (again, unwritten) = (self.has(Bug::ClaimedTwice), self.has(Bug::LedgerAfterSuccess));
        let ledger = &mut self.world.sites[self.site].ledger;
        let open = ledger.iter().find(|row| row.port == port).copied();
        if let Some(row) = open.filter(|row| !(again && row.in_flight.is_some() && row.twin == 0)) {
            return row;
        }
        let twin = u8::from(open.is_some());
        let row = real::claim(port, twin);
        if !unwritten && !ledger.iter().any(|known| known.key() == row.key()) {
            ledger.push(row);
        }
        row
    }

    /// Writes a row, and moves its version on: what others have read of it is old now.
    pub(crate) fn write(&mut self, key: (u8, u8), next: Row) {
        let upserts = self.has(Bug::LedgerAfterSuccess);
        let site = &mut self.world.sites[self.site];
        let found = site.ledger.iter().position(|row| row.key() == key);
        match found {
            Some(index) if next.phase == Phase::Closed => drop(site.ledger.remove(index)),
            Some(index) => site.ledger[index] = next,
            None if upserts && next.phase != Phase::Closed => site.ledger.push(next),
            None => {}
        }
        for pass in site.processes.iter_mut().filter_map(Process::pass_mut) {
            pass.intents.iter_mut().filter(|intent| intent.row.key() == key).for_each(|intent| intent.raced = true);
        }
    }

    /// Transaction A. Whether the call may go out.
    fn intend(&mut self, pass: &mut Pass, call: Call) -> bool {
        let now = self.now();
        if let Call::Authorize { session, .. } | Call::Join { session, .. } | Call::Restore { session, .. } = call {
            let session = &self.world.sites[self.site].sessions[usize::from(session)];
            if session.life != Life::Live || session.until <= now {
                return false;
            }
        }
        let mut opening = matches!(call, Call::Authorize { .. } | Call::Join { .. });
        // A tag of the container that is written late brings back any mark that was in it, whatever became of its entry.
        let late_counts = self.world.kind.marks_container() && !self.has(Bug::LateMarkIsNothing);
        opening |= late_counts && !matches!(call, Call::Collect { .. });
        pass.intents = self.leased(pass, call);
        pass.half = false;
        if let Call::Authorize { ports, .. } = call {
            self.claim_unseen(ports);
        }
        for intent in &mut pass.intents {
            let next = bugs::bent_turn(self.bug, intent.row, Turn::Intend { opening, undoing: false }, now);
            intent.settled = intent.row.settled(self.world.kind, now);
            if !self.has(Bug::LedgerAfterSuccess) {
                self.write(intent.row.key(), next);
            }
            intent.row = next;
        }
        self.date_named_newly(pass, call);
        pass.call = Some(call);
        true
    }

    /// Each rule of a call with its row: by the rule's id, else by its permission. What nobody here holds has none.
    fn leased(&mut self, pass: &Pass, call: Call) -> Vec<Intent> {
        let intent = |rule, row| Intent { rule, row, settled: false, raced: false };
        match call {
            Call::Collect { .. } => Vec::new(),
            Call::Authorize { ports, .. } => {
                members(u16::from(ports)).map(|port| intent(None, self.claim(port))).collect()
            }
            Call::Unmark { ports } => members(u16::from(ports)).map(|port| intent(None, self.claim(port))).collect(),
            _ => members(call.rules())
                .filter_map(|id| {
                    let ledger = &self.world.sites[self.site].ledger;
                    let by_id = ledger.iter().find(|row| row.proven() == Some(id)).copied();
                    let port = pass.rules.iter().find(|rule| rule.id == id).map(|rule| rule.port);
                    let row = by_id.or_else(|| port.map(|port| self.claim(port)));
                    row.map(|row| intent(Some(id), row))
                })
                .collect(),
        }
    }

    /// Transaction B: the outcome, where the version is still the one of the intent.
    fn outcome(&mut self, intent: &Intent, how: Turn) {
        let key = intent.row.key();
        let there = self.world.sites[self.site].ledger.iter().find(|row| row.key() == key).copied();
        let same = |row: Row| (row.phase, row.rule) == (intent.row.phase, intent.row.rule);
        let mine = match self.bug {
            Some(Bug::GuardedByContents) => there.is_some_and(same),
            Some(Bug::LedgerAfterSuccess) => !matches!(how, Turn::Unanswered | Turn::Refused { .. }),
            _ => !intent.raced && there.is_some(),
        };
        if mine {
            let next = bugs::bent_turn(self.bug, intent.row, how, self.now());
            self.write(key, next);
            match how {
                Turn::Joined { .. } if self.has(Bug::JoinProvesNothing) => {}
                Turn::Authorized { rule, .. } | Turn::Joined { rule, .. } => {
                    self.remember_opened(rule, intent.row.port)
                }
                _ => {}
            }
        }
    }

    // --------------------------------------------------------------------------------------------------- the call

    /// The call goes out. In a coarse world its outcome is recorded in the same step, and the pass goes on.
    pub(crate) fn call(&mut self, fate: Fate) {
        let Process::Intended(mut pass) = self.take() else { panic!("nothing to send") };
        let Some(step) = pass.call else { panic!("no call") };
        let call = self.request(&pass, step);
        let by = self.sees(&pass);
        self.check_collected(&pass, call);
        if self.has(Bug::WholeListUnconditional) && matches!(call, Call::Authorize { .. } | Call::Revoke { .. }) {
            self.drop_unseen(&pass);
        }
        let unknown = Answer::Failed(FailureClass::Unknown);
        let answer = match fate {
            Fate::Answered => self.arrive(call, by),
            Fate::Unnamed => match self.arrive(call, by) {
                Answer::Done(_) => Answer::Unnamed,
                failed => failed,
            },
            Fate::Refused => Answer::Failed(FailureClass::Denied),
            Fate::ReplyLost | Fate::CrashAfter => {
                self.arrive(call, by);
                unknown
            }
            Fate::Delayed | Fate::CrashDelayed => {
                let fresh = self.world.kind.marks_container();
                self.world.late.push(Late { site: self.site as u8, call, age: 0, fresh });
                unknown
            }
            Fate::NeverArrived | Fate::CrashBefore => unknown,
        };
        if matches!(fate, Fate::CrashBefore | Fate::CrashAfter | Fate::CrashDelayed) {
            return;
        }
        if self.has(Bug::TextFromReading) && matches!(answer, Answer::Done(_)) {
            self.write_text_of(&pass, call);
        }
        if !pass.half && self.in_two(step) && !matches!(answer, Answer::Failed(_)) {
            pass.half = true;
            return self.put(Process::Intended(pass));
        }
        self.put(Process::Answered(pass, answer));
        if !self.fine {
            self.record();
        }
    }

    /// The pass's knowledge of the state that it overwrites. This process is taken out of the world.
    fn sees(&self, pass: &Pass) -> By {
        let crowded = || self.world.sites[self.site].processes.iter().any(|process| *process != Process::Idle);
        match pass.undisturbed && !pass.old {
            _ if pass.raced => By::Overtaken,
            true => By::Seeing,
            false if crowded() => By::Overtaken,
            false => By::Blindly,
        }
    }

    fn arrive(&mut self, call: Call, by: By) -> Answer {
        let mut provider = Provider { world: self.world, bug: self.bug };
        let before = provider.entries();
        let answer = provider.arrive(self.site, call, by);
        provider.overtake(before);
        if matches!(by, By::Blindly | By::Overtaken) && call.writes_tags() {
            provider.doubt_auto_closes(call.rules());
        }
        // This process is taken out of the world while it calls, so all that are in it are others.
        provider.disturb();
        answer
    }

    // ------------------------------------------------------------------------------------------------ the outcome

    /// Records the outcome of the answer, and applies it to the reading.
    pub(crate) fn record(&mut self) {
        let Process::Answered(mut pass, answer) = self.take() else { panic!("nothing to record") };
        let Some(call) = pass.call.take() else { panic!("no call") };
        if call.is_of_auto_close() {
            if self.record_auto_close(&mut pass, call, answer) {
                self.proceed(pass);
            }
            return;
        }
        let intents = std::mem::take(&mut pass.intents);
        let goes_on = match answer {
            Answer::Failed(class) => self.failed(&mut pass, call, &intents, class),
            Answer::Unnamed => {
                self.unnamed(call, &intents);
                false
            }
            Answer::Done(first) => self.done(&mut pass, call, &intents, first),
        };
        if goes_on {
            self.proceed(pass);
        }
    }

    fn proceed(&mut self, pass: Box<Pass>) {
        self.put(Process::Ready(pass));
        if !self.fine {
            self.go_on();
        }
    }

    /// True if the pass goes on without reading again.
    fn done(&mut self, pass: &mut Pass, call: Call, intents: &[Intent], first: u8) -> bool {
        let marks_return = self.marks_may_return(intents);
        for (n, intent) in (0..).zip(intents) {
            let made = if self.world.kind == Kind::Set { intent.row.port } else { first + n };
            let rule = intent.rule.unwrap_or(made);
            match call {
                Call::Authorize { until, .. } => self.outcome(intent, Turn::Authorized { rule, until }),
                Call::Join { until, .. } => self.outcome(intent, Turn::Joined { rule, until }),
                Call::Restore { until, .. } | Call::Retag { until, .. } => {
                    self.outcome(intent, Turn::Retagged { until });
                }
                Call::Leave { .. } => self.outcome(intent, Turn::Left { rule }),
                Call::Revoke { .. } if self.world.kind.marks_container() => {
                    let wanted = pass.wanted & (1 << intent.row.port) != 0 || marks_return;
                    self.outcome(intent, Turn::Undone { wanted });
                    self.remember_revoked(rule);
                }
                Call::Revoke { .. } => self.revoked(pass, intent, rule),
                Call::Unmark { .. } => {
                    let wanted = pass.wanted & (1 << intent.row.port) != 0 || marks_return;
                    self.outcome(intent, Turn::Unmarked { wanted });
                }
                Call::Collect { .. } | Call::SetAutoClose { .. } | Call::DropAutoClose { .. } | Call::Write { .. } => {}
            }
        }
        if let Call::Collect { rules } = call {
            members(rules).for_each(|rule| self.remember_revoked(rule));
        }
        self.lay_over(pass, call, first);
        !matches!(call, Call::Join { .. })
    }

    fn revoked(&mut self, pass: &Pass, intent: &Intent, rule: u8) {
        let wanted = pass.wanted & (1 << intent.row.port) != 0;
        let site = &self.world.sites[self.site];
        let hidden = real::hidden(self.world.kind, &site.opened, intent.row.port, rule, pass.read_at + site.skew);
        let hidden = hidden.filter(|_| !self.has(Bug::HiddenIsForgotten));
        self.outcome(intent, Turn::Revoked { wanted, hidden });
        self.remember_revoked(rule);
    }

    fn remember_opened(&mut self, rule: u8, port: u8) {
        let at = self.now();
        let opened = &mut self.world.sites[self.site].opened;
        opened.retain(|known| (known.rule, known.port) != (rule, port));
        opened.push(Opened { rule, port, at });
        opened.sort_unstable();
    }

    fn remember_revoked(&mut self, rule: u8) {
        let now = self.now();
        let site = &mut self.world.sites[self.site];
        site.opened.retain(|opened| opened.rule != rule);
        let revoked = &mut site.revoked;
        revoked.retain(|(id, _)| *id != rule);
        revoked.push((rule, now));
        revoked.sort_unstable();
    }

    /// A success without names: a reading has to tell.
    fn unnamed(&mut self, call: Call, intents: &[Intent]) {
        // Of a revoke, the real driver records the success once a reading of the same pass does not show the rule. Left
        // out here, it is found by a later pass.
        if let Call::Authorize { until, .. } = call {
            intents.iter().for_each(|intent| self.outcome(intent, Turn::Landed { until }));
        }
    }

    fn failed(&mut self, pass: &mut Pass, call: Call, intents: &[Intent], class: FailureClass) -> bool {
        let refused = |waits| Turn::Refused { class, waits };
        let all = |driver: &mut Self, how: Turn| intents.iter().for_each(|intent| driver.outcome(intent, how));
        if class.outcome_unknown() {
            all(self, Turn::Unanswered);
            return false;
        }
        if class.splits_batch() && (call.rules().count_ones() > 1 || intents.len() > 1) {
            all(self, refused(false));
            return self.one_by_one(pass, call);
        }
        match (class, call) {
            (FailureClass::Stale, Call::Authorize { .. }) => {
                let known = intents.iter().any(|intent| intent.row.phase == Phase::Held && intent.row.rule.is_some());
                all(self, refused(known));
                known
            }
            // Of a container, the mark of an entry that is gone has to go, too.
            (FailureClass::Stale, Call::Revoke { rules })
                if intents.iter().all(|intent| intent.settled) && !self.world.kind.marks_container() =>
            {
                for (rule, intent) in members(rules).zip(intents) {
                    self.revoked(pass, intent, rule);
                }
                self.lay_over(pass, call, 0);
                true
            }
            (FailureClass::Stale, _) => {
                if matches!(call, Call::Join { .. }) {
                    all(self, refused(false));
                }
                false
            }
            _ => {
                pass.clean = false;
                all(self, refused(true));
                // A call that was refused for good is not tried again in this pass.
                !matches!(call, Call::Collect { .. })
            }
        }
    }

    /// A batch that was refused for one of its members goes again one by one.
    fn one_by_one(&mut self, pass: &mut Pass, call: Call) -> bool {
        let singles: Vec<Call> = match call {
            Call::Authorize { session, until, ports } => {
                members(u16::from(ports)).map(|port| Call::Authorize { session, until, ports: 1 << port }).collect()
            }
            other => members(other.rules()).map(|rule| other.only(rule)).collect(),
        };
        pass.todo.splice(0..0, singles);
        true
    }

    /// Known effects over the reading. A join counts only when it is seen.
    fn lay_over(&mut self, pass: &mut Pass, call: Call, first: u8) {
        let lease = |rule: &mut Rule, site: usize, until: Option<Tick>| {
            if let Some(tags) = &mut rule.tags {
                tags.leases[site] = until;
            }
        };
        match call {
            Call::Authorize { until, ports, .. } => {
                let made = Provider::made(self.world.kind, self.site, until, ports, first);
                pass.loose &= !ports;
                // Rule ids are never reused: a new rule has no expiry schedule yet.
                if self.auto_closing {
                    pass.auto_closes.extend(made.iter().map(|rule| (rule.id, Seen::Absent)));
                }
                pass.rules.extend(seen(&made));
            }
            Call::Revoke { rules } | Call::Collect { rules } => pass.rules.retain(|rule| rules & (1 << rule.id) == 0),
            Call::Unmark { ports } => pass.loose &= !ports,
            Call::Join { .. } | Call::SetAutoClose { .. } | Call::DropAutoClose { .. } | Call::Write { .. } => {}
            Call::Restore { .. } | Call::Retag { .. } | Call::Leave { .. } => {
                for rule in pass.rules.iter_mut().filter(|rule| call.rules() & (1 << rule.id) != 0) {
                    match call {
                        Call::Restore { port, until, .. } => {
                            rule.tags = Some(Tags { fits: 1 << port, leases: rule.tags.unwrap_or(NO_TAGS).leases });
                            lease(rule, self.site, Some(until));
                        }
                        Call::Retag { until, .. } => lease(rule, self.site, Some(until)),
                        _ => lease(rule, self.site, None),
                    }
                }
            }
        }
    }
}

/// The rules as a reading shows them.
pub(crate) fn seen(rules: &[Rule]) -> Vec<Rule> {
    let seen = |rule: &Rule| Rule { made_by: None, age: SETTLED, late: false, claimed: false, ..*rule };
    rules.iter().map(seen).collect()
}

/// The rules as later readings may show them. What tells an entry of `eg`'s from a hand's stays.
pub(crate) fn snapshot(kind: Kind, rules: &[Rule]) -> Vec<Rule> {
    let settled = |rule: &Rule| Rule { age: SETTLED, late: false, ..*rule };
    if kind.marks_container() { rules.iter().map(settled).collect() } else { seen(rules) }
}

/// When a rule with these tags closes by itself: at the end of its latest lease.
fn timed(bug: Option<Bug>, site: usize, tags: &Tags, known: Option<Tick>) -> Option<Tick> {
    match bug {
        Some(Bug::TimedAtOwnEnd) => tags.leases[site].or(known),
        Some(Bug::TimedNotMoved) => known,
        Some(Bug::TimedForLonger) => tags.leases.into_iter().flatten().max().map(|at| at + 2),
        _ => tags.leases.into_iter().flatten().max().or(known),
    }
}

const NO_TAGS: Tags = Tags { fits: 0, leases: [None; SITES] };

/// The provider's side of a call.
pub(crate) struct Provider<'w> {
    pub(crate) world: &'w mut World,
    pub(crate) bug: Option<Bug>,
}

impl Provider<'_> {
    /// The rules that an authorize makes.
    fn made(kind: Kind, site: usize, until: Tick, ports: u8, first: u8) -> Vec<Rule> {
        let mut leases = [None; SITES];
        leases[site] = Some(until);
        let tags = Some(Tags { fits: ports, leases }).filter(|_| kind != Kind::Bare);
        let made_by = Some(site as u8);
        let closes = kind.closes_by_itself().then_some(until);
        let id = |n, port| if kind == Kind::Set { port } else { first + n };
        let rule = |(n, port)| Rule {
            id: id(n, port),
            port,
            tags,
            described: true,
            made_by,
            age: 0,
            late: false,
            claimed: false,
            closes,
        };
        (0..).zip(members(u16::from(ports))).map(rule).collect()
    }

    pub(crate) fn arrive(&mut self, site: usize, call: Call, by: By) -> Answer {
        if call.is_of_auto_close() {
            return self.auto_close(call, by);
        }
        let late = by == By::Late;
        let stale = Answer::Failed(FailureClass::Stale);
        if let Call::Write { list } = call {
            self.write(site, list);
            return Answer::Done(0);
        }
        if let Call::Authorize { until, ports, .. } = call {
            if self.world.rules.iter().any(|rule| ports & (1 << rule.port) != 0) {
                return stale;
            }
            let first = self.world.next_id();
            let made = Self::made(self.world.kind, site, until, ports, first);
            let unmarked = self.world.kind.marks_container();
            let tags = |rule: &Rule| rule.tags.filter(|_| !unmarked);
            self.world.rules.extend(made.into_iter().map(|rule| Rule { late, tags: tags(&rule), ..rule }));
            return Answer::Done(first);
        }
        if self.bug == Some(Bug::RevokedByPermission)
            && let Call::Revoke { rules } = call
        {
            return self.revoke_by_permission(site, rules);
        }
        let there = self.world.rules.iter().fold(0_u16, |mask, rule| mask | 1 << rule.id);
        if call.rules() & !there != 0 {
            return stale; // one unknown id refuses the whole call
        }
        self.check_touched(call.rules());
        if let Call::Revoke { rules } | Call::Collect { rules } = call {
            self.world.rules.retain(|rule| rules & (1 << rule.id) == 0);
        } else {
            self.tag(site, call);
        }
        Answer::Done(0)
    }

    fn tag(&mut self, site: usize, call: Call) {
        let one_id = self.bug == Some(Bug::OneIdTwoMachines);
        for rule in self.world.rules.iter_mut().filter(|rule| call.rules() & (1 << rule.id) != 0) {
            let mut tags = rule.tags.unwrap_or(NO_TAGS);
            match call {
                Call::Leave { value, .. } => {
                    // By key and value: another value stays.
                    tags.leases[site] = tags.leases[site].filter(|at| Some(*at) != value);
                }
                Call::Join { until, .. } | Call::Retag { until, .. } => tags.leases[site] = Some(until),
                Call::Restore { port, until, .. } => {
                    tags.fits = 1 << port;
                    tags.leases[site] = Some(until);
                }
                _ => {}
            }
            if one_id && call.writes_tags() {
                tags.leases[1 - site] = None;
            }
            rule.tags = Some(tags).filter(|tags| *tags != NO_TAGS);
            if rule.closes.is_some() {
                rule.closes = timed(self.bug, site, &tags, rule.closes);
            }
        }
    }

    /// An installation's tag on the container, as a whole.
    fn write(&mut self, site: usize, list: [Option<Tick>; SITES]) {
        let site = site as u8;
        self.world.marks.retain(|mark| mark.site != site);
        let marks = (0..).zip(list).filter_map(|(port, until)| Some(Mark { site, port, until: until? }));
        self.world.marks.extend(marks);
    }

    /// The entries, where writes to them are conditional.
    pub(crate) fn entries(&self) -> Option<Vec<Rule>> {
        self.world.kind.marks_container().then(|| self.world.rules.clone())
    }

    /// Where an entry has changed, no conditional write that is on its way lands any more.
    pub(crate) fn overtake(&mut self, before: Option<Vec<Rule>>) {
        if before.is_some_and(|before| before != self.world.rules) {
            self.world.late.iter_mut().for_each(|late| late.fresh = false);
        }
    }

    /// S1: what no installation made is never changed.
    pub(crate) fn check_touched(&mut self, rules: u16) {
        let hand_made = |rule: &Rule| rules & (1 << rule.id) != 0 && rule.made_by.is_none() && !rule.claimed;
        if self.world.rules.iter().any(hand_made) {
            self.world.broken.touched = true;
        }
    }

    fn revoke_by_permission(&mut self, site: usize, rules: u16) -> Answer {
        let ledger = &self.world.sites[site].ledger;
        let named = ledger.iter().filter(|row| row.proven().is_some_and(|id| rules & (1 << id) != 0));
        let ports = named.fold(0_u8, |mask, row| mask | 1 << row.port);
        let hit = self.world.rules.iter().filter(|rule| ports & (1 << rule.port) != 0);
        let hit = hit.fold(0_u16, |mask, rule| mask | 1 << rule.id);
        self.check_touched(hit);
        self.world.rules.retain(|rule| hit & (1 << rule.id) == 0);
        Answer::Done(0)
    }

    /// A late request lands. In the tick after its call it has used up what may be late, so every reading shows it.
    pub(crate) fn deliver(&mut self, index: usize) {
        let late = self.world.late.remove(index);
        let before = self.world.rules.clone();
        let entry = !matches!(late.call, Call::Write { .. });
        if entry && self.world.kind.marks_container() && !late.fresh {
            return; // the list is not the one that the write was made for
        }
        self.arrive(usize::from(late.site), late.call, By::Late);
        self.overtake(Some(before.clone()).filter(|_| self.world.kind.marks_container()));
        if late.age > 0 {
            self.show(&before);
            if self.world.lag.is_some() {
                self.world.lagging_marks.retain(|mark| mark.site != late.site);
                let shown = self.world.marks.iter().filter(|mark| mark.site == late.site).copied();
                let shown: Vec<Mark> = shown.collect();
                self.world.lagging_marks.extend(shown);
            }
        }
        self.disturb();
    }

    /// Lets every reading show what has changed since `before`.
    fn show(&mut self, before: &[Rule]) {
        let kind = self.world.kind;
        let World { rules, lag, .. } = &mut *self.world;
        let seen = |rules: &[Rule]| snapshot(kind, rules);
        for rule in rules.iter_mut().filter(|rule| !before.contains(rule)) {
            rule.age = SETTLED;
        }
        let Some((_, shown)) = lag else { return };
        shown.retain(|rule| rules.iter().any(|r| r.id == rule.id) || !before.iter().any(|r| r.id == rule.id));
        for rule in seen(rules).into_iter().filter(|rule| !seen(before).contains(rule)) {
            shown.retain(|known| known.id != rule.id);
            shown.push(rule);
            shown.sort_unstable_by_key(|rule| rule.id);
        }
    }

    /// Another actor has changed the provider.
    pub(crate) fn disturb(&mut self) {
        let passes = self.world.sites.iter_mut().flat_map(|site| &mut site.processes).filter_map(Process::pass_mut);
        passes.for_each(|pass| pass.undisturbed = false);
    }
}
