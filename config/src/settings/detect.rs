//! `[detect]`: the services that tell the user's addresses.

use crate::toml::{SpannedError, TomlResult, TomlSection};
use eg_model::{net::address::IpVersion, time::duration::parse_seconds};
use std::{collections::BTreeSet, net::IpAddr, time::Duration};
use url::Url;

pub const KEYS: &[&str] = &["ipv4", "ipv6", "agree", "timeout", "use_proxy"];
const URLS: &str =
    "a list of https URLs of different hosts (plain http for loopback only), or [] to leave this family out";
const TIMEOUT: &str = "\"1s\" to \"5s\"";

/// Echo services of three different operators a family: ipify, icanhazip (Cloudflare), and AWS or ident.me.
const IPV4_SERVICES: [&str; 3] =
    ["https://api.ipify.org", "https://ipv4.icanhazip.com", "https://checkip.amazonaws.com"];
const IPV6_SERVICES: [&str; 3] = ["https://api6.ipify.org", "https://ipv6.icanhazip.com", "https://v6.ident.me"];

/// Detection of the user's addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Detect {
    /// The services asked for the IPv4 address; empty: that family is never detected.
    pub ipv4: Vec<Url>,
    /// The services asked for the IPv6 address; empty: that family is never detected.
    pub ipv6: Vec<Url>,
    /// The number of equal answers that make an address; at least 2.
    pub agree: usize,
    /// The longest that one request may take; 1 to 5 seconds.
    pub timeout: Duration,
    /// True if requests may go through the proxy that the environment names (the address found is then the proxy's).
    pub use_proxy: bool,
}

impl Default for Detect {
    fn default() -> Self {
        let urls = |list: [&str; 3]| list.iter().filter_map(|text| Url::parse(text).ok()).collect();
        Self {
            ipv4: urls(IPV4_SERVICES),
            ipv6: urls(IPV6_SERVICES),
            agree: 2,
            timeout: Duration::from_secs(3),
            use_proxy: false,
        }
    }
}

impl Detect {
    /// The services that are asked for an address of this family.
    pub fn services(&self, version: IpVersion) -> &[Url] {
        match version {
            IpVersion::V4 => &self.ipv4,
            IpVersion::V6 => &self.ipv6,
        }
    }

    /// The services that are not the program's own, and the proxy. A user who names them can make them answer anything.
    pub fn of_the_user(&self) -> Vec<String> {
        let own = Self::default();
        let named = |url: &&Url| !own.ipv4.contains(url) && !own.ipv6.contains(url);
        let services = self.ipv4.iter().chain(&self.ipv6).filter(named).map(ToString::to_string);
        services.chain(self.use_proxy.then(|| "a proxy".to_owned())).collect()
    }

    pub fn read(root: &TomlSection<'_>) -> TomlResult<Self> {
        let section = root.child("detect", "[detect]", KEYS)?;
        let standard = Self::default();
        let ipv4 = services(&section, "ipv4")?.unwrap_or(standard.ipv4);
        let ipv6 = services(&section, "ipv6")?.unwrap_or(standard.ipv6);
        let agree = agree(&section, [&ipv4, &ipv6])?.unwrap_or(standard.agree);
        let seconds = |text: String| parse_seconds(&text, 1..=5).map_err(|error| format!("timeout: {error}"));
        let timeout = section.read("timeout", TIMEOUT, seconds)?.unwrap_or(standard.timeout);
        let use_proxy = section.boolean("use_proxy")?.unwrap_or(standard.use_proxy);
        Ok(Self { ipv4, ipv6, agree, timeout, use_proxy })
    }
}

/// At least two, so that no single service can put an address of its choosing into a firewall; and not more than
/// there are services, which could never be reached.
fn agree(section: &TomlSection<'_>, lists: [&Vec<Url>; 2]) -> TomlResult<Option<usize>> {
    let fewest = lists.iter().map(|list| list.len()).filter(|length| *length > 0).min().unwrap_or(2);
    let accepted = format!("2 up to the number of services of a family (here {fewest})");
    let read = |found| match (2..=fewest).contains(&found) {
        true => Ok(found),
        false => Err(format!("agree of [detect] is {found}")),
    };
    section.integer("agree", &accepted)?.map(|found| found.read(&accepted, read)).transpose()
}

fn services(section: &TomlSection<'_>, key: &str) -> TomlResult<Option<Vec<Url>>> {
    let Some(list) = section.strings(key, URLS)? else { return Ok(None) };
    let mut hosts = BTreeSet::new();
    let mut urls = Vec::new();
    for item in list.value {
        let at = item.at;
        let url = item.read(URLS, |text| service(&text))?;
        // Two answers of one operator are one opinion. On loopback everything is the user's own.
        if url.scheme() == "https" && !hosts.insert(url.host_str().map(str::to_owned)) {
            let message = format!("{key} asks {} twice", url.host_str().unwrap_or_default());
            return Err(SpannedError::new(at, message, URLS));
        }
        urls.push(url);
    }
    if urls.len() == 1 {
        return Err(SpannedError::new(list.at, format!("{key} has one service: two have to agree"), URLS));
    }
    Ok(Some(urls))
}

fn service(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|error| format!("\"{text}\" is not a URL: {error}"))?;
    let secret = !url.username().is_empty() || url.password().is_some();
    match url.scheme() {
        _ if secret => Err(format!("the URL for {} holds a user or password", url.host_str().unwrap_or_default())),
        "https" => Ok(url),
        "http" if is_loopback(&url) => Ok(url),
        "http" => Err(format!("\"{text}\" is plain http: anybody on the way could change the answer")),
        _ => Err(format!("\"{text}\" is not an https URL")),
    }
}

fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || bare.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}
