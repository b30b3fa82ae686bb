//! Sessions: what the user starts and stops.

pub use crate::session::{
    grant::{Coverage, Grant, GrantPermission, Standing, roll_up_grant},
    status::{EndedReason, GrantStatus, SessionStatus, TransitionError, roll_up_ending, roll_up_live},
};

use crate::{Timestamp, ids::SessionId, net::address::IpVersion};
use ipnet::IpNet;
use std::{collections::BTreeSet, net::IpAddr};

/// A session: one user at certain addresses, for a limited time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    pub id: SessionId,
    /// The name of the user, as configured.
    pub user_name: String,
    /// Their mail address, as configured.
    pub user_email: Option<String>,
    pub reason: Option<String>,
    /// True if its addresses follow the user's.
    pub follow: bool,
    /// The name whose addresses it follows, where it follows a name and not its user.
    pub followed_name: Option<String>,
    pub status: SessionStatus,
    /// When the record was committed.
    pub started_at: Timestamp,
    /// `started_at` plus the duration and every extension; unchanged by a stop.
    pub expires_at: Timestamp,
    /// The time of the stop, or the time at which a command noticed the expiry.
    pub ended_at: Option<Timestamp>,
    pub ended_reason: Option<EndedReason>,
    /// The provider's name for the caller, per account.
    pub caller_arns: BTreeSet<String>,
    /// Its grants, sorted by resource name and family, then by age; at least one. Those of addresses that the session
    /// has moved away from are among them: REMOVING or REMOVED while the session lives.
    pub grants: Vec<Grant>,
}

impl Session {
    /// The network that the session opens ports to, for one family.
    pub fn cidr(&self, version: IpVersion) -> Option<IpNet> {
        let address = self.address(version)?;
        self.grants.iter().find(|grant| grant.address == address).map(Grant::cidr)
    }

    /// The session's address of one family: the last one, where it has moved.
    pub fn address(&self, version: IpVersion) -> Option<IpAddr> {
        let fits = |grant: &&Grant| grant.ip_version() == version;
        let found = self.current().find(fits).or_else(|| self.grants.iter().rfind(fits));
        found.map(|grant| grant.address)
    }

    /// Every address of one family that the session has now; the last one, where it has ended.
    pub fn addresses(&self, version: IpVersion) -> BTreeSet<IpAddr> {
        let current = self.current().filter(|grant| grant.ip_version() == version).map(|grant| grant.address);
        let current: BTreeSet<IpAddr> = current.collect();
        if current.is_empty() { self.address(version).into_iter().collect() } else { current }
    }

    /// True if one of the addresses that the session has now, or the network around it, is this one.
    pub fn is_for(&self, address: IpAddr) -> bool {
        self.current().any(|grant| grant.cidr().contains(&address))
    }

    /// True if a grant cannot be told from another one by its resource and family: the session has, or lets go of, several
    /// addresses of the family.
    pub fn has_alike(&self, grant: &Grant) -> bool {
        self.grants.iter().any(|other| {
            other.resource_name == grant.resource_name
                && other.ip_version() == grant.ip_version()
                && other.address != grant.address
                && other.status != GrantStatus::Removed
                && other.status.lets_go() == grant.status.lets_go()
        })
    }

    /// The grants for the addresses that the session has now; none once it has ended.
    pub fn current(&self) -> impl Iterator<Item = &Grant> {
        self.grants.iter().filter(|grant| !grant.status.lets_go())
    }

    /// True if the session has moved to another address, and still keeps the open ports of a grant for the old one:
    /// make before break. They are never opened anew.
    ///
    /// | session | grant | the grant that took over | |
    /// |---|---|---|---|
    /// | live | REMOVING, and holds a rule | not APPLIED yet | kept |
    /// | live | REMOVING | APPLIED | closed |
    /// | ended | any | any | closed |
    pub fn keeps(&self, grant: &Grant) -> bool {
        let holds = grant.permissions.iter().any(|item| item.standing.is_held());
        let took_over = |other: &&Grant| {
            other.resource_name == grant.resource_name
                && other.target.key == grant.target.key
                && other.ip_version() == grant.ip_version()
        };
        let waits = || self.current().filter(took_over).any(|other| other.status != GrantStatus::Applied);
        self.status.is_live() && grant.status == GrantStatus::Removing && holds && waits()
    }
}
