//! Judges detection: if there is a family to ask for, and if a firewall can be opened to the agreed address.

use crate::{
    error::{CommandError, Kind},
    host::env::Env,
};
use eg_config::settings::Detect;
use eg_model::net::address::IpVersion;

/// The variables that can name a proxy.
const PROXIES: [&str; 6] = ["HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"];

/// A hint for a user without an address whose environment names a proxy: detection asks the services past it.
pub fn proxy_hint(env: &Env, settings: &Detect) -> Option<String> {
    let proxy = PROXIES.into_iter().find(|name| env.var(name).is_some()).filter(|_| !settings.use_proxy)?;
    Some(format!(
        "{proxy} is set, and services are asked past it; if firewalls see you with that proxy's address, put this into \
         the configuration: [detect] use_proxy = true"
    ))
}

/// Reason why a family is never asked for, if no service is configured for it.
pub fn never_detected(settings: &Detect, version: IpVersion) -> Option<String> {
    let key = format!("ipv{}", version.number());
    settings.services(version).is_empty().then(|| format!("{version} is left out by `[detect] {key} = []`"))
}

/// Refuses to detect if there is an obstacle for every family: for both, or for the one that `-4` or `-6` leaves. With
/// `-4` or `-6` it is a usage error, else one of the configuration.
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
