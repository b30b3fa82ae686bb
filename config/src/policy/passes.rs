//! The machine's policy as a limit on passes. `start` checks a whole session against it; a pass checks again before it opens
//! a rule, since the record may be older than the policy, or hold a session that no `start` has allowed. An open rule stays
//! open until its session ends.

use crate::policy::limits::MachinePolicy;
use eg_model::{
    failure::{Failure, FailureClass},
    net::permission::Permission,
    session::record::Session,
    target::TargetKey,
};
use std::collections::BTreeSet;

/// Removes permissions that the policy forbids for one session and allows for another. The plan opens a permission for the
/// session that lasts longest, and that must be a session that may have it.
pub fn prefer_allowed(sessions: &mut [Session], site: &MachinePolicy) {
    if site.file.is_none() {
        return;
    }
    let mut allowed: BTreeSet<(TargetKey, Permission)> = BTreeSet::new();
    for session in &*sessions {
        for grant in session.current() {
            let fits = grant.permissions.iter().filter(|item| site.allows(session, grant, &item.permission).is_ok());
            allowed.extend(fits.map(|item| (grant.target.key.clone(), item.permission)));
        }
    }
    for session in sessions {
        let asking = Session { grants: Vec::new(), ..session.clone() };
        for grant in session.grants.iter_mut().filter(|grant| !grant.status.lets_go()) {
            let given = grant.clone();
            grant.permissions.retain(|item| {
                let elsewhere = allowed.contains(&(given.target.key.clone(), item.permission));
                !elsewhere || site.allows(&asking, &given, &item.permission).is_ok()
            });
        }
    }
}

/// The reason why the policy forbids a session these permissions of a target.
pub fn barred(
    site: &MachinePolicy,
    session: Option<&Session>,
    target: &TargetKey,
    permissions: &[Permission],
) -> Option<Failure> {
    let session = session?;
    let grants = session.grants.iter().filter(|grant| grant.target.key == *target);
    let mut wanted = grants.flat_map(|grant| {
        let asked = grant.permissions.iter().map(|item| item.permission);
        asked.filter(|permission| permissions.contains(permission)).map(move |permission| (grant, permission))
    });
    let why = wanted.find_map(|(grant, permission)| site.allows(session, grant, &permission).err())?;
    Some(Failure::new(FailureClass::Barred, why.to_string()))
}
