//! The connector: makes one client for each route.

use crate::{
    CallObserver,
    aws::{
        client::Client,
        credentials::{
            files::ProfileFilePaths,
            process,
            provider::{Explained, check_profile},
            renewal::LoginFiles,
        },
        endpoint::{check_endpoints, of_other_services},
        errors::whole::WholeAnswers,
        ip_set::IpSets,
        prefix_list::PrefixLists,
        security_group::SecurityGroups,
        text::session_name,
        wire::{
            clock::{Clock, Listening, SigningClock},
            http::ByScheme,
            in_time::InTime,
        },
    },
};
use aws_config::{
    AppName, BehaviorVersion, ConfigLoader, Region, identity::IdentityCache, profile::ProfileFileCredentialsProvider,
    provider_config::ProviderConfig, retry::RetryConfig, stalled_stream_protection::StalledStreamProtectionConfig,
    sts::AssumeRoleProvider, timeout::TimeoutConfig,
};
use aws_credential_types::{
    credential_fn::provide_credentials_fn,
    provider::{SharedCredentialsProvider, error::CredentialsError},
};
use aws_smithy_runtime_api::client::http::SharedHttpClient;
use aws_types::SdkConfig;
use eg_model::{failure::Failure, target::Target};
use std::{collections::BTreeMap, path::PathBuf, sync::Arc, time::Duration};
use tokio::sync::{Mutex, OnceCell};

/// The SDK's defaults are frozen at this version, so that an update of the SDK does not change how `eg` behaves.
fn behavior() -> BehaviorVersion {
    BehaviorVersion::v2026_01_12()
}

#[derive(Clone)]
pub struct Options {
    /// The local clock; stamps readings, and signs until the provider has told its own time.
    pub now: Clock,
    /// The user of `eg`; names role sessions.
    pub user: String,
    /// The home directory, where SSO keeps its tokens. Without it, the end of SSO credentials is not known.
    pub home: Option<PathBuf>,
    /// The place of `aws login`'s tokens (`AWS_LOGIN_CACHE_DIRECTORY`), if not in the home directory.
    pub login_cache: Option<PathBuf>,
    /// The longest to wait for a connection.
    pub connect_timeout: Duration,
    /// The longest that one call may take, connection, credentials and answer included.
    pub call_timeout: Duration,
    pub observer: Arc<dyn CallObserver>,
    /// Instead of the real HTTP client; for tests.
    pub http_client: Option<SharedHttpClient>,
    /// Instead of the standard chain, the profile's provider included; for tests. A role is assumed on top.
    pub credentials: Option<SharedCredentialsProvider>,
}

