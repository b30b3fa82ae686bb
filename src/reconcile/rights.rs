//! The caller's rights on targets, asked by dry runs before the first grant on each: a rule that could be opened but never
//! closed must not come about.

use crate::error::CommandError;
use crate::reconcile::{driver::Driver, observe::TargetReadings};
use eg_model::{
    failure::Failure,
    net::permission::Permission,
    observation::Observation,
    session::{preflight::absent, record::Session},
    tags::tags_for,
    target::TargetKey,
};
use eg_providers::Firewall;
use futures_util::{StreamExt, stream};
use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// The answers so far, one for each target, so that each target is asked about once. `None`: no right is denied.
#[derive(Default)]
pub struct KnownRights(RefCell<BTreeMap<TargetKey, Option<Failure>>>);

impl KnownRights {
    fn get(&self, key: &TargetKey) -> Option<Option<Failure>> {
        self.0.borrow().get(key).cloned()
    }

    /// The denied right of a target, if a dry run found one.
    #[must_use]
    pub fn denied(&self, key: &TargetKey) -> Option<Failure> {
        self.get(key).flatten()
    }
}

pub(crate) type WantedPermissions = BTreeMap<TargetKey, BTreeSet<Permission>>;

/// The permissions of a session, by target.
pub(crate) fn wanted(session: &Session) -> WantedPermissions {
    let mut wanted = WantedPermissions::new();
    for grant in session.current() {
        let here = wanted.entry(grant.target.key.clone()).or_default();
        here.extend(grant.permissions.iter().map(|item| item.permission));
    }
    wanted
}

impl Driver<'_> {
    /// Asks for the rights on every target on which the session needs a new rule, as the pass would before its first grant.
    /// The pass then does not ask again.
    ///
    /// # Errors
    /// The record cannot be read.
    pub async fn ask_rights(&self, looks: &TargetReadings, session: &Session) -> Result<(), CommandError> {
        let batch = |firewall: &Arc<dyn Firewall>| firewall.capabilities().batch.max(1);
        let installation = self.store.borrow().installation().clone();
        let records = self.store.borrow().targets()?;
        let mut questions = Vec::new();
        for (key, permissions) in wanted(session) {
            let Some(look) = looks.get(&key) else { continue };
            let (Some(firewall), Observation::Complete(reading)) = (look.firewall.clone(), &look.observation) else {
                continue;
            };
            let missing = absent(reading, &permissions);
            let first: Vec<Permission> = missing.into_iter().take(batch(&firewall)).collect();
            if first.is_empty() || records.get(&key).is_some_and(|record| record.closed_once) {
                continue;
            }
            let mut tags = self.policy.extra_tags.clone();
            tags.extend(tags_for(&key.id, &first, session.id, &installation, session.expires_at));
            questions.push((key, firewall, first, tags));
        }
        let asked = questions.iter().map(async |(key, firewall, permissions, tags)| {
            if let Some(permission) = permissions.first() {
                self.forbidden(firewall, key, permission, tags).await;
            }
        });
        stream::iter(asked).buffer_unordered(crate::reconcile::driver::CONCURRENCY).collect::<Vec<()>>().await;
        Ok(())
    }

    /// The permissions of all live sessions, by target.
    ///
    /// # Errors
    /// The record cannot be read.
    pub(crate) fn live_wants(&self) -> Result<WantedPermissions, CommandError> {
        let now = self.env.now();
        let mut all = WantedPermissions::new();
        for session in self.store.borrow().live_sessions()?.iter().filter(|session| session.expires_at > now) {
            for (key, permissions) in wanted(session) {
                all.entry(key).or_default().extend(permissions);
            }
        }
        Ok(all)
    }

    /// The reason why the caller may not open, tag or close rules on a target; asked once.
    pub(super) async fn forbidden(
        &self,
        firewall: &Arc<dyn Firewall>,
        key: &TargetKey,
        permission: &Permission,
        tags: &BTreeMap<String, String>,
    ) -> Option<Failure> {
        if let Some(known) = self.rights.get(key) {
            return known;
        }
        let denied = firewall.rights(&key.id, permission, tags).await.denied().into_iter().next();
        self.rights.0.borrow_mut().insert(key.clone(), denied.clone());
        denied
    }

    /// True if this installation has closed a rule on a target before: then the rights are known to be there.
    pub(super) fn has_closed(&self, key: &TargetKey) -> Result<bool, CommandError> {
        Ok(self.store.borrow().targets()?.get(key).is_some_and(|record| record.closed_once))
    }
}
