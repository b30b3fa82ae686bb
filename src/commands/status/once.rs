//! The arguments of `eg status`, and the status once. Except for the address, everything comes from the record.

use crate::{
    address::{Detected, Families, detect, reasons},
    checks::schedule::status_line,
    commands::{
        context::{Context, block_on},
        status::watch::{self, RunWords},
    },
    error::{CommandError, Exit},
    host::lock::{LockHolder, stalled_holder},
    schedule::scheduled::Scheduled,
    ui::{
        json,
        session::{View, line},
    },
};
use eg_config::settings::Settings;
use eg_model::{
    net::{
        address::IpVersion,
        agree::{FamilyOutcome, describe},
    },
    session::{
        problems::{Trouble, trouble},
        record::{Grant, GrantStatus, Session},
    },
    text::escape_controls,
    time::duration::overdue,
};
use eg_state::RecordSummary;
use serde_json::{Value, json};
use std::net::IpAddr;

/// Show everything at a glance: your address, what is open and until when, what is wrong
///
/// Without a network the address is missing and everything else is there: it comes from the record. With --watch
/// no network is used at all, until a key stops (x) or extends (e) the session that is selected.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  eg status\n  eg status --watch")]
pub struct StatusArgs {
    /// Keep showing it, on a terminal: sessions counting down, rules and events, with keys to stop and extend
    #[arg(long)]
    watch: bool,
}

/// Shows the status. Fails on a bad configuration or policy only after everything else was shown.
pub fn run(context: &Context<'_>, args: &StatusArgs, run_words: RunWords) -> Result<Exit, CommandError> {
    if args.watch {
        return watch::run(context, run_words);
    }
    let settings = context.settings();
    let store = context.store_for_reading()?;
    let glance = store.as_ref().map(RecordSummary::read).transpose()?.unwrap_or_default();
    let scheduled = context.scheduled(store.as_ref(), &glance.runs);
    let addresses = match &settings {
        Ok(settings) => addresses(context, settings)?,
        Err(_) => Vec::new(),
    };
    let view = context.view(glance.runs.clone());
    let holder = stalled_holder(context.env, &context.state.path);
    let shown = StatusPrinter { view, scheduled, glance: &glance, addresses: &addresses, holder: holder.as_ref() };
    context.printer.json(&shown.json());
    context.printer.result(&shown.text());
    let damaged = context.tell_damaged(store.as_ref());
    settings?;
    context.site_policy()?;
    Ok(if damaged { Exit::Failed } else { Exit::Done })
}

/// A family with its address, or the reason why there is none.
type Address = (IpVersion, Result<IpAddr, String>);

/// The addresses of the families that some resource takes; of both if no resource is configured.
fn addresses(context: &Context<'_>, settings: &Settings) -> Result<Vec<Address>, CommandError> {
    let none = settings.names_no_target();
    let wanted = |version| none || settings.takes(version);
    let families = Families { v4: wanted(IpVersion::V4), v6: wanted(IpVersion::V6) };
    let acceptable = context.env.address_rule.clone();
    let Detected { v4, v6 } = block_on(async { Ok(detect(families, &settings.detect, acceptable).await) })?;
    let found = [(IpVersion::V4, v4), (IpVersion::V6, v6)];
    Ok(found.into_iter().filter_map(|(version, outcome)| Some((version, address(outcome)?))).collect())
}

fn address(outcome: FamilyOutcome) -> Option<Result<IpAddr, String>> {
    match outcome {
        FamilyOutcome::NotAsked => None,
        FamilyOutcome::Agreed { address, .. } => Some(Ok(address)),
        FamilyOutcome::NotRoutable { message, .. } => Some(Err(message)),
        FamilyOutcome::NotAgreed { answers } => Some(Err(reasons(&answers))),
        FamilyOutcome::Disagree { answers } => {
            let lines: Vec<String> = answers.iter().map(describe).collect();
            Some(Err(format!("the services do not agree: {}", lines.join("; "))))
        }
    }
}

struct StatusPrinter<'a> {
    view: View,
    scheduled: Scheduled,
    glance: &'a RecordSummary,
    addresses: &'a [Address],
    /// A process that holds the lock but makes no progress.
    holder: Option<&'a LockHolder>,
}

/// A grant that is not as its session wants it.
struct Unconverged<'a> {
    session: &'a Session,
    grant: &'a Grant,
    trouble: Trouble,
}

impl Unconverged<'_> {
    fn why(&self) -> Option<String> {
        let kept = self.session.keeps(self.grant);
        let closing = if kept { "stays open until the new address is" } else { "not closed yet" };
        let settling = || (self.grant.status == GrantStatus::Removing).then(|| closing.to_owned());
        let refused = || (!self.trouble.reasons.is_empty()).then(|| self.trouble.reasons.join("; "));
        self.grant.error_message().or_else(refused).or_else(settling)
    }
}

