//! The only way to make a pass: lock, request, driver, notes.

use crate::{
    commands::context::{Context, listen},
    error::{CommandError, Kind},
    host::{
        lock::{self, PassLock},
        signals::Interrupt,
    },
    reconcile::{
        driver::Driver,
        reading::TargetReadings,
        report::{PassReport, StepOutcome, StepReport},
        request::{PassPolicy, Request},
    },
    ui::{
        printer::error_line,
        session::{grant_line, other_grant_line},
        warning::Code,
    },
};
use eg_config::{
    policy::MachinePolicy,
    settings::{Description, Settings},
};
use eg_model::{
    ids::SessionId,
    plan::{NoteKind, Step},
    session::{
        follow::Move,
        record::{Grant, GrantStatus, Session},
    },
};
use eg_state::{GrantChange, RunKind, Store};
use std::{collections::BTreeSet, pin::pin, time::Duration};
use tokio::time::sleep;

/// A pass that takes longer than this shows a bar.
const UNTIL_A_BAR: Duration = Duration::from_secs(1);

impl Context<'_> {
    /// The driver, within the runtime. Without `settings`, because the configuration is bad, it opens nothing.
    pub fn driver(&self, store: Store, settings: Option<&Settings>) -> Result<Driver<'_>, CommandError> {
        Ok(self.driver_with(listen()?, store, settings))
    }

    /// Like [`Self::driver`], with the caller's listener for signals.
    pub fn driver_with(&self, interrupt: Interrupt, store: Store, settings: Option<&Settings>) -> Driver<'_> {
        let on_change = Box::new(|change: &GrantChange, own: bool| {
            let line = if own { grant_line(&change.grant) } else { other_grant_line(change.session, &change.grant) };
            self.printer.landed(&line);
        });
        Driver::new(self.env, store, self.driver_policy(settings), interrupt, on_change)
    }

    /// The rights of a pass. It opens nothing if the configuration or the machine's policy cannot be used.
    pub fn driver_policy(&self, settings: Option<&Settings>) -> PassPolicy {
        let policy = settings.map(policy).unwrap_or_default();
        match self.site_policy() {
            Ok(site) => PassPolicy { site, ..policy },
            Err(_) => PassPolicy { open: false, ..policy },
        }
    }

    /// Takes the lock. A pass that `closes` goes past a holder that makes no progress. A pass that a `timer` started is
    /// silent while it waits, or cron would send mail.
    pub async fn lock(
        &self,
        driver: &Driver<'_>,
        command: &str,
        closes: bool,
        timer: bool,
    ) -> Result<PassLock, CommandError> {
        let say = |holder: &str| {
            if !timer {
                self.printer.remark(&format!("Waiting for another eg ({})...", self.zone.in_text(holder)));
            }
        };
        let json = self.printer.is_json();
        let asked = lock::LockRequest {
            env: self.env,
            state: &self.state.path,
            command,
            wait: self.global.lock_wait,
            closes,
            last_words: &|error| {
                let error = CommandError::from(error);
                (error_line(&error, json), error.kind.exit().code())
            },
        };
        lock::acquire(&asked, &driver.interrupt, say).await.map_err(|error| {
            let error = CommandError::from(error);
            CommandError { message: self.zone.in_text(&error.message), ..error }
        })
    }

    /// Takes the lock and reconciles the targets of some sessions, whose intent is on record already. The `moves` come
    /// first: sessions that follow their user to another address.
    pub async fn session_pass(
        &self,
        driver: &Driver<'_>,
        kind: RunKind,
        sessions: &[SessionId],
        readings: TargetReadings,
        moves: Vec<Move>,
    ) -> Result<PassReport, CommandError> {
        let name = format!("eg session {}", kind.as_str());
        let lock = self
            .lock(driver, &name, kind == RunKind::Stop, false)
            .await
            .map_err(|error| not_had(error, "what was asked is recorded; the next `eg reconcile` carries it out"))?;
        let request = Request {
            kind,
            scope: Some(sessions.iter().copied().collect()),
            interactive: true,
            timer: false,
            collect_from: Vec::new(),
            moves,
            dry_run: false,
        };
        let report = self.driven(driver, &lock, &request, readings).await?;
        self.tell_notes(&report);
        self.tell_refusals(&report);
        match driver.interrupt.asked() {
            Some(number) => Err(CommandError::stopped_by(number, "what was asked stays on record")),
            None => Ok(report),
        }
    }

    /// Runs one pass in the lock, with a bar if it takes its time.
    pub async fn driven(
        &self,
        driver: &Driver<'_>,
        lock: &PassLock,
        request: &Request,
        readings: TargetReadings,
    ) -> Result<PassReport, CommandError> {
        let unfinished = unfinished_grants(&driver.store(), request.scope.as_ref())?;
        let mut pass = pin!(driver.pass(lock, request, readings));
        tokio::select! {
            report = &mut pass => report,
            () = sleep(UNTIL_A_BAR) => {
                let _bar = self.printer.bar(unfinished, UNTIL_A_BAR);
                pass.await
            }
        }
    }

    /// Prints the warnings of a pass.
    pub fn tell_notes(&self, report: &PassReport) {
        for warning in &report.warnings {
            self.printer.warn(Code::Lock, &self.zone.in_text(&warning.message), &warning.hints);
        }
        let mut clock_told = false;
        for item in report.notes.iter().filter(|item| item.note.kind.is_warning()) {
            // Every target is compared with the same clock: one warning is enough.
            if item.note.kind == NoteKind::ClockSkew && std::mem::replace(&mut clock_told, true) {
                continue;
            }
            self.printer.warn(Code::Note(item.note.kind), &item.note.message, &[]);
        }
        for error in &report.state_errors {
            self.printer.warn(Code::State, error, &[]);
        }
    }

    /// Warns of refused calls that leave something open or a tag wrong, and of calls without a usable answer. Of what was
    /// refused to be opened, the grants themselves tell.
    fn tell_refusals(&self, report: &PassReport) {
        let opens = |step: &StepReport| matches!(step.step, Step::Authorize { .. } | Step::Join { .. });
        let told = report.steps.iter().filter(|step| match step.outcome {
            StepOutcome::Unknown => !report.converged,
            StepOutcome::Refused => !report.converged && !opens(step),
            _ => false,
        });
        let why =
            |step: &StepReport| Some((opens(step), format!("{}: {}", step.target, step.error.as_ref()?), step.advice));
        for (opens, message, advice) in told.filter_map(why).collect::<BTreeSet<_>>() {
            let code = if opens { Code::NotOpen } else { Code::NotClosed };
            self.printer.warn(code, &message, advice.map(str::to_owned).as_slice());
        }
    }
}

