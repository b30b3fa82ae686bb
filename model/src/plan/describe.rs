//! Steps in words: the lines of `--dry-run`, and the text under the digest.

use super::step::Step;
use crate::{ids::RuleId, net::permission::Permission, observation::OwnedRule, tags::lease_value};
use std::fmt;

fn permissions(list: &[Permission]) -> String {
    list.iter().map(|p| format!("{} from {}", p.ports(), p.cidr())).collect::<Vec<_>>().join(", ")
}

fn rules(list: &[OwnedRule]) -> String {
    list.iter()
        .map(|rule| format!("{} ({})", rule.id(), permissions(&[*rule.permission()])))
        .collect::<Vec<_>>()
        .join(", ")
}

fn one(rule: &OwnedRule) -> String {
    rules(std::slice::from_ref(rule))
}

impl Step {
    /// `+` opens, `-` closes, `~` changes tags.
    #[must_use]
    pub fn sign(&self) -> char {
        match self {
            Self::Authorize { .. } => '+',
            Self::Revoke { .. } | Self::Collect { .. } | Self::Undo { .. } => '-',
            Self::MakeRoom { .. }
            | Self::Join { .. }
            | Self::Restore { .. }
            | Self::Retag { .. }
            | Self::Leave { .. }
            | Self::Unmark { .. }
            | Self::SetAutoClose { .. }
            | Self::DropAutoClose { .. } => '~',
        }
    }

    /// The word for JSON.
    #[must_use]
    pub fn action(&self) -> &'static str {
        match self {
            Self::MakeRoom { .. } => "make-room",
            Self::Join { .. } => "join",
            Self::Restore { .. } => "restore",
            Self::Authorize { .. } => "authorize",
            Self::Retag { .. } => "retag",
            Self::Leave { .. } => "leave",
            Self::Revoke { .. } => "revoke",
            Self::Collect { .. } => "collect",
            Self::Unmark { .. } => "unmark",
            Self::Undo { .. } => "undo",
            Self::SetAutoClose { .. } => "set-switch",
            Self::DropAutoClose { .. } => "drop-switch",
        }
    }

    /// The details that [`fmt::Display`] leaves out, for the digest.
    pub(super) fn fine_print(&self) -> String {
        match self {
            Self::MakeRoom { tags, .. } => tags.iter().map(|(key, value)| format!("{key}={value} ")).collect(),
            Self::Join { session, .. } | Self::Authorize { session, .. } => session.to_string(),
            Self::Restore { session, opener, .. } => format!("{session} {opener}"),
            Self::Leave { value, .. } => value.clone(),
            Self::SetAutoClose { way, .. } | Self::DropAutoClose { way, .. } => {
                format!("{} {}", way.role_arn, way.group)
            }
            Self::Retag { .. }
            | Self::Revoke { .. }
            | Self::Collect { .. }
            | Self::Unmark { .. }
            | Self::Undo { .. } => String::new(),
        }
    }

    /// The ids of the rules that it changes.
    #[must_use]
    pub fn rule_ids(&self) -> Vec<RuleId> {
        match self {
            Self::DropAutoClose { rule, .. } => vec![rule.clone()],
            other => other.rules().iter().map(|rule| rule.id().clone()).collect(),
        }
    }

    /// The permissions that it is about.
    #[must_use]
    pub fn permissions(&self) -> Vec<Permission> {
        match self {
            Self::Authorize { permissions, .. } => permissions.clone(),
            Self::Unmark { permissions } => permissions.clone(),
            Self::Undo { permission } | Self::DropAutoClose { permission, .. } => vec![*permission],
            other => other.rules().iter().map(|rule| *rule.permission()).collect(),
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.sign())?;
        match self {
            Self::MakeRoom { rule, tags } => write!(f, "remove {} expired lease tags from {}", tags.len(), one(rule)),
            Self::Join { rule, until, .. } => write!(f, "join {} until {}", one(rule), lease_value(*until)),
            Self::Restore { rule, until, .. } => {
                write!(f, "tag {} again until {}", one(rule), lease_value(*until))
            }
            Self::Authorize { session, until, permissions: list } => {
                let (list, until) = (permissions(list), lease_value(*until));
                write!(f, "open {list} until {until} for session {}", session.short())
            }
            Self::Retag { until, rules: list } => write!(f, "keep {} until {}", rules(list), lease_value(*until)),
            Self::Leave { rule, .. } => write!(f, "leave {} to its other holders", one(rule)),
            Self::Revoke { rules: list } => write!(f, "close {}", rules(list)),
            Self::Collect { rules: list } => write!(f, "close {}, which every holder has let expire", rules(list)),
            Self::Unmark { permissions: list } => write!(f, "remove our mark for {}", permissions(list)),
            Self::Undo { permission } => write!(f, "close {}", permissions(&[*permission])),
            Self::SetAutoClose { rule, at, .. } => {
                write!(f, "have the cloud close {} at {}", one(rule), lease_value(*at))
            }
            Self::DropAutoClose { rule, .. } => write!(f, "delete the expiry schedule of {rule}"),
        }
    }
}