impl StatusPrinter<'_> {
    fn unconverged(&self) -> Vec<Unconverged<'_>> {
        let grants = self.glance.sessions.iter().flat_map(|session| session.grants.iter().map(move |g| (session, g)));
        let found =
            |(session, grant)| Some(Unconverged { session, grant, trouble: trouble(grant, &self.glance.leases)? });
        grants.filter_map(found).collect()
    }

    fn text(&self) -> String {
        let mut text = String::new();
        text += &self.address_lines();
        let runs = self.glance.runs.scheduled_at;
        text += &line("Scheduled", &status_line(self.scheduled, runs, |at| self.view.zone.format(at)));
        text += &line("Reconcile", &self.view.last_reconcile());
        if let Some(at) = self.glance.next_wake(self.view.now) {
            let due = || format!("overdue {}", overdue(self.view.now, at));
            text += &line("Next wake", &if at > self.view.now { self.view.zone.format(at) } else { due() });
        }
        if let Some(holder) = self.holder {
            let how = format!("another eg ({}) {}: what opens waits for it", holder.text(), holder.how());
            let told = [vec![self.view.zone.in_text(&how)], holder.remedy()].concat();
            text += &line("Lock", &told.join("; "));
        }
        let sessions = &self.glance.sessions;
        text += &if sessions.is_empty() {
            line("Sessions", "none: nothing is open")
        } else {
            format!("\n{}", self.view.list(sessions))
        };
        let overdue: String = self.view.overdue_causes(sessions).iter().map(|cause| format!("{cause}\n")).collect();
        let troubles: String = self.unconverged().iter().map(|item| self.trouble(item)).collect();
        let strays = self.view.covered(sessions).into_iter().chain(self.strays());
        let strays: String = strays.map(|line| format!("{line}\n")).collect();
        let notes = overdue + &troubles + &strays;
        if notes.is_empty() { text } else { text + "\n" + &notes }
    }

    /// An unknown address is a line rather than an error, because there may be no network. `eg ip` shows the services' answers.
    fn address_lines(&self) -> String {
        if !self.addresses.is_empty() && self.addresses.iter().all(|(_, address)| address.is_err()) {
            return line("Address", "not known; offline? See: eg ip");
        }
        let shown = |address: &Result<IpAddr, String>| match address {
            Ok(address) => address.to_string(),
            Err(_) => "not available here".to_owned(),
        };
        self.addresses.iter().map(|(version, address)| line(&version.to_string(), &shown(address))).collect()
    }

    fn trouble(&self, item: &Unconverged<'_>) -> String {
        let (short, name) = (item.session.id.short(), escape_controls(&item.grant.resource_name));
        let why = item.why().map(|why| format!(": {}", escape_controls(&why))).unwrap_or_default();
        let next = self.view.next_try(&item.trouble);
        format!("{short} {name} {} is {}{why}; {next}\n", item.grant.ip_version(), item.grant.status)
    }

    /// The live sessions for an address that is no longer the user's.
    fn strays(&self) -> Vec<String> {
        let mut lines = Vec::new();
        let of_users = self.glance.sessions.iter().filter(|session| session.followed_name.is_none());
        for session in of_users.filter(|session| session.status.is_live()) {
            for (version, now) in self.addresses {
                let (Ok(now), Some(then)) = (now, session.address(*version)) else { continue };
                if !session.is_for(*now) {
                    let next = if session.follow { "; the next reconcile follows" } else { "" };
                    let short = session.id.short();
                    lines.push(format!("{short} is open for {then}; your address is {now} now{next}"));
                }
            }
        }
        lines
    }

    fn json(&self) -> Value {
        let address = |(version, address): &Address| {
            json!({
                "ipVersion": version.number(),
                "address": address.as_ref().ok(),
                "error": address.as_ref().err(),
            })
        };
        let runs = &self.glance.runs;
        let last = runs.reconcile.as_ref().map(|run| {
            json!({"finishedAt": json::time(run.finished_at), "converged": run.converged, "summary": run.summary})
        });
        json!({
            "addresses": self.addresses.iter().map(address).collect::<Vec<_>>(),
            "scheduled": self.scheduled.closes(),
            "scheduledAt": runs.scheduled_at.map(json::time),
            "lastReconcile": last,
            "nextWakeAt": self.glance.next_wake(self.view.now).map(json::time),
            "stalledHolder": self.holder.map(holder_json),
            "sessions": self.glance.sessions.iter().map(|session| self.session_json(session)).collect::<Vec<_>>(),
            "notConverged": self.unconverged().iter().map(unconverged_json).collect::<Vec<_>>(),
        })
    }

    fn session_json(&self, session: &Session) -> Value {
        let seconds = (session.expires_at - self.view.now).num_seconds();
        json!({
            "id": session.id.to_string(),
            "status": session.status.as_str(),
            "ipv4Address": session.address(IpVersion::V4),
            "ipv6Address": session.address(IpVersion::V6),
            "startedAt": json::time(session.started_at),
            "expiresAt": json::time(session.expires_at),
            "remainingSeconds": seconds.max(0),
            "overdueSeconds": (-seconds).max(0),
        })
    }
}

fn holder_json(holder: &LockHolder) -> Value {
    json!({
        "pid": holder.pid,
        "processState": holder.state.map(String::from),
        "lastProgressAt": holder.progress.map(json::time),
        "message": format!("another eg ({}) {}", holder.text(), holder.how()),
        "advice": holder.remedy(),
    })
}

fn unconverged_json(item: &Unconverged<'_>) -> Value {
    json!({
        "sessionId": item.session.id.to_string(),
        "resourceName": item.grant.resource_name,
        "resourceId": item.grant.target.key.id,
        "ipVersion": item.grant.ip_version().number(),
        "status": item.grant.status.as_str(),
        "reason": item.why(),
        "nextTryAt": item.trouble.next_try_at.map(json::time),
    })
}
