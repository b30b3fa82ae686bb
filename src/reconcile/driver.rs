//! The reconcile driver: expire, observe, plan, apply, record. It decides nothing itself: what to do comes from
//! `eg_model::plan`, what it means comes back into the ledger through `eg_model::lease`.
//!
//! | file | what |
//! |---|---|
//! | `mod` | a pass: what it has to look at, how it begins and ends |
//! | `route` | everything behind one route (credentials, endpoint, region): its readings, then its targets |
//! | `lane` | what the targets of a route share: slots, the time limit, and which service has stopped answering |
//! | `observe` | looking at targets, and what is concluded from that |
//! | `patience` | how often one thing is tried |
//! | `target` | one target, from its first reading to rest |
//! | `leave` | letting go of a rule that others hold |
//! | `report` | what a pass did |
//!
//! One pass runs on one thread. Its routes run side by side, each with slots, retries and a time limit of its own: a region
//! that answers "too fast", credentials that hang or a scheduler that never answers cost their own route time, and no
//! other. A pass lasts as long as its slowest route. The store is borrowed only between awaits, so no transaction is ever
//! open across one.

use crate::reconcile::{
    observe::TargetReadings,
    report::{NoteReport, PassReport},
    rights::KnownRights,
};
use crate::{
    config::{policy::MachinePolicy, settings::CloudExpiry},
    error::CommandError,
    host::{env::Env, lock::PassLock, signals::Interrupt},
};
use chrono::TimeDelta;
use eg_model::{
    Timestamp,
    auto_close::AutoClose,
    damage::{Damage, damage, damage_at},
    ids::{GrantId, RunId, SessionId},
    net::permission::Permission,
    plan::{Note, NoteKind, Wants, wants},
    session::{
        follow::Move,
        record::{Grant, Session, SessionStatus},
    },
    target::{Target, TargetKey},
    twin::Overwritten,
};
use eg_providers::Connect;
use eg_state::{GrantChange, RunKind, RunResult, StateError, Store};
use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
    sync::Arc,
    time::Duration,
};

/// How many targets of one route call one service side by side.
pub(crate) const CONCURRENCY: usize = 8;
/// How long after its first reading a route may begin something new in a pass.
pub(crate) const PASS_LIMIT: Duration = Duration::from_secs(60);

/// What the driver needs to know of the configuration.
#[derive(Clone, Debug, Default)]
pub struct PassPolicy {
    /// Whether the configuration is good: with a bad one nothing is opened, and everything due is closed.
    pub open: bool,
    /// Revoke marked rules whose every lease has expired, whoever opened them.
    pub collect: bool,
    /// More tags on every rule that is opened.
    pub extra_tags: BTreeMap<String, String>,
    /// Name the person in rule descriptions.
    pub name_person: bool,
    /// Where expiry schedules are set, if they are.
    pub cloud_expiry: Option<CloudExpiry>,
    /// What the machine's policy lets a pass open.
    pub site: MachinePolicy,
}

#[derive(Clone, Debug)]
pub struct Request {
    pub kind: RunKind,
    /// Only the targets of these sessions; `None`: everything.
    pub scope: Option<BTreeSet<SessionId>>,
    /// A person waits for it: delays between attempts are ignored.
    pub interactive: bool,
    pub timer: bool,
    /// Targets to look at for collection alone.
    pub collect_from: Vec<Target>,
    /// Sessions that follow their user to another address, before anything is planned.
    pub moves: Vec<Move>,
    pub dry_run: bool,
}

impl Request {
    /// Whether a session is one that the pass is about.
    fn concerns(&self, session: &Session) -> bool {
        self.scope.as_ref().is_none_or(|ids| ids.contains(&session.id))
    }
}

/// What is wrong with a grant as it stands on record. With `latest` unknown no clock but this machine's is, and that may be
/// behind: a session in a far future is opened for nobody then, but it is not damaged for sure.
fn damage_now(session: &Session, grant: &Grant, latest: Option<Timestamp>) -> Option<Damage> {
    latest.map_or_else(|| damage(session, grant), |latest| damage_at(session, grant, latest))
}

