//! `eg who`: every rule with eg's tags on the configured groups, of all installations. Reads, and changes nothing.

use crate::{
    commands::{
        context::{Context, block_on},
        targets::Expanded,
    },
    error::{CommandError, Exit},
    targets::read::{ResourceReading, read_resources},
    ui::{
        holder, json,
        opening::opening,
        table::{Cell, Table},
        time::Zone,
        warning::Code,
    },
};
use eg_config::settings::{Resource, Settings};
use eg_model::{
    ids::{InstallationId, RuleId, SessionId},
    session::record::{GrantPermission, Session},
    sweep::holders::{Holder, MarkedRule, marked_rules},
    tags::{Fit, opener_named},
    target::TargetKey,
};
use eg_providers::ReadResult;
use eg_state::Store;
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// Show who holds what: every rule that carries eg's tags, from every installation
///
/// Reads every configured group now. A lease is judged by the provider's clock: it counts for ten minutes beyond its
/// time. Rules without eg's tags are not shown.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: eg who")]
pub struct WhoArgs {}

/// This installation, from its record.
#[derive(Default)]
struct Us {
    installation: Option<InstallationId>,
    /// Rules that the record proves to be ours by their id.
    rules: BTreeSet<(TargetKey, RuleId)>,
    /// Sessions that are not over.
    sessions: Vec<Session>,
    store: Option<Store>,
}

/// A rule, and the session that opened it as far as the rule and the record tell.
struct WhoRule {
    rule: MarkedRule,
    session: Option<SessionId>,
    /// The first digits of its id. An entry without tags has room for no more.
    short: Option<String>,
    /// Its user, from the rule's description.
    person: Option<String>,
    /// It is a session of this record.
    recorded: bool,
}

impl WhoRule {
    fn new(target: &TargetKey, rule: MarkedRule, us: &Us) -> Self {
        let (person, short) = rule.description.as_deref().and_then(opener_named).unzip();
        let session = rule.opener.or_else(|| us.session(target, &rule, short));
        let short = session.map(|id| id.short()).or(short.map(str::to_owned));
        let person = person.flatten().map(str::to_owned);
        let recorded = session.is_some_and(|id| us.recorded(id).is_some());
        Self { rule, session, short, person, recorded }
    }
}

impl Us {
    fn recorded(&self, id: SessionId) -> Option<Session> {
        // A session that cannot be read is as good as none here: `eg doctor` tells of it.
        self.store.as_ref()?.session(id).ok().flatten()
    }

    /// The session for a rule that does not name a whole id: the one that its text names, or, if it has no text, the oldest
    /// one that it is open for.
    fn session(&self, target: &TargetKey, rule: &MarkedRule, short: Option<&str>) -> Option<SessionId> {
        let Some(short) = short else {
            let open = |item: &GrantPermission| item.standing.rule() == Some(&rule.id);
            let open_for = self.sessions.iter().filter(|session| holds(session, target, open));
            return open_for.min_by_key(|session| session.started_at).map(|session| session.id);
        };
        let ids = self.store.as_ref()?.find(short).ok()?;
        let wanted = |item: &GrantPermission| item.permission == rule.permission;
        let found = |id: &SessionId| self.recorded(*id).is_some_and(|session| holds(&session, target, wanted));
        ids.into_iter().find(found)
    }
}

fn holds(session: &Session, target: &TargetKey, is_it: impl Fn(&GrantPermission) -> bool) -> bool {
    let there = session.grants.iter().filter(|grant| grant.target.key == *target);
    there.flat_map(|grant| &grant.permissions).any(is_it)
}

pub fn run(context: &Context<'_>, _args: &WhoArgs) -> Result<Exit, CommandError> {
    let settings = context.settings()?;
    if settings.names_no_target() {
        return Err(context.no_resources("eg who"));
    }
    let us = us(context)?;
    for resource in &settings.resources {
        if let Some(why) = nothing_to_tell(resource) {
            context.printer.remark(&format!("{}: {why}", resource.name));
        }
    }
    block_on(async { Ok(show(context, &settings, &us).await) })
}

