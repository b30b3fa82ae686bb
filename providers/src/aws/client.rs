//! Clients: one per endpoint, credentials and region.

use crate::aws::{
    Clock, PROVIDER, SECURITY_GROUP, SecurityGroups,
    credentials::{
        process::{self, Chain, OfProfile},
        provider::{Explained, Places, check_profile},
        renewal,
    },
    errors::whole::WholeAnswers,
    session_name,
    wire::{
        clock::{Listening, SigningClock},
        http::ByScheme,
        in_time::InTime,
    },
};
use crate::{Connect, Firewall};
use async_trait::async_trait;
use aws_config::{
    AppName, BehaviorVersion, ConfigLoader, Region,
    environment::EnvironmentVariableCredentialsProvider,
    identity::IdentityCache,
    meta::region::ProvideRegion,
    profile::{ProfileFileCredentialsProvider, region::ProfileFileRegionProvider},
    provider_config::ProviderConfig,
    retry::RetryConfig,
    stalled_stream_protection::StalledStreamProtectionConfig,
    sts::AssumeRoleProvider,
    timeout::TimeoutConfig,
};
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};
use aws_smithy_runtime_api::client::http::SharedHttpClient;
use aws_types::{
    SdkConfig,
    os_shim_internal::{Env, Fs},
};
use eg_model::{
    failure::{Failure, FailureClass},
    target::{OtherServices, Target},
};
use std::{borrow::Cow, collections::BTreeMap, io::ErrorKind, net::IpAddr, path::PathBuf, sync::Arc, time::Duration};
use tokio::sync::{Mutex, OnceCell};

/// The SDK's defaults are frozen at this version, so that an update of the SDK does not change how `eg` behaves.
fn behavior() -> BehaviorVersion {
    BehaviorVersion::v2026_01_12()
}

/// The profile of those who name none.
const DEFAULT_PROFILE: &str = "default";

/// What the AWS module is given from outside.
#[derive(Clone)]
pub struct Options {
    /// The local clock; stamps readings, and signs until the provider has told its own time.
    pub now: Clock,
    /// Who uses `eg`; names role sessions.
    pub user: String,
    /// The home directory, where SSO keeps its tokens; `None`: when SSO credentials end is not known.
    pub home: Option<PathBuf>,
    /// Where `aws login` keeps its tokens (`AWS_LOGIN_CACHE_DIRECTORY`); `None`: in the home directory.
    pub login_cache: Option<PathBuf>,
    /// The longest to wait for a connection.
    pub connect_timeout: Duration,
    /// The longest that one call may take, connection, credentials and answer included.
    pub call_timeout: Duration,
    /// Hears of every answer, be it one page of many.
    pub on_answer: Arc<dyn Fn() + Send + Sync>,
    /// Instead of the real HTTP client; for tests.
    pub http_client: Option<SharedHttpClient>,
    /// Instead of the standard chain, the profile's provider included; for tests. A role is assumed on top.
    pub credentials: Option<SharedCredentialsProvider>,
}

impl Options {
    /// Connect in 3 s, answer in 10 s, the real HTTP client, the SDK's credentials.
    #[must_use]
    pub fn new(now: Clock, user: impl Into<String>) -> Self {
        Self {
            now,
            user: user.into(),
            home: None,
            login_cache: None,
            connect_timeout: Duration::from_secs(3),
            call_timeout: Duration::from_secs(10),
            on_answer: Arc::new(|| {}),
            http_client: None,
            credentials: None,
        }
    }
}

/// Everything that makes two clients different.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Way {
    endpoint: Option<String>,
    region: String,
    profile: Option<String>,
    role_arn: Option<String>,
    external_id: Option<String>,
    config_file: Option<String>,
    credentials_file: Option<String>,
    other_services: OtherServices,
}

impl Way {
    fn of(target: &Target) -> Self {
        Self {
            endpoint: target.key.endpoint.clone(),
            region: target.key.region.clone(),
            profile: target.route.profile.clone(),
            role_arn: target.route.role_arn.clone(),
            external_id: target.route.external_id.clone(),
            config_file: target.route.config_file.clone(),
            credentials_file: target.route.credentials_file.clone(),
            other_services: target.route.other_services.clone(),
        }
    }

    /// The files that hold its profile.
    fn places(&self) -> Places {
        Places { config_file: self.config_file.clone(), credentials_file: self.credentials_file.clone() }
    }

    /// Where everything but EC2 is asked.
    fn others(&self) -> Option<&String> {
        match &self.other_services {
            OtherServices::WithTarget => self.endpoint.as_ref(),
            OtherServices::ByThemselves => None,
            OtherServices::At(endpoint) => Some(endpoint),
        }
    }
}

