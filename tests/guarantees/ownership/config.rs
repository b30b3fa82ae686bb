//! What the configuration says while sessions live, and what it adds to rules.

use super::*;

/// B29: the record knows the way.
#[test]
fn a_session_closes_without_its_resource() {
    let world = World::new();
    let before = bystanders(&world);
    let id = start(&world.here, &[]);
    let open = world.cloud.snapshot();
    world.write_config(&world.config_head());
    pass(&world.here, 0);
    assert_eq!(world.cloud.snapshot(), open, "a live session goes on");
    stop(&world.here, &id).expect_code(0);
    assert_eq!(world.cloud.snapshot(), before);
}

/// B29: no configuration file at all.
#[test]
fn a_session_closes_without_a_configuration() {
    let world = World::new();
    let before = bystanders(&world);
    start(&world.here, &["--duration", "1h"]);
    fs::remove_file(world.here.config_path()).unwrap();
    world.advance(HOUR + 1);
    pass(&world.here, 0);
    assert_eq!(world.cloud.snapshot(), before);
}

/// B29: a session keeps the ports it started with.
#[test]
fn edited_ports_are_for_the_next_session() {
    let world = World::new();
    let before = bystanders(&world);
    let id = start(&world.here, &["--only", API]);
    let open = world.cloud.snapshot();
    let edited = world.config_head() + &World::resource(API, world.group(API), REGION, &["tcp/8443"], "");
    world.write_config(&edited);
    world.forget_calls();
    pass(&world.here, 0);
    assert_eq!(changes(&world), Vec::<String>::new());
    assert_eq!(world.cloud.snapshot(), open);

    let next = start(&world.here, &[]);
    let ports: Vec<_> = ours(&world.cloud, world.group(API)).iter().map(|rule| rule.ports).collect();
    assert_eq!(ports, [(22, 22), (8443, 8443)]);
    stop(&world.here, &id).expect_code(0);
    assert_eq!(our_rule(&world, API).ports, (8443, 8443));
    stop(&world.here, &next).expect_code(0);
    assert_eq!(world.cloud.snapshot(), before);
}

/// B29: what is due closes, nothing opens, the mistake is told.
#[test]
fn a_broken_configuration_closes_and_opens_nothing() {
    let world = World::new();
    let before = bystanders(&world);
    let short = start(&world.here, &["--only", API, "--duration", "1h"]);
    let long = start(&world.here, &["--only", "prod-db-sg"]);
    world.cloud.revoke(world.group("prod-db-sg"), &our_rule(&world, "prod-db-sg").id);
    world.write_config("[[resource]]\nnam = \"x\"\n");
    world.advance(HOUR + 1);

    let told = pass(&world.here, 1);
    says(&told, "error: ");
    says(&told, "config.toml");
    says(&told, "nam");
    assert_eq!(status(&world.here, &short), "EXPIRED");
    assert_eq!(world.cloud.snapshot(), before, "the missing rule is not opened");
    let refused = begin(&world.here, &["--only", API]).expect_code(1);
    says(&refused, "config.toml");

    let stopped = stop(&world.here, &long).expect_code(1);
    says(&stopped, "✓ Session stopped");
    says_not(&stopped, "opened again");
    assert_eq!(status(&world.here, &long), "CANCELLED");
    assert_eq!(world.cloud.snapshot(), before);
}

/// B29.
#[test]
fn stop_closes_with_a_broken_configuration() {
    let world = World::new();
    let before = bystanders(&world);
    let id = start(&world.here, &["--only", API]);
    world.write_config("this is not TOML");
    let told = stop(&world.here, &id).expect_code(1);
    says(&told, "✓ Session stopped");
    says(&told, "config.toml");
    assert_eq!(status(&world.here, &id), "CANCELLED");
    assert_eq!(world.cloud.snapshot(), before);
}

