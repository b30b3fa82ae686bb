//! `eg reconcile --watch`: passes whenever something is due. Timers stop while a machine is suspended, so what is
//! compared every two seconds is the wall clock; and SQLite's `data_version`, which tells of other processes' writes
//! at no cost.

use crate::commands::{
    context::Context,
    reconcile::{
        notify::notify,
        once::{Pass, PassPrinter, errors_are_news, recorded_names},
    },
};
use crate::{
    error::{CommandError, Exit},
    host::watch_lock::Sign,
    reconcile::{driver::Driver, json, rights::KnownRights},
    ui::warning::Code,
};
use chrono::TimeDelta;
use eg_model::{Timestamp, ids::SessionId};
use eg_state::RunKind;
use std::{collections::BTreeSet, io, time::Duration};
use tokio::time::sleep;

const HANGUP: u8 = 1;

/// How often the clock and the record are looked at.
const LOOK: Duration = Duration::from_secs(2);

/// Reconciles until a signal ends it. One bad pass never does.
pub(super) async fn watch(context: &Context<'_>, interval: Duration) -> Result<Exit, CommandError> {
    let mut driver = context.driver(context.store()?, None)?;
    let mut sign = Sign::new(&context.state.path).inspect_err(no_sign).ok();
    let interval = TimeDelta::from_std(interval).unwrap_or(TimeDelta::seconds(60));
    while driver.interrupt.asked().is_none() {
        if driver.store.borrow().is_replaced()
            && let Err(error) = read_anew(context, &mut driver)
        {
            context.printer.warn(Code::Error(error.kind.as_str()), &error.message, &error.hints);
        }
        let now = context.env.now();
        let asked = RequestedState::now(&driver, now);
        let wake = match pass(context, &mut driver).await {
            Ok(wake) => wake,
            Err(error) => {
                context.printer.warn(Code::Error(error.kind.as_str()), &error.message, &error.hints);
                None
            }
        };
        let next = wake.map_or(now + interval, |wake| wake.min(now + interval)).max(now + TimeDelta::seconds(2));
        until(context, &driver, &mut sign, asked, next).await;
    }
    // To be stopped is what --watch expects; to lose its terminal is not.
    Ok(match driver.interrupt.asked() {
        Some(HANGUP) => Exit::Signal(HANGUP),
        _ => Exit::Done,
    })
}

/// Goes on with the record that is there now. To the one before nobody adds anything any more.
fn read_anew(context: &Context<'_>, driver: &mut Driver<'_>) -> Result<(), CommandError> {
    context.printer.warn(
        Code::Replaced,
        &format!("{} was replaced: what is there now counts", context.state.path.display()),
        &[],
    );
    let store = context.store()?;
    driver.use_store(store);
    Ok(())
}

async fn pass(context: &Context<'_>, driver: &mut Driver<'_>) -> Result<Option<Timestamp>, CommandError> {
    let (settings, site) = (context.settings(), context.site_policy());
    let errors: Vec<CommandError> = settings.as_ref().err().into_iter().chain(site.as_ref().err()).cloned().collect();
    if errors_are_news(context, driver, &errors, context.env.now()) {
        for error in &errors {
            context.printer.warn(Code::Error(error.kind.as_str()), &error.message, &error.hints);
        }
    }
    let settings = settings.ok();
    // Credentials are read from their files anew: they may have been renewed since the last pass.
    driver.connect = context.env.connect();
    driver.rights = KnownRights::default();
    driver.policy = context.driver_policy(settings.as_ref());
    let pass = Pass { kind: RunKind::Watch, timer: false, dry_run: false };
    let mut names = recorded_names(&driver.store.borrow(), settings.as_ref())?;
    let report = pass.run(context, driver, settings.as_ref()).await?;
    names.extend(recorded_names(&driver.store.borrow(), settings.as_ref())?);
    context.printer.json_line(&json::pass(&report, &names));
    let shown = PassPrinter { context, names: &names, report: &report };
    shown.steps(true);
    shown.failure(driver)?;
    let told = settings.as_ref().and_then(|settings| settings.notify.as_ref());
    let next = notify(context, driver, told, &report).await;
    Ok(report.next_wake.into_iter().chain(next).min())
}

/// What people ask for: which sessions live, and until when. Passes of others change more than that, and two
/// watchers must not wake each other for ever.
struct RequestedState {
    at: Timestamp,
    replaced: bool,
    version: Option<i64>,
    live: Option<BTreeSet<(SessionId, Timestamp)>>,
}

impl RequestedState {
    /// As a pass is about to find it: what others record from now on may come too late for that pass.
    fn now(driver: &Driver<'_>, at: Timestamp) -> Self {
        let version = driver.store.borrow().data_version().ok();
        Self { at, replaced: driver.store.borrow().is_replaced(), version, live: Self::live(driver, at) }
    }

    /// A session that is over at this time is the pass's own to end: that is no news.
    fn live(driver: &Driver<'_>, at: Timestamp) -> Option<BTreeSet<(SessionId, Timestamp)>> {
        let live = driver.store.borrow().live_sessions().ok()?;
        let live = live.into_iter().filter(|session| session.expires_at > at);
        Some(live.map(|session| (session.id, session.expires_at)).collect())
    }

    /// Whether others have recorded something else since, or put another record in place of this one.
    fn has_changed(&mut self, driver: &Driver<'_>) -> bool {
        if driver.store.borrow().is_replaced() && !self.replaced {
            return true;
        }
        let version = driver.store.borrow().data_version().ok();
        let written = version != self.version;
        self.version = version;
        written && Self::live(driver, self.at) != self.live
    }
}

/// Other commands cannot know then that a watch runs, which says it in the log alone: what is due is closed all the same.
fn no_sign(error: &io::Error) {
    tracing::info!("the sign of this watch cannot be shown: {error}");
}

/// Waits until `next`, a signal, a change of what is asked for, or a clock that has jumped back.
async fn until(
    context: &Context<'_>,
    driver: &Driver<'_>,
    sign: &mut Option<Sign>,
    mut asked: RequestedState,
    next: Timestamp,
) {
    loop {
        // Another watch may have ended.
        if let Some(Err(error)) = sign.as_mut().map(Sign::show) {
            no_sign(&error);
        }
        let now = context.env.now();
        if now >= next || now < asked.at || driver.interrupt.asked().is_some() || asked.has_changed(driver) {
            return;
        }
        tokio::select! {
            () = sleep(LOOK) => {}
            () = driver.interrupt.wait() => {}
        }
    }
}