/// AWS: makes clients, each once.
///
/// - Endpoints: the snapshot's, for EC2 and for every other service; without one, AWS's own for the region, whatever
///   `AWS_ENDPOINT_URL` or a profile's `endpoint_url` say now: another endpoint is another cloud. (Credentials that a
///   *profile* gets from STS or SSO by itself are fetched from where the SDK says.)
/// - Credentials: the standard chain (environment, profile, web identity, container, instance), or, with a profile,
///   that profile's provider alone: in the Rust SDK environment keys would otherwise win. A `credential_process` is run
///   by `eg` itself, which ends it.
/// - The SDK retries nothing: the reconciler does. The one exception is a request that was refused for the time of its
///   signature: it is signed by the provider's time and sent once more.
pub struct Aws {
    options: Options,
    http: SharedHttpClient,
    clients: Mutex<BTreeMap<Way, Arc<SecurityGroups>>>,
}

impl Aws {
    /// Without any client yet; no I/O.
    #[must_use]
    pub fn new(options: Options) -> Self {
        let http = options.http_client.clone().unwrap_or_else(|| SharedHttpClient::new(ByScheme::new()));
        Self { options, http, clients: Mutex::default() }
    }

    /// As [`Connect::connect`], with the type known.
    pub(super) async fn security_groups(&self, target: &Target) -> Result<Arc<SecurityGroups>, Failure> {
        let key = &target.key;
        if key.provider != PROVIDER || key.kind != SECURITY_GROUP {
            let message =
                format!("connect to {key}: \"{}\" of \"{}\" is not a firewall that eg knows", key.kind, key.provider);
            return Err(Failure::new(FailureClass::Invalid, message));
        }
        check_endpoints(target)?;
        let way = Way::of(target);
        let mut clients = self.clients.lock().await;
        if let Some(known) = clients.get(&way) {
            return Ok(known.clone());
        }
        if self.options.credentials.is_none() {
            check_profile(way.profile.as_deref(), &way.places()).await?;
        }
        let made = Arc::new(self.make(&way).await);
        clients.insert(way, made.clone());
        Ok(made)
    }

    fn timeouts(&self) -> TimeoutConfig {
        TimeoutConfig::builder()
            .connect_timeout(self.options.connect_timeout)
            .read_timeout(self.options.call_timeout)
            .operation_attempt_timeout(self.options.call_timeout)
            .operation_timeout(self.options.call_timeout)
            .build()
    }

    async fn make(&self, way: &Way) -> SecurityGroups {
        let files = renewal::LoginFiles {
            way_files: files(way.config_file.as_deref(), way.credentials_file.as_deref()),
            profile: way.profile.clone(),
            home: self.options.home.clone(),
            login_cache: self.options.login_cache.clone(),
        };
        let region = Region::new(way.region.clone());
        let clock = SigningClock::new(self.options.now.clone());
        let http = SharedHttpClient::new(Listening { client: self.http.clone(), clock: clock.clone() });
        let (loaded, source) = self.load(way, &region, &http, &clock).await;

        let plain = self.plain(way, region, http, &loaded);

        let source = match self.options.credentials {
            Some(_) => source,
            None => SharedCredentialsProvider::new(Explained::new(source, way.profile.clone(), way.places())),
        };
        let credentials = match &way.role_arn {
            None => source.clone(),
            Some(role) => {
                let mut builder =
                    AssumeRoleProvider::builder(role).configure(&plain).session_name(session_name(&self.options.user));
                if let Some(id) = &way.external_id {
                    builder = builder.external_id(id);
                }
                SharedCredentialsProvider::new(builder.build_from_provider(source.clone()).await)
            }
        };
        // One cache for all clients. Slow credentials are reported as such, before the call's own time is up.
        let cache = IdentityCache::lazy().load_timeout(self.options.call_timeout.mul_f32(0.8)).build();
        let config = plain.clone().into_builder().credentials_provider(credentials).identity_cache(cache).build();
        let (mut ec2, sts) = (aws_sdk_ec2::config::Builder::from(&config), aws_sdk_sts::config::Builder::from(&config));
        ec2.set_endpoint_url(way.endpoint.clone());
        let mut unsigned = aws_sdk_ec2::config::Builder::from(&plain);
        unsigned.set_endpoint_url(way.endpoint.clone());
        // Its answers are JSON, and JSON that is cut off does not parse.
        let scheduler = aws_sdk_scheduler::config::Builder::from(&config);
        let iam = aws_sdk_iam::config::Builder::from(&config);
        let in_time = InTime::new(&self.options);
        let (ec2, sts) = (ec2.interceptor(in_time.clone()), sts.interceptor(in_time.clone()));
        SecurityGroups {
            ec2: aws_sdk_ec2::Client::from_conf(ec2.interceptor(WholeAnswers).build()),
            sts: aws_sdk_sts::Client::from_conf(sts.interceptor(WholeAnswers).build()),
            scheduler: aws_sdk_scheduler::Client::from_conf(scheduler.interceptor(in_time.clone()).build()),
            iam: aws_sdk_iam::Client::from_conf(iam.interceptor(in_time).interceptor(WholeAnswers).build()),
            unsigned: unsigned.allow_no_auth().build(),
            clock,
            now: self.options.now.clone(),
            source,
            renewal: files,
            call_timeout: self.options.call_timeout,
            caller: OnceCell::new(),
        }
    }

