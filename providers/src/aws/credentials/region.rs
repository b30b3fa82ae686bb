//! The region that credentials are used in, where no flag names one. Asks variables and the profile files alone.
//!
//! | for | a profile is named | none is |
//! |---|---|---|
//! | [`usual`]: the region to work in | the variable's, else the profile's | the variable's, else that of `AWS_PROFILE`, else of `default` |
//! | [`home`]: a region of the partition that the credentials are good for | the profile's, else the variable's | as for [`usual`] |

use crate::aws::credentials::files::ProfileFilePaths;
use aws_config::{meta::region::ProvideRegion, profile::region::ProfileFileRegionProvider};
use eg_model::target::Route;

/// The profile that is used where none is named.
const DEFAULT_PROFILE: &str = "default";

/// The region that the AWS CLI would take: a flag is the caller's to look at first, then the variables, then the profile.
pub async fn usual<'e>(var: impl Fn(&str) -> Option<&'e str>, route: &Route) -> Option<String> {
    match of_environment(&var) {
        Some(region) => Some(region),
        None => of_profile(&var, route).await,
    }
}

/// A region of the profile's partition. The profile's own region comes first: the variable may name a region for other
/// credentials, in another partition.
pub async fn home<'e>(var: impl Fn(&str) -> Option<&'e str>, route: &Route) -> Option<String> {
    if route.profile.is_none() {
        return usual(var, route).await;
    }
    of_profile(&var, route).await.or_else(|| of_environment(&var))
}

fn of_environment<'e>(var: &impl Fn(&str) -> Option<&'e str>) -> Option<String> {
    ["AWS_REGION", "AWS_DEFAULT_REGION"].into_iter().find_map(var).map(str::to_owned)
}

async fn of_profile<'e>(var: &impl Fn(&str) -> Option<&'e str>, route: &Route) -> Option<String> {
    // Keys in the environment beat the credentials of AWS_PROFILE, but not its region.
    let profile = route.profile.as_deref().or_else(|| var("AWS_PROFILE")).unwrap_or(DEFAULT_PROFILE);
    let files = ProfileFilePaths::of(route);
    let found = ProfileFileRegionProvider::builder().profile_files(files.to_sdk()).profile_name(profile).build();
    found.region().await.map(|region| region.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn whose_region_counts() {
        let dir = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = dir.path().join(name);
            std::fs::write(&path, text).unwrap();
            Some(path.to_string_lossy().into_owned())
        };
        let config = "[default]\nregion = eu-central-1\n[profile far]\nregion = cn-north-1\n[profile other]\nx = y\n";
        let (config_file, credentials_file) = (file("config", config), file("credentials", ""));
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
            let route = Route {
                profile: profile.map(str::to_owned),
                config_file: config_file.clone(),
                credentials_file: credentials_file.clone(),
                ..Route::default()
            };
            let found = [usual(var, &route).await, home(var, &route).await];
            let found = found.map(|region| region.unwrap_or_else(|| "none".to_owned()));
            assert_eq!(found, [expected_usual, expected_home], "{profile:?} {of_shell:?} {aws_profile:?}");
        }
    }
}