impl Options {
    /// Connect in 3 s, answer in 10 s, the real HTTP client, the SDK's credentials.
    pub fn new(now: Clock, user: impl Into<String>) -> Self {
        Self {
            now,
            user: user.into(),
            home: None,
            login_cache: None,
            connect_timeout: Duration::from_secs(3),
            call_timeout: Duration::from_secs(10),
            observer: Arc::new(()),
            http_client: None,
            credentials: None,
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
    clients: Mutex<BTreeMap<Target, Arc<Client>>>,
}

impl Aws {
    /// Without any client yet; no I/O.
    pub fn new(options: Options) -> Self {
        let http = options.http_client.clone().unwrap_or_else(|| SharedHttpClient::new(ByScheme::new()));
        Self { options, http, clients: Mutex::default() }
    }

    /// The security groups of a target's account and region, reached by its route.
    ///
    /// # Errors
    /// An endpoint is not fit to be spoken to, or the profile does not exist.
    pub async fn security_groups(&self, target: &Target) -> Result<Arc<SecurityGroups>, Failure> {
        Ok(Arc::new(SecurityGroups { client: self.client(target).await? }))
    }

    /// The managed prefix lists of a target's account and region, reached by its route.
    ///
    /// # Errors
    /// As for [`Aws::security_groups`].
    pub async fn prefix_lists(&self, target: &Target) -> Result<Arc<PrefixLists>, Failure> {
        Ok(Arc::new(PrefixLists { client: self.client(target).await? }))
    }

    /// The WAF IP sets of a target's account and region, reached by its route.
    ///
    /// # Errors
    /// As for [`Aws::security_groups`].
    pub async fn ip_sets(&self, target: &Target) -> Result<Arc<IpSets>, Failure> {
        Ok(Arc::new(IpSets { client: self.client(target).await? }))
    }

    /// The client of a route. Kinds share it: credentials are loaded once, and one clock signs.
    async fn client(&self, target: &Target) -> Result<Arc<Client>, Failure> {
        check_endpoints(target)?;
        let mut key = target.regional();
        key.key.kind.clear();
        let mut clients = self.clients.lock().await;
        if let Some(known) = clients.get(&key) {
            return Ok(known.clone());
        }
        if self.options.credentials.is_none() {
            check_profile(key.route.profile.as_deref(), &ProfileFilePaths::of(&key.route)).await?;
        }
        let made = Arc::new(self.make(&key).await);
        clients.insert(key, made.clone());
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

    async fn make(&self, target: &Target) -> Client {
        let clock = SigningClock::new(self.options.now.clone());
        let http = SharedHttpClient::new(Listening { client: self.http.clone(), clock: clock.clone() });
        let (route, files) = (&target.route, ProfileFilePaths::of(&target.route));
        let (loaded, source) = self.load(target, &files, &http, &clock).await;
        let plain = self.plain(target, http, &loaded);
        let source = match self.options.credentials {
            Some(_) => source,
            None => SharedCredentialsProvider::new(Explained::new(source, route.profile.clone(), files.clone())),
        };
        let credentials = match &route.role_arn {
            None => source.clone(),
            Some(role) => {
                let mut builder =
                    AssumeRoleProvider::builder(role).configure(&plain).session_name(session_name(&self.options.user));
                if let Some(id) = &route.external_id {
                    builder = builder.external_id(id);
                }
                SharedCredentialsProvider::new(builder.build_from_provider(source.clone()).await)
            }
        };
        // One cache for all clients. Slow credentials are reported as such, before the call's own time is up.
        let cache = IdentityCache::lazy().load_timeout(self.options.call_timeout.mul_f32(0.8)).build();
        let config = plain.clone().into_builder().credentials_provider(credentials).identity_cache(cache).build();
        let (mut ec2, sts) = (aws_sdk_ec2::config::Builder::from(&config), aws_sdk_sts::config::Builder::from(&config));
        ec2.set_endpoint_url(target.key.endpoint.clone());
        let mut unsigned = aws_sdk_ec2::config::Builder::from(&plain);
        unsigned.set_endpoint_url(target.key.endpoint.clone());
        // The scheduler and WAF answer in JSON, and JSON that is cut off does not parse.
        let scheduler = aws_sdk_scheduler::config::Builder::from(&config);
        let iam = aws_sdk_iam::config::Builder::from(&config);
        let mut wafv2 = aws_sdk_wafv2::config::Builder::from(&config);
        wafv2.set_endpoint_url(target.key.endpoint.clone());
        let in_time = InTime::new(self.options.now.clone(), self.options.observer.clone());
        let (ec2, sts) = (ec2.interceptor(in_time.clone()), sts.interceptor(in_time.clone()));
        Client {
            ec2: aws_sdk_ec2::Client::from_conf(ec2.interceptor(WholeAnswers).build()),
            sts: aws_sdk_sts::Client::from_conf(sts.interceptor(WholeAnswers).build()),
            scheduler: aws_sdk_scheduler::Client::from_conf(scheduler.interceptor(in_time.clone()).build()),
            iam: aws_sdk_iam::Client::from_conf(iam.interceptor(in_time.clone()).interceptor(WholeAnswers).build()),
            wafv2: aws_sdk_wafv2::Client::from_conf(wafv2.interceptor(in_time).build()),
            waf_write: Mutex::default(),
            unsigned: unsigned.allow_no_auth().build(),
            clock,
            now: self.options.now.clone(),
            observer: self.options.observer.clone(),
            source,
            login: LoginFiles {
                paths: files,
                profile: route.profile.clone(),
                home: self.options.home.clone(),
                login_cache: self.options.login_cache.clone(),
            },
            call_timeout: self.options.call_timeout,
            caller: OnceCell::new(),
        }
    }

    /// A configuration of our own, without credentials: the loaded one carries what the environment says about endpoints.
    fn plain(&self, target: &Target, http: SharedHttpClient, loaded: &SdkConfig) -> SdkConfig {
        let mut config = SdkConfig::builder();
        config
            .set_region(Region::new(target.key.region.clone()))
            .set_endpoint_url(of_other_services(target).cloned())
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
    /// before the route's own role is assumed.
    async fn load(
        &self,
        target: &Target,
        files: &ProfileFilePaths,
        http: &SharedHttpClient,
        clock: &SigningClock,
    ) -> (SdkConfig, SharedCredentialsProvider) {
        let region = Region::new(target.key.region.clone());
        let mut loader: ConfigLoader = aws_config::defaults(behavior())
            .region(region.clone())
            .http_client(http.clone())
            .time_source(clock.clone())
            .disable_clock_skew_correction(true)
            .retry_config(RetryConfig::disabled())
            .timeout_config(self.timeouts())
            .profile_files(files.to_sdk());
        if let Some(profile) = &target.route.profile {
            loader = loader.profile_name(profile);
        }
        if let Some(given) = &self.options.credentials {
            return (loader.credentials_provider(no_credentials()).load().await, given.clone());
        }
        if let Some(chain) = process::chain_of(target.route.profile.as_deref(), files).await {
            let loaded = loader.credentials_provider(no_credentials()).load().await;
            let source = chain.credentials(&loaded).await;
            return (loaded, source);
        }
        if let Some(profile) = &target.route.profile {
            let config = ProviderConfig::without_region()
                .with_region(Some(region))
                .with_behavior_version(Some(behavior()))
                .with_retry_config(RetryConfig::disabled())
                .with_timeout_config(self.timeouts())
                .with_time_source(clock.clone())
                .with_http_client(http.clone());
            let alone = ProfileFileCredentialsProvider::builder()
                .configure(&config)
                .profile_name(profile)
                .profile_files(files.to_sdk())
                .build();
            loader = loader.credentials_provider(alone);
        }
        let loaded = loader.load().await;
        let source = loaded.credentials_provider().unwrap_or_else(no_credentials);
        (loaded, source)
    }
}

/// Stands in where the SDK knows of no credentials at all.
fn no_credentials() -> SharedCredentialsProvider {
    SharedCredentialsProvider::new(provide_credentials_fn(|| async {
        Err(CredentialsError::not_loaded("no credentials were found"))
    }))
}
