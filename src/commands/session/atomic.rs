//! Everything or nothing: a session that could not be opened whole is closed again.

use crate::{
    commands::{
        context::no_signals,
        session::{close::end_own, open::OpenRequest, outcome::not_open},
    },
    error::{CommandError, Kind},
    host::signals::Interrupt,
    reconcile::{driver::Driver, reading::TargetReadings, report::PassReport},
};
use eg_model::{
    ids::SessionId,
    session::record::{Session, SessionStatus},
};
use eg_state::RunKind;

impl OpenRequest<'_> {
    /// Opens everything, and reaches everything that `--check` names; or closes everything again. Returns the driver and the
    /// report of the pass with the session open.
    ///
    /// # Errors
    /// The reason why it could not be opened. The session has ended then, or the error says that it has not
    /// ([`Kind::StillOpen`]).
    pub(super) async fn all_or_nothing<'d>(
        &self,
        driver: Driver<'d>,
        id: SessionId,
        readings: TargetReadings,
    ) -> Result<(Driver<'d>, PassReport), CommandError> {
        let cause = match self.open_whole(&driver, id, readings).await {
            Ok(report) => return Ok((driver, report)),
            Err(cause) => cause,
        };
        driver.interrupt.dismiss();
        drop(driver);
        self.context.printer.progress(&format!("→ Closing session {} again...", id.short()));
        Err(match self.close(id).await {
            Ok(_) => closed_again(cause),
            Err(still) => CommandError { message: format!("{}; {}", cause.message, still.message), ..still },
        })
    }

    async fn open_whole(
        &self,
        driver: &Driver<'_>,
        id: SessionId,
        readings: TargetReadings,
    ) -> Result<PassReport, CommandError> {
        let report = self.context.session_pass(driver, RunKind::Start, &[id], readings, Vec::new()).await?;
        let session = self.context.again(&driver.store(), id)?;
        if session.status != SessionStatus::Active {
            let message = format!("not everything could be opened ({})", not_open(&session));
            return Err(CommandError::new(Kind::Provider, message));
        }
        if !self.reaches_all(driver, &session, &driver.interrupt).await? {
            return Err(CommandError::new(Kind::Unreachable, "what --check names was not reached"));
        }
        Ok(report)
    }

    /// Closes a session to its end. The first signal is ignored; the second ends the process at once.
    ///
    /// # Errors
    /// [`Kind::StillOpen`].
    pub(super) async fn close(&self, id: SessionId) -> Result<Session, CommandError> {
        let interrupt = Interrupt::listen_patiently().map_err(no_signals)?;
        end_own(self.context, self.settings, id, interrupt).await
    }
}

/// The reason, with the news that nothing is left of the session.
fn closed_again(cause: CommandError) -> CommandError {
    let CommandError { kind, message, hints } = cause;
    match kind {
        Kind::Signal(number) => CommandError::stopped_by(number, "the session was closed again"),
        // The hint was about an intent on record.
        Kind::Locked => CommandError::new(kind, format!("{message}; the session was taken back")),
        _ => CommandError { kind, message: format!("{message}; the session was closed again"), hints },
    }
}
