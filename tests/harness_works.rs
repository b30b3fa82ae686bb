//! The harness against the provider, without `eg`.

use crate::harness::{
    Echo, Fault, IPV4, World,
    cloud::VARIANT,
    eg::{Names, assert_valid},
    moto::Moto,
};
use serde_json::{Value, json};
use std::{
    io::{Read, Write},
    net::TcpStream,
    time::{Duration, Instant},
};

#[test]
fn a_rule_lives_and_dies_by_hand() {
    let world = World::new();
    let group = world.group("prod-api-sg");
    let before = world.cloud.snapshot();

    let rule = world.cloud.authorize(group, "tcp/22", "198.51.100.7/32", "office", &[("owner", "bob")]);
    let rules = world.cloud.rules(group);
    assert_eq!(rules.len(), 1);
    assert_eq!(rules[0].id, rule);
    assert_eq!(rules[0].ports, (22, 22));
    assert_eq!(rules[0].description, "office");
    assert_eq!(rules[0].tags["owner"], "bob");

    world.cloud.create_tags(&rule, &[("eg:note", "1")]);
    world.cloud.delete_tags(&rule, &[("eg:note", "2")]); // another value: stays
    assert_eq!(world.cloud.rules(group)[0].tags.len(), 2);
    world.cloud.strip_tags(group, &rule);
    assert!(world.cloud.rules(group)[0].tags.is_empty());

    world.cloud.modify(group, &rule, "tcp/2222", "198.51.100.7/32", "moved");
    let moved = &world.cloud.rules(group)[0];
    assert_eq!((moved.id.as_str(), moved.ports, moved.description.as_str()), (rule.as_str(), (2222, 2222), "moved"));

    world.cloud.revoke(group, &rule);
    assert_eq!(world.cloud.snapshot(), before);
}

#[test]
fn ranges_and_families_come_back_as_written() {
    let world = World::new();
    let group = world.group("dev-web-sg");
    world.cloud.authorize(group, "tcp/8000-8080", "203.0.113.42/32", "", &[]);
    world.cloud.authorize(group, "udp/51820", "2001:db8::1/128", "", &[]);
    world.cloud.authorize(group, "-1", "198.51.100.0/24", "", &[]);
    let shown: Vec<_> = world.cloud.rules(group).into_iter().map(|r| (r.protocol, r.ports, r.cidr)).collect();
    let expected = [
        ("-1", (-1, -1), "198.51.100.0/24"),
        ("tcp", (8000, 8080), "203.0.113.42/32"),
        ("udp", (51820, 51820), "2001:db8::1/128"),
    ];
    assert_eq!(shown, expected.map(|(protocol, ports, cidr)| (protocol.to_owned(), ports, cidr.to_owned())));
}

#[test]
fn refusals_have_the_codes_of_aws() {
    let world = World::new();
    let group = world.group("prod-api-sg");
    let rule = world.cloud.authorize(group, "tcp/22", "198.51.100.7/32", "", &[]);
    let again = world.cloud.try_authorize(group, "tcp/22", "198.51.100.7/32", "", &[]);
    assert_eq!(again.unwrap_err().code, "InvalidPermission.Duplicate");
    world.cloud.revoke(group, &rule);
    assert_eq!(world.cloud.try_revoke(group, &rule).unwrap_err().code, "InvalidPermission.NotFound");
    world.cloud.delete_group(group);
    let gone = world.cloud.try_authorize(group, "tcp/22", "198.51.100.7/32", "", &[]);
    assert_eq!(gone.unwrap_err().code, "InvalidGroup.NotFound");
    assert!(world.cloud.rules(group).is_empty(), "a missing group is an empty answer here");
}

#[test]
fn a_group_holds_sixty_rules() {
    let world = World::new();
    let group = world.group("prod-db-sg");
    for number in 0..60 {
        world.cloud.authorize(group, "tcp/5432", &format!("198.51.100.{number}/32"), "", &[]);
    }
    let one_more = world.cloud.try_authorize(group, "tcp/5432", "198.51.100.60/32", "", &[]);
    assert_eq!(one_more.unwrap_err().code, "RulesPerSecurityGroupLimitExceeded");
    assert_eq!(world.cloud.rules(group).len(), 60);
}

