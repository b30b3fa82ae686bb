//! One pass of `eg reconcile` over everything that is due.

use crate::{
    commands::{context::Context, pass::not_had, reconcile::follow::follow, targets::Expanded},
    error::CommandError,
    reconcile::{driver::Driver, lane::PASS_LIMIT, reading::TargetReadings, report::PassReport, request::Request},
};
use eg_config::settings::Settings;
use eg_model::{Timestamp, target::Target};
use eg_state::RunKind;
use std::time::Duration;
use tokio::time::Instant;

/// The look-ups of a collection pass delay closing by no more than this.
const LOOK_UP_LIMIT: Duration = Duration::from_secs(3);
/// The note of the record that holds the time of the last collection pass.
const COLLECTED: &str = "collected-at";

pub(super) struct Pass {
    pub(super) kind: RunKind,
    pub(super) timer: bool,
    pub(super) dry_run: bool,
}

impl Pass {
    pub(super) async fn run(
        &self,
        context: &Context<'_>,
        driver: &Driver<'_>,
        settings: Option<&Settings>,
    ) -> Result<PassReport, CommandError> {
        if !self.dry_run {
            driver.store_mut().check_daily(context.env.now())?;
        }
        let lock = context
            .lock(driver, "eg reconcile", true, self.timer)
            .await
            .map_err(|error| not_had(error, "nothing was changed; the next `eg reconcile` does what is due"))?;
        let collect_from = self.collect_from(context, driver, settings).await?;
        let collects = !collect_from.is_empty();
        if !self.dry_run && context.env.stderr_is_terminal {
            let needed = driver.needed(None)?;
            context.name_endpoints(needed.values().flatten().chain(&collect_from));
        }
        let mut followed = follow(context, driver, settings, self.dry_run).await;
        let request = Request {
            kind: self.kind,
            scope: None,
            interactive: context.env.stderr_is_terminal && !self.timer && self.kind != RunKind::Watch,
            timer: self.timer,
            collect_from,
            moves: std::mem::take(&mut followed.moves),
            dry_run: self.dry_run,
        };
        let readings = std::mem::take(&mut followed.readings);
        let mut report = context.driven(driver, &lock, &request, readings).await?;
        // Other processes record sessions during the pass. Further passes carry these out, for a minute at most.
        let until = Instant::now() + PASS_LIMIT;
        while report.was_outrun && !self.dry_run && Instant::now() < until && driver.interrupt.asked().is_none() {
            let request = Request { collect_from: Vec::new(), moves: Vec::new(), ..request.clone() };
            report = report.followed_by(context.driven(driver, &lock, &request, TargetReadings::new()).await?);
        }
        followed.add_to(&mut report);
        if !self.dry_run {
            let mut store = driver.store_mut();
            let noted = if collects { store.set_note(COLLECTED, &report.started.to_rfc3339()) } else { Ok(()) };
            // A failure becomes part of the report: the outcome of the pass is shown all the same.
            report.keep(noted.and_then(|()| store.prune(report.finished).map(drop)));
        }
        Ok(report)
    }

    /// The targets of a collection pass, when one is due: every configured target. Groups that are configured by name or tags
    /// are left out if they cannot be looked up.
    async fn collect_from(
        &self,
        context: &Context<'_>,
        driver: &Driver<'_>,
        settings: Option<&Settings>,
    ) -> Result<Vec<Target>, CommandError> {
        let Some(settings) = settings.filter(|settings| settings.reconcile.collect_expired) else {
            return Ok(Vec::new());
        };
        let last = driver.store().note(COLLECTED)?.and_then(|text| text.parse::<Timestamp>().ok());
        let age = |last: Timestamp| (context.env.now() - last).abs();
        if last.is_some_and(|last| age(last) < settings.reconcile.collect_interval) {
            return Ok(Vec::new());
        }
        let Expanded { settings, unknown, .. } = context.expanded_within(settings, LOOK_UP_LIMIT).await;
        for (name, error) in unknown {
            tracing::info!("nothing is collected from {name}: {error}");
        }
        Ok(settings.resources.iter().map(|resource| context.target(resource)).collect())
    }
}