/// What a session's row says that `eg` cannot have recorded: nothing is opened for it.
fn damage_notes(session: &Session, latest: Option<Timestamp>) -> Vec<NoteReport> {
    let note = |grant: &Grant| {
        let (short, name) = (session.id.short(), &grant.resource_name);
        let why = damage_now(session, grant, latest)?;
        let message = format!("the record of session {short} on {name} is damaged: {why}; nothing is opened for it");
        Some(NoteReport { target: grant.target.key.clone(), note: Note::new(NoteKind::Damaged, message) })
    };
    session.current().filter_map(note).collect()
}

pub struct Driver<'a> {
    pub env: &'a Env,
    pub store: RefCell<Store>,
    /// The way to the clouds.
    pub connect: Arc<dyn Connect>,
    pub policy: PassPolicy,
    /// Asks to stop between steps.
    pub interrupt: Interrupt,
    /// Sessions whose stop a full disk keeps from the record: wanted no more all the same.
    pub unrecorded_stops: BTreeSet<SessionId>,
    /// The record as last loaded.
    pub loaded: LoadCache,
    /// How far a provider's clock was ahead of this machine's, as far as it was heard.
    pub ahead: Cell<Option<TimeDelta>>,
    /// The answers of dry runs.
    pub rights: KnownRights,
    /// How many grants have changed their status.
    pub changes: Cell<usize>,
    /// Hears of grants whose status changes, as they land, and whether the pass is for their session.
    pub on_change: OnChange<'a>,
}

/// Takes a change of a grant, and whether the pass is for its session.
pub type OnChange<'a> = Box<dyn Fn(&GrantChange, bool) + 'a>;

struct PassStart {
    /// The run's number, where it could be recorded.
    number: Option<i64>,
    /// Whether the record can be written, so that something new may be opened.
    may_open: bool,
}

/// What tells whether the record is still what was loaded: the second, the provider's, our own writes, and those of others.
type LoadKey = (Timestamp, Option<Timestamp>, u64, i64);

/// The record as last loaded; hundreds of targets at rest share one reading of it.
#[derive(Default)]
pub struct LoadCache(RefCell<Option<(LoadKey, Rc<LoadedRecord>)>>);

/// The record, as one round sees it.
pub struct LoadedRecord {
    pub sessions: Vec<Session>,
    pub wants: Wants,
    pub leases: Vec<eg_model::lease::Lease>,
    /// Where there are leases that cannot be read.
    pub unreadable: BTreeSet<TargetKey>,
    pub revoked: BTreeMap<eg_model::ids::RuleId, Timestamp>,
    pub opened: BTreeMap<eg_model::ids::RuleId, Permission>,
    pub auto_closes: Vec<AutoClose>,
    /// Another `eg` with this record's id is at work.
    pub twin: bool,
}

/// Where the record keeps how often something else has overwritten our tags.
pub const OVERWRITTEN: &str = "tags-overwritten";

impl<'a> Driver<'a> {
    /// Live sessions as of now, open leases, rules revoked lately. A session past its expiry is never live here,
    /// even if a full disk kept that from being recorded.
    pub fn load(&self, now: Timestamp) -> Result<Rc<LoadedRecord>, CommandError> {
        let store = self.store.borrow();
        let latest = self.latest(now);
        let key = (now, latest, store.change_count(), store.data_version()?);
        if let Some((known, loaded)) = &*self.loaded.0.borrow()
            && *known == key
        {
            return Ok(Rc::clone(loaded));
        }
        let mut sessions = store.live_sessions()?;
        sessions.retain(|session| session.expires_at > now && !self.unrecorded_stops.contains(&session.id));
        for session in &mut sessions {
            let sound: Vec<bool> =
                session.grants.iter().map(|grant| damage_now(session, grant, latest).is_none()).collect();
            let mut sound = sound.into_iter();
            session.grants.retain(|_| sound.next().unwrap_or(false));
        }
        crate::reconcile::allowed::prefer_allowed(&mut sessions, &self.policy.site);
        let wants = wants(&sessions);
        let leases = store.open_leases()?;
        let unreadable = store.unreadable_leases()?.into_iter().map(|target| target.key).collect();
        let revoked = store.revoked_rules(now - eg_model::SETTLE_WINDOW * 2)?;
        // No lease lasts longer, so no rule of ours is older.
        let opened = store.opened_rules(now - eg_model::tags::LEASE_HORIZON)?;
        let auto_closes = store.auto_closes()?;
        let overwritten = store.note(OVERWRITTEN)?.and_then(|text| text.parse::<Overwritten>().ok());
        let twin = overwritten.is_some_and(|known| known.is_twin(now));
        let loaded = Rc::new(LoadedRecord { sessions, wants, leases, unreadable, revoked, opened, auto_closes, twin });
        *self.loaded.0.borrow_mut() = Some((key, Rc::clone(&loaded)));
        Ok(loaded)
    }

