//! `eg session extend`.

use crate::{
    commands::{
        context::{Context, block_on},
        session::{
            find::ended_text,
            outcome::{exit_after, tags_are_behind},
            preflight::check_clock,
        },
    },
    error::{CommandError, Exit, Kind},
};
use chrono::TimeDelta;
use eg_config::{
    policy::{MachinePolicy, PolicyRequest},
    settings::Settings,
};
use eg_model::{
    Timestamp,
    ids::SessionId,
    session::record::{Session, SessionStatus},
    time::{
        duration::{MIN, Written, format_duration},
        until::parse_until,
    },
};
use eg_state::{RunKind, Store};

/// Extend a live session
///
/// Without an id: the most recently started live session.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  eg session extend --hours 2
  eg session extend a1b2 --duration 1h30m
  eg session extend a1b2 --until 18:00")]
pub struct ExtendArgs {
    /// The session's id, or at least its first four hex digits
    id: Option<String>,
    #[command(flatten)]
    to: To,
}

/// The new expiry, in one of two forms.
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
struct To {
    /// By how long, from its current expiry: 2 (hours), 90m, 1h30m
    #[arg(long, value_name = "D", visible_alias = "duration")]
    hours: Option<Written>,
    /// Until when: 18:00 (the next time the clock here shows it), "2026-02-27 18:00", or RFC 3339
    #[arg(long, value_name = "T")]
    until: Option<String>,
}

pub fn run(context: &Context<'_>, args: &ExtendArgs) -> Result<Exit, CommandError> {
    let settings = context.settings()?;
    let site = context.site_policy()?;
    block_on(extend(context, args, &settings, &site))
}

async fn extend(
    context: &Context<'_>,
    args: &ExtendArgs,
    settings: &Settings,
    site: &MachinePolicy,
) -> Result<Exit, CommandError> {
    let mut store = context.store()?;
    let now = context.env.now();
    store.expire(now)?;
    let session = match &args.id {
        Some(id) => context.find(&store, id)?,
        None => newest_live(&store)?,
    };
    let extension = Extension::new(context, &args.to)?;
    let expires = new_expiry(context, &session, &extension, settings)?;
    site.check(&PolicyRequest { duration: expires - session.started_at, ..PolicyRequest::again(&session) })?;
    let (id, short) = (session.id, session.id.short());
    context.printer.progress(&format!("→ Extending session {short} {}...", extension.in_words(context)));
    context.name_endpoints(session.grants.iter().map(|grant| &grant.target));
    let driver = context.driver(store, Some(settings))?;
    let targets = driver.needed(Some(&[id].into()))?;
    let readings = driver.observe(&targets, false).await;
    check_clock(&readings)?;
    driver.store_mut().extend(id, expires, now)?;
    let passed = context.session_pass(&driver, RunKind::Extend, &[id], readings, Vec::new()).await;
    let session = context.again(&driver.store(), id)?;
    context.printer.json(&context.session_json(&driver.store(), &session)?);
    let report = passed.map_err(|error| error.hint(recorded(context, id, expires)))?;
    let view = context.view(driver.store().last_runs()?);
    let expiry = context.zone.format(session.expires_at);
    context.printer.result(&format!("✓ Session extended — new expiry: {expiry} ({})\n", view.left(&session)));
    if session.status != SessionStatus::Active {
        context.printer.result(&format!("! Session is {}; why: eg session get {short}\n", session.status));
    }
    let behind = tags_are_behind(&driver.store(), &session, &report)?;
    let exit = exit_after(&session, &report);
    Ok(if exit == Exit::Done && behind { Exit::Partial } else { exit })
}

/// The most recently started live session.
fn newest_live(store: &Store) -> Result<Session, CommandError> {
    let nothing = || CommandError::new(Kind::NotFound, "no live sessions").hint("start one with: eg session start");
    store.live_sessions()?.into_iter().next().ok_or_else(nothing)
}

fn recorded(context: &Context<'_>, id: SessionId, expires: Timestamp) -> String {
    let (short, expiry) = (id.short(), context.zone.format(expires));
    format!("the new expiry of session {short}, {expiry}, is on record; stop it with: eg session stop {short}")
}

/// The extension that is asked for, as the user wrote it.
enum Extension<'a> {
    By(&'a Written),
    Until(Timestamp, &'a str),
}

impl<'a> Extension<'a> {
    fn new(context: &Context<'_>, to: &'a To) -> Result<Self, CommandError> {
        let text = to.until.as_deref().unwrap_or_default();
        let until = || parse_until(text, context.env.now(), &|at| context.zone.offset(at));
        match &to.hours {
            Some(more) => Ok(Self::By(more)),
            None => match until() {
                Ok(at) => Ok(Self::Until(at, text)),
                Err(error) => Err(CommandError::new(Kind::Usage, error.to_string())),
            },
        }
    }

    fn in_words(&self, context: &Context<'_>) -> String {
        match self {
            Self::By(more) => format!("by {}", in_hours(more.length)),
            Self::Until(at, _) => format!("until {}", context.zone.format(*at)),
        }
    }
}

fn in_hours(length: TimeDelta) -> String {
    match (length.num_hours(), length.num_minutes() % 60) {
        (1, 0) => "1 hour".to_owned(),
        (hours, 0) => format!("{hours} hours"),
        _ => format_duration(length),
    }
}

fn new_expiry(
    context: &Context<'_>,
    session: &Session,
    extension: &Extension<'_>,
    settings: &Settings,
) -> Result<Timestamp, CommandError> {
    let short = session.id.short();
    if !session.status.is_live() {
        let message = format!("{}; only a live session can be extended", ended_text(session, &context.zone));
        let error = CommandError::new(Kind::Refused, message);
        let error = match session.status {
            SessionStatus::Expiring => {
                error.hint(format!("it is not closed yet; close it now with: eg session stop {short}"))
            }
            _ => error,
        };
        return Err(error.hint("start a new one with: eg session start"));
    }
    let more = match extension {
        Extension::By(more) => more.length,
        Extension::Until(at, _) => *at - session.expires_at,
    };
    if more <= TimeDelta::zero() {
        let message = format!("session {short} lasts until {} already", context.zone.format(session.expires_at));
        return Err(CommandError::new(Kind::Usage, message).hint(format!("end it with: eg session stop {short}")));
    }
    // The difference is compared, since a sum could pass the last date there is.
    let max = &settings.session.max_duration;
    let left = max.length - (session.expires_at - session.started_at);
    if more <= left {
        return Ok(session.expires_at + more);
    }
    let message = match extension {
        _ if left < MIN => {
            format!("session {short} has reached max_duration ({max}): it cannot be extended; start a new one after it")
        }
        Extension::By(more) => {
            let fits = format_duration(left);
            format!("{more} more would exceed max_duration ({max}); you can extend session {short} by up to {fits}")
        }
        Extension::Until(_, text) => {
            let latest = context.zone.format(session.expires_at + left);
            format!("{text} would exceed max_duration ({max}); you can extend session {short} until {latest}")
        }
    };
    Err(CommandError::new(Kind::Usage, message).hint("the limit is max_duration of [session] in the configuration"))
}
