//! Authorize, describe, revoke, modify.

use crate::{
    Bench,
    support::{by_ids, fields, in_group, permissions, tagged, tags},
};

const SSH: (&str, &str, &str, &str) = ("tcp", "22", "22", "203.0.113.42/32");
const SSH6: (&str, &str, &str, &str) = ("tcp", "22", "22", "2001:db8::42/128");
const WEB: (&str, &str, &str, &str) = ("tcp", "443", "443", "203.0.113.42/32");

#[test]
fn authorize_answers_every_rule_with_id_and_tags() {
    let bench = Bench::new();
    let group = bench.group();
    let call = tagged(permissions(&group, &[SSH, SSH6, WEB]), &[("eg:managed-by", "eg"), ("a", "<&>")]);
    let answer = bench.client.get("AuthorizeSecurityGroupIngress", &call);
    assert_eq!(answer.text_of("return"), "true");
    let rules = answer.items("securityGroupRuleSet");
    assert_eq!(answer.each("securityGroupRuleSet", "cidrIpv4"), ["203.0.113.42/32", "", "203.0.113.42/32"]);
    assert_eq!(answer.each("securityGroupRuleSet", "cidrIpv6"), ["", "2001:db8::42/128", ""]);
    assert_eq!(answer.each("securityGroupRuleSet", "fromPort"), ["22", "22", "443"]);
    for rule in &rules {
        assert_eq!(rule.tags()["a"], "<&>");
        assert_eq!(rule.text_of("isEgress"), "false");
        assert_eq!(rule.text_of("groupOwnerId"), "123456789012");
    }
    let mut seen = bench.client.rules(&group);
    seen.sort_by_key(|rule| {
        rules.iter().position(|r| r.text_of("securityGroupRuleId") == rule.text_of("securityGroupRuleId"))
    });
    assert_eq!(seen, rules);
    assert_eq!(bench.handle.rules(&group).len(), 3);
}

#[test]
fn the_default_egress_rule_is_there() {
    let bench = Bench::new();
    let group = bench.group();
    let all = bench.client.get("DescribeSecurityGroupRules", &in_group(&group)).items("securityGroupRuleSet");
    assert_eq!(all.len(), 1);
    assert_eq!((all[0].text_of("isEgress"), all[0].text_of("ipProtocol")), ("true".into(), "-1".into()));
    assert_eq!((all[0].text_of("fromPort"), all[0].text_of("cidrIpv4")), ("-1".into(), "0.0.0.0/0".into()));
}

#[test]
fn authorize_is_atomic() {
    let bench = Bench::new();
    let group = bench.group();
    let authorize = |list: &[_]| bench.client.code("AuthorizeSecurityGroupIngress", &permissions(&group, list));
    assert_eq!(authorize(&[SSH]), "OK");
    assert_eq!(authorize(&[WEB, SSH]), "InvalidPermission.Duplicate");
    assert_eq!(authorize(&[WEB, WEB]), "InvalidParameterValue");
    assert_eq!(authorize(&[WEB, ("tcp", "1", "70000", "10.0.0.0/8")]), "InvalidParameterValue");
    assert_eq!(bench.handle.rules(&group).len(), 1);
    assert!(bench.handle.log().iter().filter(|call| call.outcome != "OK").all(|call| !call.effect));
}

#[test]
fn cidrs_are_canonical() {
    let bench = Bench::new();
    let group = bench.group();
    let authorize =
        |cidr| bench.client.code("AuthorizeSecurityGroupIngress", &permissions(&group, &[("tcp", "1", "1", cidr)]));
    assert_eq!(authorize("100.68.0.18/18"), "OK");
    assert_eq!(authorize("100.68.0.0/18"), "InvalidPermission.Duplicate");
    assert_eq!(authorize("2001:DB8:0:0::1/64"), "OK");
    assert_eq!(authorize("2001:db8::/64"), "InvalidPermission.Duplicate");
    let mut shown: Vec<_> =
        bench.client.rules(&group).iter().map(|r| r.text_of("cidrIpv4") + &r.text_of("cidrIpv6")).collect();
    shown.sort();
    assert_eq!(shown, ["100.68.0.0/18", "2001:db8::/64"]);
}

