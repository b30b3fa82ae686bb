//! What is going on, from the record alone: for `eg status`, once or watched.

use crate::{LastRuns, StateError, Store};
use eg_model::{
    Timestamp,
    lease::Lease,
    session::record::{Grant, GrantStatus, Session},
    target::TargetKey,
};

/// What is open or still to be closed, and when the reconciler was last at work.
#[derive(Clone, Debug, Default)]
pub struct RecordSummary {
    /// Live ones, then those that are closing; newest first.
    pub sessions: Vec<Session>,
    /// The leases that are not closed.
    pub leases: Vec<Lease>,
    /// When the reconciler was last at work.
    pub runs: LastRuns,
}

impl RecordSummary {
    /// Reads it.
    ///
    /// # Errors
    /// The database cannot be read, or a row does not parse.
    pub fn read(store: &Store) -> Result<Self, StateError> {
        let mut sessions = store.live_sessions()?;
        sessions.extend(store.unfinished_sessions()?);
        Ok(Self { sessions, leases: store.open_leases()?, runs: store.last_runs()? })
    }

    /// When there is something to do next: the next expiry, retry or settle deadline on record, or what the last pass
    /// said. A session that has ended since the last reconcile is due from its end. A moment that has passed is due.
    #[must_use]
    pub fn next_wake(&self, now: Timestamp) -> Option<Timestamp> {
        let live = self.sessions.iter().filter(|session| session.status.is_live()).map(|session| session.expires_at);
        let retries = self.leases.iter().filter_map(|lease| lease.next_try_at);
        let closing = self.sessions.iter().filter(|session| !session.status.is_live()).flat_map(|s| &s.grants);
        let closing: Vec<&Grant> = closing.filter(|grant| grant.status == GrantStatus::Removing).collect();
        let concerns = |lease: &&Lease| closing.iter().any(|grant| grant.target.key == lease.target.key);
        let settling = self.leases.iter().filter(concerns).filter_map(Lease::settles_at);
        let said = self.runs.reconcile.as_ref().and_then(|run| run.next_wake_at).filter(|at| *at > now);
        live.chain(retries).chain(settling).chain(self.untried_ends()).chain(said).min()
    }

    /// The ends of sessions that no pass has tried to close yet, be it a reconcile or a stop.
    fn untried_ends(&self) -> impl Iterator<Item = Timestamp> {
        let reconciled = self.runs.reconcile.as_ref().map(|run| run.finished_at);
        let ended = self.sessions.iter().filter(|session| !session.status.is_live());
        ended.filter_map(move |session| {
            let end = session.ended_at.unwrap_or(session.expires_at);
            let removing = |grant: &&Grant| grant.status == GrantStatus::Removing;
            let targets: Vec<&TargetKey> = session.grants.iter().filter(removing).map(|g| &g.target.key).collect();
            let tried = |lease: &Lease| lease.next_try_at.is_some() || lease.last_sent_at.is_some_and(|at| at >= end);
            let stopped = self.leases.iter().any(|lease| targets.contains(&&lease.target.key) && tried(lease));
            let untried = !targets.is_empty() && !stopped && reconciled.is_none_or(|at| at < end);
            untried.then_some(end)
        })
    }
}
