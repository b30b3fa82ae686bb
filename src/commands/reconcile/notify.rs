//! Runs the user's notification command after a pass, without the lock. It changes neither what is closed nor the exit status.

use crate::{
    commands::context::Context,
    error::CommandError,
    host::notify_command::{self, TIME_LIMIT},
    reconcile::{driver::Driver, report::PassReport},
    ui::{json, warning::Code},
};
use eg_config::settings::Notify;
use eg_model::{
    Timestamp,
    plan::NoteKind,
    session::{
        notices::{NEWS, Notification, NotifyEvent, next_notice, notices},
        record::Session,
    },
    target::TargetKey,
};
use futures_util::future::join_all;
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// Sends the notices that are due. Returns the time of the next one.
pub(super) async fn notify(
    context: &Context<'_>,
    driver: &Driver<'_>,
    settings: Option<&Notify>,
    report: &PassReport,
) -> Option<Timestamp> {
    let settings = settings?;
    if driver.interrupt.asked().is_some() {
        return None;
    }
    send_due(context, driver, settings, report).await.unwrap_or_else(|error| {
        let message = format!("no notification was sent: {}", error.message);
        // A scheduled pass has told of a record that cannot be written, by its own rule of news.
        if report.state_errors.iter().any(|told| told.contains(&error.message)) {
            tracing::info!("{message}");
        } else {
            context.printer.warn(Code::NotNotified, &message, &error.hints);
        }
        None
    })
}

async fn send_due(
    context: &Context<'_>,
    driver: &Driver<'_>,
    settings: &Notify,
    report: &PassReport,
) -> Result<Option<Timestamp>, CommandError> {
    let now = context.env.now();
    let mut due: Vec<(Notification, Value)> = Vec::new();
    let next = {
        let mut store = driver.store_mut();
        let mut sessions = store.live_sessions()?;
        sessions.extend(store.unfinished_sessions()?);
        sessions.extend(store.expired_since(now - NEWS)?);
        let leases = store.open_leases()?;
        for notice in notices(&sessions, &leases, &unreadable(report), now, settings.before) {
            let Some(session) = sessions.iter().find(|session| session.id == notice.session) else { continue };
            if store.begin_notice(&notice, now)? {
                let event = event(context, &notice, session, &context.session_json(&store, session)?);
                due.push((notice, event));
            }
        }
        next_notice(&sessions, now, settings.before)
    };
    // The command comes from the settings as they were checked when read: a later write to the file has no effect.
    let outcomes =
        join_all(due.iter().map(|(_, event)| notify_command::run(&settings.command, event, TIME_LIMIT))).await;
    for ((notice, _), outcome) in due.iter().zip(outcomes) {
        if let Err(why) = outcome {
            let message = format!("no notification was sent that {}: {why}", summary(notice));
            let hint = "see [notify] command in the configuration".to_owned();
            context.printer.warn(Code::NotNotified, &message, &[hint]);
        }
        if let Err(error) = driver.store_mut().finish_notice(notice, context.env.now()) {
            let summary = summary(notice);
            let message =
                format!("the notification that {summary} cannot be recorded, so it may be sent again: {error}");
            context.printer.warn(Code::NotNotified, &message, error.advice().as_slice());
        }
    }
    Ok(next)
}

fn unreadable(report: &PassReport) -> BTreeSet<TargetKey> {
    let unread = report.notes.iter().filter(|item| item.note.kind == NoteKind::Unavailable);
    unread.map(|item| item.target.clone()).collect()
}

fn summary(notice: &Notification) -> String {
    let short = notice.session.short();
    match notice.event {
        NotifyEvent::Expiring => format!("session {short} ends soon"),
        NotifyEvent::Expired => format!("session {short} has expired"),
        NotifyEvent::CloseFailed => format!("session {short} could not be closed"),
    }
}

fn event(context: &Context<'_>, notice: &Notification, session: &Session, shown: &json::SessionJson) -> Value {
    let now = context.env.now();
    let message = match (notice.event, &notice.why) {
        (NotifyEvent::Expiring, _) => {
            format!("{}, at {}", summary(notice), context.zone.format(session.expires_at))
        }
        (_, Some(why)) => format!("{}: {why}", summary(notice)),
        (_, None) => summary(notice),
    };
    json!({
        "event": notice.event.as_str(),
        "at": json::time(now),
        "message": message,
        "remainingSeconds": (notice.expires_at - now).num_seconds().max(0),
        "session": shown,
    })
}
