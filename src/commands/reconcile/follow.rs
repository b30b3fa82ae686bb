//! `start --follow`: before each pass of `reconcile`, sessions that follow their user are moved to the address that the
//! user has now. In the lock, so that no other pass acts on what changes here; beside the first look at the targets.

use crate::commands::context::Context;
use crate::{
    address::{Families, FamilyOutcome, detect},
    config::{
        policy::{MachinePolicy, PolicyRequest},
        settings::Settings,
    },
    error::CommandError,
    reconcile::{
        driver::Driver,
        reading::TargetReadings,
        report::{NoteReport, PassReport},
    },
};
use eg_model::{
    net::address::IpVersion,
    plan::{Note, NoteKind},
    session::{
        follow::{FoundAddress, Move, moves},
        record::Session,
    },
};

/// What there is to know before the pass.
#[derive(Default)]
pub(super) struct Followed {
    /// The look at the targets that was made meanwhile.
    pub(super) looks: TargetReadings,
    pub(super) moves: Vec<Move>,
    notes: Vec<NoteReport>,
    error: Option<String>,
}

impl Followed {
    /// Adds what there is to tell to the report of the pass.
    pub(super) fn tell(self, report: &mut PassReport) {
        report.converged &= self.error.is_none();
        report.notes.extend(self.notes);
        report.state_errors.extend(self.error);
    }
}

/// Finds out who moves. Nothing that goes wrong here keeps the pass from closing what is due.
pub(super) async fn follow(
    context: &Context<'_>,
    driver: &Driver<'_>,
    settings: Option<&Settings>,
    dry_run: bool,
) -> Followed {
    let mut followed = Followed::default();
    // Moving opens something.
    let (Some(settings), Ok(site), true) = (settings, context.site_policy(), driver.policy.open) else {
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
    let (looks, detected) = driver.observe_beside(&needed, dry_run, detection).await;
    followed.looks = looks;
    let (v4, v6) = (found(IpVersion::V4, detected.v4), found(IpVersion::V6, detected.v6));
    for session in &sessions {
        for step in moves(session, v4, v6, context.env.now()) {
            match refused(&site, settings, session, &step) {
                None => followed.moves.push(step),
                Some(note) => followed.notes.push(note),
            }
        }
    }
    followed
}

fn following(driver: &Driver<'_>) -> Result<Vec<Session>, CommandError> {
    let mut sessions = driver.store.borrow().live_sessions()?;
    sessions.retain(|session| session.follow);
    Ok(sessions)
}

/// What a family's outcome says about the user's address. What is not known changes nothing, so it is no warning.
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

/// Why the machine's policy does not let a session move.
pub fn refused(site: &MachinePolicy, settings: &Settings, session: &Session, step: &Move) -> Option<NoteReport> {
    let asked = PolicyRequest { services: settings.detect.of_the_user(), ..PolicyRequest::again(session) };
    let why = site.check(&asked).err()?;
    let target = session.current().next()?.target.key.clone();
    let short = session.id.short();
    let message = format!("session {short} stays at {}, though your address is {}: {why}", step.from, step.to);
    Some(NoteReport { target, note: Note::new(NoteKind::NotFollowed, message) })
}
