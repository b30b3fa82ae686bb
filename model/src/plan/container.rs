//! The tag of a container: what a write of it names, and what a late write can bring back.
//!
//! One tag holds the marks of all leases of an installation, and is written as a whole. So a step for one permission
//! writes the marks of all others again, and each of those writes counts for them as well.

use super::wants::Want;
use crate::{
    SETTLE_WINDOW, Timestamp,
    ids::{InstallationId, LeaseId},
    lease::{Lease, Phase},
    net::permission::Permission,
    observation::Reading,
    tags::lease_key,
};
use std::collections::BTreeMap;

/// The list that a step writes: for each digest, the time until which this installation needs its permission.
///
/// | permission | its time |
/// |---|---|
/// | of the step, which opens or keeps it until a time | that time |
/// | of the step, which closes or leaves it | not named |
/// | of another open lease that was attempted and not left | the end of its latest session; else the time in the record; else a settle window from now |
/// | of any other lease | not named |
///
/// `leases` are the open leases of the target, as on record. A list that was made from a reading that is behind would
/// lose a mark. A lease whose end is not on record is named as well: its entry may be there.
#[must_use]
pub fn tag_list(
    container: &str,
    leases: &[Lease],
    wanted: &BTreeMap<Permission, Want>,
    (step, until): (&[Permission], Option<Timestamp>),
    now: Timestamp,
) -> BTreeMap<String, Timestamp> {
    let named = |lease: &&Lease| lease.attempted() && !matches!(lease.phase, Phase::Leaving | Phase::Closed);
    let end = |lease: &Lease| {
        let session = wanted.get(&lease.permission).map(|want| want.until);
        session.or(lease.tagged_until).unwrap_or(now + SETTLE_WINDOW)
    };
    let others = leases.iter().filter(named).filter(|lease| !step.contains(&lease.permission));
    let others = others.map(|lease| (lease.permission.digest(container), end(lease)));
    let of_step = until.into_iter().flat_map(|until| step.iter().map(move |one| (one.digest(container), until)));
    others.chain(of_step).collect()
}

/// The leases that a list names, and that no entry of the reading shows with our mark. The write counts as an attempt of
/// each: a reading that is behind would otherwise close such a lease, and leave the mark that was just written.
pub fn named_newly<'l>(
    container: &str,
    leases: &'l [Lease],
    list: &BTreeMap<String, Timestamp>,
    reading: &Reading,
    us: &InstallationId,
) -> Vec<&'l Lease> {
    let ours = lease_key(us);
    let shown = |lease: &Lease| {
        let of_lease = reading.rules.iter().filter(|rule| rule.permission == lease.permission);
        of_lease.into_iter().any(|rule| rule.tags.contains_key(&ours))
    };
    leases.iter().filter(|lease| list.contains_key(&lease.permission.digest(container)) && !shown(lease)).collect()
}

/// True if a write of the tag whose outcome is not known can still land at `at`, and bring back any mark that it names.
/// The calls of the leases in `answered` have just been answered, so what they have in flight does not count.
///
/// While this holds, no lease of the container closes.
pub fn marks_may_return<'l>(leases: impl IntoIterator<Item = &'l Lease>, answered: &[LeaseId], at: Timestamp) -> bool {
    leases.into_iter().any(|lease| {
        let unknown = if answered.contains(&lease.id) { lease.last_unknown_at } else { lease.unknown_since() };
        unknown.is_some_and(|sent| at - sent <= SETTLE_WINDOW)
    })
}
