//! `eg log`: the audit trail. No network, no runtime, no lock, no configuration.

use super::Context;
use crate::{
    cli::Output,
    error::{CommandError, Exit, Kind},
    output::{
        json,
        table::{Cell, Table},
        text::escape_controls,
    },
};
use chrono::TimeDelta;
use eg_model::{Timestamp, duration::parse_up_to, ids::SessionId, session::Session, target::TargetKey};
use eg_state::{Event, Filter, KEPT, RunKind, Store};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Show the audit trail: when, who, what, where, and what came of it
///
/// Everything that was asked, tried and found out, oldest first, from the record. Events are kept for 400 days. In
/// `--output csv`, text that a spreadsheet would take for a formula gets an apostrophe in front.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: eg log --since 7d --output csv > week.csv")]
pub struct LogArgs {
    /// Only what concerns this session: its id, or at least its first four hex digits
    #[arg(long, value_name = "ID")]
    session: Option<String>,
    /// Only the last 8 (hours), 90m, 7d; up to 400d
    #[arg(long, value_name = "D", value_parser = since)]
    since: Option<TimeDelta>,
}

fn since(text: &str) -> Result<TimeDelta, String> {
    parse_up_to(text, KEPT).map_err(|error| error.to_string())
}

/// Shows the trail.
///
/// # Errors
/// There is no such session, or the record cannot be read.
pub fn run(context: &Context<'_>, args: &LogArgs) -> Result<Exit, CommandError> {
    let store = context.store_for_reading()?;
    let entries = match &store {
        Some(store) => entries(context, store, args)?,
        None if args.session.is_some() => {
            let path = context.state.path.display();
            return Err(CommandError::new(Kind::NotFound, "there is no session yet")
                .hint(format!("the state file {path} does not exist")));
        }
        None => Vec::new(),
    };
    let printer = context.printer;
    if context.global.output == Output::Csv {
        printer.verbatim(&csv(&entries)?);
    } else {
        printer.json(&entries.iter().map(entry_json).collect::<Vec<_>>());
        if entries.is_empty() {
            printer.remark("No events.");
        } else {
            printer.result(&table(context, &entries));
        }
    }
    Ok(if context.tell_damaged(store.as_ref()) { Exit::Failed } else { Exit::Done })
}

/// An event, with what the record says about what it names.
struct Entry {
    event: Event,
    user: Option<(String, Option<String>)>,
    resource: Option<String>,
    command: Option<RunKind>,
}

fn entries(context: &Context<'_>, store: &Store, args: &LogArgs) -> Result<Vec<Entry>, CommandError> {
    let wanted = args.session.as_ref().map(|id| context.find(store, id)).transpose()?;
    // A very long time ago is before everything.
    let since = args.since.and_then(|since| context.env.now().checked_sub_signed(since));
    let sessions = store.sessions(&Filter { statuses: None, limit: None })?.sessions;
    let by_id: BTreeMap<SessionId, &Session> = sessions.iter().map(|session| (session.id, session)).collect();
    // Oldest first, so that the newest name of a target wins.
    let grants = sessions.iter().rev().flat_map(|session| &session.grants);
    let names: BTreeMap<&TargetKey, &String> = grants.map(|g| (&g.reach.target, &g.resource_name)).collect();
    let runs = store.run_kinds()?;
    let events = store.events_since(since)?.into_iter();
    let events = events.filter(|event| wanted.as_ref().is_none_or(|session| concerns(event, session)));
    let entry = |event: Event| Entry {
        user: event.session.and_then(|id| by_id.get(&id)).map(|s| (s.user_name.clone(), s.user_email.clone())),
        resource: event.target.as_ref().and_then(|target| names.get(target)).map(|name| (*name).clone()),
        command: event.run.and_then(|run| runs.get(&run)).copied(),
        event,
    };
    Ok(events.map(entry).collect())
}

/// Whether an event is about a session: it names it; or it names none (a rule may serve several), but one of the
/// session's permissions, while the session had not let go of it.
fn concerns(event: &Event, session: &Session) -> bool {
    if let Some(id) = event.session {
        return id == session.id;
    }
    let during = |until: Option<Timestamp>| event.at >= session.started_at && until.is_none_or(|end| event.at <= end);
    session.grants.iter().any(|grant| {
        Some(&grant.reach.target) == event.target.as_ref()
            && during(grant.removed_at)
            && grant.permissions.iter().any(|item| Some(item.permission) == event.permission)
    })
}

impl Entry {
    fn permission(&self) -> Option<String> {
        self.event.permission.map(|permission| format!("{} from {}", permission.ports(), permission.cidr()))
    }

    fn outcome(&self) -> String {
        match &self.event.detail {
            Some(detail) => format!("{}: {detail}", self.event.outcome),
            None => self.event.outcome.clone(),
        }
    }
}