/// The reason why a firewall cannot tell who holds what: nothing there carries marks.
fn nothing_to_tell(resource: &Resource) -> Option<String> {
    let (noun, entry) = (resource.kind.noun, resource.kind.entry.many);
    resource.kind.unmarked.then(|| format!("{noun} carries no marks: only the record tells which {entry} are eg's"))
}

async fn show(context: &Context<'_>, settings: &Settings, us: &Us) -> Exit {
    let connect = context.env.connect();
    let Expanded { settings, unknown, .. } = context.expanded(settings).await;
    let seen = read_resources(&settings, connect.as_ref(), |resource| context.target(resource)).await;
    let looks: Vec<WhoTarget<'_>> =
        looks(&seen, us).into_iter().filter(|look| !look.surveyed.resource.kind.unmarked).collect();
    let printer = context.printer;
    printer.json(&as_json(&looks, &unknown));
    if looks.iter().any(|look| matches!(&look.found, Ok(rules) if !rules.is_empty())) {
        printer.result(&table(&looks, &context.zone, context.env.stdout_columns));
    } else if looks.iter().any(|look| look.found.is_ok()) {
        printer.remark("No rules managed by eg.");
    }
    for look in &looks {
        if let Err((why, advice)) = &look.found {
            printer.warn(
                Code::NotRead,
                &format!("{} cannot be read: {why}", look.surveyed.resource.name),
                &[(*advice).to_owned()],
            );
        }
    }
    for (_, error) in &unknown {
        printer.warn(Code::NotRead, &error.message, &error.hints);
    }
    let unread = looks.iter().filter(|look| look.found.is_err()).count() + unknown.len();
    Exit::after_reading(unread, looks.len() + unknown.len())
}

fn us(context: &Context<'_>) -> Result<Us, CommandError> {
    let Some(store) = context.store_for_reading()? else { return Ok(Us::default()) };
    let leases = store.open_leases()?;
    let rules = leases.iter().filter_map(|lease| Some((lease.target.key.clone(), lease.proven_rule()?.clone())));
    let rules = rules.collect();
    let sessions = [store.live_sessions()?, store.unfinished_sessions()?].concat();
    Ok(Us { installation: Some(store.installation().clone()), rules, sessions, store: Some(store) })
}

/// One target, with its marked rules; or the reason why they are not known, and the advice.
struct WhoTarget<'a> {
    surveyed: &'a ResourceReading<'a>,
    found: Result<Vec<WhoRule>, (String, &'static str)>,
}

