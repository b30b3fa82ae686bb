//! The exact requests, and what is made of every kind of answer.

pub mod auto_closes;
pub mod batches;
pub mod interfaces;
pub mod lists;
pub mod preparation;
pub mod replay;
pub mod time_limits;

use crate::{
    Authorize, CallObserver, Caller, CallerAccess, Connect, CredentialsEnd, Discovery, Firewall, Marking, ReadResult,
    Registry, Rights, SetAutoClose, Verdict,
    aws::{
        connect::{Aws, Options},
        errors::classify::ROWS,
        expiry::preparation::Prepared,
        policy::roles::ExpiryRole,
        read::observe::FILTER_VALUES,
        security_group::SecurityGroups,
        tests::replay::{Play, Replay},
        wire::clock::Clock,
    },
};
use aws_credential_types::{
    Credentials,
    provider::{ProvideCredentials, SharedCredentialsProvider, error::CredentialsError, future},
};
use eg_model::{
    Timestamp,
    auto_close::{AutoCloseRoute, AutoCloseSeen},
    failure::{Failure, FailureClass},
    ids::RuleId,
    net::permission::Permission,
    observation::{ObservedRule, Reading},
    selector::Selector,
    target::{OtherServices, Route, Target, TargetKey},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

const GROUP: &str = "sg-0abc123def4567890";
const DATE: &str = "Fri, 27 Feb 2026 10:00:00 GMT";

/// A clock that moves by one second at every look.
fn clock() -> Clock {
    let ticks = AtomicI64::new(0);
    Arc::new(move || at("2026-02-27T10:00:10Z") + chrono::TimeDelta::seconds(ticks.fetch_add(1, Ordering::SeqCst)))
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn target(id: &str) -> Target {
    Target::new(TargetKey::new("aws", "security-group", "eu-west-1", id))
}

fn options(replay: &Replay) -> Options {
    let keys = Credentials::new("AKIDEXAMPLE", "secret", None, None, "test");
    Options {
        http_client: Some(replay.client()),
        credentials: Some(SharedCredentialsProvider::new(keys)),
        ..Options::new(clock(), "alice")
    }
}

async fn world(plays: impl IntoIterator<Item = Play>) -> (Replay, Arc<SecurityGroups>) {
    let replay = Replay::new(plays);
    let groups = Aws::new(options(&replay)).security_groups(&target(GROUP)).await.unwrap();
    (replay, groups)
}

fn form<const N: usize>(pairs: [(&str, &str); N]) -> BTreeMap<String, String> {
    pairs.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

fn permission(text: &str) -> Permission {
    text.parse().unwrap()
}

fn set(ids: &[&str]) -> BTreeSet<String> {
    ids.iter().map(|id| (*id).to_owned()).collect()
}

fn tags<const N: usize>(pairs: [(&str, &str); N]) -> BTreeMap<String, String> {
    form(pairs)
}

fn authorize(permissions: &[&str]) -> Authorize {
    Authorize {
        group: GROUP.into(),
        permissions: permissions.iter().map(|text| permission(text)).collect(),
        tags: tags([("eg:managed-by", "eg"), ("eg:session", "s")]),
        description: "eg alice@laptop session a1b2c3d4 \"x\"".into(),
        nonce: "00c0ffee".into(),
    }
}

/// A rule as EC2 lists it; `inner` is what it allows.
fn rule(id: &str, group: &str, egress: bool, inner: &str) -> String {
    format!(
        "<item><securityGroupRuleId>{id}</securityGroupRuleId><groupId>{group}</groupId><groupOwnerId>123456789012</groupOwnerId><isEgress>{egress}</isEgress>{inner}</item>"
    )
}

fn tcp(port: u16, cidr: &str) -> String {
    let family = if cidr.contains(':') { "cidrIpv6" } else { "cidrIpv4" };
    format!("<ipProtocol>tcp</ipProtocol><fromPort>{port}</fromPort><toPort>{port}</toPort><{family}>{cidr}</{family}>")
}

fn tag_set(pairs: &[(&str, &str)]) -> String {
    let items: String =
        pairs.iter().map(|(key, value)| format!("<item><key>{key}</key><value>{value}</value></item>")).collect();
    format!("<tagSet>{items}</tagSet>")
}

fn rules_page(items: &str, token: Option<&str>) -> Play {
    let token = token.map(|token| format!("<nextToken>{token}</nextToken>")).unwrap_or_default();
    Play::ok(format!(
        "<DescribeSecurityGroupRulesResponse><requestId>r</requestId><securityGroupRuleSet>{items}</securityGroupRuleSet>{token}</DescribeSecurityGroupRulesResponse>"
    ))
}

fn groups_page(ids: &[&str]) -> Play {
    let items: String =
        ids.iter().map(|id| format!("<item><ownerId>123456789012</ownerId><groupId>{id}</groupId></item>")).collect();
    Play::ok(format!(
        "<DescribeSecurityGroupsResponse><requestId>r</requestId><securityGroupInfo>{items}</securityGroupInfo></DescribeSecurityGroupsResponse>"
    ))
}

fn identity() -> Play {
    Play::ok(
        "<GetCallerIdentityResponse><GetCallerIdentityResult><Arn>arn:aws-cn:iam::123456789012:user/alice</Arn><UserId>U</UserId><Account>123456789012</Account></GetCallerIdentityResult></GetCallerIdentityResponse>",
    )
}

fn authorized(items: &str) -> Play {
    Play::ok(format!(
        "<AuthorizeSecurityGroupIngressResponse><return>true</return><securityGroupRuleSet>{items}</securityGroupRuleSet></AuthorizeSecurityGroupIngressResponse>"
    ))
}

fn revoked(inner: &str) -> Play {
    Play::ok(format!("<RevokeSecurityGroupIngressResponse>{inner}</RevokeSecurityGroupIngressResponse>"))
}

fn failure(sighting: &ReadResult) -> &Failure {
    match sighting {
        ReadResult::Unavailable(failure) => failure,
        other => panic!("{other:?}"),
    }
}

fn reading(sighting: &ReadResult) -> &Reading {
    match sighting {
        ReadResult::Complete(reading) => reading,
        other => panic!("{other:?}"),
    }
}

// Changes

#[tokio::test]
async fn authorize_says_exactly_what_was_asked() {
    let items = rule(
        "sgr-1",
        GROUP,
        false,
        &(tcp(22, "203.0.113.42/32") + &tag_set(&[("eg:managed-by", "eg"), ("cost", "7")])),
    ) + &rule(
        "sgr-2",
        GROUP,
        false,
        "<ipProtocol>udp</ipProtocol><fromPort>8000</fromPort><toPort>8080</toPort><cidrIpv6>2001:db8::1/128</cidrIpv6>",
    ) + &rule(
        "sgr-3",
        GROUP,
        false,
        "<ipProtocol>icmpv6</ipProtocol><fromPort>-1</fromPort><toPort>-1</toPort><cidrIpv6>2001:db8::1/128</cidrIpv6>",
    ) + &rule(
        "sgr-4",
        GROUP,
        false,
        "<ipProtocol>-1</ipProtocol><fromPort>-1</fromPort><toPort>-1</toPort><cidrIpv4>203.0.113.42/32</cidrIpv4>",
    );
    let (replay, groups) = world([authorized(&items).with("x-amzn-requestid", "req-1")]).await;
    let call = authorize(&[
        "tcp|22|22|203.0.113.42/32",
        "udp|8000|8080|2001:db8::1/128",
        "icmpv6|-1|-1|2001:db8::1/128",
        "-1|-1|-1|203.0.113.42/32",
    ]);
    let answer = groups.authorize(&call).await.unwrap();

    let description = "eg alice@laptop session a1b2c3d4 _x_";
    assert_eq!(
        replay.asked()[0].form,
        form([
            ("Action", "AuthorizeSecurityGroupIngress"),
            ("GroupId", GROUP),
            ("IpPermissions.1.IpProtocol", "tcp"),
            ("IpPermissions.1.FromPort", "22"),
            ("IpPermissions.1.ToPort", "22"),
            ("IpPermissions.1.IpRanges.1.CidrIp", "203.0.113.42/32"),
            ("IpPermissions.1.IpRanges.1.Description", description),
            ("IpPermissions.2.IpProtocol", "udp"),
            ("IpPermissions.2.FromPort", "8000"),
            ("IpPermissions.2.ToPort", "8080"),
            ("IpPermissions.2.Ipv6Ranges.1.CidrIpv6", "2001:db8::1/128"),
            ("IpPermissions.2.Ipv6Ranges.1.Description", description),
            ("IpPermissions.3.IpProtocol", "icmpv6"),
            ("IpPermissions.3.FromPort", "-1"),
            ("IpPermissions.3.ToPort", "-1"),
            ("IpPermissions.3.Ipv6Ranges.1.CidrIpv6", "2001:db8::1/128"),
            ("IpPermissions.3.Ipv6Ranges.1.Description", description),
            ("IpPermissions.4.IpProtocol", "-1"),
            ("IpPermissions.4.IpRanges.1.CidrIp", "203.0.113.42/32"),
            ("IpPermissions.4.IpRanges.1.Description", description),
            ("TagSpecification.1.ResourceType", "security-group-rule"),
            ("TagSpecification.1.Tag.1.Key", "eg:managed-by"),
            ("TagSpecification.1.Tag.1.Value", "eg"),
            ("TagSpecification.1.Tag.2.Key", "eg:session"),
            ("TagSpecification.1.Tag.2.Value", "s"),
        ])
    );
    assert_eq!(replay.asked()[0].uri, "https://ec2.eu-west-1.amazonaws.com/");
    assert_eq!(answer.request_id.as_deref(), Some("req-1"));
    let ids: Vec<&str> = answer.value.iter().map(|rule| rule.id.0.as_str()).collect();
    assert_eq!(ids, ["sgr-1", "sgr-2", "sgr-3", "sgr-4"]);
    assert_eq!(answer.value[0].tags, tags([("eg:managed-by", "eg"), ("cost", "7")]), "the answer's tags");
    assert_eq!(answer.value[1].tags, call.tags, "the request's, where the answer has none");
    assert!(answer.value.iter().zip(&call.permissions).all(|(rule, permission)| rule.permission == *permission));
}

/// What is not named, with an id and exactly as asked for, is not proved by the answer: a reading has to tell.
#[tokio::test]
async fn an_answer_proves_only_the_rules_that_it_names() {
    let one = rule("sgr-1", GROUP, false, &tcp(22, "203.0.113.42/32"));
    let nameless = rule("", GROUP, false, &tcp(443, "203.0.113.42/32"));
    let other = rule("sgr-2", GROUP, false, &tcp(444, "203.0.113.42/32"));
    for (items, named) in [
        (String::new(), vec![]),
        (one.clone(), vec!["sgr-1"]),
        (one.clone() + &nameless, vec!["sgr-1"]),
        (other + &one, vec!["sgr-1"]),
    ] {
        let (_, groups) = world([authorized(&items)]).await;
        let call = authorize(&["tcp|22|22|203.0.113.42/32", "tcp|443|443|203.0.113.42/32"]);
        let answer = groups.authorize(&call).await.unwrap();
        let ids: Vec<&str> = answer.value.iter().map(|rule| rule.id.0.as_str()).collect();
        assert_eq!(ids, named);
    }
    let no = "<AuthorizeSecurityGroupIngressResponse><return>false</return></AuthorizeSecurityGroupIngressResponse>";
    let (_, groups) = world([Play::ok(no)]).await;
    let failure = groups.authorize(&authorize(&["tcp|22|22|203.0.113.42/32"])).await.unwrap_err();
    assert_eq!(failure.class, FailureClass::Unknown);
}

#[tokio::test]
async fn revoke_goes_by_id_alone() {
    let named = "<return>true</return><revokedSecurityGroupRuleSet><item><securityGroupRuleId>sgr-1</securityGroupRuleId><groupId>g</groupId></item><item><securityGroupRuleId>sgr-9</securityGroupRuleId></item></revokedSecurityGroupRuleSet>";
    let (replay, groups) =
        world([revoked(named), revoked("<return>true</return>"), revoked(""), revoked("<return>false</return>")]).await;
    let ids = || vec!["sgr-1".to_owned(), "sgr-2".to_owned()];
    let answer = groups.revoke_ids(GROUP, ids()).await.unwrap();
    assert_eq!(answer.value, BTreeSet::from([RuleId("sgr-1".into())]), "only what was asked for and is named");
    assert!(groups.revoke_ids(GROUP, ids()).await.unwrap().value.is_empty());
    assert!(groups.revoke_ids(GROUP, ids()).await.unwrap().value.is_empty());
    assert_eq!(groups.revoke_ids(GROUP, ids()).await.unwrap_err().class, FailureClass::Unknown);
    for asked in replay.asked() {
        assert_eq!(
            asked.form,
            form([
                ("Action", "RevokeSecurityGroupIngress"),
                ("GroupId", GROUP),
                ("SecurityGroupRuleId.1", "sgr-1"),
                ("SecurityGroupRuleId.2", "sgr-2"),
            ])
        );
    }
}

#[tokio::test]
async fn tags_are_written_and_deleted_by_key_and_value() {
    let (replay, groups) = world([
        Play::ok("<CreateTagsResponse><return>true</return></CreateTagsResponse>").with("x-amzn-requestid", "req-2"),
        Play::ok("<DeleteTagsResponse><return>true</return></DeleteTagsResponse>"),
    ])
    .await;
    let lease = tags([("eg:lease:abc", "2026-02-27T18:00:00Z")]);
    let written = groups.tag_ids(GROUP, vec!["sgr-1".into(), "sgr-2".into()], &lease).await.unwrap();
    assert_eq!(written.request_id.as_deref(), Some("req-2"));
    groups.untag_id(GROUP, "sgr-1", &lease).await.unwrap();
    groups.untag_id(GROUP, "sgr-1", &BTreeMap::new()).await.unwrap();
    let asked = replay.asked();
    assert_eq!(asked.len(), 2, "deleting no tags would delete all, so nothing is sent");
    assert_eq!(
        asked[0].form,
        form([
            ("Action", "CreateTags"),
            ("ResourceId.1", "sgr-1"),
            ("ResourceId.2", "sgr-2"),
            ("Tag.1.Key", "eg:lease:abc"),
            ("Tag.1.Value", "2026-02-27T18:00:00Z"),
        ])
    );
    assert_eq!(
        asked[1].form,
        form([
            ("Action", "DeleteTags"),
            ("ResourceId.1", "sgr-1"),
            ("Tag.1.Key", "eg:lease:abc"),
            ("Tag.1.Value", "2026-02-27T18:00:00Z")
        ])
    );
}

#[tokio::test]
async fn nothing_to_change_is_no_call() {
    let (replay, groups) = world([]).await;
    assert!(groups.revoke(&[]).await.unwrap().value.is_empty());
    groups.tag(&[], &tags([("a", "b")])).await.unwrap();
    assert!(replay.asked().is_empty());
}

#[tokio::test]
async fn dry_runs() {
    let denied = |message: &str| Play::Answer {
        status: 403,
        body: format!(
            "<Response><Errors><Error><Code>UnauthorizedOperation</Code><Message>{message}</Message></Error></Errors><RequestID>r</RequestID></Response>"
        ),
        headers: vec![],
    };
    let allowed = || Play::error(412, "DryRunOperation");
    let ssh = permission("tcp|22|22|203.0.113.42/32");

    let extra = tags([("cost-center", "7")]);

    let (replay, groups) = world([allowed(), allowed()]).await;
    let all = Rights { open: Verdict::Allowed, tag: Verdict::Allowed, close: Verdict::Allowed };
    assert_eq!(groups.rights(GROUP, &ssh, &extra).await, all);
    let asked = replay.asked();
    assert_eq!(
        asked[0].form,
        form([
            ("Action", "AuthorizeSecurityGroupIngress"),
            ("DryRun", "true"),
            ("GroupId", GROUP),
            ("IpPermissions.1.IpProtocol", "tcp"),
            ("IpPermissions.1.FromPort", "9"),
            ("IpPermissions.1.ToPort", "9"),
            ("IpPermissions.1.IpRanges.1.CidrIp", "192.0.2.0/32"),
            ("TagSpecification.1.ResourceType", "security-group-rule"),
            ("TagSpecification.1.Tag.1.Key", "cost-center"),
            ("TagSpecification.1.Tag.1.Value", "7"),
            ("TagSpecification.1.Tag.2.Key", "eg:managed-by"),
            ("TagSpecification.1.Tag.2.Value", "eg"),
        ])
    );
    assert_eq!(
        asked[1].form,
        form([
            ("Action", "RevokeSecurityGroupIngress"),
            ("DryRun", "true"),
            ("GroupId", GROUP),
            ("IpPermissions.1.IpProtocol", "tcp"),
            ("IpPermissions.1.FromPort", "9"),
            ("IpPermissions.1.ToPort", "9"),
            ("IpPermissions.1.IpRanges.1.CidrIp", "192.0.2.0/32"),
        ])
    );

    // Refused with a tag, it is asked without.
    let named = "You are not authorized to perform this operation. User: arn:aws:iam::1:user/a is not authorized to perform: ec2:CreateTags on resource: arn";
    let (replay, groups) =
        world([denied(named), allowed(), denied("You are not authorized to perform this operation.")]).await;
    let rights = groups.rights(GROUP, &ssh, &extra).await;
    assert_eq!(rights.open, Verdict::Allowed);
    let plain = &replay.asked()[1].form;
    assert!(plain.keys().all(|key| !key.starts_with("TagSpecification")) && plain["DryRun"] == "true", "{plain:?}");
    let missing = rights.denied();
    assert!(missing.iter().all(|failure| failure.class == FailureClass::Denied));
    assert!(missing[0].message.starts_with("ec2:CreateTags on sg-0abc"), "{}", missing[0]);
    assert!(missing[1].message.starts_with("ec2:RevokeSecurityGroupIngress on sg-0abc"), "{}", missing[1]);

    let (_, groups) = world([denied("no"), denied("no"), Play::error(400, "InvalidPermission.NotFound")]).await;
    let rights = groups.rights(GROUP, &ssh, &extra).await;
    assert!(matches!((&rights.tag, &rights.close), (Verdict::Unknown(_), Verdict::Unknown(_))), "{rights:?}");
    let missing = rights.denied();
    assert_eq!(missing.len(), 1);
    assert!(missing[0].message.starts_with("ec2:AuthorizeSecurityGroupIngress on sg-0abc"), "{}", missing[0]);

    let (_, groups) = world([Play::Reset, Play::error(400, "InvalidPermission.Duplicate")]).await;
    let rights = groups.rights(GROUP, &ssh, &extra).await;
    assert!(matches!(rights.open, Verdict::Unknown(_)), "{rights:?}");
    assert_eq!(rights.denied(), [], "what cannot be told is not denied");

    let (_, groups) = world([authorized(""), revoked("")]).await;
    let rights = groups.rights(GROUP, &ssh, &extra).await;
    for verdict in [rights.open, rights.tag, rights.close] {
        let Verdict::Unknown(failure) = verdict else { panic!("{verdict:?}") };
        assert!(failure.message.ends_with("the endpoint does not know dry runs"), "{failure}");
    }
}

// Groups

fn listed(id: &str, name: &str, inner: &str) -> String {
    format!("<item><ownerId>123456789012</ownerId><groupId>{id}</groupId><groupName>{name}</groupName>{inner}</item>")
}

fn list_page(items: &str, token: Option<&str>) -> Play {
    let token = token.map(|token| format!("<nextToken>{token}</nextToken>")).unwrap_or_default();
    Play::ok(format!(
        "<DescribeSecurityGroupsResponse><requestId>r</requestId><securityGroupInfo>{items}</securityGroupInfo>{token}</DescribeSecurityGroupsResponse>"
    ))
}

#[tokio::test]
async fn every_page_of_the_groups() {
    let permissions = "<vpcId>vpc-1</vpcId><ipPermissions>
        <item><ipProtocol>tcp</ipProtocol><fromPort>22</fromPort><toPort>22</toPort>
            <groups><item><groupId>sg-9</groupId></item></groups>
            <ipRanges><item><cidrIp>0.0.0.0/0</cidrIp></item><item><cidrIp>10.0.0.0/8</cidrIp></item></ipRanges>
            <ipv6Ranges><item><cidrIpv6>::/0</cidrIpv6></item></ipv6Ranges>
            <prefixListIds><item><prefixListId>pl-1</prefixListId></item></prefixListIds></item>
        <item><ipProtocol>-1</ipProtocol><ipRanges><item><cidrIp>198.51.100.7/32</cidrIp></item></ipRanges></item>
        <item><ipProtocol>tcp</ipProtocol><ipRanges><item><cidrIp>198.51.100.8/32</cidrIp></item></ipRanges></item>
        </ipPermissions>";
    let first = listed("sg-2", "web", &(permissions.to_owned() + &tag_set(&[("env", "prod")])));
    let second = listed("sg-3", "api", "") + &listed("sg-1", "web", "");
    let (replay, groups) = world([list_page(&first, Some("t")), list_page(&second, None)]).await;
    let found = groups.groups(None).await.unwrap();
    let asked = replay.asked();
    assert_eq!(asked[0].form, form([("Action", "DescribeSecurityGroups"), ("MaxResults", "1000")]));
    assert_eq!(asked[1].form, form([("Action", "DescribeSecurityGroups"), ("MaxResults", "1000"), ("NextToken", "t")]));
    let ids: Vec<_> = found.iter().map(|group| group.id.as_str()).collect();
    assert_eq!(ids, ["sg-3", "sg-1", "sg-2"], "by name, then id");
    let web = &found[2];
    assert_eq!((web.name.as_str(), web.network.as_deref()), ("web", Some("vpc-1")));
    assert_eq!(web.tags, tags([("env", "prod")]));
    let mut expected: Vec<Permission> =
        ["tcp|22|22|0.0.0.0/0", "tcp|22|22|10.0.0.0/8", "tcp|22|22|::/0", "-1|-1|-1|198.51.100.7/32"]
            .map(permission)
            .to_vec();
    expected.sort();
    assert_eq!(web.permissions, expected);
    assert_eq!(web.other_ingress, 3, "a group, a prefix list, and one without ports");
    assert_eq!((found[0].network.as_deref(), found[0].permissions.len()), (None, 0));
}

fn selector(name: Option<&str>, tags: &[(&str, &str)]) -> Selector {
    use eg_model::selector::Pattern;
    let pattern = |text: &str| Pattern::new(text).unwrap();
    Selector::new(name.map(pattern), tags.iter().map(|(k, v)| ((*k).to_owned(), pattern(v))).collect()).unwrap()
}

#[tokio::test]
async fn groups_by_name_and_tag() {
    let meant = selector(Some("prod-*"), &[("env", "prod"), ("team", "w?b")]);
    let tagged = tag_set(&[("env", "prod"), ("team", "web")]);
    let (replay, groups) = world([list_page(&listed("sg-1", "prod-a", &tagged), None)]).await;
    assert_eq!(groups.groups(Some(&meant)).await.unwrap().len(), 1);
    assert_eq!(
        replay.asked()[0].form,
        form([
            ("Action", "DescribeSecurityGroups"),
            ("MaxResults", "1000"),
            ("Filter.1.Name", "group-name"),
            ("Filter.1.Value.1", "prod-*"),
            ("Filter.2.Name", "tag:env"),
            ("Filter.2.Value.1", "prod"),
            ("Filter.3.Name", "tag:team"),
            ("Filter.3.Value.1", "w?b"),
        ])
    );

    // An endpoint that leaves the filters aside would have everything opened.
    let (_, groups) = world([list_page(&(listed("sg-1", "prod-a", &tagged) + &listed("sg-2", "dev", "")), None)]).await;
    let failure = groups.groups(Some(&meant)).await.unwrap_err();
    assert_eq!(
        failure.message,
        "look for the groups with name prod-*, tag env=prod, tag team=w?b: the answer holds sg-2, which is not meant"
    );
}

#[tokio::test]
async fn a_list_of_groups_is_whole_or_none() {
    for (plays, words) in [
        (
            vec![list_page(&listed("sg-1", "a", ""), Some("t")), Play::error(503, "RequestLimitExceeded")],
            "said Request",
        ),
        (vec![list_page(&listed("sg-1", "a", ""), Some("t")), list_page("", Some("t"))], "pages repeat"),
        (vec![list_page(&listed("", "a", ""), None)], "a group without an id"),
        (vec![Play::ok("<DescribeSecurityGroupsResponse><securityGroupInfo><item>")], "the answer is cut off"),
    ] {
        let (_, groups) = world(plays).await;
        let failure = groups.groups(None).await.unwrap_err();
        assert!(failure.message.starts_with("list the groups: ") && failure.message.contains(words), "{failure}");
    }
}

// Errors

#[tokio::test]
async fn every_error_code_through_the_sdk() {
    for (code, status, class) in ROWS {
        let (replay, groups) = world([Play::error(*status, code)]).await;
        let failure = groups.revoke_ids(GROUP, vec!["sgr-1".into()]).await.unwrap_err();
        assert_eq!(failure.class, *class, "{code} {status}");
        if *status >= 400 {
            assert_eq!(failure.code, *code);
            assert_eq!(failure.message, format!("close sgr-1 on {GROUP}: said {code} ({code})"));
            assert_eq!(failure.request_id.as_deref(), Some("body-request"));
        }
        assert_eq!(replay.asked().len(), 1, "the SDK retries nothing: {code}");
    }
}

#[tokio::test]
async fn endings_without_an_answer_leave_the_outcome_open() {
    for (play, words, patience) in [
        (Play::Reset, "Connection reset", Duration::from_secs(10)),
        (Play::Refused, "Connection refused", Duration::from_secs(10)),
        (Play::Never, "no answer in time", Duration::from_millis(100)),
    ] {
        let replay = Replay::new([play]);
        let quick = Options { call_timeout: patience, ..options(&replay) };
        let groups = Aws::new(quick).security_groups(&target(GROUP)).await.unwrap();
        let failure = groups.authorize(&authorize(&["tcp|22|22|203.0.113.42/32"])).await.unwrap_err();
        assert_eq!(failure.class, FailureClass::Unknown);
        assert!(failure.message.starts_with("open tcp/22 from 203.0.113.42/32 on sg-0abc"), "{failure}");
        assert!(failure.message.contains(words), "{failure}");
        assert_eq!(replay.asked().len(), 1);
    }
}

#[tokio::test]
async fn answers_that_are_not_ec2s() {
    for (status, body, class) in [
        (200, "<html>Log in</html>", FailureClass::Unknown),
        (200, "<AuthorizeSecurityGroupIngressResponse><return>tr", FailureClass::Unknown),
        (502, "<html>Bad gateway</html>", FailureClass::Transient),
        (407, "", FailureClass::Unknown),
        (503, "", FailureClass::Transient),
    ] {
        let play = Play::Answer { status, body: body.into(), headers: vec![("x-amzn-requestid", "req-3".into())] };
        let (_, groups) = world([play]).await;
        let failure = groups.authorize(&authorize(&["tcp|22|22|203.0.113.42/32"])).await.unwrap_err();
        assert_eq!(failure.class, class, "{status} {body}: {failure}");
        assert_eq!(failure.request_id.as_deref(), Some("req-3"), "{status} {body}: {failure:?}");
    }
}

/// Wherever an answer breaks off, it is no answer: neither a short list nor a last page.
#[tokio::test]
async fn answers_that_are_cut_off() {
    let mine = rule("sgr-1", GROUP, false, &tcp(22, "203.0.113.42/32"));
    let Play::Answer { body, .. } = rules_page(&mine, Some("more")) else { panic!("an answer") };
    let begin = body.find('>').unwrap();
    for end in begin..body.len() {
        let (replay, groups) = world([Play::ok(&body[..end])]).await;
        let seen = groups.observe_groups(&set(&[GROUP])).await;
        let failure = failure(&seen[GROUP]);
        assert_eq!(failure.class, FailureClass::Unknown, "{end}: {failure}");
        assert_eq!(replay.asked().len(), 1, "{end}");
    }
    let named = "read the rules of sg-0abc123def4567890: the answer is cut off";
    let (_, groups) = world([Play::ok(&body[..body.len() / 2])]).await;
    assert_eq!(failure(&groups.observe_groups(&set(&[GROUP])).await[GROUP]).message, named);
    // Which groups are there is told by a list as well.
    let silent = rules_page("", None);
    let (_, groups) = world([silent, Play::ok("<DescribeSecurityGroupsResponse><securityGroupInfo>")]).await;
    assert_eq!(failure(&groups.observe_groups(&set(&[GROUP])).await[GROUP]).class, FailureClass::Unknown);
}

#[derive(Debug)]
struct Without(fn() -> CredentialsError);

impl ProvideCredentials for Without {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::ready(Err((self.0)()))
    }
}

#[tokio::test]
async fn without_credentials_nothing_is_sent() {
    for (error, class, asked) in [
        ((|| CredentialsError::not_loaded("none found")) as fn() -> CredentialsError, FailureClass::Credentials, 0),
        // Perhaps the local clock is ahead, and the session has not expired: the time is asked for, without credentials.
        (|| CredentialsError::provider_error("the SSO session has expired"), FailureClass::Credentials, 1),
        (|| CredentialsError::invalid_configuration("profile loops"), FailureClass::Credentials, 0),
        (|| CredentialsError::provider_timed_out(Duration::from_secs(5)), FailureClass::Unknown, 0),
    ] {
        let replay = Replay::new(vec![Play::error(401, "AuthFailure").with("date", DATE); asked]);
        let options = Options { credentials: Some(SharedCredentialsProvider::new(Without(error))), ..options(&replay) };
        let groups = Aws::new(options).security_groups(&target(GROUP)).await.unwrap();
        let failure = groups.revoke_ids(GROUP, vec!["sgr-1".into()]).await.unwrap_err();
        assert_eq!(failure.class, class, "{failure}");
        let sent = replay.asked();
        assert_eq!(sent.len(), asked, "{failure}");
        assert!(sent.iter().all(|call| call.form["Action"] == "DescribeRegions" && call.authorization.is_empty()));
        assert_eq!(groups.credentials_end().await, CredentialsEnd::Unknown);
    }
}

// Clocks

/// Two hours after [`DATE`].
const TWO_HOURS_AHEAD: &str = "Fri, 27 Feb 2026 12:00:00 GMT";

/// When a request was signed: `Credential=…/20260227/…` says the day, and the header the time, which the replay keeps no
/// copy of; so the day is moved.
fn signed_on(asked: &replay::SentRequest) -> &str {
    asked.authorization.split('/').nth(1).unwrap()
}

/// Each service has a code of its own for a signature of another time, and most of these mean other things as well.
#[tokio::test]
async fn a_signature_of_the_wrong_time_is_made_again_by_the_providers() {
    for (status, code) in [(400, "RequestExpired"), (401, "AuthFailure"), (403, "SignatureDoesNotMatch")] {
        let tomorrow = "Sat, 28 Feb 2026 10:00:00 GMT";
        let refused = Play::error(status, code).with("date", tomorrow);
        let done =
            Play::ok("<RevokeSecurityGroupIngressResponse><return>true</return></RevokeSecurityGroupIngressResponse>");
        let (replay, groups) = world([refused, done.clone(), done]).await;
        groups.revoke_ids(GROUP, vec!["sgr-1".into()]).await.unwrap();
        groups.revoke_ids(GROUP, vec!["sgr-2".into()]).await.unwrap();
        let days: Vec<String> = replay.asked().iter().map(|asked| signed_on(asked).to_owned()).collect();
        assert_eq!(days, ["20260227", "20260228", "20260228"], "{code}: learnt once");
    }
}

/// What is refused for another reason, or again, is refused.
#[tokio::test]
async fn nothing_is_sent_more_than_once_more() {
    for (code, date, times) in [
        ("AuthFailure", DATE, 1),
        ("UnauthorizedOperation", TWO_HOURS_AHEAD, 1),
        ("RequestLimitExceeded", TWO_HOURS_AHEAD, 1),
        ("AuthFailure", TWO_HOURS_AHEAD, 2),
    ] {
        let (replay, groups) = world(vec![Play::error(403, code).with("date", date); times]).await;
        let failure = groups.revoke_ids(GROUP, vec!["sgr-1".into()]).await.unwrap_err();
        assert_eq!((failure.code.as_str(), replay.asked().len()), (code, times), "{date}");
    }
    // What a cache answers tells no time.
    let (replay, groups) =
        world([Play::error(401, "AuthFailure").with("date", TWO_HOURS_AHEAD).with("age", "7200")]).await;
    groups.revoke_ids(GROUP, vec!["sgr-1".into()]).await.unwrap_err();
    assert_eq!(replay.asked().len(), 1);
}

/// As long as AWS accepts the signatures, a proxy that tells another time changes nothing; nor does one where the time was
/// not the reason.
#[tokio::test]
async fn another_time_alone_is_no_reason_to_sign_by_it() {
    let tomorrow = "Sat, 28 Feb 2026 10:00:00 GMT";
    let done =
        Play::ok("<RevokeSecurityGroupIngressResponse><return>true</return></RevokeSecurityGroupIngressResponse>");
    let bad_keys = || Play::error(401, "AuthFailure").with("date", tomorrow);
    let (replay, groups) = world([done.clone().with("date", tomorrow), bad_keys(), bad_keys(), done]).await;
    groups.revoke_ids(GROUP, vec!["sgr-1".into()]).await.unwrap();
    groups.revoke_ids(GROUP, vec!["sgr-2".into()]).await.unwrap_err();
    groups.revoke_ids(GROUP, vec!["sgr-3".into()]).await.unwrap();
    let days: Vec<String> = replay.asked().iter().map(|asked| signed_on(asked).to_owned()).collect();
    assert_eq!(days, ["20260227", "20260227", "20260228", "20260227"]);
}

/// Whoever is two hours ahead takes an SSO session for expired that is not, and would never ask AWS anything.
#[tokio::test]
async fn credentials_that_look_expired_to_a_wrong_clock() {
    #[derive(Debug)]
    struct ExpiredAtFirst(std::sync::atomic::AtomicBool);
    impl ProvideCredentials for ExpiredAtFirst {
        fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
        where
            Self: 'a,
        {
            let keys = || Credentials::new("AKIDEXAMPLE", "secret", None, None, "test");
            future::ProvideCredentials::ready(match self.0.swap(true, Ordering::SeqCst) {
                true => Ok(keys()),
                false => Err(CredentialsError::provider_error("the SSO token has expired")),
            })
        }
    }
    let done =
        Play::ok("<RevokeSecurityGroupIngressResponse><return>true</return></RevokeSecurityGroupIngressResponse>");
    let replay = Replay::new([Play::error(401, "AuthFailure").with("date", TWO_HOURS_AHEAD), done]);
    let expired = SharedCredentialsProvider::new(ExpiredAtFirst(false.into()));
    let options = Options { credentials: Some(expired), ..options(&replay) };
    let groups = Aws::new(options).security_groups(&target(GROUP)).await.unwrap();
    groups.revoke_ids(GROUP, vec!["sgr-1".into()]).await.unwrap();
    assert_eq!(replay.actions(), ["DescribeRegions", "RevokeSecurityGroupIngress"]);
}

/// The refusal of a role's own call is as good a teacher.
#[tokio::test]
async fn a_role_is_assumed_by_the_providers_time() {
    let tomorrow = "Sat, 28 Feb 2026 10:00:00 GMT";
    let refused = Play::sts_error(403, "SignatureDoesNotMatch").with("date", tomorrow);
    let assumed = Play::ok(
        "<AssumeRoleResponse><AssumeRoleResult><Credentials><AccessKeyId>ASIA</AccessKeyId><SecretAccessKey>s\
         </SecretAccessKey><SessionToken>t</SessionToken><Expiration>2026-02-28T11:00:00Z</Expiration></Credentials>\
         </AssumeRoleResult></AssumeRoleResponse>",
    );
    let done =
        Play::ok("<RevokeSecurityGroupIngressResponse><return>true</return></RevokeSecurityGroupIngressResponse>");
    let replay = Replay::new([refused, assumed, done]);
    let way = Target {
        route: Route { role_arn: Some("arn:aws:iam::123456789012:role/r".into()), ..Route::default() },
        ..target(GROUP)
    };
    let groups = Aws::new(options(&replay)).security_groups(&way).await.unwrap();
    groups.revoke_ids(GROUP, vec!["sgr-1".into()]).await.unwrap();
    assert_eq!(replay.actions(), ["AssumeRole", "AssumeRole", "RevokeSecurityGroupIngress"]);
    let days: Vec<String> = replay.asked().iter().map(|asked| signed_on(asked).to_owned()).collect();
    assert_eq!(days, ["20260227", "20260228", "20260228"]);
}

/// When credentials end is not worth waiting for ever: a `credential_process` may hang.
#[tokio::test]
async fn credentials_that_never_come() {
    #[derive(Debug)]
    struct Never;
    impl ProvideCredentials for Never {
        fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
        where
            Self: 'a,
        {
            future::ProvideCredentials::new(std::future::pending())
        }
    }
    let replay = Replay::new([]);
    let options = Options {
        credentials: Some(SharedCredentialsProvider::new(Never)),
        call_timeout: Duration::from_millis(1),
        ..options(&replay)
    };
    let groups = Aws::new(options).security_groups(&target(GROUP)).await.unwrap();
    let answer = tokio::time::timeout(Duration::from_secs(60), groups.credentials_end()).await;
    assert_eq!(answer.ok(), Some(CredentialsEnd::Unknown));
}

// Readings

#[tokio::test]
async fn a_reading_keeps_ingress_cidrs_only() {
    let items = rule(
        "sgr-1",
        GROUP,
        false,
        &(tcp(22, "203.0.113.42/32") + "<description>hand made</description>" + &tag_set(&[("a", "b")])),
    ) + &rule(
        "sgr-2",
        GROUP,
        true,
        "<ipProtocol>-1</ipProtocol><fromPort>-1</fromPort><toPort>-1</toPort><cidrIpv4>0.0.0.0/0</cidrIpv4>",
    ) + &rule(
        "sgr-3",
        GROUP,
        false,
        "<ipProtocol>tcp</ipProtocol><fromPort>1</fromPort><toPort>1</toPort><prefixListId>pl-1</prefixListId>",
    ) + &rule(
        "sgr-4",
        GROUP,
        false,
        "<ipProtocol>tcp</ipProtocol><fromPort>1</fromPort><toPort>1</toPort><referencedGroupInfo><groupId>sg-2</groupId></referencedGroupInfo>",
    ) + &rule(
        "sgr-5",
        GROUP,
        false,
        "<ipProtocol>58</ipProtocol><fromPort>-1</fromPort><toPort>-1</toPort><cidrIpv6>2001:DB8::1/64</cidrIpv6>",
    ) + &rule("sgr-6", GROUP, false, "<ipProtocol>50</ipProtocol><cidrIpv4>10.0.0.0/8</cidrIpv4>")
        + &rule("sgr-7", "sg-someone-elses", false, &tcp(22, "203.0.113.42/32"));
    let (replay, groups) = world([rules_page(&items, None).with("date", DATE)]).await;
    let target = target(GROUP).key;
    let seen = groups.observe(&BTreeSet::from([target.clone()])).await;
    assert_eq!(
        seen[&target],
        ReadResult::Complete(Reading {
            rules: vec![
                ObservedRule {
                    id: RuleId("sgr-1".into()),
                    permission: permission("tcp|22|22|203.0.113.42/32"),
                    description: Some("hand made".into()),
                    tags: tags([("a", "b")]),
                },
                ObservedRule {
                    id: RuleId("sgr-5".into()),
                    permission: permission("icmpv6|-1|-1|2001:db8::/64"),
                    description: None,
                    tags: BTreeMap::new(),
                },
                ObservedRule {
                    id: RuleId("sgr-6".into()),
                    permission: permission("50|-1|-1|10.0.0.0/8"),
                    description: None,
                    tags: BTreeMap::new(),
                },
            ],
            other_ingress: 2,
            read_at: at("2026-02-27T10:00:10Z"),
            last_page_at: at("2026-02-27T10:00:10Z"),
            read_later: BTreeMap::new(),
            provider_time: Some(at("2026-02-27T10:00:00Z")),
            loose_marks: BTreeSet::new(),
            family: None,
        })
    );
    assert_eq!(seen.len(), 1);
    assert_eq!(
        replay.asked()[0].form,
        form([
            ("Action", "DescribeSecurityGroupRules"),
            ("Filter.1.Name", "group-id"),
            ("Filter.1.Value.1", GROUP),
            ("MaxResults", "1000")
        ])
    );
}

#[tokio::test]
async fn every_page_is_read_and_the_first_dates_the_reading() {
    let (replay, groups) = world([
        rules_page(&rule("sgr-1", GROUP, false, &tcp(22, "203.0.113.42/32")), Some("more")).with("date", DATE),
        rules_page(&rule("sgr-2", GROUP, false, &tcp(443, "203.0.113.42/32")), Some(""))
            .with("date", "Fri, 27 Feb 2026 10:00:09 GMT"),
    ])
    .await;
    let seen = groups.observe_groups(&set(&[GROUP])).await;
    let reading = reading(&seen[GROUP]);
    assert_eq!(reading.rules.len(), 2);
    assert_eq!(reading.read_at, at("2026-02-27T10:00:10Z"));
    assert_eq!(reading.provider_time, Some(at("2026-02-27T10:00:00Z")));
    let later: Vec<_> = reading.read_later.keys().map(|rule| rule.0.as_str()).collect();
    assert_eq!(later, ["sgr-2"], "a rule of a later page has a time of its own");
    let asked = replay.asked();
    assert_eq!(asked[0].form.get("NextToken"), None);
    assert_eq!(asked[1].form["NextToken"], "more");
    assert_eq!(asked[1].form["Filter.1.Value.1"], GROUP);
}

/// By filter, so that a rule that is gone is left out and does not fail the call; and of this group alone.
#[tokio::test]
async fn rules_are_read_by_their_ids() {
    let target = target(GROUP).key;
    let ids: BTreeSet<RuleId> = ["sgr-1", "sgr-2"].map(|id| RuleId(id.to_owned())).into();
    let one = rule("sgr-1", GROUP, false, &tcp(22, "203.0.113.42/32"));
    let (replay, groups) = world([rules_page(&one, None)]).await;
    let seen = groups.observe_rules(&target, &ids).await.unwrap();
    let found: Vec<_> = seen.rules.iter().map(|rule| rule.id.0.as_str()).collect();
    assert_eq!((found, seen.read_at), (vec!["sgr-1"], at("2026-02-27T10:00:10Z")));
    assert_eq!(
        replay.asked()[0].form,
        form([
            ("Action", "DescribeSecurityGroupRules"),
            ("Filter.1.Name", "group-id"),
            ("Filter.1.Value.1", GROUP),
            ("Filter.2.Name", "security-group-rule-id"),
            ("Filter.2.Value.1", "sgr-1"),
            ("Filter.2.Value.2", "sgr-2"),
            ("MaxResults", "1000")
        ])
    );
    let (_, groups) = world([Play::Reset]).await;
    let failed = groups.observe_rules(&target, &ids).await.unwrap_err();
    assert_eq!(failed.class, FailureClass::Unknown, "what could not be read is not gone");
}

#[tokio::test]
async fn a_series_that_fails_is_no_reading() {
    let page = |token| rules_page(&rule("sgr-1", GROUP, false, &tcp(22, "203.0.113.42/32")), Some(token));
    for (plays, class) in [
        (vec![page("a"), Play::error(503, "Unavailable")], FailureClass::Transient),
        (vec![page("a"), Play::Reset], FailureClass::Unknown),
        (vec![page("a"), page("a")], FailureClass::Unknown),
        (vec![page("a"), page("b"), page("a")], FailureClass::Unknown),
        (vec![Play::error(403, "UnauthorizedOperation")], FailureClass::Denied),
        (vec![Play::ok("<html/>")], FailureClass::Unknown),
    ] {
        let (replay, groups) = world(plays).await;
        let seen = groups.observe_groups(&set(&[GROUP, "sg-2"])).await;
        assert_eq!(seen.len(), 2);
        assert!(seen.values().all(|sighting| failure(sighting).class == class), "{seen:?}");
        replay.asked();
    }
}

#[tokio::test]
async fn a_series_without_end_is_no_reading() {
    let pages = (0..400).map(|page| rules_page("", Some(&format!("token-{page}"))));
    let (replay, groups) = world(pages).await;
    let seen = groups.observe_groups(&set(&[GROUP])).await;
    assert!(failure(&seen[GROUP]).message.contains("no last page"));
    assert_eq!(replay.asked().len(), 400);
}

#[tokio::test]
async fn many_groups_are_read_in_batches_that_fail_alone() {
    let ids: BTreeSet<String> = (0..=FILTER_VALUES).map(|number| format!("sg-{number:04}")).collect();
    let items: String = ids
        .iter()
        .take(FILTER_VALUES)
        .map(|id| rule(&format!("sgr-{id}"), id, false, &tcp(22, "203.0.113.42/32")))
        .collect();
    let (replay, groups) = world([rules_page(&items, None), Play::error(500, "InternalError")]).await;
    let seen = groups.observe_groups(&ids).await;
    assert_eq!(seen.len(), 201);
    assert!(ids.iter().take(200).all(|id| reading(&seen[id]).rules.len() == 1));
    assert_eq!(failure(&seen["sg-0200"]).class, FailureClass::Transient);
    let asked = replay.asked();
    assert_eq!(asked.len(), 2);
    assert_eq!(asked[0].form["Filter.1.Value.200"], "sg-0199");
    assert_eq!(asked[0].form.get("Filter.1.Value.201"), None);
    assert_eq!(asked[1].form["Filter.1.Value.1"], "sg-0200");
}

#[tokio::test]
async fn a_group_without_rules_is_looked_for() {
    let one = rules_page(&rule("sgr-1", "sg-1", false, &tcp(22, "203.0.113.42/32")), None).with("date", DATE);
    let (replay, groups) =
        world([one, groups_page(&["sg-2"]), identity(), rules_page("", None), groups_page(&[])]).await;
    let seen = groups.observe_groups(&set(&["sg-1", "sg-2", "sg-3"])).await;
    assert_eq!(reading(&seen["sg-1"]).rules.len(), 1);
    let empty = reading(&seen["sg-2"]);
    assert_eq!(empty.rules.len(), 0);
    assert_eq!(empty.provider_time, Some(at("2026-02-27T10:00:00Z")));
    let caller = Caller {
        account: "123456789012".into(),
        arn: "arn:aws-cn:iam::123456789012:user/alice".into(),
        partition: "aws-cn".into(),
    };
    assert_eq!(seen["sg-3"], ReadResult::NotFound { caller: Some(caller.clone()) });

    let again = groups.observe_groups(&set(&["sg-3"])).await;
    assert_eq!(again["sg-3"], ReadResult::NotFound { caller: Some(caller.clone()) });
    assert_eq!(groups.caller().await.unwrap(), caller);
    let actions = [
        "DescribeSecurityGroupRules",
        "DescribeSecurityGroups",
        "GetCallerIdentity",
        "DescribeSecurityGroupRules",
        "DescribeSecurityGroups",
    ];
    assert_eq!(replay.actions(), actions, "the caller is asked for once");
    let asked = replay.asked();
    assert_eq!(
        asked[1].form,
        form([
            ("Action", "DescribeSecurityGroups"),
            ("Filter.1.Name", "group-id"),
            ("Filter.1.Value.1", "sg-2"),
            ("Filter.1.Value.2", "sg-3"),
            ("MaxResults", "1000"),
        ])
    );
    assert_eq!(asked[2].form, form([("Action", "GetCallerIdentity")]));
    assert_eq!(asked[2].uri, "https://sts.eu-west-1.amazonaws.com/");
}

#[tokio::test]
async fn an_egress_rule_proves_that_the_group_is_there() {
    let egress = rule("sgr-1", GROUP, true, "<ipProtocol>-1</ipProtocol><cidrIpv4>0.0.0.0/0</cidrIpv4>");
    let (replay, groups) = world([rules_page(&egress, None)]).await;
    let seen = groups.observe_groups(&set(&[GROUP])).await;
    assert_eq!(reading(&seen[GROUP]).rules, []);
    assert_eq!(replay.asked().len(), 1);
}

#[tokio::test]
async fn not_found_means_nothing_when_the_caller_is_unknown() {
    for bad in [
        Play::sts_error(403, "ExpiredToken"),
        Play::ok("<GetCallerIdentityResponse><GetCallerIdentityResult/></GetCallerIdentityResponse>"),
    ] {
        let (_, groups) = world([rules_page("", None), groups_page(&[]), bad]).await;
        let seen = groups.observe_groups(&set(&[GROUP])).await;
        failure(&seen[GROUP]);
    }
    let (_, groups) = world([rules_page("", None), Play::error(403, "UnauthorizedOperation")]).await;
    let seen = groups.observe_groups(&set(&[GROUP])).await;
    assert_eq!(failure(&seen[GROUP]).class, FailureClass::Denied);
}

#[tokio::test]
async fn an_endpoint_that_refuses_a_batch_for_one_missing_group() {
    let missing = || Play::error(400, "InvalidGroup.NotFound");
    let one = || rules_page(&rule("sgr-1", "sg-1", false, &tcp(22, "203.0.113.42/32")), None);
    let (replay, groups) = world([missing(), missing(), groups_page(&["sg-1"]), missing(), identity(), one()]).await;
    let seen = groups.observe_groups(&set(&["sg-1", "sg-2"])).await;
    assert_eq!(reading(&seen["sg-1"]).rules.len(), 1);
    assert!(matches!(seen["sg-2"], ReadResult::NotFound { .. }));
    replay.asked();

    let (_, groups) = world([missing(), groups_page(&["sg-1"])]).await;
    let seen = groups.observe_groups(&set(&["sg-1"])).await;
    assert_eq!(failure(&seen["sg-1"]).class, FailureClass::Gone, "there, and yet not to be read: no reading");
}

#[tokio::test]
async fn what_cannot_be_read_is_never_guessed() {
    let odd =
        "<ipProtocol>quic</ipProtocol><fromPort>1</fromPort><toPort>1</toPort><cidrIpv4>203.0.113.42/32</cidrIpv4>";
    let bad_cidr =
        "<ipProtocol>tcp</ipProtocol><fromPort>1</fromPort><toPort>1</toPort><cidrIpv4>203.0.113.420/32</cidrIpv4>";
    let no_ports = "<ipProtocol>tcp</ipProtocol><cidrIpv4>203.0.113.42/32</cidrIpv4>";
    for inner in [odd, bad_cidr, no_ports] {
        let (_, groups) = world([rules_page(&rule("sgr-1", GROUP, false, inner), None)]).await;
        let seen = groups.observe_groups(&set(&[GROUP])).await;
        assert_eq!(reading(&seen[GROUP]).rules, [], "not one of ours: {inner}");

        let ours = inner.to_owned() + &tag_set(&[("eg:lease:abc", "x")]);
        let (_, groups) = world([rules_page(&rule("sgr-1", GROUP, false, &ours), None)]).await;
        let seen = groups.observe_groups(&set(&[GROUP])).await;
        assert!(failure(&seen[GROUP]).message.contains("sgr-1 carries tags of eg"), "{inner}");
    }
    let fine = rule("sgr-2", "sg-2", false, &tcp(22, "203.0.113.42/32"));
    let nameless = rule("", GROUP, false, &tcp(22, "203.0.113.42/32"));
    let (_, groups) = world([rules_page(&(nameless + &fine), None)]).await;
    let seen = groups.observe_groups(&set(&[GROUP, "sg-2"])).await;
    failure(&seen[GROUP]);
    assert_eq!(reading(&seen["sg-2"]).rules.len(), 1, "the other group can be read");

    let groupless =
        "<item><securityGroupRuleId>sgr-3</securityGroupRuleId><isEgress>false</isEgress></item>".to_owned();
    let (_, groups) = world([rules_page(&(groupless + &fine), None)]).await;
    let seen = groups.observe_groups(&set(&[GROUP, "sg-2"])).await;
    assert!(seen.values().all(|sighting| failure(sighting).message.contains("without a group")));
}

// Ways

#[tokio::test]
async fn one_client_a_way() {
    let replay = Replay::new([]);
    let aws = Aws::new(options(&replay));
    let first = aws.security_groups(&target(GROUP)).await.unwrap();
    let learnt = Target {
        route: Route { account: Some("1".into()), partition: Some("aws".into()), ..Route::default() },
        ..target("sg-2")
    };
    assert!(Arc::ptr_eq(&first.client, &aws.security_groups(&learnt).await.unwrap().client));
    let mut elsewhere = target(GROUP);
    elsewhere.key.region = "eu-west-2".into();
    let role =
        Target { route: Route { role_arn: Some("arn:aws:iam::1:role/r".into()), ..Route::default() }, ..target(GROUP) };
    let mut endpoint = target(GROUP);
    endpoint.key.endpoint = Some("http://127.0.0.1:5000".into());
    for other in [elsewhere, role, endpoint] {
        assert!(!Arc::ptr_eq(&first.client, &aws.security_groups(&other).await.unwrap().client));
    }
}

#[tokio::test]
async fn ways_that_are_refused() {
    let replay = Replay::new([]);
    let registry = Registry::new(options(&replay));
    let mut plain = target(GROUP);
    plain.key.endpoint = Some("http://example.com".into());
    let mut kind = target(GROUP);
    kind.key.kind = "network-acl".into();
    let mut provider = target(GROUP);
    provider.key.provider = "gcp".into();
    for (target, words) in [(plain, "plain http"), (kind, "network-acl"), (provider, "gcp")] {
        let refused = registry.connect(&target).await.map(|_| ()).unwrap_err();
        assert_eq!(refused.class, FailureClass::Invalid);
        assert!(refused.message.contains(words), "{refused}");
    }
}

#[tokio::test]
async fn a_role_is_assumed_through_the_same_endpoint() {
    let assumed = "<AssumeRoleResponse><AssumeRoleResult><Credentials><AccessKeyId>ASIAROLE</AccessKeyId><SecretAccessKey>s</SecretAccessKey><SessionToken>t</SessionToken><Expiration>2099-01-01T00:00:00Z</Expiration></Credentials><AssumedRoleUser><Arn>arn:aws:sts::123456789012:assumed-role/r/eg-alice</Arn><AssumedRoleId>A:eg-alice</AssumedRoleId></AssumedRoleUser></AssumeRoleResult></AssumeRoleResponse>";
    let mut way = Target {
        route: Route {
            role_arn: Some("arn:aws:iam::123456789012:role/r".into()),
            external_id: Some("ext-1".into()),
            ..Route::default()
        },
        ..target(GROUP)
    };
    way.key.endpoint = Some("http://127.0.0.1:5000".into());
    let replay = Replay::new([Play::ok(assumed), revoked("<return>true</return>"), identity()]);
    let groups = Aws::new(options(&replay)).security_groups(&way).await.unwrap();
    groups.revoke_ids(GROUP, vec!["sgr-1".into()]).await.unwrap();
    groups.caller().await.unwrap();
    let asked = replay.asked();
    assert_eq!(
        asked[0].form,
        form([
            ("Action", "AssumeRole"),
            ("RoleArn", "arn:aws:iam::123456789012:role/r"),
            ("RoleSessionName", "eg-alice"),
            ("ExternalId", "ext-1"),
        ])
    );
    assert!(asked.iter().all(|asked| asked.uri == "http://127.0.0.1:5000/"), "{asked:?}");
    assert!(asked[0].authorization.contains("Credential=AKIDEXAMPLE/"));
    assert!(asked[1].authorization.contains("Credential=ASIAROLE/"));
    assert!(asked[2].authorization.contains("Credential=ASIAROLE/"), "and the two clients share it");

    for (play, class) in [
        (Play::sts_error(403, "AccessDenied"), FailureClass::Credentials),
        (Play::sts_error(403, "ExpiredToken"), FailureClass::Expired),
        (Play::sts_error(400, "ValidationError"), FailureClass::Credentials),
        (Play::sts_error(400, "Throttling"), FailureClass::Throttled),
        (Play::sts_error(503, "ServiceUnavailable"), FailureClass::Transient),
        (Play::ok("<html/>"), FailureClass::Unknown),
        (Play::Reset, FailureClass::Unknown),
    ] {
        let replay = Replay::new([play]);
        let groups = Aws::new(options(&replay)).security_groups(&way).await.unwrap();
        let failure = groups.revoke_ids(GROUP, vec!["sgr-1".into()]).await.unwrap_err();
        assert_eq!(failure.class, class, "{failure}");
        assert!(failure.message.contains("assume the role"), "{failure}");
        assert_eq!(replay.asked().len(), 1);
    }
}

/// An endpoint for EC2 alone answers nothing else.
#[tokio::test]
async fn other_services_may_be_elsewhere() {
    let at = |endpoint: &str| OtherServices::At(endpoint.to_owned());
    let (ec2, others) = ("https://vpce-1.ec2.eu-west-1.vpce.amazonaws.com/", "https://10.0.0.1/");
    for (other_services, expected) in [
        (OtherServices::WithTarget, ec2),
        (OtherServices::ByThemselves, "https://sts.eu-west-1.amazonaws.com/"),
        (at(others), others),
    ] {
        let mut way = Target { route: Route { other_services, ..Route::default() }, ..target(GROUP) };
        way.key.endpoint = Some(ec2.to_owned());
        let replay = Replay::new([revoked(""), identity()]);
        let groups = Aws::new(options(&replay)).security_groups(&way).await.unwrap();
        groups.revoke_ids(GROUP, vec!["sgr-1".into()]).await.unwrap();
        groups.caller().await.unwrap();
        let asked: Vec<String> = replay.asked().into_iter().map(|asked| asked.uri).collect();
        assert_eq!(asked, [ec2, expected]);
    }
    let plain = Target { route: Route { other_services: at("http://10.0.0.1"), ..Route::default() }, ..target(GROUP) };
    let refused = Aws::new(options(&Replay::new([]))).security_groups(&plain).await.err().unwrap();
    assert_eq!(refused.class, FailureClass::Invalid);
}

/// The environment belongs to the whole process, so this test runs itself again in a child that has one.
#[test]
fn a_profile_is_used_alone_and_the_environment_names_no_endpoint() {
    let dir = tempfile::tempdir().unwrap();
    let credentials = dir.path().join("credentials");
    std::fs::write(&credentials, "[prod]\naws_access_key_id = AKIDPROFILE\naws_secret_access_key = x\n").unwrap();
    let config = dir.path().join("config");
    std::fs::write(&config, "[profile prod]\nregion = us-east-1\nendpoint_url = http://127.0.0.1:9\n").unwrap();
    let child = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "aws::tests::in_a_child", "--nocapture"])
        .env("EG_TEST_CHILD", dir.path())
        .env("HOME", dir.path())
        .env("AWS_ACCESS_KEY_ID", "AKIDSHELL")
        .env("AWS_SECRET_ACCESS_KEY", "x")
        .env("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
        .env("AWS_ENDPOINT_URL_EC2", "http://127.0.0.1:9")
        .env("AWS_ENDPOINT_URL_STS", "http://127.0.0.1:9")
        .env_remove("AWS_PROFILE")
        .env_remove("AWS_SESSION_TOKEN")
        .output()
        .unwrap();
    assert!(child.status.success(), "{}", String::from_utf8_lossy(&child.stdout));
    assert!(String::from_utf8_lossy(&child.stdout).contains("1 passed"));
}

#[tokio::test]
async fn in_a_child() {
    #[expect(clippy::disallowed_methods, reason = "the parent test's way to say that this is the child")]
    let Ok(dir) = std::env::var("EG_TEST_CHILD") else { return };
    let file = |name: &str| Some(Path::new(&dir).join(name).to_str().unwrap().to_owned());
    let profile = Target {
        route: Route {
            profile: Some("prod".into()),
            config_file: file("config"),
            credentials_file: file("credentials"),
            ..Route::default()
        },
        ..target(GROUP)
    };
    let missing =
        Target { route: Route { profile: Some("nobody".into()), ..profile.route.clone() }, ..profile.clone() };

    let replay = Replay::new([revoked(""), identity(), revoked(""), identity()]);
    let aws = Aws::new(Options { credentials: None, ..options(&replay) });
    let by_profile = aws.security_groups(&profile).await.unwrap();
    by_profile.revoke_ids(GROUP, vec!["sgr-1".into()]).await.unwrap();
    by_profile.caller().await.unwrap();
    assert_eq!(by_profile.credentials_end().await, CredentialsEnd::Lasting);

    let by_chain = aws.security_groups(&target(GROUP)).await.unwrap();
    by_chain.revoke_ids(GROUP, vec!["sgr-1".into()]).await.unwrap();
    by_chain.caller().await.unwrap();
    assert_eq!(by_chain.credentials_end().await, CredentialsEnd::ShellOnly);

    let failure = aws.security_groups(&missing).await.err().unwrap();
    assert_eq!(failure.class, FailureClass::NoProfile, "{failure}");
    assert_eq!(failure.message, "AWS profile \"nobody\" does not exist (known: prod)");

    let asked = replay.asked();
    let keys: Vec<bool> = asked.iter().map(|asked| asked.authorization.contains("Credential=AKIDPROFILE/")).collect();
    assert_eq!(keys, [true, true, false, false], "{asked:?}");
    assert!(asked[2].authorization.contains("Credential=AKIDSHELL/"));
    let hosts: Vec<&str> = asked.iter().map(|asked| asked.uri.as_str()).collect();
    assert_eq!(hosts, ["https://ec2.eu-west-1.amazonaws.com/", "https://sts.eu-west-1.amazonaws.com/"].repeat(2));
}

fn regions_page(names: &[&str]) -> Play {
    let items: String = names.iter().map(|name| format!("<item><regionName>{name}</regionName></item>")).collect();
    Play::ok(format!(
        "<DescribeRegionsResponse><requestId>r</requestId><regionInfo>{items}</regionInfo></DescribeRegionsResponse>"
    ))
}

/// One series over every group, by the mark.
#[tokio::test]
async fn the_marked_rules_of_an_account() {
    let marked = |id: &str, group: &str, port: u16| {
        rule(id, group, false, &(tcp(port, "203.0.113.42/32") + &tag_set(&[("eg:managed-by", "eg")])))
    };
    let (replay, groups) = world([
        rules_page(&(marked("sgr-1", "sg-1", 22) + &marked("sgr-2", "sg-2", 22)), Some("more")).with("date", DATE),
        rules_page(&marked("sgr-3", "sg-1", 443), None),
    ])
    .await;
    let seen = groups.marked(&target("").key).await.unwrap();
    let rules = |id: &str| {
        let Some(ReadResult::Complete(reading)) = seen.get(&target(id).key) else { panic!("{seen:?}") };
        assert_eq!(reading.provider_time, Some(at("2026-02-27T10:00:00Z")));
        reading.rules.iter().map(|rule| rule.id.0.clone()).collect::<Vec<_>>()
    };
    assert_eq!(
        (seen.len(), rules("sg-1"), rules("sg-2")),
        (2, vec!["sgr-1".into(), "sgr-3".into()], vec!["sgr-2".into()])
    );
    let asked = replay.asked();
    let first = form([
        ("Action", "DescribeSecurityGroupRules"),
        ("Filter.1.Name", "tag:eg:managed-by"),
        ("Filter.1.Value.1", "eg"),
        ("MaxResults", "1000"),
    ]);
    assert_eq!(asked[0].form, first);
    assert_eq!(asked[1].form["NextToken"], "more");
}

/// A page that is missing leaves nothing known; a rule that cannot be read, nothing of its group.
#[tokio::test]
async fn marked_rules_that_cannot_be_read() {
    let good = rule("sgr-1", "sg-1", false, &tcp(22, "203.0.113.42/32"));
    let (_, groups) = world([rules_page(&good, Some("more")), Play::error(403, "UnauthorizedOperation")]).await;
    assert_eq!(groups.marked(&target("").key).await.unwrap_err().class, FailureClass::Denied);
    let (_, groups) = world([rules_page(&good, Some("more")), rules_page(&good, Some("more"))]).await;
    assert_eq!(groups.marked(&target("").key).await.unwrap_err().class, FailureClass::Unknown);
    let odd = tcp(22, "203.0.113.42/33") + &tag_set(&[("eg:managed-by", "eg")]);
    let odd = rule("sgr-2", "sg-2", false, &odd);
    let (_, groups) = world([rules_page(&(good + &odd), None)]).await;
    let seen = groups.marked(&target("").key).await.unwrap();
    assert!(matches!(seen[&target("sg-1").key], ReadResult::Complete(_)));
    assert!(matches!(seen[&target("sg-2").key], ReadResult::Unavailable(_)), "{seen:?}");
}

#[tokio::test]
async fn the_regions_of_an_account() {
    let (replay, groups) = world([regions_page(&["us-east-1", "eu-west-1"]), regions_page(&[])]).await;
    assert_eq!(groups.regions().await.unwrap(), set(&["eu-west-1", "us-east-1"]));
    assert_eq!(groups.regions().await.unwrap_err().class, FailureClass::Unknown, "no account is without regions");
    assert_eq!(replay.asked()[0].form, form([("Action", "DescribeRegions")]));
}

/// A process that is stopped between the record of its intent and the call: others may have closed the lease meanwhile.
#[tokio::test]
async fn a_call_that_would_leave_late_is_not_sent() {
    let replay = Replay::new([]);
    let looks = AtomicI64::new(0);
    let stopped =
        move || at("2026-02-27T10:00:00Z") + chrono::TimeDelta::seconds(90 * looks.fetch_add(1, Ordering::SeqCst));
    let options = Options { now: Arc::new(stopped), ..options(&replay) };
    let groups = Aws::new(options).security_groups(&target(GROUP)).await.unwrap();
    let refused = groups.authorize(&authorize(&["tcp|22|22|203.0.113.42/32"])).await.unwrap_err();
    assert!(refused.message.contains("this process was stopped meanwhile"), "{refused}");
    assert!(refused.class.outcome_unknown(), "{refused:?}");
    assert!(replay.asked().is_empty());
}

#[derive(Default)]
struct Counted {
    before: AtomicI64,
    answered: AtomicI64,
    after: AtomicI64,
}

impl CallObserver for Counted {
    fn before_call(&self) {
        self.before.fetch_add(1, Ordering::SeqCst);
    }

    fn answered(&self) {
        self.answered.fetch_add(1, Ordering::SeqCst);
    }

    fn after_call(&self) {
        self.after.fetch_add(1, Ordering::SeqCst);
    }
}

/// Each page is progress, and a call is observed whether it is answered or not.
#[tokio::test]
async fn every_answer_is_told() {
    let counted = Arc::new(Counted::default());
    let replay = Replay::new([rules_page("", Some("more")), rules_page("", None), groups_page(&[GROUP]), Play::Reset]);
    let options = Options { observer: counted.clone(), ..options(&replay) };
    let groups = Aws::new(options).security_groups(&target(GROUP)).await.unwrap();
    groups.observe(&[target(GROUP).key].into()).await;
    groups.caller().await.unwrap_err();
    let seen = [&counted.before, &counted.answered, &counted.after].map(|count| count.load(Ordering::SeqCst));
    assert_eq!(seen, [4, 3, 4]);
}
