//! One pass, from the record to the firewalls and back: expire, observe, plan, apply, record.

use crate::{
    error::CommandError,
    host::lock::PassLock,
    reconcile::{
        driver::Driver, loaded_record::damage_notes, reading::TargetReadings, report::PassReport, request::Request,
    },
};
use chrono::TimeDelta;
use eg_model::{
    Timestamp,
    ids::{GrantId, RunId, SessionId},
    plan::NoteKind,
    session::record::{Session, SessionStatus},
};
use eg_state::RunResult;
use std::collections::{BTreeMap, BTreeSet};

/// A target that could not be read is read again after this long.
const UNREAD_AGAIN: TimeDelta = TimeDelta::minutes(1);

struct PassStart {
    /// The run's number, if the run could be recorded.
    number: Option<i64>,
    /// True if the record can be written, so that the pass may open something new.
    may_open: bool,
}

impl Driver<'_> {
    /// One pass. Targets that are missing from `readings` are read now. Failures of a provider, or of a write to the record,
    /// are part of the report.
    pub async fn pass(
        &self,
        lock: &PassLock,
        request: &Request,
        readings: TargetReadings,
    ) -> Result<PassReport, CommandError> {
        let started = self.env.now();
        self.store_mut().forget_damaged_rows();
        readings.values().for_each(|reading| self.note_clock(reading));
        let mut report = PassReport::new(RunId(self.env.uuid()), started);
        report.warnings = lock.warnings().to_vec();
        report.collected = !request.collect_from.is_empty();

        let start = self.expire(request, &mut report);
        let may_open = start.may_open && !lock.closes_only();
        self.move_sessions(request, may_open, &mut report);
        let mut targets = self.needed(request.scope.as_ref())?;
        for target in &request.collect_from {
            targets.entry(target.key.clone()).or_insert_with(|| vec![target.clone()]);
        }
        let (asked, version) = (self.live_expiries()?, self.store().data_version()?);
        self.observe_plan_apply(request, targets, readings, may_open, &mut report).await;
        self.record(request, start.number, &mut report)?;

        let written = version.is_none() || self.store().data_version()? != version;
        report.was_outrun = written && self.live_expiries()? != asked;
        Ok(report)
    }

    /// The live sessions and their expiries. A pass changes neither after its start, so a difference comes from another
    /// process.
    fn live_expiries(&self) -> Result<BTreeSet<(SessionId, Timestamp)>, CommandError> {
        Ok(self.store().live_expiries()?)
    }

    /// Writes the run's row, and expires sessions that are over. If either cannot be written, the pass opens nothing; it
    /// closes all the same.
    fn expire(&self, request: &Request, report: &mut PassReport) -> PassStart {
        if request.dry_run {
            return PassStart { number: None, may_open: true };
        }
        let mut store = self.store_mut();
        let number = report.keep(store.begin_run(report.run, request.kind, request.timer, report.started));
        let expired = report.keep(store.expire(report.started));
        PassStart { number, may_open: number.is_some() && expired.is_some() }
    }

    /// Records the moves. If another pass or a stop was faster, its change stands.
    fn move_sessions(&self, request: &Request, may_open: bool, report: &mut PassReport) {
        if request.dry_run {
            report.moves.clone_from(&request.moves);
            return;
        }
        let mut store = self.store_mut();
        for step in request.moves.iter().filter(|_| may_open) {
            let recorded = store.follow(step, report.started, || GrantId(self.env.uuid()));
            if report.keep(recorded) == Some(true) {
                report.moves.push(*step);
            }
        }
    }

    /// Records the state of sessions and of the run, and completes the report.
    fn record(&self, request: &Request, number: Option<i64>, report: &mut PassReport) -> Result<(), CommandError> {
        let now = self.env.now();
        let mut store = self.store_mut();
        if !request.dry_run {
            // Ends the grants of ended sessions that needed no reading of their target.
            let changes = report.keep(store.record_standings(&BTreeMap::new(), now, self.latest(now)));
            changes.iter().flatten().for_each(|change| self.report_change(request, change));
        }
        let (live, ending) = (store.live_sessions()?, store.unfinished_sessions()?);
        let incomplete = |session: &Session| session.status != SessionStatus::Active;
        if request.scope.is_none() && (live.iter().any(incomplete) || !ending.is_empty()) {
            report.converged = false;
        }
        for session in live.iter().filter(|session| request.concerns(session)) {
            report.notes.extend(damage_notes(session, self.latest(now)));
        }
        report.converged &= !report.has_note(NoteKind::Damaged);
        for error in store.damaged_rows() {
            report.keep::<()>(Err(error));
        }
        report.failed_sessions = live.iter().filter(|s| s.status == SessionStatus::Failed).map(|s| s.id).collect();
        let expiries = live.iter().map(|session| session.expires_at).filter(|at| *at > now);
        // A target that could not be read may have something to close, and none of its leases says when to try again.
        let again = report.has_note(NoteKind::Unavailable).then(|| now + UNREAD_AGAIN);
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
