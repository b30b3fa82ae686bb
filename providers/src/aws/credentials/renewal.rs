//! The end of credentials, as far as it can be told beforehand.

use crate::{CredentialsEnd, aws::credentials::files::ProfileFilePaths};
use aws_config::profile::{Profile, ProfileSet};
use aws_credential_types::{
    Credentials,
    credential_feature::AwsCredentialFeature as Feature,
    provider::{ProvideCredentials, SharedCredentialsProvider},
};
use chrono::{DateTime, TimeDelta};
use eg_model::{Timestamp, ids::digest};
use serde::{Deserialize, de::DeserializeOwned};
use std::path::{Path, PathBuf};

/// The longest that a login of `aws login` is renewed, and how long each of its credentials lasts (AWS SDKs and Tools
/// reference guide, "Login credentials provider").
const LOGIN_MAX: TimeDelta = TimeDelta::hours(12);
const LOGIN_STEP: TimeDelta = TimeDelta::minutes(15);

/// The places of profiles and of the tokens of logins.
#[derive(Clone, Debug, Default)]
pub struct LoginFiles {
    pub paths: ProfileFilePaths,
    /// The profile, where one was named.
    pub profile: Option<String>,
    pub home: Option<PathBuf>,
    /// The place of `aws login`'s tokens, if not in the home directory.
    pub login_cache: Option<PathBuf>,
}

/// A login for a profile. `default` is the one without a name.
pub(super) fn login_of(command: &str, profile: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.@+/:=".contains(c);
    match profile {
        "default" => command.to_owned(),
        name if !name.is_empty() && name.chars().all(plain) => format!("{command} --profile {name}"),
        name => format!("{command} --profile '{}'", name.replace('\'', r"'\''")),
    }
}

/// The end of the source credentials (a role assumed on top renews itself as long as its source does).
///
/// | the credentials come from | end |
/// |---|---|
/// | environment keys, also as a profile's `credential_source` | `ShellOnly` |
/// | instance, container, web identity, process | `Renewing` |
/// | a profile's `aws login` | 12 hours after the login; counted from the last renewal where the token does not tell |
/// | a profile's SSO | that of the cached token; `Renewing` where it can be refreshed; `Unknown` where there is none |
/// | a profile's keys | `Lasting`; with a session token `Unknown`, for the file does not say |
/// | a profile's role | that of its source |
/// | anything else | their own expiry, else `Unknown` |
pub async fn end_of(source: &SharedCredentialsProvider, files: &LoginFiles) -> CredentialsEnd {
    let Ok(credentials) = source.provide_credentials().await else { return CredentialsEnd::Unknown };
    if let Some(end) = by_feature(&credentials) {
        return end;
    }
    let features = features(&credentials);
    if features.contains(&Feature::CredentialsProfile) {
        let profiles = files.paths.load(files.profile.as_deref()).await;
        return profiles.map_or(CredentialsEnd::Unknown, |profiles| by_profile(&profiles, files));
    }
    let expiry = credentials.expiry().map(Timestamp::from);
    expiry.map_or(CredentialsEnd::Unknown, CredentialsEnd::At)
}

fn features(credentials: &Credentials) -> &[Feature] {
    credentials.get_property::<Vec<Feature>>().map_or(&[], Vec::as_slice)
}

fn by_feature(credentials: &Credentials) -> Option<CredentialsEnd> {
    features(credentials).iter().find_map(|feature| match feature {
        Feature::CredentialsEnvVars => Some(CredentialsEnd::ShellOnly),
        Feature::CredentialsImds
        | Feature::CredentialsHttp
        | Feature::CredentialsProcess
        | Feature::CredentialsProfileProcess
        | Feature::CredentialsProfileStsWebIdToken
        | Feature::CredentialsEnvVarsStsWebIdToken
        | Feature::CredentialsStsAssumeRoleWebId => Some(CredentialsEnd::Renewing),
        _ => None,
    })
}

/// The longest chain of `source_profile` that is followed; the SDK refuses loops before.
const CHAIN_MAX: usize = 16;

