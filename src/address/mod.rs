//! Finding the user's own addresses: several echo services of different operators, asked at once, have to agree, so
//! that no single service can put an address of its choosing into a firewall.

use crate::{
    config::settings::Detect,
    error::{CommandError, Kind},
    host::env::Env,
    text::escape_controls,
};
use eg_model::{
    failure::FailureClass,
    net::address::{IpVersion, special_block},
};
use eg_providers::aws::trusted_certificates;
use futures_util::stream::{FuturesUnordered, StreamExt};
use reqwest::{Client, ClientBuilder, Response, StatusCode, Url, redirect::Policy};
use std::{
    error::Error,
    future::Future,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::Arc,
    time::Duration,
};

/// Everything together takes no longer than this, whatever the services do.
const OVERALL: Duration = Duration::from_secs(5);

/// An answer is one address; anything longer than 1 KiB is something else.
const LARGEST_BODY: usize = 1024;

/// How much of an answer that is not an address is shown, in characters.
const EXCERPT: usize = 40;

/// Which addresses an agreed one may be: in earnest [`eg_model::net::address::is_globally_routable`].
pub type Acceptable = Arc<dyn Fn(IpAddr) -> bool + Send + Sync>;

/// Which families to ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Families {
    pub v4: bool,
    pub v6: bool,
}

/// What one service said: its URL, and an address or why there is none.
pub type EchoAnswer = (String, Result<IpAddr, String>);

/// What came of both families.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Detected {
    pub v4: FamilyOutcome,
    pub v6: FamilyOutcome,
}

/// What came of asking for one family.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FamilyOutcome {
    /// The family was not wanted, or the configuration lists no service for it.
    NotAsked,
    /// Enough services said the same.
    Agreed {
        address: IpAddr,
        /// Their URLs, in the order of their answers.
        by: Vec<String>,
    },
    /// They said the same, but it is no address to open a firewall to.
    NotRoutable {
        address: IpAddr,
        /// Their URLs, in the order of their answers.
        by: Vec<String>,
        /// Why it is refused, for the user.
        message: String,
    },
    /// There are different addresses, and none has enough voices: the whole start is refused, showing each answer.
    Disagree { answers: Vec<EchoAnswer> },
    /// Too few answers: the family is left out, with a warning.
    NotAgreed {
        /// Why each service does not count, or what the lonely one said; one line each.
        reasons: Vec<String>,
    },
}

/// Asks the services of the wanted families, both at once. Each request leaves from a socket of its family, takes no
/// proxy unless `use_proxy`, follows no redirect (a captive portal redirects) and reads 1 KiB at most. Returns as soon
/// as enough equal answers are there, after 5 seconds at the latest.
///
/// A name look-up that hangs goes on in tokio's blocking pool: shut the runtime down with `shutdown_background`.
pub async fn detect(families: Families, settings: &Detect, acceptable: Acceptable) -> Detected {
    let surveyed = ask_families(families, settings, acceptable, WaitFor::UntilAgreed).await;
    Detected { v4: surveyed.v4.outcome, v6: surveyed.v6.outcome }
}

/// The same, but waits for every service's answer, for people who want to see them all.
pub async fn survey(families: Families, settings: &Detect, acceptable: Acceptable) -> Survey {
    ask_families(families, settings, acceptable, WaitFor::ForAll).await
}

/// Where a proxy may stand.
const PROXIES: [&str; 6] = ["HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"];

/// What to do where nothing was found and the environment names a proxy, past which the services were asked.
#[must_use]
pub fn proxy_hint(env: &Env, settings: &Detect) -> Option<String> {
    let proxy = PROXIES.into_iter().find(|name| env.var(name).is_some()).filter(|_| !settings.use_proxy)?;
    Some(format!(
        "{proxy} is set, and services are asked past it; if firewalls see you with that proxy's address, put this into \
         the configuration: [detect] use_proxy = true"
    ))
}

/// Why there is nothing to ask about a family, if no service is configured for it.
#[must_use]
pub fn never_detected(settings: &Detect, version: IpVersion) -> Option<String> {
    let key = format!("ipv{}", version.number());
    settings.services(version).is_empty().then(|| format!("{version} is left out by `[detect] {key} = []`"))
}

/// Refuses to detect where no family is left to ask about: both are, or the one that `-4` or `-6` leaves.
///
/// # Errors
/// The obstacle of each of them. What the arguments leave is their fault; what is left of both families, the
/// configuration's.
pub fn check_asked(
    [only_v4, only_v6]: [bool; 2],
    obstacle: impl Fn(IpVersion) -> Option<String>,
) -> Result<(), CommandError> {
    let asked: &[IpVersion] = match (only_v4, only_v6) {
        (true, _) => &[IpVersion::V4],
        (_, true) => &[IpVersion::V6],
        (false, false) => &[IpVersion::V4, IpVersion::V6],
    };
    let obstacles: Option<Vec<String>> = asked.iter().map(|version| obstacle(*version)).collect();
    let Some(obstacles) = obstacles else { return Ok(()) };
    let kind = if only_v4 || only_v6 { Kind::Usage } else { Kind::Config };
    let message = format!("there is no address to detect: {}", obstacles.join("; "));
    let hint = "see `[detect]` and `families` in the configuration, or name the address with --ipv4 or --ipv6";
    Err(CommandError::new(kind, message).hint(hint))
}

/// Both families, with every answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Survey {
    pub v4: FamilySurvey,
    pub v6: FamilySurvey,
}