fn table(context: &Context<'_>, entries: &[Entry]) -> String {
    let header = ["WHEN", "WHO", "WHAT", "SESSION", "RESOURCE", "PERMISSION", "RULE", "REQUEST", "OUTCOME"];
    let mut table = Table::new(header);
    for entry in entries {
        let event = &entry.event;
        let or_dash = |text: Option<String>| Cell::new(text.unwrap_or_else(|| "-".to_owned()));
        let target = || event.target.as_ref().map(|target| target.id.clone());
        table.row([
            Cell::new(context.zone.format(event.at)),
            or_dash(entry.user.as_ref().map(|(name, _)| name.clone())),
            Cell::new(event.kind.as_str()),
            or_dash(event.session.map(|id| id.short())),
            or_dash(entry.resource.clone().or_else(target)),
            or_dash(entry.permission()),
            or_dash(event.rule_id.as_ref().map(ToString::to_string)),
            or_dash(event.request_id.clone()),
            Cell::new(entry.outcome()),
        ]);
    }
    table.render_in(context.env.stdout_columns)
}

fn entry_json(entry: &Entry) -> Value {
    let event = &entry.event;
    json!({
        "at": json::time(event.at),
        "userName": entry.user.as_ref().map(|(name, _)| name),
        "userEmail": entry.user.as_ref().and_then(|(_, email)| email.as_ref()),
        "event": event.kind.as_str(),
        "command": entry.command.map(RunKind::as_str),
        "sessionId": event.session.map(|id| id.to_string()),
        "resourceName": entry.resource,
        "resourceId": event.target.as_ref().map(|target| &target.id),
        "region": event.target.as_ref().map(|target| &target.region),
        "permission": event.permission.as_ref().map(json::permission),
        "ruleId": event.rule_id.as_ref().map(|rule| &rule.0),
        "requestId": event.request_id,
        "outcome": event.outcome,
        "detail": event.detail,
    })
}

const COLUMNS: [&str; 14] = [
    "at",
    "user_name",
    "user_email",
    "event",
    "command",
    "session_id",
    "resource_name",
    "resource_id",
    "region",
    "permission",
    "rule_id",
    "request_id",
    "outcome",
    "detail",
];

/// RFC 4180: every row ends in CRLF, absent is empty.
fn csv(entries: &[Entry]) -> Result<String, CommandError> {
    let mut writer = csv::WriterBuilder::new().terminator(csv::Terminator::CRLF).from_writer(Vec::new());
    writer.write_record(COLUMNS).map_err(unwritten)?;
    for entry in entries {
        let event = &entry.event;
        let target = event.target.as_ref();
        let cells: [Option<String>; COLUMNS.len()] = [
            Some(json::time(event.at)),
            entry.user.as_ref().map(|(name, _)| name.clone()),
            entry.user.as_ref().and_then(|(_, email)| email.clone()),
            Some(event.kind.as_str().to_owned()),
            entry.command.map(|kind| kind.as_str().to_owned()),
            event.session.map(|id| id.to_string()),
            entry.resource.clone(),
            target.map(|target| target.id.clone()),
            target.map(|target| target.region.clone()),
            entry.permission(),
            event.rule_id.as_ref().map(ToString::to_string),
            event.request_id.clone(),
            Some(event.outcome.clone()),
            event.detail.clone(),
        ];
        writer.write_record(cells.map(|cell| not_a_formula(&cell.unwrap_or_default()))).map_err(unwritten)?;
    }
    let bytes = writer.into_inner().map_err(|error| unwritten(error.into_error().into()))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn unwritten(error: csv::Error) -> CommandError {
    CommandError::new(Kind::State, format!("the rows cannot be written: {error}"))
}

/// A spreadsheet runs a cell that begins like a formula, whoever wrote its text: a user name, a reason, a provider's
/// message. An apostrophe makes it text (OWASP, "CSV Injection"). Controls are escaped, so a row stays a line.
fn not_a_formula(text: &str) -> String {
    let text = escape_controls(text);
    if text.starts_with(['=', '+', '-', '@', '＝', '＋', '－', '＠']) { format!("'{text}") } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_no_formulas() {
        for (text, expected) in [
            ("=cmd|' /C calc'!A0", "'=cmd|' /C calc'!A0"),
            ("+1", "'+1"),
            ("-1", "'-1"),
            ("@SUM(A1)", "'@SUM(A1)"),
            ("＝1", "'＝1"),
            ("\t=1", "\\u{9}=1"),
            ("tcp/22 from 203.0.113.42/32", "tcp/22 from 203.0.113.42/32"),
            ("", ""),
        ] {
            assert_eq!(not_a_formula(text), expected);
        }
    }
}