#[test]
fn worlds_share_nothing_but_the_server() {
    let (one, two) = (World::new(), World::new());
    one.cloud.authorize(one.group("prod-api-sg"), "tcp/22", "198.51.100.7/32", "", &[]);
    assert!(!two.cloud.snapshot().contains("198.51.100.7"));
    assert!(!two.cloud.snapshot().contains(one.group("prod-api-sg")));
    assert!(!one.cloud.in_region("us-east-1").snapshot().contains("prod-api-sg"));
}

/// One call with the access key of `eg`, past every library; the whole answer.
fn raw(account: &str, body: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", Moto::shared().port())).unwrap();
    let key = Moto::access_key(account, "ENV");
    let head = format!(
        "POST / HTTP/1.0\r\nAuthorization: AWS4-HMAC-SHA256 Credential={key}/20260101/eu-west-1/ec2/aws4_request, x\r\n\
         Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok();
    answer
}

#[test]
fn the_providers_clock_can_be_moved() {
    let account = "300000000001";
    let moto = Moto::shared();
    moto.make_account(account);
    let date = || {
        let answer = raw(account, "Action=DescribeSecurityGroups&Version=2016-11-15");
        let line = answer.lines().find_map(|line| line.strip_prefix("Date: ")).expect("a Date").to_owned();
        assert_eq!(answer.matches("\r\nDate: ").count(), 1, "{answer}");
        chrono::DateTime::parse_from_rfc2822(&line).unwrap().timestamp()
    };
    let now = date();
    moto.set_offset(account, 8 * 3600);
    assert!((8 * 3600..8 * 3600 + 30).contains(&(date() - now)));
    moto.set_offset(account, -3600);
    assert!((-3600..-3570).contains(&(date() - now)));
}

#[test]
fn calls_are_counted_and_those_by_hand_are_not() {
    let world = World::bare();
    world.cloud.create_group("a");
    assert_eq!(world.call_counts(), "");
    let account = world.account();
    raw(account, "Action=DescribeSecurityGroups&Version=2016-11-15&DryRun=true");
    raw(account, "Action=DescribeSecurityGroupRules&Version=2016-11-15&Filter.1.Name=group-id&Filter.1.Value.1=sg-1a");
    raw(account, "Action=RevokeSecurityGroupIngress&Version=2016-11-15&GroupId=sg-1&SecurityGroupRuleId.1=sgr-2");
    let shown: Vec<_> = world.calls().iter().map(ToString::to_string).collect();
    assert_eq!(shown[0], "DescribeSecurityGroups (DryRun) [||] → 200", "moto ignores DryRun here");
    assert_eq!(shown[1], "DescribeSecurityGroupRules [sg-1a||] → InvalidGroupId.Malformed");
    assert_eq!(shown[2], "RevokeSecurityGroupIngress [sg-1|sgr-2|] → InvalidGroup.NotFound");
    assert!(!shown.iter().any(|line| line.contains(VARIANT)));
    world.forget_calls();
    assert_eq!(world.call_counts(), "");
}

#[test]
fn faults_come_when_and_where_they_were_asked_for() {
    let world = World::bare();
    let group = world.cloud.create_group("a");
    let authorize = format!(
        "Action=AuthorizeSecurityGroupIngress&Version=2016-11-15&GroupId={group}&IpPermissions.1.IpProtocol=tcp\
         &IpPermissions.1.FromPort=22&IpPermissions.1.ToPort=22&IpPermissions.1.IpRanges.1.CidrIp=198.51.100.1%2F32"
    );
    let action = "AuthorizeSecurityGroupIngress";

    world.faults(&[Fault::refuse(action, 503, "RequestLimitExceeded", "slow down").skip(1).times(1).dry_run(true)]);
    let dry = format!("{authorize}&DryRun=true");
    assert!(raw(world.account(), &dry).contains("DryRunOperation"));
    assert!(raw(world.account(), &dry).contains("RequestLimitExceeded"));
    assert!(raw(world.account(), &dry).contains("DryRunOperation"));

    world.faults(&[Fault::lose_request(action)]);
    assert_eq!(raw(world.account(), &authorize), "");
    assert!(world.cloud.rules(&group).is_empty(), "a lost request does nothing");

    world.faults(&[Fault::lose_answer(action).times(1).containing("198.51.100.1")]);
    assert_eq!(raw(world.account(), &authorize), "");
    assert_eq!(world.cloud.rules(&group).len(), 1, "a lost answer hides what was done");
    assert!(raw(world.account(), &authorize).contains("InvalidPermission.Duplicate"));

    world.faults(&[Fault::delay(action, 0.3)]);
    let begin = Instant::now();
    raw(world.account(), &authorize);
    assert!(begin.elapsed() >= Duration::from_millis(300));
}

#[test]
fn an_echo_service_answers_what_it_was_told() {
    let ask = |echo: &Echo| {
        let mut stream = TcpStream::connect(echo.url().trim_start_matches("http://").trim_end_matches('/')).unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    };
    let echo = Echo::v4(IPV4);
    assert!(ask(&echo).ends_with("\r\n\r\n203.0.113.42"));
    echo.say("<html>please log in</html>");
    assert!(ask(&echo).ends_with("</html>"));
    assert_eq!(echo.asked(), 2);
    let url = echo.url();
    drop(echo);
    let Ok(mut other) = TcpStream::connect(url.trim_start_matches("http://").trim_end_matches('/')) else { return };
    // A server of another test may have the port by now. It does not say what this one said.
    other.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
    let mut answer = Vec::new();
    let told = other.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").and_then(|()| other.read_to_end(&mut answer));
    assert!(!answer.ends_with(b"please log in</html>"), "it is still there: {told:?}");
}

#[test]
fn a_server_of_ones_own_ends_when_dropped() {
    let moto = Moto::start();
    let port = moto.port();
    assert!(TcpStream::connect(("127.0.0.1", port)).is_ok());
    drop(moto);
    assert!(TcpStream::connect(("127.0.0.1", port)).is_err());
}

#[test]
fn names_keep_widths_and_stay_the_same() {
    let mut names = Names::default();
    let id = "a1b2c3d4-e5f6-4890-abcd-ef1234567890";
    let text = format!("{id} a1b2c3d4 sgr-0123456789abcdef0 sg-0123456789abcdef0 2026-02-27 18:00:00 until 18:00");
    let first = names.normalise(&text);
    assert_eq!(first.len(), text.len());
    assert_eq!(
        first,
        "id000001-xxxx-xxxx-xxxx-xxxxxxxxxxxx id000001 sgr-rule0000000000001 sg-group000000000001 \
         YYYY-MM-DD HH:MM:SS until HH:MM"
    );
    let other = names.normalise("b2c3d4e5-e5f6-4890-abcd-ef1234567890 then A1 a1b2c3d4 deadbeef");
    assert_eq!(other, "id000002-xxxx-xxxx-xxxx-xxxxxxxxxxxx then A1 id000001 deadbeef");
    assert_eq!(
        names.normalise("http://127.0.0.1:43991/ 2026-02-27T18:00:00Z"),
        "http://127.0.0.1:PORT/ YYYY-MM-DDTHH:MM:SSZ"
    );
}

#[test]
fn the_binary_runs_in_a_world() {
    let world = World::new();
    let outcome = world.eg(&["--version"]).expect_code(0);
    assert!(outcome.to_string().starts_with("exit status: 0\n----- stdout -----\n"), "{outcome}");
    assert_eq!(world.call_counts(), "");
    let other = world.installation("other-machine");
    assert_ne!(other.state_path(), world.here.state_path());
    assert!(std::fs::read_to_string(other.config_path()).unwrap().contains(world.group("dev-web-sg")));
}

fn session() -> Value {
    json!({
        "id": "a1b2c3d4-e5f6-4890-abcd-ef1234567890", "userName": "Alice", "userEmail": null,
        "ipv4Address": "203.0.113.42", "ipv6Address": null, "status": "ACTIVE",
        "startedAt": "2026-02-27T10:00:00Z", "expiresAt": "2026-02-27T18:00:00Z", "endedAt": null,
        "endedReason": null, "reason": null, "follow": false, "followedName": null, "createdAt": "2026-02-27T10:00:00Z",
        "overdueSeconds": 0,
        "callerArns": ["arn:aws:iam::123456789012:user/alice"],
        "resourceIps": [{
            "id": "b1b2c3d4-e5f6-4890-abcd-ef1234567890", "resourceId": "sg-0abc123def4567890",
            "resourceName": "prod-api-sg", "provider": "aws", "kind": "security-group", "ipVersion": 4, "ipAddress": "203.0.113.42", "cidr": "203.0.113.42/32",
            "ports": ["tcp/22"], "status": "APPLIED", "coverage": "own", "providerRuleId": "sgr-0123456789abcdef0", "providerRuleIds": ["sgr-0123456789abcdef0"],
            "appliedAt": "2026-02-27T10:00:02Z", "removedAt": null, "errorMessage": null, "lastFailure": null,
            "nextTryAt": null,
        }],
    })
}

#[test]
fn the_schemas_take_what_they_describe() {
    assert_valid("session", &session());
    assert_valid("sessions", &json!([session(), session()]));
    assert_valid("sessions", &json!([]));
    let warning = json!({"code": "not-scheduled", "message": "nothing is scheduled", "hints": ["run it from cron"]});
    assert_valid("error", &json!({ "warning": warning }));
    assert_valid("error", &json!({"error": {"kind": "usage", "message": "no such resource", "hints": []}}));
    assert_valid(
        "reconcile",
        &json!({
            "runId": "a1b2c3d4-e5f6-4890-abcd-ef1234567890", "startedAt": "2026-02-27T10:00:00Z",
            "finishedAt": "2026-02-27T10:00:02Z", "converged": false, "digest": "0011aabb", "nextWakeAt": null,
            "moves": [],
            "steps": [{
                "action": "authorize", "resourceName": "prod-api-sg", "resourceId": "sg-0abc123def4567890",
                "region": "eu-west-1",
                "permissions": [{"protocol": "tcp", "fromPort": 22, "toPort": 22, "cidr": "2001:db8::1/128"}],
                "ruleIds": [], "sessionId": null, "until": null, "outcome": "planned", "error": null,
            }],
            "notes": [{"resourceId": null, "kind": "clock", "message": "the local clock is 3 minutes ahead"}],
        }),
    );
}

/// Readers of v1 have to take keys that come later; what is printed today is checked against the schemas closed.
#[test]
fn the_schemas_let_new_keys_come() {
    for (name, schema) in eg::inside::SCHEMAS {
        let schema: Value = serde_json::from_str(schema).unwrap();
        assert!(!schema.to_string().contains("\"additionalProperties\":false"), "{name} is closed");
    }
}

/// One shape for a permission, one word for a firewall and for its name.
#[test]
fn the_schemas_have_one_word_for_one_thing() {
    fn objects<'v>(value: &'v Value, found: &mut Vec<&'v serde_json::Map<String, Value>>) {
        match value {
            Value::Object(object) => {
                found.extend(object.get("properties").and_then(Value::as_object));
                object.values().for_each(|inner| objects(inner, found));
            }
            Value::Array(list) => list.iter().for_each(|inner| objects(inner, found)),
            _ => {}
        }
    }
    let mut shapes = std::collections::BTreeSet::new();
    for (name, schema) in eg::inside::SCHEMAS {
        let schema: Value = serde_json::from_str(schema).unwrap();
        let mut found = Vec::new();
        objects(&schema, &mut found);
        for keys in found {
            for old in ["target", "resource", "groupId"] {
                assert!(!keys.contains_key(old), "{old} in {name}");
            }
            if keys.contains_key("fromPort") {
                shapes.insert(json!(keys).to_string());
            }
            for (key, value) in keys.iter().filter(|(key, _)| *key == "groups") {
                let inner = &value["items"]["properties"];
                let group = if inner.is_null() { &schema["$defs"]["group"]["properties"] } else { inner };
                assert!(group["id"].is_object() && group["name"].is_object(), "{key} in {name} are no groups");
            }
        }
    }
    assert_eq!(shapes.len(), 1, "{shapes:#?}");
}

#[test]
fn the_schemas_refuse_what_they_do_not_describe() {
    for (key, value) in [
        ("more", json!(1)),
        ("status", json!("active")),
        ("startedAt", json!("2026-02-27T10:00:00.5Z")),
        ("expiresAt", json!("2026-02-27T10:00:00+01:00")),
        ("id", json!("a1b2c3d4")),
        ("ipv4Address", json!("203.0.113.42/32")),
        ("callerArns", Value::Null),
        ("resourceIps", json!([])),
    ] {
        let mut wrong = session();
        wrong[key] = value;
        assert!(std::panic::catch_unwind(|| assert_valid("session", &wrong)).is_err(), "{key}: {wrong:#}");
    }
    let mut short = session();
    short.as_object_mut().unwrap().remove("reason");
    assert!(std::panic::catch_unwind(|| assert_valid("session", &short)).is_err(), "a key may not be left out");
}
