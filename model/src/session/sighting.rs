//! Sessions that follow a DNS name (`--address-of home.example.org --follow`). A name is one source alone, where detection
//! asks several. So a new address counts only when two resolvings, a minute apart, agree on it.

use crate::{Timestamp, net::address::IpVersion, session::follow::FoundAddress};
use chrono::TimeDelta;
use ipnet::IpNet;
use std::net::IpAddr;

/// The time between two resolvings that agree. Less than a minute: two passes of cron may be a few seconds closer.
const APART: TimeDelta = TimeDelta::seconds(50);

/// An address that a followed name has had since a time, and that the session is not open to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sighting {
    pub address: IpAddr,
    pub since: Timestamp,
}

/// Judges what a followed name resolves to now, for one family: the address that counts, and the sighting to keep on
/// record. `open` is what the session opens, `resolved` are usable addresses of both families.
///
/// | addresses of the family | seen before | counts as | kept on record |
/// |---|---|---|---|
/// | none: the name does not resolve, say | any | unknown | what was |
/// | several | any | disagreed | nothing |
/// | one that is open already | any | agreed | nothing |
/// | another | not this one, or later than now | unknown | it, from now on |
/// | another | this one, less than a minute ago | unknown | it, as it was |
/// | another | this one, a minute ago or earlier | agreed | it, as it was |
pub fn sight(
    open: IpNet,
    resolved: &[IpAddr],
    seen: Option<Sighting>,
    now: Timestamp,
) -> (FoundAddress, Option<Sighting>) {
    let version = IpVersion::of(open.addr());
    let mut found = resolved.iter().copied().filter(|address| IpVersion::of(*address) == version);
    let (Some(address), further) = (found.next(), found.next()) else { return (FoundAddress::Unknown, seen) };
    if further.is_some() {
        return (FoundAddress::Disagreed, None);
    }
    if open.contains(&address) {
        return (FoundAddress::Agreed(address), None);
    }
    // A clock that was set back would make a sighting look old.
    match seen.filter(|seen| seen.address == address && seen.since <= now) {
        None => (FoundAddress::Unknown, Some(Sighting { address, since: now })),
        seen @ Some(Sighting { since, .. }) if now - since < APART => (FoundAddress::Unknown, seen),
        seen => (FoundAddress::Agreed(address), seen),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_timestamp(1_772_150_400 + seconds, 0).unwrap()
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn every_row() {
        use FoundAddress::{Agreed, Disagreed, Unknown};
        let (old, new, other) = (ip("203.0.113.42"), ip("198.51.100.7"), ip("192.0.2.1"));
        let seen = |address, since| Some(Sighting { address, since: at(since) });
        for (resolved, before, expected, after) in [
            (vec![], None, Unknown, None),
            (vec![], seen(new, 0), Unknown, seen(new, 0)),
            (vec![ip("2001:db8::1")], seen(new, 0), Unknown, seen(new, 0)),
            (vec![new, other], seen(new, 0), Disagreed, None),
            (vec![old], seen(new, 0), Agreed(old), None),
            (vec![new], None, Unknown, seen(new, 100)),
            (vec![new], seen(other, 0), Unknown, seen(new, 100)),
            (vec![new], seen(new, 200), Unknown, seen(new, 100)),
            (vec![new], seen(new, 51), Unknown, seen(new, 51)),
            (vec![new], seen(new, 50), Agreed(new), seen(new, 50)),
            (vec![new, ip("2001:db8::1")], seen(new, 0), Agreed(new), seen(new, 0)),
        ] {
            let judged = sight("203.0.113.42/32".parse().unwrap(), &resolved, before, at(100));
            assert_eq!(judged, (expected, after), "{resolved:?} {before:?}");
        }
        let near = sight("203.0.113.0/24".parse().unwrap(), &[old], None, at(0));
        assert_eq!(near, (Agreed(old), None), "the session is open there already");
    }
}
