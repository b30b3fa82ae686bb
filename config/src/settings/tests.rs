use crate::{
    include::{SourceFile, UnreadFile},
    settings::*,
    toml::SettingsError,
};
use chrono::TimeDelta;
use eg_model::{
    net::{
        address::{IpVersion, PrefixLengths},
        permission::PortSpec,
    },
    time::duration::Written,
};
use std::{
    path::{Path, PathBuf},
    time::Duration,
};
use url::Url;

mod kinds;

const RESOURCE: &str =
    "[[resource]]\nname = \"api\"\nid = \"sg-0abc123def4567890\"\nregion = \"eu-west-1\"\nports = [\"tcp/22\"]\n";

fn parse(text: &str) -> Settings {
    Settings::parse(text, Path::new("c.toml")).unwrap_or_else(|error| panic!("{error}"))
}

fn refusal(text: &str) -> String {
    Settings::parse(text, Path::new("c.toml")).unwrap_err().to_string()
}

fn hours(count: i64) -> TimeDelta {
    TimeDelta::hours(count)
}

#[test]
fn an_empty_file_is_all_defaults() {
    let settings = parse("");
    assert_eq!(settings, Settings::default());
    assert_eq!((settings.session.default_duration, settings.session.max_duration), (hours(8), hours(24).into()));
    assert_eq!((settings.detect.ipv4.len(), settings.detect.ipv6.len(), settings.detect.agree), (3, 3, 2));
    assert_eq!(settings.detect.timeout, Duration::from_secs(3));
    assert!(!settings.detect.use_proxy && settings.reconcile.collect_expired);
    assert_eq!(settings.reconcile.collect_interval, hours(1));
    assert_eq!(settings.aws, AwsSettings::default());
}

#[test]
fn everything_at_once() {
    let settings = parse(
        r#"
[user]
name = "Alice Smith"
email = "alice@example.com"
[session]
default_duration = "4"
max_duration = "31d"
ipv4_prefix_len = 30
ipv6_prefix_len = 64
[detect]
ipv4 = ["https://a.example", "https://b.example/ip", "http://127.0.0.1:8080/"]
ipv6 = []
agree = 3
timeout = "5s"
use_proxy = true
[reconcile]
collect_expired = false
collect_interval = "90m"
[aws]
extra_tags = { team = "web", "cost centre" = "" }
description = "session"
[[resource]]
name = "prod-api-sg"
provider = "aws"
kind = "security-group"
id = "sg-0abc123def4567890"
region = "eu-west-1"
profile = "prod"
role_arn = "arn:aws-cn:iam::123456789012:role/path/eg"
external_id = "x-1"
ports = ["tcp/22", "tcp/443", "tcp/8000-8080", "udp/51820", "icmp", "all"]
families = ["ipv6"]
groups = ["prod", "web"]
[[resource]]
name = "db"
id = "sg-0123abcd"
region = "us-east-1"
ports = ["tcp/5432"]
"#,
    );
    assert_eq!(settings.user, User { name: Some("Alice Smith".into()), email: Some("alice@example.com".into()) });
    let prefix_lengths = PrefixLengths::new(30, 64).unwrap();
    assert_eq!(
        settings.session,
        SessionSettings { default_duration: hours(4), max_duration: Written::new(hours(744), "31d"), prefix_lengths }
    );
    assert_eq!(
        settings.detect.ipv4.iter().map(Url::as_str).collect::<Vec<_>>(),
        ["https://a.example/", "https://b.example/ip", "http://127.0.0.1:8080/"]
    );
    assert!(settings.detect.ipv6.is_empty() && settings.detect.use_proxy);
    assert_eq!((settings.detect.agree, settings.detect.timeout), (3, Duration::from_secs(5)));
    assert_eq!(settings.reconcile, Reconcile { collect_expired: false, collect_interval: TimeDelta::minutes(90) });
    let tags = [("cost centre", ""), ("team", "web")].map(|(k, v)| (k.to_owned(), v.to_owned()));
    assert_eq!(
        settings.aws,
        AwsSettings { extra_tags: tags.into(), description: Description::Session, cloud_expiry: None }
    );
    let [api, db] = settings.resources.as_slice() else { panic!("two resources") };
    assert_eq!(
        api.ports.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "),
        "tcp/22 tcp/443 tcp/8000-8080 udp/51820 icmp all"
    );
    assert_eq!((api.families.as_slice(), api.groups.len()), ([IpVersion::V6].as_slice(), 2));
    assert_eq!(api.role_arn.as_deref(), Some("arn:aws-cn:iam::123456789012:role/path/eg"));
    assert_eq!(db.kind, &eg_providers::aws::SECURITY_GROUP);
    assert_eq!(db.families, [IpVersion::V4, IpVersion::V6]);
    assert!(db.groups.is_empty() && db.profile.is_none());
}

#[test]
fn text_that_is_not_toml() {
    assert_eq!(refusal("[user\n"), "c.toml:1:6: not TOML: unclosed table, expected `]`");
    assert_eq!(refusal("[user]\nname = \"a\"\nname = \"b\"\n"), "c.toml:3:1: not TOML: duplicate key");
    assert_eq!(
        refusal("[user]\nname = alice\n"),
        "c.toml:2:8: not TOML: string values must be quoted, expected literal string"
    );
}

