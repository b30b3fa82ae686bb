//! IAM documents as its API gives them, and two of them compared. Pure.

use crate::aws::arn::Arn;
use serde_json::{Map, Value};
use std::collections::BTreeSet;

/// A document compared with the wanted one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Compared {
    /// It says the same, or the same for more entries.
    Covers,
    /// It says the same, but not for these entries.
    Lacks(BTreeSet<String>),
    /// It says something else; each difference, for people.
    Differs(Vec<String>),
}

/// IAM gives documents with every character escaped that a URL cannot hold (RFC 3986, as its API reference says).
pub fn decoded(text: &str) -> Option<Value> {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        let digit = |byte: Option<u8>| byte.and_then(|byte| char::from(byte).to_digit(16));
        match byte {
            b'%' => bytes.push(u8::try_from(digit(rest.next())? * 16 + digit(rest.next())?).ok()?),
            plain => bytes.push(plain),
        }
    }
    serde_json::from_slice(&bytes).ok()
}

/// Compares by what documents mean, whatever the order and however a single value is written. The list at `growing` (a
/// JSON pointer into the wanted document) may be longer in the other.
pub fn compare(wanted: &Value, found: &Value, growing: &str) -> Compared {
    if !found.is_object() {
        return Compared::Differs(vec!["there is nothing that can be read".to_owned()]);
    }
    let (wanted, found) = (plain(wanted), plain(found));
    let (ours, theirs) = (texts_at(&wanted, growing), texts_at(&found, growing));
    let all: BTreeSet<String> = ours.union(&theirs).cloned().collect();
    if with_list(&wanted, growing, &all) != with_list(&found, growing, &all) {
        let mut differences = Vec::new();
        differ("", &wanted, &found, &mut differences);
        return Compared::Differs(differences);
    }
    let lacking: BTreeSet<String> = ours.difference(&theirs).cloned().collect();
    if lacking.is_empty() { Compared::Covers } else { Compared::Lacks(lacking) }
}

/// The wanted document for whatever the other one is for besides.
pub fn widened(wanted: &Value, found: &Value, growing: &str) -> Value {
    let all = texts_at(&plain(wanted), growing).union(&texts_at(&plain(found), growing)).cloned().collect();
    with_list(wanted, growing, &all)
}

/// The entries of the other document's list that are of another kind than every wanted one. A role may be for more
/// groups and regions than are wanted here; it must not be for another account, another kind of thing, or everything.
pub fn strangers(wanted: &Value, found: &Value, growing: &str) -> BTreeSet<String> {
    let (ours, theirs) = (texts_at(&plain(wanted), growing), texts_at(&plain(found), growing));
    theirs.into_iter().filter(|entry| !ours.iter().any(|one| is_alike(one, entry))).collect()
}

/// True if two ARNs name the same kind of thing in the same account. The other one may have another region and name; it
/// may hold wildcards only where the wanted one does.
fn is_alike(wanted: &str, other: &str) -> bool {
    let is_one = |text: &str| !text.is_empty() && !text.contains(['*', '?', '$']);
    match (Arn::read(wanted), Arn::read(other)) {
        (Some(ours), Some(theirs)) => {
            ours.of == theirs.of && is_one(theirs.region) && (is_one(theirs.name) || theirs.name == ours.name)
        }
        _ => wanted == other,
    }
}

fn with_list(document: &Value, at: &str, texts: &BTreeSet<String>) -> Value {
    let mut document = document.clone();
    if let Some(list) = document.pointer_mut(at) {
        *list = texts.iter().cloned().collect::<Vec<_>>().into();
    }
    document
}

fn texts_at(document: &Value, at: &str) -> BTreeSet<String> {
    let list = document.pointer(at).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    list.iter().filter_map(Value::as_str).map(str::to_owned).collect()
}

/// A document in the one form that others mean the same as (IAM User Guide, "Grammar of the IAM JSON policy language"):
/// statements and values are sets, of one element or more; names of actions have no case; ids say nothing.
fn plain(document: &Value) -> Value {
    let Some(fields) = document.as_object() else { return document.clone() };
    let fields = fields.iter().filter(|(name, _)| *name != "Id").map(|(name, value)| match name.as_str() {
        "Statement" => {
            let mut statements: Vec<Value> = each(value).map(statement).collect();
            statements.sort_by_key(Value::to_string);
            (name.clone(), statements.into())
        }
        _ => (name.clone(), value.clone()),
    });
    fields.collect::<Map<_, _>>().into()
}

