use super::*;
use crate::settings::{Detect, Settings};

const FULL: &str = r#"
max_duration = "4h"
ports = ["tcp/22", "tcp/8000-8080"]
min_ipv4_prefix_len = 32
min_ipv6_prefix_len = 64
reason_pattern = "(INC|CHG)-[0-9]+|drill"
explicit_addresses = false
"#;

fn policy(text: &str) -> MachinePolicy {
    MachinePolicy::parse(text, Path::new("p.toml")).unwrap()
}

fn name(provider: &str, kind: &str) -> KindName {
    KindName { provider: provider.to_owned(), kind: kind.to_owned() }
}

fn fine() -> PolicyRequest {
    PolicyRequest {
        duration: TimeDelta::hours(4),
        written: None,
        kinds: [("api".to_owned(), name("aws", "security-group"))].into(),
        ports: [("api".to_owned(), PortSpec::Tcp(22, 22)), ("web".to_owned(), PortSpec::Tcp(8001, 8002))].into(),
        prefixes: [(IpVersion::V4, 32), (IpVersion::V6, 64)].into(),
        reason: Some("INC-42".to_owned()),
        explicit: Vec::new(),
        services: Detect::default().of_the_user(),
    }
}

fn asks(detect: &str) -> Vec<String> {
    let settings = Settings::parse(&format!("[detect]\n{detect}"), Path::new("c.toml")).unwrap();
    settings.detect.of_the_user()
}

#[test]
fn what_is_allowed_is_allowed() {
    assert_eq!(asks("ipv6 = []\ntimeout = \"5s\""), [""; 0], "fewer of its own are its own");
    assert_eq!(policy(FULL).check(&fine()), Ok(()));
    assert_eq!(policy(FULL).check(&PolicyRequest { reason: Some("drill".to_owned()), ..fine() }), Ok(()));
    let anything = PolicyRequest {
        duration: TimeDelta::days(31),
        written: None,
        kinds: [("own".to_owned(), name("script", "directory")), ("new".to_owned(), name("next", "thing"))].into(),
        ports: [("api".to_owned(), PortSpec::All)].into(),
        prefixes: [(IpVersion::V4, 24)].into(),
        reason: None,
        explicit: vec!["203.0.113.42".parse().unwrap()],
        services: vec!["https://what.i.like/".to_owned()],
    };
    assert_eq!(MachinePolicy::default().check(&anything), Ok(()), "no policy");
    assert_eq!(policy("").check(&anything), Ok(()), "an empty one");
}

/// Each kind against each pair of `kinds` and `ports`.
#[test]
fn kinds_without_ports_do_not_get_around_a_list_of_ports() {
    let kinds =
        [name("aws", "security-group"), name("aws", "prefix-list"), name("nftables", "table"), name("next", "thing")];
    let allowed = |text: &str| {
        let asks = |kind: &KindName| PolicyRequest { kinds: [("x".to_owned(), kind.clone())].into(), ..fine() };
        kinds.iter().map(|kind| policy(text).check(&asks(kind)).is_ok()).collect::<Vec<_>>()
    };
    let ports = "ports = [\"tcp/22\", \"tcp/8000-9000\"]\n";
    let listed = "kinds = [\"aws/security-group\", \"aws/prefix-list\"]\n";
    for (text, expected) in [
        ("", [true, true, true, true]),
        (ports, [true, false, true, false]),
        (listed, [true, true, false, false]),
        (&format!("{ports}{listed}"), [true, true, false, false]),
        ("kinds = []", [false, false, false, false]),
    ] {
        assert_eq!(allowed(text), expected, "{text}");
    }
    let refused = |text: &str, kind| {
        let asked = PolicyRequest { kinds: [("office".to_owned(), kind)].into(), ports: BTreeSet::new(), ..fine() };
        policy(text).check(&asked).unwrap_err().to_string()
    };
    assert_eq!(
        refused(ports, name("aws", "prefix-list")),
        "p.toml: ports: only firewalls whose entries have ports are allowed, unless \"kinds\" names others; \
         office is a prefix list (aws/prefix-list)"
    );
    assert_eq!(
        refused(listed, name("script", "directory")),
        "p.toml: kinds: aws/security-group, aws/prefix-list alone are allowed; office is a script (script/directory)"
    );
    let error = MachinePolicy::parse("kinds = [\"prefix-list\"]", Path::new("p.toml")).unwrap_err();
    assert_eq!(
        error.to_string(),
        "p.toml:1:10: \"prefix-list\" is not a kind of firewall (accepted: some of aws/security-group, \
         aws/prefix-list, aws/waf-ip-set, nftables/table, script/directory)"
    );
    assert_eq!(policy(listed).limits(), ["firewalls of kind aws/security-group, aws/prefix-list"]);
}

