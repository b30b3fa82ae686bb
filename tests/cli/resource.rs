//! `eg resource list | add | remove | verify | discover`.

use crate::{
    cli::session::{Tale, error_of, start, start_id},
    harness::{Fault, REGION, World},
};
use serde_json::Value;
use std::{fs, os::unix::fs::symlink};

const ID: &str = "sg-0123456789abcdef0";

fn text_of(world: &World) -> String {
    fs::read_to_string(world.here.config_path()).unwrap()
}

#[test]
fn add_and_remove_leave_all_else() {
    let world = World::bare();
    let mut tale = Tale::new(&world.here);
    tale.eg(&["resource", "list"]).expect_code(0);
    tale.eg(&["resource", "add", "api", "--id", ID, "--region", REGION, "--port", "tcp/22"]).expect_code(0);
    let first = text_of(&world);
    world.write_config(&format!(
        "# mine\n[user]\nname = 'A' # me\n\n{first}\n# last\n[aws]\ndescription = \"session\"\n"
    ));
    let before = text_of(&world);
    tale.eg(&["resource", "add", "api", "--id", ID, "--region", REGION, "--port", "tcp/22"]).expect_code(1);
    tale.eg(&["resource", "add", "db", "--id", "sg-1", "--region", REGION, "--port", "tcp/22"]).expect_code(1);
    tale.eg(&["resource", "add", "db", "--id", ID, "--region", REGION]).expect_code(1);
    tale.eg(&["resource", "add", "db", "--id", ID, "--port", "gopher"]).expect_code(2);
    tale.eg(&["resource", "add", "db"]).expect_code(2);
    // The second value would take the place of the first, and other groups would be meant.
    let both = ["--tag", "env=prod", "--tag", "env=dev", "--region", REGION, "--port", "tcp/22"];
    tale.eg(&[&["resource", "add", "db"][..], &both].concat()).expect_code(2);
    assert_eq!(text_of(&world), before, "a bad edit changes nothing");
    let more = ["--port", "tcp/5432", "--port", "icmp", "--family", "ipv4", "--label", "prod", "--profile", "work"];
    let tags = ["resource", "add", "every db", "--group-name", "db-*", "--tag", "env=prod", "--region", REGION];
    tale.eg(&[&tags[..], &more].concat()).expect_code(0);
    tale.eg(&["resource", "list"]).expect_code(0);
    let rows = world.eg(&["resource", "list", "--output", "json"]).expect_code(0).json_as("resources");
    assert_eq!((&rows[0]["id"], &rows[1]["id"]), (&Value::from(ID), &Value::Null));
    assert_eq!((&rows[1]["groupName"], &rows[1]["tags"]["env"]), (&"db-*".into(), &"prod".into()));
    tale.eg(&["resource", "remove", "every-db"]).expect_code(1);
    tale.eg(&["resource", "remove", "every db"]).expect_code(0);
    assert_eq!(text_of(&world), before, "as it was, byte for byte");
    let json = world.eg(&["resource", "remove", "api", "--output", "json"]).expect_code(0).json_as("resource-change");
    assert_eq!((&json["action"], &json["name"]), (&"removed".into(), &"api".into()));
    let args = ["--output", "json", "resource", "add", "x", "--id", ID, "--region", REGION, "--port", "all"];
    assert_eq!(world.eg(&args).expect_code(0).json_as("resource-change")["action"], "added");
    tale.end("resource_edit");
    assert!(!world.here.state_path().exists(), "no record is needed");
    assert_eq!(world.call_counts(), "", "no cloud is asked");
}

