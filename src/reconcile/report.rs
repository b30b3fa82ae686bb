//! What a pass did, for people, for JSON and for the run's row.

use crate::host::lock::LockWarning;
use crate::reconcile::apply::round::TargetReport;
use eg_model::{
    Timestamp,
    ids::{RunId, SessionId},
    plan::{Note, NoteKind, Step, TargetPlan},
    session::follow::Move,
    target::TargetKey,
};
use eg_state::StateError;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StepOutcome {
    /// Done, as the provider confirmed.
    Done,
    Refused,
    /// Whether it happened is not known.
    Unknown,
    /// Not sent: no longer wanted, or the view was too old.
    Skipped,
    /// Not sent: this was a dry run.
    Planned,
}

impl StepOutcome {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Refused => "refused",
            Self::Unknown => "unknown",
            Self::Skipped => "skipped",
            Self::Planned => "planned",
        }
    }
}

/// One step and how it ended.
#[derive(Clone, Debug)]
pub struct StepReport {
    pub target: TargetKey,
    pub step: Step,
    pub outcome: StepOutcome,
    /// Why it was not done.
    pub error: Option<String>,
    /// What to do about that.
    pub advice: Option<&'static str>,
}

/// One note and what it is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoteReport {
    pub target: TargetKey,
    pub note: Note,
}

#[derive(Clone, Debug)]
pub struct PassReport {
    pub run: RunId,
    pub started: Timestamp,
    pub finished: Timestamp,
    /// Everything is as the record wants it.
    pub converged: bool,
    /// The fingerprint of what the first plans would do.
    pub digest: String,
    /// When to look again at the latest.
    pub next_wake: Option<Timestamp>,
    /// The first plan of each target.
    pub plans: Vec<TargetPlan>,
    /// The steps, by target, in order.
    pub steps: Vec<StepReport>,
    pub notes: Vec<NoteReport>,
    /// What is wrong with the lock.
    pub warnings: Vec<LockWarning>,
    /// What could not be recorded.
    pub state_errors: Vec<String>,
    /// Live sessions that hold nothing.
    pub failed_sessions: Vec<SessionId>,
    /// Sessions that followed their user to another address just before.
    pub moves: Vec<Move>,
    /// Another process started, extended or stopped a session during the pass, so there is more to do.
    pub was_outrun: bool,
}

impl PassReport {
    /// Of a pass that has done nothing yet.
    #[must_use]
    pub fn new(run: RunId, now: Timestamp) -> Self {
        Self {
            run,
            started: now,
            finished: now,
            converged: true,
            digest: String::new(),
            next_wake: None,
            plans: Vec::new(),
            steps: Vec::new(),
            notes: Vec::new(),
            warnings: Vec::new(),
            state_errors: Vec::new(),
            failed_sessions: Vec::new(),
            moves: Vec::new(),
            was_outrun: false,
        }
    }

    /// Joins two passes into one report: the steps of both, and the findings of the later one.
    #[must_use]
    pub fn followed_by(self, later: Self) -> Self {
        let mended = self.notes.into_iter().filter(|item| item.note.kind.outlives_mending());
        let notes: Vec<NoteReport> = mended.filter(|item| !later.notes.contains(item)).collect();
        Self {
            started: self.started,
            digest: self.digest,
            plans: self.plans,
            steps: self.steps.into_iter().chain(later.steps).collect(),
            notes: notes.into_iter().chain(later.notes).collect(),
            state_errors: self.state_errors.into_iter().chain(later.state_errors).collect(),
            moves: self.moves.into_iter().chain(later.moves).collect(),
            ..later
        }
    }

    /// Keeps an error of the store for the report: a failed write is what a crash would be, and the next pass
    /// resolves it by observing.
    pub(crate) fn keep<T>(&mut self, result: Result<T, StateError>) -> Option<T> {
        result
            .map_err(|error| {
                self.converged = false;
                self.state_error(error.with_advice());
            })
            .ok()
    }

    /// What keeps one thing from the record keeps others, too: it is said once.
    fn state_error(&mut self, error: String) {
        if !self.state_errors.contains(&error) {
            self.state_errors.push(error);
        }
    }

    pub(super) fn add(&mut self, run: TargetReport) {
        self.converged &= run.converged;
        self.next_wake = self.next_wake.into_iter().chain(run.wake).min();
        if let Some(error) = run.state_error {
            self.state_error(error);
        }
        self.plans.push(run.first_plan);
        let target = &run.target;
        self.steps.extend(run.steps);
        self.notes.extend(run.notes.into_iter().map(|note| NoteReport { target: target.clone(), note }));
    }

    /// The first reason why it did not converge, in a few words; `None` if it did or if there is no word for it.
    #[must_use]
    pub fn summary(&self) -> Option<String> {
        let step = || self.steps.iter().find_map(|step| step.error.clone());
        let note = |closing: bool| {
            let fits = |n: &&NoteReport| n.note.kind.unconverged() && (n.note.kind == NoteKind::Closing) == closing;
            self.notes.iter().find(fits).map(|n| n.note.message.clone())
        };
        // "Not closed yet" says least: whatever says why goes first.
        let causes = self.state_errors.first().cloned().or_else(|| note(false)).or_else(step);
        causes.or_else(|| note(true)).filter(|_| !self.converged)
    }
}
