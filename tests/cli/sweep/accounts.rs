//! Regions, accounts, profiles; what is shown; what is left alone.

use super::*;
use crate::{
    cli::session::{Tale, error_of},
    harness::{Cloud, Fault, Moto, World, cloud},
};
use std::fs;

/// A rule of an installation that is gone for good. Its id.
fn left_at(cloud: &Cloud, group: &str, port: u16, number: u128, until: DateTime<Utc>) -> String {
    let tags = tags_of(group, port, number, until);
    let tags: Vec<_> = tags.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    cloud.authorize(group, &format!("tcp/{port}"), &format!("{IPV4}/32"), "eg bob@laptop session 00000000", &tags)
}

fn ago(hours: i64) -> DateTime<Utc> {
    DateTime::<Utc>::from(std::time::SystemTime::now()) - chrono::TimeDelta::hours(hours)
}

/// Everything that a group can hold, seen by somebody who has credentials and nothing else.
#[test]
fn what_is_shown_and_what_is_closed() {
    let world = World::new();
    let group = world.group("prod-api-sg").to_owned();
    let resource = World::resource("prod-api-sg", &group, REGION, &["tcp/22", "tcp/5432"], "");
    world.write_config(&format!("[aws]\ndescription = \"session\"\n{resource}"));
    world.cloud.authorize(&group, "tcp/22", "198.51.100.7/32", "office", &[("owner", "bob")]);
    world.cloud.authorize(&group, "tcp/3389", &format!("{IPV4}/32"), "", &[("eg:managed-by", "terraform")]);
    let foreign = world.cloud.snapshot();
    world.eg(&["session", "start", "--ipv4", IPV4, "--duration", "2h"]).expect_code(0);
    let rules = world.cloud.rules(&group);
    let ours = |rule: &&cloud::Rule| rule.tags.get("eg:managed-by").is_some_and(|by| by == "eg");
    let shared = rules.iter().filter(ours).find(|rule| rule.ports == (22, 22)).unwrap().clone();
    let id = shared.tags.keys().find_map(|key| key.strip_prefix("eg:lease:")).unwrap().to_owned();
    // Another one holds it as well; its id comes last, as the ids are sorted.
    world.cloud.create_tags(&shared.id, &[(&format!("eg:lease:{}", "f".repeat(32)), &text(ago(-8)))]);
    let copied: Vec<_> = shared.tags.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    let misfit = world.cloud.authorize(&group, "tcp/8080", "0.0.0.0/0", "copied", &copied);
    world.advance(3 * HOUR + 20 * MINUTE + 5);
    let before = world.cloud.snapshot();

    let stranger = world.installation("stranger");
    fs::remove_file(stranger.config_path()).unwrap();
    // Ids that were seen have names.
    world.eg(&["session", "list", "--output", "json"]).normalised();
    let mut tale = Tale::new(&stranger);
    world.forget_calls();
    tale.eg(&["sweep", "--region", REGION, "--dry-run"]).expect_code(3);
    let looks = format!("1×DescribeManagedPrefixLists 1×{READ} 1×GetCallerIdentity 1×ListIPSets");
    assert_eq!(world.call_counts(), looks, "one series for each kind, and nothing but looks");
    assert_eq!(world.cloud.snapshot(), before);
    // On a terminal that is too narrow what does not fit goes below, whole.
    let dry = ["sweep", "--region", REGION, "--dry-run"];
    let mut narrow = stranger.eg(&dry).expect_code(3);
    let left = stranger.command(&dry).env("TERM", "xterm").on_terminal(60, 90).wait();
    narrow.stdout = left.screen.contents() + "\n";
    tale.add(&dry, &narrow);
    tale.eg(&["sweep", "--region", REGION, "--older-than", "2h"]).expect_code(0);
    assert_eq!(world.cloud.snapshot(), before, "an hour and twenty minutes is not long enough");
    tale.eg(&["sweep", "--region", REGION]).expect_code(0);
    tale.eg(&["sweep", "--region", "us-east-1"]).expect_code(0);
    assert!(!stranger.state_path().exists() && !stranger.state_path().parent().unwrap().exists(), "no record is made");
    tale.name(&id[..8], "INSTALL1");
    tale.end("sweep");

    // The database's rule is gone; the shared one, the copied one and those of others are as they were.
    let rest: Vec<_> = before.lines().filter(|line| !line.contains("tcp/5432")).collect();
    assert_eq!(world.cloud.snapshot().lines().collect::<Vec<_>>(), rest);
    for id in [misfit, shared.id] {
        world.cloud.revoke(&group, &id);
    }
    assert_eq!(world.cloud.snapshot(), foreign);
}

