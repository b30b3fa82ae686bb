//! The list of profiles.

use crate::aws::credentials::files::ProfileFilePaths;
use eg_model::failure::{Failure, FailureClass};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    pub name: String,
    /// The region that it names.
    pub region: Option<String>,
}

/// The profiles of these files, or of those where the SDK looks by itself: `default` first, then by name.
///
/// # Errors
/// A file is there and cannot be read.
pub async fn profiles(files: &ProfileFilePaths) -> Result<Vec<Profile>, Failure> {
    let found = files.load(None).await.map_err(|error| {
        let why = std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string);
        Failure::new(FailureClass::Credentials, format!("read the AWS profiles: {why}"))
    })?;
    let region = |name: &str| found.get_profile(name).and_then(|profile| profile.get("region")).map(str::to_owned);
    let profile = |name: &str| Profile { name: name.to_owned(), region: region(name) };
    let mut profiles: Vec<Profile> = found.profiles().map(profile).collect();
    profiles.sort_by(|a, b| (a.name != "default", &a.name).cmp(&(b.name != "default", &b.name)));
    Ok(profiles)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn both_files_in_one_list() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name).to_string_lossy().into_owned();
        let (config, credentials) = (path("config"), path("credentials"));
        std::fs::write(
            &config,
            "[profile work]\nregion = eu-west-1\n[default]\nregion = us-east-1\n[sso-session corp]\nsso_region = x\n",
        )
        .unwrap();
        std::fs::write(&credentials, "[alone]\naws_access_key_id = a\naws_secret_access_key = b\n[work]\nx = y\n")
            .unwrap();
        let files = ProfileFilePaths { config: Some(config), credentials: Some(credentials) };
        let found = profiles(&files).await.unwrap();
        let shown: Vec<_> = found.iter().map(|one| (one.name.as_str(), one.region.as_deref())).collect();
        assert_eq!(shown, [("default", Some("us-east-1")), ("alone", None), ("work", Some("eu-west-1"))]);
    }

    #[tokio::test]
    async fn what_cannot_be_read_is_not_none() {
        let dir = tempfile::tempdir().unwrap();
        let config = dir.path().join("config");
        std::fs::write(&config, "[profile broken\n").unwrap();
        let config = Some(config.to_string_lossy().into_owned());
        let files = ProfileFilePaths { config, credentials: Some("/dev/null".to_owned()) };
        let error = profiles(&files).await.unwrap_err();
        assert!(error.message.starts_with("read the AWS profiles: "), "{error}");
    }
}