#[test]
fn extra_tags_are_on_every_rule() {
    let world = World::new();
    let before = bystanders(&world);
    let extra = "[aws]\nextra_tags = { \"cost-center\" = \"42\", owner = \"platform\" }\n\n";
    world.write_config(&(extra.to_owned() + &world.default_config()));
    let id = start(&world.here, &[]);
    let names = ["prod-api-sg", "prod-db-sg", "dev-web-sg"];
    let rules: Vec<_> = names.iter().flat_map(|name| ours(&world.cloud, world.group(name))).collect();
    assert_eq!(rules.len(), 5);
    for rule in &rules {
        assert_eq!((rule.tags["cost-center"].as_str(), rule.tags["owner"].as_str()), ("42", "platform"), "{rule}");
        assert_eq!(rule.description, format!("eg {} session {}", who(rule), &id[..8]));
    }
    world.forget_calls();
    pass(&world.here, 0);
    assert_eq!(changes(&world), Vec::<String>::new());
    stop(&world.here, &id).expect_code(0);
    assert_eq!(world.cloud.snapshot(), before);
}

/// `user@host` of the machine that runs the tests.
fn who(rule: &Rule) -> String {
    let who = rule.description.split(' ').nth(1).unwrap();
    assert!(who.contains('@'), "{rule}");
    who.to_owned()
}

#[test]
fn a_description_can_leave_the_person_out() {
    let world = World::new();
    let before = bystanders(&world);
    world.write_config(&("[aws]\ndescription = \"session\"\n\n".to_owned() + &world.default_config()));
    let id = start(&world.here, &["--only", API]);
    assert_eq!(our_rule(&world, API).description, format!("eg session {}", &id[..8]));
    stop(&world.here, &id).expect_code(0);
    assert_eq!(world.cloud.snapshot(), before);
}

/// Nothing depends on a description.
#[test]
fn an_edited_description_changes_nothing() {
    let world = World::new();
    let before = bystanders(&world);
    let id = start(&world.here, &["--only", API]);
    let rule = our_rule(&world, API);
    world.cloud.modify(world.group(API), &rule.id, "tcp/22", &cidr(), "somebody's note");
    world.forget_calls();
    world.advance(SETTLED);
    pass(&world.here, 0);
    assert_eq!(changes(&world), Vec::<String>::new());
    stop(&world.here, &id).expect_code(0);
    assert_eq!(world.cloud.snapshot(), before);
}

/// The record knows the way from wherever `eg` is run next.
#[test]
fn a_session_closes_from_another_directory() {
    let world = World::new();
    let before = bystanders(&world);
    world.here.write_profiles(&[("work", "WORK")]);
    fs::rename(world.here.home().join(".aws/config"), world.here.home().join("aws-config")).unwrap();
    world.write_config(&world.default_config().replace("groups = [", "profile = \"work\"\ngroups = ["));
    let start = world.here.command(&["session", "start"]).env("AWS_CONFIG_FILE", "aws-config");
    start.run().expect_code(0);
    let line = format!("cd / && '{}' session stop", env!("CARGO_BIN_EXE_eg"));
    world.here.command(&[]).in_bash(&line).run().expect_code(0);
    assert_eq!(world.cloud.snapshot(), before);
}

/// Where the configuration would be is a question for those who open.
#[test]
fn a_session_closes_without_a_home() {
    let world = World::new();
    let before = bystanders(&world);
    let state = world.here.state_path().to_string_lossy().into_owned();
    let homeless = |args: &[&str]| {
        let command = world.here.command(&[&["--state", &state], args].concat());
        command.without("HOME").without("XDG_CONFIG_HOME").run()
    };
    start(&world.here, &["--only", API]);
    start(&world.here, &["--only", "prod-db-sg", "--duration", "1h"]);
    world.advance(HOUR + 1);
    for args in [&["reconcile"][..], &["session", "stop"]] {
        let outcome = homeless(args).expect_code(1);
        assert!(outcome.stderr.contains("there is no home directory to find config.toml in"), "{outcome}");
        assert!(outcome.stderr.contains("hint: set HOME, XDG_CONFIG_HOME or EG_CONFIG"), "{outcome}");
    }
    assert_eq!(world.cloud.snapshot(), before);
    homeless(&["session", "list"]).expect_code(0);
    for args in [&["session", "start"][..], &["schedule", "show", "--with", "cron"], &["doctor"], &["status"]] {
        let outcome = homeless(args).expect_code(1);
        let said = format!("{}{}", outcome.stdout, outcome.stderr);
        assert!(said.contains("there is no home directory to find config.toml in"), "{outcome}");
    }
    assert_eq!(world.cloud.snapshot(), before);
}
