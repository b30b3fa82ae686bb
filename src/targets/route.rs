//! The route that the environment gives to a target: profile, files and endpoints.

use crate::{
    host::env::Env,
    ui::{printer::Printer, warning::Code},
};
use eg_model::target::{OtherServices, Route, Target, TargetKey};
use eg_providers::kind_of;
use std::collections::BTreeSet;

/// The profile that the environment names; `None` if it holds keys, which beat AWS_PROFILE in the SDK's chain.
pub fn environment_profile(env: &Env) -> Option<String> {
    let keys = env.var("AWS_ACCESS_KEY_ID").is_some();
    env.var("AWS_PROFILE").filter(|_| !keys).map(str::to_owned)
}

/// A target with a profile's credentials, through the files and endpoints that the environment names. A firewall outside
/// of every cloud has neither.
pub fn target_for(env: &Env, key: TargetKey, profile: Option<String>) -> Target {
    let Some(cloud) = kind_of(&key).and_then(|kind| kind.cloud.as_ref()) else { return Target::new(key) };
    let var = |name: &str| env.var(name).map(str::to_owned);
    let (endpoint, other_services) = endpoints(var(cloud.endpoint_variable), var("AWS_ENDPOINT_URL"));
    let route = Route {
        profile,
        config_file: env.aws_file("AWS_CONFIG_FILE"),
        credentials_file: env.aws_file("AWS_SHARED_CREDENTIALS_FILE"),
        other_services,
        ..Route::default()
    };
    Target { key: TargetKey { endpoint, ..key }, route }
}

/// The endpoint of the service that holds the firewall and those of the other services, from the ones that the environment
/// names for this service alone and for all (AWS SDKs and Tools reference guide, "Service-specific endpoints").
fn endpoints(of_one: Option<String>, of_all: Option<String>) -> (Option<String>, OtherServices) {
    match (of_one, of_all) {
        (None, of_all) => (of_all, OtherServices::WithTarget),
        (Some(of_one), None) => (Some(of_one), OtherServices::ByThemselves),
        (Some(of_one), Some(of_all)) if of_one == of_all => (Some(of_one), OtherServices::WithTarget),
        (Some(of_one), Some(of_all)) => (Some(of_one), OtherServices::At(of_all)),
    }
}

/// Names every endpoint that is not AWS's own: a user who points `eg` elsewhere should see it.
pub fn name_endpoints<'r>(printer: &Printer, targets: impl Iterator<Item = &'r Target>) {
    let mut endpoints = BTreeSet::new();
    for target in targets {
        let service = kind_of(&target.key).and_then(|kind| kind.cloud.as_ref()).map(|cloud| cloud.service);
        let alone = match (&target.route.other_services, service) {
            (OtherServices::WithTarget, _) | (_, None) => String::new(),
            (_, Some(service)) => format!(" for {service}"),
        };
        endpoints.extend(target.key.endpoint.as_deref().map(|endpoint| (endpoint, alone)));
        if let OtherServices::At(endpoint) = &target.route.other_services {
            endpoints.insert((endpoint, " for everything else".to_owned()));
        }
    }
    for (endpoint, what) in endpoints {
        let message = format!("Using endpoint {}{what}", without_password(endpoint));
        if printer.is_json() { printer.warn(Code::Endpoint, &message, &[]) } else { printer.remark(&message) }
    }
}

/// A URL without user and password.
fn without_password(url: &str) -> String {
    let hidden = || {
        let (scheme, rest) = url.split_once("://")?;
        let authority = rest.split('/').next()?;
        let (_, host) = authority.rsplit_once('@')?;
        Some(format!("{scheme}://***@{host}{}", rest.get(authority.len()..)?))
    };
    hidden().unwrap_or_else(|| url.to_owned())
}
