//! `credential_process`, run by `eg`. The SDK runs it too, and leaves it running with all that it has started when it
//! does not answer in time: one more in every pass.

use crate::{aws::credentials::files::ProfileFilePaths, program::ProcessTree};
use aws_config::{
    environment::EnvironmentVariableCredentialsProvider,
    profile::{Profile, ProfileSet},
    sts::AssumeRoleProvider,
};
use aws_credential_types::{
    Credentials,
    attributes::AccountId,
    credential_feature::AwsCredentialFeature,
    provider::{ProvideCredentials, Result as Provided, SharedCredentialsProvider, error::CredentialsError, future},
};
use aws_types::SdkConfig;
use eg_model::Timestamp;
use serde_json::Value;
use std::{
    fmt, fs,
    os::unix::process::ExitStatusExt,
    process::{Output, Stdio},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt},
    process::Command,
};

/// The origin of a profile's credentials, if that is a process in the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chain {
    process: Process,
    /// The roles that are assumed on top, in this order.
    roles: Vec<Role>,
}

impl Chain {
    /// The credentials of the process, and of the roles that the profile assumes with them. STS is asked where the SDK
    /// says, as for every profile.
    pub async fn credentials(self, loaded: &SdkConfig) -> SharedCredentialsProvider {
        let mut source = SharedCredentialsProvider::new(self.process);
        for role in self.roles {
            let mut builder = AssumeRoleProvider::builder(role.arn).configure(loaded);
            if let Some(id) = role.external_id {
                builder = builder.external_id(id);
            }
            if let Some(name) = role.session_name {
                builder = builder.session_name(name);
            }
            source = SharedCredentialsProvider::new(builder.build_from_provider(source).await);
        }
        SharedCredentialsProvider::new(OfProfile(source))
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Role {
    arn: String,
    external_id: Option<String>,
    session_name: Option<String>,
}

/// A profile's `credential_process`.
#[derive(Clone, PartialEq, Eq)]
struct Process {
    command: String,
    /// The account of the profile, where the process names none.
    account: Option<String>,
}

/// Its arguments may be secret.
impl fmt::Debug for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Process")
    }
}

/// The settings of a profile that take precedence over `credential_process`, as in the SDK.
const BEFORE_A_PROCESS: [&str; 8] = [
    "credential_source",
    "web_identity_token_file",
    "sso_account_id",
    "sso_region",
    "sso_role_name",
    "sso_start_url",
    "sso_session",
    "login_session",
];

/// The chain of a profile, if a process is at its end. Without a profile, keys of the environment come first, as in the
/// standard chain.
pub async fn chain_of(profile: Option<&str>, files: &ProfileFilePaths) -> Option<Chain> {
    if profile.is_none() && EnvironmentVariableCredentialsProvider::new().provide_credentials().await.is_ok() {
        return None;
    }
    // Files that cannot be read are the SDK's to complain of.
    chain(&files.load(profile).await.ok()?)
}

/// The chain of the selected profile, if a process is at its end. It follows the rules of the SDK, which handles every
/// other profile and reports wrong ones.
fn chain(profiles: &ProfileSet) -> Option<Chain> {
    let (mut name, mut seen, mut roles) = (profiles.selected_profile(), Vec::new(), Vec::new());
    loop {
        let profile = profiles.get_profile(name)?;
        if seen.contains(&name) {
            return None;
        }
        seen.push(name);
        let has_keys = profile.get("aws_access_key_id").is_some() && profile.get("aws_secret_access_key").is_some();
        if seen.len() > 1 && has_keys {
            return None;
        }
        match role(profile) {
            None => break,
            Some(role) => roles.push(role),
        }
        match (profile.get("source_profile"), profile.get("credential_source")) {
            (Some(source), None) if source != profile.name() => name = source,
            // Itself: its role, with its own process.
            (Some(_), None) => break,
            _ => return None,
        }
    }
    roles.reverse();
    let profile = profiles.get_profile(name)?;
    if BEFORE_A_PROCESS.iter().any(|key| profile.get(key).is_some()) {
        return None;
    }
    let command = profile.get("credential_process")?.to_owned();
    let account = profile.get("aws_account_id").map(str::to_owned);
    Some(Chain { process: Process { command, account }, roles })
}

fn role(profile: &Profile) -> Option<Role> {
    if profile.get("web_identity_token_file").is_some() {
        return None;
    }
    let text = |key: &str| profile.get(key).map(str::to_owned);
    Some(Role { arn: text("role_arn")?, external_id: text("external_id"), session_name: text("role_session_name") })
}

/// Credentials of a profile, marked as such: the profile tells when they end.
#[derive(Debug)]
struct OfProfile(SharedCredentialsProvider);