#[test]
fn protocols_have_one_form() {
    let bench = Bench::new();
    let group = bench.group();
    let list = [
        ("6", "1", "2", "10.0.0.0/8"),
        ("icmp", "", "", "10.0.0.0/8"),
        ("58", "", "", "::/0"),
        ("-1", "5", "6", "10.0.0.0/8"),
        ("50", "", "", "10.0.0.0/8"),
    ];
    let answer = bench.client.get("AuthorizeSecurityGroupIngress", &permissions(&group, &list));
    assert_eq!(answer.each("securityGroupRuleSet", "ipProtocol"), ["tcp", "icmp", "icmpv6", "-1", "50"]);
    assert_eq!(answer.each("securityGroupRuleSet", "fromPort"), ["1", "-1", "-1", "-1", "-1"]);
}

#[test]
fn what_authorize_refuses() {
    let bench = Bench::new();
    let group = bench.group();
    let code = |call: &[(String, String)]| bench.client.code("AuthorizeSecurityGroupIngress", call);
    let unknown = "sg-0123456789abcdef0";
    for (call, expected) in [
        (permissions(unknown, &[SSH]), "InvalidGroup.NotFound"),
        (permissions("web", &[SSH]), "InvalidGroupId.Malformed"),
        (fields(&[("GroupId", &group)]), "MissingParameter"),
        (permissions(&group, &[("tcp", "", "", "10.0.0.0/8")]), "InvalidParameterValue"),
        (permissions(&group, &[("tcp", "9", "8", "10.0.0.0/8")]), "InvalidParameterValue"),
        (permissions(&group, &[("tcp", "x", "8", "10.0.0.0/8")]), "InvalidParameterValue"),
        (permissions(&group, &[("quic", "8", "8", "10.0.0.0/8")]), "InvalidParameterValue"),
        (permissions(&group, &[("icmp", "-1", "3", "10.0.0.0/8")]), "InvalidParameterValue"),
        (permissions(&group, &[("tcp", "8", "8", "10.0.0.0")]), "InvalidParameterValue"),
        (tagged(permissions(&group, &[SSH]), &[("aws:x", "y")]), "InvalidParameterValue"),
    ] {
        assert_eq!(code(&call), expected, "{call:?}");
    }
    let mut wrong_type = tagged(permissions(&group, &[SSH]), &[("a", "b")]);
    for field in wrong_type.iter_mut().filter(|(name, _)| name.ends_with("ResourceType")) {
        field.1 = "instance".to_owned();
    }
    assert_eq!(code(&wrong_type), "InvalidParameterValue");
    assert!(bench.handle.rules(&group).is_empty());
}

#[test]
fn descriptions() {
    let bench = Bench::new();
    let group = bench.group();
    let with = |port: &str, text: &str| {
        let mut call = permissions(&group, &[("tcp", port, port, "10.0.0.0/8")]);
        call.push(("IpPermissions.1.IpRanges.1.Description".to_owned(), text.to_owned()));
        bench.client.code("AuthorizeSecurityGroupIngress", &call)
    };
    assert_eq!(with("1", "a ._-:/()#,@[]+=&;{}!$* Z9"), "OK");
    assert_eq!(with("2", &"x".repeat(255)), "OK");
    assert_eq!(with("3", &"x".repeat(256)), "InvalidParameterValue");
    assert_eq!(with("3", "Zoë"), "InvalidParameterValue");
    assert_eq!(with("3", "a<b"), "InvalidParameterValue");
    let shown: Vec<_> = bench.client.rules(&group).iter().map(|rule| rule.text_of("description")).collect();
    assert!(shown.contains(&"a ._-:/()#,@[]+=&;{}!$* Z9".to_owned()), "{shown:?}");
}

#[test]
fn a_dry_run_changes_nothing() {
    let bench = Bench::new();
    let group = bench.group();
    let mut call = permissions(&group, &[SSH]);
    call.push(("DryRun".to_owned(), "true".to_owned()));
    for action in ["AuthorizeSecurityGroupIngress", "RevokeSecurityGroupIngress"] {
        let answer = bench.client.ask(action, &call);
        assert_eq!((answer.status, answer.code()), (412, "DryRunOperation".to_owned()));
    }
    assert!(bench.handle.rules(&group).is_empty());
    assert!(bench.handle.log().last().unwrap().dry_run);
}

