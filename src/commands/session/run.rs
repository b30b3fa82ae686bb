//! `eg session run`.

use crate::{
    commands::{
        context::{Context, block_on, no_signals},
        session::{
            close::end_own,
            open::{OpenArgs, OpenRequest},
            preflight::PreflightDepth,
            warnings::Closer,
        },
    },
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

/// The longest time between two looks at the session's expiry: timers stop while a machine sleeps, and `extend` moves it.
const LOOK: Duration = Duration::from_secs(15);
/// The time before closing is tried again.
const AGAIN: Duration = Duration::from_secs(60);

/// The variable that tells the command its session's id.
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
An expiry schedule that could not be set is a warning: this command closes by itself.")]
pub struct RunArgs {
    #[command(flatten)]
    open: OpenArgs,
    /// The command and its arguments
    #[arg(last = true, required = true, value_name = "CMD")]
    command: Vec<OsString>,
}

pub fn run(context: &Context<'_>, args: &RunArgs) -> Result<Exit, CommandError> {
    if let Some(program) = args.command.first() {
        child::check(program, context.env)?;
    }
    let settings = context.settings()?;
    block_on(async {
        let request = OpenRequest::new(context, &args.open, &settings, "eg session run").await?;
        context.name_hosts(&request.hosts);
        open_and_run(&request, &args.command).await
    })
}

async fn open_and_run(request: &OpenRequest<'_>, words: &[OsString]) -> Result<Exit, CommandError> {
    let context = request.context;
    let mut signals = Signals::listen().map_err(no_signals)?; // before there is something to close
    context.printer.progress("→ Starting session...");
    let driver = request.driver(context.store()?)?;
    let preflight = request.preflight(&driver, PreflightDepth::TargetsAndCallers).await?;
    request.warn_of_earlier_addresses(&driver, &preflight.addresses)?;
    let session = request.build(&preflight.addresses, &preflight.callers, &preflight.readings)?;
    // From here on there is something to close: every error has to close it.
    request.record(&driver, &session)?;
    context.printer.progress(request.began(&session, &preflight).trim_end());
    request.warn_of_gaps(&preflight);
    request.warn_of_credentials(&preflight, &session, Closer::ThisProcess);
    let ended = match request.all_or_nothing(driver, session.id, preflight.readings).await {
        Err(error) => Err(error),
        Ok((driver, _)) => {
            driver.interrupt.dismiss();
            // Closing opens the record anew: hours may pass, and another version of eg may change it.
            drop(driver);
            run_and_close(request, session.id, words, &mut signals).await
        }
    };
    tell_session(context, session.id);
    ended
}

async fn run_and_close(
    request: &OpenRequest<'_>,
    id: SessionId,
    words: &[OsString],
    signals: &mut Signals,
) -> Result<Exit, CommandError> {
    let context = request.context;
    let ended = run_command(request, id, words, signals).await;
    context.printer.progress(&format!("→ Closing session {}...", id.short()));
    match (request.close(id).await, ended) {
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

/// Puts what happened before in front of an error that would hide it.
fn after(what: &str, error: CommandError) -> CommandError {
    CommandError { message: format!("{what}, but {}", error.message), ..error }
}

async fn run_command(
    request: &OpenRequest<'_>,
    id: SessionId,
    words: &[OsString],
    signals: &mut Signals,
) -> Result<u8, CommandError> {
    // A signal since the opening has to end this: the command was not there to receive it.
    if let Some(signal) = signals.next().now_or_never() {
        let number = u8::try_from(signal.as_raw()).unwrap_or_default();
        return Err(CommandError::new(Kind::Signal(number), "stopped by a signal; the command was not run"));
    }
    let Some((program, args)) = words.split_first() else {
        return Err(CommandError::new(Kind::Usage, "there is no command to run"));
    };
    let mut command = Command::new(program);
    command.args(args).env(SESSION, id.to_string());
    // An eg that the command runs has to use the files that the options name.
    for (name, file) in [("EG_CONFIG", request.context.config()?), ("EG_STATE", &request.context.state)] {
        if file.named {
            command.env(name, &file.path);
        }
    }
    let closing = Cell::new(false);
    let mut running = pin!(child::run(command, signals, KeyDelivery::of(request.context.env)));
    let mut on_time = pin!(close_on_time(request, id, &closing).fuse());
    let ended = loop {
        tokio::select! {
            ended = &mut running => break ended,
            () = &mut on_time => {}
        }
    };
    // A pass under way comes to its end: cut off, it would leave unknown outcomes, which have to settle first.
    std::future::poll_fn(|waker| match on_time.as_mut().poll(waker) {
        Poll::Pending if closing.get() => Poll::Pending,
        _ => Poll::Ready(()),
    })
    .await;
    Ok(ended?)
}

/// Closes the session at its expiry if the command still runs. Prints nothing, since the terminal is the command's: a failed
/// close is tried again, and reported at the end.
async fn close_on_time(request: &OpenRequest<'_>, id: SessionId, closing: &Cell<bool>) {
    let silent = Printer::silent();
    let context = request.context.with(&silent);
    loop {
        let wait = match left(&context, id) {
            Ok(None) => return,
            Ok(Some(left)) if left.is_zero() => {
                closing.set(true);
                // The command receives the signals.
                let closed = end_own(&context, request.settings, id, Interrupt::default()).await;
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

/// The time until the session's expiry; zero if it should be closed by now, `None` if it is closed.
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

/// Warns that the session expired before the command ended: that explains connections that failed.
fn tell_expiry(context: &Context<'_>, session: &Session) {
    if session.ended_reason == Some(EndedReason::Expired) {
        let at = context.zone.format(session.expires_at);
        let hint = "give it more time with --duration or --until".to_owned();
        context.printer.warn(Code::Expired, &format!("the session was over at {at}, before the command was"), &[hint]);
    }
}

/// Prints the session as it is at the end, in JSON on stderr: stdout is the command's.
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
