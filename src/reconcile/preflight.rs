//! The driver's part of a session's preflight: questions that are asked before anything is recorded.

use crate::{
    error::CommandError,
    reconcile::{
        driver::Driver,
        lane::CONCURRENCY,
        reading::TargetReadings,
        rights::{WantedPermissions, wanted, wanted_at},
    },
};
use eg_model::{
    net::permission::Permission,
    observation::Observation,
    session::{preflight::absent, record::Session},
    tags::tags_for,
    target::{Target, TargetKey},
};
use eg_providers::Firewall;
use futures_util::{StreamExt, future::join_all, stream};
use std::collections::{BTreeMap, BTreeSet};

/// A target, and what the session wants there.
type Question = (TargetKey, BTreeSet<Permission>);

impl Driver<'_> {
    /// Asks for the rights on targets where the record shows neither that this installation may close rules nor that it
    /// holds what the session wants. No reading is needed, so the questions go out beside the first one.
    pub async fn ask_rights_unread(&self, session: &Session) -> Result<(), CommandError> {
        let now = self.env.now();
        let mut targets: BTreeMap<Target, Vec<Question>> = BTreeMap::new();
        for (target, permissions) in wanted_at(session) {
            let rows = self.load(&target.key, now)?.rows;
            let holds = |permission: &Permission| rows.leases.iter().any(|lease| lease.permission == *permission);
            if !rows.closed_once && !permissions.iter().all(holds) {
                targets.entry(target.regional()).or_default().push((target.key.clone(), permissions));
            }
        }
        let ways = targets.into_iter().map(async |(route, questions)| match self.connect.connect(&route).await {
            Ok(firewall) => self.ask_all(firewall.as_ref(), questions, session).await,
            // The reading fails for the same reason, and tells it.
            Err(failure) => tracing::info!("the rights are not asked for: {failure}"),
        });
        join_all(ways).await;
        Ok(())
    }

    /// Asks for the rights on every other target on which the session needs a new rule, as the pass would before its first
    /// grant. The pass then does not ask again.
    pub async fn ask_rights(&self, readings: &TargetReadings, session: &Session) -> Result<(), CommandError> {
        let records = self.store().targets()?;
        let mut asked = Vec::new();
        for (key, permissions) in wanted(session) {
            let Some(reading) = readings.get(&key) else { continue };
            let (Some(firewall), Observation::Complete(rules)) = (reading.firewall.clone(), &reading.observation)
            else {
                continue;
            };
            let missing: BTreeSet<Permission> = absent(rules, &permissions).into_iter().collect();
            let proven = records.get(&key).is_some_and(|record| record.closed_once);
            if !proven && !missing.is_empty() && !self.rights.is_known(&key) {
                asked.push((firewall, (key, missing)));
            }
        }
        let asked = asked.into_iter().map(async |(firewall, question)| {
            self.ask_all(firewall.as_ref(), vec![question], session).await;
        });
        stream::iter(asked).buffer_unordered(CONCURRENCY).collect::<Vec<()>>().await;
        Ok(())
    }

    async fn ask_all(&self, firewall: &dyn Firewall, questions: Vec<Question>, session: &Session) {
        let installation = self.store().installation().clone();
        let asks = questions.into_iter().map(async |(key, permissions)| {
            let first: Vec<Permission> = permissions.into_iter().take(firewall.capabilities().batch.max(1)).collect();
            let mut tags = self.policy.extra_tags.clone();
            tags.extend(tags_for(&key.id, &first, session.id, &installation, session.expires_at));
            if let Some(permission) = first.first() {
                self.rights.ask(firewall, &key, permission, &tags).await;
            }
        });
        stream::iter(asks).buffer_unordered(CONCURRENCY).collect::<Vec<()>>().await;
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
