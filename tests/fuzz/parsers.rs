//! Configuration, durations, moments, endpoints, ports, permissions, ids, addresses, lease values, texts.

use super::{ROUNDS, each, each_text};
use chrono::{DateTime, TimeDelta};
use eg::inside::{Settings, parse_answer};
use eg_model::{
    container_mark::{ContainerMark, VALUE_MAX},
    ids::InstallationId,
    net::{
        address::{IpVersion, parse_explicit},
        host_port::Endpoint,
        permission::{Permission, PortSpec},
    },
    tags::{LeaseState, Marks},
    time::{
        duration::{MAX, MIN, format_duration, parse_duration},
        until::{check_ahead, parse_until},
    },
};
use eg_providers::aws::{description, session_name};
use std::path::Path;

#[test]
fn settings() {
    each_text("settings", |text| {
        let parsed = Settings::parse(text, Path::new("config.toml"));
        let Err(error) = parsed else { return };
        let error = error.to_string();
        assert!(error.contains("config.toml"), "{error:?} does not name the file of {text:?}");
    });
}

#[test]
fn durations() {
    each_text("duration", |text| {
        let Ok(duration) = parse_duration(text) else { return };
        assert!((MIN..=MAX).contains(&duration), "{text:?}");
        assert_eq!(parse_duration(&format_duration(duration)).unwrap(), duration, "{text:?}");
        assert!(text.bytes().all(|byte| byte.is_ascii_digit() || b"dhm".contains(&byte)), "{text:?}");
    });
}

/// Whatever the clock on the wall does, only what lies ahead is read, and only what fits is let through.
#[test]
fn moments() {
    let change = DateTime::from_timestamp(1_900_000_000, 0).unwrap();
    for (before, after) in [(0, 0), (3600, 7200), (7200, 3600), (-43_200, 50_400), (-86_399, 86_399)] {
        let offset = |at| TimeDelta::seconds(if at < change { before } else { after });
        for now in [change - TimeDelta::hours(3), change + TimeDelta::minutes(10)] {
            each_text("until", |text| {
                let Ok(at) = parse_until(text, now, &offset) else { return };
                assert!(at > now, "{text:?}");
                let fits = (MIN..=MAX).contains(&(at - now));
                assert_eq!(check_ahead(text, at, now, &MAX.into()).is_ok(), fits, "{text:?}");
            });
        }
    }
}

#[test]
fn endpoints() {
    each_text("endpoint", |text| {
        let Ok(endpoint) = text.parse::<Endpoint>() else { return };
        assert_eq!(endpoint.to_string().parse(), Ok(endpoint.clone()), "{text:?}");
        assert!(endpoint.port() > 0 && endpoint.host().is_ascii() && !endpoint.host().contains(['@', '/', ' ']));
    });
}

#[test]
fn ports() {
    each_text("ports", |text| {
        let Ok(ports) = text.parse::<PortSpec>() else { return };
        assert_eq!(ports.to_string().parse::<PortSpec>().unwrap(), ports, "{text:?}");
    });
}

#[test]
fn permissions() {
    each_text("permission", |text| {
        let Ok(permission) = text.parse::<Permission>() else { return };
        assert_eq!(permission.to_string().parse::<Permission>().unwrap(), permission, "{text:?}");
        assert_eq!(permission.cidr(), permission.cidr().trunc(), "{text:?}");
        assert_eq!(permission.digest("sg-1").len(), 8, "{text:?}");
    });
}

#[test]
fn echo_answers() {
    each("echo", ROUNDS, |body| {
        for version in [IpVersion::V4, IpVersion::V6] {
            match parse_answer(body, version) {
                Ok(address) => {
                    assert_eq!(IpVersion::of(address), version, "{body:?}");
                    assert_eq!(std::str::from_utf8(body).unwrap().trim().parse(), Ok(address), "{body:?}");
                    assert_eq!(address.to_canonical(), address, "{body:?} is an IPv4 address in IPv6 clothes");
                }
                Err(why) => assert!(!why.chars().any(char::is_control) && why.len() < 1000, "{why:?}"),
            }
        }
    });
}

#[test]
fn installations() {
    each_text("installation", |text| {
        let Some(id) = InstallationId::parse(text) else { return };
        assert_eq!(id.as_str(), text);
        assert!(text.len() <= 64 && !text.is_empty());
    });
}

#[test]
fn addresses() {
    for version in [IpVersion::V4, IpVersion::V6] {
        each_text("address", |text| {
            let Ok(address) = parse_explicit(text, version) else { return };
            let other = address.is_unspecified() || address.is_loopback() || address.is_multicast();
            assert!(IpVersion::of(address) == version && !other, "{text:?}");
        });
    }
}

/// What is read can be written and read again, and nothing is lost without a word.
#[test]
fn container_marks() {
    each_text("container", |text| {
        let mark = ContainerMark::read(text);
        let items = text.split(' ').filter(|item| !item.is_empty()).count();
        assert!(mark.leases.len() + mark.odd.len() <= items && mark.odd.iter().all(|item| text.contains(item)));
        assert_eq!(mark.leases.is_empty() && mark.odd.is_empty(), items == 0, "{text:?}");
        let Some(value) = ContainerMark::write(&mark.leases) else { return };
        assert!(value.len() <= VALUE_MAX);
        assert_eq!(ContainerMark::read(&value), ContainerMark { odd: Vec::new(), ..mark }, "{text:?}");
    });
}

/// What does not parse holds nothing, and is never taken for a lease that holds.
#[test]
fn leases() {
    let now = DateTime::from_timestamp(1_900_000_000, 0).unwrap();
    each_text("lease", |text| {
        let state = Marks::judge(text, now);
        let read = DateTime::parse_from_rfc3339(text).is_ok();
        assert!(read || state == LeaseState::Odd, "{text:?} is {state:?}");
    });
}

#[test]
fn texts() {
    each_text("text", |text| {
        let (description, name) = (description(text), session_name(text));
        assert!(
            description.len() <= 255 && description.is_ascii() && !description.contains(['\n', '"', '<', '\u{7f}'])
        );
        assert!(name.starts_with("eg-") && name.len() <= 64 && !name.contains([' ', '/', ':']), "{name:?}");
    });
}