#[test]
fn unknown_keys_name_the_nearest() {
    assert_eq!(
        refusal("[sesion]\nmax_duration = \"24h\"\n"),
        "c.toml:1:2: the file has no key \"sesion\"; did you mean \"session\"? (accepted: include, defaults, user, session, detect, reconcile, notify, aws, resource)"
    );
    assert_eq!(
        refusal("[session]\n\ndefault_duraton = \"8h\"\n"),
        "c.toml:3:1: [session] has no key \"default_duraton\"; did you mean \"default_duration\"? (accepted: default_duration, max_duration, ipv4_prefix_len, ipv6_prefix_len)"
    );
    assert_eq!(
        refusal("[user]\n  shoe_size = 43\n"),
        "c.toml:2:3: [user] has no key \"shoe_size\" (accepted: name, email)"
    );
    assert_eq!(
        refusal(&format!("{RESOURCE}port = []\n")),
        "c.toml:6:1: [[resource]] of a security group has no key \"port\"; did you mean \"ports\"? (accepted: name, provider, kind, id, group_name, tag, host, group, region, profile, role_arn, external_id, ports, families, groups)"
    );
    // The first in the file, not in the alphabet.
    assert_eq!(
        refusal("[user]\nzeta = 1\nalpha = 1\n"),
        "c.toml:2:1: [user] has no key \"zeta\" (accepted: name, email)"
    );
}

#[test]
fn columns_count_characters() {
    assert_eq!(
        refusal("aws = { \"description\" = \"ü\", \"ä\" = 1 }"),
        "c.toml:1:30: [aws] has no key \"ä\" (accepted: extra_tags, description, cloud_expiry)"
    );
}

#[test]
fn a_byte_order_mark_is_skipped() {
    assert_eq!(parse("\u{feff}[user]\nname = \"a\"").user.name.as_deref(), Some("a"));
    assert_eq!(
        refusal("\u{feff}[user]\nname = 1"),
        "c.toml:2:8: name of [user] is of type integer (accepted: a string)"
    );
}

#[test]
fn wrong_types() {
    for (text, expected) in [
        ("user = 1", "c.toml:1:8: user of the file is of type integer (accepted: a table)"),
        ("[user]\nname = 1", "c.toml:2:8: name of [user] is of type integer (accepted: a string)"),
        (
            "[user]\nname = \" \"",
            "c.toml:2:8: name is empty or holds control characters (accepted: text that is not empty)",
        ),
        (
            "[detect]\nuse_proxy = \"no\"",
            "c.toml:2:13: use_proxy of [detect] is of type string (accepted: true or false)",
        ),
        (
            "resource = 1",
            "c.toml:1:12: resource of the file is of type integer (accepted: one or more [[resource]] tables)",
        ),
        (
            "[resource]\nname = \"a\"",
            "c.toml:1:1: resource of the file is of type table (accepted: one or more [[resource]] tables)",
        ),
        (
            "resource = [1]",
            "c.toml:1:13: resource of the file is of type integer (accepted: one or more [[resource]] tables)",
        ),
        (
            "[aws]\nextra_tags = [\"a\"]",
            "c.toml:2:14: extra_tags of [aws] is of type array (accepted: a table of strings)",
        ),
        (
            "[aws]\nextra_tags = { a = 1 }",
            "c.toml:2:20: extra_tags of [aws] is of type integer (accepted: a table of strings)",
        ),
    ] {
        assert_eq!(refusal(text), expected);
    }
}

#[test]
fn durations() {
    let grammar = "whole hours (8), or days, hours and minutes in this order (8h, 90m, 1h30m, 2d)";
    for (text, expected) in [
        (
            "[session]\ndefault_duration = \"8 h\"",
            format!("c.toml:2:20: default_duration: \"8 h\" is not a duration: use {grammar} (accepted: \"1m\" to \"31d\")"),
        ),
        (
            "[session]\nmax_duration = \"32d\"",
            "c.toml:2:16: max_duration: \"32d\" is too long: the limit is 31d (accepted: \"1m\" to \"31d\")".to_owned(),
        ),
        ("[session]\nmax_duration = 24", "c.toml:2:16: max_duration of [session] is of type integer (accepted: a string)".to_owned()),
        (
            "[session]\ndefault_duration = \"25h\"",
            "c.toml:2:20: default_duration 25h is longer than max_duration 24h (accepted: 1m to 24h, or a longer max_duration (up to 31d))".to_owned(),
        ),
        (
            "[reconcile]\ncollect_interval = \"0\"",
            "c.toml:2:20: collect_interval: \"0\" is too short: the shortest duration is 1m (accepted: \"1m\" to \"31d\")".to_owned(),
        ),
    ] {
        assert_eq!(refusal(text), expected);
    }
}

#[test]
fn an_unwritten_default_gives_way_to_a_short_maximum() {
    assert_eq!(parse("[session]\nmax_duration = \"2h\"").session.default_duration, hours(2));
}

