//! A WAF IP set at moto, which enforces the lock token: a server that we did not write.

use crate::harness::{IPV4, REGION, World};
use serde_json::{Value, json};

/// A set with an address of others, and the configuration for it.
struct People {
    world: World,
    id: String,
}

impl People {
    fn new() -> Self {
        let world = World::bare();
        let set = json!({
            "Name": "people", "Scope": "REGIONAL", "IPAddressVersion": "IPV4", "Addresses": ["198.51.100.0/24"],
            "Description": "of people", "Tags": [{"Key": "owner", "Value": "bob"}],
        });
        let id = world.cloud.waf("CreateIPSet", &set)["Summary"]["Id"].as_str().expect("an id").to_owned();
        world.write_config(&format!(
            "{}[[resource]]\nname = \"people\"\nkind = \"waf-ip-set\"\nscope = \"regional\"\nset_name = \"people\"\nid = \"{id}\"\n\
             region = \"{REGION}\"\nfamilies = [\"ipv4\"]\n",
            world.config_head()
        ));
        Self { world, id }
    }

    fn named(&self) -> Value {
        json!({"Name": "people", "Scope": "REGIONAL", "Id": self.id})
    }

    /// The set without its token.
    fn set(&self) -> Value {
        self.world.cloud.waf("GetIPSet", &self.named())["IPSet"].clone()
    }

    fn tags(&self) -> Value {
        let arn = self.set()["ARN"].clone();
        self.world.cloud.waf("ListTagsForResource", &json!({"ResourceARN": arn}))["TagInfoForResource"]["TagList"]
            .clone()
    }

    /// Another tool adds an address.
    fn add_by_hand(&self, address: &str) {
        let read = self.world.cloud.waf("GetIPSet", &self.named());
        let mut addresses = read["IPSet"]["Addresses"].clone();
        addresses.as_array_mut().expect("addresses").push(address.into());
        let mut update = self.named();
        update["Addresses"] = addresses;
        update["LockToken"] = read["LockToken"].clone();
        self.world.cloud.waf("UpdateIPSet", &update);
    }
}

#[test]
fn a_session_opens_an_address_and_leaves_the_set_as_it_was() {
    let people = People::new();
    let (set, tags) = (people.set(), people.tags());
    people.world.eg(&["session", "start", "--ipv4", IPV4]).expect_code(0);
    assert_eq!(people.set()["Addresses"], json!(["198.51.100.0/24", format!("{IPV4}/32")]));
    assert_eq!(people.tags().as_array().map(Vec::len), Some(2), "the mark is a tag of the set");

    // Another tool changes the set while the session is open.
    people.add_by_hand("192.0.2.7/32");
    people.world.eg(&["reconcile"]).expect_code(0);
    people.world.eg(&["session", "stop"]).expect_code(0);
    assert_eq!(people.set()["Addresses"], json!(["198.51.100.0/24", "192.0.2.7/32"]));
    assert_eq!((people.set()["Description"].clone(), people.tags()), (set["Description"].clone(), tags));
}
