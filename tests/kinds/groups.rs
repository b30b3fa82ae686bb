//! A hand at a security group of the sandbox.

use super::{
    conforms,
    hand::{Able, Call, Fault, Hand, Seen},
};
use crate::harness::{REGION, World, sandboxed::ACCOUNT};
use chrono::{DateTime, TimeDelta, Utc};
use eg_sandbox::{Config, Fault as Struck, HandRule, Handle, Rule, Sandbox, Script, SecurityGroupRule, Source};
use std::{
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicI64, Ordering},
    },
    time::SystemTime,
};

pub struct Group {
    region: Handle,
    group: String,
    faults: Mutex<Vec<Rule>>,
}

impl Hand for Group {
    const ABLE: Able = Able {
        name: "security group",
        reads: true,
        marks: true,
        edits: Ok(()),
        closes_by_itself: false,
        clock: true,
        vanishes: Ok(()),
        faults: super::hand::ALL_FAULTS,
        no_fault: "",
    };

    fn new(_: &Path, ahead: &Arc<AtomicI64>) -> Self {
        let ahead = Arc::clone(ahead);
        let now = move || DateTime::<Utc>::from(SystemTime::now()) + TimeDelta::seconds(ahead.load(Ordering::SeqCst));
        let region = Sandbox::start(Config::new(42, Arc::new(now))).expect("the sandbox starts");
        let group = region.create_group_in(ACCOUNT, REGION, "it").expect("a group");
        Self { region, group, faults: Mutex::default() }
    }

    fn endpoint(&self) -> Option<String> {
        Some(self.region.endpoint())
    }

    fn config(&self) -> String {
        World::resource("it", &self.group, REGION, &["tcp/22"], "families = [\"ipv4\"]\n")
    }

    fn entries(&self) -> Vec<Seen> {
        let seen = |rule: SecurityGroupRule| Seen {
            network: network(&rule.permission.source),
            id: rule.id.clone(),
            whole: format!("{rule:?}"),
        };
        self.region.rules(&self.group).into_iter().map(seen).collect()
    }

    fn changes(&self) -> Option<usize> {
        let reads = |action: &str| action.starts_with("Describe") || action.starts_with("Get");
        Some(self.region.log().iter().filter(|call| !call.dry_run && !reads(&call.action)).count())
    }

    fn make(&self, network: &str) {
        let rule = HandRule { description: "theirs".to_owned(), ..HandRule::new("tcp/22", network) };
        self.region.authorize_by_hand(&self.group, &rule).expect("a rule by hand");
    }

    fn delete(&self, entry: &Seen) {
        self.region.revoke_by_hand(&self.group, &entry.id).expect("a revoke by hand");
    }

    fn edit(&self, entry: &Seen) {
        let new = HandRule::new("tcp/2222", &entry.network);
        self.region.modify_by_hand(&self.group, &entry.id, &new).expect("an edit by hand");
    }

    fn strip(&self, entry: &Seen) {
        let rule = self.region.rules(&self.group).into_iter().find(|rule| rule.id == entry.id).expect("the rule");
        self.region.untag_by_hand(&rule.id, &rule.tags).expect("tags go by hand");
    }

    fn vanish(&self) {
        self.region.delete_group(&self.group);
    }

    fn fault(&self, call: Call, fault: Fault) {
        let action = match call {
            Call::Read => "DescribeSecurityGroupRules",
            Call::Open => "AuthorizeSecurityGroupIngress",
            Call::Close => "RevokeSecurityGroupIngress",
            Call::Mark => "CreateTags",
        };
        let refuse = |code: &str, message: &str| Struck::Refuse {
            code: code.to_owned(),
            message: message.to_owned(),
            status: 400,
        };
        let struck = match fault {
            Fault::LostBefore => Struck::ResetBefore,
            Fault::LostAfter => Struck::ResetAfter,
            Fault::Throttled => Struck::Throttle,
            Fault::Conflict if call == Call::Open => refuse("InvalidPermission.Duplicate", "it exists already"),
            Fault::Conflict => refuse("InvalidSecurityGroupRuleId.NotFound", "it does not exist"),
            Fault::Quota => refuse("RulesPerSecurityGroupLimitExceeded", "the group is full"),
            Fault::Unreadable => Struck::Status(503),
        };
        let mut faults = self.faults.lock().expect("no test panicked with it");
        faults.push(Rule::new(struck).on(action).dry_run(false).times(1));
        self.region.script(faults.iter().cloned().collect::<Script>());
    }

    fn call_off(&self) {
        self.faults.lock().expect("no test panicked with it").clear();
        self.region.script(Script::default());
    }
}

fn network(source: &Source) -> String {
    match source {
        Source::Cidr(network) => network.to_string(),
        other => format!("{other:?}"),
    }
}

conforms!(security_group, Group);