#[test]
fn detection() {
    let urls = "a list of https URLs of different hosts (plain http for loopback only), or [] to leave this family out";
    for (text, expected) in [
        (
            "ipv4 = [\"http://a.example\", \"https://b.example\"]",
            "2:9: \"http://a.example\" is plain http: anybody on the way could change the answer",
        ),
        ("ipv4 = [\"https://a.example/1\", \"https://a.example/2\"]", "2:32: ipv4 asks a.example twice"),
        ("ipv6 = [\"https://a.example\"]", "2:8: ipv6 has one service: two have to agree"),
        ("ipv6 = [\"a.example\"]", "2:9: \"a.example\" is not a URL: relative URL without a base"),
        ("ipv6 = [\"ftp://a.example\"]", "2:9: \"ftp://a.example\" is not an https URL"),
        ("ipv6 = [\"https://me:secret@a.example\"]", "2:9: the URL for a.example holds a user or password"),
        (
            "ipv6 = [\"http://127.0.0.1.example\"]",
            "2:9: \"http://127.0.0.1.example\" is plain http: anybody on the way could change the answer",
        ),
    ] {
        assert_eq!(refusal(&format!("[detect]\n{text}")), format!("c.toml:{expected} (accepted: {urls})"));
    }
    for (text, expected) in [
        ("agree = 1", "2:9: agree of [detect] is 1 (accepted: 2 up to the number of services of a family (here 3))"),
        ("agree = 4", "2:9: agree of [detect] is 4 (accepted: 2 up to the number of services of a family (here 3))"),
        ("agree = -2", "2:9: agree of [detect] is -2 (accepted: 2 up to the number of services of a family (here 3))"),
        (
            "timeout = \"3\"",
            "2:11: timeout: \"3\" is not a number of seconds: use a whole number and s (1s to 5s) (accepted: \"1s\" to \"5s\")",
        ),
        ("timeout = \"6s\"", "2:11: timeout: \"6s\" is out of range: use 1s to 5s (accepted: \"1s\" to \"5s\")"),
    ] {
        assert_eq!(refusal(&format!("[detect]\n{text}")), format!("c.toml:{expected}"));
    }
    let local = parse(
        "[detect]\nipv4 = [\"http://localhost:1/a\", \"http://localhost:1/b\"]\nipv6 = [\"http://[::1]:1/\", \"http://[::1]:2/\"]",
    );
    assert_eq!((local.detect.ipv4.len(), local.detect.ipv6.len()), (2, 2));
}

#[test]
fn aws_settings() {
    let keys = "1 to 128 characters, not starting with eg: or aws:";
    for (text, expected) in [
        ("extra_tags = { \"eg:x\" = \"1\" }", format!("2:16: \"eg:x\" is a reserved tag (accepted: {keys})")),
        ("extra_tags = { \"AWS:x\" = \"1\" }", format!("2:16: \"AWS:x\" is a reserved tag (accepted: {keys})")),
        ("extra_tags = { \"\" = \"1\" }", format!("2:16: \"\" is too short or too long for a tag (accepted: {keys})")),
        (
            "description = \"none\"",
            "2:15: description of [aws] is \"none\" (accepted: \"full\" (user, host and session) or \"session\" (the session alone))".to_owned(),
        ),
    ] {
        assert_eq!(refusal(&format!("[aws]\n{text}")), format!("c.toml:{expected}"));
    }
    let many: Vec<_> = (0..41).map(|n| format!("t{n} = \"\"")).collect();
    let text = format!("[aws.extra_tags]\n{}", many.join("\n"));
    assert_eq!(
        refusal(&text),
        "c.toml:42:1: extra_tags has too many tags (accepted: up to 40 tags: a rule has 50, and the leases need some)"
    );
}

