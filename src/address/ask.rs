//! Asks echo services of different operators for the user's addresses, all at once.

use crate::{address::reasons::CANNOT_CONNECT, host::env::AddressRule};
use eg_config::settings::Detect;
use eg_model::{
    failure::FailureClass,
    net::{
        address::IpVersion,
        agree::{EchoAnswer, FamilyOutcome, decide, judge, parse_answer},
    },
};
use eg_providers::aws::trusted_certificates;
use futures_util::stream::{FuturesUnordered, StreamExt};
use reqwest::{Client, ClientBuilder, Response, StatusCode, Url, redirect::Policy};
use std::{
    error::Error,
    future::Future,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    time::Duration,
};

/// The longest that everything together takes, whatever the services do.
const OVERALL: Duration = Duration::from_secs(5);

/// An answer is one address; anything longer than this is something else.
const LARGEST_BODY: usize = 1024;

/// Something for each family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EachFamily<T> {
    pub v4: T,
    pub v6: T,
}

/// The families to ask for.
pub type Families = EachFamily<bool>;
pub type Detected = EachFamily<FamilyOutcome>;
/// Both families, with every answer.
pub type Survey = EachFamily<FamilySurvey>;

/// One family, with every answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FamilySurvey {
    pub outcome: FamilyOutcome,
    /// The answer of each service, in the order of the configuration.
    pub answers: Vec<EchoAnswer>,
}

/// Asks the services of the wanted families, both at once. Each request leaves from a socket of its family, takes no
/// proxy unless `use_proxy`, follows no redirect (a captive portal redirects) and reads 1 KiB at most. Returns as soon
/// as enough equal answers are there, after 5 seconds at the latest.
///
/// A name look-up that hangs goes on in tokio's blocking pool: shut the runtime down with `shutdown_background`.
pub async fn detect(families: Families, settings: &Detect, acceptable: AddressRule) -> Detected {
    let Survey { v4, v6 } = ask_families(families, settings, acceptable, Some(settings.agree)).await;
    Detected { v4: v4.outcome, v6: v6.outcome }
}

/// The same, but waits for the answer of every service, for people who want to see them all.
pub async fn survey(families: Families, settings: &Detect, acceptable: AddressRule) -> Survey {
    ask_families(families, settings, acceptable, None).await
}

/// Waits for `enough` equal answers of each family; `None`: for every service.
async fn ask_families(families: Families, settings: &Detect, acceptable: AddressRule, enough: Option<usize>) -> Survey {
    let family = |wanted: bool, version| {
        let services = if wanted { settings.services(version) } else { &[] };
        ask_family(version, services, settings, &acceptable, enough)
    };
    let both = futures_util::future::join(family(families.v4, IpVersion::V4), family(families.v6, IpVersion::V6));
    let (v4, v6) = both.await;
    Survey { v4, v6 }
}

async fn ask_family(
    version: IpVersion,
    services: &[Url],
    settings: &Detect,
    acceptable: &AddressRule,
    enough: Option<usize>,
) -> FamilySurvey {
    if services.is_empty() {
        return FamilySurvey { outcome: FamilyOutcome::NotAsked, answers: Vec::new() };
    }
    let clients = FamilyClients::new(version, settings, services);
    let mut answers = collect(services, enough, |url| ask(&clients, url, version, settings.timeout)).await;
    answers.sort_by_key(|(service, _)| services.iter().position(|url| url.as_str() == service));
    let outcome = judge(decide(&answers, settings.agree), &**acceptable);
    FamilySurvey { outcome, answers }
}

