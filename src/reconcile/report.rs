//! The report of a pass, for people, for JSON and for the run's row.

use crate::host::lock::LockWarning;
use eg_model::{
    Timestamp,
    failure::FailureClass,
    ids::{RunId, SessionId},
    plan::{Note, NoteKind, Step, TargetPlan},
    session::follow::Move,
    target::TargetKey,
};
use eg_state::StateError;
use std::collections::BTreeSet;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StepOutcome {
    /// Done, as the provider confirmed.
    Done,
    Refused,
    /// The call may have taken effect or not.
    Unknown,
    /// Not sent: no longer wanted, or the reading was too old.
    Skipped,
    /// Not sent: this was a dry run.
    Planned,
}

impl StepOutcome {
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

/// One step and its outcome.
#[derive(Clone, Debug)]
pub struct StepReport {
    pub target: TargetKey,
    pub step: Step,
    pub outcome: StepOutcome,
    /// The reason why the step was not done.
    pub error: Option<String>,
    pub class: Option<FailureClass>,
    pub advice: Option<&'static str>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoteReport {
    pub target: TargetKey,
    pub note: Note,
}

/// The report on one target.
pub(super) struct TargetReport {
    pub(super) target: TargetKey,
    /// False if the target could not be read.
    pub(super) read: bool,
    /// False if its rules carry no marks.
    pub(super) marked: bool,
    pub(super) first_plan: TargetPlan,
    pub(super) converged: bool,
    pub(super) steps: Vec<StepReport>,
    pub(super) notes: BTreeSet<Note>,
    pub(super) wake: Option<Timestamp>,
    pub(super) state_error: Option<String>,
}

#[derive(Clone, Debug)]
pub struct PassReport {
    pub run: RunId,
    pub started: Timestamp,
    pub finished: Timestamp,
    /// True if every target is as the record wants it.
    pub converged: bool,
    /// A fingerprint of the first plans.
    pub digest: String,
    /// The latest time for the next pass.
    pub next_wake: Option<Timestamp>,
    /// The pass also looked at targets that no session and no lease needs.
    pub collected: bool,
    /// The first plan of each target.
    pub plans: Vec<TargetPlan>,
    /// The targets that could not be read.
    pub unread: BTreeSet<TargetKey>,
    /// The targets whose rules carry no marks, and so no time either.
    pub unmarked: BTreeSet<TargetKey>,
    /// The steps, by target, in order.
    pub steps: Vec<StepReport>,
    pub notes: Vec<NoteReport>,
    pub warnings: Vec<LockWarning>,
    /// Failed writes to the record.
    pub state_errors: Vec<String>,
    /// Live sessions that have no rule open.
    pub failed_sessions: Vec<SessionId>,
    /// Sessions that followed their user to another address just before.
    pub moves: Vec<Move>,
    /// Another process started, extended or stopped a session during the pass, so there is more to do.
    pub was_outrun: bool,
}

impl PassReport {
    /// The report of a pass that has done nothing yet.
    pub fn new(run: RunId, now: Timestamp) -> Self {
        Self {
            run,
            started: now,
            finished: now,
            converged: true,
            digest: String::new(),
            next_wake: None,
            collected: false,
            plans: Vec::new(),
            unread: BTreeSet::new(),
            unmarked: BTreeSet::new(),
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
    pub fn followed_by(self, later: Self) -> Self {
        let repaired = self.notes.into_iter().filter(|item| item.note.kind.outlives_mending());
        let notes: Vec<NoteReport> = repaired.filter(|item| !later.notes.contains(item)).collect();
        Self {
            started: self.started,
            digest: self.digest,
            steps: self.steps.into_iter().chain(later.steps).collect(),
            notes: notes.into_iter().chain(later.notes).collect(),
            state_errors: self.state_errors.into_iter().chain(later.state_errors).collect(),
            moves: self.moves.into_iter().chain(later.moves).collect(),
            ..later
        }
    }

    /// Keeps an error of the store for the report. A failed write is like a crash: the next pass resolves it by observing.
    pub(crate) fn keep<T>(&mut self, result: Result<T, StateError>) -> Option<T> {
        result
            .map_err(|error| {
                self.converged = false;
                self.state_error(error.with_advice());
            })
            .ok()
    }

    /// Keeps each error once: the same cause fails every write.
    fn state_error(&mut self, error: String) {
        if !self.state_errors.contains(&error) {
            self.state_errors.push(error);
        }
    }

    pub(super) fn add(&mut self, report: TargetReport) {
        self.converged &= report.converged;
        self.next_wake = self.next_wake.into_iter().chain(report.wake).min();
        if let Some(error) = report.state_error {
            self.state_error(error);
        }
        self.plans.push(report.first_plan);
        self.steps.extend(report.steps);
        let target = report.target;
        if !report.read {
            self.unread.insert(target.clone());
        }
        if !report.marked {
            self.unmarked.insert(target.clone());
        }
        self.notes.extend(report.notes.into_iter().map(|note| NoteReport { target: target.clone(), note }));
    }

    pub(super) fn has_note(&self, kind: NoteKind) -> bool {
        self.notes.iter().any(|item| item.note.kind == kind)
    }

    /// The first reason why the pass did not converge; `None` if it did, or if no reason is known.
    pub fn summary(&self) -> Option<String> {
        let step = || self.steps.iter().find_map(|step| step.error.clone());
        let note = |closing: bool| {
            let fits = |n: &&NoteReport| n.note.kind.unconverged() && (n.note.kind == NoteKind::Closing) == closing;
            self.notes.iter().find(fits).map(|n| n.note.message.clone())
        };
        // "Not closed yet" says least, so it comes last.
        let causes = self.state_errors.first().cloned().or_else(|| note(false)).or_else(step);
        causes.or_else(|| note(true)).filter(|_| !self.converged)
    }
}
