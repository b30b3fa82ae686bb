//! The record as a pass sees it, target by target. All of it is read once; afterwards a target is read again only when the
//! pass itself or another process has changed something.

use crate::{error::CommandError, reconcile::report::NoteReport};
use eg_config::policy::{MachinePolicy, prefer_allowed};
use eg_model::{
    SETTLE_WINDOW, Timestamp,
    damage::{Damage, damage, damage_at},
    ids::SessionId,
    lease::Lease,
    net::permission::Permission,
    plan::{Note, NoteKind, Want, wants},
    session::record::{Grant, Session, Standing, roll_up_grant},
    tags::LEASE_HORIZON,
    target::TargetKey,
    twin::Overwritten,
};
use eg_state::{RecordVersion, Since, StateError, Store, TargetRows};
use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet, HashMap},
    rc::Rc,
};

/// The key of the note that counts how often something else has overwritten our tags.
pub const OVERWRITTEN: &str = "tags-overwritten";

/// The record of one target in one round.
pub struct LoadedTarget {
    /// The sessions that are live now, with their undamaged grants on this target.
    pub sessions: Vec<Session>,
    pub wants: BTreeMap<Permission, Want>,
    pub rows: Rc<TargetRows>,
    /// Another `eg` with this record's id is at work.
    pub twin: bool,
}

impl LoadedTarget {
    /// True if a session wants this permission.
    pub(super) fn wants(&self, permission: &Permission) -> bool {
        self.wants.contains_key(permission)
    }

    /// True if an open lease is wanted by no session.
    pub(super) fn has_to_close(&self) -> bool {
        self.rows.leases.iter().any(|lease| !self.wants(&lease.permission))
    }

    /// True if these standings would change the record, or if a grant or a claim waits to be closed in it. A target at rest
    /// costs no write.
    pub(super) fn differs(&self, standings: &BTreeMap<Permission, Standing>, latest: Option<Timestamp>) -> bool {
        let as_recorded = |session: &Session, grant: &Grant| {
            let known = |permission| standings.get(permission);
            let same = grant.permissions.iter().all(|item| known(&item.permission).is_none_or(|s| *s == item.standing));
            let status = roll_up_grant(grant.permissions.iter().map(|item| &item.standing));
            same && status == grant.status && damage_of(session, grant, latest).is_none()
        };
        let sessions = &self.rows.sessions;
        let untouched = |lease: &Lease| !lease.attempted() && !self.wants(&lease.permission);
        self.rows.ending
            || sessions.iter().any(|session| session.grants.iter().any(|grant| !as_recorded(session, grant)))
            || self.rows.leases.iter().any(untouched)
    }
}

/// The clocks and limits that a loaded record depends on.
pub(super) struct View<'v> {
    pub(super) now: Timestamp,
    /// The later of our clock and the provider's, if a reading has told the latter.
    pub(super) latest: Option<Timestamp>,
    /// Sessions whose stop could not be recorded.
    pub(super) stopped: &'v BTreeSet<SessionId>,
    pub(super) site: &'v MachinePolicy,
}

/// The rows as last read, while no other process has changed the record.
#[derive(Default)]
pub struct RecordCache(RefCell<Option<RecordRead>>);

struct RecordRead {
    version: RecordVersion,
    rows: HashMap<TargetKey, Rc<TargetRows>>,
    /// Targets that have to be read again; `None`: every target without rows.
    stale: Option<BTreeSet<TargetKey>>,
    overwritten: Option<Overwritten>,
}

impl RecordCache {
    /// Forgets everything.
    pub(super) fn forget(&self) {
        self.0.take();
    }

    /// Forgets one target, because its rows are about to change.
    pub(super) fn forget_target(&self, key: &TargetKey) {
        if let Some(read) = &mut *self.0.borrow_mut() {
            read.rows.remove(key);
            if let Some(stale) = &mut read.stale {
                stale.insert(key.clone());
            }
        }
    }

    /// The record of a target. A session past its expiry is never live here, even if a full disk kept the expiry from being
    /// recorded.
    pub(super) fn load(&self, store: &Store, key: &TargetKey, view: &View<'_>) -> Result<LoadedTarget, CommandError> {
        let (rows, overwritten) = self.rows(store, key, view.now)?;
        let mut sessions = rows.sessions.clone();
        sessions.retain(|session| session.expires_at > view.now && !view.stopped.contains(&session.id));
        for session in &mut sessions {
            let whole = session.clone();
            session.grants.retain(|grant| damage_of(&whole, grant, view.latest).is_none());
        }
        prefer_allowed(&mut sessions, view.site);
        let wants = wants(&sessions).remove(key).unwrap_or_default();
        Ok(LoadedTarget { sessions, wants, rows, twin: overwritten.is_some_and(|known| known.is_twin(view.now)) })
    }

    fn rows(
        &self,
        store: &Store,
        key: &TargetKey,
        now: Timestamp,
    ) -> Result<(Rc<TargetRows>, Option<Overwritten>), StateError> {
        // No lease lasts longer than the horizon, so no rule of ours is older.
        let since = Since { opened: now - LEASE_HORIZON, revoked: now - SETTLE_WINDOW * 2 };
        let overwritten = || store.note(OVERWRITTEN).map(|text| text.and_then(|text| text.parse().ok()));
        // Asked for before the reading: a change during it is read again.
        let Some(version) = store.data_version()? else {
            return Ok((Rc::new(store.rows_of(key, since)?), overwritten()?));
        };
        let mut cache = self.0.borrow_mut();
        let read = match &mut *cache {
            Some(read) if read.version == version => read,
            // Others write all the time, perhaps. To read everything again each time would cost the square of the targets.
            Some(read) => {
                *read = RecordRead { version, rows: HashMap::new(), stale: None, overwritten: overwritten()? };
                read
            }
            none => {
                let rows = store.rows_by_target(since)?.into_iter().map(|(key, rows)| (key, Rc::new(rows))).collect();
                let (stale, overwritten) = (Some(BTreeSet::new()), overwritten()?);
                none.insert(RecordRead { version, rows, stale, overwritten })
            }
        };
        let known = match read.rows.get(key) {
            Some(known) => Rc::clone(known),
            None if read.stale.as_ref().is_some_and(|stale| !stale.contains(key)) => Rc::default(),
            None => {
                let fresh = Rc::new(store.rows_of(key, since)?);
                read.rows.insert(key.clone(), Rc::clone(&fresh));
                fresh
            }
        };
        Ok((known, read.overwritten))
    }
}

/// The damage of a grant on record. `latest` is `None` as long as only this machine's clock is known. That clock may be
/// behind, so a session in the far future is not proven to be damaged then; nothing is opened for it anyway.
fn damage_of(session: &Session, grant: &Grant, latest: Option<Timestamp>) -> Option<Damage> {
    latest.map_or_else(|| damage(session, grant), |latest| damage_at(session, grant, latest))
}

/// Notes on a session whose row says what `eg` cannot have recorded: nothing is opened for it.
pub(super) fn damage_notes(session: &Session, latest: Option<Timestamp>) -> Vec<NoteReport> {
    let note = |grant: &Grant| {
        let (short, name) = (session.id.short(), &grant.resource_name);
        let why = damage_of(session, grant, latest)?;
        let message = format!("the record of session {short} on {name} is damaged: {why}; nothing is opened for it");
        Some(NoteReport { target: grant.target.key.clone(), note: Note::new(NoteKind::Damaged, message) })
    };
    session.current().filter_map(note).collect()
}
