//! `eg reconcile --watch`: a pass whenever something is due. Timers stop while a machine is suspended, so the loop compares the
//! wall clock every two seconds. It also compares SQLite's `data_version`, which reveals other processes' writes at no cost.

use crate::{
    commands::{
        context::Context,
        reconcile::{
            news::{errors_are_news, no_pass_is_news, tell_trouble},
            notify::notify,
            pass::Pass,
            report::{PassPrinter, recorded_names},
        },
    },
    error::{CommandError, Exit},
    host::watch_lock::Sign,
    reconcile::{driver::Driver, json, rights::KnownRights},
    ui::warning::Code,
};
use chrono::TimeDelta;
use eg_model::{Timestamp, ids::SessionId};
use eg_state::{RecordVersion, RunKind};
use std::{collections::BTreeSet, io, time::Duration};
use tokio::time::sleep;

const HANGUP: u8 = 1;

/// The time between two looks at the clock and the record.
const LOOK: Duration = Duration::from_secs(2);

/// Reconciles until a signal ends it. One bad pass never does.
pub(super) async fn watch(context: &Context<'_>, interval: Duration) -> Result<Exit, CommandError> {
    let mut driver = context.driver(context.store()?, None)?;
    let mut sign = Sign::new(&context.state.path).inspect_err(no_sign).ok();
    let interval = TimeDelta::from_std(interval).unwrap_or(TimeDelta::seconds(60));
    while driver.interrupt.asked().is_none() {
        if driver.store().is_replaced()
            && let Err(error) = open_replacement(context, &mut driver)
        {
            warn(context, &error);
        }
        let now = context.env.now();
        let requested = RequestedState::now(&driver, now);
        let wake = pass(context, &mut driver).await.unwrap_or_else(|error| {
            if no_pass_is_news(context, &error) {
                warn(context, &error);
            }
            None
        });
        let next = wake.map_or(now + interval, |wake| wake.min(now + interval)).max(now + TimeDelta::seconds(2));
        wait(context, &driver, &mut sign, requested, next).await;
    }
    // A signal to stop is the expected end of --watch; the loss of its terminal is not.
    Ok(match driver.interrupt.asked() {
        Some(HANGUP) => Exit::Signal(HANGUP),
        _ => Exit::Done,
    })
}

fn warn(context: &Context<'_>, error: &CommandError) {
    context.printer.warn(Code::Error(error.kind.as_str()), &error.message, &error.hints);
}

/// Goes on with the record that was put in place of the open one, to which no command adds any more.
fn open_replacement(context: &Context<'_>, driver: &mut Driver<'_>) -> Result<(), CommandError> {
    context.printer.warn(
        Code::Replaced,
        &format!("{} was replaced: what is there now counts", context.state.path.display()),
        &[],
    );
    let store = context.store()?;
    driver.use_store(store);
    Ok(())
}

/// One pass. Returns the time of the next one, if something is due then.
async fn pass(context: &Context<'_>, driver: &mut Driver<'_>) -> Result<Option<Timestamp>, CommandError> {
    let (settings, policy) = (context.settings(), context.site_policy());
    let errors: Vec<CommandError> = settings.as_ref().err().into_iter().chain(policy.as_ref().err()).cloned().collect();
    if errors_are_news(context, driver, &errors, context.env.now()) {
        errors.iter().for_each(|error| warn(context, error));
    }
    let settings = settings.ok();
    // Credentials may have been renewed since the last pass: read their files again.
    driver.connect = context.env.connect();
    driver.rights = KnownRights::default();
    driver.policy = context.driver_policy(settings.as_ref());
    let pass = Pass { kind: RunKind::Watch, timer: false, dry_run: false };
    let mut names = recorded_names(&driver.store(), settings.as_ref())?;
    let report = pass.run(context, driver, settings.as_ref()).await?;
    names.extend(recorded_names(&driver.store(), settings.as_ref())?);
    context.printer.json_line(&json::pass(&report, &names));
    PassPrinter { context, names: &names, report: &report }.steps(true, "");
    tell_trouble(context, driver, &report, &[])?;
    let command = settings.as_ref().and_then(|settings| settings.notify.as_ref());
    let next = notify(context, driver, command, &report).await;
    Ok(report.next_wake.into_iter().chain(next).min())
}

/// The wishes of users: the live sessions and their ends. Only these wake a watch early: passes of other processes write more
/// than that, and two watches must not wake each other for ever.
struct RequestedState {
    at: Timestamp,
    replaced: bool,
    version: Option<RecordVersion>,
    live: Option<BTreeSet<(SessionId, Timestamp)>>,
}

impl RequestedState {
    /// Taken just before a pass, because the pass may miss what others record from now on.
    fn now(driver: &Driver<'_>, at: Timestamp) -> Self {
        let version = driver.store().data_version().ok().flatten();
        Self { at, replaced: driver.store().is_replaced(), version, live: Self::live(driver, at) }
    }

    /// Without sessions that are over: the pass itself ends these.
    fn live(driver: &Driver<'_>, at: Timestamp) -> Option<BTreeSet<(SessionId, Timestamp)>> {
        let live = driver.store().live_expiries().ok()?;
        Some(live.into_iter().filter(|(_, expires_at)| *expires_at > at).collect())
    }

    /// True if another process has recorded something else since, or replaced the record.
    fn has_changed(&mut self, driver: &Driver<'_>) -> bool {
        if driver.store().is_replaced() && !self.replaced {
            return true;
        }
        let version = driver.store().data_version().ok().flatten();
        let written = version.is_none() || version != self.version;
        self.version = version;
        written && Self::live(driver, self.at) != self.live
    }
}

/// Without the sign, other commands do not know that a watch runs. It closes on time all the same, so this is for the log only.
fn no_sign(error: &io::Error) {
    tracing::info!("the sign of this watch cannot be shown: {error}");
}

/// Waits until `next`, a signal, a change of the requested state, or a clock that has jumped back.
async fn wait(
    context: &Context<'_>,
    driver: &Driver<'_>,
    sign: &mut Option<Sign>,
    mut requested: RequestedState,
    next: Timestamp,
) {
    loop {
        // Another watch that held the sign may have ended.
        if let Some(Err(error)) = sign.as_mut().map(Sign::show) {
            no_sign(&error);
        }
        let now = context.env.now();
        if now >= next || now < requested.at || driver.interrupt.asked().is_some() || requested.has_changed(driver) {
            return;
        }
        tokio::select! {
            () = sleep(LOOK) => {}
            () = driver.interrupt.wait() => {}
        }
    }
}