/// `count` ports, numbered from `from`.
fn many(from: u32, count: u32, cidr: &str) -> Vec<(String, String)> {
    let ports: Vec<String> = (from..from + count).map(|port| port.to_string()).collect();
    let list: Vec<_> = ports.iter().map(|port| ("tcp", port.as_str(), port.as_str(), cidr)).collect();
    permissions("GROUP", &list)
}

#[test]
fn the_quota_is_per_family() {
    let bench = Bench::new();
    let group = bench.group();
    let authorize = |mut call: Vec<(String, String)>| {
        call[0].1.clone_from(&group);
        bench.client.code("AuthorizeSecurityGroupIngress", &call)
    };
    assert_eq!(authorize(many(1, 60, "2001:db8::/64")), "OK");
    assert_eq!(authorize(many(61, 1, "2001:db8::/64")), "RulesPerSecurityGroupLimitExceeded");
    assert_eq!(authorize(many(1, 59, "10.0.0.0/8")), "OK");
    assert_eq!(authorize(many(60, 2, "10.0.0.0/8")), "RulesPerSecurityGroupLimitExceeded");
    assert_eq!(authorize(many(60, 1, "10.0.0.0/8")), "OK");
    assert_eq!(bench.handle.rules(&group).len(), 120);
}

#[test]
fn one_call_with_a_full_and_a_free_family_is_refused_whole() {
    let bench = Bench::new();
    bench.handle.set(|settings| settings.rules_per_group = 1);
    let group = bench.group();
    let authorize = |list: &[_]| bench.client.code("AuthorizeSecurityGroupIngress", &permissions(&group, list));
    assert_eq!(authorize(&[SSH6]), "OK");
    assert_eq!(authorize(&[SSH, ("tcp", "23", "23", "::/0")]), "RulesPerSecurityGroupLimitExceeded");
    assert_eq!(authorize(&[SSH]), "OK");
}

#[test]
fn a_rule_that_names_a_group_counts_for_both_families() {
    let bench = Bench::new();
    bench.handle.set(|settings| settings.rules_per_group = 1);
    let (group, other) = (bench.group(), bench.client.create_group("other"));
    let call = fields(&[
        ("GroupId", group.as_str()),
        ("IpPermissions.1.IpProtocol", "tcp"),
        ("IpPermissions.1.FromPort", "1"),
        ("IpPermissions.1.ToPort", "1"),
        ("IpPermissions.1.Groups.1.GroupId", other.as_str()),
    ]);
    assert_eq!(bench.client.code("AuthorizeSecurityGroupIngress", &call), "OK");
    for permission in [SSH, SSH6] {
        let code = bench.client.code("AuthorizeSecurityGroupIngress", &permissions(&group, &[permission]));
        assert_eq!(code, "RulesPerSecurityGroupLimitExceeded");
    }
    assert_eq!(bench.client.rules(&group)[0].find("referencedGroupInfo").unwrap().text_of("groupId"), other);
    assert_eq!(bench.client.code("DeleteSecurityGroup", &fields(&[("GroupId", &other)])), "DependencyViolation");
}

#[test]
fn pages() {
    let bench = Bench::new();
    let group = bench.group();
    let mut call = many(1, 12, "10.0.0.0/8");
    call[0].1.clone_from(&group);
    bench.client.get("AuthorizeSecurityGroupIngress", &call);
    let page = |size: &str, token: &str| {
        let mut call = in_group(&group);
        call.push(("MaxResults".to_owned(), size.to_owned()));
        if !token.is_empty() {
            call.push(("NextToken".to_owned(), token.to_owned()));
        }
        bench.client.ask("DescribeSecurityGroupRules", &call)
    };
    let mut ids = Vec::new();
    let mut sizes = Vec::new();
    let mut token = String::new();
    loop {
        let xml = page("5", &token).xml();
        let on_page = xml.each("securityGroupRuleSet", "securityGroupRuleId");
        sizes.push(on_page.len());
        ids.extend(on_page);
        token = xml.text_of("nextToken");
        if token.is_empty() {
            break;
        }
    }
    assert_eq!(sizes, [5, 5, 3]);
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 13);
    assert_eq!(page("4", "").code(), "InvalidParameterValue");
    assert_eq!(page("1001", "").code(), "InvalidParameterValue");
    assert_eq!(page("1000", "").xml().text_of("nextToken"), "");
    assert_eq!(page("5", "nonsense").code(), "InvalidPaginationToken");
}