/// Two accounts by profile, two regions each; a third profile leads to the first account again.
#[test]
fn regions_and_profiles() {
    let (world, second) = (World::bare(), World::bare());
    let clouds = [world.cloud.clone(), world.cloud.in_region("us-east-1"), second.cloud.clone()];
    let key = |world: &World| Moto::access_key(world.account(), "PROFILE");
    let profile = |name: &str, world: &World, region: &str| {
        format!("[profile {name}]\naws_access_key_id = {}\naws_secret_access_key = t\nregion = {region}\n", key(world))
    };
    fs::create_dir_all(world.here.home().join(".aws")).unwrap();
    let config = [
        profile("one", &world, "us-east-1"),
        profile("two", &second, REGION),
        profile("again", &world, REGION),
        "[profile none]\nregion = eu-west-1\n".to_owned(),
    ];
    fs::write(world.here.home().join(".aws/config"), config.concat()).unwrap();
    let mut before = Vec::new();
    let mut left = Vec::new();
    for cloud in &clouds {
        let group = cloud.create_group("group");
        cloud.authorize(&group, "tcp/22", "198.51.100.7/32", "office", &[("owner", "bob")]);
        left_at(cloud, &group, 8443, 3, ago(-5));
        before.push(cloud.snapshot());
        left.push(left_at(cloud, &group, 22, 2, ago(5)));
    }
    let snapshots = || clouds.iter().map(Cloud::snapshot).collect::<Vec<_>>();

    // The profile's own region.
    let one = world.eg(&["sweep", "--profile", "one", "--dry-run", "--output", "json"]).expect_code(3).json_as("sweep");
    assert_eq!(
        one["places"],
        serde_json::json!([{"account": world.account(), "region": "us-east-1", "profile": "one"}])
    );
    assert_eq!(came(&one, &left[1]), ["expired", "close", "planned"]);
    // The environment's region and credentials.
    let here = world.here.command(&["sweep", "--dry-run", "--output", "json"]).env("AWS_REGION", REGION).run();
    assert_eq!(came(&here.expect_code(3).json_as("sweep"), &left[0]), ["expired", "close", "planned"]);

    world.forget_calls();
    let args = ["sweep", "--output", "json", "--region", REGION, "--region", "us-east-1", "--profile", "one"];
    let both = [&args[..], &["--profile", "two", "--profile", "again"]].concat();
    // A profile without credentials is not an account without rules.
    let part = world.eg(&[&both[..], &["--profile", "none"]].concat()).expect_code(3);
    part.json_lines();
    let part = part.json_as("sweep");
    assert_eq!(part["unavailable"][0]["profile"], "none", "{part:#}");
    assert_eq!(part["places"].as_array().unwrap().len(), 4, "two accounts, two regions: {part:#}");
    let reads = |world: &World| world.calls().iter().filter(|call| call.action == READ).count();
    assert!(reads(&world) >= 2, "{}", world.call_counts());
    for (number, id) in left.iter().enumerate() {
        assert_eq!(came(&part, id), ["expired", "close", "done"]);
        assert!(part["rules"].as_array().unwrap().iter().any(|rule| rule["state"] == "held"), "{number}");
    }
    assert_eq!(snapshots(), before, "field for field");
    let none = world.eg(&both).expect_code(0).json_as("sweep");
    assert!(none["rules"].as_array().unwrap().iter().all(|rule| rule["state"] == "held"), "{none:#}");
}