    /// A configuration of our own, without credentials: the loaded one carries what the environment says about endpoints.
    fn plain(&self, way: &Way, region: Region, http: SharedHttpClient, loaded: &SdkConfig) -> SdkConfig {
        let mut config = SdkConfig::builder();
        config
            .set_region(region)
            .set_endpoint_url(way.others().cloned())
            .set_use_fips(loaded.use_fips())
            .set_use_dual_stack(loaded.use_dual_stack())
            .set_sleep_impl(loaded.sleep_impl())
            .set_time_source(loaded.time_source())
            .set_http_client(Some(http))
            .set_disable_clock_skew_correction(Some(true))
            .set_behavior_version(Some(behavior()))
            .set_app_name(AppName::new("eg").ok())
            .set_retry_config(Some(RetryConfig::disabled()))
            .set_timeout_config(Some(self.timeouts()))
            .set_stalled_stream_protection(Some(StalledStreamProtectionConfig::disabled()));
        config.build()
    }

    /// The SDK's own look at the environment and the profile files (credentials, FIPS, dual stack), and the credentials
    /// before any role of the way's own is assumed.
    async fn load(
        &self,
        way: &Way,
        region: &Region,
        http: &SharedHttpClient,
        clock: &SigningClock,
    ) -> (SdkConfig, SharedCredentialsProvider) {
        let mut loader: ConfigLoader = aws_config::defaults(behavior())
            .region(region.clone())
            .http_client(http.clone())
            .time_source(clock.clone())
            .disable_clock_skew_correction(true)
            .retry_config(RetryConfig::disabled())
            .timeout_config(self.timeouts())
            .profile_files(files(way.config_file.as_deref(), way.credentials_file.as_deref()));
        if let Some(profile) = &way.profile {
            loader = loader.profile_name(profile);
        }
        if let Some(given) = &self.options.credentials {
            return (loader.credentials_provider(NoCredentials).load().await, given.clone());
        }
        if let Some(chain) = process_chain(way).await {
            let loaded = loader.credentials_provider(NoCredentials).load().await;
            let source = by_process(chain, &loaded).await;
            return (loaded, source);
        }
        if let Some(profile) = &way.profile {
            let config = ProviderConfig::without_region()
                .with_region(Some(region.clone()))
                .with_behavior_version(Some(behavior()))
                .with_retry_config(RetryConfig::disabled())
                .with_timeout_config(self.timeouts())
                .with_time_source(clock.clone())
                .with_http_client(http.clone());
            let alone = ProfileFileCredentialsProvider::builder()
                .configure(&config)
                .profile_name(profile)
                .profile_files(files(way.config_file.as_deref(), way.credentials_file.as_deref()))
                .build();
            loader = loader.credentials_provider(alone);
        }
        let loaded = loader.load().await;
        let source = loaded.credentials_provider().unwrap_or_else(|| SharedCredentialsProvider::new(NoCredentials));
        (loaded, source)
    }
}

/// The process that the credentials of a way come from, if they come from one. Without a profile, keys of the
/// environment come first, as in the standard chain.
async fn process_chain(way: &Way) -> Option<Chain> {
    if way.profile.is_none() && EnvironmentVariableCredentialsProvider::new().provide_credentials().await.is_ok() {
        return None;
    }
    let files = files(way.config_file.as_deref(), way.credentials_file.as_deref());
    let selected = way.profile.clone().map(Cow::Owned);
    // Files that cannot be read are the SDK's to complain of.
    process::chain(&aws_config::profile::load(&Fs::real(), &Env::real(), &files, selected).await.ok()?)
}