fn statement(value: &Value) -> Value {
    let Some(fields) = value.as_object() else { return value.clone() };
    let fields = fields.iter().filter(|(name, _)| *name != "Sid").map(|(name, value)| {
        let value = match name.as_str() {
            "Effect" => value.clone(),
            "Action" | "NotAction" => set(value, |text| text.to_ascii_lowercase()),
            _ => sets(value),
        };
        (name.clone(), value)
    });
    fields.collect::<Map<_, _>>().into()
}

/// Every value in it, as a set.
fn sets(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            fields.iter().map(|(name, value)| (name.clone(), sets(value))).collect::<Map<_, _>>().into()
        }
        other => set(other, str::to_owned),
    }
}

fn set(value: &Value, form: impl Fn(&str) -> String) -> Value {
    let text = |item: &Value| item.as_str().map_or_else(|| item.to_string(), &form);
    each(value).map(text).collect::<BTreeSet<_>>().into_iter().collect::<Vec<_>>().into()
}

fn each(value: &Value) -> impl Iterator<Item = &Value> {
    match value {
        Value::Array(list) => list.as_slice(),
        one => std::slice::from_ref(one),
    }
    .iter()
}

fn differ(at: &str, wanted: &Value, found: &Value, differences: &mut Vec<String>) {
    match (wanted, found) {
        (wanted, found) if wanted == found => {}
        (Value::Object(ours), Value::Object(theirs)) => {
            let names: BTreeSet<&String> = ours.keys().chain(theirs.keys()).collect();
            for name in names {
                let at = if at.is_empty() { name.clone() } else { format!("{at}.{name}") };
                differ(
                    &at,
                    ours.get(name).unwrap_or(&Value::Null),
                    theirs.get(name).unwrap_or(&Value::Null),
                    differences,
                );
            }
        }
        (Value::Array(ours), Value::Array(theirs))
            if ours.len() == theirs.len() && ours.iter().any(Value::is_object) =>
        {
            let only = ours.len() == 1;
            for (number, (ours, theirs)) in (1..).zip(ours.iter().zip(theirs)) {
                let at = if only { at.to_owned() } else { format!("{at} {number}") };
                differ(&at, ours, theirs, differences);
            }
        }
        (wanted, found) => differences.push(match (wanted.is_null(), found.is_null()) {
            (false, true) => format!("{at} is missing, which should be {}", words(wanted)),
            (true, false) => format!("{at} is {}, which should not be there", words(found)),
            _ => format!("{at} is {} and should be {}", words(found), words(wanted)),
        }),
    }
}