#[test]
fn what_cannot_be_read_is_not_empty() {
    let world = World::new();
    world.faults(&[Fault::deny(READ).times(1)]);
    let some = world.eg(&["sweep", "--region", REGION, "--region", "us-east-1"]).expect_code(3);
    assert!(some.stderr.contains(" cannot be read: not permitted: "), "{some}");
    assert!(some.stderr.contains("hint: give the credentials the permissions that `eg iam-policy --sweep` prints"));
    world.faults(&[Fault::deny(READ)]);
    let none = world.eg(&["sweep", "--region", REGION]).expect_code(1);
    assert_eq!(none.stdout, "No account or region could be read\n");
    let json = world.eg(&["sweep", "--region", REGION, "--output", "json"]).expect_code(1);
    json.json_lines();
    assert_eq!(json.json_as("sweep")["unavailable"][0]["region"], REGION);
    world.faults(&[Fault::deny("DescribeRegions")]);
    let all = world.eg(&["sweep", "--region", "all"]).expect_code(1);
    assert!(all.stderr.contains("ask which regions there are"), "{all}");
}

/// The second profile of an account is another way to the same place.
#[test]
fn where_one_profile_may_not_look_another_may() {
    let world = World::new();
    let group = world.group("dev-web-sg").to_owned();
    let before = world.cloud.snapshot();
    let id = left_at(&world.cloud, &group, 22, 2, ago(5));
    world.here.write_profiles(&[("narrow", "NARROW"), ("wide", "WIDE")]);
    world.faults(&[Fault::deny(READ).times(1)]);
    let args = ["sweep", "--region", REGION, "--profile", "narrow", "--profile", "wide", "--output", "json"];
    let document = world.eg(&args).expect_code(0).json_as("sweep");
    assert_eq!(came(&document, &id), ["expired", "close", "done"]);
    assert_eq!((&document["places"][0]["profile"], &document["unavailable"]), (&"wide".into(), &serde_json::json!([])));
    assert_eq!(world.cloud.snapshot(), before);
}

/// What is still there at the second reading, and no longer to be closed, is held again only if somebody holds it.
#[test]
fn what_changes_between_two_readings_is_not_closed_by_that() {
    type Change = fn(&World, &str, &str);
    let changes: [(&str, i32, Change); 3] = [
        ("held-again", 0, |world, _, id| {
            let key = format!("eg:lease:{}", "f".repeat(32));
            world.cloud.create_tags(id, &[(&key, &text(ago(-8)))]);
        }),
        ("unknown", 3, |world, group, id| world.cloud.strip_tags(group, id)),
        // From now on the provider's clock is ahead of this process's.
        ("unknown", 3, |world, _, _| world.advance(5 * MINUTE)),
    ];
    for (outcome, code, change) in changes {
        let world = World::new();
        let group = world.group("dev-web-sg").to_owned();
        let before = world.cloud.snapshot();
        let id = left_at(&world.cloud, &group, 22, 2, ago(5));
        world.faults(&[Fault::lose_request(REVOKE).times(1), Fault::hold(READ).skip(1)]);
        let running = world.here.command(&["sweep", "--region", REGION, "--output", "json"]).spawn();
        running.wait_for_delayed(READ);
        change(&world, &group, &id);
        world.faults(&[]);
        let swept = running.wait().expect_code(code);
        assert_eq!(came(&swept.json_as("sweep"), &id), ["expired", "close", outcome]);
        world.cloud.revoke(&group, &id);
        assert_eq!(world.cloud.snapshot(), before);
    }
}

