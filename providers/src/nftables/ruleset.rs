//! The user's ruleset beside the table of `eg`: does it accept the packets that `eg` marks, and does it refuse any?

use super::place::MARK;
use crate::types::Hindrance;
use serde_json::Value;

/// The keys of the verdicts that refuse (libnftables-json(5)), and the targets of iptables that do.
const REFUSING: [&str; 2] = ["drop", "reject"];
const REFUSING_TARGETS: [&str; 2] = ["DROP", "REJECT"];

/// Reads the answer of `nft -j list ruleset`. `None` if entries have an effect, or if the answer is not what libnftables
/// writes.
pub fn hindrance(answer: &[u8], table: &str) -> Option<Hindrance> {
    let answer: Value = serde_json::from_slice(answer).ok()?;
    let mark = u64::from_str_radix(MARK.strip_prefix("0x")?, 16).ok()?;
    let (mut refuses, mut asks_for_mark) = (false, false);
    for object in answer.get("nftables")?.as_array()? {
        let part = ["chain", "rule", "map"].into_iter().find_map(|kind| object.get(kind));
        let Some(part) = part.filter(|part| !is_of(part, table)) else { continue };
        refuses |= part.get("policy").and_then(Value::as_str) == Some("drop") || any(part, &refusing);
        asks_for_mark |= any(part, &|value| value.as_u64() == Some(mark));
    }
    let line = format!("meta mark & {MARK} == {MARK} accept");
    let (message, advice) = match (refuses, asks_for_mark) {
        (_, true) => return None,
        (true, false) => (
            format!(
                "no rule outside of table {table} asks for the mark {MARK}, so what the ruleset refuses stays refused"
            ),
            format!("add this line to the ruleset, before what refuses: {line} (see docs/firewalls.md)"),
        ),
        (false, false) => (
            "nftables refuses nothing on this host, so everybody reaches its ports, with eg or without".to_owned(),
            format!("refuse what nobody may reach, after this line: {line} (see docs/firewalls.md)"),
        ),
    };
    Some(Hindrance { message, advice })
}

fn is_of(part: &Value, table: &str) -> bool {
    let is = |key: &str, value: &str| part.get(key).and_then(Value::as_str) == Some(value);
    is("family", "inet") && is("table", table)
}

/// True for an object with a refusing verdict.
fn refusing(value: &Value) -> bool {
    let target = value.get("xt").and_then(|xt| xt.get("name")).and_then(Value::as_str);
    target.is_some_and(|name| REFUSING_TARGETS.contains(&name)) || REFUSING.iter().any(|key| value.get(key).is_some())
}

/// True if the check holds anywhere in a value.
fn any(value: &Value, check: &impl Fn(&Value) -> bool) -> bool {
    let within = match value {
        Value::Array(parts) => parts.iter().any(|part| any(part, check)),
        Value::Object(parts) => parts.values().any(|part| any(part, check)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    };
    within || check(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const MARKED: u64 = 0x6567_0000;

    fn message(objects: &[Value]) -> String {
        let all = json!({"nftables": objects}).to_string();
        hindrance(all.as_bytes(), "eg").map(|found| found.message).unwrap_or_default()
    }

    fn chain(family: &str, table: &str, policy: &str) -> Value {
        json!({"chain": {"family": family, "table": table, "name": "input", "hook": "input", "policy": policy}})
    }

    fn rule(table: &str, expr: Value) -> Value {
        json!({"rule": {"family": "inet", "table": table, "chain": "input", "expr": expr}})
    }

    /// As nft 1.0.6 prints them.
    #[test]
    fn a_ruleset_that_refuses_has_to_ask_for_the_mark() {
        let masked =
            json!({"match": {"op": "==", "left": {"&": [{"meta": {"key": "mark"}}, MARKED]}, "right": MARKED}});
        let drops = chain("inet", "filter", "drop");
        let stays =
            "no rule outside of table eg asks for the mark 0x65670000, so what the ruleset refuses stays refused";
        for (objects, expected) in [
            (vec![drops.clone()], stays),
            (vec![drops.clone(), rule("filter", json!([masked, {"accept": null}]))], ""),
            // The line stands in the table of eg, where no user's ruleset accepts anything by it.
            (vec![drops, rule("eg", json!([masked, {"accept": null}]))], stays),
            (vec![rule("filter", json!([{"counter": {}}, {"reject": {"type": "tcp reset"}}]))], stays),
            (vec![rule("filter", json!([{"xt": {"type": "target", "name": "REJECT"}}]))], stays),
            (vec![rule("filter", json!([{"vmap": {"data": {"set": [[22, {"drop": null}]]}}}]))], stays),
            (vec![chain("ip", "eg", "drop")], stays),
        ] {
            assert_eq!(message(&objects), expected, "{objects:?}");
        }
    }

    #[test]
    fn a_ruleset_that_refuses_nothing_lets_in_everybody() {
        let accepts = [chain("inet", "filter", "accept"), rule("filter", json!([{"accept": null}]))];
        for objects in [&accepts[..], &[], &[chain("inet", "eg", "drop")]] {
            assert!(message(objects).starts_with("nftables refuses nothing on this host"), "{objects:?}");
        }
    }

    #[test]
    fn what_is_no_ruleset_tells_nothing() {
        for answer in ["", "{}", "[]", r#"{"nftables": 1}"#] {
            assert_eq!(hindrance(answer.as_bytes(), "eg"), None, "{answer}");
        }
    }
}