fn words(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(list) if list.iter().all(Value::is_string) => {
            list.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(", ")
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const RESOURCE: &str = "/Statement/0/Resource";

    fn policy(action: Value, resource: Value) -> Value {
        json!({
            "Version": "2012-10-17",
            "Statement": [{"Sid": "A", "Effect": "Allow", "Action": action, "Resource": resource}],
        })
    }

    #[test]
    fn documents_are_unescaped() {
        assert_eq!(decoded("%7B%22a%22%3A%20%22%C3%A9%2b%22%7D"), serde_json::from_str("{\"a\": \"é+\"}").ok());
        for bad in ["%7", "%zz", "{", "%ff"] {
            assert_eq!(decoded(bad), None, "{bad}");
        }
    }

    #[test]
    fn what_means_the_same_is_the_same() {
        let wanted = policy(json!("ec2:Revoke"), json!(["a", "b"]));
        for same in [
            policy(json!(["EC2:revoke"]), json!(["b", "a", "b"])),
            json!({"Statement": wanted["Statement"][0], "Version": "2012-10-17", "Id": "x"}),
            policy(json!("ec2:Revoke"), json!(["a", "b", "c"])),
        ] {
            assert_eq!(compare(&wanted, &same, RESOURCE), Compared::Covers, "{same:#}");
        }
        let condition = |account: Value| json!({"Statement": [{"Condition": {"StringEquals": {"k": account}}}]});
        let strings = condition(json!(["1"]));
        assert_eq!(compare(&condition(json!("1")), &strings, RESOURCE), Compared::Covers);
        assert_eq!(compare(&condition(json!(1)), &strings, RESOURCE), Compared::Covers);
    }

    #[test]
    fn what_is_missing_is_told_and_added_to_what_is_there() {
        let (wanted, found) = (policy(json!("r"), json!(["a", "b"])), policy(json!(["r"]), json!("c")));
        let lacks = Compared::Lacks(["a".to_owned(), "b".to_owned()].into());
        assert_eq!(compare(&wanted, &found, RESOURCE), lacks);
        let wide = widened(&wanted, &found, RESOURCE);
        assert_eq!(wide, policy(json!("r"), json!(["a", "b", "c"])));
        assert_eq!(compare(&wanted, &wide, RESOURCE), Compared::Covers);
        assert_eq!(compare(&found, &wide, RESOURCE), Compared::Covers);
    }

    #[test]
    fn what_is_of_another_kind_is_a_stranger() {
        let group = "arn:aws:ec2:eu-west-1:123456789012:security-group/sg-1";
        let any_rule = "arn:aws:ec2:eu-west-1:123456789012:security-group-rule/*";
        let wanted = policy(json!("r"), json!([group, any_rule]));
        let strange = |entry: &str| !strangers(&wanted, &policy(json!("r"), json!(entry)), RESOURCE).is_empty();
        for fine in [
            group,
            any_rule,
            "arn:aws:ec2:us-east-1:123456789012:security-group/sg-2",
            "arn:aws:ec2:us-east-1:123456789012:security-group-rule/*",
            "arn:aws:ec2:eu-west-1:123456789012:security-group-rule/sgr-1",
        ] {
            assert!(!strange(fine), "{fine}");
        }
        for bad in [
            "*",
            "",
            "arn:aws:ec2:*:123456789012:security-group/sg-1",
            "arn:aws:ec2::123456789012:security-group/sg-1",
            "arn:aws:ec2:eu-west-1:123456789012:security-group/*",
            "arn:aws:ec2:eu-west-1:123456789012:security-group/sg-?",
            "arn:aws:ec2:eu-west-1:123456789012:*",
            "arn:aws:ec2:eu-west-1:*:security-group/sg-1",
            "arn:aws:ec2:eu-west-1:210987654321:security-group/sg-1",
            "arn:aws:ec2:eu-west-1:123456789012:instance/i-1",
            "arn:*:ec2:eu-west-1:123456789012:security-group/sg-1",
            "arn:aws:s3:eu-west-1:123456789012:security-group/sg-1",
        ] {
            assert!(strange(bad), "{bad}");
        }
    }

    #[test]
    fn every_difference_is_named() {
        let wanted = policy(json!("r"), json!(["a"]));
        let edit = |edit: fn(&mut Value)| {
            let mut found = wanted.clone();
            edit(&mut found);
            match compare(&wanted, &found, RESOURCE) {
                Compared::Differs(differences) => differences.join("; "),
                other => panic!("{other:?}"),
            }
        };
        for (difference, expected) in [
            (edit(|d| d["Statement"][0]["Action"] = json!(["r", "s"])), "Statement.Action is r, s and should be r"),
            (edit(|d| d["Statement"][0]["Effect"] = json!("Deny")), "Statement.Effect is Deny and should be Allow"),
            (
                edit(|d| d["Statement"][0]["Condition"] = json!({"Bool": {"x": true}})),
                "Statement.Condition is {\"Bool\":{\"x\":[\"true\"]}}, which should not be there",
            ),
            (edit(|d| d["Version"] = json!("2008-10-17")), "Version is 2008-10-17 and should be 2012-10-17"),
            (
                edit(|d| drop(d.as_object_mut().unwrap().remove("Version"))),
                "Version is missing, which should be 2012-10-17",
            ),
        ] {
            assert_eq!(difference, expected);
        }
        assert!(edit(|d| d["Statement"] = json!([])).starts_with("Statement is  and should be"));
        let unreadable = Compared::Differs(vec!["there is nothing that can be read".to_owned()]);
        assert_eq!(compare(&wanted, &Value::Null, RESOURCE), unreadable);
        // A longer list does not excuse another difference.
        let both = policy(json!("s"), json!(["a", "b"]));
        assert!(matches!(compare(&wanted, &both, RESOURCE), Compared::Differs(_)));
    }
}
