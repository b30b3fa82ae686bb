//! `eg reconcile --watch`: passes whenever something is due. Timers stop while a machine is suspended, so what is
//! compared every two seconds is the wall clock; and SQLite's `data_version`, which tells of other processes' writes
//! at no cost.

use super::{
    Context,
    notify::notify,
    reconcile::{Pass, Shown, recorded_names},
};
use crate::{
    error::{CommandError, Exit},
    output::json,
    reconcile::Driver,
};
use chrono::TimeDelta;
use eg_model::{Timestamp, ids::SessionId};
use eg_state::RunKind;
use std::{collections::BTreeSet, time::Duration};
use tokio::time::sleep;

/// SIGHUP.
const HANGUP: u8 = 1;

/// How often the clock and the record are looked at.
const LOOK: Duration = Duration::from_secs(2);

/// Reconciles until a signal ends it. One bad pass never does.
pub(super) async fn watch(context: &Context<'_>, interval: Duration) -> Result<Exit, CommandError> {
    let mut driver = context.driver(context.store()?, None)?;
    let interval = TimeDelta::from_std(interval).unwrap_or(TimeDelta::seconds(60));
    while driver.interrupt.asked().is_none() {
        let now = context.env.now();
        let wake = match pass(context, &mut driver).await {
            Ok(wake) => wake,
            Err(error) => {
                context.printer.warn(&error.message, &error.hints);
                None
            }
        };
        let next = wake.map_or(now + interval, |wake| wake.min(now + interval)).max(now + TimeDelta::seconds(2));
        until(context, &driver, now, next).await;
    }
    // To be stopped is what --watch expects; to lose its terminal is not.
    Ok(match driver.interrupt.asked() {
        Some(HANGUP) => Exit::Signal(HANGUP),
        _ => Exit::Done,
    })
}

async fn pass(context: &Context<'_>, driver: &mut Driver<'_>) -> Result<Option<Timestamp>, CommandError> {
    let settings = context.settings();
    if let Err(error) = &settings {
        context.printer.warn(&error.message, &error.hints);
    }
    if let Err(error) = context.site_policy() {
        context.printer.warn(&error.message, &error.hints);
    }
    let settings = settings.ok();
    // Credentials are read from their files anew: they may have been renewed since the last pass.
    driver.connect = context.env.connect();
    driver.policy = context.driver_policy(settings.as_ref());
    let pass = Pass { kind: RunKind::Watch, timer: false, dry_run: false };
    let mut names = recorded_names(&driver.store.borrow(), settings.as_ref())?;
    let report = pass.run(context, driver, settings.as_ref()).await?;
    names.extend(recorded_names(&driver.store.borrow(), settings.as_ref())?);
    context.printer.json_line(&json::pass(&report, &names));
    let shown = Shown { context, names: &names, report: &report };
    shown.steps();
    shown.failure(driver)?;
    let told = settings.as_ref().and_then(|settings| settings.notify.as_ref());
    let next = notify(context, driver, told, &report).await;
    Ok(report.next_wake.into_iter().chain(next).min())
}

/// What people ask for: which sessions live, and until when. Passes of others change more than that, and two
/// watchers must not wake each other for ever.
fn asked_for(driver: &Driver<'_>) -> Option<BTreeSet<(SessionId, Timestamp)>> {
    let live = driver.store.borrow().live_sessions().ok()?;
    Some(live.into_iter().map(|session| (session.id, session.expires_at)).collect())
}

/// Waits until `next`, a signal, a change of what is asked for, or a clock that has jumped back.
async fn until(context: &Context<'_>, driver: &Driver<'_>, from: Timestamp, next: Timestamp) {
    let mut version = driver.store.borrow().data_version().ok();
    let asked = asked_for(driver);
    loop {
        let now = context.env.now();
        if now >= next || now < from || driver.interrupt.asked().is_some() {
            return;
        }
        let current = driver.store.borrow().data_version().ok();
        if current != version {
            version = current;
            if asked_for(driver) != asked {
                return;
            }
        }
        tokio::select! {
            () = sleep(LOOK) => {}
            () = driver.interrupt.wait() => {}
        }
    }
}
