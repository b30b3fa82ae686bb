//! The reason why there are no credentials, in a sentence for people. The SDK's own words name its providers and their
//! states ("the credential provider was not enabled"), and change from one call to the next.

use crate::aws::{
    credentials::{files::ProfileFilePaths, profiles::profiles, renewal::login_of},
    errors::error_chain::{Sentence, chain, without_number},
};
use aws_config::profile::ProfileSet;
use aws_credential_types::{
    Credentials,
    provider::{ProvideCredentials, SharedCredentialsProvider, error::CredentialsError, future},
};
use aws_sdk_sts::operation::assume_role::AssumeRoleError;
use aws_smithy_runtime_api::client::{
    orchestrator::HttpResponse,
    result::{ConnectorError, SdkError},
};
use eg_model::failure::{Failure, FailureClass};
use std::{error::Error, sync::OnceLock};

/// The most profiles that a message lists.
const LISTED: usize = 8;
/// The longest chain of `source_profile` that is followed; the SDK refuses loops before.
const CHAIN_MAX: usize = 16;

/// Looks for a profile in the profile files. Asks no service.
///
/// # Errors
/// It is in none of them, or they cannot be read.
pub async fn check_profile(profile: Option<&str>, files: &ProfileFilePaths) -> Result<(), Failure> {
    let Some(name) = profile else { return Ok(()) };
    let known = profiles(files).await?;
    if known.iter().any(|one| one.name == name) {
        return Ok(());
    }
    let names: Vec<&str> = known.iter().map(|one| one.name.as_str()).collect();
    Err(Failure::new(FailureClass::NoProfile, unknown_profile(name, &names)))
}

fn unknown_profile(name: &str, known: &[&str]) -> String {
    let listed = known.iter().take(LISTED).copied().collect::<Vec<_>>().join(", ");
    let known = match known.len() {
        0 => "no profile is configured".to_owned(),
        few if few <= LISTED => format!("known: {listed}"),
        many => format!("known: {listed} and {} more", many - LISTED),
    };
    format!("AWS profile \"{name}\" does not exist ({known})")
}

/// A provider of credentials that explains why there are none.
#[derive(Debug)]
pub struct Explained {
    source: SharedCredentialsProvider,
    profile: Option<String>,
    files: ProfileFilePaths,
    /// The SDK's first words: its later errors only say that the first one was taken already.
    said: OnceLock<String>,
}

impl Explained {
    pub fn new(source: SharedCredentialsProvider, profile: Option<String>, files: ProfileFilePaths) -> Self {
        Self { source, profile, files, said: OnceLock::new() }
    }

    /// Replaces the words of an error. A refusal of STS, and a network that is down, say enough themselves.
    async fn explain(&self, error: CredentialsError) -> CredentialsError {
        let told = |error: &(dyn Error + 'static)| {
            error.is::<ConnectorError>() || error.is::<SdkError<AssumeRoleError, HttpResponse>>()
        };
        if matches!(error, CredentialsError::ProviderTimedOut(_)) || chain(&error).any(told) {
            return error;
        }
        let words = self.said.get_or_init(|| reason(&error));
        let missing = matches!(error, CredentialsError::CredentialsNotLoaded(_));
        let sentence = Sentence(self.sentence(missing, words).await);
        // The variant stays: other code decides by it.
        match error {
            CredentialsError::CredentialsNotLoaded(_) => CredentialsError::not_loaded(sentence),
            CredentialsError::InvalidConfiguration(_) => CredentialsError::invalid_configuration(sentence),
            CredentialsError::ProviderError(_) => CredentialsError::provider_error(sentence),
            _ => CredentialsError::unhandled(sentence),
        }
    }

    async fn sentence(&self, missing: bool, words: &str) -> String {
        let found = self.files.load(self.profile.as_deref()).await.ok();
        let login = found.as_ref().and_then(login);
        let whose = self.profile.as_ref().map(|name| format!(" for profile \"{name}\"")).unwrap_or_default();
        match login {
            Some(login) => format!("no AWS credentials found{whose}; run: {login}"),
            None if missing && self.profile.is_some() => {
                let words = if words.is_empty() { "it holds neither keys nor a login" } else { words };
                format!("no AWS credentials found{whose}: {words}")
            }
            None if missing => "no AWS credentials found, neither in the environment nor in a default profile; \
                                name a profile with AWS_PROFILE, or run: aws configure"
                .to_owned(),
            None => format!("the AWS credentials{whose} cannot be used: {words}"),
        }
    }
}

