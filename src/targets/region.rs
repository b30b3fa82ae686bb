//! Which region credentials are used in where none is named. Asks variables and the profile files alone.
//!
//! | for | a profile is named | none is |
//! |---|---|---|
//! | [`usual`]: what to look at | the environment's, else the profile's | the environment's, else that of `AWS_PROFILE`, else of `default` |
//! | [`home`]: whom to ask, in which partition | the profile's, else the environment's | as for [`usual`] |

use eg_model::target::{Route, Target};
use eg_providers::Connect;

/// The region that every AWS tool would take.
pub async fn usual<'e>(
    var: impl Fn(&str) -> Option<&'e str>,
    connect: &dyn Connect,
    target: &Target,
) -> Option<String> {
    match of_environment(&var) {
        Some(region) => Some(region),
        None => of_profile(&var, connect, target).await,
    }
}

/// A region of the partition that the credentials are good for: a profile's own, whatever the shell names for others.
pub async fn home<'e>(var: impl Fn(&str) -> Option<&'e str>, connect: &dyn Connect, target: &Target) -> Option<String> {
    if target.route.profile.is_none() {
        return usual(var, connect, target).await;
    }
    of_profile(&var, connect, target).await.or_else(|| of_environment(&var))
}

fn of_environment<'e>(var: &impl Fn(&str) -> Option<&'e str>) -> Option<String> {
    ["AWS_REGION", "AWS_DEFAULT_REGION"].into_iter().find_map(var).map(str::to_owned)
}

async fn of_profile<'e>(
    var: &impl Fn(&str) -> Option<&'e str>,
    connect: &dyn Connect,
    target: &Target,
) -> Option<String> {
    // Keys in the environment beat the credentials of AWS_PROFILE, and not its region.
    let profile = target.route.profile.clone().or_else(|| var("AWS_PROFILE").map(str::to_owned));
    let route = Route { profile, ..target.route.clone() };
    connect.profile_region(&Target { route, ..target.clone() }).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use async_trait::async_trait;
    use eg_model::{
        failure::{Failure, FailureClass},
        target::TargetKey,
    };
    use eg_providers::Firewall;
    use std::sync::Arc;

    struct Profiles;

    #[async_trait]
    impl Connect for Profiles {
        async fn connect(&self, _target: &Target) -> Result<Arc<dyn Firewall>, Failure> {
            Err(Failure::new(FailureClass::Unknown, "nobody is there"))
        }

        async fn profile_region(&self, target: &Target) -> Option<String> {
            let region = match target.route.profile.as_deref() {
                Some("far") => "cn-north-1",
                Some(_) => return None,
                None => "eu-central-1",
            };
            Some(region.to_owned())
        }
    }

    #[test]
    fn whose_region_counts() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        for (profile, of_shell, aws_profile, expected_usual, expected_home) in [
            (None, None, None, "eu-central-1", "eu-central-1"),
            (None, Some("us-east-1"), None, "us-east-1", "us-east-1"),
            (None, None, Some("far"), "cn-north-1", "cn-north-1"),
            (None, Some("us-east-1"), Some("far"), "us-east-1", "us-east-1"),
            (Some("far"), None, None, "cn-north-1", "cn-north-1"),
            (Some("far"), Some("us-east-1"), None, "us-east-1", "cn-north-1"),
            (Some("far"), None, Some("other"), "cn-north-1", "cn-north-1"),
            (Some("other"), Some("us-east-1"), Some("far"), "us-east-1", "us-east-1"),
            (Some("other"), None, Some("far"), "none", "none"),
        ] {
            let var = |name: &str| match name {
                "AWS_DEFAULT_REGION" => of_shell,
                "AWS_PROFILE" => aws_profile,
                _ => None,
            };
            let mut target = Target::new(TargetKey::new("aws", "security-group", "", ""));
            target.route.profile = profile.map(str::to_owned);
            let found =
                runtime.block_on(async { (usual(var, &Profiles, &target).await, home(var, &Profiles, &target).await) });
            let found = [found.0, found.1].map(|region| region.unwrap_or_else(|| "none".to_owned()));
            assert_eq!(found, [expected_usual, expected_home], "{profile:?} {of_shell:?} {aws_profile:?}");
        }
    }
}