    /// The later of this machine's clock and the provider's; `None` until a reading has told the latter.
    pub fn latest(&self, now: Timestamp) -> Option<Timestamp> {
        self.ahead.get().map(|ahead| now.max(now + ahead))
    }

    /// Every target that a live session or an open lease needs, one that cannot be read included, each with the ways to reach it, newest first.
    ///
    /// # Errors
    /// The record cannot be read.
    pub fn needed(
        &self,
        scope: Option<&BTreeSet<SessionId>>,
    ) -> Result<BTreeMap<TargetKey, Vec<Target>>, CommandError> {
        let store = self.store.borrow();
        let mut sessions = store.live_sessions()?;
        sessions.extend(store.unfinished_sessions()?);
        // One that has ended already may leave a tag behind that says too much for the sessions that go on.
        for id in scope.into_iter().flatten() {
            if !sessions.iter().any(|session| session.id == *id) {
                sessions.extend(store.session(*id)?);
            }
        }
        sessions.sort_by_key(|session| std::cmp::Reverse((session.started_at, session.id)));
        let targets_of = |ids: &BTreeSet<SessionId>| -> BTreeSet<TargetKey> {
            let asked = sessions.iter().filter(|session| ids.contains(&session.id));
            asked.flat_map(|session| &session.grants).map(|grant| grant.target.key.clone()).collect()
        };
        let in_scope = scope.map(targets_of);
        let (live, ending): (Vec<Session>, Vec<Session>) = sessions.into_iter().partition(|s| s.status.is_live());
        let ways = |sessions: Vec<Session>| sessions.into_iter().flat_map(|s| s.grants).map(|grant| grant.target);
        let leases = store.open_leases()?;
        // Expiry schedules of rules that are gone, as long as they would fire, or may.
        let now = self.env.now();
        let auto_closes = store.auto_closes()?.into_iter().filter(|auto_close| auto_close.may_be_there(now));
        let mut needed: BTreeMap<TargetKey, Vec<Target>> = BTreeMap::new();
        // What a lease that cannot be read holds is looked for, too.
        let unreadable = store.unreadable_leases()?;
        let recorded =
            leases.into_iter().map(|lease| lease.target).chain(auto_closes.map(|auto_close| auto_close.target));
        let recorded = recorded.chain(unreadable);
        for target in ways(live).chain(recorded) {
            if in_scope.as_ref().is_none_or(|targets| targets.contains(&target.key)) {
                add_way(needed.entry(target.key.clone()).or_default(), target);
            }
        }
        // Ended sessions want nothing, but the way that they took may be the only one that still works.
        for target in ways(ending) {
            if let Some(known) = needed.get_mut(&target.key) {
                add_way(known, target);
            }
        }
        Ok(needed)
    }

    /// One pass. `looks` are readings made just before; targets without one are read now.
    ///
    /// # Errors
    /// The record cannot be read. What goes wrong at a provider, or while writing, is part of the report.
    pub async fn pass(
        &self,
        lock: &PassLock,
        request: &Request,
        looks: TargetReadings,
    ) -> Result<PassReport, CommandError> {
        let started = self.env.now();
        self.store.borrow().forget_damaged_rows();
        looks.values().for_each(|look| self.hear(look));
        let run = RunId(self.env.uuid());
        let mut report = PassReport::new(run, started);
        report.warnings = lock.warnings().to_vec();
        let mut begun = self.begin(request, run, started, &mut report);
        begun.may_open &= !lock.closes_only();
        self.follow(request, begun.may_open, &mut report);
        let mut targets = self.needed(request.scope.as_ref())?;
        for target in &request.collect_from {
            targets.entry(target.key.clone()).or_insert_with(|| vec![target.clone()]);
        }
        let (asked, version) = (self.asked_for()?, self.store.borrow().data_version()?);
        self.drive(request, targets, looks, begun.may_open, &mut report).await;
        self.finish(request, begun.number, &mut report)?;
        let written = self.store.borrow().data_version()? != version;
        report.was_outrun = written && self.asked_for()? != asked;
        Ok(report)
    }