fn by_profile(profiles: &ProfileSet, files: &LoginFiles) -> CredentialsEnd {
    base(profiles).map_or(CredentialsEnd::Unknown, |profile| by_base(profiles, profile, files))
}

/// The profile that the credentials come from in the end.
fn base(profiles: &ProfileSet) -> Option<&Profile> {
    let mut name = profiles.selected_profile().to_owned();
    for _ in 0..CHAIN_MAX {
        let profile = profiles.get_profile(&name)?;
        match profile.get("source_profile") {
            // A profile may name itself: its role, with its own keys.
            Some(source) if profile.get("role_arn").is_some() && source != name => name = source.to_owned(),
            _ => return Some(profile),
        }
    }
    None
}

fn by_base(profiles: &ProfileSet, profile: &Profile, files: &LoginFiles) -> CredentialsEnd {
    let home = files.home.as_deref();
    if let Some(source) = profile.get("credential_source").filter(|_| profile.get("role_arn").is_some()) {
        return if source == "Environment" { CredentialsEnd::ShellOnly } else { CredentialsEnd::Renewing };
    }
    let session = profile.get("sso_session").and_then(|name| profiles.sso_session(name));
    let start_url = session.and_then(|session| session.get("sso_start_url")).or_else(|| profile.get("sso_start_url"));
    if let Some(start_url) = start_url {
        let mut tokens = cached_tokens(home);
        // Only a login for an `sso-session` can be refreshed, and a profile without one does not use that.
        if profile.get("sso_session").is_none() {
            tokens.retain(|token| !token.refresh_token);
        }
        return by_tokens(&tokens, start_url);
    }
    if let Some(session) = profile.get("login_session") {
        let command = login_of("aws login", profile.name());
        return login_end(session, files)
            .map_or(CredentialsEnd::Unknown, |until| CredentialsEnd::Login { until, command });
    }
    if profile.get("aws_access_key_id").is_some() && profile.get("aws_session_token").is_none() {
        return CredentialsEnd::Lasting;
    }
    let renews = profile.get("credential_process").is_some() || profile.get("web_identity_token_file").is_some();
    if renews { CredentialsEnd::Renewing } else { CredentialsEnd::Unknown }
}

/// A token that `aws sso login` leaves in `~/.aws/sso/cache` (AWS CLI and SDKs, "IAM Identity Center credential provider");
/// the token itself is not read.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Token {
    start_url: String,
    expires_at: Timestamp,
    #[serde(default, deserialize_with = "given")]
    refresh_token: bool,
}

/// True if a secret is there; the secret itself is not kept.
fn given<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    Option::<String>::deserialize(deserializer).map(|text| text.is_some_and(|text| !text.is_empty()))
}

/// A login that `aws login` leaves; of the token, only the time when it was made.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Login {
    access_token: LoginCredentials,
    id_token: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct LoginCredentials {
    expires_at: Timestamp,
}

/// The claims of an identity token (RFC 7519). It is not verified: nothing but a warning depends on it.
#[derive(Deserialize)]
struct TokenClaims {
    iat: i64,
}

/// The latest end of a login of `aws login`. The file that holds it is named by the session.
fn login_end(session: &str, files: &LoginFiles) -> Option<Timestamp> {
    let in_home = || files.home.as_ref().map(|home| home.join(".aws/login/cache"));
    let directory = files.login_cache.clone().or_else(in_home)?;
    let text = std::fs::read(directory.join(format!("{}.json", digest(session.trim())))).ok()?;
    let login: Login = serde_json::from_slice(&text).ok()?;
    let renewed = login.access_token.expires_at - LOGIN_STEP;
    let begun = login.id_token.as_deref().and_then(claims::<TokenClaims>);
    let begun = begun.and_then(|claims| DateTime::from_timestamp(claims.iat, 0)).filter(|begun| *begun <= renewed);
    Some(begun.unwrap_or(renewed) + LOGIN_MAX)
}

fn claims<T: DeserializeOwned>(token: &str) -> Option<T> {
    serde_json::from_slice(&base64url(token.split('.').nth(1)?)?).ok()
}