#[test]
fn resources() {
    let ports = "one or more of \"tcp/22\", \"tcp/8000-8080\", \"udp/51820\", \"icmp\", \"all\"";
    let id = "sg- and 8 or 17 hex digits in lower case, as in \"sg-0abc123def4567890\"";
    let change = |from: &str, to: &str| refusal(&RESOURCE.replace(from, to));
    for (from, to, expected) in [
        ("name = \"api\"\n", "", "1:1: [[resource]] has no name (accepted: text that is not empty)".to_owned()),
        (
            "id = \"sg-0abc123def4567890\"\n",
            "",
            "1:1: [[resource]] has no id (accepted: sg- and 8 or 17 hex digits in lower case, as in \"sg-0abc123def4567890\", or group_name, tag or host in its place)"
                .to_owned(),
        ),
        (
            "region = \"eu-west-1\"\n",
            "",
            "1:1: [[resource]] has no region (accepted: a region's code, as in \"eu-west-1\")".to_owned(),
        ),
        ("ports = [\"tcp/22\"]\n", "", format!("1:1: [[resource]] has no ports (accepted: {ports})")),
        (
            "sg-0abc123def4567890",
            "sg-0ABC1234",
            format!("3:6: \"sg-0ABC1234\" is not the id of a security group (accepted: {id})"),
        ),
        (
            "sg-0abc123def4567890",
            "sg-012345678",
            format!("3:6: \"sg-012345678\" is not the id of a security group (accepted: {id})"),
        ),
        (
            "eu-west-1",
            "EU West",
            "4:10: \"EU West\" is not a region (accepted: a region's code, as in \"eu-west-1\")".to_owned(),
        ),
        ("[\"tcp/22\"]", "[]", format!("5:9: ports is empty (accepted: {ports})")),
        ("[\"tcp/22\"]", "[\"tcp/22\", \"tcp/0x1\"]", format!("5:20: \"tcp/0x1\" is not a port (accepted: {ports})")),
        (
            "[\"tcp/22\"]",
            "[\"tcp/22\", \"tcp/22\"]",
            format!("5:20: \"tcp/22\" stands in ports twice (accepted: {ports})"),
        ),
        (
            "[\"tcp/22\"]",
            "[\"tcp/22\", \"tcp/22-22\"]",
            format!("5:20: \"tcp/22-22\" stands in ports twice (accepted: {ports})"),
        ),
        ("[\"tcp/22\"]", "[22]", format!("5:10: ports of [[resource]] is of type integer (accepted: {ports})")),
        ("[\"tcp/22\"]", "\"tcp/22\"", format!("5:9: ports of [[resource]] is of type string (accepted: {ports})")),
    ] {
        assert_eq!(change(from, to), format!("c.toml:{expected}"));
    }
    for (line, expected) in [
        ("provider = \"gcp\"", "6:12: provider \"gcp\" is not known (accepted: \"aws\", \"nftables\" or \"script\")"),
        (
            "kind = \"script\"",
            "6:8: \"script\" is a provider, not a kind: write provider = \"script\" (accepted: \"security-group\", \"prefix-list\", \"waf-ip-set\", \"table\" or \"directory\")",
        ),
        (
            "kind = \"nacl\"",
            "6:8: kind \"nacl\" is not known (accepted: \"security-group\", \"prefix-list\", \"waf-ip-set\", \"table\" or \"directory\")",
        ),
        ("families = []", "6:12: families is empty (accepted: \"ipv4\", \"ipv6\" or both)"),
        ("families = [\"ipv5\"]", "6:13: \"ipv5\" is not an address family (accepted: \"ipv4\", \"ipv6\" or both)"),
        (
            "families = [\"ipv4\", \"ipv4\"]",
            "6:21: \"ipv4\" stands in families twice (accepted: \"ipv4\", \"ipv6\" or both)",
        ),
        (
            "role_arn = \"arn:aws:iam::12:role/x\"",
            "6:12: \"arn:aws:iam::12:role/x\" is not the ARN of a role (accepted: a role's ARN, as in \"arn:aws:iam::123456789012:role/name\")",
        ),
        ("external_id = \"x\"", "6:15: external_id stands without a role_arn (accepted: external_id beside role_arn)"),
        ("groups = [\"\"]", "6:11: groups is empty or holds control characters (accepted: text that is not empty)"),
    ] {
        assert_eq!(refusal(&format!("{RESOURCE}{line}\n")), format!("c.toml:{expected}"));
    }
    assert_eq!(
        refusal(&format!("{RESOURCE}{RESOURCE}")),
        "c.toml:7:8: \"api\" is the name of two resources (accepted: a name that no other resource has)"
    );
}

fn labelled() -> Settings {
    let resource = |name: &str, groups: &str| format!("{}groups = {groups}\n", RESOURCE.replace("api", name));
    parse(
        &[resource("api", "[\"prod\"]"), resource("db", "[\"prod\", \"data\"]"), resource("lab", "[\"api\"]")].concat(),
    )
}

fn selected(only: &[&str]) -> Result<Vec<String>, String> {
    let only: Vec<String> = only.iter().map(|value| (*value).to_owned()).collect();
    let settings = labelled();
    let found = settings.select(&only).map_err(|error| error.to_string())?;
    Ok(found.resources.iter().map(|resource| resource.name.clone()).collect())
}

#[test]
fn only() {
    for (only, expected) in [
        (vec![], vec!["api", "db", "lab"]),
        (vec!["lab", "db"], vec!["db", "lab"]),
        (vec!["prod"], vec!["api", "db"]),
        (vec!["data", "prod"], vec!["api", "db"]),
        (vec!["api"], vec!["api", "lab"]),
        (vec!["lab,db"], vec!["db", "lab"]),
        (vec![" lab , data,"], vec!["db", "lab"]),
        (vec!["?ab", "d*"], vec!["db", "lab"]),
        (vec!["p*d"], vec!["api", "db"]),
        (vec!["*"], vec!["api", "db", "lab"]),
    ] {
        assert_eq!(selected(&only).unwrap(), expected, "{only:?}");
    }
    for value in ["Prod", "pro", ""] {
        let expected = format!("no resource is named or labelled \"{value}\"; known: api, db, lab, prod, data");
        assert_eq!(selected(&["api", value]).unwrap_err(), expected);
    }
    for (value, part) in [("api,x", "x"), ("x*", "x*"), ("A*,api", "A*"), (",", ",")] {
        assert!(selected(&[value]).unwrap_err().starts_with(&format!("no resource is named or labelled \"{part}\";")));
    }
    let odd = parse(&RESOURCE.replace("\"api\"", "\"a,b*\""));
    let whole = |value: &str| odd.select(&[value.to_owned()]).map(|chosen| chosen.resources.len()).ok();
    assert_eq!([whole("a,b*"), whole("a"), whole("a*")], [Some(1), None, Some(1)], "a name is itself first");
    let none = Settings::default();
    assert_eq!(none.select(&[]).unwrap(), Chosen::default());
    let error = none.select(&["x".to_owned()]).unwrap_err();
    assert_eq!(error.to_string(), "no resource is named or labelled \"x\"; known: none, for no resource is configured");
}

