//! IP sets: lock tokens, what an update replaces, refusals, and one update a second.

use crate::Bench;
use chrono::TimeDelta;
use eg_sandbox::{Fault, Rule, Stale, StaleSight};
use serde_json::{Value, json};

const REGION: &str = "us-east-1";
const ACCOUNT: &str = "123456789012";

/// A bench with an empty set.
struct Sets {
    bench: Bench,
    place: String,
}

impl Sets {
    fn new() -> Self {
        let bench = Bench::new();
        let place = bench.handle.create_ip_set_in(ACCOUNT, REGION, "people", false).unwrap();
        Self { bench, place }
    }

    /// The answer, and the code of a refusal.
    fn ask(&self, action: &str, more: &Value) -> (Value, String) {
        let id = self.place.rsplit('/').next().unwrap();
        let mut body = json!({"Name": "people", "Scope": "REGIONAL", "Id": id});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let answer = self.bench.client.ask_waf(action, &body.to_string());
        let json: Value = serde_json::from_str(&answer.body).unwrap();
        let code = json["__type"].as_str().unwrap_or("OK").to_owned();
        (json, code)
    }

    fn token(&self) -> String {
        self.ask("GetIPSet", &json!({})).0["LockToken"].as_str().unwrap().to_owned()
    }

    /// The code of an update under the current token.
    fn update(&self, addresses: &Value) -> String {
        self.ask("UpdateIPSet", &json!({"Addresses": addresses, "LockToken": self.token()})).1
    }

    fn arn(&self) -> String {
        self.bench.handle.ip_set(&self.place).unwrap().arn()
    }
}

#[test]
fn an_update_replaces_everything_under_its_token() {
    let sets = Sets::new();
    let token = sets.token();
    let update = json!({"Addresses": ["203.0.113.42/24"], "LockToken": token});
    assert_eq!(sets.ask("UpdateIPSet", &update).1, "OK");
    let set = sets.bench.handle.ip_set(&sets.place).unwrap();
    assert_eq!((set.addresses, set.description), (vec!["203.0.113.0/24".to_owned()], None));
    sets.bench.clock.advance(TimeDelta::seconds(1));
    assert_eq!(sets.ask("UpdateIPSet", &update).1, "WAFOptimisticLockException");
    sets.bench.clock.advance(TimeDelta::seconds(1));
    sets.bench.handle.edit_ip_set_by_hand(&sets.place, Vec::clear);
    let stale = json!({"Addresses": [], "LockToken": token});
    assert_eq!(sets.ask("UpdateIPSet", &stale).1, "WAFOptimisticLockException");
}

#[test]
fn one_update_a_second() {
    let sets = Sets::new();
    assert_eq!([sets.update(&json!([])), sets.update(&json!([]))], ["OK", "ThrottlingException"]);
    sets.bench.clock.advance(TimeDelta::seconds(1));
    assert_eq!(sets.update(&json!([])), "OK");
}

#[test]
fn refusals_change_nothing() {
    let sets = Sets::new();
    sets.bench.handle.set(|settings| settings.rate_limits.clear());
    let before = sets.bench.handle.ip_set(&sets.place);
    for addresses in
        [json!(["0.0.0.0/0"]), json!(["home"]), json!(["203.0.113.42"]), json!(["2001:db8::/64"]), json!(null)]
    {
        assert_eq!(sets.update(&addresses), "WAFInvalidParameterException", "{addresses}");
    }
    let many: Vec<String> = (0..10_001).map(|n| format!("10.{}.{}.1/32", n / 256, n % 256)).collect();
    assert_eq!(sets.update(&json!(many)), "WAFLimitsExceededException");
    let unknown = json!({"Id": "00000000-0000-4000-8000-000000000000"});
    assert_eq!(sets.ask("GetIPSet", &unknown).1, "WAFNonexistentItemException");
    assert_eq!(sets.ask("GetIPSet", &json!({"Scope": "NOWHERE"})).1, "WAFInvalidParameterException");
    let again = json!({"IPAddressVersion": "IPV4", "Addresses": []});
    assert_eq!(sets.ask("CreateIPSet", &again).1, "WAFDuplicateItemException");
    let tags: Vec<Value> = (0..51).map(|n| json!({"Key": format!("key {n}"), "Value": ""})).collect();
    assert_eq!(
        sets.ask("TagResource", &json!({"ResourceARN": sets.arn(), "Tags": tags})).1,
        "WAFLimitsExceededException"
    );
    for (fault, code) in [(Fault::Throttle, "ThrottlingException"), (Fault::Deny, "AccessDeniedException")] {
        sets.bench.handle.script([Rule::new(fault).on("GetIPSet").nth(1)]);
        assert_eq!(sets.ask("GetIPSet", &json!({})).1, code);
    }
    assert_eq!(sets.bench.handle.ip_set(&sets.place), before);
}

#[test]
fn reads_that_lag() {
    let sets = Sets::new();
    sets.bench.handle.edit_ip_set_by_hand(&sets.place, |addresses| addresses.push("203.0.113.42/32".to_owned()));
    sets.bench.handle.tag_ip_set_by_hand(&sets.place, |tags| drop(tags.insert("a".to_owned(), "1".to_owned())));
    let sights = [StaleSight::OldVersion, StaleSight::TagsMissing];
    sets.bench.handle.set(|settings| settings.stale = Some(Stale::new(TimeDelta::minutes(5), sights)));
    let shown = || {
        let tags = sets.ask("ListTagsForResource", &json!({"ResourceARN": sets.arn()})).0;
        let count = |value: &Value| value.as_array().map_or(0, Vec::len);
        (
            count(&sets.ask("GetIPSet", &json!({})).0["IPSet"]["Addresses"]),
            count(&tags["TagInfoForResource"]["TagList"]),
        )
    };
    assert_eq!(shown(), (0, 0));
    sets.bench.clock.advance(TimeDelta::minutes(5));
    assert_eq!(shown(), (1, 1));
}
