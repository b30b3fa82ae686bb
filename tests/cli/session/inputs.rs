//! Bad configurations and bad arguments.

use super::{Tale, error_of, start, start_id};
use crate::harness::World;
use serde_json::Value;

/// A resource whose text can be broken in one place.
const RESOURCE: &str =
    "[[resource]]\nname = \"a\"\nid = \"sg-0123456789abcdef0\"\nregion = \"eu-west-1\"\nports = [\"tcp/22\"]\n";

#[test]
fn every_mistake_in_a_configuration() {
    let world = World::bare();
    let mut tale = Tale::new(&world.here);
    let with = |from: &str, to: &str| RESOURCE.replace(from, to);
    for text in [
        "[user\n".to_owned(),
        "[user]\nname = \"a\"\nname = \"b\"\n".to_owned(),
        "[sesion]\nmax_duration = \"24h\"\n".to_owned(),
        "[session]\n\n  default_duraton = \"8h\"\n".to_owned(),
        "[session]\ndefault_duration = \"25h\"\n".to_owned(),
        "[session]\nmax_duration = \"32d\"\n".to_owned(),
        "[session]\nmax_duration = \"8 h\"\n".to_owned(),
        "[session]\nmax_duration = 8\n".to_owned(),
        "[detect]\nagree = 1\n".to_owned(),
        "[detect]\ntimeout = \"9s\"\n".to_owned(),
        "[detect]\nipv4 = [\"http://example.com\", \"https://example.org\"]\n".to_owned(),
        "[detect]\nipv4 = [\"https://example.org\"]\n".to_owned(),
        "[aws]\ndescription = \"none\"\n".to_owned(),
        "[aws.extra_tags]\n\"eg:mine\" = \"x\"\n".to_owned(),
        with("tcp/22", "tcp/99999"),
        with("tcp/22", "gopher"),
        with("tcp/22", "tcp/9000-8000"),
        with("\"tcp/22\"", ""),
        with("\"tcp/22\"", "\"tcp/22\", \"tcp/22\""),
        with("ports = [\"tcp/22\"]\n", ""),
        with("name = \"a\"", "name = \"\""),
        with("name = \"a\"", "name = \"a\\u001b\""),
        with("sg-0123456789abcdef0", "i-0123456789abcdef0"),
        with("eu-west-1", "Ireland"),
        RESOURCE.to_owned() + "port = 22\n",
        RESOURCE.to_owned() + "families = [\"ipv5\"]\n",
        RESOURCE.to_owned() + "provider = \"gcp\"\n",
        RESOURCE.to_owned() + "role_arn = \"admin\"\n",
        RESOURCE.to_owned() + RESOURCE,
        RESOURCE.to_owned() + "group_name = \"prod-*\"\n",
        with("id = \"sg-0123456789abcdef0\"\n", "tag = {}\n"),
        with("id = \"sg-0123456789abcdef0\"\n", ""),
        "[defaults]\nid = \"sg-0123456789abcdef0\"\n".to_owned(),
        "include = [\"team.toml\"]\n".to_owned(),
        "resource = 1\n".to_owned(),
    ] {
        world.write_config(&text);
        let outcome = world.eg(&["session", "start", "--ipv4", "198.51.100.7", "--no-wait"]).expect_code(1);
        let error = error_of(&outcome);
        let rest = error.strip_prefix(&*world.here.config_path().to_string_lossy()).expect("the file comes first");
        let mut parts = rest.split(':').skip(1);
        for what in ["line", "column"] {
            let number = parts.next().unwrap();
            assert!(number.parse::<u32>().is_ok_and(|number| number > 0), "{what} in {error}");
        }
        tale.text += &format!("{text}\n");
        tale.text += &super::readable(&outcome).replace("exit status: 1\n----- stdout -----\n----- stderr -----\n", "");
        tale.text += "\n----------\n\n";
    }
    tale.end("bad_configurations");
    assert!(!world.here.state_path().exists());
}

#[test]
fn a_named_configuration_has_to_be_there() {
    let world = World::new();
    let path = world.dir().join("missing.toml").to_string_lossy().into_owned();
    let mut tale = Tale::new(&world.here);
    tale.eg(&["--config", &path, "session", "start"]).expect_code(1);
    let args = ["session", "start"];
    tale.add(&args, &world.here.command(&args).env("EG_CONFIG", &path).run().expect_code(1));
    tale.end("missing_configuration");
    let outcome = world.eg(&["--config", &path, "session", "start", "--output", "json"]).expect_code(1);
    assert_eq!((outcome.stdout.as_str(), outcome.json_lines()[0]["error"]["kind"].as_str()), ("", Some("config")));
}

