//! The profile files of the AWS command line, as the SDK reads them.

use aws_config::profile::{ProfileFileLoadError, ProfileSet};
use aws_types::os_shim_internal::{Env, Fs};
use eg_model::target::Route;
use std::{borrow::Cow, io::ErrorKind};

/// The paths of the files; where one is absent, the SDK looks by itself.
#[derive(Clone, Debug, Default)]
pub struct ProfileFilePaths {
    /// `AWS_CONFIG_FILE`.
    pub config: Option<String>,
    /// `AWS_SHARED_CREDENTIALS_FILE`.
    pub credentials: Option<String>,
}

impl ProfileFilePaths {
    pub fn of(route: &Route) -> Self {
        Self { config: route.config_file.clone(), credentials: route.credentials_file.clone() }
    }

    /// Reads every profile; `profile` is the selected one of the set.
    pub async fn load(&self, profile: Option<&str>) -> Result<ProfileSet, ProfileFileLoadError> {
        let selected = profile.map(|name| Cow::Owned(name.to_owned()));
        aws_config::profile::load(&Fs::real(), &Env::real(), &self.to_sdk(), selected).await
    }

    /// The paths as the SDK takes them. A file that is named and not there is empty, as for the AWS CLI; the SDK takes
    /// it for a mistake.
    #[expect(deprecated, reason = "aliases of aws_runtime's types; a dependency on that crate would say no more")]
    pub fn to_sdk(&self) -> aws_config::profile::profile_file::ProfileFiles {
        use aws_config::profile::profile_file::{ProfileFileKind, ProfileFiles};
        let mut files = ProfileFiles::builder()
            .include_default_config_file(self.config.is_none())
            .include_default_credentials_file(self.credentials.is_none());
        let absent = |path: &str| std::fs::metadata(path).is_err_and(|error| error.kind() == ErrorKind::NotFound);
        for (kind, path) in [(ProfileFileKind::Config, &self.config), (ProfileFileKind::Credentials, &self.credentials)]
        {
            files = match path {
                None => files,
                Some(path) if absent(path) => files.with_contents(kind, ""),
                Some(path) => files.with_file(kind, path),
            };
        }
        files.build()
    }
}

#[cfg(test)]
#[expect(deprecated, reason = "as for `to_sdk`")]
pub async fn profile_set(config: &str, profile: &str) -> ProfileSet {
    use aws_config::profile::profile_file::{ProfileFileKind, ProfileFiles};
    let files = ProfileFiles::builder().with_contents(ProfileFileKind::Config, config).build();
    let selected = Some(Cow::Owned(profile.to_owned()));
    aws_config::profile::load(&Fs::real(), &Env::real(), &files, selected).await.unwrap()
}
