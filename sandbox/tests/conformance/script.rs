//! The calls that both endpoints are asked, in scenes with a group of their own. `$name` stands for an id that an
//! earlier step kept.

use crate::support::{by_ids, fields, in_group, permissions, tagged, tags};
use serde_json::{Value, json};

/// What of a step's answers is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Compare {
    Everything,
    /// How many rules it lists: which of them are on a page follows from their ids.
    Count,
    /// Whether it was done, and how it was refused.
    Outcome,
    /// Nothing: the step only prepares the next.
    Nothing,
}

/// What is asked.
pub(crate) enum Call {
    /// A service that takes forms.
    Query { action: &'static str, fields: Fields },
    /// The scheduler.
    Rest { method: &'static str, path: String, body: String },
    /// WAF. In the body, `$set` stands for the id of the scene's set, and `$token` for its last lock token.
    Waf { action: &'static str, body: String },
}

/// One call.
pub(crate) struct Step {
    /// Unique in its scene.
    pub(crate) name: &'static str,
    pub(crate) call: Call,
    /// Names for the ids in the answer, by the element that holds them, in the answer's order.
    pub(crate) keeps: &'static [&'static str],
    pub(crate) compare: Compare,
}

/// Calls with a group of their own, `$g`.
pub(crate) struct Scene {
    pub(crate) name: &'static str,
    pub(crate) steps: Vec<Step>,
}

pub(crate) type Fields = Vec<(String, String)>;

const SSH: (&str, &str, &str, &str) = ("tcp", "22", "22", "203.0.113.42/32");
const SSH6: (&str, &str, &str, &str) = ("tcp", "22", "22", "2001:db8::42/128");
const WEB: (&str, &str, &str, &str) = ("tcp", "443", "443", "203.0.113.42/32");
const NO_GROUP: &str = "sg-0123456789abcdef0";
const NO_RULE: &str = "sgr-0123456789abcdef0";

const AUTHORIZE: &str = "AuthorizeSecurityGroupIngress";
const REVOKE: &str = "RevokeSecurityGroupIngress";
const RULES: &str = "DescribeSecurityGroupRules";
const GROUPS: &str = "DescribeSecurityGroups";

fn step(name: &'static str, action: &'static str, fields: Fields) -> Step {
    Step { name, call: Call::Query { action, fields }, keeps: &[], compare: Compare::Everything }
}

fn keeping(keeps: &'static [&'static str], step: Step) -> Step {
    Step { keeps, ..step }
}

fn comparing(compare: Compare, step: Step) -> Step {
    Step { compare, ..step }
}

fn authorize(name: &'static str, list: &[(&str, &str, &str, &str)]) -> Step {
    step(name, AUTHORIZE, permissions("$g", list))
}

fn after(name: &'static str) -> Step {
    step(name, RULES, in_group("$g"))
}

fn with(mut call: Fields, more: &[(&str, &str)]) -> Fields {
    call.extend(fields(more));
    call
}

/// `count` permissions on ports from 1.
fn ports(count: u32, cidr: &str) -> Fields {
    let ports: Vec<String> = (1..=count).map(|port| port.to_string()).collect();
    let list: Vec<_> = ports.iter().map(|port| ("tcp", port.as_str(), port.as_str(), cidr)).collect();
    permissions("$g", &list)
}

fn modify(id: &str, port: &str, cidr: &str) -> Fields {
    const NEW: &str = "SecurityGroupRule.1.SecurityGroupRule";
    let new = [("IpProtocol", "tcp"), ("FromPort", port), ("ToPort", port), ("CidrIpv4", cidr)];
    let new = new.map(|(name, value)| (format!("{NEW}.{name}"), value.to_owned()));
    let call = fields(&[("GroupId", "$g"), ("SecurityGroupRule.1.SecurityGroupRuleId", id)]);
    call.into_iter().chain(new).collect()
}

pub(crate) fn scenes() -> Vec<Scene> {
    vec![
        groups(),
        filters(),
        dry_runs(),
        rules(),
        batches(),
        duplicates(),
        cidrs(),
        revokes(),
        revokes_by_permission(),
        rule_tags(),
        tag_limit(),
        pages(),
        quota(),
        refusals(),
        modifications(),
        prefix_lists(),
        prefix_list_refusals(),
        ip_sets(),
        ip_set_refusals(),
        identities(),
        schedules(),
        schedule_refusals(),
    ]
}

pub(crate) fn lists_and_sets() -> Vec<Scene> {
    vec![prefix_lists(), prefix_list_refusals(), ip_sets(), ip_set_refusals()]
}

fn groups() -> Scene {
    let filter = |ids: &[&str]| {
        let ids = (1..).zip(ids).map(|(n, id): (u32, _)| (format!("Filter.1.Value.{n}"), (*id).to_owned()));
        fields(&[("Filter.1.Name", "group-id")]).into_iter().chain(ids).collect()
    };
    let named = |name: &str| fields(&[("GroupName", name), ("GroupDescription", "a group")]);
    let steps = vec![
        step("by id", GROUPS, fields(&[("GroupId.1", "$g")])),
        step("an unknown id", GROUPS, fields(&[("GroupId.1", "$g"), ("GroupId.2", NO_GROUP)])),
        step("by filter", GROUPS, filter(&["$g", NO_GROUP])),
        step("an unknown group by filter", GROUPS, filter(&[NO_GROUP])),
        step("the same name", "CreateSecurityGroup", named("groups")),
        step("no description", "CreateSecurityGroup", fields(&[("GroupName", "no description")])),
        after("the default egress rule"),
        step("rules of an unknown group", RULES, in_group(NO_GROUP)),
        step("rules of a malformed group", RULES, in_group("web")),
        step("delete", "DeleteSecurityGroup", fields(&[("GroupId", "$g")])),
        step("delete again", "DeleteSecurityGroup", fields(&[("GroupId", "$g")])),
        after("rules after delete"),
    ];
    Scene { name: "groups", steps }
}

fn filters() -> Scene {
    let named = |name: &str| fields(&[("GroupName", name), ("GroupDescription", "a group")]);
    let filter = |pairs: &[(&str, &str)]| {
        let numbered = (1..).zip(pairs).flat_map(|(n, (name, value)): (u32, _)| {
            [(format!("Filter.{n}.Name"), (*name).to_owned()), (format!("Filter.{n}.Value.1"), (*value).to_owned())]
        });
        numbered.collect::<Fields>()
    };
    let by = |name, pairs: &[(&str, &str)]| step(name, GROUPS, filter(pairs));
    let steps = vec![
        comparing(Compare::Nothing, step("one", "CreateSecurityGroup", named("wild-api-1"))),
        comparing(Compare::Nothing, step("two", "CreateSecurityGroup", named("wild-db-22"))),
        comparing(Compare::Nothing, step("three", "CreateSecurityGroup", named("wilder"))),
        comparing(
            Compare::Nothing,
            step("tag", "CreateTags", tags(&["$g"], &[("env", Some("prod")), ("team", Some("web"))])),
        ),
        by("a name", &[("group-name", "wild-api-1")]),
        by("a name in another case", &[("group-name", "Wild-api-1")]),
        by("a star", &[("group-name", "wild-*")]),
        by("a star in the middle", &[("group-name", "wild-*-1")]),
        by("question marks", &[("group-name", "wild-??-22")]),
        by("a literal star", &[("group-name", r"wild-\*")]),
        by("a tag", &[("tag:env", "prod")]),
        by("a tag's value in part", &[("tag:env", "pro")]),
        by("a tag with a star", &[("tag:env", "p*")]),
        by("two tags", &[("tag:env", "prod"), ("tag:team", "w?b")]),
        by("two tags, of which one is not so", &[("tag:env", "prod"), ("tag:team", "db")]),
        by("a tag that nothing has", &[("tag:colour", "*")]),
        by("name and tag", &[("group-name", "filters"), ("tag:env", "prod")]),
    ];
    Scene { name: "filters", steps }
}

fn dry_runs() -> Scene {
    let dry = |call: Fields| with(call, &[("DryRun", "true")]);
    let opened = || tagged(permissions("$g", &[SSH]), &[("eg:managed-by", "eg")]);
    let steps = vec![
        step("open", AUTHORIZE, dry(permissions("$g", &[SSH]))),
        step("open and tag", AUTHORIZE, dry(opened())),
        step("close what is not there", REVOKE, dry(permissions("$g", &[SSH]))),
        after("nothing was done"),
    ];
    Scene { name: "dry runs", steps }
}

fn rules() -> Scene {
    let described =
        with(permissions("$g", &[SSH]), &[("IpPermissions.1.IpRanges.1.Description", "eg a@b session 1 ._-:/")]);
    let opened = tagged(described, &[("eg:managed-by", "eg"), ("eg:lease:x", "2026-01-01T00:00:00Z")]);
    let steps = vec![
        step("dry run", AUTHORIZE, with(opened.clone(), &[("DryRun", "true")])),
        keeping(&["ssh"], step("authorize", AUTHORIZE, opened.clone())),
        after("with its tags"),
        step("by group", GROUPS, fields(&[("GroupId.1", "$g")])),
        step("by id", RULES, fields(&[("SecurityGroupRuleId.1", "$ssh")])),
        step("by filter", RULES, fields(&[("Filter.1.Name", "security-group-rule-id"), ("Filter.1.Value.1", "$ssh")])),
        step("an unknown id", RULES, fields(&[("SecurityGroupRuleId.1", NO_RULE)])),
        step("again", AUTHORIZE, opened),
        keeping(&["ssh6"], authorize("IPv6", &[SSH6])),
        keeping(&["icmp"], authorize("ICMP", &[("icmp", "-1", "-1", "10.0.0.0/8")])),
        keeping(&["all"], authorize("everything", &[("-1", "", "", "10.0.0.0/8")])),
        after("all of them"),
    ];
    Scene { name: "rules", steps }
}

fn batches() -> Scene {
    let steps = vec![keeping(&["ssh", "web", "ssh6"], authorize("three at once", &[SSH, WEB, SSH6])), after("after")];
    Scene { name: "batches", steps }
}

fn duplicates() -> Scene {
    let steps = vec![
        keeping(&["ssh"], authorize("one", &[SSH])),
        authorize("a new one and the one", &[WEB, SSH]),
        after("after the refusal"),
        authorize("twice in one call", &[SSH6, SSH6]),
        after("after twice"),
    ];
    Scene { name: "duplicates", steps }
}

fn cidrs() -> Scene {
    let steps = vec![
        keeping(&["wide"], authorize("host bits", &[("tcp", "1", "1", "100.68.0.18/18")])),
        after("after"),
        authorize("the same without them", &[("tcp", "1", "1", "100.68.0.0/18")]),
        authorize("no CIDR", &[("tcp", "1", "1", "100.68.0")]),
    ];
    Scene { name: "CIDRs", steps }
}

fn revokes() -> Scene {
    let steps = vec![
        keeping(&["ssh"], authorize("open", &[SSH])),
        step("dry run", REVOKE, with(by_ids("$g", &["$ssh"]), &[("DryRun", "true")])),
        step("one unknown id", REVOKE, by_ids("$g", &["$ssh", NO_RULE])),
        after("after the refusal"),
        step("by id", REVOKE, by_ids("$g", &["$ssh"])),
        step("by id again", REVOKE, by_ids("$g", &["$ssh"])),
        after("after"),
        step("in an unknown group", REVOKE, by_ids(NO_GROUP, &["$ssh"])),
    ];
    Scene { name: "revokes", steps }
}

fn revokes_by_permission() -> Scene {
    let steps = vec![
        keeping(&["ssh"], authorize("open", &[SSH])),
        step("not there", REVOKE, permissions("$g", &[WEB])),
        step("there", REVOKE, permissions("$g", &[SSH])),
        after("after"),
    ];
    Scene { name: "revokes by permission", steps }
}

fn rule_tags() -> Scene {
    let create = |name, ids: &[&str], list: &[_]| step(name, "CreateTags", tags(ids, list));
    let delete = |name, ids: &[&str], list: &[_]| step(name, "DeleteTags", tags(ids, list));
    let steps = vec![
        keeping(&["ssh"], authorize("open", &[SSH])),
        create("create", &["$ssh"], &[("a", Some("1")), ("b", Some("2")), ("c", Some("3")), ("d", Some(""))]),
        create("overwrite", &["$ssh"], &[("a", Some("one"))]),
        after("after create"),
        step("by tag", RULES, with(in_group("$g"), &[("Filter.2.Name", "tag:b"), ("Filter.2.Value.1", "2")])),
        step("by another value", RULES, with(in_group("$g"), &[("Filter.2.Name", "tag:b"), ("Filter.2.Value.1", "3")])),
        create("one unknown id", &["$ssh", NO_RULE], &[("x", Some("1"))]),
        after("after the refusal"),
        delete("another value", &["$ssh"], &[("a", Some("1"))]),
        delete("the value", &["$ssh"], &[("b", Some("2"))]),
        delete("no value", &["$ssh"], &[("c", None)]),
        after("after delete"),
        create("reserved", &["$ssh"], &[("aws:x", Some("1"))]),
        delete("on an unknown id", &[NO_RULE], &[("a", None)]),
        delete("all", &["$ssh"], &[]),
        after("after all"),
    ];
    Scene { name: "tags", steps }
}

fn tag_limit() -> Scene {
    let keys: Vec<String> = (1..=50).map(|number| format!("key {number}")).collect();
    let full: Vec<_> = keys.iter().map(|key| (key.as_str(), Some("v"))).collect();
    let steps = vec![
        keeping(&["ssh"], authorize("open", &[SSH])),
        step("fifty", "CreateTags", tags(&["$ssh"], &full)),
        step("the 51st", "CreateTags", tags(&["$ssh"], &[("one more", Some("v"))])),
        step("one of the fifty", "CreateTags", tags(&["$ssh"], &[("key 1", Some("w"))])),
    ];
    Scene { name: "tag limit", steps }
}

fn pages() -> Scene {
    let steps = vec![
        comparing(Compare::Nothing, step("eight rules", AUTHORIZE, ports(8, "10.0.0.0/8"))),
        comparing(Compare::Count, step("a page of five", RULES, with(in_group("$g"), &[("MaxResults", "5")]))),
        comparing(Compare::Count, step("a page of four", RULES, with(in_group("$g"), &[("MaxResults", "4")]))),
    ];
    Scene { name: "pages", steps }
}

fn quota() -> Scene {
    let steps = vec![
        comparing(Compare::Nothing, step("sixty IPv4", AUTHORIZE, ports(60, "10.0.0.0/8"))),
        authorize("one more IPv4", &[("tcp", "61", "61", "10.0.0.0/8")]),
        keeping(&["ssh6"], authorize("one IPv6", &[SSH6])),
    ];
    Scene { name: "quota", steps }
}

fn refusals() -> Scene {
    let described = |text: &str| with(permissions("$g", &[SSH]), &[("IpPermissions.1.IpRanges.1.Description", text)]);
    let steps = vec![
        step("an unknown action", "RunNothing", Vec::new()),
        step("an unknown group", AUTHORIZE, permissions(NO_GROUP, &[SSH])),
        step("a malformed group", AUTHORIZE, permissions("web", &[SSH])),
        authorize("no ports", &[("tcp", "", "", "10.0.0.0/8")]),
        authorize("an unknown protocol", &[("quic", "1", "1", "10.0.0.0/8")]),
        authorize("ports out of range", &[("tcp", "1", "70000", "10.0.0.0/8")]),
        step("a description too long", AUTHORIZE, described(&"x".repeat(256))),
        step("a description with a bad character", AUTHORIZE, described("a<b")),
        step("an unknown filter", RULES, fields(&[("Filter.1.Name", "colour"), ("Filter.1.Value.1", "red")])),
        after("nothing was opened"),
    ];
    Scene { name: "refusals", steps }
}

fn modifications() -> Scene {
    let steps = vec![
        keeping(&["ssh"], step("open", AUTHORIZE, tagged(permissions("$g", &[SSH]), &[("a", "1")]))),
        step("other ports and addresses", "ModifySecurityGroupRules", modify("$ssh", "23", "10.0.0.0/8")),
        after("id and tags stay"),
        step("an unknown rule", "ModifySecurityGroupRules", modify(NO_RULE, "23", "10.0.0.0/8")),
    ];
    Scene { name: "modifications", steps }
}

const CREATE_LIST: &str = "CreateManagedPrefixList";
const LISTS: &str = "DescribeManagedPrefixLists";
const ENTRIES: &str = "GetManagedPrefixListEntries";
const MODIFY_LIST: &str = "ModifyManagedPrefixList";

/// A list with room for three entries, kept as `$l`.
fn new_list(name: &str) -> Step {
    let call = [("PrefixListName", name), ("AddressFamily", "IPv4"), ("MaxEntries", "3")];
    keeping(&["l"], comparing(Compare::Outcome, step("create", CREATE_LIST, fields(&call))))
}

fn of_list(more: &[(&str, &str)]) -> Fields {
    with(fields(&[("PrefixListId", "$l")]), more)
}

/// A change under a version; its answer differs by the state alone, so the next step looks.
fn change(name: &'static str, version: &str, more: &[(&str, &str)]) -> Step {
    let call = with(of_list(&[("CurrentVersion", version)]), more);
    comparing(Compare::Outcome, step(name, MODIFY_LIST, call))
}

fn prefix_lists() -> Scene {
    let by_filter = |name, filter: &str, value: &str| {
        step(name, LISTS, fields(&[("Filter.1.Name", filter), ("Filter.1.Value.1", value)]))
    };
    let entries = |name| step(name, ENTRIES, of_list(&[]));
    let at = |name, version| step(name, ENTRIES, of_list(&[("TargetVersion", version)]));
    let home = [("AddEntry.1.Cidr", "203.0.113.42/32"), ("AddEntry.1.Description", "home")];
    let office = [("AddEntry.2.Cidr", "198.51.100.0/24"), ("AddEntry.2.Description", "the office")];
    let steps = vec![
        new_list("people"),
        step("by id", LISTS, fields(&[("PrefixListId.1", "$l")])),
        by_filter("by filter", "prefix-list-id", "$l"),
        by_filter("by name", "prefix-list-name", "people"),
        by_filter("an unknown list by filter", "prefix-list-id", "pl-0123456789abcdef0"),
        step("an unknown list by id", LISTS, fields(&[("PrefixListId.1", "pl-0123456789abcdef0")])),
        entries("no entries"),
        change("add two", "1", &[home, office].concat()),
        entries("after adding"),
        by_filter("described after adding", "prefix-list-id", "$l"),
        at("the version before", "1"),
        at("a version that is not there", "9"),
        change("remove one", "2", &[("RemoveEntry.1.Cidr", "198.51.100.0/24")]),
        entries("after removing"),
        step("tag", "CreateTags", tags(&["$l"], &[("eg:lease:x", Some("a1b2c3d4:t9xyz0")), ("owner", Some("bob"))])),
        by_filter("described with tags", "prefix-list-id", "$l"),
        step("untag", "DeleteTags", tags(&["$l"], &[("eg:lease:x", None)])),
        by_filter("described with one tag", "prefix-list-id", "$l"),
        change("rename", "3", &[("PrefixListName", "persons")]),
        by_filter("described with its new name", "prefix-list-id", "$l"),
        comparing(Compare::Outcome, step("delete", "DeleteManagedPrefixList", of_list(&[]))),
    ];
    Scene { name: "prefix lists", steps }
}

fn prefix_list_refusals() -> Scene {
    let add = |cidr| [("AddEntry.1.Cidr", cidr)];
    let entries = |name| step(name, ENTRIES, of_list(&[]));
    let steps = vec![
        new_list("refusals"),
        change("add", "1", &[("AddEntry.1.Cidr", "203.0.113.42/32"), ("AddEntry.1.Description", "home")]),
        change("a stale version", "1", &add("192.0.2.1/32")),
        change("the same again", "2", &[("AddEntry.1.Cidr", "203.0.113.42/32"), ("AddEntry.1.Description", "home")]),
        entries("after the refusals"),
        change("a network of the other family", "2", &add("2001:db8::/64")),
        change("no network", "2", &add("home")),
        change(
            "too many",
            "2",
            &[
                ("AddEntry.1.Cidr", "192.0.2.1/32"),
                ("AddEntry.2.Cidr", "192.0.2.2/32"),
                ("AddEntry.3.Cidr", "192.0.2.3/32"),
            ],
        ),
        change("remove what is not there", "2", &[("RemoveEntry.1.Cidr", "192.0.2.9/32")]),
        change(
            "add and remove",
            "2",
            &[("AddEntry.1.Cidr", "203.0.113.42/32"), ("RemoveEntry.1.Cidr", "203.0.113.42/32")],
        ),
        change("entries and size", "2", &[("AddEntry.1.Cidr", "192.0.2.1/32"), ("MaxEntries", "9")]),
        change("dry run", "2", &[("AddEntry.1.Cidr", "192.0.2.1/32"), ("DryRun", "true")]),
        entries("nothing was changed"),
        step(
            "change an unknown list",
            MODIFY_LIST,
            fields(&[
                ("PrefixListId", "pl-0123456789abcdef0"),
                ("CurrentVersion", "1"),
                ("AddEntry.1.Cidr", "192.0.2.1/32"),
            ]),
        ),
        step("entries of an unknown list", ENTRIES, fields(&[("PrefixListId", "pl-0123456789abcdef0")])),
    ];
    Scene { name: "prefix list refusals", steps }
}

/// A call about the set `people`, with further fields.
fn waf(name: &'static str, action: &'static str, more: &Value) -> Step {
    let mut body = json!({"Name": "people", "Scope": "REGIONAL", "Id": "$set"});
    let fields = more.as_object().cloned().unwrap_or_default();
    body.as_object_mut().expect("an object").extend(fields);
    Step { name, call: Call::Waf { action, body: body.to_string() }, keeps: &[], compare: Compare::Everything }
}

fn waf_tags(name: &'static str, action: &'static str, more: &Value) -> Step {
    let arn = "arn:aws:wafv2:us-east-1:123456789012:regional/ipset/people/$set";
    let mut body = json!({"ResourceARN": arn});
    body.as_object_mut().expect("an object").extend(more.as_object().cloned().unwrap_or_default());
    Step { name, call: Call::Waf { action, body: body.to_string() }, keeps: &[], compare: Compare::Everything }
}

fn new_set() -> Step {
    let set = json!({"Description": "of people", "IPAddressVersion": "IPV4", "Addresses": ["198.51.100.0/24"]});
    waf("create", "CreateIPSet", &set)
}

fn ip_sets() -> Scene {
    let nothing = json!({});
    let get = |name| waf(name, "GetIPSet", &nothing);
    let both =
        json!({"Addresses": ["198.51.100.0/24", "203.0.113.42/32"], "LockToken": "$token", "Description": "of people"});
    let bare = json!({"Addresses": ["198.51.100.0/24"], "LockToken": "$token"});
    let tags = json!({"Tags": [{"Key": "eg:lease:x", "Value": "a1b2c3d4:t9xyz0"}, {"Key": "owner", "Value": "bob"}]});
    let steps = vec![
        new_set(),
        get("get"),
        waf("add", "UpdateIPSet", &both),
        get("after adding"),
        waf("remove, without the description", "UpdateIPSet", &bare),
        get("after removing"),
        waf_tags("no tags", "ListTagsForResource", &nothing),
        waf_tags("tag", "TagResource", &tags),
        waf_tags("tags", "ListTagsForResource", &nothing),
        waf_tags("untag", "UntagResource", &json!({"TagKeys": ["eg:lease:x"]})),
        waf_tags("one tag", "ListTagsForResource", &nothing),
        comparing(Compare::Outcome, waf("list", "ListIPSets", &nothing)),
        waf("delete", "DeleteIPSet", &json!({"LockToken": "$token"})),
        get("get what is gone"),
    ];
    Scene { name: "IP sets", steps }
}

fn ip_set_refusals() -> Scene {
    let update = |name, addresses: Value, token: &str| {
        comparing(Compare::Outcome, waf(name, "UpdateIPSet", &json!({"Addresses": addresses, "LockToken": token})))
    };
    let steps = vec![
        new_set(),
        update("an old token", json!([]), "00000000-0000-4000-8000-000000000000"),
        waf("after the refusal", "GetIPSet", &json!({})),
        update("every address", json!(["0.0.0.0/0"]), "$token"),
        update("no network", json!(["home"]), "$token"),
        update("the other family", json!(["2001:db8::/64"]), "$token"),
        waf("an unknown set", "GetIPSet", &json!({"Id": "00000000-0000-4000-8000-000000000000"})),
        comparing(Compare::Outcome, new_set_again()),
    ];
    Scene { name: "IP set refusals", steps }
}

fn new_set_again() -> Step {
    Step { name: "the same name", ..new_set() }
}

fn identities() -> Scene {
    let role = [("RoleArn", "arn:aws:iam::222222222222:role/opener"), ("RoleSessionName", "eg-alice")];
    let steps = vec![
        step("caller", "GetCallerIdentity", Vec::new()),
        step("role", "AssumeRole", fields(&role)),
        step("a name too short", "AssumeRole", fields(&[role[0], ("RoleSessionName", "e")])),
    ];
    Scene { name: "identities", steps }
}

/// An expiry schedule as `eg` sets it.
fn auto_close(at: &str) -> Value {
    json!({
        "ActionAfterCompletion": "DELETE",
        "ClientToken": "0f0e0d0c-0000-4000-8000-000000000000",
        "Description": "eg closes a rule",
        "FlexibleTimeWindow": {"Mode": "OFF"},
        "GroupName": "default",
        "ScheduleExpression": at,
        "ScheduleExpressionTimezone": "UTC",
        "State": "ENABLED",
        "Target": {
            "Arn": "arn:aws:scheduler:::aws-sdk:ec2:revokeSecurityGroupIngress",
            "RoleArn": "arn:aws:iam::123456789012:role/eg-cloud-expiry",
            "Input": json!({"GroupId": NO_GROUP, "SecurityGroupRuleIds": [NO_RULE]}).to_string(),
            "RetryPolicy": {"MaximumEventAgeInSeconds": 3600, "MaximumRetryAttempts": 5},
        },
    })
}

/// The same without what may be left out.
fn least_auto_close(at: &str) -> Value {
    let whole = auto_close(at);
    json!({
        "FlexibleTimeWindow": whole["FlexibleTimeWindow"],
        "ScheduleExpression": whole["ScheduleExpression"],
        "Target": {
            "Arn": whole["Target"]["Arn"],
            "RoleArn": whole["Target"]["RoleArn"],
            "Input": whole["Target"]["Input"],
        },
    })
}

const AT: &str = "at(2031-01-01T00:00:00)";
const LATER: &str = "at(2031-01-02T03:04:05)";
const SWITCH: &str = "eg-sgr-0123456789abcdef0";

fn rest(name: &'static str, method: &'static str, of: &str, body: &Value) -> Step {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let call = Call::Rest { method, path: format!("/schedules/{of}"), body };
    Step { name, call, keeps: &[], compare: Compare::Everything }
}

fn schedules() -> Scene {
    let in_group = |mut body: Value, group: &str| {
        body["GroupName"] = group.into();
        body
    };
    let here = |name, method, body: &Value| rest(name, method, SWITCH, body);
    let asking = |name, method, group: &str| rest(name, method, &format!("{SWITCH}?groupName={group}"), &Value::Null);
    let steps = vec![
        here("read what is not there", "GET", &Value::Null),
        here("move what is not there", "PUT", &auto_close(AT)),
        here("delete what is not there", "DELETE", &Value::Null),
        here("make", "POST", &auto_close(AT)),
        here("read", "GET", &Value::Null),
        here("make again", "POST", &auto_close(LATER)),
        asking("it is as it was", "GET", "default"),
        here("move", "PUT", &auto_close(LATER)),
        asking("read what was moved", "GET", "default"),
        here("move with nothing but what is needed", "PUT", &least_auto_close(AT)),
        asking("what was left out", "GET", "default"),
        asking("read in a group that is not there", "GET", "none"),
        here("make in a group that is not there", "POST", &in_group(auto_close(AT), "none")),
        here("move in a group that is not there", "PUT", &in_group(auto_close(AT), "none")),
        asking("delete in a group that is not there", "DELETE", "none"),
        asking("delete", "DELETE", "default"),
        asking("delete again", "DELETE", "default"),
        rest("make with nothing but what is needed", "POST", "least", &least_auto_close(AT)),
        rest("read what was made so", "GET", "least", &Value::Null),
    ];
    Scene { name: "schedules", steps }
}

fn schedule_refusals() -> Scene {
    let make =
        |name: &'static str, called: &str, body: &Value| comparing(Compare::Outcome, rest(name, "POST", called, body));
    // Each with a name of its own: what one endpoint takes is no conflict for the next.
    let called = |name: &str| name.replace(' ', "-");
    let wrong = |name: &'static str, pointer: &str, value: Value| {
        let mut body = auto_close(AT);
        let field = body.pointer_mut(pointer);
        *field.unwrap_or_else(|| panic!("{pointer}")) = value;
        make(name, &called(name), &body)
    };
    let without = |name: &'static str, field: &str| {
        let mut body = auto_close(AT);
        body.as_object_mut().and_then(|fields| fields.remove(field)).unwrap_or_else(|| panic!("{field}"));
        make(name, &called(name), &body)
    };
    let steps = vec![
        wrong("a time that is none", "/ScheduleExpression", "at(tomorrow)".into()),
        wrong("a day that is none", "/ScheduleExpression", "at(2031-02-30T00:00:00)".into()),
        without("no expression", "ScheduleExpression"),
        without("no window", "FlexibleTimeWindow"),
        wrong("a window that is none", "/FlexibleTimeWindow/Mode", "SOMETIMES".into()),
        wrong("a zone that is none", "/ScheduleExpressionTimezone", "Atlantis".into()),
        wrong("a state that is none", "/State", "ON".into()),
        wrong("an end that is none", "/ActionAfterCompletion", "STAY".into()),
        without("no target", "Target"),
        wrong("a target that is none", "/Target/Arn", "ec2".into()),
        wrong("a role that is none", "/Target/RoleArn", "eg-cloud-expiry".into()),
        wrong("a role of another account", "/Target/RoleArn", "arn:aws:iam::210987654321:role/eg".into()),
        wrong("too many retries", "/Target/RetryPolicy/MaximumRetryAttempts", 186.into()),
        wrong("retries for too short", "/Target/RetryPolicy/MaximumEventAgeInSeconds", 59.into()),
        make("a bad character in the name", "a:b", &auto_close(AT)),
        make("a name too long", &"x".repeat(65), &auto_close(AT)),
        comparing(Compare::Outcome, rest("nothing was made", "GET", &called("a time that is none"), &Value::Null)),
    ];
    Scene { name: "schedule refusals", steps }
}