#[test]
fn a_token_fits_its_own_question_only_and_pages_can_be_made_short() {
    let bench = Bench::new();
    bench.handle.set(|settings| settings.page_limit = Some(1));
    let group = bench.group();
    bench.client.get("AuthorizeSecurityGroupIngress", &permissions(&group, &[SSH, WEB]));
    let first = bench.client.get("DescribeSecurityGroupRules", &in_group(&group));
    assert_eq!(first.items("securityGroupRuleSet").len(), 1);
    let token = first.text_of("nextToken");
    let mut other = fields(&[("NextToken", token.as_str())]);
    assert_eq!(bench.client.code("DescribeSecurityGroupRules", &other), "InvalidPaginationToken");
    other.extend(in_group(&group));
    assert_eq!(bench.client.code("DescribeSecurityGroupRules", &other), "OK");
}

#[test]
fn filters_and_ids() {
    let bench = Bench::new();
    let group = bench.group();
    let made = bench.client.get("AuthorizeSecurityGroupIngress", &permissions(&group, &[SSH, WEB]));
    let ids = made.each("securityGroupRuleSet", "securityGroupRuleId");
    let found = |call: &[(&str, &str)]| {
        bench
            .client
            .get("DescribeSecurityGroupRules", &fields(call))
            .each("securityGroupRuleSet", "securityGroupRuleId")
    };
    let unknown = "sgr-0123456789abcdef0";
    let by_rule =
        [("Filter.1.Name", "security-group-rule-id"), ("Filter.1.Value.1", &*ids[1]), ("Filter.1.Value.2", unknown)];
    assert_eq!(found(&by_rule), ids[1..]);
    assert_eq!(found(&[("SecurityGroupRuleId.1", &ids[0])]), ids[..1]);
    bench.client.get("CreateTags", &tags(&[&ids[0]], &[("eg:managed-by", Some("eg"))]));
    let by_tag = |value| found(&[("Filter.1.Name", "tag:eg:managed-by"), ("Filter.1.Value.1", value)]);
    assert_eq!((by_tag("eg"), by_tag("terraform")), (ids[..1].to_vec(), Vec::new()));
    let code = |call: &[(&str, &str)]| bench.client.code("DescribeSecurityGroupRules", &fields(call));
    assert_eq!(code(&[("Filter.1.Name", "tag:"), ("Filter.1.Value.1", "x")]), "InvalidParameterValue");
    assert_eq!(code(&[("SecurityGroupRuleId.1", unknown)]), "InvalidSecurityGroupRuleId.NotFound");
    assert_eq!(code(&[("SecurityGroupRuleId.1", "x")]), "InvalidSecurityGroupRuleId.Malformed");
    assert_eq!(code(&[("Filter.1.Name", "colour"), ("Filter.1.Value.1", "red")]), "InvalidParameterValue");
    let gone = in_group("sg-0123456789abcdef0");
    assert!(bench.client.get("DescribeSecurityGroupRules", &gone).items("securityGroupRuleSet").is_empty());
    bench.handle.set(|settings| settings.unknown_group_refuses_rules = true);
    assert_eq!(bench.client.code("DescribeSecurityGroupRules", &gone), "InvalidGroup.NotFound");
    assert_eq!(bench.client.code("DescribeSecurityGroupRules", &in_group("x")), "InvalidGroupId.Malformed");
}

#[test]
fn revoke_by_id_lists_what_it_revoked() {
    let bench = Bench::new();
    let group = bench.group();
    let made = bench.client.get("AuthorizeSecurityGroupIngress", &permissions(&group, &[SSH, WEB]));
    let ids = made.each("securityGroupRuleSet", "securityGroupRuleId");
    let answer = bench.client.get("RevokeSecurityGroupIngress", &by_ids(&group, &[&ids[0]]));
    assert_eq!(answer.each("revokedSecurityGroupRuleSet", "securityGroupRuleId"), ids[..1]);
    assert_eq!(answer.each("revokedSecurityGroupRuleSet", "cidrIpv4"), ["203.0.113.42/32"]);
    assert_eq!(bench.handle.rules(&group).len(), 1);
    let call = bench.handle.log().pop().unwrap();
    assert_eq!((call.action.as_str(), call.effect, &call.rules[..]), ("RevokeSecurityGroupIngress", true, &ids[..1]));
}

