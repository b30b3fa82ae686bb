//! Finds the session that a command is about.

use crate::{
    commands::context::Context,
    error::{CommandError, Kind},
    ui::time::Zone,
};
use eg_model::session::record::{EndedReason, Session};
use eg_state::Store;

/// The shortest prefix of an id that names a session.
const SHORTEST_PREFIX: usize = 4;

impl Context<'_> {
    /// The session that a full id or a unique prefix names.
    pub fn find(&self, store: &Store, id: &str) -> Result<Session, CommandError> {
        let unknown = || {
            CommandError::new(Kind::NotFound, format!("there is no session {id}"))
                .hint("see them with: eg session list --limit 0")
        };
        match store.find(&id_digits(id)?)?.as_slice() {
            [] => Err(unknown()),
            [one] => store.session(*one)?.ok_or_else(unknown),
            many => {
                let candidates: Vec<String> = many.iter().map(ToString::to_string).collect();
                let message = format!("\"{id}\" fits {} sessions: {}", many.len(), candidates.join(", "));
                Err(CommandError::new(Kind::Ambiguous, message).hint("use more digits"))
            }
        }
    }
}

/// The hex digits of an id or its prefix.
pub(super) fn id_digits(id: &str) -> Result<String, CommandError> {
    let digits: String = id.chars().filter(|c| *c != '-').collect();
    let hex = digits.bytes().all(|b| b.is_ascii_hexdigit());
    if hex && (SHORTEST_PREFIX..=32).contains(&digits.len()) {
        return Ok(digits);
    }
    let hint = format!("use the whole id, or at least its first {SHORTEST_PREFIX} hex digits: `eg session list`");
    let error = CommandError::new(Kind::Usage, format!("\"{id}\" is not a session's id")).hint(hint);
    Err(if id == "all" { error.hint("for every session: eg session stop --all") } else { error })
}

/// The end of a session, for a refusal. An expired session ended at its expiry, whenever a pass noticed that.
pub(super) fn ended_text(session: &Session, zone: &Zone) -> String {
    let short = session.id.short();
    let (how, at) = match session.ended_reason {
        Some(EndedReason::Expired) => ("expired", Some(session.expires_at)),
        Some(EndedReason::Manual) => ("was stopped", session.ended_at),
        None => return format!("session {short} is {}", session.status),
    };
    let at = at.map(|at| format!(" at {}", zone.format(at))).unwrap_or_default();
    format!("session {short} {how}{at} ({})", session.status)
}