/// Each target once, even if several resources name it. A resource whose credentials could read the target is preferred.
fn looks<'a>(seen: &'a [ResourceReading<'a>], us: &Us) -> Vec<WhoTarget<'a>> {
    let whole = |one: &ResourceReading<'_>| matches!(one.result, ReadResult::Complete(_));
    let mut best: Vec<&ResourceReading<'_>> = Vec::new();
    for one in seen {
        match best.iter_mut().find(|known| known.target.key == one.target.key) {
            None => best.push(one),
            Some(known) if whole(one) && !whole(known) => *known = one,
            Some(_) => {}
        }
    }
    best.into_iter().map(|surveyed| WhoTarget { surveyed, found: found(surveyed, us) }).collect()
}

fn found(surveyed: &ResourceReading<'_>, us: &Us) -> Result<Vec<WhoRule>, (String, &'static str)> {
    let target = &surveyed.target.key;
    match &surveyed.result {
        ReadResult::Complete(reading) => {
            let ours = us.rules.iter().filter(|(key, _)| key == target).map(|(_, rule)| rule.clone()).collect();
            let marked = marked_rules(&target.id, reading, us.installation.as_ref(), &ours);
            Ok(marked.into_iter().map(|rule| WhoRule::new(target, rule, us)).collect())
        }
        ReadResult::NotFound { caller } => Err((
            ReadResult::absent(target, caller.as_ref()),
            "check the resource's id, region and profile, or ask: eg doctor",
        )),
        ReadResult::NoReadBack => {
            Err((ReadResult::no_read_back(target).to_string(), "what the record says of it: eg session list"))
        }
        ReadResult::Unavailable(failure) => Err((failure.to_string(), crate::error::advice(failure.class))),
    }
}

fn table(looks: &[WhoTarget<'_>], zone: &Zone, columns: Option<usize>) -> String {
    let mut table = Table::new(["RESOURCE", "PERMISSION", "RULE", "SESSION", "HOLDER", "UNTIL"]);
    for look in looks {
        for WhoRule { rule, short, person, recorded, .. } in look.found.iter().flatten() {
            let cells = [
                Cell::new(&look.surveyed.resource.name),
                Cell::new(opening(&look.surveyed.target.key, &rule.permission)),
                Cell::new(&rule.id.0),
                Cell::new(short.as_deref().unwrap_or("-")),
            ];
            holder::rows(&mut table, cells, rule.holders.iter().map(|holder| until(holder, zone)));
            if let Some(person) = person.as_ref().filter(|_| !recorded) {
                table.note(format!("opened by {person}"));
            }
            if let Some(note) = fit_note(rule.fit) {
                table.note(note);
            }
        }
    }
    table.render_in(columns)
}

fn until(holder: &Holder, zone: &Zone) -> [Cell; 2] {
    let other = || format!("other {}", holder::name(holder));
    let who = if holder.ours { "this installation".to_owned() } else { other() };
    [Cell::new(who), holder::until(holder, zone)]
}

fn fit_note(fit: Fit) -> Option<String> {
    match fit {
        Fit::Genuine => None,
        Fit::OursById => {
            Some("ours by its id, but its tags are not: they were edited; eg reconcile puts it right".to_owned())
        }
        Fit::Misfit(misfit) => Some(format!("{}; eg never touches it", misfit.why())),
    }
}

fn as_json(looks: &[WhoTarget<'_>], not_looked_up: &[(String, CommandError)]) -> Value {
    let rules = looks.iter().flat_map(|look| look.found.iter().flatten().map(move |rule| rule_json(look, rule)));
    let unknown = looks.iter().filter_map(|look| {
        let target = &look.surveyed.target.key;
        let (why, _) = look.found.as_ref().err()?;
        Some(json!({
            "resourceName": look.surveyed.resource.name,
            "resourceId": target.id,
            "region": json::region(target),
            "message": why,
        }))
    });
    let nowhere = not_looked_up.iter().map(
        |(name, error)| json!({"resourceName": name, "resourceId": null, "region": null, "message": error.message}),
    );
    json!({"rules": rules.collect::<Vec<_>>(), "unavailable": unknown.chain(nowhere).collect::<Vec<_>>()})
}

fn rule_json(look: &WhoTarget<'_>, found: &WhoRule) -> Value {
    let rule = &found.rule;
    let target = &look.surveyed.target.key;
    let holder = |holder: &Holder| {
        json!({
            "installation": holder.installation.as_str(),
            "ours": holder.ours,
            "until": holder.until.map(json::time),
            "value": holder.value,
            "state": holder.state.as_str(),
        })
    };
    json!({
        "resourceName": look.surveyed.resource.name,
        "provider": target.provider,
        "kind": target.kind,
        "resourceId": target.id,
        "region": json::region(target),
        "permission": json::permission(&rule.permission),
        "ruleId": rule.id.0,
        "sessionId": found.session.map(|id| id.to_string()),
        "sessionShortId": found.short,
        "person": found.person,
        "marks": match rule.fit {
            Fit::Genuine => "genuine",
            Fit::OursById => "ours-by-id",
            Fit::Misfit(_) => "misfit",
        },
        "holders": rule.holders.iter().map(holder).collect::<Vec<_>>(),
    })
}
