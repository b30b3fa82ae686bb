//! Groups: create, describe, delete; whose they are.

use crate::{
    Bench,
    support::{Client, fields, in_group, permissions},
};

const UNKNOWN: &str = "sg-0123456789abcdef0";

#[test]
fn create() {
    let bench = Bench::new();
    let group = bench.group();
    let code = |call: &[(&str, &str)]| bench.client.code("CreateSecurityGroup", &fields(call));
    assert_eq!(code(&[("GroupName", "web"), ("GroupDescription", "x")]), "InvalidGroup.Duplicate");
    assert_eq!(code(&[("GroupName", "other")]), "MissingParameter");
    assert_eq!(code(&[("GroupName", "sg-x"), ("GroupDescription", "x")]), "InvalidParameterValue");
    assert_eq!(bench.handle.groups().iter().map(|group| &group.id).collect::<Vec<_>>(), [&group]);
}

#[test]
fn one_unknown_id_fails_the_call_and_an_unknown_filter_value_does_not() {
    let bench = Bench::new();
    let group = bench.group();
    let describe = |call: &[(&str, &str)]| bench.client.ask("DescribeSecurityGroups", &fields(call));
    assert_eq!(describe(&[("GroupId.1", &group)]).xml().each("securityGroupInfo", "groupId"), [group.as_str()]);
    assert_eq!(describe(&[("GroupId.1", &group), ("GroupId.2", UNKNOWN)]).code(), "InvalidGroup.NotFound");
    assert_eq!(describe(&[("GroupId.1", "x")]).code(), "InvalidGroupId.Malformed");
    assert_eq!(describe(&[("GroupName.1", "x")]).code(), "InvalidGroup.NotFound");
    let filter = [("Filter.1.Name", "group-id"), ("Filter.1.Value.1", UNKNOWN), ("Filter.1.Value.2", &group)];
    assert_eq!(describe(&filter).xml().each("securityGroupInfo", "groupId"), [group.as_str()]);
    assert!(describe(&filter[..2]).xml().items("securityGroupInfo").is_empty());
}

#[test]
fn filters_take_wildcards_and_tags() {
    let bench = Bench::new();
    let (api, db) = (bench.client.create_group("prod-api"), bench.client.create_group("prod-db"));
    bench.client.create_group("dev-api");
    let tag = |id: &str, team: &str| {
        let call = [("ResourceId.1", id), ("Tag.1.Key", "team"), ("Tag.1.Value", team)];
        bench.client.get("CreateTags", &fields(&call));
    };
    tag(&api, "web");
    tag(&db, "data");
    let describe = |call: &[(&str, &str)]| bench.client.get("DescribeSecurityGroups", &fields(call));
    let names = |call: &[(&str, &str)]| {
        let mut names = describe(call).each("securityGroupInfo", "groupName");
        names.sort();
        names
    };
    let by_name = |value| names(&[("Filter.1.Name", "group-name"), ("Filter.1.Value.1", value)]);
    assert_eq!(by_name("prod-*"), ["prod-api", "prod-db"]);
    assert_eq!(by_name("*-api"), ["dev-api", "prod-api"]);
    assert_eq!(by_name("prod-db?"), ["prod-db"], "none, or one");
    let both = [("Filter.2.Name", "tag:team"), ("Filter.2.Value.1", "w*"), ("Filter.2.Value.2", "x")];
    assert_eq!(
        names(&[&[("Filter.1.Name", "group-name"), ("Filter.1.Value.1", "prod-*")], &both[..]].concat()),
        ["prod-api"]
    );
    let bad = [("Filter.1.Name", "tag:"), ("Filter.1.Value.1", "x")];
    assert_eq!(bench.client.code("DescribeSecurityGroups", &fields(&bad)), "InvalidParameterValue");
}