/// RFC 4648, section 5, without padding.
fn base64url(text: &str) -> Option<Vec<u8>> {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let (mut bits, mut held, mut bytes) = (0_u32, 0_u32, Vec::new());
    for character in text.trim_end_matches('=').bytes() {
        let value = ALPHABET.iter().position(|known| *known == character)?;
        bits = (bits << 6 | u32::try_from(value).ok()?) & 0xffff;
        held += 6;
        if held >= 8 {
            held -= 8;
            bytes.push(u8::try_from(bits >> held & 0xff).ok()?);
        }
    }
    Some(bytes)
}

fn cached_tokens(home: Option<&Path>) -> Vec<Token> {
    let Some(home) = home else { return Vec::new() };
    let Ok(entries) = std::fs::read_dir(home.join(".aws/sso/cache")) else { return Vec::new() };
    let read = |path: PathBuf| serde_json::from_slice(&std::fs::read(path).ok()?).ok();
    entries.filter_map(|entry| read(entry.ok()?.path())).collect()
}

/// The SDK looks a token up by a hash of the session's name; to ask for the start URL finds the same login.
fn by_tokens(tokens: &[Token], start_url: &str) -> CredentialsEnd {
    let same = |token: &&Token| token.start_url.trim_end_matches('/') == start_url.trim_end_matches('/');
    if tokens.iter().filter(same).any(|token| token.refresh_token) {
        return CredentialsEnd::Renewing;
    }
    let latest = tokens.iter().filter(same).map(|token| token.expires_at).max();
    latest.map_or(CredentialsEnd::Unknown, CredentialsEnd::At)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aws::credentials::files::profile_set;

    fn at(text: &str) -> CredentialsEnd {
        CredentialsEnd::At(text.parse().unwrap())
    }

    async fn end(config: &str, profile: &str, home: Option<&Path>) -> CredentialsEnd {
        let files = LoginFiles { home: home.map(Path::to_owned), ..LoginFiles::default() };
        by_profile(&profile_set(config, profile).await, &files)
    }

    #[tokio::test]
    async fn logins() {
        let config = "
[default]
login_session = arn:aws:iam::123456789012:user/a
[profile told]
login_session = arn:aws:iam::123456789012:user/b
[profile over]
role_arn = arn:aws:iam::123456789012:role/r
source_profile = told
[profile gone]
login_session = arn:aws:iam::123456789012:user/c
";
        let home = tempfile::tempdir().unwrap();
        let cache = home.path().join(".aws/login/cache");
        std::fs::create_dir_all(&cache).unwrap();
        let write = |session: &str, more: &str| {
            let text = format!(r#"{{"accessToken":{{"expiresAt":"2026-02-27T18:00:00Z"}}{more}}}"#);
            std::fs::write(cache.join(format!("{}.json", digest(session))), text).unwrap();
        };
        write("arn:aws:iam::123456789012:user/a", "");
        // {"iat":1772182800}: 2026-02-27T09:00:00Z.
        write("arn:aws:iam::123456789012:user/b", r#","idToken":"e30.eyJpYXQiOjE3NzIxODI4MDB9.x""#);
        let login = |until: &str, command: &str| CredentialsEnd::Login {
            until: until.parse().unwrap(),
            command: command.to_owned(),
        };
        let told = login("2026-02-27T21:00:00Z", "aws login --profile told");
        assert_eq!(end(config, "default", Some(home.path())).await, login("2026-02-28T05:45:00Z", "aws login"));
        assert_eq!(end(config, "told", Some(home.path())).await, told);
        assert_eq!(end(config, "over", Some(home.path())).await, told, "the login is its source's");
        assert_eq!(end(config, "gone", Some(home.path())).await, CredentialsEnd::Unknown);
        assert_eq!(login_of("aws login", "o'brien"), r"aws login --profile 'o'\''brien'");
    }

    #[tokio::test]
    async fn profiles() {
        let config = "
[profile keys]
aws_access_key_id = AKIDEXAMPLE
aws_secret_access_key = x
[profile session]
aws_access_key_id = AKIDEXAMPLE
aws_secret_access_key = x
aws_session_token = y
[profile role]
role_arn = arn:aws:iam::123456789012:role/r
source_profile = keys
[profile loop]
role_arn = arn:aws:iam::123456789012:role/r
source_profile = loop2
[profile loop2]
role_arn = arn:aws:iam::123456789012:role/r
source_profile = loop
[profile shell]
role_arn = arn:aws:iam::123456789012:role/r
credential_source = Environment
[profile metal]
role_arn = arn:aws:iam::123456789012:role/r
credential_source = Ec2InstanceMetadata
[profile process]
credential_process = /bin/true
[profile old-sso]
sso_start_url = https://old.example/start
sso_region = eu-west-1
sso_account_id = 123456789012
sso_role_name = dev
[profile new-sso]
sso_session = corp
sso_account_id = 123456789012
sso_role_name = dev
[profile over-sso]
role_arn = arn:aws:iam::123456789012:role/r
source_profile = old-sso
[profile never]
sso_start_url = https://never.example/start
[sso-session corp]
sso_start_url = https://new.example/start/
sso_region = eu-west-1
";
        let home = tempfile::tempdir().unwrap();
        let cache = home.path().join(".aws/sso/cache");
        std::fs::create_dir_all(&cache).unwrap();
        let write = |name: &str, text: &str| std::fs::write(cache.join(name), text).unwrap();
        write(
            "1.json",
            r#"{"startUrl":"https://old.example/start","accessToken":"t","expiresAt":"2026-02-27T18:00:00Z"}"#,
        );
        write(
            "2.json",
            r#"{"startUrl":"https://old.example/start","accessToken":"t","expiresAt":"2026-02-26T18:00:00Z"}"#,
        );
        write(
            "3.json",
            r#"{"startUrl":"https://new.example/start","accessToken":"t","expiresAt":"2026-02-26T18:00:00Z","refreshToken":"r"}"#,
        );
        // Another profile's login at the same place, by way of an sso-session: the SDK does not take it for this one.
        write(
            "4.json",
            r#"{"startUrl":"https://old.example/start","accessToken":"t","expiresAt":"2026-02-28T18:00:00Z","refreshToken":"r"}"#,
        );
        write("botocore-client-id.json", r#"{"clientId":"c","expiresAt":"2026-05-26T18:00:00Z"}"#);
        write("broken.json", "{");
        for (profile, expected) in [
            ("keys", CredentialsEnd::Lasting),
            ("session", CredentialsEnd::Unknown),
            ("role", CredentialsEnd::Lasting),
            ("loop", CredentialsEnd::Unknown),
            ("shell", CredentialsEnd::ShellOnly),
            ("metal", CredentialsEnd::Renewing),
            ("process", CredentialsEnd::Renewing),
            ("old-sso", at("2026-02-27T18:00:00Z")),
            ("over-sso", at("2026-02-27T18:00:00Z")),
            ("new-sso", CredentialsEnd::Renewing),
            ("never", CredentialsEnd::Unknown),
            ("absent", CredentialsEnd::Unknown),
        ] {
            assert_eq!(end(config, profile, Some(home.path())).await, expected, "{profile}");
        }
        assert_eq!(end(config, "old-sso", None).await, CredentialsEnd::Unknown);
    }

    #[test]
    fn features_of_the_sources() {
        let with = |feature: Feature| {
            let mut credentials = Credentials::new("AKIDEXAMPLE", "x", None, None, "test");
            credentials.set_property(vec![feature]);
            by_feature(&credentials)
        };
        assert_eq!(with(Feature::CredentialsEnvVars), Some(CredentialsEnd::ShellOnly));
        assert_eq!(with(Feature::CredentialsImds), Some(CredentialsEnd::Renewing));
        assert_eq!(with(Feature::CredentialsHttp), Some(CredentialsEnd::Renewing));
        assert_eq!(with(Feature::CredentialsProcess), Some(CredentialsEnd::Renewing));
        assert_eq!(with(Feature::CredentialsProfile), None);
        assert_eq!(with(Feature::CredentialsSso), None);
    }
}