#[test]
fn one_unknown_id_refuses_the_whole_revoke() {
    let bench = Bench::new();
    let (group, other) = (bench.group(), bench.client.create_group("other"));
    let made = bench.client.get("AuthorizeSecurityGroupIngress", &permissions(&group, &[SSH]));
    let id = made.text_of("securityGroupRuleId");
    let egress = bench.client.get("DescribeSecurityGroupRules", &in_group(&other)).text_of("securityGroupRuleId");
    let code = |group: &str, ids: &[&str]| bench.client.code("RevokeSecurityGroupIngress", &by_ids(group, ids));
    for wrong in ["sgr-0123456789abcdef0", &egress] {
        assert_eq!(code(&group, &[&id, wrong]), "InvalidSecurityGroupRuleId.NotFound");
    }
    assert_eq!(code(&group, &["sgr-1"]), "InvalidSecurityGroupRuleId.Malformed");
    assert_eq!(code(&other, &[&id]), "InvalidSecurityGroupRuleId.NotFound");
    assert_eq!(code(&other, &[&egress]), "InvalidSecurityGroupRuleId.NotFound");
    assert_eq!(code("sg-0123456789abcdef0", &[&id]), "InvalidGroup.NotFound");
    assert_eq!(bench.handle.rules(&group).len(), 1);
    assert_eq!(code(&group, &[&id]), "OK");
    assert_eq!(code(&group, &[&id]), "InvalidSecurityGroupRuleId.NotFound");
}

#[test]
fn revoke_by_permission() {
    let bench = Bench::new();
    let group = bench.group();
    bench.client.get("AuthorizeSecurityGroupIngress", &permissions(&group, &[SSH, WEB]));
    let code = |list: &[_]| bench.client.code("RevokeSecurityGroupIngress", &permissions(&group, list));
    assert_eq!(code(&[SSH, SSH6]), "InvalidPermission.NotFound");
    assert_eq!(bench.handle.rules(&group).len(), 2);
    assert_eq!(code(&[SSH, WEB]), "OK");
    assert!(bench.handle.rules(&group).is_empty());
}

#[test]
fn ids_are_never_used_again() {
    let bench = Bench::new();
    let group = bench.group();
    let make = || {
        bench.client.get("AuthorizeSecurityGroupIngress", &permissions(&group, &[SSH])).text_of("securityGroupRuleId")
    };
    let first = make();
    bench.handle.revoke_by_hand(&group, &first).unwrap();
    assert_ne!(make(), first);
}

#[test]
fn modify_keeps_id_and_tags() {
    let bench = Bench::new();
    let group = bench.group();
    let made = bench.client.get("AuthorizeSecurityGroupIngress", &tagged(permissions(&group, &[SSH]), &[("a", "b")]));
    bench.client.get("AuthorizeSecurityGroupIngress", &permissions(&group, &[WEB]));
    let id = made.text_of("securityGroupRuleId");
    let change = |id: &str, port: &str, cidr: &str| {
        const NEW: &str = "SecurityGroupRule.1.SecurityGroupRule";
        let call = [
            ("GroupId".to_owned(), group.clone()),
            ("SecurityGroupRule.1.SecurityGroupRuleId".to_owned(), id.to_owned()),
            (format!("{NEW}.IpProtocol"), "tcp".to_owned()),
            (format!("{NEW}.FromPort"), port.to_owned()),
            (format!("{NEW}.ToPort"), port.to_owned()),
            (format!("{NEW}.CidrIpv4"), cidr.to_owned()),
        ];
        bench.client.code("ModifySecurityGroupRules", &call)
    };
    assert_eq!(change(&id, "443", "203.0.113.42/32"), "InvalidPermission.Duplicate");
    assert_eq!(change("sgr-0123456789abcdef0", "1", "10.0.0.0/8"), "InvalidSecurityGroupRuleId.NotFound");
    assert_eq!(change(&id, "1", "10.0.0.9/8"), "OK");
    let rule = bench.handle.rules(&group).into_iter().find(|rule| rule.id == id).unwrap();
    assert_eq!(rule.permission.to_string(), "peer: 10.0.0.0/8, TCP, from port: 1, to port: 1");
    assert_eq!(rule.tags["a"], "b");
}