impl ProvideCredentials for Explained {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(async move {
            match self.source.provide_credentials().await {
                Ok(credentials) => Ok(credentials),
                Err(error) => Err(self.explain(error).await),
            }
        })
    }

    fn fallback_on_interrupt(&self) -> Option<Credentials> {
        self.source.fallback_on_interrupt()
    }
}

/// The words under the layers that only name the SDK's own parts.
fn reason(error: &CredentialsError) -> String {
    let mut words: Vec<String> = Vec::new();
    for text in chain(error).filter(|error| !error.is::<CredentialsError>()).map(ToString::to_string) {
        let text = without_number(&text.lines().map(str::trim).collect::<Vec<_>>().join(" "));
        let text = text
            .rsplit_once("could not be built: ")
            .map_or(text.as_str(), |(_, why)| why)
            .trim_end_matches(['.', ' ', ':']);
        if !text.is_empty() && !words.iter().any(|known| known.contains(text)) {
            words.push(text.to_owned());
        }
    }
    words.join(": ")
}

/// The command that logs in, where the selected profile, or the one that it takes its credentials from, has a login.
fn login(profiles: &ProfileSet) -> Option<String> {
    let mut name = profiles.selected_profile().to_owned();
    for _ in 0..CHAIN_MAX {
        let profile = profiles.get_profile(&name)?;
        match profile.get("source_profile").filter(|source| *source != name) {
            Some(source) if profile.get("role_arn").is_some() => name = source.to_owned(),
            _ if profile.get("sso_session").or_else(|| profile.get("sso_start_url")).is_some() => {
                return Some(login_of("aws sso login", &name));
            }
            _ if profile.get("login_session").is_some() => return Some(login_of("aws login", &name)),
            _ => return None,
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_profiles_are_listed() {
        assert_eq!(unknown_profile("wrok", &[]), "AWS profile \"wrok\" does not exist (no profile is configured)");
        let three = ["default", "staging", "work"];
        let said = "AWS profile \"wrok\" does not exist (known: default, staging, work)";
        assert_eq!(unknown_profile("wrok", &three), said);
        let many = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"];
        assert!(unknown_profile("x", &many).ends_with("(known: a, b, c, d, e, f, g, h and 2 more)"));
    }

    /// A provider that fails as the SDK's own does.
    #[derive(Debug)]
    struct Failing(fn() -> CredentialsError);

    impl ProvideCredentials for Failing {
        fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
        where
            Self: 'a,
        {
            future::ProvideCredentials::ready(Err((self.0)()))
        }
    }

    async fn sentence(config: &str, profile: Option<&str>, error: fn() -> CredentialsError) -> String {
        let dir = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = dir.path().join(name);
            std::fs::write(&path, text).unwrap();
            Some(path.to_string_lossy().into_owned())
        };
        let files = ProfileFilePaths { config: file("config", config), credentials: file("credentials", "") };
        let source = SharedCredentialsProvider::new(Failing(error));
        let explained = Explained::new(source, profile.map(str::to_owned), files);
        let error = explained.provide_credentials().await.unwrap_err();
        let said = chain(&error).find_map(|error| error.downcast_ref::<Sentence>()).map(|sentence| sentence.0.clone());
        said.unwrap_or_else(|| format!("as it was: {error}"))
    }

    #[tokio::test]
    async fn what_to_run_is_said() {
        let config = "[profile work]\nsso_start_url = https://corp\n[profile corp]\nsso_session = x\n\
                      [profile role]\nrole_arn = arn:aws:iam::1:role/r\nsource_profile = corp\n\
                      [profile console]\nlogin_session = arn:aws:iam::1:user/u\n[profile bare]\nregion = x\n";
        let missing = || CredentialsError::not_loaded("nothing");
        let broken = || CredentialsError::invalid_configuration("profile `b` was not defined.");
        let none = "no AWS credentials found for profile";
        for (profile, error, said) in [
            (Some("work"), missing as fn() -> _, format!("{none} \"work\"; run: aws sso login --profile work")),
            (Some("role"), broken as fn() -> _, format!("{none} \"role\"; run: aws sso login --profile corp")),
            (Some("console"), missing, format!("{none} \"console\"; run: aws login --profile console")),
            (Some("bare"), missing, format!("{none} \"bare\": nothing")),
            (
                Some("bare"),
                broken,
                "the AWS credentials for profile \"bare\" cannot be used: profile `b` was not defined".to_owned(),
            ),
        ] {
            assert_eq!(sentence(config, profile, error).await, said);
        }
        let slow = || CredentialsError::provider_timed_out(std::time::Duration::from_secs(8));
        assert!(sentence(config, Some("work"), slow).await.starts_with("as it was: "));
    }
}
