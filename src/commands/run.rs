//! `eg session run`.

use super::{
    Context, no_signals,
    opening::{Ask, Closer, OpenArgs, Opening},
    stop::end_own,
};
use crate::{
    error::{CommandError, Exit, Kind},
    foreground::{self, Keys, Signals},
};
use eg_model::{
    ids::SessionId,
    session::{EndedReason, Session},
};
use futures_util::FutureExt;
use serde_json::json;
use std::ffi::OsString;
use tokio::process::Command;

/// What tells the command which session is its own.
const SESSION: &str = "EG_SESSION_ID";

/// Open, run a command, and close again
///
/// Takes the options of `start`. Opens everything, or closes it again and runs nothing; runs the command in the
/// foreground, with EG_SESSION_ID in its environment; closes, however the command ended; and ends with the command's
/// status (128+n if signal n ended it, 127 if there is no such command, 126 if it does not start). The command alone
/// writes to stdout: what eg says, the session in JSON included, goes to stderr.
///
/// Ctrl-C is the command's to answer; SIGTERM and SIGHUP are passed on to it. While eg closes, a second signal makes it
/// leave at once. A command that takes longer than the session goes on behind a closed firewall: choose the duration
/// for it, or let it run `eg session extend "$EG_SESSION_ID" --hours 1`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  eg session run --only bastion -- ssh bastion.example.com
  eg session run --duration 30m --check db.example.com:5432 -- psql -h db.example.com

Exit status 3 with an error says that the session could not be closed, or not yet.")]
pub struct RunArgs {
    #[command(flatten)]
    open: OpenArgs,
    /// The command and its arguments
    #[arg(last = true, required = true, value_name = "CMD")]
    command: Vec<OsString>,
}

/// Runs a command with everything open.
///
/// # Errors
/// Nothing was opened, the command did not start, or the session could not be closed.
pub fn run(context: &Context<'_>, args: &RunArgs) -> Result<Exit, CommandError> {
    let settings = context.settings()?;
    let opening = Opening::new(context, &args.open, &settings, "eg session run")?;
    let runtime = context.runtime()?;
    let ended = runtime.block_on(open_and_run(&opening, &args.command));
    runtime.shutdown_background();
    ended
}

async fn open_and_run(opening: &Opening<'_>, words: &[OsString]) -> Result<Exit, CommandError> {
    let context = opening.context;
    let mut signals = Signals::listen().map_err(no_signals)?; // before there is something to close
    context.printer.progress("→ Starting session...");
    let driver = opening.driver()?;
    let surroundings = opening.look_around(&driver, Ask::TargetsAndCallers).await?;
    opening.warn_of_earlier_addresses(&driver, &surroundings.addresses)?;
    let session = opening.begin(&driver, &surroundings)?;
    let runs = driver.store.borrow().last_runs()?;
    context.printer.progress(opening.began(&session, runs).trim_end());
    opening.warn_of_credentials(&surroundings.callers, &session, Closer::ThisProcess);
    let ended = match opening.all_or_nothing(driver, session.id, surroundings.looks).await {
        Err(error) => Err(error),
        Ok(driver) => {
            driver.interrupt.dismiss();
            // The record is opened anew to close: hours may lie between, and another version of eg.
            drop(driver);
            run_and_close(opening, session.id, words, &mut signals).await
        }
    };
    tell_session(context, session.id);
    ended
}

async fn run_and_close(
    opening: &Opening<'_>,
    id: SessionId,
    words: &[OsString],
    signals: &mut Signals,
) -> Result<Exit, CommandError> {
    let context = opening.context;
    let ended = run_command(context, id, words, signals).await;
    context.printer.progress(&format!("→ Closing session {}...", id.short()));
    match (end_own(context, opening.settings, id).await, ended) {
        (Ok(session), Ok(status)) => {
            context.printer.progress("✓ Session closed");
            tell_expiry(context, &session);
            Ok(Exit::Command(status))
        }
        (Ok(_), Err(error)) => Err(error),
        (Err(error), Ok(status)) => Err(after(&format!("the command ended with status {status}"), error)),
        (Err(error), Err(not_run)) => Err(after(&not_run.message, error)),
    }
}

/// An error that hides what came before it names that first.
fn after(what: &str, error: CommandError) -> CommandError {
    CommandError { message: format!("{what}, but {}", error.message), ..error }
}

async fn run_command(
    context: &Context<'_>,
    id: SessionId,
    words: &[OsString],
    signals: &mut Signals,
) -> Result<u8, CommandError> {
    // One that came between the opening and now is not lost on a command that was not there to hear it.
    if let Some(signal) = signals.next().now_or_never() {
        let number = u8::try_from(signal.as_raw()).unwrap_or_default();
        return Err(CommandError::new(Kind::Signal(number), "stopped by a signal; the command was not run"));
    }
    let Some((program, args)) = words.split_first() else {
        return Err(CommandError::new(Kind::Usage, "there is no command to run"));
    };
    let mut command = Command::new(program);
    command.args(args).env(SESSION, id.to_string());
    foreground::run(command, signals, Keys::of(context.env)).await
}

/// The command may have seen its connections fail, and nobody said why.
fn tell_expiry(context: &Context<'_>, session: &Session) {
    if session.ended_reason == Some(EndedReason::Expired) {
        let at = context.zone.format(session.expires_at);
        let hint = "give it more time with --duration or --until".to_owned();
        context.printer.warn(&format!("the session was over at {at}, before the command was"), &[hint]);
    }
}

/// The session as it is at the end, in JSON, where it does not get into the command's own output.
fn tell_session(context: &Context<'_>, id: SessionId) {
    let session = || -> Result<_, CommandError> {
        let Some(store) = context.store_for_reading()? else { return Ok(None) };
        let session = context.again(&store, id)?;
        Ok(Some(context.session_json(&store, &session)?))
    };
    match session() {
        Ok(session) => context.printer.json_aside(&json!({ "session": session })),
        Err(error) => tracing::warn!("the session cannot be shown: {error}"),
    }
}