/// One family, with every answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FamilySurvey {
    pub outcome: FamilyOutcome,
    /// What each service said, in the order of the configuration.
    pub answers: Vec<EchoAnswer>,
}

/// How long to wait for the slow ones.
#[derive(Clone, Copy, PartialEq, Eq)]
enum WaitFor {
    UntilAgreed,
    ForAll,
}

async fn ask_families(families: Families, settings: &Detect, acceptable: Acceptable, patience: WaitFor) -> Survey {
    let family = |wanted: bool, version, services| {
        let services: &[Url] = if wanted { services } else { &[] };
        ask_family(version, services, settings, &acceptable, patience)
    };
    let v4 = family(families.v4, IpVersion::V4, &settings.ipv4);
    let v6 = family(families.v6, IpVersion::V6, &settings.ipv6);
    let (v4, v6) = futures_util::future::join(v4, v6).await;
    Survey { v4, v6 }
}

async fn ask_family(
    version: IpVersion,
    services: &[Url],
    settings: &Detect,
    acceptable: &Acceptable,
    patience: WaitFor,
) -> FamilySurvey {
    if services.is_empty() {
        return FamilySurvey { outcome: FamilyOutcome::NotAsked, answers: Vec::new() };
    }
    let enough = match patience {
        WaitFor::UntilAgreed => Some(settings.agree),
        WaitFor::ForAll => None,
    };
    let clients = FamilyClients::new(version, settings, services);
    let mut answers = collect(services, enough, |url| ask(&clients, url, version, settings.timeout)).await;
    let outcome = judge(decide(&answers, settings.agree), acceptable);
    answers.sort_by_key(|(service, _)| services.iter().position(|url| url.as_str() == service));
    FamilySurvey { outcome, answers }
}

fn judge(outcome: FamilyOutcome, acceptable: &Acceptable) -> FamilyOutcome {
    match outcome {
        FamilyOutcome::Agreed { address, by } if !acceptable(address) => {
            let block = special_block(address).map_or(String::new(), |block| format!(": it is in {block}"));
            let message = format!("{address} is not an address on the Internet{block}");
            FamilyOutcome::NotRoutable { address, by, message }
        }
        other => other,
    }
}

/// What the answers so far amount to, in their order. An answer counts once per service; failures never count.
///
/// | addresses | outcome |
/// |---|---|
/// | one address said by `agree` services or more, every other by fewer | Agreed |
/// | two or more addresses said by `agree` or more each | Disagree |
/// | different ones, none said by `agree` | Disagree |
/// | none, or one address said by fewer than `agree` | NotAgreed |
///
/// With the usual `agree` of 2, "said by fewer" is a single answer.
#[must_use]
pub fn decide(answers: &[EchoAnswer], agree: usize) -> FamilyOutcome {
    let mut camps: Vec<(IpAddr, Vec<String>)> = Vec::new();
    for (service, answer) in answers {
        let Ok(address) = answer else { continue };
        match camps.iter_mut().find(|(known, _)| known == address) {
            Some((_, by)) => by.push(service.clone()),
            None => camps.push((*address, vec![service.clone()])),
        }
    }
    let mut enough = camps.iter().filter(|(_, by)| by.len() >= agree);
    match (enough.next(), enough.next()) {
        (Some((address, by)), None) => FamilyOutcome::Agreed { address: *address, by: by.clone() },
        (None, _) if camps.len() < 2 => FamilyOutcome::NotAgreed { reasons: answers.iter().map(describe).collect() },
        _ => FamilyOutcome::Disagree { answers: answers.to_vec() },
    }
}

/// One answer as a line for people: `https://api.ipify.org/: 203.0.113.42`.
#[must_use]
pub fn describe((service, answer): &EchoAnswer) -> String {
    match answer {
        Ok(address) => format!("{service}: {address}"),
        Err(why) => format!("{service}: {why}"),
    }
}

/// Asks every service at once, until as many as `enough` of them agree, all have answered or the time is up. The slow
/// ones are then dropped.
async fn collect<'a, F>(services: &'a [Url], enough: Option<usize>, ask: impl Fn(&'a Url) -> F) -> Vec<EchoAnswer>
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

/// FamilyClients whose every connection is of one family.
struct FamilyClients {
    /// For plain http, which goes to this machine alone: no certificate has a part in it.
    plain: Result<Client, String>,
    /// For https; absent where no service takes it.
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
        error if error.is_connect() => format!("cannot connect: {}", root_cause(&error)),
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

/// The address in an echo service's answer: all of it, but for white space around, has to be one of the family.
///
/// # Errors
/// What was answered instead, the start of it, fit to be shown.
pub fn parse_answer(body: &[u8], version: IpVersion) -> Result<IpAddr, String> {
    let text = String::from_utf8_lossy(body);
    let address = text.trim().parse::<IpAddr>().ok();
    let mapped = |address: IpAddr| matches!(address, IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some());
    let fits = |address: &IpAddr| IpVersion::of(*address) == version && !mapped(*address);
    address
        .filter(fits)
        .ok_or_else(|| format!("answered something that is not an {version} address: \"{}\"", excerpt(&text)))
}

fn excerpt(text: &str) -> String {
    let text = text.trim();
    let start: String = text.chars().take(EXCERPT).collect();
    let rest = if start.len() < text.len() { "…" } else { "" };
    escape_controls(&format!("{start}{rest}"))
}

/// The innermost error: the outer ones repeat the URL and say "error sending request".
fn root_cause(error: &(dyn Error + 'static)) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests;
