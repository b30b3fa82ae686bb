//! `start --follow`: before each pass, finds the sessions that move to the user's new address. This happens under the lock, so
//! that no other pass acts on the same sessions, and at the same time as the first reading of the targets.

use crate::{
    address::{Families, detect},
    commands::context::Context,
    error::CommandError,
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
    net::{address::IpVersion, agree::FamilyOutcome},
    plan::{Note, NoteKind},
    session::{
        follow::{FoundAddress, Move, moves},
        record::Session,
    },
};

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
    let has = |version| sessions.iter().any(|session| session.address(version).is_some());
    let families = Families { v4: has(IpVersion::V4), v6: has(IpVersion::V6) };
    let detection = detect(families, &settings.detect, context.env.address_rule.clone());
    let (readings, detected) = driver.observe_beside(&needed, dry_run, detection).await;
    followed.readings = readings;
    let (v4, v6) = (found(IpVersion::V4, detected.v4), found(IpVersion::V6, detected.v6));
    for session in &sessions {
        for step in moves(session, v4, v6, context.env.now()) {
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
    let asked = PolicyRequest { services: settings.detect.of_the_user(), ..PolicyRequest::again(session) };
    let why = policy.check(&asked).err()?;
    let target = session.current().next()?.target.key.clone();
    let short = session.id.short();
    let message = format!("session {short} stays at {}, though your address is {}: {why}", step.from, step.to);
    Some(NoteReport { target, note: Note::new(NoteKind::NotFollowed, message) })
}
