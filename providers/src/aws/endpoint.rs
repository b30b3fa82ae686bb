//! Endpoints that a target names.

use eg_model::{
    failure::{Failure, FailureClass},
    target::{OtherServices, Target},
};
use std::net::IpAddr;

/// The endpoint of every service but EC2.
pub fn of_other_services(target: &Target) -> Option<&String> {
    match &target.route.other_services {
        OtherServices::WithTarget => target.key.endpoint.as_ref(),
        OtherServices::ByThemselves => None,
        OtherServices::At(endpoint) => Some(endpoint),
    }
}

/// Checks that a target's endpoints are fit to be spoken to, without speaking to them.
///
/// # Errors
/// One is no URL, or would be spoken to in plain text over a network.
pub fn check_endpoints(target: &Target) -> Result<(), Failure> {
    target.key.endpoint.iter().chain(of_other_services(target)).try_for_each(|endpoint| check_endpoint(endpoint))
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

#[cfg(test)]
mod tests {
    use super::*;

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
