//! The driver: environment, record, provider connector and policy, for one pass after the other. [`super::pass`] makes the
//! passes.

use crate::{
    error::CommandError,
    host::{env::Env, signals::Interrupt},
    reconcile::{
        loaded_record::{LoadedTarget, RecordCache, View},
        reading::{Routes, TargetReading},
        request::{PassPolicy, Request},
        rights::KnownRights,
    },
};
use chrono::TimeDelta;
use eg_model::{
    Timestamp,
    ids::SessionId,
    session::record::Session,
    target::{Target, TargetKey},
};
use eg_providers::Connect;
use eg_state::{GrantChange, RunKind, StateError, Store};
use std::{
    cell::{Cell, Ref, RefCell, RefMut},
    cmp::Reverse,
    collections::BTreeSet,
    sync::Arc,
};
use tokio::task::yield_now;

pub struct Driver<'a> {
    pub env: &'a Env,
    store: RefCell<Store>,
    pub connect: Arc<dyn Connect>,
    pub policy: PassPolicy,
    /// Asks to stop between steps.
    pub interrupt: Interrupt,
    /// Sessions whose stop could not be recorded on a full disk. Passes treat them as stopped.
    pub unrecorded_stops: BTreeSet<SessionId>,
    /// The answers of dry runs.
    pub rights: KnownRights,
    /// The number of grants that have changed their status.
    pub changes: Cell<usize>,
    pub on_change: OnChange<'a>,
    record: RecordCache,
    flushes: Flushes,
    /// The most by which a provider's clock was ahead of this machine's.
    ahead: Cell<Option<TimeDelta>>,
}

/// The writes that wait for a flush, and those that had one, counted from the first.
#[derive(Default)]
struct Flushes {
    written: Cell<u64>,
    done: Cell<u64>,
}

/// A write that has to survive a power loss before the pass goes on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Written(u64);

/// Takes a grant whose status has changed, and true if the pass is for the grant's session.
pub type OnChange<'a> = Box<dyn Fn(&GrantChange, bool) + 'a>;

impl<'a> Driver<'a> {
    pub fn new(env: &'a Env, store: Store, policy: PassPolicy, interrupt: Interrupt, on_change: OnChange<'a>) -> Self {
        Self {
            env,
            store: RefCell::new(store),
            connect: env.connect(),
            policy,
            interrupt,
            unrecorded_stops: BTreeSet::new(),
            rights: KnownRights::default(),
            changes: Cell::default(),
            on_change,
            record: RecordCache::default(),
            flushes: Flushes::default(),
            ahead: Cell::default(),
        }
    }

    /// Replaces the record by another one.
    pub fn use_store(&mut self, store: Store) {
        self.store = RefCell::new(store);
        self.record.forget();
        self.unrecorded_stops.clear();
    }

    pub fn into_store(self) -> Store {
        self.store.into_inner()
    }

