//! A summary of the record: for `eg status`, once or watched.

use crate::{error::StateError, runs::LastRuns, tx::Store};
use eg_model::{
    SETTLE_WINDOW, Timestamp,
    lease::Lease,
    session::record::{Grant, GrantStatus, Session},
    target::TargetKey,
};

/// The sessions and leases that are open or still to be closed, and the last runs of the reconciler.
#[derive(Clone, Debug, Default)]
pub struct RecordSummary {
    /// Live ones, then closing ones; newest first.
    pub sessions: Vec<Session>,
    /// The leases that are not closed.
    pub leases: Vec<Lease>,
    /// The last runs of the reconciler.
    pub runs: LastRuns,
}

impl RecordSummary {
    /// Reads the summary.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn read(store: &Store) -> Result<Self, StateError> {
        Ok(Self { sessions: store.open_sessions()?, leases: store.open_leases()?, runs: store.last_runs()? })
    }

    /// The time of the next thing to do: the next expiry, retry or settle deadline on record, or the one that the last pass
    /// named. A session that has ended since the last reconcile is due from its end. A time that has passed is due.
    #[must_use]
    pub fn next_wake(&self, now: Timestamp) -> Option<Timestamp> {
        let live = self.sessions.iter().filter(|session| session.status.is_live()).map(|session| session.expires_at);
        let retries = self.leases.iter().filter_map(|lease| lease.next_try_at);
        let closing = self.sessions.iter().filter(|session| !session.status.is_live()).flat_map(|s| &s.grants);
        let closing: Vec<&Grant> = closing.filter(|grant| grant.status == GrantStatus::Removing).collect();
        let concerns = |lease: &&Lease| closing.iter().any(|grant| grant.target.key == lease.target.key);
        let settling = self.leases.iter().filter(concerns).filter_map(|lease| lease.settles_at(SETTLE_WINDOW));
        let said = self.runs.reconcile.as_ref().and_then(|run| run.next_wake_at).filter(|at| *at > now);
        live.chain(retries).chain(settling).chain(self.untried_ends()).chain(said).min()
    }

    /// The ends of sessions that no reconcile and no stop has tried to close yet.
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
