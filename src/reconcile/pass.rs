//! One pass, from the record to the firewalls and back: expire, observe, plan, apply, record.

use crate::{
    error::CommandError,
    host::lock::PassLock,
    reconcile::{
        driver::Driver,
        loaded_record::damage_notes,
        reading::{Routes, TargetReadings},
        report::PassReport,
        request::Request,
    },
};
use chrono::TimeDelta;
use eg_model::{
    Timestamp,
    ids::{GrantId, RunId, SessionId},
    plan::NoteKind,
    session::record::{Session, SessionStatus},
    target::TargetKey,
};
use eg_state::{FlushAt, RecordVersion, RunKind, RunResult};
use std::collections::{BTreeMap, BTreeSet};
use tokio::task::yield_now;

/// A target that could not be read is read again after this long.
const UNREAD_AGAIN: TimeDelta = TimeDelta::minutes(1);

struct PassStart {
    /// The run's number, if the run could be recorded.
    number: Option<i64>,
    /// True if the record can be written, so that the pass may open something new.
    may_open: bool,
}

/// A pass whose start is on record.
pub(super) struct Begun {
    number: Option<i64>,
    pub(super) go: Go,
    /// The live sessions and their expiries, and the version of the record that says so.
    asked: BTreeSet<(SessionId, Timestamp)>,
    version: Option<RecordVersion>,
    /// Another process has recorded a target since the pass began to read.
    has_more: bool,
}

/// What the work on targets waits for.
#[derive(Clone)]
pub(super) struct Go {
    pub(super) may_open: bool,
    /// The targets that still need work: sessions without leases may have expired.
    pub(super) targets: BTreeSet<TargetKey>,
}

/// The rounds of the runtime after which a request has left: it connects, learns that it is connected, and writes.
const ROUNDS: usize = 8;

/// Lets the requests that have just begun leave, as far as that takes no waiting.
pub(crate) async fn requests_leave() {
    for _ in 0..ROUNDS {
        yield_now().await;
    }
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

        // As recorded before the start, which makes none of them needed that was not.
        let targets = self.needed_and_collected(request)?;
        let asked: BTreeSet<TargetKey> = targets.keys().cloned().collect();
        let mut begin = || self.begin(request, lock, &asked, &mut report);
        // Readings would grow old while another process is waited for.
        let locked = self.store().is_locked();
        let begun_first = locked.then(&mut begin);
        let begin = async {
            if let Some(begun) = begun_first {
                return begun;
            }
            // The disk is waited for while the first readings are on their way.
            requests_leave().await;
            begin()
        };
        let (begun, ends) = self.observe_plan_apply(request, targets, readings, begin).await;
        let begun = begun?;
        ends.add_to(&mut report);
        self.record(request, begun.number, &mut report)?;

        let written = begun.version.is_none() || self.store().data_version()? != begun.version;
        report.was_outrun = begun.has_more || (written && self.live_expiries()? != begun.asked);
        Ok(report)
    }

    /// The targets that sessions and leases need, and those that are searched for expired rules.
    fn needed_and_collected(&self, request: &Request) -> Result<Routes, CommandError> {
        let mut targets = self.needed(request.scope.as_ref())?;
        for target in &request.collect_from {
            targets.entry(target.key.clone()).or_insert_with(|| vec![target.clone()]);
        }
        Ok(targets)
    }

    /// Records the start of a pass that reads these targets.
    fn begin(
        &self,
        request: &Request,
        lock: &PassLock,
        read: &BTreeSet<TargetKey>,
        report: &mut PassReport,
    ) -> Result<Begun, CommandError> {
        let start = self.expire(request, report);
        let may_open = start.may_open && !lock.closes_only();
        self.move_sessions(request, may_open, report);
        let targets: BTreeSet<TargetKey> = self.needed_and_collected(request)?.into_keys().collect();
        Ok(Begun {
            number: start.number,
            has_more: !targets.is_subset(read),
            go: Go { may_open, targets },
            asked: self.live_expiries()?,
            version: self.store().data_version()?,
        })
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
            let at = if request.kind == RunKind::Watch { FlushAt::Now } else { FlushAt::Close };
            report.keep(store.finish_run(number, &result, at));
        }
        Ok(())
    }
}