fn expiry(text: &str) -> Result<CloudExpiry, SettingsError> {
    let text = format!("[aws.cloud_expiry]\n{text}\n");
    Settings::parse(&text, Path::new("config.toml")).map(|settings| settings.aws.cloud_expiry.unwrap())
}

const ROLE: &str = "arn:aws:iam::123456789012:role/eg-expiry";
const ROLE_OF_ANOTHER: &str = "arn:aws-cn:iam::210987654321:role/path/eg";

#[test]
fn cloud_expiry_takes_a_role_or_one_for_each_account() {
    let one = expiry(&format!("role_arn = \"{ROLE}\"")).unwrap();
    assert_eq!(one, CloudExpiry { roles: vec![ROLE.to_owned()], schedule_group: "default".to_owned() });
    let text = format!("role_arn = [\"{ROLE}\", \"{ROLE_OF_ANOTHER}\"]\nschedule_group = \"eg.x-1_\"");
    let two = expiry(&text).unwrap();
    let way = two.way("210987654321").unwrap();
    assert_eq!((way.role_arn.as_str(), way.group.as_str()), (ROLE_OF_ANOTHER, "eg.x-1_"));
    assert_eq!(two.way("123456789012").unwrap().role_arn, ROLE);
    assert_eq!(two.way("111111111111"), None);
    assert_eq!(Settings::parse("[aws]\n", Path::new("config.toml")).unwrap().aws.cloud_expiry, None);
}

#[test]
fn cloud_expiry_that_cannot_be_meant() {
    for (text, words) in [
        ("", "has no role_arn"),
        ("role_arn = []", "has no role_arn"),
        ("role_arn = 1", "is of type"),
        ("role_arn = \"eg-expiry\"", "is not the ARN of a role"),
        (&format!("role_arn = [\"{ROLE}\", \"{ROLE}\"]"), "twice"),
        (&format!("role_arn = [\"{ROLE}\", \"{ROLE}2\"]"), "two roles of account 123456789012"),
        (&format!("role_arn = \"{ROLE}\"\nschedule_group = \"a/b\""), "is not the name of a schedule group"),
        (&format!("role_arn = \"{ROLE}\"\nschedule_group = \"\""), "is not the name of a schedule group"),
        (&format!("role_arn = \"{ROLE}\"\nrole = \"x\""), "has no key \"role\""),
    ] {
        let error = expiry(text).unwrap_err();
        assert!(error.to_string().contains(words) && !error.accepted.is_empty(), "{text}: {error}");
    }
}
/// A configuration out of several files: the first is the main one.
fn load(files: &[(&str, &str)]) -> Result<Settings, String> {
    let read = |path: &Path| {
        let name = path.to_string_lossy().replace("./", "");
        let found = files.iter().find(|(known, _)| *known == name);
        let (_, text) = found.ok_or_else(|| UnreadFile { why: "no such file".to_owned(), mend: None })?;
        Ok(SourceFile { text: (*text).to_owned(), real: PathBuf::from(name) })
    };
    let main = read(Path::new(files[0].0)).map_err(|error: UnreadFile| error.why)?;
    Settings::load(&main, Path::new(files[0].0), &read).map_err(|error| error.to_string())
}

const BARE: &str = "[[resource]]\nname = \"api\"\nid = \"sg-0abc123def4567890\"\n";

#[test]
fn defaults_fill_in_what_a_resource_leaves_out() {
    let text = format!(
        "[defaults]\nregion = \"eu-west-1\"\nprofile = \"p\"\nrole_arn = \"arn:aws:iam::123456789012:role/r\"\n\
         external_id = \"x\"\nports = [\"tcp/22\"]\nfamilies = [\"ipv6\"]\ngroups = [\"g\"]\n{BARE}\
         [[resource]]\nname = \"own\"\nid = \"sg-0abc123def4567890\"\nregion = \"us-east-1\"\nprofile = \"q\"\n\
         role_arn = \"arn:aws:iam::123456789012:role/s\"\nports = [\"icmp\"]\nfamilies = [\"ipv4\"]\ngroups = []\n"
    );
    let settings = parse(&text);
    let [api, own] = settings.resources.as_slice() else { panic!("two resources") };
    assert_eq!((api.region.as_str(), api.profile.as_deref()), ("eu-west-1", Some("p")));
    assert_eq!(
        (api.role_arn.as_deref(), api.external_id.as_deref()),
        (Some("arn:aws:iam::123456789012:role/r"), Some("x"))
    );
    assert_eq!(
        (api.ports.len(), api.families.as_slice(), api.groups.as_slice()),
        (1, [IpVersion::V6].as_slice(), ["g".to_owned()].as_slice())
    );
    assert_eq!((own.region.as_str(), own.profile.as_deref()), ("us-east-1", Some("q")));
    assert_eq!(own.external_id, None, "it belongs to the other role");
    assert_eq!((own.ports[0].to_string().as_str(), own.families.as_slice()), ("icmp", [IpVersion::V4].as_slice()));
    assert!(own.groups.is_empty());
}