#[test]
fn a_resource_in_use() {
    let world = World::new();
    let id = start_id(&world.here, &["--only", "prod-api-sg"]);
    let before = text_of(&world);
    let refused = world.eg(&["resource", "remove", "prod-api-sg"]).expect_code(1);
    assert_eq!(error_of(&refused).split(" until ").next(), Some(&*format!("session {} uses prod-api-sg", &id[..8])));
    assert!(refused.stderr.contains(&format!("eg session stop {}", &id[..8])), "{refused}");
    assert_eq!(text_of(&world), before);
    // A record that cannot be read may hold a session.
    let state = world.dir().join("bad.db");
    fs::write(&state, "not a database").unwrap();
    world.eg(&["--state", &state.to_string_lossy(), "resource", "remove", "prod-api-sg"]).expect_code(1);
    assert_eq!(text_of(&world), before);

    let forced = world.eg(&["resource", "remove", "prod-api-sg", "--force", "--output", "json"]).expect_code(0);
    assert_eq!(forced.json_as("resource-change")["sessions"][0], *id);
    assert_eq!(forced.json_lines().len(), 1, "{forced}");
    assert_eq!(world.cloud.rules(world.group("prod-api-sg")).len(), 1, "the session keeps what it opened");
    world.eg(&["session", "stop", &id]).expect_code(0);
    assert_eq!(world.cloud.rules(world.group("prod-api-sg")), []);
    world.eg(&["resource", "remove", "prod-db-sg"]).expect_code(0);
}

#[test]
fn a_link_stays_a_link() {
    let world = World::bare();
    let real = world.dir().join("dotfiles.toml");
    fs::write(&real, "# dotfiles\n").unwrap();
    fs::create_dir_all(world.here.config_path().parent().unwrap()).unwrap();
    symlink(&real, world.here.config_path()).unwrap();
    world.eg(&["resource", "add", "a", "--id", ID, "--region", REGION, "--port", "tcp/22"]).expect_code(0);
    assert!(fs::symlink_metadata(world.here.config_path()).unwrap().is_symlink());
    assert!(fs::read_to_string(&real).unwrap().starts_with("# dotfiles\n"), "{}", text_of(&world));
    assert!(fs::read_to_string(&real).unwrap().contains("name = \"a\""), "{}", text_of(&world));
}

#[test]
fn verify() {
    let world = World::new();
    let mut tale = Tale::new(&world.here);
    tale.eg(&["resource", "verify", "dev-web-sg"]).expect_code(0);
    assert!(!world.here.state_path().exists(), "looking makes nothing");
    let group = world.group("dev-web-sg").to_owned();
    world.cloud.authorize(&group, "tcp/20-30", "0.0.0.0/0", "", &[]);
    for port in 1..=57 {
        world.cloud.authorize(&group, &format!("udp/{port}"), "198.51.100.7/32", "", &[]);
    }
    let before = world.cloud.snapshot();
    world.forget_calls();
    let named = tale.eg(&["resource", "verify", "dev-web-sg"]).expect_code(0);
    let rule = world.cloud.rules(&group).into_iter().find(|rule| rule.cidr == "0.0.0.0/0").unwrap();
    assert!(named.stdout.contains(&rule.id), "{named}");
    assert!(world.calls().iter().all(|call| call.dry_run || call.action.starts_with("Describe")), "changes nothing");
    assert_eq!(world.cloud.snapshot(), before);
    tale.eg(&["resource", "verify", "nothing"]).expect_code(2);

    // What is missing, each by itself.
    let words = |action: &str| format!("You are not authorized to perform: {action} on resource: arn:aws:ec2:x");
    let refused = |call: &str, action: &str| Fault::refuse(call, 403, "UnauthorizedOperation", &words(action));
    let open = "AuthorizeSecurityGroupIngress";
    for (fault, check) in [
        (refused(open, "ec2:CreateTags").containing("eg:managed-by"), "tag"),
        (refused(open, "ec2:AuthorizeSecurityGroupIngress"), "open"),
        (refused("RevokeSecurityGroupIngress", "ec2:RevokeSecurityGroupIngress"), "close"),
    ] {
        world.faults(&[fault.dry_run(true)]);
        let json =
            world.eg(&["resource", "verify", "prod-api-sg", "--output", "json"]).expect_code(1).json_as("verify");
        let checks = json["resources"][0]["checks"].as_array().unwrap();
        let bad: Vec<_> = checks.iter().filter(|one| one["level"] == "error").map(|one| &one["check"]).collect();
        assert_eq!(bad, [check], "{json:#}");
    }
    world.faults(&[Fault::refuse("RevokeSecurityGroupIngress", 503, "Unavailable", "The service is unavailable.")]);
    let unknown = tale.eg(&["resource", "verify", "prod-api-sg"]).expect_code(0);
    assert!(unknown.stdout.contains("! close: whether the credentials may close rules is not known"), "{unknown}");
    world.faults(&[]);
    world.write_config(&(world.default_config() + &crate::cli::session::missing_group()));
    tale.eg(&["resource", "verify", "typo-sg"]).expect_code(1);
    tale.end("verify");
    world.write_config("");
    let none = world.eg(&["resource", "verify"]).expect_code(1);
    assert!(error_of(&none).starts_with("no resource is configured in "), "{none}");
}

