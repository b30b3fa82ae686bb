//! The caller's wishes: the request for one pass, and the policy of all passes of a command.

use eg_config::{policy::MachinePolicy, settings::CloudExpiry};
use eg_model::{
    ids::SessionId,
    session::{follow::Move, record::Session},
    target::Target,
};
use eg_state::RunKind;
use std::collections::{BTreeMap, BTreeSet};

/// The part of the configuration that a pass needs.
#[derive(Clone, Debug, Default)]
pub struct PassPolicy {
    /// False with a bad configuration: then nothing is opened, and everything due is closed.
    pub open: bool,
    /// Revoke marked rules whose every lease has expired, whoever opened them.
    pub collect: bool,
    /// Additional tags on every rule that is opened.
    pub extra_tags: BTreeMap<String, String>,
    /// Name the person in rule descriptions.
    pub name_person: bool,
    /// The place of expiry schedules, if `eg` sets them.
    pub cloud_expiry: Option<CloudExpiry>,
    /// The limits set by the machine's administrator.
    pub site: MachinePolicy,
}

#[derive(Clone, Debug)]
pub struct Request {
    pub kind: RunKind,
    /// Only the targets of these sessions; `None`: all targets.
    pub scope: Option<BTreeSet<SessionId>>,
    /// A person waits for the pass: it ignores the delays between attempts.
    pub interactive: bool,
    pub timer: bool,
    /// Targets to read for collection alone.
    pub collect_from: Vec<Target>,
    /// Sessions that follow their user to another address, before anything is planned.
    pub moves: Vec<Move>,
    pub dry_run: bool,
}

impl Request {
    /// True for a session that the pass is about.
    pub fn concerns(&self, session: &Session) -> bool {
        self.scope.as_ref().is_none_or(|ids| ids.contains(&session.id))
    }
}