#[test]
fn mistakes_in_the_defaults() {
    for (text, expected) in [
        (
            "[defaults]\nname = \"x\"",
            "c.toml:2:1: [defaults] has no key \"name\" (accepted: provider, kind, region, profile, role_arn, external_id, ports, families, groups)",
        ),
        (
            "[defaults]\nregion = \"Ireland\"",
            "c.toml:2:10: \"Ireland\" is not a region (accepted: a region's code, as in \"eu-west-1\")",
        ),
        (
            "[defaults]\nexternal_id = \"x\"",
            "c.toml:2:15: external_id stands without a role_arn (accepted: external_id beside role_arn)",
        ),
    ] {
        assert_eq!(refusal(text), expected);
    }
    assert_eq!(
        refusal(&format!("[defaults]\nregion = \"eu-west-1\"\n{BARE}")),
        "c.toml:3:1: [[resource]] has no ports (accepted: one or more of \"tcp/22\", \"tcp/8000-8080\", \"udp/51820\", \"icmp\", \"all\")"
    );
}

#[test]
fn included_files() {
    let db = BARE.replace("api", "db");
    let settings = load(&[
        (
            "etc/c.toml",
            &format!("include = [\"team.toml\", \"sub/more.toml\"]\n[defaults]\nregion = \"eu-west-1\"\nports = [\"tcp/22\"]\n{BARE}"),
        ),
        ("etc/team.toml", &format!("[defaults]\nports = [\"tcp/5432\"]\n{db}")),
        ("etc/sub/more.toml", "include = [\"deep.toml\"]\n"),
        ("etc/sub/deep.toml", &BARE.replace("api", "deep")),
    ])
    .unwrap();
    let shown: Vec<_> = settings
        .resources
        .iter()
        .map(|one| (one.name.as_str(), one.region.as_str(), one.ports[0].to_string()))
        .collect();
    assert_eq!(
        shown,
        [
            ("api", "eu-west-1", "tcp/22".to_owned()),
            ("db", "eu-west-1", "tcp/5432".to_owned()),
            ("deep", "eu-west-1", "tcp/22".to_owned())
        ]
    );
    let file = |name: &str| settings.files[name].to_string_lossy().into_owned();
    assert_eq!([file("api"), file("db"), file("deep")], ["etc/c.toml", "etc/team.toml", "etc/sub/deep.toml"]);
}

#[test]
fn mistakes_in_and_about_included_files() {
    let files = "a list of files, relative to this one, as in [\"team.toml\"]";
    for (list, expected) in [
        (
            vec![("c.toml", "include = [\"gone.toml\"]")],
            format!("c.toml:1:12: gone.toml cannot be read: no such file (accepted: {files})"),
        ),
        (
            vec![("c.toml", "include = \"a.toml\"")],
            format!("c.toml:1:11: include of the file is of type string (accepted: {files})"),
        ),
        (
            vec![("c.toml", "include = [\"a.toml\"]"), ("a.toml", "[user]\nname = \"a\"")],
            "a.toml:1:2: an included file has no key \"user\" (accepted: include, defaults, resource)".to_owned(),
        ),
        (
            vec![("c.toml", "include = [\"a.toml\"]"), ("a.toml", "\n\n[[resource]]\nname = 1\n")],
            "a.toml:4:8: name of [[resource]] is of type integer (accepted: a string)".to_owned(),
        ),
        (
            vec![("c.toml", "include = [\"a.toml\"]"), ("a.toml", "\ninclude = [\"b.toml\"]"), ("b.toml", "include = [\"a.toml\"]")],
            format!("b.toml:1:12: a.toml includes itself: a.toml includes b.toml includes it again (accepted: {files})"),
        ),
        (
            vec![("c.toml", "include = [\"c.toml\"]")],
            format!("c.toml:1:12: c.toml includes itself: c.toml includes it again (accepted: {files})"),
        ),
        (
            vec![("c.toml", "include = [\"a.toml\", \"./a.toml\"]"), ("a.toml", "")],
            format!("c.toml:1:22: ./a.toml is included twice (accepted: {files})"),
        ),
        (
            vec![("c.toml", &format!("include = [\"a.toml\"]\n{RESOURCE}")), ("a.toml", &format!("# a\n{RESOURCE}"))],
            "a.toml:3:8: \"api\" is the name of two resources; the other is c.toml:3 (accepted: a name that no other resource has)".to_owned(),
        ),
    ] {
        assert_eq!(load(&list).unwrap_err(), expected);
    }
    assert_eq!(
        refusal("include = [\"a.toml\"]"),
        format!("c.toml:1:12: a.toml cannot be read: files are not read here (accepted: {files})")
    );
}

