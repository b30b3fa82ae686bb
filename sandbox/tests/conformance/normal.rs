//! Answers without what may differ between two endpoints that do the same: ids, order, and people's messages.

use crate::{
    script::Compare,
    support::{Answer, Element},
};
use serde_json::Value;
use std::collections::BTreeMap;

/// Names for ids, as the script's steps give them.
pub(crate) type Names = BTreeMap<String, String>;

/// What an answer says, one statement a line, sorted.
pub(crate) fn lines(answer: &Answer, compare: Compare, names: &Names) -> Vec<String> {
    match compare {
        Compare::Everything => everything(answer, names),
        Compare::Count => {
            let (rules, rest): (Vec<_>, Vec<_>) =
                everything(answer, names).into_iter().partition(|line| line.starts_with("rule "));
            rest.into_iter().chain([format!("rules: {}", rules.len())]).collect()
        }
        Compare::Outcome => everything(answer, names).into_iter().filter(|line| is_outcome(line)).collect(),
        Compare::Nothing => Vec::new(),
    }
}

fn is_outcome(line: &str) -> bool {
    line.starts_with("OK") || line.starts_with("error ")
}

fn everything(answer: &Answer, names: &Names) -> Vec<String> {
    if answer.status != 200 {
        return vec![format!("error {} {}", answer.status, answer.code())];
    }
    let xml = answer.xml();
    let mut lines = vec![format!("OK {}", xml.text_of("return")).trim_end().to_owned()];
    lines.extend(xml.items("securityGroupRuleSet").iter().map(|item| rule("rule", item, names)));
    lines.extend(xml.items("revokedSecurityGroupRuleSet").iter().map(|item| rule("revoked", item, names)));
    lines.extend(xml.items("securityGroupInfo").iter().flat_map(|item| group(item, names)));
    lines.extend(xml.find("prefixList").map(|item| list(item, names)));
    lines.extend(xml.items("prefixListSet").iter().map(|item| list(item, names)));
    lines.extend(xml.items("entrySet").iter().map(entry));
    for (element, said) in [("Account", "account"), ("AssumedRoleUser", "assumed role")] {
        if let Some(found) = xml.find(element) {
            lines.push(format!("{said} {}{}", found.text, found.text_of("Arn")));
        }
    }
    if !xml.text_of("nextToken").is_empty() {
        lines.push("more pages".to_owned());
    }
    lines.sort();
    lines
}

/// What an answer of the scheduler says, one field a line. Of a refusal's words only this counts: whether they speak of
/// a group of schedules, since the code does not tell.
pub(crate) fn rest_lines(answer: &Answer, compare: Compare) -> Vec<String> {
    let all = what_it_says(answer);
    if compare == Compare::Outcome { all.into_iter().filter(|line| is_outcome(line)).collect() } else { all }
}

fn what_it_says(answer: &Answer) -> Vec<String> {
    let Ok(json) = serde_json::from_str::<Value>(&answer.body) else {
        return vec![format!("error {} (no JSON)", answer.status)];
    };
    if answer.status != 200 {
        let code = json["__type"].as_str().or(answer.headers.get("x-amzn-errortype").map(String::as_str));
        let words = json["Message"].as_str().or(json["message"].as_str()).unwrap_or_default();
        let of = if words.contains("group") { " of a group" } else { "" };
        return vec![format!("error {} {}{of}", answer.status, code.unwrap_or("(no code)"))];
    }
    let mut lines = vec!["OK".to_owned()];
    leaves("", &json, &mut lines);
    lines.sort();
    lines
}

/// `null` says as much as nothing.
fn leaves(name: &str, value: &Value, lines: &mut Vec<String>) {
    match value {
        Value::Null => {}
        Value::Object(fields) => {
            let dot = if name.is_empty() { "" } else { "." };
            fields.iter().for_each(|(field, value)| leaves(&format!("{name}{dot}{field}"), value, lines));
        }
        Value::Number(_) if name.ends_with("Date") => lines.push(format!("{name}: a time")),
        other => lines.push(format!("{name}: {other}")),
    }
}

