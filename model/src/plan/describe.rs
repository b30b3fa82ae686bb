//! Steps in words: the lines of `--dry-run`, and the text under the digest.

use super::step::Step;
use crate::{ids::RuleId, net::permission::Permission, observation::OwnedRule, tags::lease_value};
use std::fmt;

/// What a permission opens, in words.
type Opening<'a> = &'a dyn Fn(&Permission) -> String;

fn permissions(list: &[Permission], opening: Opening<'_>) -> String {
    list.iter().map(opening).collect::<Vec<_>>().join(", ")
}

fn rules(list: &[OwnedRule], opening: Opening<'_>) -> String {
    list.iter().map(|rule| format!("{} ({})", rule.id(), opening(rule.permission()))).collect::<Vec<_>>().join(", ")
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

impl Step {
    /// The step in words, with the caller's words for what a permission opens: not every kind of firewall has ports.
    #[must_use]
    pub fn described(&self, opening: &dyn Fn(&Permission) -> String) -> String {
        let one = |rule: &OwnedRule| rules(std::slice::from_ref(rule), opening);
        let text = match self {
            Self::MakeRoom { rule, tags } => format!("remove {} expired lease tags from {}", tags.len(), one(rule)),
            Self::Join { rule, until, .. } => format!("join {} until {}", one(rule), lease_value(*until)),
            Self::Restore { rule, until, .. } => format!("tag {} again until {}", one(rule), lease_value(*until)),
            Self::Authorize { session, until, permissions: list } => {
                let (list, until) = (permissions(list, opening), lease_value(*until));
                format!("open {list} until {until} for session {}", session.short())
            }
            Self::Retag { until, rules: list } => {
                format!("keep {} until {}", rules(list, opening), lease_value(*until))
            }
            Self::Leave { rule, .. } => format!("leave {} to its other holders", one(rule)),
            Self::Revoke { rules: list } => format!("close {}", rules(list, opening)),
            Self::Collect { rules: list } => {
                format!("close {}, which every holder has let expire", rules(list, opening))
            }
            Self::Unmark { permissions: list } => format!("remove our mark for {}", permissions(list, opening)),
            Self::Undo { permission } => format!("close {}", opening(permission)),
            Self::SetAutoClose { rule, at, .. } => {
                format!("have the cloud close {} at {}", one(rule), lease_value(*at))
            }
            Self::DropAutoClose { rule, .. } => format!("delete the expiry schedule of {rule}"),
        };
        format!("{} {text}", self.sign())
    }
}

/// With protocol and ports, as in the text under the digest.
impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.described(&|permission| format!("{} from {}", permission.ports(), permission.cidr())))
    }
}
