//! `eg session run`.

use crate::commands::{
    context::{Context, no_signals},
    session::{
        open::{Closer, OpenArgs, OpenRequest, PreflightDepth},
        stop::end_own,
    },
};
use crate::{
    error::{CommandError, Exit, Kind},
    host::{
        child::{self, KeyDelivery, Signals},
        signals::Interrupt,
    },
    ui::{printer::Printer, warning::Code},
};
use eg_model::{
    ids::SessionId,
    session::record::{EndedReason, Session},
};
use futures_util::FutureExt;
use serde_json::json;
use std::{cell::Cell, ffi::OsString, future::Future, pin::pin, task::Poll, time::Duration};
use tokio::process::Command;

/// How often to look whether the session's time is over, or was moved: timers stop while a machine sleeps.
const LOOK: Duration = Duration::from_secs(15);
/// When to try again what could not be closed.
const AGAIN: Duration = Duration::from_secs(60);

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
/// leave at once. When the session's time is over, eg closes it while the command goes on: choose the duration for it,
/// or run `eg session extend "$EG_SESSION_ID" --hours 1` before.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  eg session run --only bastion -- ssh bastion.example.com
  eg session run --duration 30m --check db.example.com:5432 -- psql -h db.example.com

Exit status 3 with an error says that the session could not be closed, or not yet.
A switch in the cloud that could not be set is a warning: this command closes by itself.")]
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
    if let Some(program) = args.command.first() {
        child::check(program, context.env)?;
    }
    let settings = context.settings()?;
    let runtime = context.runtime()?;
    let opening = OpenRequest::new(context, &runtime, &args.open, &settings, "eg session run")?;
    let ended = runtime.block_on(open_and_run(&opening, &args.command));
    runtime.shutdown_background();
    ended
}

async fn open_and_run(opening: &OpenRequest<'_>, words: &[OsString]) -> Result<Exit, CommandError> {
    let context = opening.context;
    let mut signals = Signals::listen().map_err(no_signals)?; // before there is something to close
    context.printer.progress("→ Starting session...");
    let driver = opening.driver()?;
    let surroundings = opening.look_around(&driver, PreflightDepth::TargetsAndCallers).await?;
    opening.preflight(&driver, &surroundings).await?;
    opening.warn_of_earlier_addresses(&driver, &surroundings.addresses)?;
    let runs = driver.store.borrow().last_runs()?;
    // From here on there is something to close: nothing may go wrong without closing it.
    let session = opening.begin(&driver, &surroundings)?;
    context.printer.progress(opening.began(&session, runs).trim_end());
    opening.warn_of_families_left_out();
    opening.warn_of_accounts_without_role(&surroundings.callers);
    opening.warn_of_credentials(&surroundings.callers, &session, Closer::ThisProcess);
    let ended = match opening.all_or_nothing(driver, session.id, surroundings.looks).await {
        Err(error) => Err(error),
        Ok((driver, _)) => {
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
    opening: &OpenRequest<'_>,
    id: SessionId,
    words: &[OsString],
    signals: &mut Signals,
) -> Result<Exit, CommandError> {
    let context = opening.context;
    let ended = run_command(opening, id, words, signals).await;
    context.printer.progress(&format!("→ Closing session {}...", id.short()));
    match (opening.close(id).await, ended) {
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
    opening: &OpenRequest<'_>,
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
    // Where options have named them, the command's own eg has to find them.
    for (name, file) in [("EG_CONFIG", opening.context.config()?), ("EG_STATE", &opening.context.state)] {
        if file.named {
            command.env(name, &file.path);
        }
    }
    let closing = Cell::new(false);
    let mut running = pin!(child::run(command, signals, KeyDelivery::of(opening.context.env)));
    let mut on_time = pin!(close_on_time(opening, id, &closing).fuse());
    let ended = loop {
        tokio::select! {
            ended = &mut running => break ended,
            () = &mut on_time => {}
        }
    };
    // A pass that is cut off leaves outcomes open that have to settle first.
    std::future::poll_fn(|waker| match on_time.as_mut().poll(waker) {
        Poll::Pending if closing.get() => Poll::Pending,
        _ => Poll::Ready(()),
    })
    .await;
    ended
}

/// Closes the session when its time is over and the command still runs. Says nothing: the terminal is the command's,
/// and what could not be closed is tried again and told at the end.
async fn close_on_time(opening: &OpenRequest<'_>, id: SessionId, closing: &Cell<bool>) {
    let silent = Printer::silent();
    let context = opening.context.with(&silent);
    loop {
        let wait = match left(&context, id) {
            Ok(None) => return,
            Ok(Some(left)) if left.is_zero() => {
                closing.set(true);
                // Signals are the command's.
                let closed = end_own(&context, opening.settings, id, Interrupt::default()).await;
                closing.set(false);
                match closed {
                    Ok(_) => return,
                    Err(error) => tracing::info!("{error}"),
                }
                AGAIN
            }
            Ok(Some(left)) => left.min(LOOK),
            Err(error) => {
                tracing::info!("the session's time cannot be read: {error}");
                LOOK
            }
        };
        (context.env.pause)(wait).await;
    }
}

/// How long the session still has; zero when it should be closed by now, `None` when it is.
fn left(context: &Context<'_>, id: SessionId) -> Result<Option<Duration>, CommandError> {
    let Some(store) = context.store_for_reading()? else { return Ok(None) };
    let session = context.again(&store, id)?;
    let left = (session.expires_at - context.env.now()).to_std().unwrap_or_default();
    Ok(match session.status {
        status if status.is_ended() => None,
        status if status.is_live() => Some(left),
        _ => Some(Duration::ZERO),
    })
}

/// The command may have seen its connections fail, and nobody said why.
fn tell_expiry(context: &Context<'_>, session: &Session) {
    if session.ended_reason == Some(EndedReason::Expired) {
        let at = context.zone.format(session.expires_at);
        let hint = "give it more time with --duration or --until".to_owned();
        context.printer.warn(Code::Expired, &format!("the session was over at {at}, before the command was"), &[hint]);
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
