//! The record target by target, as a pass needs it: the live sessions, the claims, and the rules opened and closed lately.
//! A pass reads all targets once, and after a change of its own only the target that was changed.

use crate::{
    auto_close,
    error::StateError,
    events::target_text,
    leases, rules,
    sessions::parts::{by_target, everywhere, on_target},
    targets,
    tx::Store,
};
use eg_model::{
    Timestamp, auto_close::AutoClose, ids::RuleId, lease::Lease, net::permission::Permission, session::record::Session,
    target::TargetKey,
};
use std::collections::{BTreeMap, HashMap};

/// The record of one target.
#[derive(Clone, Debug, Default)]
pub struct TargetRows {
    /// The live sessions with grants here, newest first, each with its grants on this target alone, without REMOVED ones.
    pub sessions: Vec<Session>,
    /// True if a session that has ended waits here for a grant to be let go.
    pub ending: bool,
    /// The open leases, by id.
    pub leases: Vec<Lease>,
    /// True if an open lease here does not parse.
    pub unreadable: bool,
    /// The expiry schedules, by rule.
    pub auto_closes: Vec<AutoClose>,
    /// As [`Store::opened_rules`].
    pub opened: BTreeMap<RuleId, Permission>,
    /// As [`Store::revoked_rules`].
    pub revoked: BTreeMap<RuleId, Timestamp>,
    /// True if this installation has closed a rule here.
    pub closed_once: bool,
}

/// The times from which on a pass needs the history.
#[derive(Clone, Copy, Debug)]
pub struct Since {
    /// For [`TargetRows::opened`].
    pub opened: Timestamp,
    /// For [`TargetRows::revoked`].
    pub revoked: Timestamp,
}

impl Store {
    /// The record of every target that has anything on record.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn rows_by_target(&self, since: Since) -> Result<HashMap<TargetKey, TargetRows>, StateError> {
        self.read(|connection| {
            let damaged = &self.damaged;
            let mut rows: HashMap<TargetKey, TargetRows> = HashMap::new();
            for session in everywhere(connection, damaged)? {
                for (key, part) in by_target(session) {
                    of(&mut rows, &key).sessions.push(part);
                }
            }
            for key in targets::of_ending(connection, damaged)? {
                of(&mut rows, &key).ending = true;
            }
            let open = leases::open(connection, damaged)?;
            for lease in open.leases {
                of(&mut rows, &lease.target.key).leases.push(lease);
            }
            for target in open.unreadable {
                of(&mut rows, &target.key).unreadable = true;
            }
            for auto_close in auto_close::all(connection, damaged)? {
                of(&mut rows, &auto_close.target.key).auto_closes.push(auto_close);
            }
            for (key, rule, permission) in rules::opened(connection, damaged, since.opened)? {
                of(&mut rows, &key).opened.insert(rule, permission);
            }
            for (key, rule, at) in rules::revoked(connection, damaged, since.revoked)? {
                of(&mut rows, &key).revoked.insert(rule, at);
            }
            for (key, record) in targets::all(connection, damaged)? {
                if record.closed_once {
                    of(&mut rows, &key).closed_once = true;
                }
            }
            Ok(rows)
        })
    }

    /// The record of one target.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn rows_of(&self, key: &TargetKey, since: Since) -> Result<TargetRows, StateError> {
        self.read(|connection| {
            let damaged = &self.damaged;
            let Some((target, record)) = targets::find_record(connection, damaged, key)? else {
                return Ok(TargetRows::default());
            };
            let sessions = on_target(connection, damaged, target)?;
            let (sessions, ending): (_, Vec<_>) = sessions.into_iter().partition(|session| session.status.is_live());
            let open = leases::open_on_target(connection, damaged, target)?;
            let text = target_text(key);
            Ok(TargetRows {
                sessions,
                ending: !ending.is_empty(),
                leases: open.leases,
                unreadable: !open.unreadable.is_empty(),
                auto_closes: auto_close::on_target(connection, damaged, target)?,
                opened: rules::opened_on_target(connection, damaged, target, since.opened)?,
                revoked: rules::revoked_on_target(connection, damaged, &text, since.revoked)?,
                closed_once: record.closed_once,
            })
        })
    }
}

/// Most targets have one session and one lease, so there is room for one of each: a first push would make room for four.
fn of<'r>(rows: &'r mut HashMap<TargetKey, TargetRows>, key: &TargetKey) -> &'r mut TargetRows {
    let new = || TargetRows { sessions: Vec::with_capacity(1), leases: Vec::with_capacity(1), ..TargetRows::default() };
    rows.entry(key.clone()).or_insert_with(new)
}
