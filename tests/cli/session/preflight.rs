//! A start that cannot work: told in one block, with nothing left behind. One that can work in part starts.

use super::{Tale, error_of, missing_group, start, start_id};
use crate::harness::{Fault, IPV4, REGION, World, eg::EgCommand};
use serde_json::Value;

const AUTHORIZE: &str = "AuthorizeSecurityGroupIngress";
const DESCRIBE: &str = "DescribeSecurityGroupRules";

/// Without the keys of the environment, which would win over a default profile.
fn keyless(command: EgCommand) -> EgCommand {
    command.without("AWS_ACCESS_KEY_ID").without("AWS_SECRET_ACCESS_KEY")
}

/// A world with one resource, which names a profile.
fn with_profile(profile: &str) -> World {
    let world = World::new();
    let resource = World::resource(
        "prod-api-sg",
        world.group("prod-api-sg"),
        REGION,
        &["tcp/22"],
        &format!("profile = \"{profile}\"\n"),
    );
    world.write_config(&(world.config_head() + &resource));
    world.here.write_profiles(&[("work", "WORK"), ("staging", "STAGING")]);
    world
}

#[track_caller]
fn nothing_recorded(world: &World) {
    let list = world.eg(&["--output", "json", "session", "list", "--limit", "0"]).expect_code(0).json_as("sessions");
    assert_eq!(list.as_array().unwrap().len(), 0, "{list:#}");
}

/// At most eight lines, on both streams together, and none of them about the inside of a library.
#[track_caller]
fn is_one_block(outcome: &crate::harness::Outcome) {
    let lines = outcome.stdout.lines().count() + outcome.stderr.lines().count();
    assert!(lines <= 8, "{lines} lines:\n{outcome}");
    for inside in ["provider was not enabled", "other: ", "initialization error", "dispatch failure", "unhandled"] {
        assert!(!outcome.stderr.contains(inside), "\"{inside}\" in\n{outcome}");
    }
    assert!(!outcome.stderr.contains("warning: "), "{outcome}");
}

/// A typo, three tries, the typo mended: one session.
#[test]
fn a_typo_in_the_profile_leaves_nothing_behind() {
    let world = with_profile("wrok");
    let before = world.cloud.snapshot();
    let mut tale = Tale::new(&world.here);
    let refused = tale.eg(&["session", "start"]).expect_code(1);
    is_one_block(&refused);
    let said = "nothing was opened: AWS profile \"wrok\" does not exist (known: staging, work)";
    assert_eq!(error_of(&refused), said);
    assert!(refused.stderr.contains("config.toml:11)"), "{refused}");
    tale.eg(&["session", "start", "--no-wait"]).expect_code(1);
    tale.eg(&["session", "ensure"]).expect_code(1);
    tale.eg(&["session", "run", "--", "true"]).expect_code(1);
    tale.eg(&["session", "start", "--dry-run"]).expect_code(1);
    let json = world.eg(&["--output", "json", "session", "start"]).expect_code(1);
    let error = json.json_lines().pop().unwrap();
    assert!(error["error"]["message"].as_str().unwrap().starts_with(said), "{error}");
    assert_eq!(json.stdout, "");
    tale.end("preflight_profile");
    assert_eq!(world.call_counts(), "", "nobody was asked");
    nothing_recorded(&world);

    world.write_config(&std::fs::read_to_string(world.here.config_path()).unwrap().replace("wrok", "work"));
    start_id(&world.here, &[]);
    world.eg(&["session", "stop"]).expect_code(0);
    assert_eq!(world.cloud.snapshot(), before);
}

#[test]
fn no_credentials_at_all() {
    let world = World::new();
    let mut tale = Tale::new(&world.here);
    let args = ["session", "start"];
    let refused = keyless(world.here.command(&args)).run().expect_code(1);
    tale.add(&args, &refused);
    is_one_block(&refused);
    // A profile without keys, and one whose login is over.
    std::fs::create_dir_all(world.here.home().join(".aws")).unwrap();
    let profiles = "[profile bare]\nregion = eu-west-1\n[profile work]\nsso_start_url = https://corp.example.com\n\
                    sso_region = eu-west-1\nsso_account_id = 123456789012\nsso_role_name = r\nregion = eu-west-1\n";
    std::fs::write(world.here.home().join(".aws/config"), profiles).unwrap();
    for profile in ["bare", "work"] {
        let refused = keyless(world.here.command(&args)).env("AWS_PROFILE", profile).run().expect_code(1);
        tale.add(&args, &refused);
        is_one_block(&refused);
    }
    tale.end("no_credentials");
    nothing_recorded(&world);
}