    /// The record, to be read.
    pub fn store(&self) -> Ref<'_, Store> {
        self.store.borrow()
    }

    /// The record, to be changed anywhere.
    pub fn store_mut(&self) -> RefMut<'_, Store> {
        self.record.forget();
        self.store.borrow_mut()
    }

    /// The record, to be changed in the rows of one target.
    pub(super) fn store_of(&self, key: &TargetKey) -> RefMut<'_, Store> {
        self.record.forget_target(key);
        self.store.borrow_mut()
    }

    /// Marks what was just written, for [`Self::flush`].
    pub(super) fn written(&self) -> Written {
        let mine = self.flushes.written.get() + 1;
        self.flushes.written.set(mine);
        Written(mine)
    }

    /// Makes a write survive a power loss, and with it all that was written meanwhile: one flush serves many targets.
    pub(super) async fn flush(&self, Written(mine): Written) -> Result<(), StateError> {
        if self.flushes.done.get() < mine {
            // Targets that can go on without waiting write their intents now.
            yield_now().await;
        }
        if self.flushes.done.get() < mine {
            let written = self.flushes.written.get();
            self.store.borrow_mut().flush()?;
            self.flushes.done.set(written);
        }
        Ok(())
    }

    /// The record of a target as of now.
    pub(super) fn load(&self, key: &TargetKey, now: Timestamp) -> Result<LoadedTarget, CommandError> {
        let (latest, stopped) = (self.latest(now), &self.unrecorded_stops);
        let view = View { now, latest, stopped, site: &self.policy.site };
        self.record.load(&self.store.borrow(), key, &view)
    }

    /// The later of this machine's clock and the provider's; `None` until a reading has told the latter.
    pub(super) fn latest(&self, now: Timestamp) -> Option<Timestamp> {
        self.ahead.get().map(|ahead| now.max(now + ahead))
    }

    /// Learns the provider's clock from a reading.
    pub(super) fn note_clock(&self, reading: &TargetReading) {
        let ahead = reading.provider_time().map(|(provider, read_at)| provider - read_at);
        self.ahead.set(self.ahead.get().max(ahead));
    }

    /// Reports a change of a grant. The pass of a start reports its own session only.
    pub(super) fn report_change(&self, request: &Request, change: &GrantChange) {
        self.changes.set(self.changes.get() + 1);
        let own = request.scope.as_ref().is_some_and(|ids| ids.contains(&change.session));
        if own || request.kind != RunKind::Start {
            (self.on_change)(change, own);
        }
    }

    /// Every target that a live session or an open lease needs, leases that cannot be read included; each with the routes
    /// to it, newest first.
    pub fn needed(&self, scope: Option<&BTreeSet<SessionId>>) -> Result<Routes, CommandError> {
        let (store, now) = (self.store(), self.env.now());
        let mut sessions = store.live_sessions()?;
        sessions.extend(store.unfinished_sessions()?);
        // Whole, with the grants that were let go: where a session has ended, its tag may say too much for the sessions that
        // go on, and a claim may wait for a reading.
        for id in scope.into_iter().flatten() {
            sessions.retain(|session| session.id != *id);
            sessions.extend(store.session(*id)?);
        }
        sessions.sort_by_key(|session| Reverse((session.started_at, session.id)));
        let in_scope: Option<BTreeSet<TargetKey>> = scope.map(|ids| {
            let asked = sessions.iter().filter(|session| ids.contains(&session.id));
            asked.flat_map(|session| &session.grants).map(|grant| grant.target.key.clone()).collect()
        });
        let (live, ending): (Vec<Session>, Vec<Session>) = sessions.into_iter().partition(|s| s.status.is_live());
        let targets = |sessions: Vec<Session>| sessions.into_iter().flat_map(|s| s.grants).map(|grant| grant.target);
        // Expiry schedules of rules that are gone count as long as they would fire, or may.
        let auto_closes = store.auto_closes()?.into_iter().filter(|auto_close| auto_close.may_be_there(now));
        let recorded = store.open_leases()?.into_iter().map(|lease| lease.target);
        let recorded = recorded.chain(auto_closes.map(|auto_close| auto_close.target));
        let recorded = recorded.chain(store.unreadable_leases()?);
        let mut needed = Routes::new();
        for target in targets(live).chain(recorded) {
            if in_scope.as_ref().is_none_or(|keys| keys.contains(&target.key)) {
                // Most targets have one route. A first push would make room for four.
                add_route(needed.entry(target.key.clone()).or_insert_with(|| Vec::with_capacity(1)), target);
            }
        }
        // Ended sessions need no target, but their route may be the only one that still works.
        for target in targets(ending) {
            if let Some(known) = needed.get_mut(&target.key) {
                add_route(known, target);
            }
        }
        Ok(needed)
    }
}

fn add_route(routes: &mut Vec<Target>, target: Target) {
    if !routes.iter().any(|known| known.route.same_way(&target.route)) {
        routes.push(target);
    }
}
