//! The caller's rights on targets, asked by dry runs before the first grant on each: a rule that could be opened but never
//! closed must not come about.

use eg_model::{
    failure::Failure,
    net::permission::Permission,
    session::record::Session,
    target::{Target, TargetKey},
};
use eg_providers::Firewall;
use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
};

/// The answers so far, one for each target, so that each target is asked about once. `None`: no right is denied.
#[derive(Default)]
pub struct KnownRights(RefCell<BTreeMap<TargetKey, Option<Failure>>>);

impl KnownRights {
    /// The denied right of a target, if a dry run found one.
    pub fn denied(&self, key: &TargetKey) -> Option<Failure> {
        self.0.borrow().get(key).cloned().flatten()
    }

    pub(super) fn is_known(&self, key: &TargetKey) -> bool {
        self.0.borrow().contains_key(key)
    }

    /// The reason why the caller may not open, tag or close rules on a target; asked once.
    pub(super) async fn ask(
        &self,
        firewall: &dyn Firewall,
        key: &TargetKey,
        permission: &Permission,
        tags: &BTreeMap<String, String>,
    ) -> Option<Failure> {
        if let Some(known) = self.0.borrow().get(key) {
            return known.clone();
        }
        let denied = firewall.rights(&key.id, permission, tags).await.denied().into_iter().next();
        self.0.borrow_mut().insert(key.clone(), denied.clone());
        denied
    }
}

pub(crate) type WantedPermissions = BTreeMap<TargetKey, BTreeSet<Permission>>;

/// The permissions of a session, by target.
pub(crate) fn wanted(session: &Session) -> WantedPermissions {
    let mut wanted = WantedPermissions::new();
    for (target, permissions) in wanted_at(session) {
        wanted.entry(target.key).or_default().extend(permissions);
    }
    wanted
}

/// The same, with the routes to each target.
pub(crate) fn wanted_at(session: &Session) -> BTreeMap<Target, BTreeSet<Permission>> {
    let mut wanted: BTreeMap<Target, BTreeSet<Permission>> = BTreeMap::new();
    for grant in session.current() {
        let here = wanted.entry(grant.target.clone()).or_default();
        here.extend(grant.permissions.iter().map(|item| item.permission));
    }
    wanted
}
