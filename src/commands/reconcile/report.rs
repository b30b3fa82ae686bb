//! Prints a pass for people: its steps, the plan of a dry run, and the outcome.

use crate::{
    commands::{
        context::Context,
        reconcile::{
            news::failure_has_ended,
            trouble::{failure_text, has_warnings, open_ends},
        },
    },
    error::CommandError,
    reconcile::{
        driver::Driver,
        report::{PassReport, StepOutcome},
    },
    ui::opening::opening,
};
use eg_config::settings::Settings;
use eg_model::{plan::TargetPlan, session::record::Standing, target::TargetKey, text::escape_controls};
use eg_state::Store;
use std::collections::BTreeMap;

/// The names of targets: as configured, else as recorded.
pub(super) fn recorded_names(
    store: &Store,
    settings: Option<&Settings>,
) -> Result<BTreeMap<TargetKey, String>, CommandError> {
    let mut sessions = store.live_sessions()?;
    sessions.extend(store.unfinished_sessions()?);
    let grants = sessions.into_iter().flat_map(|session| session.grants);
    let mut names: BTreeMap<TargetKey, String> = grants.map(|grant| (grant.target.key, grant.resource_name)).collect();
    let resources = settings.into_iter().flat_map(|settings| &settings.resources);
    let configured: BTreeMap<TargetKey, &String> = resources.map(|resource| (resource.key(), &resource.name)).collect();
    for (key, name) in &mut names {
        // A configuration names no endpoint.
        if let Some(known) = configured.get(&TargetKey { endpoint: None, ..key.clone() }) {
            name.clone_from(known);
        }
    }
    Ok(names)
}

pub(super) struct PassPrinter<'a> {
    pub(super) context: &'a Context<'a>,
    pub(super) names: &'a BTreeMap<TargetKey, String>,
    pub(super) report: &'a PassReport,
}

impl PassPrinter<'_> {
    /// The plan of every target: `+` opens, `-` closes, `~` changes tags, `=` stays.
    pub(super) fn dry_run(&self) {
        self.moves("would follow");
        let mut shown = !self.report.moves.is_empty() || !self.report.notes.is_empty();
        for plan in &self.report.plans {
            let steps = plan.steps.iter().map(|step| {
                let step = step.described(&|permission| opening(&plan.target, permission));
                format!("  {}\n", self.context.zone.in_text(&step))
            });
            let lines: String = steps.chain(kept(plan)).collect();
            if !lines.is_empty() {
                shown = true;
                self.context.printer.result(&(self.heading(&plan.target) + &lines));
            }
        }
        if !shown {
            self.context.printer.remark("Nothing to do.");
        }
        self.context.tell_notes(self.report);
    }

    /// The steps that were taken. `unattended`: those that failed are left to [`super::news`], which reports them once.
    /// `told_below`: a text that follows; the reasons in it are not told twice.
    pub(super) fn steps(&self, unattended: bool, told_below: &str) {
        self.moves("follows");
        let mut last = None;
        let all = !unattended || self.context.env.stderr_is_terminal;
        for step in self.report.steps.iter().filter(|step| all || step.outcome == StepOutcome::Done) {
            if last != Some(&step.target) {
                self.context.printer.result(&self.heading(&step.target));
                last = Some(&step.target);
            }
            let why = step.error.as_deref().map(escape_controls).filter(|why| !told_below.contains(why.as_str()));
            let outcome = match (step.outcome, why) {
                (StepOutcome::Done, _) => String::new(),
                (outcome, Some(why)) => format!(": {} ({why})", outcome.as_str()),
                (outcome, None) => format!(": {}", outcome.as_str()),
            };
            let step = step.step.described(&|permission| opening(&step.target, permission));
            let step = self.context.zone.in_text(&step);
            self.context.printer.result(&format!("  {step}{outcome}\n"));
        }
    }

    /// The steps and the outcome for a person who waits for it: what is not settled and when eg tries again, or that all is
    /// well.
    pub(super) fn outcome(&self, driver: &Driver<'_>) -> Result<(), CommandError> {
        let (report, printer) = (self.report, self.context.printer);
        let mut store = driver.store_mut();
        let failure = failure_text(&store, report, &open_ends(&store)?)?;
        self.steps(false, &failure);
        self.context.tell_notes(report);
        failure.lines().for_each(|line| printer.remark(line));
        if !failure.is_empty() {
            let now = self.context.env.now();
            printer.remark(&match report.next_wake.filter(|at| *at > now) {
                Some(at) => format!("eg tries again at {}", self.context.zone.clock(at)),
                None => "the next reconcile tries again".to_owned(),
            });
        } else if failure_has_ended(&mut store, report)? {
            printer.remark("✓ Everything is as recorded again");
        } else if report.steps.is_empty() && report.moves.is_empty() && !has_warnings(report) {
            let changed = driver.changes.get() > 0;
            printer.remark(if changed { "✓ Everything is as recorded" } else { "Nothing to do." });
        }
        Ok(())
    }

    fn heading(&self, target: &TargetKey) -> String {
        match self.names.get(target).map(|name| escape_controls(name)) {
            Some(name) if !name.is_empty() => format!("{name} ({target})\n"),
            _ => format!("{target}\n"),
        }
    }

    /// The sessions that go to another address.
    fn moves(&self, verb: &str) {
        for step in &self.report.moves {
            let (short, from, to) = (step.session.short(), step.from, step.to);
            self.context.printer.result(&format!("Session {short} {verb} you from {from} to {to}\n"));
        }
    }
}

/// The lines of a plan's rules that stay.
fn kept(plan: &TargetPlan) -> impl Iterator<Item = String> {
    plan.standings.iter().filter_map(|(permission, standing)| {
        let rule = match standing {
            Standing::Own(rule) => format!("{rule}"),
            Standing::Shared(rule) => format!("{rule}, shared"),
            Standing::Foreign(rule) => format!("{rule}, not eg's"),
            _ => return None,
        };
        Some(format!("  = {} ({rule})\n", opening(&plan.target, permission)))
    })
}