#[test]
fn every_refusal_names_file_key_and_both_values() {
    let port = |spec| PolicyRequest { ports: [("api".to_owned(), spec)].into(), ..fine() };
    let prefix = |version, length| PolicyRequest { prefixes: [(version, length)].into(), ..fine() };
    let reason = |text: Option<&str>| PolicyRequest { reason: text.map(str::to_owned), ..fine() };
    let needed = "reason_pattern: a --reason that matches (INC|CHG)-[0-9]+|drill as a whole is needed; ";
    for (asked, expected) in [
        (
            PolicyRequest { duration: TimeDelta::minutes(241), ..fine() },
            "max_duration: 4h at most is allowed; 4h1m is asked for",
        ),
        (
            PolicyRequest {
                duration: TimeDelta::hours(48),
                written: Some(Written::new(TimeDelta::hours(48), "48h")),
                ..fine()
            },
            "max_duration: 4h at most is allowed; 48h is asked for",
        ),
        (port(PortSpec::Tcp(23, 23)), "ports: tcp/22, tcp/8000-8080 alone are allowed; tcp/23 of api is asked for"),
        (port(PortSpec::All), "ports: tcp/22, tcp/8000-8080 alone are allowed; all of api is asked for"),
        (prefix(IpVersion::V4, 31), "min_ipv4_prefix_len: /32 or longer is allowed; /31 is asked for"),
        (reason(None), &format!("{needed}none is given")),
        (reason(Some("xINC-42")), &format!("{needed}\"xINC-42\" is given")),
        (reason(Some("INC-42\n")), &format!("{needed}\"INC-42\n\" is given")),
        (reason(Some("drills")), &format!("{needed}\"drills\" is given")),
        (
            PolicyRequest { explicit: vec!["2001:db8::1".parse().unwrap()], ..fine() },
            "explicit_addresses: false: only detected addresses are allowed; 2001:db8::1 is given",
        ),
        (
            PolicyRequest { services: asks("ipv4 = [\"https://api.ipify.org\", \"https://what.i.like\"]"), ..fine() },
            "explicit_addresses: false: only detected addresses are allowed, by eg's own services; \
             [detect] asks https://what.i.like/",
        ),
        (
            PolicyRequest { services: asks("use_proxy = true"), ..fine() },
            "explicit_addresses: false: only detected addresses are allowed, by eg's own services; \
             [detect] asks a proxy",
        ),
    ] {
        assert_eq!(policy(FULL).check(&asked).unwrap_err().to_string(), format!("p.toml: {expected}"));
    }
}

#[test]
fn mistakes_name_their_place() {
    for (text, expected) in [
        ("ports = 22", "1:9: ports of the policy is of type integer"),
        ("ports = []", "1:9: ports is empty"),
        ("max_duration = \"40d\"", "1:16: max_duration: \"40d\" is too long: the limit is 31d"),
        ("\nmax_durations = \"4h\"", "2:1: the policy has no key \"max_durations\"; did you mean \"max_duration\"?"),
        ("min_ipv6_prefix_len = 48", "1:23: min_ipv6_prefix_len is 48"),
        ("reason_pattern = \"a)|(b\"", "1:18: reason_pattern is no regular expression: "),
        ("explicit_addresses = 0", "1:22: explicit_addresses of the policy is of type integer"),
        ("[[[", "1:"),
    ] {
        let error = MachinePolicy::parse(text, Path::new("p.toml")).unwrap_err().to_string();
        assert!(error.starts_with(&format!("p.toml:{expected}")), "{error}");
    }
}