/// What an answer about an IP set calls it, and its token, by the script's names for them.
pub(crate) fn set_ids(answer: &Answer) -> Vec<(&'static str, String)> {
    let json: Value = serde_json::from_str(&answer.body).unwrap_or_default();
    let fields = [
        ("$token", "/LockToken"),
        ("$token", "/NextLockToken"),
        ("$token", "/Summary/LockToken"),
        ("$set", "/Summary/Id"),
    ];
    fields.into_iter().filter_map(|(name, at)| Some((name, json.pointer(at)?.as_str()?.to_owned()))).collect()
}

/// The ids of the rules that an answer lists, in its order, or of the prefix list that it is about.
pub(crate) fn kept_ids(answer: &Answer) -> Vec<String> {
    if answer.status != 200 {
        return Vec::new();
    }
    let xml = answer.xml();
    let list = xml.find("prefixList").map(|list| list.text_of("prefixListId"));
    xml.each("securityGroupRuleSet", "securityGroupRuleId").into_iter().chain(list).collect()
}

fn name(id: &str, names: &Names) -> String {
    names.get(id).cloned().unwrap_or_else(|| if id.is_empty() { "no id".to_owned() } else { "?".to_owned() })
}

fn rule(kind: &str, item: &Element, names: &Names) -> String {
    let text = |name: &str| item.text_of(name);
    let direction = match text("isEgress").as_str() {
        "true" => "egress",
        "false" => "ingress",
        _ => "no direction",
    };
    let description = match text("description").chars().count() {
        long @ 100.. => format!("({long} characters)"),
        _ => text("description"),
    };
    let tags: Vec<_> = item.tags().iter().map(|(key, value)| format!("{key}={value}")).collect();
    format!(
        "{kind} {} {direction} {}/{}-{} {}{} {:?} [{}]",
        name(&text("securityGroupRuleId"), names),
        text("ipProtocol"),
        text("fromPort"),
        text("toPort"),
        text("cidrIpv4"),
        text("cidrIpv6"),
        description,
        tags.join(", ")
    )
}

/// The state after a change is in progress at AWS and over at moto; every step asks again before it counts.
fn list(item: &Element, names: &Names) -> String {
    let text = |name: &str| item.text_of(name);
    let tags: Vec<_> = item.tags().iter().map(|(key, value)| format!("{key}={value}")).collect();
    format!(
        "list {} {:?} {} {} version {} of at most {} owned by {} [{}]",
        name(&text("prefixListId"), names),
        text("prefixListName"),
        text("addressFamily"),
        text("state"),
        text("version"),
        text("maxEntries"),
        text("ownerId"),
        tags.join(", ")
    )
}

fn entry(item: &Element) -> String {
    format!("entry {} {:?}", item.text_of("cidr"), item.text_of("description"))
}

fn group(item: &Element, names: &Names) -> Vec<String> {
    let id = name(&item.text_of("groupId"), names);
    let mut lines = vec![format!("group {id} {} of {}", item.text_of("groupName"), item.text_of("ownerId"))];
    for (list, direction) in [("ipPermissions", "ingress"), ("ipPermissionsEgress", "egress")] {
        for permission in item.items(list) {
            let text = |name: &str| permission.text_of(name);
            let ranges = [("ipRanges", "cidrIp"), ("ipv6Ranges", "cidrIpv6")];
            let sources: Vec<_> = ranges.iter().flat_map(|(list, field)| permission.each(list, field)).collect();
            let ports = format!("{}/{}-{}", text("ipProtocol"), text("fromPort"), text("toPort"));
            lines.push(format!("group {id} {direction} {ports} {}", sources.join(" ")));
        }
    }
    lines
}