/// Keys in the environment beat AWS_PROFILE, and leave it its region.
#[test]
fn the_region_of_aws_profile_counts_beside_keys() {
    let world = World::bare();
    fs::create_dir_all(world.here.home().join(".aws")).unwrap();
    let config = format!("[default]\nregion = {REGION}\n[profile one]\nregion = us-east-1\n");
    fs::write(world.here.home().join(".aws/config"), config).unwrap();
    let swept = world.here.command(&["sweep", "--output", "json"]).env("AWS_PROFILE", "one").run();
    let swept = swept.expect_code(0).json_as("sweep");
    assert_eq!((&swept["places"][0]["region"], &swept["places"][0]["profile"]), (&"us-east-1".into(), &Value::Null));
}

/// The call in flight is waited for, what it came to is reported, and nothing more is begun.
#[test]
fn a_signal_stops_between_calls() {
    let world = World::new();
    let before = world.cloud.snapshot();
    let id = left_at(&world.cloud, world.group("dev-web-sg"), 22, 2, ago(5));
    world.faults(&[Fault::hold(REVOKE)]);
    let running = world.here.command(&["sweep", "--region", REGION, "--output", "json"]).spawn();
    running.wait_for_delayed(REVOKE);
    running.signal("TERM");
    running.hears();
    world.faults(&[]);
    let outcome = running.wait().expect_code(143);
    // The provider's answer names no rule, so it takes another reading to know, and that is not begun.
    assert_eq!(came(&outcome.json_as("sweep"), &id), ["expired", "close", "unknown"]);
    assert!(outcome.stderr.contains("stopped by a signal"), "{outcome}");
    assert_eq!(world.cloud.snapshot(), before);
}

/// Of many accounts the first was read minutes before the last: whether clocks agree is a question of its own moment.
#[test]
fn an_old_reading_is_no_wrong_clock() {
    let worlds = [World::bare(), World::bare()];
    let profile = |(world, name): (&World, &str)| {
        let key = Moto::access_key(world.account(), "PROFILE");
        format!("[profile {name}]\naws_access_key_id = {key}\naws_secret_access_key = t\n")
    };
    let here = &worlds[0].here;
    fs::create_dir_all(here.home().join(".aws")).unwrap();
    let config: String = worlds.iter().zip(["first", "last"]).map(profile).collect();
    fs::write(here.home().join(".aws/config"), config).unwrap();
    for world in &worlds {
        left_at(&world.cloud, &world.cloud.create_group("group"), 22, 2, ago(5));
    }
    worlds[1].faults(&[Fault::hold(READ)]);
    let running = here.command(&["sweep", "--region", REGION, "--profile", "first", "--profile", "last"]).spawn();
    running.wait_for_call(|call| call.action == READ);
    worlds.iter().for_each(|world| world.advance(180));
    worlds[1].faults(&[]);
    // Of the last it cannot be told.
    let outcome = running.wait().expect_code(3);
    let left = |world: &World| world.cloud.snapshot().contains("eg:managed-by");
    assert_eq!([left(&worlds[0]), left(&worlds[1])], [false, true], "{outcome}");
}

#[test]
fn arguments() {
    let world = World::bare();
    let none = world.eg(&["sweep"]).expect_code(2);
    assert_eq!(error_of(&none), "no region: pass --region, or set one in the profile");
    for wrong in [
        &["--region", "EU"][..],
        &["--older-than", "soon"],
        &["--revoke-all"],
        &["--owner", "0123"],
        &["--yes"],
        &["--revoke-all", "--owner", "012"],
        &["--revoke-all", "--owner", "a b c d"],
        &["--revoke-all", "--owner", "0123", "--older-than", "8h"],
        &["--revoke-all", "--owner", "0123", "--yes", "--dry-run"],
    ] {
        let outcome = world.eg(&[&["sweep"], wrong].concat()).expect_code(2);
        assert_eq!(outcome.stdout, "", "{outcome}");
    }
    assert_eq!(world.call_counts(), "");
}