#[test]
fn discover() {
    let mut world = World::new();
    let other = world.make_group("staging");
    world.cloud.authorize(&other, "tcp/22", "198.51.100.0/24", "", &[]);
    world.cloud.authorize(&other, "tcp/22", "0.0.0.0/0", "", &[]);
    world.cloud.authorize(&other, "tcp/443", "2001:db8::/32", "", &[]);
    let found = |args: &[&str]| world.eg(&[args, &["--output", "json"]].concat()).expect_code(0).json_as("discover");
    let names = |json: &Value| {
        let groups = json["groups"].as_array().unwrap().iter();
        groups.map(|one| one["name"].as_str().unwrap().to_owned()).filter(|name| name != "default").collect::<Vec<_>>()
    };
    let json = found(&["resource", "discover"]);
    assert_eq!(names(&json), ["staging"], "those that are configured are left out");
    let staging = json["groups"].as_array().unwrap().iter().find(|one| one["name"] == "staging").unwrap();
    assert_eq!((&staging["id"], staging["permissions"].as_array().unwrap().len()), (&Value::from(other.as_str()), 3));
    let table = world.eg(&["resource", "discover"]).expect_code(0);
    let line = table.stdout.lines().find(|line| line.contains("staging")).unwrap();
    assert!(line.ends_with("tcp/22 from 0.0.0.0/0 and 1 more, tcp/443 from 2001:db8::/32"), "{table}");
    assert!(table.stderr.contains("Next: eg resource add "), "{table}");
    // One that is meant by name is configured, too.
    world.write_config(&(world.default_config() + &by_name("all", "group_name = \"stag*\"")));
    assert_eq!(names(&found(&["resource", "discover"])), Vec::<String>::new());
    // Elsewhere nothing is configured.
    world.cloud.in_region("us-west-2").create_group("far");
    assert_eq!(names(&found(&["resource", "discover", "--region", "us-west-2"])), ["far"]);
    world.write_config("");
    let nowhere = world.eg(&["resource", "discover"]).expect_code(2);
    assert_eq!(error_of(&nowhere), "no region: pass --region, or set one in the profile");
    let region = world.here.command(&["resource", "discover"]).env("AWS_REGION", "us-west-2").run().expect_code(0);
    assert!(region.stdout.contains(" far "), "{region}");
    // What is to be added next is reached as it was found.
    let role = "role_arn = \"arn:aws:iam::123456789012:role/ops\"\nexternal_id = \"a b\"\nports =";
    world.write_config(&world.default_config().replace("ports =", role));
    let assumed = world.eg(&["resource", "discover"]).expect_code(0);
    assert!(
        assumed.stderr.contains(" --role-arn arn:aws:iam::123456789012:role/ops --external-id 'a b' --port tcp/22"),
        "{assumed}"
    );
    world.faults(&[Fault::deny("DescribeSecurityGroups")]);
    let denied = world.eg(&["resource", "discover", "--region", REGION, "--output", "json"]).expect_code(1);
    assert_eq!(denied.json_as("discover")["unavailable"][0]["region"], REGION);
    denied.json_lines();
}

pub(super) fn by_name(name: &str, line: &str) -> String {
    format!("[[resource]]\nname = \"{name}\"\n{line}\nregion = \"{REGION}\"\nports = [\"tcp/22\"]\n")
}

#[test]
fn the_policy_of_the_readme_is_enough_to_set_up() {
    let world = World::new();
    world.eg(&["resource", "verify"]).expect_code(0);
    world.eg(&["resource", "discover"]).expect_code(0);
    let policy = world.eg(&["iam-policy"]).expect_code(0).stdout;
    for call in world.calls().iter().filter(|call| call.action != "GetCallerIdentity") {
        assert!(policy.contains(&format!("\"ec2:{}\"", call.action)), "{call}");
    }
    start(&world.here, &[]);
}
