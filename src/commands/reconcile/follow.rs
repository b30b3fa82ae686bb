//! `start --follow`: before each pass, finds the sessions that move to the new address of their user, or of the name that
//! they follow. This happens under the lock, so that no other pass acts on the same sessions, and at the same time as the
//! first reading of the targets.

use crate::{
    address::{Families, detect, of_name},
    commands::context::Context,
    error::CommandError,
    host::env::Env,
    reconcile::{
        driver::Driver,
        reading::TargetReadings,
        report::{NoteReport, PassReport},
    },
};
use eg_config::{
    policy::{MachinePolicy, PolicyRequest},
    settings::Settings,
};
use eg_model::{
    Timestamp,
    net::{address::IpVersion, agree::FamilyOutcome},
    plan::{Note, NoteKind},
    session::{
        follow::{FoundAddress, Move, moves},
        record::Session,
        sighting::sight,
    },
};
use eg_state::Store;
use futures_util::future::{join, join_all};
use std::{collections::BTreeMap, net::IpAddr};

#[derive(Default)]
pub(super) struct Followed {
    /// The readings of the targets that were made at the same time.
    pub(super) readings: TargetReadings,
    pub(super) moves: Vec<Move>,
    notes: Vec<NoteReport>,
    error: Option<String>,
}

impl Followed {
    pub(super) fn add_to(self, report: &mut PassReport) {
        report.converged &= self.error.is_none();
        report.notes.extend(self.notes);
        report.state_errors.extend(self.error);
    }
}

/// Finds the moves. An error becomes part of the report, so that the pass still closes what is due.
pub(super) async fn follow(
    context: &Context<'_>,
    driver: &Driver<'_>,
    settings: Option<&Settings>,
    dry_run: bool,
) -> Followed {
    let mut followed = Followed::default();
    // A move opens rules, so it needs everything that opening needs.
    let (Some(settings), Ok(policy), true) = (settings, context.site_policy(), driver.policy.open) else {
        return followed;
    };
    let read = following(driver).and_then(|sessions| Ok((driver.needed(None)?, sessions)));
    let (needed, sessions) = match read {
        Ok((_, sessions)) if sessions.is_empty() => return followed,
        Ok(read) => read,
        Err(error) => {
            followed.error = Some(error.message);
            return followed;
        }
    };
    let has = |version| {
        let mut of_users = sessions.iter().filter(|session| session.followed_name.is_none());
        of_users.any(|session| session.address(version).is_some())
    };
    let families = Families { v4: has(IpVersion::V4), v6: has(IpVersion::V6) };
    let detection = detect(families, &settings.detect, context.env.address_rule.clone());
    let search = join(detection, join_all(sessions.iter().map(|session| addresses_of(context.env, session))));
    let (readings, (detected, resolved)) = driver.observe_beside(&needed, dry_run, search).await;
    followed.readings = readings;
    let of_user = (found(IpVersion::V4, detected.v4), found(IpVersion::V6, detected.v6));
    let now = context.env.now();
    for (session, resolved) in sessions.iter().zip(resolved) {
        let (v4, v6) =
            match resolved.map(|known| found_by_name(&mut driver.store_mut(), session, &known, now, !dry_run)) {
                None => of_user,
                Some(Ok(of_name)) => of_name,
                Some(Err(error)) => {
                    followed.error = Some(error.to_string());
                    continue;
                }
            };
        for step in moves(session, v4, v6, now) {
            match refused(&policy, settings, session, &step) {
                None => followed.moves.push(step),
                Some(note) => followed.notes.push(note),
            }
        }
    }
    followed
}

fn following(driver: &Driver<'_>) -> Result<Vec<Session>, CommandError> {
    let mut sessions = driver.store().live_sessions()?;
    sessions.retain(|session| session.follow);
    Ok(sessions)
}

/// The usable addresses that a session's name has now; none if it does not resolve. `None` for a session that follows its
/// user.
async fn addresses_of(env: &Env, session: &Session) -> Option<Vec<IpAddr>> {
    let name = session.followed_name.as_ref()?;
    let known = of_name(env, name).await;
    Some(known.unwrap_or_else(|error| {
        tracing::info!("nothing follows {name}: {error}");
        Vec::new()
    }))
}

/// The addresses of IPv4 and IPv6 that count for a session that follows a name, when it resolves to these. Unless this is a
/// dry run, the record keeps what the next resolving has to agree with.
pub fn found_by_name(
    store: &mut Store,
    session: &Session,
    resolved: &[IpAddr],
    now: Timestamp,
    keep: bool,
) -> Result<(FoundAddress, FoundAddress), CommandError> {
    let before = store.sightings(session.id)?;
    let mut after = BTreeMap::new();
    let mut judge = |version: IpVersion| {
        let Some(open) = session.cidr(version) else { return FoundAddress::Unknown };
        let (found, seen) = sight(open, resolved, before.get(&version).copied(), now);
        after.extend(seen.map(|seen| (version, seen)));
        found
    };
    let found = (judge(IpVersion::V4), judge(IpVersion::V6));
    if keep && after != before {
        store.keep_sightings(session.id, &after)?;
    }
    Ok(found)
}

/// The user's address by one family's outcome. An unknown address moves no session, so it is for the log only.
fn found(version: IpVersion, outcome: FamilyOutcome) -> FoundAddress {
    match outcome {
        FamilyOutcome::Agreed { address, .. } => FoundAddress::Agreed(address),
        FamilyOutcome::Disagree { .. } => {
            tracing::info!("the services do not agree on the {version} address: nothing follows it");
            FoundAddress::Disagreed
        }
        FamilyOutcome::NotAgreed { .. } | FamilyOutcome::NotRoutable { .. } => {
            tracing::info!("no {version} address was found: nothing follows it");
            FoundAddress::Unknown
        }
        FamilyOutcome::NotAsked => FoundAddress::Unknown,
    }
}

/// The note for a move that the machine's policy refuses; `None` if it allows the move.
pub fn refused(policy: &MachinePolicy, settings: &Settings, session: &Session, step: &Move) -> Option<NoteReport> {
    let again = PolicyRequest::again(session);
    let (asked, whose) = match &session.followed_name {
        None => (PolicyRequest { services: settings.detect.of_the_user(), ..again }, "your address"),
        // As at the start: an address that was not detected.
        Some(name) => (PolicyRequest { explicit: vec![step.to], ..again }, name.as_str()),
    };
    let why = policy.check(&asked).err()?;
    let target = session.current().next()?.target.key.clone();
    let short = session.id.short();
    let message = format!("session {short} stays at {}, though {whose} is {}: {why}", step.from, step.to);
    Some(NoteReport { target, note: Note::new(NoteKind::NotFollowed, message) })
}
