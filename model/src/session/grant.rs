//! Grants: one session on one resource for one address, with the state of each permission.

use crate::{
    Timestamp,
    ids::{GrantId, RuleId},
    net::{address::IpVersion, permission::Permission},
    session::status::GrantStatus,
    target::Target,
};
use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// The state of one permission of a grant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", content = "of", rename_all = "kebab-case")]
pub enum Standing {
    Untried,
    /// Held by a rule that this installation opened.
    Own(RuleId),
    /// Held by a rule of another installation that carries our lease too.
    Shared(RuleId),
    /// Covered by a rule that is not `eg`'s.
    Foreign(RuleId),
    /// Tried without success, and the cause can pass by itself.
    Pending(String),
    /// Tried without success, and the user has to act.
    Failed(String),
}

impl Standing {
    /// True if the port is open.
    pub fn is_held(&self) -> bool {
        matches!(self, Self::Own(_) | Self::Shared(_) | Self::Foreign(_))
    }

    /// The rule that holds it, ours or not.
    pub fn rule(&self) -> Option<&RuleId> {
        match self {
            Self::Own(id) | Self::Shared(id) | Self::Foreign(id) => Some(id),
            Self::Untried | Self::Pending(_) | Self::Failed(_) => None,
        }
    }

    /// The reason why it is not held.
    pub fn error(&self) -> Option<&str> {
        match self {
            Self::Pending(why) | Self::Failed(why) => Some(why),
            _ => None,
        }
    }
}

/// The owner of the rules that hold a grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Coverage {
    /// At least one rule that this installation opened.
    Own,
    /// Else at least one rule of another installation that we joined.
    Shared,
    /// Else a rule that is not `eg`'s.
    Foreign,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GrantPermission {
    pub permission: Permission,
    pub standing: Standing,
}

/// One session on one resource for one address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    pub id: GrantId,
    /// The resource's name in the configuration at start.
    pub resource_name: String,
    /// The snapshot of its target.
    pub target: Target,
    pub address: IpAddr,
    pub status: GrantStatus,
    pub permissions: Vec<GrantPermission>,
    /// The last time it became APPLIED.
    pub applied_at: Option<Timestamp>,
    /// When its session let go.
    pub removed_at: Option<Timestamp>,
    /// The reason why the expiry schedules of some of its rules could not be set.
    pub without_auto_close: Option<String>,
}

impl Grant {
    pub fn ip_version(&self) -> IpVersion {
        IpVersion::of(self.address)
    }

    /// The network that it opens the ports to: one host, unless the configuration asked for more when the session
    /// started.
    pub fn cidr(&self) -> IpNet {
        self.permissions.first().map_or_else(|| IpNet::from(self.address), |item| item.permission.cidr())
    }

    /// Open ports and all ports.
    pub fn open_ports(&self) -> (usize, usize) {
        let held = self.permissions.iter().filter(|p| p.standing.is_held()).count();
        (held, self.permissions.len())
    }

    /// The owner of its rules; `None` if no port is open.
    pub fn coverage(&self) -> Option<Coverage> {
        let any = |matches: fn(&Standing) -> bool| self.permissions.iter().any(|p| matches(&p.standing));
        if any(|s| matches!(s, Standing::Own(_))) {
            Some(Coverage::Own)
        } else if any(|s| matches!(s, Standing::Shared(_))) {
            Some(Coverage::Shared)
        } else if any(|s| matches!(s, Standing::Foreign(_))) {
            Some(Coverage::Foreign)
        } else {
            None
        }
    }

    /// The closed ports with the reasons, and the reason why a rule would not close by itself. `None` if there are
    /// none, or if the session has let go: it needs no port then. A grant of every port needs no name for it, and on some
    /// kinds of firewall there are no ports.
    pub fn error_message(&self) -> Option<String> {
        if self.status.lets_go() {
            return None;
        }
        let mut reasons: Vec<(&str, Vec<String>)> = Vec::new();
        for item in &self.permissions {
            let Some(why) = item.standing.error() else { continue };
            let ports = item.permission.ports();
            match reasons.iter_mut().find(|(known, _)| *known == why) {
                Some((_, list)) => list.push(ports),
                None => reasons.push((why, vec![ports])),
            }
        }
        let mut lines: Vec<_> = reasons.iter().map(|(why, ports)| self.reason(why, ports)).collect();
        lines.extend(self.without_auto_close.clone());
        (!lines.is_empty()).then(|| lines.join("; "))
    }

    /// A reason with its ports, unless it is for everything.
    pub(super) fn reason(&self, why: &str, ports: &[String]) -> String {
        let every_port =
            self.permissions.len() == 1 && self.permissions.iter().all(|item| item.permission.is_every_port());
        if every_port { why.to_owned() } else { format!("{}: {why}", ports.join(", ")) }
    }
}

/// Rolls a grant's permissions up, while its session lives.
///
/// | permissions | grant |
/// |---|---|
/// | every one held | APPLIED |
/// | at least one failed, none untried or pending | FAILED |
/// | else | PENDING |
///
/// "Untried" includes an attempt whose outcome is unknown: it may still succeed.
pub fn roll_up_grant<'a>(mut standings: impl Iterator<Item = &'a Standing> + Clone) -> GrantStatus {
    let open = |s: &Standing| matches!(s, Standing::Untried | Standing::Pending(_));
    if standings.clone().all(Standing::is_held) {
        GrantStatus::Applied
    } else if standings.any(open) {
        GrantStatus::Pending
    } else {
        GrantStatus::Failed
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

    use super::*;

    #[test]
    fn grant_roll_up_rows() {
        let own = Standing::Own(RuleId("sgr-1".into()));
        let foreign = Standing::Foreign(RuleId("sgr-2".into()));
        let failed = Standing::Failed("no".into());
        let pending = Standing::Pending("later".into());
        for (standings, expected) in [
            (vec![own.clone(), foreign], GrantStatus::Applied),
            (vec![own.clone(), failed.clone()], GrantStatus::Failed),
            (vec![failed.clone(), Standing::Untried], GrantStatus::Pending),
            (vec![failed, pending], GrantStatus::Pending),
            (vec![own, Standing::Untried], GrantStatus::Pending),
        ] {
            assert_eq!(roll_up_grant(standings.iter()), expected, "{standings:?}");
        }
    }
}
