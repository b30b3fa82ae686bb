//! The targets that the configuration and the record name, for commands.

use crate::{
    commands::context::Context,
    error::{CommandError, Kind},
    targets::{
        host::{HostFound, HostQuery, find},
        lookup::resolve,
        route::{environment_profile, name_endpoints, target_for},
    },
    ui::warning::Code,
};
use eg_config::settings::{Chosen, HostMeant, Meant, Resource, Selection, Settings};
use eg_model::target::Target;
use eg_providers::{Connect, aws::region};
use futures_util::future::join_all;
use std::{collections::BTreeSet, time::Duration};
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

    /// The chosen resources, each with an id: groups that are named by name, by tags or by a host are looked up now; and the
    /// hosts that were found.
    ///
    /// # Errors
    /// An entry means no group, or too many, or could not be looked up.
    pub async fn resolved(
        &self,
        chosen: &Chosen<'_>,
        settings: &Settings,
    ) -> Result<(Vec<Resource>, Vec<HostFound>), CommandError> {
        let mut resources: Vec<Resource> = chosen.resources.iter().copied().cloned().collect();
        let mut hosts = Vec::new();
        for (_, found) in self.look_up(chosen.selections.iter().copied(), settings, Duration::MAX).await {
            let found = found?;
            resources.extend(found.resources);
            hosts.extend(found.host);
        }
        Ok((resources, hosts))
    }

    /// Names hosts, and the group in front of each. A name's owner chooses the group, so `-q` and JSON do not hide it.
    pub fn name_hosts(&self, hosts: &[HostFound]) {
        for host in hosts {
            match self.printer.is_json() {
                true => self.printer.warn(Code::Host, &host.in_words(), &[]),
                false => self.printer.remark(&format!("→ {}", host.in_words())),
            }
            for remark in host.remarks() {
                self.printer.warn(Code::Host, &remark, &[]);
            }
        }
    }

    /// The settings with every resource looked up.
    pub async fn expanded(&self, settings: &Settings) -> Expanded {
        self.expanded_within(settings, Duration::MAX).await
    }

    /// Like [`Self::expanded`], with a time limit for each look-up.
    pub async fn expanded_within(&self, settings: &Settings, limit: Duration) -> Expanded {
        let mut all = Expanded { settings: settings.clone(), unknown: Vec::new(), hosts: Vec::new() };
        all.settings.selections.clear();
        for (name, found) in self.look_up(settings.selections.iter(), settings, limit).await {
            match found {
                Ok(found) => {
                    all.hosts.extend(found.host.and_then(|host| Some((found.resources.first()?.clone(), host))));
                    all.settings.resources.extend(found.resources);
                }
                Err(error) => all.unknown.push((name, error)),
            }
        }
        all
    }

    async fn look_up<'s>(
        &self,
        selections: impl Iterator<Item = &'s Selection>,
        settings: &Settings,
        limit: Duration,
    ) -> Vec<(String, Result<LookedUp, CommandError>)> {
        let connect = self.env.connect();
        let look = async |selection: &Selection| {
            let found = timeout(limit, self.look_for(selection, settings, connect.as_ref())).await;
            let late = || Err(CommandError::new(Kind::Provider, format!("no answer within {} s", limit.as_secs())));
            (selection.like.name.clone(), found.unwrap_or_else(|_| late()))
        };
        join_all(selections.map(look)).await
    }

    async fn look_for(
        &self,
        selection: &Selection,
        settings: &Settings,
        connect: &dyn Connect,
    ) -> Result<LookedUp, CommandError> {
        let meant = match &selection.meant {
            Meant::Groups(selector) => {
                let resources = resolve(selection, selector, connect, |resource| self.target(resource)).await?;
                return Ok(LookedUp { resources, host: None });
            }
            Meant::Host(meant) => meant,
        };
        let question = HostQuery {
            places: self.places(selection, meant, settings).await?,
            widen: selection.like.region.is_empty(),
            configured: settings.resources.iter().map(|resource| resource.id.clone()).collect(),
            group: meant.group.as_deref(),
        };
        let found = find(self.env, connect, &meant.host, &question).await?;
        let Target { key, route } = &found.target;
        let resource = Resource {
            id: key.id.clone(),
            region: key.region.clone(),
            profile: route.profile.clone(),
            role_arn: route.role_arn.clone(),
            external_id: route.external_id.clone(),
            ..selection.like.clone()
        };
        Ok(LookedUp { resources: vec![resource], host: Some(found) })
    }

    /// The regions and credentials to look for a host in: those of its section; else every configured region, with its own
    /// credentials first, then those that are configured there.
    async fn places(
        &self,
        selection: &Selection,
        meant: &HostMeant,
        settings: &Settings,
    ) -> Result<Vec<Target>, CommandError> {
        let own =
            |region: &String| self.target(&Resource { region: region.clone(), ..selection.like.clone() }).regional();
        if !selection.like.region.is_empty() {
            return Ok(vec![own(&selection.like.region)]);
        }
        let groups = settings.resources.iter().filter(|resource| resource.kind.selectors);
        let groups = groups.chain(settings.selections.iter().map(|one| &one.like));
        let configured: Vec<&Resource> = groups.filter(|resource| !resource.region.is_empty()).collect();
        let mut regions: Vec<String> = meant.usual_region.clone().into_iter().collect();
        regions.extend(configured.iter().map(|resource| resource.region.clone()));
        if regions.is_empty() {
            let usual = region::usual(|name| self.env.var(name), &self.target(&selection.like).route).await;
            regions.extend(usual);
        }
        if regions.is_empty() {
            let message = format!("no region to look for {} in", meant.host);
            return Err(CommandError::new(Kind::Usage, message).hint("set AWS_REGION, or region in [defaults]"));
        }
        let mut places: Vec<Target> = regions.iter().map(own).collect();
        if selection.like.profile.is_none() && selection.like.role_arn.is_none() {
            places.extend(configured.into_iter().map(|resource| self.target(resource).regional()));
        }
        let mut seen = BTreeSet::new();
        places.retain(|place| seen.insert(place.clone()));
        Ok(places)
    }
}

/// Settings with every resource looked up.
pub struct Expanded {
    pub settings: Settings,
    /// Each entry that could not be looked up, and why.
    pub unknown: Vec<(String, CommandError)>,
    /// Each entry that names a host, as the resource that it means.
    pub hosts: Vec<(Resource, HostFound)>,
}

/// The resources that an entry means, and the host if it names one.
struct LookedUp {
    resources: Vec<Resource>,
    host: Option<HostFound>,
}