/// B29, from the side of what is said.
#[test]
fn a_broken_configuration_closes_and_opens_nothing() {
    let world = World::new();
    let before = world.cloud.snapshot();
    let id = start_id(&world.here, &["--only", "prod"]);
    world.advance(60);
    start(&world.here, &["--no-wait", "--only", "dev"]);
    world.write_config("[session]\nmax_duration = \"8 h\"\n");
    let mut tale = Tale::new(&world.here);
    tale.eg(&["session", "extend", &id, "--hours", "1"]).expect_code(1);
    tale.eg(&["session", "stop", &id]).expect_code(1);
    assert_eq!(world.cloud.snapshot(), before, "closed from the record");
    tale.eg(&["reconcile"]).expect_code(1);
    assert_eq!(world.cloud.snapshot(), before, "nothing is opened");
    tale.eg(&["session", "start"]).expect_code(1);
    tale.end("broken_configuration");
    let stopped = world.eg(&["session", "stop", "--output", "json"]).expect_code(1);
    assert_eq!(stopped.json_as("session")["status"], "CANCELLED");
    assert_eq!(stopped.json_lines().last().unwrap()["error"]["kind"], "config");
}

const BAD: &[&[&str]] = &[
    &[],
    &["session"],
    &["sesion", "list"],
    &["session", "lst"],
    &["session", "start", "--durration", "1h"],
    &["session", "start", "extra"],
    &["session", "start", "--hours", "2"],
    &["session", "delete"],
    &["logs"],
    &["-o", "yaml", "status"],
    &["session", "start", "-4", "-6"],
    &["session", "start", "-4", "--ipv4", "198.51.100.7"],
    &["session", "stop", "a1b2", "--all"],
    &["session", "extend", "a1b2"],
    &["reconcile", "--interval", "60s"],
    &["reconcile", "--watch", "--interval", "9s"],
    &["reconcile", "--watch", "--dry-run"],
    &["--output", "yaml", "session", "list"],
    &["--color", "sometimes", "session", "list"],
    &["--lock-wait", "2 minutes", "reconcile"],
    &["--lock-wait", "3601s", "reconcile"],
    &["--config"],
    &["state"],
];

#[test]
fn bad_arguments() {
    let world = World::new();
    let mut tale = Tale::new(&world.here);
    for args in BAD {
        let outcome = tale.eg(args).expect_code(2);
        assert_eq!(outcome.stdout, "", "{args:?}");
    }
    tale.end("bad_arguments");
    for args in BAD {
        if args.contains(&"yaml") {
            continue;
        }
        let one_line =
            |text: &Value| text.as_str().is_some_and(|text| !text.contains('\n') && !text.contains("Usage:"));
        let outcome = world.eg(&[&["--output", "json"], *args].concat()).expect_code(2);
        let lines = outcome.json_lines();
        assert_eq!((outcome.stdout.as_str(), lines.len()), ("", 1), "{outcome}");
        assert_eq!(lines[0]["error"]["kind"], "usage", "{outcome}");
        let error = &lines[0]["error"];
        let texts = [&error["message"]].into_iter().chain(error["hints"].as_array().unwrap());
        assert!(texts.clone().count() > 1 && texts.clone().all(one_line), "no paragraphs of the parser: {outcome}");
    }
    assert!(!world.here.state_path().exists());
}

#[test]
fn help_and_version() {
    let world = World::bare();
    let mut tale = Tale::new(&world.here);
    for args in [
        &["--help"][..],
        &["init", "--help"],
        &["resource", "--help"],
        &["resource", "list", "--help"],
        &["resource", "add", "--help"],
        &["resource", "remove", "--help"],
        &["resource", "verify", "--help"],
        &["resource", "discover", "--help"],
        &["session", "start", "--help"],
        &["session", "ensure", "--help"],
        &["session", "run", "--help"],
        &["session", "list", "--help"],
        &["session", "get", "--help"],
        &["session", "extend", "--help"],
        &["session", "stop", "--help"],
        &["status", "--help"],
        &["who", "--help"],
        &["ip", "--help"],
        &["log", "--help"],
        &["doctor", "--help"],
        &["iam-policy", "--help"],
        &["reconcile", "--help"],
        &["sweep", "--help"],
        &["schedule", "--help"],
        &["schedule", "show", "--help"],
        &["schedule", "install", "--help"],
        &["schedule", "remove", "--help"],
        &["setup", "cloud-expiry", "--help"],
        &["demo", "--help"],
        &["help", "--help"],
        &["sandbox", "--help"],
        &["schema", "--help"],
        &["state", "adopt", "--help"],
    ] {
        let outcome = tale.eg(args).expect_code(0);
        assert_eq!(outcome.stderr, "");
        assert!(outcome.stdout.lines().all(|line| line.chars().count() <= 100), "{outcome}");
    }
    tale.end("help");
    let version = world.eg(&["--version"]).expect_code(0);
    assert_eq!(version.stdout, format!("eg {}\n", env!("CARGO_PKG_VERSION")));
}