#[test]
fn groups_that_are_not_there() {
    let world = World::new();
    world.write_config(&(world.config_head() + &missing_group()));
    let before = world.cloud.snapshot();
    let mut tale = Tale::new(&world.here);
    is_one_block(&tale.eg(&["session", "start"]).expect_code(1));
    // Four different reasons.
    let more =
        |n: usize| World::resource(&format!("r{n}"), &format!("sg-0123456789abcde{n}0"), REGION, &["tcp/22"], "");
    world.write_config(&(world.config_head() + &(1..=4).map(more).collect::<String>()));
    is_one_block(&tale.eg(&["session", "start"]).expect_code(1));
    tale.end("preflight_groups");
    nothing_recorded(&world);
    assert_eq!(world.calls().iter().filter(|call| call.action == AUTHORIZE && !call.dry_run).count(), 0);
    assert_eq!(world.cloud.snapshot(), before);
}

/// Read, opened, tagged, closed: whichever right is missing, and the dry runs are those that the pass would have made.
#[test]
fn rights_that_are_denied() {
    let world = World::new();
    let before = world.cloud.snapshot();
    let mut tale = Tale::new(&world.here);
    for denied in [
        Fault::deny(DESCRIBE),
        Fault::deny(AUTHORIZE),
        Fault::deny(AUTHORIZE).containing("security-group-rule"),
        Fault::deny("RevokeSecurityGroupIngress"),
    ] {
        world.faults(&[denied]);
        is_one_block(&tale.eg(&["session", "start", "--only", "prod-api-sg"]).expect_code(1));
    }
    tale.end("preflight_denied");
    nothing_recorded(&world);
    let opened = |call: &&crate::harness::moto::Call| call.action == AUTHORIZE && !call.dry_run;
    assert_eq!(world.calls().iter().filter(opened).count(), 0);
    world.faults(&[]);
    world.forget_calls();
    start_id(&world.here, &["--only", "prod-api-sg"]);
    let counts = world.call_counts();
    assert_eq!(
        counts,
        "1×AuthorizeSecurityGroupIngress 1×AuthorizeSecurityGroupIngress(DryRun) 1×DescribeSecurityGroupRules \
         1×GetCallerIdentity 1×RevokeSecurityGroupIngress(DryRun)",
        "asked once"
    );
    world.eg(&["session", "stop"]).expect_code(0);
    assert_eq!(world.cloud.snapshot(), before);
    // One that could be stopped need not be asked about again.
    world.forget_calls();
    start_id(&world.here, &["--only", "prod-api-sg"]);
    assert!(!world.call_counts().contains("DryRun"), "{}", world.call_counts());
    world.eg(&["session", "stop"]).expect_code(0);
}

#[test]
fn a_quota_that_is_full() {
    let world = World::new();
    let group = world.group("prod-db-sg").to_owned();
    let ids: Vec<String> = (0..60)
        .map(|number| world.cloud.authorize(&group, "tcp/5432", &format!("198.51.100.{number}/32"), "", &[]))
        .collect();
    let before = world.cloud.snapshot();
    let mut tale = Tale::new(&world.here);
    is_one_block(&tale.eg(&["session", "start", "--only", "prod-db-sg"]).expect_code(1));
    tale.end("preflight_full");
    nothing_recorded(&world);
    assert_eq!(world.cloud.snapshot(), before);
    // Where the rule is there already, nothing is to be opened.
    world.cloud.revoke(&group, &ids[0]);
    world.cloud.authorize(&group, "tcp/5432", &format!("{IPV4}/32"), "", &[]);
    start_id(&world.here, &["--only", "prod-db-sg"]);
}

/// What can work starts; what cannot is said, and not asked about twice.
#[test]
fn a_part_that_works_is_opened() {
    let world = World::new();
    world.write_config(&super::config_with_missing_group(&world));
    world.faults(&[Fault::deny(AUTHORIZE).dry_run(true).containing(world.group("prod-db-sg"))]);
    let started = world.eg(&["--output", "json", "session", "start"]).expect_code(3).json_as("session");
    assert_eq!(started["status"], "PARTIAL");
    let of = |name: &str| {
        let grants = started["resourceIps"].as_array().unwrap().iter();
        grants.into_iter().find(|grant| grant["resourceName"] == name).cloned().unwrap()
    };
    assert_eq!((&of("dev-web-sg")["status"], &of("typo-sg")["status"]), (&"APPLIED".into(), &"FAILED".into()));
    assert!(of("prod-db-sg")["errorMessage"].as_str().unwrap().contains("not permitted"), "{started:#}");
    let asked = world.calls().into_iter().filter(|call| call.dry_run && call.groups == [world.group("prod-db-sg")]);
    assert_eq!(asked.count(), 3, "with tags, without, and to close: {}", world.call_counts());
}