#[test]
fn groups_by_name_and_tag() {
    let like = |lines: &str| RESOURCE.replace("id = \"sg-0abc123def4567890\"\n", lines);
    let text = like("group_name = \"prod-*\"\ntag = { env = \"prod\", team = \"w?b\" }\n");
    let settings = parse(&(text + &RESOURCE.replace("api", "fixed")));
    assert_eq!((settings.resources.len(), settings.selections.len()), (1, 1));
    let selection = &settings.selections[0];
    assert_eq!(selection.meant.to_string(), "name prod-*, tag env=prod, tag team=w?b");
    let found = selection.resource("api/x".to_owned(), "sg-0abc123def4567890".to_owned());
    assert_eq!(
        (found.name.as_str(), found.id.as_str(), found.region.as_str()),
        ("api/x", "sg-0abc123def4567890", "eu-west-1")
    );
    assert!(!settings.names_no_target() && settings.takes(IpVersion::V6) && settings.files.len() == 2);
    let chosen = settings.select(&["api".to_owned()]).unwrap();
    assert_eq!((chosen.resources.len(), chosen.selections.len()), (0, 1));
    let error = settings.select(&["x".to_owned()]).unwrap_err();
    assert_eq!(error.to_string(), "no resource is named or labelled \"x\"; known: fixed, api");

    let pattern = "text that is not empty; * is any characters, ? one or none";
    for (lines, expected) in [
        (
            "id = \"sg-0abc123def4567890\"\ngroup_name = \"a\"\n",
            "4:14: group_name stands beside id (accepted: either id, or group_name and tag)".to_owned(),
        ),
        (
            "id = \"sg-0abc123def4567890\"\ntag = { a = \"b\" }\n",
            "4:7: tag stands beside id (accepted: either id, or group_name and tag)".to_owned(),
        ),
        ("group_name = \"\"\n", format!("3:14: group_name is empty or holds control characters (accepted: {pattern})")),
        ("tag = {}\n", "3:7: tag is empty (accepted: one or more tags, as in { env = \"prod\" })".to_owned()),
        ("tag = { a = \"\" }\n", format!("3:13: tag is empty or holds control characters (accepted: {pattern})")),
        ("tag = \"a\"\n", "3:7: tag of [[resource]] is of type string (accepted: a table of strings)".to_owned()),
        ("group_name = 1\n", "3:14: group_name of [[resource]] is of type integer (accepted: a string)".to_owned()),
    ] {
        assert_eq!(refusal(&like(lines)), format!("c.toml:{expected}"));
    }
    let twice = like("group_name = \"a\"\n") + RESOURCE;
    assert!(refusal(&twice).contains("\"api\" is the name of two resources (accepted: "), "{}", refusal(&twice));
}

#[test]
fn ports_narrow_and_never_widen() {
    let settings = parse(&RESOURCE.replace("\"tcp/22\"", "\"tcp/22\", \"tcp/8000-8080\", \"icmp\""));
    let narrowed = |asked: &[&str]| {
        let asked: Vec<PortSpec> = asked.iter().map(|text| text.parse().unwrap()).collect();
        let ports = settings.resources[0].narrowed(&asked).map_err(|error| error.to_string())?;
        Ok::<_, String>(ports.iter().map(ToString::to_string).collect::<Vec<_>>())
    };
    assert_eq!(narrowed(&[]).unwrap(), ["tcp/22", "tcp/8000-8080", "icmp"]);
    assert_eq!(narrowed(&["tcp/8001", "icmp"]).unwrap(), ["tcp/8001", "icmp"]);
    for wide in ["tcp/23", "tcp/8000-8081", "all", "udp/22"] {
        let expected = format!("api is not configured for {wide} (its ports: tcp/22, tcp/8000-8080, icmp)");
        assert_eq!(narrowed(&["tcp/22", wide]).unwrap_err(), expected);
    }
}

#[test]
fn prefix_lengths() {
    let lengths = |text: &str| parse(&format!("[session]\n{text}")).session.prefix_lengths;
    assert_eq!(parse("").session.prefix_lengths, PrefixLengths::default());
    assert_eq!(lengths("ipv4_prefix_len = 24\nipv6_prefix_len = 64\n"), PrefixLengths::new(24, 64).unwrap());
    assert_eq!(lengths("ipv6_prefix_len = 128\n"), PrefixLengths::default());
    for (line, expected) in [
        ("ipv4_prefix_len = 23", "2:19: ipv4_prefix_len is 23 (accepted: 24 to 32, for one host)"),
        ("ipv4_prefix_len = 33", "2:19: ipv4_prefix_len is 33 (accepted: 24 to 32, for one host)"),
        ("ipv6_prefix_len = 0", "2:19: ipv6_prefix_len is 0 (accepted: 64 to 128, for one host)"),
        ("ipv6_prefix_len = 320", "2:19: ipv6_prefix_len is 320 (accepted: 64 to 128, for one host)"),
    ] {
        assert_eq!(refusal(&format!("[session]\n{line}\n")), format!("c.toml:{expected}"));
    }
}

