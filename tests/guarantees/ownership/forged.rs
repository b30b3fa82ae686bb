//! Tags that somebody has written on rules that are not `eg`'s, and rules of ours that have lost some. Whoever may write
//! tags can write `eg`'s; what it says in the description, and how wide a rule is, they cannot change.

use super::*;
use chrono::TimeDelta;
use eg_model::{
    ids::{InstallationId, SessionId},
    net::permission::Permission,
    tags::tags_for,
};
use uuid::Uuid;

/// All of `eg`'s tags for a rule, of an installation that there never was; `hours` from now is what its lease says.
fn forge(world: &World, group: &str, permission: &str, hours: Option<i64>) -> Vec<(String, String)> {
    let permission: Permission = permission.parse().unwrap();
    let nobody = InstallationId::from_uuid(Uuid::from_u128(0xf << 124));
    let until = world.now() + TimeDelta::hours(hours.unwrap_or_default());
    let mut tags = tags_for(world.group(group), &[permission], SessionId(Uuid::from_u128(5)), &nobody, until);
    tags.retain(|key, _| hours.is_some() || !key.starts_with("eg:lease:"));
    tags.into_iter().collect()
}

fn write(world: &World, rule: &str, tags: &[(String, String)]) {
    let tags: Vec<_> = tags.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    world.cloud.create_tags(rule, &tags);
}

/// Rules that people have made, with forged tags: the two that are enough for the digest, and all of them, with a lease
/// that has expired and one that has not. Their ids.
fn forgeries(world: &World) -> Vec<String> {
    let mut ids = Vec::new();
    for (port, cidr, hours) in [
        (22, "198.51.100.0/24", None),
        (22, "198.51.100.9/32", Some(-2)),
        (443, "198.51.100.9/32", Some(2)),
        (5432, "10.0.0.0/8", None),
        (5433, "10.0.0.0/8", Some(-2)),
    ] {
        let id = world.cloud.authorize(world.group(API), &format!("tcp/{port}"), cidr, "made by hand: the office", &[]);
        let mut tags = forge(world, API, &format!("tcp|{port}|{port}|{cidr}"), hours);
        if hours.is_none() {
            tags.retain(|(key, _)| matches!(key.as_str(), "eg:managed-by" | "eg:marks"));
            assert_eq!(tags.len(), 2);
        }
        write(world, &id, &tags);
        ids.push(id);
    }
    ids
}

/// A central sweep, a colleague's collection, and a pass of one who has sessions: none of them closes a rule that tags
/// alone call `eg`'s.
#[test]
fn forged_tags_have_no_rule_closed() {
    let world = World::new();
    world.write_config(&collecting(&world));
    bystanders(&world);
    let ids = forgeries(&world);
    let before = world.cloud.snapshot();
    let (colleague, central) = (world.installation("colleague"), world.installation("central"));
    fs::remove_file(central.config_path()).unwrap();

    let swept = central.eg(&["sweep", "--region", REGION]).expect_code(0);
    says(&swept, "✓ 0 of 5 rules closed");
    says(&swept, "its description does not name the session of its tags; eg never touches it");
    says(&swept, "eg never opens a rule as wide as this, whatever its tags say; eg never touches it");
    let listed = central.eg(&["sweep", "--region", REGION, "--output", "json"]).expect_code(0).json_as("sweep");
    assert!(listed["rules"].as_array().unwrap().iter().all(|rule| rule["state"] == "misfit"), "{listed:#}");
    assert_eq!(world.cloud.snapshot(), before);

    // The first pass of a new record collects, and so does every one after a minute.
    let told = pass(&colleague, 0);
    ids.iter().for_each(|id| says(&told, &format!("{id} is left alone: ")));
    for _ in 0..2 {
        assert_eq!(world.cloud.snapshot(), before);
        world.advance(2 * MINUTE);
        pass(&colleague, 0);
    }
    assert_eq!(world.cloud.snapshot(), before);
    let id = start(&world.here, &["--only", "dev-web-sg"]);
    pass(&world.here, 0);
    world.advance(7 * HOUR);
    pass(&world.here, 0);
    stop(&world.here, &id).expect_code(0);
    assert_eq!(world.cloud.snapshot(), before);
    assert!(!changes(&world).iter().any(|call| ids.iter().any(|id| call.contains(id))), "{:#?}", changes(&world));

    let who = colleague.eg(&["who", "--output", "json"]).expect_code(0).json_as("who");
    assert!(who["rules"].as_array().unwrap().iter().all(|rule| rule["marks"] == "misfit"), "{who:#}");
    // An incident does not change that: the owner that the tags name owns none of them.
    let nobody = format!("f{}", "0".repeat(31));
    let all = ["sweep", "--region", REGION, "--revoke-all", "--owner", &nobody, "--even-if-held", "--yes"];
    central.eg(&all).expect_code(1);
    assert_eq!(world.cloud.snapshot(), before);
}

