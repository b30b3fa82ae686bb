//! `--reason`: in `get`, in `log`, and in the console.

use crate::{
    cli::session::{get, start_id},
    harness::{Sandboxed, World},
};

fn descriptions(world: &World) -> Vec<String> {
    world.cloud.rules(world.group("prod-db-sg")).into_iter().map(|rule| rule.description).collect()
}

#[test]
fn a_reason_shows_wherever_people_look() {
    let world = World::new();
    let id = start_id(&world.here, &["--only", "prod-db-sg", "--reason", "INC-42 (restore)"]);
    let page = world.eg(&["session", "get", &id]).expect_code(0);
    assert!(page.stdout.contains("\n  Reason:    INC-42 (restore)\n"), "{page}");
    assert_eq!(get(&world.here, &id)["reason"], "INC-42 (restore)");
    let log = world.eg(&["log", "--session", &id]).expect_code(0);
    let started = log.stdout.lines().find(|line| line.contains("  started  ")).unwrap();
    assert!(started.ends_with("; INC-42 (restore)"), "{started}");
    let json = world.eg(&["log", "--session", &id, "--output", "json"]).expect_code(0).json_as("log");
    assert_eq!(json[0]["detail"], "INC-42 (restore)");
    let [description] = &descriptions(&world)[..] else { panic!("{:?}", descriptions(&world)) };
    assert!(description.starts_with("eg ") && description.contains('@'), "{description}");
    assert!(description.ends_with(&format!(" session {}: INC-42 (restore)", &id[..8])), "{description}");
}

#[test]
fn a_reason_never_names_the_person_that_the_configuration_leaves_out() {
    let world = World::new();
    world.write_config(&(world.default_config() + "[aws]\ndescription = \"session\"\n"));
    let id = start_id(&world.here, &["--only", "prod-db-sg", "--reason", "INC-42"]);
    assert_eq!(descriptions(&world), [format!("eg session {}: INC-42", &id[..8])]);
}

/// The sandbox refuses what AWS refuses.
#[test]
fn any_text_makes_a_description_that_aws_takes() {
    let world = Sandboxed::new();
    let reason = format!("Zoë's \"night\" shift\n<b>\u{1F600}</b> {}", "x".repeat(400));
    world.eg(&["session", "start", "--ipv4", "203.0.113.42", "--only", "db", "--reason", &reason]).expect_code(0);
    let rules = world.ours("db");
    let description = rules[0].description.clone().unwrap();
    assert_eq!(description.chars().count(), 255);
    assert!(description.contains(": Zo__s _night_ shift__b___/b_ xxx"), "{description}");
    let log = world.eg(&["log"]).expect_code(0);
    assert!(log.stdout.contains("shift\\n<b>") || log.stdout.contains("shift\\u{a}<b>"), "{log}");
    world.ends();
}