impl ProvideCredentials for OfProfile {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(async {
            let mut credentials = self.0.provide_credentials().await?;
            let features = credentials.get_property_mut_or_default::<Vec<AwsCredentialFeature>>();
            features.push(AwsCredentialFeature::CredentialsProfile);
            Ok(credentials)
        })
    }
}

impl ProvideCredentials for Process {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(self.run())
    }
}

impl Process {
    async fn run(&self) -> Provided {
        let failed = |why: String| CredentialsError::provider_error(format!("credential_process: {why}"));
        let output = output(&self.command).await.map_err(|error| failed(format!("cannot be run: {error}")))?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            let ended = match (output.status.code(), output.status.signal()) {
                (Some(code), _) => format!("ended with status {code}"),
                (None, Some(signal)) => format!("was ended by signal {signal}"),
                (None, None) => "failed".to_owned(),
            };
            return Err(failed(format!("{ended}: {}", said.trim()).trim_end_matches([':', ' ']).to_owned()));
        }
        credentials(&output.stdout, self.account.as_deref()).map_err(|why| failed(format!("its answer {why}")))
    }
}

/// Runs a command line until it has ended and nothing writes to its output any more. If the caller stops waiting,
/// everything that the command has started is ended.
async fn output(command: &str) -> std::io::Result<Output> {
    let mut shell = Command::new("sh");
    shell.args(["-c", command]).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    // On a terminal the process may ask for a code, which only the terminal's foreground group can.
    let own_group = fs::File::open("/dev/tty").is_err();
    if own_group {
        shell.process_group(0);
    }
    let mut child = shell.spawn()?;
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let mut tree = ProcessTree::new(child, own_group);
    // The process is waited for last: until then its id is its own, even if it has ended and a child still writes.
    let (stdout, stderr) = tokio::try_join!(whole(stdout), whole(stderr))?;
    // A process that has answered may leave others behind on purpose, an agent say.
    let status = tree.ended().await?;
    Ok(Output { status, stdout, stderr })
}

async fn whole(pipe: Option<impl AsyncRead + Unpin>) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if let Some(mut pipe) = pipe {
        pipe.read_to_end(&mut bytes).await?;
    }
    Ok(bytes)
}