/// The very permission that a session wants, with every tag of `eg`'s, our own lease among them: it covers, like any
/// rule of others, whatever was lost before.
#[test]
fn a_twin_with_our_own_lease_is_not_adopted() {
    let world = World::new();
    bystanders(&world);
    let first = start(&world.here, &["--only", "dev-web-sg"]);
    let ours = ours(&world.cloud, world.group("dev-web-sg")).remove(0);
    let lease = ours.tags.keys().find(|key| key.starts_with("eg:lease:")).unwrap().clone();
    // A call that never arrived: what shows next with our tag could be its rule.
    world.faults(&[Fault::lose_request("AuthorizeSecurityGroupIngress")]);
    begin(&world.here, &["--only", API]);
    world.faults(&[]);
    let twin = world.cloud.authorize(world.group(API), "tcp/22", &cidr(), "made by hand: the office", &[]);
    let mut tags = forge(&world, API, &format!("tcp|22|22|{}", cidr()), None);
    let until = world.now() + TimeDelta::hours(20);
    tags.push((lease, until.format("%Y-%m-%dT%H:%M:%SZ").to_string()));
    write(&world, &twin, &tags);
    let group = world.cloud.rules(world.group(API));

    let told = pass(&world.here, 0);
    says(&told, &format!("{twin} is left alone"));
    let sessions = world.eg(&["--output", "json", "session", "list"]).expect_code(0).json_as("sessions");
    assert_eq!(sessions[0]["resourceIps"][0]["coverage"], "foreign", "{sessions:#}");
    world.eg(&["session", "stop", "--all"]);
    world.advance(SETTLED);
    pass(&world.here, 0);
    assert_eq!(status(&world.here, &first), "CANCELLED");
    assert_eq!(world.cloud.rules(world.group(API)), group, "our tag does not keep a lease open either");
}

fn opener(rule: &Rule) -> String {
    rule.tags["eg:session"].chars().take(8).collect()
}

/// A shared rule is stripped, its opener is gone, and the one who joined it tags it again: with the session that its
/// description names, or nobody else would believe the tags and close the rule when both are gone.
#[test]
fn tags_that_are_written_again_name_the_session_of_the_description() {
    let world = World::new();
    let before = bystanders(&world);
    let other = world.installation("other-machine");
    let id = start(&other, &["--only", API, "--duration", "2h"]);
    start(&world.here, &["--only", API, "--duration", "2h"]);
    let rule = our_rule(&world, API);
    assert_eq!(opener(&rule), id[..8]);
    world.advance(SETTLED);
    world.cloud.strip_tags(world.group(API), &rule.id);
    says(&pass(&world.here, 3), "was found without its tags; they are written again");
    assert_eq!(opener(&our_rule(&world, API)), id[..8]);
    pass(&world.here, 0);
    // One tag alone, which everything else hangs on.
    world.advance(SETTLED);
    world.cloud.create_tags(&rule.id, &[("eg:session", "cafecafe-0000-4000-8000-000000000000")]);
    says(&pass(&world.here, 3), "was found without its tags; they are written again");
    assert_eq!(opener(&our_rule(&world, API)), id[..8]);
    // The other one's lease went with the rest.
    says(&pass(&other, 3), "was found without its tags; they are written again");
    assert_eq!(opener(&our_rule(&world, API)), id[..8]);
    // Both machines are gone, and their leases run out.
    world.advance(3 * HOUR);
    let central = world.installation("central");
    says(&central.eg(&["sweep", "--region", REGION]).expect_code(0), "✓ 1 of 1 rule closed");
    assert_eq!(world.cloud.snapshot(), before);
}

/// With the policy that is printed by default, a rule that has lost its mark cannot be given it again. That is told, and
/// the rule is closed by its id all the same.
#[test]
fn where_a_stripped_rule_may_not_be_tagged_it_is_closed_by_its_id() {
    let world = World::new();
    let before = bystanders(&world);
    let id = start(&world.here, &["--only", API]);
    let rule = our_rule(&world, API);
    world.advance(SETTLED);
    world.cloud.strip_tags(world.group(API), &rule.id);
    world.faults(&[Fault::deny("CreateTags")]);
    // Every pass says the same, also while the refusal is fresh.
    for _ in 0..3 {
        let told = world.eg(&["--output", "json", "reconcile"]).expect_code(3).json_as("reconcile");
        let notes = told["notes"].as_array().unwrap();
        let note = notes[0]["message"].as_str().unwrap();
        assert_eq!((notes.len(), &notes[0]["kind"]), (1, &"stripped".into()), "{told:#}");
        assert!(note.contains("the credentials may not write them again (eg iam-policy --restore prints"), "{note}");
        assert!(note.contains("only this installation knows that it is eg's, and closes it by its id"), "{note}");
        world.advance(2 * MINUTE);
    }
    let extended = world.eg(&["session", "extend", &id, "--hours", "1"]).expect_code(3);
    says(&extended, "eg iam-policy");
    assert_eq!(get(&world.here, &id)["resourceIps"][0]["coverage"], "own");
    stop(&world.here, &id).expect_code(0);
    assert_eq!(world.cloud.snapshot(), before);
}

/// The description is cut at what AWS takes, and still says whose the rule is. (Long names: `model/src/tags.rs`.)
#[test]
fn a_description_that_is_cut_is_evidence_all_the_same() {
    let world = World::new();
    let before = bystanders(&world);
    let long = "x".repeat(240);
    world.eg(&["session", "start", "--only", API, "--duration", "1h", "--reason", &long]).expect_code(0);
    let rule = our_rule(&world, API);
    assert_eq!(rule.description.len(), 255, "{}", rule.description);
    assert!(rule.description.contains(&format!(" session {}: x", opener(&rule))), "{}", rule.description);
    world.advance(2 * HOUR);
    let central = world.installation("central");
    says(&central.eg(&["sweep", "--region", REGION]).expect_code(0), "✓ 1 of 1 rule closed");
    assert_eq!(world.cloud.snapshot(), before);
}