#[test]
fn groups_show_their_rules() {
    let bench = Bench::new();
    let group = bench.group();
    let list = [("tcp", "22", "22", "10.0.0.0/8"), ("tcp", "22", "22", "2001:db8::/64"), ("-1", "", "", "10.0.0.0/8")];
    bench.client.get("AuthorizeSecurityGroupIngress", &permissions(&group, &list));
    let item = bench.client.get("DescribeSecurityGroups", &fields(&[("GroupId.1", &group)]));
    let inbound = item.items("ipPermissions");
    assert_eq!(item.each("ipPermissions", "ipProtocol"), ["-1", "tcp"]);
    assert_eq!(inbound[1].each("ipRanges", "cidrIp"), ["10.0.0.0/8"]);
    assert_eq!(inbound[1].each("ipv6Ranges", "cidrIpv6"), ["2001:db8::/64"]);
    assert_eq!(item.each("ipPermissionsEgress", "ipProtocol"), ["-1"]);
    assert_eq!(item.text_of("ownerId"), "123456789012");
}

#[test]
fn pages() {
    let bench = Bench::new();
    for number in 0..7 {
        bench.client.create_group(&format!("group {number}"));
    }
    let first = bench.client.get("DescribeSecurityGroups", &fields(&[("MaxResults", "5")]));
    let token = first.text_of("nextToken");
    let second = bench.client.get("DescribeSecurityGroups", &fields(&[("MaxResults", "5"), ("NextToken", &token)]));
    assert_eq!((first.items("securityGroupInfo").len(), second.items("securityGroupInfo").len()), (5, 2));
    assert_eq!(second.find("nextToken"), None);
    assert_eq!(bench.client.code("DescribeSecurityGroups", &fields(&[("MaxResults", "4")])), "InvalidParameterValue");
}

#[test]
fn a_deleted_group_takes_its_rules_along() {
    let bench = Bench::new();
    let group = bench.group();
    bench.client.get("AuthorizeSecurityGroupIngress", &permissions(&group, &[("tcp", "1", "1", "10.0.0.0/8")]));
    let code = || bench.client.code("DeleteSecurityGroup", &fields(&[("GroupId", &group)]));
    assert_eq!((code().as_str(), code().as_str()), ("OK", "InvalidGroup.NotFound"));
    assert!(bench.client.get("DescribeSecurityGroupRules", &in_group(&group)).items("securityGroupRuleSet").is_empty());
    assert!(bench.handle.rules(&group).is_empty());
}

#[test]
fn accounts_and_regions_do_not_see_each_other() {
    let bench = Bench::new();
    let group = bench.group();
    let mut elsewhere = bench.client.clone();
    elsewhere.region = "eu-west-1".to_owned();
    for stranger in [bench.client.with_key("AKIAEG111111111111X"), elsewhere] {
        assert_eq!(stranger.code("DescribeSecurityGroups", &fields(&[("GroupId.1", &group)])), "InvalidGroup.NotFound");
        assert!(stranger.rules(&group).is_empty());
        stranger.create_group("web");
    }
    let hers = bench.handle.create_group_in("222222222222", "eu-west-1", "web").unwrap();
    assert_eq!(bench.handle.groups().iter().find(|group| group.id == hers).unwrap().account, "222222222222");
}

#[test]
fn requests_that_are_none() {
    let bench = Bench::new();
    assert_eq!(bench.client.code("", &[]), "MissingAction");
    assert_eq!(bench.client.code("RunInstances", &[]), "InvalidAction");
    let nobody = Client { access_key: None, ..bench.client };
    let answer = nobody.ask("DescribeSecurityGroups", &[]);
    assert_eq!((answer.status, answer.code()), (403, "MissingAuthenticationToken".to_owned()));
    assert_eq!(answer.xml().text_of("RequestID"), answer.headers["x-amzn-requestid"]);
}

#[test]
fn regions_in_use_are_enabled() {
    let bench = Bench::new();
    bench.handle.create_group_in("123456789012", "ap-south-1", "far").unwrap();
    bench.handle.create_group_in("111111111111", "sa-east-1", "of another").unwrap();
    let names = bench.client.get("DescribeRegions", &[]).each("regionInfo", "regionName");
    assert_eq!(names, ["ap-south-1", "eu-central-1", "eu-west-1", "us-east-1"]);
}