/// If the lock was not had in time, adds what becomes of the request.
pub fn not_had(error: CommandError, what: &str) -> CommandError {
    if error.kind == Kind::Locked { error.hint(what) } else { error }
}

fn policy(settings: &Settings) -> PassPolicy {
    PassPolicy {
        open: true,
        collect: settings.reconcile.collect_expired,
        extra_tags: settings.aws.extra_tags.clone(),
        name_person: settings.aws.description == Description::Full,
        cloud_expiry: settings.aws.cloud_expiry.clone(),
        site: MachinePolicy::default(),
    }
}

/// The number of grants, of these sessions or of all, that are neither open nor closed as their session wants.
fn unfinished_grants(store: &Store, scope: Option<&BTreeSet<SessionId>>) -> Result<usize, CommandError> {
    let mut sessions = store.live_sessions()?;
    sessions.extend(store.unfinished_sessions()?);
    sessions.retain(|session| scope.is_none_or(|ids| ids.contains(&session.id)));
    let is_done = |session: &Session, grant: &Grant| match session.status.is_live() {
        true => grant.status == GrantStatus::Applied,
        false => grant.status == GrantStatus::Removed,
    };
    let unfinished = |session: &Session| session.grants.iter().filter(|grant| !is_done(session, grant)).count();
    Ok(sessions.iter().map(unfinished).sum())
}
