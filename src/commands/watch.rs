//! `eg reconcile --watch`: passes whenever something is due. Timers stop while a machine is suspended, so what is
//! compared every two seconds is the wall clock; and SQLite's `data_version`, which tells of other processes' writes
//! at no cost.

use super::{
    Context,
    reconcile::{Pass, Shown, recorded_names},
};
use crate::{
    error::{CommandError, Exit},
    output::json,
    reconcile::Driver,
};
use chrono::TimeDelta;
use eg_model::Timestamp;
use eg_state::RunKind;
use std::time::Duration;
use tokio::time::sleep;

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
    Ok(Exit::Done)
}

async fn pass(context: &Context<'_>, driver: &mut Driver<'_>) -> Result<Option<Timestamp>, CommandError> {
    let settings = context.settings();
    if let Err(error) = &settings {
        context.printer.warn(&error.message, &error.hints);
    }
    let settings = settings.ok();
    driver.policy = settings.as_ref().map(super::policy).unwrap_or_default();
    let pass = Pass { kind: RunKind::Watch, timer: false, dry_run: false };
    let mut names = recorded_names(&driver.store.borrow(), settings.as_ref())?;
    let report = pass.run(context, driver, settings.as_ref()).await?;
    names.extend(recorded_names(&driver.store.borrow(), settings.as_ref())?);
    context.printer.json_line(&json::pass(&report, &names));
    let shown = Shown { context, names: &names, report: &report };
    shown.steps();
    shown.failure(driver)?;
    Ok(report.next_wake)
}

/// Waits until `next`, a signal, another process's write, or a clock that has jumped back.
async fn until(context: &Context<'_>, driver: &Driver<'_>, from: Timestamp, next: Timestamp) {
    let version = driver.store.borrow().data_version().ok();
    loop {
        let now = context.env.now();
        let changed = driver.store.borrow().data_version().ok() != version;
        if now >= next || now < from || changed || driver.interrupt.asked().is_some() {
            return;
        }
        tokio::select! {
            () = sleep(LOOK) => {}
            () = driver.interrupt.wait() => {}
        }
    }
}
