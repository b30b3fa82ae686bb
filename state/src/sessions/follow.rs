//! A session's move to another address, in one transaction. Every later pass goes on from there.

use crate::{
    error::StateError,
    events::{Event, EventKind},
    sessions::{
        ending::{settle, write_grant, write_status},
        lifecycle::insert_grant,
        read,
    },
    tx::Store,
};
use eg_model::{
    Timestamp,
    ids::GrantId,
    net::address::IpVersion,
    session::{
        follow::{Move, successor},
        record::{Grant, GrantStatus, roll_up_live},
    },
};

impl Store {
    /// Records that a session follows its user: a new PENDING grant for each one of the family, and the old ones REMOVING.
    /// The rules of the old ones stay until the new ones are APPLIED. False, and nothing is recorded, if the session does
    /// not follow, has ended or is past its expiry, or has another address by now.
    ///
    /// # Errors
    /// The database cannot be written, or a row does not parse.
    pub fn follow(
        &mut self,
        step: &Move,
        now: Timestamp,
        mut new_id: impl FnMut() -> GrantId,
    ) -> Result<bool, StateError> {
        let version = IpVersion::of(step.to);
        self.write(|change| {
            let Some(session) = read::kept(change.tx, step.session)? else { return Ok(false) };
            let lives = session.status.is_live() && now < session.expires_at;
            if !session.follow || !lives || session.address(version) != Some(step.from) {
                return Ok(false);
            }
            let moving = session.current().filter(|grant| grant.ip_version() == version);
            for (position, grant) in (read::free_position(change.tx, session.id)?..).zip(moving) {
                insert_grant(change.tx, session.id, position, &successor(grant, new_id(), step.to))?;
                let next = grant.status.to(GrantStatus::Removing)?;
                write_grant(change, session.id, &Grant { status: next, ..grant.clone() }, grant.status, now)?;
            }
            let outcome = format!("from {} to {}", step.from, step.to);
            change
                .event(&Event { session: Some(session.id), ..Event::new(now, EventKind::AddressChanged, outcome) })?;
            let moved = read::kept(change.tx, session.id)?.ok_or(StateError::NoSuchSession(session.id))?;
            let statuses: Vec<GrantStatus> = moved.current().map(|grant| grant.status).collect();
            let status = session.status.to(roll_up_live(&statuses))?;
            if status != session.status {
                write_status(change, session.id, status, now)?;
            }
            settle(change, now)?;
            Ok(true)
        })
    }
}
