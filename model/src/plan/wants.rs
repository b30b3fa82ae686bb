//! The permissions that all live sessions together want.

use crate::{
    Timestamp, damage::damage, ids::SessionId, net::permission::Permission, session::record::Session, target::TargetKey,
};
use std::collections::BTreeMap;

/// Why and until when a permission is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Want {
    /// The latest expiry of the live sessions that want it.
    pub until: Timestamp,
    /// The session with that expiry. Of several the one with the largest id, so that every plan takes the same one.
    pub session: SessionId,
    /// Open it if it is not there. False if a session only keeps it until it is open at its new address.
    pub open: bool,
}

/// Wants by target and permission.
pub type Wants = BTreeMap<TargetKey, BTreeMap<Permission, Want>>;

/// The wants of every session that is live on record: expiry is a recorded transition, so no clock is read here. A
/// grant with damage wants nothing.
#[must_use]
pub fn wants(sessions: &[Session]) -> Wants {
    let mut wants = Wants::new();
    for session in sessions.iter().filter(|session| session.status.is_live()) {
        for grant in &session.grants {
            let open = !grant.status.lets_go();
            let held = open || session.keeps(grant);
            if !held || damage(session, grant).is_some() {
                continue;
            }
            let want = Want { until: session.expires_at, session: session.id, open };
            let of_target = wants.entry(grant.target.key.clone()).or_default();
            for item in grant.permissions.iter().filter(|item| open || item.standing.is_held()) {
                let known = of_target.entry(item.permission).or_insert(want);
                *known = Want { open: known.open || open, ..want.max(*known) };
            }
        }
    }
    wants
}