/// Asks every service at once, until `enough` of them agree, all have answered or the time is up. Slower requests are
/// then dropped.
pub async fn collect<'a, F>(services: &'a [Url], enough: Option<usize>, ask: impl Fn(&'a Url) -> F) -> Vec<EchoAnswer>
where
    F: Future<Output = Result<IpAddr, String>>,
{
    let deadline = tokio::time::Instant::now() + OVERALL;
    let question = |url| {
        let answer = ask(url);
        async move { (url.to_string(), answer.await) }
    };
    let mut pending: FuturesUnordered<_> = services.iter().map(question).collect();
    let mut answers: Vec<EchoAnswer> = Vec::new();
    while let Ok(Some(answer)) = tokio::time::timeout_at(deadline, pending.next()).await {
        answers.push(answer);
        if enough.is_some_and(|agree| matches!(decide(&answers, agree), FamilyOutcome::Agreed { .. })) {
            return answers;
        }
    }
    let silent = services.iter().filter(|url| answers.iter().all(|(known, _)| known != url.as_str()));
    let late: Vec<EchoAnswer> = silent.map(|url| (url.to_string(), Err(no_answer(OVERALL)))).collect();
    answers.extend(late);
    answers
}

fn no_answer(within: Duration) -> String {
    format!("no answer within {} s", within.as_secs())
}

/// HTTP clients whose every connection is of one family.
struct FamilyClients {
    /// For plain http, which goes to this machine alone and uses no certificate.
    plain: Result<Client, String>,
    /// For https; absent if no service takes it.
    trusting: Option<Result<Client, String>>,
}

impl FamilyClients {
    fn new(version: IpVersion, settings: &Detect, services: &[Url]) -> Self {
        let plain = builder(version, settings).tls_certs_only(std::iter::empty()).build();
        let trusting = services.iter().any(is_https).then(|| {
            builder(version, settings).build().map_err(|error| match trusted_certificates() {
                Err(none) => format!("{none}; {}", crate::error::advice(FailureClass::Local)),
                Ok(_) => cannot_be_asked(&error),
            })
        });
        Self { plain: plain.map_err(|error| cannot_be_asked(&error)), trusting }
    }

    fn for_service(&self, url: &Url) -> Result<&Client, String> {
        let client = self.trusting.as_ref().filter(|_| is_https(url)).unwrap_or(&self.plain);
        client.as_ref().map_err(Clone::clone)
    }
}

fn is_https(url: &Url) -> bool {
    url.scheme() == "https"
}

/// A socket bound to the unspecified address of a family cannot reach the other one.
fn builder(version: IpVersion, settings: &Detect) -> ClientBuilder {
    let local: IpAddr = match version {
        IpVersion::V4 => Ipv4Addr::UNSPECIFIED.into(),
        IpVersion::V6 => Ipv6Addr::UNSPECIFIED.into(),
    };
    let builder = Client::builder()
        .local_address(local)
        .redirect(Policy::none())
        .pool_max_idle_per_host(0)
        .user_agent(concat!("eg/", env!("CARGO_PKG_VERSION")));
    // Unless told otherwise, reqwest takes proxies from the environment.
    if settings.use_proxy { builder } else { builder.no_proxy() }
}

fn cannot_be_asked(error: &reqwest::Error) -> String {
    format!("cannot be asked: {}", root_cause(error))
}

async fn ask(clients: &FamilyClients, url: &Url, version: IpVersion, timeout: Duration) -> Result<IpAddr, String> {
    let failed = |error: reqwest::Error| match error {
        late if late.is_timeout() => no_answer(timeout),
        error if error.is_connect() => format!("{CANNOT_CONNECT}{}", root_cause(&error)),
        error => root_cause(&error),
    };
    let client = clients.for_service(url)?;
    let mut response = client.get(url.clone()).timeout(timeout).send().await.map_err(failed)?;
    check_status(&response)?;
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(failed)? {
        body.extend_from_slice(&chunk);
        if body.len() > LARGEST_BODY {
            return Err(format!("answered more than {LARGEST_BODY} bytes"));
        }
    }
    parse_answer(&body, version)
}

fn check_status(response: &Response) -> Result<(), String> {
    match response.status() {
        StatusCode::OK => Ok(()),
        status if status.is_redirection() => Err(format!("answered {status}: does this network ask you to sign in?")),
        status => Err(format!("answered {status}")),
    }
}

/// The innermost error: the outer ones repeat the URL and say "error sending request".
fn root_cause(error: &(dyn Error + 'static)) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}