    /// The live sessions and their expiries. A pass itself changes neither after it has begun, so a difference comes from
    /// another process.
    fn asked_for(&self) -> Result<BTreeSet<(SessionId, Timestamp)>, CommandError> {
        let live = self.store.borrow().live_sessions()?;
        Ok(live.iter().map(|session| (session.id, session.expires_at)).collect())
    }

    /// The run's row and the expire transaction. What cannot be written keeps anything new from being opened;
    /// closing goes on.
    fn begin(&self, request: &Request, run: RunId, now: Timestamp, report: &mut PassReport) -> PassStart {
        if request.dry_run {
            return PassStart { number: None, may_open: true };
        }
        let mut store = self.store.borrow_mut();
        let begun = store.begin_run(run, request.kind, request.timer, now);
        let unguarded = match &begun {
            Err(StateError::Guard { begun, .. }) => *begun,
            _ => None,
        };
        let number = report.keep(begun);
        let expired = report.keep(store.expire(now));
        PassStart { number: number.or(unguarded), may_open: number.is_some() && expired.is_some() }
    }

    /// Records the moves. Whoever was faster (another pass, a stop) has the last word.
    fn follow(&self, request: &Request, may_open: bool, report: &mut PassReport) {
        if request.dry_run {
            report.moves.clone_from(&request.moves);
            return;
        }
        let mut store = self.store.borrow_mut();
        for step in request.moves.iter().filter(|_| may_open) {
            let recorded = store.follow(step, report.started, || GrantId(self.env.uuid()));
            if report.keep(recorded) == Some(true) {
                report.moves.push(*step);
            }
        }
    }

    /// Reports a change of a grant. The pass of a start reports its own session only.
    pub fn tell(&self, request: &Request, change: &GrantChange) {
        self.changes.set(self.changes.get() + 1);
        let own = request.scope.as_ref().is_some_and(|ids| ids.contains(&change.session));
        if own || request.kind != RunKind::Start {
            (self.on_change)(change, own);
        }
    }

    fn finish(&self, request: &Request, number: Option<i64>, report: &mut PassReport) -> Result<(), CommandError> {
        let now = self.env.now();
        let mut store = self.store.borrow_mut();
        if !request.dry_run {
            // Grants of ended sessions let go here when no target of theirs had to be looked at.
            let changes = report.keep(store.record_standings(&BTreeMap::new(), now, self.latest(now)));
            changes.iter().flatten().for_each(|change| self.tell(request, change));
        }
        let (live, ending) = (store.live_sessions()?, store.unfinished_sessions()?);
        let open = |session: &Session| session.status != SessionStatus::Active;
        if request.scope.is_none() && (live.iter().any(open) || !ending.is_empty()) {
            report.converged = false;
        }
        for session in live.iter().filter(|session| request.concerns(session)) {
            report.notes.extend(damage_notes(session, self.latest(now)));
        }
        report.converged &= !report.notes.iter().any(|item| item.note.kind == NoteKind::Damaged);
        for error in store.damaged_rows() {
            report.keep::<()>(Err(error));
        }
        report.failed_sessions = live.iter().filter(|s| s.status == SessionStatus::Failed).map(|s| s.id).collect();
        let expiries = live.iter().map(|session| session.expires_at).filter(|at| *at > now);
        // A target that could not be read may have something to close, and no lease of its says when to try again.
        let unread = report.notes.iter().any(|item| item.note.kind == NoteKind::Unavailable);
        let again = unread.then(|| now + UNREAD_AGAIN);
        report.next_wake = report.next_wake.into_iter().chain(expiries).chain(again).min();
        report.finished = now;
        if let Some(number) = number {
            let result = RunResult {
                finished_at: now,
                converged: report.converged,
                summary: report.summary(),
                digest: Some(report.digest.clone()),
                next_wake_at: report.next_wake,
            };
            report.keep(store.finish_run(number, &result));
        }
        Ok(())
    }
}

/// A target that could not be read is read again after this long.
const UNREAD_AGAIN: TimeDelta = TimeDelta::minutes(1);

fn add_way(ways: &mut Vec<Target>, target: Target) {
    if !ways.iter().any(|known| known.route.same_way(&target.route)) {
        ways.push(target);
    }
}