/// The credentials of a process, and of the roles that a profile assumes with them. STS is asked where the SDK says, as
/// for every profile.
async fn by_process(chain: Chain, loaded: &SdkConfig) -> SharedCredentialsProvider {
    let mut source = SharedCredentialsProvider::new(chain.process);
    for role in chain.roles {
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

#[async_trait]
impl Connect for Aws {
    async fn connect(&self, target: &Target) -> Result<Arc<dyn Firewall>, Failure> {
        let found = self.security_groups(target).await?;
        Ok(found)
    }

    async fn profile_region(&self, target: &Target) -> Option<String> {
        let way = Way::of(target);
        let name = way.profile.clone().unwrap_or_else(|| DEFAULT_PROFILE.to_owned());
        let found = ProfileFileRegionProvider::builder()
            .profile_files(files(way.config_file.as_deref(), way.credentials_file.as_deref()))
            .profile_name(name)
            .build();
        found.region().await.map(|region| region.to_string())
    }
}

/// The files that hold profiles: those of the snapshot, else where the SDK looks by itself. A file that is named and is
/// not there is empty, as for the AWS CLI; the SDK takes it for a mistake.
#[expect(deprecated, reason = "aliases of aws_runtime's types; a dependency on that crate would say no more")]
pub(super) fn files(
    config_file: Option<&str>,
    credentials_file: Option<&str>,
) -> aws_config::profile::profile_file::ProfileFiles {
    use aws_config::profile::profile_file::{ProfileFileKind, ProfileFiles};
    let mut files = ProfileFiles::builder()
        .include_default_config_file(config_file.is_none())
        .include_default_credentials_file(credentials_file.is_none());
    let absent = |path: &str| std::fs::metadata(path).is_err_and(|error| error.kind() == ErrorKind::NotFound);
    for (kind, path) in [(ProfileFileKind::Config, config_file), (ProfileFileKind::Credentials, credentials_file)] {
        files = match path {
            None => files,
            Some(path) if absent(path) => files.with_contents(kind, ""),
            Some(path) => files.with_file(kind, path),
        };
    }
    files.build()
}

/// Whether a target's endpoints are fit to be spoken to. Asks nobody.
///
/// # Errors
/// One is no URL, or would be spoken to in plain text over a network.
pub fn check_endpoints(target: &Target) -> Result<(), Failure> {
    let way = Way::of(target);
    way.endpoint.iter().chain(way.others()).try_for_each(|endpoint| check_endpoint(endpoint))
}

/// Requests carry rules, tags and signatures: in plain text they stay on this machine.
fn check_endpoint(endpoint: &str) -> Result<(), Failure> {
    let refused = |why: &str| {
        let shown = endpoint.rsplit_once('@').map_or(endpoint, |(_, host)| host);
        Failure::new(FailureClass::Invalid, format!("connect to the endpoint \"{shown}\": {why}"))
    };
    let uri: http::Uri = endpoint.parse().map_err(|_| refused("it is not a URL"))?;
    let host = uri.host().ok_or_else(|| refused("it names no host"))?;
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let loopback = bare.eq_ignore_ascii_case("localhost") || bare.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
    match uri.scheme_str() {
        Some("https") => Ok(()),
        Some("http") if loopback => Ok(()),
        Some("http") => Err(refused("plain http is used for loopback addresses only; use https")),
        _ => Err(refused("it must begin with https:// (or http:// for a loopback address)")),
    }
}

/// Stands in when the SDK knows of no credentials at all.
#[derive(Debug)]
struct NoCredentials;

impl aws_credential_types::provider::ProvideCredentials for NoCredentials {
    fn provide_credentials<'a>(&'a self) -> aws_credential_types::provider::future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        let none = aws_credential_types::provider::error::CredentialsError::not_loaded("no credentials were found");
        aws_credential_types::provider::future::ProvideCredentials::ready(Err(none))
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    #[expect(deprecated, reason = "as for `files`")]
    pub(in crate::aws) fn profile_files(config: &str) -> aws_config::profile::profile_file::ProfileFiles {
        use aws_config::profile::profile_file::{ProfileFileKind, ProfileFiles};
        ProfileFiles::builder().with_contents(ProfileFileKind::Config, config).build()
    }

    #[test]
    fn plain_http_stays_on_this_machine() {
        for fine in [
            "https://ec2.eu-west-1.amazonaws.com",
            "http://127.0.0.1:5000",
            "http://localhost:4566",
            "http://[::1]:1/",
            "https://10.0.0.1",
            "http://127.8.9.1",
        ] {
            assert_eq!(check_endpoint(fine), Ok(()), "{fine}");
        }
        for bad in [
            "http://10.0.0.1",
            "http://example.com",
            "http://localhost@example.com",
            "http://localhost.example.com",
            "ftp://localhost",
            "localhost:4566",
            "",
            "/x",
            "http://",
            "http://[::2]",
        ] {
            assert_eq!(check_endpoint(bad).map_err(|failure| failure.class), Err(FailureClass::Invalid), "{bad}");
        }
        let secret = check_endpoint("http://user:hunter2@example.com").unwrap_err();
        assert!(!secret.message.contains("hunter2"), "{secret}");
    }
}
