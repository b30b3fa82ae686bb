//! The record as one round of a pass sees it: live sessions, open leases, and the rules opened and revoked lately.

use crate::{
    error::CommandError,
    reconcile::{allowed::prefer_allowed, report::NoteReport},
};
use eg_config::policy::MachinePolicy;
use eg_model::{
    SETTLE_WINDOW, Timestamp,
    auto_close::AutoClose,
    damage::{Damage, damage, damage_at},
    ids::{RuleId, SessionId},
    lease::Lease,
    net::permission::Permission,
    plan::{Note, NoteKind, Wants, wants},
    session::record::{Grant, Session},
    tags::LEASE_HORIZON,
    target::TargetKey,
    twin::Overwritten,
};
use eg_state::Store;
use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
};

/// The key of the note that counts how often something else has overwritten our tags.
pub const OVERWRITTEN: &str = "tags-overwritten";

pub struct LoadedRecord {
    pub sessions: Vec<Session>,
    pub wants: Wants,
    pub leases: Vec<Lease>,
    /// The targets of leases that cannot be read.
    pub unreadable: BTreeSet<TargetKey>,
    pub revoked: BTreeMap<RuleId, Timestamp>,
    pub opened: BTreeMap<RuleId, Permission>,
    pub auto_closes: Vec<AutoClose>,
    /// Another `eg` with this record's id is at work.
    pub twin: bool,
}

impl LoadedRecord {
    /// True if a session wants this permission of a target.
    pub(super) fn wants(&self, target: &TargetKey, permission: &Permission) -> bool {
        self.wants.get(target).is_some_and(|wants| wants.contains_key(permission))
    }

    /// The open leases on a target.
    pub(super) fn leases_on<'l>(&'l self, target: &'l TargetKey) -> impl Iterator<Item = &'l Lease> {
        self.leases.iter().filter(move |lease| lease.target.key == *target)
    }
}

/// While the key is the same, the record is too: our clock, the provider's, our own writes, other processes' writes.
type LoadKey = (Timestamp, Option<Timestamp>, u64, i64);

/// The record as last loaded. Hundreds of targets at rest share one reading of it.
#[derive(Default)]
pub struct LoadCache(RefCell<Option<(LoadKey, Rc<LoadedRecord>)>>);

impl LoadCache {
    /// Loads the record at `now`, without the sessions in `stopped`. `latest` is the later of our clock and the provider's.
    /// A session past its expiry is never live here, even if a full disk kept the expiry from being recorded.
    pub(super) fn load(
        &self,
        store: &Store,
        (now, latest): (Timestamp, Option<Timestamp>),
        stopped: &BTreeSet<SessionId>,
        site: &MachinePolicy,
    ) -> Result<Rc<LoadedRecord>, CommandError> {
        let key = (now, latest, store.change_count(), store.data_version()?);
        if let Some((known, loaded)) = &*self.0.borrow()
            && *known == key
        {
            return Ok(Rc::clone(loaded));
        }
        let mut sessions = store.live_sessions()?;
        sessions.retain(|session| session.expires_at > now && !stopped.contains(&session.id));
        for session in &mut sessions {
            let whole = session.clone();
            session.grants.retain(|grant| damage_of(&whole, grant, latest).is_none());
        }
        prefer_allowed(&mut sessions, site);
        let overwritten = store.note(OVERWRITTEN)?.and_then(|text| text.parse::<Overwritten>().ok());
        let loaded = Rc::new(LoadedRecord {
            wants: wants(&sessions),
            sessions,
            leases: store.open_leases()?,
            unreadable: store.unreadable_leases()?.into_iter().map(|target| target.key).collect(),
            revoked: store.revoked_rules(now - SETTLE_WINDOW * 2)?,
            // No lease lasts longer, so no rule of ours is older.
            opened: store.opened_rules(now - LEASE_HORIZON)?,
            auto_closes: store.auto_closes()?,
            twin: overwritten.is_some_and(|known| known.is_twin(now)),
        });
        *self.0.borrow_mut() = Some((key, Rc::clone(&loaded)));
        Ok(loaded)
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
