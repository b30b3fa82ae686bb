//! The driver's part of a session's preflight: questions that are asked before anything is recorded.

use crate::{
    error::CommandError,
    reconcile::{
        driver::Driver,
        lane::CONCURRENCY,
        reading::TargetReadings,
        rights::{WantedPermissions, wanted},
    },
};
use eg_model::{
    net::permission::Permission,
    observation::Observation,
    session::{preflight::absent, record::Session},
    tags::tags_for,
};
use futures_util::{StreamExt, stream};

impl Driver<'_> {
    /// Asks for the rights on every target on which the session needs a new rule, as the pass would before its first grant.
    /// The pass then does not ask again.
    pub async fn ask_rights(&self, readings: &TargetReadings, session: &Session) -> Result<(), CommandError> {
        let installation = self.store().installation().clone();
        let records = self.store().targets()?;
        let mut questions = Vec::new();
        for (key, permissions) in wanted(session) {
            let Some(reading) = readings.get(&key) else { continue };
            let (Some(firewall), Observation::Complete(rules)) = (reading.firewall.clone(), &reading.observation)
            else {
                continue;
            };
            let missing = absent(rules, &permissions).into_iter();
            let first: Vec<Permission> = missing.take(firewall.capabilities().batch.max(1)).collect();
            if first.is_empty() || records.get(&key).is_some_and(|record| record.closed_once) {
                continue;
            }
            let mut tags = self.policy.extra_tags.clone();
            tags.extend(tags_for(&key.id, &first, session.id, &installation, session.expires_at));
            questions.push((key, firewall, first, tags));
        }
        let asked = questions.iter().map(async |(key, firewall, permissions, tags)| {
            if let Some(permission) = permissions.first() {
                self.rights.ask(firewall.as_ref(), key, permission, tags).await;
            }
        });
        stream::iter(asked).buffer_unordered(CONCURRENCY).collect::<Vec<()>>().await;
        Ok(())
    }

    /// The permissions of all live sessions, by target.
    pub fn live_wants(&self) -> Result<WantedPermissions, CommandError> {
        let now = self.env.now();
        let mut all = WantedPermissions::new();
        for session in self.store().live_sessions()?.iter().filter(|session| session.expires_at > now) {
            for (key, permissions) in wanted(session) {
                all.entry(key).or_default().extend(permissions);
            }
        }
        Ok(all)
    }
}