#[test]
fn notify() {
    assert_eq!(parse("").notify, None);
    let read = |text: &str| parse(&format!("[notify]\n{text}\n")).notify.unwrap();
    let words = vec!["tell".to_owned(), "-x".to_owned(), "-x".to_owned()];
    let (command, before) = (words.clone(), TimeDelta::minutes(10));
    assert_eq!(read("command = [\"tell\", \"-x\", \"-x\"]"), Notify { command, before });
    let (command, before) = (words, hours(1));
    assert_eq!(read("command = [\"tell\", \"-x\", \"-x\"]\nbefore = \"1h\""), Notify { command, before });
    let accepted = "(accepted: a program and its arguments, as in [\"notify-send\", \"eg\"]; no shell is between)";
    for (line, expected) in [
        ("command = []", "2:11: command names no program, or one of its words holds a NUL character"),
        ("command = [\"\"]", "2:11: command names no program, or one of its words holds a NUL character"),
        ("command = \"tell me\"", "2:11: command of [notify] is of type string"),
        ("command = [\"tell\", 1]", "2:20: command of [notify] is of type integer"),
    ] {
        assert_eq!(refusal(&format!("[notify]\n{line}\n")), format!("c.toml:{expected} {accepted}"));
    }
    assert!(refusal("[notify]\nbefore = \"1h\"\n").starts_with("c.toml:2:10: before stands without a command"));
    assert!(refusal("[notify]\ncommand = [\"x\"]\nbefore = \"0m\"\n").contains("3:10: before: "));
}

/// Each of them is read while the ones that include it wait.
#[test]
fn files_include_each_other_sixteen_levels_deep() {
    let chain = |levels: usize| {
        let name = |level: usize| format!("{level}.toml");
        let text = |level: usize| format!("include = [\"{}\"]\n", name(level + 1));
        let mut files: Vec<(String, String)> = (1..levels).map(|level| (name(level), text(level))).collect();
        files.push((name(levels), BARE.to_owned() + "region = \"eu-west-1\"\nports = [\"tcp/22\"]\n"));
        let files: Vec<(&str, &str)> = files.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
        load(&files).map(|settings| settings.resources.len())
    };
    assert_eq!(chain(16), Ok(1));
    for levels in [17, 2_000] {
        let error = chain(levels).unwrap_err();
        let expected = "16.toml:1:12: 17.toml is too deep: files can include each other 16 levels deep";
        assert!(error.starts_with(expected), "{error}");
    }
}

#[test]
fn a_configuration_has_256_files() {
    let broad = |count: usize| {
        let names: Vec<String> = (1..count).map(|number| format!("{number}.toml")).collect();
        let main = format!("include = {names:?}");
        let mut files = vec![("main.toml", main.as_str())];
        files.extend(names.iter().map(|name| (name.as_str(), "")));
        load(&files).map(drop)
    };
    assert_eq!(broad(256), Ok(()));
    let error = broad(257).unwrap_err();
    assert!(error.contains("256.toml is one too many: a configuration can have 256 files"), "{error}");
}

/// Where each of them stands was counted from the file's beginning: 100,000 took an hour.
#[test]
fn many_resources_are_read_in_one_go() {
    const MANY: usize = 100_000;
    let resource = |number: usize| {
        format!(
            "[[resource]]\nname = \"r{number}\"\nid = \"sg-0abc123def4567890\"\nregion = \"eu-west-1\"\nports = [\"tcp/22\"]\n"
        )
    };
    let text: String = (0..MANY).map(resource).collect();
    let settings = Settings::parse(&text, Path::new("c.toml")).unwrap();
    assert_eq!(settings.resources.len(), MANY);
    let twice = text + &resource(MANY - 2);
    let error = Settings::parse(&twice, Path::new("c.toml")).unwrap_err();
    assert_eq!((error.line, error.column), (MANY * 5 + 2, 8));
    assert_eq!(settings.select(&["r5".to_owned()]).unwrap().resources.len(), 1);
    assert_eq!(settings.select(&["none".to_owned()]).unwrap_err().known.len(), MANY);
}

#[test]
fn a_command_that_is_a_path_is_beside_its_file() {
    for (program, expected) in [
        ("./tell", "/etc/mine/./tell"),
        ("bin/tell", "/etc/mine/bin/tell"),
        ("tell", "tell"),
        ("/usr/bin/tell", "/usr/bin/tell"),
    ] {
        let text = format!("[notify]\ncommand = [\"{program}\", \"./x\"]\n");
        let settings = Settings::parse(&text, Path::new("/etc/mine/config.toml")).unwrap();
        assert_eq!(settings.notify.unwrap().command, [expected, "./x"]);
    }
}