/// What passes by itself is recorded, and opened when it has passed.
#[test]
fn what_passes_is_recorded() {
    let world = World::new();
    world.faults(&[Fault::refuse(DESCRIBE, 503, "ServiceUnavailable", "later")]);
    world.eg(&["session", "start", "--only", "dev"]).expect_code(3);
    world.faults(&[]);
    world.advance(20 * 60);
    world.eg(&["reconcile"]).expect_code(0);
    let list = world.eg(&["--output", "json", "session", "list"]).json_as("sessions");
    assert_eq!(list[0]["status"], "ACTIVE");
}

/// The record's own session is looked at and kept, although a new one would be refused.
#[test]
fn ensure_keeps_what_is_there() {
    let world = World::new();
    start_id(&world.here, &["--only", "dev"]);
    world.faults(&[Fault::deny(DESCRIBE)]);
    world.eg(&["session", "ensure", "--only", "dev"]).expect_code(3);
    world.eg(&["session", "ensure", "--only", "prod"]).expect_code(1);
    let list = world.eg(&["--output", "json", "session", "list"]).json_as("sessions");
    assert_eq!(list.as_array().unwrap().len(), 1);
}

#[test]
fn a_dry_run_shows_and_does_nothing() {
    let world = World::new();
    let group = world.group("dev-web-sg").to_owned();
    world.cloud.authorize(&group, "tcp/443", &format!("{IPV4}/32"), "by hand", &[]);
    world.cloud.authorize(&group, "tcp/22", "0.0.0.0/0", "by hand", &[]);
    let before = world.cloud.snapshot();
    let mut tale = Tale::new(&world.here);
    tale.eg(&["session", "start", "--dry-run"]).expect_code(0);
    assert!(!world.here.state_path().exists(), "nothing is recorded");
    let changes = world.calls().into_iter().filter(|call| !call.dry_run && !call.action.starts_with("Describe"));
    assert_eq!(changes.count(), 0, "{}", world.call_counts());
    assert_eq!(world.cloud.snapshot(), before);

    let json = world.eg(&["session", "start", "--dry-run", "--output", "json"]).expect_code(0);
    let shown = json.json_as("start-dry-run");
    let action = |grant: usize, port: usize| shown["grants"][grant]["permissions"][port]["action"].clone();
    assert_eq!(shown["grants"].as_array().unwrap().len(), 3);
    assert_eq!((action(0, 0), action(0, 1), action(1, 0)), ("open".into(), "covered".into(), "open".into()));

    start(&world.here, &["--only", "prod-api-sg"]);
    let record = std::fs::metadata(world.here.state_path()).unwrap().modified().unwrap();
    world.write_config(&super::config_with_missing_group(&world));
    tale.eg(&["session", "start", "--dry-run", "--duration", "2h"]).expect_code(3);
    tale.eg(&["session", "start", "--dry-run", "--only", "bad"]).expect_code(1);
    tale.eg(&["session", "start", "--dry-run", "--no-wait"]).expect_code(2);
    tale.end("start_dry_run");
    assert_eq!(std::fs::metadata(world.here.state_path()).unwrap().modified().unwrap(), record);
    let list: Value = world.eg(&["--output", "json", "session", "list"]).json_as("sessions");
    assert_eq!(list.as_array().unwrap().len(), 1);
}

/// A signal while the rights are asked for comes before anything is recorded: the next reconcile would open it.
#[test]
fn a_signal_during_the_preflight_records_nothing() {
    for (command, signal, status) in [("start", "INT", 130), ("ensure", "TERM", 143)] {
        let world = World::new();
        let before = world.cloud.snapshot();
        world.faults(&[Fault::hold(AUTHORIZE).dry_run(true)]);
        let running = world.here.command(&["session", command]).spawn();
        running.wait_for_delayed(AUTHORIZE);
        running.signal(signal);
        running.hears();
        world.faults(&[]);
        let outcome = running.wait().expect_code(status);
        assert!(error_of(&outcome).contains("nothing was recorded"), "{outcome}");
        nothing_recorded(&world);
        world.eg(&["reconcile"]).expect_code(0);
        assert_eq!(world.cloud.snapshot(), before);
    }
}
