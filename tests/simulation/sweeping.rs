//! `eg sweep` with a clock that stands: how old a reading may be when something is closed.

use crate::eg_here::Machine;
use chrono::{DateTime, TimeDelta};
use eg_model::{
    ids::{InstallationId, SessionId},
    net::permission::Permission,
    tags::{description, tags_for},
};
use eg_sandbox::{Config, Fault, HandClock, HandRule, Rule, Sandbox};
use uuid::Uuid;

const REVOKE: &str = "RevokeSecurityGroupIngress";
const READ: &str = "DescribeSecurityGroupRules";

/// Throttled for longer than ten seconds: the group is read again before the next try.
#[test]
fn nothing_is_closed_on_an_old_reading() {
    let dir = tempfile::tempdir().unwrap();
    let clock = HandClock::at(DateTime::from_timestamp(1_900_000_000, 0).unwrap());
    let region = Sandbox::start(Config::new(7, clock.clock())).unwrap();
    let group = region.create_group_in("200000000001", "eu-west-1", "api").unwrap();
    let permission: Permission = "tcp|22|22|203.0.113.42/32".parse().unwrap();
    let until = clock.now() - TimeDelta::hours(1);
    let gone = InstallationId::from_uuid(Uuid::from_u128(3));
    let session = SessionId(Uuid::from_u128(1));
    let tags = tags_for(&group, &[permission], session, &gone, until);
    let description = description(Some("bob@desk"), session, None);
    let rule = HandRule { tags, description, ..HandRule::new("tcp/22", "203.0.113.42/32") };
    region.authorize_by_hand(&group, &rule).unwrap();
    let mut machine = Machine::new(dir.path(), "stranger", 7, &clock, &region.endpoint(), "");
    region.script([Rule::new(Fault::Throttle).on(REVOKE).times(6)]);

    let ended = machine.eg(&["sweep", "--region", "eu-west-1", "--profile", "sandbox"]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(region.rules(&group), []);
    let log = region.log();
    let revokes = log.iter().filter(|call| call.action == REVOKE);
    for revoke in revokes.clone() {
        let reads = log.iter().take_while(|call| call.number < revoke.number).filter(|call| call.action == READ);
        let read = reads.last().expect("a reading");
        // Ten whole seconds, as `eg` counts them.
        assert!(revoke.at - read.at < TimeDelta::seconds(11), "{read:#?}\n{revoke:#?}");
    }
    assert_eq!(revokes.count(), 7);
    assert!(log.iter().filter(|call| call.action == READ).count() > 1, "it was read again");
}