/// The answer of a process (AWS SDKs and Tools Reference Guide, "Process credential provider"); names have no case.
fn credentials(answer: &[u8], account: Option<&str>) -> Result<Credentials, String> {
    let answer: Value = serde_json::from_slice(answer).map_err(|_| "is not JSON".to_owned())?;
    let fields = answer.as_object().ok_or("is not a JSON object")?;
    let field = |name: &str| fields.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value);
    let text = |name: &str| field(name).and_then(Value::as_str).map(str::to_owned);
    let needed = |name: &str| text(name).ok_or_else(|| format!("has no {name}"));
    match field("Version") {
        Some(version) if version.as_i64() == Some(1) => {}
        Some(version) => return Err(format!("has version {version}, and 1 is known")),
        None => return Err("has no Version".to_owned()),
    }
    let expires = match text("Expiration") {
        None => None,
        Some(time) => Some(time.parse::<Timestamp>().map_err(|_| "has an Expiration that is no time".to_owned())?),
    };
    let mut credentials = Credentials::builder()
        .access_key_id(needed("AccessKeyId")?)
        .secret_access_key(needed("SecretAccessKey")?)
        .provider_name("CredentialProcess");
    credentials.set_session_token(text("SessionToken"));
    credentials.set_expiry(expires.map(Into::into));
    credentials.set_account_id(text("AccountId").or_else(|| account.map(str::to_owned)).map(AccountId::from));
    let mut credentials = credentials.build();
    credentials
        .get_property_mut_or_default::<Vec<AwsCredentialFeature>>()
        .push(AwsCredentialFeature::CredentialsProcess);
    Ok(credentials)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aws::credentials::files::profile_set;

    async fn found_in(config: &str, profile: &str) -> Option<(String, Vec<String>)> {
        let chain = chain(&profile_set(config, profile).await)?;
        Some((chain.process.command, chain.roles.into_iter().map(|role| role.arn).collect()))
    }

    #[tokio::test]
    async fn profiles_that_end_in_a_process() {
        let config = "
[profile process]
credential_process = /bin/p --x 'y z'
[profile role]
role_arn = arn:1
source_profile = process
[profile two]
role_arn = arn:2
source_profile = role
[profile itself]
role_arn = arn:3
source_profile = itself
credential_process = /bin/q
[profile keys]
aws_access_key_id = a
aws_secret_access_key = b
credential_process = /bin/r
[profile over-keys]
role_arn = arn:4
source_profile = keys
[profile sso]
sso_session = s
credential_process = /bin/p
[profile login]
login_session = arn:aws:iam::123456789012:user/a
credential_process = /bin/p
[profile metal]
role_arn = arn:5
credential_source = Ec2InstanceMetadata
credential_process = /bin/p
[profile web]
role_arn = arn:6
web_identity_token_file = /t
credential_process = /bin/p
[profile loop]
role_arn = arn:7
source_profile = loop2
[profile loop2]
role_arn = arn:8
source_profile = loop
[profile lost]
role_arn = arn:9
source_profile = nowhere
";
        let found = |command: &str, roles: &[&str]| {
            Some((command.to_owned(), roles.iter().map(|role| (*role).to_owned()).collect::<Vec<_>>()))
        };
        for (profile, expected) in [
            ("process", found("/bin/p --x 'y z'", &[])),
            ("role", found("/bin/p --x 'y z'", &["arn:1"])),
            ("two", found("/bin/p --x 'y z'", &["arn:1", "arn:2"])),
            ("itself", found("/bin/q", &["arn:3"])),
            // The SDK prefers a process to keys in the profile itself, and keys to a process in a source profile.
            ("keys", found("/bin/r", &[])),
            ("over-keys", None),
            ("sso", None),
            ("login", None),
            ("metal", None),
            ("web", None),
            ("loop", None),
            ("lost", None),
            ("nowhere", None),
        ] {
            assert_eq!(found_in(config, profile).await, expected, "{profile}");
        }
    }

    #[test]
    fn answers() {
        let read = |text: &str| credentials(text.as_bytes(), Some("123456789012"));
        let full = r#"{"version": 1, "AccessKeyId": "A", "SecretAccessKey": "S", "SessionToken": "T",
                       "Expiration": "2026-02-27T10:00:00+01:00", "AccountId": "210987654321"}"#;
        let found = read(full).unwrap();
        assert_eq!((found.access_key_id(), found.secret_access_key(), found.session_token()), ("A", "S", Some("T")));
        let expires: Timestamp = "2026-02-27T09:00:00Z".parse().unwrap();
        assert_eq!(found.expiry().map(Timestamp::from), Some(expires));
        assert_eq!(found.account_id().map(AccountId::as_str), Some("210987654321"));
        let least = read(r#"{"Version": 1, "AccessKeyId": "A", "SecretAccessKey": "S"}"#).unwrap();
        assert_eq!((least.expiry(), least.account_id().map(AccountId::as_str)), (None, Some("123456789012")));
        for (bad, why) in [
            ("", "is not JSON"),
            ("[]", "is not a JSON object"),
            (r#"{"AccessKeyId": "A"}"#, "has no Version"),
            (r#"{"Version": 2}"#, "has version 2, and 1 is known"),
            (r#"{"Version": 1, "AccessKeyId": "A"}"#, "has no SecretAccessKey"),
            (
                r#"{"Version": 1, "AccessKeyId": "A", "SecretAccessKey": "S", "Expiration": "soon"}"#,
                "has an Expiration that is no time",
            ),
        ] {
            assert_eq!(read(bad).unwrap_err(), why, "{bad}");
        }
    }

    #[tokio::test]
    async fn what_a_process_says_when_it_fails() {
        let process = |command: &str| Process { command: command.to_owned(), account: None };
        let why = async |command: &str| {
            let error = process(command).run().await.unwrap_err();
            std::error::Error::source(&error).map(ToString::to_string).unwrap()
        };
        assert_eq!(why("echo locked >&2; exit 3").await, "credential_process: ended with status 3: locked");
        assert_eq!(why("exit 3").await, "credential_process: ended with status 3");
        assert_eq!(why("echo hello").await, "credential_process: its answer is not JSON");
    }

    /// The process has ended, and its child still writes: it was not waited for, so its number cannot be another's, and the
    /// child is ended.
    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn the_number_of_a_process_that_has_ended_stays_its_own() {
        let dir = tempfile::tempdir().unwrap();
        let (root, child) = (dir.path().join("root"), dir.path().join("child"));
        let command = format!("echo $$ > '{}'; sleep 60 & echo $! > '{}'", root.display(), child.display());
        let mut running = std::pin::pin!(output(&command));
        let state = |pid: &str| {
            let stat = fs::read_to_string(format!("/proc/{}/stat", pid.trim())).ok()?;
            stat.rsplit_once(')')?.1.trim_start().chars().next()
        };
        let read = |path: &std::path::Path| fs::read_to_string(path).unwrap_or_default();
        let mut looks = 0;
        while child.metadata().is_err() || state(&read(&root)) != Some('Z') {
            let waited = tokio::time::timeout(std::time::Duration::from_millis(20), running.as_mut()).await;
            assert!(waited.is_err(), "its output is still open");
            looks += 1;
            assert!(looks < 1500, "{:?}: {:?}", read(&root), state(&read(&root)));
        }
        // Once more, with all that the runtime may have heard of it.
        let waited = tokio::time::timeout(std::time::Duration::from_millis(100), running.as_mut()).await;
        assert!(waited.is_err());
        assert_eq!(state(&read(&root)), Some('Z'));
    }
}
