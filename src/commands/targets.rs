//! The targets that the configuration and the record name, for commands.

use crate::{
    commands::context::Context,
    error::{CommandError, Kind},
    targets::{
        lookup::resolve,
        route::{environment_profile, name_endpoints, target_for},
    },
};
use eg_config::settings::{Chosen, Resource, Selection, Settings};
use eg_model::target::Target;
use futures_util::future::join_all;
use std::time::Duration;
use tokio::time::timeout;

impl Context<'_> {
    /// The error of a command that needs a resource where none is configured.
    pub fn no_resources(&self, command: &str) -> CommandError {
        let path = match self.config() {
            Ok(found) => &found.path,
            Err(error) => return error,
        };
        let message = match path.exists() {
            true => format!("no resource is configured in {}", path.display()),
            false => format!("no configuration yet ({})", path.display()),
        };
        CommandError::new(Kind::Config, message)
            .hint("create one from your AWS security groups: eg init")
            .hint("or add a security group by hand: eg resource add NAME --id sg-… --region … --port tcp/22")
            .hint("for prefix lists, WAF IP sets, nftables and scripts: eg resource add --help")
            .hint(format!("then run again: {command}"))
    }

    /// A configured resource as a target, with the route that this environment gives.
    pub fn target(&self, resource: &Resource) -> Target {
        let profile = resource.profile.clone().or_else(|| environment_profile(self.env));
        let mut target = target_for(self.env, resource.key(), profile);
        target.route.role_arn.clone_from(&resource.role_arn);
        target.route.external_id.clone_from(&resource.external_id);
        target
    }

    pub fn name_endpoints<'r>(&self, targets: impl Iterator<Item = &'r Target>) {
        name_endpoints(self.printer, targets);
    }

    /// The chosen resources, each with an id: groups that are named by name or tags are looked up now.
    ///
    /// # Errors
    /// An entry means no group, or too many, or could not be looked up.
    pub async fn resolved(&self, chosen: &Chosen<'_>) -> Result<Vec<Resource>, CommandError> {
        let mut resources: Vec<Resource> = chosen.resources.iter().copied().cloned().collect();
        for (_, found) in self.look_up(chosen.selections.iter().copied(), Duration::MAX).await {
            resources.extend(found?);
        }
        Ok(resources)
    }

    /// The settings with every resource looked up, and each entry that could not be, with its error.
    pub async fn expanded(&self, settings: &Settings) -> (Settings, Vec<(String, CommandError)>) {
        self.expanded_within(settings, Duration::MAX).await
    }

    /// Like [`Self::expanded`], with a time limit for each look-up.
    pub async fn expanded_within(
        &self,
        settings: &Settings,
        limit: Duration,
    ) -> (Settings, Vec<(String, CommandError)>) {
        let mut all = settings.clone();
        all.selections.clear();
        let mut unknown = Vec::new();
        for (name, found) in self.look_up(settings.selections.iter(), limit).await {
            match found {
                Ok(resources) => all.resources.extend(resources),
                Err(error) => unknown.push((name, error)),
            }
        }
        (all, unknown)
    }

    async fn look_up<'s>(
        &self,
        selections: impl Iterator<Item = &'s Selection>,
        limit: Duration,
    ) -> Vec<(String, Result<Vec<Resource>, CommandError>)> {
        let connect = self.env.connect();
        let look = async |selection: &Selection| {
            let found = timeout(limit, resolve(selection, connect.as_ref(), |resource| self.target(resource))).await;
            let late = || Err(CommandError::new(Kind::Provider, format!("no answer within {} s", limit.as_secs())));
            (selection.like.name.clone(), found.unwrap_or_else(|_| late()))
        };
        join_all(selections.map(look)).await
    }
}
